/*
 * Deleting a topic:
 *
 *     count its users       and stop here if there are any, unless it is forced
 *     unpublish             from here on it is no topic: clients do not find it, servers that come back do not start it
 *     each partition        shuts out its users, removes its files; its provider is removed
 *     drop                  the list of partitions
 *
 * Whatever is interrupted, doing it again goes on: the list of partitions stays until the end. Of a partition that is not
 * served, its server is asked to remove the directory. If that is away, too, the user is told where the files are, and they
 * stay.
 */
#include "mofka/client/driver.h"

#include "util/json.h"
#include "util/log.h"

#include <uuid/uuid.h>

#include <stdlib.h>
#include <string.h>

struct deletion {
    struct mofka_driver *driver;
    const char *topic;
    bool keep_data;
    uint64_t users;
    size_t count; /* partitions seen */
};

static int open_target(const struct deletion *deletion, struct json_object *partition, struct mofka_target *target,
                       uuid_t uuid, struct dango_error *err)
{
    const char *text = dango_json_get_string(partition, "uuid");
    const char *address = dango_json_get_string(partition, "address");
    struct json_object *number = dango_json_get(partition, "provider_id"); /* absent: it was not started */
    int64_t id = json_object_is_type(number, json_type_int) ? json_object_get_int64(number) : -1;
    if (!address || id < 0 || id > UINT16_MAX || !text || uuid_parse(text, uuid) != 0)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "the master database has no sound record of it");
    return mofka_target_init(target, deletion->driver->engine, address, (uint16_t)id, err);
}

static int count_users(void *arg, const struct mofka_partition_record *record, struct dango_error *err)
{
    struct deletion *deletion = arg;
    struct mofka_target target;
    uuid_t uuid;
    uint64_t users;
    (void)err; /* a partition that cannot be asked has no users */
    if (open_target(deletion, record->json, &target, uuid, NULL) != 0)
        return 0;
    if (mofka_inspect_users(&target, uuid, &users, NULL) == 0)
        deletion->users += users;
    mofka_target_fini(&target);
    return 0;
}

static int erase(const struct deletion *deletion, const struct mofka_target *target, const uuid_t uuid,
                 struct dango_error *err)
{
    struct mofka_operator_request request;
    struct mofka_answer answer;
    mofka_operator_request_init(&request, uuid);
    request.head.flags = deletion->keep_data ? MOFKA_ERASE_KEEP : 0;
    diaspora_segment part = {&request, sizeof request};
    return mofka_call(target, MOFKA_RPC_ERASE, &part, 1, &answer, sizeof answer, err);
}

/* Tells what deletion cannot remove. */
static void tell_remains(const struct deletion *deletion, struct json_object *partition, const char *why)
{
    struct json_object *config = dango_json_get(dango_json_get(partition, "provider"), "config");
    const char *type = config ? dango_json_get_string(config, "type") : NULL;
    const char *path = dango_json_get_string(dango_json_get(config, "partition"), "path");
    const char *uuid = dango_json_get_string(partition, "uuid");
    if (deletion->keep_data || !type || strcmp(type, "memory") == 0)
        return;
    if (path && uuid)
        log_warning("mofka", "partition %zu of topic \"%s\": %s: its files, if any, stay in %s/%s-%s", deletion->count,
                    deletion->topic, why, path, deletion->topic, uuid);
    else
        log_warning("mofka", "partition %zu of topic \"%s\": %s: what it has stored stays there", deletion->count,
                    deletion->topic, why);
}

/* The provider has shut out everybody: ends it. */
static int remove_provider(const struct deletion *deletion, struct json_object *partition, const char *address,
                           struct dango_error *err)
{
    const char *name = dango_json_get_string(dango_json_get(partition, "provider"), "name");
    struct bedrock_service *server;
    char spec[32];
    snprintf(spec, sizeof spec, "mofka:%d", (int)json_object_get_int(dango_json_get(partition, "provider_id")));
    int code = bedrock_service_open(deletion->driver->bedrock, address, 0, &server, err);
    if (code != 0)
        return code;
    code = bedrock_service_remove_provider(server, name ? name : spec, err);
    bedrock_service_close(server);
    return code;
}

