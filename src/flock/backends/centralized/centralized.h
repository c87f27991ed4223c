/*
 * Backend "centralized": one member, the primary, owns the view; the others, secondaries, have a copy of it.
 *
 * **Ranks of primaries.** Every primary has a *term*; its successor has the next one. Of two primaries the one with the
 * higher term counts, in the same term the smaller (address, provider id). Within a term the primary numbers the states of
 * its view: the *version*. What a primary says carries both. A member refuses what comes from an outdated primary, with its
 * own term and primary in the answer, from which an old primary that comes back learns that it has been replaced.
 *
 * **The good case** (primary.c). The primary pings every secondary at intervals; after `ping_max_num_timeouts` failures in
 * a row the member is removed (DIED). A joiner or leaver calls the primary, which changes the view, answers, and tells the
 * others in the background; so does a member that gets another address (move.c). A secondary applies an update if it has
 * the version before; otherwise it fetches the whole view, and reports what is different (secondary.c). Pings carry the
 * version, too: a lost update is noticed at the next ping.
 *
 * **Loss of the primary** (failover.c). A primary that leaves hands over to the first secondary that answers. A secondary
 * that has not heard from the primary for a while probes it; if that fails, it asks the other secondaries in the order of
 * the view: the first reachable one that cannot reach the primary either takes over with the next term. Two that take over
 * at the same time meet by their pings, and the lower rank gives up. A secondary that has been removed, or a primary that
 * has been replaced, finds out by the answers, reports its own death to its callbacks and joins again. Groups that a broken
 * network has split meet again because a primary goes on trying, one per interval, the members that it has declared dead.
 *
 * **Threads and locks.** All state is guarded by the mutex of the view, which is never held across a call or a callback.
 * Handlers and background work are ULTs in the provider's pool and inside the gate; every call has a limit, so that
 * closing the gate ends. One timer (tick) starts pings and the watch over the primary.
 */
#ifndef FLOCK_BACKENDS_CENTRALIZED_H
#define FLOCK_BACKENDS_CENTRALIZED_H

#include "flock/backends/backend.h"

#include <margo-timer.h>

/* ---- configuration (config.c) ---- */

struct flk_cen_settings {
    double ping_timeout_ms;
    struct json_object *ping_interval; /* as configured; the range is in the next two */
    double interval_min_ms, interval_max_ms;
    int64_t ping_max_num_timeouts;
    char *primary_address;
    struct json_object *primary_provider_id; /* NULL: not given */
    double join_timeout_ms;
    bool failover, failover_quorum, rejoin;
    struct json_object *given; /* fields that appear in the effective configuration only when they were set */
};

/* group.config completed by the view's "__config__", which has precedence. Released by flk_cen_settings_release. */
flock_return_t flk_cen_settings_read(struct json_object *config, const flock_group_view_t *view,
                                     struct flk_cen_settings *settings, struct dango_error *err);
void flk_cen_settings_release(struct flk_cen_settings *settings);
/* The effective configuration with this primary. A new reference. */
struct json_object *flk_cen_settings_dump(const struct flk_cen_settings *settings, const char *primary,
                                          uint16_t primary_id);

/* ---- messages (wire.c) ---- */

#define FLK_RPC_CENTRALIZED "flock_centralized"

enum flk_cen_type {
    CEN_WHO,      /* anybody → anybody: who is the primary, and am I a member? */
    CEN_PING,     /* primary → secondary */
    CEN_PROBE,    /* secondary → secondary: can you reach the primary? */
    CEN_JOIN,     /* joiner → primary: answered with the view */
    CEN_LEAVE,    /* secondary → primary */
    CEN_FETCH,    /* secondary → primary: answered with the view */
    CEN_UPDATE,   /* primary → secondary: one change */
    CEN_VIEW,     /* new primary → secondary: the view, and the change that made it */
    CEN_HANDOVER, /* leaving primary → secondary: be the next, with this view */
    CEN_METADATA, /* secondary → primary: set a value */
    CEN_MOVE,     /* secondary → primary: the sender has another address */
    CEN_TYPES
};

enum flk_cen_status {
    CEN_OK,
    CEN_REDIRECT, /* not the primary; the answer says who is */
    CEN_OUTDATED, /* the sender is not the primary any more */
    CEN_UNKNOWN,  /* the sender is no member */
    CEN_TAKEN,    /* another member has the address that the sender wants */
    CEN_STRANGER, /* at the address at which the sender looks for a member there is another one: us */
    CEN_FAILED
};

#define CEN_NO_UPDATE    255 /* in `update`: none; otherwise a flock_update_t, or: */
#define CEN_METADATA_SET 254

