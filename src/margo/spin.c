/*
 * Adaptive polling: see spin.h.
 */
#include "margo/spin.h"

#include <assert.h>
#include <sched.h>

/* Polling for less cannot beat a wake-up by the kernel. */
#define BUDGET_MIN_NS   2000
#define BUDGET_FIRST_NS 50000

/* A sleep of up to so many budgets was a near miss. */
#define NEAR_MISS 4

int mg_spin_num_cpus(void)
{
    cpu_set_t cpus;
    return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
}

void mg_spin_init(struct mg_spin *spin, int64_t limit_ns, int num_cpus)
{
    assert(limit_ns >= 0);
    *spin = (struct mg_spin){.limit_ns = limit_ns, .budget_ns = BUDGET_FIRST_NS, .crowded = num_cpus <= 2};
}

void mg_spin_active(struct mg_spin *spin)
{
    spin->idle_since_ns = 0;
}

bool mg_spin_again(struct mg_spin *spin, int64_t now_ns)
{
    int64_t budget_ns = spin->budget_ns < spin->limit_ns ? spin->budget_ns : spin->limit_ns;
    if (spin->crowded || budget_ns == 0)
        return false;
    if (spin->idle_since_ns == 0)
        spin->idle_since_ns = now_ns;
    if (now_ns - spin->idle_since_ns < budget_ns)
        return true;
    if (spin->budget_ns / 2 >= BUDGET_MIN_NS)
        spin->budget_ns /= 2;
    spin->idle_since_ns = 0;
    return false;
}

void mg_spin_woken(struct mg_spin *spin, int64_t slept_ns)
{
    if (slept_ns <= NEAR_MISS * spin->budget_ns && spin->budget_ns <= spin->limit_ns / 2)
        spin->budget_ns *= 2;
}
