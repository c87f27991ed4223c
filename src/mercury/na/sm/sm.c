/*
 * Endpoints of na+sm: names, contexts, and the poll function.
 *
 * A domain reserves its name by binding a socket to it; each context of a listening domain binds and listens on a
 * socket of its own, so that contexts share nothing. Polling looks at the rings, which costs a load per connection, and
 * asks epoll about sockets now and then: when a thread has just slept, while a handshake is under way, and otherwise
 * every LOOK_INTERVAL_NS.
 */
#include "mercury/na/sm/sm.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE             4096u
#define HOST_MAX         80     /* so that the socket's name fits */
#define NAME_ATTEMPTS    1024   /* numbers N tried in PID-N */
#define DRAIN_BATCH      64     /* messages taken from one ring before the next gets its turn */
#define POLLS_PER_CLOCK  8      /* polls between two looks at the clock */
#define LOOK_INTERVAL_NS 100000 /* between two looks at epoll while polling */

/* ---- names ---- */

unsigned sm_socket_name(const char *host, int id, struct sockaddr_un *name)
{
    int length;

    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    if (id < 0)
        length = snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "dango-sm/%s", host);
    else
        length = snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "dango-sm/%s/%d", host, id);
    assert(length > 0 && (size_t)length < sizeof name->sun_path - 1);
    return (unsigned)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static hg_return_t address_normalise(const char *host, bool resolve, char *canonical, size_t size)
{
    size_t length = strlen(host);

    (void)resolve; /* nothing to look up */
    if (length == 0 || length > HOST_MAX || length >= size)
        return HG_INVALID_ARG;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)host[i]) && !strchr("-_.", host[i]))
            return HG_INVALID_ARG;
    memset(canonical, 0, size);
    memcpy(canonical, host, length + 1);
    return HG_SUCCESS;
}

/* A socket bound to a name; -1 and errno. */
static int bind_socket(const char *host, int id)
{
    struct sockaddr_un name;
    socklen_t length = sm_socket_name(host, id, &name);
    int saved, sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (sock >= 0 && bind(sock, (struct sockaddr *)&name, length)) {
        saved = errno;
        close(sock);
        errno = saved;
        return -1;
    }
    return sock;
}

/* ---- domain ---- */

/* Takes the first free PID-N. N counts the endpoints of this process; it only skips names that others took. */
static int reserve_number(struct sm_domain *domain)
{
    static _Atomic unsigned next;

    for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++) {
        snprintf(domain->base.host, sizeof domain->base.host, "%d-%u", (int)getpid(), atomic_fetch_add(&next, 1));
        domain->reservation = bind_socket(domain->base.host, -1);
        if (domain->reservation >= 0 || errno != EADDRINUSE)
            break;
    }
    return domain->reservation;
}

static int reserve_name(struct sm_domain *domain, const char *host, struct dango_error *err)
{
    if (*host == '\0') {
        if (reserve_number(domain) < 0)
            return dango_error_set_errno(err, errno, "cannot create a shared-memory endpoint");
        return 0;
    }
    if (address_normalise(host, false, domain->base.host, sizeof domain->base.host) != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "na+sm://%s: a name has 1 to %d letters, digits, '-', '_' or '.'", host, HOST_MAX);
    domain->reservation = bind_socket(domain->base.host, -1);
    if (domain->reservation < 0)
        return dango_error_set_errno(err, errno, "na+sm://%s", host);
    return 0;
}

/* Yama's "restricted ptrace" would refuse bulk transfers between siblings; this process may opt out of it. */
static void allow_direct_access(void)
{
    FILE *file = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
    if (!file)
        return;
    if (fgetc(file) == '1')
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    fclose(file);
}

static int domain_open(const struct na_transport *transport, const struct na_open_info *info, struct na_domain **result,
                       struct dango_error *err)
{
    struct sm_domain *domain = calloc(1, sizeof *domain);
    const char *no_direct = getenv("DANGO_SM_NO_DIRECT");
    int rc;

    if (!domain)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    domain->base.transport = transport;
    domain->base.listening = info->listen;
    domain->base.message_max = SM_MESSAGE_MAX;
    domain->direct = !no_direct || strcmp(no_direct, "1") != 0;
    rc = reserve_name(domain, info->host, err);
    if (rc) {
        free(domain);
        return rc;
    }
    if (domain->direct)
        allow_direct_access();
    na_address_format(transport, domain->base.host, domain->base.address, sizeof domain->base.address);
    *result = &domain->base;
    return 0;
}

