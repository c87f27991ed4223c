/*
 * Schedulers: creation, destruction, what they are asked to do, what they serve.
 *
 * A scheduler refers to its pools from creation to destruction (abti_pool_ref: keeps automatic pools alive), and
 * serves them while it runs on an ES or in a pool (abti_pool_attach: counts in "only scheduler of the pool").
 * Pools can be added while it runs; the number is stored after the entry, and the array never moves.
 */
#include <stdlib.h>
#include <string.h>

#include "argobots/queue.h"
#include "argobots/sched_config.h"

static int alloc_sched(int num_pools, abti_sched **newsched)
{
    size_t capacity = (size_t)num_pools + DANGO_ABT_MAX_POOLS;
    abti_sched *sched = calloc(1, sizeof *sched);
    if (!sched)
        return ABT_ERR_MEM;
    sched->capacity = (int)capacity;
    sched->pools = calloc(capacity, sizeof *sched->pools);
    sched->serve = calloc(capacity, sizeof *sched->serve);
    sched->links = calloc(capacity, sizeof *sched->links);
    sched->random = (uint32_t)(uintptr_t)sched | 1u;
    if (!sched->pools || !sched->serve || !sched->links) {
        abti_sched_destroy(sched);
        return ABT_ERR_MEM;
    }
    *newsched = sched;
    return ABT_SUCCESS;
}

static int append_pool(abti_sched *sched, abti_pool *pool)
{
    int n = abti_load(&sched->num_pools);
    if (n == sched->capacity)
        return ABT_ERR_SCHED;
    abti_pool_ref(pool);
    sched->pools[n] = pool;
    sched->serve[n] = pool;
    abti_store_release(&sched->num_pools, n + 1);
    return ABT_SUCCESS;
}

/* pools == NULL or an entry == NULL: a new automatic pool. */
static int fill_pools(abti_sched *sched, int num_pools, ABT_pool *pools, ABT_pool_kind kind, ABT_pool_access access)
{
    for (int i = 0; i < num_pools; i++) {
        abti_pool *pool = pools ? pools[i] : NULL;
        bool made = !pool;
        int err = made ? abti_pool_create_fifo(kind, access, true, &pool) : ABT_SUCCESS;
        if (!err)
            err = append_pool(sched, pool);
        if (err && made && pool)
            abti_pool_destroy(pool);
        if (err)
            return err;
    }
    return ABT_SUCCESS;
}

static int access_rank(abti_pool *pool)
{
    switch (pool->access) {
    case ABT_POOL_ACCESS_PRIV:
        return 0;
    case ABT_POOL_ACCESS_SPSC:
    case ABT_POOL_ACCESS_MPSC:
        return 1;
    default:
        return 2;
    }
}

/* Stable, by access: what only this ES may serve comes first. */
static void sort_by_access(abti_sched *sched)
{
    for (int i = 1; i < abti_load(&sched->num_pools); i++) {
        abti_pool *pool = sched->serve[i];
        int j = i;
        for (; j > 0 && access_rank(sched->serve[j - 1]) > access_rank(pool); j--)
            sched->serve[j] = sched->serve[j - 1];
        sched->serve[j] = pool;
    }
}

static void apply_config(abti_sched *sched, ABT_sched_config config)
{
    int value;
    if (abti_sched_config_int(config, ABT_sched_config_automatic.idx, &value))
        sched->automatic = value != 0;
}

int abti_sched_create_basic(ABT_sched_predef predef, int num_pools, ABT_pool *pools, ABT_sched_config config,
                            abti_sched **newsched)
{
    *newsched = NULL;
    ABTI_CHECK(predef >= ABT_SCHED_DEFAULT && predef <= ABT_SCHED_BASIC_WAIT, ABT_ERR_INV_SCHED_PREDEF);
    ABTI_CHECK(!pools || num_pools >= 0, ABT_ERR_INV_ARG);
    ABT_pool_kind kind = !pools && predef == ABT_SCHED_BASIC_WAIT ? ABT_POOL_FIFO_WAIT : ABT_POOL_FIFO;
    abti_sched *sched;
    if (!pools)
        num_pools = predef == ABT_SCHED_PRIO ? 3 : 1;
    int err = alloc_sched(num_pools, &sched);
    if (err)
        return err;
    sched->kind = predef == ABT_SCHED_RANDWS ? ABTI_SCHED_STEALING : ABTI_SCHED_ORDERED;
    sched->predef = predef;
    sched->automatic = true;
    err = fill_pools(sched, num_pools, pools, kind, ABT_POOL_ACCESS_MPMC);
    if (err) {
        abti_sched_destroy(sched);
        return err;
    }
    if (predef != ABT_SCHED_PRIO && predef != ABT_SCHED_RANDWS)
        sort_by_access(sched);
    apply_config(sched, config);
    *newsched = sched;
    return ABT_SUCCESS;
}

