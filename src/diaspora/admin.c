/*
 * What operators do to topics: saved positions, the end of the stream, deletion. Drivers do most of it for one
 * partition; here it is done for all of them.
 *
 * Several partitions are changed one after the other: after a failure those before the one that the error names have been
 * changed. Doing it again is harmless.
 */
#include "diaspora/start.h"
#include "diaspora/topic.h"

#include "util/json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static int unsupported(const diaspora_topic *topic, const char *what, struct dango_error *err)
{
    return dango_error_set(err, DIASPORA_UNSUPPORTED, "driver \"%s\" cannot %s", topic->ops->type, what);
}

/* ---- looking ---- */

char *diaspora_topic_positions(diaspora_topic *topic, diaspora_error *err)
{
    assert(topic);
    if (!topic->ops->topic_inspect) {
        unsupported(topic, "list positions", err);
        return NULL;
    }
    struct json_object *list = json_object_new_array();
    int status = 0;
    for (size_t i = 0; status == 0 && i < topic->partition_count; i++) {
        struct json_object *state;
        status = topic->ops->topic_inspect(topic->handle, i, &state, err);
        if (status == 0)
            json_object_array_add(list, state);
        else
            dango_error_prefix(err, "partition %zu", i);
    }
    char *text = NULL;
    if (status == 0) {
        text = strdup(json_object_to_json_string_ext(list, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        if (!text)
            dango_error_set(err, DANGO_ERR_NO_MEMORY, "positions: out of memory");
    }
    json_object_put(list);
    return text;
}

/* ---- the end of the stream ---- */

int diaspora_topic_complete(diaspora_topic *topic, diaspora_error *err)
{
    assert(topic);
    if (!topic->ops->topic_complete)
        return unsupported(topic, "mark topics as complete", err);
    for (size_t i = 0; i < topic->partition_count; i++) {
        int status = topic->ops->topic_complete(topic->handle, i, err);
        if (status != 0) {
            dango_error_prefix(err, "partition %zu", i);
            return status;
        }
    }
    return 0;
}

/* ---- moving positions ---- */

struct position_settings {
    int64_t partition; /* -1: all */
    struct json_object *to;
    bool force;
};

#define COMMON_OPTIONS                                                                                                 \
    DANGO_OPTION_INT("partition", struct position_settings, partition, -1, -1, INT64_MAX,                              \
                     "index of the partition; -1: all"),                                                               \
        DANGO_OPTION_BOOL("force", struct position_settings, force, false,                                             \
                          "even while consumers of that name are reading: their subscriptions end")

static const struct dango_option reset_options[] = {
    COMMON_OPTIONS,
    DANGO_OPTION_JSON_REQUIRED("to", struct position_settings, to, DANGO_JSON_STRING | DANGO_JSON_INT,
                               "the \"first\" event, behind the \"last\" one, an event id, or a time"),
    DANGO_OPTION_END,
};

static const struct dango_option delete_options[] = {
    COMMON_OPTIONS,
    DANGO_OPTION_END,
};

/* Makes the change in one partition or in all. A position that is not there in some of all partitions is no error. */
static int change_positions(diaspora_topic *topic, int64_t partition, const struct diaspora_position_change *change,
                            struct dango_error *err)
{
    size_t first = partition < 0 ? 0 : (size_t)partition;
    size_t end = partition < 0 ? topic->partition_count : first + 1;
    size_t missing = 0;
    if (end > topic->partition_count)
        return dango_error_set(err, DANGO_ERR_RANGE, "topic \"%s\" has no partition %" PRId64 " (partitions: %zu)",
                               topic->name, partition, topic->partition_count);
    for (size_t i = first; i < end; i++) {
        int status = topic->ops->topic_set_position(topic->handle, i, change, err);
        if (status == DANGO_ERR_NOT_FOUND && change->remove && ++missing < end - first)
            continue;
        if (status != 0) {
            dango_error_prefix(err, "partition %zu", i);
            return status;
        }
    }
    dango_error_clear(err); /* of a position that is missing in some partition */
    return 0;
}

static int change(diaspora_topic *topic, const char *consumer, const char *options, const struct dango_option *table,
                  bool remove, struct dango_error *err)
{
    assert(topic && consumer);
    struct position_settings settings = {0};
    struct diaspora_position_change wanted = {.consumer_name = consumer, .remove = remove};
    struct json_object *json;
    if (!topic->ops->topic_set_position)
        return unsupported(topic, "move positions", err);
    int status = dsp_options_text(options, "options", &json, err);
    if (status != 0)
        return status;
    status = dango_options_parse(table, json, "", &settings, err);
    json_object_put(json);
    if (status == 0 && settings.to)
        status = dsp_start_parse(settings.to, "to", false, &wanted.start, &wanted.start_id, err);
    wanted.force = settings.force;
    if (status == 0)
        status = change_positions(topic, settings.partition, &wanted, err);
    dango_options_release(table, &settings);
    return status;
}

int diaspora_topic_reset_position(diaspora_topic *topic, const char *consumer, const char *options, diaspora_error *err)
{
    return change(topic, consumer, options, reset_options, false, err);
}

int diaspora_topic_delete_position(diaspora_topic *topic, const char *consumer, const char *options,
                                   diaspora_error *err)
{
    return change(topic, consumer, options, delete_options, true, err);
}

/* ---- deletion ---- */

struct delete_settings {
    bool force, keep_data;
};

static const struct dango_option deletion_options[] = {
    DANGO_OPTION_BOOL("force", struct delete_settings, force, false, "even while it has producers or consumers"),
    DANGO_OPTION_BOOL("keep_data", struct delete_settings, keep_data, false, "what it has stored stays where it is"),
    DANGO_OPTION_END,
};

int diaspora_topic_delete(diaspora_driver *driver, const char *name, const char *options, diaspora_error *err)
{
    assert(driver && name);
    struct delete_settings settings = {0};
    struct json_object *json;
    if (!driver->ops->topic_delete)
        return dango_error_set(err, DIASPORA_UNSUPPORTED, "driver \"%s\" cannot delete topics", driver->ops->type);
    int status = dsp_options_text(options, "options", &json, err);
    if (status != 0)
        return status;
    status = dango_options_parse(deletion_options, json, "", &settings, err);
    json_object_put(json);
    return status == 0 ? driver->ops->topic_delete(driver->handle, name, settings.force, settings.keep_data, err)
                       : status;
}
