/*
 * Flock providers: see flock/flock-server.h. A provider ties together a gateway (which address is published), a backend
 * (the view), the RPC by which clients fetch the view, the update callbacks and the group file.
 *
 * Registration goes from what can fail to what is visible: configuration, gateway, initial view, backend, RPC, identity.
 * On a failure everything done is undone in reverse order.
 *
 * Destruction: the gate keeps the provider alive under RPCs and updates. The struct lives until margo is finalised, since
 * a request that arrives at that moment may still find it.
 */
#include "flock/provider/provider.h"

#include "flock/backends/backend.h"

#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- the RPC of clients ---- */

/* The copy is made before the response is encoded: no lock is held while it is sent. */
static void answer_view(struct flock_provider *provider, hg_handle_t handle)
{
    flk_get_view_in_t in = {0};
    flk_get_view_out_t out = {.ret = FLOCK_ERR_INVALID_ARGS};
    if (margo_get_input(handle, &in) == HG_SUCCESS) {
        if (in.wait_ms > 0)
            flk_watch(provider, in.version, in.wait_ms);
        out.version = __atomic_load_n(&provider->version, __ATOMIC_ACQUIRE);
        out.unchanged = in.version == out.version;
        out.ret = FLOCK_SUCCESS;
        if (!out.unchanged && !flk_provider_snapshot(provider, &out.view))
            out.ret = FLOCK_ERR_ALLOCATION;
        if (!out.unchanged)
            flk_watch_gone(provider, &out.left, &out.moved);
        margo_free_input(handle, &in);
    }
    margo_respond(handle, &out);
    flock_group_view_clear(&out.view);
    flock_group_view_clear(&out.left);
    flock_group_view_clear(&out.moved);
}

