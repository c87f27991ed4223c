/*
 * Sessions: who may produce and consume, and for how long.
 *
 * A session ends when its client closes it, when the connection to the client breaks, or when the client was silent
 * for the time of a lease. Ending means: out of the table, waiting fetches answered. Requests that are being worked on
 * hold a reference and finish by themselves.
 */
#include "mofka/server/provider.h"

#include "mercury/dango_hg.h"
#include "util/clock.h"
#include "util/log.h"

#include <stdlib.h>
#include <sys/random.h>

void mofka_session_release(struct mofka_session *session)
{
    if (atomic_fetch_sub(&session->references, 1) > 1)
        return;
    assert(list_empty(&session->fetches) && !session->is_waiting);
    dango_mofka_partition_detach(session->provider->partition, &session->stream);
    margo_addr_free(session->mid, session->peer);
    pthread_mutex_destroy(&session->lock);
    free(atomic_load(&session->fence));
    free(session);
}

/* Under the lock, so that nothing is armed any more once `closing` was set under it. */
static void arm_sweep(struct mofka_provider *provider)
{
    if (!atomic_load(&provider->closing))
        dango_abt_timer_arm(&provider->sweep, dango_clock_ns() + provider->settings.lease_ms * DANGO_NS_PER_MS);
}

static int add_to_table(struct mofka_provider *provider, struct mofka_session *session, struct dango_error *err)
{
    struct mofka_session *other;
    int code = 0;
    pthread_mutex_lock(&provider->lock);
    HASH_FIND(hh, provider->sessions, &session->token, sizeof session->token, other);
    unsigned before = HASH_COUNT(provider->sessions);
    if (atomic_load(&provider->closing))
        code = dango_error_set(err, DANGO_ERR_DISCONNECTED, "the partition is being closed");
    else if (atomic_load(&provider->deleted))
        code = dango_error_set(err, DANGO_ERR_NOT_FOUND, "the topic has been deleted");
    else if (before >= MOFKA_SESSIONS_MAX)
        code = dango_error_set(err, DANGO_ERR_BUSY, "the partition has %u clients already", MOFKA_SESSIONS_MAX);
    else if (other || session->token == 0)
        code = dango_error_set(err, DANGO_ERR_AGAIN, "token is taken");
    else
        HASH_ADD(hh, provider->sessions, token, sizeof session->token, session);
    if (code == 0 && HASH_COUNT(provider->sessions) == before)
        code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
    if (code == 0 && before == 0)
        arm_sweep(provider);
    pthread_mutex_unlock(&provider->lock);
    return code;
}

int mofka_session_open(struct mofka_request *request, bool consumer, const char *name, struct mofka_session **session,
                       struct dango_error *err)
{
    assert(strlen(name) <= MOFKA_NAME_MAX);
    struct mofka_session *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
    new->provider = request->provider;
    new->mid = request->provider->settings.mid;
    new->consumer = consumer;
    strcpy(new->name, name);
    atomic_init(&new->references, 2); /* the table's and the request's */
    atomic_init(&new->in_flight, 1);
    new->opened_ns = dango_clock_ns();
    atomic_init(&new->seen_ns, new->opened_ns);
    pthread_mutex_init(&new->lock, NULL);
    list_init(&new->waiting);
    list_init(&new->fetches);
    int code = 0;
    const struct hg_info *info = margo_get_info(request->handle);
    if (margo_addr_dup(request->provider->settings.mid, info->addr, &new->peer) != HG_SUCCESS)
        code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
    do {
        if (code == 0 || code == DANGO_ERR_AGAIN)
            code = getrandom(&new->token, sizeof new->token, 0) == (ssize_t)sizeof new->token
                       ? add_to_table(request->provider, new, err)
                       : dango_error_set(err, DANGO_ERR_INTERNAL, "the server has no random numbers");
    } while (code == DANGO_ERR_AGAIN);
    if (code != 0) {
        atomic_store(&new->references, 1);
        mofka_session_release(new);
        return code;
    }
    request->session = new;
    *session = new;
    return 0;
}

int mofka_session_find_any(struct mofka_request *request, uint64_t token, struct dango_error *err)
{
    struct mofka_provider *provider = request->provider;
    struct mofka_session *session;
    pthread_mutex_lock(&provider->lock);
    HASH_FIND(hh, provider->sessions, &token, sizeof token, session);
    if (session)
        atomic_fetch_add(&session->references, 1);
    pthread_mutex_unlock(&provider->lock);
    if (!session)
        return dango_error_set(err, DANGO_ERR_DISCONNECTED,
                               "the partition does not know this client any more (silent for more than %.0f s?)",
                               (double)provider->settings.lease_ms / 1000);
    atomic_store_explicit(&session->seen_ns, dango_clock_ns(), memory_order_relaxed);
    request->session = session;
    if (atomic_fetch_add(&session->in_flight, 1) >= 2 * MOFKA_WINDOW_MAX)
        return dango_error_set(err, DANGO_ERR_BUSY, "more than %u requests of one client in flight",
                               2 * MOFKA_WINDOW_MAX);
    return 0;
}

