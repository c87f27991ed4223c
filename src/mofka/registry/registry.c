/*
 * The registry of topics on top of Yokan; see registry.h for keys and order of operations.
 */
#include "mofka/registry/registry.h"

#include "mofka/registry/internal.h"
#include "util/json.h"
#include "util/suggest.h"
#include "yokan/dango_yokan.h"

#include <yokan/collection.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The three keys of a topic, in the order in which descriptions hold their values. */
static const char *const key_names[] = {"validator", "selector", "serializer"};
#define KEY_COUNT     3
#define SUGGESTED_MAX 1000 /* topics that a message looks at */

const char *mofka_registry_key(char key[MOFKA_KEY_SIZE], const char *topic, const char *name)
{
    int length = snprintf(key, MOFKA_KEY_SIZE, MOFKA_KEY_PREFIX "%s:%s", topic, name);
    assert(length > 0 && (size_t)length < MOFKA_KEY_SIZE);
    (void)length;
    return key;
}

int mofka_registry_error(const struct mofka_registry *registry, yk_return_t ret, struct dango_error *err)
{
    if (ret == YOKAN_ERR_FROM_MERCURY)
        return dango_error_set(err, DANGO_ERR_DISCONNECTED, "master database %s: the server is gone",
                               registry->locator);
    int code = ret == YOKAN_ERR_TIMEOUT ? DANGO_ERR_TIMEOUT : DANGO_ERR_IO;
    return dango_error_set(err, code, "master database %s: %s", registry->locator, dango_yokan_text(ret));
}

/* ---- life ---- */

int dango_mofka_registry_open(margo_instance_id mid, const char *address, uint16_t provider_id,
                              struct mofka_registry **registry, struct dango_error *err)
{
    size_t size = strlen(address) + sizeof "yokan:65535@";
    struct mofka_registry *new = calloc(1, sizeof *new + size);
    hg_addr_t addr = HG_ADDR_NULL;
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    snprintf(new->locator, size, "yokan:%u@%s", provider_id, address);
    yk_return_t ret = yk_client_init(mid, &new->client);
    if (ret != YOKAN_SUCCESS)
        new->client = YOKAN_CLIENT_NULL;
    if (ret == YOKAN_SUCCESS && margo_addr_lookup(mid, address, &addr) != HG_SUCCESS)
        ret = YOKAN_ERR_FROM_MERCURY;
    if (ret == YOKAN_SUCCESS)
        ret = yk_database_handle_create(new->client, addr, provider_id, true, &new->database);
    margo_addr_free(mid, addr);
    if (ret == YOKAN_SUCCESS) {
        *registry = new;
        return 0;
    }
    int code = mofka_registry_error(new, ret, err);
    new->database = YOKAN_DATABASE_HANDLE_NULL;
    dango_mofka_registry_close(new);
    return code;
}

void dango_mofka_registry_close(struct mofka_registry *registry)
{
    if (!registry)
        return;
    if (registry->database != YOKAN_DATABASE_HANDLE_NULL)
        yk_database_handle_release(registry->database);
    if (registry->client != YOKAN_CLIENT_NULL)
        yk_client_finalize(registry->client);
    free(registry);
}

const char *dango_mofka_registry_locator(const struct mofka_registry *registry)
{
    return registry->locator;
}

/* ---- creation ---- */

int dango_mofka_registry_exists(struct mofka_registry *registry, const char *topic, bool *exists,
                                struct dango_error *err)
{
    char keys[KEY_COUNT][MOFKA_KEY_SIZE];
    const void *pointers[KEY_COUNT];
    size_t sizes[KEY_COUNT];
    uint8_t flags = 0;
    for (size_t i = 0; i < KEY_COUNT; i++) {
        pointers[i] = mofka_registry_key(keys[i], topic, key_names[i]);
        sizes[i] = strlen(keys[i]);
    }
    yk_return_t ret = yk_exists_multi(registry->database, YOKAN_MODE_DEFAULT, KEY_COUNT, pointers, sizes, &flags);
    if (ret != YOKAN_SUCCESS)
        return mofka_registry_error(registry, ret, err);
    *exists = flags == (1u << KEY_COUNT) - 1;
    return 0;
}

