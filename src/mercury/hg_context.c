/*
 * Contexts: progress, trigger, sleeping, and the end.
 *
 * HG_Progress polls under the progress lock but sleeps outside of it, so that any number of threads may progress the
 * same context. A destroyed context lives on as a zombie while handles of it are held.
 */
#include "mercury/hg.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/epoll.h>

/*
 * Before a thread sleeps it polls for a while: waking a sleeper on another core takes 20 to 60 µs, so a peer that is
 * busy answering is worth waiting for about as long. Past the first polls the processor is offered to others, at once
 * if a poll costs a system call: the peer may be waiting for this very processor, and 64 such calls take three times as
 * long as its answer.
 */
#define SPIN_NS      50000
#define SPIN_EAGER   64     /* polls before offering the processor */
#define SPIN_BATCH   16     /* polls between two offers, and looks at the clock */
#define OFFER_MAX_NS 100000 /* longer than a peer takes to answer */
#define SPINS_OFF    1000   /* sleeps without polling after it was offered and kept for longer */

/* ---- upcalls of the transport ---- */

static hg_return_t on_accepted(void *arg, struct na_conn *conn)
{
    return hgi_peer_accept(arg, conn);
}

/* The slots may move and change between two calls, but none is passed over. */
static void tell_peer_gone(hg_context_t *context, struct hg_addr *addr)
{
    hg_class_t *hg_class = context->hg_class;

    for (unsigned i = 0;; i++) {
        struct hgi_peer_gone listener = {0};
        pthread_mutex_lock(&hg_class->contexts_lock);
        bool more = i < hg_class->peer_gone_count;
        if (more)
            listener = hg_class->peer_gone[i];
        pthread_mutex_unlock(&hg_class->contexts_lock);
        if (!more)
            return;
        if (listener.callback)
            listener.callback(listener.arg, context, addr);
    }
}

static void on_closed(void *arg, struct na_conn *conn, hg_return_t why)
{
    hg_context_t *context = arg;
    struct hg_addr *addr = conn->user;

    assert(addr && na_conn_is_closed(conn));
    hgi_addr_ref(addr);
    hgi_peer_forget(context, conn);
    hgi_handles_fail(context, conn, why);
    hgi_copies_fail(context, conn, why);
    if (!atomic_load(&context->closing))
        tell_peer_gone(context, addr);
    hgi_addr_release(addr);
}

static const struct na_upcalls upcalls = {
    .message = hgi_receive,
    .place = hgi_place,
    .placed = hgi_placed,
    .accessed = hgi_accessed,
    .access_room = hgi_access_room,
    .accepted = on_accepted,
    .closed = on_closed,
};

/* ---- life ---- */

static void context_free(hg_context_t *context)
{
    hgi_queue_fini(&context->queue);
    hgi_handles_fini(context);
    hgi_table_fini(&context->ops);
    pthread_mutex_destroy(&context->progress_lock);
    pthread_mutex_destroy(&context->ops_lock);
    pthread_mutex_destroy(&context->peers_lock);
    free(context->scratch);
    free(context);
}

static hg_context_t *context_new(hg_class_t *hg_class, uint8_t id)
{
    hg_context_t *context = calloc(1, sizeof *context);

    if (!context)
        return NULL;
    context->scratch = malloc(hg_class->domain->message_max);
    if (!context->scratch)
        goto fail;
    if (hgi_table_init(&context->handles, sizeof(struct hg_handle)))
        goto fail;
    if (hgi_table_init(&context->ops, sizeof(struct hgi_op))) {
        hgi_table_fini(&context->handles);
        goto fail;
    }
    context->hg_class = hg_class;
    context->id = id;
    atomic_init(&context->closing, false);
    atomic_init(&context->users, 1);
    hgi_queue_init(&context->queue);
    list_init(&context->stalled);
    pthread_mutex_init(&context->progress_lock, NULL);
    pthread_mutex_init(&context->ops_lock, NULL);
    pthread_mutex_init(&context->peers_lock, NULL);
    return context;
fail:
    free(context->scratch);
    free(context);
    return NULL;
}

/* Puts the context into the directory of its class; false if the place is taken. */
static bool enlist(hg_class_t *hg_class, hg_context_t *context)
{
    pthread_mutex_lock(&hg_class->contexts_lock);
    bool vacant = !hg_class->contexts[context->id];
    if (vacant)
        hg_class->contexts[context->id] = context;
    pthread_mutex_unlock(&hg_class->contexts_lock);
    return vacant;
}

static bool is_taken(hg_class_t *hg_class, uint8_t id)
{
    pthread_mutex_lock(&hg_class->contexts_lock);
    bool taken = hg_class->contexts[id] != NULL;
    pthread_mutex_unlock(&hg_class->contexts_lock);
    return taken;
}

