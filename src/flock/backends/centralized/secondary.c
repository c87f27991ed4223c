/*
 * What a secondary does by itself: fetching the view, watching the primary, taking over from a lost one, joining at the
 * start and again, and leaving. See centralized.h.
 *
 * The background work of a secondary (fetch, watch, join again) is one ULT at a time: `task` says that there is one.
 */
#include "flock/backends/centralized/centralized.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>

#define REDIRECTS_MAX 8
#define JOIN_RETRY_MS 50.0

/* A member as an argument of background work. */
struct target {
    uint16_t id;
    char address[];
};

static struct target *target_create(const char *address, uint16_t id)
{
    assert(address);
    size_t size = strlen(address) + 1;
    struct target *target = malloc(sizeof *target + size);
    if (target) {
        target->id = id;
        memcpy(target->address, address, size);
    }
    return target;
}

static struct target *current_primary(struct flk_cen_group *group)
{
    flk_cen_lock(group);
    struct target *target = target_create(group->primary, group->primary_id);
    flk_cen_unlock(group);
    return target;
}

/* How long a secondary waits for a sign of the primary. */
static int64_t patience_ns(const struct flk_cen_group *group)
{
    double ms = (double)group->settings.ping_max_num_timeouts *
                (group->settings.interval_max_ms + group->settings.ping_timeout_ms);
    return (int64_t)((ms < 10 ? 10 : ms) * (double)DANGO_NS_PER_MS);
}

static double ping_limit_ms(const struct flk_cen_group *group)
{
    return group->settings.ping_timeout_ms > 1 ? group->settings.ping_timeout_ms : 1;
}

/* How long the others have to answer a CEN_PROBE: they wait for the primary first. */
static double probe_limit_ms(const struct flk_cen_group *group)
{
    return 2 * ping_limit_ms(group) + 100;
}

/* How long secondaries need to replace a primary, also when they have to learn first which one. */
static int64_t replacement_ns(const struct flk_cen_group *group)
{
    double ask_ms = ping_limit_ms(group) + probe_limit_ms(group);
    return 2 * (patience_ns(group) + (int64_t)(ask_ms * (double)DANGO_NS_PER_MS));
}

static bool is_leaving(struct flk_cen_group *group)
{
    flk_cen_lock(group);
    bool leaving = group->leaving;
    flk_cen_unlock(group);
    return leaving;
}

/* ---- one task at a time ---- */

static bool begin_task(struct flk_cen_group *group)
{
    flk_cen_lock(group);
    bool mine = !group->task && !group->leaving;
    if (mine)
        group->task = true;
    else
        group->fetch_again = true;
    flk_cen_unlock(group);
    return mine;
}

static void end_task(struct flk_cen_group *group)
{
    flk_cen_lock(group);
    assert(group->task);
    group->task = false;
    flk_cen_unlock(group);
}

/* ---- joining ---- */

/* Joins at a member; follows redirects. CEN_OK: done; CEN_REDIRECT: somebody answered, but the primary did not. */
static enum flk_cen_status join_at(struct flk_cen_group *group, const char *address, uint16_t id, double limit_ms)
{
    enum flk_cen_status result = CEN_FAILED;
    struct target *target = target_create(address, id);
    for (int i = 0; target && i < REDIRECTS_MAX; i++) {
        flk_cen_request_t request;
        flk_cen_answer_t answer;
        flk_cen_request_init(group, &request, CEN_JOIN);
        if (!flk_cen_call(group, target->address, target->id, &request, limit_ms, &answer))
            break;
        result = answer.status == CEN_OK ? CEN_OK : CEN_REDIRECT;
        if (answer.status == CEN_OK) {
            flk_cen_lock(group);
            if (flk_cen_rank(group, answer.term, answer.primary, answer.primary_id) < 0)
                group->term = 0; /* what we belonged to is over */
            flk_cen_adopt(group, answer.term, answer.version, answer.primary, answer.primary_id, &answer.view, NULL);
            flk_cen_unlock(group);
        }
        bool again = answer.status == CEN_REDIRECT &&
                     (strcmp(answer.primary, target->address) != 0 || answer.primary_id != target->id);
        free(target);
        target = again ? target_create(answer.primary, answer.primary_id) : NULL;
        flk_cen_answer_free(&answer);
    }
    free(target);
    return result;
}

