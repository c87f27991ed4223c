/*
 * Connections over an endpoint that has none: hellos, tokens, and noticing that a peer is gone. See ofi.h.
 */
#include "mercury/na/ofi/ofi.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static struct ofi_context *context_of(const struct ofi_conn *conn)
{
    return (struct ofi_context *)conn->base.context;
}

static struct ofi_domain *domain_of(const struct ofi_conn *conn)
{
    return (struct ofi_domain *)conn->base.context->domain;
}

/* ---- tokens ---- */

/* The connection with a reference, or NULL. */
static struct ofi_conn *find_conn(struct ofi_context *context, uint64_t token)
{
    struct ofi_conn *conn;

    pthread_mutex_lock(&context->tokens_lock);
    HASH_FIND(hh, context->tokens, &token, sizeof token, conn);
    if (conn)
        na_conn_ref(&conn->base);
    pthread_mutex_unlock(&context->tokens_lock);
    return conn;
}

static void forget_token(struct ofi_conn *conn)
{
    struct ofi_context *context = context_of(conn);
    struct ofi_conn *found;

    pthread_mutex_lock(&context->tokens_lock);
    HASH_FIND(hh, context->tokens, &conn->token, sizeof conn->token, found);
    if (found == conn)
        HASH_DEL(context->tokens, conn);
    pthread_mutex_unlock(&context->tokens_lock);
}

/* ---- objects ---- */

/* An endpoint has addresses of one family, and meets no other. */
static bool of_another_family(const struct ofi_domain *domain, const char *host)
{
    bool other = (*host == '[') != (*domain->base.host == '[');

    if (other)
        log_warning(
            "mercury",
            "%s cannot be reached from %s: over libfabric both need addresses of one family (%s://%s for IPv%c)", host,
            domain->base.host, domain->base.transport->protocol, *host == '[' ? "[::]" : "0.0.0.0",
            *host == '[' ? '6' : '4');
    return other;
}

/* Enters the peer's address into the provider's table, for one use. */
static hg_return_t find_peer(struct ofi_domain *domain, const char *host, struct ofi_conn *conn)
{
    unsigned char address[OFI_ADDRESS_MAX];
    size_t size = sizeof address;

    if (!ofi_address_parse(&domain->base, host, address, &size))
        return HG_INVALID_ARG;
    if (fi_av_insert(domain->av, address, 1, &conn->peer, 0, NULL) != 1)
        return HG_HOSTUNREACH;
    atomic_store(&conn->peer_uses, 1);
    atomic_fetch_add(&domain->peer_count, 1);
    return HG_SUCCESS;
}

void ofi_peer_unuse(struct ofi_domain *domain, struct ofi_conn *conn)
{
    if (atomic_fetch_sub(&conn->peer_uses, 1) > 1)
        return;
    int ret = fi_av_remove(domain->av, &conn->peer, 1, 0);
    if (ret)
        log_debug("mercury", "libfabric does not forget %s: %s", conn->base.peer, domain->library->strerror(-ret));
    else
        atomic_fetch_sub(&domain->peer_count, 1);
}

static struct ofi_conn *conn_new(void)
{
    struct ofi_conn *conn = calloc(1, sizeof *conn);

    if (!conn)
        return NULL;
    if (getrandom(&conn->token, sizeof conn->token, 0) != (ssize_t)sizeof conn->token) {
        free(conn);
        return NULL;
    }
    conn->token |= 1;
    conn->probe_fd = -1;
    conn->stage = OFI_STAGE_GREETING;
    conn->deadline_ns = dango_clock_ns() + OFI_CONNECT_MS * DANGO_NS_PER_MS;
    return conn;
}

void ofi_conn_free(struct na_conn *base)
{
    free(base);
}

/* Adds the connection to its context. On failure it is freed. */
static hg_return_t conn_start(struct ofi_conn *conn, struct ofi_context *context, bool incoming)
{
    hg_return_t ret = na_conn_init(&conn->base, &context->base, incoming);

    if (ret != HG_SUCCESS) {
        if (atomic_load(&conn->peer_uses) > 0)
            ofi_peer_unuse((struct ofi_domain *)context->base.domain, conn);
        free(conn);
        return ret;
    }
    pthread_mutex_lock(&context->tokens_lock);
    HASH_ADD(hh, context->tokens, token, sizeof conn->token, conn);
    pthread_mutex_unlock(&context->tokens_lock);
    return HG_SUCCESS;
}

hg_return_t ofi_connect(struct na_context *base, const char *host, uint8_t target_id, void *user,
                        struct na_conn **result)
{
    struct ofi_context *context = (struct ofi_context *)base;
    struct ofi_conn *conn = conn_new();
    hg_return_t ret;

