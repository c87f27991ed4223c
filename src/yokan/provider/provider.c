/*
 * Registration and destruction of Yokan providers: see yokan/server.h and provider.h.
 *
 * Registration does what can fail first and becomes visible last (identity); on failure everything done so far is undone
 * in reverse order. A provider that nobody destroys is destroyed when margo is finalised, before its network stops.
 */
#include "yokan/provider/yokan.h"

#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <stdlib.h>

const struct dango_option dango_yokan_options[] = {
    DANGO_OPTION_JSON("database", struct dango_yokan_settings, database, DANGO_JSON_OBJECT, NULL,
                      "{\"type\", \"config\"} of the database; absent: none"),
    DANGO_OPTION_OBJECT("buffer_cache", struct dango_yokan_settings, cache, yokan_cache_options,
                        "buffers that receive data from clients"),
    DANGO_OPTION_END,
};

#define PLACE_MAX 256

/* Where "database" is in the document. */
static const char *database_place(const char *path, char place[PLACE_MAX])
{
    snprintf(place, PLACE_MAX, "%s%sdatabase", path, *path ? "." : "");
    return place;
}

int dango_yokan_check(struct json_object *config, const char *path, struct dango_error *err)
{
    assert(path);
    struct dango_yokan_settings settings = {0};
    int status = dango_options_parse(dango_yokan_options, config, path, &settings, err);
    char place[PLACE_MAX];
    if (status == 0 && settings.database)
        status = yokan_database_check(settings.database, database_place(path, place), err);
    dango_options_release(dango_yokan_options, &settings);
    return status;
}

static void deregister_rpcs(struct yk_provider *provider)
{
    for (int op = 0; op < YOKAN_OP_COUNT; op++) {
        if (provider->rpcs[op].id)
            margo_deregister(provider->mid, provider->rpcs[op].id);
    }
}

static yk_return_t register_rpcs(struct yk_provider *provider, ABT_pool pool)
{
    assert(provider->mid);
    for (int op = 0; op < YOKAN_OP_COUNT; op++) {
        struct yokan_rpc *rpc = &provider->rpcs[op];
        *rpc = (struct yokan_rpc){.provider = provider, .op = (enum yokan_op)op};
        rpc->id = margo_provider_register_name(provider->mid, yokan_op_names[op], yokan_proc_request,
                                               yokan_proc_response, _handler_for_yokan_serve, provider->id, pool);
        if (!rpc->id || margo_register_data(provider->mid, rpc->id, rpc, NULL) != HG_SUCCESS) {
            deregister_rpcs(provider);
            return YOKAN_ERR_FROM_MERCURY;
        }
    }
    return YOKAN_SUCCESS;
}

static yk_return_t open_cache(struct yk_provider *provider, const struct yokan_cache_settings *settings,
                              const char *path, yk_bulk_cache_t external, struct dango_error *err)
{
    provider->config = dango_options_dump(yokan_cache_options, settings);
    if (external)
        json_object_object_add(provider->config, "type", json_object_new_string("external"));
    const char *type = dango_json_get_string(provider->config, "type");
    if (!external && strcmp(type, "external") == 0) {
        dango_error_set(err, DANGO_ERR_INVALID,
                        "%s%sbuffer_cache.type: \"external\" needs a cache that a program passes", path,
                        *path ? "." : "");
        return YOKAN_ERR_INVALID_CONFIG;
    }
    provider->cache = external ? external : &yokan_buffer_cache;
    provider->cache_context =
        provider->cache->init(provider->mid, json_object_to_json_string_ext(provider->config, JSON_C_TO_STRING_PLAIN));
    if (provider->cache_context || external)
        return YOKAN_SUCCESS;
    dango_error_set(err, DANGO_ERR_NO_MEMORY, "buffer_cache: out of memory");
    return YOKAN_ERR_ALLOCATION;
}

/* Releases what a provider holds, not the struct. */
static void release_contents(struct yk_provider *provider)
{
    if (provider->database)
        yokan_database_close(provider->database);
    if (provider->cache)
        provider->cache->finalize(provider->cache_context);
    json_object_put(provider->config);
    provider->database = NULL;
    provider->cache = NULL;
    provider->config = NULL;
}

static yk_return_t open_contents(struct yk_provider *provider, const struct dango_yokan_settings *settings,
                                 const char *path, yk_bulk_cache_t external, struct dango_error *err)
{
    char place[PLACE_MAX];
    yk_return_t ret = open_cache(provider, &settings->cache, path, external, err);
    if (ret == YOKAN_SUCCESS && settings->database)
        ret = yokan_database_open(settings->database, database_place(path, place), &provider->database, err);
    return ret;
}

/* When the gate is closed nobody is inside: what follows needs no lock. */
static void close_provider(struct yk_provider *provider)
{
    assert(provider->mid);
    dango_gate_close(&provider->gate);
    margo_provider_deregister_identity(provider->mid, provider->id);
    deregister_rpcs(provider);
    release_contents(provider);
}

static void on_prefinalize(void *arg)
{
    close_provider(arg);
}

/* With margo's handlers gone, nobody can find the struct any more. */
static void on_finalize(void *arg)
{
    free(arg);
}

