/*
 * Connections of tcp from the first packet to the end: connecting, accepting, hellos, and what happens if both sides
 * connect at once (tcp.h says who wins).
 *
 * An incoming socket becomes a connection of its own, unless its hello shows that it belongs elsewhere: to another
 * context (handed over), to a connection of ours that waits for the same peer and loses (adopted), or to nobody yet
 * because ours is to win (parked).
 */
#include "mercury/na/tcp/tcp.h"

#include "util/log.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ACCEPT_BATCH      32
#define KEEPALIVE_IDLE_S  10
#define KEEPALIVE_EVERY_S 5
#define KEEPALIVE_PROBES  2

static struct tcp_context *context_of(struct tcp_conn *conn)
{
    return (struct tcp_context *)conn->base.context;
}

static struct tcp_domain *domain_of(struct tcp_conn *conn)
{
    return (struct tcp_domain *)conn->base.context->domain;
}

/* ---- sockets ---- */

static void set_option(int sock, int level, int name, int value)
{
    /* Without one of them everything still works, only slower or later. */
    if (setsockopt(sock, level, name, &value, sizeof value))
        log_debug("mercury", "socket option %d of level %d: %s", name, level, strerror(errno));
}

static void tune(int sock)
{
    set_option(sock, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(sock, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(sock, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(sock, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
    set_option(sock, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_option(sock, IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_DEAD_MS);
}

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

/* Connects from our own address, so that the peer can believe our hello. The port is chosen later, by the kernel. */
static void bind_source(int sock, const union na_ip *self, const union na_ip *target)
{
    union na_ip source = *self;

    if (self->any.sa_family != target->any.sa_family)
        return;
    na_ip_set_port(&source, 0);
    set_option(sock, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    if (bind(sock, &source.any, na_ip_size(&source)))
        log_debug("mercury", "cannot connect from the own address: %s", strerror(errno));
}

/* A socket that connects; -1 and errno. */
static int start_connecting(const union na_ip *target, const union na_ip *self)
{
    int saved, sock = socket(target->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (sock < 0)
        return -1;
    tune(sock);
    if (self)
        bind_source(sock, self, target);
    if (connect(sock, &target->any, na_ip_size(target)) == 0 || errno == EINPROGRESS)
        return sock;
    saved = errno;
    close(sock);
    errno = saved;
    return -1;
}

/* The same for the text of an address; -1 and `*ret`. */
static int open_socket(const struct tcp_domain *domain, const char *host, hg_return_t *ret)
{
    union na_ip target;
    int sock;

    *ret = HG_INVALID_ARG;
    if (na_ip_resolve(host, false, &target, NULL))
        return -1;
    sock = start_connecting(&target, &domain->self);
    /* Our own address may not lead there, as loopback does not lead to another machine. */
    if (sock < 0 && (errno == EINVAL || errno == ENETUNREACH || errno == EADDRNOTAVAIL))
        sock = start_connecting(&target, NULL);
    if (sock < 0)
        *ret = tcp_errno(errno);
    return sock;
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

/* Ends the stream so that what we sent last still arrives: closing a socket with unread input would reset it. */
static void close_gently(int sock)
{
    char rubbish[4096];

    shutdown(sock, SHUT_WR);
    for (int i = 0; i < 64 && recv(sock, rubbish, sizeof rubbish, MSG_DONTWAIT) > 0; i++)
        ;
    close(sock);
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
    if (conn->sock >= 0)
        close_gently(conn->sock);
    conn->sock = -1;
    na_listen_resume(&context->base);
}

/* ---- hellos ---- */

static hg_return_t send_hello(struct tcp_conn *conn, uint8_t target_id)
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

/* Is the peer on the host that its hello names? If not it is called by the address that the connection comes from: nobody
 * else can be reached or be taken for somebody by that name, and requests to it go over this connection. */
static bool prove_name(struct tcp_conn *conn)
{
    union na_ip claimed, real;
    socklen_t size = sizeof real;

    memset(&real, 0, sizeof real);
    if (na_ip_resolve(conn->base.peer, false, &claimed, NULL) || getpeername(conn->sock, &real.any, &size))
        return false;
    if (na_ip_same_host(&claimed, &real))
        return true;
    log_debug("mercury", "a peer that calls itself %s connects from another address", conn->base.peer);
    na_ip_format(&real, conn->base.peer, sizeof conn->base.peer);
    return true;
}

static void open_conn(struct tcp_conn *conn)
{
    conn->stage = TCP_STAGE_OPEN;
    handshake_over(conn);
    na_conn_open(&conn->base);
}

/* Answers an incoming hello and opens the connection. */
static hg_return_t welcome(struct tcp_conn *conn)
{
    struct na_context *context = conn->base.context;
    hg_return_t ret = send_hello(conn, conn->base.peer_context_id);

    if (ret != HG_SUCCESS)
        return ret;
    ret = context->upcalls.accepted(context->upcall_arg, &conn->base);
    if (ret == HG_SUCCESS)
        open_conn(conn);
    return ret;
}

/* ---- two connections for one pair ---- */

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

    epoll_ctl(conn->base.context->wait.epoll_fd, EPOLL_CTL_DEL, incoming->sock, NULL);
    pthread_mutex_lock(&conn->base.lock);
    conn->sock = incoming->sock;
    incoming->sock = -1;
    close(old);
    conn->hello = incoming->hello;
    if (tcp_watch(conn, EPOLL_CTL_ADD, false))
        ret = HG_NOMEM;
    pthread_mutex_unlock(&conn->base.lock);
    if (ret == HG_SUCCESS)
        ret = send_hello(conn, conn->base.peer_context_id);
    if (ret == HG_SUCCESS)
        open_conn(conn);
    else
        na_conn_close(&conn->base, ret);
    na_conn_close(&incoming->base, HG_CANCELED);
    return HG_SUCCESS;
}

static hg_return_t settle(struct tcp_conn *conn)
{
    bool stale;
    struct tcp_conn *rival;
    hg_return_t ret = HG_SUCCESS;

    while ((rival = find_rival(conn, &stale)) && stale) {
        log_debug("mercury", "%s was restarted: its old connection is closed", conn->base.peer);
        na_conn_close(&rival->base, HG_NODEV);
        na_conn_release(&rival->base);
    }
    if (!rival)
        return welcome(conn);
    if (ours_wins(conn)) {
        conn->stage = TCP_STAGE_PARKED;
        context_of(conn)->parked++;
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
static bool decide(struct tcp_conn *conn)
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
        context_of(conn)->parked--;
        ret = settle(conn);
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
        bool decided = decide(conn);
        any |= decided;
        /* Who is decided may have left the list. */
        next = decided ? NULL : next_parked(context, conn);
        na_conn_release(&conn->base);
    }
    return any;
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
        epoll_ctl(conn->base.context->wait.epoll_fd, EPOLL_CTL_DEL, conn->sock, NULL);
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
    return prove_name(conn) ? settle(conn) : HG_NODEV;
}

hg_return_t tcp_greeted(struct tcp_conn *conn, const void *bytes, size_t size, bool more_follows)
{
    hg_return_t ret;

    assert(size == sizeof conn->hello);
    if (conn->stage != TCP_STAGE_GREETING)
        return HG_PROTOCOL_ERROR;
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
        open_conn(conn);
    return ret;
}

/* ---- connecting ---- */

hg_return_t tcp_connect(struct na_context *base, const char *host, uint8_t target_id, void *user,
                        struct na_conn **result)
{
    struct tcp_context *context = (struct tcp_context *)base;
    hg_return_t ret = HG_NOMEM;
    int sock = open_socket((const struct tcp_domain *)base->domain, host, &ret);
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
    /* From here on the progress loop may see it, and have given it a socket that the peer has started, and watch that. */
    if (watch_locked(conn, EPOLL_CTL_ADD, true) && errno != EEXIST)
        na_conn_break(&conn->base, HG_NOMEM);
    *result = &conn->base;
    return HG_SUCCESS;
}

/* A socket that nobody listens to may connect to itself. */
static bool is_own_echo(int sock)
{
    union na_ip here = {0}, there = {0};
    socklen_t here_size = sizeof here, there_size = sizeof there;

    return getsockname(sock, &here.any, &here_size) == 0 && getpeername(sock, &there.any, &there_size) == 0 &&
           na_ip_port(&here) == na_ip_port(&there) && na_ip_same_host(&here, &there);
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
    if (is_own_echo(conn->sock))
        return HG_HOSTUNREACH;
    ret = send_hello(conn, conn->base.peer_context_id);
    if (ret != HG_SUCCESS)
        return ret;
    conn->stage = TCP_STAGE_GREETING;
    return watch_locked(conn, EPOLL_CTL_MOD, false) ? HG_NOMEM : HG_SUCCESS;
}

/* ---- accepting ---- */

/* Who connects and says nothing must not keep others out: the one that has been silent for longest goes. */
static void drop_silent(struct tcp_context *context)
{
    struct tcp_conn *oldest = NULL;

    pthread_mutex_lock(&context->base.conns_lock);
    list_for_each (node, &context->base.conns) {
        struct tcp_conn *conn = (struct tcp_conn *)container_of(node, struct na_conn, link);
        if (conn->base.incoming && conn->stage == TCP_STAGE_GREETING) {
            oldest = conn;
            break;
        }
    }
    pthread_mutex_unlock(&context->base.conns_lock);
    if (oldest)
        na_conn_close(&oldest->base, HG_TIMEOUT);
}

/* A connection for an accepted socket, with a reference for the context only; NULL: the socket is closed. */
static struct tcp_conn *accept_socket(struct tcp_context *context, int sock)
{
    struct tcp_conn *conn = conn_new(sock, TCP_STAGE_GREETING);

    if (!conn) {
        close(sock);
        return NULL;
    }
    tune(sock);
    if (context->half_open >= NA_HALF_OPEN_MAX)
        drop_silent(context);
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
