/*
 * Command lines, see cli.h: getopt_long does the splitting, the table decides what is accepted.
 */
#include "bedrock/programs/cli.h"
#include "util/log.h"
#include "util/suggest.h"

#include <margo.h>

#include <assert.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define OPTIONS_MAX 32

static size_t option_count(const struct cli_program *program)
{
    size_t count = 0;
    while (program->options[count].name)
        count++;
    assert(count < OPTIONS_MAX - 2);
    return count;
}

static void print_usage(const struct cli_program *program, FILE *out)
{
    fprintf(out, "Usage: %s [options] %s\n", program->name, program->positional);
    if (program->example)
        fprintf(out, "Example: %s\n", program->example);
}

static _Noreturn void print_help(const struct cli_program *program)
{
    print_usage(program, stdout);
    printf("\n%s\n\nOptions:\n", program->summary);
    for (size_t i = 0; i < option_count(program); i++) {
        const struct cli_option *option = &program->options[i];
        char left[64];
        snprintf(left, sizeof left, "%c%c%s--%s %s", option->letter ? '-' : ' ', option->letter ? option->letter : ' ',
                 option->letter ? ", " : "  ", option->name, option->argument ? option->argument : "");
        printf("  %-28s %s\n", left, option->help);
    }
    printf("  %-28s %s\n  %-28s %s\n", "-h, --help", "this text", "    --version", "version of Dango");
    exit(0);
}

_Noreturn void cli_refuse(const struct cli_program *program, enum cli_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", program->name);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    print_usage(program, stderr);
    fprintf(stderr, "Try %s --help\n", program->name);
    exit(status);
}

static _Noreturn void unknown_option(const struct cli_program *program, const char *word)
{
    const char *names[OPTIONS_MAX] = {"help", "version"};
    size_t count = 2;
    char list[512] = "";
    for (size_t i = 0; i < option_count(program); i++)
        names[count++] = program->options[i].name;
    if (strncmp(word, "--", 2) == 0)
        dango_suggest_list("options", word + 2, names, count, list, sizeof list);
    cli_refuse(program, CLI_MISUSED, "unknown option \"%s\"%s", word, list);
}

static void store(const struct cli_program *program, const struct cli_option *option, const char *value, bool *seen)
{
    if (*seen && !option->list)
        cli_refuse(program, CLI_MISUSED, "option --%s is given twice", option->name);
    *seen = true;
    if (option->flag)
        *option->flag = true;
    else if (option->value)
        *option->value = value;
    else if (option->list->count < CLI_LIST_MAX)
        option->list->values[option->list->count++] = value;
    else
        cli_refuse(program, CLI_MISUSED, "option --%s is given more than %d times", option->name, CLI_LIST_MAX);
}

/* The tables of getopt_long from ours: the value of an option is its index plus 256. */
static void fill_tables(const struct cli_program *program, struct option *longs, char *shorts)
{
    size_t count = option_count(program);
    *shorts++ = ':';
    *shorts++ = 'h';
    for (size_t i = 0; i < count; i++) {
        const struct cli_option *option = &program->options[i];
        longs[i] =
            (struct option){option->name, option->argument ? required_argument : no_argument, NULL, 256 + (int)i};
        if (option->letter)
            *shorts++ = option->letter;
        if (option->letter && option->argument)
            *shorts++ = ':';
    }
    longs[count] = (struct option){"help", no_argument, NULL, 'h'};
    longs[count + 1] = (struct option){"version", no_argument, NULL, 'V'};
    longs[count + 2] = (struct option){0};
    *shorts = '\0';
}

/* Index of the option that getopt_long found. */
static size_t index_of(const struct cli_program *program, int found)
{
    if (found >= 256)
        return (size_t)found - 256;
    size_t i = 0;
    while (program->options[i].letter != found)
        i++;
    return i;
}

/* The commonest slip: the file of the example without its option. Protocols and addresses do not look like this. */
static void check_positional(const struct cli_program *program, const char *word)
{
    struct stat status;
    if (program->file_option && strpbrk(word, "./") && stat(word, &status) == 0 && S_ISREG(status.st_mode))
        cli_refuse(program, CLI_MISUSED, "\"%s\" is a file: give it with %s", word, program->file_option);
}

const char *cli_parse(const struct cli_program *program, int argc, char **argv)
{
    struct option longs[OPTIONS_MAX];
    char shorts[2 * OPTIONS_MAX + 4];
    bool seen[OPTIONS_MAX] = {false};
    int found;
    fill_tables(program, longs, shorts);
    opterr = 0;
    while ((found = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (found == 'h')
            print_help(program);
        if (found == 'V') {
            puts(DANGO_VERSION);
            exit(0);
        }
        const char letter[] = {'-', (char)optopt, '\0'};
        const char *word = optopt > 0 && optopt < 256 ? letter : argv[optind - 1];
        if (found == ':')
            cli_refuse(program, CLI_MISUSED, "option %s needs a value", word);
        if (found == '?')
            unknown_option(program, word);
        size_t i = index_of(program, found);
        store(program, &program->options[i], optarg, &seen[i]);
    }
    for (int i = optind; i < argc; i++)
        check_positional(program, argv[i]);
    if (optind < argc - 1)
        cli_refuse(program, CLI_MISUSED, "one argument too many: \"%s\"", argv[optind + 1]);
    if (optind == argc && program->positional[0] != '[')
        cli_refuse(program, CLI_MISUSED, "missing argument %s", program->positional);
    return optind < argc ? argv[optind] : NULL;
}

void cli_set_log_level(const struct cli_program *program, const char *level, const char *by_default)
{
    enum dango_log_level parsed;
    struct dango_error err;
    const char *environment = getenv("DANGO_LOG");
    if (!level && environment && *environment)
        return;
    if (dango_log_level_parse(level ? level : by_default, &parsed, &err) < 0)
        cli_refuse(program, CLI_MISUSED, "--verbose: %s", err.text);
    dango_log_set_level(parsed);
    int margo_level = (int)parsed + MARGO_LOG_TRACE;
    margo_set_global_log_level(margo_level > MARGO_LOG_CRITICAL ? MARGO_LOG_CRITICAL : (margo_log_level)margo_level);
}
