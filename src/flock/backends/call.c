/*
 * Calls to other members: see backend.h. A member that cannot be looked up is as unreachable as one that does not answer.
 */
#include "flock/backends/backend.h"

#include <assert.h>

hg_return_t flk_call_start(struct flk_call *call, margo_instance_id mid, hg_id_t rpc, const char *address,
                           uint16_t provider_id, void *in, double timeout_ms)
{
    assert(call && address && timeout_ms > 0);
    *call = (struct flk_call){.addr = HG_ADDR_NULL, .handle = HG_HANDLE_NULL};
    hg_return_t ret = margo_addr_lookup(mid, address, &call->addr);
    if (ret != HG_SUCCESS)
        return ret;
    ret = margo_create(mid, call->addr, rpc, &call->handle);
    if (ret == HG_SUCCESS)
        ret = margo_provider_iforward_timed(provider_id, call->handle, in, timeout_ms, &call->request);
    if (ret == HG_SUCCESS)
        return ret;
    margo_destroy(call->handle);
    margo_addr_free(mid, call->addr);
    return ret;
}

hg_return_t flk_call_wait(struct flk_call *call, void *out)
{
    assert(call->handle != HG_HANDLE_NULL);
    hg_return_t ret = call->request ? margo_wait(call->request) : HG_SUCCESS;
    call->request = NULL;
    return ret == HG_SUCCESS ? margo_get_output(call->handle, out) : ret;
}

void flk_call_end(struct flk_call *call)
{
    assert(call->handle != HG_HANDLE_NULL);
    margo_instance_id mid = margo_hg_handle_get_instance(call->handle);
    if (call->request) {
        HG_Cancel(call->handle);
        margo_wait(call->request);
    }
    margo_destroy(call->handle);
    margo_addr_free(mid, call->addr);
}

/* ---- many at once ---- */

void flk_calls_start(struct flk_calls *calls, margo_instance_id mid, hg_id_t rpc, const flock_member_t *members,
                     size_t count, void *in, char **to, double timeout_ms)
{
    assert(calls && (members || count == 0));
    calls->count = 0;
    for (size_t i = 0; i < count && i < FLK_CALLS_MAX; i++) {
        struct flk_call *call = &calls->list[calls->count];
        if (to)
            *to = members[i].address; /* the input is encoded when the call starts */
        if (flk_call_start(call, mid, rpc, members[i].address, members[i].provider_id, in, timeout_ms) != HG_SUCCESS)
            continue;
        call->member = &members[i];
        calls->pending[calls->count++] = call->request;
    }
}

struct flk_call *flk_calls_next(struct flk_calls *calls, void *out)
{
    for (;;) {
        size_t i;
        hg_return_t ret = margo_wait_any(calls->count, calls->pending, &i);
        if (i >= calls->count)
            return NULL;
        struct flk_call *call = &calls->list[i];
        call->request = calls->pending[i] = NULL; /* freed */
        if (ret == HG_SUCCESS && flk_call_wait(call, out) == HG_SUCCESS)
            return call;
    }
}

void flk_calls_end(struct flk_calls *calls)
{
    for (size_t i = 0; i < calls->count; i++)
        flk_call_end(&calls->list[i]);
    calls->count = 0;
}