int mofka_session_check(const struct mofka_session *session, struct dango_error *err)
{
    const struct dango_error *fence = atomic_load(&session->fence);
    return fence ? dango_error_set(err, fence->code, "%s", fence->text) : 0;
}

int mofka_session_find(struct mofka_request *request, uint64_t token, bool consumer, struct dango_error *err)
{
    int code = mofka_session_find_any(request, token, err);
    if (code != 0)
        return code;
    const struct mofka_session *session = request->session;
    if (session->consumer != consumer)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "a %s asked what only a %s may",
                               session->consumer ? "consumer" : "producer", consumer ? "consumer" : "producer");
    return mofka_session_check(session, err);
}

/* A session delivers nothing more: answers its waiting fetches by `why`. Takes over `fence`, which may be NULL. */
static void stop_session(struct mofka_provider *provider, struct mofka_session *session, const struct dango_error *why,
                         struct dango_error *fence)
{
    struct list_node fetches;
    list_init(&fetches);
    pthread_mutex_lock(&session->lock);
    session->closed = true;
    if (fence && !atomic_load(&session->fence)) {
        atomic_store(&session->fence, fence);
        fence = NULL;
    }
    dango_mofka_reader_fini(&session->reader); /* nothing may hold the partition when it is destroyed */
    while (!list_empty(&session->fetches)) {
        struct list_node *node = list_pop(&session->fetches);
        list_append(&fetches, node);
    }
    pthread_mutex_unlock(&session->lock);

    pthread_mutex_lock(&provider->lock);
    bool waiting = session->is_waiting;
    if (waiting) {
        session->is_waiting = false;
        provider->waiting_count--;
        list_remove(&session->waiting);
    }
    pthread_mutex_unlock(&provider->lock);
    if (waiting)
        mofka_session_release(session);
    for (struct list_node *node; (node = list_pop(&fetches));)
        mofka_request_fail(container_of(node, struct mofka_request, link), why);
    free(fence);
}

/* For one that was taken out of the table, whose reference it drops. */
static void end_session(struct mofka_provider *provider, struct mofka_session *session)
{
    struct dango_error err;
    dango_error_set(&err, DANGO_ERR_DISCONNECTED, "the subscription has ended");
    stop_session(provider, session, &err, NULL);
    mofka_session_release(session);
}

void mofka_session_close(struct mofka_provider *provider, struct mofka_session *session)
{
    struct mofka_session *found;
    pthread_mutex_lock(&provider->lock);
    HASH_FIND(hh, provider->sessions, &session->token, sizeof session->token, found);
    if (found)
        HASH_DEL(provider->sessions, found);
    pthread_mutex_unlock(&provider->lock);
    if (found)
        end_session(provider, found);
}

void mofka_sessions_close(struct mofka_provider *provider,
                          bool (*dead)(const struct mofka_session *session, const void *arg), const void *arg)
{
    for (;;) {
        struct mofka_session *session, *next, *found = NULL;
        pthread_mutex_lock(&provider->lock);
        HASH_ITER (hh, provider->sessions, session, next) {
            if (dead(session, arg)) {
                found = session;
                break;
            }
        }
        if (found)
            HASH_DEL(provider->sessions, found);
        pthread_mutex_unlock(&provider->lock);
        if (!found)
            return;
        log_debug("mofka", "%s \"%s\" is gone", found->consumer ? "consumer" : "producer", found->name);
        end_session(provider, found);
    }
}

/* ---- for operators ---- */

static bool is_consumer(const struct mofka_session *session)
{
    return session->consumer && !atomic_load(&session->fence);
}

void mofka_sessions_count(struct mofka_provider *provider, uint32_t *producers, uint32_t *consumers)
{
    struct mofka_session *session, *next;
    *producers = *consumers = 0;
    pthread_mutex_lock(&provider->lock);
    HASH_ITER (hh, provider->sessions, session, next) {
        *producers += !session->consumer;
        *consumers += is_consumer(session);
    }
    pthread_mutex_unlock(&provider->lock);
}

uint32_t mofka_sessions_of(struct mofka_provider *provider, const char *name)
{
    struct mofka_session *session, *next;
    uint32_t count = 0;
    pthread_mutex_lock(&provider->lock);
    HASH_ITER (hh, provider->sessions, session, next) {
        count += is_consumer(session) && strcmp(session->name, name) == 0;
    }
    pthread_mutex_unlock(&provider->lock);
    return count;
}

