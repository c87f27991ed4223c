/*
 * A back-end for tests of the streaming core: topics in memory, in this process, registered as driver "fake".
 *
 * Everything is answered by a pool of completion threads, after random delays if asked for, in random order (batches of
 * a sink are stored in order all the same; only the answers overtake each other). Faults are set and statistics read
 * through the functions below; all of them are thread-safe. One lock, no cleverness.
 */
#ifndef DANGO_TESTS_DIASPORA_FAKE_H
#define DANGO_TESTS_DIASPORA_FAKE_H

#include "diaspora/driver.h"

struct fake_settings {
    unsigned threads;      /* completion threads; 0 means 2 */
    unsigned delay_us_max; /* random delay of every answer */
    bool no_data_along;    /* never send data with the records */
    unsigned batch_fails;  /* the n-th batch submitted (from 1) fails, with those queued behind it; 0: none */
    bool hold_batches;     /* batches are stored, but not answered until fake_release_batches */
    bool hold_settling;    /* the same for the question whether batches are stored … */
    bool unsettled;        /* … which is answered by a failure */
    bool hold_reads;       /* the same for reads */
    bool damage_records;   /* the last record of an answer to a fetch does not end in a NUL */
    bool lost_is_run;      /* that batch stands as a damaged run between others */
    bool lost_is_removed;  /* that batch is not damaged, but no longer kept */
    unsigned batch_lost;   /* the n-th batch of a partition (from 1) cannot be read by consumers; 0: none */
    int failure_code;      /* of batches and reads that fail; 0: IO and CORRUPT */
    uint64_t read_fails;   /* reading this event id fails; FAKE_NONE: none */
};

#define FAKE_NONE          UINT64_MAX
#define FAKE_DEFAULTS      ((struct fake_settings){.read_fails = FAKE_NONE})
#define FAKE_BATCH_FAILURE "the fake disk is full"
#define FAKE_READ_FAILURE  "the fake disk is unreadable"

struct fake_statistics {
    size_t batches, batches_unanswered_max; /* of all sinks */
    size_t settlings;
    size_t reads, read_items;
    size_t read_ranges_max;        /* of one read */
    size_t fetches_unanswered_max; /* of all sources */
    size_t buffers;                /* allocated and not freed */
    size_t drivers, topics, sinks, sources;
};

/* Starts the completion threads and registers the driver; stops them and forgets all topics. */
void fake_start(struct fake_settings settings);
void fake_stop(void);
/* Changes what happens from now on; the number of threads stays. */
void fake_change(struct fake_settings settings);

struct fake_statistics fake_statistics(void);
/* Answers all batches and reads held back so far. */
void fake_release(void);
/* Fails what is outstanding and everything later with DANGO_ERR_DISCONNECTED. */
void fake_disconnect(void);
/* Marks all partitions of a topic complete. */
void fake_mark_complete(const char *topic);
/* Events stored in a partition. */
uint64_t fake_event_count(const char *topic, size_t partition);
/* Saved position of a consumer. */
uint64_t fake_position(const char *topic, size_t partition, const char *consumer);
/* Replaces the stored description of a topic's validator. */
void fake_set_validator(const char *topic, const char *json);

#endif
