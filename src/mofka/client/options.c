/*
 * Option tables of the driver and of topics; see options.h.
 */
#include "mofka/client/options.h"

#include "mofka/partition/types.h"
#include "util/json.h"

#include <uuid/uuid.h>

#include <assert.h>
#include <string.h>

const struct dango_option dango_mofka_driver_options[] = {
    DANGO_OPTION_STRING_REQUIRED("group_file", struct mofka_driver_options, group_file,
                                 "file that the servers write with their addresses"),
    DANGO_OPTION_JSON("margo", struct mofka_driver_options, margo, DANGO_JSON_OBJECT, NULL,
                      "network runtime of the client, as in a server's configuration; use_progress_thread is true "
                      "unless given"),
    DANGO_OPTION_INT("reconnect_timeout_ms", struct mofka_driver_options, reconnect_timeout_ms, 60000, 0, 1800000,
                     "how long producers and consumers look for a server that was lost before what waits for it fails; "
                     "0: a single try"),
    DANGO_OPTION_END,
};

static const struct dango_option config_options[] = {
    DANGO_OPTION_STRING("type", struct mofka_partition_options, type, MOFKA_PARTITION_TYPE_DEFAULT,
                        "type of the partitions"),
    DANGO_OPTION_JSON("partition", struct mofka_partition_options, partition, DANGO_JSON_OBJECT, "{}",
                      "options of that type"),
    DANGO_OPTION_STRING("uuid", struct mofka_partition_options, uuid, NULL,
                        "identity of the partition, if there is one; generated otherwise"),
    DANGO_OPTION_END,
};

const struct dango_option dango_mofka_topic_options[] = {
    DANGO_OPTION_INT("num_partitions", struct mofka_topic_options, num_partitions, 1, 1, 65536,
                     "partitions in all; they go to the servers in turn"),
    DANGO_OPTION_OBJECT("config", struct mofka_topic_options, config, config_options, "what the partitions are"),
    DANGO_OPTION_JSON("dependencies", struct mofka_topic_options, dependencies, DANGO_JSON_OBJECT, "{}",
                      "what the partitions use on their server: name → name or list of names"),
    DANGO_OPTION_END,
};

/* ---- the flat shape ---- */

static bool table_has(const struct dango_option *table, const char *name)
{
    for (; table->type != DANGO_OPTION_TYPE_END; table++)
        if (strcmp(table->name, name) == 0)
            return true;
    return false;
}

/* Members of `from` that `to` lacks; objects are merged member by member. */
static void merge_defaults(struct json_object *to, const char *name, struct json_object *value)
{
    struct json_object *present;
    if (!json_object_object_get_ex(to, name, &present)) {
        json_object_object_add(to, name, dango_json_copy(value));
        return;
    }
    if (!json_object_is_type(present, json_type_object) || !json_object_is_type(value, json_type_object))
        return;
    json_object_object_foreach (value, member, inner) {
        merge_defaults(present, member, inner);
    }
}

/* The object under `name`, made if it is not there; NULL when something else is there. */
static struct json_object *object_in(struct json_object *json, const char *name)
{
    struct json_object *object = dango_json_get(json, name);
    if (!object) {
        object = json_object_new_object();
        json_object_object_add(json, name, object);
    }
    return json_object_is_type(object, json_type_object) ? object : NULL;
}

/* Moves members of the top level that belong to the partition type to where they should be. */
static void move_flat_members(struct json_object *json, const struct mofka_partition_type *type)
{
    struct lh_entry *entry, *next;
    for (entry = json_object_get_object(json)->head; entry; entry = next) {
        const char *name = lh_entry_k(entry);
        next = entry->next;
        if (table_has(dango_mofka_topic_options, name) || !table_has(type->options, name))
            continue;
        struct json_object *config = object_in(json, "config");
        struct json_object *partition = config ? object_in(config, "partition") : NULL;
        if (!partition)
            return; /* the parser says what is wrong with them */
        merge_defaults(partition, name, lh_entry_v(entry));
        json_object_object_del(json, name);
        next = json_object_get_object(json)->head; /* "config" may have come to the list */
    }
}

/* ---- checks beyond the tables ---- */

static bool is_name_list(struct json_object *json)
{
    if (json_object_is_type(json, json_type_string))
        return true;
    if (!json_object_is_type(json, json_type_array))
        return false;
    for (size_t i = 0; i < json_object_array_length(json); i++)
        if (!json_object_is_type(json_object_array_get_idx(json, i), json_type_string))
            return false;
    return true;
}

static int check(struct mofka_topic_options *options, struct dango_error *err)
{
    uuid_t uuid;
    const struct mofka_partition_type *type = dango_mofka_partition_type(options->config.type, err);
    assert(type); /* looked up before */
    if (options->config.uuid && uuid_parse(options->config.uuid, uuid) != 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "topic.config.uuid: \"%s\" is not a UUID", options->config.uuid);
    if (options->config.uuid && options->num_partitions != 1)
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "topic.config.uuid: possible with one partition only, not with num_partitions %lld",
                               (long long)options->num_partitions);
    int code = dango_mofka_partition_type_check(type, &options->config.partition, "topic.config.partition", err);
    if (code != 0)
        return code;
    json_object_object_foreach (options->dependencies, name, value) {
        if (dango_mofka_partition_type_uses(type, name, err) < 0)
            return dango_error_prefix(err, "topic.dependencies");
        if (!is_name_list(value))
            return dango_error_set(err, DANGO_ERR_INVALID,
                                   "topic.dependencies.%s: expected a string or a list of strings, got %s", name,
                                   dango_json_kind(value));
    }
    return 0;
}

int dango_mofka_topic_options_parse(struct json_object *json, struct mofka_topic_options *options,
                                    struct dango_error *err)
{
    *options = (struct mofka_topic_options){0};
    struct json_object *copy = json ? dango_json_copy(json) : json_object_new_object();
    int code = 0;
    if (json_object_is_type(copy, json_type_object)) {
        /* The type comes first: it decides what the rest may be. */
        const char *name = dango_json_get_string(dango_json_get(copy, "config"), "type");
        const struct mofka_partition_type *type =
            dango_mofka_partition_type(name ? name : MOFKA_PARTITION_TYPE_DEFAULT, err);
        if (type)
            move_flat_members(copy, type);
        else
            code = dango_error_prefix(err, "topic.config.type");
    }
    if (code == 0)
        code = dango_options_parse(dango_mofka_topic_options, copy, "topic", options, err);
    json_object_put(copy);
    if (code != 0)
        return code;
    code = check(options, err);
    if (code != 0)
        dango_options_release(dango_mofka_topic_options, options);
    return code;
}