/* Asks all members at once who the primary is; the first answer counts. NULL: nobody answered. */
static struct target *ask_all(struct flk_cen_group *group, double limit_ms)
{
    flock_group_view_t others = FLOCK_GROUP_VIEW_INITIALIZER;
    struct flk_calls calls;
    struct target *target = NULL;
    flk_cen_request_t request;
    flk_cen_answer_t answer = {0};
    flk_cen_others(group, NULL, 0, &others);
    flk_cen_request_init(group, &request, CEN_WHO);
    flk_calls_start(&calls, group->mid, group->rpc, others.members.data, others.members.size, &request, limit_ms);
    for (struct flk_call *call; !target && (call = flk_calls_next(&calls, &answer));) {
        if (answer.status != CEN_FAILED)
            target = target_create(answer.primary, answer.primary_id);
        margo_free_output(call->handle, &answer);
        answer = (flk_cen_answer_t){0};
    }
    flk_calls_end(&calls);
    flock_group_view_clear(&others);
    return target;
}

/*
 * The one that is taken for the primary is asked first; if it does not answer, any member may know its successor. When
 * somebody answers, the others may be about to replace the primary: they get the time for it, whatever the deadline.
 */
static flock_return_t join(struct flk_cen_group *group, struct target *target, int64_t deadline_ns,
                           struct dango_error *err)
{
    bool answered = false;
    int64_t replaced_ns = dango_clock_ns() + (group->settings.failover ? replacement_ns(group) : 0);
    enum flk_cen_status status = CEN_FAILED;
    for (double left_ms = 1; left_ms > 0 && !is_leaving(group);) {
        left_ms = (double)(deadline_ns - dango_clock_ns()) / (double)DANGO_NS_PER_MS;
        /* One that hangs must leave time to ask the others. Nobody joins at himself. */
        if (target && left_ms > 0 && !flk_cen_is_self(group, target->address, target->id))
            status = join_at(group, target->address, target->id, left_ms / 2);
        free(target);
        target = NULL;
        left_ms = (double)(deadline_ns - dango_clock_ns()) / (double)DANGO_NS_PER_MS;
        if (status == CEN_OK || left_ms <= 0)
            break;
        target = ask_all(group, left_ms);
        if (!target && !answered)
            break;
        if (!answered && deadline_ns < replaced_ns)
            deadline_ns = replaced_ns;
        answered = true;
        margo_thread_sleep(group->mid, left_ms < JOIN_RETRY_MS ? left_ms : JOIN_RETRY_MS);
    }
    free(target);
    if (status == CEN_OK)
        return FLOCK_SUCCESS;
    target = current_primary(group);
    const char *primary = target ? target->address : "unknown";
    if (answered || status == CEN_REDIRECT)
        dango_error_set(err, DANGO_ERR_AGAIN, "members of the group answer, but its primary does not (%s)", primary);
    else
        dango_error_set(err, DANGO_ERR_DISCONNECTED, "no member of the group answers: it has probably ended (%s)",
                        primary);
    free(target);
    return FLOCK_ERR_FROM_MERCURY;
}

flock_return_t flk_cen_join(struct flk_cen_group *group, int64_t deadline_ns, struct dango_error *err)
{
    return join(group, current_primary(group), deadline_ns, err);
}

static void report_task(struct flk_cen_group *group, void *arg)
{
    (void)arg;
    flk_events_report(&group->events);
}

