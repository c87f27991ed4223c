/*
 * References, finalisation, and callbacks.
 *
 * Finalisation is requested by margo_finalize, by releasing the last reference, or by a peer. The request sets
 * MG_FINALISING in the same word that counts running handlers, so that there is exactly one thread that finds the flag
 * set and the count zero: the requester, or the handler that ends last. That thread runs the stages:
 *
 *     prefinalize callbacks (calls are still possible) → the progress loop stops, pending calls end with HG_CANCELED →
 *     finalize callbacks → `finalised`, waiters wake up → the instance is freed if nobody waits and no reference is
 *     left.
 *
 * Otherwise the last waiter or the last release frees it. Among waiters the main thread stays until the others have
 * gone, because it alone can stop Argobots. A request from inside the progress loop is handed to a ULT, for the loop
 * cannot wait for itself.
 *
 * Retirement. A handler that ends an instance runs on one of its execution streams and cannot join them; and the main
 * thread may be just about to call margo_wait_for_finalize. So an instance that is over elsewhere than in the main
 * thread is put on a list. The main thread ends what is on the list when it comes by (mg_reap); the memory stays until
 * somebody waits for the instance, or for good: a few hundred bytes.
 */
#include "margo/instance.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct callback {
    struct list_node link;
    const void *owner;
    margo_finalize_callback_t fn;
    void *arg;
};

static pthread_mutex_t retired_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct list_node retired = {&retired, &retired};

static void broadcast(margo_instance_id mid)
{
    ABT_cond_broadcast(ABT_COND_MEMORY_GET_HANDLE(&mid->changed));
}

/* ---- the end ---- */

static bool on_primary_ult(void)
{
    ABT_bool primary = ABT_FALSE;
    return ABT_self_is_primary(&primary) == ABT_SUCCESS && primary;
}

/* Takes the first instance that is not ended yet; it stays on the list. */
static margo_instance_id next_to_end(void)
{
    margo_instance_id found = MARGO_INSTANCE_NULL;
    pthread_mutex_lock(&retired_mutex);
    list_for_each (node, &retired) {
        margo_instance_id mid = container_of(node, struct margo_instance, retired);
        if (!mid->ended && !found)
            found = mid;
    }
    if (found)
        found->ended = true;
    pthread_mutex_unlock(&retired_mutex);
    return found;
}

void mg_reap(void)
{
    margo_instance_id mid;
    while (on_primary_ult() && (mid = next_to_end()))
        mg_instance_end(mid);
}

/* Nobody waits, no reference is left. `unexpected`: the program did not ask for it here and now. */
static void bury(margo_instance_id mid, bool unexpected)
{
    pthread_mutex_lock(&retired_mutex);
    bool ended = mid->ended;
    bool here = ended || on_primary_ult() || (!unexpected && mg_env_may_end_here(mid->env));
    if (here) {
        list_remove(&mid->retired);
        mid->ended = true;
    } else if (!list_linked(&mid->retired)) {
        list_append(&retired, &mid->retired);
    }
    pthread_mutex_unlock(&retired_mutex);
    if (!here)
        return;
    if (!ended)
        mg_instance_end(mid);
    free(mid);
}

/* ---- stages ---- */

static void run_callbacks(margo_instance_id mid, struct list_node *list)
{
    for (;;) {
        mg_lock(mid);
        struct list_node *node = list_pop(list);
        mg_unlock(mid);
        if (!node)
            return;
        struct callback *callback = container_of(node, struct callback, link);
        callback->fn(callback->arg);
        free(callback);
    }
}

static void run_stages(margo_instance_id mid, bool unexpected)
{
    run_callbacks(mid, &mid->prefinalize);
    mg_progress_stop(mid);
    run_callbacks(mid, &mid->finalize);
    mg_lock(mid);
    mid->finalised = true;
    if (!mid->initial_released) {
        assert(mid->refs > 0);
        mid->initial_released = true;
        mid->refs--;
    }
    bool over = mid->refs == 0 && mid->waiters == 0;
    broadcast(mid);
    mg_unlock(mid);
    mg_reap();
    if (over)
        bury(mid, unexpected);
}

static void stages_ult(void *arg)
{
    run_stages(arg, true);
}

static void start_stages(margo_instance_id mid, bool unexpected)
{
    if (!mg_progress_is_self(mid)) {
        run_stages(mid, unexpected);
        return;
    }
    if (ABT_thread_create(mid->rpc_pool->handle, stages_ult, mid, ABT_THREAD_ATTR_NULL, NULL) != ABT_SUCCESS)
        margo_critical(mid, "no thread could be created to finalise the instance");
}

/* ---- handlers ---- */

bool mg_handler_enter(margo_instance_id mid)
{
    uint64_t old = atomic_load_explicit(&mid->handlers, memory_order_relaxed);
    do {
        if (old & MG_FINALISING)
            return false;
    } while (!atomic_compare_exchange_weak(&mid->handlers, &old, old + 1));
    return true;
}

void mg_handler_leave(margo_instance_id mid)
{
    uint64_t old = atomic_fetch_sub(&mid->handlers, 1);
    assert((old & ~MG_FINALISING) > 0);
    if (old == (MG_FINALISING | 1))
        start_stages(mid, true);
}

/* ---- requests ---- */

void margo_finalize(margo_instance_id mid)
{
    if (!mid)
        return;
    if (atomic_fetch_or(&mid->handlers, MG_FINALISING) == 0)
        start_stages(mid, false);
}

