/*
 * Work units: creation, joining, freeing, reviving, cancelling, and the calls that switch.
 *
 * A tasklet is a ULT that may not block: it has a stack all the same, which costs nothing since stacks are
 * reused, and keeps one way of running things. Its type is what the user sees.
 *
 * End of life. The word `join_word` becomes TERMINATED after the unit's stack is no longer in use; joiners
 * wait for that, never for the state alone. A named unit then belongs to whoever frees it.
 */
#include "argobots/thread.h"

#include "argobots/queue.h"

static atomic_ullong next_id = 1;

/* Makes a unit with a stack and a pool ready for its (first or next) life. */
static void prepare(abti_thread *thread, void (*fn)(void *), void *arg)
{
    thread->fn = fn;
    thread->arg = arg;
    abti_store(&thread->request, 0);
    abti_store(&thread->join_word, 0);
    thread->joiners = (struct abti_waiters){0};
    thread->handoff = NULL;
    thread->times_pushed = 0;
    abti_fiber_create(&thread->fiber, thread->stack_low, (size_t)(thread->stack_high - thread->stack_low));
    thread->sp = NULL; /* starts when it is first switched to */
}

static void reset_identity(abti_thread *thread)
{
    thread->parent = NULL;
    thread->es = NULL;
    abti_store(&thread->linked, ABTI_LINK_NONE);
    thread->is_root = false;
    thread->is_primary = false;
    thread->migratable = true;
    thread->user_unit = false;
    thread->sched = NULL;
    thread->values = NULL;
    thread->migrate_cb = NULL;
    abti_store(&thread->pool, NULL);
    abti_store(&thread->id, 0);
}

static int associate_new(abti_thread *thread, abti_pool *pool)
{
    if (abti_unlikely(pool->ops != NULL))
        return abti_unit_associate(thread, pool);
    abti_store(&thread->pool, pool);
    return ABT_SUCCESS;
}

/* `push`: into the pool at once; otherwise the caller runs it or pushes it. *newthread is stored before. */
int abti_thread_create(abti_pool *pool, void (*fn)(void *), void *arg, ABT_thread_attr attr, bool is_task, bool push,
                       ABT_thread *newthread)
{
    abti_xstream *es = abti_self();
    if (newthread)
        *newthread = ABT_THREAD_NULL;
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    abti_thread *thread = abti_thread_alloc(es, attr ? attr->stack_size : 0, attr ? attr->stack : NULL);
    if (!thread)
        return ABT_ERR_MEM;
    reset_identity(thread);
    thread->named = newthread != NULL;
    thread->is_task = is_task;
    if (attr) {
        thread->migratable = attr->migratable;
        thread->migrate_cb = attr->migrate_cb;
        thread->migrate_arg = attr->migrate_arg;
    }
    int err = associate_new(thread, pool);
    if (err) {
        abti_thread_release(es, thread);
        return err;
    }
    prepare(thread, fn, arg);
    if (newthread)
        *newthread = thread;
    if (push)
        abti_pool_push_inline(es, pool, thread, ABT_POOL_CONTEXT_OP_THREAD_CREATE, false);
    return ABT_SUCCESS;
}

/* Releases a unit that has ended. */
void abti_thread_destroy(abti_xstream *es, abti_thread *thread)
{
    if (thread->values)
        abti_values_destroy(thread);
    if (thread->user_unit)
        abti_unit_dissociate(thread);
    abti_thread_release(es, thread);
}

uint64_t abti_thread_id(abti_thread *thread)
{
    unsigned long long id = abti_load(&thread->id);
    if (!id) {
        unsigned long long fresh = atomic_fetch_add(&next_id, 1);
        if (atomic_compare_exchange_strong(&thread->id, &id, fresh))
            id = fresh;
    }
    return id;
}

static abti_thread *self_or_null(void)
{
    abti_xstream *es = abti_self();
    return es ? es->current : NULL;
}

static bool is_joinable(abti_thread *thread)
{
    return thread && !thread->is_primary && !thread->is_root && thread != self_or_null();
}

/*
 * If the target waits for its turn in the caller's own pool, the caller gives it its place: it runs at once, and when
 * it ends the caller goes on without passing through the pool.
 */
static bool join_by_running(abti_xstream *es, abti_thread *thread)
{
    abti_pool *pool = abti_load(&es->current->pool);
    if (abti_load(&thread->state) != ABT_THREAD_STATE_READY || abti_load(&thread->pool) != pool ||
        abti_load(&thread->request) || pool->ops)
        return false;
    if (!abti_pool_remove(es, pool, thread))
        return false;
    struct abti_waiter waiter;
    abti_waiter_init(&waiter);
    thread->handoff = &waiter;
    abti_suspend_to(es, thread, NULL, 0);
    return true;
}

