/*
 * The small tools under everything else in this component: short names for C11 atomics, a lock inside
 * a word, and futexes.
 *
 * A bit lock is a 32-bit word whose top bit is a spin lock and whose other bits belong to the object
 * (locked, ready, has waiters…). They may change only while the lock bit is held, or by a compare and
 * swap from a value without it. Unlocking stores the new bits and clears the lock in one store: the
 * last time the releasing thread touches the object. That is what makes it safe for a waiter to destroy
 * an object as soon as it sees the new bits.
 *
 * Critical sections are a few instructions long and never block, switch context or call the user.
 */
#ifndef DANGO_ARGOBOTS_ATOMICS_H
#define DANGO_ARGOBOTS_ATOMICS_H

#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define abti_load(p)             atomic_load_explicit((p), memory_order_relaxed)
#define abti_load_acquire(p)     atomic_load_explicit((p), memory_order_acquire)
#define abti_store(p, v)         atomic_store_explicit((p), (v), memory_order_relaxed)
#define abti_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)

#define ABTI_LOCK_BIT   0x80000000u
#define ABTI_SPIN_TRIES 200 /* spins before the processor is offered to others */

static inline void abti_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* One round of waiting for somebody who is about to finish; `tries` starts at 0. */
static inline void abti_backoff(unsigned *tries)
{
    if (++*tries < ABTI_SPIN_TRIES) {
        abti_cpu_relax();
    } else {
        *tries = 0;
        sched_yield();
    }
}

/* Returns the bits of the object (without the lock bit). */
static inline uint32_t abti_bitlock_lock(atomic_uint *word)
{
    unsigned tries = 0;
    for (;;) {
        uint32_t bits = abti_load(word);
        if (!(bits & ABTI_LOCK_BIT) &&
            atomic_compare_exchange_weak_explicit(word, &bits, bits | ABTI_LOCK_BIT, memory_order_acquire,
                                                  memory_order_relaxed))
            return bits;
        abti_backoff(&tries);
    }
}

static inline void abti_bitlock_unlock(atomic_uint *word, uint32_t bits)
{
    abti_store_release(word, bits);
}

/* Sleeps while *word == expected; relative timeout in ns, negative: for ever. Returns after spurious wake-ups too. */
static inline void abti_futex_wait(atomic_uint *word, uint32_t expected, int64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
}

/* The address need not be valid any more: a waker may lose the race against the waiter's return. */
static inline void abti_futex_wake(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

#endif
