/*
 * A secondary without its primary: noticing that it is silent, finding out whether it is lost, and taking over. See
 * centralized.h for ranks and terms.
 *
 * **The good case.** Whatever the primary sends sets `heard_ns`. A secondary that has heard nothing for
 * `ping_max_num_timeouts * (max_interval + ping_timeout)` asks the primary itself (CEN_WHO). Without an answer it asks all
 * other secondaries at once (CEN_PROBE); each tries the primary in its turn, and if that does not answer, starts to look
 * for itself. The first in the order of the view that has lost the primary, too, is the one to act; that is the asker if
 * nobody before it does. It removes the primary (DIED), raises the term, and sends everybody the view (CEN_VIEW).
 *
 * **What may go wrong, and who deals with it:**
 *
 * - The primary answers, or somebody reaches it: only the way to it, or our patience, was bad. Nothing is done until the next
 *   period of silence; if it goes on, the primary's own pings decide about us.
 * - The primary answers that it does not know us: we are out, and join again (flk_cen_rejoin). That it is none any more: the
 *   view is fetched from the one that it names. That it is in no group: as lost.
 * - Somebody knows a later primary: with the answer comes the view (learn), or the name of whom to fetch it from.
 * - Somebody follows an earlier primary than ours, and has lost it: what it says does not count. It hears of us.
 * - Somebody is not the member that we take it for: it has tried to move, and the primary was lost before both of us knew how
 *   that ended (move.c). It is not waited for. The new primary finds it out by its first ping (primary.c).
 * - A secondary hangs: all are asked at the same time, so that it costs one limit however many hang.
 * - The one that is to act dies: the others look again after the next period, and do not reach it then.
 * - Two act at the same time, since they cannot reach each other or disagree on the order: both have the same term. Their
 *   first messages tell the one with the larger address that it has lost (CEN_OUTDATED); it fetches the winner's view, and
 *   joins again if that does not name it.
 * - The primary was only slow: its next message is refused with our term, and it joins as a secondary.
 * - The network is split: each part gets a primary. `failover_quorum` lets only one go on that reaches more than half of the
 *   last view. When the network is whole again, primaries find each other through the members that they took for dead
 *   (primary.c).
 * - Nobody may act (`failover` is false): silence changes nothing.
 */
#include "flock/backends/centralized/centralized.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>

/* ---- how long ---- */

/* How long a secondary waits for a sign of the primary. */
static int64_t patience_ns(const struct flk_cen_group *group)
{
    double ms = (double)group->settings.ping_max_num_timeouts *
                (group->settings.interval_max_ms + group->settings.ping_timeout_ms);
    return (int64_t)((ms < 10 ? 10 : ms) * (double)DANGO_NS_PER_MS);
}

/* How long the others have to answer a CEN_PROBE: they wait for the primary first. */
static double probe_limit_ms(const struct flk_cen_group *group)
{
    return 2 * flk_cen_ping_limit_ms(group) + 100;
}

int64_t flk_cen_replacement_ns(const struct flk_cen_group *group)
{
    double ask_ms = flk_cen_ping_limit_ms(group) + probe_limit_ms(group);
    return 2 * (patience_ns(group) + (int64_t)(ask_ms * (double)DANGO_NS_PER_MS));
}

/* ---- what others know ---- */

/* Whether another member knew of a later primary, and gave us its view: then we know as much. */
static bool learn(struct flk_cen_group *group, flk_cen_answer_t *answer)
{
    flk_cen_lock(group);
    bool newer = flk_cen_rank(group, answer->term, answer->primary, answer->primary_id) > 0 &&
                 flk_cen_is_plausible(group, answer->term, answer->version) &&
                 flock_group_view_find_member(&answer->view, group->self, group->id);
    if (newer)
        flk_cen_adopt(group, answer->term, answer->version, answer->primary, answer->primary_id, &answer->view, NULL);
    flk_cen_unlock(group);
    return newer;
}

/* ---- watching the primary ---- */

