/*
 * Option tables: parsing and dumping of settings (see dango/options.h). The reference pages are in options_doc.c.
 *
 * Parsing walks the JSON object once to reject unknown names, then the table once to fill every field from the object
 * or from its default. On any error everything filled so far is released, so that the caller has nothing to clean up.
 */
#include <dango/options.h>

#include "util/json.h"
#include "util/suggest.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX      128
#define PATH_MAX_BYTES 512

static void *field_of(const struct dango_option *option, void *settings)
{
    return (char *)settings + option->offset;
}

static const void *const_field_of(const struct dango_option *option, const void *settings)
{
    return (const char *)settings + option->offset;
}

static void join_path(char *buffer, const char *path, const char *name)
{
    snprintf(buffer, PATH_MAX_BYTES, "%s%s%s", path, *path ? "." : "", name);
}

static int wrong_type(const char *path, struct json_object *json, const char *expected, struct dango_error *err)
{
    return dango_error_set(err, DANGO_ERR_INVALID, "%s: expected %s, got %s", path, expected, dango_json_kind(json));
}

static int reject_unknown(const struct dango_option *table, struct json_object *json, const char *path,
                          struct dango_error *err)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (const struct dango_option *o = table; o->type != DANGO_OPTION_TYPE_END; o++) {
        assert(count < NAMES_MAX);
        names[count++] = o->name;
    }
    json_object_object_foreach (json, key, value) {
        (void)value;
        size_t i = 0;
        while (i < count && strcmp(names[i], key) != 0)
            i++;
        if (i == count) {
            char list[512];
            return dango_error_set(err, DANGO_ERR_INVALID, "%s%sunknown field \"%s\"%s", path, *path ? ": " : "", key,
                                   dango_suggest_list("fields", key, names, count, list, sizeof list));
        }
    }
    return 0;
}

static int range_error(const struct dango_option *option, struct json_object *json, const char *path,
                       struct dango_error *err)
{
    char excerpt[40];
    dango_json_excerpt(json, excerpt, sizeof excerpt);
    if (option->max != INT64_MAX)
        return dango_error_set(err, DANGO_ERR_RANGE, "%s: %s is not in %" PRId64 "..%" PRId64, path, excerpt,
                               option->min, option->max);
    if (option->min == 0 && json_object_get_int64(json) < 0)
        return dango_error_set(err, DANGO_ERR_RANGE, "%s: must not be negative", path);
    return dango_error_set(err, DANGO_ERR_RANGE, "%s: %s is not an integer of at least %" PRId64 " that fits 64 bits",
                           path, excerpt, option->min);
}

static int parse_int(const struct dango_option *option, struct json_object *json, const char *path, int64_t *field,
                     struct dango_error *err)
{
    if (!json_object_is_type(json, json_type_int))
        return wrong_type(path, json, "an integer", err);
    int64_t value = json_object_get_int64(json);
    /* json-c saturates what does not fit into 64 bits; the unsigned reading tells such values from INT64_MAX. */
    bool too_large = value == INT64_MAX && json_object_get_uint64(json) > INT64_MAX;
    if (value < option->min || value > option->max || too_large) {
        return range_error(option, json, path, err);
    }
    *field = value;
    return 0;
}

static int parse_real(const struct dango_option *option, struct json_object *json, const char *path, double *field,
                      struct dango_error *err)
{
    if (!json_object_is_type(json, json_type_double) && !json_object_is_type(json, json_type_int))
        return wrong_type(path, json, "a number", err);
    double value = json_object_get_double(json);
    if (!(value >= option->min_real && value <= option->max_real))
        return dango_error_set(err, DANGO_ERR_RANGE, "%s: %g is not in %g..%g", path, value, option->min_real,
                               option->max_real);
    *field = value;
    return 0;
}

static int parse_choice(const struct dango_option *option, struct json_object *json, const char *path, int *field,
                        struct dango_error *err)
{
    if (!json_object_is_type(json, json_type_string))
        return wrong_type(path, json, "a string", err);
    const char *text = json_object_get_string(json);
    size_t count = 0;
    while (option->choices[count]) {
        if (strcmp(option->choices[count], text) == 0) {
            *field = (int)count;
            return 0;
        }
        count++;
    }
    char list[512];
    return dango_error_set(err, DANGO_ERR_INVALID, "%s: unknown value \"%s\"%s", path, text,
                           dango_suggest_list("allowed", text, option->choices, count, list, sizeof list));
}

static int kind_bit(struct json_object *json)
{
    switch (json_object_get_type(json)) {
    case json_type_object:
        return DANGO_JSON_OBJECT;
    case json_type_array:
        return DANGO_JSON_ARRAY;
    case json_type_string:
        return DANGO_JSON_STRING;
    case json_type_int:
        return DANGO_JSON_INT;
    case json_type_double:
        return DANGO_JSON_REAL;
    case json_type_boolean:
        return DANGO_JSON_BOOL;
    default:
        return 0;
    }
}

/* "an object, an array or a string" from the bits. */
static const char *kinds_text(int kinds, char *buffer, size_t size)
{
    static const char *const names[] = {"an object", "an array", "a string", "an integer", "a number", "a boolean"};
    size_t used = 0;
    buffer[0] = '\0';
    for (int i = 0; i < 6; i++) {
        if (!(kinds & (1 << i)))
            continue;
        bool last = (kinds >> (i + 1)) == 0;
        const char *glue = used == 0 ? "" : last ? " or " : ", ";
        used += (size_t)snprintf(buffer + used, size - used, "%s%s", glue, names[i]);
    }
    return buffer;
}

