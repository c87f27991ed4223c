/*
 * Execution streams: their OS threads, their life, their scheduler.
 *
 * The root context of an ES runs root_loop: the main scheduler, its successor, and so on, until one is to stop. A
 * secondary ES runs it on the stack of its OS thread. The primary ES was an ordinary thread before ABT_init: there the
 * primary ULT keeps the stack it has, and the root context gets one of ours.
 *
 * An ES has TERMINATED once its OS thread has nothing left to do but to return. ES structures are recycled, not freed,
 * until the library is finalised, because somebody who wakes an ES may be late (see sleep.c).
 */
#include <stdlib.h>
#include <string.h>

#include "argobots/abti.h"

#define MAX_SPIN_NS         20000 /* when every ES can have a CPU */
#define MAX_SPIN_CROWDED_NS 2000

/* Longest time that an idle ES looks for work before it sleeps. */
int64_t abti_xstream_max_spin_ns(void)
{
    unsigned num = (unsigned)abti_load(&abti_global.num_xstreams);
    return num <= abti_global.settings.num_cpus ? MAX_SPIN_NS : MAX_SPIN_CROWDED_NS;
}

abti_pool *abti_xstream_main_pool(abti_xstream *es)
{
    abti_sched *sched = es->main_sched;
    return sched && abti_load(&sched->num_pools) ? sched->pools[0] : NULL;
}

static bool is_terminated(abti_xstream *es)
{
    return abti_load_acquire(&es->join_word) & ABTI_JOIN_TERMINATED;
}

/* Ranks and the list ------------------------------------------------------------------------------- */

static bool rank_is_taken(int rank)
{
    for (abti_xstream *es = abti_global.xstreams; es; es = es->next) {
        if (es->rank == rank)
            return true;
    }
    return false;
}

/* A fresh ES in the list of all; rank ABT_XSTREAM_ANY_RANK: the smallest free one. */
static int alloc_xstream(int rank, abti_sched *sched, abti_xstream **newes)
{
    int err = ABT_SUCCESS;
    abti_bitlock_lock(&abti_global.xstreams_lock);
    abti_xstream *es = abti_global.unused_xstreams;
    if (es)
        abti_global.unused_xstreams = es->next;
    abti_bitlock_unlock(&abti_global.xstreams_lock, 0);
    if (!es) {
        es = calloc(1, sizeof *es);
        if (!es)
            return ABT_ERR_MEM;
        es->epoll_fd = es->sleeper.event_fd = -1;
        abti_store(&es->transport_fd, -1);
    }
    es->root.is_root = true;
    es->spin_ns = ABTI_MIN_SPIN_NS;
    es->wary_sleeps = 0;
    abti_store(&es->join_word, 0);
    abti_store(&es->attention, false);

    abti_bitlock_lock(&abti_global.xstreams_lock);
    if (rank == ABT_XSTREAM_ANY_RANK)
        for (rank = 0; rank_is_taken(rank);)
            rank++;
    else if (rank_is_taken(rank))
        err = ABT_ERR_INV_XSTREAM_RANK;
    es->rank = rank;
    es->main_sched = err ? NULL : sched;
    abti_xstream **list = err ? &abti_global.unused_xstreams : &abti_global.xstreams;
    es->next = *list;
    *list = es;
    abti_bitlock_unlock(&abti_global.xstreams_lock, 0);
    if (err)
        return err;
    atomic_fetch_add(&abti_global.num_xstreams, 1);
    *newes = es;
    return ABT_SUCCESS;
}

static void release_xstream(abti_xstream *es)
{
    abti_bitlock_lock(&abti_global.xstreams_lock);
    abti_xstream **place = &abti_global.xstreams;
    while (*place != es)
        place = &(*place)->next;
    *place = es->next;
    es->primary = false;
    es->main_sched = NULL;
    es->next = abti_global.unused_xstreams; /* from here on it may be somebody else's */
    abti_global.unused_xstreams = es;
    abti_bitlock_unlock(&abti_global.xstreams_lock, 0);
    atomic_fetch_sub(&abti_global.num_xstreams, 1);
}