hg_context_t *HG_Context_create_id(hg_class_t *hg_class, uint8_t id)
{
    hg_context_t *context;

    if (!hg_class)
        return NULL;
    if (id >= hg_class->max_contexts) {
        log_error("mercury", "cannot create context %u: the class has max_contexts %u", id, hg_class->max_contexts);
        return NULL;
    }
    if (is_taken(hg_class, id)) {
        log_error("mercury", "context %u exists already", id);
        return NULL;
    }
    context = context_new(hg_class, id);
    if (!context)
        return NULL;
    if (hg_class->domain->transport->context_open(hg_class->domain, id, &upcalls, context, &context->na) !=
        HG_SUCCESS) {
        context_free(context);
        return NULL;
    }
    /* Only now: calls within this process find it here. */
    if (enlist(hg_class, context))
        return context;
    log_error("mercury", "context %u exists already", id);
    hg_class->domain->transport->context_close(context->na);
    context_free(context);
    return NULL;
}

hg_context_t *HG_Context_create(hg_class_t *hg_class)
{
    return HG_Context_create_id(hg_class, 0);
}

void hgi_context_release(hg_context_t *context)
{
    hg_class_t *hg_class = context->hg_class;

    unsigned before = atomic_fetch_sub_explicit(&context->users, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1)
        return;
    assert(atomic_load(&context->closing));
    /* The last handle of a destroyed context. */
    context_free(context);
    pthread_mutex_lock(&hg_class->contexts_lock);
    assert(hg_class->zombies > 0);
    hg_class->zombies--;
    pthread_mutex_unlock(&hg_class->contexts_lock);
}

/* Runs everything in the queue. */
static void drain(hg_context_t *context)
{
    struct hgi_entry *entry;

    while ((entry = hgi_queue_pop(&context->queue, 0)))
        entry->run(entry);
}

hg_return_t HG_Context_destroy(hg_context_t *context)
{
    hg_class_t *hg_class;

    if (!context)
        return HG_SUCCESS;
    hg_class = context->hg_class;
    atomic_store(&context->closing, true);
    pthread_mutex_lock(&hg_class->contexts_lock);
    hg_class->contexts[context->id] = NULL;
    hg_class->zombies++;
    pthread_mutex_unlock(&hg_class->contexts_lock);

    hgi_handles_fail(context, NULL, HG_CANCELED);
    hgi_copies_fail(context, NULL, HG_CANCELED);
    drain(context);
    pthread_mutex_lock(&context->progress_lock);
    hg_class->domain->transport->context_close(context->na);
    pthread_mutex_unlock(&context->progress_lock);
    context->na = NULL;
    drain(context);
    if (context->free_data)
        context->free_data(context->data);
    if (hgi_table_used(&context->handles) > 0)
        log_debug("mercury", "context %u destroyed while %zu handles are held", context->id,
                  hgi_table_used(&context->handles));
    hgi_context_release(context);
    return HG_SUCCESS;
}

/* ---- sleeping ---- */

int dango_hg_get_wait_fd(hg_context_t *context)
{
    assert(context && context->na);
    return context->na->wait.epoll_fd;
}

bool dango_hg_has_completions(hg_context_t *context)
{
    return !hgi_queue_empty(&context->queue);
}

bool dango_hg_try_wait(hg_context_t *context)
{
    bool work;

    na_wait_begin(&context->na->wait);
    pthread_mutex_lock(&context->progress_lock);
    work = context->hg_class->domain->transport->has_work(context->na);
    pthread_mutex_unlock(&context->progress_lock);
    if (!work && hgi_queue_empty(&context->queue) && !context->hg_class->busy_poll)
        return true;
    na_wait_end(&context->na->wait);
    return false;
}

void dango_hg_wait_done(hg_context_t *context)
{
    na_wait_end(&context->na->wait);
}

void dango_hg_wake(hg_context_t *context)
{
    na_wait_wake(&context->na->wait);
}

/* ---- progress and trigger ---- */

static void poll_once(hg_context_t *context)
{
    /* If another thread polls right now, its finds are as good as ours. */
    if (pthread_mutex_trylock(&context->progress_lock))
        return;
    context->hg_class->domain->transport->poll(context->na, false);
    pthread_mutex_unlock(&context->progress_lock);
}

/* Milliseconds for epoll_wait, rounded up. */
static int milliseconds_until(int64_t deadline_ns)
{
    int64_t left = deadline_ns - dango_clock_ns();

    if (left <= 0)
        return 0;
    left = (left + DANGO_NS_PER_MS - 1) / DANGO_NS_PER_MS;
    return left > INT_MAX ? INT_MAX : (int)left;
}

