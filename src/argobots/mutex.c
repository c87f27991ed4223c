/*
 * Mutexes.
 *
 * The state is one word: LOCKED, WAITERS, and a bit lock over the queue. Free and uncontended, locking and unlocking
 * are one compare and swap each. Who finds it locked waits in the queue. Unlocking wakes the first waiter but leaves
 * the mutex free, so that whoever comes first gets it: that is fast, but could starve the waiter; so a waiter that was
 * woken in vain queues up in front and insists: it is given the mutex at the next unlocking, as its heir.
 * Until the heir has run, those who spin for the mutex (ABT_mutex_spinlock) may take it from it: they may be what
 * keeps the heir from running.
 *
 * Before queueing, a short spin, if the holder locked it on another ES and may be about to unlock it.
 *
 * The last access of an unlocker is the store that makes the mutex free, or gives it away: see atomics.h.
 */
#include "argobots/mutex.h"

#include <stdlib.h>

#define LOCKED      1u
#define WAITERS     2u
#define GRANTED     4u /* locked for the heir */
#define SPIN_PAUSES 30

struct ABT_mutex_attr_opaque {
    uint32_t attributes;
};

static bool try_lock(ABT_mutex mutex)
{
    uint32_t none = 0;
    return atomic_compare_exchange_strong_explicit(&mutex->word, &none, LOCKED, memory_order_acquire,
                                                   memory_order_relaxed);
}

/* Also when there are waiters, which have no claim. */
static bool try_lock_among_waiters(ABT_mutex mutex)
{
    if (abti_load(&mutex->word) & LOCKED)
        return false;
    uint32_t bits = abti_bitlock_lock(&mutex->word);
    abti_bitlock_unlock(&mutex->word, bits | LOCKED);
    return !(bits & LOCKED);
}

static bool spin_for_it(ABT_mutex mutex)
{
    abti_xstream *es = abti_self();
    if (es && abti_load(&mutex->holder) == (uintptr_t)es)
        return false;
    for (int i = 0; i < SPIN_PAUSES; i++) {
        if (abti_load(&mutex->word) == 0 && try_lock(mutex))
            return true;
        abti_cpu_relax();
    }
    return false;
}

/* What an insisting waiter does when it is woken; false if somebody who spins was faster. */
static bool accept(ABT_mutex mutex, struct abti_waiter *waiter)
{
    uint32_t bits = abti_bitlock_lock(&mutex->word);
    bool is_heir = mutex->heir == waiter;
    if (is_heir) {
        mutex->heir = NULL;
        bits &= ~GRANTED;
    }
    abti_bitlock_unlock(&mutex->word, bits);
    return is_heir;
}

/* Takes a mutex from an heir that has not run yet. */
static bool take_from_heir(ABT_mutex mutex)
{
    if (!(abti_load(&mutex->word) & GRANTED))
        return false;
    uint32_t bits = abti_bitlock_lock(&mutex->word);
    bool granted = bits & GRANTED;
    if (granted)
        mutex->heir = NULL;
    abti_bitlock_unlock(&mutex->word, bits & ~GRANTED);
    return granted;
}

static void lock_slowly(ABT_mutex mutex)
{
    struct abti_waiter waiter;
    bool insists = false;
    if (spin_for_it(mutex))
        return;
    for (;;) {
        uint32_t bits = abti_bitlock_lock(&mutex->word);
        if (!(bits & LOCKED)) {
            abti_bitlock_unlock(&mutex->word, bits | LOCKED);
            return;
        }
        abti_waiter_init(&waiter);
        waiter.insists = insists;
        if (insists)
            abti_waiters_prepend(&mutex->waiters, &waiter);
        else
            abti_waiters_append(&mutex->waiters, &waiter);
        abti_wait(&waiter, &mutex->word, bits | WAITERS);
        if (insists && accept(mutex, &waiter))
            return;
        insists = true;
    }
}

static void unlock_slowly(ABT_mutex mutex)
{
    uint32_t bits = abti_bitlock_lock(&mutex->word);
    assert(bits & LOCKED);
    struct abti_waiter *waiter = abti_waiters_pop(&mutex->waiters);
    bits = mutex->waiters.head ? WAITERS : 0;
    if (waiter && waiter->insists) {
        mutex->heir = waiter;
        bits |= LOCKED | GRANTED;
    }
    abti_bitlock_unlock(&mutex->word, bits);
    if (waiter)
        abti_wake(waiter);
}

static void lock_plain(ABT_mutex mutex)
{
    if (abti_unlikely(!try_lock(mutex)))
        lock_slowly(mutex);
    abti_store(&mutex->holder, (uintptr_t)abti_self());
}

static void unlock_plain(ABT_mutex mutex)
{
    uint32_t locked = LOCKED;
    if (abti_unlikely(!atomic_compare_exchange_strong_explicit(&mutex->word, &locked, 0, memory_order_release,
                                                               memory_order_relaxed)))
        unlock_slowly(mutex);
}

/* Recursive mutexes ------------------------------------------------------------------------------ */

/* Identifies the calling work unit, or OS thread outside of ESs (the address of a thread-local variable). */
static uintptr_t self_token(void)
{
    abti_xstream *es = abti_self();
    return es ? (uintptr_t)es->current : (uintptr_t)&abti_current_xstream;
}

/* Whether the caller has it already, and now once more. */
static bool lock_again(ABT_mutex mutex)
{
    if (abti_load(&mutex->owner) != self_token())
        return false;
    mutex->depth++;
    return true;
}

