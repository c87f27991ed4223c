/*
 * Inside of a source: what source.c (fetching) and read.c (reading of selections) share.
 */
#ifndef DANGO_MOFKA_CLIENT_SOURCE_H
#define DANGO_MOFKA_CLIENT_SOURCE_H

#include "mofka/client/driver.h"

#include <pthread.h>
#include <stdatomic.h>

struct mofka_source {
    struct mofka_driver *driver;
    const struct mofka_topic_partition *partition;
    struct mofka_lease lease;
    uint64_t token;
    uint64_t first, end; /* when it was opened */
    uint64_t skipped;    /* events before `first` that it asked for, but were no longer kept */
    uint64_t next_id;    /* that the next event must have; used by whoever delivers */
    bool with_data;
    pthread_mutex_t lock;
    struct list_node idle, in_flight;
    bool delivering;
    struct dango_error failure; /* code 0 while all is well */
    atomic_size_t references;   /* the core's, one per fetch or read not done, one per callback or ULT to come */
    ABT_eventual unused;
};

/* Drops references; the last one lets close go on, and the source may be gone afterwards. */
static inline void mofka_source_drop(struct mofka_source *source, size_t count)
{
    if (atomic_fetch_sub(&source->references, count) == count)
        ABT_eventual_set(source->unused, NULL, 0);
}

#endif
