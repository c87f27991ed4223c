/*
 * What the backends that run a protocol share: errors with text at the start, background work, calls to other members,
 * updates in order, and random numbers.
 */
#ifndef FLOCK_BACKENDS_BACKEND_H
#define FLOCK_BACKENDS_BACKEND_H

#include "flock/internal.h"

#include "argobots/gate.h"
#include "flock/provider/callbacks.h"
#include "util/list.h"

#include <margo-timer.h>

/* ---- built-in backends ---- */

/* `former`: of one that has moved; otherwise NULL. */
typedef void (*flk_member_changed_fn)(void *context, flock_update_t kind, const char *address, const char *former,
                                      uint16_t provider_id);

/* What init_group of a built-in backend is called with: the public arguments, where to say what is wrong, what is
 * called at the moment at which a member comes, goes or moves, with the lock of the view (the public callback comes
 * later), what is called, without it, when flk_backend_writes_file may answer something else, and what the group's
 * file says if the group starts again from it, or another member has written it already. */
struct flk_backend_args {
    flock_backend_init_args_t args;
    struct dango_error *err;
    flk_member_changed_fn member_changed;
    void (*writer_changed)(void *context);
    const struct flk_resume *resumes; /* NULL: a new group, or a joiner */
};

static inline struct dango_error *flk_backend_error(flock_backend_init_args_t *args)
{
    return container_of(args, struct flk_backend_args, args)->err;
}

static inline const struct flk_resume *flk_backend_resumes(flock_backend_init_args_t *args)
{
    return container_of(args, struct flk_backend_args, args)->resumes;
}

/* ---- background work (serve.c) ---- */

/* Starts a ULT inside the gate, which is the body's to leave; false: not started, since the gate is closed. */
bool flk_spawn(struct dango_gate *gate, ABT_pool pool, void (*body)(void *arg), void *arg);
/* The rest of starting to serve: the RPC (0: could not be registered) finds the group, whose timer is created. What is there
 * after a failure is the caller's to undo. */
flock_return_t flk_serve(margo_instance_id mid, hg_id_t rpc, void *group, ABT_pool pool, void (*tick)(void *group),
                         margo_timer_t *timer, struct dango_error *err);

/* ---- calls (call.c) ---- */

/* One RPC to one member. */
struct flk_call {
    hg_addr_t addr;
    hg_handle_t handle;
    margo_request request;        /* NULL: complete */
    const flock_member_t *member; /* one of many: whose it is */
};

/* Sends; on failure there is nothing to end. Does not wait for the answer. */
hg_return_t flk_call_start(struct flk_call *call, margo_instance_id mid, hg_id_t rpc, const char *address,
                           uint16_t provider_id, void *in, double timeout_ms);
/* Blocks until the answer is there, and decodes it; on success to be freed by margo_free_output. */
hg_return_t flk_call_wait(struct flk_call *call, void *out);
/* Gives up a call that is not complete. Every started call ends with this. */
void flk_call_end(struct flk_call *call);

/* The same RPC to many members at once, so that one that hangs delays nobody. */
#define FLK_CALLS_MAX 64

struct flk_calls {
    struct flk_call list[FLK_CALLS_MAX];
    margo_request pending[FLK_CALLS_MAX]; /* NULL: complete */
    size_t count;
};

/* Calls the first FLK_CALLS_MAX of `count` members, which must stay where they are until the end. Those that cannot be
 * reached are left out. `to` (may be NULL) is a field of the input, to be set to the address of each. */
void flk_calls_start(struct flk_calls *calls, margo_instance_id mid, hg_id_t rpc, const flock_member_t *members,
                     size_t count, void *in, char **to, double timeout_ms);
/* Blocks until the next answer is there, and decodes it; to be freed by margo_free_output. NULL: there is none any more. */
struct flk_call *flk_calls_next(struct flk_calls *calls, void *out);
/* Gives up those that are not complete. */
void flk_calls_end(struct flk_calls *calls);

/* ---- updates (events.c) ---- */

/*
 * Changes of the view are noted under the lock that guards it, and reported later without it, in the same order, by one
 * ULT at a time: whoever comes while another reports leaves that to it. That another member may be the one to write the group
 * file is reported at once, whatever a callback of the user's is waiting for.
 */
struct flk_events {
    ABT_mutex_memory mutex; /* guards the three below */
    struct list_node waiting;
    bool reporting;
    bool writer; /* it may be another one */
    flk_member_changed_fn member_changed;
    void (*writer_changed)(void *context);
    flock_membership_update_fn member_update;
    flock_metadata_update_fn metadata_update;
    void *context;
};

void flk_events_init(struct flk_events *events, flock_backend_init_args_t *args);
void flk_events_fini(struct flk_events *events);
void flk_events_member(struct flk_events *events, flock_update_t kind, const char *address, uint16_t provider_id);
/* A member has another address now. */
void flk_events_moved(struct flk_events *events, const char *from, const char *to, uint16_t provider_id);
void flk_events_metadata(struct flk_events *events, const char *key, const char *value);
/* The answer of flk_backend_writes_file may be another one. */
void flk_events_writer(struct flk_events *events);
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
