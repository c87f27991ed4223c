/*
 * Life of a provider: registration, deregistration, and what of both happens when margo is finalised.
 */
#include "warabi/provider/provider.h"

#include "warabi/dango_warabi.h"
#include "warabi/err.h"
#include "warabi/provider/config.h"

#include "util/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define IDENTITY "warabi"

/* No more requests; the target is closed. The struct stays, see provider.h. */
static void provider_close(struct warabi_provider *provider)
{
    assert(provider->registered);
    provider->registered = false;
    dango_gate_close(&provider->gate);
    wb_handlers_deregister(provider);
    margo_provider_deregister_identity(provider->mid, provider->id);
    if (provider->target)
        provider->target->type->close(provider->target);
    provider->target = NULL;
    wb_settings_release(&provider->settings);
}

/* Finalize callback of margo: all handlers have ended. */
static void provider_free(void *arg)
{
    struct warabi_provider *provider = arg;
    if (provider->registered)
        provider_close(provider);
    free(provider);
}

static int check_id(margo_instance_id mid, uint16_t provider_id, struct dango_error *err)
{
    if (!margo_is_listening(mid))
        return dango_error_set(err, DANGO_ERR_INVALID, "the margo instance is not in server mode");
    const char *identity = margo_provider_registered_identity(mid, provider_id);
    if (identity)
        return dango_error_set(err, DANGO_ERR_EXISTS, "a provider of type \"%s\" has the id %u already", identity,
                               provider_id);
    return 0;
}

static int provider_start(struct warabi_provider *provider, abt_io_instance_id io, struct dango_error *err)
{
    int status = wb_target_open(&provider->settings, io, &provider->target, err);
    if (status != 0)
        return status;
    status = wb_handlers_register(provider, err);
    if (status != 0) {
        if (provider->target)
            provider->target->type->close(provider->target);
        return status;
    }
    margo_provider_register_identity(provider->mid, provider->id, IDENTITY);
    provider->registered = true;
    margo_provider_push_finalize_callback(provider->mid, provider, provider_free, provider);
    return 0;
}

int dango_warabi_create(margo_instance_id mid, uint16_t provider_id, struct json_object *config, ABT_pool pool,
                        abt_io_instance_id io, warabi_provider_t *result, struct dango_error *err)
{
    int status = check_id(mid, provider_id, err);
    if (status != 0)
        return status;
    struct warabi_provider *provider = calloc(1, sizeof *provider);
    if (!provider)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    provider->mid = mid;
    provider->id = provider_id;
    provider->pool = pool;
    status = wb_settings_parse(config, &provider->settings, err);
    if (status == 0) {
        status = provider_start(provider, io, err);
        if (status != 0)
            wb_settings_release(&provider->settings);
    }
    if (status != 0) {
        free(provider);
        return status;
    }
    *result = provider;
    return 0;
}

warabi_err_t warabi_provider_register(warabi_provider_t *provider, margo_instance_id mid, uint16_t provider_id,
                                      const char *config, struct warabi_provider_init_args *args)
{
    if (provider)
        *provider = NULL;
    if (mid == MARGO_INSTANCE_NULL)
        return wb_err_new(WARABI_ERR_INVALID, "warabi_provider_register: NULL margo instance");
    if (args && (args->remi_cl || args->remi_pr))
        return wb_err_new(WARABI_ERR_UNSUPPORTED, "migration (remi_cl, remi_pr) is not part of this build");
    struct dango_error err;
    struct json_object *json = NULL;
    if (config && *config && !(json = dango_json_parse(config, strlen(config), &err)))
        return wb_err_from(&err);
    warabi_provider_t created = NULL;
    int status = dango_warabi_create(mid, provider_id, json, args ? args->pool : ABT_POOL_NULL, ABT_IO_INSTANCE_NULL,
                                     &created, &err);
    json_object_put(json);
    if (status != 0)
        return wb_err_from(&err);
    if (provider)
        *provider = created;
    return WARABI_SUCCESS;
}

warabi_err_t warabi_provider_deregister(warabi_provider_t provider)
{
    if (!provider || !provider->registered)
        return wb_err_new(WARABI_ERR_INVALID, "warabi_provider_deregister: no registered provider");
    provider_close(provider);
    return WARABI_SUCCESS;
}

struct json_object *dango_warabi_config(warabi_provider_t provider)
{
    assert(provider && provider->registered);
    return wb_settings_dump(&provider->settings, provider->target);
}

char *warabi_provider_get_config(warabi_provider_t provider)
{
    if (!provider || !provider->registered)
        return NULL;
    struct json_object *json = dango_warabi_config(provider);
    char *text = strdup(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(json);
    return text;
}

warabi_err_t warabi_provider_migrate(warabi_provider_t provider, const char *dest_addr, uint16_t dest_provider_id,
                                     const char *migration_config)
{
    (void)dest_provider_id;
    (void)migration_config;
    if (!provider || !dest_addr)
        return wb_err_new(WARABI_ERR_INVALID, "warabi_provider_migrate: NULL argument");
    if (!provider->target)
        return wb_err_new(WARABI_ERR_NO_TARGET, "No target found in the provider");
    return wb_err_new(WARABI_ERR_UNSUPPORTED, "a target of type \"%s\" cannot be migrated",
                      provider->target->type->name);
}
