/*
 * What events cost between applications of one node and a memory partition: rates of producing and consuming for
 * several sizes, and the time from push to pull.
 *
 * A server (`bedrock na+sm` of this build, default configuration) runs in a temporary directory, which is removed with
 * it. Each measurement has a topic of its own, so that memory of the server is as fresh for the first as for the last.
 * The reference is memcpy of the same bytes where bytes are what counts.
 */
#include "bench/support/reference.h"
#include "bench/support/report.h"

#include "util/clock.h"

#include <diaspora/diaspora.h>

#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define METADATA_SIZE 64

static const char configuration[] =
    "{\"libraries\": [\"libflock-bedrock-module.so\", \"libyokan-bedrock-module.so\", \"libmofka-bedrock-module.so\"],"
    " \"providers\": ["
    "{\"name\": \"group\", \"type\": \"flock\", \"provider_id\": 1, \"config\": {\"bootstrap\": \"self\","
    " \"file\": \"mofka.json\", \"group\": {\"type\": \"static\"}}},"
    "{\"name\": \"master\", \"type\": \"yokan\", \"provider_id\": 2, \"tags\": [\"mofka:master\"],"
    " \"config\": {\"database\": {\"type\": \"map\"}}}]}";

struct bench {
    char directory[64];
    pid_t server;
    diaspora_driver *driver;
    int topics; /* made so far */
    /* the measurement at hand */
    int events;
    int batch; /* 0: adaptive */
    size_t data_size;
    bool with_data;
};

static diaspora_error err = DIASPORA_ERROR_INIT;

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench-mofka: %s: %s\n", what, err.text);
    exit(1);
}

/* ---- the server ---- */

static void start_server(struct bench *bench)
{
    char program[PATH_MAX], path[PATH_MAX + 32];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    check(length > 0, "readlink");
    program[length] = '\0';
    snprintf(path, sizeof path, "%s/../bin/bedrock", dirname(program));
    strcpy(bench->directory, "/tmp/bench-mofka-XXXXXX");
    check(mkdtemp(bench->directory) && chdir(bench->directory) == 0, "temporary directory");
    FILE *file = fopen("config.json", "w");
    check(file && fputs(configuration, file) >= 0 && fclose(file) == 0, "config.json");
    bench->server = fork();
    check(bench->server >= 0, "fork");
    if (bench->server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(path, path, "na+sm", "-c", "config.json", "-v", "warning", (char *)NULL);
        _exit(127);
    }
    for (int64_t deadline = dango_deadline_ns(10000); access("mofka.json", R_OK) != 0; usleep(1000))
        check(dango_clock_ns() < deadline && waitpid(bench->server, NULL, WNOHANG) == 0, "start of the server");
}

static void stop_server(struct bench *bench)
{
    kill(bench->server, SIGTERM);
    waitpid(bench->server, NULL, 0);
    unlink("config.json");
    unlink("mofka.json");
    check(chdir("/") == 0 && rmdir(bench->directory) == 0, "removal of the temporary directory");
}

static diaspora_topic *new_topic(struct bench *bench)
{
    char name[32];
    snprintf(name, sizeof name, "t%d", bench->topics++);
    check(diaspora_topic_create(bench->driver, name, NULL, NULL, &err) == 0, "topic");
    diaspora_topic *topic = diaspora_topic_open(bench->driver, name, &err);
    check(topic != NULL, "topic");
    return topic;
}

/* ---- producing ---- */

static diaspora_producer *new_producer(diaspora_topic *topic, int batch)
{
    char options[96] = "{}";
    if (batch > 0)
        snprintf(options, sizeof options, "{\"batch_size\": %d, \"max_num_batches\": 32, \"window\": 32}", batch);
    diaspora_producer *producer = diaspora_producer_open(topic, options, &err);
    check(producer != NULL, "producer");
    return producer;
}

static void push_events(struct bench *bench, diaspora_producer *producer)
{
    static const char metadata[METADATA_SIZE + 1] = "{\"detector\": 17, \"shot\": 123456789, \"energy\": 12.3456789 }";
    char *data = calloc(1, bench->data_size + 1);
    for (int i = 0; i < bench->events; i++)
        check(diaspora_push(producer, metadata, METADATA_SIZE, DIASPORA_DATA(data, bench->data_size), NULL, &err) == 0,
              "push");
    check(diaspora_flush(producer, DIASPORA_FOREVER, &err) == 0, "flush");
    free(data);
}

/* Events per second, flush included. */
static double produce(void *arg)
{
    struct bench *bench = arg;
    diaspora_topic *topic = new_topic(bench);
    diaspora_producer *producer = new_producer(topic, bench->batch);
    int64_t start = dango_clock_ns();
    push_events(bench, producer);
    double seconds = (double)(dango_clock_ns() - start) / 1e9;
    diaspora_producer_close(producer);
    diaspora_topic_close(topic);
    return bench->events / seconds;
}

/* ---- consuming ---- */

