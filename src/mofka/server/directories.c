/*
 * See directories.h.
 */
#include "mofka/server/directories.h"

#include "mofka/log/inspect.h"
#include "mofka/log/log.h"
#include "mofka/partition/types.h"
#include "mofka/wire/directories.h"
#include "util/json.h"
#include "util/log.h"

#include <uuid/uuid.h>

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- looking ---- */

/* The uuid in "…/<topic>-<uuid>"; NULL when the directory is not called so. */
static const char *uuid_of(const char *directory, const char *topic)
{
    const char *slash = strrchr(directory, '/');
    const char *name = slash ? slash + 1 : directory;
    size_t length = strlen(topic);
    uuid_t parsed;
    if (strncmp(name, topic, length) != 0 || name[length] != '-' || uuid_parse(name + length + 1, parsed) != 0)
        return NULL;
    return name + length + 1;
}

/* Or has held some, which retention has removed: its ids go on all the same. */
static bool holds_events(const struct mofka_inspection *inspection)
{
    for (size_t i = 0; i < inspection->num_chunks; i++)
        if (inspection->chunks[i].number > 0 || inspection->chunks[i].size > sizeof(struct mofka_chunk_header))
            return true;
    return false;
}

/* What stands in the way of opening it; an empty text if nothing does. */
static void find_problem(const struct mofka_inspection *inspection, const char *topic, const char *uuid,
                         struct dango_error *problem)
{
    if (inspection->identity_error.code)
        *problem = inspection->identity_error;
    else if (strcmp(inspection->topic, topic) != 0 || strcasecmp(inspection->uuid_text, uuid) != 0)
        dango_error_set(problem, DANGO_ERR_INVALID, "%s: holds partition %s of topic \"%s\"", inspection->path,
                        inspection->uuid_text, inspection->topic);
    else if (inspection->holder != 0)
        dango_error_set(problem, DANGO_ERR_BUSY, "%s: process %d has this partition open", inspection->path,
                        (int)inspection->holder);
    for (size_t i = 0; !problem->code && i < inspection->num_chunks; i++)
        if (inspection->chunks[i].code)
            dango_error_set(problem, inspection->chunks[i].code, "%s: %s", inspection->path,
                            inspection->chunks[i].problem);
}

static struct json_object *read_origin(const char *directory)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/" MOFKA_LOG_IDENTITY_FILE, directory) >= (int)sizeof path)
        return NULL;
    struct json_object *json = dango_json_read_file(path, NULL);
    struct json_object *origin = json_object_get(dango_json_get(json, "origin"));
    json_object_put(json);
    return origin;
}

static struct json_object *describe(const char *directory, const char *topic, const char *uuid)
{
    struct mofka_inspection *inspection;
    struct dango_error problem = {0};
    bool events = true;
    if (dango_mofka_inspect_open(directory, &inspection, &problem) == 0) {
        events = holds_events(inspection);
        find_problem(inspection, topic, uuid, &problem);
        dango_mofka_inspect_close(inspection);
    }
    struct json_object *json = json_object_new_object(), *origin = read_origin(directory);
    json_object_object_add(json, "uuid", json_object_new_string(uuid));
    json_object_object_add(json, "events", json_object_new_boolean(events));
    if (origin)
        json_object_object_add(json, "origin", origin);
    if (problem.code)
        json_object_object_add(json, "problem", json_object_new_string(problem.text));
    return json;
}

/* The partitions of a topic below `path`, as in wire/directories.h; a new reference. An absent path has none. */
static int list_partitions(const char *topic, const char *path, struct json_object **list, struct dango_error *err)
{
    char **directories = NULL;
    size_t count = 0;
    assert(topic && path);
    *list = NULL;
    int code = dango_mofka_inspect_find(path, &directories, &count, err);
    if (code < 0 && code != DANGO_ERR_NOT_FOUND)
        return code;
    *list = json_object_new_array();
    for (size_t i = 0; code == 0 && i < count; i++) {
        const char *uuid = uuid_of(directories[i], topic);
        if (uuid)
            json_object_array_add(*list, describe(directories[i], topic, uuid));
    }
    if (code == 0)
        dango_mofka_inspect_free_list(directories, count);
    return 0;
}

