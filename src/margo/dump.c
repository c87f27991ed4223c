/*
 * The effective configuration, as text and as JSON objects: the settings by their tables, with pools and execution
 * streams as they are now. The shortcuts are left out: their result is there.
 */
#include "margo/dango_margo.h"
#include "margo/instance.h"

#include "util/json.h"

#include <string.h>

static struct json_object *dump_pools(const struct mg_layout *layout, bool hide_external)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; i < layout->num_pools; i++) {
        if (!hide_external || layout->pools[i]->kind != MG_POOL_EXTERNAL)
            json_object_array_add(array, mg_pool_dump(layout->pools[i]));
    }
    return array;
}

static struct json_object *dump_xstreams(const struct mg_layout *layout, bool by_name, bool hide_external)
{
    struct json_object *array = json_object_new_array();
    for (size_t i = 0; i < layout->num_xstreams; i++) {
        if (!hide_external || layout->xstreams[i]->sched != MG_SCHED_EXTERNAL)
            json_object_array_add(array, mg_xstream_dump(layout, layout->xstreams[i], by_name));
    }
    return array;
}

static struct json_object *dump(margo_instance_id mid, bool by_name, bool hide_external)
{
    struct json_object *json = dango_options_dump(dango_margo_options, &mid->options);
    static const char *const not_shown[] = {"use_progress_thread", "rpc_thread_count", "monitoring"};
    for (size_t i = 0; i < sizeof not_shown / sizeof *not_shown; i++)
        json_object_object_del(json, not_shown[i]);
    json_object_object_add(json, "progress_timeout_ub_msec",
                           json_object_new_int64(atomic_load(&mid->progress_timeout_ms)));
    json_object_object_add(json, "progress_spindown_msec", json_object_new_int64(atomic_load(&mid->spindown_ms)));
    struct json_object *argobots = dango_json_get(json, "argobots");
    mg_env_lock(mid->env);
    const struct mg_layout *layout = &mid->env->layout;
    json_object_object_add(argobots, "pools", dump_pools(layout, hide_external));
    json_object_object_add(argobots, "xstreams", dump_xstreams(layout, by_name, hide_external));
    json_object_object_add(json, "progress_pool",
                           mg_layout_pool_reference(layout, atomic_load(&mid->progress_pool), by_name));
    json_object_object_add(json, "rpc_pool", mg_layout_pool_reference(layout, mid->rpc_pool, by_name));
    mg_env_unlock(mid->env);
    return json;
}

struct json_object *dango_margo_config(margo_instance_id mid)
{
    return mid ? dump(mid, true, false) : NULL;
}

char *margo_get_config_opt(margo_instance_id mid, int options)
{
    if (!mid)
        return NULL;
    struct json_object *json =
        dump(mid, (options & MARGO_CONFIG_USE_NAMES) != 0, (options & MARGO_CONFIG_HIDE_EXTERNAL) != 0);
    int style = options & MARGO_CONFIG_PRETTY_JSON ? JSON_C_TO_STRING_PRETTY : JSON_C_TO_STRING_PLAIN;
    char *text = strdup(json_object_to_json_string_ext(json, style | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(json);
    return text;
}

char *margo_get_config(margo_instance_id mid)
{
    return margo_get_config_opt(mid, 0);
}
