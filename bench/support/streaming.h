/*
 * Streaming through a server, as several benchmarks measure it: the connection, topics, and a producer or a consumer that
 * moves a number of equal events with 64 bytes of metadata. Everything ends the program with a message when it fails.
 */
#ifndef DANGO_BENCH_SUPPORT_STREAMING_H
#define DANGO_BENCH_SUPPORT_STREAMING_H

#include <diaspora/diaspora.h>

#include "bench/support/report.h"

#include <stddef.h>
#include <stdint.h>

enum { BENCH_METADATA = 64 };
extern const char bench_metadata[];

/* Ends the program with the text of the error unless the status is 0. */
void bench_check(int status, const diaspora_error *err);

/* One connection at a time. */
void bench_connect(const char *group_file);
void bench_disconnect(void);

/* A new topic with these options (of diaspora_topic_create). */
diaspora_topic *bench_topic(const char *options);

struct bench_load {
    diaspora_topic *topic;
    const char *options; /* of the producer or consumer */
    int count;           /* events */
    size_t data_size;    /* bytes per event */
    char *data;
};

/* Events that are mostly data (1 MiB and more) are counted in bytes per second, others in events per second. */
double bench_load_rate(const struct bench_load *load, int64_t start_ns);
const char *bench_load_unit(const struct bench_load *load);

/* Measurements (bench_measure_fn) of a struct bench_load. */
/* Every push is followed by the next at once; the flush at the end counts. */
double bench_produce(void *load);
/* Reads the topic from the first event on. */
double bench_consume(void *load);
/* Copies what the events consist of, one after the other, into a buffer that no cache holds. */
double bench_copy_events(void *load);

/*
 * The reference for consuming: the same bytes, event after event, from where a partition has them into a buffer that is
 * used again and again, as the consumer's are. So neither the source lies in a cache nor has the destination to be made,
 * unless `fresh`.
 */
struct bench_copy_out {
    const struct bench_load *load;
    char *bytes;
    size_t size;
    int fresh; /* every byte goes where nothing was before: what is measured then is the kernel that clears pages */
};
/* Makes the bytes: in a file in that directory, mapped and in the page cache, or (NULL) in anonymous memory. */
void bench_copy_out_start(struct bench_copy_out *copy, const struct bench_load *load, const char *directory);
void bench_copy_out_end(struct bench_copy_out *copy);
/* A measurement (bench_measure_fn) of a struct bench_copy_out. */
double bench_copy_out(void *copy);
/* How many events a consumer is measured with: not too few with --quick either, or opening it would be all that counts. */
int bench_consume_count(const struct bench_options *options, int count);

#endif