/* Called with the mutex and the caller counted as a waiter; releases the mutex. */
static void wait_and_free(margo_instance_id mid)
{
    unsigned others = on_primary_ult() ? 1 : UINT32_MAX;
    while (!mid->finalised || mid->waiters > others)
        ABT_cond_wait(ABT_COND_MEMORY_GET_HANDLE(&mid->changed), ABT_MUTEX_MEMORY_GET_HANDLE(&mid->mutex));
    mid->waiters--;
    bool over = mid->refs == 0 && mid->waiters == 0;
    broadcast(mid);
    mg_unlock(mid);
    if (over)
        bury(mid, false);
    mg_reap();
}

void margo_wait_for_finalize(margo_instance_id mid)
{
    if (!mid)
        return;
    mg_lock(mid);
    mid->waiters++;
    wait_and_free(mid);
}

void margo_finalize_and_wait(margo_instance_id mid)
{
    if (!mid)
        return;
    mg_lock(mid);
    mid->waiters++;
    mg_unlock(mid);
    margo_finalize(mid);
    mg_lock(mid);
    wait_and_free(mid);
}

/* ---- references ---- */

hg_return_t margo_instance_ref_incr(margo_instance_id mid)
{
    if (!mid)
        return HG_INVALID_ARG;
    mg_lock(mid);
    mid->refs++;
    mg_unlock(mid);
    return HG_SUCCESS;
}

hg_return_t margo_instance_release(margo_instance_id mid)
{
    if (!mid)
        return HG_INVALID_ARG;
    mg_lock(mid);
    if (mid->refs == 0) {
        mg_unlock(mid);
        return HG_OTHER_ERROR;
    }
    bool last = --mid->refs == 0;
    bool finalised = mid->finalised;
    bool over = last && finalised && mid->waiters == 0;
    if (last)
        mid->initial_released = true;
    mg_unlock(mid);
    if (over)
        bury(mid, false);
    else if (last && !finalised)
        margo_finalize(mid);
    return HG_SUCCESS;
}

hg_return_t margo_instance_ref_count(margo_instance_id mid, unsigned *refcount)
{
    if (!mid || !refcount)
        return HG_INVALID_ARG;
    mg_lock(mid);
    *refcount = mid->refs;
    mg_unlock(mid);
    return HG_SUCCESS;
}

hg_return_t margo_instance_is_finalized(margo_instance_id mid, bool *flag)
{
    if (!mid || !flag)
        return HG_INVALID_ARG;
    mg_lock(mid);
    *flag = mid->finalised;
    mg_unlock(mid);
    return HG_SUCCESS;
}

/* ---- callbacks ---- */

static void push(margo_instance_id mid, struct list_node *list, const void *owner, margo_finalize_callback_t cb,
                 void *arg)
{
    if (!mid || !cb)
        return;
    struct callback *callback = malloc(sizeof *callback);
    if (!callback) {
        margo_error(mid, "out of memory: a finalisation callback is lost");
        return;
    }
    *callback = (struct callback){.owner = owner, .fn = cb, .arg = arg};
    mg_lock(mid);
    list_prepend(list, &callback->link);
    mg_unlock(mid);
}

/* Called with the mutex: the most recent callback of an owner. */
static struct callback *find(struct list_node *list, const void *owner)
{
    list_for_each (node, list) {
        struct callback *callback = container_of(node, struct callback, link);
        if (callback->owner == owner)
            return callback;
    }
    return NULL;
}

static int pop(margo_instance_id mid, struct list_node *list, const void *owner)
{
    if (!mid)
        return 0;
    mg_lock(mid);
    struct callback *callback = find(list, owner);
    if (callback)
        list_remove(&callback->link);
    mg_unlock(mid);
    free(callback);
    return callback != NULL;
}

static int top(margo_instance_id mid, struct list_node *list, const void *owner, margo_finalize_callback_t *cb,
               void **arg)
{
    if (!mid)
        return 0;
    mg_lock(mid);
    struct callback *callback = find(list, owner);
    if (callback && cb)
        *cb = callback->fn;
    if (callback && arg)
        *arg = callback->arg;
    mg_unlock(mid);
    return callback != NULL;
}

/* The public functions differ in the list and in whether there is an owner. */
#define CALLBACK_FUNCTIONS(stage)                                                                                      \
    void margo_provider_push_##stage##_callback(margo_instance_id mid, const void *owner,                              \
                                                margo_finalize_callback_t cb, void *uargs)                             \
    {                                                                                                                  \
        push(mid, mid ? &mid->stage : NULL, owner, cb, uargs);                                                         \
    }                                                                                                                  \
    int margo_provider_pop_##stage##_callback(margo_instance_id mid, const void *owner)                                \
    {                                                                                                                  \
        return pop(mid, mid ? &mid->stage : NULL, owner);                                                              \
    }                                                                                                                  \
    int margo_provider_top_##stage##_callback(margo_instance_id mid, const void *owner, margo_finalize_callback_t *cb, \
                                              void **uargs)                                                            \
    {                                                                                                                  \
        return top(mid, mid ? &mid->stage : NULL, owner, cb, uargs);                                                   \
    }                                                                                                                  \
    void margo_push_##stage##_callback(margo_instance_id mid, margo_finalize_callback_t cb, void *uargs)               \
    {                                                                                                                  \
        margo_provider_push_##stage##_callback(mid, NULL, cb, uargs);                                                  \
    }                                                                                                                  \
    int margo_pop_##stage##_callback(margo_instance_id mid)                                                            \
    {                                                                                                                  \
        return margo_provider_pop_##stage##_callback(mid, NULL);                                                       \
    }                                                                                                                  \
    int margo_top_##stage##_callback(margo_instance_id mid, margo_finalize_callback_t *cb, void **uargs)               \
    {                                                                                                                  \
        return margo_provider_top_##stage##_callback(mid, NULL, cb, uargs);                                            \
    }

CALLBACK_FUNCTIONS(prefinalize)
CALLBACK_FUNCTIONS(finalize)
