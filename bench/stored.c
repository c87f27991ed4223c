/*
 * Streaming to and from partitions in files (type `default`), synced and not: batches of 1, 128 and 1024 events and those
 * of the default options (adaptive), with 64 bytes of metadata and data of several sizes, and the latency of one
 * acknowledged event.
 *
 * The reference, measured in turn in the same run and on the same file system, is a loop that appends the bytes of one
 * batch after the other to a file and, if the partition is synced, calls fdatasync after each. Media of shared machines
 * vary 20-fold from minute to minute: only the ratios mean something. More than 1 is possible, because batches that come
 * while one is synced share the next sync. Adaptive batches are compared with batches of 1024.
 *
 * Consuming is compared with a plain copy of the same bytes out of a mapped, page-cached file into a buffer that is used
 * again and again: that is what any consumer of files has to do at least. (Copying one cached piece over and over is faster,
 * and tells nothing about data that come by once; a copy to memory that was never touched is far slower, and only measures
 * how the kernel clears pages: it is printed beside.)
 *
 * Every figure has a server of its own, whose files are gone before the next. The I/O controller has two execution streams
 * of its own, unless the figure or --controller NAME says otherwise.
 */
#include "bench/support/process.h"
#include "bench/support/reference.h"
#include "bench/support/report.h"
#include "bench/support/server.h"
#include "bench/support/streaming.h"

#include "util/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BYTES_PER_ROUND = 32 << 20,
    EVENTS_MAX = 200000,
    SYNCS_MAX = 200, /* of the reference in one round; and 20 × as many batches of the partition */
    BYTES_MANY = 256 << 20,
    WINDOWS_MIN = 8, /* batches in one round, in windows: with fewer the start would be all there is */
    ADAPTIVE = 0,
};

static const size_t data_sizes[] = {0, 1 << 10, 64 << 10, 1 << 20};
static const char *const data_names[] = {"64 B", "64 B + 1 KiB", "64 B + 64 KiB", "64 B + 1 MiB"};
static const int batch_sizes[] = {1, 128, 1024, ADAPTIVE};

static char *data;
static const char *partition_options = "", *controller = "io_pool", *only = "";

/* A server, a connection and a topic with a partition in files. */
static diaspora_topic *open_topic(const char *sync, const char *io_controller)
{
    char config[sizeof BENCH_SERVER_CONFIG], options[512];
    snprintf(config, sizeof config, BENCH_SERVER_CONFIG, "");
    bench_server_start(config);
    bench_connect(bench_server_group_file());
    snprintf(options, sizeof options,
             "{\"num_partitions\":1,\"config\":{\"type\":\"default\",\"partition\":{\"path\":\"%s\",\"sync\":%s%s}},"
             "\"dependencies\":{\"io_controller\":\"%s\"}}",
             bench_server_directory(), sync, partition_options, io_controller);
    return bench_topic(options);
}

static void close_topic(diaspora_topic *topic)
{
    diaspora_topic_close(topic);
    bench_disconnect();
    bench_server_stop();
}

struct appending {
    struct bench_append append;
    const struct bench_load *load;
    int batch_size;
};

