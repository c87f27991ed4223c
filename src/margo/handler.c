/*
 * Handles, and what happens to a request between its arrival and its handler.
 *
 * A request arrives in the progress loop as a call of _handler_for_f, which is one call of __margo_internal_dispatch:
 * it counts the handler in and creates a ULT in the RPC's pool with the handle as its argument, so nothing else is
 * allocated. The ULT runs _wrapper_for_f, which calls f between handler_begin and handler_end. A request that cannot
 * be handled is answered with an error at once.
 */
#include "margo/instance.h"

#include <mercury/dango_hg.h>

#include <assert.h>

static struct mg_handle *handle_of(hg_handle_t handle)
{
    _Static_assert(sizeof(struct mg_handle) <= DANGO_HG_SCRATCH_SIZE, "fits into Mercury's handle");
    return dango_hg_handle_scratch(handle);
}

/* ---- requests that arrive ---- */

hg_return_t __margo_respond_with_error(hg_handle_t handle, hg_return_t error)
{
    return handle ? dango_hg_respond_error(handle, error) : HG_INVALID_ARG;
}

static hg_return_t refuse(hg_handle_t handle, hg_return_t error, hg_return_t ret)
{
    dango_hg_respond_error(handle, error);
    HG_Destroy(handle);
    return ret;
}

hg_return_t __margo_internal_dispatch(hg_handle_t handle, void (*wrapper)(hg_handle_t))
{
    struct mg_rpc *rpc = dango_hg_handle_rpc_data(handle);
    margo_instance_id mid = rpc ? rpc->mid : MARGO_INSTANCE_NULL;
    if (!mid)
        return refuse(handle, HG_NOENTRY, HG_NOENTRY);
    if (!mg_handler_enter(mid))
        return refuse(handle, HG_PERMISSION, HG_CANCELED);
    handle_of(handle)->mid = mid;
    ABT_pool pool = atomic_load_explicit(&rpc->pool, memory_order_relaxed);
    if (ABT_thread_create(pool, (void (*)(void *))wrapper, handle, ABT_THREAD_ATTR_NULL, NULL) == ABT_SUCCESS)
        return HG_SUCCESS;
    margo_error(mid, "no thread could be created for RPC %s", rpc->name);
    refuse(handle, HG_OTHER_ERROR, HG_NOMEM);
    mg_handler_leave(mid);
    return HG_NOMEM;
}

margo_instance_id __margo_internal_handler_begin(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    if (!mid) {
        margo_error(MARGO_INSTANCE_NULL, "a handler was started for a handle without instance");
        HG_Destroy(handle);
    }
    return mid;
}

void __margo_internal_handler_end(margo_instance_id mid)
{
    mg_handler_leave(mid);
}

hg_return_t _handler_for_NULL(hg_handle_t handle)
{
    return refuse(handle, HG_NOENTRY, HG_SUCCESS);
}

/* ---- handles ---- */

hg_return_t margo_create(margo_instance_id mid, hg_addr_t addr, hg_id_t id, hg_handle_t *handle)
{
    if (!mid || !handle)
        return HG_INVALID_ARG;
    hg_return_t ret = HG_Create(mid->hg_context, addr, id, handle);
    if (ret == HG_SUCCESS)
        handle_of(*handle)->mid = mid;
    return ret;
}

hg_return_t margo_destroy(hg_handle_t handle)
{
    return HG_Destroy(handle);
}

hg_return_t margo_ref_incr(hg_handle_t handle)
{
    return handle ? HG_Ref_incr(handle) : HG_INVALID_ARG;
}

const struct hg_info *margo_get_info(hg_handle_t handle)
{
    return handle ? HG_Get_info(handle) : NULL;
}

margo_instance_id margo_hg_handle_get_instance(hg_handle_t handle)
{
    if (!handle)
        return MARGO_INSTANCE_NULL;
    margo_instance_id mid = handle_of(handle)->mid;
    if (mid)
        return mid;
    /* A handle that reached a callback of the user's own. */
    struct mg_rpc *rpc = dango_hg_handle_rpc_data(handle);
    return rpc ? rpc->mid : MARGO_INSTANCE_NULL;
}

margo_instance_id margo_hg_info_get_instance(const struct hg_info *info)
{
    struct mg_rpc *rpc = info ? HG_Registered_data(info->hg_class, info->id) : NULL;
    return rpc ? rpc->mid : MARGO_INSTANCE_NULL;
}

ABT_pool margo_hg_handle_get_handler_pool(hg_handle_t handle)
{
    struct mg_rpc *rpc = handle ? dango_hg_handle_rpc_data(handle) : NULL;
    return rpc ? atomic_load(&rpc->pool) : ABT_POOL_NULL;
}

static bool is_ours(hg_handle_t handle)
{
    return margo_hg_handle_get_instance(handle) != MARGO_INSTANCE_NULL;
}

hg_return_t margo_get_input(hg_handle_t handle, void *in_struct)
{
    if (!handle)
        return HG_INVALID_ARG;
    return is_ours(handle) ? HG_Get_input(handle, in_struct) : HG_NO_MATCH;
}

hg_return_t margo_free_input(hg_handle_t handle, void *in_struct)
{
    if (!handle)
        return HG_INVALID_ARG;
    return is_ours(handle) ? HG_Free_input(handle, in_struct) : HG_NO_MATCH;
}

hg_return_t margo_get_output(hg_handle_t handle, void *out_struct)
{
    if (!handle)
        return HG_INVALID_ARG;
    return is_ours(handle) ? HG_Get_output(handle, out_struct) : HG_NO_MATCH;
}

hg_return_t margo_free_output(hg_handle_t handle, void *out_struct)
{
    if (!handle)
        return HG_INVALID_ARG;
    return is_ours(handle) ? HG_Free_output(handle, out_struct) : HG_NO_MATCH;
}
