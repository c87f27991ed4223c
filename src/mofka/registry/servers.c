/*
 * Names of servers and where they were last; see registry.h.
 */
#include "mofka/registry/internal.h"
#include "util/json.h"

#include <bedrock/server.h>

#include <assert.h>
#include <string.h>

#define SERVER_PREFIX   "MOFKA:SERVER:"
#define SERVER_KEY_SIZE (sizeof SERVER_PREFIX + BEDROCK_SERVER_NAME_MAX)

static size_t make_key(char key[SERVER_KEY_SIZE], const char *name)
{
    int length = snprintf(key, SERVER_KEY_SIZE, SERVER_PREFIX "%s", name);
    assert(length > 0 && (size_t)length < SERVER_KEY_SIZE);
    return (size_t)length;
}

static yk_return_t take_address(void *arg, size_t index, const void *key, size_t key_size, const void *value,
                                size_t value_size)
{
    (void)index;
    (void)key;
    (void)key_size;
    if (value_size > YOKAN_LAST_VALID_SIZE)
        return YOKAN_SUCCESS;
    struct json_object *json = dango_json_parse(value, value_size, NULL);
    const char *address = dango_json_get_string(json, "address");
    if (address)
        *(char **)arg = strdup(address);
    json_object_put(json);
    return YOKAN_SUCCESS;
}

static int fetch_address(struct mofka_registry *registry, const char *name, int32_t mode, char **address,
                         struct dango_error *err)
{
    char key[SERVER_KEY_SIZE];
    *address = NULL;
    yk_return_t ret = yk_fetch(registry->database, mode, key, make_key(key, name), take_address, address);
    return ret == YOKAN_SUCCESS || ret == YOKAN_ERR_KEY_NOT_FOUND ? 0 : mofka_registry_error(registry, ret, err);
}

int dango_mofka_registry_find_server(struct mofka_registry *registry, const char *name, char **address,
                                     struct dango_error *err)
{
    return fetch_address(registry, name, YOKAN_MODE_DEFAULT, address, err);
}

int dango_mofka_registry_take_server(struct mofka_registry *registry, const char *name, char **address,
                                     struct dango_error *err)
{
    return fetch_address(registry, name, YOKAN_MODE_CONSUME, address, err);
}

int dango_mofka_registry_add_server(struct mofka_registry *registry, const char *name, const char *address,
                                    struct dango_error *err)
{
    char key[SERVER_KEY_SIZE];
    size_t size;
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "address", json_object_new_string(address));
    const char *text = json_object_to_json_string_length(json, JSON_C_TO_STRING_PLAIN, &size);
    yk_return_t ret = yk_put(registry->database, YOKAN_MODE_NEW_ONLY, key, make_key(key, name), text, size);
    json_object_put(json);
    if (ret == YOKAN_ERR_KEY_EXISTS)
        return dango_error_set(err, DANGO_ERR_EXISTS, "there is a server \"%s\" already", name);
    return ret == YOKAN_SUCCESS ? 0 : mofka_registry_error(registry, ret, err);
}