/* Events per second of a partition that is full. */
static double consume(void *arg)
{
    struct bench *bench = arg;
    diaspora_topic *topic = new_topic(bench);
    diaspora_producer *producer = new_producer(topic, bench->batch);
    push_events(bench, producer);
    diaspora_producer_close(producer);
    diaspora_event *events[256];
    int64_t start = dango_clock_ns();
    diaspora_consumer *consumer = diaspora_consumer_open(
        topic, bench->with_data ? "{\"name\": \"c\", \"data\": \"all\"}" : "{\"name\": \"c\"}", &err);
    check(consumer != NULL, "consumer");
    for (int got = 0; got < bench->events;) {
        size_t count;
        check(diaspora_pull_many(consumer, 10000, events, 256, &count, &err) == 0, "pull");
        for (size_t i = 0; i < count; i++)
            diaspora_event_release(events[i]);
        got += (int)count;
    }
    double seconds = (double)(dango_clock_ns() - start) / 1e9;
    diaspora_consumer_close(consumer);
    diaspora_topic_close(topic);
    return bench->events / seconds;
}

/* ---- latency ---- */

/* Time from push to pull of single events, one at a time. */
static void latency(struct bench *bench, const struct bench_options *options)
{
    diaspora_topic *topic = new_topic(bench);
    diaspora_producer *producer = new_producer(topic, 0);
    diaspora_consumer *consumer = diaspora_consumer_open(topic, "{\"name\": \"c\"}", &err);
    check(consumer != NULL, "consumer");
    struct bench_series series = {0};
    for (int i = 0; i < bench_count(options, 20000); i++) {
        diaspora_event *event;
        int64_t start = dango_clock_ns();
        check(diaspora_push(producer, "{}", 2, DIASPORA_NO_DATA, NULL, &err) == 0, "push");
        check(diaspora_pull(consumer, 10000, &event, &err) == 0, "pull");
        bench_series_add(&series, (double)(dango_clock_ns() - start));
        diaspora_event_release(event);
    }
    bench_print(options, "push to pull, p50", bench_percentile(&series, 50), "ns", "<= 12 us");
    bench_print(options, "push to pull, p99", bench_percentile(&series, 99), "ns", "<= 50 us");
    bench_series_free(&series);
    diaspora_consumer_close(consumer);
    diaspora_producer_close(producer);
    diaspora_topic_close(topic);
}

/* ---- all of it ---- */

static void rates(struct bench *bench, const struct bench_options *options)
{
    static const struct {
        const char *what;
        double (*measure)(void *bench);
        int events, batch;
        size_t data_size;
        const char *target;
    } cases[] = {
        {"produce 64 B, batches of 1", produce, 100000, 1, 0, ">= 150 k"},
        {"produce 64 B, batches of 128", produce, 2000000, 128, 0, ">= 2 M"},
        {"produce 64 B, batches of 1024", produce, 4000000, 1024, 0, ">= 4 M"},
        {"produce 64 B, adaptive", produce, 2000000, 0, 0, NULL},
        {"produce 1 KiB data, batches of 128", produce, 200000, 128, 1024, NULL},
        {"consume 64 B, stored in batches of 128", consume, 4000000, 128, 0, ">= 5 M"},
        {"consume 64 B, stored in batches of 1", consume, 100000, 1, 0, NULL},
        {"consume 1 KiB data, batches of 128", consume, 200000, 128, 1024, ">= 1 M"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench->events = bench_count(options, cases[i].events);
        bench->batch = cases[i].batch;
        bench->data_size = cases[i].data_size;
        bench->with_data = cases[i].data_size > 0;
        bench_print(options, cases[i].what, bench_run(cases[i].measure, bench, options->rounds), " events/s",
                    cases[i].target);
    }
}

static double large_bytes(void *arg)
{
    struct bench *bench = arg;
    return produce(bench) * (double)bench->data_size;
}

static double large_bytes_consumed(void *arg)
{
    struct bench *bench = arg;
    return consume(bench) * (double)bench->data_size;
}

static void large(struct bench *bench, const struct bench_options *options)
{
    bench->events = bench_count(options, 400);
    bench->batch = 1;
    bench->data_size = 1 << 20;
    bench->with_data = true;
    struct bench_copy copy = {.size = bench->data_size, .count = bench->events};
    struct bench_pair pair = bench_run_paired(large_bytes, bench, bench_memcpy, &copy, options->rounds);
    bench_print_pair(options, "produce 1 MiB data", &pair, "B/s", "memcpy", ">= 0.7");
    pair = bench_run_paired(large_bytes_consumed, bench, bench_memcpy, &copy, options->rounds);
    bench_print_pair(options, "consume 1 MiB data", &pair, "B/s", "memcpy", ">= 0.6");
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_start(argc, argv, "mofka");
    struct bench bench = {0};
    start_server(&bench);
    bench.driver = diaspora_driver_open("mofka", "{\"group_file\": \"mofka.json\"}", &err);
    check(bench.driver != NULL, "driver");
    latency(&bench, &options);
    rates(&bench, &options);
    large(&bench, &options);
    diaspora_driver_close(bench.driver);
    stop_server(&bench);
    return 0;
}
