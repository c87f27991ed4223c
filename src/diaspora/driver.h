/*
 * What a driver implements, and what the streaming core gives it in return.
 *
 * The core (src/diaspora) owns everything that is the same for all back-ends: validation, partition choice, open
 * batches, the window of batches in flight, futures, flush, error propagation; prefetching, event views, data
 * selection. A driver moves whole batches and knows topics. The border is asynchronous in both directions:
 *
 *   producer   core fills a batch → sink_submit(batch) … driver stores it … → batch->done(batch, first_id, err)
 *   consumer   core offers a fetch (a credit: a buffer and limits) → source_fetch(fetch) … events arrive …
 *              → fetch->done(fetch, err); selected data of a whole batch is asked for by one source_read(read) →
 * read->done
 *
 * Rules
 *  - A batch, fetch or read belongs to the driver from the submitting call until its `done` runs, exactly once, from
 *    any thread, never from inside the submitting call. `done` does not block and may submit again.
 *  - The driver keeps order: batches of a sink are stored in the order of submission; fetches of a source are answered
 *    in the order of submission. If a batch fails, the driver fails every later one submitted to that sink before the
 *    core has seen the failure (order would break otherwise).
 *  - sink_close/source_close are called when the core wants no more; the driver completes everything outstanding
 *    (with DANGO_ERR_CANCELED if need be) before the call returns. Closing may block.
 *  - No memory crosses the border except what the structures below describe.
 *
 * Format of a batch's content, the same in a producer's memory, on the wire, in a memory partition and in the log:
 *
 *   records: count × { varint metadata_size, varint data_size, metadata bytes, NUL }
 *   data:    the data of all events, back to back, in order
 *
 * (varint: LEB128, at most 10 bytes.)
 * Sizes stand with the metadata they belong to, so that a producer appends to one buffer and a consumer reads one
 * buffer front to back; the NUL lets C programs use metadata as strings in place. A small event costs 3 bytes. record.h
 * reads and writes them.
 */
#ifndef DANGO_DIASPORA_DRIVER_H
#define DANGO_DIASPORA_DRIVER_H

#include <dango/error.h>
#include <dango/options.h>
#include <diaspora/diaspora.h>

#include "util/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

/* Memory that the back-end can read or write directly (registered for RDMA where that matters). */
struct diaspora_buffer {
    unsigned char *base;
    size_t size;
    void *driver_data; /* the driver's registration */
};

/* One batch on its way from a producer to a partition. */
struct diaspora_batch {
    struct list_node link;          /* free for whoever owns the batch: the driver between submit and done */
    struct diaspora_buffer records; /* from buffer_allocate */
    size_t records_size;            /* bytes used in records */
    const diaspora_segment *data;   /* data of all events in order; the core's or the user's memory, unregistered */
    size_t data_segments;
    uint64_t data_size; /* sum of the segments */
    uint32_t count;     /* events, ≥ 1 */
    uint64_t sequence;  /* of this producer in this partition: 0, 1, 2, … */
    /* Completion: first_id is the id of the batch's first event; err is NULL on success. Set by the core. */
    void (*done)(struct diaspora_batch *batch, uint64_t first_id, const struct dango_error *err);
};

/* Where a consumer starts in a partition. */
enum diaspora_start {
    DIASPORA_START_SAVED,
    DIASPORA_START_FIRST,
    DIASPORA_START_LAST, /* only events that arrive after the subscription */
    DIASPORA_START_ID,
    DIASPORA_START_TIME /* the first event that came at a time or later */
};

/* One credit of a consumer: room for events, filled by the driver with whole batches or parts of them. */
struct diaspora_fetch {
    struct list_node link;
    struct diaspora_buffer buffer; /* from buffer_allocate; where records (and data) are put */
    uint32_t max_events;           /* ≥ 1 */
    /* Filled by the driver. `runs` stretches of consecutive events, each at its place in the buffer: */
    struct diaspora_run *runs; /* array of runs_capacity, the core's */
    size_t runs_capacity;
    size_t run_count;
    uint64_t needed; /* > 0: the next event alone needs this many bytes; nothing was delivered */
    /* > 0: that many events from lost_id on are damaged; nothing was delivered, and later fetches go on behind them. 0
     * when the fetch is submitted. */
    uint64_t lost, lost_id;
    bool removed;       /* with `lost`: they are not damaged, but no longer kept */
    bool end_of_stream; /* the partition is complete and everything has been delivered */
    void (*done)(struct diaspora_fetch *fetch, const struct dango_error *err);
};

/* `count` consecutive events of one stored batch. */
struct diaspora_run {
    uint64_t first_id;
    uint32_t count;
    size_t records_offset; /* in the fetch's buffer */
    size_t records_size;
    size_t data_offset; /* in the fetch's buffer; meaningless unless with_data */
    uint64_t data_size; /* of these events, present or not */
    bool with_data;     /* the data came along */
    bool damaged;       /* the events cannot be read: there are no records */
};

/* Selected data of several events of one source, into the user's or the core's memory. */
struct diaspora_read_item {
    uint64_t event_id;
    const diaspora_range *ranges; /* in the event's data */
    size_t range_count;
    int status; /* filled by the driver: 0 or a negative code for this event alone */
};

struct diaspora_read {
    struct list_node link;
    struct diaspora_read_item *items;
    size_t item_count;
    const diaspora_segment *destination; /* total size = sum of all ranges, in item order */
    size_t destination_segments;
    void (*done)(struct diaspora_read *read, const struct dango_error *err);
};

/* What is stored with a topic and given back by open_topic; JSON objects, one reference each. */
struct diaspora_topic_description {
    struct json_object *validator, *partition_selector, *serializer;
    struct json_object *partitions; /* open_topic: array with one object per partition */
};

