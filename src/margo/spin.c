/*
 * Adaptive polling: see spin.h.
 */
#include "margo/spin.h"

#include <sched.h>

/* Below this, polling cannot beat a wake-up by the kernel; above, one wake-up is lost in the noise. */
#define BUDGET_MIN_NS   2000
#define BUDGET_FIRST_NS 50000

/* A loop that was woken within so many budgets would have found the work by polling a little longer. */
#define NEAR_MISS 4

static int available_cpus(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
}

void mg_spin_init(struct mg_spin *spin, int64_t limit_ns)
{
    /* On few CPUs the thread that we wait for may be waiting for ours. */
    bool few = available_cpus() <= 2;
    spin->limit_ns = limit_ns;
    spin->budget_ns = few ? 0 : BUDGET_FIRST_NS;
    if (spin->budget_ns > limit_ns)
        spin->budget_ns = limit_ns;
    spin->idle_since_ns = 0;
}

void mg_spin_active(struct mg_spin *spin)
{
    spin->idle_since_ns = 0;
}

bool mg_spin_again(struct mg_spin *spin, int64_t now_ns)
{
    if (spin->budget_ns == 0)
        return false;
    if (spin->idle_since_ns == 0)
        spin->idle_since_ns = now_ns;
    if (now_ns - spin->idle_since_ns < spin->budget_ns)
        return true;
    /* In vain. */
    spin->budget_ns /= 2;
    if (spin->budget_ns < BUDGET_MIN_NS)
        spin->budget_ns = 0;
    return false;
}

void mg_spin_woken(struct mg_spin *spin, int64_t slept_ns)
{
    (void)spin;
    (void)slept_ns;
}