/* Waits until the unit has ended and nobody uses its stack any more. */
static int join(abti_thread *thread)
{
    abti_xstream *es = abti_self();
    if (abti_load_acquire(&thread->join_word) == ABTI_JOIN_TERMINATED)
        return ABT_SUCCESS;
    if (abti_can_switch(es) && join_by_running(es, thread))
        return ABT_SUCCESS;
    uint32_t bits = abti_bitlock_lock(&thread->join_word);
    if (bits & ABTI_JOIN_TERMINATED)
        abti_bitlock_unlock(&thread->join_word, bits);
    else
        abti_block(&thread->joiners, &thread->join_word, bits | ABTI_JOIN_WAITERS);
    return ABT_SUCCESS;
}

int ABT_thread_create(ABT_pool pool, void (*thread_func)(void *), void *arg, ABT_thread_attr attr,
                      ABT_thread *newthread)
{
    return abti_thread_create(pool, thread_func, arg, attr, false, true, newthread);
}

int ABT_thread_create_to(ABT_pool pool, void (*thread_func)(void *), void *arg, ABT_thread_attr attr,
                         ABT_thread *newthread)
{
    abti_xstream *es = abti_self();
    ABT_thread thread = ABT_THREAD_NULL;
    if (newthread)
        *newthread = ABT_THREAD_NULL;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(abti_can_switch(es), ABT_ERR_INV_THREAD);
    int err = abti_thread_create(pool, thread_func, arg, attr, false, false, &thread);
    if (err)
        return err;
    thread->named = newthread != NULL;
    if (newthread)
        *newthread = thread;
    abti_yield_to(es, thread, ABT_POOL_CONTEXT_OP_THREAD_CREATE_TO);
    return ABT_SUCCESS;
}

int ABT_thread_create_on_xstream(ABT_xstream xstream, void (*thread_func)(void *), void *arg, ABT_thread_attr attr,
                                 ABT_thread *newthread)
{
    if (newthread)
        *newthread = ABT_THREAD_NULL;
    ABTI_CHECK(xstream, ABT_ERR_INV_XSTREAM);
    return abti_thread_create(abti_xstream_main_pool(xstream), thread_func, arg, attr, false, true, newthread);
}

int ABT_thread_create_many(int num, ABT_pool *pool_list, void (**thread_func_list)(void *), void **arg_list,
                           ABT_thread_attr attr, ABT_thread *newthread_list)
{
    ABTI_CHECK(!attr || !attr->stack, ABT_ERR_INV_THREAD_ATTR);
    for (int i = 0; i < num; i++) {
        int err = abti_thread_create(pool_list[i], thread_func_list[i], arg_list ? arg_list[i] : NULL, attr, false,
                                     true, newthread_list ? &newthread_list[i] : NULL);
        if (err)
            return err;
    }
    return ABT_SUCCESS;
}

static int revive(abti_pool *pool, void (*fn)(void *), void *arg, abti_thread *thread)
{
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    ABTI_CHECK(abti_load_acquire(&thread->join_word) == ABTI_JOIN_TERMINATED, ABT_ERR_INV_THREAD);
    int err = abti_unit_associate(thread, pool);
    if (!err)
        prepare(thread, fn, arg);
    return err;
}

int ABT_thread_revive(ABT_pool pool, void (*thread_func)(void *), void *arg, ABT_thread *thread)
{
    ABTI_CHECK(thread && *thread, ABT_ERR_INV_THREAD);
    int err = revive(pool, thread_func, arg, *thread);
    if (!err)
        abti_pool_push(abti_self(), pool, *thread, ABT_POOL_CONTEXT_OP_THREAD_REVIVE, false);
    return err;
}

int ABT_thread_revive_to(ABT_pool pool, void (*thread_func)(void *), void *arg, ABT_thread *thread)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(thread && *thread && abti_can_switch(es), ABT_ERR_INV_THREAD);
    int err = revive(pool, thread_func, arg, *thread);
    if (!err)
        abti_yield_to(es, *thread, ABT_POOL_CONTEXT_OP_THREAD_REVIVE_TO);
    return err;
}

int ABT_thread_free(ABT_thread *thread)
{
    ABTI_CHECK(thread && is_joinable(*thread), ABT_ERR_INV_THREAD);
    join(*thread);
    abti_thread_destroy(abti_self(), *thread);
    *thread = ABT_THREAD_NULL;
    return ABT_SUCCESS;
}

int ABT_thread_free_many(int num, ABT_thread *thread_list)
{
    int result = ABT_SUCCESS;
    for (int i = 0; i < num; i++) {
        int err = thread_list[i] ? ABT_thread_free(&thread_list[i]) : ABT_SUCCESS;
        if (err && !result)
            result = err;
    }
    return result;
}

int ABT_thread_join(ABT_thread thread)
{
    ABTI_CHECK(is_joinable(thread), ABT_ERR_INV_THREAD);
    return join(thread);
}

int ABT_thread_join_many(int num_threads, ABT_thread *thread_list)
{
    int result = ABT_SUCCESS;
    for (int i = 0; i < num_threads; i++) {
        int err = ABT_thread_join(thread_list[i]);
        if (err && !result)
            result = err;
    }
    return result;
}

int ABT_thread_exit(void)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(abti_can_switch(es) && !es->current->is_primary, ABT_ERR_INV_THREAD);
    abti_end(es, NULL);
}

