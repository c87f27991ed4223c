/*
 * What members of a centralized group answer each other. A handler changes the state under the lock, and starts in the
 * background what takes a call of its own; only CEN_PROBE calls somebody else before it answers.
 */
#include "flock/backends/centralized/centralized.h"

#include "util/clock.h"

#include <assert.h>

#define METADATA_REDIRECTS_MAX 3

/* ---- messages of a primary ---- */

/* Ranks the sender; true: it is our primary. One that counts more gets asked for its view. */
static bool is_from_primary(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer,
                            bool *newer)
{
    int rank = flk_cen_rank(group, request->term, request->from, request->from_id);
    if (rank < 0)
        answer->status = CEN_OUTDATED;
    else if (rank == 0)
        group->heard_ns = dango_clock_ns();
    *newer = rank > 0 || (rank == 0 && request->version > group->version);
    return rank == 0;
}

/* Whether the sender takes us for a member that we are not, since one of us has missed how a change of our address ended. */
static bool is_misdirected(const struct flk_cen_group *group, const flk_cen_request_t *request)
{
    return request->to && *request->to && strcmp(request->to, group->self) != 0 &&
           (!group->moving || strcmp(request->to, group->moving) != 0);
}

static bool on_ping(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer)
{
    bool newer;
    if (is_from_primary(group, request, answer, &newer) && is_misdirected(group, request))
        answer->status = CEN_STRANGER;
    return newer;
}

/* Applies one change to one version; true: what we have does not fit. */
static bool on_update(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer)
{
    bool newer;
    if (!is_from_primary(group, request, answer, &newer) || !newer)
        return newer;
    if (request->version != group->version + 1)
        return true;
    switch (request->update) {
    case FLOCK_MEMBER_JOINED:
        flk_cen_add(group, request->name, request->id);
        break;
    case FLOCK_MEMBER_LEFT:
    case FLOCK_MEMBER_DIED:
        if (flk_cen_is_self(group, request->name, request->id))
            return true; /* fetching the view tells us that we are out */
        flk_cen_remove(group, request->update, request->name, request->id);
        break;
    case FLOCK_MEMBER_MOVED:
        if (flk_cen_is_self(group, request->value, request->id) ||
            !flk_cen_move(group, request->value, request->name, request->id))
            return true;
        break;
    case CEN_METADATA_SET:
        flk_cen_set_metadata(group, request->name, request->value);
        break;
    default:
        return true;
    }
    group->version = request->version;
    return false;
}

/* A new primary, or a hand-over to us (`self` is then the new primary). */
static bool on_view(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer,
                    bool hand_over)
{
    const char *primary = hand_over ? group->self : request->from;
    uint16_t primary_id = hand_over ? group->id : request->from_id;
    uint64_t term = request->term + hand_over, version = request->version + hand_over;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    if (flk_cen_rank(group, term, primary, primary_id) < 0 ||
        !flk_cen_is_plausible(group, request->term, request->version)) {
        answer->status = CEN_OUTDATED;
        return false;
    }
    if (!flock_group_view_copy(&request->view, &view))
        return true;
    bool included = flock_group_view_find_member(&view, group->self, group->id) != NULL;
    if (included)
        flk_cen_adopt(group, term, version, primary, primary_id, &view, request);
    else if (hand_over)
        answer->status = CEN_FAILED;
    flock_group_view_clear(&view);
    return !included && !hand_over;
}

/* ---- messages to the primary ---- */

static void give_view(struct flk_cen_group *group, flk_cen_answer_t *answer)
{
    assert(answer->view.members.size == 0);
    if (!flock_group_view_copy(&group->view, &answer->view))
        answer->status = CEN_FAILED;
}

/* True: the view has changed, and the others are to be told. */
static bool on_join(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer)
{
    flock_member_t *member = flock_group_view_find_member(&group->view, request->from, request->from_id);
    if (member && member->extra.data)
        ((struct flk_cen_ping *)member->extra.data)->failures = 0;
    bool added =
        !member && group->view.members.size < CEN_MEMBERS_MAX && flk_cen_add(group, request->from, request->from_id);
    if (!member && !added)
        answer->status = CEN_FAILED;
    else
        give_view(group, answer);
    return added;
}

/* The primary leaves and moves without asking itself: who says so in its name is somebody else. */
static bool is_forged(const struct flk_cen_group *group, const flk_cen_request_t *request)
{
    return flk_cen_is_self(group, request->from, request->from_id);
}

