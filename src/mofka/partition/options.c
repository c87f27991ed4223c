/*
 * Option tables of partition type `default`; see options.h.
 *
 * The buffer pools are those of the original, which has separate buffers for metadata and data and copies both ways. Here
 * a batch has one buffer on its way in, whose size is that of both together, so the classes of the two producer pools are
 * one pool; and consumers are served from the mapped files, without a buffer. For the same reason there is no write cache:
 * what has just been written lies in the page cache, mapped, and is sent from there without a copy. A second copy would
 * only take memory.
 */
#include "mofka/partition/options.h"

#include <json-c/json.h>

#include <inttypes.h>

#define TIERS_MAX   32
#define BUFFERS_MAX 65536
#define BYTES_MAX   (INT64_C(1) << 32)

/* The options of a pool whose smallest class has SIZE bytes unless told otherwise. */
#define POOL_OPTIONS(SIZE)                                                                                             \
    {                                                                                                                  \
        DANGO_OPTION_INT("num_tiers", struct mofka_pool_options, num_tiers, 1, 1, TIERS_MAX, "size classes"),          \
            DANGO_OPTION_INT("num_buffers", struct mofka_pool_options, num_buffers, 0, 0, BUFFERS_MAX,                 \
                             "buffers per class from the start; more on demand"),                                      \
            DANGO_OPTION_INT("first_size", struct mofka_pool_options, first_size, SIZE, 1, BYTES_MAX,                  \
                             "bytes of the smallest class"),                                                           \
            DANGO_OPTION_REAL("size_multiple", struct mofka_pool_options, size_multiple, 4.0, 1.0 + 1e-9, 1024.0,      \
                              "ratio between classes, more than 1"),                                                   \
            DANGO_OPTION_END,                                                                                          \
    }

static const struct dango_option metadata_pool[] = POOL_OPTIONS(65536);
static const struct dango_option data_pool[] = POOL_OPTIONS(67108864);
static const struct dango_option descriptor_pool[] = POOL_OPTIONS(4096);

static const struct dango_option producer_options[] = {
    DANGO_OPTION_OBJECT("metadata_buffer_pool", struct mofka_producers_options, metadata, metadata_pool,
                        "buffers for batches on their way in; a batch takes the smallest buffer of both pools into "
                        "which it fits as a whole"),
    DANGO_OPTION_OBJECT("data_buffer_pool", struct mofka_producers_options, data, data_pool,
                        "more such buffers, usually larger ones"),
    DANGO_OPTION_END,
};

static const struct dango_option consumer_options[] = {
    DANGO_OPTION_OBJECT("metadata_buffer_pool", struct mofka_consumers_options, metadata, metadata_pool,
                        "without effect: consumers are served from the mapped files"),
    DANGO_OPTION_OBJECT("desc_buffer_pool", struct mofka_consumers_options, descriptors, descriptor_pool,
                        "without effect: descriptors are not stored"),
    DANGO_OPTION_END,
};

static const struct dango_option write_cache_options[] = {
    DANGO_OPTION_BOOL("enabled", struct mofka_write_cache_options, enabled, true,
                      "without effect: recent events are served from the page cache, which has them anyway"),
    DANGO_OPTION_INT("max_batches", struct mofka_write_cache_options, max_batches, 16, 0, INT64_MAX, "without effect"),
    DANGO_OPTION_INT("max_memory_bytes", struct mofka_write_cache_options, max_memory_bytes, 67108864, 0, INT64_MAX,
                     "without effect"),
    DANGO_OPTION_END,
};

static const struct dango_option bulk_cache_options[] = {
    DANGO_OPTION_BOOL("enabled", struct mofka_bulk_cache_options, enabled, true,
                      "without effect: superseded by the buffer pools of producers"),
    DANGO_OPTION_INT("initial_buffer_size", struct mofka_bulk_cache_options, initial_buffer_size, 0, 0, INT64_MAX,
                     "without effect"),
    DANGO_OPTION_END,
};