void abti_mutex_lock(ABT_mutex mutex)
{
    if (abti_likely(!(mutex->attributes & ABTI_MUTEX_RECURSIVE))) {
        lock_plain(mutex);
    } else if (!lock_again(mutex)) {
        lock_plain(mutex);
        abti_store(&mutex->owner, self_token());
    }
}

void abti_mutex_unlock(ABT_mutex mutex)
{
    if (abti_unlikely(mutex->attributes & ABTI_MUTEX_RECURSIVE)) {
        if (mutex->depth > 0) {
            mutex->depth--;
            return;
        }
        abti_store(&mutex->owner, 0);
    }
    unlock_plain(mutex);
}

/* Notes who has it now. */
static void locked(ABT_mutex mutex)
{
    abti_store(&mutex->holder, (uintptr_t)abti_self());
    if (mutex->attributes & ABTI_MUTEX_RECURSIVE)
        abti_store(&mutex->owner, self_token());
}

static bool try_lock_any(ABT_mutex mutex)
{
    if ((mutex->attributes & ABTI_MUTEX_RECURSIVE) && lock_again(mutex))
        return true;
    if (!try_lock(mutex) && !try_lock_among_waiters(mutex))
        return false;
    locked(mutex);
    return true;
}

/* Public functions --------------------------------------------------------------------------------- */

static int create_mutex(uint32_t attributes, ABT_mutex *newmutex)
{
    ABT_mutex mutex = calloc(1, sizeof *mutex);
    *newmutex = mutex;
    if (!mutex)
        return ABT_ERR_MEM;
    mutex->attributes = attributes;
    return ABT_SUCCESS;
}

int ABT_mutex_create(ABT_mutex *newmutex)
{
    return create_mutex(0, newmutex);
}

int ABT_mutex_create_with_attr(ABT_mutex_attr attr, ABT_mutex *newmutex)
{
    return create_mutex(attr ? attr->attributes : 0, newmutex);
}

int ABT_mutex_free(ABT_mutex *mutex)
{
    ABTI_CHECK(mutex && *mutex, ABT_ERR_INV_MUTEX);
    uint32_t bits = abti_bitlock_lock(&(*mutex)->word); /* an unlocker may be on its way out */
    abti_bitlock_unlock(&(*mutex)->word, bits);
    free(*mutex);
    *mutex = ABT_MUTEX_NULL;
    return ABT_SUCCESS;
}

int ABT_mutex_lock(ABT_mutex mutex)
{
    ABTI_CHECK(mutex, ABT_ERR_INV_MUTEX);
    abti_mutex_lock(mutex);
    return ABT_SUCCESS;
}

int ABT_mutex_lock_low(ABT_mutex mutex)
{
    return ABT_mutex_lock(mutex);
}

int ABT_mutex_lock_high(ABT_mutex mutex)
{
    return ABT_mutex_lock(mutex);
}

int ABT_mutex_trylock(ABT_mutex mutex)
{
    ABTI_CHECK(mutex, ABT_ERR_INV_MUTEX);
    return try_lock_any(mutex) ? ABT_SUCCESS : ABT_ERR_MUTEX_LOCKED;
}

int ABT_mutex_spinlock(ABT_mutex mutex)
{
    unsigned tries = 0;
    ABTI_CHECK(mutex, ABT_ERR_INV_MUTEX);
    while (!try_lock_any(mutex)) {
        if (take_from_heir(mutex)) {
            locked(mutex);
            break;
        }
        abti_backoff(&tries);
    }
    return ABT_SUCCESS;
}

int ABT_mutex_unlock(ABT_mutex mutex)
{
    ABTI_CHECK(mutex, ABT_ERR_INV_MUTEX);
    abti_mutex_unlock(mutex);
    return ABT_SUCCESS;
}

int ABT_mutex_unlock_se(ABT_mutex mutex)
{
    return ABT_mutex_unlock(mutex);
}

int ABT_mutex_unlock_de(ABT_mutex mutex)
{
    return ABT_mutex_unlock(mutex);
}

int ABT_mutex_equal(ABT_mutex mutex1, ABT_mutex mutex2, ABT_bool *result)
{
    *result = mutex1 == mutex2;
    return ABT_SUCCESS;
}

int ABT_mutex_get_attr(ABT_mutex mutex, ABT_mutex_attr *attr)
{
    *attr = ABT_MUTEX_ATTR_NULL;
    ABTI_CHECK(mutex, ABT_ERR_INV_MUTEX);
    int err = ABT_mutex_attr_create(attr);
    if (!err)
        (*attr)->attributes = mutex->attributes;
    return err;
}

int ABT_mutex_attr_create(ABT_mutex_attr *newattr)
{
    *newattr = calloc(1, sizeof **newattr);
    return *newattr ? ABT_SUCCESS : ABT_ERR_MEM;
}

int ABT_mutex_attr_free(ABT_mutex_attr *attr)
{
    ABTI_CHECK(attr && *attr, ABT_ERR_INV_MUTEX_ATTR);
    free(*attr);
    *attr = ABT_MUTEX_ATTR_NULL;
    return ABT_SUCCESS;
}

int ABT_mutex_attr_set_recursive(ABT_mutex_attr attr, ABT_bool recursive)
{
    ABTI_CHECK(attr, ABT_ERR_INV_MUTEX_ATTR);
    attr->attributes = recursive ? ABTI_MUTEX_RECURSIVE : 0;
    return ABT_SUCCESS;
}

int ABT_mutex_attr_get_recursive(ABT_mutex_attr attr, ABT_bool *recursive)
{
    ABTI_CHECK(attr, ABT_ERR_INV_MUTEX_ATTR);
    *recursive = (attr->attributes & ABTI_MUTEX_RECURSIVE) != 0;
    return ABT_SUCCESS;
}
