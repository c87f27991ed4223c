/*
 * Exchanges of whole states: at the start, from time to time, when digests differ, and with members that were declared dead
 * and may be there again.
 */
#include "flock/backends/swim/machine.h"

#include <assert.h>

#define ASK_AT_ONCE_MAX 64

static void sync_with(struct flk_swim *swim, const struct flk_swim_member *member)
{
    swim->stats.syncs++;
    flk_swim_send(swim, member, SWIM_SYNC, ++swim->sequence, NULL);
}

/* To some at random; they tell the others. */
void flk_swim_announce(struct flk_swim *swim)
{
    struct flk_swim_member *chosen[64];
    size_t max = flk_swim_send_limit(swim->live);
    size_t count = flk_swim_choose(swim, NULL, chosen, max < 64 ? max : 64);
    for (size_t i = 0; i < count; i++) {
        if (swim->leaving)
            flk_swim_send(swim, chosen[i], SWIM_ANNOUNCE, 0, NULL);
        else
            sync_with(swim, chosen[i]);
    }
}

/* Members that have left are not disturbed. */
static struct flk_swim_member *choose_dead(struct flk_swim *swim)
{
    struct flk_swim_member *chosen = NULL;
    size_t seen = 0;
    for (size_t i = 0; i < swim->count; i++) {
        struct flk_swim_member *member = swim->members[i];
        if (member->state == SWIM_IS_GONE && !member->left && flk_random_below(&swim->random, ++seen) == 0)
            chosen = member;
    }
    return chosen;
}

/* Once per round. */
void flk_swim_sync_tick(struct flk_swim *swim, int64_t now)
{
    (void)now;
    swim->mismatches = swim->mismatch ? swim->mismatches + 1 : 0;
    struct flk_swim_member *member = NULL;
    if (swim->mismatches >= 2 && swim->mismatch_address) {
        member = flk_swim_find(swim, swim->mismatch_address, swim->mismatch_id);
        swim->mismatches = 0;
    }
    swim->mismatch = false;
    if (member && member != swim->self && member->state != SWIM_IS_GONE)
        sync_with(swim, member);
    if (--swim->rounds_to_sync > 0)
        return;
    swim->rounds_to_sync = SWIM_SYNC_ROUNDS;
    if (flk_swim_choose(swim, NULL, &member, 1) == 1)
        sync_with(swim, member);
    member = choose_dead(swim);
    if (member)
        sync_with(swim, member);
}

/* All that the file names are asked at once, and again while nobody has answered. */
void flk_swim_join_tick(struct flk_swim *swim, int64_t now)
{
    struct flk_swim_member *chosen[ASK_AT_ONCE_MAX];
    if (!swim->joining || swim->next_join > now)
        return;
    swim->next_join = now + flk_swim_ns(2 * swim->settings.ping_req_timeout_ms);
    size_t count = flk_swim_choose(swim, NULL, chosen, ASK_AT_ONCE_MAX);
    for (size_t i = 0; i < count; i++)
        sync_with(swim, chosen[i]);
}

bool flk_swim_has_joined(const struct flk_swim *swim)
{
    return !swim->joining;
}

bool flk_swim_join_failed(const struct flk_swim *swim)
{
    if (!swim->joining)
        return false;
    for (size_t i = 0; i < swim->order_count; i++) {
        if (!swim->order[i]->failed)
            return false;
    }
    return true;
}
