/*
 * Option tables: a component describes its JSON options once, as a table, and everything else follows from it.
 *
 *     struct map_settings { bool create; int64_t cache_size; char *path; };
 *
 *     static const struct dango_option map_options[] = {
 *         DANGO_OPTION_BOOL("create", struct map_settings, create, true, "create the database if it does not exist"),
 *         DANGO_OPTION_INT("cache_size", struct map_settings, cache_size, 256, 1, 65536, "entries kept in memory"),
 *         DANGO_OPTION_STRING("path", struct map_settings, path, NULL, "directory of the database"),
 *         DANGO_OPTION_END,
 *     };
 *
 * dango_options_parse checks a JSON object against the table (unknown fields, wrong types, ranges, choices: each an
 * error with the path and a suggestion), fills in defaults and writes the settings struct. dango_options_dump is the
 * inverse and gives the effective configuration. dango_options_document writes the reference page.
 *
 * Ownership: strings and JSON values in the settings struct belong to it and are released by dango_options_release.
 * A settings struct must be zeroed before it is parsed. Nothing here blocks; tables are constant and shareable;
 * one settings struct is used by one thread at a time.
 */
#ifndef DANGO_OPTIONS_H
#define DANGO_OPTIONS_H

#include <dango/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_object;

enum dango_option_type {
    DANGO_OPTION_TYPE_END,    /* ends a table */
    DANGO_OPTION_TYPE_BOOL,   /* field: bool */
    DANGO_OPTION_TYPE_INT,    /* field: int64_t; range [min, max] */
    DANGO_OPTION_TYPE_REAL,   /* field: double; range [min, max] of min_real, max_real */
    DANGO_OPTION_TYPE_STRING, /* field: char *; NULL when absent and without default */
    DANGO_OPTION_TYPE_CHOICE, /* field: int, the index into `choices` */
    DANGO_OPTION_TYPE_OBJECT, /* field: the nested struct, described by `nested` */
    DANGO_OPTION_TYPE_JSON,   /* field: struct json_object * (a reference), any value that `json_kinds` allows */
};

/* Bits for json_kinds: which JSON values a DANGO_OPTION_TYPE_JSON field accepts. */
enum {
    DANGO_JSON_OBJECT = 1,
    DANGO_JSON_ARRAY = 2,
    DANGO_JSON_STRING = 4,
    DANGO_JSON_INT = 8,
    DANGO_JSON_REAL = 16,
    DANGO_JSON_BOOL = 32,
    DANGO_JSON_ANY = 63
};

enum { DANGO_OPTION_REQUIRED = 1 };

struct dango_option {
    const char *name;                  /* field of the JSON object */
    enum dango_option_type type;       /* what it holds */
    size_t offset;                     /* of the field in the settings struct */
    int flags;                         /* DANGO_OPTION_REQUIRED or 0 */
    int64_t default_int;               /* BOOL (0/1), INT, CHOICE (index) */
    double default_real;               /* REAL */
    const char *default_text;          /* STRING, or the default of a JSON field as JSON text; NULL: none */
    int64_t min, max;                  /* INT */
    double min_real, max_real;         /* REAL */
    const char *const *choices;        /* CHOICE: names, ended by NULL */
    const struct dango_option *nested; /* OBJECT */
    int json_kinds;                    /* JSON */
    const char *help;                  /* one line for the reference page */
};

#define DANGO_OPTION_BOOL(NAME, STRUCT, FIELD, DEFAULT, HELP)                                                          \
    {                                                                                                                  \
        .name = (NAME), .type = DANGO_OPTION_TYPE_BOOL, .offset = offsetof(STRUCT, FIELD), .default_int = (DEFAULT),   \
        .help = (HELP)                                                                                                 \
    }
#define DANGO_OPTION_INT(NAME, STRUCT, FIELD, DEFAULT, MIN, MAX, HELP)                                                 \
    {                                                                                                                  \
        .name = (NAME), .type = DANGO_OPTION_TYPE_INT, .offset = offsetof(STRUCT, FIELD), .default_int = (DEFAULT),    \
        .min = (MIN), .max = (MAX), .help = (HELP)                                                                     \
    }
