/*
 * The sending side: frames are copied into buffers, which come back with their completion.
 */
#include "mercury/na/ofi/ofi.h"

#include "util/clock.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

/* Buffers of two sizes are kept; small ones take any message without payload. */
#define SMALL_SIZE (sizeof(struct ofi_frame) + OFI_MESSAGE_MAX)

hg_return_t ofi_code(ssize_t ret)
{
    switch (-ret) {
    case FI_EAGAIN:
        return HG_AGAIN;
    case FI_ENOMEM:
        return HG_NOMEM;
    case FI_ECONNREFUSED:
    case FI_EHOSTUNREACH:
    case FI_ENETUNREACH:
        return HG_HOSTUNREACH;
    default:
        return HG_NODEV;
    }
}

/* ---- buffers ---- */

static void tx_free(struct ofi_tx *tx)
{
    if (tx->mr)
        fi_close(&tx->mr->fid);
    free(tx);
}

static struct ofi_tx *tx_new(struct ofi_domain *domain, size_t capacity)
{
    struct ofi_tx *tx = calloc(1, sizeof *tx + capacity);

    if (!tx)
        return NULL;
    tx->capacity = capacity;
    list_init(&tx->link);
    if (domain->info->domain_attr->mr_mode & FI_MR_LOCAL &&
        fi_mr_reg(domain->domain, tx->bytes, capacity,
                  domain->base.access_max > 0 ? FI_SEND | FI_READ | FI_WRITE : FI_SEND, 0, 0, 0, &tx->mr, NULL)) {
        tx->mr = NULL;
        tx_free(tx);
        return NULL;
    }
    return tx;
}

hg_return_t ofi_tx_get(struct ofi_domain *domain, size_t size, bool urgent, struct ofi_tx **tx)
{
    bool large = size > SMALL_SIZE;

    *tx = NULL;
    pthread_mutex_lock(&domain->tx_lock);
    bool full = !urgent && domain->tx_bytes > OFI_TX_MAX - size;
    if (!full) {
        domain->tx_bytes += size;
        struct list_node *node = list_pop(&domain->tx_free[large]);
        if (node)
            *tx = container_of(node, struct ofi_tx, link);
    }
    pthread_mutex_unlock(&domain->tx_lock);
    if (full)
        return HG_AGAIN;
    if (!*tx)
        *tx = tx_new(domain, large ? OFI_FRAME_MAX : SMALL_SIZE);
    pthread_mutex_lock(&domain->tx_lock);
    if (*tx) {
        (*tx)->size = size;
        list_append(&domain->tx_used, &(*tx)->link);
    } else {
        domain->tx_bytes -= size;
    }
    pthread_mutex_unlock(&domain->tx_lock);
    return *tx ? HG_SUCCESS : HG_NOMEM;
}

static void tx_put(struct ofi_domain *domain, struct ofi_tx *tx)
{
    bool large = tx->capacity > SMALL_SIZE;

    pthread_mutex_lock(&domain->tx_lock);
    assert(domain->tx_bytes >= tx->size);
    domain->tx_bytes -= tx->size;
    list_remove(&tx->link);
    list_append(&domain->tx_free[large], &tx->link);
    pthread_mutex_unlock(&domain->tx_lock);
}

void ofi_tx_init(struct ofi_domain *domain)
{
    pthread_mutex_init(&domain->tx_lock, NULL);
    list_init(&domain->tx_free[0]);
    list_init(&domain->tx_free[1]);
    list_init(&domain->tx_used);
}

void ofi_tx_fini(struct ofi_domain *domain)
{
    /* What never left, because the peer was gone. */
    while (!list_empty(&domain->tx_used))
        ofi_sent(domain, container_of(domain->tx_used.next, struct ofi_tx, link));
    for (int i = 0; i < 2; i++)
        for (struct list_node *node; (node = list_pop(&domain->tx_free[i]));)
            tx_free(container_of(node, struct ofi_tx, link));
    pthread_mutex_destroy(&domain->tx_lock);
}

void ofi_tx_attach(struct ofi_tx *tx, struct ofi_conn *conn)
{
    tx->conn = conn;
    na_conn_ref(&conn->base);
    atomic_fetch_add(&conn->peer_uses, 1);
}

void ofi_sent(struct ofi_domain *domain, struct ofi_tx *tx)
{
    struct ofi_conn *conn = tx->conn;

    if (tx->access.size > 0) {
        atomic_fetch_sub(&domain->accesses, 1);
        atomic_fetch_sub(&conn->accesses, 1);
    }
    if (tx->numbered)
        atomic_fetch_sub(&conn->unarrived, 1);
    tx->numbered = false;
    ofi_peer_unuse(domain, conn);
    tx_put(domain, tx);
    na_conn_release(&conn->base);
}

