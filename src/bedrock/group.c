/*
 * Several daemons as one, see bedrock/client.h: each operation is started on all members before the first answer is
 * waited for, and goes on with the others when one fails. And the group files in which Flock keeps the addresses of members.
 */
#include "bedrock/client_internal.h"
#include "bedrock/output.h"
#include "util/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_MAX 65536

struct bedrock_group {
    struct bedrock_service **services;
    size_t count;
    bedrock_group_failure_fn on_failure; /* may be NULL */
    void *on_failure_arg;
};

/* ---- group files ---- */

static bool contains(char *const *addresses, size_t count, const char *address)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(addresses[i], address) == 0)
            return true;
    }
    return false;
}

static int read_members(struct json_object *document, char **addresses, size_t *count, struct dango_error *err)
{
    struct json_object *members = dango_json_get(document, "members");
    for (size_t i = 0; i < json_object_array_length(members); i++) {
        const char *address = dango_json_get_string(json_object_array_get_idx(members, i), "address");
        if (!address || !*address)
            return dango_error_set(err, DANGO_ERR_INVALID, "members[%zu].address: expected the address of a member", i);
        if (contains(addresses, *count, address))
            continue;
        addresses[*count] = strdup(address);
        if (!addresses[*count])
            abort();
        (*count)++;
    }
    return 0;
}

static int check_members(struct json_object *document, struct dango_error *err)
{
    struct json_object *members = dango_json_get(document, "members");
    if (!json_object_is_type(document, json_type_object) || !json_object_is_type(members, json_type_array))
        return dango_error_set(
            err, DANGO_ERR_INVALID,
            "not a group file: it has no array \"members\" (group files are written by the servers, as their "
            "configuration says in \"file\" of the flock provider)");
    size_t count = json_object_array_length(members);
    if (count == 0)
        return dango_error_set(
            err, DANGO_ERR_NOT_FOUND,
            "the group has no members: its servers have ended; start them again, or give another file");
    if (count > MEMBERS_MAX)
        return dango_error_set(err, DANGO_ERR_RANGE, "more than %d members", MEMBERS_MAX);
    return 0;
}

int bedrock_group_file_read(const char *path, char ***addresses, size_t *count, struct dango_error *err)
{
    struct dango_error own = {0};
    struct json_object *document = dango_json_read_file(path, &own);
    if (!document) {
        bool missing = own.code == DANGO_ERR_NOT_FOUND;
        return dango_error_set(err, own.code, "%s%s", own.text,
                               missing ? " (servers write it when they start: start them first, or give the path of "
                                         "their file)"
                                       : "");
    }
    *count = 0;
    *addresses = NULL;
    int status = check_members(document, err);
    if (status == 0) {
        *addresses = calloc(json_object_array_length(dango_json_get(document, "members")), sizeof(char *));
        if (!*addresses)
            abort();
        status = read_members(document, *addresses, count, err);
    }
    json_object_put(document);
    if (status < 0) {
        bedrock_addresses_free(*addresses, *count);
        dango_error_prefix(err, "%s", path);
    }
    return status;
}

void bedrock_addresses_free(char **addresses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(addresses[i]);
    free(addresses);
}

/* ---- groups ---- */

static bool is_member(const struct bedrock_group *group, const char *address)
{
    for (size_t i = 0; i < group->count; i++) {
        if (strcmp(bedrock_service_address(group->services[i]), address) == 0)
            return true;
    }
    return false;
}

int bedrock_group_open(struct bedrock_client *client, const char *const *addresses, size_t count, uint16_t provider_id,
                       struct bedrock_group **group, struct dango_error *err)
{
    struct bedrock_group *new_group = calloc(1, sizeof *new_group);
    if (!new_group || !(new_group->services = calloc(count + 1, sizeof(struct bedrock_service *))))
        abort();
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++) {
        if (is_member(new_group, addresses[i]))
            continue;
        status = bedrock_service_open(client, addresses[i], provider_id, &new_group->services[new_group->count], err);
        if (status == 0)
            new_group->count++;
    }
    if (status < 0)
        bedrock_group_close(new_group);
    else
        *group = new_group;
    return status;
}

int bedrock_group_open_file(struct bedrock_client *client, const char *path, uint16_t provider_id,
                            struct bedrock_group **group, struct dango_error *err)
{
    char **addresses;
    size_t count;
    int status = bedrock_group_file_read(path, &addresses, &count, err);
    if (status < 0)
        return status;
    status = bedrock_group_open(client, (const char *const *)addresses, count, provider_id, group, err);
    if (status < 0)
        dango_error_prefix(err, "%s", path);
    bedrock_addresses_free(addresses, count);
    return status;
}

