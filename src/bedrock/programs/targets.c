/*
 * See targets.h. Addresses are read before the network is started: a mistake in the group file costs nothing.
 */
#include "bedrock/programs/targets.h"
#include "margo/dango_margo.h"

#include <stdlib.h>
#include <string.h>

static int connect_client(struct targets *targets, const char *protocol, struct dango_error *err)
{
    targets->mid = dango_margo_init(protocol, MARGO_CLIENT_MODE, NULL, err);
    if (targets->mid == MARGO_INSTANCE_NULL)
        return err->code;
    return bedrock_client_create(targets->mid, &targets->client, err);
}

int targets_open(struct targets *targets, const char *protocol, const struct cli_list *given, const char *file,
                 uint16_t provider_id, struct dango_error *err)
{
    char **members = NULL;
    size_t num_members = 0;
    *targets = (struct targets){0};
    if (file && bedrock_group_file_read(file, &members, &num_members, err) < 0)
        return err->code;
    const char **all = calloc(given->count + num_members + 1, sizeof *all);
    if (!all)
        abort();
    if (given->count > 0)
        memcpy(all, given->values, given->count * sizeof *all);
    for (size_t i = 0; i < num_members; i++)
        all[given->count + i] = members[i];
    int status = connect_client(targets, protocol, err);
    if (status == 0)
        status =
            bedrock_group_open(targets->client, all, given->count + num_members, provider_id, &targets->group, err);
    free(all);
    bedrock_addresses_free(members, num_members);
    if (status < 0)
        targets_close(targets);
    return status;
}

void targets_close(struct targets *targets)
{
    bedrock_group_close(targets->group);
    bedrock_client_destroy(targets->client);
    if (targets->mid)
        margo_finalize_and_wait(targets->mid);
    *targets = (struct targets){0};
}
