/*
 * The options of partitions of type `default`, as they stand in "config.partition". Constant data; any thread.
 */
#ifndef DANGO_MOFKA_PARTITION_OPTIONS_H
#define DANGO_MOFKA_PARTITION_OPTIONS_H

#include <dango/options.h>

/* Buffers of `num_tiers` sizes, each `size_multiple` times as large as the one before. */
struct mofka_pool_options {
    int64_t num_tiers, num_buffers, first_size;
    double size_multiple;
};

struct mofka_producers_options {
    struct mofka_pool_options metadata, data;
};

struct mofka_consumers_options {
    struct mofka_pool_options metadata, descriptors;
};

struct mofka_default_options {
    char *path;
    int64_t max_chunk_size, max_events_per_chunk;
    bool sync;
    int64_t fd_cache_capacity;
    struct mofka_producers_options producers;
    struct mofka_consumers_options consumers;
};

extern const struct dango_option dango_mofka_default_options[];

#endif