/* Whether a partition cannot be asked, rather than it has refused. */
static bool is_unserved(int code)
{
    return mofka_is_absence(code) || code == DANGO_ERR_CORRUPT;
}

/* The partition is not served, which is the error in err: asks the server that keeps it, wherever that is now, to remove its
 * directory. err stays as it is when there is nobody to ask. */
static int remove_directory(const struct deletion *deletion, struct json_object *partition, struct dango_error *err)
{
    struct json_object *config = dango_json_get(dango_json_get(partition, "provider"), "config"), *list;
    const char *server = dango_json_get_string(partition, "server");
    const char *uuid = dango_json_get_string(partition, "uuid");
    const char *path = dango_json_get_string(dango_json_get(config, "partition"), "path");
    struct dango_error problem;
    char *address = NULL;
    if (deletion->keep_data || !server || !uuid || !path ||
        dango_mofka_registry_find_server(deletion->driver->registry, server, &address, &problem) != 0 || !address)
        return err->code;
    const mofka_directories_in_t question = {deletion->topic, path, uuid};
    int code = mofka_ask_directories(deletion->driver, address, &question, &list, &problem);
    json_object_put(list);
    free(address);
    if (code != 0 && !is_unserved(code))
        *err = problem;
    return code == 0 ? 0 : err->code;
}

static int delete_partition(void *arg, const struct mofka_partition_record *record, struct dango_error *err)
{
    struct deletion *deletion = arg;
    struct json_object *config = dango_json_get(dango_json_get(record->json, "provider"), "config");
    const char *type = config ? dango_json_get_string(config, "type") : NULL;
    struct mofka_target target;
    uuid_t uuid;
    int code = open_target(deletion, record->json, &target, uuid, err);
    if (code == 0) {
        code = erase(deletion, &target, uuid, err);
        if (code == 0)
            code = remove_provider(deletion, record->json, target.address, err);
        mofka_target_fini(&target);
    }
    if (code == 0 && type && strcmp(type, "legacy") == 0)
        tell_remains(deletion, record->json, "it keeps events in services of others");
    if (is_unserved(code) && code != DANGO_ERR_TIMEOUT) /* a server that hangs is not asked twice */
        code = remove_directory(deletion, record->json, err);
    if (is_unserved(code)) {
        tell_remains(deletion, record->json, err->text);
        code = 0;
    }
    if (code != 0)
        dango_error_prefix(err, "partition %zu", deletion->count);
    deletion->count++;
    return code;
}

int mofka_topic_delete(void *driver, const char *name, bool force, bool keep_data, struct dango_error *err)
{
    struct deletion deletion = {.driver = driver, .topic = name, .keep_data = keep_data};
    struct mofka_registry *registry = atomic_load(&deletion.driver->registry);
    struct dango_error mine;
    if (!err)
        err = &mine;
    bool exists;
    int code;
    do
        code = dango_mofka_registry_exists(registry, name, &exists, err);
    while (mofka_master_moved(driver, &registry, code));
    if (code == 0)
        code = dango_mofka_registry_partitions(registry, name, count_users, &deletion, err);
    if (code == 0 && deletion.users > 0 && !force)
        return dango_error_set(err, DANGO_ERR_BUSY,
                               "topic \"%s\" is in use: %llu producers and consumers of its partitions are connected; "
                               "end them first, or force it, which makes them fail",
                               name, (unsigned long long)deletion.users);
    if (code == 0)
        code = dango_mofka_registry_unpublish(registry, name, err);
    if (code == 0)
        code = dango_mofka_registry_partitions(registry, name, delete_partition, &deletion, err);
    if (code == 0)
        code = dango_mofka_registry_drop(registry, name, err);
    if (code == DANGO_ERR_NOT_FOUND && exists) /* somebody else was at it, too, and faster */
        code = 0;
    if (code != 0 && code != DANGO_ERR_NOT_FOUND)
        dango_error_prefix(err, "topic \"%s\" could not be deleted as a whole; try again", name);
    return code;
}
