/*
 * The Bedrock module: provider type "mofka" is one partition of one topic.
 *
 * Clients start such providers at run time when they create a topic; a configuration file may name them as well. The
 * type of the partition decides what "partition" may contain and what the provider depends on. Those that clients have
 * started are started again by the module itself when the server comes back: host.h.
 */
#include "mofka/partition/legacy_store.h"
#include "mofka/partition/options.h"
#include "mofka/partition/types.h"
#include "mofka/server/host.h"
#include "mofka/server/provider.h"

#include <bedrock/module.h>
#include <json-c/json.h>
#include <uuid/uuid.h>

#include <stdlib.h>
#include <string.h>

struct settings {
    char *topic;
    char *type;
    char *uuid;
    bool must_exist;
    struct json_object *partition;
    struct json_object *origin;
};

struct component {
    struct settings settings;
    struct mofka_provider *provider;
};

static const struct dango_option options[] = {
    DANGO_OPTION_STRING_REQUIRED("topic", struct settings, topic, "name of the topic"),
    DANGO_OPTION_STRING_REQUIRED("type", struct settings, type, "type of the partition: memory, default or legacy"),
    DANGO_OPTION_STRING_REQUIRED("uuid", struct settings, uuid, "identity of the partition, 8-4-4-4-12 hex digits"),
    DANGO_OPTION_BOOL("must_exist", struct settings, must_exist, false,
                      "refuse to start when the partition's files are not there, instead of making new ones"),
    DANGO_OPTION_JSON("partition", struct settings, partition, DANGO_JSON_OBJECT, "{}", "options of the type"),
    DANGO_OPTION_JSON("origin", struct settings, origin, DANGO_JSON_OBJECT, NULL,
                      "place of the partition in its topic, and the topic's objects: kept with new files, for "
                      "\"diaspora-ctl topic import\""),
    DANGO_OPTION_END,
};

#define COMMON_DEPENDENCIES                                                                                            \
    {"pool", BEDROCK_TYPE_POOL, 0, "where requests that wait or move much are served; by default the RPC pool"},       \
    {                                                                                                                  \
        "master_database", "yokan", BEDROCK_REQUIRED, "where the topic is registered"                                  \
    }

static const struct bedrock_dependency_decl memory_dependencies[] = {
    COMMON_DEPENDENCIES,
    BEDROCK_DEPENDENCIES_END,
};

static const struct bedrock_dependency_decl default_dependencies[] = {
    COMMON_DEPENDENCIES,
    {"io_controller", "abt_io", BEDROCK_REQUIRED, "type default: how the partition's files are written"},
    BEDROCK_DEPENDENCIES_END,
};

static const struct bedrock_dependency_decl legacy_dependencies[] = {
    COMMON_DEPENDENCIES,
    {"metadata", "yokan", BEDROCK_REQUIRED, "type legacy: where metadata are kept"},
    {"data", "warabi", BEDROCK_REQUIRED, "type legacy: where data are kept"},
    BEDROCK_DEPENDENCIES_END,
};

static bool is_stored(const char *type)
{
    return strcmp(type, "default") == 0;
}

static bool is_legacy(const char *type)
{
    return strcmp(type, "legacy") == 0;
}

static const struct bedrock_dependency_decl *module_choose_dependencies(const struct bedrock_args *args,
                                                                        struct dango_error *err)
{
    struct json_object *json;
    (void)err; /* the check of the options says what is wrong with the type */
    bool found = json_object_object_get_ex(bedrock_args_config(args), "type", &json);
    const char *type = found && json_object_is_type(json, json_type_string) ? json_object_get_string(json) : "";
    if (is_stored(type))
        return default_dependencies;
    return is_legacy(type) ? legacy_dependencies : memory_dependencies;
}

static int check_settings(struct settings *settings, uuid_t uuid, struct dango_error *err)
{
    int code = dango_mofka_check_topic_name(settings->topic, err);
    if (code != 0)
        return dango_error_prefix(err, "config.topic");
    const struct mofka_partition_type *type = dango_mofka_partition_type(settings->type, err);
    if (!type)
        return dango_error_prefix(err, "config.type");
    if (uuid_parse(settings->uuid, uuid) != 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "config.uuid: \"%s\" is not a UUID (8-4-4-4-12 hex digits)",
                               settings->uuid);
    return dango_mofka_partition_type_check(type, &settings->partition, "config.partition", err);
}

