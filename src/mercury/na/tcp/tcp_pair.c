/*
 * Two connections between the same two endpoints, because both connected at once or because one of them is a new
 * incarnation at an old address (tcp.h says who wins).
 *
 * An incoming connection whose hello is there becomes one of its own, unless a connection of ours waits for the same
 * peer: that takes its socket over if it loses (adopts), and if it is to win, the incoming one waits for the outcome
 * (is parked). What is open to a former incarnation is closed.
 */
#include "mercury/na/tcp/tcp.h"

#include "util/log.h"

#include <assert.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static bool same_peer(const struct na_conn *a, const struct na_conn *b)
{
    return a->peer_context_id == b->peer_context_id && strcmp(a->peer, b->peer) == 0;
}

/* Another connection with the same peer, with a reference: one that we started and that is not open yet, or one that
 * is open to a former incarnation of the peer. */
static struct tcp_conn *find_rival(struct tcp_conn *conn, bool *stale)
{
    struct na_context *context = conn->base.context;
    struct tcp_conn *rival = NULL;

    pthread_mutex_lock(&context->conns_lock);
    list_for_each (node, &context->conns) {
        struct na_conn *other = container_of(node, struct na_conn, link);
        struct tcp_conn *tcp = (struct tcp_conn *)other;
        if (other == &conn->base || !same_peer(other, &conn->base))
            continue;
        *stale = tcp->stage == TCP_STAGE_OPEN && tcp->hello.epoch != conn->hello.epoch;
        if (!*stale && (other->incoming || tcp->stage == TCP_STAGE_OPEN))
            continue;
        na_conn_ref(other);
        rival = tcp;
        break;
    }
    pthread_mutex_unlock(&context->conns_lock);
    return rival;
}

/* Does a connection that we start win against one that the peer starts? */
static bool ours_wins(const struct tcp_conn *conn)
{
    const struct na_context *context = conn->base.context;
    int order = strcmp(context->domain->host, conn->base.peer);

    return order < 0 || (order == 0 && context->id < conn->base.peer_context_id);
}

/* The connection that we started goes on over the socket that the peer started. */
static hg_return_t adopt(struct tcp_conn *conn, struct tcp_conn *incoming)
{
    hg_return_t ret = HG_SUCCESS;
    int old = conn->sock;

    na_context_unwatch(conn->base.context, incoming->sock);
    pthread_mutex_lock(&conn->base.lock);
    conn->sock = incoming->sock;
    incoming->sock = -1;
    na_context_unwatch(conn->base.context, old);
    close(old);
    conn->hello = incoming->hello;
    if (tcp_watch(conn, EPOLL_CTL_ADD, false))
        ret = HG_NOMEM;
    pthread_mutex_unlock(&conn->base.lock);
    if (ret == HG_SUCCESS)
        ret = tcp_send_hello(conn, conn->base.peer_context_id);
    if (ret == HG_SUCCESS)
        tcp_open(conn);
    else
        na_conn_close(&conn->base, ret);
    na_conn_close(&incoming->base, HG_CANCELED);
    return HG_SUCCESS;
}

hg_return_t tcp_settle(struct tcp_conn *conn)
{
    struct tcp_context *context = (struct tcp_context *)conn->base.context;
    struct tcp_conn *rival;
    hg_return_t ret = HG_SUCCESS;
    bool stale;

    assert(conn->base.incoming && conn->stage == TCP_STAGE_GREETING);
    while ((rival = find_rival(conn, &stale)) && stale) {
        log_debug("mercury", "%s was restarted: its old connection is closed", conn->base.peer);
        na_conn_close(&rival->base, HG_NODEV);
        na_conn_release(&rival->base);
    }
    if (!rival)
        return tcp_welcome(conn);
    if (ours_wins(conn)) {
        conn->stage = TCP_STAGE_PARKED;
        context->parked++;
    } else {
        ret = adopt(rival, conn);
    }
    na_conn_release(&rival->base);
    return ret;
}

/* A parked connection, with a reference. */
static struct tcp_conn *next_parked(struct tcp_context *context, const struct tcp_conn *after)
{
    struct tcp_conn *found = NULL;
    bool passed = !after;

    pthread_mutex_lock(&context->base.conns_lock);
    list_for_each (node, &context->base.conns) {
        struct tcp_conn *conn = (struct tcp_conn *)container_of(node, struct na_conn, link);
        if (passed && conn->base.incoming && conn->stage == TCP_STAGE_PARKED) {
            na_conn_ref(&conn->base);
            found = conn;
            break;
        }
        passed |= conn == after;
    }
    pthread_mutex_unlock(&context->base.conns_lock);
    return found;
}

/* Is a connection that we started to the peer of `conn` open? */
static bool has_open_rival(struct tcp_conn *conn)
{
    struct na_context *context = conn->base.context;
    bool found = false;

    pthread_mutex_lock(&context->conns_lock);
    list_for_each (node, &context->conns) {
        struct na_conn *other = container_of(node, struct na_conn, link);
        if (!other->incoming && ((struct tcp_conn *)other)->stage == TCP_STAGE_OPEN && same_peer(other, &conn->base))
            found = true;
    }
    pthread_mutex_unlock(&context->conns_lock);
    return found;
}

/* True if there is nothing to wait for any more. */
static bool decide(struct tcp_context *context, struct tcp_conn *conn)
{
    bool stale;
    struct tcp_conn *rival = find_rival(conn, &stale);
    hg_return_t ret = HG_CANCELED;

    if (rival)
        na_conn_release(&rival->base);
    if (rival && !stale)
        return false;
    if (!has_open_rival(conn)) {
        conn->stage = TCP_STAGE_GREETING;
        assert(context->parked > 0);
        context->parked--;
        ret = tcp_settle(conn);
    }
    if (ret != HG_SUCCESS)
        na_conn_close(&conn->base, ret);
    return true;
}

bool tcp_decide_parked(struct tcp_context *context)
{
    struct tcp_conn *conn = next_parked(context, NULL), *next;
    bool any = false;

    for (; conn; conn = next) {
        bool decided = decide(context, conn);
        any |= decided;
        /* Who is decided may have left the list. */
        next = decided ? NULL : next_parked(context, conn);
        na_conn_release(&conn->base);
    }
    return any;
}
