/*
 * Units: what a pool calls the work units in it.
 *
 * In our own pools the unit is the work unit's handle. A user-defined pool makes up any value (a pointer to
 * its own structure, or the handle again), so there is a map from these values back to work units: a hash table
 * with chains through the descriptors, in 64 parts with a lock each. Handles themselves are not entered.
 *
 * create_unit is called when a work unit becomes associated with a pool, free_unit when that ends.
 */
#include "argobots/abti.h"
#include "argobots/pool_user.h"

#define NUM_PARTS 64u

struct part {
    _Alignas(64) atomic_uint lock;
    abti_thread *first;
};

static struct part parts[NUM_PARTS];
static atomic_uint num_mapped; /* nothing to look for in programs without user-defined pools */

static struct part *part_of(ABT_unit unit)
{
    uint64_t hash = (uint64_t)(uintptr_t)unit * UINT64_C(0x9e3779b97f4a7c15);
    return &parts[hash >> 58];
}

static void map_insert(abti_thread *thread)
{
    struct part *part = part_of(thread->unit);
    abti_bitlock_lock(&part->lock);
    thread->unit_next = part->first;
    part->first = thread;
    atomic_fetch_add(&num_mapped, 1);
    abti_bitlock_unlock(&part->lock, 0);
}

static void map_remove(abti_thread *thread)
{
    struct part *part = part_of(thread->unit);
    abti_bitlock_lock(&part->lock);
    abti_thread **place = &part->first;
    while (*place && *place != thread)
        place = &(*place)->unit_next;
    assert(*place == thread);
    *place = thread->unit_next;
    atomic_fetch_sub(&num_mapped, 1);
    abti_bitlock_unlock(&part->lock, 0);
}

/* The work unit behind a unit of any pool. */
abti_thread *abti_unit_thread(ABT_unit unit)
{
    struct part *part = part_of(unit);
    abti_thread *found = NULL;
    if (abti_load_acquire(&num_mapped)) {
        abti_bitlock_lock(&part->lock);
        found = part->first;
        while (found && found->unit != unit)
            found = found->unit_next;
        abti_bitlock_unlock(&part->lock, 0);
    }
    return found ? found : (abti_thread *)(void *)unit;
}

/* Makes `pool` the pool of a work unit that has none. */
static int enter_pool(abti_thread *thread, abti_pool *pool)
{
    ABT_unit unit = (ABT_unit)(void *)thread;
    thread->user_unit = abti_pool_is_user_defined(pool);
    if (thread->user_unit) {
        unit = abti_user_create_unit(pool, thread);
        if (unit == ABT_UNIT_NULL) {
            thread->user_unit = false;
            return ABT_ERR_OTHER;
        }
    }
    abti_store(&thread->pool, pool);
    if (thread->user_unit)
        thread->unit = unit;
    if (unit != (ABT_unit)(void *)thread)
        map_insert(thread);
    return ABT_SUCCESS;
}

/* The work unit leaves its pool for good: it is being freed or goes to another one. */
void abti_unit_dissociate(abti_thread *thread)
{
    if (thread->user_unit) { /* else the pool may even be gone already */
        abti_pool *pool = abti_load(&thread->pool);
        if (thread->unit != (ABT_unit)(void *)thread)
            map_remove(thread);
        abti_user_free_unit(pool, thread->unit);
    }
    thread->user_unit = false;
    abti_store(&thread->pool, NULL);
}

/* Moves a work unit that is in no pool's queue to `pool`. On failure it stays where it was. */
int abti_unit_associate(abti_thread *thread, abti_pool *pool)
{
    abti_pool *old = abti_load(&thread->pool);
    if (old == pool)
        return ABT_SUCCESS;
    if (!thread->user_unit)
        return enter_pool(thread, pool);
    ABT_unit old_unit = thread->unit;
    if (old_unit != (ABT_unit)(void *)thread)
        map_remove(thread);
    int err = enter_pool(thread, pool);
    if (err) {
        thread->user_unit = true;
        thread->unit = old_unit;
        if (old_unit != (ABT_unit)(void *)thread)
            map_insert(thread);
        return err;
    }
    abti_user_free_unit(old, old_unit);
    return ABT_SUCCESS;
}

int ABT_unit_get_thread(ABT_unit unit, ABT_thread *thread)
{
    *thread = ABT_THREAD_NULL;
    ABTI_CHECK(unit, ABT_ERR_INV_UNIT);
    *thread = abti_unit_thread(unit);
    return ABT_SUCCESS;
}

int ABT_unit_set_associated_pool(ABT_unit unit, ABT_pool pool)
{
    ABTI_CHECK(unit, ABT_ERR_INV_UNIT);
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    return abti_unit_associate(abti_unit_thread(unit), pool);
}
