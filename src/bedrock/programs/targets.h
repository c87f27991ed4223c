/*
 * The daemons that bedrock-query and bedrock-shutdown talk to: addresses from the command line and from a group file.
 */
#ifndef DANGO_BEDROCK_PROGRAMS_TARGETS_H
#define DANGO_BEDROCK_PROGRAMS_TARGETS_H

#include "bedrock/programs/cli.h"

#include <bedrock/client.h>

struct targets {
    margo_instance_id mid;
    struct bedrock_client *client;
    struct bedrock_group *group;
};

/*
 * Starts a client on `protocol` and opens the group of all targets: `given` and the members in `file` (may be NULL).
 */
int targets_open(struct targets *targets, const char *protocol, const struct cli_list *given, const char *file,
                 uint16_t provider_id, struct dango_error *err);
void targets_close(struct targets *targets);

#endif
