/*
 * Timers and sleeping.
 *
 * A timer is one of Argobots' (dango_abt_timer), whose function creates a ULT for the callback. A timer is IDLE, ARMED
 * (will fire), SUBMITTED (its ULT is queued) or RUNNING; the instance's mutex guards the state. Cancelling turns a
 * submitted one back to IDLE, so that the ULT finds nothing to do, and waits for a running one. A restart from the
 * callback makes the timer ARMED while `running` is still set.
 *
 * Memory: freed when it has been destroyed, is IDLE, and no ULT that knows it is left (`ults`). A timer that outlives
 * its instance has lost it (`mid` NULL) and can only be destroyed.
 */
#include "margo/instance.h"

#include "util/clock.h"

#include <argobots/dango_abt.h>
#include <margo-timer.h>

#include <assert.h>
#include <stdlib.h>

struct margo_timer {
    struct list_node link;
    margo_instance_id mid;
    margo_timer_callback_fn callback;
    void *arg;
    ABT_pool pool;
    struct dango_abt_timer timer;
    bool armed;
    bool submitted;   /* the callback is to run */
    unsigned running; /* callbacks that run */
    unsigned ults;    /* created, not ended */
    bool destroyed;
};

static void fire(void *arg);

/* ---- life ---- */

int margo_timer_create_with_pool(margo_instance_id mid, margo_timer_callback_fn cb_fn, void *cb_dat, ABT_pool pool,
                                 margo_timer_t *timer)
{
    if (!mid || !cb_fn || !timer)
        return -1;
    margo_timer_t t = calloc(1, sizeof *t);
    if (!t)
        return -1;
    t->mid = mid;
    t->callback = cb_fn;
    t->arg = cb_dat;
    t->pool = pool != ABT_POOL_NULL ? pool : atomic_load(&mid->progress_pool)->handle;
    dango_abt_timer_init(&t->timer, fire, t);
    mg_lock(mid);
    list_append(&mid->timers, &t->link);
    mg_unlock(mid);
    *timer = t;
    return 0;
}

int margo_timer_create(margo_instance_id mid, margo_timer_callback_fn cb_fn, void *cb_dat, margo_timer_t *timer)
{
    return mid ? margo_timer_create_with_pool(mid, cb_fn, cb_dat, mid->rpc_pool->handle, timer) : -1;
}

/* Called with the mutex: whether nobody will touch the timer any more. */
static bool is_over(const struct margo_timer *t)
{
    return t->destroyed && !t->armed && !t->submitted && t->running == 0 && t->ults == 0;
}

/* Called with the mutex, which it releases. */
static void unlock_and_free_if_over(struct margo_timer *t)
{
    margo_instance_id mid = t->mid;
    bool over = is_over(t);
    if (over)
        list_remove(&t->link);
    mg_unlock(mid);
    if (!over)
        return;
    /* The function of the timer thread may just be returning. */
    dango_abt_timer_cancel(&t->timer);
    free(t);
}

int margo_timer_destroy(margo_timer_t timer)
{
    if (!timer)
        return -1;
    if (!timer->mid) {
        free(timer);
        return 0;
    }
    mg_lock(timer->mid);
    timer->destroyed = true;
    unlock_and_free_if_over(timer);
    return 0;
}

/* ---- firing ---- */

static void callback_ult(void *arg)
{
    struct margo_timer *t = arg;
    mg_lock(t->mid);
    if (t->submitted) {
        t->submitted = false;
        t->running++;
        mg_unlock(t->mid);
        t->callback(t->arg);
        mg_lock(t->mid);
        t->running--;
    }
    t->ults--;
    ABT_cond_broadcast(ABT_COND_MEMORY_GET_HANDLE(&t->mid->changed));
    unlock_and_free_if_over(t);
}

/* Called with the mutex: the timer is no longer armed, its callback is under way. */
static void submit(struct margo_timer *t)
{
    t->armed = false;
    if (ABT_thread_create(t->pool, callback_ult, t, ABT_THREAD_ATTR_NULL, NULL) != ABT_SUCCESS) {
        margo_error(t->mid, "no thread could be created for a timer: it does not fire");
        return;
    }
    t->submitted = true;
    t->ults++;
}

