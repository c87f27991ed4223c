/*
 * A gate counts who is inside an object, and lets its destroyer wait until everybody has left.
 *
 *     if (!dango_gate_enter(&thing->gate)) return -ESHUTDOWN;       dango_gate_close(&thing->gate);
 *     …use thing…                                                   …nobody is inside, and nobody gets in…
 *     dango_gate_leave(&thing->gate);                               free(thing);
 *
 * One word holds the count and the closing bit, so that entering and leaving is one atomic operation each, and the
 * one leave that brings the count to zero while the gate closes is unique: it sets the eventual. Setting an eventual
 * does not touch it after a waiter can have returned, hence the closer may free the gate at once. Usable from ULTs,
 * tasklets and plain pthreads; only close blocks (cooperatively), and it is called once.
 */
#ifndef DANGO_ARGOBOTS_GATE_H
#define DANGO_ARGOBOTS_GATE_H

#include <abt.h>

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define DANGO_GATE_CLOSING UINT64_C(1)
#define DANGO_GATE_ONE     UINT64_C(2)

struct dango_gate {
    uint64_t state;                        /* atomic: DANGO_GATE_ONE per visitor, and DANGO_GATE_CLOSING */
    _Alignas(8) ABT_eventual_memory empty; /* set when the last visitor leaves a closing gate */
};

/* A gate that is all zeros is open and empty; no other initialisation is needed. */

/* False once the gate is closing: do not touch the object any more. */
static inline bool dango_gate_enter(struct dango_gate *gate)
{
    uint64_t state = __atomic_load_n(&gate->state, __ATOMIC_RELAXED);
    do {
        if (state & DANGO_GATE_CLOSING)
            return false;
    } while (!__atomic_compare_exchange_n(&gate->state, &state, state + DANGO_GATE_ONE, true, __ATOMIC_ACQUIRE,
                                          __ATOMIC_RELAXED));
    return true;
}

static inline void dango_gate_leave(struct dango_gate *gate)
{
    uint64_t state = __atomic_fetch_sub(&gate->state, DANGO_GATE_ONE, __ATOMIC_ACQ_REL);
    assert(state >= DANGO_GATE_ONE);
    if (state == (DANGO_GATE_ONE | DANGO_GATE_CLOSING))
        ABT_eventual_set(ABT_EVENTUAL_MEMORY_GET_HANDLE(&gate->empty), NULL, 0);
}

/* Number of visitors inside at some moment during the call. */
static inline uint64_t dango_gate_count(const struct dango_gate *gate)
{
    return __atomic_load_n(&gate->state, __ATOMIC_RELAXED) / DANGO_GATE_ONE;
}

/* Lets nobody in any more and waits until the gate is empty. Not from a tasklet, not by a visitor. */
static inline void dango_gate_close(struct dango_gate *gate)
{
    uint64_t state = __atomic_fetch_or(&gate->state, DANGO_GATE_CLOSING, __ATOMIC_ACQ_REL);
    assert(!(state & DANGO_GATE_CLOSING));
    if (state != 0) {
        int status = ABT_eventual_wait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&gate->empty), NULL);
        assert(status == ABT_SUCCESS);
        (void)status;
    }
}

#endif
