/*
 * Getters and setters of ULTs, and their attributes.
 */
#include <stdlib.h>

#include "argobots/thread.h"

#define STACK_ALIGNMENT 8

int ABT_thread_self(ABT_thread *thread)
{
    abti_xstream *es = abti_self();
    *thread = ABT_THREAD_NULL;
    ABTI_CHECK(abti_load(&abti_global.initialized), ABT_ERR_UNINITIALIZED);
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(!es->current->is_task, ABT_ERR_INV_THREAD);
    *thread = es->current;
    return ABT_SUCCESS;
}

int ABT_thread_self_id(ABT_unit_id *id)
{
    ABT_thread self;
    int err = ABT_thread_self(&self);
    if (!err)
        *id = abti_thread_id(self);
    return err;
}

int ABT_thread_get_last_xstream(ABT_thread thread, ABT_xstream *xstream)
{
    *xstream = ABT_XSTREAM_NULL;
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    *xstream = thread->es;
    return ABT_SUCCESS;
}

int ABT_thread_get_state(ABT_thread thread, ABT_thread_state *state)
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    *state = (ABT_thread_state)abti_load_acquire(&thread->state);
    return ABT_SUCCESS;
}

int ABT_thread_get_last_pool(ABT_thread thread, ABT_pool *pool)
{
    *pool = ABT_POOL_NULL;
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    *pool = abti_load(&thread->pool);
    return ABT_SUCCESS;
}

int ABT_thread_get_last_pool_id(ABT_thread thread, int *id)
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    return ABT_pool_get_id(abti_load(&thread->pool), id);
}

int ABT_thread_get_unit(ABT_thread thread, ABT_unit *unit)
{
    *unit = ABT_UNIT_NULL;
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    *unit = abti_unit_of(thread);
    return ABT_SUCCESS;
}

int ABT_thread_set_associated_pool(ABT_thread thread, ABT_pool pool)
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    return abti_unit_associate(thread, pool);
}

int ABT_thread_is_primary(ABT_thread thread, ABT_bool *is_primary)
{
    *is_primary = ABT_FALSE;
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    *is_primary = thread->is_primary;
    return ABT_SUCCESS;
}

int ABT_thread_is_unnamed(ABT_thread thread, ABT_bool *is_unnamed)
{
    *is_unnamed = ABT_FALSE;
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    *is_unnamed = !thread->named;
    return ABT_SUCCESS;
}

int ABT_thread_equal(ABT_thread thread1, ABT_thread thread2, ABT_bool *result)
{
    *result = thread1 == thread2;
    return ABT_SUCCESS;
}

/* The primary ULT and root contexts use stacks of the system: address NULL, size 0. */
int ABT_thread_get_stack(ABT_thread thread, void **stackaddr, size_t *stacksize)
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    if (stackaddr)
        *stackaddr = thread->stack_low;
    if (stacksize)
        *stacksize = (size_t)(thread->stack_high - thread->stack_low);
    return ABT_SUCCESS;
}

int ABT_thread_get_stacksize(ABT_thread thread, size_t *stacksize)
{
    return ABT_thread_get_stack(thread, NULL, stacksize);
}

int ABT_thread_get_id(ABT_thread thread, ABT_unit_id *thread_id)
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    *thread_id = abti_thread_id(thread);
    return ABT_SUCCESS;
}

int ABT_thread_set_arg(ABT_thread thread, void *arg)
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    thread->arg = arg;
    return ABT_SUCCESS;
}

int ABT_thread_get_arg(ABT_thread thread, void **arg)
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    *arg = thread->arg;
    return ABT_SUCCESS;
}

int ABT_thread_get_thread_func(ABT_thread thread, void (**thread_func)(void *))
{
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    *thread_func = thread->fn;
    return ABT_SUCCESS;
}

int ABT_thread_get_attr(ABT_thread thread, ABT_thread_attr *attr)
{
    *attr = ABT_THREAD_ATTR_NULL;
    ABTI_CHECK(thread, ABT_ERR_INV_THREAD);
    int err = ABT_thread_attr_create(attr);
    if (err)
        return err;
    (*attr)->stack = thread->map ? NULL : thread->stack_low;
    (*attr)->stack_size = (size_t)(thread->stack_high - thread->stack_low);
    (*attr)->migratable = thread->migratable;
    (*attr)->migrate_cb = thread->migrate_cb;
    (*attr)->migrate_arg = thread->migrate_arg;
    return ABT_SUCCESS;
}

int ABT_thread_attr_create(ABT_thread_attr *newattr)
{
    ABT_thread_attr attr = calloc(1, sizeof *attr);
    *newattr = attr;
    if (!attr)
        return ABT_ERR_MEM;
    attr->stack_size = abti_global.settings.thread_stack_size;
    attr->migratable = true;
    return ABT_SUCCESS;
}

int ABT_thread_attr_free(ABT_thread_attr *attr)
{
    ABTI_CHECK(attr && *attr, ABT_ERR_INV_THREAD_ATTR);
    free(*attr);
    *attr = ABT_THREAD_ATTR_NULL;
    return ABT_SUCCESS;
}

/* stackaddr NULL: a stack of ours of the given size. */
int ABT_thread_attr_set_stack(ABT_thread_attr attr, void *stackaddr, size_t stacksize)
{
    ABTI_CHECK(attr, ABT_ERR_INV_THREAD_ATTR);
    ABTI_CHECK((uintptr_t)stackaddr % STACK_ALIGNMENT == 0, ABT_ERR_INV_ARG);
    attr->stack = stackaddr;
    attr->stack_size = stacksize;
    return ABT_SUCCESS;
}

int ABT_thread_attr_get_stack(ABT_thread_attr attr, void **stackaddr, size_t *stacksize)
{
    ABTI_CHECK(attr, ABT_ERR_INV_THREAD_ATTR);
    *stackaddr = attr->stack;
    *stacksize = attr->stack_size;
    return ABT_SUCCESS;
}

int ABT_thread_attr_set_stacksize(ABT_thread_attr attr, size_t stacksize)
{
    ABTI_CHECK(attr, ABT_ERR_INV_THREAD_ATTR);
    ABTI_CHECK(stacksize > 0, ABT_ERR_INV_ARG);
    attr->stack_size = stacksize;
    return ABT_SUCCESS;
}

int ABT_thread_attr_get_stacksize(ABT_thread_attr attr, size_t *stacksize)
{
    ABTI_CHECK(attr, ABT_ERR_INV_THREAD_ATTR);
    *stacksize = attr->stack_size;
    return ABT_SUCCESS;
}

int ABT_thread_attr_set_callback(ABT_thread_attr attr, void (*cb_func)(ABT_thread thread, void *cb_arg), void *cb_arg)
{
    ABTI_CHECK(attr, ABT_ERR_INV_THREAD_ATTR);
    attr->migrate_cb = cb_func;
    attr->migrate_arg = cb_arg;
    return ABT_SUCCESS;
}

int ABT_thread_attr_set_migratable(ABT_thread_attr attr, ABT_bool is_migratable)
{
    ABTI_CHECK(attr, ABT_ERR_INV_THREAD_ATTR);
    attr->migratable = is_migratable != ABT_FALSE;
    return ABT_SUCCESS;
}
