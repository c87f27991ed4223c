/*
 * What the backends that run a protocol share: errors with text at the start, who writes the group file, calls to other
 * members, updates in order, and random numbers.
 */
#ifndef FLOCK_BACKENDS_BACKEND_H
#define FLOCK_BACKENDS_BACKEND_H

#include "flock/internal.h"

#include "argobots/gate.h"
#include "flock/provider/callbacks.h"
#include "util/list.h"

/* ---- built-in backends ---- */

/* What init_group of a built-in backend is called with: the public arguments, and where to say what is wrong. */
struct flk_backend_args {
    flock_backend_init_args_t args;
    struct dango_error *err;
};

static inline struct dango_error *flk_backend_error(flock_backend_init_args_t *args)
{
    return container_of(args, struct flk_backend_args, args)->err;
}

/* ---- calls (call.c) ---- */

/* One RPC to one member. */
struct flk_call {
    hg_addr_t addr;
    hg_handle_t handle;
    margo_request request; /* NULL: complete */
};

/* Sends; on failure there is nothing to end. Does not wait for the answer. */
hg_return_t flk_call_start(struct flk_call *call, margo_instance_id mid, hg_id_t rpc, const char *address,
                           uint16_t provider_id, void *in, double timeout_ms);
/* Blocks until the answer is there, and decodes it; on success to be freed by margo_free_output. */
hg_return_t flk_call_wait(struct flk_call *call, void *out);
/* Gives up a call that is not complete. Every started call ends with this. */
void flk_call_end(struct flk_call *call);

/* ---- updates (events.c) ---- */

/*
 * Changes of the view are noted under the lock that guards it, and reported later without it, in the same order, by one
 * ULT at a time: whoever comes while another reports leaves that to it.
 */
struct flk_events {
    ABT_mutex_memory mutex; /* guards the two below */
    struct list_node waiting;
    bool reporting;
    flock_membership_update_fn member_update;
    flock_metadata_update_fn metadata_update;
    void *context;
};

void flk_events_init(struct flk_events *events, const flock_backend_init_args_t *args);
void flk_events_fini(struct flk_events *events);
void flk_events_member(struct flk_events *events, flock_update_t kind, const char *address, uint16_t provider_id);
void flk_events_metadata(struct flk_events *events, const char *key, const char *value);
/* Forgets what has not been reported: how the view came about at the start is nobody's business. */
void flk_events_discard(struct flk_events *events);
/* Calls back; not with a lock held. */
void flk_events_report(struct flk_events *events);

/* ---- random numbers (random.c) ---- */

/* A seed that no other provider has, whenever and wherever it starts. */
uint64_t flk_random_seed(const void *self);
uint64_t flk_random_next(uint64_t *state);
/* Uniform in [0, limit); `limit` > 0. */
size_t flk_random_below(uint64_t *state, size_t limit);

#endif
