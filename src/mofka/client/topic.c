/*
 * Topics: creation, opening, listing.
 *
 * Creating a topic starts one provider per partition, on the servers in turn, and registers them. It is all or nothing
 * for the user: when a step fails, the providers that were started are removed again and the registry is cleaned, and
 * the error says what failed and, if that happened, what could not be undone.
 */
#include "mofka/client/driver.h"
#include "mofka/client/options.h"
#include "mofka/partition/types.h"
#include "mofka/registry/master.h"
#include "util/json.h"

#include <uuid/uuid.h>

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- creation ---- */

struct creation {
    struct mofka_driver *driver;
    const char *name;
    struct mofka_topic_options options;
    struct json_object *server_names; /* by address */
    size_t started;
    struct created {
        size_t server;
        char provider[BEDROCK_NAME_MAX + 1];
    } * partitions;
};

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
        if (code != 0)
            return code;
        if (name && asprintf(locator, "%s@%s", name, bedrock_service_address(server)) < 0)
            *locator = NULL;
        free(name);
    }
    return 0;
}

static int add_implied(const struct creation *creation, struct json_object *dependencies,
                       struct bedrock_service *server, const struct implied *wanted, struct dango_error *err)
{
    char *name;
    int code = find_provider(server, wanted, &name, err);
    if (code == 0 && !name && wanted->elsewhere)
        code = find_elsewhere(creation->driver->group, wanted, &name, err);
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

/* The first name of each dependency that the type uses; NULL on failure. The master database is not one of them here: its
 * address is another one after a restart. */
static struct json_object *make_dependencies(const struct creation *creation, struct bedrock_service *server,
                                             struct dango_error *err)
{
    struct json_object *result = json_object_new_object();
    const struct mofka_partition_type *type = dango_mofka_partition_type(creation->options.config.type, NULL);
    assert(type); /* the options were checked */
    json_object_object_foreach (creation->options.dependencies, name, value) {
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

/* Takes over `dependencies`. */
static struct json_object *describe(const struct creation *creation, const char *provider, const char *uuid,
                                    struct json_object *dependencies)
{
    struct json_object *description = json_object_new_object(), *config = json_object_new_object();
    struct json_object *tags = json_object_new_array();
    json_object_array_add(tags, json_object_new_string("mofka:partition"));
    json_object_object_add(config, "topic", json_object_new_string(creation->name));
    json_object_object_add(config, "type", json_object_new_string(creation->options.config.type));
    json_object_object_add(config, "uuid", json_object_new_string(uuid));
    json_object_object_add(config, "partition", json_object_get(creation->options.config.partition));
    json_object_object_add(description, "name", json_object_new_string(provider));
    json_object_object_add(description, "type", json_object_new_string("mofka"));
    json_object_object_add(description, "tags", tags);
    json_object_object_add(description, "config", config);
    json_object_object_add(description, "dependencies", dependencies);
    return description;
}

/* `description` is what the server starts the partition with after a restart. */
static int record_partition(struct creation *creation, const char *address, uint16_t provider_id, const char *uuid,
                            struct json_object *description, struct dango_error *err)
{
    struct json_object *partition = json_object_new_object();
    const char *server = dango_json_get_string(creation->server_names, address);
    json_object_object_add(partition, "address", json_object_new_string(address));
    json_object_object_add(partition, "provider_id", json_object_new_int(provider_id));
    json_object_object_add(partition, "uuid", json_object_new_string(uuid));
    if (server)
        json_object_object_add(partition, "server", json_object_new_string(server));
    json_object_object_add(partition, "provider", json_object_get(description));
    int code = dango_mofka_registry_add_partition(creation->driver->registry, creation->name, partition, err);
    json_object_put(partition);
    return code;
}

static int start_partition(const struct creation *creation, struct bedrock_service *server,
                           struct json_object *description, uint16_t *provider_id, struct dango_error *err)
{
    struct json_object *complete = dango_json_copy(description);
    json_object_object_add(dango_json_get(complete, "dependencies"), "master_database",
                           json_object_new_string(dango_mofka_registry_locator(creation->driver->registry)));
    int code = bedrock_service_start_provider(server, json_object_to_json_string_ext(complete, JSON_C_TO_STRING_PLAIN),
                                              provider_id, err);
    json_object_put(complete);
    return code;
}

/*
 * "<topic>_partition_<8 digits>": providers have identifiers as names, topics may be called nearly anything, so what an
 * identifier cannot hold becomes "_" and long names are cut. The digits of the UUID keep apart what looks the same then.
 */
static void name_provider(const char *topic, const char *uuid, char name[BEDROCK_NAME_MAX + 1])
{
    snprintf(name, BEDROCK_NAME_MAX + 1, "%s%.*s_partition_%.8s", isdigit((unsigned char)*topic) ? "_" : "",
             BEDROCK_NAME_MAX - 32, topic, uuid);
    for (char *c = name; *c; c++) {
        if (*c != '_' && !(isascii((unsigned char)*c) && isalnum((unsigned char)*c)))
            *c = '_';
    }
}

static int create_partition(struct creation *creation, size_t i, struct dango_error *err)
{
    struct bedrock_group *group = creation->driver->group;
    struct created *created = &creation->partitions[i];
    created->server = i % bedrock_group_size(group);
    struct bedrock_service *server = bedrock_group_service(group, created->server);
    char uuid[UUID_STR_LEN];
    uuid_t random;
    uuid_generate(random);
    uuid_unparse_lower(random, uuid);
    if (creation->options.config.uuid)
        snprintf(uuid, sizeof uuid, "%s", creation->options.config.uuid);
    name_provider(creation->name, uuid, created->provider);
    struct json_object *dependencies = make_dependencies(creation, server, err);
    if (!dependencies)
        return err->code;
    struct json_object *description = describe(creation, created->provider, uuid, dependencies);
    uint16_t provider_id;
    int code = start_partition(creation, server, description, &provider_id, err);
    if (code == 0) {
        creation->started = i + 1;
        code = record_partition(creation, bedrock_service_address(server), provider_id, uuid, description, err);
    }
    json_object_put(description);
    return code;
}

/* What the servers are called: partitions belong to names, since addresses change. */
static int load_server_names(struct creation *creation, struct dango_error *err)
{
    char *text;
    int code = bedrock_group_query(creation->driver->group, "$__config__.bedrock.name", &text, err);
    if (code != 0)
        return code;
    creation->server_names = dango_json_parse(text, strlen(text), err);
    free(text);
    return creation->server_names ? 0 : dango_error_prefix(err, "names of the servers");
}

/* Undoes a creation that failed with `err`, and adds to it what could not be undone. */
static void roll_back(struct creation *creation, struct dango_error *err)
{
    struct dango_error problem;
    size_t left = 0;
    for (size_t i = 0; i < creation->started; i++) {
        const struct created *created = &creation->partitions[i];
        struct bedrock_service *server = bedrock_group_service(creation->driver->group, created->server);
        if (bedrock_service_remove_provider(server, created->provider, &problem) != 0)
            left++;
    }
    if (dango_mofka_registry_drop(creation->driver->registry, creation->name, &problem) != 0)
        dango_error_prefix(err, "the registry keeps traces of it (%s)", problem.text);
    if (left > 0)
        dango_error_prefix(err, "%zu of its partitions could not be removed", left);
}

static int create(struct creation *creation, const struct diaspora_topic_description *description,
                  struct dango_error *err)
{
    struct mofka_registry *registry = creation->driver->registry;
    size_t count = (size_t)creation->options.num_partitions;
    int code = load_server_names(creation, err);
    if (code == 0)
        code = dango_mofka_registry_begin(registry, creation->name, err);
    if (code != 0)
        return code;
    creation->partitions = calloc(count, sizeof *creation->partitions);
    if (!creation->partitions)
        code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < count && code == 0; i++) {
        code = create_partition(creation, i, err);
        if (code != 0)
            code = dango_error_prefix(err, "partition %zu", i);
    }
    if (code == 0)
        code = dango_mofka_registry_publish(registry, creation->name, description, err);
    if (code != 0) {
        roll_back(creation, err);
        code = dango_error_prefix(err, "topic \"%s\" was not created", creation->name);
    }
    free(creation->partitions);
    return code;
}

int mofka_topic_create(void *driver, const char *name, struct json_object *options,
                       const struct diaspora_topic_description *description, struct dango_error *err)
{
    struct dango_error mine;
    if (!err) /* prefixes need a text to stand before */
        err = &mine;
    struct creation creation = {.driver = driver, .name = name};
    int code = dango_mofka_check_topic_name(name, err);
    if (code == 0)
        code = dango_mofka_topic_options_parse(options, &creation.options, err);
    if (code != 0)
        return code;
    code = create(&creation, description, err);
    json_object_put(creation.server_names);
    dango_options_release(dango_mofka_topic_options, &creation.options);
    return code;
}

/* ---- looking ---- */

int mofka_topic_exists(void *driver, const char *name, bool *exists, struct dango_error *err)
{
    struct mofka_driver *self = driver;
    *exists = false;
    if (dango_mofka_check_topic_name(name, NULL) != 0)
        return 0; /* a topic of such a name cannot be */
    return dango_mofka_registry_exists(self->registry, name, exists, err);
}

int mofka_topic_list(void *driver, struct json_object **list, struct dango_error *err)
{
    struct mofka_driver *self = driver;
    return dango_mofka_registry_list(self->registry, list, err);
}

/* ---- opening ---- */

static int open_partition(struct mofka_topic *topic, struct json_object *info, struct dango_error *err)
{
    struct mofka_topic_partition *partition = &topic->partitions[topic->partition_count];
    const char *address = dango_json_get_string(info, "address");
    const char *uuid = dango_json_get_string(info, "uuid");
    const char *problem = dango_json_get_string(info, "error");
    struct json_object *id = dango_json_get(info, "provider_id");
    int64_t provider_id = json_object_is_type(id, json_type_int) ? json_object_get_int64(id) : -1;
    if (!address || !uuid || uuid_parse(uuid, partition->uuid) != 0 || provider_id < 0 || provider_id > UINT16_MAX)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "the master database has no sound record of it");
    json_object_object_del(info, "provider"); /* its server's business */
    topic->partition_count++;
    if (!problem)
        return mofka_target_init(&partition->target, topic->driver->engine, address, (uint16_t)provider_id, err);
    partition->problem = strdup(problem);
    return partition->problem ? 0 : dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
}

static int open_partitions(struct mofka_topic *topic, struct json_object *partitions, struct dango_error *err)
{
    size_t count = json_object_array_length(partitions);
    topic->partitions = calloc(count + 1, sizeof *topic->partitions);
    if (!topic->partitions)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < count; i++)
        if (open_partition(topic, json_object_array_get_idx(partitions, i), err) != 0)
            return dango_error_prefix(err, "partition %zu", i);
    return 0;
}

