/*
 * Condition variables.
 *
 * A waiter queues up, unlocks the mutex and suspends while it holds the bit lock of the condition variable: a signal
 * that comes after the unlocking cannot miss it. Signalling when nobody waits is one load.
 */
#include <stdlib.h>

#include "argobots/mutex.h"
#include "util/clock.h"

#define WAITERS 1u

/* All-zero is valid. */
struct ABT_cond_opaque {
    atomic_uint word; /* bit lock, WAITERS */
    ABT_mutex mutex;  /* of the present waiters */
    struct abti_waiters waiters;
};
_Static_assert(sizeof(struct ABT_cond_opaque) <= sizeof(ABT_cond_memory), "must fit into the user's memory");

int ABT_cond_create(ABT_cond *newcond)
{
    *newcond = calloc(1, sizeof **newcond);
    return *newcond ? ABT_SUCCESS : ABT_ERR_MEM;
}

int ABT_cond_free(ABT_cond *cond)
{
    ABTI_CHECK(cond && *cond, ABT_ERR_INV_COND);
    uint32_t bits = abti_bitlock_lock(&(*cond)->word);
    bool waiters = (*cond)->waiters.head != NULL;
    abti_bitlock_unlock(&(*cond)->word, bits);
    ABTI_CHECK(!waiters, ABT_ERR_COND);
    free(*cond);
    *cond = ABT_COND_NULL;
    return ABT_SUCCESS;
}

/* deadline_ns: monotonic, DANGO_NEVER for none. */
static int wait_until(ABT_cond cond, ABT_mutex mutex, int64_t deadline_ns)
{
    struct abti_waiter waiter;
    bool woken = true;
    ABTI_CHECK(cond, ABT_ERR_INV_COND);
    ABTI_CHECK(mutex, ABT_ERR_INV_MUTEX);
    ABTI_CHECK(!abti_self_is_task(), ABT_ERR_COND);
    abti_waiter_init(&waiter);
    uint32_t bits = abti_bitlock_lock(&cond->word);
    if (cond->waiters.head && cond->mutex != mutex) {
        abti_bitlock_unlock(&cond->word, bits);
        return ABT_ERR_INV_MUTEX;
    }
    cond->mutex = mutex;
    abti_waiters_append(&cond->waiters, &waiter);
    abti_mutex_unlock(mutex);
    if (deadline_ns == DANGO_NEVER)
        abti_wait(&waiter, &cond->word, WAITERS);
    else
        woken = abti_wait_until(&waiter, &cond->waiters, &cond->word, WAITERS, deadline_ns);
    abti_mutex_lock(mutex);
    return woken ? ABT_SUCCESS : ABT_ERR_COND_TIMEDOUT;
}

int ABT_cond_wait(ABT_cond cond, ABT_mutex mutex)
{
    return wait_until(cond, mutex, DANGO_NEVER);
}

int ABT_cond_timedwait(ABT_cond cond, ABT_mutex mutex, const struct timespec *abstime)
{
    return wait_until(cond, mutex, abti_deadline_from_realtime(abstime));
}

int ABT_cond_signal(ABT_cond cond)
{
    ABTI_CHECK(cond, ABT_ERR_INV_COND);
    if (abti_load_acquire(&cond->word) == 0)
        return ABT_SUCCESS;
    abti_bitlock_lock(&cond->word);
    struct abti_waiter *waiter = abti_waiters_pop(&cond->waiters);
    abti_bitlock_unlock(&cond->word, cond->waiters.head ? WAITERS : 0);
    if (waiter)
        abti_wake(waiter);
    return ABT_SUCCESS;
}

int ABT_cond_broadcast(ABT_cond cond)
{
    ABTI_CHECK(cond, ABT_ERR_INV_COND);
    if (abti_load_acquire(&cond->word) == 0)
        return ABT_SUCCESS;
    abti_bitlock_lock(&cond->word);
    struct abti_waiter *first = abti_waiters_take_all(&cond->waiters);
    abti_bitlock_unlock(&cond->word, 0);
    abti_wake_all(first);
    return ABT_SUCCESS;
}
