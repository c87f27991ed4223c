/*
 * Bulk transfers: checks, and the ways to do one, cheapest first.
 *
 *  1. Embedded data, or memory of this process: copy here. Memory of this process that is named by a descriptor from
 *     outside is found by its key, never by the addresses in the descriptor.
 *  2. The transport reaches the peer's memory directly: one system call per 64 segments, in the calling thread.
 *  3. The transport's network does: registered memory, a completion for each piece (hg_access.c).
 *  4. By messages, served by the peer's progress loop (hg_copy.c).
 */
#include "mercury/hg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS_FIXED 32 /* without an allocation */

/* ---- operations ---- */

static void op_finish(struct hgi_op *op)
{
    hg_context_t *context = op->context;

    assert(atomic_load(&op->slot.pending) == 0);
    hgi_queue_push(&context->queue, &op->entry);
    na_wait_wake(&context->na->wait);
}

struct hgi_op *hgi_op_new(hg_context_t *context)
{
    struct hgi_op *op = (struct hgi_op *)hgi_table_get(&context->ops);

    if (!op)
        return NULL;
    op->context = context;
    op->callback = NULL;
    op->arg = NULL;
    op->ret = HG_SUCCESS;
    op->transfer = (struct hgi_transfer){0};
    op->sent = op->done = 0;
    op->access_failed = false;
    list_init(&op->stalled);
    list_init(&op->loans);
    op->ack_cookie = 0;
    op->finish = op_finish;
    return op;
}

void hgi_op_free(struct hgi_op *op)
{
    if (op->transfer.addr)
        hgi_addr_release(op->transfer.addr);
    if (op->transfer.conn)
        na_conn_release(op->transfer.conn);
    HG_Bulk_free(op->transfer.origin);
    HG_Bulk_free(op->transfer.local);
    hgi_table_put(&op->context->ops, &op->slot);
}

static void run_bulk(struct hgi_entry *entry)
{
    struct hgi_op *op = container_of(entry, struct hgi_op, entry);
    struct hg_cb_info info = {.arg = op->arg, .type = HG_CB_BULK, .ret = op->ret};

    info.info.bulk = (struct hg_cb_info_bulk){.origin_handle = op->transfer.origin,
                                              .local_handle = op->transfer.local,
                                              .op = op->transfer.op,
                                              .size = op->transfer.size};
    if (op->callback)
        op->callback(&info);
    hgi_op_free(op);
}

/* ---- copying within this process ---- */

static void copy_between(hg_bulk_t to, uint64_t to_offset, hg_bulk_t from, uint64_t from_offset, uint64_t size)
{
    for (uint32_t i = 0; size > 0; i++) {
        const struct na_segment *segment = &from->segments[i];
        if (from_offset >= segment->size) {
            from_offset -= segment->size;
            continue;
        }
        uint64_t piece = segment->size - from_offset < size ? segment->size - from_offset : size;
        hgi_bulk_write(to, to_offset, (const char *)(uintptr_t)segment->address + from_offset, piece);
        to_offset += piece;
        size -= piece;
        from_offset = 0;
    }
}

static void copy_here(const struct hgi_transfer *transfer, hg_bulk_t origin)
{
    if (transfer->op == HG_BULK_PULL)
        copy_between(transfer->local, transfer->local_offset, origin, transfer->origin_offset, transfer->size);
    else
        copy_between(origin, transfer->origin_offset, transfer->local, transfer->local_offset, transfer->size);
}

static uint8_t right_needed(hg_bulk_op_t op)
{
    return op == HG_BULK_PULL ? HG_BULK_READ_ONLY : HG_BULK_WRITE_ONLY;
}

/* Memory of this process, described by a descriptor that may have come from anywhere. */
static hg_return_t copy_own(hg_context_t *context, const struct hgi_transfer *transfer)
{
    hg_bulk_t origin = transfer->origin;
    hg_return_t ret = HG_SUCCESS;

    if (origin->kind == HGI_BULK_LOCAL) {
        copy_here(transfer, origin);
        return HG_SUCCESS;
    }
    origin = hgi_bulk_by_key(context->hg_class, origin->key);
    if (!origin)
        return HG_NOENTRY;
    if (!(origin->flags & right_needed(transfer->op)))
        ret = HG_PERMISSION;
    else if (!hgi_bulk_contains(origin, transfer->origin_offset, transfer->size))
        ret = HG_INVALID_ARG;
    else
        copy_here(transfer, origin);
    HG_Bulk_free(origin);
    return ret;
}

/* ---- direct access ---- */

/* The segments that cover a range; `fixed` if they fit there, else allocated. NULL: no memory. */
static struct na_segment *cut(hg_bulk_t bulk, uint64_t offset, uint64_t size, struct na_segment *fixed, size_t *count)
{
    struct na_segment *list = fixed;

    *count = 0;
    if (bulk->count > SEGMENTS_FIXED)
        list = malloc(bulk->count * sizeof *list);
    for (uint32_t i = 0; list && size > 0; i++) {
        const struct na_segment *segment = &bulk->segments[i];
        if (offset >= segment->size) {
            offset -= segment->size;
            continue;
        }
        uint64_t piece = segment->size - offset < size ? segment->size - offset : size;
        list[(*count)++] = (struct na_segment){.address = segment->address + offset, .size = piece};
        size -= piece;
        offset = 0;
    }
    return list;
}

