/*
 * What a new partition depends on: what the user says, and what the servers have where the user says nothing.
 */
#include "mofka/client/creation.h"

#include "mofka/partition/types.h"
#include "mofka/registry/master.h"
#include "util/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* What a partition depends on when the user does not say: the first provider of this kind. */
static const struct implied {
    const char *dependency, *type;
    const char *tag;  /* NULL: any */
    bool elsewhere;   /* may be on another server, if the partition's has none */
    const char *help; /* what the user must add when there is none */
} implied[] = {
    {"io_controller", "abt_io", NULL, false, "provider of type abt_io"},
    {"metadata", "yokan", "mofka:metadata", true, "provider of type yokan with the tag \"mofka:metadata\""},
    {"data", "warabi", "mofka:data", true, "provider of type warabi with the tag \"mofka:data\""},
};

/* The name of the first such provider in a server's configuration: 0 and a name for the caller to free, or NULL. */
static int find_provider(struct bedrock_service *server, const struct implied *wanted, char **name,
                         struct dango_error *err)
{
    char *text;
    int code = bedrock_service_get_config(server, &text, err);
    if (code != 0)
        return code;
    struct json_object *config = dango_json_parse(text, strlen(text), err);
    struct json_object *providers = dango_json_get(config, "providers");
    *name = NULL;
    for (size_t i = 0; providers && !*name && i < json_object_array_length(providers); i++) {
        struct json_object *provider = json_object_array_get_idx(providers, i);
        const char *found = dango_json_get_string(provider, "type");
        const char *called = dango_json_get_string(provider, "name");
        if (found && called && strcmp(found, wanted->type) == 0 &&
            (!wanted->tag || dango_mofka_has_tag(provider, wanted->tag)))
            *name = strdup(called);
    }
    json_object_put(config);
    free(text);
    return 0;
}

/* "name@address" of the first such provider on any server, or NULL. */
static int find_elsewhere(struct bedrock_group *group, const struct implied *wanted, char **locator,
                          struct dango_error *err)
{
    *locator = NULL;
    for (size_t i = 0; !*locator && i < bedrock_group_size(group); i++) {
        struct bedrock_service *server = bedrock_group_service(group, i);
        char *name;
        int code = find_provider(server, wanted, &name, err);
        if (mofka_is_absence(code))
            continue; /* others live */
        if (code != 0)
            return code;
        if (name && asprintf(locator, "%s@%s", name, bedrock_service_address(server)) < 0)
            *locator = NULL;
        free(name);
    }
    return 0;
}

static int add_implied(const struct mofka_creation *creation, struct json_object *dependencies,
                       struct bedrock_service *server, const struct implied *wanted, struct dango_error *err)
{
    char *name;
    int code = find_provider(server, wanted, &name, err);
    if (code == 0 && !name && wanted->elsewhere)
        code = find_elsewhere(creation->group, wanted, &name, err);
    if (code != 0)
        return code;
    if (!name)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND,
                               "server %s has no %s, which partitions of this type need as \"%s\": add one to its "
                               "configuration",
                               bedrock_service_address(server), wanted->help, wanted->dependency);
    json_object_object_add(dependencies, wanted->dependency, json_object_new_string(name));
    free(name);
    return 0;
}

struct json_object *mofka_creation_dependencies(const struct mofka_creation *creation, struct bedrock_service *server,
                                                struct dango_error *err)
{
    struct json_object *result = json_object_new_object();
    const struct mofka_partition_type *type = dango_mofka_partition_type(creation->options->config.type, NULL);
    assert(type); /* the options were checked */
    json_object_object_foreach (creation->options->dependencies, name, value) {
        struct json_object *first =
            json_object_is_type(value, json_type_array) ? json_object_array_get_idx(value, 0) : value;
        if (first && dango_mofka_partition_type_uses(type, name, NULL) > 0)
            json_object_object_add(result, name, json_object_get(first));
    }
    for (size_t i = 0; i < sizeof implied / sizeof *implied; i++) {
        const char *needed = implied[i].dependency;
        if (dango_mofka_partition_type_uses(type, needed, NULL) > 0 && !dango_json_get(result, needed) &&
            add_implied(creation, result, server, &implied[i], err) != 0) {
            json_object_put(result);
            return NULL;
        }
    }
    return result;
}