#define DANGO_OPTION_REAL(NAME, STRUCT, FIELD, DEFAULT, MIN, MAX, HELP)                                                \
    {                                                                                                                  \
        .name = (NAME), .type = DANGO_OPTION_TYPE_REAL, .offset = offsetof(STRUCT, FIELD), .default_real = (DEFAULT),  \
        .min_real = (MIN), .max_real = (MAX), .help = (HELP)                                                           \
    }
#define DANGO_OPTION_STRING(NAME, STRUCT, FIELD, DEFAULT, HELP)                                                        \
    {                                                                                                                  \
        .name = (NAME), .type = DANGO_OPTION_TYPE_STRING, .offset = offsetof(STRUCT, FIELD),                           \
        .default_text = (DEFAULT), .help = (HELP)                                                                      \
    }
#define DANGO_OPTION_CHOICE(NAME, STRUCT, FIELD, DEFAULT, CHOICES, HELP)                                               \
    {                                                                                                                  \
        .name = (NAME), .type = DANGO_OPTION_TYPE_CHOICE, .offset = offsetof(STRUCT, FIELD), .default_int = (DEFAULT), \
        .choices = (CHOICES), .help = (HELP)                                                                           \
    }
#define DANGO_OPTION_OBJECT(NAME, STRUCT, FIELD, NESTED, HELP)                                                         \
    {                                                                                                                  \
        .name = (NAME), .type = DANGO_OPTION_TYPE_OBJECT, .offset = offsetof(STRUCT, FIELD), .nested = (NESTED),       \
        .help = (HELP)                                                                                                 \
    }
#define DANGO_OPTION_JSON(NAME, STRUCT, FIELD, KINDS, DEFAULT, HELP)                                                   \
    {                                                                                                                  \
        .name = (NAME), .type = DANGO_OPTION_TYPE_JSON, .offset = offsetof(STRUCT, FIELD), .json_kinds = (KINDS),      \
        .default_text = (DEFAULT), .help = (HELP)                                                                      \
    }
/* The same three with DANGO_OPTION_REQUIRED. */
#define DANGO_OPTION_STRING_REQUIRED(NAME, STRUCT, FIELD, HELP)                                                        \
    {                                                                                                                  \
        .name = (NAME), .type = DANGO_OPTION_TYPE_STRING, .offset = offsetof(STRUCT, FIELD),                           \
        .flags = DANGO_OPTION_REQUIRED, .help = (HELP)                                                                 \
    }
#define DANGO_OPTION_CHOICE_REQUIRED(NAME, STRUCT, FIELD, CHOICES, HELP)                                               \
    {                                                                                                                  \
        .name = (NAME), .type = DANGO_OPTION_TYPE_CHOICE, .offset = offsetof(STRUCT, FIELD),                           \
        .flags = DANGO_OPTION_REQUIRED, .choices = (CHOICES), .help = (HELP)                                           \
    }
#define DANGO_OPTION_JSON_REQUIRED(NAME, STRUCT, FIELD, KINDS, HELP)                                                   \
    {                                                                                                                  \
        .name = (NAME), .type = DANGO_OPTION_TYPE_JSON, .offset = offsetof(STRUCT, FIELD),                             \
        .flags = DANGO_OPTION_REQUIRED, .json_kinds = (KINDS), .help = (HELP)                                          \
    }
#define DANGO_OPTION_END                                                                                               \
    {                                                                                                                  \
        .type = DANGO_OPTION_TYPE_END                                                                                  \
    }

/*
 * Checks `json` (an object, or NULL for {}) against `table` and fills `settings`, which must be zeroed.
 * `path` is the place of the object in its document ("providers[2].config"), used in messages; may be "".
 * On failure the settings are released again and the error says path, what was found, what is allowed.
 */
int dango_options_parse(const struct dango_option *table, struct json_object *json, const char *path, void *settings,
                        struct dango_error *err);

/* The effective configuration as a new JSON object (one reference, the caller's). Absent strings are left out. */
struct json_object *dango_options_dump(const struct dango_option *table, const void *settings);

/* Releases strings and JSON references in `settings` and sets them to NULL. Safe on a zeroed struct. */
void dango_options_release(const struct dango_option *table, void *settings);

/* Writes the reference of a table as Markdown: one table row per option, nested objects with dotted names. */
void dango_options_document(const struct dango_option *table, const char *title, FILE *out);

#ifdef __cplusplus
}
#endif

#endif