    if (!conn)
        return HG_NOMEM;
    ret = of_another_family((const struct ofi_domain *)base->domain, host)
              ? HG_HOSTUNREACH
              : find_peer((struct ofi_domain *)base->domain, host, conn);
    if (ret != HG_SUCCESS) {
        free(conn);
        return ret;
    }
    strncpy(conn->base.peer, host, sizeof conn->base.peer - 1);
    conn->base.peer_context_id = target_id;
    conn->base.user = user;
    conn->greeting_due = true;
    ret = conn_start(conn, context, false);
    if (ret != HG_SUCCESS)
        return ret;
    ofi_wake_in(context, 0);
    *result = &conn->base;
    return HG_SUCCESS;
}

void ofi_conn_shutdown(struct na_conn *base)
{
    struct ofi_conn *conn = (struct ofi_conn *)base;

    if (conn->stage == OFI_STAGE_PROVING)
        context_of(conn)->half_open--;
    if (conn->peer_token)
        (void)ofi_send(conn, OFI_BYE, NULL, 0, NULL); /* if it cannot be sent, the peer finds out by itself */
    if (atomic_load(&conn->peer_uses) > 0)
        ofi_peer_unuse(domain_of(conn), conn);
    ofi_probe_end(conn);
    ofi_early_drop(conn);
    forget_token(conn);
}

/* Something could not be handed over or has no answer (`now_ns`), or all is well (0). True: nobody is there to receive
 * it. */
static bool nobody_there(struct ofi_conn *conn, int64_t now_ns)
{
    if (now_ns == 0) {
        ofi_probe_end(conn);
        conn->unsendable_ns = 0;
        return false;
    }
    if (conn->unsendable_ns == 0)
        conn->unsendable_ns = now_ns;
    return now_ns - conn->unsendable_ns > OFI_KNOCK_MS * DANGO_NS_PER_MS && ofi_probe_refused(conn);
}

/* ---- hellos ---- */

/* Sends what says who we are: HELLO, WELCOME, PING or GONE. */
static hg_return_t introduce(struct ofi_conn *conn, enum ofi_kind kind)
{
    struct ofi_hello hello = {.token = htole64(conn->token), .epoch = domain_of(conn)->epoch};
    const struct iovec piece = {.iov_base = &hello, .iov_len = sizeof hello};

    na_hello_fill(&hello.base, conn->base.context, conn->base.peer_context_id);
    return ofi_send(conn, kind, &piece, 1, NULL);
}

/* HELLO or WELCOME, whatever is due. */
static hg_return_t greet(struct ofi_conn *conn)
{
    hg_return_t ret = introduce(conn, conn->base.incoming ? OFI_WELCOME : OFI_HELLO);

    conn->greeting_due = ret == HG_AGAIN;
    if (conn->greeting_due) {
        conn->greeting_ms = conn->greeting_ms == 0 ? 1 : 2 * conn->greeting_ms;
        if (conn->greeting_ms > OFI_RETRY_MS)
            conn->greeting_ms = OFI_RETRY_MS;
        ofi_wake_in(context_of(conn), conn->greeting_ms);
    }
    if (ret == HG_NODEV) /* whatever the provider calls it, there is nobody who could have gone */
        ret = HG_HOSTUNREACH;
    return ret == HG_AGAIN ? HG_SUCCESS : ret;
}

static void refuse(struct ofi_context *context, struct ofi_conn *conn)
{
    (void)context;
    log_debug("mercury", "an endpoint that calls itself %s is not let in", conn->base.peer);
    na_conn_close(&conn->base, HG_PROTOCOL_ERROR);
}

/* Somebody wants a connection. Until it has proved where it is, all we do for it is to answer once. */
static void take_hello(struct ofi_context *context, const struct ofi_hello *hello)
{
    struct ofi_conn *conn;

    if (!context->base.domain->listening || context->lonely || context->half_open >= OFI_HALF_OPEN_MAX ||
        hello->token == 0 || !(conn = conn_new()))
        return;
    conn->stage = OFI_STAGE_PROVING;
    if (conn_start(conn, context, true) != HG_SUCCESS)
        return;
    context->half_open++;
    hg_return_t ret = na_hello_accept(&conn->base, &hello->base);
    bool wrong = ret != HG_SUCCESS && *hello->base.host && memchr(hello->base.host, '\0', sizeof hello->base.host);
    if (find_peer(domain_of(conn), wrong ? hello->base.host : conn->base.peer, conn) == HG_SUCCESS)
        conn->peer_token = le64toh(hello->token); /* from here on it can be told why not */
    if (ret != HG_SUCCESS || !conn->peer_token) {
        refuse(context, conn);
        return;
    }
    conn->epoch = hello->epoch;
    if (greet(conn) != HG_SUCCESS)
        na_conn_close(&conn->base, HG_NODEV);
    ofi_wake_in(context, OFI_TICK_MS);
}