void abti_xstreams_free_unused(void)
{
    assert(!abti_global.xstreams);
    while (abti_global.unused_xstreams) {
        abti_xstream *es = abti_global.unused_xstreams;
        abti_global.unused_xstreams = es->next;
        abti_sleep_close(es);
        free(es);
    }
}

/* Running ------------------------------------------------------------------------------------------ */

static void replace_sched(abti_xstream *es, abti_sched *next)
{
    abti_sched *old = es->main_sched;
    abti_sched_detach(old, es);
    abti_sched_attach(next, es);
    es->main_sched = next;
    abti_sched_adopt_leftovers(old, next, es);
    abti_sched_release(old);
}

static void root_loop(abti_xstream *es)
{
    for (;;) {
        abti_sched *sched = es->main_sched;
        abti_sched_own_pools(sched, es);
        es->root.sched = sched;
        if (sched->kind == ABTI_SCHED_USER)
            sched->def.run(sched);
        else
            abti_sched_run(sched);
        abti_sched *next = atomic_exchange(&es->next_sched, NULL);
        if (next)
            replace_sched(es, next);
        else if (abti_sched_has_to_stop(sched))
            return;
    }
}

/* The root context of the primary ES. */
void abti_primary_root(void)
{
    abti_xstream *es = abti_self();
    abti_root_begin();
    root_loop(es);
    abti_return_to_primary(es, es->finalizer);
}

static void adopt_os_stack(struct abti_fiber *fiber)
{
#if defined(ABTI_ASAN) || defined(ABTI_TSAN)
    pthread_attr_t attr;
    void *low = NULL;
    size_t size = 0;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &low, &size);
    pthread_attr_destroy(&attr);
    abti_fiber_adopt_thread(fiber, low, size);
#else
    (void)fiber;
#endif
}

static void announce_end(abti_xstream *es)
{
    abti_bitlock_lock(&es->join_word);
    struct abti_waiter *first = abti_waiters_take_all(&es->joiners);
    abti_bitlock_unlock(&es->join_word, ABTI_JOIN_TERMINATED);
    abti_wake_all(first);
}

/* The OS thread of a secondary ES. */
static void *secondary_main(void *arg)
{
    abti_xstream *es = arg;
    abti_current_xstream = es;
    es->current = &es->root;
    es->root.es = es;
    adopt_os_stack(&es->root.fiber);
    root_loop(es);
    abti_sched_detach(es->main_sched, es);
    abti_stacks_spill(es);
    abti_current_xstream = NULL;
    announce_end(es);
    return NULL;
}

static int start_thread(abti_xstream *es)
{
    pthread_attr_t attr;
    abti_sched_attach(es->main_sched, es);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, abti_global.settings.sched_stack_size);
    int err = pthread_create(&es->os_thread, &attr, secondary_main, es);
    pthread_attr_destroy(&attr);
    if (err) {
        abti_sched_detach(es->main_sched, es);
        return ABT_ERR_SYS;
    }
    es->has_os_thread = true;
    return ABT_SUCCESS;
}

static int create_xstream(abti_sched *sched, int rank, ABT_xstream *newxstream)
{
    abti_xstream *es = NULL;
    int err = alloc_xstream(rank, sched, &es);
    if (err)
        return err;
    err = start_thread(es);
    if (err) {
        release_xstream(es);
        return err;
    }
    *newxstream = es;
    return ABT_SUCCESS;
}

/* The given scheduler, claimed, or a new default one. */
static int obtain_sched(abti_sched *given, abti_sched **sched)
{
    *sched = given;
    if (given)
        return abti_sched_claim(given);
    int err = abti_sched_create_basic(ABT_SCHED_DEFAULT, 0, NULL, ABT_SCHED_CONFIG_NULL, sched);
    return err ? err : abti_sched_claim(*sched);
}

static void return_sched(abti_sched *given, abti_sched *sched)
{
    if (given)
        abti_store_release(&sched->used, false);
    else
        abti_sched_destroy(sched);
}

