/*
 * Migration: a request to a work unit, honoured when it is next taken from its pool (abti_admit).
 */
#include "argobots/abti.h"

/* The unit is in no pool and does not run: moves it. Returns false if there was nothing to do or no way. */
bool abti_migrate(abti_thread *thread)
{
    atomic_fetch_and(&thread->request, ~ABTI_REQUEST_MIGRATE);
    abti_pool *target = atomic_exchange(&thread->migrate_to, NULL);
    if (!target || target == abti_load(&thread->pool) || abti_unit_associate(thread, target))
        return false;
    if (thread->migrate_cb)
        thread->migrate_cb(thread, thread->migrate_arg);
    abti_pool_push(abti_self(), target, thread, ABT_POOL_CONTEXT_OP_THREAD_MIGRATE, false);
    return true;
}

static bool can_migrate(abti_thread *thread)
{
    return thread && !thread->is_primary && !thread->is_root && thread->migratable &&
           abti_load_acquire(&thread->state) != ABT_THREAD_STATE_TERMINATED;
}

static int request_migration(abti_thread *thread, abti_pool *target)
{
    ABTI_CHECK(target != abti_load(&thread->pool), ABT_ERR_MIGRATION_TARGET);
    abti_store(&thread->migrate_to, target);
    atomic_fetch_or(&thread->request, ABTI_REQUEST_MIGRATE);
    return ABT_SUCCESS;
}

static abti_pool *migration_pool(abti_sched *sched)
{
    if (sched->def.get_migr_pool)
        return sched->def.get_migr_pool(sched);
    return abti_load_acquire(&sched->num_pools) ? sched->pools[0] : NULL;
}

int ABT_thread_migrate_to_pool(ABT_thread thread, ABT_pool pool)
{
    ABTI_CHECK(can_migrate(thread), ABT_ERR_INV_THREAD);
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    return request_migration(thread, pool);
}

int ABT_thread_migrate_to_sched(ABT_thread thread, ABT_sched sched)
{
    ABTI_CHECK(can_migrate(thread), ABT_ERR_INV_THREAD);
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    abti_pool *pool = migration_pool(sched);
    ABTI_CHECK(pool, ABT_ERR_INV_SCHED);
    return request_migration(thread, pool);
}

int ABT_thread_migrate_to_xstream(ABT_thread thread, ABT_xstream xstream)
{
    ABTI_CHECK(can_migrate(thread), ABT_ERR_INV_THREAD);
    ABTI_CHECK(xstream && !(abti_load_acquire(&xstream->join_word) & ABTI_JOIN_TERMINATED), ABT_ERR_INV_XSTREAM);
    return ABT_thread_migrate_to_sched(thread, xstream->main_sched);
}

/* To any other running ES. */
int ABT_thread_migrate(ABT_thread thread)
{
    abti_pool *target = NULL;
    ABTI_CHECK(can_migrate(thread), ABT_ERR_INV_THREAD);
    abti_bitlock_lock(&abti_global.xstreams_lock);
    for (abti_xstream *es = abti_global.xstreams; es && !target; es = es->next) {
        if (es == thread->es || (abti_load_acquire(&es->join_word) & ABTI_JOIN_TERMINATED) || !es->main_sched)
            continue;
        target = migration_pool(es->main_sched);
        if (target == abti_load(&thread->pool))
            target = NULL;
    }
    abti_bitlock_unlock(&abti_global.xstreams_lock, 0);
    ABTI_CHECK(target, ABT_ERR_MIGRATION_NA);
    return request_migration(thread, target);
}

int ABT_thread_set_callback(ABT_thread thread, void (*cb_func)(ABT_thread thread, void *cb_arg), void *cb_arg)
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    thread->migrate_cb = cb_func;
    thread->migrate_arg = cb_arg;
    return ABT_SUCCESS;
}

int ABT_thread_set_migratable(ABT_thread thread, ABT_bool migratable)
{
    ABTI_CHECK(thread && !thread->is_primary && !thread->is_root, ABT_ERR_INV_THREAD);
    thread->migratable = migratable != ABT_FALSE;
    return ABT_SUCCESS;
}

int ABT_thread_is_migratable(ABT_thread thread, ABT_bool *is_migratable)
{
    *is_migratable = ABT_FALSE;
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    *is_migratable = thread->migratable && !thread->is_primary && !thread->is_root;
    return ABT_SUCCESS;
}

int ABT_task_set_migratable(ABT_task task, ABT_bool flag)
{
    ABTI_CHECK(task, ABT_ERR_INV_TASK);
    return ABT_thread_set_migratable(task, flag);
}

int ABT_task_is_migratable(ABT_task task, ABT_bool *flag)
{
    *flag = ABT_FALSE;
    ABTI_CHECK(task, ABT_ERR_INV_TASK);
    return ABT_thread_is_migratable(task, flag);
}
