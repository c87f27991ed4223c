/*
 * The network engines of a daemon: Margo instances. Engine 0 owns pools and execution streams, the others share them.
 *
 * Started and stopped by the main ULT; read by all in between.
 */
#ifndef DANGO_BEDROCK_ENGINE_H
#define DANGO_BEDROCK_ENGINE_H

#include "bedrock/config.h"

#include <margo.h>

struct bdk_engine {
    margo_instance_id mid;
    char *address; /* its own, as text */
};

struct bdk_engines {
    struct bdk_engine *list;
    size_t count;
    bool array; /* configured as an array, and shown as one */
};

/*
 * `address` is the one of the command line (protocol or full address), or NULL. All engines run, or none.
 */
int bdk_engines_start(struct bdk_engines *engines, const struct bdk_config *config, const char *address,
                      struct dango_error *err);

/* Finalises the last one first; blocks until running handlers have ended. Safe on a zeroed struct. */
void bdk_engines_stop(struct bdk_engines *engines);

/* The effective "margo" section: an object, or an array of them. A new reference. */
struct json_object *bdk_engines_dump(const struct bdk_engines *engines);

#endif
