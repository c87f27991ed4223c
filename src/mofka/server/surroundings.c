/*
 * The group around a server, as its own Flock provider knows it, and the master database in it; see host.h.
 */
#include "mofka/server/host.h"

#include "mofka/registry/group.h"
#include "mofka/registry/master.h"
#include "util/json.h"
#include "util/log.h"

#include <bedrock/client.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- the group ---- */

static int add_member(struct mofka_surroundings *around, const char *address, struct dango_error *err)
{
    for (size_t i = 0; i < around->member_count; i++)
        if (strcmp(around->members[i], address) == 0)
            return 0;
    char **grown = reallocarray(around->members, around->member_count + 1, sizeof(char *));
    if (grown)
        around->members = grown;
    if (!grown || !(grown[around->member_count] = strdup(address)))
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    around->member_count++;
    return 0;
}

static int find_members(struct bedrock_host *bedrock, struct mofka_surroundings *around, struct dango_error *err)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    int id = dango_mofka_find_provider(around->config, "flock"), code = 0;
    if (id >= 0 && dango_mofka_fetch_view(bedrock_host_instance(bedrock), bedrock_host_address(bedrock), (uint16_t)id,
                                          &view) != FLOCK_SUCCESS)
        code = dango_error_set(err, DANGO_ERR_AGAIN, "the group manager of this server does not answer");
    for (size_t i = 0; code == 0 && i < flock_group_view_member_count(&view); i++)
        code = add_member(around, flock_group_view_member_at(&view, i)->address, err);
    flock_group_view_clear(&view);
    return code == 0 ? add_member(around, bedrock_host_address(bedrock), err) : code;
}

/* ---- other servers ---- */

/* The configuration of another server; NULL and an error when it does not answer. */
static struct json_object *ask(struct bedrock_host *bedrock, const char *address, struct dango_error *err)
{
    struct bedrock_client *client = NULL;
    struct bedrock_service *service = NULL;
    struct json_object *config = NULL;
    char *text;
    if (bedrock_client_create(bedrock_host_instance(bedrock), &client, err) < 0)
        return NULL;
    bedrock_client_set_timeout(client, MOFKA_ASK_MS);
    if (bedrock_service_open(client, address, bedrock_host_management_id(bedrock), &service, err) == 0 &&
        bedrock_service_get_config(service, &text, err) == 0) {
        config = dango_json_parse(text, strlen(text), err);
        free(text);
    }
    bedrock_service_close(service);
    bedrock_client_destroy(client);
    return config;
}

static bool is_member(const struct mofka_surroundings *around, const char *address)
{
    for (size_t i = 0; i < around->member_count; i++)
        if (strcmp(around->members[i], address) == 0)
            return true;
    return false;
}

bool mofka_is_alive(struct bedrock_host *bedrock, const struct mofka_surroundings *around, const char *address)
{
    struct dango_error err;
    if (!is_member(around, address))
        return false;
    struct json_object *config = ask(bedrock, address, &err);
    json_object_put(config);
    return config != NULL;
}

/* ---- the master ---- */

/* Takes the master of the server at `address`, if it has one. */
static void take_master(struct mofka_surroundings *around, struct json_object *config, const char *address)
{
    int id = dango_mofka_find_master(config);
    if (id < 0)
        return;
    around->master = strdup(address);
    around->master_id = (uint16_t)id;
}

int mofka_look_around(struct bedrock_host *bedrock, struct mofka_surroundings *around, struct dango_error *err)
{
    const char *self = bedrock_host_address(bedrock);
    around->config = bedrock_host_config(bedrock);
    int code = find_members(bedrock, around, err);
    if (code < 0)
        return code;
    take_master(around, around->config, self);
    for (size_t i = 0; i < around->member_count && !around->master; i++) {
        struct dango_error problem;
        if (strcmp(around->members[i], self) == 0)
            continue;
        struct json_object *config = ask(bedrock, around->members[i], &problem);
        if (config)
            take_master(around, config, around->members[i]);
        else
            log_debug("mofka", "looking for the master database: %s", problem.text);
        json_object_put(config);
    }
    return 0;
}

void mofka_surroundings_release(struct mofka_surroundings *around)
{
    json_object_put(around->config);
    bedrock_addresses_free(around->members, around->member_count);
    free(around->master);
    *around = (struct mofka_surroundings){0};
}
