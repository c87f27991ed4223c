/*
 * Endpoints of tcp: the bound socket, contexts, and the poll function.
 *
 * Polling. Asking epoll costs a system call, and so does reading; the sockets that delivered something lately (the hot
 * ones) are read without asking, and epoll is asked when they have nothing or every POLLS_PER_EPOLL polls, so that
 * others get their turn. A thread that has just slept and finds nothing there, and handshakes, make the poll ask at
 * once.
 */
#include "mercury/na/tcp/tcp.h"

#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#define POLLS_PER_EPOLL 16
#define MISSES_MAX      64 /* reads in vain after which a socket is hot no more */

static hg_return_t address_normalise(const char *host, bool resolve, char *canonical, size_t size)
{
    return na_ip_normalise("tcp://", host, resolve, canonical, size);
}

/* ---- domain ---- */

static int bind_failed(int errnum, const struct na_ip_choice *choice, struct dango_error *err)
{
    char text[NA_ADDRESS_MAX];

    na_ip_format(&choice->bind, text, sizeof text);
    if (errnum == EADDRINUSE)
        return dango_error_set(err, DANGO_ERR_EXISTS,
                               "port %u is in use by another process (choose another one, or leave it out)",
                               na_ip_port(&choice->bind));
    if (errnum == EADDRNOTAVAIL)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "this is not an address of this machine");
    return dango_error_set_errno(err, errnum, "cannot bind to %s", text);
}

/* Binds; fills in the port that is published. A socket that does not listen keeps the address from being given to
 * others, so that a client has a name, too. */
