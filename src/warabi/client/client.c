/*
 * Clients and target handles: registration of the RPCs, addresses, thresholds.
 */
#include "warabi/client/client.h"
#include "warabi/err.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The id of an RPC; registers it unless another client, or a provider of this process, has done so. */
static hg_id_t rpc_id(margo_instance_id mid, const char *name)
{
    hg_id_t id;
    hg_bool_t registered = HG_FALSE;
    margo_registered_name(mid, name, &id, &registered);
    return registered ? id
                      : margo_provider_register_name(mid, name, hg_proc_wb_in_t, hg_proc_wb_out_t, NULL,
                                                     MARGO_DEFAULT_PROVIDER_ID, ABT_POOL_NULL);
}

static bool register_rpcs(struct warabi_client *client)
{
    for (int i = 0; i < WB_RPC_COUNT; i++) {
        client->ids[i] = rpc_id(client->mid, wb_rpcs[i].name);
        if (client->ids[i] == 0)
            return false;
    }
    return true;
}

warabi_err_t warabi_client_create(margo_instance_id mid, warabi_client_t *client)
{
    if (mid == MARGO_INSTANCE_NULL || !client)
        return wb_err_new(WARABI_ERR_INVALID, "warabi_client_create: NULL argument");
    *client = NULL;
    struct warabi_client *new_client = calloc(1, sizeof *new_client);
    if (!new_client)
        return wb_err_new(WARABI_ERR_NO_SPACE, "out of memory");
    new_client->mid = mid;
    new_client->references = 1;
    if (!register_rpcs(new_client)) {
        free(new_client);
        return wb_err_new(WARABI_ERR_OTHER, "the RPCs of Warabi could not be registered");
    }
    margo_instance_ref_incr(mid);
    *client = new_client;
    return WARABI_SUCCESS;
}

static void client_release(struct warabi_client *client)
{
    int before = __atomic_fetch_sub(&client->references, 1, __ATOMIC_ACQ_REL);
    assert(before > 0);
    if (before == 1) {
        margo_instance_release(client->mid);
        free(client);
    }
}

warabi_err_t warabi_client_free(warabi_client_t client)
{
    if (client)
        client_release(client);
    return WARABI_SUCCESS;
}

char *warabi_client_get_config(warabi_client_t client)
{
    return client ? strdup("{}") : NULL;
}

warabi_err_t warabi_client_make_target_handle(warabi_client_t client, const char *address, uint16_t provider_id,
                                              warabi_target_handle_t *th)
{
    if (!client || !address || !th)
        return wb_err_new(WARABI_ERR_INVALID, "warabi_client_make_target_handle: NULL argument");
    *th = NULL;
    hg_addr_t addr;
    hg_return_t status = margo_addr_lookup(client->mid, address, &addr);
    if (status != HG_SUCCESS)
        return wb_err_new(WARABI_ERR_TRANSPORT, "cannot resolve the address \"%s\": %s", address,
                          HG_Error_to_string(status));
    struct warabi_target_handle *handle = malloc(sizeof *handle);
    if (!handle) {
        margo_addr_free(client->mid, addr);
        return wb_err_new(WARABI_ERR_NO_SPACE, "out of memory");
    }
    __atomic_fetch_add(&client->references, 1, __ATOMIC_RELAXED);
    *handle = (struct warabi_target_handle){
        .client = client,
        .address = addr,
        .provider_id = provider_id,
        .eager_write = WB_EAGER_DEFAULT,
        .eager_read = WB_EAGER_DEFAULT,
        .timeout_ms = WB_TIMEOUT_DEFAULT_MS,
    };
    *th = handle;
    return WARABI_SUCCESS;
}

warabi_err_t warabi_target_handle_free(warabi_target_handle_t th)
{
    if (!th)
        return WARABI_SUCCESS;
    margo_addr_free(th->client->mid, th->address);
    client_release(th->client);
    free(th);
    return WARABI_SUCCESS;
}

static warabi_err_t set_threshold(size_t *threshold, size_t size)
{
    *threshold = size < WB_EAGER_MAX ? size : WB_EAGER_MAX;
    return WARABI_SUCCESS;
}

warabi_err_t warabi_set_eager_write_threshold(warabi_target_handle_t th, size_t size)
{
    return th ? set_threshold(&th->eager_write, size)
              : wb_err_new(WARABI_ERR_INVALID, "warabi_set_eager_write_threshold: NULL handle");
}

warabi_err_t warabi_set_eager_read_threshold(warabi_target_handle_t th, size_t size)
{
    return th ? set_threshold(&th->eager_read, size)
              : wb_err_new(WARABI_ERR_INVALID, "warabi_set_eager_read_threshold: NULL handle");
}

warabi_err_t warabi_set_timeout(warabi_target_handle_t th, double timeout_ms)
{
    if (!th)
        return wb_err_new(WARABI_ERR_INVALID, "warabi_set_timeout: NULL handle");
    th->timeout_ms = timeout_ms > 0 ? timeout_ms : 0;
    return WARABI_SUCCESS;
}
