/*
 * Topics made again from the directories of their partitions, when the master database that knew them is gone.
 *
 * All servers are asked what they see below the path. On a shared file system several see the same: a partition goes to the
 * server that it was created on, if that one is there and sees it, else to those that see it, in turn. The order in the
 * topic, and the topic's objects, stand in the files ("origin"). All partitions are taken up, or none: one that is missing,
 * damaged, or in use is named in the error. What holds no event and stands in the way of another of the same index is what a
 * failed creation has left, and is passed over.
 */
#include "mofka/client/creation.h"

#include "mofka/partition/types.h"
#include "mofka/wire/directories.h"
#include "util/json.h"
#include "util/log.h"

#include <uuid/uuid.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS_MAX 65536

/* A partition that some server sees. */
struct found {
    char uuid[UUID_STR_LEN];
    struct json_object *json; /* what the first server that sees it said; one reference */
    int64_t index;            /* in the topic; -1: not known */
    size_t server;            /* the one that it goes to */
    bool home;                /* it was created there */
};

struct import {
    struct mofka_creation creation;
    const char *path;
    struct found *found;
    size_t count;
};

/* ---- which partitions, and where ---- */

static bool is_home(const struct import *import, struct json_object *json, size_t server)
{
    const char *name = mofka_creation_server_name(&import->creation, server);
    const char *home = dango_json_get_string(dango_json_get(json, "origin"), "server");
    return name && home && strcmp(name, home) == 0;
}

/* A partition that `server` sees, perhaps not as the first. */
static int add_found(struct import *import, struct json_object *json, size_t server, struct dango_error *err)
{
    const char *uuid = dango_json_get_string(json, "uuid");
    uuid_t parsed;
    if (!uuid || uuid_parse(uuid, parsed) != 0 || import->count == PARTITIONS_MAX)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "the list of its partitions is malformed");
    bool home = is_home(import, json, server);
    for (size_t i = 0; i < import->count; i++) {
        struct found *found = &import->found[i];
        if (strcmp(found->uuid, uuid) != 0)
            continue;
        if (home || (!found->home && i % bedrock_group_size(import->creation.group) == server))
            found->server = server;
        found->home = found->home || home;
        return 0;
    }
    struct found *grown = reallocarray(import->found, import->count + 1, sizeof *grown);
    if (!grown)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    import->found = grown;
    struct json_object *index = dango_json_get(dango_json_get(json, "origin"), "index");
    struct found *found = &grown[import->count++];
    *found = (struct found){.json = json_object_get(json), .index = -1, .server = server, .home = home};
    snprintf(found->uuid, sizeof found->uuid, "%s", uuid);
    if (json_object_is_type(index, json_type_int))
        found->index = json_object_get_int64(index);
    return 0;
}

static int ask_all(struct import *import, struct dango_error *err)
{
    struct bedrock_group *group = import->creation.group;
    const mofka_directories_in_t question = {import->creation.name, import->path, ""};
    int code = 0;
    for (size_t server = 0; code == 0 && server < bedrock_group_size(group); server++) {
        struct json_object *list;
        code =
            mofka_ask_directories(import->creation.driver,
                                  bedrock_service_address(bedrock_group_service(group, server)), &question, &list, err);
        for (size_t i = 0; code == 0 && i < json_object_array_length(list); i++)
            code = add_found(import, json_object_array_get_idx(list, i), server, err);
        json_object_put(list);
    }
    return code;
}

static bool has_events(const struct found *found)
{
    return json_object_get_boolean(dango_json_get(found->json, "events"));
}

/* By index; of several with the same one, that with events first. */
static int compare_found(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    if (has_events(x) != has_events(y))
        return has_events(x) ? -1 : 1;
    return strcmp(x->uuid, y->uuid);
}

static void drop_leftovers(struct import *import)
{
    size_t kept = 0;
    for (size_t i = 0; i < import->count; i++) {
        struct found *found = &import->found[i];
        if (kept > 0 && found->index >= 0 && import->found[kept - 1].index == found->index && !has_events(found)) {
            log_warning("mofka", "topic \"%s\": partition %s holds no event and is passed over", import->creation.name,
                        found->uuid);
            json_object_put(found->json);
        } else {
            import->found[kept++] = *found;
        }
    }
    import->count = kept;
}

/* How many partitions the topic was created with; 0: nobody says. */
static int64_t expected_count(const struct import *import)
{
    int64_t count = 0;
    for (size_t i = 0; i < import->count && count == 0; i++)
        count = json_object_get_int64(dango_json_get(dango_json_get(import->found[i].json, "origin"), "count"));
    return count;
}

