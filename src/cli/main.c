/*
 * diaspora-ctl: topics and events from the command line. This file finds the command, parses its options and turns its
 * result into an exit status; the commands are in files of their own.
 */
#include "cli/cli.h"

#include "diaspora/driver.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/suggest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const struct cli_command *const commands[] = {
    &cli_topic_create,    &cli_topic_import,          &cli_topic_list,
    &cli_topic_positions, &cli_topic_positions_reset, &cli_topic_positions_delete,
    &cli_topic_complete,  &cli_topic_delete,          &cli_produce,
    &cli_consume};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)
#define COMMAND_WORDS 3 /* of the longest name */
#define COMMAND_BYTES 128

static void usage(FILE *out)
{
    fprintf(out, "usage: diaspora-ctl COMMAND [OPTIONS]\n\ncommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-23s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n\"diaspora-ctl COMMAND --help\" lists the options of a command.\n"
                 "DIASPORA_CTL_DRIVER_OPTIONS may hold the --driver options.\n");
}

static void help(const struct cli_command *command)
{
    printf("usage: diaspora-ctl %s %s[OPTIONS]\n\n%s\noptions:\n", command->name, command->usage, command->details);
    cli_args_document(command->options, stdout);
}

/* "[2025-01-31 12:00:00.123] [info] text" on standard error. */
static void write_log(void *arg, enum dango_log_level level, const char *component, const char *text)
{
    (void)arg;
    char time[DANGO_LOG_TIME_SIZE], line[4400];
    dango_log_time(time);
    bool ours = strcmp(component, CLI_LOG) == 0;
    int length = snprintf(line, sizeof line, "%s[%s] %s%s%s\n", time, dango_log_level_name(level),
                          ours ? "" : component, ours ? "" : ": ", text);
    if (length >= (int)sizeof line)
        length = (int)sizeof line - 1;
    if (write(STDERR_FILENO, line, (size_t)length) < 0)
        return; /* standard error is closed: nobody to tell */
}

static int set_logging(const char *name, struct dango_error *err)
{
    enum dango_log_level level = DANGO_LOG_INFO;
    int status = name ? dango_log_level_parse(name, &level, err) : 0;
    if (status != 0)
        return dango_error_prefix(err, "--logging");
    dango_log_set_level(level);
    dango_log_set_sink(write_log, NULL);
    return 0;
}

static int complain(const char *command, const struct dango_error *err)
{
    fprintf(stderr, "diaspora-ctl %s: %s\nTry \"diaspora-ctl %s --help\".\n", command, err->text, command);
    return 1;
}

static int run(const struct cli_command *command, int count, char *const *words)
{
    struct dango_error err = DIASPORA_ERROR_INIT;
    void *fields = calloc(1, command->fields_size);
    if (!fields)
        return 1;
    const struct cli_common *common = fields;
    int status = cli_args_parse(command->options, count, words, fields, &err);
    if (status == 0)
        status = set_logging(common->logging, &err);
    if (status != 0) {
        status = complain(command->name, &err);
    } else if (common->help) {
        help(command);
    } else if (common->version) {
        printf("diaspora-ctl (dango) %s\n", DANGO_VERSION);
    } else {
        status = command->run(fields, &err);
        if (status < 0) {
            log_error(CLI_LOG, "%s", err.text);
            status = 1;
        }
    }
    cli_args_release(command->options, fields);
    free(fields);
    return status;
}

static int document_table(const char *directory, const char *name, const struct dango_option *table, const char *title)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.md", directory, name);
    FILE *out = fopen(path, "w");
    if (out)
        dango_options_document(table, title, out);
    if (!out || fclose(out) != 0) {
        perror(path);
        return 1;
    }
    return 0;
}

