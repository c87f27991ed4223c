/*
 * The sending side of a connection: one stream of bytes, from the memory of the callers as far as the kernel takes it.
 *
 * Order on the wire: the bytes in `out`, then the rest of `out_loan`. While there is a rest of a loan nothing can be
 * appended, so that a message which comes then goes to the backlog. Everything here needs the send lock; the progress
 * loop and any sender may be the one that goes on with what another sender left.
 */
#include "mercury/na/tcp/tcp.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define OUT_MAX    (TCP_CORK_MAX + TCP_MESSAGE_MAX + sizeof(struct tcp_frame))
#define PIECES_MAX 64   /* per system call */
#define COPY_MAX   1024 /* bytes of a message that it is cheaper to put together than to send in pieces */

/* Its address is a name for the calling thread. */
static _Thread_local char thread_mark;

hg_return_t tcp_errno(int errnum)
{
    switch (errnum) {
    case EAGAIN:
    case EINTR:
    case EINPROGRESS:
        return HG_AGAIN;
    case ECONNREFUSED:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
        return HG_HOSTUNREACH;
    case ETIMEDOUT:
        return HG_TIMEOUT;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        return HG_NOMEM;
    case EADDRNOTAVAIL:
        return HG_ADDRNOTAVAIL;
    case EACCES:
    case EPERM:
        return HG_ACCESS;
    default:
        return HG_NODEV;
    }
}

int tcp_loan_pieces(const struct na_loan *loan, size_t offset, struct iovec *pieces, int max, size_t *bytes)
{
    int used = 0;

    *bytes = 0;
    for (int i = 0; i < loan->count && used < max; i++) {
        const struct iovec *piece = &loan->pieces[i];
        if (offset >= piece->iov_len) {
            offset -= piece->iov_len;
            continue;
        }
        pieces[used] = (struct iovec){.iov_base = (char *)piece->iov_base + offset, .iov_len = piece->iov_len - offset};
        *bytes += pieces[used++].iov_len;
        offset = 0;
    }
    return used;
}

/* Bytes that the kernel took; HG_AGAIN when it is full. */
static hg_return_t send_pieces(struct tcp_conn *conn, struct iovec *pieces, int count, size_t *sent)
{
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    ssize_t size;

    do
        size = count == 1 ? send(conn->sock, pieces->iov_base, pieces->iov_len, flags)
                          : sendmsg(conn->sock, &message, flags);
    while (size < 0 && errno == EINTR);
    *sent = size > 0 ? (size_t)size : 0;
    if (size >= 0)
        return HG_SUCCESS;
    if (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM)
        return tcp_errno(errno);
    conn->blocked = true;
    if (!conn->watches_output && tcp_watch(conn, EPOLL_CTL_MOD, true))
        return HG_NOMEM;
    return HG_AGAIN;
}

/* The payload is out: its owner may have it back. */
static void loan_over(struct tcp_conn *conn, hg_return_t ret)
{
    struct na_loan *loan = conn->out_loan;

    conn->out_loan = NULL;
    conn->out_sent = 0;
    if (loan)
        loan->release(loan, ret);
}

/* Takes note that `sent` bytes of `out` and the loan are gone. */
static void advance(struct tcp_conn *conn, size_t sent)
{
    size_t waiting = conn->out_end - conn->out_start, from_out = sent < waiting ? sent : waiting;

    conn->out_start += from_out;
    if (conn->out_start == conn->out_end)
        conn->out_start = conn->out_end = 0;
    sent -= from_out;
    assert(sent == 0 || (conn->out_loan && sent <= conn->out_loan->size - conn->out_sent));
    conn->out_sent += sent;
    if (conn->out_loan && conn->out_sent == conn->out_loan->size)
        loan_over(conn, HG_SUCCESS);
}