/* Whether a primary answers. *better: where to fetch the view, since the primary does not know us, or is none any more. */
static bool primary_answers(struct flk_cen_group *group, const struct flk_cen_target *primary,
                            struct flk_cen_target **better)
{
    flk_cen_request_t request;
    flk_cen_answer_t answer;
    flk_cen_request_init(group, &request, CEN_WHO);
    if (!flk_cen_call(group, primary->address, primary->id, &request, flk_cen_ping_limit_ms(group), &answer))
        return false;
    bool out = answer.status == CEN_FAILED; /* alive, but no primary any more, and without a group */
    bool other = answer.status == CEN_UNKNOWN || !flk_cen_is_primary_of(&answer, primary->address, primary->id);
    if (!out && other && !learn(group, &answer))
        *better = flk_cen_target_create(answer.primary, answer.primary_id);
    flk_cen_answer_free(&answer);
    return !out;
}

/*
 * What another secondary says of the primary that we have lost.
 *
 *  NONE       nothing that counts: it does not answer, is in no group, follows an earlier primary that it has lost, too, or
 *             has lost this one but is not the member that we take it for: the two of us have it at different places in the
 *             order, and each might wait for the other
 *  REACHABLE  it reaches the primary
 *  LOST       it does not, either
 *  ELSEWHERE  there is another primary: a later one, or one that lives
 */
enum opinion { OPINION_NONE, OPINION_REACHABLE, OPINION_LOST, OPINION_ELSEWHERE };

static enum opinion opinion_in(struct flk_cen_group *group, flk_cen_answer_t *answer,
                               const struct flk_cen_target *primary, struct flk_cen_target **better)
{
    if (answer->status == CEN_FAILED)
        return OPINION_NONE;
    if (flk_cen_is_primary_of(answer, primary->address, primary->id))
        return answer->reached ? OPINION_REACHABLE : answer->status == CEN_STRANGER ? OPINION_NONE : OPINION_LOST;
    if (learn(group, answer))
        return OPINION_ELSEWHERE;
    flk_cen_lock(group);
    bool earlier = flk_cen_rank(group, answer->term, answer->primary, answer->primary_id) < 0;
    flk_cen_unlock(group);
    if (earlier && !answer->reached)
        return OPINION_NONE;
    if (!*better)
        *better = flk_cen_target_create(answer->primary, answer->primary_id);
    return OPINION_ELSEWHERE;
}

/* Index of the first opinion in the order of the calls; `count` if there is none, or one to wait for before it. */
static size_t first_opinion(const struct flk_calls *calls, const enum opinion *opinions)
{
    for (size_t i = 0; i < calls->count && !calls->pending[i]; i++) {
        if (opinions[i] != OPINION_NONE)
            return i;
    }
    return calls->count;
}

/*
 * Asks up to FLK_CALLS_MAX secondaries at once, so that the time does not depend on how many hang. The first opinion in their
 * order, and whose it is.
 */
static enum opinion ask_opinions(struct flk_cen_group *group, flock_member_t *members, size_t count,
                                 const struct flk_cen_target *primary, flock_member_t **whose,
                                 struct flk_cen_target **better)
{
    enum opinion opinions[FLK_CALLS_MAX] = {OPINION_NONE};
    struct flk_calls calls;
    flk_cen_request_t request;
    flk_cen_answer_t answer = {0};
    struct flk_call *call = NULL;
    flk_cen_request_init(group, &request, CEN_PROBE);
    flk_calls_start(&calls, group->mid, group->rpc, members, count, &request, &request.to, probe_limit_ms(group));
    size_t first;
    do {
        call = flk_calls_next(&calls, &answer);
        if (call) {
            opinions[call - calls.list] = opinion_in(group, &answer, primary, better);
            margo_free_output(call->handle, &answer);
            answer = (flk_cen_answer_t){0};
        }
        first = first_opinion(&calls, opinions); /* also after the last: some may have ended without an answer */
    } while (call && first == calls.count);
    if (first < calls.count)
        *whose = &members[calls.list[first].member - members];
    flk_calls_end(&calls);
    return *whose ? opinions[first] : OPINION_NONE;
}