static bool on_leave(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer)
{
    if (is_forged(group, request)) {
        answer->status = CEN_FAILED;
        return false;
    }
    return flk_cen_remove(group, FLOCK_MEMBER_LEFT, request->from, request->from_id);
}

/* One whose answer was lost asks again: then it has moved already. */
static bool on_move(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer)
{
    if (request->update != FLOCK_MEMBER_MOVED || is_forged(group, request)) {
        answer->status = CEN_FAILED;
        return false;
    }
    bool here = flock_group_view_find_member(&group->view, request->from, request->from_id);
    bool there = flock_group_view_find_member(&group->view, request->name, request->from_id);
    bool moved = here && !there && flk_cen_move(group, request->from, request->name, request->from_id);
    if (here && !moved)
        answer->status = there ? CEN_TAKEN : CEN_FAILED;
    else if (!here && !there)
        answer->status = CEN_UNKNOWN;
    return moved;
}

static bool on_metadata(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer)
{
    if (!request->name || (group->view.metadata.size >= CEN_METADATA_MAX &&
                           !flock_group_view_find_metadata(&group->view, request->name))) {
        answer->status = CEN_FAILED;
        return false;
    }
    return flk_cen_set_metadata(group, request->name, request->value);
}

static void on_fetch(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer)
{
    if (flock_group_view_find_member(&group->view, request->from, request->from_id))
        give_view(group, answer);
    else
        answer->status = CEN_UNKNOWN;
}

/* ---- others ---- */

/* A member that has not heard of our primary gets our view: the primary itself may be lost by now. */
static void on_who(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer)
{
    if (!flock_group_view_find_member(&group->view, request->from, request->from_id))
        answer->status = CEN_UNKNOWN;
    else if (request->term < group->term)
        give_view(group, answer);
}

/* The order of the view decides who acts: what we say counts only if both of us have the same place for us in it. */
static void on_probe(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer)
{
    on_who(group, request, answer);
    if (is_misdirected(group, request))
        answer->status = CEN_STRANGER;
}

/* Whether we reach the primary. If not, we look at once what is to be done. */
static void try_primary(struct flk_cen_group *group, flk_cen_answer_t *answer)
{
    flk_cen_request_t request;
    flk_cen_answer_t theirs;
    flk_cen_request_init(group, &request, CEN_WHO);
    flk_cen_lock(group);
    answer->reached = flk_cen_is_primary(group);
    flk_cen_unlock(group);
    if (answer->reached)
        return;
    if (flk_cen_call(group, answer->primary, answer->primary_id, &request, flk_cen_ping_limit_ms(group), &theirs)) {
        answer->reached = flk_cen_is_primary_of(&theirs, answer->primary, answer->primary_id);
        flk_cen_answer_free(&theirs);
    }
    if (answer->reached)
        return;
    flk_cen_lock(group);
    if (strcmp(answer->primary, group->primary) == 0 && answer->primary_id == group->primary_id)
        group->heard_ns = 0;
    flk_cen_unlock(group);
    flk_cen_watch(group, dango_clock_ns());
}

/* What needs the primary, at the primary. True: the view has changed. */
static bool serve(struct flk_cen_group *group, const flk_cen_request_t *request, flk_cen_answer_t *answer)
{
    bool changed = false;
    if (!flk_cen_is_primary(group) || group->leaving) {
        answer->status = group->leaving ? CEN_FAILED : CEN_REDIRECT;
        return false;
    }
    switch (request->type) {
    case CEN_JOIN:
        changed = on_join(group, request, answer);
        break;
    case CEN_LEAVE:
        changed = on_leave(group, request, answer);
        break;
    case CEN_FETCH:
        on_fetch(group, request, answer);
        break;
    case CEN_MOVE:
        changed = on_move(group, request, answer);
        break;
    case CEN_METADATA:
        changed = on_metadata(group, request, answer);
        break;
    default:
        answer->status = CEN_FAILED;
    }
    if (changed)
        group->version++;
    return changed;
}

static void tell(struct flk_cen_group *group, const flk_cen_request_t *request, uint64_t version)
{
    if (request->type == CEN_METADATA)
        flk_cen_broadcast(group, version, CEN_METADATA_SET, request->name, 0, request->value);
    else if (request->type == CEN_MOVE)
        flk_cen_broadcast(group, version, FLOCK_MEMBER_MOVED, request->name, request->from_id, request->from);
    else
        flk_cen_broadcast(group, version, request->type == CEN_JOIN ? FLOCK_MEMBER_JOINED : FLOCK_MEMBER_LEFT,
                          request->from, request->from_id, NULL);
}

