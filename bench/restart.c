/*
 * Coming back with more than 10 million events stored (and with a tenth of that, to see what depends on their number):
 * opening the log by the library, and starting a server whose configuration names the partition, until its group file is
 * there. Times, and memory that no file backs. In both cases the last chunk, which is verified, is as good as full.
 */
#include "bench/support/process.h"
#include "bench/support/report.h"
#include "bench/support/server.h"

#include "diaspora/record.h"
#include "mofka/log/log.h"
#include "util/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uuid/uuid.h>

enum { EVENTS = 10990000, BATCH = 1024, METADATA = 64, CHUNK_BYTES = 64 << 20, CHUNK_EVENTS = 1000000, MAPPINGS = 64 };

struct store {
    char base[256], directory[384], uuid_text[UUID_STR_LEN];
    uint8_t uuid[16];
    int64_t events;
};

static struct mofka_log_settings settings_of(const struct store *store)
{
    struct mofka_log_settings settings = {.directory = store->directory,
                                          .topic = "restart",
                                          .max_chunk_size = CHUNK_BYTES,
                                          .max_events_per_chunk = CHUNK_EVENTS,
                                          .mappings = MAPPINGS,
                                          .io = &mofka_log_system_io};
    memcpy(settings.uuid, store->uuid, sizeof settings.uuid);
    return settings;
}

static void check(int code, const struct dango_error *err)
{
    if (code == 0)
        return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

/* One batch of equal events, with its content behind the header. */
static struct mofka_frame *make_frame(const struct store *store)
{
    struct mofka_frame *frame = calloc(1, sizeof *frame + BATCH * (METADATA + 16));
    bench_require(frame != NULL, "calloc");
    unsigned char *records = (unsigned char *)(frame + 1);
    char metadata[METADATA];
    memset(metadata, 'm', sizeof metadata);
    for (int i = 0; i < BATCH; i++)
        frame->records_size += diaspora_record_put(records + frame->records_size, metadata, METADATA, 0);
    frame->count = BATCH;
    memcpy(frame->partition, store->uuid, sizeof frame->partition);
    dango_mofka_frame_sign_content(frame, records, frame->records_size);
    return frame;
}

static void fill(struct store *store)
{
    struct dango_error err = {0};
    struct mofka_log_settings settings = settings_of(store);
    struct mofka_log *log;
    check(dango_mofka_log_create(&settings, &log, &err), &err);
    struct mofka_frame *frame = make_frame(store);
    for (int64_t id = 0; id < store->events; id += BATCH) {
        size_t appended;
        frame->first_id = (uint64_t)id;
        dango_mofka_frame_seal(frame);
        check(dango_mofka_log_append(log, &frame, 1, &appended, &err), &err);
    }
    check(dango_mofka_log_sync(log, &err), &err);
    dango_mofka_log_close(log);
    free(frame);
}

/* Milliseconds to open it. */
static double open_log(void *arg)
{
    struct dango_error err = {0};
    struct mofka_log_settings settings = settings_of(arg);
    struct mofka_log_report report;
    struct mofka_log *log;
    int64_t start = dango_clock_ns();
    check(dango_mofka_log_open(&settings, &log, &report, &err), &err);
    double result = (double)(dango_clock_ns() - start) / 1e6;
    dango_mofka_log_close(log);
    return result;
}

static double open_memory(void *arg)
{
    struct dango_error err = {0};
    struct mofka_log_settings settings = settings_of(arg);
    struct mofka_log_report report;
    struct mofka_log *log;
    double before = bench_memory(getpid());
    check(dango_mofka_log_open(&settings, &log, &report, &err), &err);
    double result = (bench_memory(getpid()) - before) / 1024;
    dango_mofka_log_close(log);
    return result;
}

static void make_config(const struct store *store, char *config, size_t size)
{
    char provider[1024];
    snprintf(provider, sizeof provider,
             ",{\"name\":\"partition\",\"type\":\"mofka\",\"provider_id\":4,"
             "\"config\":{\"topic\":\"restart\",\"type\":\"default\",\"uuid\":\"%s\",\"partition\":{\"path\":\"%s\"}},"
             "\"dependencies\":{\"master_database\":\"master\",\"io_controller\":\"io\"}}",
             store->uuid_text, store->base);
    snprintf(config, size, BENCH_SERVER_CONFIG, store->events ? provider : "");
}

/* Milliseconds to the group file. */
static double start_server(void *arg)
{
    char config[sizeof BENCH_SERVER_CONFIG + 1024];
    make_config(arg, config, sizeof config);
    double result = (double)bench_server_start(config) / 1e6;
    bench_server_stop();
    return result;
}

static double server_memory(void *arg)
{
    char config[sizeof BENCH_SERVER_CONFIG + 1024];
    make_config(arg, config, sizeof config);
    bench_server_start(config);
    double result = bench_server_memory() / 1024;
    bench_server_stop();
    return result;
}

static void measure(const struct bench_options *options, int64_t events, const char *target)
{
    struct store store = {.events = events};
    char what[128], command[300];
    uuid_generate(store.uuid);
    uuid_unparse_lower(store.uuid, store.uuid_text);
    snprintf(store.base, sizeof store.base, "%s/dango-bench-restart-XXXXXX", bench_temporary());
    bench_require(mkdtemp(store.base) != NULL, store.base);
    snprintf(store.directory, sizeof store.directory, "%s/restart-%s", store.base, store.uuid_text);
    fill(&store);
    double million = (double)events / 1e6;
    snprintf(what, sizeof what, "open the log, %.3g M events", million);
    bench_print(options, what, bench_run(open_log, &store, options->rounds), "ms", target);
    snprintf(what, sizeof what, "memory of the open log, %.3g M events", million);
    bench_print(options, what, bench_run(open_memory, &store, options->rounds), "KiB", NULL);
    struct store nothing = {0};
    struct bench_pair pair = bench_run_paired(start_server, &store, start_server, &nothing, options->rounds);
    snprintf(what, sizeof what, "start a server, %.3g M events", million);
    bench_print_pair(options, what, &pair, "ms", "without partition", target);
    snprintf(what, sizeof what, "memory of the server, %.3g M events", million);
    bench_print(options, what, bench_run(server_memory, &store, options->rounds), "KiB", NULL);
    snprintf(command, sizeof command, "rm -rf %s", store.base);
    bench_require(system(command) == 0, command);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_start(argc, argv, "restart");
    int events = bench_count(&options, EVENTS);
    measure(&options, events / 11, NULL);
    measure(&options, events, "<= 100");
    return 0;
}
