/*
 * Connections of na+sm: the handshake on the Unix socket, then the rings.
 *
 * Memory layout of the memfd: one page with the control words of both rings, then the data of ring 0 (written by the
 * side that connected) and of ring 1. Descriptors that arrive with a hello are owned by the connection from then on,
 * or closed if anything about the hello is wrong.
 */
#include "mercury/na/sm/sm.h"

#include "util/fence.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE         4096u
#define MAP_SIZE     ((size_t)PAGE + 2 * SM_RING_SIZE)
#define ACCEPT_BATCH 32
#define FDS_MAX      3

static struct sm_context *context_of(struct sm_conn *conn)
{
    return (struct sm_context *)conn->base.context;
}

/* Process id of the peer if it may talk to us, else 0. */
static pid_t peer_pid(int sock)
{
    struct ucred cred;
    socklen_t size = sizeof cred;

    if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &size) || cred.pid <= 0)
        return 0;
    return cred.uid == geteuid() || cred.uid == 0 ? cred.pid : 0;
}

static struct sm_conn *conn_new(int sock, pid_t pid)
{
    struct sm_conn *conn = calloc(1, sizeof *conn);

    if (!conn)
        return NULL;
    conn->sock = sock;
    conn->pid = pid;
    conn->peer_event_fd = -1;
    conn->shaking_hands = true;
    atomic_init(&conn->direct, false);
    return conn;
}

static void conn_release_resources(struct sm_conn *conn)
{
    if (conn->sock >= 0)
        close(conn->sock);
    if (conn->peer_event_fd >= 0)
        close(conn->peer_event_fd);
    if (conn->peer_doorbell)
        munmap(conn->peer_doorbell, PAGE);
    conn->sock = conn->peer_event_fd = -1;
    conn->peer_doorbell = NULL;
}

/* `first`: we made the memory, and write ring 0. */
static void attach_rings(struct sm_conn *conn, bool first)
{
    struct sm_ring_control *control = conn->map;
    char *data = (char *)conn->map + PAGE;
    int out = first ? 0 : 1, in = 1 - out;

    sm_producer_init(&conn->tx, &control[out], data + (size_t)out * SM_RING_SIZE, SM_MESSAGE_MAX);
    sm_consumer_init(&conn->rx, &control[in], data + (size_t)in * SM_RING_SIZE, SM_MESSAGE_MAX);
}

/* The handshake ended, in whatever way. */
static void handshake_over(struct sm_conn *conn)
{
    struct sm_context *context = context_of(conn);

    if (!conn->shaking_hands)
        return;
    conn->shaking_hands = false;
    conn->base.silent_ns = 0;
    if (conn->base.incoming)
        context->half_open--;
    else
        atomic_fetch_sub(&context->connecting, 1);
}

/* ---- hello ---- */

static int hello_send(struct sm_conn *conn, const struct sm_context *context, uint8_t target_id, const int *fds,
                      size_t fd_count)
{
    struct sm_hello hello = {.ring_size = SM_RING_SIZE,
                             .probe_address = (uint64_t)(uintptr_t)&context->probe,
                             .probe_value = context->probe};
    struct iovec piece = {.iov_base = &hello, .iov_len = sizeof hello};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = CMSG_SPACE(fd_count * sizeof(int))};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

    assert(fd_count <= FDS_MAX);
    na_hello_fill(&hello.base, &context->base, target_id);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
    return sendmsg(conn->sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof hello ? 0 : -1;
}

/* Collects the descriptors of a message; closes those beyond `max`. */
static size_t take_fds(struct msghdr *message, int *fds, size_t max)
{
    size_t count = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            if (count < max)
                fds[count++] = fd;
            else
                close(fd);
        }
    }
    return count;
}

