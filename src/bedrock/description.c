/*
 * Parsing of provider descriptions: the option table, and what a table cannot say (identifiers, element types).
 */
#include "bedrock/description.h"
#include "bedrock/identifier.h"
#include "util/json.h"
#include "util/log.h"

#include <bedrock/client.h>
#include <bedrock/module.h>

#include <assert.h>
#include <stdio.h>
#include <string.h>

const struct dango_option bdk_description_options[] = {
    DANGO_OPTION_STRING_REQUIRED("name", struct bdk_description, name,
                                 "identifier ([A-Za-z_][A-Za-z0-9_]*), unique in the process"),
    DANGO_OPTION_STRING_REQUIRED("type", struct bdk_description, type, "type of component, from a loaded library"),
    DANGO_OPTION_INT("provider_id", struct bdk_description, provider_id, BEDROCK_PROVIDER_ID_ANY, 0, UINT16_MAX,
                     "unique in the process; 65535: the smallest one that is free"),
    DANGO_OPTION_JSON("config", struct bdk_description, config, DANGO_JSON_OBJECT, "{}",
                      "settings of the component, see the page of its type"),
    DANGO_OPTION_JSON("tags", struct bdk_description, tags, DANGO_JSON_ARRAY, "[]",
                      "strings, free labels that clients can see"),
    DANGO_OPTION_JSON("dependencies", struct bdk_description, dependencies, DANGO_JSON_OBJECT, "{}",
                      "what the component uses: name → reference or array of references"),
    DANGO_OPTION_INT("engine", struct bdk_description, engine, 0, 0, INT32_MAX,
                     "index in `margo` of the network instance that serves it"),
    DANGO_OPTION_END,
};

const char *bdk_description_label(const struct bdk_description *description, char buffer[BDK_LABEL_BYTES])
{
    snprintf(buffer, BDK_LABEL_BYTES, "%s (\"%s\")", description->path, description->name);
    return buffer;
}

/* Before the table: these two deserve messages of their own. */
static int check_required(struct json_object *json, const char *path, struct dango_error *err)
{
    struct json_object *name = dango_json_get(json, "name");
    if (!name)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: missing \"name\"", path);
    if (dango_json_get(json, "type"))
        return 0;
    if (json_object_is_type(name, json_type_string))
        return dango_error_set(err, DANGO_ERR_INVALID, "%s (\"%s\"): missing \"type\"", path,
                               json_object_get_string(name));
    return dango_error_set(err, DANGO_ERR_INVALID, "%s: missing \"type\"", path);
}

/* Documents of older releases have "pool" here. A copy without it, after a warning. */
static struct json_object *without_old_fields(struct json_object *json, const char *path)
{
    struct json_object *copy = dango_json_copy(json);
    if (dango_json_get(json, "pool")) {
        log_warning("bedrock", "%s.pool is ignored: write \"dependencies\": {\"pool\": \"name\"}", path);
        json_object_object_del(copy, "pool");
    }
    return copy;
}

static int check_identifier(const char *text, const char *path, const char *field, struct dango_error *err)
{
    if (strlen(text) > BEDROCK_NAME_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s.%s: longer than %d characters", path, field,
                               BEDROCK_NAME_MAX);
    if (!bdk_is_identifier(text))
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "%s.%s: \"%s\" is not a valid identifier (letters, digits and '_', no digit first)",
                               path, field, text);
    return 0;
}

static int check_tags(struct json_object *tags, const char *path, struct dango_error *err)
{
    for (size_t i = 0; i < json_object_array_length(tags); i++) {
        struct json_object *tag = json_object_array_get_idx(tags, i);
        if (!json_object_is_type(tag, json_type_string))
            return dango_error_set(err, DANGO_ERR_INVALID, "%s.tags[%zu]: expected a string, got %s", path, i,
                                   dango_json_kind(tag));
    }
    return 0;
}

static bool is_reference(struct json_object *json)
{
    return json_object_is_type(json, json_type_string) || json_object_is_type(json, json_type_int);
}

static bool is_reference_or_array(struct json_object *json)
{
    if (!json_object_is_type(json, json_type_array))
        return is_reference(json);
    for (size_t i = 0; i < json_object_array_length(json); i++) {
        if (!is_reference(json_object_array_get_idx(json, i)))
            return false;
    }
    return true;
}

static int check_dependencies(struct json_object *dependencies, const char *path, struct dango_error *err)
{
    json_object_object_foreach (dependencies, key, value) {
        if (!is_reference_or_array(value))
            return dango_error_set(err, DANGO_ERR_INVALID,
                                   "%s.dependencies.%s: expected a string, an integer or an array of these, got %s",
                                   path, key, dango_json_kind(value));
    }
    return 0;
}

int bdk_description_parse(struct bdk_description *description, struct json_object *json, const char *path,
                          struct dango_error *err)
{
    assert(description && !description->name && path);
    if (!json_object_is_type(json, json_type_object))
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: expected an object, got %s", path, dango_json_kind(json));
    int status = check_required(json, path, err);
    if (status < 0)
        return status;
    struct json_object *copy = without_old_fields(json, path);
    status = dango_options_parse(bdk_description_options, copy, path, description, err);
    json_object_put(copy);
    if (status < 0)
        return status;
    snprintf(description->path, sizeof description->path, "%s", path);
    if ((status = check_identifier(description->name, path, "name", err)) < 0 ||
        (status = check_identifier(description->type, path, "type", err)) < 0 ||
        (status = check_tags(description->tags, path, err)) < 0 ||
        (status = check_dependencies(description->dependencies, path, err)) < 0)
        bdk_description_release(description);
    return status;
}

void bdk_description_release(struct bdk_description *description)
{
    dango_options_release(bdk_description_options, description);
    *description = (struct bdk_description){0};
}
