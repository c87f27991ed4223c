/*
 * The SWIM machine: its life, its clock, and what it does with a message. See swim.h.
 */
#include "flock/backends/swim/machine.h"

#include <assert.h>

/* ---- life ---- */

struct flk_swim *flk_swim_create(const struct flk_swim_settings *settings, const char *address, uint16_t id,
                                 uint64_t incarnation, uint64_t seed, const struct flk_swim_callbacks *callbacks,
                                 void *arg)
{
    assert(settings && address && callbacks && incarnation > 0 && incarnation <= SWIM_COUNTER_MAX);
    struct flk_swim *swim = calloc(1, sizeof *swim);
    if (!swim)
        return NULL;
    swim->settings = *settings;
    swim->callbacks = callbacks;
    swim->arg = arg;
    swim->random = seed | 1;
    swim->rounds_to_sync = 1 + (unsigned)flk_random_below(&swim->random, SWIM_SYNC_ROUNDS);
    /* Sequence numbers of an earlier life must not fit. */
    swim->sequence = flk_random_next(&swim->random) >> 16;
    swim->self = flk_swim_insert(swim, address, id, incarnation);
    if (swim->self)
        return swim;
    flk_swim_destroy(swim);
    return NULL;
}

void flk_swim_destroy(struct flk_swim *swim)
{
    flk_swim_members_free(swim);
    flk_swim_entries_free(swim);
    for (size_t i = 0; i < SWIM_RELAYS_MAX; i++)
        free(swim->relays[i].requester);
    free(swim->mismatch_address);
    free(swim);
}

/* Not heard of so far: anything that is said of it is newer. */
bool flk_swim_add_initial(struct flk_swim *swim, const char *address, uint16_t id)
{
    return flk_swim_find(swim, address, id) || flk_swim_insert(swim, address, id, 0);
}

void flk_swim_start(struct flk_swim *swim, int64_t now, bool join)
{
    swim->born = swim->self->incarnation - (uint64_t)(now / DANGO_NS_PER_MS);
    swim->joining = join && swim->order_count > 0;
    for (size_t i = 0; swim->joining && i < swim->order_count; i++)
        swim->order[i]->unverified = true;
    flk_swim_tell(swim->self, SWIM_JOIN);
    flk_swim_shuffle(swim);
    /* Groups that start together do not probe in step. */
    swim->next_round =
        now + (int64_t)flk_random_below(&swim->random, (size_t)flk_swim_ns(swim->settings.protocol_period_ms) + 1);
    swim->next_join = swim->due = now;
    if (!swim->joining)
        flk_swim_announce(swim);
}

/* Another member, and the same machine. */
bool flk_swim_move(struct flk_swim *swim, int64_t now, const char *address)
{
    struct flk_swim_member *old = swim->self, *new = flk_swim_find(swim, address, old->id);
    char *former = strdup(old->address);
    if (!former || swim->leaving || (new &&new->state != SWIM_IS_GONE)) {
        free(former);
        return false;
    }
    uint64_t incarnation = (new &&new->incarnation > old->incarnation ? new->incarnation : old->incarnation) + 1;
    swim->self = NULL; /* the new one does not ping itself */
    new = flk_swim_revive(swim, new, address, old->id, incarnation);
    swim->self = new ? new : old;
    if (!new) {
        free(former);
        return false;
    }
    new->former = former;
    flk_swim_bury_moved(swim, now, old, incarnation);
    flk_swim_tell(new, SWIM_JOIN);
    swim->callbacks->moved(swim->arg, former, new->address, new->id);
    flk_swim_announce(swim);
    return true;
}

void flk_swim_leave(struct flk_swim *swim, int64_t now)
{
    (void)now;
    swim->leaving = true;
    flk_swim_tell(swim->self, SWIM_LEAVE);
    flk_swim_announce(swim);
}

/* ---- time ---- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_due(const struct flk_swim *swim)
{
    int64_t due = swim->joining ? earlier(swim->next_round, swim->next_join) : swim->next_round;
    for (size_t i = 0; i < SWIM_PROBES_MAX; i++) {
        if (swim->probes[i].active)
            due = earlier(due, swim->probes[i].deadline);
    }
    for (size_t i = 0; i < swim->order_count; i++) {
        if (swim->order[i]->state == SWIM_IS_SUSPECT)
            due = earlier(due, swim->order[i]->until);
    }
    return due;
}

/*
 * This process did not run for a while (stopped, or starved): answers may be waiting that it has not seen. It must not hold
 * its own absence against the others.
 */
static void forgive_absence(struct flk_swim *swim, int64_t now)
{
    int64_t late = now - swim->due;
    if (late < flk_swim_ns(swim->settings.ping_timeout_ms))
        return;
    memset(swim->probes, 0, sizeof swim->probes);
    for (size_t i = 0; i < swim->order_count; i++) {
        if (swim->order[i]->state == SWIM_IS_SUSPECT) {
            swim->order[i]->since += late;
            swim->order[i]->until += late;
        }
    }
}

int64_t flk_swim_tick(struct flk_swim *swim, int64_t now)
{
    if (swim->leaving)
        return DANGO_NEVER;
    forgive_absence(swim, now);
    flk_swim_expire(swim, now);
    flk_swim_join_tick(swim, now);
    flk_swim_probes_tick(swim, now);
    if (swim->next_round <= now) {
        int64_t period = flk_swim_ns(swim->settings.protocol_period_ms);
        swim->next_round += period;
        if (swim->next_round <= now)
            swim->next_round = now + period;
        if (!swim->joining) {
            flk_swim_round(swim, now);
            flk_swim_sync_tick(swim, now);
        }
    }
    swim->due = next_due(swim);
    return swim->due;
}

