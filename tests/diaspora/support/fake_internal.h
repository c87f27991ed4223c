/*
 * The insides of the fake back-end: one process-wide server with topics in memory, and threads that answer.
 *
 *     fake.c          topics, answers, control
 *     fake_source.c   events to consumers
 *     fake_sink.c     batches from producers
 */
#ifndef DANGO_TESTS_DIASPORA_FAKE_INTERNAL_H
#define DANGO_TESTS_DIASPORA_FAKE_INTERNAL_H

#include "tests/diaspora/support/fake.h"

#include <pthread.h>

#define TOPICS_MAX     16
#define PARTITIONS_MAX 8
#define POSITIONS_MAX  16
#define THREADS_MAX    8

struct stored_batch {
    unsigned char *records, *data;
    size_t records_size;
    uint64_t data_size, first_id;
    uint32_t count;
};

struct position {
    char consumer[32];
    uint64_t next;
};

struct partition {
    struct stored_batch *batches;
    size_t batch_count, batch_capacity;
    uint64_t events;
    struct position positions[POSITIONS_MAX];
    struct list_node sources;
};

struct topic {
    char name[300];
    char *validator, *selector, *serializer;
    size_t partition_count;
    struct partition partitions[PARTITIONS_MAX];
    bool complete;
};

struct sink {
    struct partition *partition;
    size_t unanswered; /* done has not returned */
    size_t queued;     /* done has not been called */
    bool failing;      /* until all batches that were there when one failed are answered */
};

struct source {
    struct list_node link;
    struct topic *topic;
    struct partition *partition;
    char consumer[32];
    uint64_t first, next, end;
    bool with_data;
    struct list_node fetches;
    size_t unanswered;
    /* where `next` is */
    size_t batch;
    uint32_t done;
    size_t records_at;
    uint64_t data_at;
};

/* One answer on its way. */
struct answer {
    struct list_node link;
    int64_t due_ns;
    bool held;
    struct diaspora_batch *batch;
    struct sink *sink; /* of the batch */
    uint64_t first_id;
    struct diaspora_fetch *fetch;
    struct diaspora_read *read;
    struct diaspora_settling *settling;
    size_t *unanswered;
    int code;
    const char *text;
};

struct fake {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
    bool stopping, disconnected;
    struct fake_settings settings;
    struct fake_statistics statistics;
    struct list_node answers;
    struct topic topics[TOPICS_MAX];
    size_t topic_count;
    size_t batches_unanswered, fetches_unanswered;
    unsigned seed;
};

extern struct fake fake;

#define LOCK()   pthread_mutex_lock(&fake.lock)
#define UNLOCK() pthread_mutex_unlock(&fake.lock)

/* Stops the test without memory. */
void *fake_must(void *pointer);
int fake_failure_code(int usual);

/* Puts an answer on its way; like all that follows under the lock. */
void fake_answer(struct answer what);
/* Answers the fetches that can be answered. */
void fake_serve(struct source *s);
struct position *fake_position_of(struct partition *p, const char *consumer);

/* The operations of the driver take the lock themselves. */
int fake_source_open(void *handle, size_t index, const struct diaspora_source_settings *settings, void **source,
                     struct dango_error *err);
void fake_source_fetch(void *source, struct diaspora_fetch *fetch);
void fake_source_read(void *source, struct diaspora_read *read);
int fake_source_acknowledge(void *source, uint64_t event_id, struct dango_error *err);
int fake_source_extent(void *source, uint64_t *first, uint64_t *end, struct dango_error *err);
void fake_source_close(void *source);
int fake_sink_open(void *handle, size_t index, const struct diaspora_sink_settings *settings, void **sink,
                   struct dango_error *err);
void fake_sink_submit(void *sink, struct diaspora_batch *batch);
void fake_sink_settle(void *sink, struct diaspora_settling *settling);
void fake_sink_close(void *sink);

#endif
