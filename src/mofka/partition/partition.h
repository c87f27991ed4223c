/*
 * A partition: a sequence of events, appended in batches by many producers and read by many consumers at once.
 *
 * Writing a batch takes three steps, so that its bytes go directly to their final place while others arrive:
 *
 *     reserve    a place for it, in the order in which batches arrived; that is their order for ever
 *     (receive)  the caller fills in records and data, however long that takes
 *     commit     with the outcome; batches are completed in the order of their reservation: only then are event ids
 *                given and becomes the batch visible to readers. A batch that failed leaves a hole without ids.
 *
 * The end of the stream is a batch without events: what was reserved before it is stored first, later batches are refused.
 *
 * What one producer sends (a stream) is numbered. A batch out of sequence is refused, and once one has failed all
 * later ones fail too, until the producer starts a new attempt: order within a stream holds whatever happens. A producer
 * that lost its connection comes with a new stream and sends again what it has no answer for; what is stored already is
 * found by its number (mofka/log/producers.h).
 *
 * Reading is done by readers, each with a place of its own; it never waits for writers.
 *
 * Events are kept in one of two storages: in memory, for the life of the object, or in a log on a medium (mofka/log). In
 * a log, a batch is complete when it has been written and, with `sync`, is safe; batches that come while others are being
 * synced are synced together next (group commit). What is read lies in mapped chunks, which readers hold.
 *
 * Threads: all functions may be called from any thread. In memory none blocks except for a mutex held for short stretches
 * of memory work; readers of a log may wait for the medium. One reader is used by one thread at a time.
 */
#ifndef DANGO_MOFKA_PARTITION_H
#define DANGO_MOFKA_PARTITION_H

#include "mofka/log/log.h"
#include "mofka/partition/frame.h"
#include "mofka/partition/region.h"
#include "util/list.h"

#include <stdatomic.h>

struct mofka_partition;
struct mofka_segment;
struct mofka_default_options;
struct mofka_legacy_settings;

struct mofka_partition_settings {
    uint8_t uuid[16];
    const struct mofka_registrar *registrar; /* borrowed for the life of the partition; may be NULL */
    size_t segment_size;                     /* bytes of the first segment, later ones grow; 0: default */
    /* Called after events became visible, without locks, from the thread that committed. May be NULL. */
    void (*grown)(void *arg);
    void *arg;
};

int dango_mofka_partition_create(const struct mofka_partition_settings *settings, struct mofka_partition **partition,
                                 struct dango_error *err);

/* What a partition on a log needs beyond that. */
struct mofka_stored_settings {
    const char *topic;
    const struct mofka_default_options *options; /* borrowed during the call */
    const struct mofka_log_io *io;               /* borrowed for the life of the partition */
    bool must_exist;                             /* fail when there is no such log, instead of making one */
    struct json_object *origin;                  /* for the partition.json of a new one; may be NULL */
    /* Calls body(argument) soon, somewhere where it may block; body must have returned before destroy. Two at a time. */
    int (*run)(void *arg, void (*body)(void *argument), void *argument);
    void (*sleep)(void *arg, int64_t timeout_ms); /* blocks what `run` runs; may be NULL when `sync` is no interval */
    void *run_arg;
    uint64_t help_bytes; /* that many do not wait for others to be synced, nor for a sync to be appended; 0: default */
};

/*
 * A partition on the log in <path>/<topic>-<uuid>, which is made if it is not there; else its last chunk is verified, and
 * the report says what was found. Blocks on file I/O. Errors name the directory.
 */
int dango_mofka_partition_open(const struct mofka_partition_settings *settings,
                               const struct mofka_stored_settings *stored, struct mofka_partition **partition,
                               struct mofka_log_report *report, struct dango_error *err);
/* The log of such a partition; NULL for one in memory. */
struct mofka_log *dango_mofka_partition_log(struct mofka_partition *partition);

/* A partition in a database and a blob store (legacy_store.h). `run`: as for one on a log. Blocks on RPCs. */
int dango_mofka_partition_open_legacy(const struct mofka_partition_settings *settings,
                                      const struct mofka_legacy_settings *legacy,
                                      int (*run)(void *arg, void (*body)(void *argument), void *argument),
                                      void *run_arg, struct mofka_partition **partition, struct dango_error *err);

/* Nothing may be reserved and not completed, and no reader in use. */
void dango_mofka_partition_destroy(struct mofka_partition *partition);

/* Number of events that are visible = id of the next one. */
uint64_t dango_mofka_partition_next_id(const struct mofka_partition *partition);
/* The first event that is there: 0, or where the log begins. */
uint64_t dango_mofka_partition_first_id(struct mofka_partition *partition);
/* Contents in memory go with their server: a random number that tells them from those that come after, with the same ids.
 * 0: contents that stay. */
