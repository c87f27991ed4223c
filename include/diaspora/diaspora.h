/*
 * Diaspora: event streaming for applications, in C.
 *
 * An event is a small piece of metadata (opaque bytes on the data path, JSON by convention) and, optionally, data (raw
 * bytes, possibly large, possibly scattered). Events travel through topics; a topic is a set of partitions; a partition
 * is an append-only sequence in which every event has an id: 0, 1, 2, … Producers push, consumers pull; a driver
 * ("mofka" for the network service) knows where topics live.
 *
 * General rules
 *  - Types are opaque; every *_open has its *_close. Close in reverse order of opening (consumer and producer before
 *    topic before driver); closing NULL does nothing.
 *  - Options are JSON text (NULL or "" for the defaults); unknown fields are errors that name the field that was
 *    probably meant. The fields are documented in docs/config/.
 *  - Functions return DIASPORA_OK (0) or a negative code; those that return a pointer return NULL on failure. In both
 *    cases the error, if given, says where, what and what to do.
 *  - Unless a function says otherwise it may block, may be called from any thread (pthread or Argobots ULT), and one
 *    object may be used by several threads at a time.
 *  - Timeouts are in milliseconds; DIASPORA_FOREVER waits without limit, 0 only looks. They belong to the call, not to
 *    the operation, and are measured on the monotonic clock.
 */
#ifndef DIASPORA_DIASPORA_H
#define DIASPORA_DIASPORA_H

#include <dango/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ---------------------------------------------------------------------------------------------------- */

typedef struct dango_error diaspora_error; /* code and text; see dango/error.h */

#define DIASPORA_ERROR_INIT                                                                                            \
    {                                                                                                                  \
        0, ""                                                                                                          \
    }

enum {
    DIASPORA_OK = 0,
    DIASPORA_INVALID = DANGO_ERR_INVALID,           /* argument, option or document is wrong */
    DIASPORA_NOT_FOUND = DANGO_ERR_NOT_FOUND,       /* no such topic, driver, file … */
    DIASPORA_EXISTS = DANGO_ERR_EXISTS,             /* topic exists already */
    DIASPORA_NO_MEMORY = DANGO_ERR_NO_MEMORY,       /* allocation failed, or a configured limit is reached */
    DIASPORA_TIMEOUT = DANGO_ERR_TIMEOUT,           /* the call's time is over; the operation goes on */
    DIASPORA_DISCONNECTED = DANGO_ERR_DISCONNECTED, /* the server is gone */
    DIASPORA_UNSUPPORTED = DANGO_ERR_UNSUPPORTED,   /* not built in, or not possible with this driver */
    DIASPORA_CORRUPT = DANGO_ERR_CORRUPT,           /* stored events or data are damaged */
    DIASPORA_COMPLETE = DANGO_ERR_COMPLETE,         /* the topic is marked complete: no more events */
};

#define DIASPORA_FOREVER (-1)

/* Writes "error: <text>\n". Does nothing when err holds no error. */
void diaspora_error_print(FILE *out, const diaspora_error *err);

/* ---- memory segments and data selections ------------------------------------------------------------------------ */

/* A piece of the user's memory. Data of one event is an array of these, taken or filled in order. */
typedef struct diaspora_segment {
    void *base;
    size_t size; /* bytes */
} diaspora_segment;

/* The two data arguments of diaspora_push, for one contiguous piece and for none. */
#define DIASPORA_DATA(pointer, bytes) ((const diaspora_segment[]){{(void *)(uintptr_t)(pointer), (bytes)}}), 1
#define DIASPORA_NO_DATA              NULL, 0

/*
 * A selection names the wanted bytes of an event's data. A fresh one selects everything; each derivation below narrows
 * it, with offsets counted in the bytes selected so far. Owned by whoever created it; those that a data selector
 * receives are borrowed for the call.
 */
typedef struct diaspora_selection diaspora_selection;

typedef struct diaspora_range {
    uint64_t offset; /* in the event's data */
    uint64_t size;   /* bytes, > 0 */
} diaspora_range;