/* HG_SUCCESS with a whole hello and exactly `fd_count` descriptors; HG_AGAIN if nothing is there yet. */
static hg_return_t hello_receive(struct sm_conn *conn, struct sm_hello *hello, int *fds, size_t fd_count)
{
    struct iovec piece = {.iov_base = hello, .iov_len = sizeof *hello};
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space};
    ssize_t size = recvmsg(conn->sock, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

    if (size < 0)
        return errno == EAGAIN || errno == EINTR ? HG_AGAIN : HG_NODEV;
    if (size == 0)
        return HG_NODEV;
    size_t count = take_fds(&message, fds, fd_count);
    bool good = size == (ssize_t)sizeof *hello && count == fd_count &&
                !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && hello->ring_size == SM_RING_SIZE;
    if (good)
        return HG_SUCCESS;
    for (size_t i = 0; i < count; i++)
        close(fds[i]);
    return HG_PROTOCOL_ERROR;
}

/* Takes the doorbell page and event descriptor; owns both afterwards, whatever the result. */
static bool attach_doorbell(struct sm_conn *conn, int page_fd, int event_fd)
{
    conn->peer_event_fd = event_fd;
    conn->peer_doorbell = sm_memory_map(page_fd, PAGE, false);
    close(page_fd);
    return conn->peer_doorbell && sm_is_eventfd(event_fd);
}

static void probe(struct sm_conn *conn, const struct sm_hello *hello)
{
    const struct sm_domain *domain = (const struct sm_domain *)conn->base.context->domain;
    bool direct = domain->direct && sm_rma_probe(conn->pid, hello->probe_address, hello->probe_value);

    atomic_store_explicit(&conn->direct, direct, memory_order_relaxed);
    if (!direct)
        log_debug("mercury", "%s: no direct access to the memory of process %d, bulk data go through the ring",
                  conn->base.peer, (int)conn->pid);
}

static bool start_polling(struct sm_conn *conn)
{
    struct sm_context *context = context_of(conn);

    assert(!conn->in_open && context->open_count <= context->open_capacity);
    if (context->open_count == context->open_capacity) {
        size_t capacity = context->open_capacity ? 2 * context->open_capacity : 8;
        struct sm_conn **grown = realloc(context->open, capacity * sizeof *grown);
        if (!grown)
            return false;
        context->open = grown;
        context->open_capacity = capacity;
    }
    context->open[context->open_count++] = conn;
    conn->in_open = true;
    return true;
}

/* The other side's answer to our hello. */
static hg_return_t finish_connect(struct sm_conn *conn)
{
    struct sm_hello hello;
    int fds[2];
    hg_return_t ret = hello_receive(conn, &hello, fds, 2);

    if (ret != HG_SUCCESS)
        return ret;
    if (!attach_doorbell(conn, fds[0], fds[1]))
        return HG_PROTOCOL_ERROR;
    ret = na_hello_accept(&conn->base, &hello.base);
    if (ret != HG_SUCCESS)
        return ret;
    probe(conn, &hello);
    if (!start_polling(conn))
        return HG_NOMEM;
    handshake_over(conn);
    na_conn_open(&conn->base);
    return HG_SUCCESS;
}

/* A hello from somebody who connected to us. */
static hg_return_t finish_accept(struct sm_conn *conn)
{
    struct sm_context *context = context_of(conn);
    struct sm_hello hello;
    int fds[3];
    hg_return_t ret = hello_receive(conn, &hello, fds, 3);

    if (ret != HG_SUCCESS)
        return ret;
    conn->map = sm_memory_map(fds[0], MAP_SIZE, true);
    close(fds[0]);
    if (!attach_doorbell(conn, fds[1], fds[2]) || !conn->map)
        return HG_PROTOCOL_ERROR;
    ret = na_hello_accept(&conn->base, &hello.base);
    if (ret != HG_SUCCESS)
        return ret;
    attach_rings(conn, false);
    probe(conn, &hello);
    int answer[2] = {context->doorbell_fd, context->base.wait.event_fd};
    if (hello_send(conn, context, conn->base.peer_context_id, answer, 2))
        return HG_NODEV;
    if (!start_polling(conn))
        return HG_NOMEM;
    ret = context->base.upcalls.accepted(context->base.upcall_arg, &conn->base);
    if (ret != HG_SUCCESS)
        return ret;
    handshake_over(conn);
    na_conn_open(&conn->base);
    return HG_SUCCESS;
}

/* ---- connecting and accepting ---- */

static int watch(struct sm_conn *conn)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = conn};
    return epoll_ctl(conn->base.context->wait.epoll_fd, EPOLL_CTL_ADD, conn->sock, &event);
}

