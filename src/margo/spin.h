/*
 * How long a progress loop polls before it sleeps.
 *
 * Waking a sleeper costs a few microseconds; polling costs a CPU that another thread or process may need, perhaps the
 * one that has to answer us. So the budget follows what polling is good for: it doubles when the loop was woken so soon
 * that a little more polling would have found the work, and halves when polling was in vain. It never exceeds
 * progress_spindown_msec, and on one or two CPUs, where the thread that we wait for may be waiting for ours, it is
 * zero.
 *
 * Pure arithmetic over times given by the caller (nanoseconds); one loop owns it.
 */
#ifndef DANGO_MARGO_SPIN_H
#define DANGO_MARGO_SPIN_H

#include <stdbool.h>
#include <stdint.h>

struct mg_spin {
    int64_t limit_ns;      /* never longer; may be changed at any time by the owner */
    int64_t budget_ns;     /* now */
    int64_t idle_since_ns; /* 0: not idle */
    bool crowded;          /* too few CPUs to poll */
};

void mg_spin_init(struct mg_spin *spin, int64_t limit_ns, int num_cpus);

/* CPUs that this process may use. */
int mg_spin_num_cpus(void);

/* Work was found. */
void mg_spin_active(struct mg_spin *spin);

/* Nothing to do at `now_ns`: whether to look again (true) or to sleep. */
bool mg_spin_again(struct mg_spin *spin, int64_t now_ns);

/* Slept for so long. */
void mg_spin_woken(struct mg_spin *spin, int64_t slept_ns);

#endif
