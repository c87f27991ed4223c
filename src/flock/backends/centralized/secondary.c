/*
 * What a secondary does by itself: joining at the start and again, fetching the view, and leaving. See centralized.h; what it
 * does without its primary is in failover.c.
 *
 * The background work of a secondary (fetch, watch, join again, move) is one ULT at a time: `task` says that there is one.
 * Who finds it taken leaves a note (`fetch_again`): the one that fetches looks at it when it is done.
 */
#include "flock/backends/centralized/centralized.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>

#define REDIRECTS_MAX  8
#define JOIN_RETRY_MS  50.0
#define LEAVE_RETRY_MS 20.0

struct flk_cen_target *flk_cen_target_create(const char *address, uint16_t id)
{
    assert(address);
    size_t size = strlen(address) + 1;
    struct flk_cen_target *target = malloc(sizeof *target + size);
    if (target) {
        target->id = id;
        memcpy(target->address, address, size);
    }
    return target;
}

struct flk_cen_target *flk_cen_current_primary(struct flk_cen_group *group)
{
    flk_cen_lock(group);
    struct flk_cen_target *target = flk_cen_target_create(group->primary, group->primary_id);
    flk_cen_unlock(group);
    return target;
}

static bool is_leaving(struct flk_cen_group *group)
{
    flk_cen_lock(group);
    bool leaving = group->leaving;
    flk_cen_unlock(group);
    return leaving;
}

/* ---- one task at a time ---- */

bool flk_cen_begin_task(struct flk_cen_group *group)
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

void flk_cen_end_task(struct flk_cen_group *group)
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
    struct flk_cen_target *target = flk_cen_target_create(address, id);
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
        target = again ? flk_cen_target_create(answer.primary, answer.primary_id) : NULL;
        flk_cen_answer_free(&answer);
    }
    free(target);
    return result;
}

/* Asks all members at once who the primary is; the first answer counts. NULL: nobody answered. */
static struct flk_cen_target *ask_all(struct flk_cen_group *group, double limit_ms)
{
    flock_group_view_t others = FLOCK_GROUP_VIEW_INITIALIZER;
    struct flk_calls calls;
    struct flk_cen_target *target = NULL;
    flk_cen_request_t request;
    flk_cen_answer_t answer = {0};
    flk_cen_others(group, NULL, 0, &others);
    flk_cen_request_init(group, &request, CEN_WHO);
    flk_calls_start(&calls, group->mid, group->rpc, others.members.data, others.members.size, &request, &request.to,
                    limit_ms);
    for (struct flk_call *call; !target && (call = flk_calls_next(&calls, &answer));) {
        if (answer.status != CEN_FAILED)
            target = flk_cen_target_create(answer.primary, answer.primary_id);
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
static flock_return_t join(struct flk_cen_group *group, struct flk_cen_target *target, int64_t deadline_ns,
                           struct dango_error *err)
{
    bool answered = false;
    int64_t replaced_ns = dango_clock_ns() + (group->settings.failover ? flk_cen_replacement_ns(group) : 0);
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
    target = flk_cen_current_primary(group);
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
    return join(group, flk_cen_current_primary(group), deadline_ns, err);
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

void flk_cen_rejoin(struct flk_cen_group *group, const struct flk_cen_target *primary)
{
    note_death(group);
    bool joined = !group->settings.rejoin;
    struct flk_cen_target *hint = flk_cen_target_create(primary->address, primary->id);
    while (!joined && !is_leaving(group)) {
        struct flk_cen_target *first = hint;
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

bool flk_cen_fetch(struct flk_cen_group *group, const char *address, uint16_t id, bool over)
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

/* Callbacks run when the task is over: one may wait for that, to change the address. */
static void refresh_task(struct flk_cen_group *group, void *arg)
{
    struct flk_cen_target *target = arg;
    flk_cen_lock(group);
    group->fetch_again = false;
    flk_cen_unlock(group);
    if (flk_cen_fetch(group, target->address, target->id, false))
        flk_cen_rejoin(group, target);
    flk_cen_lock(group);
    bool again = group->fetch_again && !group->leaving && strcmp(group->primary, target->address) == 0;
    flk_cen_unlock(group);
    flk_cen_end_task(group);
    if (again)
        flk_cen_refresh(group, target->address, target->id);
    free(target);
    flk_events_report(&group->events);
}

void flk_cen_refresh(struct flk_cen_group *group, const char *primary, uint16_t primary_id)
{
    assert(primary);
    if (!flk_cen_begin_task(group))
        return;
    struct flk_cen_target *target = flk_cen_target_create(primary, primary_id);
    if (target && flk_cen_spawn(group, refresh_task, target))
        return;
    free(target);
    flk_cen_end_task(group);
}

/* ---- leaving ---- */

/* CEN_OK: the primary knows; otherwise it refuses, since it is none any more or about to be, or (CEN_UNKNOWN) does
 * not answer. */
static enum flk_cen_status leave_at(struct flk_cen_group *group, const struct flk_cen_target *primary, double limit_ms)
{
    flk_cen_request_t request;
    flk_cen_answer_t answer;
    flk_cen_request_init(group, &request, CEN_LEAVE);
    if (!flk_cen_call(group, primary->address, primary->id, &request, limit_ms, &answer))
        return CEN_UNKNOWN;
    enum flk_cen_status status = answer.status;
    flk_cen_answer_free(&answer);
    return status;
}

/* A primary that leaves as well hands us on with its view: its successor would take us for dead. The others, except those who
 * leave, know sooner or later who that is; if nobody answers, nobody is left. */
void flk_cen_leave(struct flk_cen_group *group)
{
    int64_t deadline_ns = dango_deadline_ns(CEN_CALL_MS);
    struct flk_cen_target *primary = flk_cen_current_primary(group);
    bool refused = false;
    for (double left_ms = CEN_CALL_MS; primary && left_ms > 0;) {
        enum flk_cen_status status = leave_at(group, primary, left_ms);
        free(primary);
        primary = NULL;
        refused |= status != CEN_OK && status != CEN_UNKNOWN;
        if (status == CEN_OK || !refused)
            return;
        margo_thread_sleep(group->mid, LEAVE_RETRY_MS);
        left_ms = (double)(deadline_ns - dango_clock_ns()) / (double)DANGO_NS_PER_MS;
        if (left_ms > 0)
            primary = ask_all(group, left_ms);
    }
    free(primary);
}
