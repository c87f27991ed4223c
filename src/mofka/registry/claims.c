/*
 * Marks of those who create topics; see registry.h. What is in a mark is its maker's business.
 */
#include "mofka/registry/internal.h"
#include "util/json.h"

#include <string.h>

static yk_return_t take_mark(void *arg, size_t index, const void *key, size_t key_size, const void *value,
                             size_t value_size)
{
    (void)index;
    (void)key;
    (void)key_size;
    if (value_size <= YOKAN_LAST_VALID_SIZE)
        *(struct json_object **)arg = dango_json_parse(value, value_size, NULL);
    return YOKAN_SUCCESS;
}

static int put_mark(struct mofka_registry *registry, const char *topic, int32_t mode, struct json_object *mark,
                    struct dango_error *err)
{
    char key[MOFKA_KEY_SIZE];
    size_t size;
    const char *text = json_object_to_json_string_length(mark, JSON_C_TO_STRING_PLAIN, &size);
    mofka_registry_key(key, topic, "creator");
    yk_return_t ret = yk_put(registry->database, mode, key, strlen(key), text, size);
    if (ret == YOKAN_ERR_KEY_EXISTS)
        return dango_error_set(err, DANGO_ERR_BUSY, "topic \"%s\" is being created", topic);
    return ret == YOKAN_SUCCESS ? 0 : mofka_registry_error(registry, ret, err);
}

static int fetch_mark(struct mofka_registry *registry, const char *topic, int32_t mode, struct json_object **mark,
                      struct dango_error *err)
{
    char key[MOFKA_KEY_SIZE];
    *mark = NULL;
    mofka_registry_key(key, topic, "creator");
    yk_return_t ret = yk_fetch(registry->database, mode, key, strlen(key), take_mark, mark);
    return ret == YOKAN_SUCCESS || ret == YOKAN_ERR_KEY_NOT_FOUND ? 0 : mofka_registry_error(registry, ret, err);
}

int dango_mofka_registry_claim(struct mofka_registry *registry, const char *topic, struct json_object *mark,
                               struct json_object **other, struct dango_error *err)
{
    *other = NULL;
    int code = put_mark(registry, topic, YOKAN_MODE_NEW_ONLY, mark, err);
    if (code != DANGO_ERR_BUSY)
        return code;
    code = fetch_mark(registry, topic, YOKAN_MODE_DEFAULT, other, err);
    return code == 0 ? DANGO_ERR_BUSY : code;
}

int dango_mofka_registry_unclaim(struct mofka_registry *registry, const char *topic, struct json_object **mark,
                                 struct dango_error *err)
{
    return fetch_mark(registry, topic, YOKAN_MODE_CONSUME, mark, err);
}

int dango_mofka_registry_renew_claim(struct mofka_registry *registry, const char *topic, struct json_object *mark,
                                     struct dango_error *err)
{
    return put_mark(registry, topic, YOKAN_MODE_DEFAULT, mark, err);
}
