/*
 * What travels between client and provider: one input type per RPC, one output type for all of them.
 *
 * Encoding reads the caller's arrays and buffers directly. Decoding never reads beyond the message and checks counts
 * before it allocates; bytes are views into the message, valid while the input or output is held. An output is either
 * an error (code ≠ 0 and a text) or one of the payloads, as its kind says.
 *
 * RPC names and the meaning of the fields are those of the original; the format of the bytes is ours.
 */
#ifndef DANGO_WARABI_WIRE_H
#define DANGO_WARABI_WIRE_H

#include "warabi/segments.h"

#include <margo.h>
#include <mercury_proc_string.h>
#include <warabi/client.h>

/* Bytes that may travel inside a request or an answer. */
#define WB_EAGER_MAX (1u << 20)

/* name of the RPC without "warabi_", type of its input */
#define WB_RPC_LIST(X)                                                                                                 \
    X(create, wb_create_in_t)                                                                                          \
    X(write, wb_write_in_t)                                                                                            \
    X(write_eager, wb_write_eager_in_t)                                                                                \
    X(persist, wb_persist_in_t)                                                                                        \
    X(create_write, wb_create_write_in_t)                                                                              \
    X(create_write_eager, wb_create_write_eager_in_t)                                                                  \
    X(read, wb_read_in_t)                                                                                              \
    X(read_eager, wb_read_eager_in_t)                                                                                  \
    X(erase, wb_region_in_t)                                                                                           \
    X(region_size, wb_region_in_t)

enum wb_rpc {
#define WB_RPC_ENUM(name, input) WB_RPC_##name,
    WB_RPC_LIST(WB_RPC_ENUM)
#undef WB_RPC_ENUM
        WB_RPC_COUNT
};

/* A view of bytes. */
typedef struct {
    uint64_t size;
    const void *data;
} wb_bytes_t;

/* Segments, with room for a single one so that the usual case allocates nothing. Do not copy once decoded. */
typedef struct {
    struct wb_segments list;
    size_t single[2]; /* offset, size */
    size_t *decoded;  /* array behind `list` after decoding more than one segment */
} wb_segments_t;

hg_return_t hg_proc_warabi_region_t(hg_proc_t proc, void *data);
hg_return_t hg_proc_wb_bytes_t(hg_proc_t proc, void *data);
hg_return_t hg_proc_wb_segments_t(hg_proc_t proc, void *data);

/* Remote memory: `bulk` from `offset` on, in the process `address`, or in the sender of the request if that is "". */
typedef struct {
    hg_bulk_t bulk;
    hg_string_t address;
    uint64_t offset;
} wb_memory_t;

MERCURY_GEN_STRUCT_PROC(wb_memory_t, ((hg_bulk_t)(bulk))((hg_string_t)(address))((uint64_t)(offset)))

MERCURY_GEN_PROC(wb_create_in_t, ((uint64_t)(size)))
MERCURY_GEN_PROC(wb_region_in_t, ((warabi_region_t)(region)))
MERCURY_GEN_PROC(wb_persist_in_t, ((warabi_region_t)(region))((wb_segments_t)(segments)))
MERCURY_GEN_PROC(wb_write_in_t,
                 ((warabi_region_t)(region))((wb_segments_t)(segments))((wb_memory_t)(memory))((uint8_t)(persist)))
MERCURY_GEN_PROC(wb_write_eager_in_t,
                 ((warabi_region_t)(region))((wb_segments_t)(segments))((wb_bytes_t)(bytes))((uint8_t)(persist)))
MERCURY_GEN_PROC(wb_create_write_in_t, ((uint64_t)(size))((wb_memory_t)(memory))((uint8_t)(persist)))
MERCURY_GEN_PROC(wb_create_write_eager_in_t, ((wb_bytes_t)(bytes))((uint8_t)(persist)))
MERCURY_GEN_PROC(wb_read_in_t, ((warabi_region_t)(region))((wb_segments_t)(segments))((wb_memory_t)(memory)))
MERCURY_GEN_PROC(wb_read_eager_in_t, ((warabi_region_t)(region))((wb_segments_t)(segments)))

enum wb_out_kind { WB_OUT_NOTHING, WB_OUT_REGION, WB_OUT_SIZE, WB_OUT_BYTES };

typedef struct {
    int32_t code;        /* enum warabi_err_code */
    hg_string_t message; /* only with code ≠ 0 */
    uint8_t kind;        /* enum wb_out_kind; says which of the following is meant */
    warabi_region_t region;
    uint64_t size;
    wb_bytes_t bytes;
} wb_out_t;

hg_return_t hg_proc_wb_out_t(hg_proc_t proc, void *data);

/* Deadline of a request or transfer: the base, plus the time that its bytes need at 10 MB/s. 0 stays 0 (none). */
double wb_deadline_ms(double base_ms, uint64_t bytes);

#endif
