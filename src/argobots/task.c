/*
 * Tasklets: the functions for ULTs with another error code, see thread.c.
 */
#include "argobots/abti.h"

static int as_task_error(int err)
{
    return err == ABT_ERR_INV_THREAD ? ABT_ERR_INV_TASK : err;
}

int ABT_task_create(ABT_pool pool, void (*task_func)(void *), void *arg, ABT_task *newtask)
{
    return abti_thread_create(pool, task_func, arg, ABT_THREAD_ATTR_NULL, true, true, newtask);
}

int ABT_task_create_on_xstream(ABT_xstream xstream, void (*task_func)(void *), void *arg, ABT_task *newtask)
{
    if (newtask)
        *newtask = ABT_TASK_NULL;
    ABTI_CHECK(xstream, ABT_ERR_INV_XSTREAM);
    return ABT_task_create(abti_xstream_main_pool(xstream), task_func, arg, newtask);
}

int ABT_task_revive(ABT_pool pool, void (*task_func)(void *), void *arg, ABT_task *task)
{
    return as_task_error(ABT_thread_revive(pool, task_func, arg, task));
}

int ABT_task_free(ABT_task *task)
{
    return as_task_error(ABT_thread_free(task));
}

int ABT_task_join(ABT_task task)
{
    return as_task_error(ABT_thread_join(task));
}

int ABT_task_cancel(ABT_task task)
{
    return as_task_error(ABT_thread_cancel(task));
}

int ABT_task_self(ABT_task *task)
{
    abti_xstream *es = abti_self();
    *task = ABT_TASK_NULL;
    ABTI_CHECK(abti_load(&abti_global.initialized), ABT_ERR_UNINITIALIZED);
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(es->current->is_task, ABT_ERR_INV_TASK);
    *task = es->current;
    return ABT_SUCCESS;
}

int ABT_task_self_id(ABT_unit_id *id)
{
    ABT_task self;
    int err = ABT_task_self(&self);
    if (!err)
        *id = abti_thread_id(self);
    return err;
}

int ABT_task_get_xstream(ABT_task task, ABT_xstream *xstream)
{
    return as_task_error(ABT_thread_get_last_xstream(task, xstream));
}

int ABT_task_get_state(ABT_task task, ABT_task_state *state)
{
    ABTI_CHECK(task, ABT_ERR_INV_TASK);
    uint32_t as_thread = abti_load_acquire(&task->state);
    *state = as_thread == ABT_THREAD_STATE_TERMINATED ? ABT_TASK_STATE_TERMINATED
             : as_thread == ABT_THREAD_STATE_READY    ? ABT_TASK_STATE_READY
                                                      : ABT_TASK_STATE_RUNNING;
    return ABT_SUCCESS;
}

int ABT_task_get_last_pool(ABT_task task, ABT_pool *pool)
{
    return as_task_error(ABT_thread_get_last_pool(task, pool));
}

int ABT_task_get_last_pool_id(ABT_task task, int *id)
{
    return as_task_error(ABT_thread_get_last_pool_id(task, id));
}

int ABT_task_equal(ABT_task task1, ABT_task task2, ABT_bool *result)
{
    return ABT_thread_equal(task1, task2, result);
}

int ABT_task_get_id(ABT_task task, ABT_unit_id *task_id)
{
    return as_task_error(ABT_thread_get_id(task, task_id));
}

int ABT_task_get_arg(ABT_task task, void **arg)
{
    return as_task_error(ABT_thread_get_arg(task, arg));
}