/* Whether a session is to be shut out with the consumers of that name, or (NULL) with everybody, and is not yet. */
static bool is_meant(const struct mofka_session *session, const char *name)
{
    if (atomic_load(&session->fence))
        return false;
    return !name || (session->consumer && strcmp(session->name, name) == 0);
}

/* A session that is meant, with a reference; NULL when there is none. */
static struct mofka_session *find_meant(struct mofka_provider *provider, const char *name)
{
    struct mofka_session *session, *next, *found = NULL;
    pthread_mutex_lock(&provider->lock);
    HASH_ITER (hh, provider->sessions, session, next) {
        if (is_meant(session, name)) {
            found = session;
            atomic_fetch_add(&found->references, 1);
            break;
        }
    }
    pthread_mutex_unlock(&provider->lock);
    return found;
}

int mofka_sessions_fence(struct mofka_provider *provider, const char *name, const struct dango_error *why,
                         struct dango_error *err)
{
    for (struct mofka_session *session; (session = find_meant(provider, name));) {
        struct dango_error *fence = malloc(sizeof *fence);
        if (fence) {
            *fence = *why;
            stop_session(provider, session, why, fence);
        }
        mofka_session_release(session);
        if (!fence)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
    }
    return 0;
}

/* ---- leases and broken connections ---- */

/* Work that must not be done where it is noticed (timer thread, progress loop): a ULT does it. */
struct notice {
    struct mofka_provider *provider;
    hg_addr_t peer;  /* NULL: look for leases that ran out */
    int64_t time_ns; /* sessions that were opened later are not concerned: the client has come back */
};

static bool lease_is_over(const struct mofka_session *session, const void *arg)
{
    const int64_t *limit_ns = arg;
    return atomic_load(&session->seen_ns) < *limit_ns;
}

static bool belongs_to(const struct mofka_session *session, const void *arg)
{
    const struct notice *notice = arg;
    return session->opened_ns <= notice->time_ns &&
           margo_addr_cmp(session->mid, session->peer, notice->peer) != HG_FALSE;
}

static void serve_notice(void *arg)
{
    struct notice *notice = arg;
    struct mofka_provider *provider = notice->provider;
    if (notice->peer) {
        mofka_sessions_close(provider, belongs_to, notice);
        margo_addr_free(provider->settings.mid, notice->peer);
    } else {
        int64_t limit_ns = dango_clock_ns() - provider->settings.lease_ms * DANGO_NS_PER_MS;
        mofka_sessions_close(provider, lease_is_over, &limit_ns);
        pthread_mutex_lock(&provider->lock);
        if (provider->sessions)
            arm_sweep(provider);
        pthread_mutex_unlock(&provider->lock);
    }
    free(notice);
    mofka_provider_leave(provider);
}

/* False when there is no memory for it. Takes `peer` if it is given. */
static bool give_notice(struct mofka_provider *provider, hg_addr_t peer)
{
    struct notice *notice = malloc(sizeof *notice);
    if (!notice)
        return false;
    *notice = (struct notice){provider, peer, dango_clock_ns()};
    atomic_fetch_add(&provider->active, 1);
    if (ABT_thread_create(provider->settings.pool, serve_notice, notice, ABT_THREAD_ATTR_NULL, NULL) == ABT_SUCCESS)
        return true;
    mofka_provider_leave(provider);
    free(notice);
    return false;
}

static void on_sweep(void *arg)
{
    struct mofka_provider *provider = arg;
    if (give_notice(provider, HG_ADDR_NULL))
        return;
    pthread_mutex_lock(&provider->lock);
    arm_sweep(provider);
    pthread_mutex_unlock(&provider->lock);
}

static void on_peer_gone(void *arg, hg_context_t *context, hg_addr_t addr)
{
    struct mofka_provider *provider = arg;
    hg_addr_t peer;
    (void)context;
    if (atomic_load(&provider->closing) || margo_addr_dup(provider->settings.mid, addr, &peer) != HG_SUCCESS)
        return;
    if (!give_notice(provider, peer)) /* the next sweep finds the sessions */
        margo_addr_free(provider->settings.mid, peer);
}

int mofka_sessions_watch(struct mofka_provider *provider, struct dango_error *err)
{
    dango_abt_timer_init(&provider->sweep, on_sweep, provider);
    hg_return_t ret = dango_hg_set_peer_gone_cb(margo_get_class(provider->settings.mid), on_peer_gone, provider);
    if (ret != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "cannot watch connections: %s", HG_Error_to_string(ret));
    return 0;
}

void mofka_sessions_unwatch(struct mofka_provider *provider)
{
    dango_hg_unset_peer_gone_cb(margo_get_class(provider->settings.mid), on_peer_gone, provider);
    dango_abt_timer_cancel(&provider->sweep);
}
