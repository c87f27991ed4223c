/*
 * The RPCs that every instance has: __shutdown__ (default provider), by which a peer stops it if that was allowed, and
 * __identity__ (one per provider that has one), which answers with the provider's identity.
 */
#include "margo/instance.h"

#include <mercury_proc_string.h>

#include <stdlib.h>
#include <string.h>

#define SHUTDOWN "__shutdown__"
#define IDENTITY "__identity__"

/* Nobody waits longer than this for an instance that hangs. */
#define TIMEOUT_MS 30000.0

MERCURY_GEN_PROC(mg_shutdown_out_t, ((int32_t)(ret)))
MERCURY_GEN_PROC(mg_identity_out_t, ((hg_string_t)(identity)))

/* ---- shutdown ---- */

static void shutdown_rpc(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    bool allowed = atomic_load(&mid->remote_shutdown);
    mg_shutdown_out_t out = {.ret = allowed ? 0 : -1};
    margo_respond(handle, &out);
    margo_destroy(handle);
    if (allowed)
        margo_finalize(mid);
}
static DEFINE_MARGO_RPC_HANDLER(shutdown_rpc)

    void margo_enable_remote_shutdown(margo_instance_id mid)
{
    if (mid)
        atomic_store(&mid->remote_shutdown, true);
}

int margo_shutdown_remote_instance(margo_instance_id mid, hg_addr_t remote_addr)
{
    hg_handle_t handle;
    if (!mid || margo_create(mid, remote_addr, mid->shutdown_id, &handle) != HG_SUCCESS)
        return -1;
    int result = -1;
    mg_shutdown_out_t out;
    if (margo_forward_timed(handle, NULL, TIMEOUT_MS) == HG_SUCCESS && margo_get_output(handle, &out) == HG_SUCCESS) {
        result = out.ret;
        margo_free_output(handle, &out);
    }
    margo_destroy(handle);
    return result;
}

/* ---- identity ---- */

/* Of its own: the provider may be removed while we answer. */
static char *copy_of_identity(margo_instance_id mid, hg_id_t id)
{
    mg_lock(mid);
    const char *identity = margo_registered_data(mid, id);
    char *copy = identity ? strdup(identity) : NULL;
    mg_unlock(mid);
    return copy;
}

static void identity_rpc(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    mg_identity_out_t out = {.identity = copy_of_identity(mid, margo_get_info(handle)->id)};
    margo_respond(handle, &out);
    free(out.identity);
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(identity_rpc)

    hg_return_t margo_provider_register_identity(margo_instance_id mid, uint16_t provider_id, const char *identity)
{
    if (!mid || !identity)
        return HG_INVALID_ARG;
    char *copy = strdup(identity);
    if (!copy)
        return HG_NOMEM;
    hg_id_t id =
        MARGO_REGISTER_PROVIDER(mid, IDENTITY, void, mg_identity_out_t, identity_rpc, provider_id, ABT_POOL_NULL);
    hg_return_t ret = id ? margo_register_data(mid, id, copy, free) : HG_NOMEM;
    if (ret != HG_SUCCESS)
        free(copy);
    return ret;
}

hg_return_t margo_provider_deregister_identity(margo_instance_id mid, uint16_t provider_id)
{
    if (!mid)
        return HG_INVALID_ARG;
    return margo_deregister(mid, mg_rpc_id(IDENTITY, provider_id));
}

const char *margo_provider_registered_identity(margo_instance_id mid, uint16_t provider_id)
{
    return margo_registered_data(mid, mg_rpc_id(IDENTITY, provider_id));
}

static hg_return_t copy_identity(const char *identity, char *buffer, size_t *bufsize)
{
    size_t needed = strlen(identity) + 1, available = *bufsize;
    *bufsize = needed;
    if (needed > available)
        return HG_NOMEM;
    memcpy(buffer, identity, needed);
    return HG_SUCCESS;
}

hg_return_t margo_provider_get_identity(margo_instance_id mid, hg_addr_t address, uint16_t provider_id, char *buffer,
                                        size_t *bufsize)
{
    if (!mid || !buffer || !bufsize)
        return HG_INVALID_ARG;
    hg_handle_t handle;
    hg_return_t ret = margo_create(mid, address, mg_rpc_id(IDENTITY, MARGO_DEFAULT_PROVIDER_ID), &handle);
    if (ret != HG_SUCCESS)
        return ret;
    mg_identity_out_t out;
    ret = margo_provider_forward_timed(provider_id, handle, NULL, TIMEOUT_MS);
    if (ret == HG_SUCCESS)
        ret = margo_get_output(handle, &out);
    if (ret == HG_SUCCESS) {
        ret = out.identity ? copy_identity(out.identity, buffer, bufsize) : HG_NOENTRY;
        margo_free_output(handle, &out);
    }
    margo_destroy(handle);
    return ret;
}

int mg_builtin_register(margo_instance_id mid, struct dango_error *err)
{
    mid->shutdown_id = MARGO_REGISTER(mid, SHUTDOWN, void, mg_shutdown_out_t, shutdown_rpc);
    hg_id_t identity = MARGO_REGISTER(mid, IDENTITY, void, mg_identity_out_t, NULL);
    if (mid->shutdown_id && identity)
        return 0;
    return dango_error_set(err, DANGO_ERR_NO_MEMORY, "the instance's own RPCs could not be registered");
}
