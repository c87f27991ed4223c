/*
 * Bedrock module for Flock: providers of type "flock". Everything is in libdango; this file connects, and remembers how
 * the group was formed, so that the effective configuration can be used again.
 */
#include "flock/provider/flock.h"

#include "util/json.h"

#include <bedrock/module.h>

#include <stdlib.h>

struct component {
    flock_provider_t provider;
    struct json_object *bootstrap; /* as configured */
    struct json_object *view;      /* as configured; NULL: none */
    struct json_object *mpi_ranks; /* as configured; NULL: none */
};

static const struct bedrock_dependency_decl dependencies[] = {
    {"pool", BEDROCK_TYPE_POOL, 0, "where requests are served; by default the RPC pool of the engine"},
    BEDROCK_DEPENDENCIES_END,
};

static const struct bedrock_option_page pages[] = {
    {"Group centralized (group.config)", dango_flock_centralized_options},
    {"Group swim (group.config)", dango_flock_swim_options},
    {NULL, NULL},
};

static int check(const struct bedrock_args *args, struct dango_error *err)
{
    return dango_flock_check(bedrock_args_config(args), "config", err);
}

static int create(const struct bedrock_args *args, void **result, struct dango_error *err)
{
    struct json_object *config = bedrock_args_config(args);
    struct component *component = calloc(1, sizeof *component);
    if (!component)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = dango_flock_bootstrap(bedrock_args_instance(args), bedrock_args_provider_id(args), config, "config",
                                       bedrock_args_pool(args, "pool"), &component->provider, err);
    if (status != 0) {
        free(component);
        return status;
    }
    component->bootstrap = dango_json_copy(dango_json_get(config, "bootstrap"));
    component->view = dango_json_copy(dango_json_get(config, "view"));
    component->mpi_ranks = dango_json_copy(dango_json_get(config, "mpi_ranks"));
    *result = component;
    return 0;
}

/* Clients wait for the group file to appear: it is written when all providers of the process are there. */
static int ready(void *component, struct dango_error *err)
{
    return dango_flock_publish(((struct component *)component)->provider, err);
}

static void destroy(void *arg)
{
    struct component *component = arg;
    flock_provider_destroy(component->provider);
    json_object_put(component->bootstrap);
    json_object_put(component->view);
    json_object_put(component->mpi_ranks);
    free(component);
}

static struct json_object *get_config(void *arg)
{
    struct component *component = arg;
    struct json_object *json = dango_flock_config(component->provider);
    json_object_object_add(json, "bootstrap", json_object_get(component->bootstrap));
    if (component->view)
        json_object_object_add(json, "view", json_object_get(component->view));
    if (component->mpi_ranks)
        json_object_object_add(json, "mpi_ranks", json_object_get(component->mpi_ranks));
    return json;
}

static void *get_handle(void *component)
{
    return ((struct component *)component)->provider;
}

static const struct bedrock_module flock_module = {
    BEDROCK_MODULE_HEADER("flock"),
    .summary = "group membership",
    .options = dango_flock_options,
    .settings_size = sizeof(struct dango_flock_settings),
    .pages = pages,
    .dependencies = dependencies,
    .check = check,
    .create = create,
    .destroy = destroy,
    .ready = ready,
    .get_config = get_config,
    .get_handle = get_handle,
};
BEDROCK_MODULES(&flock_module)
