/*
 * The providers of a process: created in order, found by name or id, destroyed in reverse order.
 *
 * Two locks, taken in this order: `operations` serialises what changes providers (start, remove, update, the end) and
 * is held while callbacks of modules run and while other daemons are asked; `lock` guards the list and the counters,
 * is held for moments only, and never while waiting. So look-ups by other daemons are answered while this one starts a
 * provider, and two daemons that wait for each other's earlier providers do not block each other.
 *
 * A provider is kept alive by `dependents` (providers that use it; removal is refused) and by `users` (somebody reads
 * its configuration right now; removal waits).
 *
 * All functions are for ULTs (and the main thread of Margo); they may block cooperatively.
 */
#ifndef DANGO_BEDROCK_MANAGER_H
#define DANGO_BEDROCK_MANAGER_H

#include "bedrock/args.h"
#include "bedrock/engine.h"
#include "bedrock/plan.h"
#include "util/list.h"

#include <abt.h>

struct bdk_provider {
    struct list_node link;              /* in creation order */
    struct bdk_description description; /* name, type, id, tags … */
    const struct bedrock_module *module;
    void *component;
    struct bdk_resolved *resolved; /* what it depends on, see resolve.h */
    size_t num_resolved;
    unsigned dependents;
    unsigned users;
};

struct bdk_manager {
    ABT_mutex operations, lock; /* the handles of the memories below */
    ABT_cond changed;           /* a provider came or lost a user, or the end has begun; with `lock` */
    ABT_mutex_memory operations_memory, lock_memory;
    ABT_cond_memory changed_memory;
    struct list_node providers;
    bool ending; /* no new providers, no waiting */
    struct bdk_registry *registry;
    const struct bdk_engines *engines;
    uint16_t management_id;
    double resolution_timeout_s;
    struct json_object *addresses; /* borrowed: of engine 0 in the processes of the launch, by rank; NULL: not known, */
    const struct dango_error *unknown; /* and why */
};

/* Registry and engines are borrowed. Nothing needs to be released once bdk_manager_end has run; the manager stays in
 * place (it holds locks) until nobody can call it any more. */
void bdk_manager_init(struct bdk_manager *manager, struct bdk_registry *registry, const struct bdk_engines *engines,
                      const struct bdk_settings *settings);

/*
 * Creates a provider; `description` is taken over (zeroed) on success. `planned`: bdk_plan_check has accepted it as
 * part of a configuration, and bdk_manager_ready will follow once all are there.
 */
int bdk_manager_start(struct bdk_manager *manager, struct bdk_description *description, bool planned,
                      uint16_t *provider_id, struct dango_error *err);

/* Lets all providers become visible, in order. */
int bdk_manager_ready(struct bdk_manager *manager, struct dango_error *err);

int bdk_manager_remove(struct bdk_manager *manager, const char *spec, struct dango_error *err);
int bdk_manager_update(struct bdk_manager *manager, const char *spec, struct json_object *config,
                       struct dango_error *err);

/* Waits up to `timeout_s` for a provider to appear. */
int bdk_manager_lookup(struct bdk_manager *manager, const char *spec, double timeout_s,
                       struct bedrock_provider_info *info, struct dango_error *err);

/* Ends all waiting and refuses new providers; then destroys those that exist, the last one first. */
void bdk_manager_end(struct bdk_manager *manager);

/* The effective "providers" section. A new reference. */
struct json_object *bdk_manager_dump(struct bdk_manager *manager);

/* By name or type:id; NULL if there is none. With `lock` held. */
struct bdk_provider *bdk_manager_find(struct bdk_manager *manager, const struct bdk_reference *reference);

#endif
