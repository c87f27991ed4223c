/*
 * Sockets of tcp: their options, connecting them, who is at the other end, and closing them.
 *
 * A socket connects from the address that its domain publishes, so that the other side can compare the two. The port is
 * another one: a socket could share the port of the one that listens only if both allowed that (SO_REUSEPORT), and then
 * other processes could share it, too. So a process can be told from those of other hosts, but not from all of its own
 * host.
 */
#include "mercury/na/tcp/tcp.h"

#include "util/log.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#define KEEPALIVE_IDLE_S  10
#define KEEPALIVE_EVERY_S 5
#define KEEPALIVE_PROBES  2

static void set_option(int sock, int level, int name, int value)
{
    /* Without one of them everything still works, only slower or later. */
    if (setsockopt(sock, level, name, &value, sizeof value))
        log_debug("mercury", "socket option %d of level %d: %s", name, level, strerror(errno));
}

void tcp_socket_tune(int sock)
{
    set_option(sock, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(sock, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(sock, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(sock, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
    set_option(sock, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    set_option(sock, IPPROTO_TCP, TCP_USER_TIMEOUT, TCP_DEAD_MS);
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
    tcp_socket_tune(sock);
    if (self)
        bind_source(sock, self, target);
    if (connect(sock, &target->any, na_ip_size(target)) == 0 || errno == EINPROGRESS)
        return sock;
    saved = errno;
    close(sock);
    errno = saved;
    return -1;
}

int tcp_socket_connect(const struct tcp_domain *domain, const char *host, hg_return_t *ret)
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

void tcp_socket_close(int sock)
{
    char rubbish[4096];

    /* Closing a socket with unread input would reset it. */
    shutdown(sock, SHUT_WR);
    for (int i = 0; i < 64 && recv(sock, rubbish, sizeof rubbish, MSG_DONTWAIT) > 0; i++)
        ;
    close(sock);
}

bool tcp_socket_is_echo(int sock)
{
    union na_ip here = {0}, there = {0};
    socklen_t here_size = sizeof here, there_size = sizeof there;

    return getsockname(sock, &here.any, &here_size) == 0 && getpeername(sock, &there.any, &there_size) == 0 &&
           na_ip_port(&here) == na_ip_port(&there) && na_ip_same_host(&here, &there);
}

const char *tcp_socket_peer(int sock, char *text, size_t size)
{
    union na_ip there = {0};
    socklen_t length = sizeof there;

    if (getpeername(sock, &there.any, &length))
        return "somewhere";
    na_ip_format(&there, text, size);
    return text;
}

bool tcp_socket_prove(int sock, char *name, size_t size)
{
    union na_ip claimed, real;
    socklen_t real_size = sizeof real;

    memset(&real, 0, sizeof real);
    if (na_ip_resolve(name, false, &claimed, NULL) || getpeername(sock, &real.any, &real_size))
        return false;
    if (na_ip_same_host(&claimed, &real))
        return true;
    log_debug("mercury", "a peer that calls itself %s connects from another address", name);
    na_ip_format(&real, name, size);
    return true;
}