int dango_mofka_registry_begin(struct mofka_registry *registry, const char *topic, struct dango_error *err)
{
    char key[MOFKA_KEY_SIZE];
    yk_return_t ret =
        yk_collection_create(registry->database, mofka_registry_key(key, topic, "partitions"), YOKAN_MODE_DEFAULT);
    if (ret == YOKAN_ERR_KEY_EXISTS)
        return dango_error_set(err, DANGO_ERR_EXISTS,
                               "topic \"%s\" is being deleted, or who deleted it was killed half-way: then "
                               "\"diaspora-ctl topic delete\" clears it away",
                               topic);
    return ret == YOKAN_SUCCESS ? 0 : mofka_registry_error(registry, ret, err);
}

int dango_mofka_registry_publish(struct mofka_registry *registry, const char *topic,
                                 const struct diaspora_topic_description *description, struct dango_error *err)
{
    struct json_object *objects[KEY_COUNT] = {description->validator, description->partition_selector,
                                              description->serializer};
    char keys[KEY_COUNT][MOFKA_KEY_SIZE];
    const void *key_pointers[KEY_COUNT], *values[KEY_COUNT];
    size_t key_sizes[KEY_COUNT], value_sizes[KEY_COUNT];
    for (size_t i = 0; i < KEY_COUNT; i++) {
        key_pointers[i] = mofka_registry_key(keys[i], topic, key_names[i]);
        key_sizes[i] = strlen(keys[i]);
        values[i] = json_object_to_json_string_length(objects[i], JSON_C_TO_STRING_PLAIN, &value_sizes[i]);
    }
    yk_return_t ret =
        yk_put_multi(registry->database, YOKAN_MODE_NEW_ONLY, KEY_COUNT, key_pointers, key_sizes, values, value_sizes);
    return ret == YOKAN_SUCCESS ? 0 : mofka_registry_error(registry, ret, err);
}

int dango_mofka_registry_unpublish(struct mofka_registry *registry, const char *topic, struct dango_error *err)
{
    /* The first key is the one by which topics are found. */
    for (size_t i = 0; i < KEY_COUNT; i++) {
        char key[MOFKA_KEY_SIZE];
        mofka_registry_key(key, topic, key_names[i]);
        yk_return_t ret = yk_erase(registry->database, YOKAN_MODE_DEFAULT, key, strlen(key));
        if (ret != YOKAN_SUCCESS && ret != YOKAN_ERR_KEY_NOT_FOUND)
            return mofka_registry_error(registry, ret, err);
    }
    return 0;
}

int dango_mofka_registry_drop(struct mofka_registry *registry, const char *topic, struct dango_error *err)
{
    char key[MOFKA_KEY_SIZE];
    yk_return_t ret =
        yk_collection_drop(registry->database, mofka_registry_key(key, topic, "partitions"), YOKAN_MODE_DEFAULT);
    if (ret == YOKAN_ERR_KEY_NOT_FOUND)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "there is no topic \"%s\"", topic);
    return ret == YOKAN_SUCCESS ? 0 : mofka_registry_error(registry, ret, err);
}

/* ---- loading ---- */

static yk_return_t parse_value(void *arg, size_t index, const void *key, size_t key_size, const void *value,
                               size_t value_size)
{
    struct json_object **json = arg;
    (void)index;
    (void)key;
    (void)key_size;
    if (value_size <= YOKAN_LAST_VALID_SIZE)
        *json = dango_json_parse(value, value_size, NULL);
    return YOKAN_SUCCESS;
}

/* The value of one key; NULL in *json and success when there is no such key. */
static int load_key(struct mofka_registry *registry, const char *topic, const char *name, struct json_object **json,
                    struct dango_error *err)
{
    char key[MOFKA_KEY_SIZE];
    *json = NULL;
    mofka_registry_key(key, topic, name);
    yk_return_t ret = yk_fetch(registry->database, YOKAN_MODE_DEFAULT, key, strlen(key), parse_value, json);
    if (ret == YOKAN_SUCCESS || ret == YOKAN_ERR_KEY_NOT_FOUND)
        return 0;
    return mofka_registry_error(registry, ret, err);
}

static int add_partition(void *arg, const struct mofka_partition_record *record, struct dango_error *err)
{
    (void)err;
    json_object_array_add(arg, json_object_get(record->json));
    return 0;
}

void dango_mofka_registry_release(struct diaspora_topic_description *description)
{
    json_object_put(description->validator);
    json_object_put(description->partition_selector);
    json_object_put(description->serializer);
    json_object_put(description->partitions);
    *description = (struct diaspora_topic_description){0};
}

