/*
 * The name of a server, and the partitions that the registry gives to it; see host.h.
 *
 * A partition gets its old provider id if that is free. One that runs already (the configuration names it, or an earlier
 * attempt has started it) is only entered.
 */
#include "mofka/server/host.h"

#include "mofka/log/log.h"
#include "mofka/registry/reference.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A server that was killed may take a moment to let go of its files. */
#define BUSY_RETRIES  20
#define BUSY_PAUSE_MS 100

/* ---- name ---- */

static int find_place(struct bedrock_host *bedrock, const struct mofka_surroundings *around, size_t *place,
                      struct dango_error *err)
{
    for (*place = 0; *place < around->member_count; (*place)++)
        if (strcmp(around->members[*place], bedrock_host_address(bedrock)) == 0)
            return 0;
    return dango_error_set(err, DANGO_ERR_INVALID,
                           "this server is not a member of the group: give it a name (bedrock --name)");
}

int mofka_name_server(struct bedrock_host *bedrock, const struct mofka_surroundings *around, struct dango_error *err)
{
    char name[32];
    size_t place;
    if (bedrock_host_name(bedrock))
        return 0;
    int code = find_place(bedrock, around, &place, err);
    if (code != 0)
        return code;
    snprintf(name, sizeof name, "%zu", place);
    return bedrock_host_set_name(bedrock, name, err);
}

/* Enters the name in the master database, in place of what an earlier life of this server has left there. */
static int claim_name(struct bedrock_host *bedrock, const struct mofka_surroundings *around,
                      struct mofka_registry *registry, const char *name, struct dango_error *err)
{
    const char *self = bedrock_host_address(bedrock);
    struct dango_error problem;
    char *other;
    int code;
    do {
        code = dango_mofka_registry_take_server(registry, name, &other, err);
        if (code == 0 && other && strcmp(other, self) != 0 && mofka_is_alive(bedrock, around, other)) {
            dango_mofka_registry_add_server(registry, name, other,
                                            &problem); /* back; if somebody was faster: as good */
            code = dango_error_set(err, DANGO_ERR_INVALID,
                                   "this server is called \"%s\", as is the one at %s: give each server a name of its "
                                   "own (bedrock --name, or DANGO_SERVER_NAME)",
                                   name, other);
        }
        free(other);
        if (code == 0)
            code = dango_mofka_registry_add_server(registry, name, self, err);
    } while (code == DANGO_ERR_EXISTS); /* another one of this name has come between: ask again whether it lives */
    return code;
}

/* The name that the server has; or its place in the group and, since places shift when servers join, the next number that
 * no living server has. */
static int claim_some_name(struct bedrock_host *bedrock, const struct mofka_surroundings *around,
                           struct mofka_registry *registry, struct dango_error *err)
{
    char name[32];
    size_t place;
    if (bedrock_host_name(bedrock))
        return claim_name(bedrock, around, registry, bedrock_host_name(bedrock), err);
    if (find_place(bedrock, around, &place, err) != 0)
        return err->code;
    int code = DANGO_ERR_INVALID;
    for (size_t i = 0; i < around->member_count && code == DANGO_ERR_INVALID; i++) {
        snprintf(name, sizeof name, "%zu", (place + i) % around->member_count);
        code = claim_name(bedrock, around, registry, name, err);
    }
    if (code != 0)
        return code;
    if (around->member_count > 1)
        log_warning("mofka",
                    "this server has no name; it is called \"%s\", after its place among %zu servers, which may be "
                    "another one after a restart: start each server with a --name of its own",
                    name, around->member_count);
    return bedrock_host_set_name(bedrock, name, err);
}

/* ---- partitions ---- */

struct restore {
    struct bedrock_host *bedrock;
    const struct mofka_surroundings *around;
    struct mofka_registry *registry;
    size_t restored, failed, waiting;
    struct dango_error why; /* of one that waits */
    char *swept;            /* path of the last partition */
};

