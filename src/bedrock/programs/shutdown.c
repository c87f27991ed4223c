/*
 * bedrock-shutdown: asks daemons to end in an orderly way, all at the same time. Those that can be reached end even if
 * others cannot.
 *
 * Exit status: 0 when all have accepted; 1 when one has not; 255 without a target or with an unusable group file.
 */
#include "bedrock/programs/targets.h"

#include <stdio.h>

static struct cli_list addresses;
static const char *group_file, *log_level;

static const struct cli_option options[] = {
    {'a', "addresses", "ADDRESS", "address of a daemon; may be repeated", .list = &addresses},
    {'f', "flock-file", "FILE", "take the addresses from a group file", .value = &group_file},
    {'v', "verbose", "LEVEL", "level of log messages (default warning)", .value = &log_level},
    CLI_END,
};

static const struct cli_program program = {
    .name = "bedrock-shutdown",
    .positional = "PROTOCOL",
    .summary = "Shuts running bedrock daemons down.",
    .options = options,
};

int main(int argc, char **argv)
{
    struct dango_error err = {0};
    struct targets targets;
    const char *protocol = cli_parse(&program, argc, argv);
    if (addresses.count == 0 && !group_file) {
        fputs("bedrock-shutdown: error: no address or flock file specified\n", stderr);
        return 255;
    }
    cli_set_log_level(&program, log_level, "warning");
    int exit_status = 255;
    if (targets_open(&targets, protocol, &addresses, group_file, 0, &err) == 0) {
        exit_status = bedrock_group_shutdown(targets.group, &err) == 0 ? 0 : 1;
        targets_close(&targets);
    }
    if (exit_status != 0)
        fprintf(stderr, "bedrock-shutdown: %s\n", err.text);
    return exit_status;
}
