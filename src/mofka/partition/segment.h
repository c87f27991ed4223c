/*
 * A segment: one stretch of memory that holds frames one after the other, only ever appended to.
 *
 * Three borders move through it, in this order:
 *
 *     0 ≤ committed ≤ reserved ≤ capacity
 *
 * Up to `committed` there are whole frames that never change again: readers go there without a lock. Between it and
 * `reserved` batches are being received. When the next batch does not fit, the segment is closed: `end` becomes
 * `reserved`, and what follows is in `next`.
 *
 * Writers hold the partition's lock. Readers load `committed`, `end` and `next` with the functions below.
 */
#ifndef DANGO_MOFKA_SEGMENT_H
#define DANGO_MOFKA_SEGMENT_H

#include "mofka/partition/region.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mofka_segment {
    struct mofka_region region;
    size_t capacity;
    size_t reserved;
    atomic_size_t committed;
    atomic_size_t end; /* SIZE_MAX while open */
    _Atomic(struct mofka_segment *) next;
};

/* As mofka_region_map. */
int mofka_segment_create(size_t size, bool huge, const struct mofka_registrar *registrar,
                         struct mofka_segment **segment, struct dango_error *err);
void mofka_segment_destroy(struct mofka_segment *segment, const struct mofka_registrar *registrar);

/* No more frames are added; `next` is where they go. */
static inline void mofka_segment_close(struct mofka_segment *segment, struct mofka_segment *next)
{
    assert(atomic_load_explicit(&segment->end, memory_order_relaxed) == SIZE_MAX);
    atomic_store_explicit(&segment->next, next, memory_order_relaxed);
    atomic_store_explicit(&segment->end, segment->reserved, memory_order_release);
}

/* Moves a reader that stands at *offset of *segment to where the next frame is or will be; whether it is there. */
static inline bool mofka_segment_advance(struct mofka_segment **segment, size_t *offset)
{
    while (*offset == atomic_load_explicit(&(*segment)->committed, memory_order_acquire)) {
        if (*offset != atomic_load_explicit(&(*segment)->end, memory_order_acquire))
            return false;
        *segment = atomic_load_explicit(&(*segment)->next, memory_order_relaxed);
        *offset = 0;
    }
    return true;
}

#endif
