/*
 * The insides of the table of producers, shared by producers.c and the file of it. Not for others.
 */
#ifndef DANGO_MOFKA_LOG_PRODUCERS_TABLE_H
#define DANGO_MOFKA_LOG_PRODUCERS_TABLE_H

#include "mofka/log/producers.h"
#include "util/list.h"

#include <pthread.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* A batch that is part of the partition. */
struct mofka_batch_place {
    uint64_t sequence;
    uint64_t first_id;
};

/* The history is a ring: the newest at places[(end - 1) % capacity]. */
struct mofka_producer {
    UT_hash_handle hh;
    struct list_node link; /* in the table's list, by age */
    uint64_t id;
    uint64_t seen_ns; /* when its last batch came, since 1970 */
    uint32_t users;
    bool uncertain; /* batches behind the last one known may be stored, too */
    struct mofka_batch_place *places;
    uint32_t window; /* places wanted */
    uint32_t capacity, count;
    uint64_t end; /* places ever taken */
};

struct mofka_producers {
    pthread_mutex_t lock; /* guards everything */
    struct mofka_producer *table;
    struct list_node by_age;     /* oldest first */
    struct mofka_producer *last; /* noted last: often the next one, too */
    uint64_t doubt_until_ns;
};

/* Behind the number of its newest batch; 0 when it has none. */
static inline uint64_t mofka_producer_end(const struct mofka_producer *producer)
{
    return producer->count > 0 ? producer->places[(producer->end - 1) % producer->capacity].sequence + 1 : 0;
}

/* Under the lock. */
struct mofka_producer *mofka_producers_add(struct mofka_producers *producers, uint64_t id, uint64_t now_ns);
int mofka_producer_push(struct mofka_producer *producer, uint64_t sequence, uint64_t first_id);

#endif
