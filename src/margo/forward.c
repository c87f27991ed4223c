/*
 * Calls and answers: the blocking forms with a request on the stack, the i- and c-forms with one on the heap.
 */
#include "margo/request.h"

#include <mercury/dango_hg.h>

#include <stdlib.h>

#define PROVIDER_OF(id) ((uint16_t)((id)&0xFFFF))

/* ---- forward ---- */

/* The instance of a handle that is ready to be forwarded to the provider. */
static hg_return_t prepare(hg_handle_t handle, uint16_t provider_id, margo_instance_id *mid)
{
    if (!handle)
        return HG_INVALID_ARG;
    struct mg_rpc *rpc = dango_hg_handle_rpc_data(handle);
    *mid = rpc ? rpc->mid : MARGO_INSTANCE_NULL;
    if (!*mid)
        return HG_NO_MATCH;
    if (atomic_load_explicit(&(*mid)->stopped, memory_order_relaxed))
        return HG_CANCELED;
    if (PROVIDER_OF(HG_Get_info(handle)->id) != provider_id)
        return mg_rpc_retarget(handle, rpc, provider_id);
    return HG_SUCCESS;
}

static hg_return_t submit(struct margo_request_struct *req, void *in_struct, double timeout_ms)
{
    mg_request_arm(req, timeout_ms);
    return mg_request_submitted(req, HG_Forward(req->handle, mg_request_complete, req, in_struct));
}

hg_return_t margo_provider_forward_timed(uint16_t provider_id, hg_handle_t handle, void *in_struct, double timeout_ms)
{
    margo_instance_id mid;
    hg_return_t ret = prepare(handle, provider_id, &mid);
    if (ret != HG_SUCCESS)
        return ret;
    struct margo_request_struct req;
    mg_request_init(&req, mid, MARGO_FORWARD_REQUEST, handle);
    ret = submit(&req, in_struct, timeout_ms);
    return ret == HG_SUCCESS ? mg_request_wait(&req) : ret;
}

hg_return_t margo_provider_iforward_timed(uint16_t provider_id, hg_handle_t handle, void *in_struct, double timeout_ms,
                                          margo_request *req)
{
    margo_instance_id mid;
    hg_return_t ret = req ? prepare(handle, provider_id, &mid) : HG_INVALID_ARG;
    if (ret != HG_SUCCESS)
        return ret;
    struct margo_request_struct *mine = malloc(sizeof *mine);
    if (!mine)
        return HG_NOMEM;
    mg_request_init(mine, mid, MARGO_FORWARD_REQUEST, handle);
    ret = submit(mine, in_struct, timeout_ms);
    if (ret == HG_SUCCESS)
        *req = mine;
    else
        free(mine);
    return ret;
}

hg_return_t margo_provider_cforward_timed(uint16_t provider_id, hg_handle_t handle, void *in_struct, double timeout_ms,
                                          void (*on_complete)(void *uargs, hg_return_t ret), void *uargs)
{
    margo_instance_id mid;
    hg_return_t ret = on_complete ? prepare(handle, provider_id, &mid) : HG_INVALID_ARG;
    if (ret != HG_SUCCESS)
        return ret;
    struct margo_request_struct *req = malloc(sizeof *req);
    if (!req)
        return HG_NOMEM;
    mg_request_init(req, mid, MARGO_FORWARD_REQUEST, handle);
    req->on_complete = on_complete;
    req->uargs = uargs;
    atomic_store(&req->holders, 2);
    HG_Ref_incr(handle);
    ret = submit(req, in_struct, timeout_ms);
    if (ret != HG_SUCCESS)
        mg_request_release(req);
    mg_request_release(req);
    return ret;
}

/* ---- respond ---- */

hg_return_t margo_respond(hg_handle_t handle, void *out_struct)
{
    return handle ? HG_Respond(handle, NULL, NULL, out_struct) : HG_INVALID_ARG;
}

hg_return_t margo_irespond(hg_handle_t handle, void *out_struct, margo_request *req)
{
    if (!handle || !req)
        return HG_INVALID_ARG;
    struct margo_request_struct *mine = malloc(sizeof *mine);
    if (!mine)
        return HG_NOMEM;
    mg_request_init(mine, margo_hg_handle_get_instance(handle), MARGO_RESPONSE_REQUEST, handle);
    hg_return_t ret = HG_Respond(handle, mg_request_complete, mine, out_struct);
    if (ret == HG_SUCCESS)
        *req = mine;
    else
        free(mine);
    return ret;
}
