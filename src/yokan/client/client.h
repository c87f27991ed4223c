/*
 * The client side of Yokan from the inside: one call, its region, and what the public functions share.
 *
 * A public function describes its region part by part (yokan_part_in, yokan_column_…) and runs the call. Small regions
 * and calls with YOKAN_MODE_NO_RDMA travel inside the messages; larger ones are exposed as a bulk handle over the user's
 * memory, without a copy. What a server answers is not trusted: sizes are compared with the room there is before anything
 * is copied or shown to the user.
 */
#ifndef YOKAN_CLIENT_CLIENT_H
#define YOKAN_CLIENT_CLIENT_H

#include "yokan/wire.h"

#include <stdarg.h>
#include <yokan/collection.h>

/* Time that an operation has when the caller says nothing. */
#define YOKAN_TIMEOUT_MS 30000.0

/* Largest region (input and output) that travels inside the messages. */
#define YOKAN_INLINE_THRESHOLD 32768

struct yk_client {
    margo_instance_id mid;
    hg_id_t ids[YOKAN_OP_COUNT];
    uint64_t references; /* atomic: one of the user, one per handle */
};

struct yk_database_handle {
    struct yk_client *client;
    hg_addr_t addr;
    uint16_t provider_id;
    uint64_t references; /* atomic */
};

/* The timeout that the optional arguments of a call give. */
double yokan_extra_timeout(va_list extras);

/* Declares `double timeout_ms` from the optional arguments behind `last`. */
#define YOKAN_TIMEOUT_OF(mode, last)                                                                                   \
    double timeout_ms = YOKAN_TIMEOUT_MS;                                                                              \
    if ((mode)&YOKAN_MODE_EXTRA) {                                                                                     \
        va_list yokan_extras;                                                                                          \
        va_start(yokan_extras, last);                                                                                  \
        timeout_ms = yokan_extra_timeout(yokan_extras);                                                                \
        va_end(yokan_extras);                                                                                          \
    }

/* What comes in pairs or triples through all layers: whom to ask, how, how long (0: no limit). */
struct yokan_target {
    yk_database_handle_t dbh;
    int32_t mode;
    double timeout_ms;
    const char *collection; /* NULL for operations on pairs */
};

struct yokan_call {
    struct yokan_target target;
    enum yokan_op op;
    struct yokan_request request;
    struct yokan_response response;
    struct yokan_slice *parts; /* of the region, input and output */
    bool *is_input;
    size_t part_count, part_capacity;
    uint64_t input_size, total_size;
    struct yokan_slice *input; /* inline: the input parts */
    hg_handle_t handle;
    bool has_output;
    size_t cursor;       /* in response.data */
    yk_return_t failure; /* of building the region */
};

/* Checks what is common to all operations. The call must be ended in any case. */
yk_return_t yokan_call_begin(struct yokan_call *call, enum yokan_op op, const struct yokan_target *target);
/* Input part of the region. Failures are remembered and reported by run. */
void yokan_part_in(struct yokan_call *call, const void *bytes, size_t size);
/* Sends, waits, decodes. The result of the operation. */
yk_return_t yokan_call_run(struct yokan_call *call);
/* The same with a region that the user gives as a bulk handle. */
yk_return_t yokan_call_run_bulk(struct yokan_call *call, const char *origin, hg_bulk_t bulk, size_t offset,
                                size_t size);
void yokan_call_end(struct yokan_call *call);

/* An output array of fixed size: declared before the call, fetched after it, in the order of the region. */
void yokan_part_out(struct yokan_call *call, void *bytes, size_t size);
yk_return_t yokan_fetch_out(struct yokan_call *call, void *bytes, size_t size);

/*
 * An output column: items with sizes. Either `pointers` (item i has the capacity sizes[i]), or one `buffer` of `space`
 * bytes for all.
 */
struct yokan_column {
    size_t count;
    size_t *sizes; /* of the user: capacities in, sizes out */
    void *const *pointers;
    void *buffer;
    size_t space;
    uint64_t *answer; /* sizes as the server gives them */
};

void yokan_column_sizes(struct yokan_call *call, struct yokan_column *column);
void yokan_column_bytes(struct yokan_call *call, struct yokan_column *column);
yk_return_t yokan_column_fetch_sizes(struct yokan_call *call, struct yokan_column *column);
yk_return_t yokan_column_fetch_bytes(struct yokan_call *call, struct yokan_column *column);
void yokan_column_fini(struct yokan_column *column);

/* Keys of a call in either form. */
struct yokan_keys {
    size_t count;
    const size_t *sizes;
    const void *const *pointers; /* multi */
    const char *packed;          /* packed */
};

yk_return_t yokan_check_keys(const struct yokan_keys *keys);
void yokan_part_keys(struct yokan_call *call, const struct yokan_keys *keys);

/* Get of checked keys, list of pairs (`values` NULL: keys only): what fetch and iter are made of. */
yk_return_t yokan_get(const struct yokan_target *target, const struct yokan_keys *keys, struct yokan_column *values);
yk_return_t yokan_list(const struct yokan_target *target, struct yokan_slice from, struct yokan_slice filter,
                       struct yokan_column *keys, struct yokan_column *values);
/* The same for documents. */
yk_return_t yokan_load(const struct yokan_target *target, const yk_id_t *ids, struct yokan_column *documents);
yk_return_t yokan_list_documents(const struct yokan_target *target, yk_id_t start, struct yokan_slice filter,
                                 yk_id_t *ids, struct yokan_column *documents);

#endif
