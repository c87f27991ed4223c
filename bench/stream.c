/*
 * Streaming through a server: produce, consume, and the latency of one event from push to pull, over na+sm with
 * partitions in memory, or what --topic OPTIONS says. Starts its own bedrock in a temporary directory, or uses one that is
 * there (--group-file FILE).
 *
 * References, measured in turn in the same run: copying the same bytes within the process for rates (for consuming out of
 * memory that holds all of them, as in stored.c), and a ping-pong between two processes that sleep in a futex for the
 * latency.
 */
#include "bench/support/process.h"
#include "bench/support/reference.h"
#include "bench/support/report.h"
#include "bench/support/server.h"
#include "bench/support/streaming.h"

#include "util/clock.h"

#include <diaspora/diaspora.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *topic_options = "{\"num_partitions\":1,\"config\":{\"type\":\"memory\"}}";

static void measure_produce(const struct bench_options *options, const char *what, struct bench_load load,
                            const char *target)
{
    load.topic = bench_topic(topic_options);
    load.count = bench_count(options, load.count);
    struct bench_pair pair = bench_run_paired(bench_produce, &load, bench_copy_events, &load, options->rounds);
    bench_print_pair(options, what, &pair, bench_load_unit(&load), "copy", target);
    diaspora_topic_close(load.topic);
}

static void measure_consume(const struct bench_options *options, const char *what, struct bench_load load,
                            const char *target)
{
    const char *reading = load.options;
    load.topic = bench_topic(topic_options);
    load.count = bench_consume_count(options, load.count);
    load.options = "{\"batch_size\":1024}";
    bench_produce(&load);
    load.options = reading;
    struct bench_copy_out copy;
    bench_copy_out_start(&copy, &load, NULL);
    struct bench_pair pair = bench_run_paired(bench_consume, &load, bench_copy_out, &copy, options->rounds);
    bench_print_pair(options, what, &pair, bench_load_unit(&load), "copy from memory", target);
    bench_copy_out_end(&copy);
    diaspora_topic_close(load.topic);
}

/* ---- latency --------------------------------------------------------------------------------------------------- */

/* One event at a time, from before the push until it is pulled; both in this thread. */
static void measure_latency(const struct bench_options *options)
{
    diaspora_error err = DIASPORA_ERROR_INIT;
    diaspora_topic *topic = bench_topic(topic_options);
    diaspora_producer *producer = diaspora_producer_open(topic, NULL, &err);
    diaspora_consumer *consumer = diaspora_consumer_open(topic, "{\"name\":\"latency\"}", &err);
    bench_check(producer && consumer ? 0 : -1, &err);
    struct bench_series series = {0};
    int count = bench_count(options, 20000), warm_up = count / 10;
    for (int i = 0; i < count + warm_up; i++) {
        diaspora_event *event;
        int64_t start = dango_clock_ns();
        bench_check(diaspora_push(producer, bench_metadata, BENCH_METADATA, DIASPORA_NO_DATA, NULL, &err), &err);
        bench_check(diaspora_pull(consumer, 10000, &event, &err), &err);
        int64_t end = dango_clock_ns();
        if (i >= warm_up)
            bench_series_add(&series, (double)(end - start));
        diaspora_event_release(event);
    }
    bench_print_series(options, "push to pull, 64 B, one at a time", &series, "ns", "p50 <= 12 us, p99 <= 50 us");
    bench_series_free(&series);
    diaspora_consumer_close(consumer);
    diaspora_producer_close(producer);
    diaspora_topic_close(topic);
    struct bench_ping ping = {.count = bench_count(options, 20000)};
    bench_print(options, "reference: futex ping-pong, two processes",
                bench_run(bench_futex_ping, &ping, options->rounds), "ns", NULL);
}

int main(int argc, char **argv)
{
    const char *group_file = bench_take_option(&argc, argv, "--group-file", NULL);
    topic_options = bench_take_option(&argc, argv, "--topic", topic_options);
    struct bench_options options = bench_start(argc, argv, "stream");
    char config[sizeof BENCH_SERVER_CONFIG], *data = calloc(1, 1 << 20);
    bench_require(data != NULL, "calloc");
    if (!group_file) {
        snprintf(config, sizeof config, BENCH_SERVER_CONFIG, "");
        bench_server_start(config);
    }
    bench_connect(group_file ? group_file : bench_server_group_file());

    measure_latency(&options);
    measure_produce(
        &options, "produce 64 B, batches of 1",
        (struct bench_load){.options = "{\"batch_size\":1,\"window\":32,\"max_num_batches\":32}", .count = 200000},
        ">= 150 k");
    measure_produce(&options, "produce 64 B, batches of 128",
                    (struct bench_load){.options = "{\"batch_size\":128}", .count = 200000}, ">= 2 M");
    measure_produce(&options, "produce 64 B, batches of 1024",
                    (struct bench_load){.options = "{\"batch_size\":1024}", .count = 400000}, ">= 4 M");
    measure_produce(&options, "produce 64 B, adaptive", (struct bench_load){.options = NULL, .count = 200000}, NULL);
    measure_produce(
        &options, "produce 64 B + 1 KiB, batches of 128",
        (struct bench_load){.options = "{\"batch_size\":128}", .count = 50000, .data_size = 1 << 10, .data = data},
        NULL);
    measure_produce(&options, "produce 1 MiB",
                    (struct bench_load){.options = NULL, .count = 64, .data_size = 1 << 20, .data = data}, ">= 0.7 x");
    measure_consume(&options, "consume 64 B",
                    (struct bench_load){.options = "{\"name\":\"c\",\"from\":\"first\"}", .count = 1000000}, ">= 5 M");
    measure_consume(&options, "consume 64 B + 1 KiB",
                    (struct bench_load){.options = "{\"name\":\"c\",\"from\":\"first\",\"data\":\"all\"}",
                                        .count = 200000,
                                        .data_size = 1 << 10,
                                        .data = data},
                    ">= 1 M");
    measure_consume(&options, "consume 1 MiB",
                    (struct bench_load){.options = "{\"name\":\"c\",\"from\":\"first\",\"data\":\"all\"}",
                                        .count = 256,
                                        .data_size = 1 << 20,
                                        .data = data},
                    ">= 0.6 x");
    bench_disconnect();
    free(data);
    return 0;
}