/* The timer thread. */
static void fire(void *arg)
{
    struct margo_timer *t = arg;
    margo_instance_id mid = t->mid;
    mg_lock(mid);
    if (t->armed)
        submit(t);
    mg_unlock(mid);
}

/* Called with the mutex: a timer that still has something to do, or NULL. */
static struct margo_timer *find_busy(margo_instance_id mid)
{
    list_for_each (node, &mid->timers) {
        struct margo_timer *t = container_of(node, struct margo_timer, link);
        if (t->armed || t->ults > 0)
            return t;
    }
    return NULL;
}

void mg_timer_end_all(margo_instance_id mid)
{
    assert(atomic_load(&mid->stopped));
    struct margo_timer *t;
    mg_lock(mid);
    while ((t = find_busy(mid))) {
        if (t->armed)
            submit(t);
        else
            ABT_cond_wait(ABT_COND_MEMORY_GET_HANDLE(&mid->changed), ABT_MUTEX_MEMORY_GET_HANDLE(&mid->mutex));
    }
    while (!list_empty(&mid->timers)) {
        t = container_of(list_pop(&mid->timers), struct margo_timer, link);
        mg_unlock(mid);
        dango_abt_timer_cancel(&t->timer);
        t->mid = MARGO_INSTANCE_NULL;
        mg_lock(mid);
    }
    mg_unlock(mid);
}

/* ---- use ---- */

int margo_timer_start(margo_timer_t timer, double timeout_ms)
{
    if (!timer || !timer->mid)
        return -1;
    mg_lock(timer->mid);
    bool idle = !timer->armed && !timer->submitted && !atomic_load(&timer->mid->stopped);
    if (idle) {
        timer->armed = true;
        dango_abt_timer_arm(&timer->timer, dango_deadline_ns(timeout_ms > 0 ? timeout_ms : 0));
    }
    mg_unlock(timer->mid);
    return idle ? 0 : -1;
}

static void disarm(margo_timer_t timer)
{
    mg_lock(timer->mid);
    timer->armed = false;
    timer->submitted = false;
    mg_unlock(timer->mid);
}

static void wait_for_callback(margo_timer_t timer)
{
    mg_lock(timer->mid);
    while (timer->running > 0)
        ABT_cond_wait(ABT_COND_MEMORY_GET_HANDLE(&timer->mid->changed),
                      ABT_MUTEX_MEMORY_GET_HANDLE(&timer->mid->mutex));
    mg_unlock(timer->mid);
}

int margo_timer_cancel(margo_timer_t timer)
{
    return margo_timer_cancel_many(1, &timer);
}

int margo_timer_cancel_many(size_t n_timer, margo_timer_t *timers)
{
    for (size_t i = 0; i < n_timer; i++) {
        if (!timers[i] || !timers[i]->mid)
            return -1;
    }
    for (size_t i = 0; i < n_timer; i++)
        disarm(timers[i]);
    for (size_t i = 0; i < n_timer; i++)
        wait_for_callback(timers[i]);
    return 0;
}

/* ---- sleeping ---- */

struct sleeper {
    struct dango_abt_timer timer;
    ABT_eventual_memory over;
};

static void wake_sleeper(void *arg)
{
    struct sleeper *sleeper = arg;
    ABT_eventual_set(ABT_EVENTUAL_MEMORY_GET_HANDLE(&sleeper->over), NULL, 0);
}

void margo_thread_sleep(margo_instance_id mid, double timeout_ms)
{
    static const ABT_eventual_memory not_over = ABT_EVENTUAL_INITIALIZER;
    if (!mid || !(timeout_ms > 0))
        return;
    struct sleeper sleeper;
    sleeper.over = not_over;
    dango_abt_timer_init(&sleeper.timer, wake_sleeper, &sleeper);
    dango_abt_timer_arm(&sleeper.timer, dango_deadline_ns(timeout_ms));
    ABT_eventual_wait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&sleeper.over), NULL);
    /* Its thread may still be on the way out of the function. */
    dango_abt_timer_cancel(&sleeper.timer);
}
