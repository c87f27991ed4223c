/*
 * The members that a SWIM machine knows, and what it believes of them. Sorted by address and id; those that are gone stay
 * for a while with their last incarnation. The rules by which events are applied are in flk_swim_apply.
 */
#include "flock/backends/swim/machine.h"

#include "util/log.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

/* ---- the table ---- */

static int compare(const struct flk_swim_member *member, const char *address, uint16_t id)
{
    int order = strcmp(member->address, address);
    return order ? order : (int)member->id - (int)id;
}

/* Where it is, or belongs. */
static size_t position(const struct flk_swim *swim, const char *address, uint16_t id, bool *found)
{
    size_t low = 0, high = swim->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(swim->members[middle], address, id);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct flk_swim_member *flk_swim_find(const struct flk_swim *swim, const char *address, uint16_t id)
{
    assert(address);
    bool found;
    size_t i = position(swim, address, id, &found);
    return found ? swim->members[i] : NULL;
}

static bool grow(struct flk_swim_member ***array, size_t *capacity, size_t count)
{
    if (count < *capacity)
        return true;
    size_t larger = *capacity ? 2 * *capacity : 16;
    struct flk_swim_member **moved = reallocarray(*array, larger, sizeof *moved);
    if (!moved)
        return false;
    *array = moved;
    *capacity = larger;
    return true;
}

/* At a random place of the order of probing, self never. */
static void order_insert(struct flk_swim *swim, struct flk_swim_member *member)
{
    assert(swim->order_count < swim->order_capacity);
    size_t i = flk_random_below(&swim->random, swim->order_count + 1);
    memmove(&swim->order[i + 1], &swim->order[i], (swim->order_count - i) * sizeof *swim->order);
    swim->order[i] = member;
    swim->order_count++;
    if (i < swim->order_next)
        swim->order_next++;
}

static void order_remove(struct flk_swim *swim, const struct flk_swim_member *member)
{
    size_t i = 0;
    while (i < swim->order_count && swim->order[i] != member)
        i++;
    if (i == swim->order_count)
        return;
    memmove(&swim->order[i], &swim->order[i + 1], (swim->order_count - i - 1) * sizeof *swim->order);
    swim->order_count--;
    if (i < swim->order_next)
        swim->order_next--;
}

void flk_swim_shuffle(struct flk_swim *swim)
{
    for (size_t i = swim->order_count; i > 1; i--) {
        size_t j = flk_random_below(&swim->random, i);
        struct flk_swim_member *swapped = swim->order[i - 1];
        swim->order[i - 1] = swim->order[j];
        swim->order[j] = swapped;
    }
    swim->order_next = 0;
}

void flk_swim_count_change(struct flk_swim *swim)
{
    swim->changes += swim->changes < SWIM_CHANGES_MAX;
}

static void become_live(struct flk_swim *swim, struct flk_swim_member *member, uint64_t incarnation)
{
    member->state = SWIM_IS_ALIVE;
    member->incarnation = incarnation;
    member->left = member->moved = member->unverified = member->failed = false;
    free(member->former);
    member->former = NULL;
    swim->live++;
    swim->digest ^= flock_hash_member(member->id, member->address);
    flk_swim_count_change(swim);
    if (swim->self)
        order_insert(swim, member);
}

struct flk_swim_member *flk_swim_insert(struct flk_swim *swim, const char *address, uint16_t id, uint64_t incarnation)
{
    bool found;
    size_t i = position(swim, address, id, &found);
    assert(!found);
    if (swim->count >= SWIM_MEMBERS_MAX || !grow(&swim->members, &swim->capacity, swim->count) ||
        !grow(&swim->order, &swim->order_capacity, swim->count))
        return NULL;
    struct flk_swim_member *member = calloc(1, sizeof *member);
    char *copy = strdup(address);
    if (!member || !copy) {
        free(member);
        free(copy);
        return NULL;
    }
    member->address = copy;
    member->id = id;
    memmove(&swim->members[i + 1], &swim->members[i], (swim->count - i) * sizeof *swim->members);
    swim->members[i] = member;
    swim->count++;
    become_live(swim, member, incarnation);
    return member;
}

struct flk_swim_member *flk_swim_revive(struct flk_swim *swim, struct flk_swim_member *gone, const char *address,
                                        uint16_t id, uint64_t incarnation)
{
    if (!gone)
        return flk_swim_insert(swim, address, id, incarnation);
    assert(gone->state == SWIM_IS_GONE);
    become_live(swim, gone, incarnation);
    return gone;
}

static void member_free(struct flk_swim_member *member)
{
    free(member->former);
    free(member->address);
    free(member);
}

static void forget(struct flk_swim *swim, size_t i)
{
    assert(swim->members[i]->state == SWIM_IS_GONE && swim->members[i] != swim->self);
    member_free(swim->members[i]);
    memmove(&swim->members[i], &swim->members[i + 1], (swim->count - i - 1) * sizeof *swim->members);
    swim->count--;
}

void flk_swim_members_free(struct flk_swim *swim)
{
    for (size_t i = 0; i < swim->count; i++)
        member_free(swim->members[i]);
    free(swim->members);
    free(swim->order);
}

/* ---- changes ---- */

/* Large groups hear of a refutation later. */
static double size_scale(const struct flk_swim *swim)
{
    double scale = log2((double)swim->live) / 5;
    return scale > 1 ? scale : 1;
}

/* An accuser that hears nothing from anybody doubts itself. */
static int64_t suspicion_ns(const struct flk_swim *swim)
{
    return flk_swim_ns(swim->settings.suspicion_timeout_ms * size_scale(swim)) * (1 + swim->doubt);
}

uint64_t flk_swim_accuser(const struct flk_swim *swim)
{
    return flock_hash_member(swim->self->id, swim->self->address);
}

void flk_swim_suspect(struct flk_swim *swim, int64_t now, struct flk_swim_member *member, uint64_t incarnation,
                      uint64_t accuser)
{
    assert(member != swim->self && member->state != SWIM_IS_GONE);
    member->state = SWIM_IS_SUSPECT;
    member->incarnation = incarnation;
    member->since = now;
    member->patience = suspicion_ns(swim);
    member->until = now + member->patience;
    member->accusers[0] = accuser;
    member->accuser_count = 1;
    swim->stats.suspicions++;
    flk_swim_tell(member, SWIM_SUSPECT);
}

/*
 * That one member hears nothing from another may be due to either; that several do, hardly to themselves. What the size of
 * the group has added to the time shrinks with the logarithm of their number, since the first ones say most (as in Lifeguard,
 * Dadgar et al. 2018). What doubts of ourselves have added stays: members that are starved together accuse each other.
 */
void flk_swim_accuse(struct flk_swim *swim, struct flk_swim_member *member, uint64_t accuser)
{
    assert(member != swim->self && member->state == SWIM_IS_SUSPECT);
    bool known = accuser == 0 || member->accuser_count == SWIM_ACCUSERS_MAX;
    for (unsigned i = 0; i < member->accuser_count && !known; i++)
        known = member->accusers[i] == accuser;
    if (known)
        return;
    member->accusers[member->accuser_count++] = accuser;
    double part = log2(member->accuser_count) / log2(SWIM_ACCUSERS_MAX);
    int64_t floor_ns = (int64_t)((double)member->patience / size_scale(swim));
    member->until = member->since + member->patience - (int64_t)((double)(member->patience - floor_ns) * part);
    flk_swim_tell(member, SWIM_SUSPECT);
}

static void bury(struct flk_swim *swim, int64_t now, struct flk_swim_member *member, uint64_t incarnation, bool left)
{
    assert(member != swim->self && member->state != SWIM_IS_GONE);
    int64_t kept_ns = SWIM_TOMBSTONE_FACTOR * flk_swim_ns(swim->settings.suspicion_timeout_ms);
    member->state = SWIM_IS_GONE;
    member->left = left;
    member->incarnation = incarnation;
    member->until = now + (left || kept_ns > SWIM_DEAD_KEPT_NS ? kept_ns : SWIM_DEAD_KEPT_NS);
    swim->live--;
    swim->digest ^= flock_hash_member(member->id, member->address);
    flk_swim_count_change(swim);
    order_remove(swim, member);
    flk_swim_probes_forget(swim, member);
}

void flk_swim_bury_moved(struct flk_swim *swim, int64_t now, struct flk_swim_member *member, uint64_t incarnation)
{
    bury(swim, now, member, incarnation, true);
    member->moved = true;
    member->news = false;
}

void flk_swim_remove(struct flk_swim *swim, int64_t now, struct flk_swim_member *member, uint64_t incarnation,
                     bool left)
{
    bury(swim, now, member, incarnation, left);
    swim->stats.deaths += !left;
    flk_swim_tell(member, left ? SWIM_LEAVE : SWIM_CONFIRM);
    swim->callbacks->member(swim->arg, left ? FLOCK_MEMBER_LEFT : FLOCK_MEMBER_DIED, member->address, member->id);
}

void flk_swim_expire(struct flk_swim *swim, int64_t now)
{
    for (size_t i = swim->count; i-- > 0;) {
        struct flk_swim_member *member = swim->members[i];
        if (member->state == SWIM_IS_SUSPECT && member->until <= now)
            flk_swim_remove(swim, now, member, member->incarnation, false);
        else if (member->state == SWIM_IS_GONE && member->until <= now)
            forget(swim, i);
    }
}

void flk_swim_drop_unverified(struct flk_swim *swim, int64_t now)
{
    for (size_t i = swim->count; i-- > 0;) {
        struct flk_swim_member *member = swim->members[i];
        if (!member->unverified || member->state == SWIM_IS_GONE)
            continue;
        flk_swim_remove(swim, now, member, member->incarnation, false);
        forget(swim, i);
    }
}

/* ---- the rules ---- */

static void apply_alive(struct flk_swim *swim, struct flk_swim_member *member, const struct flk_swim_event *event)
{
    bool joined = !member || member->state == SWIM_IS_GONE;
    if (!member) {
        member = flk_swim_insert(swim, event->address, event->id, event->incarnation);
        if (!member)
            return;
    } else {
        member->unverified = false;
        if (event->incarnation <= member->incarnation)
            return;
        if (joined)
            become_live(swim, member, event->incarnation);
        member->state = SWIM_IS_ALIVE;
        member->incarnation = event->incarnation;
    }
    flk_swim_tell(member, joined ? SWIM_JOIN : SWIM_ALIVE);
    if (joined)
        swim->callbacks->member(swim->arg, FLOCK_MEMBER_JOINED, member->address, member->id);
}

/* The live member that an event says was at another address; NULL: none that can have been. */
static struct flk_swim_member *find_former(const struct flk_swim *swim, const struct flk_swim_event *event)
{
    assert(event->former);
    struct flk_swim_member *former = flk_swim_find(swim, event->former, event->id);
    bool possible = former && former != swim->self && former->state != SWIM_IS_GONE &&
                    former->incarnation < event->incarnation && strcmp(event->former, event->address) != 0;
    return possible ? former : NULL;
}

/* A new member in place of one that is known. */
static void replace(struct flk_swim *swim, int64_t now, struct flk_swim_member *former, struct flk_swim_member *member,
                    const struct flk_swim_event *event)
{
    member = flk_swim_revive(swim, member, event->address, event->id, event->incarnation);
    if (!member)
        return;
    flk_swim_bury_moved(swim, now, former, event->incarnation);
    flk_swim_tell(member, SWIM_JOIN);
    swim->callbacks->moved(swim->arg, former->address, member->address, member->id);
}

/* Whoever did not know the former address takes it for somebody who joins; whoever has heard of the new one already, for one
 * that has left. */
static void apply_move(struct flk_swim *swim, int64_t now, struct flk_swim_member *member,
                       const struct flk_swim_event *event)
{
    struct flk_swim_member *former = find_former(swim, event);
    bool live = member && member->state != SWIM_IS_GONE, newer = !member || event->incarnation > member->incarnation;
    if (former && !live && newer) {
        replace(swim, now, former, member, event);
    } else {
        apply_alive(swim, member, event);
        if (former && live)
            flk_swim_remove(swim, now, former, event->incarnation, true);
    }
    member = flk_swim_find(swim, event->address, event->id);
    if (member && member->state != SWIM_IS_GONE && member->incarnation == event->incarnation && !member->former &&
        (member->former = strdup(event->former)))
        flk_swim_tell(member, SWIM_JOIN);
}

static void apply_suspect(struct flk_swim *swim, int64_t now, struct flk_swim_member *member,
                          const struct flk_swim_event *event)
{
    bool newer = event->incarnation > member->incarnation;
    bool same = event->incarnation == member->incarnation;
    member->unverified = false;
    if (member->state != SWIM_IS_GONE && (newer || (same && member->state == SWIM_IS_ALIVE)))
        flk_swim_suspect(swim, now, member, event->incarnation, event->accuser);
    else if (member->state == SWIM_IS_SUSPECT && same)
        flk_swim_accuse(swim, member, event->accuser);
}

/* What others say of us is answered by a newer incarnation, and reported here if they have removed us; who says it
 * of an older one is told the present one. */
static void apply_to_self(struct flk_swim *swim, const struct flk_swim_event *event)
{
    struct flk_swim_member *self = swim->self;
    if (swim->leaving || event->type == SWIM_ALIVE || event->type == SWIM_JOIN || event->type == SWIM_MOVE)
        return;
    bool removed = event->type != SWIM_SUSPECT && event->incarnation >= self->incarnation;
    if (event->incarnation >= self->incarnation) {
        self->incarnation = event->incarnation + 1;
        swim->stats.refutations++;
    }
    flk_swim_tell(self, SWIM_ALIVE);
    if (!removed)
        return;
    flk_swim_announce(swim);
    swim->callbacks->member(swim->arg, FLOCK_MEMBER_DIED, self->address, self->id);
}

/*
 * Incarnations begin with the time in milliseconds, and one that is far ahead of it is made up, so that its subject cannot
 * refute it. The limit goes with the time, and so is about the same for everybody: what is just below it is refuted by an
 * incarnation that the others believe, too, at the latest when their clocks have got there.
 */
static bool is_absurd(struct flk_swim *swim, int64_t now, const struct flk_swim_event *event)
{
    uint64_t limit = swim->born + (uint64_t)(now / DANGO_NS_PER_MS) + SWIM_AHEAD_MAX;
    if (event->incarnation <= limit)
        return false;
    if (!swim->told_absurd)
        log_warning("flock",
                    "refused news of %s (provider %u) with incarnation %" PRIu64
                    ", years ahead of the time. The sender "
                    "is broken or hostile; further ones are refused silently",
                    event->address, event->id, event->incarnation);
    swim->told_absurd = true;
    return true;
}

void flk_swim_apply(struct flk_swim *swim, int64_t now, const struct flk_swim_event *event, bool hearsay)
{
    assert(event->type < SWIM_EVENT_TYPES && event->address);
    if (is_absurd(swim, now, event))
        return;
    struct flk_swim_member *member = flk_swim_find(swim, event->address, event->id);
    if (member == swim->self) {
        apply_to_self(swim, event);
        return;
    }
    switch (event->type) {
    case SWIM_ALIVE:
    case SWIM_JOIN:
        apply_alive(swim, member, event);
        break;
    case SWIM_MOVE:
        apply_move(swim, now, member, event);
        break;
    case SWIM_SUSPECT:
        if (member)
            apply_suspect(swim, now, member, event);
        break;
    default:
        if (!member || member->state == SWIM_IS_GONE || event->incarnation < member->incarnation)
            break;
        /* Somebody's memory of a death: the member shall have the chance to refute. */
        if (hearsay && event->type == SWIM_CONFIRM && !member->unverified)
            apply_suspect(swim, now, member, event);
        else
            flk_swim_remove(swim, now, member, event->incarnation, event->type == SWIM_LEAVE);
    }
}
