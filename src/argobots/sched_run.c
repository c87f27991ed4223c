/*
 * The predefined schedulers at work.
 *
 * ORDERED (basic, basic_wait, prio): the first unit of the first pool that is not empty, then again from the start.
 * STEALING (randws): the own pool is the first; when it is empty, the others from a random one on.
 *
 * When all pools are empty the ES spins for a moment and then sleeps (sleep.c). How long it spins it learns: success,
 * or a sleep so short that a longer spin would have paid, doubles the next spin; a long sleep halves it. But when a
 * spin of twice the time in which work comes to an ES that hardly spins was in vain, then whoever had to make that work
 * was waiting for this CPU: the ES returns to the shortest spin, and stays there for a while.
 */
#include "argobots/abti.h"
#include "util/clock.h"

#define WARY_SLEEPS     64
#define FINISH_NAP_NS   DANGO_NS_PER_MS
#define LOOKS_PER_CLOCK 16

static uint32_t next_random(abti_sched *sched)
{
    uint32_t x = sched->random; /* xorshift */
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return sched->random = x;
}

static abti_thread *steal(abti_sched *sched, abti_xstream *es, int num_pools)
{
    if (num_pools < 2)
        return NULL;
    int others = num_pools - 1;
    int start = (int)(next_random(sched) % (uint32_t)others);
    for (int i = 0; i < others; i++) {
        abti_pool *victim = sched->serve[1 + (start + i) % others];
        abti_thread *thread =
            abti_pool_is_empty(victim) ? NULL : abti_pool_pop(es, victim, ABT_POOL_CONTEXT_OWNER_SECONDARY);
        if (thread)
            return thread;
    }
    return NULL;
}

/* The unit that the scheduler would run next, out of its pool; NULL if there is none. */
abti_thread *abti_sched_pick(abti_sched *sched, abti_xstream *es)
{
    int num_pools = abti_load_acquire(&sched->num_pools);
    int own = sched->kind == ABTI_SCHED_STEALING && num_pools ? 1 : num_pools;
    for (int i = 0; i < own; i++) {
        abti_pool *pool = sched->serve[i];
        if (abti_pool_is_empty(pool))
            continue;
        abti_thread *thread = abti_pool_pop(es, pool, ABT_POOL_CONTEXT_OWNER_PRIMARY);
        if (thread)
            return thread;
    }
    return own < num_pools ? steal(sched, es, num_pools) : NULL;
}

/* Looks for work, or anything else to do, for as long as this ES has learnt to. */
static bool spin(abti_xstream *es, abti_sched *sched)
{
    int64_t end = dango_clock_ns() + es->spin_ns;
    do {
        for (int i = 0; i < LOOKS_PER_CLOCK; i++) {
            if (abti_sched_has_ready(sched) || abti_load(&es->attention))
                return true;
            abti_cpu_relax();
        }
    } while (dango_clock_ns() < end);
    return false;
}

static void learn_from_spin(abti_xstream *es, int64_t max_ns)
{
    es->spin_ns = es->spin_ns < max_ns / 2 ? 2 * es->spin_ns : max_ns;
}

static void learn_from_sleep(abti_xstream *es, int64_t slept_ns, int64_t max_ns)
{
    if (slept_ns > max_ns) {
        es->spin_ns = es->spin_ns > 2 * ABTI_MIN_SPIN_NS ? es->spin_ns / 2 : ABTI_MIN_SPIN_NS;
        return;
    }
    if (es->spin_ns == ABTI_MIN_SPIN_NS)
        es->quick_ns = es->spin_ns + slept_ns;
    if (es->wary_sleeps > 0) {
        es->wary_sleeps--;
    } else if (es->spin_ns >= 2 * es->quick_ns || es->spin_ns == max_ns) {
        es->spin_ns = ABTI_MIN_SPIN_NS;
        es->wary_sleeps = WARY_SLEEPS;
    } else {
        learn_from_spin(es, max_ns);
    }
}

static void idle(abti_xstream *es, abti_sched *sched)
{
    int64_t max_ns = abti_xstream_max_spin_ns();
    if (spin(es, sched)) {
        learn_from_spin(es, max_ns);
        return;
    }
    if (sched->stacked && abti_sched_has_ready(es->main_sched)) {
        abti_yield(es);
        return;
    }
    /* A finishing ES waits for blocked units; that these leave its pools by another way does not wake it. */
    bool finishing = abti_load(&sched->request) & ABTI_SCHED_FINISH;
    int64_t start = dango_clock_ns();
    abti_sched_sleep(es, sched, finishing || sched->stacked ? FINISH_NAP_NS : -1);
    learn_from_sleep(es, dango_clock_ns() - start, max_ns);
}

static abti_thread *next_unit(abti_sched *sched, abti_xstream *es)
{
    abti_thread *thread = es->set_aside;
    es->set_aside = NULL;
    return thread ? thread : abti_sched_pick(sched, es);
}

/* The run function: returns when the scheduler has to stop. */
void abti_sched_run(abti_sched *sched)
{
    for (;;) {
        abti_xstream *es = abti_self();
        if (abti_load(&es->attention))
            atomic_exchange(&es->attention, false); /* before looking at the requests it announces */
        if (abti_load(&sched->request) && abti_sched_has_to_stop(sched))
            break;
        abti_thread *thread = next_unit(sched, es);
        if (thread) {
            thread = abti_admit(thread);
            if (thread)
                abti_run_child(es, thread);
        } else if (abti_sched_has_to_stop(sched)) {
            break;
        } else {
            idle(es, sched);
        }
    }
    abti_xstream *es = abti_self();
    abti_thread *left = es->set_aside;
    es->set_aside = NULL;
    if (left)
        abti_pool_push(es, abti_load(&left->pool), left, ABT_POOL_CONTEXT_OP_POOL_OTHER, false);
}