static int check_found(const struct import *import, struct dango_error *err)
{
    const char *topic = import->creation.name;
    if (import->count == 0)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "%s: no server sees a partition of topic \"%s\" there",
                               import->path, topic);
    for (size_t i = 0; i < import->count; i++) {
        const struct found *found = &import->found[i];
        const char *problem = dango_json_get_string(found->json, "problem");
        if (problem)
            return dango_error_set(err, DANGO_ERR_CORRUPT, "%s", problem);
        if (i > 0 && found->index >= 0 && found->index == found[-1].index)
            return dango_error_set(err, DANGO_ERR_EXISTS,
                                   "%s: %s and %s both say that they are partition %lld of topic \"%s\": move the one "
                                   "that you do not want away",
                                   import->path, found[-1].uuid, found->uuid, (long long)found->index, topic);
        if (found->index > (int64_t)i)
            return dango_error_set(err, DANGO_ERR_NOT_FOUND, "%s: partition %zu of topic \"%s\" is missing",
                                   import->path, i, topic);
    }
    int64_t expected = expected_count(import);
    if (expected > (int64_t)import->count)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "%s: %zu of the %lld partitions of topic \"%s\" are there",
                               import->path, import->count, (long long)expected, topic);
    return 0;
}

static int find_partitions(struct import *import, struct dango_error *err)
{
    int code = ask_all(import, err);
    if (code < 0)
        return code;
    if (import->count > 0)
        qsort(import->found, import->count, sizeof *import->found, compare_found);
    drop_leftovers(import);
    return check_found(import, err);
}

/* ---- making the topic ---- */

/* One of the topic's objects, as the files say; a new reference. */
static struct json_object *object_of(const struct import *import, const char *name)
{
    struct json_object *object = dango_json_get(dango_json_get(import->found[0].json, "origin"), name);
    if (json_object_is_type(object, json_type_object))
        return json_object_get(object);
    object = json_object_new_object();
    json_object_object_add(object, "type", json_object_new_string("default"));
    return object;
}

static int publish(struct import *import, struct dango_error *err)
{
    struct diaspora_topic_description description = {
        .validator = object_of(import, "validator"),
        .partition_selector = object_of(import, "partition_selector"),
        .serializer = object_of(import, "serializer"),
    };
    int code = mofka_creation_publish(&import->creation, &description, err);
    dango_mofka_registry_release(&description);
    return code;
}

static int run(struct import *import, struct dango_error *err)
{
    int code = mofka_creation_begin(&import->creation, err);
    if (code == 0)
        code = find_partitions(import, err);
    for (size_t i = 0; code == 0 && i < import->count; i++) {
        struct mofka_new_partition partition = {.server = import->found[i].server, .must_exist = true};
        memcpy(partition.uuid, import->found[i].uuid, sizeof partition.uuid);
        code = mofka_creation_add(&import->creation, &partition, err);
        if (code < 0)
            dango_error_prefix(err, "partition %zu", i);
    }
    if (code == 0)
        code = publish(import, err);
    mofka_creation_end(&import->creation, code, err);
    for (size_t i = 0; i < import->count; i++)
        json_object_put(import->found[i].json);
    free(import->found);
    return code;
}

int mofka_topic_import(void *driver, const char *name, struct json_object *options, struct dango_error *err)
{
    struct dango_error mine;
    if (!err)
        err = &mine;
    struct mofka_topic_options parsed;
    struct import import = {.creation = {.driver = driver, .name = name, .options = &parsed}};
    int code = dango_mofka_check_topic_name(name, err);
    if (code == 0)
        code = dango_mofka_topic_options_parse(options, &parsed, err);
    if (code < 0)
        return code;
    if (!dango_mofka_partition_type(parsed.config.type, NULL)->directory) {
        code = dango_error_set(err, DANGO_ERR_INVALID,
                               "topic.config.type: partitions of type \"%s\" have no directory that could be imported; "
                               "those of type \"default\" have",
                               parsed.config.type);
    } else {
        import.path = dango_json_get_string(parsed.config.partition, "path");
        assert(import.path); /* required by the type's options */
        code = run(&import, err);
    }
    dango_options_release(dango_mofka_topic_options, &parsed);
    return code == 0 || !import.creation.begun ? code : dango_error_prefix(err, "topic \"%s\" was not imported", name);
}