/* Sends what waits in the connection. HG_AGAIN: not all of it. Send lock held. */
static hg_return_t flush(struct tcp_conn *conn)
{
    while (conn->out_end > conn->out_start || conn->out_loan) {
        struct iovec pieces[PIECES_MAX];
        size_t bytes, sent;
        int count = 0;
        if (conn->blocked)
            return HG_AGAIN;
        if (conn->out_end > conn->out_start)
            pieces[count++] =
                (struct iovec){.iov_base = conn->out + conn->out_start, .iov_len = conn->out_end - conn->out_start};
        if (conn->out_loan)
            count += tcp_loan_pieces(conn->out_loan, conn->out_sent, pieces + count, PIECES_MAX - count, &bytes);
        hg_return_t ret = send_pieces(conn, pieces, count, &sent);
        if (ret != HG_SUCCESS)
            return ret;
        advance(conn, sent);
    }
    return HG_SUCCESS;
}

/* Copies `size` bytes of the pieces from `skip` on behind what waits. There is room. */
static void keep(struct tcp_conn *conn, const struct iovec *pieces, int count, size_t skip)
{
    for (int i = 0; i < count; i++) {
        size_t size = pieces[i].iov_len;
        if (skip >= size) {
            skip -= size;
            continue;
        }
        assert(conn->out_end + size - skip <= OUT_MAX);
        memcpy(conn->out + conn->out_end, (const char *)pieces[i].iov_base + skip, size - skip);
        conn->out_end += size - skip;
        skip = 0;
    }
}

/* Enters the connection into the list of those that uncorking flushes. */
static bool list_corked(struct tcp_context *context, struct tcp_conn *conn)
{
    bool listed = false;

    pthread_mutex_lock(&context->cork_lock);
    if (atomic_load_explicit(&context->corker, memory_order_relaxed) == &thread_mark &&
        context->corked_count < TCP_CORKED) {
        na_conn_ref(&conn->base);
        context->corked[context->corked_count++] = conn;
        listed = true;
    }
    pthread_mutex_unlock(&context->cork_lock);
    return listed;
}

/* Is this a message that the calling thread collects? */
static bool collects(struct tcp_conn *conn, size_t size)
{
    struct tcp_context *context = (struct tcp_context *)conn->base.context;

    if (atomic_load_explicit(&context->corker, memory_order_relaxed) != &thread_mark)
        return false;
    if (conn->out_end + size > TCP_CORK_MAX)
        return false;
    /* What waits already has its place in the list. */
    return conn->out_end > 0 || list_corked(context, conn);
}

/* Sends what waits, the message, and the beginning of the payload with one system call. */
static hg_return_t write_through(struct tcp_conn *conn, struct iovec *pieces, int count, struct na_loan *loan)
{
    struct iovec all[PIECES_MAX];
    size_t waiting = conn->out_end - conn->out_start, head = 0, bytes, sent;
    int used = 0;

    assert(count < PIECES_MAX - 2);
    if (waiting > 0)
        all[used++] = (struct iovec){.iov_base = conn->out + conn->out_start, .iov_len = waiting};
    for (int i = 0; i < count; i++) {
        head += pieces[i].iov_len;
        all[used++] = pieces[i];
    }
    if (loan)
        used += tcp_loan_pieces(loan, 0, all + used, PIECES_MAX - used, &bytes);
    hg_return_t ret = send_pieces(conn, all, used, &sent);
    if (ret != HG_SUCCESS && ret != HG_AGAIN)
        return ret;
    size_t from_out = sent < waiting ? sent : waiting, from_head = sent - from_out < head ? sent - from_out : head;
    advance(conn, from_out);
    if (from_head < head)
        keep(conn, pieces, count, from_head);
    conn->out_loan = loan;
    conn->out_sent = 0;
    advance(conn, sent - from_out - from_head);
    return HG_SUCCESS;
}

