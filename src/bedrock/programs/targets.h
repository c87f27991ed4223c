/*
 * The daemons that bedrock-query and bedrock-shutdown talk to: addresses from the command line and from a group file.
 *
 * Both go on as far as they can: each target that fails is named on standard error, in a line of its own, and the others
 * are asked. targets_result says at the end how many failed, and what to do about them.
 */
#ifndef DANGO_BEDROCK_PROGRAMS_TARGETS_H
#define DANGO_BEDROCK_PROGRAMS_TARGETS_H

#include "bedrock/programs/cli.h"

#include <bedrock/client.h>

struct targets {
    margo_instance_id mid;
    struct bedrock_client *client;
    struct bedrock_group *group;
    const char *program, *file; /* file: NULL if there is none */
    size_t count;               /* all that are asked for, once each */
    size_t failed, gone, hung;  /* gone: nobody is there; hung: no answer in time; both are among the failed */
};

/*
 * Starts a client on `protocol` and opens the group of all targets: `given` and the members in `file` (may be NULL).
 * `timeout` is the number of seconds that a target may take, as the user gave it (NULL: the default); anything else is a
 * usage error. Borrows `file`. On failure there is nothing to close.
 */
int targets_open(struct targets *targets, const struct cli_program *program, const char *protocol,
                 const struct cli_list *given, const char *file, uint16_t provider_id, const char *timeout,
                 struct dango_error *err);

/* After the one operation on the group: the exit status, 1 after a summary on standard error if any target failed. `option`
 * shows what the others say; NULL: that has been shown. */
int targets_result(const struct targets *targets, const char *option);
void targets_close(struct targets *targets);

#endif