/* Everything of `size` bytes of data. */
diaspora_selection *diaspora_selection_create(uint64_t size);
void diaspora_selection_destroy(diaspora_selection *selection);
/* Bytes selected. */
uint64_t diaspora_selection_size(const diaspora_selection *selection);
/* Nothing. */
void diaspora_selection_clear(diaspora_selection *selection);
/* `size` bytes from `offset`; cut at the end of the current selection; an offset behind it selects nothing. */
int diaspora_selection_sub(diaspora_selection *selection, uint64_t offset, uint64_t size, diaspora_error *err);
/* `count` blocks of `block` bytes, the next one `gap` bytes after the end of the one before. Must fit. */
int diaspora_selection_strided(diaspora_selection *selection, uint64_t offset, uint64_t count, uint64_t block,
                               uint64_t gap, diaspora_error *err);
/* The given ranges: ascending, not overlapping, inside the current selection. */
int diaspora_selection_ranges(diaspora_selection *selection, const diaspora_range *ranges, size_t count,
                              diaspora_error *err);
/* The selected ranges in coordinates of the event's data, neighbours merged; borrowed until the next change. */
const diaspora_range *diaspora_selection_flatten(const diaspora_selection *selection, size_t *count);

/* ---- drivers ------------------------------------------------------------------------------------------------------
 */

typedef struct diaspora_driver diaspora_driver;

/*
 * Connects to a streaming back-end: type "mofka" with {"group_file": PATH}, or another one found as "name" or
 * "name:library.so". Fails when the back-end cannot be reached.
 */
diaspora_driver *diaspora_driver_open(const char *type, const char *options, diaspora_error *err);
void diaspora_driver_close(diaspora_driver *driver);

/* ---- topics -------------------------------------------------------------------------------------------------------
 */

typedef struct diaspora_topic diaspora_topic;

/* Descriptions of the three topic objects as JSON text; NULL members mean the default object. */
typedef struct diaspora_topic_objects {
    const char *validator;          /* {"type": "default"} */
    const char *partition_selector; /* {"type": "default"}: round robin */
    const char *serializer;         /* {"type": "default"} */
} diaspora_topic_objects;

/* Creates a topic. DIASPORA_EXISTS when there is one of that name. `objects` may be NULL. */
int diaspora_topic_create(diaspora_driver *driver, const char *name, const char *options,
                          const diaspora_topic_objects *objects, diaspora_error *err);
/*
 * Makes a topic from what the partitions of an earlier one have left on storage, with the same events, ids and saved
 * positions; its objects are those that it had. Options: where to look, as in diaspora_topic_create (for "mofka":
 * config.type "default", config.partition.path). All of its partitions, or an error and none. DIASPORA_EXISTS when there is
 * a topic of that name, DIASPORA_UNSUPPORTED when the back-end cannot.
 */
int diaspora_topic_import(diaspora_driver *driver, const char *name, const char *options, diaspora_error *err);
/* DIASPORA_OK and *exists, or an error when the back-end cannot tell. */
int diaspora_topic_exists(diaspora_driver *driver, const char *name, bool *exists, diaspora_error *err);
/* JSON object {name: description}, sorted by name, as text to be freed with free(). NULL on error. */
char *diaspora_topic_list(diaspora_driver *driver, diaspora_error *err);

/*
 * Deletes a topic with its events and positions. Options: {"force": false, "keep_data": false}. DANGO_ERR_BUSY while it has
 * producers or consumers; with `force` those fail with DIASPORA_NOT_FOUND. With `keep_data` what it has stored stays where
 * it is. After a failure the topic is there or the call can be repeated. Partitions on servers that cannot be reached are
 * forgotten; what they have stored stays, and where that is is logged.
 */
int diaspora_topic_delete(diaspora_driver *driver, const char *name, const char *options, diaspora_error *err);

diaspora_topic *diaspora_topic_open(diaspora_driver *driver, const char *name, diaspora_error *err);
void diaspora_topic_close(diaspora_topic *topic);
const char *diaspora_topic_name(const diaspora_topic *topic);
size_t diaspora_topic_num_partitions(const diaspora_topic *topic);
/* JSON text describing a partition (content is the driver's), borrowed; NULL when there is no such partition. */
const char *diaspora_topic_partition_info(const diaspora_topic *topic, size_t partition);

/*
 * Marks the topic as complete: what was pushed before is stored first, later events are refused with DIASPORA_COMPLETE,
 * and consumers that have read everything get the end of the stream. For ever, and as durable as events. Marking it
 * again is fine, and needed after a failure, which may leave some partitions marked and others not.
 */
int diaspora_topic_complete(diaspora_topic *topic, diaspora_error *err);

