/*
 * Inside of a data selection, for the consumer, which uses one object again and again for event after event.
 */
#ifndef DANGO_DIASPORA_SELECTION_H
#define DANGO_DIASPORA_SELECTION_H

#include <diaspora/diaspora.h>

struct dsp_range_list {
    diaspora_range *items; /* ascending, disjoint, never touching, no empty ones */
    size_t count, capacity;
};

struct diaspora_selection {
    struct dsp_range_list ranges; /* what is selected, in coordinates of the event's data */
    struct dsp_range_list spare;  /* where a derivation builds its result */
    uint64_t size;                /* sum of ranges */
};

/* Selects everything of `size` bytes again; keeps the memory, so that it cannot fail. */
void dsp_selection_reset(diaspora_selection *selection, uint64_t size);

#endif