/* The id of the provider that serves a partition in this process already, or -1. */
static int find_running(struct json_object *config, const char *uuid)
{
    struct json_object *providers = dango_json_get(config, "providers");
    for (size_t i = 0; providers && i < json_object_array_length(providers); i++) {
        struct json_object *provider = json_object_array_get_idx(providers, i);
        const char *type = dango_json_get_string(provider, "type");
        const char *found = dango_json_get_string(dango_json_get(provider, "config"), "uuid");
        if (type && strcmp(type, "mofka") == 0 && found && strcmp(found, uuid) == 0)
            return json_object_get_int(dango_json_get(provider, "provider_id"));
    }
    return -1;
}

/* Where a server is now. One that has not entered itself in this life of the group: DANGO_ERR_AGAIN. */
static int find_server(void *arg, const char *name, char **address, struct dango_error *err)
{
    const struct restore *restore = arg;
    int code = dango_mofka_registry_find_server(restore->registry, name, address, err);
    if (code < 0)
        return code;
    for (size_t i = 0; *address && i < restore->around->member_count; i++)
        if (strcmp(restore->around->members[i], *address) == 0)
            return 0;
    free(*address);
    return dango_error_set(err, DANGO_ERR_AGAIN, "server \"%s\" is not there", name);
}

/* The description in a partition's document, made fit for this life of the server; NULL and an error when it cannot. */
static struct json_object *make_description(struct restore *restore, struct json_object *document,
                                            struct dango_error *err)
{
    struct json_object *description = dango_json_copy(dango_json_get(document, "provider"));
    struct json_object *config = dango_json_get(description, "config");
    struct json_object *dependencies = dango_json_get(description, "dependencies");
    char master[sizeof "yokan:65535@" + 512];
    int code;
    if (!json_object_is_type(config, json_type_object) || !json_object_is_type(dependencies, json_type_object))
        code = dango_error_set(err, DANGO_ERR_CORRUPT, "the master database has no description of its provider");
    else
        code = dango_mofka_references_load(dependencies, find_server, restore, err);
    if (code < 0) {
        json_object_put(description);
        return NULL;
    }
    snprintf(master, sizeof master, "yokan:%u@%s", restore->around->master_id, restore->around->master);
    json_object_object_add(dependencies, "master_database", json_object_new_string(master));
    json_object_object_add(config, "must_exist", json_object_new_boolean(true));
    return description;
}

static int start(struct bedrock_host *bedrock, struct json_object *description, uint16_t *id, struct dango_error *err)
{
    int code = bedrock_host_start_provider(bedrock, description, id, err);
    for (unsigned i = 0; code == DANGO_ERR_BUSY && i < BUSY_RETRIES && !bedrock_host_is_stopping(bedrock); i++) {
        margo_thread_sleep(bedrock_host_instance(bedrock), BUSY_PAUSE_MS);
        code = bedrock_host_start_provider(bedrock, description, id, err);
    }
    return code;
}

/* What interrupted deletions have left beside the partition goes. Most partitions have the same path. */
static void sweep(struct restore *restore, struct json_object *document)
{
    struct json_object *config = dango_json_get(dango_json_get(document, "provider"), "config");
    const char *path = dango_json_get_string(dango_json_get(config, "partition"), "path");
    if (!path || (restore->swept && strcmp(restore->swept, path) == 0))
        return;
    dango_mofka_log_sweep_deleted(path);
    free(restore->swept);
    restore->swept = strdup(path);
}

static int start_partition(struct restore *restore, struct json_object *document, uint16_t *id, struct dango_error *err)
{
    struct json_object *description = make_description(restore, document, err);
    if (!description)
        return err->code;
    struct json_object *old_id = dango_json_get(document, "provider_id");
    int code = DANGO_ERR_EXISTS;
    if (json_object_is_type(old_id, json_type_int)) {
        json_object_object_add(description, "provider_id", json_object_get(old_id));
        code = start(restore->bedrock, description, id, err);
        json_object_object_del(description, "provider_id");
    }
    if (code == DANGO_ERR_EXISTS)
        code = start(restore->bedrock, description, id, err);
    json_object_put(description);
    return code;
}

