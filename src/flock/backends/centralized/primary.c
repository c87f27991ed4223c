/*
 * What the primary does: pings, telling the others of changes, and handing over its role. See centralized.h.
 *
 * Every ping and every notice is a ULT of its own with a copy of what it needs: a slow secondary delays nobody. There are
 * never more pings to a member under way than one; a notice that fails is made good by the version in the next ping.
 *
 * A member is who says so: one that answers a ping, but not under the address that it was sent to (CEN_STRANGER), has
 * moved there or not moved there without our knowing, since the primary before us was lost meanwhile; or it is another
 * process at the same place. The entry is nobody, and removed at once. The one that answered is told, too, since the
 * view that it then fetches does not know it, and joins as who it is.
 */
#include "flock/backends/centralized/centralized.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>

#define HAND_OVER_LIMIT_MS 2000.0

/* Whom a background ULT calls, and with what. */
struct notice {
    flk_cen_request_t request; /* name, value and view are the notice's; the sender is the group's */
    uint16_t id;
    char address[];
};

static struct notice *notice_create(const flock_member_t *member)
{
    size_t size = strlen(member->address) + 1;
    struct notice *notice = calloc(1, sizeof *notice + size);
    if (notice) {
        memcpy(notice->address, member->address, size);
        notice->id = member->provider_id;
        notice->request.update = CEN_NO_UPDATE;
    }
    return notice;
}

static void notice_free(struct notice *notice)
{
    free(notice->request.name);
    free(notice->request.value);
    flock_group_view_clear(&notice->request.view);
    free(notice);
}

/* Whoever refuses us as outdated knows a primary that counts more. */
static void heed(struct flk_cen_group *group, const flk_cen_answer_t *answer)
{
    flk_cen_lock(group);
    bool outdated =
        answer->status == CEN_OUTDATED && flk_cen_rank(group, answer->term, answer->primary, answer->primary_id) > 0;
    flk_cen_unlock(group);
    if (outdated)
        flk_cen_refresh(group, answer->primary, answer->primary_id);
}

/* ---- pings ---- */

/* Counts the outcome; true if the member has to be removed: `stranger` says that there is another one. With the lock. */
static bool count_ping(struct flk_cen_group *group, const struct notice *notice, bool answered, bool stranger,
                       int64_t began_ns)
{
    flock_member_t *member = flock_group_view_find_member(&group->view, notice->address, notice->id);
    struct flk_cen_ping *ping = member ? member->extra.data : NULL;
    if (!ping || !flk_cen_is_primary(group))
        return false;
    int64_t soonest_ns = dango_clock_ns() + DANGO_NS_PER_MS;
    ping->next_ns = flk_cen_next_ping_ns(group, began_ns);
    if (ping->next_ns < soonest_ns)
        ping->next_ns = soonest_ns;
    ping->busy = false;
    ping->failures = answered ? 0 : ping->failures + 1;
    return (stranger || ping->failures >= group->settings.ping_max_num_timeouts) && !group->leaving;
}

static void ping_member(struct flk_cen_group *group, void *arg)
{
    struct notice *notice = arg;
    flk_cen_answer_t answer;
    int64_t began_ns = dango_clock_ns();
    flk_cen_request_init(group, &notice->request, CEN_PING);
    bool answered =
        flk_cen_call(group, notice->address, notice->id, &notice->request, flk_cen_ping_limit_ms(group), &answer);
    bool stranger = answered && answer.status == CEN_STRANGER;
    flk_cen_lock(group);
    bool dead = count_ping(group, notice, answered, stranger, began_ns);
    uint64_t version = 0;
    group->stats.pings++;
    group->stats.pings_failed += !answered;
    group->stats.deaths += dead;
    if (dead) {
        log_info("flock", "member %s (provider %u) %s: removed", notice->address, notice->id,
                 stranger ? "is another one by now" : "does not answer");
        dead = flk_cen_remove(group, FLOCK_MEMBER_DIED, notice->address, notice->id);
        version = ++group->version;
    }
    if (stranger)
        flk_cen_forget_lost(group, notice->address, notice->id);
    flk_cen_unlock(group);
    if (dead)
        flk_cen_broadcast(group, version, FLOCK_MEMBER_DIED, notice->address, notice->id, NULL);
    if (answered) {
        heed(group, &answer);
        flk_cen_answer_free(&answer);
    }
    notice_free(notice);
    flk_events_report(&group->events);
}

/* One that was declared dead: if it lives, it hears of us, or we hear of a primary that counts more. With the lock. */
static void try_lost(struct flk_cen_group *group, int64_t now_ns)
{
    if (group->lost.members.size == 0 || now_ns < group->lost_due_ns)
        return;
    group->lost_due_ns = flk_cen_next_ping_ns(group, now_ns);
    struct notice *notice = notice_create(&group->lost.members.data[group->lost_next++ % group->lost.members.size]);
    if (notice && !flk_cen_spawn(group, ping_member, notice))
        notice_free(notice);
}

int64_t flk_cen_ping_all(struct flk_cen_group *group, int64_t now_ns)
{
    int64_t next_ns = DANGO_NEVER;
    flk_cen_lock(group);
    for (uint64_t i = 0; flk_cen_is_primary(group) && i < group->view.members.size; i++) {
        struct flk_cen_ping *ping = group->view.members.data[i].extra.data;
        if (!ping || ping->busy)
            continue;
        if (ping->next_ns > now_ns) {
            next_ns = ping->next_ns < next_ns ? ping->next_ns : next_ns;
            continue;
        }
        struct notice *notice = notice_create(&group->view.members.data[i]);
        ping->busy = notice && flk_cen_spawn(group, ping_member, notice);
        if (notice && !ping->busy)
            notice_free(notice);
    }
    if (flk_cen_is_primary(group))
        try_lost(group, now_ns);
    flk_cen_unlock(group);
    return next_ns;
}