static hg_return_t access_directly(const struct hgi_transfer *transfer)
{
    struct na_segment near_fixed[SEGMENTS_FIXED], far_fixed[SEGMENTS_FIXED];
    size_t near_count, far_count;
    struct na_segment *near = cut(transfer->local, transfer->local_offset, transfer->size, near_fixed, &near_count);
    struct na_segment *far = cut(transfer->origin, transfer->origin_offset, transfer->size, far_fixed, &far_count);
    hg_return_t ret = HG_NOMEM;

    if (near && far)
        ret = na_conn_rma(transfer->conn, transfer->op == HG_BULK_PULL ? NA_RMA_GET : NA_RMA_PUT, near, near_count, far,
                          far_count);
    if (near != near_fixed)
        free(near);
    if (far != far_fixed)
        free(far);
    return ret == HG_OPNOTSUPPORTED ? HG_AGAIN : ret;
}

hg_return_t hgi_transfer_now(hg_context_t *context, struct hgi_transfer *transfer)
{
    hg_return_t ret;

    if (transfer->size == 0)
        return HG_SUCCESS;
    if (transfer->origin->kind == HGI_BULK_COPY) {
        copy_here(transfer, transfer->origin);
        return HG_SUCCESS;
    }
    if (transfer->addr == context->hg_class->self)
        return copy_own(context, transfer);
    if (!transfer->conn) {
        ret = hgi_peer_get(context, transfer->addr, -1, &transfer->conn);
        if (ret != HG_SUCCESS)
            return ret;
    }
    return access_directly(transfer);
}

/* ---- the public interface ---- */

static hg_return_t check(hg_context_t *context, const struct hgi_transfer *transfer)
{
    hg_bulk_t origin = transfer->origin, local = transfer->local;
    uint8_t right = right_needed(transfer->op);

    if (!context || !transfer->addr || !origin || !local || transfer->op > HG_BULK_PULL)
        return HG_INVALID_ARG;
    if (atomic_load(&context->closing))
        return HG_CANCELED;
    if (local->kind == HGI_BULK_REMOTE || (origin->kind == HGI_BULK_LOCAL && transfer->addr != context->hg_class->self))
        return HG_INVALID_ARG;
    if (!hgi_bulk_contains(origin, transfer->origin_offset, transfer->size) ||
        !hgi_bulk_contains(local, transfer->local_offset, transfer->size))
        return HG_INVALID_ARG;
    /* A pull reads the origin's memory and writes ours, a push the reverse. */
    if (!(origin->flags & right) || !(local->flags & (HG_BULK_READWRITE & ~right)))
        return HG_PERMISSION;
    return HG_SUCCESS;
}

hg_return_t dango_hg_bulk_transfer_now(hg_context_t *context, hg_bulk_op_t op, hg_addr_t origin_addr, hg_bulk_t origin,
                                       hg_size_t origin_offset, hg_bulk_t local, hg_size_t local_offset, hg_size_t size)
{
    struct hgi_transfer transfer = {.op = op,
                                    .addr = origin_addr,
                                    .origin = origin,
                                    .local = local,
                                    .origin_offset = origin_offset,
                                    .local_offset = local_offset,
                                    .size = size};
    hg_return_t ret = check(context, &transfer);

    if (ret != HG_SUCCESS)
        return ret;
    ret = hgi_transfer_now(context, &transfer);
    if (transfer.conn)
        na_conn_release(transfer.conn);
    return ret;
}

hg_return_t HG_Bulk_transfer(hg_context_t *context, hg_cb_t callback, void *arg, hg_bulk_op_t op, hg_addr_t origin_addr,
                             hg_bulk_t origin_handle, hg_size_t origin_offset, hg_bulk_t local_handle,
                             hg_size_t local_offset, hg_size_t size, hg_op_id_t *op_id)
{
    struct hgi_transfer transfer = {.op = op,
                                    .addr = origin_addr,
                                    .origin = origin_handle,
                                    .local = local_handle,
                                    .origin_offset = origin_offset,
                                    .local_offset = local_offset,
                                    .size = size};
    struct hgi_op *operation;
    hg_return_t ret = check(context, &transfer);

    if (ret != HG_SUCCESS)
        return ret;
    operation = hgi_op_new(context);
    if (!operation)
        return HG_NOMEM;
    operation->callback = callback;
    operation->arg = arg;
    operation->entry.run = run_bulk;
    if (op_id && op_id != HG_OP_ID_IGNORE)
        *op_id = (hg_op_id_t)(void *)operation;
    ret = hgi_transfer_now(context, &transfer);
    operation->transfer = transfer; /* takes over the reference to the connection */
    hgi_addr_ref(origin_addr);
    HG_Bulk_ref_incr(origin_handle);
    HG_Bulk_ref_incr(local_handle);
    if (ret == HG_AGAIN) {
        hgi_copy_start(operation);
    } else if (ret == HG_SUCCESS) {
        op_finish(operation);
    } else {
        hgi_op_free(operation);
        return ret;
    }
    return HG_SUCCESS;
}

hg_return_t HG_Bulk_cancel(hg_op_id_t op_id)
{
    if (!op_id || (hg_op_id_t *)(void *)op_id == HG_OP_ID_IGNORE)
        return HG_INVALID_ARG;
    hgi_copy_cancel((struct hgi_op *)(void *)op_id);
    return HG_SUCCESS;
}
