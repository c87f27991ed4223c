/*
 * Streaming with 1, 2 and 4 servers and as many clients, each a process of its own: one topic with a partition in memory on
 * each server, every client sends to all partitions in turn, and reads one of them. `DANGO_BENCH_PROTOCOL=tcp://127.0.0.1`
 * for sockets.
 *
 * The rate is that of all clients together, from the first that begins to the last that ends. Reference: one server and one
 * client in the same run. What it shows on one machine is what more servers cost there: cores do not grow with them.
 *
 * The parent has no threads and only keeps time. In each turn it tells the clients what to do and waits for all of them.
 */
#include "bench/support/process.h"
#include "bench/support/report.h"
#include "bench/support/server.h"

#include "util/clock.h"

#include <diaspora/diaspora.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS_MAX 4

static const char metadata[65] = "{\"shot\": 12345678, \"detector\": \"front\", \"energy_keV\": 12.345678}";

#define LIBRARIES                                                                                                      \
    "\"libraries\":[\"libflock-bedrock-module.so\",\"libyokan-bedrock-module.so\",\"libmofka-bedrock-module.so\"]"
#define GROUP                                                                                                          \
    "{\"name\":\"group\",\"type\":\"flock\",\"provider_id\":1,\"config\":{\"bootstrap\":[\"join\",\"self\"],"          \
    "\"file\":\"mofka.json\",\"group\":{\"type\":\"centralized\"}}}"
#define MASTER                                                                                                         \
    "{\"name\":\"master\",\"type\":\"yokan\",\"provider_id\":2,\"tags\":[\"mofka:master\"],"                           \
    "\"config\":{\"database\":{\"type\":\"map\"}}}"

enum task { CREATE, PRODUCE, CONSUME, DELETE, END };

static struct shared {
    atomic_uint turn; /* counted up by the parent: `task` is to be done */
    atomic_uint done; /* clients that have */
    enum task task;
    unsigned topic; /* number of the present one */
    size_t clients;
    int count; /* events per client */
    size_t data_size;
    int64_t start_ns[CLIENTS_MAX], end_ns[CLIENTS_MAX];
} * shared;

/* ---- a client ---- */

struct client {
    size_t index;
    diaspora_driver *driver;
    char *data;
};

static diaspora_error err = DIASPORA_ERROR_INIT;

static void check(bool good)
{
    if (good)
        return;
    diaspora_error_print(stderr, &err);
    exit(1);
}

static void topic_name(char name[32])
{
    snprintf(name, 32, "topic_%u", shared->topic);
}

static void create(const struct client *client)
{
    char name[32], options[64];
    topic_name(name);
    snprintf(options, sizeof options, "{\"num_partitions\":%zu}", shared->clients);
    check(diaspora_topic_create(client->driver, name, options, NULL, &err) == 0);
}

static void produce(const struct client *client, diaspora_topic *topic)
{
    diaspora_producer *producer = diaspora_producer_open(topic, "{\"batch_size\":128}", &err);
    check(producer != NULL);
    shared->start_ns[client->index] = dango_clock_ns();
    for (int i = 0; i < shared->count; i++)
        check(diaspora_push(producer, metadata, 64, DIASPORA_DATA(client->data, shared->data_size), NULL, &err) == 0);
    check(diaspora_flush(producer, DIASPORA_FOREVER, &err) == 0);
    shared->end_ns[client->index] = dango_clock_ns();
    diaspora_producer_close(producer);
}

static void consume(const struct client *client, diaspora_topic *topic)
{
    char options[128];
    snprintf(options, sizeof options, "{\"name\":\"c\",\"from\":\"first\",\"data\":\"all\",\"targets\":[%zu]}",
             client->index);
    shared->start_ns[client->index] = dango_clock_ns();
    diaspora_consumer *consumer = diaspora_consumer_open(topic, options, &err);
    check(consumer != NULL);
    for (int i = 0; i < shared->count; i++) {
        diaspora_event *event;
        check(diaspora_pull(consumer, 60000, &event, &err) == 0);
        diaspora_event_release(event);
    }
    shared->end_ns[client->index] = dango_clock_ns();
    diaspora_consumer_close(consumer);
}

