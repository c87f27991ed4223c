/*
 * See support.h.
 */
#include "tests/argobots/support.h"

int setup_library(void **state)
{
    (void)state;
    if (ABT_initialized() != ABT_ERR_UNINITIALIZED)
        return -1;
    return ABT_init(0, NULL);
}

int teardown_library(void **state)
{
    (void)state;
    return ABT_finalize();
}

ABT_pool pool_of(ABT_xstream xstream)
{
    ABT_pool pool;
    OK(ABT_xstream_get_main_pools(xstream, 1, &pool));
    return pool;
}

ABT_pool main_pool(void)
{
    ABT_xstream self;
    OK(ABT_xstream_self(&self));
    return pool_of(self);
}

ABT_pool start_xstreams(ABT_xstream *xstreams, int num)
{
    ABT_pool pool;
    OK(ABT_pool_create_basic(ABT_POOL_FIFO_WAIT, ABT_POOL_ACCESS_MPMC, ABT_TRUE, &pool));
    for (int i = 0; i < num; i++)
        OK(ABT_xstream_create_basic(ABT_SCHED_BASIC_WAIT, 1, &pool, ABT_SCHED_CONFIG_NULL, &xstreams[i]));
    return pool;
}

void stop_xstreams(ABT_xstream *xstreams, int num)
{
    for (int i = 0; i < num; i++)
        OK(ABT_xstream_free(&xstreams[i]));
}
