/*
 * The own member gets another address. A secondary has the primary put the new one in place of the old one, and then takes it
 * itself; meanwhile it fetches no view, since the primary would not know who asks. A primary does it alone, in a new term:
 * who it is has changed, and its address says which of two primaries of a term counts. Either way the others are told once.
 *
 * The strings of former addresses stay until the end: calls under way may have them.
 */
#include "flock/backends/centralized/centralized.h"

#include "util/clock.h"

#include <assert.h>

#define TASK_RETRY_MS 5.0
#define TASK_LIMIT_MS 10000.0

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

/* True: the primary has us at the new address. *complete: and there was no other change meanwhile. */
static flock_return_t ask_primary(struct flk_cen_group *group, const char *address, uint64_t *version)
{
    flk_cen_request_t request;
    flk_cen_answer_t answer;
    flk_cen_request_init(group, &request, CEN_MOVE);
    request.update = FLOCK_MEMBER_MOVED;
    request.name = (char *)(uintptr_t)address; /* only read */
    request.value = request.from;
    request.id = group->id;
    flk_cen_lock(group);
    char *primary = strdup(group->primary);
    uint16_t primary_id = group->primary_id;
    flk_cen_unlock(group);
    bool answered = primary && flk_cen_call(group, primary, primary_id, &request, CEN_CALL_MS, &answer);
    free(primary);
    if (!answered)
        return FLOCK_ERR_FROM_MERCURY;
    flock_return_t ret = answer.status == CEN_OK ? FLOCK_SUCCESS : FLOCK_ERR_INVALID_ARGS;
    *version = answer.version;
    flk_cen_answer_free(&answer);
    return ret;
}

static flock_return_t move_secondary(struct flk_cen_group *group, flock_member_t *address)
{
    uint64_t version;
    flock_return_t ret = ask_primary(group, address->address, &version);
    flk_cen_lock(group);
    if (ret == FLOCK_SUCCESS) {
        flk_cen_move(group, group->self, address->address, group->id);
        set_self(group, address);
        if (version == group->version + 1)
            group->version = version;
        group->fetch_again |= version != group->version;
    }
    bool fetch = group->fetch_again;
    char *primary = strdup(group->primary);
    uint16_t primary_id = group->primary_id;
    group->task = false;
    flk_cen_unlock(group);
    if (fetch && primary)
        flk_cen_refresh(group, primary, primary_id);
    free(primary);
    return ret;
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
