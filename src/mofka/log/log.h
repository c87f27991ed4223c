/*
 * A log: the files of one partition (format.h), opened by one process at a time.
 *
 * Writing: one writer appends groups of frames. What has been appended becomes visible to readers, and may be acknowledged
 * to producers, with sync, or with publish if it need not be safe. The log changes to a new chunk when the open one has
 * reached its limits; the old one is then synced and sealed.
 *
 * While a sync runs, more can be appended; the next sync covers it. begin_sync is the border: what was appended before it
 * is safe when the sync has ended. As long as one is begun the log does not change to a new chunk: the one being synced
 * must not be closed, and two syncs of a file may not run at the same time, because the kernel tells of an error only once.
 *
 *   append fails       the file is cut back to where it was: nothing of the group is there, later groups may succeed. What
 *                      lies before it is left alone, so a sync that runs may go on
 *   cutting back fails or sync fails
 *                      what is on the medium is unknown from here on: the log refuses to write until it is opened again
 *
 * Opening: sealed chunks are taken as they are (their headers are read); the last one is verified frame by frame, its torn
 * end cut and reported. Damage before whole frames stays where it is and is reported to whoever reads those events.
 *
 * Reading: a reader pins the chunk it is in and walks its frames in mapped memory.
 *
 * Threads: append, begin_sync, publish: one at a time. Sync: one at a time; beside append only if it was begun before that.
 * Readers: any number, each used by one thread at a time, concurrent with the writer. All functions may block on file I/O,
 * but begin_sync and publish.
 */
#ifndef DANGO_MOFKA_LOG_H
#define DANGO_MOFKA_LOG_H

#include "mofka/log/chunk.h"
#include "mofka/log/producers.h"
#include "mofka/log/scan.h"

/* In the directory of a partition: whose it is. */
#define MOFKA_LOG_IDENTITY_FILE "partition.json"

struct json_object;
struct mofka_log;

struct mofka_log_settings {
    const char *directory; /* <path>/<topic>-<uuid> */
    const char *topic;
    uint8_t uuid[16];
    uint64_t max_chunk_size; /* bytes */
    uint64_t max_events_per_chunk;
    size_t mappings;               /* chunks kept mapped that nobody reads */
    const struct mofka_log_io *io; /* borrowed */
    struct json_object *origin;    /* for create: "origin" of partition.json, see docs/formats/log.md; may be NULL */
};

/* What opening found. */
struct mofka_log_report {
    uint64_t chunks, first_id, next_id;
    uint64_t torn_bytes;                     /* cut off the end */
    uint64_t damaged_stretches, lost_events; /* in the last chunk */
    bool end_of_stream;                      /* it ends with that mark */
};

/* Makes the directory (with parents) and an empty log in it. DANGO_ERR_EXISTS when there is a partition already. */
int dango_mofka_log_create(const struct mofka_log_settings *settings, struct mofka_log **log, struct dango_error *err);
/* Opens an existing one; `settings->topic` and `uuid` must be its. DANGO_ERR_BUSY when another process has it open. */
int dango_mofka_log_open(const struct mofka_log_settings *settings, struct mofka_log **log,
                         struct mofka_log_report *report, struct dango_error *err);
/* No reader may be in use. */
void dango_mofka_log_close(struct mofka_log *log);

/* partition.json of a directory, checked: who is it? `uuid` may be NULL. The caller frees *topic. */
int dango_mofka_log_identify(const char *directory, char **topic, uint8_t uuid[16], struct dango_error *err);

/* Who wrote to it: told of every frame when it is appended, before it is safe. The log's. */
struct mofka_producers *dango_mofka_log_producers(const struct mofka_log *log);
/* Descriptor of its directory, the log's. */
int dango_mofka_log_directory(const struct mofka_log *log);
uint64_t dango_mofka_log_first_id(struct mofka_log *log);
/* Of the next event to be appended; published or not. */
uint64_t dango_mofka_log_next_id(struct mofka_log *log);

/*
 * Frames with ids from next_id on, sealed and signed, each followed in memory by its content and padding. On failure
 * the first *appended of them are in the log all the same: a group may lie across a change of chunks. DANGO_ERR_AGAIN: the
 * others need a new chunk, after the sync that has been begun.
 */
int dango_mofka_log_append(struct mofka_log *log, struct mofka_frame *const *frames, size_t count, size_t *appended,
                           struct dango_error *err);
