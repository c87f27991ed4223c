/*
 * The shared state machine of conn.h. Lock order: conn->lock, then nothing. The progress loop changes the state under
 * conn->lock so that a sender which holds the lock sees a connection that stays as it is.
 */
#include "mercury/na/conn.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define HELLO_MAGIC   0x4f474e44u /* "DNGO" */
#define HELLO_VERSION 1

/* A message that waits for room. */
struct na_queued {
    struct na_queued *next;
    struct na_loan *loan; /* payload behind it, or NULL */
    size_t size;          /* bytes of the message */
    size_t cost;          /* what it counts for in the backlog */
    char bytes[];
};

#define ATTEND_BATCH 64
#define EVENT_BATCH  64

int na_context_init(struct na_context *context, struct na_domain *domain, uint8_t id, const struct na_upcalls *upcalls,
                    void *arg, _Atomic uint32_t *epoch)
{
    context->domain = domain;
    context->id = id;
    context->upcalls = *upcalls;
    context->upcall_arg = arg;
    context->conn_count = 0;
    atomic_init(&context->attention, 0);
    list_init(&context->conns);
    context->listen_sock = context->listen_timer = -1;
    context->listen_off = context->listen_told = false;
    context->listen_look_ns = 0;
    if (na_wait_init(&context->wait, epoch))
        return -1;
    pthread_mutex_init(&context->conns_lock, NULL);
    return 0;
}

void na_context_fini(struct na_context *context)
{
    assert(list_empty(&context->conns));
    if (context->listen_timer >= 0)
        close(context->listen_timer);
    na_wait_fini(&context->wait);
    pthread_mutex_destroy(&context->conns_lock);
}

hg_return_t na_conn_init(struct na_conn *conn, struct na_context *context, bool incoming)
{
    bool full;

    conn->context = context;
    conn->transport = context->domain->transport;
    conn->incoming = incoming;
    conn->silent_ns = incoming ? dango_clock_ns() : 0;
    conn->silence_seen = false;
    conn->backlog_bytes = 0;
    atomic_init(&conn->refs, incoming ? 1 : 2);
    atomic_init(&conn->state, NA_CONN_CONNECTING);
    atomic_init(&conn->broken, HG_SUCCESS);
    atomic_init(&conn->has_backlog, false);
    conn->backlog = conn->backlog_last = NULL;
    list_init(&conn->link);
    pthread_mutex_init(&conn->lock, NULL);
    /* From here on the progress loop may find it, and close it before this returns. */
    pthread_mutex_lock(&context->conns_lock);
    full = context->conn_count >= NA_CONNECTIONS_MAX;
    if (!full) {
        context->conn_count++;
        list_append(&context->conns, &conn->link);
    }
    pthread_mutex_unlock(&context->conns_lock);
    if (!full)
        return HG_SUCCESS;
    pthread_mutex_destroy(&conn->lock);
    return HG_NOMEM;
}

