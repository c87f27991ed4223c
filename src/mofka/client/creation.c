/*
 * Creation of topics; see creation.h for the steps and registry.h for what is written down.
 *
 * A mark that is in the way is looked at: if its maker is dead, it is taken out (which only one can), and what it protected
 * goes: providers that the leftover partitions name, the list of partitions, keys. A provider whose server is not there any
 * more has gone with it. Its directory, if it had one, holds no event: the topic was never seen by anybody.
 */
#include "mofka/client/creation.h"

#include "mofka/registry/reference.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- servers ---- */

static int load_server_name(struct mofka_creation *creation, struct bedrock_service *server, struct dango_error *err)
{
    char *text;
    int code = bedrock_service_query(server, "$__config__.bedrock.name", &text, err);
    if (code != 0)
        return code;
    struct json_object *name = dango_json_parse(text, strlen(text), err);
    if (name)
        json_object_object_add(creation->server_names, bedrock_service_address(server), name);
    else if (strcmp(text, "null") != 0)
        code = dango_error_prefix(err, "name of server %s", bedrock_service_address(server));
    free(text);
    return code;
}

/* Members have come and gone since the driver was opened: the file says who is there. What they are called matters, since
 * partitions belong to names; and a server that does not answer is found before anything has been made. */
static int find_servers(struct mofka_creation *creation, struct dango_error *err)
{
    struct mofka_driver *driver = creation->driver;
    int code = bedrock_group_open_file(driver->bedrock, driver->group_file, 0, &creation->group, err);
    if (code != 0)
        return code;
    size_t count = bedrock_group_size(creation->group);
    size_t needed = creation->servers_needed == 0 ? count : creation->servers_needed;
    creation->server_names = json_object_new_object();
    for (size_t i = 0; i < count; i++) {
        code = load_server_name(creation, bedrock_group_service(creation->group, i), err);
        if (code != 0 && i < needed)
            return dango_error_prefix(err, "server %zu of %zu, which would get a partition", i + 1, count);
    }
    return 0;
}

const char *mofka_creation_server_name(const struct mofka_creation *creation, size_t server)
{
    struct bedrock_service *service = bedrock_group_service(creation->group, server);
    return dango_json_get_string(creation->server_names, bedrock_service_address(service));
}

/* The server that a partition's document names, as far as it is there. */
static struct bedrock_service *find_server(const struct mofka_creation *creation, struct json_object *document)
{
    const char *wanted = dango_json_get_string(document, "server");
    for (size_t i = 0; wanted && i < bedrock_group_size(creation->group); i++) {
        const char *name = mofka_creation_server_name(creation, i);
        if (name && strcmp(name, wanted) == 0)
            return bedrock_group_service(creation->group, i);
    }
    return NULL;
}

/* ---- beginning ---- */

/* Takes the mark of a dead creator out, unless it is another one by now. */
static int take_mark(struct mofka_creation *creation, struct json_object *dead, struct dango_error *err)
{
    struct mofka_registry *registry = creation->registry;
    struct json_object *taken, *ignored = NULL;
    int code = dango_mofka_registry_unclaim(registry, creation->name, &taken, err);
    if (code == 0 && taken && !mofka_claim_is_same(taken, dead)) {
        code = dango_mofka_registry_claim(registry, creation->name, taken, &ignored, err); /* back */
        code = code == DANGO_ERR_BUSY ? 0 : code;
    }
    json_object_put(ignored);
    json_object_put(taken);
    return code;
}

static int claim(struct mofka_creation *creation, struct dango_error *err)
{
    for (;;) {
        struct json_object *other;
        int code = dango_mofka_registry_claim(creation->registry, creation->name, creation->claim.json, &other, err);
        if (code != DANGO_ERR_BUSY) {
            creation->claimed = code == 0;
            return code;
        }
        if (other && !mofka_claim_is_dead(other))
            code = mofka_claim_refuse(other, creation->name, err);
        else
            code = other ? take_mark(creation, other, err) : 0;
        creation->took_over = creation->took_over || other;
        json_object_put(other);
        if (code < 0)
            return code;
    }
}