uint64_t dango_mofka_partition_life(const struct mofka_partition *partition);
/* Bytes of frames committed since the partition was created or opened. */
uint64_t dango_mofka_partition_size(struct mofka_partition *partition);

/* ---- writing ---- */

/*
 * The batches of one producer, for as long as it stays connected. Zeroed by its owner; what is in it belongs to the
 * partition. A stream that was only given its `producer` and not attached works, too, but nothing is known of what the
 * producer stored before.
 */
struct mofka_stream {
    uint64_t producer;             /* random number */
    uint64_t next_sequence;        /* expected, if `attempt` > 0 */
    uint32_t attempt;              /* newest seen; 0: none yet */
    uint32_t failed_attempt;       /* batches of this and earlier attempts are refused */
    struct mofka_producer *record; /* attached */
    uint64_t stored_end;           /* attached: behind the newest batch known then */
    uint64_t promised_end;         /* behind the last event that it may believe stored */
    struct list_node link;         /* attached: in the partition's list */
    atomic_uint pending;           /* batches reserved and not done */
};

/*
 * The producer comes, or comes back: its earlier streams are at an end, and its first batch is number resume->first of
 * attempt `attempt`. DANGO_ERR_BUSY: batches of an earlier stream are still under way, try again soon; DANGO_ERR_CORRUPT:
 * see mofka/log/producers.h.
 */
int dango_mofka_partition_attach(struct mofka_partition *partition, struct mofka_stream *stream, uint64_t producer,
                                 uint32_t attempt, const struct mofka_resume *resume, struct dango_error *err);
/* Its batches are done and no more will come. Nothing is done for one that is not attached. */
void dango_mofka_partition_detach(struct mofka_partition *partition, struct mofka_stream *stream);

/* A batch on its way in; memory of the caller, from reserve to done. */
struct mofka_reception {
    /* to be set before reserve */
    struct mofka_stream *stream;
    uint32_t attempt; /* ≥ 1; larger than before: a new start after a failure */
    uint32_t count;   /* events, ≥ 1 */
    uint64_t sequence;
    bool end_of_stream;               /* set by dango_mofka_partition_end */
    uint64_t records_size, data_size; /* bytes */
    /* Called once after commit, without locks, possibly by the thread that commits another batch. code is 0 or the one
     * given to commit, or DANGO_ERR_CANCELED because an earlier batch of the stream failed, or why it could not be
     * stored, and then `failure` says so. */
    void (*done)(struct mofka_reception *reception, uint64_t first_id, int code);
    /* May be NULL. Called at most once, without locks, before `done`, when the partition vouches for the batch with
     * `first_id` although it is not stored yet. Only partitions with ack_early do. */
    void (*promised)(struct mofka_reception *reception, uint64_t first_id);
    const struct dango_error *failure; /* during done: the storage's words, or NULL */
    /* set by reserve: where the content goes, records first and data right behind */
    struct mofka_region *region;
    size_t offset; /* of the records in the region */
    /* the partition's */
    struct list_node link, promise;
    uint64_t first_id;
    int code;
    bool received, is_promised;
    atomic_uint calls; /* promised: of `promised` and `done` that are to come */
};

/*
 * Gives the batch its place. 1: it has one already, the producer has sent it before; its first_id is set, nothing was
 * reserved and `done` will not be called. On failure (out of sequence, too large, no memory) nothing was reserved,
 * `done` will not be called, and the attempt has failed.
 */
int dango_mofka_partition_reserve(struct mofka_partition *partition, struct mofka_reception *reception,
                                  struct dango_error *err);

/* The content is in place (code 0) or will not come (a negative code). */
void dango_mofka_partition_commit(struct mofka_partition *partition, struct mofka_reception *reception, int code);

/* Somebody waits until what was promised is stored. Memory of the caller until `done`. */
struct mofka_settling {
    /* Called once, without locks, perhaps before settle returns. An error: something promised is not stored. */
    void (*done)(struct mofka_settling *settling, const struct dango_error *err);
    /* the partition's */
    struct list_node link;
    uint64_t end;
};

/* Everything that was promised to the stream so far, or to its producer in earlier ones. */
void dango_mofka_partition_settle(struct mofka_partition *partition, struct mofka_stream *stream,
                                  struct mofka_settling *settling);

/*
 * Ends the stream. Needs only `done` in the reception, which is called, perhaps before this returns, when the mark is stored
 * or could not be; with code 0 also when it was there before. Not called when this fails: DANGO_ERR_BUSY while somebody
 * else is at it.
 */