int ABT_thread_cancel(ABT_thread thread)
{
    ABTI_CHECK(thread && !thread->is_primary && !thread->is_root, ABT_ERR_INV_THREAD);
    atomic_fetch_or(&thread->request, ABTI_REQUEST_CANCEL);
    return ABT_SUCCESS;
}

int ABT_thread_yield(void)
{
    abti_xstream *es = abti_self();
    if (abti_likely(abti_can_switch(es)))
        abti_yield(es);
    return ABT_SUCCESS;
}

int ABT_thread_yield_to(ABT_thread thread)
{
    abti_xstream *es = abti_self();
    if (!es)
        return ABT_SUCCESS;
    ABTI_CHECK(thread && thread != es->current && !thread->is_task && abti_can_switch(es), ABT_ERR_INV_THREAD);
    abti_pool *pool = abti_load(&thread->pool);
    ABTI_CHECK(pool && (!pool->ops || pool->ops->remove), ABT_ERR_POOL);
    if (abti_load_acquire(&thread->state) == ABT_THREAD_STATE_READY && abti_pool_remove(es, pool, thread))
        abti_yield_to(es, thread, ABT_POOL_CONTEXT_OP_THREAD_YIELD_TO);
    return ABT_SUCCESS;
}

/* Claims a blocked unit, so that only one resumer wins. */
static int claim_blocked(abti_thread *thread)
{
    uint32_t blocked = ABT_THREAD_STATE_BLOCKED;
    ABTI_CHECK(thread && !thread->is_task, ABT_ERR_INV_THREAD);
    return atomic_compare_exchange_strong(&thread->state, &blocked, ABT_THREAD_STATE_READY) ? ABT_SUCCESS
                                                                                            : ABT_ERR_THREAD;
}

int ABT_thread_resume(ABT_thread thread)
{
    int err = claim_blocked(thread);
    if (!err)
        abti_ready(thread);
    return err;
}

/* Direct hand-over from the calling ULT ------------------------------------------------------------ */

static int check_target(abti_xstream *es, abti_thread *thread)
{
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(abti_can_switch(es) && thread && thread != es->current && !thread->is_root, ABT_ERR_INV_THREAD);
    return ABT_SUCCESS;
}

static int claim_target(abti_xstream *es, abti_thread *thread)
{
    int err = check_target(es, thread);
    if (!err)
        err = claim_blocked(thread);
    if (!err)
        abti_pool_count_blocked(es, abti_load(&thread->pool), -1);
    return err;
}

int ABT_self_yield(void)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(!es->current->is_task, ABT_ERR_INV_THREAD);
    if (abti_likely(!es->current->is_root))
        abti_yield(es);
    return ABT_SUCCESS;
}

int ABT_self_yield_to(ABT_thread thread)
{
    abti_xstream *es = abti_self();
    int err = check_target(es, thread);
    if (!err)
        abti_yield_to(es, thread, ABT_POOL_CONTEXT_OP_THREAD_YIELD_TO);
    return err;
}

int ABT_self_resume_yield_to(ABT_thread thread)
{
    abti_xstream *es = abti_self();
    int err = claim_target(es, thread);
    if (!err)
        abti_yield_to(es, thread, ABT_POOL_CONTEXT_OP_THREAD_RESUME_YIELD_TO);
    return err;
}

int ABT_self_suspend(void)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(abti_can_switch(es), ABT_ERR_INV_THREAD);
    abti_suspend(es, NULL, 0);
    return ABT_SUCCESS;
}

int ABT_self_suspend_to(ABT_thread thread)
{
    abti_xstream *es = abti_self();
    int err = check_target(es, thread);
    if (!err)
        abti_suspend_to(es, thread, NULL, 0);
    return err;
}

int ABT_self_resume_suspend_to(ABT_thread thread)
{
    abti_xstream *es = abti_self();
    int err = claim_target(es, thread);
    if (!err)
        abti_suspend_to(es, thread, NULL, 0);
    return err;
}

int ABT_self_exit(void)
{
    return ABT_thread_exit();
}

int ABT_self_exit_to(ABT_thread thread)
{
    abti_xstream *es = abti_self();
    int err = check_target(es, thread);
    ABTI_CHECK(err || !es->current->is_primary, ABT_ERR_INV_THREAD);
    if (err)
        return err;
    abti_end(es, thread);
}

int ABT_self_resume_exit_to(ABT_thread thread)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(!es->current->is_primary, ABT_ERR_INV_THREAD);
    int err = claim_target(es, thread);
    if (err)
        return err;
    abti_end(es, thread);
}

int ABT_self_schedule(ABT_thread thread, ABT_pool pool)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(thread && thread != es->current, ABT_ERR_INV_THREAD);
    if (pool != ABT_POOL_NULL) {
        int err = abti_unit_associate(thread, pool);
        if (err)
            return err;
    }
    if (abti_admit(thread))
        abti_run_child(es, thread);
    return ABT_SUCCESS;
}

int ABT_xstream_run_unit(ABT_unit unit, ABT_pool pool)
{
    ABTI_CHECK(unit, ABT_ERR_INV_UNIT);
    return ABT_self_schedule(abti_unit_thread(unit), pool);
}