static hg_return_t connect_errno(int errnum)
{
    switch (errnum) {
    case ECONNREFUSED:
    case ENOENT:
        return HG_HOSTUNREACH;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return HG_NOMEM;
    case EAGAIN:
        return HG_AGAIN;
    default:
        return HG_NA_ERROR;
    }
}

/* A connected socket to a listening context; -1 and `*ret` on failure. */
static int open_socket(const char *host, uint8_t target_id, pid_t *pid, hg_return_t *ret)
{
    struct sockaddr_un name;
    socklen_t length = sm_socket_name(host, target_id, &name);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (sock < 0) {
        *ret = connect_errno(errno);
        return -1;
    }
    if (connect(sock, (struct sockaddr *)&name, length)) {
        *ret = connect_errno(errno);
        close(sock);
        return -1;
    }
    *pid = peer_pid(sock);
    if (*pid == 0) {
        *ret = HG_ACCESS;
        close(sock);
        return -1;
    }
    return sock;
}

hg_return_t sm_connect(struct na_context *base, const char *host, uint8_t target_id, void *user,
                       struct na_conn **result)
{
    struct sm_context *context = (struct sm_context *)base;
    hg_return_t ret = HG_NOMEM;
    pid_t pid = 0;
    int ring_fd = -1, sock = open_socket(host, target_id, &pid, &ret);
    struct sm_conn *conn;

    if (sock < 0)
        return ret;
    conn = conn_new(sock, pid);
    if (!conn) {
        close(sock);
        return HG_NOMEM;
    }
    conn->map = sm_memory_create("dango-sm-ring", MAP_SIZE, false, &ring_fd);
    if (!conn->map) {
        ret = connect_errno(errno);
        goto fail;
    }
    attach_rings(conn, true);
    int fds[3] = {ring_fd, context->doorbell_fd, base->wait.event_fd};
    if (hello_send(conn, context, target_id, fds, 3)) {
        ret = HG_HOSTUNREACH;
        goto fail;
    }
    strncpy(conn->base.peer, host, sizeof conn->base.peer - 1);
    conn->base.peer_context_id = target_id;
    conn->base.user = user;
    ret = na_conn_init(&conn->base, base, false);
    if (ret != HG_SUCCESS)
        goto fail;
    close(ring_fd);
    atomic_fetch_add(&context->connecting, 1);
    /* From here on the progress loop may see it. */
    if (watch(conn))
        na_conn_break(&conn->base, HG_NOMEM);
    *result = &conn->base;
    return HG_SUCCESS;
fail:
    if (ring_fd >= 0)
        close(ring_fd);
    conn_release_resources(conn);
    sm_conn_free(&conn->base);
    return ret;
}

static void accept_socket(struct sm_context *context, int sock)
{
    pid_t pid = peer_pid(sock);
    struct sm_conn *conn = NULL;

    if (pid == 0)
        log_warning("mercury", "refused a connection from a process of another user");
    if (pid != 0)
        conn = conn_new(sock, pid);
    if (!conn) {
        close(sock);
        return;
    }
    if (context->half_open >= NA_HALF_OPEN_MAX)
        na_listen_drop_oldest(&context->base); /* who says nothing must not keep others out */
    if (na_conn_init(&conn->base, &context->base, true) != HG_SUCCESS) {
        conn_release_resources(conn);
        sm_conn_free(&conn->base);
        return;
    }
    context->half_open++;
    if (watch(conn))
        na_conn_close(&conn->base, HG_NOMEM);
}

void sm_accept(struct na_context *base)
{
    struct sm_context *context = (struct sm_context *)base;

    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int sock = na_listen_accept(base);
        if (sock < 0)
            break;
        accept_socket(context, sock);
    }
}

/* ---- open connections ---- */

/* The socket of an open connection is silent: anything but a hang-up is a violation of the protocol. */
static hg_return_t read_silence(struct sm_conn *conn)
{
    char byte;
    ssize_t size = recv(conn->sock, &byte, 1, MSG_DONTWAIT);

    if (size > 0)
        return HG_PROTOCOL_ERROR;
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return HG_AGAIN;
    return HG_NODEV;
}

