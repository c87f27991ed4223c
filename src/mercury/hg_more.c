/*
 * Inputs and outputs that do not fit a message: the message carries a bulk descriptor, the receiver fetches the payload
 * from the sender's memory before anybody sees the call, and says when it is done.
 *
 * Requests: the origin keeps the memory until the response (or, one-way, the acknowledgement). Responses: the target
 * keeps it until the acknowledgement. If fetching fails, the call fails with that error. Sizes are limited by the
 * receiver's dango_hg_set_max_message_size().
 */
#include "mercury/hg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

hg_return_t hgi_more_offer(struct hg_handle *handle, struct hgi_buffer *buffer, uint64_t cookie, void *message,
                           size_t *size)
{
    struct hgi_more more = {.cookie = cookie, .size = buffer->size};
    void *data = buffer->data;
    hg_size_t length = buffer->size, room;
    hg_return_t ret;

    assert(!handle->more);
    ret = HG_Bulk_create(handle->info.hg_class, 1, &data, &length, HG_BULK_READ_ONLY, &handle->more);
    if (ret != HG_SUCCESS)
        return ret;
    room = HG_Bulk_get_serialize_size(handle->more, 0);
    assert(sizeof more + room <= HGI_MORE_MESSAGE_MAX);
    memcpy(message, &more, sizeof more);
    *size = sizeof more + room;
    return HG_Bulk_serialize((char *)message + sizeof more, room, 0, handle->more);
}

/* The payload is here, or will not come. */
static void fetched(struct hg_handle *handle, struct na_conn *conn, uint64_t ack_cookie, hg_return_t ret)
{
    assert(ret != HG_AGAIN);
    if (!handle->incoming) {
        hgi_send(conn, HGI_ACK, 0, HG_SUCCESS, ack_cookie, 0, NULL, 0);
        hgi_forward_finish(handle, ret);
        return;
    }
    if (handle->one_way)
        hgi_send(conn, HGI_ACK, 0, ret, ack_cookie, 0, NULL, 0);
    if (ret == HG_SUCCESS) {
        hgi_handle_dispatch(handle);
        na_wait_wake(&handle->context->na->wait);
        return;
    }
    dango_hg_respond_error(handle, ret);
    HG_Destroy(handle);
}

static void fetch_finish(struct hgi_op *op)
{
    struct hg_handle *handle = op->arg;
    struct na_conn *conn = op->transfer.conn;
    uint64_t cookie = op->ack_cookie;
    hg_return_t ret = op->ret;

    na_conn_ref(conn);
    hgi_op_free(op);
    fetched(handle, conn, cookie, ret);
    na_conn_release(conn);
}

/* Starts fetching by messages. */
static hg_return_t fetch_by_messages(struct hg_handle *handle, const struct hgi_transfer *transfer, uint64_t cookie)
{
    struct hgi_op *op = hgi_op_new(handle->context);

    if (!op)
        return HG_NOMEM;
    op->arg = handle;
    op->ack_cookie = cookie;
    op->transfer = *transfer;
    hgi_addr_ref(transfer->addr);
    na_conn_ref(transfer->conn);
    HG_Bulk_ref_incr(transfer->origin);
    HG_Bulk_ref_incr(transfer->local);
    op->finish = fetch_finish;
    hgi_copy_start(op);
    return HG_SUCCESS;
}

/* Reads the description of the payload; HG_PROTOCOL_ERROR if it is malformed. */
static hg_return_t parse(hg_class_t *hg_class, const void *message, size_t size, struct hgi_more *more, hg_bulk_t *bulk)
{
    char copy[HGI_MORE_MESSAGE_MAX];

    if (size < sizeof *more || size > sizeof copy)
        return HG_PROTOCOL_ERROR;
    memcpy(copy, message, size);
    __asm__ __volatile__("" : : "r"(copy) : "memory"); /* the peer may change `message` now */
    memcpy(more, copy, sizeof *more);
    if (HG_Bulk_deserialize(hg_class, bulk, copy + sizeof *more, size - sizeof *more) != HG_SUCCESS)
        return HG_PROTOCOL_ERROR;
    if ((*bulk)->size == more->size && (*bulk)->kind == HGI_BULK_REMOTE)
        return HG_SUCCESS;
    HG_Bulk_free(*bulk);
    return HG_PROTOCOL_ERROR;
}

/* HG_SUCCESS or an error: it is over. HG_AGAIN: under way. */
static hg_return_t fetch(struct hg_handle *handle, struct na_conn *conn, const struct hgi_more *more, hg_bulk_t origin)
{
    hg_class_t *hg_class = handle->info.hg_class;
    struct hgi_buffer *buffer = handle->incoming ? &handle->in : &handle->out;
    struct hgi_transfer transfer = {
        .op = HG_BULK_PULL, .addr = handle->info.addr, .conn = conn, .origin = origin, .size = more->size};
    hg_size_t size = more->size;
    hg_return_t ret;

    if (size > atomic_load_explicit(&hg_class->payload_max, memory_order_relaxed))
        return HG_MSGSIZE;
    if (!hgi_buffer_reserve(buffer, size))
        return HG_NOMEM;
    buffer->size = size;
    void *data = buffer->data;
    ret = HG_Bulk_create(hg_class, 1, &data, &size, HG_BULK_WRITE_ONLY, &transfer.local);
    if (ret != HG_SUCCESS)
        return ret;
    ret = hgi_transfer_now(handle->context, &transfer);
    if (ret == HG_AGAIN) {
        ret = fetch_by_messages(handle, &transfer, more->cookie);
        if (ret == HG_SUCCESS)
            ret = HG_AGAIN;
    }
    HG_Bulk_free(transfer.local);
    return ret;
}

hg_return_t hgi_more_fetch(struct hg_handle *handle, struct na_conn *conn, const void *message, size_t size)
{
    hg_class_t *hg_class = ((struct hg_addr *)conn->user)->hg_class;
    struct hgi_more more;
    hg_bulk_t origin;
    hg_return_t ret = parse(hg_class, message, size, &more, &origin);

    if (ret != HG_SUCCESS) {
        if (handle && handle->incoming)
            HG_Destroy(handle);
        else if (handle)
            hgi_forward_finish(handle, ret);
        return ret;
    }
    if (!handle) {
        /* A late response: nobody wants it, but the target waits. */
        hgi_send(conn, HGI_ACK, 0, HG_SUCCESS, more.cookie, 0, NULL, 0);
    } else {
        ret = fetch(handle, conn, &more, origin);
        if (ret != HG_AGAIN)
            fetched(handle, conn, more.cookie, ret);
    }
    HG_Bulk_free(origin);
    return HG_SUCCESS;
}