hg_return_t tcp_conn_write(struct na_conn *base, const struct iovec *pieces, int count, struct na_loan *loan)
{
    struct tcp_conn *conn = (struct tcp_conn *)base;
    struct iovec all[PIECES_MAX];
    struct tcp_frame frame;
    size_t size = sizeof frame;

    if (conn->blocked || conn->out_loan)
        return HG_AGAIN;
    if (!conn->out && !(conn->out = malloc(OUT_MAX)))
        return HG_NOMEM;
    assert(count + 1 < PIECES_MAX - 2);
    all[0] = (struct iovec){.iov_base = &frame, .iov_len = sizeof frame};
    for (int i = 0; i < count; i++) {
        all[i + 1] = pieces[i];
        size += pieces[i].iov_len;
    }
    assert(size - sizeof frame <= TCP_MESSAGE_MAX);
    frame.head_size = htole32((uint32_t)(size - sizeof frame));
    frame.payload_size = htole32(loan ? (uint32_t)loan->size : 0);
    hg_return_t ret = HG_SUCCESS;
    bool later = !loan && collects(conn, size);
    if (later || (!loan && size <= COPY_MAX && conn->out_end + size <= OUT_MAX))
        keep(conn, all, count + 1, 0);
    else
        ret = write_through(conn, all, count + 1, loan);
    if (later || ret != HG_SUCCESS)
        return ret;
    /* The message is ours now; that the socket is full is no failure of this call. */
    ret = flush(conn);
    if (ret != HG_SUCCESS && ret != HG_AGAIN)
        na_conn_break(base, ret);
    return HG_SUCCESS;
}

void tcp_writable(struct tcp_conn *conn)
{
    hg_return_t ret = HG_NODEV;

    pthread_mutex_lock(&conn->base.lock);
    conn->blocked = false;
    if (!atomic_load(&conn->base.broken))
        ret = flush(conn);
    if (!conn->blocked && conn->watches_output)
        tcp_watch(conn, EPOLL_CTL_MOD, false);
    pthread_mutex_unlock(&conn->base.lock);
    if (ret == HG_SUCCESS) {
        const void *corked = tcp_cork(conn->base.context);
        na_conn_attend(&conn->base);
        tcp_uncork(conn->base.context, corked);
    } else if (ret != HG_AGAIN) {
        na_conn_break(&conn->base, ret);
    }
}

const void *tcp_cork(struct na_context *base)
{
    struct tcp_context *context = (struct tcp_context *)base;
    const void *corked = NULL;

    pthread_mutex_lock(&context->cork_lock);
    /* If another thread has it corked, ours sends at once. */
    if (!atomic_load_explicit(&context->corker, memory_order_relaxed)) {
        corked = &thread_mark;
        atomic_store_explicit(&context->corker, corked, memory_order_relaxed);
    }
    pthread_mutex_unlock(&context->cork_lock);
    return corked;
}

static void flush_corked(struct tcp_conn *conn)
{
    hg_return_t ret = HG_SUCCESS;

    pthread_mutex_lock(&conn->base.lock);
    if (!na_conn_is_closed(&conn->base) && !atomic_load(&conn->base.broken))
        ret = flush(conn);
    pthread_mutex_unlock(&conn->base.lock);
    if (ret != HG_SUCCESS && ret != HG_AGAIN)
        na_conn_break(&conn->base, ret);
    na_conn_release(&conn->base);
}

/* Sends what has been collected; `corker` may collect from now on. */
static void flush_collected(struct tcp_context *context, const void *corker)
{
    struct tcp_conn *conns[TCP_CORKED];
    unsigned count;

    pthread_mutex_lock(&context->cork_lock);
    atomic_store_explicit(&context->corker, corker, memory_order_relaxed);
    count = context->corked_count;
    memcpy(conns, context->corked, count * sizeof *conns);
    context->corked_count = 0;
    pthread_mutex_unlock(&context->cork_lock);
    for (unsigned i = 0; i < count; i++)
        flush_corked(conns[i]);
}

void tcp_uncork(struct na_context *base, const void *corked)
{
    struct tcp_context *context = (struct tcp_context *)base;

    if (!corked)
        return;
    assert(atomic_load(&context->corker) == corked);
    flush_collected(context, NULL);
}

void tcp_flush_own(struct tcp_context *context)
{
    if (atomic_load_explicit(&context->corker, memory_order_relaxed) == &thread_mark)
        flush_collected(context, &thread_mark);
}

void tcp_send_fini(struct tcp_conn *conn, hg_return_t why)
{
    loan_over(conn, why);
    free(conn->out);
    conn->out = NULL;
    conn->out_start = conn->out_end = 0;
}
