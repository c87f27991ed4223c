/*
 * Buffers into which batches are received before they are written: registered memory, in classes of sizes.
 *
 * A request takes the smallest class that fits. A class grows when it is empty, and keeps buffers that nobody uses: a
 * limited number, and more as long as little of their memory was ever touched. What fits no class gets memory of its own
 * for once. Untouched pages of a large buffer take no memory.
 *
 * Thread-safe; waits for nothing but a mutex and mmap.
 */
#ifndef DANGO_MOFKA_BUFFERS_H
#define DANGO_MOFKA_BUFFERS_H

#include "mofka/partition/options.h"
#include "mofka/partition/region.h"

struct mofka_buffers;

struct mofka_buffer {
    struct mofka_region region;
    size_t size;
    size_t used;        /* most bytes ever asked for: what of it takes memory */
    size_t class_index; /* SIZE_MAX: of no class */
    struct mofka_buffer *next;
};

/* The classes of all given pools; their buffers are allocated as the pools demand. */
int mofka_buffers_create(const struct mofka_pool_options *const *pools, size_t pool_count,
                         const struct mofka_registrar *registrar, struct mofka_buffers **buffers,
                         struct dango_error *err);
/* All must have been put back. */
void mofka_buffers_destroy(struct mofka_buffers *buffers);

/* A buffer of at least `size` bytes with any content, or NULL. */
struct mofka_buffer *mofka_buffers_get(struct mofka_buffers *buffers, size_t size, struct dango_error *err);
void mofka_buffers_put(struct mofka_buffers *buffers, struct mofka_buffer *buffer);

#endif
