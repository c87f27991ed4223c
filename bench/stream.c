/*
 * Streaming through a server: produce, consume, and the latency of one event from push to pull, over na+sm with
 * partitions in memory, or what --topic OPTIONS says. Starts its own bedrock in a temporary directory, or uses one that is
 * there (--group-file FILE).
 *
 * References, measured in turn in the same run: copying the same bytes within the process for rates, and a ping-pong
 * between two processes that sleep in a futex for the latency.
 */
#include "bench/support/reference.h"
#include "bench/support/report.h"

#include "util/clock.h"

#include <diaspora/diaspora.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { METADATA = 64 };

static const char metadata[] = "{\"shot\": 12345678, \"detector\": \"front\", \"energy_keV\": 12.3456789}";
_Static_assert(sizeof metadata >= METADATA, "64 bytes of metadata");

static const char server_config[] =
    "{\"libraries\":[\"libflock-bedrock-module.so\",\"libyokan-bedrock-module.so\",\"libabt-io-bedrock-module.so\","
    "\"libmofka-bedrock-module.so\"],"
    "\"providers\":["
    "{\"name\":\"group\",\"type\":\"flock\",\"provider_id\":1,"
    "\"config\":{\"bootstrap\":\"self\",\"file\":\"mofka.json\",\"group\":{\"type\":\"static\"}}},"
    "{\"name\":\"master\",\"type\":\"yokan\",\"provider_id\":2,\"tags\":[\"mofka:master\"],"
    "\"config\":{\"database\":{\"type\":\"map\"}}},"
    "{\"name\":\"io\",\"type\":\"abt_io\",\"provider_id\":3,\"dependencies\":{\"pool\":\"__primary__\"}}]}";

static void check(int status, const diaspora_error *err)
{
    if (status == 0)
        return;
    diaspora_error_print(stderr, err);
    exit(1);
}

/* ---- server ---------------------------------------------------------------------------------------------------- */

static struct {
    pid_t pid;
    char directory[64], group_file[PATH_MAX];
} server;

static void stop_server(void)
{
    char command[128];
    if (server.pid <= 0)
        return;
    kill(server.pid, SIGTERM);
    waitpid(server.pid, NULL, 0);
    server.pid = 0;
    snprintf(command, sizeof command, "rm -rf %s", server.directory);
    if (system(command) != 0)
        fprintf(stderr, "%s: not removed\n", server.directory);
}

/* In the child: bedrock from the same build tree, in the temporary directory. */
static void run_server(void)
{
    char self[PATH_MAX], program[PATH_MAX + 32];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    snprintf(program, sizeof program, "%s/../bin/bedrock", self);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(server.directory) == 0 && freopen("log", "w", stdout))
        execl(program, "bedrock", "na+sm", "-c", "config.json", (char *)NULL);
    perror(program);
    _exit(1);
}

static void start_server(void)
{
    char path[PATH_MAX];
    snprintf(server.directory, sizeof server.directory, "/tmp/dango-bench-XXXXXX");
    if (!mkdtemp(server.directory)) {
        perror(server.directory);
        exit(1);
    }
    snprintf(path, sizeof path, "%s/config.json", server.directory);
    FILE *config = fopen(path, "w");
    if (!config || fputs(server_config, config) < 0 || fclose(config) != 0) {
        perror(path);
        exit(1);
    }
    snprintf(server.group_file, sizeof server.group_file, "%s/mofka.json", server.directory);
    server.pid = fork();
    if (server.pid == 0)
        run_server();
    atexit(stop_server);
    for (int tries = 0; access(server.group_file, R_OK) != 0; tries++) {
        if (tries > 2000 || waitpid(server.pid, NULL, WNOHANG) == server.pid) {
            fprintf(stderr, "bedrock did not start\n");
            exit(1);
        }
        usleep(10000);
    }
}

/* ---- topics ---------------------------------------------------------------------------------------------------- */

static diaspora_driver *driver;
static const char *topic_options = "{\"num_partitions\":1,\"config\":{\"type\":\"memory\"}}";