static int remove_leftover(void *arg, const struct mofka_partition_record *record, struct dango_error *err)
{
    const struct mofka_creation *creation = arg;
    struct bedrock_service *server = find_server(creation, record->json);
    const char *provider = dango_json_get_string(dango_json_get(record->json, "provider"), "name");
    log_info("mofka", "topic \"%s\": removing partition %s, which a dead creator has left", record->topic,
             provider ? provider : "?");
    if (!server || !provider || bedrock_service_remove_provider(server, provider, err) == 0 ||
        err->code == DANGO_ERR_NOT_FOUND)
        return 0;
    return dango_error_prefix(err, "a partition that a dead creator has left cannot be removed");
}

static int clear_away(struct mofka_creation *creation, struct dango_error *err)
{
    struct mofka_registry *registry = creation->registry;
    int code = dango_mofka_registry_partitions(registry, creation->name, remove_leftover, creation, err);
    if (code == 0)
        code = dango_mofka_registry_unpublish(registry, creation->name, err);
    if (code == 0)
        code = dango_mofka_registry_drop(registry, creation->name, err);
    return code == DANGO_ERR_NOT_FOUND ? 0 : code;
}

/* Also makes sure of the registry, before the first step that cannot be tried twice. */
static int check_name_is_free(struct mofka_creation *creation, struct dango_error *err)
{
    bool exists = false;
    int code = mofka_topic_exists(creation->driver, creation->name, &exists, err);
    creation->registry = atomic_load(&creation->driver->registry);
    if (code == 0 && exists)
        return dango_error_set(err, DANGO_ERR_EXISTS, "topic \"%s\" exists already", creation->name);
    return code;
}

int mofka_creation_begin(struct mofka_creation *creation, struct dango_error *err)
{
    int code = mofka_claim_init(&creation->claim, err);
    if (code == 0)
        code = check_name_is_free(creation, err);
    if (code == 0)
        code = find_servers(creation, err);
    if (code == 0)
        code = claim(creation, err);
    if (code == 0)
        code = check_name_is_free(creation, err); /* it may have been finished before the mark was ours */
    if (code == 0 && creation->took_over)
        code = clear_away(creation, err);
    if (code == 0)
        code = dango_mofka_registry_begin(creation->registry, creation->name, err);
    creation->begun = code == 0;
    return code;
}

/* ---- partitions ---- */

/* Takes over `dependencies`. */
static struct json_object *describe(const struct mofka_creation *creation, const char *provider,
                                    const struct mofka_new_partition *partition, struct json_object *dependencies)
{
    struct json_object *description = json_object_new_object(), *config = json_object_new_object();
    struct json_object *tags = json_object_new_array();
    json_object_array_add(tags, json_object_new_string("mofka:partition"));
    json_object_object_add(config, "topic", json_object_new_string(creation->name));
    json_object_object_add(config, "type", json_object_new_string(creation->options->config.type));
    json_object_object_add(config, "uuid", json_object_new_string(partition->uuid));
    json_object_object_add(config, "partition", json_object_get(creation->options->config.partition));
    if (partition->origin)
        json_object_object_add(config, "origin", json_object_get(partition->origin));
    if (partition->must_exist)
        json_object_object_add(config, "must_exist", json_object_new_boolean(true));
    json_object_object_add(description, "name", json_object_new_string(provider));
    json_object_object_add(description, "type", json_object_new_string("mofka"));
    json_object_object_add(description, "tags", tags);
    json_object_object_add(description, "config", config);
    json_object_object_add(description, "dependencies", dependencies);
    return description;
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

static const char *name_of_server(void *arg, const char *address)
{
    const struct mofka_creation *creation = arg;
    return dango_json_get_string(creation->server_names, address);
}

/* What is written down before the partition is started: enough to find it again, or to take it away. */
static struct json_object *make_document(const struct mofka_creation *creation,
                                         const struct mofka_new_partition *partition, struct json_object *description)
{
    struct bedrock_service *server = bedrock_group_service(creation->group, partition->server);
    const char *name = mofka_creation_server_name(creation, partition->server);
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "address", json_object_new_string(bedrock_service_address(server)));
    json_object_object_add(document, "uuid", json_object_new_string(partition->uuid));
    if (name)
        json_object_object_add(document, "server", json_object_new_string(name));
    struct json_object *kept = dango_json_copy(description);
    dango_mofka_references_store(dango_json_get(kept, "dependencies"), name_of_server, (void *)creation);
    json_object_object_add(document, "provider", kept);
    return document;
}

