/*
 * The types of partitions, by the name that stands in "config.type", with the options that each takes in
 * "config.partition". Client and server use the same table. Constant data; any thread.
 */
#ifndef DANGO_MOFKA_PARTITION_TYPES_H
#define DANGO_MOFKA_PARTITION_TYPES_H

#include <dango/error.h>
#include <dango/options.h>

#include <stdbool.h>

#define MOFKA_PARTITION_TYPE_DEFAULT "memory"

/* Longest name of a topic in bytes. */
#define MOFKA_TOPIC_NAME_MAX 256u

struct json_object;

struct mofka_partition_type {
    const char *name;
    const struct dango_option *options; /* of "config.partition" */
    size_t options_size;                /* of the structure that they fill in; at least 1 */
    /* What the table cannot say about that structure; may be NULL. */
    int (*check)(const void *options, struct dango_error *err);
    const char *const *dependencies; /* names that it uses, ended by NULL; the first of each list */
    bool directory;                  /* its events are in a directory of its own, <path>/<topic>-<uuid> */
};

/* NULL and an error that says what is built in, when it is not. */
const struct mofka_partition_type *dango_mofka_partition_type(const char *name, struct dango_error *err);

/*
 * Checks the options of a type and makes them effective: *config (a reference of the caller's, or NULL) is replaced by the
 * same with all defaults filled in. `path` is its place in the document.
 */
int dango_mofka_partition_type_check(const struct mofka_partition_type *type, struct json_object **config,
                                     const char *path, struct dango_error *err);

/* Whether the type uses a dependency: 1, 0, or an error when no type does. */
int dango_mofka_partition_type_uses(const struct mofka_partition_type *type, const char *dependency,
                                    struct dango_error *err);

/* Names of topics go into keys and paths: not empty, at most 256 bytes, no control characters, no ':' and '/', not
 * beginning with '.'. */
int dango_mofka_check_topic_name(const char *name, struct dango_error *err);

#endif