void na_conn_ref(struct na_conn *conn)
{
    unsigned before = atomic_fetch_add_explicit(&conn->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
}

void na_conn_release(struct na_conn *conn)
{
    if (atomic_fetch_sub_explicit(&conn->refs, 1, memory_order_acq_rel) > 1)
        return;
    assert(atomic_load(&conn->state) == NA_CONN_CLOSED && !conn->backlog);
    pthread_mutex_destroy(&conn->lock);
    conn->transport->conn_free(conn);
}

static size_t pieces_size(const struct iovec *pieces, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    return size;
}

/* Keeps a copy for later; send lock held. */
static hg_return_t backlog_add(struct na_conn *conn, const struct iovec *pieces, int count, struct na_loan *loan)
{
    struct na_queued *queued;
    size_t size = pieces_size(pieces, count), cost = sizeof *queued + size;
    char *to;

    /* What is lent costs us its description only. */
    if (loan)
        cost += sizeof *loan + (size_t)loan->count * sizeof *loan->pieces;
    if (cost > NA_BACKLOG_MAX - conn->backlog_bytes)
        return HG_AGAIN;
    queued = malloc(sizeof *queued + size);
    if (!queued)
        return HG_NOMEM;
    queued->size = size;
    queued->cost = cost;
    queued->loan = loan;
    to = queued->bytes;
    for (int i = 0; i < count; i++) {
        memcpy(to, pieces[i].iov_base, pieces[i].iov_len);
        to += pieces[i].iov_len;
    }
    queued->next = NULL;
    if (conn->backlog) {
        conn->backlog_last->next = queued;
    } else {
        conn->backlog = queued;
        atomic_store_explicit(&conn->has_backlog, true, memory_order_release);
        atomic_fetch_add_explicit(&conn->context->attention, 1, memory_order_release);
    }
    conn->backlog_last = queued;
    conn->backlog_bytes += cost;
    return HG_SUCCESS;
}

/* Drops the front of the backlog; its loan is somebody else's now. Send lock held. */
static void backlog_drop(struct na_conn *conn)
{
    struct na_queued *queued = conn->backlog;

    assert(queued && conn->backlog_bytes >= queued->cost);
    conn->backlog = queued->next;
    conn->backlog_bytes -= queued->cost;
    free(queued);
    if (!conn->backlog) {
        atomic_store_explicit(&conn->has_backlog, false, memory_order_release);
        atomic_fetch_sub_explicit(&conn->context->attention, 1, memory_order_release);
    }
}

hg_return_t na_conn_send_loan(struct na_conn *conn, const struct iovec *pieces, int count, struct na_loan *loan)
{
    hg_return_t ret = HG_AGAIN;
    int state;

    pthread_mutex_lock(&conn->lock);
    state = atomic_load_explicit(&conn->state, memory_order_relaxed);
    /* A broken stream may have lost its framing. */
    if (state == NA_CONN_CLOSED || atomic_load_explicit(&conn->broken, memory_order_relaxed) != HG_SUCCESS) {
        ret = HG_NODEV;
        goto out;
    }
    assert(!loan || loan->size <= conn->context->domain->loan_max);
    assert(pieces_size(pieces, count) <= conn->context->domain->message_max);
    if (state == NA_CONN_OPEN && !conn->backlog)
        ret = conn->transport->conn_write(conn, pieces, count, loan);
    if (ret == HG_AGAIN)
        ret = backlog_add(conn, pieces, count, loan);
out:
    pthread_mutex_unlock(&conn->lock);
    if (ret != HG_SUCCESS && ret != HG_AGAIN && ret != HG_NOMEM && state != NA_CONN_CLOSED)
        na_conn_break(conn, ret);
    return ret;
}

hg_return_t na_conn_send(struct na_conn *conn, const struct iovec *pieces, int count)
{
    return na_conn_send_loan(conn, pieces, count, NULL);
}

/* ---- loans ---- */

/* A copy of lent memory, in one piece. */
struct copied {
    struct na_loan loan;
    struct iovec piece;
    char bytes[];
};

static void copied_release(struct na_loan *loan, hg_return_t ret)
{
    (void)ret;
    free(container_of(loan, struct copied, loan));
}

struct na_loan *na_loan_copy(const struct na_loan *loan, size_t offset)
{
    struct copied *copied;
    char *to;

    assert(offset < loan->size);
    copied = malloc(sizeof *copied + loan->size - offset);
    if (!copied)
        return NULL;
    to = copied->bytes;
    copied->piece = (struct iovec){.iov_base = to, .iov_len = loan->size - offset};
    copied->loan =
        (struct na_loan){.pieces = &copied->piece, .count = 1, .size = loan->size - offset, .release = copied_release};
    for (int i = 0; i < loan->count; i++) {
        size_t size = loan->pieces[i].iov_len;
        if (offset >= size) {
            offset -= size;
            continue;
        }
        memcpy(to, (const char *)loan->pieces[i].iov_base + offset, size - offset);
        to += size - offset;
        offset = 0;
    }
    return &copied->loan;
}

/* Takes the place of a loan in the backlog, whose limit holds for copies, too: a peer that asks for the same memory
 * again and again, and reads nothing, must not make us copy it as often. NULL: no memory. */
static struct na_loan *copy_queued(struct na_conn *conn, struct na_queued *queued)
{
    struct na_loan *loan = queued->loan, *copy = NULL;

    if (loan->size <= NA_BACKLOG_MAX - conn->backlog_bytes)
        copy = na_loan_copy(loan, 0);
    if (copy) {
        queued->cost += loan->size;
        conn->backlog_bytes += loan->size;
    }
    return copy;
}

/* Replaces a loan in the backlog by a copy. HG_NOENTRY: it is not there. Send lock held. */
static hg_return_t backlog_recall(struct na_conn *conn, uint64_t loan_number)
{
    for (struct na_queued *queued = conn->backlog; queued; queued = queued->next) {
        struct na_loan *loan = queued->loan;
        if (!loan || loan->number != loan_number)
            continue;
        queued->loan = copy_queued(conn, queued);
        loan->release(loan, HG_CANCELED);
        return queued->loan ? HG_SUCCESS : HG_NOMEM;
    }
    return HG_NOENTRY;
}

void na_conn_recall(struct na_conn *conn, uint64_t loan_number)
{
    hg_return_t ret = HG_SUCCESS;

    pthread_mutex_lock(&conn->lock);
    if (!na_conn_is_closed(conn)) {
        ret = backlog_recall(conn, loan_number);
        if (ret == HG_NOENTRY)
            ret = conn->transport->conn_recall(conn, loan_number);
    }
    /* Without memory for the copy the stream cannot go on: nobody may write to it any more. */
    if (ret != HG_SUCCESS)
        na_conn_break(conn, ret);
    pthread_mutex_unlock(&conn->lock);
}

void na_conn_break(struct na_conn *conn, hg_return_t why)
{
    int none = HG_SUCCESS;

    assert(why != HG_SUCCESS);
    if (!atomic_compare_exchange_strong(&conn->broken, &none, (int)why))
        return;
    atomic_fetch_add_explicit(&conn->context->attention, 1, memory_order_release);
    na_wait_wake(&conn->context->wait);
}

bool na_conn_attend(struct na_conn *conn)
{
    hg_return_t ret = (hg_return_t)atomic_load(&conn->broken);
    bool moved = false;

    if (ret == HG_SUCCESS && atomic_load_explicit(&conn->has_backlog, memory_order_acquire)) {
        pthread_mutex_lock(&conn->lock);
        while (na_conn_is_open(conn) && conn->backlog && ret == HG_SUCCESS && !atomic_load(&conn->broken)) {
            struct iovec piece = {.iov_base = conn->backlog->bytes, .iov_len = conn->backlog->size};
            ret = conn->transport->conn_write(conn, &piece, 1, conn->backlog->loan);
            if (ret == HG_SUCCESS) {
                backlog_drop(conn);
                moved = true;
            }
        }
        pthread_mutex_unlock(&conn->lock);
    }
    if (ret == HG_SUCCESS || ret == HG_AGAIN)
        return moved;
    na_conn_close(conn, ret);
    return true;
}

bool na_context_attend_all(struct na_context *context)
{
    struct na_conn *batch[ATTEND_BATCH];
    size_t count = 0;
    bool any = false;

    pthread_mutex_lock(&context->conns_lock);
    list_for_each (node, &context->conns) {
        struct na_conn *conn = container_of(node, struct na_conn, link);
        if (atomic_load(&conn->has_backlog) || atomic_load(&conn->broken)) {
            na_conn_ref(conn);
            batch[count++] = conn;
        }
        if (count == ATTEND_BATCH)
            break;
    }
    /* Peers that read nothing must not keep the others from being looked at. */
    for (size_t i = 0; count == ATTEND_BATCH && i < count; i++) {
        list_remove(&batch[i]->link);
        list_append(&context->conns, &batch[i]->link);
    }
    pthread_mutex_unlock(&context->conns_lock);
    for (size_t i = 0; i < count; i++) {
        any |= na_conn_attend(batch[i]);
        na_conn_release(batch[i]);
    }
    return any;
}

bool na_context_poll_events(struct na_context *context, void (*listener)(struct na_context *context),
                            void (*event)(struct na_conn *conn, uint32_t events))
{
    struct epoll_event events[EVENT_BATCH];
    bool any = false;

    atomic_store_explicit(&context->wait.look_at_epoll, false, memory_order_relaxed);
    int count = epoll_wait(context->wait.epoll_fd, events, EVENT_BATCH, 0);
    /* A connection may be closed by the event of another one: keep them all until the end. */
    for (int i = 0; i < count; i++)
        if (events[i].data.ptr && events[i].data.ptr != context)
            na_conn_ref(events[i].data.ptr);
    for (int i = 0; i < count; i++) {
        void *object = events[i].data.ptr;
        if (!object)
            continue;
        any = true;
        if (object == context) {
            listener(context);
            continue;
        }
        event(object, events[i].events);
        na_conn_release(object);
    }
    return any;
}

void na_context_unwatch(struct na_context *context, int sock)
{
    epoll_ctl(context->wait.epoll_fd, EPOLL_CTL_DEL, sock, NULL); /* it fails if the socket was not watched yet */
}

void na_context_close_conns(struct na_context *context)
{
    while (!list_empty(&context->conns))
        na_conn_close(container_of(context->conns.next, struct na_conn, link), HG_CANCELED);
}

void na_conn_open(struct na_conn *conn)
{
    assert(atomic_load(&conn->state) == NA_CONN_CONNECTING);
    pthread_mutex_lock(&conn->lock);
    atomic_store_explicit(&conn->state, NA_CONN_OPEN, memory_order_release);
    pthread_mutex_unlock(&conn->lock);
    na_conn_attend(conn);
}

void na_conn_close(struct na_conn *conn, hg_return_t why)
{
    struct na_context *context = conn->context;
    int none = HG_SUCCESS;

    assert(why != HG_SUCCESS);
    if (na_conn_is_closed(conn))
        return;
    pthread_mutex_lock(&conn->lock);
    atomic_store_explicit(&conn->state, NA_CONN_CLOSED, memory_order_release);
    while (conn->backlog) {
        struct na_loan *loan = conn->backlog->loan;
        backlog_drop(conn);
        if (loan)
            loan->release(loan, why);
    }
    conn->transport->conn_shutdown(conn);
    pthread_mutex_unlock(&conn->lock);
    /* From here on nobody marks it broken any more; take back the attention that an earlier mark drew. */
    if (!atomic_compare_exchange_strong(&conn->broken, &none, (int)why))
        atomic_fetch_sub_explicit(&context->attention, 1, memory_order_release);

    pthread_mutex_lock(&context->conns_lock);
    assert(context->conn_count > 0);
    list_remove(&conn->link);
    context->conn_count--;
    pthread_mutex_unlock(&context->conns_lock);
    if (!conn->incoming || conn->user)
        context->upcalls.closed(context->upcall_arg, conn, why);
    na_conn_release(conn);
}

hg_return_t na_conn_rma(struct na_conn *conn, enum na_rma_op op, const struct na_segment *local, size_t local_count,
                        const struct na_segment *remote, size_t remote_count)
{
    if (na_conn_is_closed(conn))
        return HG_NODEV;
    if (!conn->transport->conn_rma)
        return HG_OPNOTSUPPORTED;
    return conn->transport->conn_rma(conn, op, local, local_count, remote, remote_count);
}

hg_return_t na_conn_access(struct na_conn *conn, const struct na_access *access, const struct iovec *pieces, int count)
{
    hg_return_t ret = HG_OPNOTSUPPORTED;

    assert(access->size > 0 && access->size <= conn->context->domain->access_max);
    pthread_mutex_lock(&conn->lock);
    if (na_conn_is_closed(conn) || atomic_load_explicit(&conn->broken, memory_order_relaxed) != HG_SUCCESS)
        ret = HG_NODEV;
    else if (na_conn_is_open(conn) && conn->transport->conn_access)
        ret = conn->transport->conn_access(conn, access, pieces, count);
    pthread_mutex_unlock(&conn->lock);
    return ret;
}

void na_hello_fill(struct na_hello *hello, const struct na_context *context, uint8_t target_id)
{
    memset(hello, 0, sizeof *hello);
    hello->magic = HELLO_MAGIC;
    hello->version = HELLO_VERSION;
    hello->source_id = context->id;
    hello->target_id = target_id;
    memcpy(hello->host, context->domain->host, sizeof hello->host);
}

hg_return_t na_hello_accept(struct na_conn *conn, const struct na_hello *hello)
{
    const struct na_context *context = conn->context;
    char host[NA_ADDRESS_MAX];

    if (hello->magic != HELLO_MAGIC || hello->target_id != context->id)
        return HG_PROTOCOL_ERROR;
    if (hello->version != HELLO_VERSION) {
        log_warning("mercury", "a peer speaks version %u of the protocol, this program version %u: refused",
                    hello->version, HELLO_VERSION);
        return HG_PROTOCOL_ERROR;
    }
    if (!memchr(hello->host, '\0', sizeof hello->host))
        return HG_PROTOCOL_ERROR;
    if (context->domain->transport->address_normalise(hello->host, false, host, sizeof host) != HG_SUCCESS)
        return HG_PROTOCOL_ERROR;
    if (conn->incoming) {
        memcpy(conn->peer, host, sizeof conn->peer);
        conn->peer_context_id = hello->source_id;
        return HG_SUCCESS;
    }
    /* Who answers must be who was called. */
    bool same = strcmp(conn->peer, host) == 0 && conn->peer_context_id == hello->source_id;
    return same ? HG_SUCCESS : HG_PROTOCOL_ERROR;
}