static void get_view_ult(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct flock_provider *provider = margo_registered_data(mid, margo_get_info(handle)->id);
    if (provider && dango_gate_enter(&provider->gate)) {
        answer_view(provider, handle);
        dango_gate_leave(&provider->gate);
    } else {
        margo_respond(handle, &(flk_get_view_out_t){.ret = FLOCK_ERR_INVALID_GROUP});
    }
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(get_view_ult)

    /* Names that begin with "__" are the backend's own. */
    static flock_return_t set_metadata(struct flock_provider *provider, const flk_set_metadata_in_t *in)
{
    if (strncmp(in->key, "__", 2) == 0 || !*in->key)
        return FLOCK_ERR_OP_FORBIDDEN;
    if (!provider->backend->add_metadata)
        return FLOCK_ERR_OP_UNSUPPORTED;
    return provider->backend->add_metadata(provider->backend_context, in->key, in->value);
}

static void set_metadata_ult(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct flock_provider *provider = margo_registered_data(mid, margo_get_info(handle)->id);
    flk_set_metadata_in_t in = {0};
    flk_set_metadata_out_t out = {FLOCK_ERR_INVALID_GROUP};
    if (provider && dango_gate_enter(&provider->gate)) {
        out.ret = FLOCK_ERR_INVALID_ARGS;
        if (margo_get_input(handle, &in) == HG_SUCCESS) {
            out.ret = set_metadata(provider, &in);
            margo_free_input(handle, &in);
        }
        dango_gate_leave(&provider->gate);
    }
    margo_respond(handle, &out);
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(set_metadata_ult)

    /* ---- life ---- */

    /* A number that no other provider has used: versions of different providers are not mixed up. */
    static uint64_t first_version(const struct flock_provider *provider)
{
    uint64_t number = (uintptr_t)provider;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        number ^= (uint64_t)getpid() << 32;
    return number | 1; /* 0 means that a client has no view yet */
}

/* In the reverse order of start; what was not reached is NULL. */
static void release(struct flock_provider *provider)
{
    if (provider->backend_context)
        provider->backend->destroy_group(provider->backend_context);
    if (provider->rpc)
        margo_deregister(provider->mid, provider->rpc);
    if (provider->metadata_rpc)
        margo_deregister(provider->mid, provider->metadata_rpc);
    if (provider->statistics_rpc)
        margo_deregister(provider->mid, provider->statistics_rpc);
    if (provider->gateway_context)
        provider->gateway->destroy_gateway(provider->gateway_context);
    flk_updates_drop(provider);
    flk_callbacks_fini(&provider->callbacks);
    flk_file_free(&provider->file);
    flk_watch_forget(provider);
    free(provider->address);
    free(provider->ranks);
}

static const char *text_of(flock_return_t ret)
{
    static const char *const texts[] = {
#define X(code, text) [code] = text,
        FLOCK_RETURN_VALUES
#undef X
    };
    return ret < sizeof texts / sizeof texts[0] ? texts[ret] : "unknown code";
}

static flock_return_t start_gateway(struct flock_provider *provider, struct json_object *config, ABT_pool pool,
                                    struct dango_error *err)
{
    assert(provider->gateway && config);
    flock_gateway_init_args_t args = {
        .mid = provider->mid, .provider_id = provider->id, .pool = pool, .config = config};
    flock_return_t ret = provider->gateway->init_gateway(&args, &provider->gateway_context);
    if (ret != FLOCK_SUCCESS) {
        dango_error_set(err, DANGO_ERR_INTERNAL, "gateway \"%s\" does not start: %s", provider->gateway->name,
                        text_of(ret));
        return ret;
    }
    const char *address = provider->gateway->get_public_address(provider->gateway_context);
    provider->address = address ? strdup(address) : NULL;
    if (provider->address)
        return FLOCK_SUCCESS;
    dango_error_set(err, DANGO_ERR_INTERNAL, "gateway \"%s\" has no public address", provider->gateway->name);
    return FLOCK_ERR_OTHER;
}

/* Makes the view name this process by its public address; *join: it is not in the view at all. */
static flock_return_t place_self(struct flock_provider *provider, flock_group_view_t *view, bool *join)
{
    assert(view && join);
    const char *local = provider->gateway->get_local_address(provider->gateway_context);
    *join = false;
    if (flock_group_view_find_member(view, provider->address, provider->id))
        return FLOCK_SUCCESS;
    flock_member_t *member = local ? flock_group_view_find_member(view, local, provider->id) : NULL;
    if (!member) {
        *join = true;
        return FLOCK_SUCCESS;
    }
    flock_group_view_remove_member(view, member);
    return flock_group_view_add_member(view, provider->address, provider->id) ? FLOCK_SUCCESS : FLOCK_ERR_ALLOCATION;
}

static flock_return_t start_backend(struct flock_provider *provider, const struct dango_flock_settings *settings,
                                    struct json_object *config, flock_group_view_t *view, struct dango_error *err)
{
    assert(provider->backend && provider->address && config);
    struct flk_resume from = {.same_view = false};
    struct flk_backend_args extended = {.err = err,
                                        .member_changed = flk_watch_member,
                                        .writer_changed = flk_on_writer_change,
                                        .args = {.mid = provider->mid,
                                                 .provider_id = provider->id,
                                                 .pool = provider->pool,
                                                 .config = config,
                                                 .self_addr_str = provider->address,
                                                 .member_update_callback = flk_on_member_update,
                                                 .metadata_update_callback = flk_on_metadata_update,
                                                 .callback_context = provider}};
    flock_backend_init_args_t *args = &extended.args;
    flock_return_t ret = place_self(provider, view, &args->join);
    if (ret == FLOCK_SUCCESS && settings->file && flk_file_open(provider, settings->file, view, args->join, &from))
        extended.resumes = &from;
    if (ret == FLOCK_SUCCESS && settings->file && !provider->file.path)
        ret = FLOCK_ERR_ALLOCATION;
    if (ret == FLOCK_SUCCESS) {
        FLOCK_GROUP_VIEW_MOVE(view, &args->initial_view);
        ret = provider->backend->init_group(args, &provider->backend_context);
        flock_group_view_clear(&args->initial_view);
    }
    flk_stamp_clear(&from.file);
    if (ret != FLOCK_SUCCESS && err && err->code != 0)
        return ret;
    if (ret == FLOCK_ERR_OP_FORBIDDEN && args->join)
        dango_error_set(err, DANGO_ERR_PERMISSION,
                        "a group of type \"%s\" cannot be joined: the initial view must contain this provider (%s, %u)",
                        provider->backend->name, provider->address, provider->id);
    else if (ret != FLOCK_SUCCESS)
        dango_error_set(err, DANGO_ERR_INTERNAL, "group of type \"%s\" does not start: %s", provider->backend->name,
                        text_of(ret));
    return ret;
}

static flock_return_t register_rpc(struct flock_provider *provider, ABT_pool pool, struct dango_error *err)
{
    assert(provider->backend);
    provider->rpc = MARGO_REGISTER_PROVIDER(provider->mid, FLK_RPC_GET_VIEW, flk_get_view_in_t, flk_get_view_out_t,
                                            get_view_ult, provider->id, pool);
    provider->metadata_rpc = MARGO_REGISTER_PROVIDER(provider->mid, FLK_RPC_SET_METADATA, flk_set_metadata_in_t,
                                                     flk_set_metadata_out_t, set_metadata_ult, provider->id, pool);
    provider->statistics_rpc = MARGO_REGISTER_PROVIDER(provider->mid, FLK_RPC_STATISTICS, void, flk_statistics_out_t,
                                                       flk_statistics_ult, provider->id, pool);
    const hg_id_t rpcs[] = {provider->rpc, provider->metadata_rpc, provider->statistics_rpc};
    size_t ready = 0;
    for (size_t i = 0; i < sizeof rpcs / sizeof rpcs[0]; i++)
        ready += rpcs[i] && margo_register_data(provider->mid, rpcs[i], provider, NULL) == HG_SUCCESS;
    if (ready == sizeof rpcs / sizeof rpcs[0])
        return FLOCK_SUCCESS;
    dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register the RPC");
    return FLOCK_ERR_FROM_MERCURY;
}

static flock_return_t start(struct flock_provider *provider, const struct dango_flock_settings *settings,
                            const char *path, const struct flock_provider_args *args, flock_group_view_t *view,
                            struct dango_error *err)
{
    struct json_object *gateway_config = NULL, *backend_config = NULL;
    flock_return_t ret = FLOCK_ERR_INVALID_CONFIG;
    if (flk_select_gateway(settings->gateway, path, args->gateway, &provider->gateway, &gateway_config, err) == 0 &&
        flk_select_backend(settings->group, path, args->backend, &provider->backend, &backend_config, err) == 0)
        ret = start_gateway(provider, gateway_config, args->pool, err);
    if (ret == FLOCK_SUCCESS && flock_group_view_member_count(view) == 0 && !args->initial_view)
        ret = flock_group_view_add_member(view, provider->address, provider->id) ? ret : FLOCK_ERR_ALLOCATION;
    if (ret == FLOCK_SUCCESS)
        ret = start_backend(provider, settings, backend_config, view, err);
    /* After the backend: the view that the RPC reads is there. */
    if (ret == FLOCK_SUCCESS)
        ret = register_rpc(provider, args->pool, err);
    json_object_put(gateway_config);
    json_object_put(backend_config);
    return ret;
}

static void close_provider(struct flock_provider *provider)
{
    assert(provider->mid);
    flk_watch_close(provider);
    dango_gate_close(&provider->gate);
    margo_provider_deregister_identity(provider->mid, provider->id);
    flk_file_close(provider);
    release(provider);
}

/* Before the network stops: a backend may still want to say good-bye. */
static void on_prefinalize(void *arg)
{
    close_provider(arg);
}

/* With margo's handlers gone, nobody can find the struct any more. */
static void on_finalize(void *arg)
{
    free(arg);
}

static flock_return_t check_registration(margo_instance_id mid, uint16_t provider_id, struct dango_error *err)
{
    if (mid == MARGO_INSTANCE_NULL || !margo_is_listening(mid)) {
        dango_error_set(err, DANGO_ERR_INVALID, "the margo instance does not listen: it must be started as a server");
        return FLOCK_ERR_INVALID_ARGS;
    }
    const char *owner = margo_provider_registered_identity(mid, provider_id);
    if (!owner)
        return FLOCK_SUCCESS;
    dango_error_set(err, DANGO_ERR_EXISTS, "provider id %u is taken by a provider of type \"%s\"", provider_id, owner);
    return FLOCK_ERR_INVALID_PROVIDER;
}

static struct flock_provider *create(margo_instance_id mid, uint16_t provider_id, ABT_pool pool)
{
    struct flock_provider *provider = calloc(1, sizeof *provider);
    if (!provider)
        return NULL;
    provider->mid = mid;
    provider->id = provider_id;
    provider->pool = pool;
    if (pool == ABT_POOL_NULL)
        margo_get_handler_pool(mid, &provider->pool);
    provider->version = provider->first_version = first_version(provider);
    provider->file.lock = FLK_LOCK_NONE;
    list_init(&provider->early);
    flk_callbacks_init(&provider->callbacks);
    return provider;
}

/* Registration with a view that belongs to this call. */
static flock_return_t register_with_view(margo_instance_id mid, uint16_t provider_id, struct json_object *config,
                                         const char *path, const struct flock_provider_args *args,
                                         flock_group_view_t *view, flock_provider_t *provider, struct dango_error *err)
{
    struct dango_flock_settings settings = {0};
    flock_return_t ret = check_registration(mid, provider_id, err);
    if (ret != FLOCK_SUCCESS)
        return ret;
    if (dango_options_parse(dango_flock_options, config, path, &settings, err) != 0)
        return FLOCK_ERR_INVALID_CONFIG;
    if (settings.file)
        flk_warn_of_owner(mid, settings.file, view);
    struct flock_provider *p = create(mid, provider_id, args->pool);
    ret = p ? start(p, &settings, path, args, view, err) : FLOCK_ERR_ALLOCATION;
    if (ret == FLOCK_SUCCESS) {
        margo_push_finalize_callback(mid, on_finalize, p);
        margo_provider_push_prefinalize_callback(mid, p, on_prefinalize, p);
        margo_provider_register_identity(mid, provider_id, "flock");
        p->file.remove = settings.remove_file;
        flk_updates_start(p);
        *provider = p;
    } else if (p) {
        release(p);
        free(p);
    }
    dango_options_release(dango_flock_options, &settings);
    return ret;
}

flock_return_t dango_flock_register(margo_instance_id mid, uint16_t provider_id, struct json_object *config,
                                    const char *path, const struct flock_provider_args *args,
                                    flock_provider_t *provider, struct dango_error *err)
{
    assert(path && args && provider);
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    if (args->initial_view)
        FLOCK_GROUP_VIEW_MOVE(args->initial_view, &view);
    flock_return_t ret = register_with_view(mid, provider_id, config, path, args, &view, provider, err);
    flock_group_view_clear(&view);
    return ret;
}

flock_return_t flock_provider_register(margo_instance_id mid, uint16_t provider_id, const char *json_config,
                                       const struct flock_provider_args *args, flock_provider_t *provider)
{
    static const struct flock_provider_args defaults = FLOCK_PROVIDER_ARGS_INIT;
    struct dango_error err = {0};
    const char *text = json_config ? json_config : "{}";
    struct json_object *json = dango_json_parse(text, strlen(text), &err);
    flock_provider_t p = NULL;
    flock_return_t ret = FLOCK_ERR_INVALID_CONFIG;
    if (json)
        ret = dango_flock_register(mid, provider_id, json, "", args ? args : &defaults, &p, &err);
    else if (args && args->initial_view)
        flock_group_view_clear(args->initial_view); /* taken over in any case */
    json_object_put(json);
    if (ret != FLOCK_SUCCESS) {
        log_error("flock", "cannot register provider %u: %s", provider_id, err.text);
        return ret;
    }
    if (dango_flock_publish(p, &err) != 0)
        log_warning("flock", "the group file is not written: %s", err.text);
    if (provider)
        *provider = p;
    return FLOCK_SUCCESS;
}

flock_return_t flock_provider_destroy(flock_provider_t provider)
{
    if (!provider)
        return FLOCK_ERR_INVALID_ARGS;
    margo_provider_pop_prefinalize_callback(provider->mid, provider);
    close_provider(provider);
    return FLOCK_SUCCESS;
}

/* What comes while the backend does it is compared with the new address. */
static flock_return_t publish_address(struct flock_provider *provider)
{
    const char *public = provider->gateway->get_public_address(provider->gateway_context);
    char *address = public && *public ? strdup(public) : NULL;
    if (!address)
        return public && *public ? FLOCK_ERR_ALLOCATION : FLOCK_ERR_OTHER;
    flock_return_t ret = FLOCK_SUCCESS;
    bool same = strcmp(address, provider->address) == 0;
    flk_file_swap_address(provider, &address);
    if (!same)
        ret = flk_backend_move(provider->backend, provider->backend_context, provider->address);
    if (ret != FLOCK_SUCCESS)
        flk_file_swap_address(provider, &address);
    free(address);
    return ret;
}

flock_return_t flock_provider_update_address(flock_provider_t provider)
{
    if (!provider || !dango_gate_enter(&provider->gate))
        return FLOCK_ERR_INVALID_ARGS;
    flock_return_t ret = publish_address(provider);
    dango_gate_leave(&provider->gate);
    return ret;
}

flock_return_t flock_provider_add_update_callbacks(flock_provider_t provider, flock_membership_update_fn member_update,
                                                   flock_metadata_update_fn metadata_update, void *context)
{
    return provider ? flk_callbacks_add(&provider->callbacks, member_update, metadata_update, context)
                    : FLOCK_ERR_INVALID_ARGS;
}

flock_return_t flock_provider_remove_update_callbacks(flock_provider_t provider, void *context)
{
    return provider ? flk_callbacks_remove(&provider->callbacks, context) : FLOCK_ERR_INVALID_ARGS;
}