/* What a primary says of itself or of the group, as opposed to what is asked of us. */
static bool is_news(uint8_t type)
{
    return type == CEN_PING || type == CEN_UPDATE || type == CEN_VIEW || type == CEN_HANDOVER;
}

static struct flk_cen_follow_up apply(struct flk_cen_group *group, const flk_cen_request_t *request,
                                      flk_cen_answer_t *answer)
{
    struct flk_cen_follow_up next = {0};
    switch (request->type) {
    case CEN_WHO:
        on_who(group, request, answer);
        break;
    case CEN_PROBE:
        on_probe(group, request, answer);
        break;
    case CEN_PING:
        next.refresh = on_ping(group, request, answer);
        break;
    case CEN_UPDATE:
        next.refresh = on_update(group, request, answer);
        break;
    case CEN_VIEW:
        next.refresh = on_view(group, request, answer, false);
        break;
    case CEN_HANDOVER:
        if (group->leaving)
            answer->status = CEN_FAILED;
        else
            on_view(group, request, answer, true);
        next.took_over = answer->status == CEN_OK;
        break;
    default:
        next.changed = serve(group, request, answer);
    }
    return next;
}

struct flk_cen_follow_up flk_cen_handle(struct flk_cen_group *group, const flk_cen_request_t *request,
                                        flk_cen_answer_t *answer)
{
    assert(request->type < CEN_TYPES);
    struct flk_cen_follow_up next = {0};
    flk_cen_lock(group);
    bool leaves = group->leaving && !flk_cen_is_primary(group);
    bool out = (leaves || flk_cen_is_out(group)) && !is_news(request->type);
    if (out)
        answer->status = CEN_FAILED; /* nobody shall follow us unless we are in the group */
    else
        next = apply(group, request, answer);
    answer->term = group->term;
    answer->version = group->version;
    answer->primary = strdup(group->primary);
    answer->primary_id = group->primary_id;
    flk_cen_unlock(group);
    if (request->type == CEN_PROBE && answer->primary && !out)
        try_primary(group, answer);
    next.version = answer->version;
    return next;
}

void flk_cen_follow(struct flk_cen_group *group, const flk_cen_request_t *request, const struct flk_cen_follow_up *next)
{
    if (next->refresh)
        flk_cen_refresh(group, request->from, request->from_id);
    if (next->changed)
        tell(group, request, next->version);
    if (next->took_over)
        flk_cen_broadcast_view(group, FLOCK_MEMBER_LEFT, request->from, request->from_id);
    flk_events_report(&group->events);
}

/* ---- metadata ---- */

/* One that has been replaced just now names its successor. */
static flock_return_t set_at_primary(struct flk_cen_group *group, flk_cen_request_t *request)
{
    struct flk_cen_target *target = flk_cen_current_primary(group);
    flock_return_t ret = FLOCK_ERR_FROM_MERCURY;
    for (int i = 0; target && i < METADATA_REDIRECTS_MAX; i++) {
        flk_cen_answer_t answer;
        if (!flk_cen_call(group, target->address, target->id, request, CEN_CALL_MS, &answer))
            break;
        ret = answer.status == CEN_OK ? FLOCK_SUCCESS : FLOCK_ERR_OTHER;
        free(target);
        target = answer.status == CEN_REDIRECT ? flk_cen_target_create(answer.primary, answer.primary_id) : NULL;
        flk_cen_answer_free(&answer);
    }
    free(target);
    return ret;
}

flock_return_t flk_cen_metadata(struct flk_cen_group *group, const char *key, const char *value)
{
    assert(key);
    flk_cen_request_t request;
    flk_cen_answer_t answer = {.status = CEN_OK};
    flk_cen_request_init(group, &request, CEN_METADATA);
    request.update = CEN_METADATA_SET;
    request.name = (char *)(uintptr_t)key; /* only read */
    request.value = (char *)(uintptr_t)value;
    flk_cen_lock(group);
    bool here = flk_cen_is_primary(group);
    flk_cen_unlock(group);
    if (!here)
        return set_at_primary(group, &request);
    struct flk_cen_follow_up next = flk_cen_handle(group, &request, &answer);
    flk_cen_follow(group, &request, &next);
    flk_cen_answer_free(&answer);
    return answer.status == CEN_OK ? FLOCK_SUCCESS : FLOCK_ERR_OTHER;
}