int dango_mofka_registry_load(struct mofka_registry *registry, const char *topic,
                              struct diaspora_topic_description *description, struct dango_error *err)
{
    *description = (struct diaspora_topic_description){0};
    struct json_object **objects[KEY_COUNT] = {&description->validator, &description->partition_selector,
                                               &description->serializer};
    int code = 0;
    description->partitions = json_object_new_array();
    for (size_t i = 0; i < KEY_COUNT && code == 0; i++) {
        code = load_key(registry, topic, key_names[i], objects[i], err);
        if (code == 0 && !*objects[i])
            code = dango_mofka_registry_no_topic(registry, topic, err);
    }
    if (code == 0)
        code = dango_mofka_registry_partitions(registry, topic, add_partition, description->partitions, err);
    if (code != 0)
        dango_mofka_registry_release(description);
    return code;
}

/* ---- listing ---- */

static yk_return_t add_name(void *arg, size_t index, const void *key, size_t key_size, const void *value,
                            size_t value_size)
{
    struct json_object *names = arg;
    static const char suffix[] = ":validator";
    const size_t suffix_size = sizeof suffix - 1;
    (void)index;
    (void)value;
    (void)value_size;
    const char *text = key;
    if (key_size <= MOFKA_KEY_PREFIX_SIZE + suffix_size || key_size >= MOFKA_KEY_SIZE ||
        memcmp(text + key_size - suffix_size, suffix, suffix_size) != 0)
        return YOKAN_SUCCESS;
    json_object_array_add(names, json_object_new_string_len(text + MOFKA_KEY_PREFIX_SIZE,
                                                            (int)(key_size - MOFKA_KEY_PREFIX_SIZE - suffix_size)));
    return YOKAN_SUCCESS;
}

static struct json_object *describe(const char *name, struct diaspora_topic_description *description)
{
    struct json_object *topic = json_object_new_object();
    json_object_object_add(topic, "name", json_object_new_string(name));
    json_object_object_add(topic, "num_partitions",
                           json_object_new_int64((int64_t)json_object_array_length(description->partitions)));
    json_object_object_add(topic, "validator", json_object_get(description->validator));
    json_object_object_add(topic, "serializer", json_object_get(description->serializer));
    json_object_object_add(topic, "partition_selector", json_object_get(description->partition_selector));
    dango_mofka_registry_release(description);
    return topic;
}

int dango_mofka_registry_names(struct mofka_registry *registry, struct json_object **names, struct dango_error *err)
{
    const yk_iter_options_t keys_only = {.ignore_values = true};
    *names = json_object_new_array();
    yk_return_t ret = yk_iter(registry->database, YOKAN_MODE_DEFAULT, NULL, 0, MOFKA_KEY_PREFIX, MOFKA_KEY_PREFIX_SIZE,
                              0, add_name, *names, &keys_only);
    if (ret == YOKAN_SUCCESS)
        return 0;
    json_object_put(*names);
    *names = NULL;
    return mofka_registry_error(registry, ret, err);
}

int dango_mofka_registry_no_topic(struct mofka_registry *registry, const char *topic, struct dango_error *err)
{
    struct json_object *names = NULL;
    const char *list[SUGGESTED_MAX];
    char text[512] = "";
    size_t count = 0;
    if (dango_mofka_registry_names(registry, &names, NULL) == 0) {
        for (; count < SUGGESTED_MAX && count < json_object_array_length(names); count++)
            list[count] = json_object_get_string(json_object_array_get_idx(names, count));
        dango_suggest_list("topics", topic, list, count, text, sizeof text);
    }
    dango_error_set(err, DANGO_ERR_NOT_FOUND, "there is no topic \"%s\"%s", topic, text);
    json_object_put(names);
    return DANGO_ERR_NOT_FOUND;
}

int dango_mofka_registry_list(struct mofka_registry *registry, struct json_object **list, struct dango_error *err)
{
    struct json_object *names = NULL, *topics = json_object_new_object();
    int code = dango_mofka_registry_names(registry, &names, err);
    for (size_t i = 0; code == 0 && i < json_object_array_length(names); i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(names, i));
        struct diaspora_topic_description description;
        code = dango_mofka_registry_load(registry, name, &description, err);
        if (code == 0)
            json_object_object_add(topics, name, describe(name, &description));
        else if (code == DANGO_ERR_NOT_FOUND)
            code = 0; /* deleted meanwhile */
    }
    json_object_put(names);
    if (code != 0) {
        json_object_put(topics);
        return code;
    }
    *list = topics;
    return 0;
}
