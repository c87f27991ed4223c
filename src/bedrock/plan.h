/*
 * Checks of one provider against what exists or will exist before it: its type, its id, its configuration by the
 * option table of its module, and whether each of its dependencies can be resolved. Used for all providers of a
 * configuration before anything starts, and again for one that is started at run time. No side effects.
 */
#ifndef DANGO_BEDROCK_PLAN_H
#define DANGO_BEDROCK_PLAN_H

#include "bedrock/description.h"
#include "bedrock/reference.h"
#include "bedrock/registry.h"

#include <bedrock/module.h>
#include <dango/error.h>

#include <stdint.h>

/* A provider that exists at the time of creation, or will by then. */
struct bdk_known {
    const char *name, *type;
    const char *path; /* place of its description */
    uint16_t provider_id;
};

struct bdk_plan {
    struct bdk_registry *registry;
    uint16_t management_id;
    size_t num_engines;
    const struct bdk_known *known; /* what is created before */
    size_t num_known;
    const struct bdk_description *all; /* the configuration this description belongs to; NULL at run time */
    size_t num_all;
};

/* `description->provider_id` is fixed here when the choice was left to Bedrock: the smallest one that is free. */
int bdk_plan_check(const struct bdk_plan *plan, struct bdk_description *description, struct dango_error *err);

/* Only the id: refused when used, chosen when the choice was left to Bedrock. */
int bdk_plan_check_id(const struct bdk_plan *plan, struct bdk_description *description, struct dango_error *err);

/*
 * What a provider of this description depends on; the list of its module. NULL with an error, or without one when
 * there is nothing.
 */
const struct bedrock_dependency_decl *bdk_plan_dependencies(const struct bedrock_module *module,
                                                            const struct bedrock_args *args, struct dango_error *err);

#endif
