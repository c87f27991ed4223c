/*
 * One chunk: a file of frames, its sparse index, and the memory through which it is read.
 *
 * The chunk at the end of a log is open: frames are appended to it by one writer, its index grows in memory. A sealed
 * chunk never changes; its index is a file that can be made again from the chunk at any time.
 *
 * Reading goes through a mapping of the file (the page cache, no copy), which is guarded: what the medium does not give is
 * read as zeros, and so found to be damaged (util/bus_guard.h). A mapping exists while somebody has pinned the
 * chunk, and afterwards until the log needs the place (fd_cache_capacity). What lies before `size` is whole frames, or
 * damage that was there when the log was opened; readers load `size` with acquire order and never look behind it.
 *
 * Threads: append and seal by one writer at a time; everything else from any thread.
 */
#ifndef DANGO_MOFKA_CHUNK_H
#define DANGO_MOFKA_CHUNK_H

#include "mofka/log/format.h"
#include "mofka/log/io.h"
#include "mofka/partition/region.h"
#include "util/bus_guard.h"
#include "util/list.h"

#include <dango/error.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct mofka_log;
struct mofka_producers;

struct mofka_chunk {
    struct mofka_log *log;             /* that it belongs to, or NULL */
    struct mofka_producers *producers; /* told of what a scan finds, or NULL */
    uint64_t number;
    uint64_t first_id;
    uint64_t created_ns; /* since 1970 */
    bool removed;        /* from the log, but somebody has pinned it; guarded by the log's lock */
    atomic_size_t size;  /* bytes readers may look at, header included */
    atomic_bool sealed;
    int fd;               /* open chunk: for writing; sealed: -1 */
    size_t end;           /* open chunk: where the next frame goes; the appender's */
    unsigned appends;     /* since it was opened; the appender's */
    size_t reserved;      /* open chunk: how long the file may be beyond `end`; the appender's */
    uint64_t events;      /* open chunk: events in it; the appender's */
    pthread_mutex_t lock; /* guards the index and the mapping */
    struct mofka_index_point *points;
    size_t num_points, points_capacity;
    size_t unread; /* sealed chunk: where the medium failed when the index was made, which ends there; 0: nowhere */
    struct mofka_region region; /* mapping, or base NULL; to hold it is to pin the chunk */
    size_t mapped;              /* its length */
    struct dango_bus_guard guard;
    unsigned pins;
    struct list_node idle; /* in the log's list of mappings that nobody pins */
};

/* "chunk-000042.log": at least six digits. */
#define MOFKA_CHUNK_NAME_MAX 40
void mofka_chunk_name(uint64_t number, const char *suffix, char name[MOFKA_CHUNK_NAME_MAX]);

/* Why a part of a mapped chunk is missing. */
#define MOFKA_CHUNK_UNREADABLE                                                                                         \
    "a part of the file cannot be read: the medium fails, or somebody has shortened it; look into the kernel's "       \
    "messages"

/* What a scan found when a chunk was opened or verified. */
struct mofka_chunk_report {
    uint64_t frames, events, next_id;
    uint64_t damaged_stretches, lost_events;
    uint64_t torn_offset, torn_bytes; /* 0 bytes: not torn */
    uint64_t end;                     /* behind the last frame, or the torn end */
    bool end_of_stream;               /* its last frame is that mark */
    bool unreadable;                  /* the medium failed: what was found is not all that there is */
};

/*
 * Makes the file of a new chunk, with its header, durable in its directory (an open descriptor). On failure there is no
 * such file, unless *broken is set: then it is there, and nobody knows for how long. `chunk-NNNNNN.new` is its name while it
 * is being made; one that a crash left behind is overwritten.
 */
int mofka_chunk_create(int directory, uint64_t number, uint64_t first_id, const uint8_t partition[16],
                       struct mofka_chunk **chunk, bool *broken, struct dango_error *err);
/* Opens an existing one; reads and checks only its header. `last`: for appending, otherwise as a sealed one. */
int mofka_chunk_open(int directory, uint64_t number, const uint8_t partition[16], bool last, struct mofka_chunk **chunk,
                     struct dango_error *err);
void mofka_chunk_destroy(struct mofka_chunk *chunk);

/*
 * Walks through the whole chunk and makes its index in memory. `contents` compares checksums of contents, too. Damage is
 * reported, not repaired. Ends where the chunk cannot be read.
 */
int mofka_chunk_scan(struct mofka_chunk *chunk, int directory, const uint8_t partition[16], bool contents,
                     struct mofka_chunk_report *report, struct dango_error *err);

/* Cuts an open chunk at `offset`. */
int mofka_chunk_cut(struct mofka_chunk *chunk, size_t offset, struct dango_error *err);

/*
 * Makes room in the file for `bytes` more and for what comes after them, up to `limit` bytes in all, so that later syncs
 * need not write the file's size, which costs more than a small batch. Not for the first few appends. Without success
 * nothing but speed is lost.
 */
void mofka_chunk_reserve(struct mofka_chunk *chunk, size_t bytes, uint64_t limit);
/* Gives back what is reserved and not used: a sealed chunk ends with its last frame. */
int mofka_chunk_trim(struct mofka_chunk *chunk, struct dango_error *err);

/*
 * Appends frames (each followed in memory by its content and zeroed padding). On failure the file is cut back to where it
 * was; *broken says that this was not possible. Not visible to readers before publish.
 */
int mofka_chunk_append(struct mofka_chunk *chunk, const struct mofka_log_io *io, struct mofka_frame *const *frames,
                       size_t count, bool *broken, struct dango_error *err);
/* Indexes the frame at `offset`, whose first event is `id`. */
void mofka_chunk_note(struct mofka_chunk *chunk, uint64_t id, uint64_t offset);
/* Lets readers see what lies before `end`. */
void mofka_chunk_publish(struct mofka_chunk *chunk, size_t end);

/* Writes the index file and closes the chunk for writing; the log file must have been synced. Without an index the chunk
 * is sealed all the same: it will be made when needed. */
void mofka_chunk_seal(struct mofka_chunk *chunk, int directory, const uint8_t partition[16], uint64_t next_id);

/* Maps the chunk up to `length`, which may lie behind its end, unless it is mapped so far already; once more if a part of
 * it could not be read. Not while pinned. */
int mofka_chunk_map(struct mofka_chunk *chunk, int directory, size_t length, struct dango_error *err);
void mofka_chunk_unmap(struct mofka_chunk *chunk);
/* Reads the index file of a sealed chunk; false when there is none that fits the chunk. */
bool mofka_chunk_load_index(struct mofka_chunk *chunk, int directory, const uint8_t partition[16]);
/* For a sealed chunk: reads its index file, or makes the index (and the file) again, as far as the chunk can be read. */
int mofka_chunk_prepare_index(struct mofka_chunk *chunk, int directory, const uint8_t partition[16],
                              struct dango_error *err);
/* Whether a sealed chunk that is mapped is to be given an index: it has none, or one that could go on now. */
bool mofka_chunk_wants_index(const struct mofka_chunk *chunk);
/* Gives the memory of a sealed chunk's index and of the mapping back. */
void mofka_chunk_forget(struct mofka_chunk *chunk);

/* The last indexed frame that begins at or before event `id`; the first frame's place when there is none. */
struct mofka_index_point mofka_chunk_locate(struct mofka_chunk *chunk, uint64_t id);

#endif
