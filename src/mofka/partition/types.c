/*
 * The table of partition types, and the rules for names of topics.
 */
#include "mofka/partition/types.h"

#include "mofka/partition/options.h"
#include "util/suggest.h"

#include <json-c/json.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const struct dango_option memory_options[] = {
    DANGO_OPTION_END,
};

static const struct dango_option legacy_options[] = {
    DANGO_OPTION_END,
};

static const char *const memory_dependencies[] = {"pool", NULL};
static const char *const default_dependencies[] = {"pool", "io_controller", NULL};

static const char *const legacy_dependencies[] = {"pool", "metadata", "data", NULL};

static const struct mofka_partition_type types[] = {
    /* events in the memory of the server; they end with it */
    {"memory", memory_options, 1, NULL, memory_dependencies, false},
    /* events in files, which survive the server */
    {"default", dango_mofka_default_options, sizeof(struct mofka_default_options), dango_mofka_default_options_check,
     default_dependencies, true},
    /* metadata in a Yokan database, data in a Warabi target; they survive if those do */
    {"legacy", legacy_options, 1, NULL, legacy_dependencies, false},
};

#define TYPE_COUNT (sizeof types / sizeof *types)

const struct mofka_partition_type *dango_mofka_partition_type(const char *name, struct dango_error *err)
{
    assert(name);
    const char *names[TYPE_COUNT];
    char list[256];
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
        names[i] = types[i].name;
    }
    dango_suggest_list("built in", name, names, TYPE_COUNT, list, sizeof list);
    dango_error_set(err, DANGO_ERR_INVALID, "unknown partition type \"%s\"%s", name, list);
    return NULL;
}

static bool has_option(const struct mofka_partition_type *type, const char *name)
{
    for (const struct dango_option *option = type->options; option->name; option++)
        if (strcmp(option->name, name) == 0)
            return true;
    return false;
}

/* Options of another type are what is left when the type was forgotten. */
static void explain_unknown_options(const struct mofka_partition_type *type, struct json_object *config,
                                    struct dango_error *err)
{
    if (!err || !json_object_is_type(config, json_type_object))
        return;
    json_object_object_foreach (config, name, value) {
        (void)value;
        for (size_t i = 0; i < TYPE_COUNT && !has_option(type, name); i++) {
            if (!has_option(&types[i], name))
                continue;
            const struct dango_error before = *err;
            dango_error_set(err, before.code,
                            "%s; these are partitions of type \"%s\", \"%s\" is for those of type \"%s\": is \"type\" "
                            "wrong, or missing?",
                            before.text, type->name, name, types[i].name);
            return;
        }
    }
}

int dango_mofka_partition_type_check(const struct mofka_partition_type *type, struct json_object **config,
                                     const char *path, struct dango_error *err)
{
    void *options = calloc(1, type->options_size);
    if (!options)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int code = dango_options_parse(type->options, *config, path, options, err);
    if (code != 0)
        explain_unknown_options(type, *config, err);
    if (code == 0 && type->check && (code = type->check(options, err)) != 0)
        dango_error_prefix(err, "%s", path);
    if (code == 0) {
        json_object_put(*config);
        *config = dango_options_dump(type->options, options);
    }
    dango_options_release(type->options, options);
    free(options);
    return code;
}

/* Dependencies of all types that there ever were: users may give them whatever the type. */
static const char *const known_dependencies[] = {"pool", "io_controller", "metadata", "data"};
#define KNOWN_COUNT (sizeof known_dependencies / sizeof *known_dependencies)

int dango_mofka_partition_type_uses(const struct mofka_partition_type *type, const char *dependency,
                                    struct dango_error *err)
{
    char list[256];
    for (size_t i = 0; type->dependencies[i]; i++)
        if (strcmp(type->dependencies[i], dependency) == 0)
            return 1;
    for (size_t i = 0; i < KNOWN_COUNT; i++)
        if (strcmp(known_dependencies[i], dependency) == 0)
            return 0;
    dango_suggest_list("dependencies", dependency, known_dependencies, KNOWN_COUNT, list, sizeof list);
    return dango_error_set(err, DANGO_ERR_INVALID, "partitions have no dependency \"%s\"%s", dependency, list);
}

int dango_mofka_check_topic_name(const char *name, struct dango_error *err)
{
    assert(name);
    size_t length = strlen(name);
    if (length == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "a topic needs a name");
    if (length > MOFKA_TOPIC_NAME_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "topic name of %zu bytes (at most %u)", length,
                               MOFKA_TOPIC_NAME_MAX);
    if (name[0] == '.')
        return dango_error_set(err, DANGO_ERR_INVALID, "topic name \"%s\" must not begin with '.'", name);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x20 || c == 0x7f)
            return dango_error_set(err, DANGO_ERR_INVALID, "topic name contains the control character 0x%02x", c);
        if (c == ':' || c == '/')
            return dango_error_set(err, DANGO_ERR_INVALID, "topic name \"%s\" must not contain '%c'", name, c);
    }
    return 0;
}
