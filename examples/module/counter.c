/*
 * A minimal Bedrock module: providers of type "counter" give out consecutive numbers.
 *
 *     {"libraries": ["libcounter-bedrock-module.so"],
 *      "providers": [{"name": "tickets", "type": "counter", "provider_id": 7, "config": {"start": 100}}]}
 *
 * RPC "counter_next", no input, output uint64. The build is in the Makefile beside this file; bedrock/module.h explains
 * every callback.
 */
#include <bedrock/module.h>

#include <stdatomic.h>
#include <stdlib.h>

struct counter_settings {
    int64_t start;
};

struct counter {
    struct counter_settings settings;
    margo_instance_id mid;
    hg_id_t rpc;
    atomic_uint_fast64_t next; /* handlers may run on several execution streams */
};

static const struct dango_option counter_options[] = {
    DANGO_OPTION_INT("start", struct counter_settings, start, 0, 0, INT64_MAX, "first number given out"),
    DANGO_OPTION_END,
};

static const struct bedrock_dependency_decl counter_dependencies[] = {
    {"pool", BEDROCK_TYPE_POOL, 0, "pool of the handlers; by default the RPC pool"},
    BEDROCK_DEPENDENCIES_END,
};

static void counter_next(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct counter *counter = margo_registered_data(mid, margo_get_info(handle)->id);
    uint64_t number = atomic_fetch_add(&counter->next, 1);
    margo_respond(handle, &number);
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(counter_next)

    static int counter_create(const struct bedrock_args *args, void **component, struct dango_error *err)
{
    struct counter *counter = calloc(1, sizeof *counter);
    if (!counter)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    if (dango_options_parse(counter_options, bedrock_args_config(args), "config", &counter->settings, err) < 0) {
        free(counter);
        return err->code;
    }
    counter->mid = bedrock_args_instance(args);
    atomic_init(&counter->next, (uint64_t)counter->settings.start);
    counter->rpc = MARGO_REGISTER_PROVIDER(counter->mid, "counter_next", void, uint64_t, counter_next,
                                           bedrock_args_provider_id(args), bedrock_args_pool(args, "pool"));
    margo_register_data(counter->mid, counter->rpc, counter, NULL);
    *component = counter;
    return 0;
}

static void counter_destroy(void *component)
{
    struct counter *counter = component;
    margo_deregister(counter->mid, counter->rpc);
    dango_options_release(counter_options, &counter->settings);
    free(counter);
}

static struct json_object *counter_get_config(void *component)
{
    struct counter *counter = component;
    return dango_options_dump(counter_options, &counter->settings);
}

static const struct bedrock_module counter_module = {
    BEDROCK_MODULE_HEADER("counter"),     .summary = "Gives out consecutive numbers.",
    .options = counter_options,           .settings_size = sizeof(struct counter_settings),
    .dependencies = counter_dependencies, .create = counter_create,
    .destroy = counter_destroy,           .get_config = counter_get_config,
};

BEDROCK_MODULES(&counter_module)
