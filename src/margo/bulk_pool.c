/*
 * Pools of registered buffers. All buffers of a pool are one allocation, cut into pieces of equal size, so that a
 * buffer's place follows from its address. Free ones form a stack of bulk handles.
 */
#include "margo/instance.h"

#include <margo-bulk-pool.h>

#include <assert.h>
#include <stdlib.h>

#define POOLS_MAX 64

struct margo_bulk_pool {
    ABT_mutex_memory mutex;
    ABT_cond_memory released;
    char *memory;
    hg_size_t count; /* buffers */
    hg_size_t size;  /* bytes of each */
    hg_size_t num_bulks;
    hg_bulk_t *bulks; /* by place */
    hg_size_t num_free;
    hg_size_t *free; /* places; the last freed is the first used */
    bool *taken;     /* by place */
};

struct margo_bulk_poolset {
    hg_size_t num_pools;
    margo_bulk_pool_t pools[POOLS_MAX]; /* growing sizes */
};

static ABT_mutex mutex_of(margo_bulk_pool_t pool)
{
    return ABT_MUTEX_MEMORY_GET_HANDLE(&pool->mutex);
}

/* ---- one pool ---- */

static int register_buffers(margo_bulk_pool_t pool, margo_instance_id mid, hg_uint8_t flag)
{
    for (hg_size_t i = 0; i < pool->count; i++) {
        void *buffer = pool->memory + i * pool->size;
        if (margo_bulk_create(mid, 1, &buffer, &pool->size, flag, &pool->bulks[i]) != HG_SUCCESS)
            return -1;
        pool->num_bulks++;
        pool->free[pool->num_free++] = i;
    }
    return 0;
}

static void free_pool(margo_bulk_pool_t pool)
{
    for (hg_size_t i = 0; i < pool->num_bulks; i++)
        margo_bulk_free(pool->bulks[i]);
    free(pool->bulks);
    free(pool->free);
    free(pool->taken);
    free(pool->memory);
    free(pool);
}

int margo_bulk_pool_create(margo_instance_id mid, hg_size_t count, hg_size_t size, hg_uint8_t flag,
                           margo_bulk_pool_t *pool)
{
    hg_size_t total;
    if (!mid || !pool || count == 0 || size == 0 || __builtin_mul_overflow(count, size, &total))
        return -1;
    margo_bulk_pool_t p = calloc(1, sizeof *p);
    if (!p)
        return -1;
    p->count = count;
    p->size = size;
    p->memory = calloc(1, total);
    p->bulks = calloc(count, sizeof *p->bulks);
    p->free = calloc(count, sizeof *p->free);
    p->taken = calloc(count, sizeof *p->taken);
    if (!p->memory || !p->bulks || !p->free || !p->taken || register_buffers(p, mid, flag) != 0) {
        free_pool(p);
        return -1;
    }
    *pool = p;
    return 0;
}

int margo_bulk_pool_destroy(margo_bulk_pool_t pool)
{
    if (!pool)
        return -1;
    ABT_mutex_lock(mutex_of(pool));
    bool all_back = pool->num_free == pool->count;
    ABT_mutex_unlock(mutex_of(pool));
    if (!all_back)
        return -1;
    free_pool(pool);
    return 0;
}

/* With the mutex: a buffer, if there is one. */
static hg_bulk_t take(margo_bulk_pool_t pool)
{
    if (pool->num_free == 0)
        return HG_BULK_NULL;
    hg_size_t place = pool->free[--pool->num_free];
    pool->taken[place] = true;
    return pool->bulks[place];
}

int margo_bulk_pool_get(margo_bulk_pool_t pool, hg_bulk_t *bulk)
{
    if (!pool || !bulk)
        return -1;
    ABT_mutex_lock(mutex_of(pool));
    while ((*bulk = take(pool)) == HG_BULK_NULL)
        ABT_cond_wait(ABT_COND_MEMORY_GET_HANDLE(&pool->released), mutex_of(pool));
    ABT_mutex_unlock(mutex_of(pool));
    return 0;
}

int margo_bulk_pool_tryget(margo_bulk_pool_t pool, hg_bulk_t *bulk)
{
    if (!pool || !bulk)
        return -1;
    ABT_mutex_lock(mutex_of(pool));
    *bulk = take(pool);
    ABT_mutex_unlock(mutex_of(pool));
    return 0;
}

