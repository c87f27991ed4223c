/*
 * What a backend that runs a protocol needs to serve others and to work by itself: see backend.h.
 */
#include "flock/backends/backend.h"

#include <assert.h>

bool flk_spawn(struct dango_gate *gate, ABT_pool pool, void (*body)(void *arg), void *arg)
{
    assert(pool != ABT_POOL_NULL && body);
    if (!dango_gate_enter(gate))
        return false;
    if (ABT_thread_create(pool, body, arg, ABT_THREAD_ATTR_NULL, NULL) == ABT_SUCCESS)
        return true;
    dango_gate_leave(gate);
    return false;
}

flock_return_t flk_serve(margo_instance_id mid, hg_id_t rpc, void *group, ABT_pool pool, void (*tick)(void *group),
                         margo_timer_t *timer, struct dango_error *err)
{
    assert(group && tick && !*timer);
    if (rpc && margo_register_data(mid, rpc, group, NULL) == HG_SUCCESS &&
        margo_timer_create_with_pool(mid, tick, group, pool, timer) == 0)
        return FLOCK_SUCCESS;
    dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register the RPC");
    return FLOCK_ERR_FROM_MERCURY;
}
