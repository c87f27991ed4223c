/*
 * How long a progress loop polls before it sleeps.
 *
 * Waking a sleeper costs a few microseconds; polling costs a CPU that another thread or process may need, perhaps the
 * one that has to answer us. So the budget follows what polling was good for: when work came within the budget it
 * stays, when the loop went to sleep and was woken soon after, it grows, and when polling was in vain, it is halved. It
 * never exceeds progress_spindown_msec, and where threads outnumber CPUs it starts at nothing.
 *
 * Pure arithmetic over times given by the caller (nanoseconds); one loop owns it.
 */
#ifndef DANGO_MARGO_SPIN_H
#define DANGO_MARGO_SPIN_H

#include <stdbool.h>
#include <stdint.h>

struct mg_spin {
    int64_t limit_ns;  /* never longer */
    int64_t budget_ns; /* now */
    int64_t idle_since_ns;
};

void mg_spin_init(struct mg_spin *spin, int64_t limit_ns);

/* Work was found. */
void mg_spin_active(struct mg_spin *spin);

/* Nothing to do at `now`: whether to look again (true) or to sleep. */
bool mg_spin_again(struct mg_spin *spin, int64_t now_ns);

/* Slept from `idle` to `now`. */
void mg_spin_woken(struct mg_spin *spin, int64_t slept_ns);

#endif
