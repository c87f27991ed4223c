/*
 * Which connection leads to which endpoint, per context. Entries appear when we connect or are connected to, and go
 * when the connection closes. A peer that connects while we connect to it may give two connections; the first one known
 * is used for requests, answers go back where the request came from.
 */
#include "mercury/hg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct hgi_peer_key {
    struct hg_addr *addr;
    uint64_t context_id;
};

struct hgi_peer {
    struct hgi_peer_key key; /* addr: with a reference */
    struct na_conn *conn;    /* with a reference */
    UT_hash_handle hh;
};

static struct hgi_peer *find(hg_context_t *context, struct hg_addr *addr, uint64_t context_id)
{
    struct hgi_peer_key key = {.addr = addr, .context_id = context_id};
    struct hgi_peer *peer;

    assert(addr);
    /* NOLINTNEXTLINE(clang-analyzer-core.*): the analyser loses track in the hash function */
    HASH_FIND(hh, context->peers, &key, sizeof key, peer);
    return peer;
}

/* Any context of that endpoint, context 0 first. */
static struct hgi_peer *find_any(hg_context_t *context, struct hg_addr *addr)
{
    struct hgi_peer *peer = find(context, addr, 0), *next;

    if (peer)
        return peer;
    HASH_ITER (hh, context->peers, peer, next) {
        if (peer->key.addr == addr && !na_conn_is_closed(peer->conn))
            return peer;
    }
    return NULL;
}

/* Takes over the caller's reference to `conn`. peers_lock held. */
static hg_return_t add(hg_context_t *context, struct hg_addr *addr, struct na_conn *conn)
{
    struct hgi_peer *peer = calloc(1, sizeof *peer);

    if (!peer) {
        na_conn_release(conn);
        return HG_NOMEM;
    }
    hgi_addr_ref(addr);
    peer->key.addr = addr;
    peer->key.context_id = conn->peer_context_id;
    peer->conn = conn;
    HASH_ADD(hh, context->peers, key, sizeof peer->key, peer);
    return HG_SUCCESS;
}

static void drop(hg_context_t *context, struct hgi_peer *peer)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the analyser does not see that deleting unlinks */
    HASH_DEL(context->peers, peer);
    na_conn_release(peer->conn);
    hgi_addr_release(peer->key.addr);
    free(peer);
}

/* peers_lock held. */
static hg_return_t connect_peer(hg_context_t *context, struct hg_addr *addr, uint8_t context_id, struct na_conn **conn)
{
    hg_return_t ret;

    if (atomic_load(&context->closing))
        return HG_CANCELED;
    hgi_addr_ref(addr); /* conn->user; dropped when the connection is forgotten */
    ret = context->hg_class->domain->transport->connect(context->na, addr->host, context_id, addr, conn);
    if (ret != HG_SUCCESS) {
        hgi_addr_release(addr);
        return ret;
    }
    na_conn_ref(*conn); /* the table's */
    if (add(context, addr, *conn) == HG_SUCCESS)
        return HG_SUCCESS;
    na_conn_break(*conn, HG_NOMEM);
    na_conn_release(*conn);
    return HG_NOMEM;
}

hg_return_t hgi_peer_get(hg_context_t *context, struct hg_addr *addr, int context_id, struct na_conn **conn)
{
    struct hgi_peer *peer;
    hg_return_t ret = HG_SUCCESS;

    assert(addr != context->hg_class->self);
    pthread_mutex_lock(&context->peers_lock);
    peer = context_id < 0 ? find_any(context, addr) : find(context, addr, (uint64_t)context_id);
    if (peer && na_conn_is_closed(peer->conn)) {
        drop(context, peer);
        peer = NULL;
    }
    if (peer) {
        *conn = peer->conn;
        na_conn_ref(*conn);
    } else {
        ret = connect_peer(context, addr, (uint8_t)(context_id < 0 ? 0 : context_id), conn);
    }
    pthread_mutex_unlock(&context->peers_lock);
    return ret;
}

hg_return_t hgi_peer_accept(hg_context_t *context, struct na_conn *conn)
{
    struct hg_addr *addr = hgi_addr_intern(context->hg_class, conn->peer);
    hg_return_t ret = HG_SUCCESS;

    assert(conn->incoming && !conn->user);
    if (!addr)
        return HG_NOMEM;
    pthread_mutex_lock(&context->peers_lock);
    if (!find(context, addr, conn->peer_context_id)) {
        na_conn_ref(conn);
        ret = add(context, addr, conn);
    }
    pthread_mutex_unlock(&context->peers_lock);
    if (ret == HG_SUCCESS)
        conn->user = addr;
    else
        hgi_addr_release(addr);
    return ret;
}

void hgi_peer_forget(hg_context_t *context, struct na_conn *conn)
{
    struct hg_addr *addr = conn->user;
    struct hgi_peer *peer;

    assert(na_conn_is_closed(conn));
    pthread_mutex_lock(&context->peers_lock);
    peer = find(context, addr, conn->peer_context_id);
    if (peer && peer->conn == conn)
        drop(context, peer);
    pthread_mutex_unlock(&context->peers_lock);
    conn->user = NULL;
    hgi_addr_release(addr);
}

void hgi_peer_remove(hg_context_t *context, struct hg_addr *addr)
{
    struct hgi_peer *peer, *next;

    pthread_mutex_lock(&context->peers_lock);
    HASH_ITER (hh, context->peers, peer, next) {
        if (peer->key.addr != addr)
            continue;
        na_conn_break(peer->conn, HG_NODEV);
        drop(context, peer);
    }
    pthread_mutex_unlock(&context->peers_lock);
}