/* ---- messages ---- */

static void note_digest(struct flk_swim *swim, const flk_swim_message_t *message)
{
    if (message->digest == swim->digest || message->incarnation == 0)
        return;
    char *copy = strdup(message->from);
    if (!copy)
        return;
    free(swim->mismatch_address);
    swim->mismatch_address = copy;
    swim->mismatch_id = message->from_id;
    swim->mismatch = true;
}

/* Every message says that its sender lives, with its incarnation. */
static void learn_sender(struct flk_swim *swim, int64_t now, const flk_swim_message_t *message)
{
    if (message->incarnation > 0)
        flk_swim_apply(swim, now,
                       &(struct flk_swim_event){.type = SWIM_ALIVE,
                                                .id = message->from_id,
                                                .incarnation = message->incarnation,
                                                .address = message->from},
                       false);
}

static void learn_content(struct flk_swim *swim, int64_t now, const flk_swim_message_t *message)
{
    bool hearsay = message->type == SWIM_SYNC || message->type == SWIM_STATE;
    for (uint64_t i = 0; i < message->event_count; i++)
        flk_swim_apply(swim, now, &message->events[i], hearsay);
    for (uint64_t i = 0; i < message->value_count; i++)
        flk_swim_merge_value(swim, &message->values[i]);
    if (message->type == SWIM_STATE && swim->joining) {
        swim->joining = false;
        flk_swim_drop_unverified(swim, now);
    }
}

/* A sender that we hold for gone is told so along with the answer, and refutes. */
static bool answer(struct flk_swim *swim, const flk_swim_message_t *message, enum flk_swim_message_type type,
                   flk_swim_message_t *reply)
{
    const struct flk_swim_member *sender = flk_swim_find(swim, message->from, message->from_id);
    return flk_swim_post(swim, &(struct flk_swim_outgoing){.address = message->from,
                                                           .id = message->from_id,
                                                           .type = type,
                                                           .sequence = message->sequence,
                                                           .about = sender,
                                                           .reply = reply});
}

bool flk_swim_receive(struct flk_swim *swim, int64_t now, const flk_swim_message_t *message, flk_swim_message_t *reply)
{
    assert(message->from && message->type < SWIM_MESSAGE_TYPES);
    if (swim->leaving || (message->from_id == swim->self->id && strcmp(message->from, swim->self->address) == 0))
        return false;
    flk_swim_learn_changes(swim, message->changes);
    /* The content first: it may say that the sender is not a new member but one that has moved. */
    learn_content(swim, now, message);
    learn_sender(swim, now, message);
    note_digest(swim, message);
    switch (message->type) {
    case SWIM_PING:
        return answer(swim, message, SWIM_ACK, reply);
    case SWIM_SYNC:
        /* Who has not joined yet has nothing to tell. */
        return !swim->joining && answer(swim, message, SWIM_STATE, reply);
    case SWIM_ACK:
        flk_swim_on_ack(swim, now, message);
        return false;
    case SWIM_PING_REQ:
        flk_swim_on_ping_req(swim, now, message);
        return false;
    default:
        return false;
    }
}

/* What was not told must be told again. */
static void take_back(struct flk_swim *swim, const flk_swim_message_t *message)
{
    for (uint64_t i = 0; i < message->event_count; i++) {
        const struct flk_swim_event *event = &message->events[i];
        struct flk_swim_member *member = flk_swim_find(swim, event->address, event->id);
        if (member && member->sent > 0 && (member->event == event->type || event->type == SWIM_MOVE) &&
            member->incarnation == event->incarnation) {
            member->sent--;
            member->news = true;
        }
    }
}

void flk_swim_failed(struct flk_swim *swim, int64_t now, const char *address, uint16_t id,
                     const flk_swim_message_t *message)
{
    struct flk_swim_member *member = flk_swim_find(swim, address, id);
    if (message->type != SWIM_SYNC && message->type != SWIM_STATE)
        take_back(swim, message);
    if (!member)
        return;
    member->failed = true;
    /* No use in waiting for an answer. */
    for (size_t i = 0; i < SWIM_PROBES_MAX && message->type == SWIM_PING; i++) {
        struct flk_swim_probe *probe = &swim->probes[i];
        if (probe->active && probe->sequence == message->sequence && !probe->indirect)
            probe->deadline = now;
    }
}

/* ---- queries ---- */

bool flk_swim_is_first_alive(const struct flk_swim *swim)
{
    for (size_t i = 0; i < swim->count; i++) {
        if (swim->members[i]->state == SWIM_IS_ALIVE)
            return swim->members[i] == swim->self;
    }
    return false;
}

bool flk_swim_is_suspected(const struct flk_swim *swim, const char *address, uint16_t id)
{
    const struct flk_swim_member *member = flk_swim_find(swim, address, id);
    return member && member->state == SWIM_IS_SUSPECT;
}

size_t flk_swim_member_count(const struct flk_swim *swim)
{
    return swim->live;
}

uint64_t flk_swim_changes(const struct flk_swim *swim)
{
    return swim->changes;
}

void flk_swim_learn_changes(struct flk_swim *swim, uint64_t changes)
{
    if (changes > swim->changes && changes <= SWIM_CHANGES_MAX)
        swim->changes = changes;
}

const struct flk_swim_stats *flk_swim_stats(const struct flk_swim *swim)
{
    return &swim->stats;
}