static int parse(const struct bedrock_args *args, struct settings *settings, uuid_t uuid, struct dango_error *err)
{
    int code = dango_options_parse(options, bedrock_args_config(args), "config", settings, err);
    if (code != 0)
        return code;
    code = check_settings(settings, uuid, err);
    if (code != 0)
        dango_options_release(options, settings);
    return code;
}

static int module_check(const struct bedrock_args *args, struct dango_error *err)
{
    struct settings settings = {0};
    uuid_t uuid;
    int code = parse(args, &settings, uuid, err);
    if (code == 0)
        dango_options_release(options, &settings);
    return code;
}

static int create_legacy_provider(struct component *self, const struct bedrock_args *args,
                                  struct mofka_provider_settings *settings, struct dango_error *err)
{
    const struct bedrock_dependency *metadata = bedrock_args_dependency(args, "metadata", 0);
    const struct bedrock_dependency *data = bedrock_args_dependency(args, "data", 0);
    struct mofka_legacy_settings legacy = {
        .mid = settings->mid,
        .topic = self->settings.topic,
        .metadata = {metadata->address, metadata->provider_id},
        .data = {data->address, data->provider_id},
    };
    memcpy(legacy.uuid, settings->uuid, sizeof legacy.uuid);
    settings->legacy = &legacy;
    int code = mofka_provider_create(settings, &self->provider, err);
    settings->legacy = NULL;
    return code;
}

/* Creates the provider of a component whose settings are parsed. */
static int create_provider(struct component *self, const struct bedrock_args *args,
                           struct mofka_provider_settings *settings, struct dango_error *err)
{
    struct mofka_default_options stored = {0};
    if (is_legacy(self->settings.type))
        return create_legacy_provider(self, args, settings, err);
    if (!is_stored(self->settings.type))
        return mofka_provider_create(settings, &self->provider, err);
    int code =
        dango_options_parse(dango_mofka_default_options, self->settings.partition, "config.partition", &stored, err);
    if (code != 0)
        return code;
    settings->topic = self->settings.topic;
    settings->stored = &stored;
    settings->origin = self->settings.origin;
    settings->must_exist = self->settings.must_exist;
    settings->io_controller = bedrock_args_dependency(args, "io_controller", 0)->component;
    code = mofka_provider_create(settings, &self->provider, err);
    settings->stored = NULL;
    dango_options_release(dango_mofka_default_options, &stored);
    return code;
}

static int module_create(const struct bedrock_args *args, void **component, struct dango_error *err)
{
    struct component *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    struct mofka_provider_settings settings = {
        .mid = bedrock_args_instance(args),
        .provider_id = bedrock_args_provider_id(args),
        .pool = bedrock_args_pool(args, "pool"),
    };
    int code = parse(args, &new->settings, settings.uuid, err);
    if (code == 0) {
        code = create_provider(new, args, &settings, err);
        if (code != 0)
            dango_options_release(options, &new->settings);
    }
    if (code != 0) {
        free(new);
        return code;
    }
    *component = new;
    return 0;
}

static void module_destroy(void *component)
{
    struct component *self = component;
    mofka_provider_destroy(self->provider);
    dango_options_release(options, &self->settings);
    free(self);
}

static struct json_object *module_get_config(void *component)
{
    struct component *self = component;
    struct json_object *config = dango_options_dump(options, &self->settings);
    if (!self->settings.must_exist) /* users of the original know the other fields, and expect no more */
        json_object_object_del(config, "must_exist");
    if (!self->settings.origin)
        json_object_object_del(config, "origin");
    return config;
}

static const struct bedrock_option_page pages[] = {
    {"partition, for type default", dango_mofka_default_options},
    {NULL, NULL},
};

static const struct bedrock_module module = {
    BEDROCK_MODULE_HEADER("mofka"),
    .summary = "one partition of a topic",
    .options = options,
    .settings_size = sizeof(struct settings),
    .pages = pages,
    .dependencies = default_dependencies,
    .choose_dependencies = module_choose_dependencies,
    .check = module_check,
    .create = module_create,
    .destroy = module_destroy,
    .get_config = module_get_config,
    .attach = mofka_host_attach,
    .detach = mofka_host_detach,
};

BEDROCK_MODULES(&module)
