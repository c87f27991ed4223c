/*
 * The barrier between "I have done this" and "have you done that?", which two threads that tell each other of work and of
 * sleep need on both sides: at least one of them sees the other.
 */
#ifndef DANGO_UTIL_FENCE_H
#define DANGO_UTIL_FENCE_H

#include <stdatomic.h>

/* Orders all earlier stores before all later loads. */
static inline void dango_full_fence(void)
{
#ifdef __SANITIZE_THREAD__
    /* ThreadSanitizer knows no fences. It sees the atomic accesses on both sides, and this has the same effect. */
    atomic_int dummy = 0;
    atomic_fetch_add(&dummy, 1);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

#endif