/*
 * The saved positions of all consumers, as text to be freed with free(): a JSON array with one object per partition,
 *   {"first": ID, "end": ID, "complete": BOOL, "producers": N, "consumers": N,
 *    "positions": {CONSUMER: {"position": ID, "connected": N}}}
 * `first` is the first event that is there, `end` the id of the next one to come, `position` the first event that the
 * consumer has not acknowledged; `producers`, `consumers` and `connected` count who is connected now. NULL on error.
 */
char *diaspora_topic_positions(diaspora_topic *topic, diaspora_error *err);
/*
 * Moves the saved position of a consumer name, also back. Options: {"to": "first" | "last" | ID | TIME (required),
 * "partition": N (all by default), "force": false}. TIME is "2025-01-31T12:00:00", local, or with a "Z" UTC: the first
 * event that came then or later. Durable on return. DANGO_ERR_BUSY while consumers of that name are connected; with
 * `force` they are shut out: their pulls and acknowledgements fail, and none of them moves the position any more.
 */
int diaspora_topic_reset_position(diaspora_topic *topic, const char *consumer, const char *options,
                                  diaspora_error *err);
/* Forgets the saved position of a consumer name: as if it had never been there. Options: {"partition", "force"} as
 * above. DIASPORA_NOT_FOUND when there is none. */
int diaspora_topic_delete_position(diaspora_topic *topic, const char *consumer, const char *options,
                                   diaspora_error *err);

/* ---- futures ------------------------------------------------------------------------------------------------------
 */

/* The result of a push. Owned by the caller; releasing it cancels nothing. */
typedef struct diaspora_future diaspora_future;

/* Whether the operation is over; does not block. */
bool diaspora_future_completed(const diaspora_future *future);
/*
 * Waits for the operation: DIASPORA_OK and the event's id, the operation's error, or DIASPORA_TIMEOUT. Idempotent. With
 * a fixed batch size it first asks the producer to send the batch that the event is in.
 */
int diaspora_future_wait(diaspora_future *future, int64_t timeout_ms, uint64_t *event_id, diaspora_error *err);
void diaspora_future_release(diaspora_future *future);

/* ---- producers ----------------------------------------------------------------------------------------------------
 */

typedef struct diaspora_producer diaspora_producer;

#define DIASPORA_ANY_PARTITION SIZE_MAX

/*
 * Options: {"name": "", "batch_size": "adaptive" | N ≥ 1, "max_num_batches": 2, "ordering": "strict" | "loose",
 *           "targets": [partition, …]}.
 * With targets, the partitions that are not among them need not be reachable; the partition selector chooses one of the
 * targets, as if the topic had no others. A fixed batch leaves when it holds N events or on flush; an adaptive one as
 * soon as the sender of the partition is free.
 */
diaspora_producer *diaspora_producer_open(diaspora_topic *topic, const char *options, diaspora_error *err);
/* Flushes, waits and closes. Errors of what was still pending are logged: flush first to see them. */
void diaspora_producer_close(diaspora_producer *producer);

/*
 * Hands one event over. Metadata are copied; data are not: the memory must stay valid and unchanged until the future
 * has completed or a later flush has returned. Blocks only when `max_num_batches` batches wait for the partition.
 * `future` may be NULL. An event that the validator refuses is DIASPORA_INVALID and has no effect.
 */
int diaspora_push(diaspora_producer *producer, const char *metadata, size_t metadata_size, const diaspora_segment *data,
                  size_t data_segments, diaspora_future **future, diaspora_error *err);
/* The same with a partition requested (the partition selector decides what it makes of that). */
int diaspora_push_to(diaspora_producer *producer, size_t partition, const char *metadata, size_t metadata_size,
                     const diaspora_segment *data, size_t data_segments, diaspora_future **future, diaspora_error *err);
/*
 * Sends everything pushed before the call and waits until it is stored. Returns the first error that any event met
 * since the last flush, or DIASPORA_TIMEOUT. Completes at once when nothing is pending.
 */
int diaspora_flush(diaspora_producer *producer, int64_t timeout_ms, diaspora_error *err);

/* ---- consumers and events -----------------------------------------------------------------------------------------
 */

typedef struct diaspora_consumer diaspora_consumer;
typedef struct diaspora_event diaspora_event;

/*
 * Options: {"name": NAME (required), "data": "none" | "all", "from": "saved" | "first" | "last" | ID | TIME,
 *           "targets": [partition, …], "batch_size": "adaptive" | N, "max_num_batches": 2}.
 * The name identifies the saved positions. Events are prefetched, at most max_num_batches batches ahead.
 */
