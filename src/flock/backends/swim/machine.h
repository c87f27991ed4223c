/*
 * The SWIM machine from the inside: see swim.h.
 */
#ifndef FLOCK_BACKENDS_SWIM_MACHINE_H
#define FLOCK_BACKENDS_SWIM_MACHINE_H

#include "flock/backends/backend.h"
#include "flock/backends/swim/swim.h"

#include "util/clock.h"

#define SWIM_MEMBERS_MAX      8192 /* with those that are gone */
#define SWIM_METADATA_MAX     1024
#define SWIM_PROBES_MAX       16
#define SWIM_RELAYS_MAX       64
#define SWIM_SYNC_ROUNDS      10
#define SWIM_DOUBT_MAX        3
#define SWIM_ACCUSERS_MAX     4                       /* that count */
#define SWIM_COUNTER_MAX      (UINT64_MAX / 4)        /* of metadata */
#define SWIM_CHANGES_MAX      FLK_STAMP_MAX           /* that a group can get to */
#define SWIM_AHEAD_MAX        (UINT64_C(1) << 42)     /* that an incarnation may be beyond the time */
#define SWIM_DEAD_KEPT_NS     (3600 * DANGO_NS_PER_S) /* members that died may come back */
#define SWIM_TOMBSTONE_FACTOR 10                      /* times the suspicion timeout: members that left */

enum flk_swim_state { SWIM_IS_ALIVE, SWIM_IS_SUSPECT, SWIM_IS_GONE };

struct flk_swim_member {
    char *address;
    char *former; /* the address that it had before; NULL: none */
    uint16_t id;
    enum flk_swim_state state;
    bool left;       /* gone: by itself, and not dead */
    bool moved;      /* gone: to another address; nothing is told of this one */
    bool unverified; /* named by the file of a joiner, and by nobody else so far */
    bool failed;     /* so is it, and it cannot be reached */
    uint64_t incarnation;
    int64_t until; /* suspect: when it is declared dead; gone: when it is forgotten */
    /* Suspect: since when, for how long at most, and who has found it silent, the last of them told on. */
    int64_t since, patience;
    uint64_t accusers[SWIM_ACCUSERS_MAX];
    unsigned accuser_count;
    /* The news of this member that are told on: one at most. */
    bool news;
    uint8_t event; /* enum flk_swim_event_type */
    unsigned sent;
};

struct flk_swim_entry { /* of metadata */
    struct flk_swim_value value;
    bool news;
    unsigned sent;
};

/* A ping under way. */
struct flk_swim_probe {
    bool active, indirect;
    uint64_t sequence;
    int64_t deadline;
    struct flk_swim_member *target;
};

/* A ping on behalf of another member. */
struct flk_swim_relay {
    uint64_t sequence; /* of our ping; 0: free */
    uint64_t asked;    /* of the request */
    int64_t deadline;
    char *requester;
    uint16_t requester_id;
};

struct flk_swim {
    struct flk_swim_settings settings;
    const struct flk_swim_callbacks *callbacks;
    void *arg;
    struct flk_swim_member *self;
    struct flk_swim_member **members; /* sorted, with those that are gone */
    size_t count, capacity;
    size_t live;                    /* not gone, with self */
    struct flk_swim_member **order; /* of probing: live members but self */
    size_t order_count, order_next, order_capacity;
    struct flk_swim_entry *entries;
    size_t entry_count;
    uint64_t digest, sequence, random;
    uint64_t changes; /* of the view: see swim.h */
    uint64_t born;    /* what our first incarnation would have been when `now` was 0 */
    bool told_absurd; /* the user knows that somebody sends incarnations beyond belief */
    struct flk_swim_probe probes[SWIM_PROBES_MAX];
    struct flk_swim_relay relays[SWIM_RELAYS_MAX];
    int64_t next_round, next_join, due; /* due: what the last tick returned */
    unsigned rounds_to_sync;
    unsigned mismatches; /* rounds in a row in which digests differed */
    bool mismatch;       /* in this round, with: */
    char *mismatch_address;
    uint16_t mismatch_id;
    unsigned doubt; /* rounds in a row without any answer */
    bool joining, leaving;
    struct flk_swim_stats stats;
};

