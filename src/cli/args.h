/*
 * Command line options, described by tables: one table per command, one parser for all.
 *
 * An option is `--name value` or `--name=value` (a flag has no value), a few have a letter (-h, -v). A component option
 * (driver, topic, validator, serializer, partition-selector) stands for a whole family that builds a JSON object:
 *
 *     --driver TYPE                the type (only components that have one)
 *     --driver-config FILE         the object, from a file
 *     --driver.some.key VALUE      one member, over what the file says
 *
 * The word after an option that takes a value is always the value, even if it starts with "--". Unknown options,
 * missing values, values of the wrong form and single-valued options given twice are errors, with suggestions.
 *
 * Words that belong to no option are an error, unless the table has a place for them (CLI_WORDS).
 *
 * Texts in the parsed structures are borrowed from argv.
 */
#ifndef DANGO_CLI_ARGS_H
#define DANGO_CLI_ARGS_H

#include <dango/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct json_object;

/* What was said about one component. */
struct cli_component {
    const char *type;            /* NULL: not given */
    const char *file;            /* NULL: not given */
    struct json_object *members; /* from --X.key options; NULL: none */
};

/* Words without dashes. */
struct cli_words {
    const char **list;
    size_t count;
};

enum cli_kind {
    CLI_END,
    CLI_FLAG,           /* bool */
    CLI_TEXT,           /* const char *, NULL when absent */
    CLI_COUNT,          /* int64_t ≥ 1, 0 when absent */
    CLI_WORDS,          /* struct cli_words; `name` and `value` say what they are called */
    CLI_COMPONENT,      /* struct cli_component, without a type of its own */
    CLI_TYPED_COMPONENT /* struct cli_component */
};

struct cli_option {
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    enum cli_kind kind;
    bool required;
    size_t offset;     /* of the field */
    const char *value; /* what the value is called in the help; NULL for flags */
    const char *help;
};

/* Parses words into `fields` (zeroed before), checks required options unless a flag "help" is set. */
int cli_args_parse(const struct cli_option *options, int count, char *const *words, void *fields,
                   struct dango_error *err);
/* Releases what components and words hold. */
void cli_args_release(const struct cli_option *options, void *fields);
/* The options as they stand in --help. */
void cli_args_document(const struct cli_option *options, FILE *out);

/* ---- component.c ------------------------------------------------------------------------------------------------ */

/* Sets the member at `path` ("a.b.c") to the JSON value that the text stands for. */
int cli_component_set(struct cli_component *component, const char *path, const char *text, struct dango_error *err);
/* The JSON value that a text stands for: integer, number, boolean, list or string. NULL with the error set. */
struct json_object *cli_component_value(const char *text, struct dango_error *err);

/* Option --targets: "0,2" becomes [0, 2] in member "targets" of the options of a producer or consumer. */
int cli_targets(const char *text, struct json_object *options, struct dango_error *err);
/* The whole object: file, then members over it; one reference. */
int cli_component_json(const struct cli_component *component, const char *name, struct json_object **json,
                       struct dango_error *err);
/* Puts the members of `patch` over those of `target`, objects recursively (RFC 7396; there are no nulls in it). */
void cli_component_merge(struct json_object *target, struct json_object *patch);

#endif
