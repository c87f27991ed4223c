/*
 * Clients and database handles: reference-counted, so that a handle outlives the client it was made from.
 */
#include "yokan/client/client.h"

#include "util/log.h"

#include <stdlib.h>

#include <assert.h>

yk_return_t yk_client_init(margo_instance_id mid, yk_client_t *client)
{
    if (!client)
        return YOKAN_ERR_INVALID_ARGS;
    if (mid == MARGO_INSTANCE_NULL)
        return YOKAN_ERR_INVALID_MID;
    struct yk_client *c = calloc(1, sizeof *c);
    if (!c)
        return YOKAN_ERR_ALLOCATION;
    c->mid = mid;
    c->references = 1;
    for (int op = 0; op < YOKAN_OP_COUNT; op++) {
        c->ids[op] = margo_provider_register_name(mid, yokan_op_names[op], yokan_proc_request, yokan_proc_response,
                                                  NULL, MARGO_DEFAULT_PROVIDER_ID, ABT_POOL_NULL);
        if (!c->ids[op]) {
            free(c);
            return YOKAN_ERR_FROM_MERCURY;
        }
    }
    margo_instance_ref_incr(mid);
    *client = c;
    return YOKAN_SUCCESS;
}

static void release_client(struct yk_client *client)
{
    assert(client->references > 0);
    if (__atomic_sub_fetch(&client->references, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    margo_instance_release(client->mid);
    free(client);
}

yk_return_t yk_client_finalize(yk_client_t client)
{
    if (!client)
        return YOKAN_ERR_INVALID_ARGS;
    uint64_t handles = __atomic_load_n(&client->references, __ATOMIC_RELAXED) - 1;
    if (handles)
        log_warning("yokan", "a client is finalized while %llu of its database handles are alive",
                    (unsigned long long)handles);
    release_client(client);
    return YOKAN_SUCCESS;
}

static yk_return_t check_identity(margo_instance_id mid, hg_addr_t addr, uint16_t provider_id)
{
    char identity[16];
    size_t size = sizeof identity;
    hg_return_t hret = margo_provider_get_identity(mid, addr, provider_id, identity, &size);
    if (hret == HG_NOMEM || (hret == HG_SUCCESS && strcmp(identity, "yokan") != 0))
        return YOKAN_ERR_INVALID_PROVIDER;
    return hret == HG_SUCCESS ? YOKAN_SUCCESS : YOKAN_ERR_OTHER;
}

yk_return_t yk_database_handle_create(yk_client_t client, hg_addr_t addr, uint16_t provider_id, bool check,
                                      yk_database_handle_t *handle)
{
    if (!client || addr == HG_ADDR_NULL || !handle)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = check ? check_identity(client->mid, addr, provider_id) : YOKAN_SUCCESS;
    if (ret != YOKAN_SUCCESS)
        return ret;
    struct yk_database_handle *h = calloc(1, sizeof *h);
    if (!h)
        return YOKAN_ERR_ALLOCATION;
    if (margo_addr_dup(client->mid, addr, &h->addr) != HG_SUCCESS) {
        free(h);
        return YOKAN_ERR_FROM_MERCURY;
    }
    __atomic_add_fetch(&client->references, 1, __ATOMIC_RELAXED);
    h->client = client;
    h->provider_id = provider_id;
    h->references = 1;
    *handle = h;
    return YOKAN_SUCCESS;
}

yk_return_t yk_database_handle_get_info(yk_database_handle_t handle, yk_client_t *client, hg_addr_t *addr,
                                        uint16_t *provider_id)
{
    if (!handle)
        return YOKAN_ERR_INVALID_ARGS;
    if (addr && margo_addr_dup(handle->client->mid, handle->addr, addr) != HG_SUCCESS)
        return YOKAN_ERR_FROM_MERCURY;
    if (client)
        *client = handle->client;
    if (provider_id)
        *provider_id = handle->provider_id;
    return YOKAN_SUCCESS;
}

yk_return_t yk_database_handle_ref_incr(yk_database_handle_t handle)
{
    if (!handle)
        return YOKAN_ERR_INVALID_ARGS;
    __atomic_add_fetch(&handle->references, 1, __ATOMIC_RELAXED);
    return YOKAN_SUCCESS;
}

yk_return_t yk_database_handle_release(yk_database_handle_t handle)
{
    if (!handle)
        return YOKAN_ERR_INVALID_ARGS;
    if (__atomic_sub_fetch(&handle->references, 1, __ATOMIC_ACQ_REL) != 0)
        return YOKAN_SUCCESS;
    margo_addr_free(handle->client->mid, handle->addr);
    release_client(handle->client);
    free(handle);
    return YOKAN_SUCCESS;
}
