/*
 * Bulk transfers by messages, where the transport cannot reach the peer's memory.
 *
 * The side that wants the transfer sends HGI_READ or HGI_WRITE for one chunk after the other, with a few in flight; the
 * owner of the memory serves them from its progress loop and answers each. A connection keeps the order, so answers
 * come in the order of the chunks: anything else is a violation. The owner finds the memory by its key and checks
 * rights and range for every chunk, so a descriptor that was made up or has expired gives an error answer.
 *
 * Everything about an operation in flight happens under ops_lock; completing it (op->finish) does not.
 */
#include "mercury/hg.h"

#include <assert.h>
#include <string.h>

#define WINDOW 4 /* chunks in flight per transfer */

/* Bytes of data per message. */
static uint64_t chunk_max(const hg_context_t *context)
{
    return context->hg_class->domain->message_max - sizeof(struct hgi_header) - sizeof(struct hgi_range);
}

static uint64_t chunk_at(const struct hgi_op *op, uint64_t position)
{
    uint64_t left = op->transfer.size - position, most = chunk_max(op->context);
    return left < most ? left : most;
}

/* ---- the side that wants the transfer ---- */

static hg_return_t send_chunk(struct hgi_op *op, uint64_t cookie)
{
    const struct hgi_transfer *transfer = &op->transfer;
    struct hgi_range range = {
        .offset = transfer->origin_offset + op->sent, .size = chunk_at(op, op->sent), .position = op->sent};
    struct iovec pieces[2] = {{.iov_base = &range, .iov_len = sizeof range}};
    int count = 1;

    assert(range.size > 0);
    if (transfer->op == HG_BULK_PUSH) {
        hgi_bulk_read(transfer->local, transfer->local_offset + op->sent, op->context->scratch, range.size);
        pieces[count++] = (struct iovec){.iov_base = op->context->scratch, .iov_len = range.size};
    }
    op->sent += range.size;
    return hgi_send(transfer->conn, transfer->op == HG_BULK_PULL ? HGI_READ : HGI_WRITE, 0, HG_SUCCESS, cookie,
                    transfer->origin->key, pieces, count);
}

/* Keeps the window full; ops_lock held. */
static hg_return_t pump(struct hgi_op *op, uint64_t cookie)
{
    hg_return_t ret = HG_SUCCESS;

    while (ret == HG_SUCCESS && op->sent < op->transfer.size && op->sent - op->done < WINDOW * chunk_max(op->context))
        ret = send_chunk(op, cookie);
    return ret;
}

/* Claims the operation; ops_lock held. True if the caller has to finish it. */
static bool claim(struct hgi_op *op, uint64_t cookie, hg_return_t ret)
{
    if (!hgi_slot_claim(&op->slot, cookie))
        return false;
    op->ret = ret;
    return true;
}

void hgi_copy_start(struct hgi_op *op)
{
    hg_context_t *context = op->context;
    bool over = false;

    assert(op->transfer.conn && op->transfer.size > 0);
    pthread_mutex_lock(&context->ops_lock);
    uint64_t cookie = hgi_slot_arm(&op->slot, op->transfer.conn, HGI_EXPECTS_DATA);
    hg_return_t ret = pump(op, cookie);
    if (ret != HG_SUCCESS)
        over = claim(op, cookie, ret);
    pthread_mutex_unlock(&context->ops_lock);
    if (over)
        op->finish(op);
}

static void end(struct hgi_op *op, struct na_conn *conn, hg_return_t ret)
{
    hg_context_t *context = op->context;
    bool over = false;

    pthread_mutex_lock(&context->ops_lock);
    uint64_t cookie = atomic_load(&op->slot.pending);
    if (!conn || atomic_load(&op->slot.conn) == conn)
        over = claim(op, cookie, ret);
    pthread_mutex_unlock(&context->ops_lock);
    if (over)
        op->finish(op);
}

void hgi_copies_fail(hg_context_t *context, struct na_conn *conn, hg_return_t ret)
{
    struct hgi_slot *slot;

    for (uint32_t i = 0; (slot = hgi_table_at(&context->ops, i)); i++)
        if (atomic_load_explicit(&slot->pending, memory_order_acquire))
            end((struct hgi_op *)slot, conn, ret);
}

void hgi_copy_cancel(struct hgi_op *op)
{
    end(op, NULL, HG_CANCELED);
}

