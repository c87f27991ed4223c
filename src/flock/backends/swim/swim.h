/*
 * The SWIM protocol as a state machine: who is a member, who is suspected, what is told to whom. It knows no network, no
 * threads and no clock: time and messages go in, messages and changes come out through callbacks. backend.c runs it over
 * RPCs; tests/flock/test_swim.c runs hundreds of them over a simulated network.
 *
 * **A round** (probe.c). Every `protocol_period_ms` the next member of a shuffled order is pinged. Without an answer after
 * `ping_timeout_ms`, `ping_req_members` others are asked to ping it; without an answer after another
 * `ping_req_timeout_ms`, it is *suspected*; a suspect that does not refute within `suspicion_timeout_ms` is declared dead.
 * That time is longer in large groups, until others find the same for themselves, and for accusers that hear from nobody.
 * The order is shuffled again after each cycle, new members are inserted at random: everybody is pinged within 2n - 1
 * rounds. A round that ends without any answer makes the accuser doubt itself, and its next suspicions last longer.
 *
 * **Events** (members.c, gossip.c) say what is believed of a member: ALIVE and JOIN, SUSPECT, CONFIRM (dead) and LEAVE, each
 * with an *incarnation*. Only the member itself counts its incarnation up, to refute what is said of it; a newer incarnation
 * beats an older one, in the same the order above decides. An event that changed what we believe is told on with the next
 * messages, 8 a message, the least told first, 3 ceil(log2 n) times. Members that are gone are remembered for a while, so
 * that old news do not bring them back.
 *
 * **Whole states** (sync.c) are exchanged when a member joins, every ten rounds, and when the digests in messages differ for
 * two rounds. What one side believes dead is only *suspected* by the other: it may have been a broken network. Members
 * that died (and did not leave) are tried from time to time: groups that were separated grow together again.
 *
 * **Changes are counted** for the sake of the group file (provider/file.c): whoever changes its view counts one up, and
 * takes over a higher count from any message. A member that has heard of a change, directly or not, counts on from there.
 *
 * **A member that moves** to another address becomes a new one with a higher incarnation, which says what its former address
 * was; whoever knows the former one puts the new one in its place. As long as it lives it goes on saying so.
 *
 * **User metadata** travel in the same ways; of two values of a key the one with the higher (counter, writer) counts.
 *
 * Messages may be lost, late, doubled, or false: everything here bears it. Limits: members, values, events in a message.
 * Times are nanoseconds of any monotonic clock. Not thread-safe: the caller holds a lock. Callbacks must not call back.
 */
#ifndef FLOCK_BACKENDS_SWIM_SWIM_H
#define FLOCK_BACKENDS_SWIM_SWIM_H

#include <flock/flock-common.h>

#include <stdbool.h>
#include <stdint.h>

struct flk_swim_settings {
    double protocol_period_ms;
    double ping_timeout_ms;
    double ping_req_timeout_ms;
    int64_t ping_req_members;
    double suspicion_timeout_ms;
};

/* ---- messages ---- */

enum flk_swim_event_type {
    SWIM_ALIVE,
    SWIM_SUSPECT,
    SWIM_CONFIRM,
    SWIM_JOIN,
    SWIM_LEAVE,
    SWIM_MOVE, /* JOIN of a member that had another address before */
    SWIM_EVENT_TYPES
};

struct flk_swim_event {
    uint8_t type;
    uint16_t id;
    uint64_t incarnation;
    uint64_t accuser; /* SUSPECT: hash of the member whose ping was not answered; 0: not known */
    char *address;
    char *former; /* MOVE: the other address; otherwise NULL */
};

struct flk_swim_value {
    char *key;
    char *value; /* NULL: removed */
    uint64_t counter, writer;
};

enum flk_swim_message_type {
    SWIM_PING,     /* answered by SWIM_ACK with the same sequence number */
    SWIM_ACK,      /* with a target: that one has answered the ping of the sender */
    SWIM_PING_REQ, /* please ping the target */
    SWIM_SYNC,     /* the whole state; answered by SWIM_STATE */
    SWIM_STATE,    /* the whole state */
    SWIM_ANNOUNCE, /* events only */
    SWIM_MESSAGE_TYPES
};

#define SWIM_EVENTS_MAX 8 /* in messages other than whole states */
#define SWIM_VALUES_MAX 4