static int bind_socket(struct tcp_domain *domain, struct na_ip_choice *choice, struct dango_error *err)
{
    union na_ip bound;
    socklen_t size = sizeof bound;
    const int yes = 1;

    domain->sock = socket(choice->bind.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (domain->sock < 0)
        return dango_error_set_errno(err, errno, "cannot create a socket");
    /* A restarted server gets its port back although old connections, which inherit this, linger. */
    if (domain->base.listening)
        setsockopt(domain->sock, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(domain->sock, &choice->bind.any, na_ip_size(&choice->bind)))
        return bind_failed(errno, choice, err);
    if (domain->base.listening && listen(domain->sock, SOMAXCONN))
        return bind_failed(errno, choice, err);
    memset(&bound, 0, sizeof bound);
    if (getsockname(domain->sock, &bound.any, &size))
        return dango_error_set_errno(err, errno, "getsockname");
    na_ip_set_port(&choice->publish, na_ip_port(&bound));
    domain->self = choice->publish;
    return 0;
}

static void domain_free(struct tcp_domain *domain)
{
    if (domain->sock >= 0)
        close(domain->sock);
    pthread_mutex_destroy(&domain->lock);
    free(domain);
}

static int domain_open(const struct na_transport *transport, const struct na_open_info *info, struct na_domain **result,
                       struct dango_error *err)
{
    struct tcp_domain *domain = calloc(1, sizeof *domain);
    struct na_ip_choice choice;
    int rc;

    if (!domain)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    domain->base.transport = transport;
    domain->base.listening = info->listen;
    domain->base.message_max = TCP_MESSAGE_MAX;
    domain->base.loan_max = TCP_LOAN_MAX;
    domain->sock = -1;
    pthread_mutex_init(&domain->lock, NULL);
    rc = na_ip_choose(info->host, info->options, &choice, err);
    if (rc == 0)
        rc = bind_socket(domain, &choice, err);
    if (rc == 0 && getrandom(&domain->epoch, sizeof domain->epoch, 0) != sizeof domain->epoch)
        rc = dango_error_set_errno(err, errno, "no random numbers");
    if (rc) {
        dango_error_prefix(err, "tcp://%s", info->host);
        domain_free(domain);
        return rc;
    }
    domain->epoch |= 1;
    na_ip_format(&domain->self, domain->base.host, sizeof domain->base.host);
    na_address_format(transport, domain->base.host, domain->base.address, sizeof domain->base.address);
    *result = &domain->base;
    return 0;
}

static void domain_close(struct na_domain *base)
{
    domain_free((struct tcp_domain *)base);
}

/* ---- context ---- */

static void context_free(struct tcp_context *context)
{
    pthread_mutex_destroy(&context->cork_lock);
    free(context->input);
    free(context);
}

static void set_context(struct tcp_domain *domain, uint8_t id, struct tcp_context *context)
{
    pthread_mutex_lock(&domain->lock);
    assert(!context || !domain->contexts[id]);
    domain->contexts[id] = context;
    pthread_mutex_unlock(&domain->lock);
}

static hg_return_t context_open(struct na_domain *base, uint8_t id, const struct na_upcalls *upcalls, void *arg,
                                struct na_context **result)
{
    struct tcp_domain *domain = (struct tcp_domain *)base;
    struct tcp_context *context = calloc(1, sizeof *context);

    if (!context)
        return HG_NOMEM;
    pthread_mutex_init(&context->cork_lock, NULL);
    context->input = malloc(TCP_READ_MAX);
    if (!context->input || na_context_init(&context->base, base, id, upcalls, arg, NULL))
        goto fail;
    if (base->listening && na_listen_start(&context->base, domain->sock)) {
        na_context_fini(&context->base);
        goto fail;
    }
    set_context(domain, id, context);
    *result = &context->base;
    return HG_SUCCESS;
fail:
    log_error("mercury", "%s: cannot create context %u: %s", base->address, id, strerror(errno));
    context_free(context);
    return HG_NA_ERROR;
}

static void context_close(struct na_context *base)
{
    struct tcp_context *context = (struct tcp_context *)base;

    set_context((struct tcp_domain *)base->domain, base->id, NULL);
    tcp_take_handover(context);
    na_context_close_conns(base);
    na_context_fini(base);
    context_free(context);
}

/* ---- polling ---- */

/* Who has not said its name, or not in our language, is called by where it connects from. */
static void warn_of_invalid(const struct tcp_conn *conn)
{
    char text[NA_ADDRESS_MAX];

    if (*conn->base.peer)
        log_warning("mercury", "%s sent an invalid message: its connection is closed", conn->base.peer);
    else
        log_warning("mercury", "what connected from %s does not speak our protocol: its connection is closed",
                    tcp_socket_peer(conn->sock, text, sizeof text));
}

/* Reads one connection; closes it if that fails. True if there was anything. */
static bool receive(struct tcp_conn *conn)
{
    hg_return_t ret = tcp_receive(conn);

    if (ret == HG_SUCCESS || ret == HG_AGAIN)
        return ret == HG_SUCCESS;
    if (ret == HG_PROTOCOL_ERROR)
        warn_of_invalid(conn);
    /* Who closes without a hello does not want us, or is not of our kind: we never got there. */
    if (ret == HG_NODEV && !conn->base.incoming && conn->stage == TCP_STAGE_GREETING)
        ret = HG_HOSTUNREACH;
    na_conn_close(&conn->base, ret);
    return true;
}

/* The connection delivers: look at it first from now on. It takes the place of the one that has been hot for
 * longest. */
static void heat(struct tcp_context *context, struct tcp_conn *conn)
{
    unsigned place = context->hot_next;

    conn->misses = 0;
    if (conn->hot)
        return;
    for (unsigned i = 0; i < TCP_HOT; i++)
        if (!context->hot[i])
            place = i;
    if (context->hot[place])
        context->hot[place]->hot = false;
    context->hot[place] = conn;
    context->hot_next = (place + 1) % TCP_HOT;
    conn->hot = true;
}

static bool poll_hot(struct tcp_context *context)
{
    bool any = false;

    for (unsigned i = 0; i < TCP_HOT; i++) {
        struct tcp_conn *conn = context->hot[i];
        if (!conn)
            continue;
        na_conn_ref(&conn->base);
        if (receive(conn)) {
            conn->misses = 0;
            any = true;
        } else if (++conn->misses > MISSES_MAX) {
            context->hot[i] = NULL;
            conn->hot = false;
        }
        na_conn_release(&conn->base);
    }
    return any;
}

static void conn_event(struct na_conn *base, uint32_t events)
{
    struct tcp_conn *conn = (struct tcp_conn *)base;

    if (na_conn_is_closed(&conn->base))
        return;
    if (conn->stage == TCP_STAGE_CONNECTING) {
        hg_return_t ret = tcp_connected(conn);
        if (ret != HG_SUCCESS)
            na_conn_close(&conn->base, ret);
        return;
    }
    if (events & EPOLLOUT)
        tcp_writable(conn);
    if ((events & ~EPOLLOUT) && receive(conn) && na_conn_is_open(&conn->base))
        heat((struct tcp_context *)base->context, conn);
}

static bool poll_epoll(struct tcp_context *context)
{
    context->polls = 0;
    return na_context_poll_events(&context->base, tcp_accept, conn_event);
}

static bool epoll_due(struct tcp_context *context, bool any)
{
    atomic_bool *woken = &context->base.wait.look_at_epoll;

    /* What a hot socket had is probably what ended the sleep. If there is more, the next sleep ends at once. */
    if (atomic_load_explicit(woken, memory_order_relaxed) && any)
        atomic_store_explicit(woken, false, memory_order_relaxed);
    else if (atomic_load_explicit(woken, memory_order_relaxed))
        return true;
    if (context->half_open > 0 || atomic_load(&context->connecting) > 0)
        return true;
    for (unsigned i = 0; i < TCP_HOT; i++)
        if (context->hot[i])
            return ++context->polls >= POLLS_PER_EPOLL;
    return true;
}

static bool poll_all(struct na_context *base, bool all)
{
    struct tcp_context *context = (struct tcp_context *)base;
    bool any = false;

    tcp_flush_own(context);
    any |= na_context_attend(base);
    if (atomic_load_explicit(&context->has_handover, memory_order_acquire))
        any |= tcp_take_handover(context);
    any |= poll_hot(context);
    if (all || epoll_due(context, any))
        any |= poll_epoll(context);
    if (context->parked > 0)
        any |= tcp_decide_parked(context);
    return any;
}

static bool has_work(struct na_context *base)
{
    struct tcp_context *context = (struct tcp_context *)base;

    if (atomic_load_explicit(&context->has_handover, memory_order_acquire))
        return true;
    if (context->parked > 0 && tcp_decide_parked(context))
        return true;
    /* A backlog that does not move is no work: epoll will tell of room. */
    return na_context_attend(base);
}

static const char *const aliases[] = {"na+tcp", NULL};

const struct na_transport na_tcp_transport = {
    .class_name = "na",
    .name = "tcp",
    .protocol = "tcp",
    .aliases = aliases,
    .domain_open = domain_open,
    .domain_close = domain_close,
    .address_normalise = address_normalise,
    .context_open = context_open,
    .context_close = context_close,
    .connect = tcp_connect,
    .poll = poll_all,
    .polls_by_system_call = true,
    .has_work = has_work,
    .cork = tcp_cork,
    .uncork = tcp_uncork,
    .conn_write = tcp_conn_write,
    .conn_recall = tcp_conn_recall,
    .conn_shutdown = tcp_conn_shutdown,
    .conn_free = tcp_conn_free,
};