static void domain_close(struct na_domain *base)
{
    struct sm_domain *domain = (struct sm_domain *)base;

    close(domain->reservation);
    free(domain);
}

/* ---- context ---- */

static int start_listening(struct sm_context *context)
{
    context->listen_fd = bind_socket(context->base.domain->host, context->base.id);
    if (context->listen_fd < 0)
        return -1;
    if (listen(context->listen_fd, SOMAXCONN))
        return -1;
    return na_listen_start(&context->base, context->listen_fd);
}

static void context_free(struct sm_context *context)
{
    if (context->listen_fd >= 0)
        close(context->listen_fd);
    if (context->doorbell)
        munmap(context->doorbell, PAGE);
    if (context->doorbell_fd >= 0)
        close(context->doorbell_fd);
    free(context->open);
    free(context);
}

static hg_return_t context_open(struct na_domain *domain, uint8_t id, const struct na_upcalls *upcalls, void *arg,
                                struct na_context **result)
{
    struct sm_context *context = calloc(1, sizeof *context);

    if (!context)
        return HG_NOMEM;
    context->listen_fd = context->doorbell_fd = -1;
    atomic_init(&context->connecting, 0);
    context->doorbell = sm_memory_create("dango-sm-doorbell", PAGE, true, &context->doorbell_fd);
    if (!context->doorbell || getrandom(&context->probe, sizeof context->probe, 0) != sizeof context->probe)
        goto fail;
    if (na_context_init(&context->base, domain, id, upcalls, arg, context->doorbell))
        goto fail;
    if (domain->listening && start_listening(context)) {
        na_context_fini(&context->base);
        goto fail;
    }
    *result = &context->base;
    return HG_SUCCESS;
fail:
    log_error("mercury", "%s: cannot create context %u: %s", domain->address, id, strerror(errno));
    context_free(context);
    return HG_NA_ERROR;
}

static void context_close(struct na_context *base)
{
    struct sm_context *context = (struct sm_context *)base;

    na_context_close_conns(base);
    na_context_fini(base);
    context_free(context);
}

/* ---- polling ---- */

static bool poll_rings(struct sm_context *context)
{
    bool any = false;

    for (size_t i = 0; i < context->open_count;) {
        struct sm_conn *conn = context->open[i];
        if (sm_ring_pending(&conn->rx))
            any |= sm_conn_drain(conn, DRAIN_BATCH);
        /* A closed connection has given its place to another one. */
        if (i < context->open_count && context->open[i] == conn)
            i++;
    }
    return any;
}

/* Is it time to ask epoll? */
static bool sockets_due(struct sm_context *context)
{
    if (atomic_load_explicit(&context->base.wait.look_at_epoll, memory_order_relaxed))
        return true;
    if (context->half_open > 0 || context->open_count == 0 || atomic_load(&context->connecting) > 0)
        return true;
    if (++context->polls < POLLS_PER_CLOCK)
        return false;
    context->polls = 0;
    int64_t now = dango_clock_ns();
    if (now - context->looked_ns < LOOK_INTERVAL_NS)
        return false;
    context->looked_ns = now;
    return true;
}

static bool poll_all(struct na_context *base, bool all)
{
    struct sm_context *context = (struct sm_context *)base;
    bool any = poll_rings(context);

    any |= na_context_attend(base);
    if (all || sockets_due(context))
        any |= na_context_poll_events(base, sm_accept, sm_conn_event);
    return any;
}

static bool has_work(struct na_context *base)
{
    struct sm_context *context = (struct sm_context *)base;

    for (size_t i = 0; i < context->open_count; i++)
        if (sm_ring_pending(&context->open[i]->rx))
            return true;
    /* A backlog that does not move is no work: the ring now knows that we want room. */
    return na_context_attend(base);
}

static const char *const aliases[] = {"sm", NULL};

const struct na_transport na_sm_transport = {
    .class_name = "na",
    .name = "sm",
    .protocol = "na+sm",
    .aliases = aliases,
    .domain_open = domain_open,
    .domain_close = domain_close,
    .address_normalise = address_normalise,
    .context_open = context_open,
    .context_close = context_close,
    .connect = sm_connect,
    .poll = poll_all,
    .has_work = has_work,
    .conn_write = sm_conn_write,
    .conn_rma = sm_rma,
    .conn_shutdown = sm_conn_shutdown,
    .conn_free = sm_conn_free,
};