diaspora_consumer *diaspora_consumer_open(diaspora_topic *topic, const char *options, diaspora_error *err);
/* Unsubscribes. Events that were not released stay valid until they are. */
void diaspora_consumer_close(diaspora_consumer *consumer);

/*
 * Which bytes of an event are wanted: narrows `selection`, which arrives selecting everything. Returns 0, or a negative
 * code with the error set, which becomes the error of that event. Called by the thread that pulls, once per event.
 */
typedef int (*diaspora_data_selector)(void *arg, const char *metadata, size_t metadata_size,
                                      diaspora_selection *selection, diaspora_error *err);
/*
 * Where `size` selected bytes go: sets *segments (which must stay valid until the event is released) and *count; sizes
 * must sum up to `size`. Same rules as the selector.
 */
typedef int (*diaspora_data_allocator)(void *arg, const char *metadata, size_t metadata_size, uint64_t size,
                                       diaspora_segment **segments, size_t *count, diaspora_error *err);

/* Set before the first pull. A selector or allocator implies data; `arg` is borrowed. NULL removes them. */
int diaspora_consumer_set_selector(diaspora_consumer *consumer, diaspora_data_selector selector, void *arg,
                                   diaspora_error *err);
int diaspora_consumer_set_allocator(diaspora_consumer *consumer, diaspora_data_allocator allocator, void *arg,
                                    diaspora_error *err);

/*
 * The next event: DIASPORA_OK; DIASPORA_TIMEOUT when none came in time (none is lost); the error of one event (the
 * stream continues with the next pull); DIASPORA_CORRUPT when events are damaged and cannot be delivered: the text says
 * which, the stream continues behind them with the next pull; DIASPORA_DISCONNECTED when a partition cannot be reached
 * any more. Events of one partition come in id order. At the end of a topic that is marked complete the event has id
 * DIASPORA_NO_MORE_EVENTS.
 */
int diaspora_pull(diaspora_consumer *consumer, int64_t timeout_ms, diaspora_event **event, diaspora_error *err);
/* Up to `max` events, at least one when it returns DIASPORA_OK; waits only for the first. */
int diaspora_pull_many(diaspora_consumer *consumer, int64_t timeout_ms, diaspora_event **events, size_t max,
                       size_t *count, diaspora_error *err);
/*
 * What the consumer found in a partition when it was opened: the first event it will deliver and the number of events
 * stored by then. Everything that was there has been delivered when id + 1 == *end has come (nothing, if
 * *first >= *end).
 */
int diaspora_consumer_extent(diaspora_consumer *consumer, size_t partition, uint64_t *first, uint64_t *end,
                             diaspora_error *err);
/*
 * How many events of a partition this consumer should have delivered so far, but could not, because they were removed by
 * the topic's retention before it came to them. Does not block.
 */
int diaspora_consumer_skipped(diaspora_consumer *consumer, size_t partition, uint64_t *events, diaspora_error *err);
/* A descriptor for poll/epoll: readable while an event can be pulled without waiting. Owned by the consumer. */
int diaspora_consumer_fd(diaspora_consumer *consumer, diaspora_error *err);

#define DIASPORA_NO_MORE_EVENTS UINT64_MAX

/* Views, valid until the event is released. Metadata end in a NUL that is not counted. */
uint64_t diaspora_event_id(const diaspora_event *event);
size_t diaspora_event_partition(const diaspora_event *event);
const char *diaspora_event_metadata(const diaspora_event *event);
size_t diaspora_event_metadata_size(const diaspora_event *event);
/* Bytes of data the event has at the source, selected or not. */
uint64_t diaspora_event_data_total(const diaspora_event *event);
/* First selected byte, when the library allocated the memory; NULL when there is none or the user allocated it. */
const void *diaspora_event_data(const diaspora_event *event);
uint64_t diaspora_event_data_size(const diaspora_event *event);
/* Where the selected bytes are, whoever allocated the memory. */
const diaspora_segment *diaspora_event_data_segments(const diaspora_event *event, size_t *count);

/*
 * Everything up to and including this event, in its partition, is done for consumers of this name. Returns when the
 * server has it; never moves a position backwards.
 */
int diaspora_event_acknowledge(diaspora_event *event, diaspora_error *err);
void diaspora_event_release(diaspora_event *event);

#ifdef __cplusplus
}
#endif

#endif
