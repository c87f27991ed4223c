/*
 * The Bedrock module `abt_io`: an ABT-IO instance that runs in a pool of the process. It serves no RPCs; other
 * components of the process that depend on it get the abt_io_instance_id as handle.
 */
#include <bedrock/module.h>

#include "abt-io/abtio.h"

#include <assert.h>

static int create(const struct bedrock_args *args, void **component, struct dango_error *err)
{
    const struct bedrock_dependency *pool = bedrock_args_dependency(args, "pool", 0);
    assert(pool && pool->kind == BEDROCK_KIND_POOL); /* required */
    *component = dango_abt_io_create(bedrock_args_config(args), pool->pool, err);
    return *component ? 0 : dango_error_prefix(err, "config");
}

static void destroy(void *component)
{
    abt_io_finalize(component);
}

static struct json_object *get_config(void *component)
{
    return dango_abt_io_config(component);
}

static const struct bedrock_dependency_decl dependencies[] = {
    {"pool", BEDROCK_TYPE_POOL, BEDROCK_REQUIRED, "pool in which the system calls run"},
    BEDROCK_DEPENDENCIES_END,
};

static const struct bedrock_module module = {
    BEDROCK_MODULE_HEADER("abt_io"),
    .summary = "file input and output for the other components of the process",
    .options = dango_abt_io_options,
    .settings_size = sizeof(struct abtio_settings),
    .dependencies = dependencies,
    .create = create,
    .destroy = destroy,
    .get_config = get_config,
};

BEDROCK_MODULES(&module)
