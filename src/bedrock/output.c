/*
 * Sorting and printing of JSON, see output.h.
 */
#include "bedrock/output.h"
#include "util/json.h"

#include <stdlib.h>
#include <string.h>

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static struct json_object *sorted_object(struct json_object *object)
{
    size_t count = 0;
    const char **keys = malloc(((size_t)json_object_object_length(object) + 1) * sizeof *keys);
    if (!keys)
        abort();
    json_object_object_foreach (object, key, value) {
        (void)value;
        keys[count++] = key;
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    struct json_object *result = json_object_new_object();
    for (size_t i = 0; i < count; i++)
        json_object_object_add(result, keys[i], bdk_json_sorted(dango_json_get(object, keys[i])));
    free(keys);
    return result;
}

struct json_object *bdk_json_sorted(struct json_object *json)
{
    if (json_object_is_type(json, json_type_object))
        return sorted_object(json);
    if (!json_object_is_type(json, json_type_array))
        return dango_json_copy(json);
    struct json_object *result = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(json); i++)
        json_object_array_add(result, bdk_json_sorted(json_object_array_get_idx(json, i)));
    return result;
}

/* Length of the white space between the brackets of an empty object or array that ends at `text`; 0 if it is none. */
static size_t empty_inside(const char *start, const char *text)
{
    size_t space = strspn(text, " \n");
    bool opened = text > start && (text[-1] == '{' || text[-1] == '[');
    return opened && (text[space] == '}' || text[space] == ']') ? space : 0;
}

/*
 * json-c indents by two spaces and breaks the line inside of empty brackets. Its strings contain no raw line feeds, so
 * that every one of them is layout.
 */
static char *widen(const char *text)
{
    char *wide = malloc(2 * strlen(text) + 1), *out = wide;
    if (!wide)
        abort();
    for (const char *at = text; *at;) {
        size_t skip = *at == '\n' ? empty_inside(text, at) : 0;
        at += skip;
        *out++ = *at++;
        if (at[-1] == '\n') {
            size_t spaces = strspn(at, " ");
            memset(out, ' ', 2 * spaces);
            out += 2 * spaces;
            at += spaces;
        }
    }
    *out = '\0';
    return wide;
}

char *dango_bedrock_json_text(struct json_object *json, bool pretty)
{
    const int plain = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
    const int wide = JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE;
    const char *text = json_object_to_json_string_ext(json, pretty ? wide : plain);
    char *result = pretty ? widen(text) : strdup(text);
    if (!result)
        abort();
    return result;
}
