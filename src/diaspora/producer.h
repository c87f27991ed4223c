/*
 * Inside of a producer: one lane per partition, batches that are filled, wait and fly, and completions, which are what
 * remains of a batch for the futures of its events.
 *
 * Ownership. A batch belongs to its lane: open (being filled), waiting (sealed), in flight (the driver's), free (kept
 * for reuse, with its buffers). A completion is counted: one reference of its batch until that is done, one of each
 * future. Lanes and completions live in the producer's memory block, which is counted too: the user's handle and every
 * completion in use hold one, so that a future may outlive its producer.
 *
 * Locks. One per lane, held for a few instructions per push and never while the driver is called or anybody waits,
 * except when a buffer has to be allocated.
 */
#ifndef DANGO_DIASPORA_PRODUCER_H
#define DANGO_DIASPORA_PRODUCER_H

#include "diaspora/driver.h"
#include "diaspora/gate.h"
#include "diaspora/record.h"
#include "diaspora/topic.h"

#define DSP_ADAPTIVE 0u

/* Bounds of one batch, whatever its size in events; a single event may be larger. */
#define DSP_BATCH_EVENTS_MAX   65536u
#define DSP_BATCH_RECORDS_MAX  ((size_t)1 << 20)
#define DSP_BATCH_DATA_MAX     ((size_t)4 << 20)
#define DSP_BATCH_SEGMENTS_MAX 96u /* whose description fits into a small message of the driver's */
/* Metadata of one event: what any reader must be prepared to take in one piece. */
#define DSP_METADATA_MAX    ((size_t)64 << 20)
#define DSP_RECORD_HEAD_MAX ((size_t)2 * DIASPORA_VARINT_MAX + 1)

#define DSP_FUTURE_BLOCKS      12 /* blocks of 32, 64, 128 … futures: room for more than DSP_BATCH_EVENTS_MAX */
#define DSP_FUTURE_BLOCK_FIRST 32u

struct dsp_lane;

struct diaspora_future {
    struct dsp_completion *completion;
    uint32_t index; /* of the event in its batch */
};

struct dsp_completion {
    struct list_node link; /* in the lane's list of free ones */
    struct dsp_lane *lane;
    _Atomic uint32_t references;
    _Atomic bool done;
    struct dsp_gate gate;
    uint64_t first_id;                                  /* valid once done */
    struct dango_error *error;                          /* NULL on success; valid once done */
    struct diaspora_future *futures[DSP_FUTURE_BLOCKS]; /* allocated as needed, kept for reuse */
    uint32_t future_count;
};

/* A piece of memory that small data are copied to; never moved, so that segments may point into it. */
struct dsp_chunk {
    struct dsp_chunk *next;
    size_t size, used;
    unsigned char bytes[];
};

struct dsp_batch {
    struct diaspora_batch wire;
    struct list_node order; /* in the lane's list of outstanding batches */
    struct dsp_lane *lane;
    struct dsp_completion *completion;
    diaspora_segment *segments; /* what wire.data points to */
    size_t segment_capacity;
    struct dsp_chunk *chunks; /* newest first */
};

struct dsp_lane {
    pthread_mutex_t lock;
    struct diaspora_producer *producer;
    size_t partition;
    void *sink;
    struct dsp_batch *open;
    struct list_node waiting;     /* of wire.link: sealed, not yet given to the driver */
    struct list_node outstanding; /* of order: sealed, not yet done */
    size_t waiting_count, in_flight;
    bool sending;          /* somebody is giving batches to the driver, one after the other */
    uint64_t sealed;       /* batches sealed so far: the sequence of the next */
    struct list_node free; /* of wire.link */
    size_t free_count;
    struct list_node free_completions;
    size_t free_completion_count;
    struct dsp_gate gate; /* opened when there is room again, and when what a flush waits for is done */
    unsigned room_waiters, flush_waiters;
    struct diaspora_settling settling;
    bool is_settling, settle_again; /* the driver has been asked; somebody asked after that */
    uint64_t settles_begun, settles_done;
    uint64_t settling_end, settled_end; /* behind the last batch that is asked for, and that is known to be stored */
    uint64_t flush_target;              /* the lowest that a flush waits for, if any does */
    struct dango_error *failure;        /* first one since the last flush that took it */
    uint64_t failure_sequence;
};