static bool is_there(const char *topic, const char *path, const uint8_t uuid[16])
{
    char directory[PATH_MAX], text[UUID_STR_LEN];
    uuid_unparse_lower(uuid, text);
    int length = snprintf(directory, sizeof directory, "%s/%s-%s", path, topic, text);
    return length < (int)sizeof directory && access(directory, F_OK) == 0;
}

int mofka_directories_check(const char *topic, const char *path, const uint8_t uuid[16], struct dango_error *err)
{
    struct json_object *list;
    size_t with_events = 0;
    if (is_there(topic, path, uuid))
        return 0;
    if (list_partitions(topic, path, &list, NULL) < 0)
        return 0; /* making the new one says what is wrong with the place */
    for (size_t i = 0; i < json_object_array_length(list); i++)
        with_events += json_object_get_boolean(dango_json_get(json_object_array_get_idx(list, i), "events"));
    json_object_put(list);
    if (with_events == 0)
        return 0;
    return dango_error_set(
        err, DANGO_ERR_EXISTS,
        "%s: holds %zu partition%s of topic \"%s\" with events already: take %s up with \"diaspora-ctl "
        "topic import --name %s --topic.config.type default --topic.config.partition.path %s\", or "
        "move %s away",
        path, with_events, with_events == 1 ? "" : "s", topic, with_events == 1 ? "it" : "them", topic, path,
        with_events == 1 ? "it" : "them");
}

/* Removes the directory of a partition that no process serves, and what an interrupted removal has left of it; fine when
 * there is none. */
static int remove_directory(const char *topic, const char *path, const char *uuid_text, struct dango_error *err)
{
    char directory[PATH_MAX], text[UUID_STR_LEN];
    uuid_t uuid;
    int code = dango_mofka_check_topic_name(topic, err);
    if (code == 0 && uuid_parse(uuid_text, uuid) != 0)
        code = dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed request: \"%s\" is not a UUID", uuid_text);
    if (code != 0)
        return code;
    uuid_unparse_lower(uuid, text);
    if (snprintf(directory, sizeof directory, "%s/%s-%s", path, topic, text) >= (int)sizeof directory)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: path is too long", path);
    return dango_mofka_log_remove(directory, err);
}

/* ---- the RPC ---- */

static int serve(const mofka_directories_in_t *in, struct json_object **list, struct dango_error *err)
{
    if (!in->topic || !in->path || !in->removed)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed request");
    if (!*in->removed)
        return list_partitions(in->topic, in->path, list, err);
    *list = json_object_new_array();
    return remove_directory(in->topic, in->path, in->removed, err);
}

static void answer(hg_handle_t handle, const mofka_directories_in_t *in)
{
    struct dango_error err = {0};
    struct json_object *list = NULL;
    int code = serve(in, &list, &err);
    mofka_directories_out_t out = {.code = code, .text = code < 0 ? err.text : json_object_to_json_string(list)};
    hg_return_t ret = margo_respond(handle, &out);
    if (ret != HG_SUCCESS)
        log_warning("mofka", "cannot answer a question about directories: %s", HG_Error_to_string(ret));
    json_object_put(list);
}

static void mofka_directories_rpc(hg_handle_t handle)
{
    mofka_directories_in_t in;
    hg_return_t ret = margo_get_input(handle, &in);
    if (ret == HG_SUCCESS) {
        answer(handle, &in);
        margo_free_input(handle, &in);
    } else {
        margo_respond(handle, &(mofka_directories_out_t){DANGO_ERR_PROTOCOL, "the request cannot be decoded"});
    }
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(mofka_directories_rpc)

    int mofka_directories_register(margo_instance_id mid, uint16_t provider_id, hg_id_t *id, struct dango_error *err)
{
    *id = MARGO_REGISTER_PROVIDER(mid, MOFKA_RPC_DIRECTORIES, mofka_directories_in_t, mofka_directories_out_t,
                                  mofka_directories_rpc, provider_id, ABT_POOL_NULL);
    return *id != 0 ? 0 : dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register RPC " MOFKA_RPC_DIRECTORIES);
}
