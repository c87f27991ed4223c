/*
 * The text form of group views: one JSON object {"members": [{"address", "provider_id"}, …], "metadata": {…}}, compact,
 * in the order of the view; the content of group files and of "serialized" views. Files of groups that change carry
 * "group_id" and "version" besides, from which writers tell whether theirs is the newer one (provider/file.c).
 *
 * Reading is forgiving where old files differ (no metadata, values that are not strings, unknown keys) and strict in
 * everything that matters: members. The old view is replaced only when the whole text was good. Files are replaced
 * atomically, so that whoever polls for one never sees half of it.
 */
#include "flock/internal.h"

#include "util/file.h"
#include "util/json.h"

#include <assert.h>

/* ---- writing ---- */

static struct json_object *view_to_json(const flock_group_view_t *view)
{
    assert(view);
    struct json_object *json = json_object_new_object();
    struct json_object *members = json_object_new_array();
    struct json_object *metadata = json_object_new_object();
    for (uint64_t i = 0; i < view->members.size; i++) {
        struct json_object *member = json_object_new_object();
        json_object_object_add(member, "address", json_object_new_string(view->members.data[i].address));
        json_object_object_add(member, "provider_id", json_object_new_int(view->members.data[i].provider_id));
        json_object_array_add(members, member);
    }
    for (uint64_t i = 0; i < view->metadata.size; i++)
        json_object_object_add(metadata, view->metadata.data[i].key,
                               json_object_new_string(view->metadata.data[i].value));
    json_object_object_add(json, "members", members);
    json_object_object_add(json, "metadata", metadata);
    return json;
}

/* Compact, slashes not escaped: the form that tests and other implementations compare. */
static const char *json_text(struct json_object *json, size_t *length)
{
    return json_object_to_json_string_length(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, length);
}

flock_return_t flock_group_view_serialize(const flock_group_view_t *view,
                                          void (*sink)(void *context, const char *text, size_t length), void *context)
{
    if (!view || !sink)
        return FLOCK_ERR_INVALID_ARGS;
    size_t length;
    struct json_object *json = view_to_json(view);
    const char *text = json_text(json, &length);
    sink(context, text, length);
    json_object_put(json);
    return FLOCK_SUCCESS;
}

static void add_stamp(struct json_object *json, const struct flk_stamp *stamp)
{
    assert(stamp->owner && *stamp->group_id);
    struct json_object *version = json_object_new_object();
    json_object_object_add(version, "term", json_object_new_uint64(stamp->term));
    json_object_object_add(version, "change", json_object_new_uint64(stamp->change));
    json_object_object_add(version, "address", json_object_new_string(stamp->owner));
    json_object_object_add(version, "provider_id", json_object_new_int(stamp->owner_id));
    json_object_object_add(json, "group_id", json_object_new_string(stamp->group_id));
    json_object_object_add(json, "version", version);
}

int flk_group_file_write(const flock_group_view_t *view, const struct flk_stamp *stamp, const char *filename,
                         struct dango_error *err)
{
    assert(view && filename);
    size_t length;
    struct json_object *json = view_to_json(view);
    if (stamp)
        add_stamp(json, stamp);
    const char *text = json_text(json, &length);
    int status = dango_file_write(filename, text, length, err);
    json_object_put(json);
    return status;
}

flock_return_t flock_group_view_serialize_to_file(const flock_group_view_t *view, const char *filename)
{
    if (!view || !filename)
        return FLOCK_ERR_INVALID_ARGS;
    struct dango_error err = {0};
    switch (flk_group_file_write(view, NULL, filename, &err)) {
    case 0:
        return FLOCK_SUCCESS;
    case DANGO_ERR_NOT_FOUND:
    case DANGO_ERR_PERMISSION:
        return FLOCK_ERR_ALLOCATION; /* what callers know as "cannot be opened" */
    default:
        return FLOCK_ERR_OTHER;
    }
}

/* ---- reading ---- */

static int read_member(struct json_object *json, size_t index, flock_group_view_t *view, struct dango_error *err)
{
    assert(view->members.size <= index);
    struct json_object *text = dango_json_get(json, "address");
    struct json_object *id = dango_json_get(json, "provider_id");
    const char *address = json_object_is_type(text, json_type_string) ? json_object_get_string(text) : "";
    if (!*address || strlen(address) != (size_t)json_object_get_string_len(text)) /* it may have a NUL inside */
        return dango_error_set(err, DANGO_ERR_INVALID, "members[%zu].address: expected the address of a member", index);
    if (!json_object_is_type(id, json_type_int) || json_object_get_int64(id) < 0 ||
        json_object_get_int64(id) > UINT16_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "members[%zu].provider_id: expected an integer between 0 and 65535", index);
    if (!flock_group_view_add_member(view, address, (uint16_t)json_object_get_int64(id)))
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    return 0;
}