/* Writes the reference pages of what applications give as options. */
static int document(const char *directory)
{
    struct dango_error err = DIASPORA_ERROR_INIT;
    const struct diaspora_driver_ops *mofka = dango_diaspora_find_driver("mofka", &err);
    if (mkdir(directory, 0777) != 0 && errno != EEXIST) {
        perror(directory);
        return 1;
    }
    int status =
        document_table(directory, "diaspora-producer", dango_diaspora_producer_options, "Options of producers");
    if (status == 0)
        status =
            document_table(directory, "diaspora-consumer", dango_diaspora_consumer_options, "Options of consumers");
    if (status == 0 && mofka)
        status = document_table(directory, "diaspora-driver-mofka", mofka->options, "Options of the driver `mofka`");
    if (status == 0 && mofka)
        status = document_table(directory, "diaspora-topic-mofka", mofka->topic_options,
                                "Options of topics of the driver `mofka`");
    if (status == 0 && !mofka)
        return complain("--document", &err);
    return status;
}

/* The command of that name; NULL when there is none. */
static const struct cli_command *command_named(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i]->name) == 0)
            return commands[i];
    }
    return NULL;
}

/* The first `count` words as a name of a command. */
static void join_words(char *const *words, int count, char *name, size_t size)
{
    size_t used = 0;
    name[0] = '\0';
    for (int i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(name + used, size - used, "%s%s", i > 0 ? " " : "", words[i]);
}

static void complain_about_command(int argc, char **argv)
{
    const char *names[COMMAND_COUNT];
    char words[COMMAND_BYTES];
    bool is_group = strcmp(argv[1], "topic") == 0;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i]->name;
    join_words(argv + 1, is_group && argc > 2 ? 2 : 1, words, sizeof words);
    const char *best = dango_suggest(words, names, COMMAND_COUNT);
    if (is_group && argc == 2)
        fprintf(stderr, "diaspora-ctl: \"topic\" needs an action: create, list, positions …\n");
    else
        fprintf(stderr, "diaspora-ctl: unknown command \"%s\"%s%s%s\n", words, best ? " (did you mean \"" : "",
                best ? best : "", best ? "\"?)" : "");
    fprintf(stderr, "Try \"diaspora-ctl --help\".\n");
}

/* The command that as many of the first words as possible name; *used is how many. NULL after a message. */
static const struct cli_command *find_command(int argc, char **argv, int *used)
{
    for (int count = argc - 1 < COMMAND_WORDS ? argc - 1 : COMMAND_WORDS; count > 0; count--) {
        char words[COMMAND_BYTES];
        join_words(argv + 1, count, words, sizeof words);
        const struct cli_command *command = command_named(words);
        *used = count + 1;
        if (command)
            return command;
    }
    complain_about_command(argc, argv);
    return NULL;
}

/*
 * Standard descriptors that were closed must not become something else that we open. They are opened the wrong way
 * round, so that using them fails as it did.
 */
static void occupy_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        int opened = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        assert(opened == fd || opened < 0);
        (void)opened;
    }
}

static int dispatch(int argc, char **argv)
{
    int used = 0;
    if (argc < 2) {
        usage(stderr);
        fprintf(stderr, "\ndiaspora-ctl: which command?\n");
        return 1;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("diaspora-ctl (dango) %s\n", DANGO_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "--document") == 0 && argc == 3)
        return document(argv[2]);
    if (strcmp(argv[1], "topic") == 0 && argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) {
        usage(stdout);
        return 0;
    }
    const struct cli_command *command = find_command(argc, argv, &used);
    return command ? run(command, argc - used, argv + used) : 1;
}

int main(int argc, char **argv)
{
    occupy_standard_descriptors();
    int status = dispatch(argc, argv);
    /* Output that could not be written is a failure, too. */
    bool failed_before = ferror(stdout);
    if (fflush(stdout) != 0 || failed_before) {
        fprintf(stderr, "diaspora-ctl: standard output: %s\n", failed_before ? "cannot be written" : strerror(errno));
        status = status ? status : 1;
    }
    return status;
}
