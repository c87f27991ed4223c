/*
 * The Bedrock module `warabi`: a Warabi provider. Its handle for other components of the process is the
 * warabi_provider_t.
 */
#include <bedrock/module.h>

#include "warabi/dango_warabi.h"
#include "warabi/provider/provider.h"

static int check(const struct bedrock_args *args, struct dango_error *err)
{
    return dango_warabi_check(bedrock_args_config(args), err) == 0 ? 0 : dango_error_prefix(err, "config");
}

static int create(const struct bedrock_args *args, void **component, struct dango_error *err)
{
    warabi_provider_t provider;
    const struct bedrock_dependency *io = bedrock_args_dependency(args, "abt_io", 0);
    int status =
        dango_warabi_create(bedrock_args_instance(args), bedrock_args_provider_id(args), bedrock_args_config(args),
                            bedrock_args_pool(args, "pool"), io ? io->component : NULL, &provider, err);
    if (status == 0)
        *component = provider;
    return status;
}

static void destroy(void *component)
{
    warabi_err_free(warabi_provider_deregister(component));
}

static struct json_object *get_config(void *component)
{
    return dango_warabi_config(component);
}

static const struct bedrock_dependency_decl dependencies[] = {
    {"pool", BEDROCK_TYPE_POOL, 0, "pool of the handlers; by default the RPC pool"},
    {"abt_io", "abt_io", 0, "what reads and writes the file of a target of type abtio; by default one of its own"},
    BEDROCK_DEPENDENCIES_END,
};

static const struct bedrock_option_page pages[] = {
    {"Target memory (target.config)", dango_warabi_memory_options},
    {"Target abtio (target.config)", dango_warabi_abtio_options},
    {NULL, NULL},
};

static const struct bedrock_module module = {
    BEDROCK_MODULE_HEADER("warabi"),
    .summary = "stores byte ranges for remote clients",
    .options = dango_warabi_options,
    .settings_size = sizeof(struct wb_provider_settings),
    .pages = pages,
    .dependencies = dependencies,
    .check = check,
    .create = create,
    .destroy = destroy,
    .get_config = get_config,
};

BEDROCK_MODULES(&module)