static inline int64_t flk_swim_ns(double ms)
{
    return (int64_t)(ms * (double)DANGO_NS_PER_MS);
}

/* ---- members.c ---- */

struct flk_swim_member *flk_swim_find(const struct flk_swim *swim, const char *address, uint16_t id);
/* A new live member without news or callbacks; NULL: out of memory, or too many. */
struct flk_swim_member *flk_swim_insert(struct flk_swim *swim, const char *address, uint16_t id, uint64_t incarnation);
/* The same in place of one that is gone, unless that is NULL. */
struct flk_swim_member *flk_swim_revive(struct flk_swim *swim, struct flk_swim_member *gone, const char *address,
                                        uint16_t id, uint64_t incarnation);
/* Applies what is said of a member, by the rules of the protocol; `hearsay`: as part of a whole state. */
void flk_swim_apply(struct flk_swim *swim, int64_t now, const struct flk_swim_event *event, bool hearsay);
void flk_swim_suspect(struct flk_swim *swim, int64_t now, struct flk_swim_member *member, uint64_t incarnation,
                      uint64_t accuser);
/* Another one accuses a suspect of the same incarnation. */
void flk_swim_accuse(struct flk_swim *swim, struct flk_swim_member *member, uint64_t accuser);
/* Ourselves as an accuser. */
uint64_t flk_swim_accuser(const struct flk_swim *swim);
void flk_swim_remove(struct flk_swim *swim, int64_t now, struct flk_swim_member *member, uint64_t incarnation,
                     bool left);
/* The view has changed. */
void flk_swim_count_change(struct flk_swim *swim);
/* It is at another place now. */
void flk_swim_bury_moved(struct flk_swim *swim, int64_t now, struct flk_swim_member *member, uint64_t incarnation);
/* Suspects whose time is over, and members to be forgotten. */
void flk_swim_expire(struct flk_swim *swim, int64_t now);
/* Drops what only the file of a joiner named. */
void flk_swim_drop_unverified(struct flk_swim *swim, int64_t now);
void flk_swim_shuffle(struct flk_swim *swim);
void flk_swim_members_free(struct flk_swim *swim);

/* ---- gossip.c ---- */

void flk_swim_tell(struct flk_swim_member *member, enum flk_swim_event_type type);
unsigned flk_swim_send_limit(size_t members);
/* Sends a message with the news that fit; first of all, if there are any, those about `about` (may be NULL). */
void flk_swim_send(struct flk_swim *swim, const struct flk_swim_member *to, enum flk_swim_message_type type,
                   uint64_t sequence, const struct flk_swim_member *about);
/* The same with an explicit address, and maybe a target; or, with `reply`, not sent but copied there. */
struct flk_swim_outgoing {
    const char *address;
    uint16_t id;
    enum flk_swim_message_type type;
    uint64_t sequence;
    const struct flk_swim_member *about, *target;
    flk_swim_message_t *reply;
};
bool flk_swim_post(struct flk_swim *swim, const struct flk_swim_outgoing *outgoing);

/* ---- metadata.c ---- */

void flk_swim_merge_value(struct flk_swim *swim, const struct flk_swim_value *value);
void flk_swim_entries_free(struct flk_swim *swim);

/* ---- probe.c ---- */

void flk_swim_round(struct flk_swim *swim, int64_t now);
void flk_swim_probes_tick(struct flk_swim *swim, int64_t now);
void flk_swim_on_ack(struct flk_swim *swim, int64_t now, const flk_swim_message_t *message);
void flk_swim_on_ping_req(struct flk_swim *swim, int64_t now, const flk_swim_message_t *message);
/* The member is no target any more. */
void flk_swim_probes_forget(struct flk_swim *swim, const struct flk_swim_member *member);
/* Up to `max` different live members other than self and `except`, at random; returns how many. */
size_t flk_swim_choose(struct flk_swim *swim, const struct flk_swim_member *except, struct flk_swim_member **chosen,
                       size_t max);

/* ---- sync.c ---- */

void flk_swim_announce(struct flk_swim *swim);
void flk_swim_sync_tick(struct flk_swim *swim, int64_t now);
void flk_swim_join_tick(struct flk_swim *swim, int64_t now);

#endif
