/*
 * What the writing and the reading half of a partition share. Not for others.
 */
#ifndef DANGO_MOFKA_PARTITION_INTERNAL_H
#define DANGO_MOFKA_PARTITION_INTERNAL_H

#include "mofka/partition/partition.h"

#include <pthread.h>

/* An entry of the sparse index: event `id` is the first of the frame at that place. */
struct mofka_index_entry {
    uint64_t id;
    struct mofka_segment *segment;
    size_t offset;
};

struct mofka_partition {
    struct mofka_partition_settings settings;
    atomic_uint_fast64_t next_id;
    pthread_mutex_t lock;            /* guards everything below */
    struct list_node pending;        /* receptions in the order of their reservation */
    struct mofka_segment *first;     /* NULL until the first batch comes */
    struct mofka_segment *last;      /* the open one */
    uint64_t size;                   /* bytes committed in all segments */
    struct mofka_index_entry *index; /* ascending by id; ids before index[0].id do not exist */
    size_t index_count, index_capacity;
};

/* The last index entry that is not behind `id`; a zeroed one when the partition has no segment yet. */
struct mofka_index_entry mofka_partition_find(struct mofka_partition *partition, uint64_t id);

#endif
