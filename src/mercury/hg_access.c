/*
 * Bulk transfers by the network's own access to the peer's memory, where its bulk handle describes a region that the
 * transport can reach (ofi): the peer's processor has no part in them.
 *
 * A transfer is cut into accesses, each within one segment of the region, with a few in flight. They end in any order.
 * When the transport has no room the transfer waits in context->stalled, and goes on when there is some.
 *
 * Failure. Whatever is wrong with an access (the memory is gone, the right is missing, the network cannot do it), when
 * all that are under way have ended the transfer starts anew by messages (hg_copy.c): either these work, or the answer
 * says what is the matter. Reading and writing the same bytes twice does no harm as long as nobody was told that it is
 * done. If the connection closes, or the transfer is cancelled, it is over at once, and the user takes back the memory:
 * accesses that end later find no transfer with their cookie. The transport does not touch the user's memory; only we
 * do, in hgi_accessed, under ops_lock, after finding that the transfer still waits.
 */
#include "mercury/hg.h"

#include <assert.h>

#define WINDOW     4  /* accesses of full size in flight per transfer */
#define PIECES_MAX 64 /* of our memory in one access */

/* The place in the peer's region, and how much of the transfer one access from there can cover. */
static struct na_access next_access(const struct hgi_op *op, uint64_t cookie)
{
    const struct hgi_transfer *transfer = &op->transfer;
    const struct hg_bulk *origin = transfer->origin;
    uint64_t left = transfer->size - op->sent, most = op->context->hg_class->domain->access_max;
    struct na_access access = {.op = transfer->op == HG_BULK_PULL ? NA_RMA_GET : NA_RMA_PUT,
                               .access = origin->access,
                               .access_size = origin->access_size,
                               .offset = transfer->origin_offset + op->sent,
                               .cookie = cookie,
                               .position = op->sent};

    while (access.offset >= origin->segments[access.segment].size)
        access.offset -= origin->segments[access.segment++].size;
    assert(access.segment < origin->count);
    uint64_t here = origin->segments[access.segment].size - access.offset;
    access.size = left < most ? left : most;
    if (here < access.size)
        access.size = here;
    return access;
}

/* Our memory for a put; shortens the access to what fits the list. */
static int gather(const struct hgi_op *op, struct na_access *access, struct iovec *pieces)
{
    void *addresses[PIECES_MAX];
    hg_size_t sizes[PIECES_MAX], total = 0;
    uint32_t count = 0;

    HG_Bulk_access(op->transfer.local, op->transfer.local_offset + access->position, access->size, HG_BULK_READ_ONLY,
                   PIECES_MAX, addresses, sizes, &count);
    for (uint32_t i = 0; i < count; i++) {
        pieces[i] = (struct iovec){.iov_base = addresses[i], .iov_len = sizes[i]};
        total += sizes[i];
    }
    access->size = total;
    return (int)count;
}

static hg_return_t start_access(struct hgi_op *op, uint64_t cookie)
{
    struct na_access access = next_access(op, cookie);
    struct iovec pieces[PIECES_MAX];
    int count = access.op == NA_RMA_PUT ? gather(op, &access, pieces) : 0;
    hg_return_t ret = na_conn_access(op->transfer.conn, &access, pieces, count);

    if (ret == HG_SUCCESS)
        op->sent += access.size;
    return ret;
}

/* Keeps the window full, as far as there is room. */
static void pump(struct hgi_op *op, uint64_t cookie)
{
    const uint64_t window = WINDOW * op->context->hg_class->domain->access_max;
    hg_return_t ret = HG_SUCCESS;

    while (ret == HG_SUCCESS && op->sent < op->transfer.size && op->sent - op->done < window)
        ret = start_access(op, cookie);
    if (ret == HG_AGAIN && !list_linked(&op->stalled))
        list_append(&op->context->stalled, &op->stalled);
    op->access_failed = ret != HG_SUCCESS && ret != HG_AGAIN;
}

bool hgi_access_advance(struct hgi_op *op, uint64_t cookie)
{
    if (op->done == op->transfer.size && !op->access_failed)
        return hgi_copy_claim(op, cookie, HG_SUCCESS);
    if (!op->access_failed)
        pump(op, cookie);
    if (!op->access_failed || op->done < op->sent)
        return false;
    list_remove(&op->stalled);
    return hgi_copy_by_messages(op, cookie);
}

void hgi_accessed(void *arg, struct na_conn *conn, const struct na_access *access, const void *bytes, hg_return_t ret)
{
    hg_context_t *context = arg;
    bool violation, over = false;
    struct hgi_op *op;

    pthread_mutex_lock(&context->ops_lock);
    op = (struct hgi_op *)hgi_table_find(&context->ops, access->cookie, conn, HGI_EXPECTS_ACCESS, &violation);
    if (op) {
        if (ret == HG_SUCCESS && access->op == NA_RMA_GET)
            hgi_bulk_write(op->transfer.local, op->transfer.local_offset + access->position, bytes, access->size);
        op->done += access->size;
        op->access_failed |= ret != HG_SUCCESS;
        over = hgi_access_advance(op, access->cookie);
    }
    pthread_mutex_unlock(&context->ops_lock);
    if (over)
        hgi_copy_finish(op);
}

/* Lets one that waits go on. False: none does, or there is no more room. */
static bool resume_one(hg_context_t *context)
{
    bool more = false, over = false;
    struct hgi_op *op = NULL;

    pthread_mutex_lock(&context->ops_lock);
    struct list_node *node = list_pop(&context->stalled);
    if (node) {
        op = container_of(node, struct hgi_op, stalled);
        over = hgi_access_advance(op, atomic_load_explicit(&op->slot.pending, memory_order_relaxed));
        more = !list_linked(&op->stalled);
    }
    pthread_mutex_unlock(&context->ops_lock);
    if (over)
        hgi_copy_finish(op);
    return more;
}

void hgi_access_room(void *arg)
{
    while (resume_one(arg))
        ;
}
