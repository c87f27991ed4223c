/*
 * The insides of a log, shared by its writer, its opening and its readers. Not for others.
 */
#ifndef DANGO_MOFKA_LOG_INTERNAL_H
#define DANGO_MOFKA_LOG_INTERNAL_H

#include "mofka/log/checked.h"
#include "mofka/log/log.h"
#include "mofka/log/producers.h"

#define MOFKA_LOG_TOPIC_MAX 256

struct mofka_log {
    char topic[MOFKA_LOG_TOPIC_MAX + 1];
    uint8_t uuid[16];
    uint64_t max_chunk_size, max_events_per_chunk;
    const struct mofka_log_io *io;
    char *path;       /* of the directory, as in the settings: for messages */
    int directory;    /* descriptor */
    int lock_fd;      /* of partition.json, locked */
    uint64_t next_id; /* the appender's */
    struct mofka_producers *producers;
    struct mofka_checked checked; /* of frames that readers have come to */
    pthread_mutex_t state_lock;   /* guards the next four; a leaf, never held during I/O */
    bool failed;                  /* no more writing, because of `failure` */
    struct dango_error failure;
    struct mofka_chunk *syncing; /* a sync of it up to sync_end has been begun; NULL: none */
    size_t sync_end;
    pthread_mutex_t lock;        /* guards the rest; taken before a chunk's */
    struct mofka_chunk **chunks; /* ascending; at least one; the last is open */
    size_t num_chunks;
    struct list_node idle; /* mapped chunks that nobody pins, oldest first */
    size_t num_idle, max_idle;
    uint64_t oldest_file; /* number of the first chunk whose files may be there; trim's */
};

/* Hold and release of a chunk's region: one pin more or less of a chunk that is pinned already. */
void mofka_log_hold_chunk(struct mofka_region *region);
void mofka_log_release_chunk(struct mofka_region *region);

/* The numbers of all chunk-N.log files, ascending, to be freed. All or none: a list that lacks the last ones would hide
 * events. */
int mofka_log_find_chunks(int directory, uint64_t **numbers, size_t *count, struct dango_error *err);

/* Removes index files of chunks that are no more: a crash can leave them. */
void mofka_log_sweep(struct mofka_log *log);

int mofka_log_add_chunk(struct mofka_log *log, struct mofka_chunk *chunk);

#endif
