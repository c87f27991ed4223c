/*
 * The options that users give to the driver and to topics, as tables and as parsed structures.
 *
 * Pure functions on JSON; any thread.
 */
#ifndef DANGO_MOFKA_CLIENT_OPTIONS_H
#define DANGO_MOFKA_CLIENT_OPTIONS_H

#include <dango/error.h>
#include <dango/options.h>

struct json_object;

struct mofka_driver_options {
    char *group_file;
    struct json_object *margo; /* NULL: defaults */
    int64_t reconnect_timeout_ms;
};
extern const struct dango_option dango_mofka_driver_options[];

struct mofka_partition_options {
    char *type;
    struct json_object *partition;
    char *uuid; /* NULL: generated */
};

struct mofka_topic_options {
    int64_t num_partitions;
    struct mofka_partition_options config;
    struct json_object *dependencies; /* object of strings and lists of strings */
};
extern const struct dango_option dango_mofka_topic_options[];

/*
 * Parses and checks the options of a topic (NULL: defaults). Both shapes of option files are understood: members of the
 * top level that are options of the partition's type become defaults of config.partition. Release the result with
 * dango_options_release.
 */
int dango_mofka_topic_options_parse(struct json_object *json, struct mofka_topic_options *options,
                                    struct dango_error *err);

#endif
