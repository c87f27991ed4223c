/*
 * Internals of the client: handles, requests, and the one function through which every operation goes.
 *
 * Ownership: a target handle holds a reference on its client. A request owns its RPC handle and the bulk memory that
 * the operation exposed.
 */
#ifndef DANGO_WARABI_CLIENT_CLIENT_H
#define DANGO_WARABI_CLIENT_CLIENT_H

#include "warabi/wire.h"

#include <warabi/client.h>

#define WB_EAGER_DEFAULT      2048u
#define WB_TIMEOUT_DEFAULT_MS 30000.0

struct warabi_client {
    margo_instance_id mid;
    int references; /* atomic: the user's and one per target handle */
    hg_id_t ids[WB_RPC_COUNT];
};

struct warabi_target_handle {
    struct warabi_client *client;
    hg_addr_t address;
    uint16_t provider_id;
    size_t eager_write; /* fewer bytes travel inside the RPC */
    size_t eager_read;
    double timeout_ms;
};

/* What an operation expects as answer, and where it goes: warabi_region_t, size_t, or `size` bytes. */
struct wb_expected {
    enum wb_out_kind kind;
    void *result;
    size_t size;
};

/*
 * Sends one RPC; waits for its answer if `request` is NULL. The needed fields of `input` are encoded before this
 * returns, and WB_PERSIST if it is set there. `bulk` (or HG_BULK_NULL) is what the operation exposed: released when
 * the operation has completed or could not be started. `bytes` is the amount of data that it moves, for the deadline.
 */
warabi_err_t wb_call(struct warabi_target_handle *th, enum wb_rpc rpc, wb_in_t *input, hg_bulk_t bulk, uint64_t bytes,
                     struct wb_expected expected, warabi_async_request_t *request);

#endif
