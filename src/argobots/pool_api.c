/*
 * The public functions on pools, for all kinds.
 */
#include "argobots/pool_user.h"
#include "argobots/queue.h"
#include "util/clock.h"

int ABT_pool_create_basic(ABT_pool_kind kind, ABT_pool_access access, ABT_bool automatic, ABT_pool *newpool)
{
    *newpool = ABT_POOL_NULL;
    ABTI_CHECK(kind >= ABT_POOL_FIFO && kind <= ABT_POOL_RANDWS, ABT_ERR_INV_POOL_KIND);
    ABTI_CHECK(access >= ABT_POOL_ACCESS_PRIV && access <= ABT_POOL_ACCESS_MPMC, ABT_ERR_INV_POOL_ACCESS);
    return abti_pool_create_fifo(kind, access, automatic, newpool);
}

int ABT_pool_free(ABT_pool *pool)
{
    ABTI_CHECK(pool && *pool, ABT_ERR_INV_POOL);
    abti_pool_destroy(*pool);
    *pool = ABT_POOL_NULL;
    return ABT_SUCCESS;
}

int ABT_pool_get_access(ABT_pool pool, ABT_pool_access *access)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    *access = pool->access;
    return ABT_SUCCESS;
}

int ABT_pool_is_empty(ABT_pool pool, ABT_bool *is_empty)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    *is_empty = abti_pool_is_empty(pool);
    return ABT_SUCCESS;
}

int ABT_pool_get_size(ABT_pool pool, size_t *size)
{
    *size = 0;
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    *size = abti_pool_size(pool);
    return ABT_SUCCESS;
}

int ABT_pool_get_total_size(ABT_pool pool, size_t *size)
{
    *size = 0;
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    long blocked = abti_pool_num_blocked(pool); /* first, so that a unit that wakes up is not missed */
    *size = (blocked > 0 ? (size_t)blocked : 0) + abti_pool_size(pool);
    return ABT_SUCCESS;
}

int ABT_pool_get_id(ABT_pool pool, int *id)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    *id = pool->id;
    return ABT_SUCCESS;
}

int ABT_pool_set_data(ABT_pool pool, void *data)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    pool->data = data;
    return ABT_SUCCESS;
}

int ABT_pool_get_data(ABT_pool pool, void **data)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    *data = pool->data;
    return ABT_SUCCESS;
}

/* Popping ------------------------------------------------------------------------------------------ */

static ABT_unit unit_of(abti_thread *thread)
{
    return thread ? abti_unit_of(thread) : ABT_UNIT_NULL;
}

int ABT_pool_pop_thread_ex(ABT_pool pool, ABT_thread *thread, ABT_pool_context context)
{
    *thread = ABT_THREAD_NULL;
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    *thread = abti_pool_pop(abti_self(), pool, context);
    return ABT_SUCCESS;
}

int ABT_pool_pop_thread(ABT_pool pool, ABT_thread *thread)
{
    return ABT_pool_pop_thread_ex(pool, thread, ABT_POOL_CONTEXT_OP_POOL_OTHER);
}

int ABT_pool_pop(ABT_pool pool, ABT_unit *unit)
{
    ABT_thread thread;
    int err = ABT_pool_pop_thread(pool, &thread);
    *unit = unit_of(thread);
    return err;
}

int ABT_pool_pop_threads_ex(ABT_pool pool, ABT_thread *threads, size_t len, size_t *num, ABT_pool_context context)
{
    size_t got = 0;
    *num = 0;
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    ABT_pool_user_pop_many_fn pop_many = abti_user_pop_many(pool);
    if (pop_many && len) {
        pop_many(pool, threads, len, num, context);
        return ABT_SUCCESS;
    }
    while (got < len && (threads[got] = abti_pool_pop(abti_self(), pool, context)))
        got++;
    *num = got;
    return ABT_SUCCESS;
}

int ABT_pool_pop_threads(ABT_pool pool, ABT_thread *threads, size_t len, size_t *num)
{
    return ABT_pool_pop_threads_ex(pool, threads, len, num, ABT_POOL_CONTEXT_OP_POOL_OTHER);
}

/* Sleeps, as an ordinary OS thread, until the pool has something or the deadline passes. */
static abti_thread *wait_for_unit(abti_pool *pool, ABT_pool_context context, int64_t deadline_ns)
{
    struct abti_sleeper sleeper = {.event_fd = -1};
    struct abti_sleep_link link = {.sleeper = &sleeper};
    abti_thread *thread;
    abti_bitlock_lock(&pool->queue.lock);
    abti_queue_revoke(&pool->queue); /* an owner would not look for other sleepers */
    abti_bitlock_unlock(&pool->queue.lock, 0);
    for (;;) {
        atomic_store(&sleeper.state, ABTI_ASLEEP_FUTEX);
        abti_pool_add_sleeper(pool, &link, false);
        int64_t left_ns = deadline_ns - dango_clock_ns();
        if (abti_pool_is_empty(pool) && left_ns > 0)
            abti_futex_wait(&sleeper.state, ABTI_ASLEEP_FUTEX, left_ns);
        abti_pool_drop_sleeper(pool, &link);
        thread = abti_pool_pop(abti_self(), pool, context);
        if (thread || left_ns <= 0)
            return thread;
    }
}