typedef struct flk_cen_request {
    uint8_t type;
    char *from;
    uint16_t from_id;
    char *to;               /* the address of the receiver, as the sender knows it; filled in by the call */
    uint64_t term, version; /* of the sender */
    uint8_t update;
    char *name, *value; /* address of a member (and its former one), or key and value (no value: removed) */
    uint16_t id;
    flock_group_view_t view;
} flk_cen_request_t;

typedef struct flk_cen_answer {
    uint8_t status;
    uint8_t reached; /* CEN_PROBE */
    uint64_t term, version;
    char *primary;
    uint16_t primary_id;
    flock_group_view_t view;
} flk_cen_answer_t;

hg_return_t hg_proc_flk_cen_request_t(hg_proc_t proc, void *data);
hg_return_t hg_proc_flk_cen_answer_t(hg_proc_t proc, void *data);

/* ---- the group ---- */

/* `extra` of a member of the view at the primary. */
struct flk_cen_ping {
    int64_t next_ns;
    int failures; /* in a row */
    bool busy;
};

struct flk_cen_group {
    margo_instance_id mid;
    ABT_pool pool;
    hg_id_t rpc;
    char *self;                /* one of: */
    flock_group_view_t selves; /* the addresses that this member has had, or has tried to have */
    const char *moving;        /* the one that it is about to have: the primary may have put it there already */
    uint16_t id;
    struct flk_cen_settings settings;
    struct flk_events events;
    struct dango_gate gate; /* handlers and background work */
    margo_timer_t timer;
    flock_group_view_t view; /* its mutex guards everything below */
    uint64_t term, version;
    char *primary;
    uint16_t primary_id;
    int64_t heard_ns; /* of the primary, at a secondary */
    bool leaving;
    bool task;               /* background work of a secondary is under way: one at a time */
    bool fetch_again;        /* there was something newer during it */
    bool is_dead;            /* removed by the others: to join again */
    flock_group_view_t lost; /* members that were declared dead, at a primary: they may come back */
    size_t lost_next;        /* which of them is tried next, */
    int64_t lost_due_ns;     /* and when */
    uint64_t random;
    struct {
        uint64_t pings, pings_failed, deaths;
    } stats;          /* of a primary */
    bool told_absurd; /* the user knows that somebody sends terms beyond belief */
};

static inline void flk_cen_lock(struct flk_cen_group *group)
{
    FLOCK_GROUP_VIEW_LOCK(&group->view);
}

static inline void flk_cen_unlock(struct flk_cen_group *group)
{
    FLOCK_GROUP_VIEW_UNLOCK(&group->view);
}

/* ---- state.c: what is done with the lock held ---- */

bool flk_cen_is_primary(const struct flk_cen_group *group);
bool flk_cen_is_self(const struct flk_cen_group *group, const char *address, uint16_t id);
/* Whether we know of no primary that would know us: we have not joined yet, or were removed. */
bool flk_cen_is_out(const struct flk_cen_group *group);
/* Rank of a primary against ours: negative if it is outdated, 0 if it is the same, positive if it counts more. */
int flk_cen_rank(const struct flk_cen_group *group, uint64_t term, const char *primary, uint16_t primary_id);
/* Whether a term and a version can be true. Much beyond ours there are none, only somebody who makes them up so that no
 * primary can come after it. */
bool flk_cen_is_plausible(struct flk_cen_group *group, uint64_t term, uint64_t version);
/* Another primary (maybe ourselves): __config__ follows. False: out of memory. */
bool flk_cen_set_primary(struct flk_cen_group *group, const char *primary, uint16_t primary_id);
/* Changes the view and notes the event; false if nothing changed. */
bool flk_cen_add(struct flk_cen_group *group, const char *address, uint16_t id);
bool flk_cen_remove(struct flk_cen_group *group, flock_update_t kind, const char *address, uint16_t id);
/* False: it is no member, or another one has the address. */
bool flk_cen_move(struct flk_cen_group *group, const char *from, const char *to, uint16_t id);
/* Nobody has to look for it any more. */
void flk_cen_forget_lost(struct flk_cen_group *group, const char *address, uint16_t id);
bool flk_cen_set_metadata(struct flk_cen_group *group, const char *key, const char *value);
/* Takes over a view from a primary of at least our rank, and notes the differences as events. `cause` (may be NULL) is the
 * update that made the view: of all that are gone, that member has left, died or moved as it says. */
void flk_cen_adopt(struct flk_cen_group *group, uint64_t term, uint64_t version, const char *primary,
                   uint16_t primary_id, flock_group_view_t *view, const flk_cen_request_t *cause);
/* When the next ping to a member that has just become known is due. */
int64_t flk_cen_next_ping_ns(struct flk_cen_group *group, int64_t from_ns);

/* ---- handlers.c ---- */

/* What is to be done after the answer has left: callbacks and the group file may take their time. */
struct flk_cen_follow_up {
    bool refresh, changed, took_over;
    uint64_t version;
};
/* The answer to a request; its strings are copies. */
struct flk_cen_follow_up flk_cen_handle(struct flk_cen_group *group, const flk_cen_request_t *request,
                                        flk_cen_answer_t *answer);
