/*
 * Component options → JSON (see args.h): paths, the values that texts stand for, merging.
 */
#include "cli/args.h"

#include "util/json.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* "integer" without a dot, "number" with exactly one, NULL otherwise. */
static const char *number_kind(const char *text)
{
    size_t digits = 0, dots = 0;
    for (const char *c = text + (*text == '+' || *text == '-'); *c; c++) {
        if (*c == '.')
            dots++;
        else if (isdigit((unsigned char)*c))
            digits++;
        else
            return NULL;
    }
    if (digits == 0 || dots > 1)
        return NULL;
    return dots ? "number" : "integer";
}

static struct json_object *integer_value(const char *text, struct dango_error *err)
{
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (errno == 0)
        return json_object_new_int64(value);
    /* Between 2^63 and 2^64 there are still unsigned values. */
    errno = 0;
    unsigned long long large = strtoull(text, NULL, 10);
    if (errno == 0 && *text != '-')
        return json_object_new_uint64(large);
    dango_error_set(err, DANGO_ERR_RANGE, "%s does not fit into 64 bits", text);
    return NULL;
}

/* Items between commas, each by the same rules; an empty one at the end is dropped. */
static struct json_object *list_value(const char *text, struct dango_error *err)
{
    struct json_object *list = json_object_new_array();
    char *copy = strdup(text), *rest = copy;
    assert(list && copy);
    for (char *item = strsep(&rest, ","); item && list; item = strsep(&rest, ",")) {
        if (!rest && !*item)
            break;
        struct json_object *value = cli_component_value(item, err);
        if (value) {
            json_object_array_add(list, value);
        } else {
            json_object_put(list);
            list = NULL;
        }
    }
    free(copy);
    return list;
}

struct json_object *cli_component_value(const char *text, struct dango_error *err)
{
    const char *kind = number_kind(text);
    if (kind && strcmp(kind, "integer") == 0)
        return integer_value(text, err);
    if (kind)
        return json_object_new_double(strtod(text, NULL));
    if (strchr(text, ','))
        return list_value(text, err);
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return json_object_new_boolean(*text == 't');
    return json_object_new_string(text);
}

int cli_targets(const char *text, struct json_object *options, struct dango_error *err)
{
    struct json_object *value = cli_component_value(text, err);
    if (!value)
        return dango_error_prefix(err, "--targets");
    if (!json_object_is_type(value, json_type_array)) {
        struct json_object *only = value;
        value = json_object_new_array();
        json_object_array_add(value, only);
    }
    json_object_object_add(options, "targets", value);
    return 0;
}

/* The object in a member; one is made when there is none or something else. */
static struct json_object *object_in(struct json_object *parent, const char *key)
{
    struct json_object *child = dango_json_get(parent, key);
    if (!json_object_is_type(child, json_type_object)) {
        child = json_object_new_object();
        json_object_object_add(parent, key, child);
    }
    return child;
}

int cli_component_set(struct cli_component *component, const char *path, const char *text, struct dango_error *err)
{
    size_t length = strlen(path);
    if (length == 0 || path[0] == '.' || path[length - 1] == '.' || strstr(path, ".."))
        return dango_error_set(err, DANGO_ERR_INVALID, "a key must not be empty");
    struct json_object *value = cli_component_value(text, err);
    if (!value)
        return DANGO_ERR_RANGE;
    if (!component->members)
        component->members = json_object_new_object();
    struct json_object *object = component->members;
    char *copy = strdup(path), *rest = copy;
    assert(copy && object);
    char *key = strsep(&rest, ".");
    for (; rest; key = strsep(&rest, "."))
        object = object_in(object, key);
    json_object_object_add(object, key, value);
    free(copy);
    return 0;
}

void cli_component_merge(struct json_object *target, struct json_object *patch)
{
    assert(json_object_is_type(target, json_type_object) && json_object_is_type(patch, json_type_object));
    json_object_object_foreach (patch, key, value) {
        if (json_object_is_type(value, json_type_object))
            cli_component_merge(object_in(target, key), value);
        else
            json_object_object_add(target, key, json_object_get(value));
    }
}

int cli_component_json(const struct cli_component *component, const char *name, struct json_object **json,
                       struct dango_error *err)
{
    *json = component->file ? dango_json_read_file(component->file, err) : json_object_new_object();
    if (!*json)
        return dango_error_prefix(err, "--%s-config", name);
    if (!json_object_is_type(*json, json_type_object)) {
        int status = dango_error_set(err, DANGO_ERR_INVALID, "--%s-config: %s: expected an object, got %s", name,
                                     component->file, dango_json_kind(*json));
        json_object_put(*json);
        *json = NULL;
        return status;
    }
    if (component->members)
        cli_component_merge(*json, component->members);
    return 0;
}
