/* margo-bulk-pool.h - pools of buffers that are registered once and used for many transfers.
 *
 * A pool holds `count` buffers of one size; a pool set holds pools of growing sizes. Buffers are allocated and
 * registered at creation; each is a bulk handle of the pool's size, of which users transfer a part. A buffer taken is
 * given back with the release function of the same pool or set, not freed.
 *
 * All functions return 0, or -1 (NULL argument, unknown buffer, out of memory). `get` blocks the calling ULT or thread
 * until a buffer is free; the others do not block. Thread-safe, except that nobody may use what is being destroyed.
 */
#ifndef MARGO_BULK_POOL_H
#define MARGO_BULK_POOL_H

#include <margo.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct margo_bulk_pool *margo_bulk_pool_t;
typedef struct margo_bulk_poolset *margo_bulk_poolset_t;
#define MARGO_BULK_POOL_NULL    ((margo_bulk_pool_t)NULL)
#define MARGO_BULK_POOLSET_NULL ((margo_bulk_poolset_t)NULL)

/* `flag` is one of HG_BULK_READ_ONLY, HG_BULK_WRITE_ONLY, HG_BULK_READWRITE. */
int margo_bulk_pool_create(margo_instance_id mid, hg_size_t count, hg_size_t size, hg_uint8_t flag,
                           margo_bulk_pool_t *pool);
/* Every buffer must have been released. */
int margo_bulk_pool_destroy(margo_bulk_pool_t pool);
int margo_bulk_pool_get(margo_bulk_pool_t pool, hg_bulk_t *bulk);
/* HG_BULK_NULL (and 0) when all buffers are taken. */
int margo_bulk_pool_tryget(margo_bulk_pool_t pool, hg_bulk_t *bulk);
int margo_bulk_pool_release(margo_bulk_pool_t pool, hg_bulk_t bulk);

/* `npools` pools of `nbufs` buffers; those of pool i have first_size * size_multiple^i bytes. size_multiple >= 2. */
int margo_bulk_poolset_create(margo_instance_id mid, hg_size_t npools, hg_size_t nbufs, hg_size_t first_size,
                              hg_size_t size_multiple, hg_uint8_t flag, margo_bulk_poolset_t *poolset);
int margo_bulk_poolset_destroy(margo_bulk_poolset_t poolset);
/* Size in bytes of the largest buffers. */
int margo_bulk_poolset_get_max(margo_bulk_poolset_t poolset, hg_size_t *max);
/* A buffer of the smallest pool that fits `size` bytes; -1 if none is large enough. */
int margo_bulk_poolset_get(margo_bulk_poolset_t poolset, hg_size_t size, hg_bulk_t *bulk);
/* The same without waiting; with `any_flag` a larger buffer will do. HG_BULK_NULL (and 0) when none is free. */
int margo_bulk_poolset_tryget(margo_bulk_poolset_t poolset, hg_size_t size, hg_bool_t any_flag, hg_bulk_t *bulk);
int margo_bulk_poolset_release(margo_bulk_poolset_t poolset, hg_bulk_t bulk);

#ifdef __cplusplus
}
#endif

#endif
