/*
 * Bedrock module for Yokan: providers of type "yokan". Everything is in libdango; this file only connects.
 */
#include "yokan/provider/yokan.h"

#include <bedrock/module.h>

static const struct bedrock_dependency_decl dependencies[] = {
    {"pool", BEDROCK_TYPE_POOL, 0, "where requests are served; by default the RPC pool of the engine"},
    BEDROCK_DEPENDENCIES_END,
};

static int check(const struct bedrock_args *args, struct dango_error *err)
{
    return dango_yokan_check(bedrock_args_config(args), "config", err);
}

static int create(const struct bedrock_args *args, void **component, struct dango_error *err)
{
    struct yk_provider_args provider_args = YOKAN_PROVIDER_ARGS_INIT;
    provider_args.pool = bedrock_args_pool(args, "pool");
    yk_provider_t provider;
    yk_return_t ret = dango_yokan_register(bedrock_args_instance(args), bedrock_args_provider_id(args),
                                           bedrock_args_config(args), "config", &provider_args, &provider, err);
    if (ret != YOKAN_SUCCESS)
        return err->code;
    *component = provider;
    return 0;
}

static void destroy(void *component)
{
    yk_provider_destroy(component);
}

static struct json_object *get_config(void *component)
{
    return dango_yokan_config(component);
}

static const struct bedrock_module yokan_module = {
    BEDROCK_MODULE_HEADER("yokan"),
    .summary = "key/value and document store",
    .options = dango_yokan_options,
    .settings_size = sizeof(struct dango_yokan_settings),
    .dependencies = dependencies,
    .check = check,
    .create = create,
    .destroy = destroy,
    .get_config = get_config,
};
BEDROCK_MODULES(&yokan_module)
