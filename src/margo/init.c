/*
 * Starting and freeing an instance.
 *
 * Order: the whole configuration is checked before anything is touched; then the network, then Argobots with pools and
 * execution streams, then the RPCs of our own and the progress loop. A failure undoes what was done. Freeing goes the
 * other way round, with one subtlety: the context is closed first, as soon as progress has stopped, so that threads
 * that still wait for the network wake up with HG_CANCELED; the environment goes next, which lets them come to their
 * end; only then the class and the memory go, which these threads may still use.
 */
#include "margo/dango_margo.h"
#include "margo/instance.h"

#include "util/json.h"
#include "util/log.h"

#include <argobots/dango_abt.h>
#include <mercury/dango_hg.h>

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- network ---- */

/* Whether the document wins over the base values of the caller for a field. */
static bool given(struct json_object *mercury, bool has_base, const char *field)
{
    return !has_base || dango_json_get(mercury, field);
}

static uint8_t limit_u8(int64_t value)
{
    return value > UINT8_MAX ? UINT8_MAX : (uint8_t)value;
}

static int32_t limit_i32(int64_t value)
{
    return value > INT32_MAX ? INT32_MAX : (int32_t)value;
}

static void set_progress_mode(struct na_init_info_4_0 *na, const struct mg_mercury_options *o, struct json_object *json,
                              bool has_base)
{
    if (given(json, has_base, "na_no_block"))
        na->progress_mode = (uint8_t)((na->progress_mode & ~NA_NO_BLOCK) | (o->na_no_block ? NA_NO_BLOCK : 0));
    if (given(json, has_base, "na_no_retry"))
        na->progress_mode = (uint8_t)((na->progress_mode & ~NA_NO_RETRY) | (o->na_no_retry ? NA_NO_RETRY : 0));
}

static void fill_na_info(struct na_init_info_4_0 *na, const struct mg_mercury_options *o, struct json_object *json,
                         bool has_base)
{
    set_progress_mode(na, o, json, has_base);
    if (given(json, has_base, "ip_subnet"))
        na->ip_subnet = o->ip_subnet;
    if (given(json, has_base, "auth_key"))
        na->auth_key = o->auth_key;
    if (given(json, has_base, "max_contexts"))
        na->max_contexts = limit_u8(o->max_contexts);
    if (given(json, has_base, "na_max_unexpected_size"))
        na->max_unexpected_size = (size_t)o->na_max_unexpected_size;
    if (given(json, has_base, "na_max_expected_size"))
        na->max_expected_size = (size_t)o->na_max_expected_size;
    if (given(json, has_base, "na_request_mem_device"))
        na->request_mem_device = o->na_request_mem_device;
    if (given(json, has_base, "na_addr_format"))
        na->addr_format = (enum na_addr_format)o->na_addr_format;
}

static void fill_init_info(struct hg_init_info *info, const struct mg_mercury_options *o, struct json_object *json,
                           bool has_base)
{
    fill_na_info(&info->na_init_info, o, json, has_base);
    if (given(json, has_base, "request_post_init"))
        info->request_post_init = (uint32_t)limit_i32(o->request_post_init);
    if (given(json, has_base, "request_post_incr"))
        info->request_post_incr = limit_i32(o->request_post_incr);
    if (given(json, has_base, "auto_sm"))
        info->auto_sm = o->auto_sm;
    if (given(json, has_base, "sm_info_string"))
        info->sm_info_string = o->sm_info_string;
    if (given(json, has_base, "checksum_level"))
        info->checksum_level = (hg_checksum_level_t)o->checksum_level;
    if (given(json, has_base, "no_bulk_eager"))
        info->no_bulk_eager = o->no_bulk_eager;
    if (given(json, has_base, "no_loopback"))
        info->no_loopback = o->no_loopback;
    if (given(json, has_base, "stats"))
        info->stats = o->stats;
}

/* What a document asks for and nobody does: said, so that nobody relies on it. */
static void warn_of_ignored(const struct mg_mercury_options *o)
{
    const struct {
        bool asked;
        const char *field;
    } ignored[] = {{o->auto_sm, "auto_sm"},
                   {o->auth_key != NULL, "auth_key"},
                   {o->na_request_mem_device, "na_request_mem_device"},
                   {o->checksum_level != 0, "checksum_level"}};

    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        if (ignored[i].asked)
            log_warning("margo", "mercury.%s has no effect (docs/config/margo.md says why)", ignored[i].field);
}

