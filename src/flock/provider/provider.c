/*
 * Flock providers: see flock/flock-server.h. A provider ties together a gateway (which address is published), a backend
 * (the view), the RPC by which clients fetch the view, the update callbacks and the group file.
 *
 * Registration goes from what can fail to what is visible: configuration, gateway, initial view, RPC, backend, identity,
 * group file. On a failure everything done is undone in reverse order. Updates that a backend reports during its own
 * initialisation are kept until the provider is complete.
 *
 * The group file is written by the provider that is the first member of its view, from a copy of the view, under a mutex
 * of its own: the last to write has the newest view. No lock of the view or of the callbacks is held meanwhile.
 *
 * Destruction: the gate keeps the provider alive under RPCs and updates. The struct lives until margo is finalised, since
 * a request that arrives at that moment may still find it.
 */
#include "flock/provider/flock.h"

#include "flock/internal.h"
#include "flock/provider/callbacks.h"

#include "argobots/gate.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <sys/random.h>
#include <unistd.h>

const struct dango_option dango_flock_options[] = {
    DANGO_OPTION_JSON("bootstrap", struct dango_flock_settings, bootstrap, DANGO_JSON_STRING | DANGO_JSON_ARRAY, NULL,
                      "how the group is formed: self or view, or a list that is tried in order"),
    DANGO_OPTION_STRING("file", struct dango_flock_settings, file, NULL, "group file to be written; absent: none"),
    DANGO_OPTION_JSON("gateway", struct dango_flock_settings, gateway, DANGO_JSON_OBJECT, NULL,
                      "{\"type\", \"config\"}: which address is published; absent: type default"),
    DANGO_OPTION_JSON("group", struct dango_flock_settings, group, DANGO_JSON_OBJECT, NULL,
                      "{\"type\", \"config\"}: how the membership is kept up to date, e.g. static"),
    DANGO_OPTION_JSON("view", struct dango_flock_settings, view, DANGO_JSON_OBJECT, NULL,
                      "initial members and metadata, in the format of a group file (bootstrap view)"),
    DANGO_OPTION_END,
};

/* Both "group" and "gateway". */
struct selection {
    char *type;
    struct json_object *config;
};

static const struct dango_option selection_options[] = {
    DANGO_OPTION_STRING("type", struct selection, type, NULL, "its name"),
    DANGO_OPTION_JSON("config", struct selection, config, DANGO_JSON_OBJECT, "{}", "its options"),
    DANGO_OPTION_END,
};

/* An update that came before the provider was complete. */
struct early_update {
    struct list_node node;
    struct flk_update update;
    char *name, *value;
};

struct flock_provider {
    margo_instance_id mid;
    uint16_t id;
    struct dango_gate gate;
    hg_id_t rpc;
    flock_gateway_impl *gateway;
    void *gateway_context;
    char *address; /* published */
    flock_backend_impl *backend;
    void *backend_context;
    struct flk_callbacks callbacks;
    uint64_t version; /* atomic; of the view, see internal.h */
    char *file;       /* NULL: none */
    _Alignas(8) ABT_mutex_memory file_mutex;
    bool file_allowed;                  /* guarded by file_mutex: the time to be visible has come */
    uint64_t file_version;              /* guarded by file_mutex: what the file holds */
    _Alignas(8) ABT_mutex_memory start; /* guards the two below */
    bool started;                       /* updates go to the callbacks */
    struct list_node early;             /* updates before that */
};

/* ---- configuration ---- */

static int parse_selection(struct json_object *json, const char *path, const char *field, const char *default_type,
                           struct selection *selection, struct dango_error *err)
{
    char place[256];
    snprintf(place, sizeof place, "%s%s%s", path, *path ? "." : "", field);
    int status = dango_options_parse(selection_options, json, place, selection, err);
    if (status != 0 || selection->type)
        return status;
    /* A default stands for the whole object; an object must say what it is. */
    if (!json && default_type && (selection->type = strdup(default_type)))
        return 0;
    dango_options_release(selection_options, selection);
    return dango_error_set(err, DANGO_ERR_INVALID, "%s.type: this field is required", place);
}

