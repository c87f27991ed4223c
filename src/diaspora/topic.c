/*
 * Drivers and topics: opening, creating, listing. What a topic's name may be, and the topic objects, are checked here,
 * the same for all back-ends; the rest is the driver's.
 */
#include "diaspora/topic.h"

#include "util/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC_NAME_MAX 256

int dsp_options_text(const char *text, const char *what, struct json_object **json, struct dango_error *err)
{
    if (!text || !*text) {
        *json = json_object_new_object();
        return 0;
    }
    *json = dango_json_parse(text, strlen(text), err);
    if (!*json)
        return dango_error_prefix(err, "%s", what) ? err->code : DANGO_ERR_INVALID;
    if (json_object_is_type(*json, json_type_object))
        return 0;
    int status =
        dango_error_set(err, DANGO_ERR_INVALID, "%s: expected a JSON object, got %s", what, dango_json_kind(*json));
    json_object_put(*json);
    *json = NULL;
    return status;
}

/* ---- drivers --------------------------------------------------------------------------------------------------- */

diaspora_driver *diaspora_driver_open(const char *type, const char *options, diaspora_error *err)
{
    assert(type);
    struct json_object *json = NULL;
    const struct diaspora_driver_ops *ops = dango_diaspora_find_driver(type, err);
    if (!ops || dsp_options_text(options, "driver options", &json, err) != 0)
        return NULL;
    diaspora_driver *driver = calloc(1, sizeof *driver);
    int status = driver ? ops->driver_open(json, &driver->handle, err)
                        : dango_error_set(err, DANGO_ERR_NO_MEMORY, "driver: out of memory");
    json_object_put(json);
    if (status != 0) {
        free(driver);
        return NULL;
    }
    driver->ops = ops;
    atomic_init(&driver->references, 1);
    return driver;
}

static diaspora_driver *driver_retain(diaspora_driver *driver)
{
    uint32_t before = atomic_fetch_add(&driver->references, 1);
    assert(before > 0);
    return driver;
}

static void driver_release(diaspora_driver *driver)
{
    uint32_t before = atomic_fetch_sub(&driver->references, 1);
    assert(before > 0);
    if (before > 1)
        return;
    driver->ops->driver_close(driver->handle);
    free(driver);
}

void diaspora_driver_close(diaspora_driver *driver)
{
    if (driver)
        driver_release(driver);
}

/* ---- creating and listing -------------------------------------------------------------------------------------- */

/* Names become parts of keys, of paths and of command lines in every back-end: keep them harmless. */
static int check_name(const char *name, struct dango_error *err)
{
    assert(name);
    size_t length = strlen(name);
    if (length == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "topic name: must not be empty");
    if (length > TOPIC_NAME_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "topic name: %zu bytes are more than the %d allowed", length,
                               TOPIC_NAME_MAX);
    if (name[0] == '.')
        return dango_error_set(err, DANGO_ERR_INVALID, "topic name \"%s\": must not start with \".\"", name);
    for (const char *c = name; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return dango_error_set(err, DANGO_ERR_INVALID, "topic name: byte %zu is a control character",
                                   (size_t)(c - name));
        if (*c == ':' || *c == '/')
            return dango_error_set(err, DANGO_ERR_INVALID, "topic name \"%s\": must not contain \"%c\"", name, *c);
    }
    return 0;
}

/* The description of one topic object as it is stored: always with its "type". */
static int describe(const char *text, const char *what, struct json_object **json, struct dango_error *err)
{
    int status = dsp_options_text(text, what, json, err);
    if (status == 0 && !dango_json_get(*json, "type"))
        json_object_object_add(*json, "type", json_object_new_string("default"));
    return status;
}

static void release_description(struct diaspora_topic_description *description)
{
    json_object_put(description->validator);
    json_object_put(description->partition_selector);
    json_object_put(description->serializer);
    json_object_put(description->partitions);
}