/* From here on append may run beside sync. */
void dango_mofka_log_begin_sync(struct mofka_log *log);
/* Puts what was there at begin_sync (if that was not called: now) on the medium and shows it to readers. */
int dango_mofka_log_sync(struct mofka_log *log, struct dango_error *err);
/* Whether the log takes no more after a failure; and making it so, for the reason `why`. */
bool dango_mofka_log_refuses(struct mofka_log *log);
void dango_mofka_log_refuse(struct mofka_log *log, const struct dango_error *why);
/* Shows everything appended to readers. */
void dango_mofka_log_publish(struct mofka_log *log);

/* ---- removing ---- */

/* Which chunks are to go. The open one never does. */
struct mofka_log_retention {
    uint64_t max_bytes;      /* of all chunk files together; 0: any number */
    uint64_t max_age_ns;     /* since the last event of a chunk; 0: any age */
    uint64_t needed_from_id; /* chunks with events from here on stay in any case */
    bool only_needed;        /* those without go, whatever their age and size */
};

struct mofka_log_removal {
    uint64_t chunks, bytes, first_id; /* what has gone, and the first event that is left */
    uint64_t expires_ns; /* when the first sealed chunk that is left will be too old, since 1970; 0: none */
    bool held_back;      /* something is too old or too much, but needed */
};

/*
 * Removes whole chunks from the front, each by its index file, its log file, and a sync of the directory, so that at any
 * moment, and after a crash, the rest is a log. Readers that have pinned a chunk keep it until they leave it. When a file
 * cannot be removed its chunk is gone for readers all the same, until the log is opened again; the next call tries again.
 * One thread at a time, concurrent with the writer and readers.
 */
int dango_mofka_log_trim(struct mofka_log *log, const struct mofka_log_retention *retention,
                         struct mofka_log_removal *removal, struct dango_error *err);
/* Removes the directory with everything in it, under another name (<directory>.deleted) until it is empty. What is written
 * and read by those who are still at it goes nowhere. */
int dango_mofka_log_erase(struct mofka_log *log, struct dango_error *err);
/* The same for one that is not open, and for what an interrupted removal has left. DANGO_ERR_BUSY when a process has it
 * open; 0 when it is not there. */
int dango_mofka_log_remove(const char *directory, struct dango_error *err);
/* Removes all that interrupted removals have left in `path`: directories <topic>-<uuid>.deleted. Problems are logged. */
void dango_mofka_log_sweep_deleted(const char *path);
/* How many chunks there are. */
size_t dango_mofka_log_num_chunks(struct mofka_log *log);
/* Where the first sealed chunk ends: the id that everybody must have passed before anything can go; 0 without one. */
uint64_t dango_mofka_log_first_end(struct mofka_log *log);

/* ---- reading ---- */

struct mofka_log_reader {
    struct mofka_log *log;
    struct mofka_chunk *chunk; /* pinned; NULL: none */
    bool headers_only; /* set by its user after init: contents are compared by dango_mofka_log_check, or elsewhere */
    struct mofka_scan scan;
    unsigned faults; /* of the chunk when the last frame was verified */
};

void dango_mofka_log_reader_init(struct mofka_log_reader *reader, struct mofka_log *log);
/* Unpins. */
void dango_mofka_log_reader_fini(struct mofka_log_reader *reader);

/* Goes to the frame that holds event `id`; ids before the first kept one go there (scan.next_id says so), ids behind
 * the end are DANGO_ERR_RANGE. */
int dango_mofka_log_seek(struct mofka_log_reader *reader, uint64_t id, struct dango_error *err);

/*
 * The next item: 1 and a frame (whole, content verified unless headers_only; valid while the reader stays in this
 * chunk, or somebody holds the chunk's region) or a stretch of damage (item->frame NULL, item->lost events from
 * item->first_id; or, with item->removed, of events that have been removed before the reader came to them); 0 when
 * there is nothing more yet.
 */
int dango_mofka_log_next(struct mofka_log_reader *reader, struct mofka_scan_item *item, struct dango_error *err);
/* Whether the frame that dango_mofka_log_next gave last is still what it was, as far as anybody knows: its header is. If not,
 * something of the chunk could not be read since. */
bool dango_mofka_log_reader_intact(struct mofka_log_reader *reader, const struct mofka_frame *frame);

/*
 * For readers with headers_only: whether the content of the frame that next returned last is what was written, by comparing
 * it with its checksum, unless that was done within the last second (checked.h). Without `compare`: only whether it can be
 * read. The reader stands behind the frame in any case.
 */
bool dango_mofka_log_check(struct mofka_log_reader *reader, const struct mofka_scan_item *item, bool compare);

#endif
