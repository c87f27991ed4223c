/*
 * bedrock-shutdown: asks daemons to end in an orderly way, all at the same time. Those that can be reached end even if
 * others cannot. One that hangs has not been reached: what was asked of it is forgotten when we give up, so that it goes on
 * running if it wakes up.
 *
 * Exit status: 0 when all have accepted; 1 when one has not; 255 when nobody could be asked, since there is no target or the
 * group file cannot be read.
 */
#include "bedrock/programs/targets.h"

#include <stdio.h>

static struct cli_list addresses;
static const char *group_file, *log_level, *timeout;

static const struct cli_option options[] = {
    {'a', "addresses", "ADDRESS", "address of a daemon; may be repeated", .list = &addresses},
    {'f', "flock-file", "FILE", "take the addresses from a group file", .value = &group_file},
    {'T', "timeout", "SECONDS", "how long a daemon may take to answer (default 30)", .value = &timeout},
    {'v', "verbose", "LEVEL", "level of log messages (default warning)", .value = &log_level},
    CLI_END,
};

static const struct cli_program program = {
    .name = "bedrock-shutdown",
    .positional = "PROTOCOL",
    .summary = "Shuts running bedrock daemons down.",
    .example = "bedrock-shutdown na+sm -f mofka.json",
    .file_option = "-f",
    .options = options,
};

int main(int argc, char **argv)
{
    struct dango_error err = {0};
    struct targets targets;
    const char *protocol = cli_parse(&program, argc, argv);
    if (addresses.count == 0 && !group_file)
        cli_refuse(&program, CLI_IMPOSSIBLE, "error: no address or flock file specified");
    cli_set_log_level(&program, log_level, "warning");
    if (targets_open(&targets, &program, protocol, &addresses, group_file, 0, timeout, &err) < 0) {
        fprintf(stderr, "bedrock-shutdown: %s\n", err.text);
        return CLI_IMPOSSIBLE;
    }
    bedrock_group_shutdown(targets.group, NULL);
    targets_close(&targets);
    return targets_result(&targets, NULL);
}
