/*
 * The steps of document.h, each a function from a JSON tree to a new one.
 */
#include "bedrock/document.h"
#include "bedrock/expression.h"
#include "bedrock/value.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONDITION      "__if__"
#define WORLD          "MPI_COMM_WORLD"
#define PATH_MAX_BYTES 512

static struct json_object *expand_object(struct json_object *object, struct dango_error *err);

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of an object in sorted order; to be freed. */
static const char **sorted_keys(struct json_object *object, size_t *count)
{
    *count = (size_t)json_object_object_length(object);
    const char **keys = malloc((*count + 1) * sizeof *keys);
    if (!keys)
        abort();
    size_t i = 0;
    json_object_object_foreach (object, key, value) {
        (void)value;
        keys[i++] = key;
    }
    assert(i == *count);
    qsort(keys, *count, sizeof *keys, compare_keys);
    return keys;
}

/* Adds `value` (a reference, taken) under `key`; two objects are merged, anything else is replaced. */
static void merge(struct json_object *object, const char *key, struct json_object *value)
{
    struct json_object *present = dango_json_get(object, key);
    if (!json_object_is_type(present, json_type_object) || !json_object_is_type(value, json_type_object)) {
        json_object_object_add(object, key, value);
        return;
    }
    json_object_object_foreach (value, inner_key, inner)
        merge(present, inner_key, json_object_get(inner));
    json_object_put(value);
}

/* Puts `value` (a reference, taken) at the dotted `key`. */
static int insert_dotted(struct json_object *object, const char *key, struct json_object *value,
                         struct dango_error *err)
{
    char *names = strdup(key);
    if (!names)
        abort();
    int status = 0;
    char *name = names;
    for (char *dot; (dot = strchr(name, '.')) && status == 0; name = dot + 1) {
        *dot = '\0';
        if (!*name)
            break;
        if (!json_object_is_type(dango_json_get(object, name), json_type_object))
            json_object_object_add(object, name, json_object_new_object());
        object = dango_json_get(object, name);
    }
    if (*name) {
        merge(object, name, value);
    } else {
        json_object_put(value);
        status = dango_error_set(err, DANGO_ERR_INVALID, "key \"%s\": empty name%s", key, *key ? " beside a dot" : "");
    }
    free(names);
    return status;
}

static struct json_object *expand_value(struct json_object *value, struct dango_error *err)
{
    return json_object_is_type(value, json_type_object) ? expand_object(value, err) : json_object_get(value);
}

static struct json_object *expand_object(struct json_object *object, struct dango_error *err)
{
    struct json_object *result = json_object_new_object();
    size_t count;
    const char **keys = sorted_keys(object, &count);
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        struct json_object *value = dango_json_get(object, keys[i]);
        struct json_object *expanded = expand_value(value, err);
        status = value && !expanded ? err->code : insert_dotted(result, keys[i], expanded, err);
    }
    free(keys);
    if (status != 0) {
        json_object_put(result);
        return NULL;
    }
    return result;
}

/* "a.b": v → "a": {"b": v}, in objects within objects, not in arrays (a top-level array is one of configurations: its
 * elements are expanded). Keys are merged in sorted order. A new reference; NULL on error. */
static struct json_object *expand(struct json_object *json, struct dango_error *err)
{
    assert(json && err);
    if (!json_object_is_type(json, json_type_array))
        return expand_value(json, err);
    struct json_object *result = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(json); i++) {
        struct json_object *element = json_object_array_get_idx(json, i);
        struct json_object *expanded = expand_value(element, err);
        if (element && !expanded) {
            dango_error_prefix(err, "[%zu]", i);
            json_object_put(result);
            return NULL;
        }
        json_object_array_add(result, expanded);
    }
    return result;
}

/* What conditions are about. */
struct process {
    const struct dango_world *world;
    const char *name; /* NULL: none was given */
};

static struct json_object *filter(struct json_object *json, const char *path, const struct process *process,
                                  struct dango_error *err);

/*
 * A member of a launch that was lost is started again alone, by name, and is not rank 0 because of that (null == 0). A
 * server without a name is the whole group, for which the conditions are right as they are.
 */
static void warn_of_missing_rank(const struct process *process, const char *condition, const char *path, bool holds)
{
    if (process->world->launched || !process->name || strcmp(process->name, "0") == 0 || !strstr(condition, "$" WORLD))
        return;
    log_warning("bedrock",
                "%s: no launcher has started server \"%s\": $" WORLD
                " is null, null == 0 is true, and this condition %s; "
                "if that is wrong, add \"&& $" WORLD ".size > 0\" to it",
                path, process->name, holds ? "holds" : "does not hold");
}

static bool evaluate_condition(const char *condition, const char *path, const struct process *process,
                               struct dango_error *err)
{
    struct dango_error missing = {0};
    struct json_object *variables = json_object_new_object(), *value;
    json_object_object_add(variables, WORLD, dango_world_variable(process->world));
    bool holds = bdk_expression_evaluate(condition, variables, &value, &missing, err) == 0 && bdk_value_truth(value);
    json_object_put(value);
    json_object_put(variables);
    if (err->code)
        dango_error_prefix(err, "%s", path);
    else if (missing.code)
        log_warning("bedrock", "%s: %s; taken as null, so that this condition %s", path, missing.text,
                    holds ? "holds" : "does not hold");
    else
        warn_of_missing_rank(process, condition, path, holds);
    return holds;
}

