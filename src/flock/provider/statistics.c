/*
 * What a provider has counted since its start, as JSON: changes of its view, group files written, and what its backend
 * counts. For the program that it is in, and, by an RPC, for clients. Nobody can configure or reset anything here.
 */
#include "flock/provider/provider.h"

#include <json-c/json.h>

#include <assert.h>

static char *collect(struct flock_provider *provider)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    struct json_object *json = json_object_new_object(), *protocol = json_object_new_object();
    flk_provider_snapshot(provider, &view);
    flk_backend_statistics(provider->backend, provider->backend_context, protocol);
    uint64_t version = __atomic_load_n(&provider->version, __ATOMIC_ACQUIRE);
    char *address = flk_provider_address(provider);
    json_object_object_add(json, "address", json_object_new_string(address ? address : ""));
    free(address);
    json_object_object_add(json, "provider_id", json_object_new_int(provider->id));
    json_object_object_add(json, "type", json_object_new_string(provider->backend->name));
    json_object_object_add(json, "members", json_object_new_uint64(view.members.size));
    json_object_object_add(json, "changes", json_object_new_uint64(version - provider->first_version));
    json_object_object_add(json, "file_writes",
                           json_object_new_uint64(__atomic_load_n(&provider->file.writes, __ATOMIC_RELAXED)));
    json_object_object_add(json, "protocol", protocol);
    char *text = strdup(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(json);
    flock_group_view_clear(&view);
    return text;
}

char *flock_provider_get_statistics(flock_provider_t provider)
{
    return provider ? collect(provider) : NULL;
}

void flk_statistics_ult(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct flock_provider *provider = margo_registered_data(mid, margo_get_info(handle)->id);
    flk_statistics_out_t out = {.ret = FLOCK_ERR_INVALID_GROUP};
    if (provider && dango_gate_enter(&provider->gate)) {
        out.text = collect(provider);
        out.ret = out.text ? FLOCK_SUCCESS : FLOCK_ERR_ALLOCATION;
        dango_gate_leave(&provider->gate);
    }
    margo_respond(handle, &out);
    free(out.text);
    margo_destroy(handle);
}
DEFINE_MARGO_RPC_HANDLER(flk_statistics_ult)
