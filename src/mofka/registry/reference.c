/*
 * See reference.h.
 */
#include "mofka/registry/reference.h"

#include "util/json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVER_PREFIX "server:"

/* What stands behind the first '@' of a string; NULL when there is none. */
static const char *place_of(struct json_object *value)
{
    const char *text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
    const char *at = text ? strchr(text, '@') : NULL;
    return at ? at + 1 : NULL;
}

/* Gives a member another place. Changes the value of a member that is there: safe while one walks over them. */
static void replace_place(struct json_object *value, const char *place, const char *prefix, const char *by)
{
    const char *text = json_object_get_string(value);
    char *changed;
    if (asprintf(&changed, "%.*s%s%s", (int)(place - text), text, prefix, by) < 0)
        abort();
    json_object_set_string(value, changed);
    free(changed);
}

void dango_mofka_references_store(struct json_object *dependencies,
                                  const char *(*name_of)(void *arg, const char *address), void *arg)
{
    assert(json_object_is_type(dependencies, json_type_object));
    json_object_object_foreach (dependencies, key, value) {
        (void)key;
        const char *place = place_of(value);
        const char *name = place ? name_of(arg, place) : NULL;
        if (name)
            replace_place(value, place, SERVER_PREFIX, name);
    }
}

int dango_mofka_references_load(struct json_object *dependencies,
                                int (*address_of)(void *arg, const char *name, char **address, struct dango_error *err),
                                void *arg, struct dango_error *err)
{
    assert(json_object_is_type(dependencies, json_type_object));
    json_object_object_foreach (dependencies, key, value) {
        const char *place = place_of(value);
        char *address;
        if (!place || strncmp(place, SERVER_PREFIX, strlen(SERVER_PREFIX)) != 0)
            continue;
        if (address_of(arg, place + strlen(SERVER_PREFIX), &address, err) < 0)
            return dango_error_prefix(err, "dependency \"%s\"", key);
        replace_place(value, place, "", address);
        free(address);
    }
    return 0;
}