/* Place of a bulk handle that is a buffer of this pool; -1 if it is not. */
static int64_t place_of(margo_bulk_pool_t pool, hg_bulk_t bulk)
{
    void *address = NULL;
    hg_size_t length = 0;
    hg_uint32_t pieces = 0;
    if (!bulk || margo_bulk_get_size(bulk) != pool->size)
        return -1;
    if (margo_bulk_access(bulk, 0, pool->size, HG_BULK_READWRITE, 1, &address, &length, &pieces) != HG_SUCCESS)
        return -1;
    char *start = address;
    if (pieces != 1 || start < pool->memory || start >= pool->memory + pool->count * pool->size)
        return -1;
    hg_size_t place = (hg_size_t)(start - pool->memory) / pool->size;
    return pool->bulks[place] == bulk ? (int64_t)place : -1;
}

int margo_bulk_pool_release(margo_bulk_pool_t pool, hg_bulk_t bulk)
{
    int64_t place = pool ? place_of(pool, bulk) : -1;
    if (place < 0)
        return -1;
    ABT_mutex_lock(mutex_of(pool));
    bool taken = pool->taken[place];
    if (taken) {
        pool->taken[place] = false;
        pool->free[pool->num_free++] = (hg_size_t)place;
        ABT_cond_signal(ABT_COND_MEMORY_GET_HANDLE(&pool->released));
    }
    ABT_mutex_unlock(mutex_of(pool));
    return taken ? 0 : -1;
}

/* ---- pools of growing sizes ---- */

int margo_bulk_poolset_create(margo_instance_id mid, hg_size_t npools, hg_size_t nbufs, hg_size_t first_size,
                              hg_size_t size_multiple, hg_uint8_t flag, margo_bulk_poolset_t *poolset)
{
    if (!mid || !poolset || npools == 0 || npools > POOLS_MAX || (npools > 1 && size_multiple < 2))
        return -1;
    hg_size_t size = first_size;
    for (hg_size_t i = 1; i < npools; i++) {
        if (__builtin_mul_overflow(size, size_multiple, &size))
            return -1;
    }
    margo_bulk_poolset_t set = calloc(1, sizeof *set);
    if (!set)
        return -1;
    for (size = first_size; set->num_pools < npools; size *= size_multiple, set->num_pools++) {
        if (margo_bulk_pool_create(mid, nbufs, size, flag, &set->pools[set->num_pools]) != 0)
            break;
    }
    if (set->num_pools < npools) {
        margo_bulk_poolset_destroy(set);
        return -1;
    }
    *poolset = set;
    return 0;
}

int margo_bulk_poolset_destroy(margo_bulk_poolset_t poolset)
{
    if (!poolset)
        return -1;
    int status = 0;
    for (hg_size_t i = 0; i < POOLS_MAX; i++) {
        if (poolset->pools[i] && margo_bulk_pool_destroy(poolset->pools[i]) == 0)
            poolset->pools[i] = MARGO_BULK_POOL_NULL;
        else if (poolset->pools[i])
            status = -1;
    }
    if (status == 0)
        free(poolset);
    return status;
}

int margo_bulk_poolset_get_max(margo_bulk_poolset_t poolset, hg_size_t *max)
{
    if (!poolset || !max)
        return -1;
    *max = poolset->pools[poolset->num_pools - 1]->size;
    return 0;
}

/* First pool whose buffers hold `size` bytes; num_pools if there is none. */
static hg_size_t smallest_fit(margo_bulk_poolset_t poolset, hg_size_t size)
{
    hg_size_t i = 0;
    while (i < poolset->num_pools && poolset->pools[i]->size < size)
        i++;
    return i;
}

int margo_bulk_poolset_get(margo_bulk_poolset_t poolset, hg_size_t size, hg_bulk_t *bulk)
{
    if (!poolset || !bulk)
        return -1;
    hg_size_t i = smallest_fit(poolset, size);
    return i < poolset->num_pools ? margo_bulk_pool_get(poolset->pools[i], bulk) : -1;
}

int margo_bulk_poolset_tryget(margo_bulk_poolset_t poolset, hg_size_t size, hg_bool_t any_flag, hg_bulk_t *bulk)
{
    if (!poolset || !bulk)
        return -1;
    hg_size_t i = smallest_fit(poolset, size);
    if (i == poolset->num_pools)
        return -1;
    int status = margo_bulk_pool_tryget(poolset->pools[i], bulk);
    for (i++; any_flag && status == 0 && *bulk == HG_BULK_NULL && i < poolset->num_pools; i++)
        status = margo_bulk_pool_tryget(poolset->pools[i], bulk);
    return status;
}

int margo_bulk_poolset_release(margo_bulk_poolset_t poolset, hg_bulk_t bulk)
{
    if (!poolset || !bulk)
        return -1;
    hg_size_t i = smallest_fit(poolset, margo_bulk_get_size(bulk));
    return i < poolset->num_pools ? margo_bulk_pool_release(poolset->pools[i], bulk) : -1;
}