static int create_with_sched(abti_sched *given, int rank, ABT_xstream *newxstream)
{
    abti_sched *sched;
    *newxstream = ABT_XSTREAM_NULL;
    ABTI_CHECK(abti_load(&abti_global.initialized), ABT_ERR_UNINITIALIZED);
    int err = obtain_sched(given, &sched);
    if (err)
        return err;
    err = create_xstream(sched, rank, newxstream);
    if (err)
        return_sched(given, sched);
    return err;
}

int ABT_xstream_create(ABT_sched sched, ABT_xstream *newxstream)
{
    return create_with_sched(sched, ABT_XSTREAM_ANY_RANK, newxstream);
}

int ABT_xstream_create_with_rank(ABT_sched sched, int rank, ABT_xstream *newxstream)
{
    *newxstream = ABT_XSTREAM_NULL;
    ABTI_CHECK(rank >= 0, ABT_ERR_INV_XSTREAM_RANK);
    return create_with_sched(sched, rank, newxstream);
}

int ABT_xstream_create_basic(ABT_sched_predef predef, int num_pools, ABT_pool *pools, ABT_sched_config config,
                             ABT_xstream *newxstream)
{
    abti_sched *sched;
    *newxstream = ABT_XSTREAM_NULL;
    ABTI_CHECK(abti_load(&abti_global.initialized), ABT_ERR_UNINITIALIZED);
    int err = abti_sched_create_basic(predef, num_pools, pools, config, &sched);
    if (err)
        return err;
    err = ABT_xstream_create(sched, newxstream);
    if (err)
        abti_sched_destroy(sched);
    return err;
}

/* The primary ES and ULT: the calling thread becomes both. */
int abti_xstream_start_primary(void)
{
    abti_xstream *es;
    abti_sched *sched;
    int err = obtain_sched(NULL, &sched);
    if (err)
        return err;
    err = alloc_xstream(0, sched, &es);
    abti_thread *primary = abti_thread_alloc_bare();
    abti_thread *root_stack = abti_thread_alloc(NULL, abti_global.settings.sched_stack_size, NULL);
    assert(!err && primary && root_stack); /* nothing has been allocated yet: there is no sensible way on */

    es->primary = true;
    es->root_stack = root_stack;
    es->root.stack_low = root_stack->stack_low;
    es->root.stack_high = root_stack->stack_high;
    es->root.es = es;
    abti_fiber_create(&es->root.fiber, es->root.stack_low, (size_t)(es->root.stack_high - es->root.stack_low));
    es->root.sp = NULL; /* not started */
    es->os_thread = pthread_self();
    abti_sched_attach(sched, es);

    primary->named = primary->is_primary = true;
    primary->parent = &es->root;
    primary->es = es;
    abti_store(&primary->state, ABT_THREAD_STATE_RUNNING);
    adopt_os_stack(&primary->fiber);
    abti_unit_associate(primary, sched->pools[0]);
    es->current = primary;
    es->root.sched = sched;
    abti_sched_own_pools(sched, es);
    abti_global.primary = es;
    abti_current_xstream = es;
    return ABT_SUCCESS;
}

/* Called by the primary ULT: lets the scheduler finish, then takes everything down. */
void abti_xstream_stop_primary(void)
{
    abti_xstream *es = abti_self();
    abti_thread *primary = es->current;
    es->finalizer = primary;
    abti_sched_ask(es->main_sched, ABTI_SCHED_FINISH);
    abti_wait_for_root(es);
    assert(abti_self() == es);
    es->finalizer = NULL;
    abti_values_destroy(primary);
    abti_unit_dissociate(primary);
    abti_sched_detach(es->main_sched, es);
    abti_sched_release(es->main_sched);
    abti_stacks_spill(es);
    abti_fiber_destroy(&es->root.fiber);
    abti_thread_release(NULL, es->root_stack);
    abti_current_xstream = NULL;
    abti_global.primary = NULL;
    release_xstream(es);
    free(primary);
}

/* Ending --------------------------------------------------------------------------------------------- */

