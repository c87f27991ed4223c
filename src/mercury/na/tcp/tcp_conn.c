/*
 * Connections of tcp from the first packet to the end: connecting, accepting, and hellos.
 *
 * An incoming socket becomes a connection of its own, unless its hello shows that it belongs to another context (it is
 * handed over), or there is another connection with the same peer already (tcp_pair.c).
 */
#include "mercury/na/tcp/tcp.h"

#include "util/log.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ACCEPT_BATCH 32

static struct tcp_context *context_of(struct tcp_conn *conn)
{
    return (struct tcp_context *)conn->base.context;
}

static struct tcp_domain *domain_of(struct tcp_conn *conn)
{
    return (struct tcp_domain *)conn->base.context->domain;
}

/* ---- watching ---- */

static int watch_locked(struct tcp_conn *conn, int operation, bool output)
{
    pthread_mutex_lock(&conn->base.lock);
    int rc = tcp_watch(conn, operation, output);
    pthread_mutex_unlock(&conn->base.lock);
    return rc;
}

int tcp_watch(struct tcp_conn *conn, int operation, bool output)
{
    struct epoll_event event = {.events = output ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = conn};

    if (epoll_ctl(conn->base.context->wait.epoll_fd, operation, conn->sock, &event))
        return -1;
    conn->watches_output = output;
    return 0;
}

/* ---- objects ---- */

static struct tcp_conn *conn_new(int sock, enum tcp_stage stage)
{
    struct tcp_conn *conn = calloc(1, sizeof *conn);

    if (!conn)
        return NULL;
    conn->sock = sock;
    conn->stage = stage;
    conn->shaking_hands = true;
    pthread_mutex_init(&conn->in_lock, NULL);
    return conn;
}

void tcp_conn_free(struct na_conn *base)
{
    struct tcp_conn *conn = (struct tcp_conn *)base;

    assert(conn->sock < 0 && !conn->out && !conn->partial && !conn->in_loan);
    pthread_mutex_destroy(&conn->in_lock);
    free(conn);
}

static void conn_discard(struct tcp_conn *conn)
{
    close(conn->sock);
    conn->sock = -1;
    tcp_conn_free(&conn->base);
}

/* Takes the connection out of the counts of those that are not open yet. */
static void handshake_over(struct tcp_conn *conn)
{
    struct tcp_context *context = context_of(conn);

    if (!conn->shaking_hands)
        return;
    conn->shaking_hands = false;
    if (!conn->base.incoming) {
        atomic_fetch_sub(&context->connecting, 1);
        return;
    }
    assert(context->half_open > 0);
    context->half_open--;
}

void tcp_conn_shutdown(struct na_conn *base)
{
    struct tcp_conn *conn = (struct tcp_conn *)base;
    struct tcp_context *context = context_of(conn);

    for (unsigned i = 0; conn->hot && i < TCP_HOT; i++)
        if (context->hot[i] == conn)
            context->hot[i] = NULL;
    conn->hot = false;
    if (conn->stage == TCP_STAGE_PARKED)
        context->parked--;
    handshake_over(conn);
    tcp_send_fini(conn, HG_CANCELED);
    tcp_receive_fini(conn, HG_CANCELED);
    if (conn->sock >= 0) {
        na_context_unwatch(&context->base, conn->sock);
        tcp_socket_close(conn->sock);
    }
    conn->sock = -1;
    na_listen_resume(&context->base);
}

/* ---- hellos ---- */

hg_return_t tcp_send_hello(struct tcp_conn *conn, uint8_t target_id)
{
    struct {
        struct tcp_frame frame;
        struct tcp_hello hello;
    } message = {.frame = {.head_size = htole32(sizeof message.hello)}, .hello = {.epoch = domain_of(conn)->epoch}};
    ssize_t size;

    static_assert(sizeof message == sizeof message.frame + sizeof message.hello, "no padding");
    na_hello_fill(&message.hello.base, conn->base.context, target_id);
    /* Nothing has been sent on this socket before: there is room. */
    size = send(conn->sock, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size == (ssize_t)sizeof message)
        return HG_SUCCESS;
    return size < 0 && errno != EAGAIN ? tcp_errno(errno) : HG_NODEV;
}

void tcp_open(struct tcp_conn *conn)
{
    conn->stage = TCP_STAGE_OPEN;
    handshake_over(conn);
    na_conn_open(&conn->base);
}

hg_return_t tcp_welcome(struct tcp_conn *conn)
{
    struct na_context *context = conn->base.context;
    hg_return_t ret = tcp_send_hello(conn, conn->base.peer_context_id);

    if (ret != HG_SUCCESS)
        return ret;
    ret = context->upcalls.accepted(context->upcall_arg, &conn->base);
    if (ret == HG_SUCCESS)
        tcp_open(conn);
    return ret;
}

/* ---- greeting ---- */

/* Gives the socket to the context that the peer wants. The connection here ends without anybody having heard of it. */
static hg_return_t hand_over(struct tcp_conn *conn)
{
    struct tcp_domain *domain = domain_of(conn);
    struct tcp_handover *handover = malloc(sizeof *handover);
    struct tcp_context *target;

    if (!handover)
        return HG_NOMEM;
    pthread_mutex_lock(&domain->lock);
    target = domain->contexts[conn->hello.base.target_id];
    if (target) {
        na_context_unwatch(conn->base.context, conn->sock);
        *handover = (struct tcp_handover){.next = target->handover, .sock = conn->sock, .hello = conn->hello};
        conn->sock = -1;
        target->handover = handover;
        atomic_store(&target->has_handover, true);
        na_wait_wake(&target->base.wait);
    }
    pthread_mutex_unlock(&domain->lock);
    if (!target)
        free(handover);
    na_conn_close(&conn->base, target ? HG_CANCELED : HG_NOENTRY);
    return HG_SUCCESS;
}

