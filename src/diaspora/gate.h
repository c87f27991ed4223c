/*
 * A gate: where threads wait for something that changes under a lock of somebody else. It counts how often it was
 * opened; a waiter takes a ticket, looks at its condition, and waits for the count to move on from the ticket:
 *
 *     lock; while (!condition) { t = dsp_gate_ticket(g); unlock; open = dsp_gate_wait(g, t, deadline); lock; … } unlock
 *     lock; make the condition true; unlock; dsp_gate_open(g)
 *
 * Waiting works from pthreads (a futex) and from Argobots ULTs (the execution stream goes on with other ULTs). Opening
 * a gate at which nobody waits is one atomic addition and a load. No wake-up is lost: the ticket is older than the look.
 */
#ifndef DANGO_DIASPORA_GATE_H
#define DANGO_DIASPORA_GATE_H

#include "util/list.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct dsp_gate {
    _Atomic uint32_t turn;     /* times opened, modulo 2^32; the futex word */
    _Atomic uint32_t sleepers; /* waiters that sleep or are about to */
    pthread_mutex_t lock;      /* of the list */
    struct list_node ults;     /* sleeping ULTs */
};

void dsp_gate_init(struct dsp_gate *gate);
void dsp_gate_fini(struct dsp_gate *gate);

static inline uint32_t dsp_gate_ticket(const struct dsp_gate *gate)
{
    return atomic_load(&gate->turn);
}

/*
 * Waits until the gate was opened after the ticket was taken, or the deadline (dango_clock_ns; DANGO_NEVER for none)
 * passes: true if it was opened.
 */
bool dsp_gate_wait(struct dsp_gate *gate, uint32_t ticket, int64_t deadline_ns);

/* Lets everybody through who took a ticket before. Any thread; does not block. */
void dsp_gate_open(struct dsp_gate *gate);

#endif