static diaspora_topic *new_topic(void)
{
    static int number;
    char name[64];
    diaspora_error err = DIASPORA_ERROR_INIT;
    snprintf(name, sizeof name, "bench_%d_%d", (int)getpid(), number++);
    check(diaspora_topic_create(driver, name, topic_options, NULL, &err), &err);
    diaspora_topic *topic = diaspora_topic_open(driver, name, &err);
    check(topic ? 0 : -1, &err);
    return topic;
}

struct load {
    diaspora_topic *topic;
    const char *options;
    int count;
    size_t data_size;
    char *data;
};

static double rate(const struct load *load, int64_t start_ns)
{
    double seconds = (double)(dango_clock_ns() - start_ns) / 1e9;
    /* Events that are mostly data are counted in bytes. */
    return load->count / seconds * (load->data_size >= (1 << 20) ? (double)load->data_size : 1);
}

/* Every push is followed by the next at once; the flush at the end counts. */
static double produce(void *arg)
{
    const struct load *load = arg;
    diaspora_error err = DIASPORA_ERROR_INIT;
    diaspora_producer *producer = diaspora_producer_open(load->topic, load->options, &err);
    check(producer ? 0 : -1, &err);
    int64_t start = dango_clock_ns();
    for (int i = 0; i < load->count; i++)
        check(diaspora_push(producer, metadata, METADATA, DIASPORA_DATA(load->data, load->data_size), NULL, &err),
              &err);
    check(diaspora_flush(producer, DIASPORA_FOREVER, &err), &err);
    double result = rate(load, start);
    diaspora_producer_close(producer);
    return result;
}

/* Reads the topic from the first event on. */
static double consume(void *arg)
{
    const struct load *load = arg;
    diaspora_error err = DIASPORA_ERROR_INIT;
    int64_t start = dango_clock_ns();
    diaspora_consumer *consumer = diaspora_consumer_open(load->topic, load->options, &err);
    check(consumer ? 0 : -1, &err);
    for (int i = 0; i < load->count; i++) {
        diaspora_event *event;
        check(diaspora_pull(consumer, 10000, &event, &err), &err);
        if (diaspora_event_metadata_size(event) != METADATA || diaspora_event_data_size(event) != load->data_size)
            exit(1);
        diaspora_event_release(event);
    }
    double result = rate(load, start);
    diaspora_consumer_close(consumer);
    return result;
}

/* Copies what the events consist of, one after the other, into a buffer that no cache holds. */
static double copy(void *arg)
{
    const struct load *load = arg;
    enum { BUFFER = 64 << 20 };
    static char buffer[BUFFER];
    size_t used = 0, size = METADATA + load->data_size;
    int64_t start = dango_clock_ns();
    for (int i = 0; i < load->count; i++) {
        used = used + size <= BUFFER ? used : 0;
        memcpy(buffer + used, metadata, METADATA);
        if (load->data_size > 0)
            memcpy(buffer + used + METADATA, load->data, load->data_size);
        used += size;
        __asm__ volatile("" ::"r"(buffer) : "memory");
    }
    return rate(load, start);
}

static const char *unit_of(const struct load *load)
{
    return load->data_size >= (1 << 20) ? "B/s" : "events/s";
}

static void measure_produce(const struct bench_options *options, const char *what, struct load load, const char *target)
{
    load.topic = new_topic();
    load.count = bench_count(options, load.count);
    struct bench_pair pair = bench_run_paired(produce, &load, copy, &load, options->rounds);
    bench_print_pair(options, what, &pair, unit_of(&load), "copy", target);
    diaspora_topic_close(load.topic);
}

static void measure_consume(const struct bench_options *options, const char *what, struct load load, const char *target)
{
    const char *reading = load.options;
    load.topic = new_topic();
    load.count = bench_count(options, load.count);
    load.options = "{\"batch_size\":1024}";
    produce(&load);
    load.options = reading;
    struct bench_pair pair = bench_run_paired(consume, &load, copy, &load, options->rounds);
    bench_print_pair(options, what, &pair, unit_of(&load), "copy", target);
    diaspora_topic_close(load.topic);
}