static void stream(const struct client *client)
{
    char name[32];
    topic_name(name);
    diaspora_topic *topic = diaspora_topic_open(client->driver, name, &err);
    check(topic != NULL);
    if (shared->task == PRODUCE)
        produce(client, topic);
    else
        consume(client, topic);
    diaspora_topic_close(topic);
}

static void delete (const struct client *client)
{
    char name[32];
    topic_name(name);
    check(diaspora_topic_delete(client->driver, name, NULL, &err) == 0);
}

static void run_client(void *arg)
{
    struct client client = {.index = (size_t)(uintptr_t)arg, .data = calloc(1, 1 << 20)};
    char options[4200];
    snprintf(options, sizeof options, "{\"group_file\":\"%s\"}", bench_server_group_file());
    client.driver = diaspora_driver_open("mofka", options, &err);
    check(client.driver && client.data);
    for (unsigned turn = 1;; turn++) {
        while (atomic_load(&shared->turn) < turn)
            usleep(100);
        if (shared->task == END)
            break;
        if (shared->task == PRODUCE || shared->task == CONSUME)
            stream(&client);
        else if (client.index == 0) /* one does it for all */
            shared->task == CREATE ? create(&client) : delete (&client);
        atomic_fetch_add(&shared->done, 1);
    }
    diaspora_driver_close(client.driver);
    free(client.data);
}

/* ---- the parent ---- */

static void do_turn(enum task task)
{
    shared->task = task;
    atomic_store(&shared->done, 0);
    atomic_fetch_add(&shared->turn, 1);
    while (task != END && atomic_load(&shared->done) < shared->clients)
        usleep(100);
}

/* Events per second of all clients together, in the turn that is over. */
static double rate(void)
{
    int64_t start = shared->start_ns[0], end = shared->end_ns[0];
    for (size_t i = 1; i < shared->clients; i++) {
        start = shared->start_ns[i] < start ? shared->start_ns[i] : start;
        end = shared->end_ns[i] > end ? shared->end_ns[i] : end;
    }
    return (double)shared->count * (double)shared->clients / ((double)(end - start) / 1e9);
}

static void report(const struct bench_options *options, const char *what, struct bench_series *series, double *single)
{
    char text[96];
    double median = bench_median(series);
    if (shared->clients == 1)
        *single = median;
    snprintf(text, sizeof text, "%s 64 B + %zu B, %zu servers and clients (%.2f x one)", what, shared->data_size,
             shared->clients, median / *single);
    bench_print(options, text, median, "events/s", NULL);
    bench_series_free(series);
}

static void measure(const struct bench_options *options, size_t data_size, int count, double single[2])
{
    struct bench_series produced = {0}, consumed = {0};
    shared->data_size = data_size;
    shared->count = bench_count(options, count);
    for (int round = -1; round < options->rounds; round++) {
        shared->topic++;
        do_turn(CREATE);
        do_turn(PRODUCE);
        if (round >= 0)
            bench_series_add(&produced, rate());
        do_turn(CONSUME);
        if (round >= 0)
            bench_series_add(&consumed, rate());
        do_turn(DELETE);
    }
    report(options, "produce", &produced, &single[0]);
    report(options, "consume", &consumed, &single[1]);
}

static void measure_with(const struct bench_options *options, size_t clients, double single[2][2])
{
    pid_t pids[CLIENTS_MAX];
    shared->clients = clients;
    atomic_store(&shared->turn, 0);
    for (size_t i = 0; i < clients; i++)
        pids[i] = bench_fork(run_client, (void *)(uintptr_t)i);
    measure(options, 0, 400000, single[0]);
    measure(options, 1 << 10, 40000, single[1]);
    do_turn(END);
    for (size_t i = 0; i < clients; i++)
        bench_join(pids[i]);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_start(argc, argv, "servers");
    double single[2][2];
    shared = bench_shared(sizeof *shared);
    bench_server_start("{" LIBRARIES ",\"providers\":[" GROUP "," MASTER "]}");
    for (size_t servers = 1; servers <= CLIENTS_MAX; servers *= 2) {
        for (size_t i = servers / 2; servers > 1 && i < servers; i++)
            bench_server_add("{" LIBRARIES ",\"providers\":[" GROUP "]}");
        measure_with(&options, servers, single);
    }
    bench_server_stop();
    return 0;
}