int dango_mofka_partition_end(struct mofka_partition *partition, struct mofka_reception *reception,
                              struct dango_error *err);
/* Whether the mark is stored: next_id does not grow any more. */
bool dango_mofka_partition_is_complete(const struct mofka_partition *partition);

static inline unsigned char *mofka_reception_records(const struct mofka_reception *reception)
{
    return reception->region->base + reception->offset;
}

/* ---- reading ---- */

/* A place in a partition. Set up by seek, ended by fini. */
struct mofka_reader {
    struct mofka_partition *partition;
    struct mofka_region *region; /* in memory: of `segment`; in a log: of the chunk that the reader holds */
    size_t offset;               /* of the frame with next_id, or where it will be */
    bool waits;                  /* its user may wait for storage that is far away */
    uint64_t next_id;            /* event that comes next */
    uint32_t record;             /* its number in the frame */
    size_t records_done;         /* bytes of the records before it */
    uint64_t data_done;          /* bytes of their data */
    struct mofka_segment *segment;
    struct mofka_log_reader log;
    const struct mofka_frame *frame; /* in a log: the frame that the reader stands in, or NULL; its header is checked */
    uint64_t lost;                   /* in a log: that many events from next_id on are damaged … */
    bool removed;                    /* … or no longer kept */
};

/* Consecutive events of one frame. Offsets count from the region's base. Valid until the next call for the reader, and
 * as long as the region is held. */
struct mofka_slice {
    struct mofka_region *region;
    const struct mofka_frame *frame;
    uint64_t first_id;
    uint32_t count; /* fewer than frame->count: a part */
    bool with_data; /* the data are to be delivered; `size` includes them */
    size_t records_offset, records_size;
    size_t data_offset;
    uint64_t data_size;
    uint64_t size; /* of a frame that holds just these events */
};

/* What the next slice may be. */
struct mofka_limits {
    uint64_t size;   /* bytes, header and padding included */
    uint32_t events; /* ≥ 1 */
    bool with_data;
    /* The slice's user compares frames that are whole and have all their data with their checksums by itself. */
    bool unchecked;
    /* Frames up to this size are delivered whole or not at all: what is checked once is not checked for each part. */
    uint64_t uncut;
};

/* One event's data. */
struct mofka_place {
    struct mofka_region *region;
    size_t data_offset;
    uint64_t data_size;
};

/* Puts the reader in front of event `id`, which may be the next one to come, or one that is no longer kept.
 * DANGO_ERR_RANGE when it is beyond that. */
int dango_mofka_reader_seek(struct mofka_reader *reader, struct mofka_partition *partition, uint64_t id,
                            struct dango_error *err);
/* A reader for locate, for a user that may wait. */
static inline void mofka_reader_init(struct mofka_reader *reader, struct mofka_partition *partition)
{
    *reader = (struct mofka_reader){.partition = partition, .next_id = UINT64_MAX, .waits = true};
}
/* Lets go of what the reader holds; a zeroed one holds nothing. Not needed after a seek that failed. */
void dango_mofka_reader_fini(struct mofka_reader *reader);

/*
 * The next events, as many as the limits allow, and steps over them. 1 and a slice; 0 when there is none: *needed is
 * then 0 at the end, and before a frame that is not to be cut, else the bytes that the next event alone takes. Negative: the
 * stored bytes are damaged, or (DANGO_ERR_NOT_FOUND, and `removed` is set) were removed by retention, and stay in the way
 * until they are skipped.
 */
int dango_mofka_reader_next(struct mofka_reader *reader, const struct mofka_limits *limits, struct mofka_slice *slice,
                            uint64_t *needed, struct dango_error *err);

/* After next found a gap: goes on behind it. The number of events given up from the reader's next_id on; 0 when it is
 * not known where they end. */
uint64_t dango_mofka_reader_skip(struct mofka_reader *reader);

/* Where the data of event `id` are; asking for ascending ids is cheap. The reader must have been set up. */
int dango_mofka_reader_locate(struct mofka_reader *reader, uint64_t id, struct mofka_place *place,
                              struct dango_error *err);

/* Where the first batch that came at `time_ns` (since 1970) or later begins: an id up to next_id. */
int dango_mofka_partition_find_time(struct mofka_partition *partition, uint64_t time_ns, uint64_t *id,
                                    struct dango_error *err);

/* The header of a frame that holds just the events of a slice, sealed. */
void dango_mofka_slice_header(const struct mofka_slice *slice, struct mofka_frame *header);

#endif
