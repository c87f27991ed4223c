/*
 * Lists of segments of a region, (offset, size) each, as two parallel arrays: the form in which callers give them, so
 * that requests are encoded without an intermediate copy. Pure functions.
 */
#ifndef DANGO_WARABI_SEGMENTS_H
#define DANGO_WARABI_SEGMENTS_H

#include <dango/error.h>

#include <stddef.h>
#include <stdint.h>

/* Segments that one request may have. */
#define WB_SEGMENTS_MAX 65536u

struct wb_segments {
    size_t count;
    const size_t *offsets; /* of `count` bytes positions in the region */
    const size_t *sizes;   /* bytes; 0 is allowed */
};

/* Sum of the sizes. DANGO_ERR_RANGE when it does not fit, DANGO_ERR_INVALID when there are too many segments. */
int wb_segments_total(const struct wb_segments *segments, uint64_t *total, struct dango_error *err);

/* The same, and every segment must lie inside a region of `region_size` bytes. */
int wb_segments_check(const struct wb_segments *segments, uint64_t region_size, uint64_t *total,
                      struct dango_error *err);

#endif
