/*
 * The receiving side of a connection: frames out of a stream of bytes, in the progress loop.
 *
 * Reading goes into the context's buffer; complete messages are delivered from there, the beginning of an incomplete
 * one is kept with the connection and put in front of the next read. A payload is read into the memory that the core
 * lends, together with the beginning of what follows it. Because the frame in front of a payload is read without
 * knowing what comes, the first bytes of the payload are in the buffer and have to be copied; reads are small while
 * payloads are expected, so that these are few.
 *
 * While memory is lent to us it may be recalled by another thread: it is only touched under in_lock.
 */
#include "mercury/na/tcp/tcp.h"

#include "util/log.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECES_MAX 64 /* of a loan, per system call */
#define EXPECTANT  16 /* small reads after a payload */
#define READS_MAX  16 /* per call, so that others get their turn */

/* ---- payloads ---- */

/* Copies up to `size` bytes into the loan; returns how many it took. */
static size_t fill_loan(struct tcp_conn *conn, const char *bytes, size_t size)
{
    size_t taken = 0;

    pthread_mutex_lock(&conn->in_lock);
    while (conn->in_loan && taken < size && conn->in_done < conn->in_loan->size) {
        struct iovec piece;
        size_t room, here;
        tcp_loan_pieces(conn->in_loan, conn->in_done, &piece, 1, &room);
        here = size - taken < room ? size - taken : room;
        memcpy(piece.iov_base, bytes + taken, here);
        conn->in_done += here;
        taken += here;
    }
    pthread_mutex_unlock(&conn->in_lock);
    return taken;
}

/* If the loan has been recalled already, its bytes among the next `size` are nobody's; returns how many these are. */
static size_t skip_discarded(struct tcp_conn *conn, size_t size)
{
    size_t skipped = 0;

    pthread_mutex_lock(&conn->in_lock);
    if (!conn->in_loan) {
        skipped = size < conn->discard ? size : conn->discard;
        conn->discard -= skipped;
    }
    pthread_mutex_unlock(&conn->in_lock);
    return skipped;
}

/* If the payload is complete, the core gets its memory back. */
static hg_return_t finish_payload(struct tcp_conn *conn)
{
    struct na_context *context = conn->base.context;
    struct na_loan *loan = NULL;

    pthread_mutex_lock(&conn->in_lock);
    if (conn->in_loan && conn->in_done == conn->in_loan->size) {
        loan = conn->in_loan;
        conn->in_loan = NULL;
    }
    pthread_mutex_unlock(&conn->in_lock);
    return loan ? context->upcalls.placed(context->upcall_arg, &conn->base, loan) : HG_SUCCESS;
}

/* A message with a payload; the first `size` bytes of the payload are in the buffer. `*taken`: how many belong to
 * it. */
static hg_return_t start_payload(struct tcp_conn *conn, const char *head, size_t head_size, size_t payload_size,
                                 const char *bytes, size_t size, size_t *taken)
{
    struct na_context *context = conn->base.context;
    struct na_loan *loan = NULL;
    hg_return_t ret = context->upcalls.place(context->upcall_arg, &conn->base, head, head_size, payload_size, &loan);

    if (ret != HG_SUCCESS)
        return ret;
    conn->expectant = EXPECTANT;
    if (loan) {
        assert(loan->size == payload_size);
        pthread_mutex_lock(&conn->in_lock);
        conn->in_loan = loan;
        conn->in_done = 0;
        pthread_mutex_unlock(&conn->in_lock);
        *taken = fill_loan(conn, bytes, size);
        *taken += skip_discarded(conn, size - *taken);
        return finish_payload(conn);
    }
    *taken = size < payload_size ? size : payload_size;
    conn->discard = payload_size - *taken;
    return HG_SUCCESS;
}

/* ---- frames ---- */

