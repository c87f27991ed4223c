/*
 * The own member gets another address. A secondary has the primary put the new one in place of the old one, and then takes it
 * itself; meanwhile it fetches no view, since the primary would not know who asks. A primary does it alone, in a new term:
 * who it is has changed, and its address says which of two primaries of a term counts. Either way the others are told once.
 *
 * While a secondary asks it answers to both addresses. It may end without knowing what the primary has done, which hangs or
 * is lost: then it is who it was, and whatever view has it elsewhere is corrected by the next ping, to which it is a stranger
 * (primary.c). The same goes for one that has moved, if the primary was lost before it told anybody else.
 *
 * The strings of former addresses stay until the end: calls under way may have them.
 */
#include "flock/backends/centralized/centralized.h"

#include "util/clock.h"

#include <assert.h>

#define TASK_RETRY_MS 5.0
#define TASK_LIMIT_MS 10000.0
#define ASK_RETRY_MS  50.0
#define ASK_LIMIT_MS  3000.0

/* The turn of the background work of a secondary. */
static bool take_turn(struct flk_cen_group *group)
{
    int64_t deadline_ns = dango_deadline_ns(TASK_LIMIT_MS);
    for (;;) {
        flk_cen_lock(group);
        bool mine = !group->task && !group->leaving;
        group->task |= mine;
        flk_cen_unlock(group);
        if (mine || dango_clock_ns() > deadline_ns)
            return mine;
        margo_thread_sleep(group->mid, TASK_RETRY_MS);
    }
}

/* With the lock. */
static void set_self(struct flk_cen_group *group, flock_member_t *address)
{
    assert(address->provider_id == group->id);
    group->self = address->address;
}

/* No answer, and one of a primary that has been replaced, is CEN_FAILED. */
static void ask(struct flk_cen_group *group, const char *primary, uint16_t primary_id, const char *address,
                flk_cen_answer_t *answer)
{
    flk_cen_request_t request;
    flk_cen_request_init(group, &request, CEN_MOVE);
    request.update = FLOCK_MEMBER_MOVED;
    request.name = (char *)(uintptr_t)address; /* only read */
    request.value = request.from;
    request.id = group->id;
    bool counts = flk_cen_call(group, primary, primary_id, &request, CEN_CALL_MS, answer);
    flk_cen_lock(group);
    counts = counts && flk_cen_rank(group, answer->term, answer->primary, answer->primary_id) >= 0;
    flk_cen_unlock(group);
    if (!counts)
        answer->status = CEN_FAILED;
}

/* The primary that the last answer names, or else ours; to be freed. NULL: that is us by now. */
static char *whom_to_ask(struct flk_cen_group *group, const flk_cen_answer_t *last, uint16_t *id)
{
    bool redirected = last->status == CEN_REDIRECT;
    flk_cen_lock(group);
    char *primary = flk_cen_is_primary(group) ? NULL : strdup(redirected ? last->primary : group->primary);
    *id = redirected ? last->primary_id : group->primary_id;
    flk_cen_unlock(group);
    return primary;
}

static bool is_decision(const flk_cen_answer_t *answer)
{
    return answer->status == CEN_OK || answer->status == CEN_TAKEN || answer->status == CEN_UNKNOWN;
}

/*
 * Asks until the matter is decided: a primary that has done what we ask, and whose answer was lost, knows us by an address
 * that we do not know ourselves. Redirects are followed. The answer is to be freed; after the limit it decides nothing.
 */
static void ask_primary(struct flk_cen_group *group, const char *address, flk_cen_answer_t *answer)
{
    int64_t deadline_ns = dango_deadline_ns(ASK_LIMIT_MS);
    *answer = (flk_cen_answer_t){.status = CEN_FAILED};
    for (;;) {
        uint16_t id;
        char *primary = whom_to_ask(group, answer, &id);
        flk_cen_answer_free(answer);
        answer->status = CEN_FAILED;
        if (!primary)
            return;
        ask(group, primary, id, address, answer);
        free(primary);
        if (is_decision(answer) || dango_clock_ns() >= deadline_ns)
            return;
        margo_thread_sleep(group->mid, ASK_RETRY_MS);
    }
}

/*
 * The primary has us at the new address. If that was its only change since our version, we are at its version, too. A view
 * that was changed meanwhile may lack any other change.
 */
static void settle(struct flk_cen_group *group, flock_member_t *address, const flk_cen_answer_t *answer)
{
    bool same = flk_cen_rank(group, answer->term, answer->primary, answer->primary_id) == 0;
    bool moved = flk_cen_move(group, group->self, address->address, group->id);
    set_self(group, address);
    if (moved && same && answer->version == group->version + 1)
        group->version = answer->version;
    group->fetch_again |= !same || answer->version != group->version;
}

static flock_return_t move_primary(struct flk_cen_group *group, flock_member_t *address)
{
    flk_cen_lock(group);
    const char *former = group->self;
    bool moved =
        flk_cen_is_primary(group) && !group->leaving && flk_cen_move(group, former, address->address, group->id);
    if (moved) {
        set_self(group, address);
        group->term++;
        group->version++;
        flk_cen_set_primary(group, group->self, group->id);
    }
    group->task = false;
    flk_cen_unlock(group);
    if (moved)
        flk_cen_broadcast_move(group, former, address->address);
    return moved ? FLOCK_SUCCESS : FLOCK_ERR_INVALID_ARGS;
}

static flock_return_t move_secondary(struct flk_cen_group *group, flock_member_t *address)
{
    flk_cen_answer_t answer;
    flk_cen_lock(group);
    group->moving = address->address;
    flk_cen_unlock(group);
    ask_primary(group, address->address, &answer);
    flk_cen_lock(group);
    group->moving = NULL;
    bool primary = flk_cen_is_primary(group), done = answer.status == CEN_OK;
    if (!primary && done)
        settle(group, address, &answer);
    bool fetch = !primary && group->fetch_again;
    char *from = strdup(done ? answer.primary : group->primary);
    uint16_t from_id = done ? answer.primary_id : group->primary_id;
    group->task = primary;
    flk_cen_unlock(group);
    if (fetch && from)
        flk_cen_refresh(group, from, from_id);
    free(from);
    flock_return_t ret = done                         ? FLOCK_SUCCESS
                         : answer.status == CEN_TAKEN ? FLOCK_ERR_INVALID_ARGS
                                                      : FLOCK_ERR_FROM_MERCURY;
    flk_cen_answer_free(&answer);
    return primary ? move_primary(group, address) : ret;
}

flock_return_t flk_cen_move_self(void *context, const char *address)
{
    struct flk_cen_group *group = context;
    if (!take_turn(group))
        return FLOCK_ERR_OTHER;
    flk_cen_lock(group);
    flock_member_t *kept = flock_group_view_add_member(&group->selves, address, group->id);
    bool primary = flk_cen_is_primary(group);
    group->task = kept != NULL;
    flk_cen_unlock(group);
    flock_return_t ret = !kept     ? FLOCK_ERR_ALLOCATION
                         : primary ? move_primary(group, kept)
                                   : move_secondary(group, kept);
    flk_events_report(&group->events);
    return ret;
}
