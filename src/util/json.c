/*
 * JSON helpers: see json.h. json-c reports an offset; users need line and column, so we count.
 */
#include "util/json.h"
#include "util/file.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void position_of(const char *text, size_t offset, int *line, int *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            (*line)++;
            *column = 1;
        } else {
            (*column)++;
        }
    }
}

static int parse_error(struct dango_error *err, const char *text, size_t offset, const char *what)
{
    int line, column;
    position_of(text, offset, &line, &column);
    return dango_error_set(err, DANGO_ERR_INVALID, "line %d, column %d: invalid JSON: %s", line, column, what);
}

static bool only_space(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\0' || !strchr(" \t\r\n", text[i]))
            return false;
    }
    return true;
}

struct json_object *dango_json_parse(const char *text, size_t length, struct dango_error *err)
{
    assert(text);
    if (length > DANGO_JSON_SIZE_MAX) {
        dango_error_set(err, DANGO_ERR_RANGE, "JSON document of %zu bytes is larger than the %u allowed", length,
                        DANGO_JSON_SIZE_MAX);
        return NULL;
    }
    struct json_tokener *tokener = json_tokener_new();
    assert(tokener);
    json_tokener_set_flags(tokener,
                           JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8 | JSON_TOKENER_ALLOW_TRAILING_CHARS);
    struct json_object *json = json_tokener_parse_ex(tokener, text, (int)length);
    enum json_tokener_error status = json_tokener_get_error(tokener);
    size_t end = json_tokener_get_parse_end(tokener);
    bool ended = status == json_tokener_continue;
    /* A bare number is complete only when something follows it: tell the parser that the text ends here. */
    if (ended) {
        json = json_tokener_parse_ex(tokener, "", -1);
        status = json_tokener_get_error(tokener);
        end = length;
    }
    json_tokener_free(tokener);
    if (status != json_tokener_success) {
        parse_error(err, text, end < length ? end : length,
                    ended ? "the text ends before the document does" : json_tokener_error_desc(status));
    } else if (end < length && !only_space(text + end, length - end)) {
        json_object_put(json);
        json = NULL;
        parse_error(err, text, end, "something follows the document");
    } else if (!json) {
        dango_error_set(err, DANGO_ERR_INVALID, "the JSON document is null");
    }
    return json;
}

struct json_object *dango_json_read_file(const char *path, struct dango_error *err)
{
    size_t length;
    char *text = dango_file_read(path, DANGO_JSON_SIZE_MAX, &length, err);
    if (!text)
        return NULL;
    struct json_object *json = dango_json_parse(text, length, err);
    if (!json)
        dango_error_prefix(err, "%s", path);
    free(text);
    return json;
}

int dango_json_write_file(const char *path, struct json_object *json, struct dango_error *err)
{
    const int style = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE | JSON_C_TO_STRING_SPACED;
    size_t length;
    const char *text = json_object_to_json_string_length(json, style, &length);
    return dango_file_write(path, text, length, err);
}

const char *dango_json_kind(const struct json_object *json)
{
    switch (json_object_get_type(json)) {
    case json_type_boolean:
        return "boolean";
    case json_type_double:
        return "number";
    case json_type_int:
        return "integer";
    case json_type_object:
        return "object";
    case json_type_array:
        return "array";
    case json_type_string:
        return "string";
    default:
        return "null";
    }
}

const char *dango_json_excerpt(struct json_object *json, char *buffer, size_t size)
{
    assert(size > 4);
    const char *text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    int n = snprintf(buffer, size, "%s", text);
    if (n >= (int)size)
        memcpy(buffer + size - 4, "...", 4);
    return buffer;
}

struct json_object *dango_json_get(const struct json_object *json, const char *key)
{
    struct json_object *value = NULL;
    if (json_object_is_type(json, json_type_object))
        json_object_object_get_ex(json, key, &value);
    return value;
}

const char *dango_json_get_string(const struct json_object *json, const char *key)
{
    struct json_object *value = dango_json_get(json, key);
    return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : NULL;
}

struct json_object *dango_json_copy(struct json_object *json)
{
    struct json_object *copy = NULL;
    if (json && json_object_deep_copy(json, &copy, NULL) != 0)
        abort();
    return copy;
}
