/*
 * What a partition and its two storages share. Not for others.
 */
#ifndef DANGO_MOFKA_PARTITION_INTERNAL_H
#define DANGO_MOFKA_PARTITION_INTERNAL_H

#include "mofka/partition/partition.h"

#include <pthread.h>
#include <stdatomic.h>

/* A storage: where batches are received, and where readers find frames. */
struct mofka_storage_ops {
    void (*destroy)(struct mofka_partition *partition);

    /* Finds `size` bytes for a frame: sets the reception's region and offset. Under the partition's lock. */
    int (*place)(struct mofka_partition *partition, struct mofka_reception *reception, size_t size,
                 struct dango_error *err);
    /* The content has arrived: whatever can be done with it before its turn comes. Without a lock; may be NULL. */
    void (*prepare)(struct mofka_partition *partition, struct mofka_reception *reception);
    /* The turn of a reception has come, with its code. True: it is complete, with first_id and code; false: it will be
     * completed later by mofka_partition_complete. Under the lock. */
    bool (*finish)(struct mofka_partition *partition, struct mofka_reception *reception);
    /* Whether what was finished needs somebody who writes it, and nobody does. Under the lock; may be NULL. */
    bool (*needs_writer)(struct mofka_partition *partition);
    /* Without a lock, after needs_writer said so. */
    void (*start_writer)(struct mofka_partition *partition);

    /* Puts a reader somewhere before event `id`, or where it will be. */
    int (*seek)(struct mofka_reader *reader, uint64_t id, struct dango_error *err);
    /* The frame with events that the reader stands in or before: 1; 0 at the end; negative: damage. */
    int (*frame)(struct mofka_reader *reader, const struct mofka_frame **frame, struct dango_error *err);
    /* Compares the content of that frame with its checksum, unless that was done a moment ago (without `compare`: only reads
     * it): 1, or what `frame` finds in its place when it is not what was written. NULL: there is nothing to compare. */
    int (*check)(struct mofka_reader *reader, const struct mofka_frame **frame, bool compare, struct dango_error *err);
    /* For readers that may wait: makes `frame` find what is there. Without a lock; may be NULL. */
    int (*load)(struct mofka_reader *reader, struct dango_error *err);
    /* Steps over that frame; its memory stays held until the next call of `frame`. */
    void (*step)(struct mofka_reader *reader, const struct mofka_frame *frame);
    void (*fini)(struct mofka_reader *reader); /* may be NULL */
};

struct mofka_partition {
    struct mofka_partition_settings settings;
    const struct mofka_storage_ops *ops;
    uint64_t life; /* see dango_mofka_partition_life; the storage's */
    atomic_uint_fast64_t next_id;
    atomic_bool complete;              /* the end of the stream is stored; set after next_id has its last value */
    struct mofka_producers *producers; /* the storage's */
    pthread_mutex_t lock;              /* guards everything below and the streams */
    struct list_node pending;          /* receptions in the order of their reservation */
    struct list_node streams;          /* that are attached */
    uint64_t size;                     /* bytes committed */
    bool ending;                       /* the end of the stream is reserved or stored */
    struct mofka_stream ends;          /* that the marks of the end belong to */
    struct list_node settlings;        /* that wait */
    struct dango_error refusal;        /* why nothing more is stored; code 0: it is. Set once */
};

/* For the constructors of the storages, which embed the structure. */
void mofka_partition_init(struct mofka_partition *partition, const struct mofka_partition_settings *settings,
                          const struct mofka_storage_ops *ops);
void mofka_partition_fini(struct mofka_partition *partition);

/* For the constructors: whether the mark of the end was there. */
void mofka_partition_set_complete(struct mofka_partition *partition, bool complete);
/* A mark of the end is stored (code 0) or not. Without the lock. */
void mofka_partition_ended(struct mofka_partition *partition, int code);

/* The batch and what comes after it in this attempt of its stream has failed. Under the lock. */
void mofka_reception_failed(struct mofka_reception *reception, int code);

/* Tells whoever waits: `grown` first, because whoever waits for an event is in a greater hurry. Without the lock. */
void mofka_partition_complete(struct mofka_partition *partition, bool grown, struct list_node *finished);

/* The batch will be stored as event `first_id`, unless the medium fails. In `finish`, under the lock. */
void mofka_reception_promise(struct mofka_reception *reception, uint64_t first_id);
/* Of receptions that are promised: tells them. Without the lock. */
void mofka_receptions_tell(struct list_node *promises);
/* One of `promised` and `done` is over: the last one calls done. Without the lock. */
void mofka_reception_done(struct mofka_reception *reception);

/* Nothing is stored any more: what was promised and is not stored is lost. Under the lock. */
void mofka_partition_refuse(struct mofka_partition *partition, const struct dango_error *why);
/* Takes those settlings off whose outcome is known. Under the lock, after next_id has grown or refusal. */
void mofka_partition_settled(struct mofka_partition *partition, struct list_node *settled);
/* Tells them. Without the lock. */
void mofka_settlings_tell(struct mofka_partition *partition, struct list_node *settled);

/* The error of a reader that has `lost` events in front of it. */
int mofka_reader_gap(const struct mofka_reader *reader, struct dango_error *err);

/* Makes the header of a frame from its reception, all but id, time and checksums. */
void mofka_partition_make_header(const struct mofka_partition *partition, const struct mofka_reception *reception,
                                 struct mofka_frame *frame);

#endif
