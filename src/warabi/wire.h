/*
 * What travels between client and provider: one input type and one output type for all RPCs. Each message says which
 * fields it has; the table of RPCs says which it needs.
 *
 * Encoding reads the caller's arrays and buffers directly. Decoding never reads beyond the message, checks counts
 * before it allocates, and leaves nothing behind when it fails halfway; bytes are views into the message, valid while
 * the input or output is held. An output is either an error (code ≠ 0 and a text) or the payload that its kind says.
 *
 * RPC names are those of the original; the format of the bytes is ours.
 */
#ifndef DANGO_WARABI_WIRE_H
#define DANGO_WARABI_WIRE_H

#include "warabi/segments.h"

#include <margo.h>
#include <mercury_proc_string.h>
#include <warabi/client.h>

/* Bytes that may travel inside a request or an answer. */
#define WB_EAGER_MAX (1u << 20)

/* Fields of an input, in the order in which they travel. */
enum wb_field {
    WB_REGION = 1,
    WB_SIZE = 2,
    WB_SEGMENTS = 4,
    WB_BYTES = 8,    /* data inside the message */
    WB_MEMORY = 16,  /* data in remote memory */
    WB_PERSIST = 32, /* a flag without content */
    WB_ALL_FIELDS = 63,
};

/* name of the RPC without "warabi_", fields that its input must have */
#define WB_RPC_LIST(X)                                                                                                 \
    X(create, WB_SIZE)                                                                                                 \
    X(write, WB_REGION | WB_SEGMENTS | WB_MEMORY)                                                                      \
    X(write_eager, WB_REGION | WB_SEGMENTS | WB_BYTES)                                                                 \
    X(persist, WB_REGION | WB_SEGMENTS)                                                                                \
    X(create_write, WB_SIZE | WB_MEMORY)                                                                               \
    X(create_write_eager, WB_SIZE | WB_BYTES)                                                                          \
    X(read, WB_REGION | WB_SEGMENTS | WB_MEMORY)                                                                       \
    X(read_eager, WB_REGION | WB_SEGMENTS)                                                                             \
    X(erase, WB_REGION)                                                                                                \
    X(region_size, WB_REGION)

enum wb_rpc {
#define WB_RPC_ENUM(name, fields) WB_RPC_##name,
    WB_RPC_LIST(WB_RPC_ENUM)
#undef WB_RPC_ENUM
        WB_RPC_COUNT
};

struct wb_rpc_info {
    const char *name; /* "warabi_create" */
    uint8_t fields;   /* needed in the input */
};
extern const struct wb_rpc_info wb_rpcs[WB_RPC_COUNT];

/* A view of bytes. */
struct wb_bytes {
    uint64_t size;
    const void *data;
};

/* Remote memory: `bulk` from `offset` on, in the process `address`, or in the sender of the request if that is "". */
struct wb_memory {
    hg_bulk_t bulk;
    hg_string_t address;
    uint64_t offset;
};

typedef struct {
    uint8_t fields; /* bits of enum wb_field */
    warabi_region_t region;
    uint64_t size;
    struct wb_segments segments;
    struct wb_bytes bytes;
    struct wb_memory memory;
    size_t *decoded;         /* array behind `segments` after decoding more than one; NULL otherwise */
    size_t single_offset[1]; /* room for a single segment, so that the usual case allocates nothing: */
    size_t single_size[1];   /* do not copy an input that was decoded */
} wb_in_t;

hg_return_t hg_proc_wb_in_t(hg_proc_t proc, void *data);

enum wb_out_kind { WB_OUT_NOTHING, WB_OUT_REGION, WB_OUT_SIZE, WB_OUT_BYTES };

typedef struct {
    int32_t code;        /* enum warabi_err_code */
    hg_string_t message; /* only with code ≠ 0 */
    uint8_t kind;        /* enum wb_out_kind; says which of the following is meant */
    warabi_region_t region;
    uint64_t size;
    struct wb_bytes bytes;
} wb_out_t;

hg_return_t hg_proc_wb_out_t(hg_proc_t proc, void *data);

/* Deadline of a request or transfer: the base, plus the time that its bytes need at 10 MB/s. 0 stays 0 (none). */
double wb_deadline_ms(double base_ms, uint64_t bytes);

#endif