static yk_return_t start_provider(struct yk_provider *provider, struct json_object *config, const char *path,
                                  const struct yk_provider_args *args, struct dango_error *err)
{
    struct dango_yokan_settings settings = {0};
    if (dango_options_parse(dango_yokan_options, config, path, &settings, err) != 0)
        return YOKAN_ERR_INVALID_CONFIG;
    yk_return_t ret = open_contents(provider, &settings, path, args->cache, err);
    dango_options_release(dango_yokan_options, &settings);
    if (ret == YOKAN_SUCCESS) {
        ret = register_rpcs(provider, args->pool);
        if (ret != YOKAN_SUCCESS)
            dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register the RPCs");
    }
    if (ret != YOKAN_SUCCESS)
        release_contents(provider);
    return ret;
}

/* Ids are shared by all kinds of providers of an instance; identities show who has one. */
static yk_return_t check_registration(margo_instance_id mid, uint16_t provider_id, struct dango_error *err)
{
    if (mid == MARGO_INSTANCE_NULL || !margo_is_listening(mid)) {
        dango_error_set(err, DANGO_ERR_INVALID, "the margo instance does not listen: it must be started as a server");
        return YOKAN_ERR_INVALID_ARGS;
    }
    const char *owner = margo_provider_registered_identity(mid, provider_id);
    if (!owner)
        return YOKAN_SUCCESS;
    dango_error_set(err, DANGO_ERR_EXISTS, "provider id %u is taken by a provider of type \"%s\"", provider_id, owner);
    return YOKAN_ERR_INVALID_PROVIDER;
}

yk_return_t dango_yokan_register(margo_instance_id mid, uint16_t provider_id, struct json_object *config,
                                 const char *path, const struct yk_provider_args *args, yk_provider_t *provider,
                                 struct dango_error *err)
{
    assert(config && path);
    static const struct yk_provider_args defaults = YOKAN_PROVIDER_ARGS_INIT;
    yk_return_t ret = check_registration(mid, provider_id, err);
    if (ret != YOKAN_SUCCESS)
        return ret;
    struct yk_provider *p = calloc(1, sizeof *p);
    if (!p) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return YOKAN_ERR_ALLOCATION;
    }
    p->mid = mid;
    p->id = provider_id;
    ret = start_provider(p, config, path, args ? args : &defaults, err);
    if (ret != YOKAN_SUCCESS) {
        free(p);
        return ret;
    }
    margo_push_finalize_callback(mid, on_finalize, p);
    margo_provider_push_prefinalize_callback(mid, p, on_prefinalize, p);
    margo_provider_register_identity(mid, provider_id, "yokan");
    if (provider)
        *provider = p;
    return YOKAN_SUCCESS;
}

yk_return_t yk_provider_register(margo_instance_id mid, uint16_t provider_id, const char *config,
                                 const struct yk_provider_args *args, yk_provider_t *provider)
{
    struct dango_error err = {0};
    if (!config || !*config)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = YOKAN_ERR_INVALID_CONFIG;
    struct json_object *json = dango_json_parse(config, strlen(config), &err);
    if (json)
        ret = dango_yokan_register(mid, provider_id, json, "", args, provider, &err);
    json_object_put(json);
    if (ret != YOKAN_SUCCESS)
        log_error("yokan", "cannot register provider %u: %s", provider_id, err.text);
    return ret;
}

yk_return_t yk_provider_destroy(yk_provider_t provider)
{
    if (!provider)
        return YOKAN_ERR_INVALID_ARGS;
    margo_provider_pop_prefinalize_callback(provider->mid, provider);
    close_provider(provider);
    return YOKAN_SUCCESS;
}

struct json_object *dango_yokan_config(yk_provider_t provider)
{
    assert(provider);
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "buffer_cache", json_object_get(provider->config));
    if (provider->database)
        json_object_object_add(json, "database", yokan_database_config(provider->database));
    return json;
}

char *yk_provider_get_config(yk_provider_t provider)
{
    if (!provider)
        return NULL;
    struct json_object *json = dango_yokan_config(provider);
    char *text = strdup(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(json);
    return text;
}

yk_return_t yk_provider_migrate_database(yk_provider_t provider, const char *dest_addr, uint16_t dest_provider_id,
                                         const struct yk_migration_options *options)
{
    (void)dest_provider_id;
    (void)options;
    if (!provider || !dest_addr)
        return YOKAN_ERR_INVALID_ARGS;
    return provider->database ? YOKAN_ERR_OP_UNSUPPORTED : YOKAN_ERR_INVALID_DATABASE;
}

yk_return_t yk_provider_snapshot_database(yk_provider_t provider, const char *dest_path, bool remove_source,
                                          const struct yk_snapshot_options *options)
{
    (void)remove_source;
    (void)options;
    if (!provider || !dest_path || !*dest_path)
        return YOKAN_ERR_INVALID_ARGS;
    return provider->database ? YOKAN_ERR_OP_UNSUPPORTED : YOKAN_ERR_INVALID_DATABASE;
}

yk_return_t yk_provider_restore_database(yk_provider_t provider, const char *src_path,
                                         const struct yk_restore_options *options)
{
    if (!provider || !src_path || !*src_path || !options || !options->new_root)
        return YOKAN_ERR_INVALID_ARGS;
    return YOKAN_ERR_OP_UNSUPPORTED;
}