static int start_class(margo_instance_id mid, const char *address, int mode, const struct margo_init_info *info,
                       struct json_object *config, struct dango_error *err)
{
    struct hg_init_info hg_info = HG_INIT_INFO_INITIALIZER;
    if (info->hg_init_info)
        hg_info = *info->hg_init_info;
    warn_of_ignored(&mid->options.mercury);
    fill_init_info(&hg_info, &mid->options.mercury, dango_json_get(config, "mercury"), info->hg_init_info != NULL);
    mid->never_sleep = hg_info.na_init_info.progress_mode & NA_NO_BLOCK;
    mid->hg_class = dango_hg_init(address, mode == MARGO_SERVER_MODE, &hg_info, err);
    if (!mid->hg_class)
        return dango_error_prefix(err, "could not initialize transport \"%s\"", address);
    mid->owns_class = true;
    return 0;
}

static int start_network(margo_instance_id mid, const char *address, int mode, const struct margo_init_info *info,
                         struct json_object *config, struct dango_error *err)
{
    mid->hg_class = info->hg_class;
    mid->hg_context = info->hg_context;
    if (!mid->hg_class && !address)
        return dango_error_set(err, DANGO_ERR_INVALID, "no address or protocol was given");
    if (!mid->hg_class && start_class(mid, address, mode, info, config, err) != 0)
        return DANGO_ERR_INVALID;
    if (!mid->hg_context) {
        mid->hg_context = HG_Context_create(mid->hg_class);
        mid->owns_context = true;
    }
    mid->listening = HG_Class_is_listening(mid->hg_class);
    if (!mid->hg_context || HG_Create(mid->hg_context, HG_ADDR_NULL, 0, &mid->keeper) != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "the network context could not be created");
    return 0;
}

/* ---- what the configuration shows of the network ---- */

static int describe_network(margo_instance_id mid, struct dango_error *err)
{
    struct mg_mercury_options *o = &mid->options.mercury;
    char address[512], version[32];
    hg_size_t size = sizeof address;
    unsigned major, minor, patch;
    hg_addr_t self;
    if (HG_Addr_self(mid->hg_class, &self) == HG_SUCCESS) {
        if (HG_Addr_to_string(mid->hg_class, address, &size, self) != HG_SUCCESS)
            address[0] = '\0';
        HG_Addr_free(mid->hg_class, self);
        free(o->address);
        o->address = *address ? strdup(address) : NULL;
    }
    HG_Version_get(&major, &minor, &patch);
    snprintf(version, sizeof version, "%u.%u.%u", major, minor, patch);
    free(o->version);
    o->version = strdup(version);
    free(mid->options.version);
    mid->options.version = strdup(MARGO_VERSION);
    o->listening = mid->listening;
    o->input_eager_size = (int64_t)HG_Class_get_input_eager_size(mid->hg_class);
    o->output_eager_size = (int64_t)HG_Class_get_output_eager_size(mid->hg_class);
    if (!o->version || !mid->options.version)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    return 0;
}

/* ---- threads ---- */

static void warn(void *arg, const char *text)
{
    margo_warning((margo_instance_id)arg, "%s", text);
}

/* The pool that the program gave for a purpose, as an entry of the layout. */
static int add_given_pool(struct mg_layout *layout, ABT_pool handle, struct mg_pool **wish, struct dango_error *err)
{
    if (handle == ABT_POOL_NULL)
        return 0;
    for (size_t i = 0; i < layout->num_pools; i++) {
        *wish = layout->pools[i];
        if ((*wish)->handle == handle)
            return 0;
    }
    *wish = mg_layout_add_pool(layout, NULL, MG_POOL_EXTERNAL, ABT_POOL_ACCESS_MPMC, err);
    if (!*wish)
        return DANGO_ERR_NO_MEMORY;
    (*wish)->handle = handle;
    return 0;
}

