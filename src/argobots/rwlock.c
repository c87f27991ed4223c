/*
 * Readers-writer locks: first come, first served, with neighbouring readers in one batch.
 *
 * Who cannot have the lock at once, or finds others waiting, queues up. The lock is given by whoever releases it, to
 * the writer in front or to all readers up to the next writer; a woken waiter has it already.
 */
#include <stdlib.h>

#include "argobots/abti.h"

struct ABT_rwlock_opaque {
    atomic_uint word; /* bit lock over all of this */
    uint32_t num_readers;
    bool written;
    struct abti_waiters waiters;
};

int ABT_rwlock_create(ABT_rwlock *newrwlock)
{
    *newrwlock = calloc(1, sizeof **newrwlock);
    return *newrwlock ? ABT_SUCCESS : ABT_ERR_MEM;
}

int ABT_rwlock_free(ABT_rwlock *rwlock)
{
    ABTI_CHECK(rwlock && *rwlock, ABT_ERR_INV_RWLOCK);
    abti_bitlock_lock(&(*rwlock)->word);
    abti_bitlock_unlock(&(*rwlock)->word, 0);
    free(*rwlock);
    *rwlock = ABT_RWLOCK_NULL;
    return ABT_SUCCESS;
}

static void wait_for_turn(ABT_rwlock rwlock, bool exclusive)
{
    struct abti_waiter waiter;
    abti_waiter_init(&waiter);
    waiter.exclusive = exclusive;
    abti_waiters_append(&rwlock->waiters, &waiter);
    abti_wait(&waiter, &rwlock->word, 0);
}

int ABT_rwlock_rdlock(ABT_rwlock rwlock)
{
    ABTI_CHECK(rwlock, ABT_ERR_INV_RWLOCK);
    ABTI_CHECK(!abti_self_is_task(), ABT_ERR_RWLOCK);
    abti_bitlock_lock(&rwlock->word);
    if (rwlock->written || rwlock->waiters.head) {
        wait_for_turn(rwlock, false);
    } else {
        rwlock->num_readers++;
        abti_bitlock_unlock(&rwlock->word, 0);
    }
    return ABT_SUCCESS;
}

int ABT_rwlock_wrlock(ABT_rwlock rwlock)
{
    ABTI_CHECK(rwlock, ABT_ERR_INV_RWLOCK);
    ABTI_CHECK(!abti_self_is_task(), ABT_ERR_RWLOCK);
    abti_bitlock_lock(&rwlock->word);
    if (rwlock->written || rwlock->num_readers || rwlock->waiters.head) {
        wait_for_turn(rwlock, true);
    } else {
        rwlock->written = true;
        abti_bitlock_unlock(&rwlock->word, 0);
    }
    return ABT_SUCCESS;
}

/* The lock is free: gives it to those whose turn it is. Returns them as a chain. */
static struct abti_waiter *grant(ABT_rwlock rwlock)
{
    struct abti_waiters granted = {0};
    struct abti_waiter *first = rwlock->waiters.head;
    if (first && first->exclusive) {
        rwlock->written = true;
        abti_waiters_append(&granted, abti_waiters_pop(&rwlock->waiters));
    }
    while (!rwlock->written && rwlock->waiters.head && !rwlock->waiters.head->exclusive) {
        rwlock->num_readers++;
        abti_waiters_append(&granted, abti_waiters_pop(&rwlock->waiters));
    }
    return granted.head;
}

int ABT_rwlock_unlock(ABT_rwlock rwlock)
{
    struct abti_waiter *granted = NULL;
    ABTI_CHECK(rwlock, ABT_ERR_INV_RWLOCK);
    abti_bitlock_lock(&rwlock->word);
    assert(rwlock->written || rwlock->num_readers);
    if (rwlock->written)
        rwlock->written = false;
    else
        rwlock->num_readers--;
    if (rwlock->num_readers == 0)
        granted = grant(rwlock);
    abti_bitlock_unlock(&rwlock->word, 0);
    abti_wake_all(granted);
    return ABT_SUCCESS;
}