static void join_xstream(abti_xstream *es)
{
    if (is_terminated(es))
        return;
    abti_sched_ask(es->main_sched, ABTI_SCHED_FINISH);
    uint32_t bits = abti_bitlock_lock(&es->join_word);
    if (bits & ABTI_JOIN_TERMINATED)
        abti_bitlock_unlock(&es->join_word, bits);
    else
        abti_block(&es->joiners, &es->join_word, bits | ABTI_JOIN_WAITERS);
}

static void join_os_thread(abti_xstream *es)
{
    if (es->has_os_thread)
        pthread_join(es->os_thread, NULL); /* it is on its way out */
    es->has_os_thread = false;
}

int ABT_xstream_join(ABT_xstream xstream)
{
    ABTI_CHECK(xstream && !xstream->primary && xstream != abti_self(), ABT_ERR_INV_XSTREAM);
    join_xstream(xstream);
    return ABT_SUCCESS;
}

int ABT_xstream_free(ABT_xstream *xstream)
{
    ABTI_CHECK(xstream, ABT_ERR_INV_XSTREAM);
    int err = ABT_xstream_join(*xstream);
    if (err)
        return err;
    join_os_thread(*xstream);
    abti_sched_release((*xstream)->main_sched);
    release_xstream(*xstream);
    *xstream = ABT_XSTREAM_NULL;
    return ABT_SUCCESS;
}

int ABT_xstream_revive(ABT_xstream xstream)
{
    ABTI_CHECK(xstream && is_terminated(xstream), ABT_ERR_INV_XSTREAM);
    join_os_thread(xstream);
    abti_store(&xstream->join_word, 0);
    return start_thread(xstream);
}

int ABT_xstream_exit(void)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es && !es->primary, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(abti_can_switch(es), ABT_ERR_INV_THREAD);
    abti_sched_ask(es->main_sched, ABTI_SCHED_EXIT);
    abti_end(es, NULL);
}

int ABT_xstream_cancel(ABT_xstream xstream)
{
    ABTI_CHECK(xstream && !xstream->primary, ABT_ERR_INV_XSTREAM);
    if (!is_terminated(xstream))
        abti_sched_ask(xstream->main_sched, ABTI_SCHED_EXIT);
    return ABT_SUCCESS;
}

/* Schedulers ------------------------------------------------------------------------------------------- */

/* The caller's own ES: the caller waits in the first new pool until the root context has changed schedulers. */
static int replace_own_sched(abti_xstream *es, abti_sched *sched)
{
    abti_pool *pool = abti_load(&sched->num_pools) ? sched->pools[0] : NULL;
    ABTI_CHECK(abti_can_switch(es), ABT_ERR_INV_THREAD);
    ABTI_CHECK(pool, ABT_ERR_INV_SCHED);
    int err = abti_unit_associate(es->current, pool);
    if (err)
        return err;
    atomic_store(&es->next_sched, sched);
    abti_sched_ask(es->main_sched, ABTI_SCHED_REPLACE);
    abti_yield(es);
    return ABT_SUCCESS;
}

