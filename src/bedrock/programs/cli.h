/*
 * Command lines of the Bedrock programs: a table of options, from which come parsing, messages and the help text.
 *
 * Options and positional arguments may come in any order; `--` ends the options. An unknown option, one given twice, a
 * missing value or one argument too many is a usage error: message and usage on standard error, exit status 1. --help and
 * --version print to standard output and exit with 0. So cli_parse returns only when there is work to do. What the options
 * ask for together may still be impossible: exit status 255, as in the programs of the same names that users come from.
 */
#ifndef DANGO_BEDROCK_PROGRAMS_CLI_H
#define DANGO_BEDROCK_PROGRAMS_CLI_H

#include <stdbool.h>
#include <stddef.h>

#define CLI_LIST_MAX 1024

/* Values of a repeatable option. */
struct cli_list {
    const char *values[CLI_LIST_MAX];
    size_t count;
};

struct cli_option {
    char letter; /* '\0': long form only */
    const char *name;
    const char *argument; /* what the help calls its value; NULL for a flag */
    const char *help;
    /* Where it goes: exactly one of these. */
    bool *flag;
    const char **value;
    struct cli_list *list;
};

struct cli_program {
    const char *name;
    const char *positional; /* "[ADDRESS]" in brackets when it may be left out */
    const char *summary;
    const char *example;              /* a command line that works, below the usage; may be NULL */
    const char *file_option;          /* the one that takes the program's main file, such as "-c"; may be NULL */
    const struct cli_option *options; /* ends with a NULL name */
};

#define CLI_END                                                                                                        \
    {                                                                                                                  \
        .name = NULL                                                                                                   \
    }

/* Returns the positional argument, or NULL when it was left out. */
const char *cli_parse(const struct cli_program *program, int argc, char **argv);

enum cli_status {
    CLI_MISUSED = 1,     /* words that mean nothing */
    CLI_IMPOSSIBLE = 255 /* options that cannot be done together, or files that they name and nobody can read */
};

/* Message and usage on standard error, then the end. */
_Noreturn void cli_refuse(const struct cli_program *program, enum cli_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets the level of Dango's and Margo's messages; NULL: `by_default`, unless DANGO_LOG says something. */
void cli_set_log_level(const struct cli_program *program, const char *level, const char *by_default);

#endif
