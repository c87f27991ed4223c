/*
 * What stands behind the opaque struct bedrock_args of module callbacks. Filled in by the caller of the callback, on
 * its stack; everything is borrowed.
 */
#ifndef DANGO_BEDROCK_ARGS_H
#define DANGO_BEDROCK_ARGS_H

#include "bedrock/description.h"

#include <bedrock/module.h>

struct bdk_provider;

/* The resolved dependencies of one declared name. */
struct bdk_resolved {
    const struct bedrock_dependency_decl *decl;
    struct bedrock_dependency *items;
    struct bdk_provider **targets; /* the local provider that each item holds, or NULL */
    size_t count;
};

struct bedrock_args {
    const struct bdk_description *description;
    margo_instance_id instance; /* MARGO_INSTANCE_NULL while nothing runs */
    const struct bdk_resolved *resolved;
    size_t num_resolved;
};

#endif