/* Somebody pings a connection that we do not know: we have closed it, or never had it and are where its peer was. */
static void answer_stranger(struct ofi_context *context, const struct ofi_hello *hello)
{
    struct ofi_conn *conn;

    if (context->lonely || context->strangers >= OFI_GONE_MAX || hello->token == 0 || !(conn = conn_new()))
        return;
    context->strangers++;
    ofi_wake_in(context, OFI_TICK_MS);
    if (conn_start(conn, context, true) != HG_SUCCESS)
        return;
    if (na_hello_accept(&conn->base, &hello->base) == HG_SUCCESS &&
        find_peer(domain_of(conn), conn->base.peer, conn) == HG_SUCCESS) {
        conn->peer_token = le64toh(hello->token);
        (void)introduce(conn, OFI_GONE); /* if it cannot be sent, the next PING is another occasion */
        conn->peer_token = 0;            /* no BYE */
    }
    na_conn_close(&conn->base, HG_CANCELED);
}

/* Connections with a former incarnation of the peer of `conn`, which has proved itself, are over. */
static void close_stale(struct ofi_conn *conn)
{
    struct na_context *context = conn->base.context;

    for (;;) {
        struct ofi_conn *stale = NULL;
        pthread_mutex_lock(&context->conns_lock);
        list_for_each (node, &context->conns) {
            struct ofi_conn *other = container_of(node, struct ofi_conn, base.link);
            if (other->stage == OFI_STAGE_OPEN && other->epoch != conn->epoch &&
                strcmp(other->base.peer, conn->base.peer) == 0) {
                stale = other;
                na_conn_ref(&other->base);
                break;
            }
        }
        pthread_mutex_unlock(&context->conns_lock);
        if (!stale)
            return;
        na_conn_close(&stale->base, HG_NODEV);
        na_conn_release(&stale->base);
    }
}

static hg_return_t take_welcome(struct ofi_conn *conn, const struct ofi_hello *hello)
{
    if (conn->base.incoming || conn->stage != OFI_STAGE_GREETING || hello->token == 0)
        return HG_PROTOCOL_ERROR;
    hg_return_t ret = na_hello_accept(&conn->base, &hello->base);
    if (ret != HG_SUCCESS)
        return ret;
    conn->peer_token = le64toh(hello->token);
    conn->epoch = hello->epoch;
    close_stale(conn);
    conn->stage = OFI_STAGE_OPEN;
    nobody_there(conn, 0);
    /* Proves that we are where we say; if it cannot be sent, the first message does. */
    (void)introduce(conn, OFI_PING);
    na_conn_open(&conn->base);
    return HG_SUCCESS;
}

/* The first frame with the token that we gave it. */
static hg_return_t let_in(struct ofi_conn *conn)
{
    struct ofi_context *context = context_of(conn);

    close_stale(conn);
    hg_return_t ret = context->base.upcalls.accepted(context->base.upcall_arg, &conn->base);
    if (ret != HG_SUCCESS)
        return ret;
    conn->stage = OFI_STAGE_OPEN;
    context->half_open--;
    na_conn_open(&conn->base);
    return HG_SUCCESS;
}

/* ---- frames ---- */

static void copy_payload(const struct na_loan *loan, const char *from)
{
    for (int i = 0; i < loan->count; i++) {
        memcpy(loan->pieces[i].iov_base, from, loan->pieces[i].iov_len);
        from += loan->pieces[i].iov_len;
    }
}

static hg_return_t deliver(struct ofi_conn *conn, const char *head, size_t head_size, size_t payload_size)
{
    const struct na_upcalls *upcalls = &conn->base.context->upcalls;
    void *arg = conn->base.context->upcall_arg;
    struct na_loan *loan = NULL;

    if (payload_size == 0)
        return upcalls->message(arg, &conn->base, head, head_size);
    hg_return_t ret = upcalls->place(arg, &conn->base, head, head_size, payload_size, &loan);
    if (ret != HG_SUCCESS || !loan)
        return ret;
    assert(loan->size == payload_size);
    copy_payload(loan, head + head_size);
    return upcalls->placed(arg, &conn->base, loan);
}