int mofka_topic_open(void *driver, const char *name, void **topic, struct diaspora_topic_description *description,
                     struct dango_error *err)
{
    struct mofka_driver *self = driver;
    struct dango_error mine;
    if (!err)
        err = &mine;
    if (dango_mofka_check_topic_name(name, NULL) != 0)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "there is no topic \"%s\"", name);
    struct mofka_topic *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    new->driver = self;
    new->name = strdup(name);
    if (!new->name) {
        mofka_topic_close(new);
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    }
    int code = dango_mofka_registry_load(self->registry, name, description, err);
    if (code == 0) {
        code = open_partitions(new, description->partitions, err);
        if (code != 0) {
            dango_error_prefix(err, "topic \"%s\"", name);
            dango_mofka_registry_release(description);
        }
    }
    if (code != 0) {
        mofka_topic_close(new);
        return code;
    }
    *topic = new;
    return 0;
}

void mofka_topic_close(void *topic)
{
    struct mofka_topic *self = topic;
    for (size_t i = 0; i < self->partition_count; i++) {
        mofka_target_fini(&self->partitions[i].target);
        free(self->partitions[i].problem);
    }
    free(self->partitions);
    free(self->name);
    free(self);
}

int mofka_topic_partition(struct mofka_topic *topic, size_t i, struct mofka_topic_partition **partition,
                          struct dango_error *err)
{
    if (i >= topic->partition_count)
        return dango_error_set(err, DANGO_ERR_RANGE, "there is no partition %zu (the topic has %zu)", i,
                               topic->partition_count);
    if (topic->partitions[i].problem)
        return dango_error_set(err, DANGO_ERR_IO, "partition %zu is not served: %s", i, topic->partitions[i].problem);
    *partition = &topic->partitions[i];
    return 0;
}
