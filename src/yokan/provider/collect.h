/*
 * Collecting values (or keys, documents) for an answer: an array of sizes, which also carries the status of each item,
 * and the bytes. Two rules for what fits: packed output is one space for all, and after the first item that does not
 * fit none does; otherwise every item has its own capacity.
 */
#ifndef YOKAN_PROVIDER_COLLECT_H
#define YOKAN_PROVIDER_COLLECT_H

#include "yokan/provider/provider.h"

struct yokan_collector {
    struct yokan_job *job;
    size_t count;           /* items that there can be */
    uint64_t *sizes;        /* of the items, or YOKAN_KEY_NOT_FOUND, YOKAN_SIZE_TOO_SMALL, YOKAN_NO_MORE_KEYS */
    const char *capacities; /* NULL: packed */
    uint64_t space;         /* packed: bytes that fit; otherwise the sum of the capacities */
    uint64_t limit;         /* bytes that may be collected in all */
    bool full;              /* packed: an item did not fit */
    struct yokan_bytes bytes;
};

/* `capacities` (an array in the message) or, with NULL, `space` say what fits. All sizes are `initial` at first. */
yk_return_t yokan_collector_init(struct yokan_collector *collector, struct yokan_job *job, size_t count,
                                 const char *capacities, uint64_t space, uint64_t initial);
/* Adds item i, in increasing order. YOKAN_ERR_BUFFER_SIZE: did not fit, its size says so. */
yk_return_t yokan_collector_add(struct yokan_collector *collector, size_t i, struct yokan_slice item);
/* Output of the sizes at a place of the region, and of the bytes; once each, after the last item. */
yk_return_t yokan_collector_write_sizes(struct yokan_collector *collector, uint64_t place);
yk_return_t yokan_collector_write_bytes(struct yokan_collector *collector, uint64_t place);

/* Frees what was collected when it is not written (write_bytes hands it to the job). */
void yokan_collector_fini(struct yokan_collector *collector);

#endif
