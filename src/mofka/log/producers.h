/*
 * Producers: what a partition remembers of those who wrote to it, so that a batch that is sent twice is stored once.
 *
 * A producer numbers its batches and has at most `window` of them without an answer. After a broken connection it comes
 * back, says which batches it does not know the fate of (they are `unsettled`), and sends them again with the same
 * numbers. For each producer the table holds the numbers and first ids of the last `window` batches that are part of
 * the partition: what is found there is a repeat and is answered from there.
 *
 * In a log the table is told of every frame that is appended, is written to the file "producers" when the log changes to
 * a new chunk (docs/formats/log.md), and is made again at start from that file and from the frames of the last chunk: the
 * cost does not grow with the log.
 *
 * When it does not know. Frames can be damaged, the file can be missing, old producers are forgotten. Then a batch whose
 * fate is open may be stored or not, and the table must say neither: the producer gets DANGO_ERR_CORRUPT, tells its
 * application that the fate of these batches is unknown, and may go on with new ones.
 *
 *   damage in the last chunk   all producers seen before it are `uncertain` until a batch of theirs is seen that follows
 *                              the last one known; producers that are not in the table are in doubt
 *   file missing or too old    producers that are not in the table are in doubt
 *   forgotten                  producers that were silent for MOFKA_PRODUCER_AGE_NS are forgotten without harm: nobody
 *                              waits as long for an answer. Beyond MOFKA_PRODUCERS_MAX younger ones are forgotten, too,
 *                              and whoever is not in the table is in doubt
 *
 * Doubt ends after MOFKA_PRODUCER_AGE_NS: by then nobody waits for an answer from before.
 *
 * Threads: all functions may be called from any thread; the table's lock is a leaf. Nothing blocks but load and save.
 */
#ifndef DANGO_MOFKA_LOG_PRODUCERS_H
#define DANGO_MOFKA_LOG_PRODUCERS_H

#include "mofka/partition/frame.h"

#include <dango/error.h>

#include <stdbool.h>

#define MOFKA_PRODUCERS_NAME   "producers" /* of the file */
#define MOFKA_PRODUCER_AGE_NS  (UINT64_C(3600) * 1000000000u)
#define MOFKA_PRODUCERS_MAX    65536u
#define MOFKA_PRODUCER_HISTORY 1024u /* batches remembered of one producer at most */

struct mofka_producers;
struct mofka_producer;

/* What a producer says when it comes. Zeroed: it is new, its first batch has the number 0. */
struct mofka_resume {
    uint64_t first;      /* number of its oldest unsettled batch, or of its next one */
    uint64_t stored_end; /* behind the last batch of which it was told recently that it is stored; 0: it says nothing */
    uint32_t unsettled;  /* batches from `first` on that it has sent before */
    uint32_t window;     /* most batches without an answer; at most MOFKA_PRODUCER_HISTORY. 0: as many */
};

int dango_mofka_producers_create(struct mofka_producers **producers, struct dango_error *err);
void dango_mofka_producers_destroy(struct mofka_producers *producers);

/* The frame has become part of the partition; frames without events or producer are passed over. A frame that is noted
 * already changes nothing. Without memory for it the producer is in doubt. */
void dango_mofka_producers_note(struct mofka_producers *producers, const struct mofka_frame *frame);
/* From here on frames are missing that nobody knows. */
void dango_mofka_producers_damaged(struct mofka_producers *producers, uint64_t now_ns);
/* Producers that are not in the table may have been forgotten. */
void dango_mofka_producers_doubt(struct mofka_producers *producers, uint64_t now_ns);

/*
 * A producer comes: its record, which is not forgotten until it is put back. DANGO_ERR_CORRUPT when it is not known what
 * became of its unsettled batches, or when the partition lacks a batch that it was told is stored.
 */
int dango_mofka_producers_get(struct mofka_producers *producers, uint64_t id, const struct mofka_resume *resume,
                              uint64_t now_ns, struct mofka_producer **producer, struct dango_error *err);
void dango_mofka_producers_put(struct mofka_producers *producers, struct mofka_producer *producer);

/* Whether a batch of the producer is part of the partition: 1 and the id of its first event, 0: not, it is a new one, or
 * DANGO_ERR_CORRUPT: later ones are, but this one is not known. */
int dango_mofka_producers_find(struct mofka_producers *producers, const struct mofka_producer *producer,
                               uint64_t sequence, uint64_t *first_id, struct dango_error *err);

/* Behind the newest batch of the producer that is known, and the id of its first event; 0 when none is. */
uint64_t dango_mofka_producers_newest(struct mofka_producers *producers, const struct mofka_producer *producer,
                                      uint64_t *first_id);

size_t dango_mofka_producers_count(struct mofka_producers *producers);

/*
 * The file, in the directory of a log: everything up to chunk `number`, exclusive. Loading, into an empty table, returns
 * whether it then lacks only what is in chunks from `number` on; if not, the doubt is noted.
 */
int dango_mofka_producers_save(struct mofka_producers *producers, int directory, const uint8_t partition[16],
                               uint64_t number, uint64_t now_ns, struct dango_error *err);
bool dango_mofka_producers_load(struct mofka_producers *producers, int directory, const uint8_t partition[16],
                                uint64_t number, uint64_t now_ns);
/* Removes what a process that died in save has left; by the owner of the log. */
void dango_mofka_producers_tidy(int directory);

#endif
