/*
 * What the commands of mofka-log share. Exit status: 0 the log is sound, 1 damage was found, 2 the command line is wrong
 * or something could not be read.
 */
#ifndef DANGO_CLI_LOG_H
#define DANGO_CLI_LOG_H

#include "cli/args.h"
#include "mofka/log/inspect.h"

#include <json-c/json.h>

enum { LOG_SOUND = MOFKA_NOTE, LOG_DAMAGED = MOFKA_DAMAGE, LOG_FAILED = MOFKA_UNREADABLE };

/* Fields of all commands; each command's table names those that it has. */
struct log_fields {
    struct cli_words paths;
    const char *from;
    int64_t count; /* 0: all */
    bool data, json, help;
};

struct log_command {
    const char *name;
    const char *usage;   /* for the usage line */
    const char *details; /* for --help; ends in a newline */
    const struct cli_option *options;
    bool single; /* exactly one partition */
    /* Exit status; `err` says more when it is LOG_FAILED and the text is not empty. */
    int (*run)(const struct log_fields *fields, struct mofka_inspection *inspection, struct dango_error *err);
};

extern const struct log_command log_verify, log_dump, log_stat;

#define LOG_HELP                                                                                                       \
    {"help", 'h', CLI_FLAG, false, offsetof(struct log_fields, help), NULL, "this text"},                              \
    {                                                                                                                  \
        .kind = CLI_END                                                                                                \
    }
#define LOG_PATHS(value, help)                                                                                         \
    {                                                                                                                  \
        "directories", 0, CLI_WORDS, true, offsetof(struct log_fields, paths), value, help                             \
    }
#define LOG_JSON                                                                                                       \
    {                                                                                                                  \
        "json", 0, CLI_FLAG, false, offsetof(struct log_fields, json), NULL, "one JSON document per line"              \
    }

/* ---- log_text.c ---- */

/* "damage: DIRECTORY/FILE: offset 8, 16 bytes: events 3 to 5: what; what to do" */
void log_print_finding(FILE *out, const struct mofka_inspection *inspection, const struct mofka_finding *finding);
struct json_object *log_finding_json(const struct mofka_finding *finding);
/* "2025-01-31T12:00:00.123456789Z" */
#define LOG_TIME_SIZE 40
const char *log_time(uint64_t time_ns, char text[LOG_TIME_SIZE]);
/* Bytes of unknown origin: control characters as \xNN, so that they do nothing to a terminal. */
void log_print_escaped(FILE *out, const unsigned char *bytes, size_t size);
void log_print_hex_lines(FILE *out, const unsigned char *bytes, size_t size);
/* Adds `bytes` to `object` in hexadecimal digits. */
void log_add_hex(struct json_object *object, const char *key, const unsigned char *bytes, size_t size);
/* Prints a document on a line of its own and releases it. */
void log_print_json(struct json_object *json);

#endif