static int start_environment(margo_instance_id mid, const struct margo_init_info *info, struct mg_config *config,
                             const char *path, struct dango_error *err)
{
    const struct mg_options *options = &mid->options;
    struct mg_layout_wishes wishes = {config->progress_pool, config->rpc_pool, options->use_progress_thread,
                                      options->rpc_thread_count, ABT_initialized() == ABT_SUCCESS};
    if (wishes.external_primary && mg_config_refuse_primary(config, path, err) != 0)
        return DANGO_ERR_EXISTS;
    if (add_given_pool(&config->layout, info->progress_pool, &wishes.progress_pool, err) != 0 ||
        add_given_pool(&config->layout, info->rpc_pool, &wishes.rpc_pool, err) != 0 ||
        mg_layout_complete(&config->layout, &wishes, err) != 0)
        return dango_error_prefix(err, "%s", path);
    bool owns_abt;
    if (mg_env_prepare(&mid->options, &owns_abt, err) != 0)
        return DANGO_ERR_INTERNAL;
    mg_layout_warn(&config->layout, wishes.progress_pool, warn, mid);
    mid->env = mg_env_start(&config->layout, owns_abt, err);
    if (!mid->env)
        return dango_error_prefix(err, "%s.argobots", path);
    atomic_store(&mid->progress_pool, wishes.progress_pool);
    mid->rpc_pool = wishes.rpc_pool;
    return 0;
}

/* A pool of the shared environment: by the program's handle, by the document, or __primary__. */
static struct mg_pool *shared_pool(struct mg_env *env, ABT_pool handle, struct json_object *reference, const char *path,
                                   const char *field, struct dango_error *err)
{
    if (handle != ABT_POOL_NULL) {
        struct mg_pool *found = mg_env_find_handle(env, handle);
        if (!found)
            mg_env_add_external_pool(env, NULL, handle, false, &found, err);
        return found;
    }
    char place[256];
    snprintf(place, sizeof place, "%s.%s", path, field);
    mg_env_lock(env);
    struct mg_pool *pool = reference ? mg_layout_resolve_pool(&env->layout, reference, place, err)
                                     : mg_layout_find_pool(&env->layout, MG_PRIMARY);
    mg_env_unlock(env);
    return pool;
}

static int share_environment(margo_instance_id mid, const struct margo_init_info *info, const char *path,
                             struct dango_error *err)
{
    struct mg_env *env = info->parent_mid->env;
    margo_instance_ref_incr(info->parent_mid);
    mid->parent = info->parent_mid;
    mg_env_retain(env);
    mid->env = env;
    const struct mg_options *o = &mid->options;
    atomic_store(&mid->progress_pool,
                 shared_pool(env, info->progress_pool, o->progress_pool, path, "progress_pool", err));
    mid->rpc_pool = shared_pool(env, info->rpc_pool, o->rpc_pool, path, "rpc_pool", err);
    return atomic_load(&mid->progress_pool) && mid->rpc_pool ? 0 : DANGO_ERR_NOT_FOUND;
}

static void pin_pools(margo_instance_id mid)
{
    mg_env_lock(mid->env);
    atomic_load(&mid->progress_pool)->pins++;
    mid->rpc_pool->pins++;
    mg_env_unlock(mid->env);
}

static void unpin_pools(margo_instance_id mid)
{
    mg_env_lock(mid->env);
    atomic_load(&mid->progress_pool)->pins--;
    mid->rpc_pool->pins--;
    mg_env_unlock(mid->env);
}

/* ---- start ---- */

static int start(margo_instance_id mid, const char *address, int mode, const struct margo_init_info *info,
                 struct json_object *config, const char *path, struct dango_error *err)
{
    struct mg_config parsed = {0};
    int status = mg_config_parse(config, path, info->parent_mid != NULL, &parsed, err);
    if (status != 0)
        return status;
    mid->options = parsed.options;
    parsed.options = (struct mg_options){0};
    atomic_store(&mid->progress_timeout_ms, mid->options.progress_timeout_ub_msec);
    atomic_store(&mid->spindown_ms, mid->options.progress_spindown_msec);
    status = start_network(mid, address, mode, info, config, err);
    if (status == 0)
        status = describe_network(mid, err);
    if (status == 0)
        status = info->parent_mid ? share_environment(mid, info, path, err)
                                  : start_environment(mid, info, &parsed, path, err);
    mg_config_release(&parsed);
    if (status != 0)
        return status;
    pin_pools(mid);
    status = mg_builtin_register(mid, err);
    if (status == 0)
        status = mg_progress_start(mid, err);
    if (status != 0) {
        mg_rpc_deregister_all(mid);
        unpin_pools(mid);
    }
    return status;
}

