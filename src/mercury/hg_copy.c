/*
 * Bulk transfers by messages, where the transport cannot reach the peer's memory.
 *
 * The side that wants the transfer sends HGI_READ or HGI_WRITE for one chunk after the other, with a few in flight; the
 * owner of the memory serves them from its progress loop and answers each. A connection keeps the order, so answers
 * come in the order of the chunks: anything else is a violation. The owner finds the memory by its key and checks
 * rights and range for every chunk, so a descriptor that was made up or has expired gives an error answer.
 *
 * Where the transport takes loans (tcp), the data are the payload behind the message, sent from and received into the
 * memory itself, and chunks are large. Otherwise (na+sm) they are part of the message, and copied.
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
    if (context->hg_class->domain->loan_max > 0)
        return context->hg_class->domain->loan_max;
    return context->hg_class->domain->message_max - sizeof(struct hgi_header) - sizeof(struct hgi_range);
}

static uint64_t chunk_at(const struct hgi_op *op, uint64_t position)
{
    uint64_t left = op->transfer.size - position, most = chunk_max(op->context);
    return left < most ? left : most;
}

/* ---- the side that wants the transfer ---- */

/* A chunk of a push, from where it lies. */
static hg_return_t send_lent(struct hgi_op *op, const struct hgi_range *range, uint64_t cookie)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)range, .iov_len = sizeof *range};
    struct hgi_loan *loan = hgi_loan_own(op, range->position, range->size);

    if (!loan)
        return HG_NOMEM;
    return hgi_send_loan(op->transfer.conn, HGI_WRITE, cookie, op->transfer.origin->key, &piece, loan);
}