static const struct dango_option ack_early_options[] = {
    DANGO_OPTION_BOOL("enabled", struct mofka_ack_early_options, enabled, false,
                      "whether producers that ask for it (their option ack_early) are answered when their batch has "
                      "been received; what is not stored yet when the server crashes is lost"),
    DANGO_OPTION_INT("max_pending_batches", struct mofka_ack_early_options, max_pending_batches, 8, 1,
                     MOFKA_ACK_EARLY_MAX,
                     "batches answered and not stored at a time; those beyond are answered when they are stored"),
    DANGO_OPTION_END,
};

static const struct dango_option retention_options[] = {
    DANGO_OPTION_INT("max_age_s", struct mofka_retention_options, max_age_s, 0, 0, INT64_C(1) << 33,
                     "seconds that a full chunk is kept after its last event has come; 0: for ever"),
    DANGO_OPTION_INT("max_bytes", struct mofka_retention_options, max_bytes, 0, 0, INT64_MAX,
                     "bytes of all chunks beyond which the oldest full ones are removed; 0: no limit"),
    DANGO_OPTION_JSON(
        "acknowledged_by", struct mofka_retention_options, acknowledged_by, DANGO_JSON_ARRAY | DANGO_JSON_STRING, NULL,
        "names of consumers: nothing is removed before all of them have acknowledged it. Without max_age_s "
        "and max_bytes a full chunk is removed as soon as they have"),
    DANGO_OPTION_END,
};

const struct dango_option dango_mofka_default_options[] = {
    DANGO_OPTION_STRING_REQUIRED("path", struct mofka_default_options, path,
                                 "directory under which the partition's own, <topic>-<uuid>, is made"),
    DANGO_OPTION_INT("max_chunk_size", struct mofka_default_options, max_chunk_size, 67108864, 1, INT64_C(1) << 40,
                     "bytes after which the next chunk file is begun"),
    DANGO_OPTION_INT("max_events_per_chunk", struct mofka_default_options, max_events_per_chunk, 1000000, 1, INT64_MAX,
                     "events after which the next chunk file is begun"),
    DANGO_OPTION_JSON("sync", struct mofka_default_options, sync, DANGO_JSON_BOOL | DANGO_JSON_INT, "true",
                      "whether a batch must be on the medium before its producer is answered; a number: it must, but "
                      "syncs are at least that many milliseconds apart (at most 1000), so that more batches share one"),
    DANGO_OPTION_INT("fd_cache_capacity", struct mofka_default_options, fd_cache_capacity, 64, 1, 65536,
                     "chunk files kept mapped for reading while nobody reads them"),
    DANGO_OPTION_OBJECT("producers", struct mofka_default_options, producers, producer_options, "the way in"),
    DANGO_OPTION_OBJECT("consumers", struct mofka_default_options, consumers, consumer_options, "the way out"),
    DANGO_OPTION_OBJECT("ack_early", struct mofka_default_options, ack_early, ack_early_options,
                        "answering producers before their events are stored"),
    DANGO_OPTION_OBJECT("write_cache", struct mofka_default_options, write_cache, write_cache_options,
                        "without effect: recent events are served from the page cache, which has them anyway"),
    DANGO_OPTION_OBJECT("bulk_cache", struct mofka_default_options, bulk_cache, bulk_cache_options,
                        "without effect: superseded by producers and consumers"),
    DANGO_OPTION_OBJECT("retention", struct mofka_default_options, retention, retention_options,
                        "which full chunks are removed; none by default"),
    DANGO_OPTION_END,
};

int dango_mofka_sync_interval(struct json_object *sync, int64_t *interval_ms, struct dango_error *err)
{
    *interval_ms = 0;
    if (json_object_is_type(sync, json_type_int)) {
        *interval_ms = json_object_get_int64(sync);
        if (*interval_ms < 0 || *interval_ms > MOFKA_SYNC_INTERVAL_MAX_MS)
            return dango_error_set(err, DANGO_ERR_RANGE, "sync: %" PRId64 " is not between 0 and %d ms", *interval_ms,
                                   MOFKA_SYNC_INTERVAL_MAX_MS);
    } else if (sync && !json_object_get_boolean(sync)) {
        *interval_ms = MOFKA_SYNC_NEVER;
    }
    return 0;
}

int dango_mofka_default_options_check(const void *options, struct dango_error *err)
{
    int64_t interval_ms;
    return dango_mofka_sync_interval(((const struct mofka_default_options *)options)->sync, &interval_ms, err);
}