/* Events (or bytes) per second of the loop. */
static double append_batches(void *arg)
{
    struct appending *appending = arg;
    double batches = 1e9 / bench_append(&appending->append);
    size_t size = appending->load->data_size;
    return batches * appending->batch_size * (size >= (1 << 20) ? (double)size : 1);
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Options of the producer; returns how many batches it has in flight. */
static int choose_producer(int batch_size, char *text, size_t size)
{
    int window = batch_size == 1 ? 32 : 4;
    if (batch_size == ADAPTIVE)
        snprintf(text, size, "{}");
    else
        snprintf(text, size, "{\"batch_size\":%d,\"window\":%d,\"max_num_batches\":%d}", batch_size, window,
                 batch_size == 1 ? 32 : 2);
    return window;
}

/* How many batches one round has. */
static int count_batches(const struct bench_options *options, size_t event, int batch_size, int window, bool sync)
{
    int most = smaller((int)(BYTES_PER_ROUND / event), EVENTS_MAX) / batch_size;
    int batches = bench_count(options, sync ? smaller(most, 20 * SYNCS_MAX) : most);
    int least = smaller(most, WINDOWS_MIN * window);
    batches = batches > least ? batches : least;
    return batches > 2 ? batches : 2;
}

static void measure_produce(const struct bench_options *options, int batch_size, size_t which, bool sync,
                            const char *target)
{
    char what[128], producer[128], batches_of[32] = "adaptive";
    if (batch_size != ADAPTIVE)
        snprintf(batches_of, sizeof batches_of, "batches of %d", batch_size);
    snprintf(what, sizeof what, "produce %s, %s, %s", data_names[which], batches_of, sync ? "synced" : "unsynced");
    if (!strstr(what, only))
        return;
    size_t event = BENCH_METADATA + data_sizes[which];
    struct bench_load load = {.options = producer, .data_size = data_sizes[which], .data = data};
    int window = choose_producer(batch_size, producer, sizeof producer);
    batch_size = batch_size == ADAPTIVE ? batch_sizes[2] : batch_size;
    int batches = count_batches(options, event, batch_size, window, sync);
    load.count = batches * batch_size;
    load.topic = open_topic(sync ? "true" : "false", controller);
    struct appending reference = {
        .append = {.directory = bench_server_directory(),
                   .size = event * (size_t)batch_size,
                   .count = sync ? smaller(batches, SYNCS_MAX) : batches,
                   .sync = sync},
        .load = &load,
        .batch_size = batch_size,
    };
    int rounds = event * (size_t)load.count > BYTES_MANY ? 1 : options->rounds;
    struct bench_pair pair = bench_run_paired(bench_produce, &load, append_batches, &reference, rounds);
    bench_print_pair(options, what, &pair, bench_load_unit(&load), sync ? "append + fdatasync" : "append", target);
    close_topic(load.topic);
}

static void measure_consume(const struct bench_options *options, size_t which, const char *target)
{
    static const int counts[] = {1000000, 200000, 4000, 256};
    char what[128];
    snprintf(what, sizeof what, "consume %s", data_names[which]);
    if (!strstr(what, only))
        return;
    struct bench_load load = {.topic = open_topic("false", controller),
                              .options = "{\"batch_size\":128}",
                              .count = bench_consume_count(options, counts[which]),
                              .data_size = data_sizes[which],
                              .data = data};
    bench_produce(&load);
    load.options = "{\"name\":\"c\",\"from\":\"first\",\"data\":\"all\"}";
    struct bench_copy_out copy;
    bench_copy_out_start(&copy, &load, bench_server_directory());
    struct bench_pair pair = bench_run_paired(bench_consume, &load, bench_copy_out, &copy, options->rounds);
    bench_print_pair(options, what, &pair, bench_load_unit(&load), "copy from a mapped file", target);
    if (load.data_size >= 1 << 20) {
        copy.fresh = 1;
        bench_print(options, "reference: the same copy to fresh memory",
                    bench_run(bench_copy_out, &copy, options->rounds), bench_load_unit(&load), NULL);
    }
    bench_copy_out_end(&copy);
    close_topic(load.topic);
}

/* ---- one event at a time --------------------------------------------------------------------------------------- */

struct single {
    diaspora_producer *producer;
    int count;
};

/* Nanoseconds from push to acknowledgement. */
static double push_one(void *arg)
{
    const struct single *single = arg;
    diaspora_error err = DIASPORA_ERROR_INIT;
    int64_t start = dango_clock_ns();
    for (int i = 0; i < single->count; i++) {
        bench_check(diaspora_push(single->producer, bench_metadata, BENCH_METADATA, DIASPORA_NO_DATA, NULL, &err),
                    &err);
        bench_check(diaspora_flush(single->producer, DIASPORA_FOREVER, &err), &err);
    }
    return (double)(dango_clock_ns() - start) / single->count;
}

static void measure_latency(const struct bench_options *options, const char *io_controller)
{
    char what[128];
    snprintf(what, sizeof what, "one acknowledged event, synced, %s", io_controller);
    if (!strstr(what, only))
        return;
    diaspora_error err = DIASPORA_ERROR_INIT;
    diaspora_topic *topic = open_topic("true", io_controller);
    struct single single = {diaspora_producer_open(topic, "{\"batch_size\":1}", &err), bench_count(options, SYNCS_MAX)};
    bench_check(single.producer ? 0 : -1, &err);
    struct bench_append append = {bench_server_directory(), BENCH_METADATA, single.count, 1};
    struct bench_pair pair = bench_run_paired(push_one, &single, bench_append, &append, options->rounds);
    bench_print_pair(options, what, &pair, "ns", "append + fdatasync", "<= 1.2 x");
    diaspora_producer_close(single.producer);
    close_topic(topic);
}

static const char *target_of(int batch_size, size_t which, bool sync)
{
    static const char *const small[] = {">= 50 k", ">= 1 M", ">= 2 M"}, *const medium[] = {NULL, ">= 0.5 M",
                                                                                           ">= 0.8 M"};
    size_t batch = batch_size == 1 ? 0 : batch_size == 128 ? 1 : 2;
    if (!sync || batch_size == ADAPTIVE)
        return NULL;
    return which == 0 ? small[batch] : which == 1 ? medium[batch] : which == 3 ? ">= 0.85 x" : NULL;
}

int main(int argc, char **argv)
{
    /* Further options of the partition, with a comma in front; which of the controllers of server.h writes; and a
     * part of the names of the figures that are wanted. */
    partition_options = bench_take_option(&argc, argv, "--partition", partition_options);
    only = bench_take_option(&argc, argv, "--only", only);
    controller = bench_take_option(&argc, argv, "--controller", controller);
    struct bench_options options = bench_start(argc, argv, "partitions in files");
    data = calloc(1, 1 << 20);
    bench_require(data != NULL, "calloc");
    measure_latency(&options, "io");
    measure_latency(&options, "io_pool");
    measure_latency(&options, "io_uring");
    for (int sync = 1; sync >= 0; sync--) {
        for (size_t which = 0; which < sizeof data_sizes / sizeof *data_sizes; which++) {
            for (size_t i = 0; i < sizeof batch_sizes / sizeof *batch_sizes; i++)
                measure_produce(&options, batch_sizes[i], which, sync, target_of(batch_sizes[i], which, sync));
        }
    }
    static const char *const consume_targets[] = {">= 5 M", ">= 1 M", NULL, ">= 0.6 x"};
    for (size_t which = 0; which < sizeof data_sizes / sizeof *data_sizes; which++)
        measure_consume(&options, which, consume_targets[which]);
    free(data);
    return 0;
}