static int describe_objects(const diaspora_topic_objects *texts, struct diaspora_topic_description *description,
                            struct dango_error *err)
{
    const diaspora_topic_objects defaults = {0};
    struct dsp_objects objects;
    if (!texts)
        texts = &defaults;
    int status = describe(texts->validator, "validator", &description->validator, err);
    if (status == 0)
        status = describe(texts->partition_selector, "partition_selector", &description->partition_selector, err);
    if (status == 0)
        status = describe(texts->serializer, "serializer", &description->serializer, err);
    /* Made once here, so that a topic that nobody could open is never created. */
    if (status == 0)
        status = dsp_objects_create(&objects, description->validator, description->partition_selector,
                                    description->serializer, err);
    if (status == 0)
        dsp_objects_destroy(&objects);
    return status;
}

int diaspora_topic_create(diaspora_driver *driver, const char *name, const char *options,
                          const diaspora_topic_objects *objects, diaspora_error *err)
{
    assert(driver && name);
    struct diaspora_topic_description description = {0};
    struct json_object *json = NULL;
    int status = check_name(name, err);
    if (status == 0)
        status = dsp_options_text(options, "topic options", &json, err);
    if (status == 0)
        status = describe_objects(objects, &description, err);
    if (status == 0)
        status = driver->ops->topic_create(driver->handle, name, json, &description, err);
    release_description(&description);
    json_object_put(json);
    return status;
}

int diaspora_topic_import(diaspora_driver *driver, const char *name, const char *options, diaspora_error *err)
{
    assert(driver && name);
    struct json_object *json = NULL;
    if (!driver->ops->topic_import)
        return dango_error_set(err, DIASPORA_UNSUPPORTED, "driver \"%s\" cannot import topics", driver->ops->type);
    int status = check_name(name, err);
    if (status == 0)
        status = dsp_options_text(options, "topic options", &json, err);
    if (status == 0)
        status = driver->ops->topic_import(driver->handle, name, json, err);
    json_object_put(json);
    return status;
}

