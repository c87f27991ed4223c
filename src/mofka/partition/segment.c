/*
 * Creation and end of segments.
 */
#include "mofka/partition/segment.h"

#include <stdlib.h>

int mofka_segment_create(size_t size, bool huge, const struct mofka_registrar *registrar,
                         struct mofka_segment **segment, struct dango_error *err)
{
    struct mofka_segment *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int code = mofka_region_map(&new->region, size, huge, registrar, err);
    if (code != 0) {
        free(new);
        return code;
    }
    new->capacity = size;
    atomic_init(&new->committed, 0);
    atomic_init(&new->end, SIZE_MAX);
    atomic_init(&new->next, NULL);
    *segment = new;
    return 0;
}

void mofka_segment_destroy(struct mofka_segment *segment, const struct mofka_registrar *registrar)
{
    if (!segment)
        return;
    mofka_region_unmap(&segment->region, segment->capacity, registrar);
    free(segment);
}