static int start_partition(const struct mofka_creation *creation, struct bedrock_service *server,
                           struct json_object *description, uint16_t *provider_id, struct dango_error *err)
{
    struct json_object *complete = dango_json_copy(description);
    json_object_object_add(dango_json_get(complete, "dependencies"), "master_database",
                           json_object_new_string(dango_mofka_registry_locator(creation->registry)));
    int code = bedrock_service_start_provider(server, json_object_to_json_string_ext(complete, JSON_C_TO_STRING_PLAIN),
                                              provider_id, err);
    json_object_put(complete);
    return code;
}

/* Room for one more, which will be at creation->partitions[creation->started]. */
static int reserve(struct mofka_creation *creation, struct dango_error *err)
{
    if (creation->started < creation->capacity)
        return 0;
    size_t capacity = 2 * creation->capacity + 16;
    struct mofka_started *grown = reallocarray(creation->partitions, capacity, sizeof *grown);
    if (!grown)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    creation->partitions = grown;
    creation->capacity = capacity;
    return 0;
}

/* Writes the document, starts the provider, and completes the document with its id. */
static int add(struct mofka_creation *creation, const struct mofka_new_partition *partition,
               struct json_object *description, struct json_object *document, struct dango_error *err)
{
    struct mofka_registry *registry = creation->registry;
    struct bedrock_service *server = bedrock_group_service(creation->group, partition->server);
    struct mofka_partition_record record = {.topic = creation->name, .json = document};
    uint16_t provider_id;
    int code = dango_mofka_registry_add_partition(registry, creation->name, document, &record.id, err);
    if (code == 0)
        code = start_partition(creation, server, description, &provider_id, err);
    if (code != 0)
        return code;
    creation->started++;
    json_object_object_add(document, "provider_id", json_object_new_int(provider_id));
    return dango_mofka_registry_update_partition(registry, &record, err);
}

int mofka_creation_add(struct mofka_creation *creation, const struct mofka_new_partition *partition,
                       struct dango_error *err)
{
    struct bedrock_service *server = bedrock_group_service(creation->group, partition->server);
    assert(server && creation->claimed);
    int code = reserve(creation, err);
    if (code == 0 && mofka_claim_needs_renewal(&creation->claim))
        code = dango_mofka_registry_renew_claim(creation->registry, creation->name, creation->claim.json, err);
    if (code != 0)
        return code;
    struct mofka_started *started = &creation->partitions[creation->started];
    started->server = partition->server;
    name_provider(creation->name, partition->uuid, started->provider);
    struct json_object *dependencies = mofka_creation_dependencies(creation, server, err);
    if (!dependencies)
        return err->code;
    struct json_object *description = describe(creation, started->provider, partition, dependencies);
    struct json_object *document = make_document(creation, partition, description);
    code = add(creation, partition, description, document, err);
    json_object_put(document);
    json_object_put(description);
    return code;
}

/* ---- end ---- */

int mofka_creation_publish(struct mofka_creation *creation, const struct diaspora_topic_description *description,
                           struct dango_error *err)
{
    return dango_mofka_registry_publish(creation->registry, creation->name, description, err);
}

/* Removes what was started, and adds to *err what could not be undone. Whether nothing is left in the registry. */
static bool undo(struct mofka_creation *creation, struct dango_error *err)
{
    struct dango_error problem;
    size_t left = 0;
    for (size_t i = 0; i < creation->started; i++) {
        const struct mofka_started *started = &creation->partitions[i];
        struct bedrock_service *server = bedrock_group_service(creation->group, started->server);
        if (bedrock_service_remove_provider(server, started->provider, &problem) != 0)
            left++;
    }
    bool dropped = dango_mofka_registry_drop(creation->registry, creation->name, &problem) == 0;
    if (!dropped)
        dango_error_prefix(err, "the registry keeps traces of it (%s)", problem.text);
    if (left > 0)
        dango_error_prefix(err, "%zu of its partitions could not be removed", left);
    return dropped;
}

void mofka_creation_end(struct mofka_creation *creation, int code, struct dango_error *err)
{
    struct dango_error problem;
    struct json_object *mark = NULL;
    bool clean = code == 0 || !creation->begun || undo(creation, err);
    /* A mark that stays is a dead one from here on: the next creator takes it, and clears away what it protects. */
    if (creation->claimed && clean)
        dango_mofka_registry_unclaim(creation->registry, creation->name, &mark, &problem);
    json_object_put(mark);
    mofka_claim_fini(&creation->claim);
    json_object_put(creation->server_names);
    bedrock_group_close(creation->group);
    free(creation->partitions);
}
