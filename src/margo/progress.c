/*
 * The progress loop: a ULT that moves network events into callbacks and then lets others run.
 *
 * One round: progress and trigger whatever is there; when other threads of this execution stream (ES) are ready, yield
 * to them; when there is nothing at all, poll for a while (spin.h), then put the ES to sleep until the transport or a
 * pool has something (dango_abt_idle_wait). Nothing wakes it without a reason: an idle process uses no CPU.
 *
 * Stopping and moving to another pool are flags that the loop sees because their setter wakes it.
 */
#include "margo/instance.h"

#include "util/clock.h"

#include <argobots/dango_abt.h>
#include <mercury/dango_hg.h>

#include <assert.h>
#include <limits.h>

/* How long the loop steps aside for its execution stream to end; another one takes it up then. */
#define LEAVE_MS 1

/* Callbacks run in one go before others get their turn. */
#define TRIGGER_BATCH 64

/* Messages may wait for each other while others run: for so long, or so many rounds go without. */
#define CORK_NS    100000
#define CORK_PAUSE 100

bool mg_progress_is_self(margo_instance_id mid)
{
    ABT_thread self;
    return ABT_thread_self(&self) == ABT_SUCCESS && self == mid->progress_ult;
}

/* How many callbacks it ran. */
static unsigned progress_once(margo_instance_id mid)
{
    unsigned count = 0;
    HG_Progress(mid->hg_context, 0);
    HG_Trigger(mid->hg_context, 0, TRIGGER_BATCH, &count);
    return count;
}

/* Lets the others of this ES run. If several of them have just been given something to do, what they send is collected.
 * Whoever works for long keeps the messages of those before it waiting: then there is nothing to gain, and collecting
 * is left off for a while. */
static void let_others_run(margo_instance_id mid, unsigned woken)
{
    if (woken < 2 || mid->no_cork > 0) {
        mid->no_cork -= mid->no_cork > 0;
        dango_abt_self_yield_last();
        return;
    }
    int64_t before = dango_clock_ns();
    const void *corked = dango_hg_cork(mid->hg_context);
    dango_abt_self_yield_last();
    dango_hg_uncork(mid->hg_context, corked);
    if (dango_clock_ns() - before > CORK_NS)
        mid->no_cork = CORK_PAUSE;
}

struct sleep {
    margo_instance_id mid;
    bool declared; /* the transport believes that we sleep */
};

static bool transport_may_sleep(void *arg)
{
    struct sleep *sleep = arg;
    sleep->declared = dango_hg_try_wait(sleep->mid->hg_context);
    /* Whoever sets these wakes the transport afterwards, so that one of us sees the other. */
    return sleep->declared && !atomic_load(&sleep->mid->stop) && !atomic_load(&sleep->mid->attention);
}

static int64_t sleep_limit_ns(margo_instance_id mid)
{
    int64_t limit_ms = atomic_load_explicit(&mid->progress_timeout_ms, memory_order_relaxed);
    if (limit_ms == MG_PROGRESS_TIMEOUT_DEFAULT_MS)
        return -1;
    return limit_ms < INT64_MAX / DANGO_NS_PER_MS ? limit_ms * DANGO_NS_PER_MS : -1;
}

static int64_t spin_limit_ns(margo_instance_id mid)
{
    int64_t ms = atomic_load(&mid->spindown_ms);
    return ms < 1000 ? ms * DANGO_NS_PER_MS : 1000 * DANGO_NS_PER_MS;
}

static void sleep_until_needed(margo_instance_id mid)
{
    int64_t limit_ns = sleep_limit_ns(mid);
    if (limit_ns == 0 || mid->never_sleep)
        return;
    struct sleep sleep = {mid, false};
    int64_t before = dango_clock_ns();
    dango_abt_idle_wait(dango_hg_get_wait_fd(mid->hg_context), limit_ns, transport_may_sleep, &sleep);
    if (sleep.declared)
        dango_hg_wait_done(mid->hg_context);
    mid->spin.limit_ns = spin_limit_ns(mid);
    mg_spin_woken(&mid->spin, dango_clock_ns() - before);
}

static void progress_loop(void *arg)
{
    margo_instance_id mid = arg;
    while (!atomic_load_explicit(&mid->stop, memory_order_acquire)) {
        unsigned active = progress_once(mid);
        bool yield = dango_abt_self_has_work() || atomic_load_explicit(&mid->attention, memory_order_relaxed);
        if (active || yield)
            mg_spin_active(&mid->spin);
        if (yield) {
            atomic_store(&mid->attention, false);
            let_others_run(mid, active);
        } else if (mg_env_must_leave(mid->env)) {
            margo_thread_sleep(mid, LEAVE_MS);
        } else if (!active && !mg_spin_again(&mid->spin, dango_clock_ns())) {
            sleep_until_needed(mid);
        }
    }
}

int mg_progress_start(margo_instance_id mid, struct dango_error *err)
{
    mg_spin_init(&mid->spin, spin_limit_ns(mid), mg_spin_num_cpus());
    ABT_pool pool = atomic_load(&mid->progress_pool)->handle;
    if (ABT_thread_create(pool, progress_loop, mid, ABT_THREAD_ATTR_NULL, &mid->progress_ult) != ABT_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "the progress loop could not be created");
    return 0;
}

/* What has completed is delivered: a response to ourselves, perhaps, of the very call that stopped us. */
static void deliver_completions(margo_instance_id mid)
{
    unsigned count;
    while (dango_hg_has_completions(mid->hg_context))
        HG_Trigger(mid->hg_context, 0, TRIGGER_BATCH, &count);
}

void mg_progress_stop(margo_instance_id mid)
{
    assert(!mg_progress_is_self(mid));
    atomic_store(&mid->stop, true);
    dango_hg_wake(mid->hg_context);
    ABT_thread_free(&mid->progress_ult);
    deliver_completions(mid);
    atomic_store(&mid->stopped, true);
    mg_close_context(mid);
}

int margo_migrate_progress_loop(margo_instance_id mid, unsigned pool_idx)
{
    if (!mid)
        return ABT_ERR_INV_ARG;
    mg_env_lock(mid->env);
    struct mg_pool *old = atomic_load(&mid->progress_pool);
    struct mg_pool *pool = pool_idx < mid->env->layout.num_pools ? mid->env->layout.pools[pool_idx] : NULL;
    int code = pool ? ABT_SUCCESS : ABT_ERR_INV_POOL;
    if (pool && pool != old)
        code = ABT_thread_migrate_to_pool(mid->progress_ult, pool->handle);
    if (pool && pool != old && code == ABT_SUCCESS) {
        old->pins--;
        pool->pins++;
        atomic_store(&mid->progress_pool, pool);
    }
    mg_env_unlock(mid->env);
    atomic_store(&mid->attention, true);
    dango_hg_wake(mid->hg_context);
    return code;
}

int margo_get_progress_pool(margo_instance_id mid, ABT_pool *pool)
{
    if (!mid || !pool)
        return -1;
    *pool = atomic_load(&mid->progress_pool)->handle;
    return 0;
}
