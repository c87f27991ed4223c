/*
 * Waiters: how a ULT or an external thread sleeps in the queue of an object, with or without a time limit.
 *
 * The protocol, for all objects: lock the object's word; append a waiter that lives on your stack; call
 * abti_wait, which releases the word and returns when somebody has taken the waiter out of the queue (under the
 * lock) and called abti_wake (after releasing it). A ULT suspends; an external thread, and a scheduler,
 * which has nobody to switch to, sleeps on the waiter's futex. abti_wake does not touch the waiter once it can return.
 *
 * With a time limit a timer (ULT) or the futex (external) ends the wait: it locks the word, and if the waiter is
 * still queued takes it out itself. The object cannot vanish meanwhile, for the waiter has not returned.
 */
#include "argobots/abti.h"
#include "util/clock.h"

#define EXTERNAL_SPINS 100

enum { WAITING, WOKEN, ASLEEP };

void abti_waiters_append(struct abti_waiters *list, struct abti_waiter *waiter)
{
    assert(!waiter->queued);
    waiter->next = NULL;
    waiter->prev = list->tail;
    if (list->tail)
        list->tail->next = waiter;
    else
        list->head = waiter;
    list->tail = waiter;
    waiter->queued = true;
}

void abti_waiters_prepend(struct abti_waiters *list, struct abti_waiter *waiter)
{
    assert(!waiter->queued);
    waiter->prev = NULL;
    waiter->next = list->head;
    if (list->head)
        list->head->prev = waiter;
    else
        list->tail = waiter;
    list->head = waiter;
    waiter->queued = true;
}

static void take_out(struct abti_waiters *list, struct abti_waiter *waiter)
{
    assert(waiter->queued);
    if (waiter->prev)
        waiter->prev->next = waiter->next;
    else
        list->head = waiter->next;
    if (waiter->next)
        waiter->next->prev = waiter->prev;
    else
        list->tail = waiter->prev;
    waiter->queued = false;
}

struct abti_waiter *abti_waiters_pop(struct abti_waiters *list)
{
    struct abti_waiter *waiter = list->head;
    if (waiter)
        take_out(list, waiter);
    return waiter;
}

/* Empties the list, for abti_wake_all after the lock has been released. */
struct abti_waiter *abti_waiters_take_all(struct abti_waiters *list)
{
    struct abti_waiter *first = list->head;
    for (struct abti_waiter *waiter = first; waiter; waiter = waiter->next)
        waiter->queued = false;
    *list = (struct abti_waiters){0};
    return first;
}

/* Returns false if the deadline passed first. */
static bool sleep_on_futex(struct abti_waiter *waiter, int64_t deadline_ns)
{
    for (int i = 0; i < EXTERNAL_SPINS; i++) {
        if (abti_load_acquire(&waiter->woken) == WOKEN)
            return true;
        abti_cpu_relax();
    }
    uint32_t state = WAITING;
    if (!atomic_compare_exchange_strong(&waiter->woken, &state, ASLEEP) && state == WOKEN)
        return true;
    while (abti_load_acquire(&waiter->woken) != WOKEN) {
        int64_t left = -1;
        if (deadline_ns != DANGO_NEVER) {
            left = deadline_ns - dango_clock_ns();
            if (left <= 0)
                return false;
        }
        abti_futex_wait(&waiter->woken, ASLEEP, left);
    }
    return true;
}

void abti_wait(struct abti_waiter *waiter, atomic_uint *word, uint32_t bits)
{
    assert(waiter->queued);
    if (waiter->thread) {
        abti_suspend(abti_self(), word, bits);
    } else {
        abti_bitlock_unlock(word, bits);
        sleep_on_futex(waiter, DANGO_NEVER);
    }
}

/* The plain case: appends a waiter for the caller, releases the word, returns when woken. */
void abti_block(struct abti_waiters *list, atomic_uint *word, uint32_t bits)
{
    struct abti_waiter waiter;
    abti_waiter_init(&waiter);
    abti_waiters_append(list, &waiter);
    abti_wait(&waiter, word, bits);
}

void abti_wake(struct abti_waiter *waiter)
{
    if (waiter->thread)
        abti_ready(waiter->thread);
    else if (atomic_exchange(&waiter->woken, WOKEN) == ASLEEP)
        abti_futex_wake(&waiter->woken);
}

/* Wakes a chain that abti_waiters_take_all returned. */
void abti_wake_all(struct abti_waiter *first)
{
    while (first) {
        struct abti_waiter *next = first->next; /* a woken waiter may be gone */
        abti_wake(first);
        first = next;
    }
}

struct timed_wait {
    struct abti_waiter *waiter;
    struct abti_waiters *list;
    atomic_uint *word;
};

/* Takes a waiter out of the queue because its time is up; false if somebody is waking it already. */
static bool give_up(struct timed_wait *wait)
{
    uint32_t bits = abti_bitlock_lock(wait->word);
    bool queued = wait->waiter->queued;
    if (queued) {
        take_out(wait->list, wait->waiter);
        wait->waiter->timed_out = true;
    }
    abti_bitlock_unlock(wait->word, bits);
    return queued;
}

static void on_timer(void *arg)
{
    struct timed_wait *wait = arg;
    struct abti_waiter *waiter = wait->waiter;
    if (give_up(wait))
        abti_wake(waiter);
}

/* As abti_wait, but at most until the given monotonic time; false if that passed first. */
bool abti_wait_until(struct abti_waiter *waiter, struct abti_waiters *list, atomic_uint *word, uint32_t bits,
                     int64_t deadline_ns)
{
    struct timed_wait wait = {.waiter = waiter, .list = list, .word = word};
    if (!waiter->thread) {
        abti_bitlock_unlock(word, bits);
        if (!sleep_on_futex(waiter, deadline_ns) && !give_up(&wait))
            sleep_on_futex(waiter, DANGO_NEVER); /* the wake-up is on its way */
        return !waiter->timed_out;
    }
    struct dango_abt_timer timer;
    dango_abt_timer_init(&timer, on_timer, &wait);
    dango_abt_timer_arm(&timer, deadline_ns);
    abti_suspend(abti_self(), word, bits);
    dango_abt_timer_cancel(&timer);
    return !waiter->timed_out;
}

int64_t abti_deadline_from_realtime(const struct timespec *abstime)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double left_s = (double)(abstime->tv_sec - now.tv_sec) + (double)(abstime->tv_nsec - now.tv_nsec) * 1e-9;
    if (left_s <= 0)
        return dango_clock_ns();
    if (left_s > 4e9)
        return DANGO_NEVER;
    return dango_clock_ns() + (int64_t)(left_s * (double)DANGO_NS_PER_S);
}