/* Finds what a selection names; `given` (by the program) wins. */
static int select_gateway(struct json_object *json, const char *path, flock_gateway_impl *given,
                          flock_gateway_impl **gateway, struct json_object **config, struct dango_error *err)
{
    struct selection selection = {0};
    int status = parse_selection(json, path, "gateway", given ? given->name : "default", &selection, err);
    if (status != 0)
        return status;
    *gateway = given ? given : flk_gateway_find(selection.type, err);
    *config = *gateway ? json_object_get(selection.config) : NULL;
    dango_options_release(selection_options, &selection);
    return *gateway ? 0 : dango_error_prefix(err, "%s%sgateway.type", path, *path ? "." : "");
}

static int select_backend(struct json_object *json, const char *path, flock_backend_impl *given,
                          flock_backend_impl **backend, struct json_object **config, struct dango_error *err)
{
    struct selection selection = {0};
    int status = parse_selection(json, path, "group", given ? given->name : NULL, &selection, err);
    if (status != 0)
        return status;
    *backend = given ? given : flk_backend_find(selection.type, err);
    *config = *backend ? json_object_get(selection.config) : NULL;
    dango_options_release(selection_options, &selection);
    return *backend ? 0 : dango_error_prefix(err, "%s%sgroup.type", path, *path ? "." : "");
}

int dango_flock_check(struct json_object *config, const char *path, struct dango_error *err)
{
    struct dango_flock_settings settings = {0};
    struct json_object *ignored = NULL;
    flock_gateway_impl *gateway;
    flock_backend_impl *backend;
    int status = dango_options_parse(dango_flock_options, config, path, &settings, err);
    if (status != 0)
        return status;
    status = flk_bootstrap_check(settings.bootstrap, settings.view, path, err);
    if (status == 0)
        status = select_gateway(settings.gateway, path, NULL, &gateway, &ignored, err);
    json_object_put(ignored);
    ignored = NULL;
    if (status == 0)
        status = select_backend(settings.group, path, NULL, &backend, &ignored, err);
    json_object_put(ignored);
    dango_options_release(dango_flock_options, &settings);
    return status;
}

/* ---- the group file ---- */

struct snapshot {
    flock_group_view_t view;
    bool copied;
};

static void copy_view(void *arg, const flock_group_view_t *view)
{
    struct snapshot *snapshot = arg;
    flock_group_view_t *shared = (flock_group_view_t *)(uintptr_t)view; /* locking is not a change */
    FLOCK_GROUP_VIEW_LOCK(shared);
    snapshot->copied = flock_group_view_copy(view, &snapshot->view);
    FLOCK_GROUP_VIEW_UNLOCK(shared);
}

static bool take_snapshot(struct flock_provider *provider, struct snapshot *snapshot)
{
    memset(snapshot, 0, sizeof *snapshot);
    return provider->backend->get_view(provider->backend_context, copy_view, snapshot) == FLOCK_SUCCESS &&
           snapshot->copied;
}

static bool is_first_member(const struct flock_provider *provider, const flock_group_view_t *view)
{
    const flock_member_t *first = flock_group_view_member_at(view, 0);
    return first && first->provider_id == provider->id && strcmp(first->address, provider->address) == 0;
}

static int write_file_locked(struct flock_provider *provider, struct dango_error *err)
{
    struct snapshot snapshot;
    /* Read before the view: a change in between makes the file newer than noted, never older. */
    uint64_t version = __atomic_load_n(&provider->version, __ATOMIC_ACQUIRE);
    if (!provider->file_allowed || provider->file_version == version)
        return 0;
    if (!take_snapshot(provider, &snapshot))
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = 0;
    if (is_first_member(provider, &snapshot.view))
        status = flk_group_file_write(&snapshot.view, provider->file, err);
    if (status == 0)
        provider->file_version = version;
    flock_group_view_clear(&snapshot.view);
    return status;
}

/* Brings the file up to date, if this provider is the one that writes it. */
static int write_file(struct flock_provider *provider, bool now_allowed, struct dango_error *err)
{
    if (!provider->file)
        return 0;
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->file_mutex));
    provider->file_allowed |= now_allowed;
    int status = write_file_locked(provider, err);
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->file_mutex));
    return status;
}

int dango_flock_publish(flock_provider_t provider, struct dango_error *err)
{
    assert(provider);
    return write_file(provider, true, err);
}

/* ---- updates from the backend ---- */

static void deliver(struct flock_provider *provider, const struct flk_update *update)
{
    struct dango_error err = {0};
    __atomic_add_fetch(&provider->version, 1, __ATOMIC_RELEASE);
    flk_callbacks_call(&provider->callbacks, update);
    if (write_file(provider, false, &err) != 0)
        log_warning("flock", "the group file is out of date: %s", err.text);
}