/* ---- latency --------------------------------------------------------------------------------------------------- */

/* One event at a time, from before the push until it is pulled; both in this thread. */
static void measure_latency(const struct bench_options *options)
{
    diaspora_error err = DIASPORA_ERROR_INIT;
    diaspora_topic *topic = new_topic();
    diaspora_producer *producer = diaspora_producer_open(topic, NULL, &err);
    diaspora_consumer *consumer = diaspora_consumer_open(topic, "{\"name\":\"latency\"}", &err);
    check(producer && consumer ? 0 : -1, &err);
    struct bench_series series = {0};
    int count = bench_count(options, 20000), warm_up = count / 10;
    for (int i = 0; i < count + warm_up; i++) {
        diaspora_event *event;
        int64_t start = dango_clock_ns();
        check(diaspora_push(producer, metadata, METADATA, DIASPORA_NO_DATA, NULL, &err), &err);
        check(diaspora_pull(consumer, 10000, &event, &err), &err);
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

/* Takes `option` and its value out of the command line; `otherwise` when it is not there. */
static const char *take_option(int *argc, char **argv, const char *option, const char *otherwise)
{
    for (int i = 1; i + 1 < *argc; i++) {
        if (strcmp(argv[i], option) != 0)
            continue;
        const char *value = argv[i + 1];
        memmove(argv + i, argv + i + 2, (size_t)(*argc - i - 1) * sizeof *argv);
        *argc -= 2;
        return value;
    }
    return otherwise;
}

int main(int argc, char **argv)
{
    const char *group_file = take_option(&argc, argv, "--group-file", NULL);
    topic_options = take_option(&argc, argv, "--topic", topic_options);
    struct bench_options options = bench_start(argc, argv, "stream");
    diaspora_error err = DIASPORA_ERROR_INIT;
    char text[PATH_MAX + 64], *data = calloc(1, 1 << 20);
    if (!group_file)
        start_server();
    snprintf(text, sizeof text, "{\"group_file\":\"%s\"}", group_file ? group_file : server.group_file);
    driver = diaspora_driver_open("mofka", text, &err);
    check(driver && data ? 0 : -1, &err);

    measure_latency(&options);
    measure_produce(
        &options, "produce 64 B, batches of 1",
        (struct load){.options = "{\"batch_size\":1,\"window\":32,\"max_num_batches\":32}", .count = 200000},
        ">= 150 k");
    measure_produce(&options, "produce 64 B, batches of 128",
                    (struct load){.options = "{\"batch_size\":128}", .count = 200000}, ">= 2 M");
    measure_produce(&options, "produce 64 B, batches of 1024",
                    (struct load){.options = "{\"batch_size\":1024}", .count = 400000}, ">= 4 M");
    measure_produce(&options, "produce 64 B, adaptive", (struct load){.options = NULL, .count = 200000}, NULL);
    measure_produce(
        &options, "produce 64 B + 1 KiB, batches of 128",
        (struct load){.options = "{\"batch_size\":128}", .count = 50000, .data_size = 1 << 10, .data = data}, NULL);
    measure_produce(&options, "produce 1 MiB",
                    (struct load){.options = NULL, .count = 64, .data_size = 1 << 20, .data = data}, ">= 0.7 x");
    measure_consume(&options, "consume 64 B",
                    (struct load){.options = "{\"name\":\"c\",\"from\":\"first\"}", .count = 1000000}, ">= 5 M");
    measure_consume(&options, "consume 64 B + 1 KiB",
                    (struct load){.options = "{\"name\":\"c\",\"from\":\"first\",\"data\":\"all\"}",
                                  .count = 200000,
                                  .data_size = 1 << 10,
                                  .data = data},
                    ">= 1 M");
    measure_consume(&options, "consume 1 MiB",
                    (struct load){.options = "{\"name\":\"c\",\"from\":\"first\",\"data\":\"all\"}",
                                  .count = 256,
                                  .data_size = 1 << 20,
                                  .data = data},
                    ">= 0.6 x");
    diaspora_driver_close(driver);
    free(data);
    return 0;
}