int ABT_pool_pop_wait_thread_ex(ABT_pool pool, ABT_thread *thread, double secs, ABT_pool_context context)
{
    *thread = ABT_THREAD_NULL;
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    if (abti_pool_is_user_defined(pool)) {
        ABT_pool_user_pop_wait_fn pop_wait = abti_user_pop_wait(pool);
        ABTI_CHECK(pop_wait, ABT_ERR_POOL);
        *thread = pop_wait(pool, secs, context);
        return ABT_SUCCESS;
    }
    *thread = abti_pool_pop(abti_self(), pool, context);
    if (!*thread && secs > 0)
        *thread = wait_for_unit(pool, context, dango_deadline_ns(secs * 1e3));
    return ABT_SUCCESS;
}

int ABT_pool_pop_wait_thread(ABT_pool pool, ABT_thread *thread, double secs)
{
    return ABT_pool_pop_wait_thread_ex(pool, thread, secs, ABT_POOL_CONTEXT_OP_POOL_OTHER);
}

int ABT_pool_pop_wait(ABT_pool pool, ABT_unit *unit, double secs)
{
    ABT_thread thread;
    int err = ABT_pool_pop_wait_thread(pool, &thread, secs);
    *unit = unit_of(thread);
    return err;
}

int ABT_pool_pop_timedwait(ABT_pool pool, ABT_unit *unit, double abstime_secs)
{
    double secs = abstime_secs - ABT_get_wtime();
    return ABT_pool_pop_wait(pool, unit, secs > 0 ? secs : 0);
}

/* Pushing ------------------------------------------------------------------------------------------ */

int ABT_pool_push_thread_ex(ABT_pool pool, ABT_thread thread, ABT_pool_context context)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    int err = abti_unit_associate(thread, pool);
    if (!err)
        abti_pool_push(abti_self(), pool, thread, context, false);
    return err;
}

int ABT_pool_push_thread(ABT_pool pool, ABT_thread thread)
{
    return ABT_pool_push_thread_ex(pool, thread, ABT_POOL_CONTEXT_OP_POOL_OTHER);
}

int ABT_pool_push(ABT_pool pool, ABT_unit unit)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    ABTI_CHECK(unit, ABT_ERR_INV_UNIT);
    return ABT_pool_push_thread(pool, abti_unit_thread(unit));
}

int ABT_pool_push_threads_ex(ABT_pool pool, const ABT_thread *threads, size_t num, ABT_pool_context context)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    for (size_t i = 0; i < num; i++) {
        int err = threads[i] ? ABT_pool_push_thread_ex(pool, threads[i], context) : ABT_SUCCESS;
        if (err)
            return err;
    }
    return ABT_SUCCESS;
}

int ABT_pool_push_threads(ABT_pool pool, const ABT_thread *threads, size_t num)
{
    return ABT_pool_push_threads_ex(pool, threads, num, ABT_POOL_CONTEXT_OP_POOL_OTHER);
}

int ABT_pool_remove(ABT_pool pool, ABT_unit unit)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    ABTI_CHECK(unit, ABT_ERR_INV_UNIT);
    ABTI_CHECK(!pool->ops || pool->ops->remove, ABT_ERR_POOL);
    return abti_pool_remove(abti_self(), pool, abti_unit_thread(unit)) ? ABT_SUCCESS : ABT_ERR_POOL;
}

/* Printing ------------------------------------------------------------------------------------------- */

struct unit_printer {
    void (*print)(void *, ABT_unit);
    void *arg;
};

static void print_as_unit(void *arg, ABT_thread thread)
{
    struct unit_printer *printer = arg;
    printer->print(printer->arg, abti_unit_of(thread));
}

/* With the pool locked: the print function must not use the pool. */
static void print_queue(struct abti_queue *queue, void *arg, void (*print_fn)(void *, ABT_thread))
{
    abti_bitlock_lock(&queue->lock);
    abti_queue_revoke(queue);
    for (abti_thread *thread = queue->shared.head; thread; thread = thread->next)
        print_fn(arg, thread);
    abti_bitlock_unlock(&queue->lock, 0);
}

int ABT_pool_print_all_threads(ABT_pool pool, void *arg, void (*print_fn)(void *, ABT_thread))
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    if (!pool->ops) {
        print_queue(&pool->queue, arg, print_fn);
        return ABT_SUCCESS;
    }
    ABT_pool_user_print_all_fn print_all = abti_user_print_all(pool);
    ABTI_CHECK(print_all, ABT_ERR_POOL);
    print_all(pool, arg, print_fn);
    return ABT_SUCCESS;
}

int ABT_pool_print_all(ABT_pool pool, void *arg, void (*print_fn)(void *, ABT_unit))
{
    struct unit_printer printer = {.print = print_fn, .arg = arg};
    return ABT_pool_print_all_threads(pool, &printer, print_as_unit);
}

/* Stackable schedulers --------------------------------------------------------------------------------- */

static void run_stacked(void *arg)
{
    abti_sched *sched = arg;
    abti_self()->current->sched = sched;
    abti_sched_attach(sched, NULL);
    while (!abti_sched_has_to_stop(sched)) {
        if (sched->kind == ABTI_SCHED_USER)
            sched->def.run(sched);
        else
            abti_sched_run(sched);
    }
    abti_sched_detach(sched, NULL);
    abti_self()->current->sched = NULL;
    abti_sched_release(sched);
}

int ABT_pool_add_sched(ABT_pool pool, ABT_sched sched)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    int err = abti_sched_claim(sched);
    if (err)
        return err;
    sched->stacked = true;
    err = abti_thread_create(pool, run_stacked, sched, ABT_THREAD_ATTR_NULL, false, true, NULL);
    if (err)
        abti_store_release(&sched->used, false);
    return err;
}
