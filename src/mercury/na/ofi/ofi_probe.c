/*
 * Knocking: the providers over TCP never say that a peer is not there, they try to connect to it for ever. Its endpoint
 * listens on a port that has the number of its address, so a connection of our own, closed as soon as it stands, tells:
 * if it is refused nobody is there any more. A peer that is busy or stopped does not refuse, its kernel accepts.
 */
#include "mercury/na/ofi/ofi.h"

#include "mercury/na/address.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <unistd.h>

static const struct ofi_transport *kind_of(const struct ofi_conn *conn)
{
    return container_of(conn->base.transport, struct ofi_transport, base);
}

void ofi_probe_end(struct ofi_conn *conn)
{
    if (conn->probe_fd >= 0)
        close(conn->probe_fd);
    conn->probe_fd = -1;
}

/* 0: under way or answered, else an errno. */
static int start(struct ofi_conn *conn)
{
    union na_ip ip;

    if (na_ip_resolve(conn->base.peer, false, &ip, NULL))
        return 0;
    conn->probe_fd = socket(ip.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->probe_fd < 0)
        return 0; /* too many descriptors say nothing about the peer */
    if (connect(conn->probe_fd, &ip.any, na_ip_size(&ip)) == 0)
        return 0;
    return errno == EINPROGRESS ? 0 : errno;
}

static int look(struct ofi_conn *conn)
{
    struct pollfd event = {.fd = conn->probe_fd, .events = POLLOUT};
    socklen_t size = sizeof(int);
    int error = 0;

    if (poll(&event, 1, 0) <= 0)
        return 0;
    if (getsockopt(conn->probe_fd, SOL_SOCKET, SO_ERROR, &error, &size))
        error = 0;
    ofi_probe_end(conn);
    return error;
}

bool ofi_probe_refused(struct ofi_conn *conn)
{
    if (!kind_of(conn)->listens)
        return false;
    int error = conn->probe_fd < 0 ? start(conn) : look(conn);
    if (error)
        ofi_probe_end(conn);
    return error == ECONNREFUSED || error == EHOSTUNREACH || error == ENETUNREACH;
}