struct diaspora_sink_settings {
    const char *producer_name;
    size_t window;  /* batches that may be in flight at a time */
    bool ack_early; /* batches may be completed when the back-end has them, although they are not stored yet */
};

/* The question whether all batches of a sink that are done are stored. */
struct diaspora_settling {
    /* They are, or err says what is not, or that it is not known. From any thread, as for batches. */
    void (*done)(struct diaspora_settling *settling, const struct dango_error *err);
};

struct diaspora_source_settings {
    const char *consumer_name;
    enum diaspora_start start;
    uint64_t start_id; /* for DIASPORA_START_ID; for DIASPORA_START_TIME nanoseconds since 1970 */
    bool with_data;    /* send all data along as far as it fits */
};

/* What an operator wants with the saved position of a consumer. */
struct diaspora_position_change {
    const char *consumer_name;
    bool remove;               /* DANGO_ERR_NOT_FOUND when there is none; or: */
    enum diaspora_start start; /* where it goes; not SAVED */
    uint64_t start_id;
    bool force;
};

#define DIASPORA_DRIVER_ABI 1

struct diaspora_driver_ops {
    uint32_t abi;                       /* DIASPORA_DRIVER_ABI */
    const char *type;                   /* "mofka" */
    const struct dango_option *options; /* of driver_open, for the reference page; the driver parses them itself */
    const struct dango_option *topic_options; /* the same of topic_create; may be NULL */

    /* `options` is borrowed. All of these may block; errors carry the text for the user. */
    int (*driver_open)(struct json_object *options, void **driver, struct dango_error *err);
    void (*driver_close)(void *driver);
    int (*topic_create)(void *driver, const char *name, struct json_object *options,
                        const struct diaspora_topic_description *description, struct dango_error *err);
    int (*topic_exists)(void *driver, const char *name, bool *exists, struct dango_error *err);
    int (*topic_list)(void *driver, struct json_object **list, struct dango_error *err);
    int (*topic_open)(void *driver, const char *name, void **topic, struct diaspora_topic_description *description,
                      struct dango_error *err);
    void (*topic_close)(void *topic);

    int (*buffer_allocate)(void *driver, size_t size, struct diaspora_buffer *buffer, struct dango_error *err);
    void (*buffer_free)(void *driver, struct diaspora_buffer *buffer);

    int (*sink_open)(void *topic, size_t partition, const struct diaspora_sink_settings *settings, void **sink,
                     struct dango_error *err);
    void (*sink_submit)(void *sink, struct diaspora_batch *batch);
    void (*sink_close)(void *sink);

    int (*source_open)(void *topic, size_t partition, const struct diaspora_source_settings *settings, void **source,
                       struct dango_error *err);
    void (*source_fetch)(void *source, struct diaspora_fetch *fetch);
    void (*source_read)(void *source, struct diaspora_read *read);
    /* Saves position event_id + 1 for the consumer's name; returns when the back-end has it. */
    int (*source_acknowledge)(void *source, uint64_t event_id, struct dango_error *err);
    /*
     * What the source found when it was opened: *first is the id of the first event it will deliver, *end the number
     * of events that the partition held. May be what the subscription answered, or ask again; may block.
     */
    int (*source_extent)(void *source, uint64_t *first, uint64_t *end, struct dango_error *err);
    void (*source_close)(void *source);

    /* How many events that it should have begun with were no longer kept when it was opened. May be NULL: 0. */
    uint64_t (*source_skipped)(void *source);

    /* For sinks with ack_early, one at a time. NULL: the driver does not complete batches early. */
    void (*sink_settle)(void *sink, struct diaspora_settling *settling);

    /* For operators; may be NULL if the back-end knows nothing of the kind. All may block. */

    /* Makes a topic known again from what its partitions have kept, including its objects. Options as of topic_create. */
    int (*topic_import)(void *driver, const char *name, struct json_object *options, struct dango_error *err);
    /* Deletes a topic with its events (unless they are to be kept) and positions. DANGO_ERR_BUSY while it has producers or
     * consumers, unless forced: then those get DANGO_ERR_NOT_FOUND. After a failure it can be done again. */
    int (*topic_delete)(void *driver, const char *name, bool force, bool keep_data, struct dango_error *err);
    /* {"first": ID, "end": ID, "complete": BOOL, "producers": N, "consumers": N,
     *  "positions": {CONSUMER: {"position": ID, "connected": N}}} of a partition; one reference. */
    int (*topic_inspect)(void *topic, size_t partition, struct json_object **state, struct dango_error *err);
    /* Moves the saved position of a consumer name, also back; DANGO_ERR_BUSY while consumers of that name are there,
     * unless forced: then those get an error. */
    int (*topic_set_position)(void *topic, size_t partition, const struct diaspora_position_change *change,
                              struct dango_error *err);
    /* Nothing is stored behind what is there: later batches fail with DANGO_ERR_COMPLETE, fetches behind the last event
     * are answered by end_of_stream. Returns when that is durable; again: no effect. */
    int (*topic_complete)(void *topic, size_t partition, struct dango_error *err);
};

/* Makes a driver known under its type name; the table must live as long as the process. Thread-safe. */
int dango_diaspora_register_driver(const struct diaspora_driver_ops *ops, struct dango_error *err);

/* The driver of that name: registered, or found in "name:library.so" or libdango-<name>.so. */
const struct diaspora_driver_ops *dango_diaspora_find_driver(const char *type, struct dango_error *err);

/* The option tables of producers and consumers, for the reference pages. */
extern const struct dango_option dango_diaspora_producer_options[];
extern const struct dango_option dango_diaspora_consumer_options[];

#endif