/* We have been taken for dead, and did not leave. The callbacks are told, and we come back as a new member, without waiting
 * for them: one may wait for the end of this task, to change the address. */
static void note_death(struct flk_cen_group *group)
{
    flk_cen_lock(group);
    bool first = !group->is_dead && !group->leaving;
    group->is_dead = true;
    flk_cen_unlock(group);
    if (!first)
        return;
    log_warning("flock", "this member (%s, provider %u) was declared dead by its group%s", group->self, group->id,
                group->settings.rejoin ? "; it joins again" : "");
    flk_events_member(&group->events, FLOCK_MEMBER_DIED, group->self, group->id);
    flk_cen_spawn(group, report_task, NULL); /* if it is not started, all is reported at the end of the task */
}

/* Until it has worked, or the end. The first attempt is made at `primary`. */
static void rejoin(struct flk_cen_group *group, const struct target *primary)
{
    note_death(group);
    bool joined = !group->settings.rejoin;
    struct target *hint = target_create(primary->address, primary->id);
    while (!joined && !is_leaving(group)) {
        struct target *first = hint;
        hint = NULL; /* join frees it */
        joined = join(group, first, dango_deadline_ns(group->settings.join_timeout_ms), NULL) == FLOCK_SUCCESS;
        if (!joined)
            margo_thread_sleep(group->mid, group->settings.interval_max_ms);
    }
    if (joined && group->settings.rejoin)
        log_info("flock", "this member (%s, provider %u) is in its group again", group->self, group->id);
    free(hint);
}

/* ---- fetching ---- */

/*
 * True: the primary says that we are no member. `over`: what we belonged to has no primary any more, so that its rank does
 * not count against this one.
 */
static bool fetch(struct flk_cen_group *group, const char *address, uint16_t id, bool over)
{
    flk_cen_request_t request;
    flk_cen_answer_t answer;
    flk_cen_request_init(group, &request, CEN_FETCH);
    if (!flk_cen_call(group, address, id, &request, CEN_CALL_MS, &answer))
        return false;
    bool unknown = answer.status == CEN_UNKNOWN;
    if (answer.status == CEN_OK) {
        flk_cen_lock(group);
        if (over && request.term == group->term && !flk_cen_is_primary(group))
            group->term = 0;
        if (flk_cen_is_plausible(group, answer.term, answer.version))
            flk_cen_adopt(group, answer.term, answer.version, answer.primary, answer.primary_id, &answer.view, NULL);
        flk_cen_unlock(group);
    }
    flk_cen_answer_free(&answer);
    return unknown;
}

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

/* Callbacks run when the task is over: one may wait for that, to change the address. */
static void refresh_task(struct flk_cen_group *group, void *arg)
{
    struct target *target = arg;
    flk_cen_lock(group);
    group->fetch_again = false;
    flk_cen_unlock(group);
    if (fetch(group, target->address, target->id, false))
        rejoin(group, target);
    flk_cen_lock(group);
    bool again = group->fetch_again && !group->leaving && strcmp(group->primary, target->address) == 0;
    flk_cen_unlock(group);
    end_task(group);
    if (again)
        flk_cen_refresh(group, target->address, target->id);
    free(target);
    flk_events_report(&group->events);
}

void flk_cen_refresh(struct flk_cen_group *group, const char *primary, uint16_t primary_id)
{
    assert(primary);
    if (!begin_task(group))
        return;
    struct target *target = target_create(primary, primary_id);
    if (target && flk_cen_spawn(group, refresh_task, target))
        return;
    free(target);
    end_task(group);
}

/* ---- watching the primary ---- */

