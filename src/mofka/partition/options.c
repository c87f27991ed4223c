/*
 * Option tables of partition type `default`; see options.h.
 *
 * The buffer pools are those of the original, which has separate buffers for metadata and data and copies both ways. Here
 * a batch has one buffer on its way in, whose size is that of both together, so the classes of the two producer pools are
 * one pool; and consumers are served from the mapped files, without a buffer.
 */
#include "mofka/partition/options.h"

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

const struct dango_option dango_mofka_default_options[] = {
    DANGO_OPTION_STRING_REQUIRED("path", struct mofka_default_options, path,
                                 "directory under which the partition's own, <topic>-<uuid>, is made"),
    DANGO_OPTION_INT("max_chunk_size", struct mofka_default_options, max_chunk_size, 67108864, 1, INT64_C(1) << 40,
                     "bytes after which the next chunk file is begun"),
    DANGO_OPTION_INT("max_events_per_chunk", struct mofka_default_options, max_events_per_chunk, 1000000, 1, INT64_MAX,
                     "events after which the next chunk file is begun"),
    DANGO_OPTION_BOOL("sync", struct mofka_default_options, sync, true,
                      "whether a batch must be on the medium before its producer is answered"),
    DANGO_OPTION_INT("fd_cache_capacity", struct mofka_default_options, fd_cache_capacity, 64, 1, 65536,
                     "chunk files kept mapped for reading while nobody reads them"),
    DANGO_OPTION_OBJECT("producers", struct mofka_default_options, producers, producer_options, "the way in"),
    DANGO_OPTION_OBJECT("consumers", struct mofka_default_options, consumers, consumer_options, "the way out"),
    DANGO_OPTION_END,
};