/* Whether more than half of the last view, with us and without the primary, can be reached. */
static bool has_quorum(struct flk_cen_group *group, const flock_group_view_t *others)
{
    size_t reached = 1, members = others->members.size + 2;
    flk_cen_request_t request;
    flk_cen_request_init(group, &request, CEN_WHO);
    for (size_t i = 0; i < others->members.size && 2 * reached <= members; i += FLK_CALLS_MAX) {
        struct flk_calls calls;
        flk_cen_answer_t answer = {0};
        flk_calls_start(&calls, group->mid, group->rpc, &others->members.data[i], others->members.size - i, &request,
                        &request.to, flk_cen_ping_limit_ms(group));
        for (struct flk_call *call; (call = flk_calls_next(&calls, &answer));) {
            reached += answer.status != CEN_FAILED;
            margo_free_output(call->handle, &answer);
            answer = (flk_cen_answer_t){0};
        }
        flk_calls_end(&calls);
    }
    return 2 * reached > members;
}

static void take_over(struct flk_cen_group *group, const struct flk_cen_target *lost)
{
    flk_cen_lock(group);
    bool still = !group->leaving && strcmp(group->primary, lost->address) == 0 && group->primary_id == lost->id;
    if (still) {
        flk_cen_remove(group, FLOCK_MEMBER_DIED, lost->address, lost->id);
        group->term++;
        group->version++;
        flk_cen_set_primary(group, group->self, group->id);
    }
    flk_cen_unlock(group);
    if (!still)
        return;
    log_warning("flock", "primary %s (provider %u) is lost: this member takes over", lost->address, lost->id);
    flk_cen_broadcast_view(group, FLOCK_MEMBER_DIED, lost->address, lost->id);
}

/* The primary does not answer us. The first in the view that is reachable and has lost it, too, is the one to act. */
static void replace(struct flk_cen_group *group, const struct flk_cen_target *lost, struct flk_cen_target **better)
{
    flock_group_view_t others = FLOCK_GROUP_VIEW_INITIALIZER;
    flock_member_t self = {.address = group->self, .provider_id = group->id}, *whose = NULL;
    enum opinion opinion = OPINION_NONE;
    if (!group->settings.failover || !flk_cen_others(group, lost->address, lost->id, &others))
        return;
    for (uint64_t i = 0; i < others.members.size && opinion == OPINION_NONE; i += FLK_CALLS_MAX)
        opinion = ask_opinions(group, &others.members.data[i], others.members.size - i, lost, &whose, better);
    /* Those behind us are asked whether they know better; one that agrees is enough. */
    bool ours = opinion == OPINION_NONE || (opinion == OPINION_LOST && flock_member_cmp(&self, whose) < 0);
    if (ours && group->settings.failover_quorum && !has_quorum(group, &others))
        log_warning("flock", "primary %s is lost, and too few members can be reached to replace it", lost->address);
    else if (ours)
        take_over(group, lost);
    flock_group_view_clear(&others);
}

static void watch_task(struct flk_cen_group *group, void *arg)
{
    (void)arg;
    struct flk_cen_target *better = NULL, *primary = flk_cen_current_primary(group);
    bool lost = primary && !primary_answers(group, primary, &better);
    if (lost)
        replace(group, primary, &better);
    /* Answers or not: the next look is one period away. */
    flk_cen_lock(group);
    group->heard_ns = dango_clock_ns();
    flk_cen_unlock(group);
    if (better && !flk_cen_is_self(group, better->address, better->id) &&
        flk_cen_fetch(group, better->address, better->id, lost))
        flk_cen_rejoin(group, better);
    free(better);
    free(primary);
    flk_cen_end_task(group);
    flk_events_report(&group->events);
}

int64_t flk_cen_watch(struct flk_cen_group *group, int64_t now_ns)
{
    flk_cen_lock(group);
    int64_t due_ns = group->heard_ns + patience_ns(group);
    bool silent = !flk_cen_is_primary(group) && now_ns >= due_ns;
    flk_cen_unlock(group);
    if (!silent)
        return due_ns;
    if (flk_cen_begin_task(group) && !flk_cen_spawn(group, watch_task, NULL))
        flk_cen_end_task(group);
    return now_ns + patience_ns(group);
}