/* Whether a primary answers. *better: where to fetch the view, since the primary does not know us, or is none any more. */
static bool primary_answers(struct flk_cen_group *group, const struct target *primary, struct target **better)
{
    flk_cen_request_t request;
    flk_cen_answer_t answer;
    flk_cen_request_init(group, &request, CEN_WHO);
    if (!flk_cen_call(group, primary->address, primary->id, &request, ping_limit_ms(group), &answer))
        return false;
    bool out = answer.status == CEN_FAILED; /* alive, but no primary any more, and without a group */
    bool other = answer.status == CEN_UNKNOWN || !flk_cen_is_primary_of(&answer, primary->address, primary->id);
    if (!out && other && !learn(group, &answer))
        *better = target_create(answer.primary, answer.primary_id);
    flk_cen_answer_free(&answer);
    return !out;
}

/*
 * What another secondary says of the primary that we have lost.
 *
 *  NONE       nothing that counts: it does not answer, is in no group, or follows an earlier primary that it has lost, too
 *  REACHABLE  it reaches the primary
 *  LOST       it does not, either
 *  ELSEWHERE  there is another primary: a later one, or one that lives
 */
enum opinion { OPINION_NONE, OPINION_REACHABLE, OPINION_LOST, OPINION_ELSEWHERE };

static enum opinion opinion_in(struct flk_cen_group *group, flk_cen_answer_t *answer, const struct target *primary,
                               struct target **better)
{
    if (answer->status == CEN_FAILED)
        return OPINION_NONE;
    if (flk_cen_is_primary_of(answer, primary->address, primary->id))
        return answer->reached ? OPINION_REACHABLE : OPINION_LOST;
    if (learn(group, answer))
        return OPINION_ELSEWHERE;
    flk_cen_lock(group);
    bool earlier = flk_cen_rank(group, answer->term, answer->primary, answer->primary_id) < 0;
    flk_cen_unlock(group);
    if (earlier && !answer->reached)
        return OPINION_NONE;
    if (!*better)
        *better = target_create(answer->primary, answer->primary_id);
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
                                 const struct target *primary, flock_member_t **whose, struct target **better)
{
    enum opinion opinions[FLK_CALLS_MAX] = {OPINION_NONE};
    struct flk_calls calls;
    flk_cen_request_t request;
    flk_cen_answer_t answer = {0};
    struct flk_call *call = NULL;
    flk_cen_request_init(group, &request, CEN_PROBE);
    flk_calls_start(&calls, group->mid, group->rpc, members, count, &request, probe_limit_ms(group));
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
                        ping_limit_ms(group));
        for (struct flk_call *call; (call = flk_calls_next(&calls, &answer));) {
            reached += answer.status != CEN_FAILED;
            margo_free_output(call->handle, &answer);
            answer = (flk_cen_answer_t){0};
        }
        flk_calls_end(&calls);
    }
    return 2 * reached > members;
}

static void take_over(struct flk_cen_group *group, const struct target *lost)
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
static void replace(struct flk_cen_group *group, const struct target *lost, struct target **better)
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
    struct target *better = NULL, *primary = current_primary(group);
    bool lost = primary && !primary_answers(group, primary, &better);
    if (lost)
        replace(group, primary, &better);
    /* Answers or not: the next look is one period away. */
    flk_cen_lock(group);
    group->heard_ns = dango_clock_ns();
    flk_cen_unlock(group);
    if (better && !flk_cen_is_self(group, better->address, better->id) &&
        fetch(group, better->address, better->id, lost))
        rejoin(group, better);
    free(better);
    free(primary);
    end_task(group);
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
    if (begin_task(group) && !flk_cen_spawn(group, watch_task, NULL))
        end_task(group);
    return now_ns + patience_ns(group);
}

/* ---- leaving ---- */

void flk_cen_leave(struct flk_cen_group *group)
{
    struct target *primary = current_primary(group);
    flk_cen_request_t request;
    flk_cen_answer_t answer;
    flk_cen_request_init(group, &request, CEN_LEAVE);
    if (primary && flk_cen_call(group, primary->address, primary->id, &request, CEN_CALL_MS, &answer))
        flk_cen_answer_free(&answer);
    free(primary);
}
