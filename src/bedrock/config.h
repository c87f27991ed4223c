/*
 * The configuration of a process, checked as far as that is possible without starting anything:
 *
 *     bdk_config_parse   types and ranges of everything that Bedrock itself reads, names and ids used twice
 *     bdk_config_check   with the module libraries loaded: types of providers, their configurations, the dependencies
 *                        among them
 *
 * so that a mistake in the last provider is found before the first one has created a file. Pure data, one thread.
 */
#ifndef DANGO_BEDROCK_CONFIG_H
#define DANGO_BEDROCK_CONFIG_H

#include "bedrock/description.h"
#include "bedrock/registry.h"

#include <dango/error.h>
#include <dango/options.h>

#include <stdbool.h>

/* Section "bedrock". */
struct bdk_settings {
    char *pool; /* NULL: the RPC pool of the engine */
    int64_t provider_id;
    char *name;                           /* NULL: see bedrock/server.h */
    double dependency_resolution_timeout; /* seconds */
};

extern const struct dango_option bdk_settings_options[];
extern const struct dango_option bdk_config_options[]; /* the top level, for the reference page */

struct bdk_config {
    struct json_object *document;
    struct json_object *engines; /* array of objects, at least one; borrowed or owned alike: one reference */
    bool engines_are_array;      /* "margo" was an array */
    size_t num_libraries;        /* "libraries" of the document, all strings */
    struct bdk_settings settings;
    struct bdk_description *providers;
    size_t num_providers;
};

/* Takes its own references to what it needs of `document`, an object. On failure the config is zeroed. */
int bdk_config_parse(struct bdk_config *config, struct json_object *document, struct dango_error *err);
void bdk_config_release(struct bdk_config *config);

const char *bdk_config_library(const struct bdk_config *config, size_t i);

/* The place of an engine in the document: "margo" or "margo[1]". Returns buffer. */
const char *bdk_config_engine_path(const struct bdk_config *config, size_t i, char buffer[BDK_PATH_BYTES]);

/* Also fixes the ids of providers that left the choice to Bedrock. */
int bdk_config_check(struct bdk_config *config, struct bdk_registry *registry, struct dango_error *err);

#endif