static void keep_for_later(struct flock_provider *provider, const struct flk_update *update)
{
    struct early_update *early = calloc(1, sizeof *early);
    if (!early)
        return;
    early->update = *update;
    early->name = strdup(update->name);
    early->value = update->value ? strdup(update->value) : NULL;
    early->update.name = early->name;
    early->update.value = early->value;
    list_append(&provider->early, &early->node);
}

static void on_update(struct flock_provider *provider, const struct flk_update *update)
{
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->start));
    bool started = provider->started;
    if (!started)
        keep_for_later(provider, update);
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->start));
    if (started && dango_gate_enter(&provider->gate)) {
        deliver(provider, update);
        dango_gate_leave(&provider->gate);
    }
}

static void on_member_update(void *context, flock_update_t kind, const char *address, uint16_t provider_id)
{
    on_update(context, &(struct flk_update){.kind = kind, .name = address, .provider_id = provider_id});
}

static void on_metadata_update(void *context, const char *key, const char *value)
{
    on_update(context, &(struct flk_update){.is_metadata = true, .name = key, .value = value});
}

/* From now on updates are delivered; those that waited come first. */
static void start_updates(struct flock_provider *provider)
{
    struct list_node *node;
    do {
        ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->start));
        node = list_pop(&provider->early);
        provider->started = node == NULL;
        ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->start));
        if (node) {
            struct early_update *early = container_of(node, struct early_update, node);
            if (early->name)
                deliver(provider, &early->update);
            free(early->name);
            free(early->value);
            free(early);
        }
    } while (node);
}

/* ---- the RPC of clients ---- */