/* MESSAGE or BYE, in its turn. */
static hg_return_t take_numbered(struct ofi_conn *conn, const struct ofi_frame *frame, const char *bytes)
{
    conn->received++;
    if (frame->kind == OFI_BYE)
        return HG_NODEV;
    return deliver(conn, bytes, frame->head_size, frame->payload_size);
}

/* The frame, and those that have waited for it. */
static hg_return_t take_in_turn(struct ofi_conn *conn, const struct ofi_frame *frame, const char *bytes)
{
    struct ofi_early *early;

    if (frame->number != conn->received) {
        if (frame->kind == OFI_BYE)
            conn->bye_ns = dango_clock_ns();
        return ofi_early_add(conn, frame, bytes);
    }
    hg_return_t ret = take_numbered(conn, frame, bytes);
    while (ret == HG_SUCCESS && !na_conn_is_closed(&conn->base) && (early = ofi_early_next(conn))) {
        ret = take_numbered(conn, &early->frame, early->bytes);
        free(early);
    }
    return ret;
}

/* The peer does not know the connection. If it is the one that we have met, what it sent before may still be on its
 * way. */
static hg_return_t take_gone(struct ofi_conn *conn, const struct ofi_hello *hello)
{
    if (conn->stage != OFI_STAGE_OPEN)
        return HG_PROTOCOL_ERROR;
    if (hello->epoch != conn->epoch)
        return HG_NODEV;
    if (conn->bye_ns == 0)
        conn->bye_ns = dango_clock_ns();
    return HG_SUCCESS;
}

static hg_return_t take_frame(struct ofi_conn *conn, const struct ofi_frame *frame, const char *bytes)
{
    hg_return_t ret = HG_SUCCESS;

    conn->heard = true;
    if (frame->kind == OFI_WELCOME || frame->kind == OFI_GONE) {
        struct ofi_hello hello;
        if (frame->head_size != sizeof hello)
            return HG_PROTOCOL_ERROR;
        memcpy(&hello, bytes, sizeof hello);
        return frame->kind == OFI_WELCOME ? take_welcome(conn, &hello) : take_gone(conn, &hello);
    }
    if (conn->stage == OFI_STAGE_GREETING)
        return frame->kind == OFI_BYE ? HG_HOSTUNREACH : HG_PROTOCOL_ERROR;
    if (conn->stage == OFI_STAGE_PROVING)
        ret = let_in(conn);
    if (ret != HG_SUCCESS || frame->kind == OFI_PING)
        return ret;
    if (frame->kind == OFI_BYE ? frame->head_size != 0 : frame->kind != OFI_MESSAGE || frame->head_size == 0)
        return HG_PROTOCOL_ERROR;
    return take_in_turn(conn, frame, bytes);
}

void ofi_arrived(struct ofi_context *context, const void *bytes, size_t size)
{
    struct ofi_frame frame;
    struct ofi_hello hello;
    const char *rest = (const char *)bytes + sizeof frame;

    if (size < sizeof frame)
        return;
    memcpy(&frame, bytes, sizeof frame);
    frame.kind = le32toh(frame.kind);
    frame.head_size = le32toh(frame.head_size);
    frame.payload_size = le32toh(frame.payload_size);
    frame.number = le32toh(frame.number);
    if (frame.head_size > OFI_MESSAGE_MAX || frame.payload_size > OFI_LOAN_MAX ||
        size != sizeof frame + frame.head_size + frame.payload_size)
        return; /* not from one of us; nobody can be named who could be told */
    const bool introduces = frame.head_size == sizeof hello && frame.payload_size == 0;
    if (introduces)
        memcpy(&hello, rest, sizeof hello);
    if (frame.kind == OFI_HELLO) {
        if (frame.token == 0 && introduces)
            take_hello(context, &hello);
        return;
    }
    struct ofi_conn *conn = find_conn(context, le64toh(frame.token));
    if (!conn) { /* late, made up, or for somebody who was here before */
        if (frame.kind == OFI_PING && frame.token != 0 && introduces)
            answer_stranger(context, &hello);
        return;
    }
    if (!na_conn_is_closed(&conn->base)) {
        hg_return_t ret = take_frame(conn, &frame, rest);
        if (ret == HG_PROTOCOL_ERROR)
            log_warning("mercury", "%s sent an invalid message: its connection is closed", conn->base.peer);
        if (ret != HG_SUCCESS && !na_conn_is_closed(&conn->base))
            na_conn_close(&conn->base, ret);
    }
    na_conn_release(&conn->base);
}

/* ---- time ---- */