/* Makes the document say where the partition is, or why it is nowhere. */
static int enter(struct restore *restore, const struct mofka_partition_record *record, int id, const char *problem,
                 struct dango_error *err)
{
    json_object_object_add(record->json, "address", json_object_new_string(bedrock_host_address(restore->bedrock)));
    if (problem) {
        json_object_object_add(record->json, "error", json_object_new_string(problem));
        json_object_object_del(record->json, "provider_id"); /* another provider may get it */
    } else {
        json_object_object_add(record->json, "provider_id", json_object_new_int(id));
        json_object_object_del(record->json, "error");
    }
    return dango_mofka_registry_update_partition(restore->registry, record, err);
}

static void report(const struct mofka_partition_record *record, const char *uuid, int id)
{
    const char *type =
        dango_json_get_string(dango_json_get(dango_json_get(record->json, "provider"), "config"), "type");
    if (type && strcmp(type, "memory") == 0)
        log_warning("mofka", "topic \"%s\": partition %s (provider %d) comes back empty: its events were in memory",
                    record->topic, uuid, id);
    else
        log_info("mofka", "topic \"%s\": partition %s is back (provider %d)", record->topic, uuid, id);
}

static int restore_partition(void *arg, const struct mofka_partition_record *record, struct dango_error *err)
{
    struct restore *restore = arg;
    const char *server = dango_json_get_string(record->json, "server");
    const char *uuid = dango_json_get_string(record->json, "uuid");
    struct dango_error problem = {0};
    if (!server || !uuid || strcmp(server, bedrock_host_name(restore->bedrock)) != 0)
        return 0;
    int id = find_running(restore->around->config, uuid);
    if (id >= 0) {
        restore->restored++;
        return enter(restore, record, id, NULL, err);
    }
    uint16_t new_id = 0;
    sweep(restore, record->json);
    int code = start_partition(restore, record->json, &new_id, &problem);
    if (code == DANGO_ERR_AGAIN) {
        restore->waiting++;
        restore->why = problem;
        return enter(restore, record, 0, problem.text, err);
    }
    if (code < 0) {
        restore->failed++;
        log_error("mofka", "topic \"%s\": partition %s is not served: %s", record->topic, uuid, problem.text);
        return enter(restore, record, 0, problem.text, err);
    }
    restore->restored++;
    report(record, uuid, new_id);
    return enter(restore, record, new_id, NULL, err);
}

/* What is wrong with one topic is no reason to do without the others. */
static int restore_topic(struct restore *restore, const char *topic, struct dango_error *err)
{
    int code = dango_mofka_registry_partitions(restore->registry, topic, restore_partition, restore, err);
    if (code == 0 || code == DANGO_ERR_DISCONNECTED || code == DANGO_ERR_TIMEOUT)
        return code;
    restore->failed++;
    log_error("mofka", "topic \"%s\": its partitions are not restored: %s", topic, err->text);
    return 0;
}

static int restore_all(struct restore *restore, struct dango_error *err)
{
    struct json_object *names;
    int code = dango_mofka_registry_names(restore->registry, &names, err);
    for (size_t i = 0; code == 0 && i < json_object_array_length(names); i++)
        code = restore_topic(restore, json_object_get_string(json_object_array_get_idx(names, i)), err);
    json_object_put(names);
    if (code == 0 && restore->waiting > 0)
        return dango_error_set(err, DANGO_ERR_AGAIN, "%zu partitions wait: %s", restore->waiting, restore->why.text);
    if (code == 0 && restore->restored + restore->failed > 0)
        log_info("mofka", "server \"%s\": %zu partitions are back, %zu are not", bedrock_host_name(restore->bedrock),
                 restore->restored, restore->failed);
    return code;
}

int mofka_restore(struct bedrock_host *bedrock, const struct mofka_surroundings *around, struct dango_error *err)
{
    struct restore restore = {.bedrock = bedrock, .around = around};
    assert(around->master);
    int code = dango_mofka_registry_open(bedrock_host_instance(bedrock), around->master, around->master_id,
                                         &restore.registry, err);
    if (code == 0)
        code = claim_some_name(bedrock, around, restore.registry, err);
    if (code == 0)
        code = restore_all(&restore, err);
    dango_mofka_registry_close(restore.registry);
    free(restore.swept);
    if (code < 0 && code != DANGO_ERR_INVALID)
        code = err->code = DANGO_ERR_AGAIN; /* the master database does not work (now) */
    return code;
}
