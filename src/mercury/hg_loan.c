/*
 * Memory lent to the transport: registered memory that a peer reads or writes, and the local side of transfers under
 * way.
 *
 * A loan is in the list of its owner (struct hg_bulk or struct hgi_op) from before the transport gets it until it comes
 * back. The owner must not give up the memory before the list is empty: when a bulk handle is freed, or a transfer ends
 * early (cancelled, connection lost), the loans are recalled, and the transport goes on with a copy or throws away what
 * arrives. A slow or malicious peer can thus never make us touch memory that the user has taken back. A peer whose
 * write is cut off in this way gets an answer that says so, as it waits for one; it is sent by whoever recalls.
 *
 * The lists are guarded by class->bulks_lock. `release` is called with a connection's locks held, hence these come
 * before bulks_lock, and nothing here uses a connection under bulks_lock.
 */
#include "mercury/hg.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>

/* The bytes did not go all the way, or were outgoing. */
static void release(struct na_loan *base, hg_return_t ret)
{
    struct hgi_loan *loan = container_of(base, struct hgi_loan, base);
    pthread_mutex_t *lock = &loan->hg_class->bulks_lock;

    (void)ret; /* whoever waits hears of it by the connection */
    pthread_mutex_lock(lock);
    if (loan->recall && loan->header.kind == HGI_WRITE) {
        *loan->recall = (struct hgi_recall){.conn = loan->conn, .header = loan->header, .position = loan->position};
        na_conn_ref(loan->conn);
    }
    list_remove(&loan->link);
    pthread_mutex_unlock(lock);
    free(loan);
}

/* Segments that a range touches. */
static uint32_t count_pieces(const struct hg_bulk *bulk, uint64_t offset, uint64_t size)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < bulk->count && size > 0; i++) {
        uint64_t here = bulk->segments[i].size;
        if (offset >= here) {
            offset -= here;
            continue;
        }
        uint64_t piece = here - offset < size ? here - offset : size;
        size -= piece;
        offset = 0;
        count++;
    }
    return count;
}

/* A loan of [offset, offset + size) in `owner`; bulks_lock held. NULL: no memory. */
static struct hgi_loan *lend(struct hg_bulk *bulk, uint64_t offset, uint64_t size, struct na_conn *conn,
                             struct list_node *owner)
{
    assert(hgi_bulk_contains(bulk, offset, size) && size > 0);
    uint32_t count = count_pieces(bulk, offset, size);
    struct hgi_loan *loan = malloc(sizeof *loan + count * sizeof *loan->pieces);
    uint32_t used = 0;

    if (!loan)
        return NULL;
    loan->base = (struct na_loan){.pieces = loan->pieces,
                                  .count = (int)count,
                                  .size = size,
                                  .number = ++bulk->hg_class->loans,
                                  .release = release};
    loan->hg_class = bulk->hg_class;
    loan->conn = conn;
    loan->header.kind = 0;
    loan->recall = NULL;
    for (uint32_t i = 0; size > 0; i++) {
        const struct na_segment *segment = &bulk->segments[i];
        if (offset >= segment->size) {
            offset -= segment->size;
            continue;
        }
        uint64_t piece = segment->size - offset < size ? segment->size - offset : size;
        loan->pieces[used++] =
            (struct iovec){.iov_base = (char *)(uintptr_t)segment->address + offset, .iov_len = piece};
        size -= piece;
        offset = 0;
    }
    list_append(owner, &loan->link);
    return loan;
}

hg_return_t hgi_loan_serve(hg_class_t *hg_class, uint64_t key, uint8_t right, const struct hgi_range *range,
                           struct na_conn *conn, struct hgi_loan **loan)
{
    hg_return_t ret;
    struct hg_bulk *bulk;

    *loan = NULL;
    pthread_mutex_lock(&hg_class->bulks_lock);
    HASH_FIND(hh, hg_class->bulks, &key, sizeof key, bulk);
    ret = hgi_bulk_check(bulk, range, right);
    if (ret == HG_SUCCESS) {
        *loan = lend(bulk, range->offset, range->size, conn, &bulk->loans);
        ret = *loan ? HG_SUCCESS : HG_NOMEM;
    }
    pthread_mutex_unlock(&hg_class->bulks_lock);
    return ret;
}

struct hgi_loan *hgi_loan_own(struct hgi_op *op, uint64_t position, uint64_t size)
{
    const struct hgi_transfer *transfer = &op->transfer;
    hg_class_t *hg_class = op->context->hg_class;
    struct hgi_loan *loan;

    pthread_mutex_lock(&hg_class->bulks_lock);
    loan = lend(transfer->local, transfer->local_offset + position, size, transfer->conn, &op->loans);
    pthread_mutex_unlock(&hg_class->bulks_lock);
    return loan;
}

void hgi_loan_return(struct hgi_loan *loan)
{
    pthread_mutex_t *lock = &loan->hg_class->bulks_lock;

    pthread_mutex_lock(lock);
    list_remove(&loan->link);
    pthread_mutex_unlock(lock);
    free(loan);
}

/* The one that was recalled before has cut off a peer's write. */
static void tell_peer(const struct hgi_recall *before)
{
    if (!before->conn)
        return;
    hgi_copy_refuse(before->conn, &before->header, before->position);
    na_conn_release(before->conn);
}

void hgi_loans_recall(hg_class_t *hg_class, struct list_node *owner)
{
    struct hgi_recall recall = {0};

    for (;;) {
        struct na_conn *conn = NULL;
        uint64_t number = 0;
        pthread_mutex_lock(&hg_class->bulks_lock);
        const struct hgi_recall before = recall;
        recall.conn = NULL;
        if (!list_empty(owner)) {
            struct hgi_loan *loan = container_of(owner->next, struct hgi_loan, link);
            loan->recall = &recall;
            number = loan->base.number;
            conn = loan->conn;
            na_conn_ref(conn); /* it has the loan, so it is still there */
        }
        pthread_mutex_unlock(&hg_class->bulks_lock);
        tell_peer(&before);
        if (!conn)
            return;
        na_conn_recall(conn, number);
        na_conn_release(conn);
        /* The progress loop may be about to give it to the transport, or to take it back: a matter of instructions. */
        sched_yield();
    }
}