/* A frame in flight fails if the peer is gone, an access may just not end. */
static bool has_frames_in_flight(struct ofi_conn *conn)
{
    return atomic_load(&conn->peer_uses) > 1 + atomic_load(&conn->accesses);
}

/* Sends a ping if nothing else tells whether the peer is there. HG_SUCCESS: it may be. */
static hg_return_t look_after(struct ofi_conn *conn, int64_t now_ns)
{
    bool heard = conn->heard;
    hg_return_t ret = HG_SUCCESS;

    conn->heard = false;
    if (conn->bye_ns && now_ns - conn->bye_ns > OFI_BYE_MS * DANGO_NS_PER_MS)
        return HG_NODEV;
    if (!heard && !has_frames_in_flight(conn))
        ret = introduce(conn, OFI_PING);
    bool gone = nobody_there(conn, ret == HG_AGAIN ? now_ns : 0);
    if (ret == HG_AGAIN) {
        ofi_wake_in(context_of(conn), OFI_RETRY_MS);
        gone |= now_ns - conn->unsendable_ns > OFI_UNSENDABLE_MS * DANGO_NS_PER_MS;
        ret = HG_SUCCESS;
    }
    return ret != HG_SUCCESS || gone ? HG_NODEV : HG_SUCCESS;
}

/* A HELLO that is out and not answered may have met an endpoint that was about to close. */
static hg_return_t look_after_hello(struct ofi_conn *conn, int64_t now_ns, bool look)
{
    hg_return_t ret = HG_SUCCESS;

    if (look && atomic_load(&conn->peer_uses) == 1)
        ret = ofi_send(conn, OFI_PING, NULL, 0, NULL);
    bool gone = (look || conn->probe_fd >= 0) && nobody_there(conn, now_ns);
    if (conn->probe_fd >= 0)
        ofi_wake_in(context_of(conn), OFI_KNOCK_MS);
    return gone || (ret != HG_SUCCESS && ret != HG_AGAIN) ? HG_HOSTUNREACH : HG_SUCCESS;
}

static hg_return_t look_after_greeting(struct ofi_conn *conn, int64_t now_ns, bool look)
{
    hg_return_t ret = HG_SUCCESS;

    if (conn->greeting_due) {
        ret = greet(conn);
        if (ret == HG_SUCCESS && nobody_there(conn, conn->greeting_due ? now_ns : 0))
            ret = HG_HOSTUNREACH;
    } else if (!conn->base.incoming) {
        ret = look_after_hello(conn, now_ns, look);
    }
    return ret == HG_SUCCESS && now_ns > conn->deadline_ns ? HG_HOSTUNREACH : ret;
}

static void tick_conn(struct ofi_conn *conn, int64_t now_ns, bool look)
{
    hg_return_t ret = HG_SUCCESS;

    if (na_conn_is_closed(&conn->base))
        return;
    if (conn->stage != OFI_STAGE_OPEN)
        ret = look_after_greeting(conn, now_ns, look);
    else if (look || conn->unsendable_ns)
        ret = look_after(conn, now_ns);
    if (ret != HG_SUCCESS && !na_conn_is_closed(&conn->base))
        na_conn_close(&conn->base, ret);
}

/* All connections with a reference each, for the caller to free; NULL: none, or no memory. */
static struct ofi_conn **all_conns(struct ofi_context *context, size_t *count)
{
    pthread_mutex_lock(&context->base.conns_lock);
    struct ofi_conn **conns = context->base.conn_count > 0 ? calloc(context->base.conn_count, sizeof *conns) : NULL;
    *count = 0;
    list_for_each (node, &context->base.conns) {
        if (!conns)
            break;
        conns[*count] = container_of(node, struct ofi_conn, base.link);
        na_conn_ref(&conns[(*count)++]->base);
    }
    pthread_mutex_unlock(&context->base.conns_lock);
    return conns;
}

void ofi_tick(struct ofi_context *context)
{
    int64_t now_ns = dango_clock_ns();
    bool look = now_ns - context->looked_ns >= OFI_TICK_MS * DANGO_NS_PER_MS;
    size_t count;
    struct ofi_conn **conns = all_conns(context, &count);

    if (look) {
        context->looked_ns = now_ns;
        context->strangers = 0;
    }
    for (size_t i = 0; i < count; i++) {
        tick_conn(conns[i], now_ns, look);
        na_conn_release(&conns[i]->base);
    }
    if (count > 0 || context->base.conn_count > 0)
        ofi_wake_in(context, atomic_load(&context->base.attention) > 0 ? OFI_RETRY_MS : OFI_TICK_MS);
    free(conns);
}