/* Whether the object is to be kept; sets the error when its condition is none. */
static bool condition_holds(struct json_object *object, const char *path, const struct process *process,
                            struct dango_error *err)
{
    struct json_object *condition;
    if (!json_object_object_get_ex(object, CONDITION, &condition))
        return true;
    if (json_object_is_type(condition, json_type_boolean))
        return json_object_get_boolean(condition);
    char place[PATH_MAX_BYTES];
    snprintf(place, sizeof place, "%s%s" CONDITION, path, *path ? "." : "");
    if (json_object_is_type(condition, json_type_string))
        return evaluate_condition(json_object_get_string(condition), place, process, err);
    dango_error_set(err, DANGO_ERR_INVALID, "%s: expected a boolean or a string, got %s", place,
                    dango_json_kind(condition));
    return false;
}

static struct json_object *filter_object(struct json_object *object, const char *path, const struct process *process,
                                         struct dango_error *err)
{
    if (!condition_holds(object, path, process, err))
        return NULL;
    struct json_object *result = json_object_new_object();
    json_object_object_foreach (object, key, value) {
        if (strcmp(key, CONDITION) == 0)
            continue;
        char inner[PATH_MAX_BYTES];
        snprintf(inner, sizeof inner, "%s%s%s", path, *path ? "." : "", key);
        struct json_object *kept = filter(value, inner, process, err);
        if (err->code) {
            json_object_put(result);
            return NULL;
        }
        if (kept)
            json_object_object_add(result, key, kept);
    }
    return result;
}

static struct json_object *filter_array(struct json_object *array, const char *path, const struct process *process,
                                        struct dango_error *err)
{
    struct json_object *result = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(array); i++) {
        char inner[PATH_MAX_BYTES];
        snprintf(inner, sizeof inner, "%s[%zu]", path, i);
        struct json_object *kept = filter(json_object_array_get_idx(array, i), inner, process, err);
        if (err->code) {
            json_object_put(result);
            return NULL;
        }
        if (kept)
            json_object_array_add(result, kept);
    }
    return result;
}

static struct json_object *filter(struct json_object *json, const char *path, const struct process *process,
                                  struct dango_error *err)
{
    assert(path && err && err->code == 0);
    if (json_object_is_type(json, json_type_object))
        return filter_object(json, path, process, err);
    if (json_object_is_type(json, json_type_array))
        return filter_array(json, path, process, err);
    return json_object_get(json);
}

/* Of several configurations the one of this process: the only one left, or the one at its rank. */
static struct json_object *select_configuration(struct json_object *json, const struct dango_world *world,
                                                struct dango_error *err)
{
    size_t count = json_object_array_length(json);
    size_t chosen = 0;
    if (count != 1) {
        if (!world->launched || count != (size_t)world->size) {
            dango_error_set(err, DANGO_ERR_INVALID,
                            "ambiguous configuration: %zu configurations are left for %d process%s; expected one, or "
                            "one for each",
                            count, world->size, world->size == 1 ? "" : "es");
            return NULL;
        }
        chosen = (size_t)world->rank;
    }
    return json_object_get(json_object_array_get_idx(json, chosen));
}

static size_t skip_space(const char *text, size_t length, size_t at)
{
    while (at < length && text[at] && strchr(" \t\r\n", text[at]))
        at++;
    return at;
}

/* Nothing but white space, or null. */
static bool is_empty(const char *text, size_t length)
{
    size_t at = skip_space(text, length, 0);
    if (length - at >= 4 && strncmp(text + at, "null", 4) == 0)
        at = skip_space(text, length, at + 4);
    return at == length;
}

struct json_object *bdk_document_parse(const char *text, size_t length, const struct dango_world *world,
                                       const char *name, struct dango_error *err)
{
    assert(text && world && err);
    const struct process process = {world, name};
    dango_error_clear(err);
    if (is_empty(text, length))
        return json_object_new_object();
    struct json_object *parsed = dango_json_parse(text, length, err);
    struct json_object *expanded = parsed ? expand(parsed, err) : NULL;
    struct json_object *filtered = expanded ? filter(expanded, "", &process, err) : NULL;
    json_object_put(parsed);
    json_object_put(expanded);
    if (err->code)
        return NULL;
    if (!filtered)
        return json_object_new_object();

    struct json_object *result = filtered;
    if (json_object_is_type(filtered, json_type_array)) {
        result = select_configuration(filtered, world, err);
        json_object_put(filtered);
    }
    if (result && !json_object_is_type(result, json_type_object)) {
        dango_error_set(err, DANGO_ERR_INVALID, "configuration: expected an object or an array of objects, got %s",
                        dango_json_kind(result));
        json_object_put(result);
        return NULL;
    }
    return result;
}
