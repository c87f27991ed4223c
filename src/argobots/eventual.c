/*
 * Eventuals: events that happen once, with a value.
 *
 * The word says READY or WAITERS. Setting an eventual without a value that nobody waits for is one compare and swap;
 * otherwise the value is copied and the waiters are taken under the bit lock, and the store that releases it as READY
 * is the last access: a waiter, or somebody who tested, may destroy the eventual at once.
 */
#include <stdlib.h>
#include <string.h>

#include "argobots/abti.h"
#include "util/clock.h"

#define READY   1u
#define WAITERS 2u

/* All-zero is a valid eventual without a value. */
struct ABT_eventual_opaque {
    atomic_uint word; /* bit lock, READY, WAITERS */
    int capacity;
    struct abti_waiters waiters;
    void *value;
};
_Static_assert(sizeof(struct ABT_eventual_opaque) <= sizeof(ABT_eventual_memory), "must fit into the user's memory");

int ABT_eventual_create(int nbytes, ABT_eventual *neweventual)
{
    *neweventual = ABT_EVENTUAL_NULL;
    ABTI_CHECK(nbytes >= 0, ABT_ERR_INV_ARG);
    size_t header = (sizeof(struct ABT_eventual_opaque) + 15) & ~(size_t)15;
    ABT_eventual eventual = malloc(header + (size_t)nbytes);
    if (!eventual)
        return ABT_ERR_MEM;
    memset(eventual, 0, header + (size_t)nbytes);
    eventual->capacity = nbytes;
    eventual->value = nbytes ? (char *)eventual + header : NULL;
    *neweventual = eventual;
    return ABT_SUCCESS;
}

int ABT_eventual_free(ABT_eventual *eventual)
{
    ABTI_CHECK(eventual && *eventual, ABT_ERR_INV_EVENTUAL);
    uint32_t bits = abti_bitlock_lock(&(*eventual)->word);
    abti_bitlock_unlock(&(*eventual)->word, bits);
    free(*eventual);
    *eventual = ABT_EVENTUAL_NULL;
    return ABT_SUCCESS;
}

static bool is_ready(ABT_eventual eventual)
{
    return abti_load_acquire(&eventual->word) == READY;
}

/* Takes the bit lock. Once the eventual is ready there is nothing to protect, and it is not locked any more: false. */
static bool lock_unless_ready(ABT_eventual eventual)
{
    unsigned tries = 0;
    for (;;) {
        uint32_t bits = abti_load_acquire(&eventual->word);
        if (bits & READY)
            return false;
        if (!(bits & ABTI_LOCK_BIT) &&
            atomic_compare_exchange_weak_explicit(&eventual->word, &bits, bits | ABTI_LOCK_BIT, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
        abti_backoff(&tries);
    }
}

static bool set_unawaited(ABT_eventual eventual)
{
    uint32_t none = 0;
    return abti_load(&eventual->word) == 0 &&
           atomic_compare_exchange_strong_explicit(&eventual->word, &none, READY, memory_order_release,
                                                   memory_order_relaxed);
}

/* Blocks until it is ready or the deadline (monotonic, DANGO_NEVER for none) has passed. */
static int wait_until(ABT_eventual eventual, int64_t deadline_ns)
{
    struct abti_waiter waiter;
    bool woken = true;
    if (is_ready(eventual))
        return ABT_SUCCESS;
    ABTI_CHECK(!abti_self_is_task(), ABT_ERR_EVENTUAL);
    abti_waiter_init(&waiter);
    if (!lock_unless_ready(eventual))
        return ABT_SUCCESS;
    abti_waiters_append(&eventual->waiters, &waiter);
    if (deadline_ns == DANGO_NEVER)
        abti_wait(&waiter, &eventual->word, WAITERS);
    else
        woken = abti_wait_until(&waiter, &eventual->waiters, &eventual->word, WAITERS, deadline_ns);
    return woken ? ABT_SUCCESS : ABT_ERR_COND_TIMEDOUT;
}

int ABT_eventual_wait(ABT_eventual eventual, void **value)
{
    ABTI_CHECK(eventual, ABT_ERR_INV_EVENTUAL);
    int err = wait_until(eventual, DANGO_NEVER);
    if (!err && value)
        *value = eventual->value;
    return err;
}

int ABT_eventual_timedwait(ABT_eventual eventual, void **value, const struct timespec *abstime)
{
    ABTI_CHECK(eventual, ABT_ERR_INV_EVENTUAL);
    int err = wait_until(eventual, abti_deadline_from_realtime(abstime));
    if (!err && value)
        *value = eventual->value;
    return err;
}

int ABT_eventual_test(ABT_eventual eventual, void **value, ABT_bool *ready)
{
    *ready = ABT_FALSE;
    ABTI_CHECK(eventual, ABT_ERR_INV_EVENTUAL);
    *ready = is_ready(eventual);
    if (*ready && value)
        *value = eventual->value;
    return ABT_SUCCESS;
}

int ABT_eventual_set(ABT_eventual eventual, void *value, int nbytes)
{
    ABTI_CHECK(eventual, ABT_ERR_INV_EVENTUAL);
    ABTI_CHECK(nbytes >= 0, ABT_ERR_INV_ARG);
    ABTI_CHECK(nbytes <= eventual->capacity, ABT_ERR_INV_EVENTUAL);
    if (nbytes == 0 && set_unawaited(eventual))
        return ABT_SUCCESS;
    if (!lock_unless_ready(eventual))
        return ABT_ERR_EVENTUAL;
    if (nbytes)
        memcpy(eventual->value, value, (size_t)nbytes);
    struct abti_waiter *first = abti_waiters_take_all(&eventual->waiters);
    abti_bitlock_unlock(&eventual->word, READY);
    abti_wake_all(first);
    return ABT_SUCCESS;
}

int ABT_eventual_reset(ABT_eventual eventual)
{
    ABTI_CHECK(eventual, ABT_ERR_INV_EVENTUAL);
    if (is_ready(eventual)) /* nobody locks it while it is */
        abti_store_release(&eventual->word, 0);
    return ABT_SUCCESS;
}