static margo_instance_id new_instance(const struct margo_init_info *info)
{
    margo_instance_id mid = calloc(1, sizeof *mid);
    if (!mid)
        return MARGO_INSTANCE_NULL;
    mg_logger_init(&mid->logger, info->logger);
    list_init(&mid->prefinalize);
    list_init(&mid->finalize);
    list_init(&mid->retired);
    list_init(&mid->rpcs);
    list_init(&mid->timers);
    mid->refs = 1;
    return mid;
}

void mg_close_context(margo_instance_id mid)
{
    dango_abt_idle_forget(dango_hg_get_wait_fd(mid->hg_context));
    if (mid->owns_context)
        HG_Context_destroy(mid->hg_context);
    mid->owns_context = false;
}

/* Releases what an instance holds, in whatever state its start has left it, but for its memory. */
static void release(margo_instance_id mid)
{
    if (mid->owns_context && mid->hg_context)
        mg_close_context(mid);
    if (mid->env)
        mg_env_release(mid->env);
    mid->env = NULL;
    HG_Destroy(mid->keeper);
    if (mid->owns_class && HG_Finalize(mid->hg_class) != HG_SUCCESS)
        margo_warning(mid, "addresses or handles are still in use: the network could not be closed");
    if (mid->parent)
        margo_instance_release(mid->parent);
    dango_options_release(dango_margo_options, &mid->options);
}

void mg_instance_end(margo_instance_id mid)
{
    assert(list_empty(&mid->prefinalize) && atomic_load(&mid->stopped));
    mg_timer_end_all(mid);
    mg_rpc_deregister_all(mid);
    unpin_pools(mid);
    release(mid);
}

margo_instance_id dango_margo_init_json(const char *address, int mode, const struct margo_init_info *info,
                                        struct json_object *config, const char *path, struct dango_error *err)
{
    static const struct margo_init_info defaults;
    assert(path);
    info = info ? info : &defaults;
    dango_error_clear(err);
    if (info->monitor) {
        dango_error_set(err, DANGO_ERR_UNSUPPORTED, "%s: this build has no hooks for monitors", path);
        return MARGO_INSTANCE_NULL;
    }
    if (info->hg_context && !info->hg_class) {
        dango_error_set(err, DANGO_ERR_INVALID, "%s: a context was given without its class", path);
        return MARGO_INSTANCE_NULL;
    }
    mg_reap();
    margo_instance_id mid = new_instance(info);
    if (!mid) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "%s: out of memory", path);
        return MARGO_INSTANCE_NULL;
    }
    if (start(mid, address, mode, info, config, path, err) != 0) {
        release(mid);
        free(mid);
        return MARGO_INSTANCE_NULL;
    }
    return mid;
}

margo_instance_id dango_margo_init(const char *address, int mode, const struct margo_init_info *info,
                                   struct dango_error *err)
{
    const char *text = info && info->json_config ? info->json_config : "{}";
    if (!*text)
        text = "{}";
    struct json_object *config = dango_json_parse(text, strlen(text), err);
    if (!config) {
        dango_error_prefix(err, "margo");
        return MARGO_INSTANCE_NULL;
    }
    margo_instance_id mid = dango_margo_init_json(address, mode, info, config, "margo", err);
    json_object_put(config);
    return mid;
}

margo_instance_id margo_init_ext(const char *addr_str, int mode, const struct margo_init_info *args)
{
    struct dango_error err;
    margo_instance_id mid = dango_margo_init(addr_str, mode, args, &err);
    if (!mid)
        margo_error(MARGO_INSTANCE_NULL, "%s", err.text);
    return mid;
}

margo_instance_id margo_init(const char *addr_str, int mode, int use_progress_thread, int rpc_thread_count)
{
    char config[128];
    snprintf(config, sizeof config, "{\"use_progress_thread\":%s,\"rpc_thread_count\":%d}",
             use_progress_thread ? "true" : "false", rpc_thread_count);
    struct margo_init_info info = MARGO_INIT_INFO_INITIALIZER;
    info.json_config = config;
    return margo_init_ext(addr_str, mode, &info);
}