/* Somebody who connected to us has said who it is. */
static hg_return_t greet_incoming(struct tcp_conn *conn)
{
    hg_return_t ret = na_hello_accept(&conn->base, &conn->hello.base);

    if (ret != HG_SUCCESS)
        return ret;
    return tcp_socket_prove(conn->sock, conn->base.peer, sizeof conn->base.peer) ? tcp_settle(conn) : HG_NODEV;
}

hg_return_t tcp_greeted(struct tcp_conn *conn, const void *bytes, size_t size, bool more_follows)
{
    hg_return_t ret;

    assert(size == sizeof conn->hello);
    if (conn->stage != TCP_STAGE_GREETING)
        return HG_PROTOCOL_ERROR;
    conn->base.silent_ns = 0;
    memcpy(&conn->hello, bytes, size);
    if (conn->hello.epoch == 0)
        return HG_PROTOCOL_ERROR;
    if (conn->base.incoming) {
        /* Who connects waits for our answer before it sends anything else. */
        if (more_follows)
            return HG_PROTOCOL_ERROR;
        if (conn->hello.base.target_id != conn->base.context->id)
            return hand_over(conn);
        return greet_incoming(conn);
    }
    ret = na_hello_accept(&conn->base, &conn->hello.base);
    if (ret == HG_SUCCESS)
        tcp_open(conn);
    return ret;
}

/* ---- connecting ---- */

hg_return_t tcp_connect(struct na_context *base, const char *host, uint8_t target_id, void *user,
                        struct na_conn **result)
{
    struct tcp_context *context = (struct tcp_context *)base;
    hg_return_t ret = HG_NOMEM;
    int sock = tcp_socket_connect((const struct tcp_domain *)base->domain, host, &ret);
    struct tcp_conn *conn;

    if (sock < 0)
        return ret;
    conn = conn_new(sock, TCP_STAGE_CONNECTING);
    if (!conn) {
        close(sock);
        return HG_NOMEM;
    }
    strncpy(conn->base.peer, host, sizeof conn->base.peer - 1);
    conn->base.peer_context_id = target_id;
    conn->base.user = user;
    atomic_fetch_add(&context->connecting, 1);
    ret = na_conn_init(&conn->base, base, false);
    if (ret != HG_SUCCESS) {
        atomic_fetch_sub(&context->connecting, 1);
        conn_discard(conn);
        return ret;
    }
    /* From here on the progress loop may see it, and have given it a socket that the peer has started, and watch
     * that. */
    if (watch_locked(conn, EPOLL_CTL_ADD, true) && errno != EEXIST)
        na_conn_break(&conn->base, HG_NOMEM);
    *result = &conn->base;
    return HG_SUCCESS;
}

hg_return_t tcp_connected(struct tcp_conn *conn)
{
    int error = 0;
    socklen_t size = sizeof error;
    hg_return_t ret;

    assert(conn->stage == TCP_STAGE_CONNECTING);
    if (getsockopt(conn->sock, SOL_SOCKET, SO_ERROR, &error, &size))
        error = errno;
    if (error)
        return tcp_errno(error);
    if (tcp_socket_is_echo(conn->sock))
        return HG_HOSTUNREACH;
    ret = tcp_send_hello(conn, conn->base.peer_context_id);
    if (ret != HG_SUCCESS)
        return ret;
    conn->stage = TCP_STAGE_GREETING;
    return watch_locked(conn, EPOLL_CTL_MOD, false) ? HG_NOMEM : HG_SUCCESS;
}

/* ---- accepting ---- */

/* A connection for an accepted socket, with a reference for the context only; NULL: the socket is closed. */
static struct tcp_conn *accept_socket(struct tcp_context *context, int sock)
{
    struct tcp_conn *conn = conn_new(sock, TCP_STAGE_GREETING);

    if (!conn) {
        close(sock);
        return NULL;
    }
    tcp_socket_tune(sock);
    if (context->half_open >= NA_HALF_OPEN_MAX)
        na_listen_drop_oldest(&context->base); /* who says nothing must not keep others out */
    if (na_conn_init(&conn->base, &context->base, true) != HG_SUCCESS) {
        conn_discard(conn);
        return NULL;
    }
    context->half_open++;
    if (watch_locked(conn, EPOLL_CTL_ADD, false) == 0)
        return conn;
    na_conn_close(&conn->base, HG_NOMEM);
    return NULL;
}

void tcp_accept(struct na_context *base)
{
    struct tcp_context *context = (struct tcp_context *)base;

    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int sock = na_listen_accept(base);
        if (sock < 0)
            return;
        accept_socket(context, sock);
    }
}

bool tcp_take_handover(struct tcp_context *context)
{
    struct tcp_domain *domain = (struct tcp_domain *)context->base.domain;
    struct tcp_handover *list, *next;

    pthread_mutex_lock(&domain->lock);
    list = context->handover;
    context->handover = NULL;
    atomic_store(&context->has_handover, false);
    pthread_mutex_unlock(&domain->lock);
    for (struct tcp_handover *handover = list; handover; handover = next) {
        struct tcp_conn *conn = accept_socket(context, handover->sock);
        hg_return_t ret = HG_SUCCESS;
        if (conn)
            ret = tcp_greeted(conn, &handover->hello, sizeof handover->hello, false);
        if (ret != HG_SUCCESS)
            na_conn_close(&conn->base, ret);
        next = handover->next;
        free(handover);
    }
    return list != NULL;
}
