/*
 * Bulk transfers. What the calling thread can copy itself (same node, same process, data that came with the message) it
 * copies at once, piece by piece, letting other threads run in between; the rest goes through the network and the
 * progress loop.
 */
#include "margo/request.h"

#include "util/clock.h"

#include <mercury/dango_hg.h>

#include <stdlib.h>

/* Copied without a pause: a few hundred microseconds. */
#define PIECE_BYTES (UINT64_C(4) << 20)

struct transfer {
    margo_instance_id mid;
    hg_bulk_op_t op;
    hg_addr_t origin_addr;
    hg_bulk_t origin;
    size_t origin_offset;
    hg_bulk_t local;
    size_t local_offset;
    size_t size;
};

/* HG_AGAIN: needs the network, nothing was copied. */
static hg_return_t copy_now(const struct transfer *t, double timeout_ms)
{
    int64_t deadline = timeout_ms > 0 ? dango_deadline_ns(timeout_ms) : DANGO_NEVER;
    size_t done = 0;
    for (;;) {
        size_t piece = t->size - done < PIECE_BYTES ? t->size - done : PIECE_BYTES;
        hg_return_t ret = dango_hg_bulk_transfer_now(t->mid->hg_context, t->op, t->origin_addr, t->origin,
                                                     t->origin_offset + done, t->local, t->local_offset + done, piece);
        done += piece;
        if (ret != HG_SUCCESS || done == t->size)
            return ret;
        if (deadline != DANGO_NEVER && dango_clock_ns() >= deadline)
            return HG_TIMEOUT;
        if (dango_abt_self_has_work())
            ABT_thread_yield();
    }
}

static hg_return_t submit(struct margo_request_struct *req, const struct transfer *t, double timeout_ms)
{
    mg_request_init(req, t->mid, MARGO_BULK_REQUEST, HG_HANDLE_NULL);
    mg_request_arm(req, timeout_ms);
    hg_return_t ret =
        HG_Bulk_transfer(t->mid->hg_context, mg_request_complete, req, t->op, t->origin_addr, t->origin,
                         t->origin_offset, t->local, t->local_offset, t->size, req->timed ? &req->operation : NULL);
    return mg_request_submitted(req, ret);
}

hg_return_t margo_bulk_transfer_timed(margo_instance_id mid, hg_bulk_op_t op, hg_addr_t origin_addr,
                                      hg_bulk_t origin_handle, size_t origin_offset, hg_bulk_t local_handle,
                                      size_t local_offset, size_t size, double timeout_ms)
{
    if (!mid)
        return HG_INVALID_ARG;
    if (atomic_load(&mid->stopped))
        return HG_CANCELED;
    struct transfer t = {mid, op, origin_addr, origin_handle, origin_offset, local_handle, local_offset, size};
    hg_return_t ret = copy_now(&t, timeout_ms);
    if (ret != HG_AGAIN)
        return ret;
    struct margo_request_struct req;
    ret = submit(&req, &t, timeout_ms);
    return ret == HG_SUCCESS ? mg_request_wait(&req) : ret;
}

hg_return_t margo_bulk_itransfer_timed(margo_instance_id mid, hg_bulk_op_t op, hg_addr_t origin_addr,
                                       hg_bulk_t origin_handle, size_t origin_offset, hg_bulk_t local_handle,
                                       size_t local_offset, size_t size, double timeout_ms, margo_request *req)
{
    if (!mid || !req)
        return HG_INVALID_ARG;
    if (atomic_load(&mid->stopped))
        return HG_CANCELED;
    struct margo_request_struct *mine = malloc(sizeof *mine);
    if (!mine)
        return HG_NOMEM;
    struct transfer t = {mid, op, origin_addr, origin_handle, origin_offset, local_handle, local_offset, size};
    hg_return_t ret = submit(mine, &t, timeout_ms);
    if (ret == HG_SUCCESS)
        *req = mine;
    else
        free(mine);
    return ret;
}