void flk_cen_follow(struct flk_cen_group *group, const flk_cen_request_t *request,
                    const struct flk_cen_follow_up *next);
/* Sets a value as the primary, or has the primary set it. */
flock_return_t flk_cen_metadata(struct flk_cen_group *group, const char *key, const char *value);

/* ---- backend.c ---- */

/* Fills in sender, term and version. Takes the lock. */
void flk_cen_request_init(struct flk_cen_group *group, flk_cen_request_t *request, enum flk_cen_type type);
/* One call; on success the answer is to be freed by flk_cen_answer_free. No lock held. */
bool flk_cen_call(struct flk_cen_group *group, const char *address, uint16_t id, flk_cen_request_t *request,
                  double timeout_ms, flk_cen_answer_t *answer);
void flk_cen_answer_free(flk_cen_answer_t *answer);
/* Whether this member is the primary, by what the answer says. */
bool flk_cen_is_primary_of(const flk_cen_answer_t *answer, const char *address, uint16_t id);
/* A copy of the members other than self (and than one more), in the order of the view. Takes the lock. */
bool flk_cen_others(struct flk_cen_group *group, const char *except, uint16_t except_id, flock_group_view_t *others);
/* Background work inside the gate; false if the group is closing. `arg` is the function's to free in either case. */
bool flk_cen_spawn(struct flk_cen_group *group, void (*body)(struct flk_cen_group *group, void *arg), void *arg);

/* ---- primary.c ---- */

/* Starts pings that are due; returns when the next one is. */
int64_t flk_cen_ping_all(struct flk_cen_group *group, int64_t now_ns);
/* Tells all secondaries, in the background, of the change that made this version. No lock held; the events are the
 * caller's to report. */
void flk_cen_broadcast(struct flk_cen_group *group, uint64_t version, uint8_t update, const char *name, uint16_t id,
                       const char *value);
/* The same with the whole view, by a new primary. */
void flk_cen_broadcast_view(struct flk_cen_group *group, uint8_t update, const char *name, uint16_t id);
/* The same, when the primary itself has moved. */
void flk_cen_broadcast_move(struct flk_cen_group *group, const char *from, const char *to);
/* Hands the role over before leaving. Blocks for a limited time. */
void flk_cen_hand_over(struct flk_cen_group *group);

/* ---- secondary.c ---- */

/* A member as an argument of background work, to be freed. */
struct flk_cen_target {
    uint16_t id;
    char address[];
};
struct flk_cen_target *flk_cen_target_create(const char *address, uint16_t id);
struct flk_cen_target *flk_cen_current_primary(struct flk_cen_group *group);
/* The turn of the background work; false: there is some already, which is told to look again. */
bool flk_cen_begin_task(struct flk_cen_group *group);
void flk_cen_end_task(struct flk_cen_group *group);
/* Fetches the view from a primary, in the background. */
void flk_cen_refresh(struct flk_cen_group *group, const char *primary, uint16_t primary_id);
/* Fetches it now. True: the primary says that we are no member. `over`: what we belonged to has no primary any more, so that
 * its rank does not count against this one. */
bool flk_cen_fetch(struct flk_cen_group *group, const char *address, uint16_t id, bool over);
/* Joins through the members of the view, until the deadline. */
flock_return_t flk_cen_join(struct flk_cen_group *group, int64_t deadline_ns, struct dango_error *err);
/* Reports our own death, and joins until it has worked, or the end. The first attempt is made at `primary`. */
void flk_cen_rejoin(struct flk_cen_group *group, const struct flk_cen_target *primary);
/* Says good-bye to the primary. Blocks for a limited time. */
void flk_cen_leave(struct flk_cen_group *group);

/* ---- failover.c ---- */

/* The limit of a ping, and of whatever asks whether a member is there. */
static inline double flk_cen_ping_limit_ms(const struct flk_cen_group *group)
{
    return group->settings.ping_timeout_ms > 1 ? group->settings.ping_timeout_ms : 1;
}

/* How long secondaries need to replace a primary, also when they have to learn first which one. */
int64_t flk_cen_replacement_ns(const struct flk_cen_group *group);
/* Starts looking for the primary if it has been silent for too long; returns when to look again. */
int64_t flk_cen_watch(struct flk_cen_group *group, int64_t now_ns);

#define CEN_CALL_MS      1000.0
#define CEN_MEMBERS_MAX  8192 /* that a primary lets in */
#define CEN_METADATA_MAX 1024
#define CEN_LOST_MAX     64
#define CEN_JUMP_MAX                                                                                                   \
    (UINT64_C(1) << 32) /* that a term or version may be beyond ours, except in the answer to a joiner */

#endif
