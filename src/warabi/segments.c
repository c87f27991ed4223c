/*
 * Checks of segment lists: see segments.h. Nothing is added before it is known to fit.
 */
#include "warabi/segments.h"

#include <assert.h>

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "segments travel as arrays of size_t");

int wb_segments_total(const struct wb_segments *segments, uint64_t *total, struct dango_error *err)
{
    assert(segments && total);
    if (segments->count > WB_SEGMENTS_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "%zu segments in one request, at most %u are allowed",
                               segments->count, WB_SEGMENTS_MAX);
    *total = 0;
    for (size_t i = 0; i < segments->count; i++) {
        if (__builtin_add_overflow(*total, segments->sizes[i], total))
            return dango_error_set(err, DANGO_ERR_RANGE, "the sizes of the segments add up to more than 64 bits");
    }
    return 0;
}

int wb_segments_check(const struct wb_segments *segments, uint64_t region_size, uint64_t *total,
                      struct dango_error *err)
{
    int status = wb_segments_total(segments, total, err);
    for (size_t i = 0; status == 0 && i < segments->count; i++) {
        size_t offset = segments->offsets[i], size = segments->sizes[i];
        if (offset > region_size || size > region_size - offset)
            status = dango_error_set(err, DANGO_ERR_RANGE,
                                     "out of bounds: segment %zu, %zu bytes at offset %zu, in a region of %llu bytes",
                                     i, size, offset, (unsigned long long)region_size);
    }
    return status;
}
