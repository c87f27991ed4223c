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

struct mofka_write_cache_options {
    bool enabled;
    int64_t max_batches, max_memory_bytes;
};

struct mofka_bulk_cache_options {
    bool enabled;
    int64_t initial_buffer_size;
};

struct mofka_ack_early_options {
    bool enabled;
    int64_t max_pending_batches;
};

struct mofka_retention_options {
    int64_t max_age_s, max_bytes;        /* 0: no limit */
    struct json_object *acknowledged_by; /* a name or an array of names; NULL: none */
};

struct mofka_default_options {
    char *path;
    int64_t max_chunk_size, max_events_per_chunk;
    struct json_object *sync; /* as dango_mofka_sync_interval understands it */
    int64_t fd_cache_capacity;
    struct mofka_producers_options producers;
    struct mofka_consumers_options consumers;
    struct mofka_ack_early_options ack_early;
    struct mofka_write_cache_options write_cache;
    struct mofka_bulk_cache_options bulk_cache;
    struct mofka_retention_options retention;
};

/* Most batches that may be answered and not stored: what one client may have in flight. */
#define MOFKA_ACK_EARLY_MAX 1024

/* Longest interval between syncs: producers wait for an answer meanwhile, and so does the end of the server. */
#define MOFKA_SYNC_INTERVAL_MAX_MS 1000

/* What never to sync is. */
#define MOFKA_SYNC_NEVER (-1)

/* The meaning of `sync`: least milliseconds from sync to sync, 0 when there is no limit (also for NULL), or
 * MOFKA_SYNC_NEVER. */
int dango_mofka_sync_interval(struct json_object *sync, int64_t *interval_ms, struct dango_error *err);

/* What the option table cannot say about values of a struct mofka_default_options. */
int dango_mofka_default_options_check(const void *options, struct dango_error *err);

extern const struct dango_option dango_mofka_default_options[];

#endif
