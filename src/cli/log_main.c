/*
 * mofka-log: an operator's reader of partition directories. This file finds the command, its options and the partitions,
 * and turns results into an exit status; commands are in log_verify.c, log_dump.c, log_stat.c, what they know about logs
 * in mofka/log/inspect.h.
 */
#include "cli/log.h"

#include "util/log.h"
#include "util/suggest.h"

#include <errno.h>
#include <string.h>

static const struct log_command *const commands[] = {&log_verify, &log_dump, &log_stat};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void usage(FILE *out)
{
    fprintf(out, "usage: mofka-log COMMAND DIR...\n\n"
                 "  verify   check everything that partitions of type \"default\" have on disk\n"
                 "  dump     show events\n"
                 "  stat     tell what partitions hold\n\n"
                 "Reads only; a server may have the partitions open. Exit status: 0 sound, 1 damage, 2 wrong usage or\n"
                 "unreadable. \"mofka-log COMMAND --help\" lists the options of a command.\n");
}

static int worse(int a, int b)
{
    return a > b ? a : b;
}

static int complain(const char *command, const struct dango_error *err)
{
    fprintf(stderr, "mofka-log %s: %s\n", command, err->text);
    return LOG_FAILED;
}

static int run_one(const struct log_command *command, const struct log_fields *fields, const char *directory)
{
    struct mofka_inspection *inspection;
    struct dango_error err = {0};
    if (dango_mofka_inspect_open(directory, &inspection, &err) < 0)
        return complain(command->name, &err);
    int status = command->run(fields, inspection, &err);
    if (err.text[0])
        complain(command->name, &err);
    dango_mofka_inspect_close(inspection);
    return status;
}

/* All partitions that `path` means. */
static int run_path(const struct log_command *command, const struct log_fields *fields, const char *path)
{
    struct dango_error err = {0};
    char **directories;
    size_t count;
    if (dango_mofka_inspect_find(path, &directories, &count, &err) < 0)
        return complain(command->name, &err);
    int status = 0;
    if (command->single && (count > 1 || fields->paths.count > 1)) {
        dango_error_set(&err, DANGO_ERR_INVALID, "shows one partition at a time; choose one, for example %s",
                        directories[0]);
        status = complain(command->name, &err);
    }
    for (size_t i = 0; !err.text[0] && i < count; i++)
        status = worse(status, run_one(command, fields, directories[i]));
    dango_mofka_inspect_free_list(directories, count);
    return status;
}

static int run(const struct log_command *command, int count, char *const *words)
{
    struct log_fields fields = {0};
    struct dango_error err = {0};
    int status = 0;
    if (cli_args_parse(command->options, count, words, &fields, &err) != 0) {
        status = complain(command->name, &err);
        fprintf(stderr, "Try \"mofka-log %s --help\".\n", command->name);
    } else if (fields.help) {
        printf("usage: mofka-log %s %s\n\n%s\noptions:\n", command->name, command->usage, command->details);
        cli_args_document(command->options, stdout);
    } else {
        size_t paths = command->single ? 1 : fields.paths.count;
        for (size_t i = 0; i < paths; i++)
            status = worse(status, run_path(command, &fields, fields.paths.list[i]));
    }
    cli_args_release(command->options, &fields);
    return status;
}

static const struct log_command *find_command(const char *word)
{
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[i] = commands[i]->name;
        if (strcmp(word, names[i]) == 0)
            return commands[i];
    }
    const char *best = dango_suggest(word, names, COMMAND_COUNT);
    fprintf(stderr, "mofka-log: unknown command \"%s\"%s%s%s\nTry \"mofka-log --help\".\n", word,
            best ? " (did you mean \"" : "", best ? best : "", best ? "\"?)" : "");
    return NULL;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        fprintf(stderr, "\nmofka-log: which command?\n");
        return LOG_FAILED;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("mofka-log (dango) %s\n", DANGO_VERSION);
        return 0;
    }
    const struct log_command *command = find_command(argv[1]);
    return command ? run(command, argc - 2, argv + 2) : LOG_FAILED;
}

int main(int argc, char **argv)
{
    /* Findings say everything; what the server would log is for servers. */
    dango_log_set_level(DANGO_LOG_OFF);
    int status = dispatch(argc, argv);
    bool failed_before = ferror(stdout);
    if (fflush(stdout) != 0 || failed_before) {
        fprintf(stderr, "mofka-log: standard output: %s\n", failed_before ? "cannot be written" : strerror(errno));
        status = LOG_FAILED;
    }
    return status;
}