/* Keeps the beginning of a frame for the next read; `need` is the size of the whole if that is known. */
static hg_return_t keep_partial(struct tcp_conn *conn, const char *bytes, size_t size, size_t need)
{
    assert(!conn->partial && size < need);
    if (size == 0)
        return HG_SUCCESS;
    conn->partial = malloc(size);
    if (!conn->partial)
        return HG_NOMEM;
    memcpy(conn->partial, bytes, size);
    conn->partial_size = size;
    return HG_SUCCESS;
}

/* Is the header of a frame acceptable now? */
static bool frame_good(const struct tcp_conn *conn, const struct tcp_frame *frame)
{
    if (conn->stage != TCP_STAGE_OPEN)
        return frame->head_size == sizeof(struct tcp_hello) && frame->payload_size == 0;
    return frame->head_size > 0 && frame->head_size <= TCP_MESSAGE_MAX && frame->payload_size <= TCP_LOAN_MAX;
}

/* One complete message, and as much of its payload as there is. */
static hg_return_t deliver(struct tcp_conn *conn, const struct tcp_frame *frame, const char *head, const char *rest,
                           size_t rest_size, size_t *taken)
{
    struct na_context *context = conn->base.context;

    *taken = 0;
    if (conn->stage != TCP_STAGE_OPEN)
        return tcp_greeted(conn, head, frame->head_size, rest_size > 0);
    if (frame->payload_size > 0)
        return start_payload(conn, head, frame->head_size, frame->payload_size, rest, rest_size, taken);
    return context->upcalls.message(context->upcall_arg, &conn->base, head, frame->head_size);
}

/* Everything that is in the buffer. */
static hg_return_t parse(struct tcp_conn *conn, const char *bytes, size_t size)
{
    hg_return_t ret = HG_SUCCESS;

    while (ret == HG_SUCCESS && !na_conn_is_closed(&conn->base)) {
        struct tcp_frame frame;
        size_t taken;
        if (size < sizeof frame)
            return keep_partial(conn, bytes, size, sizeof frame);
        memcpy(&frame, bytes, sizeof frame);
        frame.head_size = le32toh(frame.head_size);
        frame.payload_size = le32toh(frame.payload_size);
        if (!frame_good(conn, &frame))
            return HG_PROTOCOL_ERROR;
        if (size - sizeof frame < frame.head_size)
            return keep_partial(conn, bytes, size, sizeof frame + frame.head_size);
        const char *head = bytes + sizeof frame;
        bytes = head + frame.head_size;
        size -= sizeof frame + frame.head_size;
        ret = deliver(conn, &frame, head, bytes, size, &taken);
        bytes += taken;
        size -= taken;
    }
    return ret;
}

/* ---- reading ---- */

static hg_return_t read_failed(ssize_t result)
{
    if (result == 0)
        return HG_NODEV;
    return errno == ECONNREFUSED ? HG_HOSTUNREACH : tcp_errno(errno);
}

/* Reads the rest of a payload, and what comes behind it into the buffer; `*extra` bytes of that. HG_NOENTRY: the loan
 * has been recalled. */
static hg_return_t read_payload(struct tcp_conn *conn, size_t *extra)
{
    struct tcp_context *context = (struct tcp_context *)conn->base.context;
    struct iovec pieces[PIECES_MAX + 1];
    struct msghdr message = {.msg_iov = pieces};
    size_t bytes, rest;
    ssize_t size;

    *extra = 0;
    pthread_mutex_lock(&conn->in_lock);
    if (!conn->in_loan) {
        pthread_mutex_unlock(&conn->in_lock);
        return HG_NOENTRY;
    }
    rest = conn->in_loan->size - conn->in_done;
    message.msg_iovlen = (size_t)tcp_loan_pieces(conn->in_loan, conn->in_done, pieces, PIECES_MAX, &bytes);
    if (bytes == rest)
        pieces[message.msg_iovlen++] = (struct iovec){.iov_base = context->input, .iov_len = TCP_READ_SMALL};
    size = recvmsg(conn->sock, &message, MSG_DONTWAIT);
    if (size > 0) {
        *extra = (size_t)size > bytes ? (size_t)size - bytes : 0;
        conn->in_done += (size_t)size - *extra;
    }
    pthread_mutex_unlock(&conn->in_lock);
    return size > 0 ? HG_SUCCESS : read_failed(size);
}