void bedrock_group_close(struct bedrock_group *group)
{
    if (!group)
        return;
    for (size_t i = 0; i < group->count; i++)
        bedrock_service_close(group->services[i]);
    free(group->services);
    free(group);
}

void bedrock_group_on_failure(struct bedrock_group *group, bedrock_group_failure_fn on_failure, void *arg)
{
    group->on_failure = on_failure;
    group->on_failure_arg = arg;
}

size_t bedrock_group_size(const struct bedrock_group *group)
{
    return group->count;
}

struct bedrock_service *bedrock_group_service(const struct bedrock_group *group, size_t i)
{
    return i < group->count ? group->services[i] : NULL;
}

/* ---- operations on all members ---- */

/* An array of calls, one for each member. */
static struct bdk_call *new_calls(const struct bedrock_group *group)
{
    struct bdk_call *calls = calloc(group->count + 1, sizeof *calls);
    if (!calls)
        abort();
    return calls;
}

/* Adds the JSON text that one member sent. */
static int add_result(struct json_object *results, const struct bedrock_service *service, const char *text,
                      struct dango_error *err)
{
    const char *address = bedrock_service_address(service);
    struct json_object *json = NULL;
    if (strcmp(text, "null") != 0 && !(json = dango_json_parse(text, strlen(text), err)))
        return dango_error_prefix(err, "%s", address);
    json_object_object_add(results, address, json);
    return 0;
}

/* "first; second": all failures in one text, as far as there is room. Returns the code of the first. */
static int add_failure(const struct bedrock_group *group, size_t member, const struct dango_error *own,
                       struct dango_error *err)
{
    assert(own->code < 0);
    if (group->on_failure)
        group->on_failure(group->services[member], own, group->on_failure_arg);
    if (!err)
        return own->code;
    struct dango_error before = *err;
    return dango_error_set(err, before.code ? before.code : own->code, "%s%s%s", before.code ? before.text : "",
                           before.code ? "; " : "", own->text);
}

static int finish_question(struct bdk_call *call, struct json_object *results, struct dango_error *err)
{
    char *value = NULL;
    const struct bedrock_service *service = call->service;
    int status = bdk_call_finish(call, &value, NULL, err);
    if (status == 0)
        status = add_result(results, service, value, err);
    free(value);
    return status;
}

static int ask_all(struct bedrock_group *group, const char *rpc, const char *text, char **result,
                   struct dango_error *err)
{
    struct bdk_call *calls = new_calls(group);
    struct json_object *results = json_object_new_object();
    int status = 0;
    dango_error_clear(err);
    for (size_t i = 0; i < group->count; i++) {
        struct dango_error own = {0};
        if (bdk_call_start(&calls[i], group->services[i], rpc, &(struct bdk_request){.first = text}, &own) < 0)
            status = add_failure(group, i, &own, err);
    }
    for (size_t i = 0; i < group->count; i++) {
        struct dango_error own = {0};
        if (calls[i].handle && finish_question(&calls[i], results, &own) < 0)
            status = add_failure(group, i, &own, err);
    }
    struct json_object *sorted = bdk_json_sorted(results);
    *result = dango_bedrock_json_text(sorted, false);
    json_object_put(sorted);
    json_object_put(results);
    free(calls);
    return status;
}

int bedrock_group_get_config(struct bedrock_group *group, char **config, struct dango_error *err)
{
    return ask_all(group, BDK_RPC_GET_CONFIG, NULL, config, err);
}

int bedrock_group_query(struct bedrock_group *group, const char *expression, char **result, struct dango_error *err)
{
    return ask_all(group, BDK_RPC_QUERY_CONFIG, expression, result, err);
}

int bedrock_group_shutdown(struct bedrock_group *group, struct dango_error *err)
{
    struct bdk_call *calls = new_calls(group);
    int status = 0;
    dango_error_clear(err);
    for (size_t i = 0; i < group->count; i++) {
        struct dango_error own = {0};
        if (bdk_shutdown_start(&calls[i], group->services[i], &own) < 0)
            status = add_failure(group, i, &own, err);
    }
    for (size_t i = 0; i < group->count; i++) {
        struct dango_error own = {0};
        if (calls[i].handle && bdk_shutdown_finish(&calls[i], &own) < 0)
            status = add_failure(group, i, &own, err);
    }
    free(calls);
    return status;
}