int diaspora_topic_exists(diaspora_driver *driver, const char *name, bool *exists, diaspora_error *err)
{
    assert(driver && name && exists);
    *exists = false;
    return driver->ops->topic_exists(driver->handle, name, exists, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A new object with the members of `json` in the order of their names; the values are shared. */
static struct json_object *sorted(struct json_object *json)
{
    size_t count = 0, length = (size_t)json_object_object_length(json);
    const char **names = calloc(length + 1, sizeof *names);
    struct json_object *result = json_object_new_object();
    assert(names && result);
    json_object_object_foreach (json, key, value) {
        (void)value;
        names[count++] = key;
    }
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++)
        json_object_object_add(result, names[i], json_object_get(dango_json_get(json, names[i])));
    free(names);
    return result;
}

char *diaspora_topic_list(diaspora_driver *driver, diaspora_error *err)
{
    assert(driver);
    struct json_object *list = NULL;
    if (driver->ops->topic_list(driver->handle, &list, err) != 0)
        return NULL;
    assert(json_object_is_type(list, json_type_object));
    struct json_object *by_name = sorted(list);
    char *text =
        strdup(json_object_to_json_string_ext(by_name, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(by_name);
    json_object_put(list);
    if (!text)
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "list of topics: out of memory");
    return text;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

/* Keeps the text of each partition's description: json-c makes texts on demand, which is not thread-safe. */
static int take_partitions(diaspora_topic *topic, struct json_object *partitions, struct dango_error *err)
{
    if (partitions && !json_object_is_type(partitions, json_type_array))
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "list of partitions: expected an array, got %s",
                               dango_json_kind(partitions));
    size_t count = partitions ? json_object_array_length(partitions) : 0;
    topic->partition_infos = calloc(count + 1, sizeof *topic->partition_infos);
    for (size_t i = 0; topic->partition_infos && i < count; i++) {
        struct json_object *info = json_object_array_get_idx(partitions, i);
        char *text =
            strdup(json_object_to_json_string_ext(info, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        if (!text)
            break;
        topic->partition_infos[topic->partition_count++] = text;
    }
    if (!topic->partition_infos || topic->partition_count < count)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "list of partitions: out of memory");
    return 0;
}

diaspora_topic *diaspora_topic_open(diaspora_driver *driver, const char *name, diaspora_error *err)
{
    assert(driver && name);
    struct diaspora_topic_description description = {0};
    diaspora_topic *topic = calloc(1, sizeof *topic);
    if (!topic || !(topic->name = strdup(name))) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "topic \"%s\": out of memory", name);
        free(topic);
        return NULL;
    }
    topic->driver = driver_retain(driver);
    topic->ops = driver->ops;
    atomic_init(&topic->references, 1);
    int status = topic->ops->topic_open(driver->handle, name, &topic->handle, &description, err);
    if (status == 0) {
        status = dsp_objects_create(&topic->objects, description.validator, description.partition_selector,
                                    description.serializer, err);
        if (status == 0)
            status = take_partitions(topic, description.partitions, err);
        if (status != 0)
            dango_error_prefix(err, "topic \"%s\"", name);
    }
    release_description(&description);
    if (status != 0) {
        dsp_topic_release(topic);
        return NULL;
    }
    return topic;
}

struct diaspora_topic *dsp_topic_retain(struct diaspora_topic *topic)
{
    uint32_t before = atomic_fetch_add(&topic->references, 1);
    assert(before > 0);
    return topic;
}

void dsp_topic_release(struct diaspora_topic *topic)
{
    uint32_t before = atomic_fetch_sub(&topic->references, 1);
    assert(before > 0);
    if (before > 1)
        return;
    if (topic->handle)
        topic->ops->topic_close(topic->handle);
    dsp_objects_destroy(&topic->objects);
    for (size_t i = 0; i < topic->partition_count; i++)
        free(topic->partition_infos[i]);
    free(topic->partition_infos);
    driver_release(topic->driver);
    free(topic->name);
    free(topic);
}

void diaspora_topic_close(diaspora_topic *topic)
{
    if (topic)
        dsp_topic_release(topic);
}

const char *diaspora_topic_name(const diaspora_topic *topic)
{
    assert(topic);
    return topic->name;
}

size_t diaspora_topic_num_partitions(const diaspora_topic *topic)
{
    assert(topic);
    return topic->partition_count;
}

const char *diaspora_topic_partition_info(const diaspora_topic *topic, size_t partition)
{
    assert(topic);
    return partition < topic->partition_count ? topic->partition_infos[partition] : NULL;
}

/* ---- targets ---- */

int dsp_target(const struct diaspora_topic *topic, struct json_object *targets, size_t i, size_t *partition,
               struct dango_error *err)
{
    struct json_object *target = targets ? json_object_array_get_idx(targets, i) : NULL;
    *partition = i;
    if (!targets)
        return 0;
    if (!json_object_is_type(target, json_type_int))
        return dango_error_set(err, DANGO_ERR_INVALID, "targets[%zu]: expected the index of a partition, got %s", i,
                               dango_json_kind(target));
    int64_t index = json_object_get_int64(target);
    if (index < 0 || (uint64_t)index >= topic->partition_count)
        return dango_error_set(err, DANGO_ERR_RANGE,
                               "targets[%zu]: topic \"%s\" has no partition %" PRId64 " (partitions: %zu)", i,
                               topic->name, index, topic->partition_count);
    for (size_t k = 0; k < i; k++) {
        if (json_object_get_int64(json_object_array_get_idx(targets, k)) == index)
            return dango_error_set(err, DANGO_ERR_INVALID, "targets[%zu]: partition %" PRId64 " is named twice", i,
                                   index);
    }
    *partition = (size_t)index;
    return 0;
}
