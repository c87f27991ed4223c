/*
 * What the calling work unit can learn about itself. Switching functions are in thread.c.
 */
#include "argobots/abti.h"

int ABT_self_get_xstream(ABT_xstream *xstream)
{
    return ABT_xstream_self(xstream);
}

int ABT_self_get_xstream_rank(int *rank)
{
    return ABT_xstream_self_rank(rank);
}

int ABT_self_get_thread(ABT_thread *thread)
{
    abti_xstream *es = abti_self();
    *thread = ABT_THREAD_NULL;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *thread = es->current;
    return ABT_SUCCESS;
}

int ABT_self_get_thread_id(ABT_unit_id *id)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *id = abti_thread_id(es->current);
    return ABT_SUCCESS;
}

int ABT_self_get_type(ABT_unit_type *type)
{
    abti_xstream *es = abti_self();
    *type = ABT_UNIT_TYPE_EXT;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *type = es->current->is_task ? ABT_UNIT_TYPE_TASK : ABT_UNIT_TYPE_THREAD;
    return ABT_SUCCESS;
}

int ABT_self_is_primary(ABT_bool *is_primary)
{
    abti_xstream *es = abti_self();
    *is_primary = ABT_FALSE;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *is_primary = es->current->is_primary;
    return ABT_SUCCESS;
}

int ABT_self_on_primary_xstream(ABT_bool *on_primary)
{
    abti_xstream *es = abti_self();
    *on_primary = ABT_FALSE;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *on_primary = es->primary;
    return ABT_SUCCESS;
}

int ABT_self_is_unnamed(ABT_bool *is_unnamed)
{
    abti_xstream *es = abti_self();
    *is_unnamed = ABT_FALSE;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *is_unnamed = !es->current->named && !es->current->is_root;
    return ABT_SUCCESS;
}

int ABT_self_get_last_pool(ABT_pool *pool)
{
    abti_xstream *es = abti_self();
    *pool = ABT_POOL_NULL;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *pool = abti_load(&es->current->pool);
    return ABT_SUCCESS;
}

int ABT_self_get_last_pool_id(int *pool_id)
{
    ABT_pool pool;
    *pool_id = -1;
    int err = ABT_self_get_last_pool(&pool);
    if (!err && pool)
        *pool_id = pool->id;
    return err;
}

int ABT_self_set_associated_pool(ABT_pool pool)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    ABTI_CHECK(!es->current->is_root, ABT_ERR_INV_THREAD);
    return abti_unit_associate(es->current, pool);
}

int ABT_self_get_unit(ABT_unit *unit)
{
    abti_xstream *es = abti_self();
    *unit = ABT_UNIT_NULL;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *unit = abti_unit_of(es->current);
    return ABT_SUCCESS;
}

int ABT_self_set_arg(void *arg)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    es->current->arg = arg;
    return ABT_SUCCESS;
}

int ABT_self_get_arg(void **arg)
{
    abti_xstream *es = abti_self();
    *arg = NULL;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *arg = es->current->arg;
    return ABT_SUCCESS;
}

int ABT_self_get_thread_func(void (**thread_func)(void *))
{
    abti_xstream *es = abti_self();
    *thread_func = NULL;
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *thread_func = es->current->fn;
    return ABT_SUCCESS;
}