/* An answer for the chunk at op->done; ops_lock held. HG_AGAIN: there is more to come. */
static hg_return_t take_answer(struct hgi_op *op, const struct hgi_header *header, const char *payload)
{
    uint64_t size = chunk_at(op, op->done);
    bool pull = op->transfer.op == HG_BULK_PULL;

    if (header->ret != HG_SUCCESS)
        return (hg_return_t)header->ret;
    if (header->id != op->done || (header->kind == HGI_READ_DATA) != pull || header->size != (pull ? size : 0))
        return HG_PROTOCOL_ERROR;
    if (pull)
        hgi_bulk_write(op->transfer.local, op->transfer.local_offset + op->done, payload, size);
    op->done += size;
    return op->done == op->transfer.size ? HG_SUCCESS : HG_AGAIN;
}

static hg_return_t receive_answer(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                                  const char *payload)
{
    bool violation, over = false;
    hg_return_t ret = HG_SUCCESS;
    struct hgi_op *op;

    pthread_mutex_lock(&context->ops_lock);
    op = (struct hgi_op *)hgi_table_find(&context->ops, header->cookie, conn, HGI_EXPECTS_DATA, &violation);
    if (op) {
        ret = take_answer(op, header, payload);
        if (ret == HG_AGAIN)
            ret = pump(op, header->cookie);
        else
            over = claim(op, header->cookie, ret);
        if (!over && ret != HG_SUCCESS)
            over = claim(op, header->cookie, ret);
    }
    pthread_mutex_unlock(&context->ops_lock);
    if (over)
        op->finish(op);
    return violation || ret == HG_PROTOCOL_ERROR ? HG_PROTOCOL_ERROR : HG_SUCCESS;
}

/* ---- the owner of the memory ---- */

static hg_return_t answer(struct na_conn *conn, const struct hgi_header *request, uint64_t position, hg_return_t ret,
                          const void *data, size_t size)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    enum hgi_kind kind = request->kind == HGI_READ ? HGI_READ_DATA : HGI_WRITE_DONE;
    hg_return_t sent = hgi_send(conn, kind, 0, ret, request->cookie, position, &piece, size > 0 ? 1 : 0);

    /* A correct peer never has more than a few chunks in flight: who fills the backlog with requests is cut off. */
    return sent == HG_AGAIN ? HG_PROTOCOL_ERROR : HG_SUCCESS;
}

static hg_return_t check_access(const struct hg_bulk *bulk, const struct hgi_range *range, uint8_t right)
{
    if (!bulk)
        return HG_NOENTRY;
    if (!(bulk->flags & right))
        return HG_PERMISSION;
    return hgi_bulk_contains(bulk, range->offset, range->size) ? HG_SUCCESS : HG_INVALID_ARG;
}

static hg_return_t serve(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                         const char *payload)
{
    bool read = header->kind == HGI_READ;
    struct hgi_range range;
    struct hg_bulk *bulk;
    hg_return_t ret;

    if (header->size < sizeof range)
        return HG_PROTOCOL_ERROR;
    memcpy(&range, payload, sizeof range);
    __asm__ __volatile__("" : : "r"(&range) : "memory"); /* the peer may change `payload` now */
    if (range.size == 0 || range.size > chunk_max(context) || header->size != sizeof range + (read ? 0 : range.size))
        return HG_PROTOCOL_ERROR;
    bulk = hgi_bulk_by_key(context->hg_class, header->id);
    ret = check_access(bulk, &range, read ? HG_BULK_READ_ONLY : HG_BULK_WRITE_ONLY);
    if (ret != HG_SUCCESS) {
        ret = answer(conn, header, range.position, ret, NULL, 0);
    } else if (read) {
        pthread_mutex_lock(&context->ops_lock);
        hgi_bulk_read(bulk, range.offset, context->scratch, range.size);
        ret = answer(conn, header, range.position, HG_SUCCESS, context->scratch, range.size);
        pthread_mutex_unlock(&context->ops_lock);
    } else {
        hgi_bulk_write(bulk, range.offset, payload + sizeof range, range.size);
        ret = answer(conn, header, range.position, HG_SUCCESS, NULL, 0);
    }
    HG_Bulk_free(bulk);
    return ret;
}

hg_return_t hgi_copy_receive(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                             const char *payload)
{
    switch (header->kind) {
    case HGI_READ:
    case HGI_WRITE:
        return serve(context, conn, header, payload);
    case HGI_READ_DATA:
    case HGI_WRITE_DONE:
        return receive_answer(context, conn, header, payload);
    default:
        return HG_PROTOCOL_ERROR;
    }
}