static void sleep_until(hg_context_t *context, int64_t deadline_ns)
{
    struct epoll_event event;

    if (!dango_hg_try_wait(context))
        return;
    /* What is ready stays for the poll that follows: the doorbell is harmless, sockets are level-triggered. */
    epoll_wait(context->na->wait.epoll_fd, &event, 1, milliseconds_until(deadline_ns));
    dango_hg_wait_done(context);
}

/* Has it been polled so often that others may want the processor? */
static bool offer_due(const hg_context_t *context, unsigned polls)
{
    if (context->hg_class->domain->transport->polls_by_system_call)
        return true;
    return polls >= SPIN_EAGER && polls % SPIN_BATCH == 0;
}

/* Offers the processor. If somebody had it for long, others compete for it: who sleeps gets it back as soon as there is
 * something to do, who polls only when it is his turn. */
static int64_t offer(hg_context_t *context, int64_t now)
{
    sched_yield();
    int64_t after = dango_clock_ns();
    if (after - now > OFFER_MAX_NS)
        atomic_store_explicit(&context->spins_off, SPINS_OFF, memory_order_relaxed);
    return after;
}

/* Goes on polling for up to SPIN_NS; true if there is something in the queue. */
static bool spin(hg_context_t *context, int64_t deadline_ns)
{
    unsigned off = atomic_load_explicit(&context->spins_off, memory_order_relaxed);
    int64_t now, end;

    if (off > 0) {
        atomic_store_explicit(&context->spins_off, off - 1, memory_order_relaxed);
        return false;
    }
    now = dango_clock_ns();
    end = now + SPIN_NS < deadline_ns ? now + SPIN_NS : deadline_ns;
    for (unsigned polls = 1;; polls++) {
        if (offer_due(context, polls)) {
            if (now >= end)
                return false;
            now = offer(context, now);
        }
        poll_once(context);
        if (!hgi_queue_empty(&context->queue))
            return true;
    }
}

hg_return_t HG_Progress(hg_context_t *context, unsigned int timeout)
{
    int64_t deadline;

    if (!context)
        return HG_INVALID_ARG;
    poll_once(context);
    if (!hgi_queue_empty(&context->queue))
        return HG_SUCCESS;
    if (timeout == 0)
        return HG_TIMEOUT;
    deadline = dango_deadline_ns(timeout);
    for (;;) {
        if (spin(context, deadline))
            return HG_SUCCESS;
        if (dango_clock_ns() >= deadline)
            return HG_TIMEOUT;
        sleep_until(context, deadline);
        poll_once(context);
        if (!hgi_queue_empty(&context->queue))
            return HG_SUCCESS;
    }
}

const void *dango_hg_cork(hg_context_t *context)
{
    const struct na_transport *transport = context->hg_class->domain->transport;

    return transport->cork ? transport->cork(context->na) : NULL;
}

void dango_hg_uncork(hg_context_t *context, const void *corked)
{
    if (corked)
        context->hg_class->domain->transport->uncork(context->na, corked);
}

/* Several callbacks are about to run: what they send may share system calls. */
static const void *cork(hg_context_t *context, unsigned max_count)
{
    if (max_count < 2 || atomic_load_explicit(&context->queue.count, memory_order_relaxed) < 2)
        return NULL;
    return dango_hg_cork(context);
}

hg_return_t HG_Trigger(hg_context_t *context, unsigned int timeout, unsigned int max_count, unsigned int *actual_count)
{
    struct hgi_entry *entry;
    const void *corked;
    unsigned count = 0;

    if (!context)
        return HG_INVALID_ARG;
    int64_t deadline = timeout > 0 && hgi_queue_empty(&context->queue) ? dango_deadline_ns(timeout) : 0;
    corked = cork(context, max_count);
    while (count < max_count && (entry = hgi_queue_pop(&context->queue, count == 0 ? deadline : 0))) {
        entry->run(entry);
        count++;
    }
    dango_hg_uncork(context, corked);
    if (actual_count)
        *actual_count = count;
    return count > 0 ? HG_SUCCESS : HG_TIMEOUT;
}

/* ---- accessors ---- */

hg_class_t *HG_Context_get_class(const hg_context_t *context)
{
    return context ? context->hg_class : NULL;
}

uint8_t HG_Context_get_id(const hg_context_t *context)
{
    return context ? context->id : 0;
}

hg_return_t HG_Context_set_data(hg_context_t *context, void *data, void (*free_callback)(void *))
{
    if (!context)
        return HG_INVALID_ARG;
    context->data = data;
    context->free_data = free_callback;
    return HG_SUCCESS;
}

void *HG_Context_get_data(const hg_context_t *context)
{
    return context ? context->data : NULL;
}