void sm_conn_event(struct na_conn *base, uint32_t events)
{
    struct sm_conn *conn = (struct sm_conn *)base;
    hg_return_t ret;

    (void)events; /* the socket carries nothing but hellos and its end */
    if (na_conn_is_closed(&conn->base))
        return;
    if (!na_conn_is_open(&conn->base))
        ret = conn->base.incoming ? finish_accept(conn) : finish_connect(conn);
    else
        ret = read_silence(conn);
    if (ret == HG_SUCCESS || ret == HG_AGAIN)
        return;
    /* What the peer sent before it went away still counts. */
    if (ret == HG_NODEV && na_conn_is_open(&conn->base))
        sm_conn_drain(conn, SM_RING_SIZE / SM_RING_ALIGN);
    na_conn_close(&conn->base, ret);
}

/* Rings the peer's doorbell if it sleeps and we have not rung for this sleep yet. Send lock held. */
static void wake_peer(struct sm_conn *conn)
{
    assert(conn->peer_doorbell && conn->peer_event_fd >= 0);
    /* The message must be visible before we look whether the peer sleeps. */
    dango_full_fence();
    uint32_t epoch = atomic_load_explicit((_Atomic uint32_t *)conn->peer_doorbell, memory_order_relaxed);
    if ((epoch & 1) && epoch != conn->rung) {
        conn->rung = epoch;
        na_wait_ring(conn->peer_event_fd);
    }
}

hg_return_t sm_conn_write(struct na_conn *base, const struct iovec *pieces, int count, struct na_loan *loan)
{
    struct sm_conn *conn = (struct sm_conn *)base;

    assert(!loan);
    (void)loan;
    switch (sm_ring_write(&conn->tx, pieces, count)) {
    case SM_RING_OK:
        wake_peer(conn);
        return HG_SUCCESS;
    case SM_RING_FULL:
        return HG_AGAIN;
    default:
        return HG_PROTOCOL_ERROR;
    }
}

bool sm_conn_drain(struct sm_conn *conn, unsigned limit)
{
    struct na_context *context = conn->base.context;
    enum sm_ring_result result = SM_RING_OK;
    hg_return_t ret = HG_SUCCESS;
    const void *bytes;
    size_t size;
    unsigned count = 0;

    for (; count < limit && ret == HG_SUCCESS; count++) {
        result = sm_ring_next(&conn->rx, &bytes, &size);
        if (result != SM_RING_OK)
            break;
        ret = context->upcalls.message(context->upcall_arg, &conn->base, bytes, size);
        sm_ring_consumed(&conn->rx, size);
    }
    if (result == SM_RING_CORRUPT || ret != HG_SUCCESS) {
        log_warning("mercury", "%s sent an invalid message: its connection is closed", conn->base.peer);
        na_conn_close(&conn->base, HG_PROTOCOL_ERROR);
        return true;
    }
    if (count > 0 && sm_ring_publish(&conn->rx)) {
        pthread_mutex_lock(&conn->base.lock);
        wake_peer(conn);
        pthread_mutex_unlock(&conn->base.lock);
    }
    return count > 0;
}

void sm_conn_shutdown(struct na_conn *base)
{
    struct sm_conn *conn = (struct sm_conn *)base;
    struct sm_context *context = context_of(conn);

    for (size_t i = 0; conn->in_open && i < context->open_count; i++) {
        if (context->open[i] == conn) {
            context->open[i] = context->open[--context->open_count];
            conn->in_open = false;
        }
    }
    handshake_over(conn);
    /* A peer that has been stopped sees this before it sees the hang-up. */
    if (conn->tx.control)
        atomic_store(&conn->tx.control->closed, 1);
    na_context_unwatch(base->context, conn->sock);
    conn_release_resources(conn);
    na_listen_resume(&context->base);
}

/* The rings stay mapped until now: whoever is in the middle of a transfer looks at them without a lock. */
void sm_conn_free(struct na_conn *base)
{
    struct sm_conn *conn = (struct sm_conn *)base;

    assert(conn->sock < 0);
    if (conn->map)
        munmap(conn->map, MAP_SIZE);
    free(conn);
}