int ABT_sched_create_basic(ABT_sched_predef predef, int num_pools, ABT_pool *pools, ABT_sched_config config,
                           ABT_sched *newsched)
{
    return abti_sched_create_basic(predef, num_pools, pools, config, newsched);
}

int ABT_sched_create(ABT_sched_def *def, int num_pools, ABT_pool *pools, ABT_sched_config config, ABT_sched *newsched)
{
    abti_sched *sched;
    *newsched = ABT_SCHED_NULL;
    ABTI_CHECK(def && def->run && num_pools >= 0, ABT_ERR_INV_ARG);
    int err = alloc_sched(num_pools, &sched);
    if (err)
        return err;
    sched->kind = ABTI_SCHED_USER;
    err = fill_pools(sched, num_pools, pools, ABT_POOL_FIFO, ABT_POOL_ACCESS_MPSC);
    apply_config(sched, config);
    if (!err && def->init)
        err = def->init(sched, config);
    if (err) {
        abti_sched_destroy(sched);
        return err;
    }
    sched->def = *def;
    *newsched = sched;
    return ABT_SUCCESS;
}

void abti_sched_destroy(abti_sched *sched)
{
    if (sched->def.free)
        sched->def.free(sched);
    for (int i = 0; i < abti_load(&sched->num_pools); i++)
        abti_pool_unref(sched->pools[i]);
    free(sched->pools);
    free(sched->serve);
    free(sched->links);
    free(sched);
}

/* Its ES or pool does not need it any more. */
void abti_sched_release(abti_sched *sched)
{
    if (sched->automatic)
        abti_sched_destroy(sched);
    else
        abti_store_release(&sched->used, false);
}

int ABT_sched_free(ABT_sched *sched)
{
    ABTI_CHECK(sched && *sched, ABT_ERR_INV_SCHED);
    ABTI_CHECK(!abti_load_acquire(&(*sched)->used), ABT_ERR_SCHED);
    abti_sched_destroy(*sched);
    *sched = ABT_SCHED_NULL;
    return ABT_SUCCESS;
}

/* A scheduler has one place: the first who wants it gets it. */
int abti_sched_claim(abti_sched *sched)
{
    bool unused = false;
    return atomic_compare_exchange_strong(&sched->used, &unused, true) ? ABT_SUCCESS : ABT_ERR_INV_SCHED;
}

/* Begins to serve its pools, for `es` (NULL: as a unit in a pool). Any thread. */
void abti_sched_attach(abti_sched *sched, abti_xstream *es)
{
    abti_store_release(&sched->es, es);
    abti_store(&sched->request, 0);
    for (int i = 0; i < abti_load(&sched->num_pools); i++) {
        sched->links[i] = (struct abti_sleep_link){.sleeper = es ? &es->sleeper : NULL};
        abti_pool_attach(sched->pools[i]);
    }
}

void abti_sched_detach(abti_sched *sched, abti_xstream *es)
{
    for (int i = 0; i < abti_load(&sched->num_pools); i++)
        abti_pool_detach(sched->pools[i], es);
    abti_store_release(&sched->es, NULL);
}

/* The ES, running on its own thread, becomes the owner of the queues that nobody else serves. */
void abti_sched_own_pools(abti_sched *sched, abti_xstream *es)
{
    for (int i = 0; i < abti_load_acquire(&sched->num_pools); i++) {
        abti_pool *pool = sched->pools[i];
        if (!pool->ops && abti_load(&pool->num_scheds) == 1)
            abti_queue_set_owner(&pool->queue, es);
    }
}

int abti_sched_add_pool(abti_sched *sched, abti_pool *pool)
{
    int n = abti_load(&sched->num_pools);
    ABTI_CHECK(sched->kind != ABTI_SCHED_USER, ABT_ERR_SCHED);
    for (int i = 0; i < n; i++)
        ABTI_CHECK(sched->pools[i] != pool, ABT_ERR_INV_ARG);
    ABTI_CHECK(n < sched->capacity, ABT_ERR_SCHED);
    abti_xstream *es = abti_load_acquire(&sched->es);
    if (es) {
        sched->links[n] = (struct abti_sleep_link){.sleeper = &es->sleeper};
        abti_pool_attach(pool);
    }
    return append_pool(sched, pool);
}

/*
 * `sched` has replaced `old`, which is about to be released on its ES. Automatic pools that would go with it must not
 * take units with them: READY ones move to the first new pool, and a pool with blocked ones is served from now on by
 * the new scheduler.
 */
