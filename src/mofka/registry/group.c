/*
 * See group.h.
 */
#include "mofka/registry/group.h"

#include "util/json.h"

#include <flock/flock-client.h>
#include <flock/flock-group.h>

#include <assert.h>
#include <string.h>

int dango_mofka_find_provider(struct json_object *config, const char *type)
{
    struct json_object *providers = dango_json_get(config, "providers");
    for (size_t i = 0; json_object_is_type(providers, json_type_array) && i < json_object_array_length(providers);
         i++) {
        struct json_object *provider = json_object_array_get_idx(providers, i);
        const char *found = dango_json_get_string(provider, "type");
        int64_t id = json_object_get_int64(dango_json_get(provider, "provider_id"));
        if (found && strcmp(found, type) == 0 && id >= 0 && id <= UINT16_MAX)
            return (int)id;
    }
    return -1;
}

flock_return_t dango_mofka_fetch_view(margo_instance_id mid, const char *address, uint16_t provider_id,
                                      flock_group_view_t *view)
{
    assert(address);
    flock_client_t client = FLOCK_CLIENT_NULL;
    flock_group_handle_t handle = FLOCK_GROUP_HANDLE_NULL;
    hg_addr_t addr = HG_ADDR_NULL;
    flock_return_t ret = flock_client_init(mid, ABT_POOL_NULL, &client);
    if (ret == FLOCK_SUCCESS && margo_addr_lookup(mid, address, &addr) != HG_SUCCESS)
        ret = FLOCK_ERR_FROM_MERCURY;
    if (ret == FLOCK_SUCCESS)
        ret = flock_group_handle_create(client, addr, provider_id, FLOCK_MODE_INIT_UPDATE, &handle);
    if (ret == FLOCK_SUCCESS)
        ret = flock_group_get_view(handle, view);
    if (handle)
        flock_group_handle_release(handle);
    if (addr)
        margo_addr_free(mid, addr);
    if (client)
        flock_client_finalize(client);
    return ret;
}