static void answer_view(struct flock_provider *provider, hg_handle_t handle)
{
    flk_get_view_in_t in = {0};
    flk_get_view_out_t out = {.ret = FLOCK_ERR_INVALID_ARGS};
    if (margo_get_input(handle, &in) == HG_SUCCESS) {
        struct snapshot snapshot = {0};
        out.version = __atomic_load_n(&provider->version, __ATOMIC_ACQUIRE);
        out.unchanged = in.version == out.version;
        out.ret = FLOCK_SUCCESS;
        if (!out.unchanged && !take_snapshot(provider, &snapshot))
            out.ret = FLOCK_ERR_ALLOCATION;
        FLOCK_GROUP_VIEW_MOVE(&snapshot.view, &out.view);
        margo_free_input(handle, &in);
    }
    margo_respond(handle, &out);
    flock_group_view_clear(&out.view);
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

    /* ---- life ---- */

    /* A number that no other provider has used: versions of different providers are not mixed up. */
    static uint64_t first_version(const struct flock_provider *provider)
{
    uint64_t number = (uintptr_t)provider;
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        number ^= (uint64_t)getpid() << 32;
    return number | 1; /* 0 means that a client has no view yet */
}

static void release(struct flock_provider *provider)
{
    if (provider->backend_context)
        provider->backend->destroy_group(provider->backend_context);
    if (provider->rpc)
        margo_deregister(provider->mid, provider->rpc);
    if (provider->gateway_context)
        provider->gateway->destroy_gateway(provider->gateway_context);
    for (struct list_node *node = list_pop(&provider->early); node; node = list_pop(&provider->early)) {
        struct early_update *early = container_of(node, struct early_update, node);
        free(early->name);
        free(early->value);
        free(early);
    }
    flk_callbacks_fini(&provider->callbacks);
    free(provider->address);
    free(provider->file);
}

static flock_return_t start_gateway(struct flock_provider *provider, struct json_object *config, ABT_pool pool,
                                    struct dango_error *err)
{
    flock_gateway_init_args_t args = {
        .mid = provider->mid, .provider_id = provider->id, .pool = pool, .config = config};
    flock_return_t ret = provider->gateway->init_gateway(&args, &provider->gateway_context);
    if (ret != FLOCK_SUCCESS) {
        dango_error_set(err, DANGO_ERR_INTERNAL, "gateway \"%s\" does not start (code %d)", provider->gateway->name,
                        ret);
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

static flock_return_t start_backend(struct flock_provider *provider, struct json_object *config, ABT_pool pool,
                                    flock_group_view_t *view, struct dango_error *err)
{
    flock_backend_init_args_t args = {.mid = provider->mid,
                                      .provider_id = provider->id,
                                      .pool = pool,
                                      .config = config,
                                      .self_addr_str = provider->address,
                                      .member_update_callback = on_member_update,
                                      .metadata_update_callback = on_metadata_update,
                                      .callback_context = provider};
    flock_return_t ret = place_self(provider, view, &args.join);
    if (ret == FLOCK_SUCCESS) {
        FLOCK_GROUP_VIEW_MOVE(view, &args.initial_view);
        ret = provider->backend->init_group(&args, &provider->backend_context);
        flock_group_view_clear(&args.initial_view);
    }
    if (ret == FLOCK_ERR_OP_FORBIDDEN && args.join)
        dango_error_set(err, DANGO_ERR_PERMISSION,
                        "a group of type \"%s\" cannot be joined: the initial view must contain this provider (%s, %u)",
                        provider->backend->name, provider->address, provider->id);
    else if (ret != FLOCK_SUCCESS)
        dango_error_set(err, DANGO_ERR_INTERNAL, "group of type \"%s\" does not start (code %d)",
                        provider->backend->name, ret);
    return ret;
}

static flock_return_t register_rpc(struct flock_provider *provider, ABT_pool pool, struct dango_error *err)
{
    provider->rpc = MARGO_REGISTER_PROVIDER(provider->mid, FLK_RPC_GET_VIEW, flk_get_view_in_t, flk_get_view_out_t,
                                            get_view_ult, provider->id, pool);
    if (provider->rpc && margo_register_data(provider->mid, provider->rpc, provider, NULL) == HG_SUCCESS)
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
    if (select_gateway(settings->gateway, path, args->gateway, &provider->gateway, &gateway_config, err) == 0 &&
        select_backend(settings->group, path, args->backend, &provider->backend, &backend_config, err) == 0)
        ret = start_gateway(provider, gateway_config, args->pool, err);
    if (ret == FLOCK_SUCCESS && flock_group_view_member_count(view) == 0 && !args->initial_view)
        ret = flock_group_view_add_member(view, provider->address, provider->id) ? ret : FLOCK_ERR_ALLOCATION;
    if (ret == FLOCK_SUCCESS)
        ret = start_backend(provider, backend_config, args->pool, view, err);
    /* After the backend: the view that the RPC reads is there. */
    if (ret == FLOCK_SUCCESS)
        ret = register_rpc(provider, args->pool, err);
    json_object_put(gateway_config);
    json_object_put(backend_config);
    return ret;
}

static void close_provider(struct flock_provider *provider)
{
    dango_gate_close(&provider->gate);
    margo_provider_deregister_identity(provider->mid, provider->id);
    release(provider);
}

static void on_prefinalize(void *arg)
{
    close_provider(arg);
}

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

static struct flock_provider *create(margo_instance_id mid, uint16_t provider_id)
{
    struct flock_provider *provider = calloc(1, sizeof *provider);
    if (!provider)
        return NULL;
    provider->mid = mid;
    provider->id = provider_id;
    provider->version = first_version(provider);
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
    struct flock_provider *p = create(mid, provider_id);
    ret = p ? start(p, &settings, path, args, view, err) : FLOCK_ERR_ALLOCATION;
    if (ret == FLOCK_SUCCESS) {
        p->file = settings.file;
        settings.file = NULL;
        margo_push_finalize_callback(mid, on_finalize, p);
        margo_provider_push_prefinalize_callback(mid, p, on_prefinalize, p);
        margo_provider_register_identity(mid, provider_id, "flock");
        start_updates(p);
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

/* ---- effective configuration ---- */

static void copy_config(void *arg, const struct json_object *config)
{
    *(struct json_object **)arg = dango_json_copy((struct json_object *)(uintptr_t)config);
}

static struct json_object *describe(const char *type, struct json_object *config)
{
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "type", json_object_new_string(type));
    json_object_object_add(json, "config", config ? config : json_object_new_object());
    return json;
}

struct json_object *dango_flock_config(flock_provider_t provider)
{
    assert(provider);
    struct json_object *gateway = NULL, *group = NULL;
    provider->gateway->get_config(provider->gateway_context, copy_config, &gateway);
    provider->backend->get_config(provider->backend_context, copy_config, &group);
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "gateway", describe(provider->gateway->name, gateway));
    json_object_object_add(json, "group", describe(provider->backend->name, group));
    if (provider->file)
        json_object_object_add(json, "file", json_object_new_string(provider->file));
    return json;
}

char *flock_provider_get_config(flock_provider_t provider)
{
    if (!provider)
        return NULL;
    struct json_object *json = dango_flock_config(provider);
    char *text = strdup(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(json);
    return text;
}