void abti_sched_adopt_leftovers(abti_sched *old, abti_sched *sched, abti_xstream *es)
{
    if (!old->automatic || abti_load(&sched->num_pools) == 0)
        return;
    for (int i = 0; i < abti_load(&old->num_pools); i++) {
        abti_pool *pool = old->pools[i];
        abti_thread *thread;
        if (!pool->automatic || abti_load(&pool->num_refs) > 1)
            continue;
        if (abti_pool_num_blocked(pool) > 0 && sched->kind != ABTI_SCHED_USER) {
            abti_sched_add_pool(sched, pool);
            continue;
        }
        while ((thread = abti_pool_pop(es, pool, ABT_POOL_CONTEXT_OP_POOL_OTHER))) {
            abti_unit_associate(thread, sched->pools[0]);
            abti_pool_push(es, sched->pools[0], thread, ABT_POOL_CONTEXT_OP_THREAD_MIGRATE, false);
        }
    }
}

/* What a scheduler has left to do ------------------------------------------------------------------ */

bool abti_sched_has_ready(abti_sched *sched)
{
    int n = abti_load_acquire(&sched->num_pools);
    for (int i = 0; i < n; i++) {
        if (!abti_pool_is_empty(sched->serve[i]))
            return true;
    }
    return false;
}

/* READY units, or blocked ones that nobody else would run. */
static bool has_units(abti_sched *sched)
{
    for (int i = 0; i < abti_load_acquire(&sched->num_pools); i++) {
        abti_pool *pool = sched->pools[i];
        bool only_we = pool->access == ABT_POOL_ACCESS_PRIV || abti_load(&pool->num_scheds) <= 1;
        long blocked = abti_pool_num_blocked(pool); /* first: a unit that wakes up is pushed, then uncounted */
        if (!abti_pool_is_empty(pool) || (only_we && blocked > 0))
            return true;
    }
    return false;
}

bool abti_sched_has_to_stop(abti_sched *sched)
{
    uint32_t request = abti_load_acquire(&sched->request);
    if (request & (ABTI_SCHED_EXIT | ABTI_SCHED_REPLACE))
        return true;
    return ((request & ABTI_SCHED_FINISH) || sched->stacked) && !has_units(sched);
}

void abti_sched_ask(abti_sched *sched, uint32_t request)
{
    atomic_fetch_or(&sched->request, request);
    abti_xstream *es = abti_load_acquire(&sched->es);
    if (es) /* it may be ending: an unneeded wake-up does no harm */
        abti_xstream_wake(es);
}

int ABT_sched_get_num_pools(ABT_sched sched, int *num_pools)
{
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    *num_pools = abti_load_acquire(&sched->num_pools);
    return ABT_SUCCESS;
}

int ABT_sched_get_pools(ABT_sched sched, int max_pools, int idx, ABT_pool *pools)
{
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    ABTI_CHECK(max_pools >= 0 && idx >= 0, ABT_ERR_INV_ARG);
    ABTI_CHECK(idx + max_pools <= abti_load_acquire(&sched->num_pools), ABT_ERR_SCHED);
    if (max_pools)
        memcpy(pools, &sched->pools[idx], (size_t)max_pools * sizeof *pools);
    return ABT_SUCCESS;
}

int ABT_sched_finish(ABT_sched sched)
{
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    abti_sched_ask(sched, ABTI_SCHED_FINISH);
    return ABT_SUCCESS;
}

int ABT_sched_exit(ABT_sched sched)
{
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    abti_sched_ask(sched, ABTI_SCHED_EXIT);
    return ABT_SUCCESS;
}

int ABT_sched_has_to_stop(ABT_sched sched, ABT_bool *stop)
{
    *stop = ABT_FALSE;
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    ABTI_CHECK(abti_self(), ABT_ERR_INV_XSTREAM);
    *stop = abti_sched_has_to_stop(sched);
    return ABT_SUCCESS;
}

int ABT_sched_set_data(ABT_sched sched, void *data)
{
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    sched->data = data;
    return ABT_SUCCESS;
}

int ABT_sched_get_data(ABT_sched sched, void **data)
{
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    *data = sched->data;
    return ABT_SUCCESS;
}

int ABT_sched_get_size(ABT_sched sched, size_t *size)
{
    *size = 0;
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    for (int i = 0; i < abti_load_acquire(&sched->num_pools); i++)
        *size += abti_pool_size(sched->pools[i]);
    return ABT_SUCCESS;
}

int ABT_sched_get_total_size(ABT_sched sched, size_t *size)
{
    *size = 0;
    ABTI_CHECK(sched, ABT_ERR_INV_SCHED);
    for (int i = 0; i < abti_load_acquire(&sched->num_pools); i++)
        *size += abti_pool_size(sched->pools[i]) + (size_t)abti_pool_num_blocked(sched->pools[i]);
    return ABT_SUCCESS;
}