/* ---- frames ---- */

size_t ofi_tx_fill(struct ofi_tx *tx, size_t offset, const struct iovec *pieces, int count)
{
    for (int i = 0; i < count; i++) {
        assert(pieces[i].iov_len <= tx->size - offset);
        memcpy(tx->bytes + offset, pieces[i].iov_base, pieces[i].iov_len);
        offset += pieces[i].iov_len;
    }
    return offset;
}

/* Whether the peer can keep a message until what was sent before has arrived, and a BYE behind it. Send lock held. */
static bool fits_behind(struct ofi_conn *conn, size_t bytes)
{
    if (atomic_load(&conn->unarrived) == 0)
        conn->unsettled = 0;
    return ofi_early_cost(bytes) + ofi_early_cost(0) <= OFI_EARLY_MAX - conn->unsettled;
}

hg_return_t ofi_send(struct ofi_conn *conn, enum ofi_kind kind, const struct iovec *pieces, int count,
                     const struct na_loan *loan)
{
    struct ofi_domain *domain = (struct ofi_domain *)conn->base.context->domain;
    size_t head = 0, payload = loan ? loan->size : 0;
    struct ofi_tx *tx;

    for (int i = 0; i < count; i++)
        head += pieces[i].iov_len;
    assert(head <= OFI_MESSAGE_MAX && payload <= OFI_LOAN_MAX);
    if (kind == OFI_MESSAGE && !fits_behind(conn, head + payload))
        return HG_AGAIN;
    /* Of the frames other than messages there are few, and PINGs that do not leave are a sign. */
    hg_return_t ret = ofi_tx_get(domain, sizeof(struct ofi_frame) + head + payload, kind != OFI_MESSAGE, &tx);
    if (ret != HG_SUCCESS)
        return ret;
    const bool numbered = kind == OFI_MESSAGE || kind == OFI_BYE;
    const struct ofi_frame frame = {
        .token = htole64(kind == OFI_HELLO ? 0 : conn->peer_token),
        .kind = htole32(kind),
        .head_size = htole32((uint32_t)head),
        .payload_size = htole32((uint32_t)payload),
        .number = numbered ? htole32(conn->sent) : 0,
    };
    memcpy(tx->bytes, &frame, sizeof frame);
    size_t end = ofi_tx_fill(tx, sizeof frame, pieces, count);
    if (loan)
        ofi_tx_fill(tx, end, loan->pieces, loan->count);
    tx->access.size = 0;
    ofi_tx_attach(tx, conn);
    tx->numbered = numbered;
    if (numbered)
        atomic_fetch_add(&conn->unarrived, 1);
    ssize_t sent =
        fi_send(domain->endpoint, tx->bytes, tx->size, tx->mr ? fi_mr_desc(tx->mr) : NULL, conn->peer, &tx->context);
    if (sent == 0) {
        if (numbered) { /* else we need not have the lock */
            conn->sent++;
            conn->unsettled += ofi_early_cost(head + payload);
        }
        return HG_SUCCESS;
    }
    ofi_sent(domain, tx);
    return ofi_code(sent);
}

hg_return_t ofi_conn_write(struct na_conn *base, const struct iovec *pieces, int count, struct na_loan *loan)
{
    hg_return_t ret = ofi_send((struct ofi_conn *)base, OFI_MESSAGE, pieces, count, loan);

    if (ret == HG_SUCCESS && loan)
        loan->release(loan, HG_SUCCESS);
    if (ret == HG_AGAIN)
        ofi_wake_in((struct ofi_context *)base->context, OFI_RETRY_MS);
    return ret;
}

/* ---- time ---- */

void ofi_wake_in(struct ofi_context *context, int ms)
{
    int64_t when_ns = dango_clock_ns() + ms * DANGO_NS_PER_MS;

    pthread_mutex_lock(&context->base.conns_lock);
    if (context->tick_ns == 0 || when_ns < context->tick_ns) {
        struct itimerspec time = {.it_value = {when_ns / DANGO_NS_PER_S, when_ns % DANGO_NS_PER_S}};
        context->tick_ns = when_ns;
        timerfd_settime(context->timer_fd, TFD_TIMER_ABSTIME, &time, NULL);
    }
    pthread_mutex_unlock(&context->base.conns_lock);
}
