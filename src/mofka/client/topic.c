/*
 * Topics: creation, opening, listing.
 *
 * Creating a topic starts one provider per partition, on the servers in turn, and registers them. It is all or nothing
 * for the user: when a step fails, the providers that were started are removed again and the registry is cleaned, and
 * the error says what failed and, if that happened, what could not be undone. The steps are in creation.c.
 */
#include "mofka/client/creation.h"
#include "mofka/partition/types.h"
#include "util/json.h"

#include <uuid/uuid.h>

#include <stdlib.h>
#include <string.h>

/* ---- creation ---- */

/* What the files of a partition say about its place in the topic, so that the topic can be made again from them. */
static struct json_object *make_origin(const struct mofka_creation *creation, size_t server, size_t index,
                                       const struct diaspora_topic_description *description)
{
    const char *name = mofka_creation_server_name(creation, server);
    struct json_object *origin = json_object_new_object();
    json_object_object_add(origin, "index", json_object_new_uint64(index));
    json_object_object_add(origin, "count", json_object_new_int64(creation->options->num_partitions));
    if (name)
        json_object_object_add(origin, "server", json_object_new_string(name));
    json_object_object_add(origin, "validator", json_object_get(description->validator));
    json_object_object_add(origin, "partition_selector", json_object_get(description->partition_selector));
    json_object_object_add(origin, "serializer", json_object_get(description->serializer));
    return origin;
}

static int create_partition(struct mofka_creation *creation, size_t i,
                            const struct diaspora_topic_description *description, struct dango_error *err)
{
    struct mofka_new_partition partition = {.server = i % bedrock_group_size(creation->group)};
    uuid_t random;
    uuid_generate(random);
    uuid_unparse_lower(random, partition.uuid);
    if (creation->options->config.uuid)
        snprintf(partition.uuid, sizeof partition.uuid, "%s", creation->options->config.uuid);
    if (dango_mofka_partition_type(creation->options->config.type, NULL)->directory)
        partition.origin = make_origin(creation, partition.server, i, description);
    int code = mofka_creation_add(creation, &partition, err);
    json_object_put(partition.origin);
    return code < 0 ? dango_error_prefix(err, "partition %zu", i) : 0;
}

int mofka_topic_create(void *driver, const char *name, struct json_object *options,
                       const struct diaspora_topic_description *description, struct dango_error *err)
{
    struct dango_error mine;
    if (!err) /* prefixes need a text to stand before */
        err = &mine;
    struct mofka_topic_options parsed;
    struct mofka_creation creation = {.driver = driver, .name = name, .options = &parsed};
    int code = dango_mofka_check_topic_name(name, err);
    if (code == 0)
        code = dango_mofka_topic_options_parse(options, &parsed, err);
    if (code != 0)
        return code;
    creation.servers_needed = (size_t)parsed.num_partitions;
    code = mofka_creation_begin(&creation, err);
    for (size_t i = 0; code == 0 && i < (size_t)parsed.num_partitions; i++)
        code = create_partition(&creation, i, description, err);
    if (code == 0)
        code = mofka_creation_publish(&creation, description, err);
    mofka_creation_end(&creation, code, err);
    dango_options_release(dango_mofka_topic_options, &parsed);
    return code == 0 || !creation.begun ? code : dango_error_prefix(err, "topic \"%s\" was not created", name);
}

/* ---- looking ---- */

int mofka_topic_exists(void *driver, const char *name, bool *exists, struct dango_error *err)
{
    struct mofka_driver *self = driver;
    *exists = false;
    if (dango_mofka_check_topic_name(name, NULL) != 0)
        return 0; /* a topic of such a name cannot be */
    struct mofka_registry *registry = atomic_load(&self->registry);
    int code;
    do
        code = dango_mofka_registry_exists(registry, name, exists, err);
    while (mofka_master_moved(self, &registry, code));
    return code;
}

int mofka_topic_list(void *driver, struct json_object **list, struct dango_error *err)
{
    struct mofka_driver *self = driver;
    struct mofka_registry *registry = atomic_load(&self->registry);
    int code;
    do
        code = dango_mofka_registry_list(registry, list, err);
    while (mofka_master_moved(self, &registry, code));
    return code;
}

/* ---- opening ---- */

static int open_partition(struct mofka_topic *topic, struct json_object *info, struct dango_error *err)
{
    struct mofka_topic_partition *partition = &topic->partitions[topic->partition_count];
    const char *address = dango_json_get_string(info, "address");
    const char *uuid = dango_json_get_string(info, "uuid");
    const char *problem = dango_json_get_string(info, "error");
    struct json_object *id = dango_json_get(info, "provider_id");
    int64_t provider_id = json_object_is_type(id, json_type_int) ? json_object_get_int64(id) : problem ? 0 : -1;
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
    struct mofka_registry *registry = atomic_load(&self->registry);
    int code;
    do
        code = dango_mofka_registry_load(registry, name, description, err);
    while (mofka_master_moved(self, &registry, code));
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