/* Throws away the rest of a payload that nobody wants. */
static hg_return_t read_discarded(struct tcp_conn *conn)
{
    struct tcp_context *context = (struct tcp_context *)conn->base.context;
    size_t most = conn->discard < TCP_READ_MAX ? conn->discard : TCP_READ_MAX;
    ssize_t size = recv(conn->sock, context->input, most, MSG_DONTWAIT);

    if (size <= 0)
        return read_failed(size);
    conn->discard -= (size_t)size;
    return HG_SUCCESS;
}

/* Reads messages. `*full`: there may be more. */
static hg_return_t read_messages(struct tcp_conn *conn, bool *full)
{
    struct tcp_context *context = (struct tcp_context *)conn->base.context;
    size_t start = conn->partial_size, room = TCP_READ_MAX - start;
    ssize_t size;

    assert(start < TCP_READ_MAX);
    if (conn->expectant > 0 && room > TCP_READ_SMALL)
        room = TCP_READ_SMALL;
    size = recv(conn->sock, context->input + start, room, MSG_DONTWAIT);
    if (size <= 0)
        return read_failed(size);
    *full = (size_t)size == room;
    if (conn->expectant > 0)
        conn->expectant--;
    if (start > 0) {
        memcpy(context->input, conn->partial, start);
        free(conn->partial);
        conn->partial = NULL;
        conn->partial_size = 0;
    }
    return parse(conn, context->input, start + (size_t)size);
}

/* One system call's worth. `*more`: it pays to try again. */
static hg_return_t read_once(struct tcp_conn *conn, bool *more)
{
    struct tcp_context *context = (struct tcp_context *)conn->base.context;
    hg_return_t ret;
    size_t extra;

    *more = true;
    ret = read_payload(conn, &extra);
    if (ret == HG_NOENTRY)
        return conn->discard > 0 ? read_discarded(conn) : read_messages(conn, more);
    if (ret != HG_SUCCESS)
        return ret;
    ret = finish_payload(conn);
    if (ret == HG_SUCCESS && extra > 0)
        ret = parse(conn, context->input, extra);
    return ret;
}

hg_return_t tcp_receive(struct tcp_conn *conn)
{
    bool any = false, more = true;

    for (int i = 0; more && i < READS_MAX; i++) {
        if (na_conn_is_closed(&conn->base))
            return HG_SUCCESS;
        hg_return_t ret = read_once(conn, &more);
        if (ret == HG_AGAIN)
            break;
        if (ret != HG_SUCCESS)
            return ret;
        any = true;
    }
    return any ? HG_SUCCESS : HG_AGAIN;
}

void tcp_receive_fini(struct tcp_conn *conn, hg_return_t why)
{
    struct na_loan *loan;

    pthread_mutex_lock(&conn->in_lock);
    loan = conn->in_loan;
    conn->in_loan = NULL;
    if (loan)
        loan->release(loan, why);
    pthread_mutex_unlock(&conn->in_lock);
    free(conn->partial);
    conn->partial = NULL;
    conn->partial_size = 0;
}

hg_return_t tcp_conn_recall(struct na_conn *base, uint64_t loan_number)
{
    struct tcp_conn *conn = (struct tcp_conn *)base;
    struct na_loan *loan = conn->out_loan;
    hg_return_t ret = HG_SUCCESS;

    if (loan && loan->number == loan_number) {
        conn->out_loan = na_loan_copy(loan, conn->out_sent);
        conn->out_sent = 0;
        loan->release(loan, HG_CANCELED);
        ret = conn->out_loan ? HG_SUCCESS : HG_NOMEM;
    }
    pthread_mutex_lock(&conn->in_lock);
    loan = conn->in_loan;
    if (loan && loan->number == loan_number) {
        conn->discard = loan->size - conn->in_done;
        conn->in_loan = NULL;
        loan->release(loan, HG_CANCELED);
    }
    pthread_mutex_unlock(&conn->in_lock);
    return ret;
}
