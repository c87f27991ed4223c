/*
 * Requests and responses between Yokan clients and providers. All operations share one request and one response; the
 * RPC's name says which operation it is, and the table of operations below says what the fields mean to it.
 *
 * Data of an operation form one region, laid out as documented in yokan/database.h and yokan/collection.h for bulk
 * handles. The region travels in one of two ways:
 *
 *   inline  the input parts of the region, one after the other, are in `data`; the response's `data` holds the output
 *           parts, one after the other, values without gaps
 *   bulk    `bulk` describes memory of the process `origin` (empty: the sender); the region is at `offset`, `size` bytes;
 *           the provider pulls the input parts and pushes the output parts to their places
 *
 * Decoded blobs and strings point into the message: valid until the input (output) is freed, not aligned. Decoding
 * checks every length against the bytes that remain; what the numbers mean is checked by the operation.
 */
#ifndef YOKAN_WIRE_H
#define YOKAN_WIRE_H

#include "yokan/backend.h"

#include <string.h>

/*
 * op              count   name  ids   region
 * count                                                             value: pairs
 * put             pairs               ksizes vsizes keys values
 * get             keys                ksizes vsizes* keys values>   packed: without capacities; value_space
 * exists          keys                ksizes keys bits>
 * length          keys                ksizes keys vsizes>
 * erase           keys                ksizes keys
 * erase_range                         prefix
 * list_keys       limit               from filter ksizes* keys>     from_size, filter_size, key_space
 * list_keyvals    limit               from filter ksizes* vsizes* keys> values>           and value_space
 * coll_create             x
 * coll_drop               x
 * coll_exists             x                                         value: 0 or 1
 * coll_size               x                                         value: documents
 * coll_last_id            x                                         value: last id
 * doc_store       docs    x           sizes documents               value: first id
 * doc_update      docs    x     x     sizes documents
 * doc_load        docs    x     x     sizes* documents>             packed; value_space
 * doc_length      docs    x     x     sizes>
 * doc_erase       docs    x     x
 * doc_list        limit   x           filter sizes* ids> documents> id: start; filter_size, value_space
 *
 * > output; * output, and unless packed also input: capacities. Inline and packed, a `*` part is not in the request.
 */
#define YOKAN_OPERATIONS(X)                                                                                            \
    X(count)                                                                                                           \
    X(put)                                                                                                             \
    X(get)                                                                                                             \
    X(exists)                                                                                                          \
    X(length)                                                                                                          \
    X(erase)                                                                                                           \
    X(erase_range)                                                                                                     \
    X(list_keys)                                                                                                       \
    X(list_keyvals)                                                                                                    \
    X(coll_create)                                                                                                     \
    X(coll_drop)                                                                                                       \
    X(coll_exists)                                                                                                     \
    X(coll_size)                                                                                                       \
    X(coll_last_id)                                                                                                    \
    X(doc_store)                                                                                                       \
    X(doc_update)                                                                                                      \
    X(doc_load)                                                                                                        \
    X(doc_length)                                                                                                      \
    X(doc_erase)                                                                                                       \
    X(doc_list)

enum yokan_op {
#define X(op) YOKAN_OP_##op,
    YOKAN_OPERATIONS(X)
#undef X
        YOKAN_OP_COUNT
};

/* Names of the RPCs: "yk_put" … */
extern const char *const yokan_op_names[YOKAN_OP_COUNT];

/* Limits on what one request may ask for; beyond them it is refused with YOKAN_ERR_INVALID_ARGS. */
#define YOKAN_COUNT_MAX  (UINT64_C(1) << 22) /* items */
#define YOKAN_REGION_MAX (UINT64_C(1) << 30) /* bytes read, and bytes produced */
#define YOKAN_INLINE_MAX (UINT64_C(1) << 27) /* bytes produced inside a message, which Mercury limits */

/* Bytes inside a message. Encoding gathers parts; decoding gives one pointer. */
struct yokan_blob {
    uint64_t size;
    const char *data;                /* decoded */
    const struct yokan_slice *parts; /* to be encoded; their sizes add up to `size` */
    size_t part_count;
};

struct yokan_request {
    int32_t mode;      /* without YOKAN_MODE_EXTRA */
    uint8_t packed;    /* values one after the other */
    double timeout_ms; /* what the client gives the whole operation; 0: no limit */
    uint64_t count;
    uint64_t from_size;
    uint64_t filter_size;
    uint64_t key_space; /* bytes for keys in the region */
    uint64_t value_space;
    yk_id_t id;
    const char *name;      /* collection; NULL: none */
    struct yokan_blob ids; /* yk_id_t each */
    struct yokan_blob data;
    hg_bulk_t bulk; /* HG_BULK_NULL: inline */
    uint64_t offset, size;
    const char *origin; /* NULL: the sender */
};

struct yokan_response {
    int32_t ret; /* yk_return_t */
    uint64_t value;
    struct yokan_blob data;
};

hg_return_t yokan_proc_request(hg_proc_t proc, void *request);
hg_return_t yokan_proc_response(hg_proc_t proc, void *response);

/* The i-th number of an array in a message. */
static inline uint64_t yokan_number_at(const char *numbers, size_t i)
{
    uint64_t number;
    memcpy(&number, numbers + i * sizeof number, sizeof number);
    return number;
}

/*
 * Adds up `count` sizes. False when one is 0 and `allow_zero` is not set, or when the sum would exceed `limit`.
 */
bool yokan_sum_sizes(const char *sizes, size_t count, bool allow_zero, uint64_t limit, uint64_t *sum);

/* Cuts `data` into `count` slices of these sizes, which must have been checked with yokan_sum_sizes. */
void yokan_cut(const char *sizes, size_t count, const char *data, struct yokan_slice *slices);

#endif