int ABT_xstream_set_main_sched(ABT_xstream xstream, ABT_sched given)
{
    abti_xstream *self = abti_self();
    abti_sched *sched;
    ABTI_CHECK(xstream && self, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(xstream == self || is_terminated(xstream), ABT_ERR_XSTREAM_STATE);
    int err = obtain_sched(given, &sched);
    if (err)
        return err;
    if (xstream == self) {
        err = replace_own_sched(self, sched);
        if (err)
            return_sched(given, sched);
    } else {
        abti_sched_release(xstream->main_sched);
        xstream->main_sched = sched;
    }
    return err;
}

int ABT_xstream_set_main_sched_basic(ABT_xstream xstream, ABT_sched_predef predef, int num_pools, ABT_pool *pools)
{
    abti_sched *sched;
    int err = abti_sched_create_basic(predef, num_pools, pools, ABT_SCHED_CONFIG_NULL, &sched);
    if (err)
        return err;
    err = ABT_xstream_set_main_sched(xstream, sched);
    if (err)
        abti_sched_destroy(sched);
    return err;
}

int dango_abt_xstream_add_pool(ABT_xstream xstream, ABT_pool pool)
{
    ABTI_CHECK(xstream, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(pool, ABT_ERR_INV_POOL);
    int err = abti_sched_add_pool(xstream->main_sched, pool);
    if (!err)
        abti_xstream_wake(xstream);
    return err;
}

int ABT_xstream_check_events(ABT_sched sched)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    ABTI_CHECK(es->current->sched == sched, ABT_ERR_INV_THREAD);
    atomic_exchange(&es->attention, false);
    return ABT_SUCCESS;
}

/* Getters ------------------------------------------------------------------------------------------------ */

int ABT_xstream_self(ABT_xstream *xstream)
{
    *xstream = abti_self();
    ABTI_CHECK(abti_load(&abti_global.initialized), ABT_ERR_UNINITIALIZED);
    return *xstream ? ABT_SUCCESS : ABT_ERR_INV_XSTREAM;
}

int ABT_xstream_self_rank(int *rank)
{
    abti_xstream *es = abti_self();
    ABTI_CHECK(abti_load(&abti_global.initialized), ABT_ERR_UNINITIALIZED);
    ABTI_CHECK(es, ABT_ERR_INV_XSTREAM);
    *rank = es->rank;
    return ABT_SUCCESS;
}

int ABT_xstream_set_rank(ABT_xstream xstream, int rank)
{
    ABTI_CHECK(xstream && !xstream->primary, ABT_ERR_INV_XSTREAM);
    ABTI_CHECK(rank >= 0, ABT_ERR_INV_XSTREAM_RANK);
    abti_bitlock_lock(&abti_global.xstreams_lock);
    bool free_rank = xstream->rank == rank || !rank_is_taken(rank);
    if (free_rank)
        xstream->rank = rank;
    abti_bitlock_unlock(&abti_global.xstreams_lock, 0);
    return free_rank ? ABT_SUCCESS : ABT_ERR_INV_XSTREAM_RANK;
}

int ABT_xstream_get_rank(ABT_xstream xstream, int *rank)
{
    ABTI_CHECK(xstream, ABT_ERR_INV_XSTREAM);
    *rank = xstream->rank;
    return ABT_SUCCESS;
}

int ABT_xstream_get_main_sched(ABT_xstream xstream, ABT_sched *sched)
{
    *sched = ABT_SCHED_NULL;
    ABTI_CHECK(xstream, ABT_ERR_INV_XSTREAM);
    *sched = xstream->main_sched;
    return ABT_SUCCESS;
}

int ABT_xstream_get_main_pools(ABT_xstream xstream, int max_pools, ABT_pool *pools)
{
    ABTI_CHECK(xstream, ABT_ERR_INV_XSTREAM);
    abti_sched *sched = xstream->main_sched;
    int num_pools = abti_load_acquire(&sched->num_pools);
    for (int i = 0; i < max_pools && i < num_pools; i++)
        pools[i] = sched->pools[i];
    return ABT_SUCCESS;
}

int ABT_xstream_get_state(ABT_xstream xstream, ABT_xstream_state *state)
{
    ABTI_CHECK(xstream, ABT_ERR_INV_XSTREAM);
    *state = is_terminated(xstream) ? ABT_XSTREAM_STATE_TERMINATED : ABT_XSTREAM_STATE_RUNNING;
    return ABT_SUCCESS;
}

int ABT_xstream_equal(ABT_xstream xstream1, ABT_xstream xstream2, ABT_bool *result)
{
    *result = xstream1 == xstream2;
    return ABT_SUCCESS;
}

int ABT_xstream_get_num(int *num_xstreams)
{
    *num_xstreams = 0;
    ABTI_CHECK(abti_load(&abti_global.initialized), ABT_ERR_UNINITIALIZED);
    *num_xstreams = abti_load(&abti_global.num_xstreams);
    return ABT_SUCCESS;
}

int ABT_xstream_is_primary(ABT_xstream xstream, ABT_bool *is_primary)
{
    *is_primary = ABT_FALSE;
    ABTI_CHECK(xstream, ABT_ERR_INV_XSTREAM);
    *is_primary = xstream->primary;
    return ABT_SUCCESS;
}