static int parse_value(const struct dango_option *option, struct json_object *json, const char *path, void *field,
                       struct dango_error *err)
{
    switch (option->type) {
    case DANGO_OPTION_TYPE_BOOL:
        if (!json_object_is_type(json, json_type_boolean))
            return wrong_type(path, json, "a boolean (true or false)", err);
        *(bool *)field = json_object_get_boolean(json);
        return 0;
    case DANGO_OPTION_TYPE_INT:
        return parse_int(option, json, path, field, err);
    case DANGO_OPTION_TYPE_REAL:
        return parse_real(option, json, path, field, err);
    case DANGO_OPTION_TYPE_STRING:
        if (!json_object_is_type(json, json_type_string))
            return wrong_type(path, json, "a string", err);
        *(char **)field = strdup(json_object_get_string(json));
        return *(char **)field ? 0 : dango_error_set(err, DANGO_ERR_NO_MEMORY, "%s: out of memory", path);
    case DANGO_OPTION_TYPE_CHOICE:
        return parse_choice(option, json, path, field, err);
    case DANGO_OPTION_TYPE_OBJECT:
        return dango_options_parse(option->nested, json, path, field, err);
    case DANGO_OPTION_TYPE_JSON:
        if (!(kind_bit(json) & option->json_kinds)) {
            char expected[128];
            return wrong_type(path, json, kinds_text(option->json_kinds, expected, sizeof expected), err);
        }
        *(struct json_object **)field = dango_json_copy(json);
        return 0;
    default:
        assert(!"option type");
        return DANGO_ERR_INTERNAL;
    }
}

static int fill_default(const struct dango_option *option, const char *path, void *field, struct dango_error *err)
{
    switch (option->type) {
    case DANGO_OPTION_TYPE_BOOL:
        *(bool *)field = option->default_int != 0;
        return 0;
    case DANGO_OPTION_TYPE_INT:
        *(int64_t *)field = option->default_int;
        return 0;
    case DANGO_OPTION_TYPE_REAL:
        *(double *)field = option->default_real;
        return 0;
    case DANGO_OPTION_TYPE_STRING:
        *(char **)field = option->default_text ? strdup(option->default_text) : NULL;
        return 0;
    case DANGO_OPTION_TYPE_CHOICE:
        *(int *)field = (int)option->default_int;
        return 0;
    case DANGO_OPTION_TYPE_OBJECT:
        return dango_options_parse(option->nested, NULL, path, field, err);
    case DANGO_OPTION_TYPE_JSON:
        if (option->default_text)
            *(struct json_object **)field = json_tokener_parse(option->default_text);
        return 0;
    default:
        assert(!"option type");
        return DANGO_ERR_INTERNAL;
    }
}

static int parse_field(const struct dango_option *option, struct json_object *json, const char *path, void *settings,
                       struct dango_error *err)
{
    char full[PATH_MAX_BYTES];
    join_path(full, path, option->name);
    struct json_object *value = NULL;
    /* null is how a document says "absent": an effective configuration and a false __if__ may contain it. */
    if (json && json_object_object_get_ex(json, option->name, &value) && value)
        return parse_value(option, value, full, field_of(option, settings), err);
    if (option->flags & DANGO_OPTION_REQUIRED)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: this field is required (%s)", full, option->help);
    return fill_default(option, full, field_of(option, settings), err);
}

int dango_options_parse(const struct dango_option *table, struct json_object *json, const char *path, void *settings,
                        struct dango_error *err)
{
    assert(table && path && settings);
    if (json && !json_object_is_type(json, json_type_object))
        return wrong_type(*path ? path : "document", json, "an object", err);
    int status = json ? reject_unknown(table, json, path, err) : 0;
    for (const struct dango_option *o = table; status == 0 && o->type != DANGO_OPTION_TYPE_END; o++)
        status = parse_field(o, json, path, settings, err);
    if (status != 0)
        dango_options_release(table, settings);
    return status;
}

static struct json_object *dump_value(const struct dango_option *option, const void *field)
{
    switch (option->type) {
    case DANGO_OPTION_TYPE_BOOL:
        return json_object_new_boolean(*(const bool *)field);
    case DANGO_OPTION_TYPE_INT:
        return json_object_new_int64(*(const int64_t *)field);
    case DANGO_OPTION_TYPE_REAL:
        return json_object_new_double(*(const double *)field);
    case DANGO_OPTION_TYPE_STRING:
        return *(char *const *)field ? json_object_new_string(*(char *const *)field) : NULL;
    case DANGO_OPTION_TYPE_CHOICE:
        return json_object_new_string(option->choices[*(const int *)field]);
    case DANGO_OPTION_TYPE_OBJECT:
        return dango_options_dump(option->nested, field);
    case DANGO_OPTION_TYPE_JSON:
        return dango_json_copy(*(struct json_object *const *)field);
    default:
        assert(!"option type");
        return NULL;
    }
}

struct json_object *dango_options_dump(const struct dango_option *table, const void *settings)
{
    assert(table && settings);
    struct json_object *json = json_object_new_object();
    for (const struct dango_option *o = table; o->type != DANGO_OPTION_TYPE_END; o++) {
        struct json_object *value = dump_value(o, const_field_of(o, settings));
        if (value)
            json_object_object_add(json, o->name, value);
    }
    return json;
}

void dango_options_release(const struct dango_option *table, void *settings)
{
    for (const struct dango_option *o = table; o->type != DANGO_OPTION_TYPE_END; o++) {
        void *field = field_of(o, settings);
        if (o->type == DANGO_OPTION_TYPE_STRING) {
            free(*(char **)field);
            *(char **)field = NULL;
        } else if (o->type == DANGO_OPTION_TYPE_JSON) {
            json_object_put(*(struct json_object **)field);
            *(struct json_object **)field = NULL;
        } else if (o->type == DANGO_OPTION_TYPE_OBJECT) {
            dango_options_release(o->nested, field);
        }
    }
}