struct diaspora_producer {
    _Atomic uint32_t references;
    diaspora_topic *topic; /* until closed */
    char *name;
    size_t batch_size; /* events, or DSP_ADAPTIVE */
    size_t waiting_max;
    size_t window;
    bool targeted;  /* the lanes are those of option "targets", in its order */
    bool ack_early; /* batches may be done and not stored: flush asks */
    size_t lane_count;
    struct dsp_lane lanes[];
};

/* ---- completion.c ---------------------------------------------------------------------------------------------- */

/* A fresh completion with the batch's reference, or NULL. With the lane's lock held. */
struct dsp_completion *dsp_completion_create(struct dsp_lane *lane);
/* The future of event `index`, with a reference of its own, or NULL. With the lane's lock held. */
struct diaspora_future *dsp_completion_future(struct dsp_completion *completion, uint32_t index);
/* Undoes the last dsp_completion_future. With the lane's lock held. */
void dsp_completion_take_back(struct dsp_completion *completion);
/* Sets the result and lets the waiters go; then drops the batch's reference. Without the lane's lock. */
void dsp_completion_finish(struct dsp_completion *completion, uint64_t first_id, const struct dango_error *err);
/* Drops a reference. Without the lane's lock. */
void dsp_completion_release(struct dsp_completion *completion);
/* Really frees one that is in no list. */
void dsp_completion_destroy(struct dsp_completion *completion);

/*
 * A copy on the heap of how an operation ended, with a code that says so: never TIMEOUT or AGAIN. When there is no
 * memory, a plain "out of memory" that is never freed.
 */
struct dango_error *dsp_error_copy(const struct dango_error *err);
void dsp_error_free(struct dango_error *err);

/* ---- batch.c --------------------------------------------------------------------------------------------------- */

/* What a push brings, with the sum of the data segments. */
struct dsp_push {
    const char *metadata;
    size_t metadata_size;
    const diaspora_segment *data;
    size_t data_segments;
    uint64_t data_size;
};

struct dsp_batch *dsp_batch_create(struct dsp_lane *lane, struct dango_error *err);
void dsp_batch_destroy(struct dsp_batch *batch);
/* Whether the event may join; an empty batch takes any event. */
bool dsp_batch_has_room(const struct dsp_batch *batch, const struct dsp_push *push);
/* Appends; on failure (memory) the batch is as before. */
int dsp_batch_append(struct dsp_batch *batch, const struct dsp_push *push, struct dango_error *err);
/* Empties a batch for reuse; false if it grew too large to be kept. */
bool dsp_batch_reset(struct dsp_batch *batch);

/* ---- lane.c ---------------------------------------------------------------------------------------------------- */

void dsp_lane_init(struct dsp_lane *lane, struct diaspora_producer *producer, size_t partition);
/* Frees batches and completions that are kept for reuse; everything must be done. */
void dsp_lane_fini(struct dsp_lane *lane);
/* Appends an event; blocks while too many batches wait. */
int dsp_lane_push(struct dsp_lane *lane, const struct dsp_push *push, diaspora_future **future,
                  struct dango_error *err);
/* Seals what is open and sends what may be sent; returns the number of batches sealed so far. */
uint64_t dsp_lane_seal(struct dsp_lane *lane);
/* The same if the open batch is that of the completion. */
void dsp_lane_seal_batch_of(struct dsp_lane *lane, const struct dsp_completion *completion);
/* Waits until the first `sealed` batches are done: false when the deadline passes before. */
bool dsp_lane_wait(struct dsp_lane *lane, uint64_t sealed, int64_t deadline_ns);
/* Asks whether the first `sealed` batches, which are done, are stored; returns the number of the question, for
 * dsp_lane_wait_settled. */
uint64_t dsp_lane_settle(struct dsp_lane *lane, uint64_t sealed);
/* Waits for the answer, which is a failure of the lane if it is bad: false when the deadline passes before. */
bool dsp_lane_wait_settled(struct dsp_lane *lane, uint64_t number, int64_t deadline_ns);
/* Takes the failure of one of the first `sealed` batches, if there is any; to be freed with dsp_error_free. */
struct dango_error *dsp_lane_take_failure(struct dsp_lane *lane, uint64_t sealed);

/* ---- producer.c ------------------------------------------------------------------------------------------------ */

/* The value of an option "batch_size": events, or DSP_ADAPTIVE for "adaptive" and 0. */
int dsp_batch_size(struct json_object *json, size_t *batch_size, struct dango_error *err);

void dsp_producer_retain(struct diaspora_producer *producer);
void dsp_producer_release(struct diaspora_producer *producer);

#endif