static hg_return_t send_chunk(struct hgi_op *op, uint64_t cookie)
{
    const struct hgi_transfer *transfer = &op->transfer;
    struct hgi_range range = {
        .offset = transfer->origin_offset + op->sent, .size = chunk_at(op, op->sent), .position = op->sent};
    struct iovec pieces[2] = {{.iov_base = &range, .iov_len = sizeof range}};
    int count = 1;

    assert(range.size > 0);
    if (transfer->op == HG_BULK_PUSH && op->context->hg_class->domain->loan_max > 0) {
        op->sent += range.size;
        return send_lent(op, &range, cookie);
    }
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

bool hgi_copy_claim(struct hgi_op *op, uint64_t cookie, hg_return_t ret)
{
    if (!hgi_slot_claim(&op->slot, cookie))
        return false;
    op->ret = ret;
    list_remove(&op->stalled);
    return true;
}

void hgi_copy_finish(struct hgi_op *op)
{
    hgi_loans_recall(op->context->hg_class, &op->loans);
    op->finish(op);
}

bool hgi_copy_by_messages(struct hgi_op *op, uint64_t cookie)
{
    op->sent = op->done = 0;
    atomic_store_explicit(&op->slot.expects, HGI_EXPECTS_DATA, memory_order_relaxed);
    hg_return_t ret = pump(op, cookie);
    return ret != HG_SUCCESS && hgi_copy_claim(op, cookie, ret);
}

/* Memory that the network can access for us, as far as its description tells. */
static bool is_accessible(const struct hgi_op *op)
{
    return op->transfer.origin->access_size > 0 && op->context->hg_class->domain->access_max > 0;
}

void hgi_copy_start(struct hgi_op *op)
{
    hg_context_t *context = op->context;

    assert(op->transfer.conn && op->transfer.size > 0);
    pthread_mutex_lock(&context->ops_lock);
    uint64_t cookie = hgi_slot_arm(&op->slot, op->transfer.conn, HGI_EXPECTS_ACCESS);
    bool over = is_accessible(op) ? hgi_access_advance(op, cookie) : hgi_copy_by_messages(op, cookie);
    pthread_mutex_unlock(&context->ops_lock);
    if (over)
        hgi_copy_finish(op);
}

static void end(struct hgi_op *op, struct na_conn *conn, hg_return_t ret)
{
    hg_context_t *context = op->context;
    bool over = false;

    pthread_mutex_lock(&context->ops_lock);
    uint64_t cookie = atomic_load(&op->slot.pending);
    if (!conn || atomic_load(&op->slot.conn) == conn)
        over = hgi_copy_claim(op, cookie, ret);
    pthread_mutex_unlock(&context->ops_lock);
    if (over)
        hgi_copy_finish(op);
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
            over = hgi_copy_claim(op, header->cookie, ret);
        if (!over && ret != HG_SUCCESS)
            over = hgi_copy_claim(op, header->cookie, ret);
    }
    pthread_mutex_unlock(&context->ops_lock);
    if (over)
        hgi_copy_finish(op);
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

void hgi_copy_refuse(struct na_conn *conn, const struct hgi_header *request, uint64_t position)
{
    if (answer(conn, request, position, HG_NOENTRY, NULL, 0) != HG_SUCCESS)
        na_conn_break(conn, HG_PROTOCOL_ERROR);
}

/* A read from where the memory lies. */
static hg_return_t serve_lent(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                              const struct hgi_range *range)
{
    struct hgi_loan *loan;
    hg_return_t ret = hgi_loan_serve(context->hg_class, header->id, HG_BULK_READ_ONLY, range, conn, &loan);

    if (ret != HG_SUCCESS)
        return answer(conn, header, range->position, ret, NULL, 0);
    ret = hgi_send_loan(conn, HGI_READ_DATA, header->cookie, range->position, NULL, loan);
    return ret == HG_AGAIN ? HG_PROTOCOL_ERROR : HG_SUCCESS;
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
    if (read && context->hg_class->domain->loan_max > 0)
        return serve_lent(context, conn, header, &range);
    bulk = hgi_bulk_by_key(context->hg_class, header->id);
    ret = hgi_bulk_check(bulk, &range, read ? HG_BULK_READ_ONLY : HG_BULK_WRITE_ONLY);
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

/* ---- payloads ---- */

/* Data that a transfer of ours has asked for. Data for one that is over are thrown away. */
static hg_return_t place_data(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                              size_t payload_size, struct hgi_loan **loan)
{
    hg_return_t ret = HG_SUCCESS;
    bool violation;
    struct hgi_op *op;

    pthread_mutex_lock(&context->ops_lock);
    op = (struct hgi_op *)hgi_table_find(&context->ops, header->cookie, conn, HGI_EXPECTS_DATA, &violation);
    if (violation) {
        ret = HG_PROTOCOL_ERROR;
    } else if (op) {
        bool good = op->transfer.op == HG_BULK_PULL && header->id == op->done && op->sent > op->done &&
                    payload_size == chunk_at(op, op->done);
        if (good)
            *loan = hgi_loan_own(op, op->done, payload_size);
        if (!*loan)
            ret = good ? HG_NOMEM : HG_PROTOCOL_ERROR;
    }
    pthread_mutex_unlock(&context->ops_lock);
    return ret;
}

/* A peer writes to our memory. If it may not, the data are thrown away and it is told so. */
static hg_return_t place_write(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                               const struct hgi_range *range, struct hgi_loan **loan)
{
    hg_return_t ret = hgi_loan_serve(context->hg_class, header->id, HG_BULK_WRITE_ONLY, range, conn, loan);

    if (ret != HG_SUCCESS)
        return answer(conn, header, range->position, ret, NULL, 0);
    (*loan)->position = range->position;
    return HG_SUCCESS;
}

hg_return_t hgi_copy_place(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                           const char *bytes, size_t size, size_t payload_size, struct na_loan **result)
{
    struct hgi_loan *loan = NULL;
    struct hgi_range range;
    hg_return_t ret = HG_PROTOCOL_ERROR;

    assert(payload_size > 0);
    if (header->kind == HGI_READ_DATA && size == 0 && header->ret == HG_SUCCESS) {
        ret = place_data(context, conn, header, payload_size, &loan);
    } else if (header->kind == HGI_WRITE && size == sizeof range) {
        memcpy(&range, bytes, sizeof range);
        if (range.size == payload_size)
            ret = place_write(context, conn, header, &range, &loan);
    }
    if (!loan)
        return ret;
    loan->header = *header;
    *result = &loan->base;
    return ret;
}

hg_return_t hgi_copy_placed(hg_context_t *context, struct na_conn *conn, struct na_loan *base)
{
    struct hgi_loan *loan = container_of(base, struct hgi_loan, base);
    struct hgi_header header = loan->header;
    uint64_t position = loan->position, size = loan->base.size;
    hg_return_t ret = HG_SUCCESS;
    bool violation, over = false;
    struct hgi_op *op;

    hgi_loan_return(loan);
    if (header.kind == HGI_WRITE)
        return answer(conn, &header, position, HG_SUCCESS, NULL, 0);
    pthread_mutex_lock(&context->ops_lock);
    op = (struct hgi_op *)hgi_table_find(&context->ops, header.cookie, conn, HGI_EXPECTS_DATA, &violation);
    if (op) {
        op->done += size;
        if (op->done < op->transfer.size)
            ret = pump(op, header.cookie);
        if (op->done == op->transfer.size || ret != HG_SUCCESS)
            over = hgi_copy_claim(op, header.cookie, ret);
    }
    pthread_mutex_unlock(&context->ops_lock);
    if (over)
        hgi_copy_finish(op);
    return HG_SUCCESS;
}