/* A group without members is no group: nobody could be asked. */
static int read_members(struct json_object *json, flock_group_view_t *view, struct dango_error *err)
{
    size_t count = json_object_is_type(json, json_type_array) ? json_object_array_length(json) : 0;
    if (count == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "members: expected an array with at least one member");
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = read_member(json_object_array_get_idx(json, i), i, view, err);
    return status;
}

/* Old files have no metadata, or values of other types: these are kept as their JSON text. */
static int read_metadata(struct json_object *json, flock_group_view_t *view, struct dango_error *err)
{
    if (!json)
        return 0;
    if (!json_object_is_type(json, json_type_object))
        return dango_error_set(err, DANGO_ERR_INVALID, "metadata: expected an object");
    json_object_object_foreach (json, key, value) {
        const char *text = json_object_is_type(value, json_type_string)
                               ? json_object_get_string(value)
                               : json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN);
        if (value && !flock_group_view_add_metadata(view, key, text))
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    }
    return 0;
}

int flk_view_from_json(struct json_object *json, flock_group_view_t *view, struct dango_error *err)
{
    assert(view);
    flock_group_view_t fresh = FLOCK_GROUP_VIEW_INITIALIZER;
    int status = 0;
    if (!json_object_is_type(json, json_type_object))
        status = dango_error_set(err, DANGO_ERR_INVALID, "expected an object with \"members\"");
    if (status == 0)
        status = read_members(dango_json_get(json, "members"), &fresh, err);
    if (status == 0)
        status = read_metadata(dango_json_get(json, "metadata"), &fresh, err);
    if (status != 0) {
        flock_group_view_clear(&fresh);
        return status;
    }
    flock_group_view_clear(view);
    FLOCK_GROUP_VIEW_MOVE(&fresh, view);
    return 0;
}

/* True: a number between 0 and `max`. */
static bool read_number(struct json_object *json, const char *key, uint64_t max, uint64_t *number)
{
    struct json_object *value = dango_json_get(json, key);
    if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
        return false;
    *number = json_object_get_uint64(value);
    return *number <= max;
}

/* What is not as we write it comes from somebody else, and means nothing to us. */
static void read_stamp(struct json_object *json, struct flk_stamp *stamp)
{
    struct json_object *version = dango_json_get(json, "version");
    const char *group_id = dango_json_get_string(json, "group_id");
    const char *owner = dango_json_get_string(version, "address");
    uint64_t owner_id = 0;
    memset(stamp, 0, sizeof *stamp);
    if (!group_id || !*group_id || strlen(group_id) >= sizeof stamp->group_id || !owner ||
        !read_number(version, "term", FLK_STAMP_MAX, &stamp->term) ||
        !read_number(version, "change", FLK_STAMP_MAX, &stamp->change) ||
        !read_number(version, "provider_id", UINT16_MAX, &owner_id))
        return;
    stamp->owner = strdup(owner);
    stamp->owner_id = (uint16_t)owner_id;
    if (stamp->owner)
        strcpy(stamp->group_id, group_id);
}

void flk_stamp_clear(struct flk_stamp *stamp)
{
    free(stamp->owner);
    memset(stamp, 0, sizeof *stamp);
}

static int view_from_text(const char *text, size_t length, flock_group_view_t *view, struct flk_stamp *stamp,
                          struct dango_error *err)
{
    assert(text && view);
    struct json_object *json = dango_json_parse(text, length, err);
    if (!json)
        return DANGO_ERR_INVALID;
    int status = flk_view_from_json(json, view, err);
    if (status == 0 && stamp)
        read_stamp(json, stamp);
    json_object_put(json);
    return status;
}

static flock_return_t reading_result(int status)
{
    return status == 0                     ? FLOCK_SUCCESS
           : status == DANGO_ERR_NO_MEMORY ? FLOCK_ERR_ALLOCATION
                                           : FLOCK_ERR_INVALID_CONFIG;
}

flock_return_t flock_group_view_from_string(const char *text, size_t length, flock_group_view_t *view)
{
    if (!text || !view)
        return FLOCK_ERR_INVALID_ARGS;
    return reading_result(view_from_text(text, length, view, NULL, NULL));
}

flock_return_t flk_group_file_read_stamp(const char *filename, flock_group_view_t *view, struct flk_stamp *stamp,
                                         struct dango_error *err)
{
    assert(filename && view);
    size_t length;
    char *text = dango_file_read(filename, DANGO_JSON_SIZE_MAX, &length, err);
    if (!text)
        return FLOCK_ERR_INVALID_ARGS;
    int status = view_from_text(text, length, view, stamp, err);
    if (status != 0)
        dango_error_prefix(err, "%s", filename);
    free(text);
    return reading_result(status);
}

flock_return_t flk_group_file_read(const char *filename, flock_group_view_t *view, struct dango_error *err)
{
    return flk_group_file_read_stamp(filename, view, NULL, err);
}

flock_return_t flock_group_view_from_file(const char *filename, flock_group_view_t *view)
{
    if (!filename || !view)
        return FLOCK_ERR_INVALID_ARGS;
    return flk_group_file_read(filename, view, NULL);
}