/* ---- notices ---- */

static void send_notice(struct flk_cen_group *group, void *arg)
{
    struct notice *notice = arg;
    flk_cen_answer_t answer;
    if (flk_cen_call(group, notice->address, notice->id, &notice->request, CEN_CALL_MS, &answer)) {
        heed(group, &answer);
        flk_cen_answer_free(&answer);
    }
    notice_free(notice);
}

/* One for every secondary but the member that is concerned, which knows. With the lock. */
static void notify(struct flk_cen_group *group, const flk_cen_request_t *change, const flock_member_t *member)
{
    bool concerned = change->update <= FLOCK_MEMBER_MOVED && change->id == member->provider_id &&
                     strcmp(change->name, member->address) == 0;
    if (concerned || flk_cen_is_self(group, member->address, member->provider_id))
        return;
    struct notice *notice = notice_create(member);
    if (!notice)
        return;
    char *name = change->name ? strdup(change->name) : NULL, *value = change->value ? strdup(change->value) : NULL;
    notice->request = *change;
    notice->request.name = name;
    notice->request.value = value;
    memset(&notice->request.view, 0, sizeof notice->request.view);
    if (change->type == CEN_VIEW) {
        notice->request.version = group->version;
        flock_group_view_copy(&group->view, &notice->request.view);
    }
    bool complete = name && (value || !change->value); /* without its value it would say something else */
    if (!complete || !flk_cen_spawn(group, send_notice, notice))
        notice_free(notice);
}

static void notify_all(struct flk_cen_group *group, const flk_cen_request_t *change)
{
    assert(change->name);
    flk_cen_lock(group);
    for (uint64_t i = 0; i < group->view.members.size; i++)
        notify(group, change, &group->view.members.data[i]);
    flk_cen_unlock(group);
}

/* The strings are only read: each notice has copies. */
void flk_cen_broadcast(struct flk_cen_group *group, uint64_t version, uint8_t update, const char *name, uint16_t id,
                       const char *value)
{
    flk_cen_request_t change;
    flk_cen_request_init(group, &change, CEN_UPDATE);
    change.version = version;
    change.update = update;
    change.name = (char *)(uintptr_t)name;
    change.value = (char *)(uintptr_t)value;
    change.id = id;
    notify_all(group, &change);
}

void flk_cen_broadcast_view(struct flk_cen_group *group, uint8_t update, const char *name, uint16_t id)
{
    flk_cen_request_t change;
    flk_cen_request_init(group, &change, CEN_VIEW);
    change.update = update;
    change.name = (char *)(uintptr_t)name;
    change.id = id;
    notify_all(group, &change);
}

void flk_cen_broadcast_move(struct flk_cen_group *group, const char *from, const char *to)
{
    flk_cen_request_t change;
    flk_cen_request_init(group, &change, CEN_VIEW);
    change.update = FLOCK_MEMBER_MOVED;
    change.name = (char *)(uintptr_t)to;
    change.value = (char *)(uintptr_t)from;
    change.id = group->id;
    notify_all(group, &change);
}

/* ---- the end ---- */

/* The view without us, in the next term. False: out of memory. */
static bool hand_over_request(struct flk_cen_group *group, flk_cen_request_t *request)
{
    flk_cen_request_init(group, request, CEN_HANDOVER);
    request->update = FLOCK_MEMBER_LEFT;
    request->name = group->self;
    request->id = group->id;
    flk_cen_lock(group);
    bool copied = flock_group_view_copy(&group->view, &request->view);
    flk_cen_unlock(group);
    flock_member_t *self = flock_group_view_find_member(&request->view, group->self, group->id);
    if (self)
        flock_group_view_remove_member(&request->view, self);
    return copied;
}

/* Whether the member takes over, or knows another primary. *silent: it has not answered in time. */
static bool hand_over_to(struct flk_cen_group *group, const flock_member_t *member, flk_cen_request_t *request,
                         double limit_ms, bool *silent)
{
    flk_cen_answer_t answer;
    int64_t deadline_ns = dango_deadline_ns(limit_ms);
    if (!flk_cen_call(group, member->address, member->provider_id, request, limit_ms, &answer)) {
        *silent |= dango_clock_ns() >= deadline_ns;
        return false;
    }
    bool done = answer.status == CEN_OK || answer.status == CEN_OUTDATED;
    flk_cen_answer_free(&answer);
    return done;
}

/* When all end at the same time, there is nobody left to take over: those who leave say so, and where nobody is any more the
 * call fails at once. Only one that hangs may have wanted the role, and now has to find out. */
void flk_cen_hand_over(struct flk_cen_group *group)
{
    flk_cen_request_t request;
    flock_group_view_t others = FLOCK_GROUP_VIEW_INITIALIZER;
    int64_t deadline_ns = dango_deadline_ns(HAND_OVER_LIMIT_MS);
    bool silent = false, done = !hand_over_request(group, &request) || !flk_cen_others(group, NULL, 0, &others);
    for (uint64_t i = 0; i < others.members.size && !done; i++) {
        double left_ms = (double)(deadline_ns - dango_clock_ns()) / (double)DANGO_NS_PER_MS;
        if (left_ms <= 0)
            break;
        done = hand_over_to(group, &others.members.data[i], &request, left_ms < CEN_CALL_MS ? left_ms : CEN_CALL_MS,
                            &silent);
    }
    if (!done && silent)
        log_warning("flock", "no member of the group took over from this one, its primary, in time");
    flock_group_view_clear(&others);
    flock_group_view_clear(&request.view);
}