#define SWIM_ADDRESS_BYTES_MAX 1024
#define SWIM_KEY_BYTES_MAX     1024
#define SWIM_VALUE_BYTES_MAX   65536

typedef struct flk_swim_message {
    uint8_t type;
    uint16_t from_id, target_id;
    char *from;           /* the sender */
    char *target;         /* NULL: none */
    uint64_t incarnation; /* of the sender; 0: it is leaving */
    uint64_t sequence;
    uint64_t digest;  /* of members and values, as the sender sees them */
    uint64_t changes; /* that the sender has counted */
    uint64_t event_count, value_count;
    struct flk_swim_event *events;
    struct flk_swim_value *values;
} flk_swim_message_t;

/* A copy that owns its strings; false: out of memory, the copy is empty. */
bool flk_swim_message_copy(const flk_swim_message_t *message, flk_swim_message_t *copy);
void flk_swim_message_clear(flk_swim_message_t *message);

/* ---- the machine ---- */

struct flk_swim;

struct flk_swim_callbacks {
    /* The message is valid during the call. */
    void (*send)(void *arg, const char *address, uint16_t id, const flk_swim_message_t *message);
    /* DIED with our own address: the others had removed us; we are announcing ourselves again. */
    void (*member)(void *arg, flock_update_t update, const char *address, uint16_t id);
    /* A member has another address, maybe ourselves. */
    void (*moved)(void *arg, const char *from, const char *to, uint16_t id);
    void (*metadata)(void *arg, const char *key, const char *value);
};

struct flk_swim_stats {
    uint64_t rounds, pings, pings_failed, suspicions, refutations, deaths, syncs;
};

/* A machine of one member, this one. Its incarnation must be higher than that of all its predecessors at this address: the
 * time of day in milliseconds. NULL: out of memory. */
struct flk_swim *flk_swim_create(const struct flk_swim_settings *settings, const char *address, uint16_t id,
                                 uint64_t incarnation, uint64_t seed, const struct flk_swim_callbacks *callbacks,
                                 void *arg);
void flk_swim_destroy(struct flk_swim *swim);

/* What is known before the start; no callbacks. False: out of memory, or too many. */
bool flk_swim_add_initial(struct flk_swim *swim, const char *address, uint16_t id);
bool flk_swim_add_value(struct flk_swim *swim, const char *key, const char *value);
/* Announces itself. With `join` the other initial members are addresses to ask, not yet members to rely on. */
void flk_swim_start(struct flk_swim *swim, int64_t now, bool join);
/* Somebody has answered with the whole state. */
bool flk_swim_has_joined(const struct flk_swim *swim);
/* All who could be asked have been found unreachable. */
bool flk_swim_join_failed(const struct flk_swim *swim);

/* Does what is due and returns the time of the next call. Calls at other times do no harm. */
int64_t flk_swim_tick(struct flk_swim *swim, int64_t now);
/* A message from the network. True: `reply` is to be sent back to its sender, and cleared. */
bool flk_swim_receive(struct flk_swim *swim, int64_t now, const flk_swim_message_t *message, flk_swim_message_t *reply);
/* The network says that a message that was sent cannot have arrived. */
void flk_swim_failed(struct flk_swim *swim, int64_t now, const char *address, uint16_t id,
                     const flk_swim_message_t *message);
/* NULL: removes the key. False: too large, too many, or out of memory. */
bool flk_swim_set_value(struct flk_swim *swim, const char *key, const char *value);
/* Changes of the view, here and elsewhere, as far as known. */
uint64_t flk_swim_changes(const struct flk_swim *swim);
/* There have been so many. What nobody can have counted is ignored. */
void flk_swim_learn_changes(struct flk_swim *swim, uint64_t changes);
/* From now on this member has another address. False: one of the group has it, too many, or out of memory. */
bool flk_swim_move(struct flk_swim *swim, int64_t now, const char *address);
/* Says good-bye; from now on nothing is told but that. */
void flk_swim_leave(struct flk_swim *swim, int64_t now);

/* Whether this one is the first member, in the order of views, that is not suspected. */
bool flk_swim_is_first_alive(const struct flk_swim *swim);
bool flk_swim_is_suspected(const struct flk_swim *swim, const char *address, uint16_t id);
size_t flk_swim_member_count(const struct flk_swim *swim);
const struct flk_swim_stats *flk_swim_stats(const struct flk_swim *swim);

#endif
