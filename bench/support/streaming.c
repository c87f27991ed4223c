/*
 * Producers, consumers and topics; see streaming.h.
 */
#include "bench/support/streaming.h"

#include "bench/support/process.h"
#include "util/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char bench_metadata[] = "{\"shot\": 12345678, \"detector\": \"front\", \"energy_keV\": 12.3456789}";
_Static_assert(sizeof bench_metadata >= BENCH_METADATA, "64 bytes of metadata");

static diaspora_driver *driver;

void bench_check(int status, const diaspora_error *err)
{
    if (status == 0)
        return;
    diaspora_error_print(stderr, err);
    exit(1);
}

void bench_connect(const char *group_file)
{
    diaspora_error err = DIASPORA_ERROR_INIT;
    char text[4096 + 64];
    snprintf(text, sizeof text, "{\"group_file\":\"%s\"}", group_file);
    driver = diaspora_driver_open("mofka", text, &err);
    bench_check(driver ? 0 : -1, &err);
}

void bench_disconnect(void)
{
    diaspora_driver_close(driver);
    driver = NULL;
}

diaspora_topic *bench_topic(const char *options)
{
    static int number;
    char name[64];
    diaspora_error err = DIASPORA_ERROR_INIT;
    snprintf(name, sizeof name, "bench_%d_%d", (int)getpid(), number++);
    bench_check(diaspora_topic_create(driver, name, options, NULL, &err), &err);
    diaspora_topic *topic = diaspora_topic_open(driver, name, &err);
    bench_check(topic ? 0 : -1, &err);
    return topic;
}

double bench_load_rate(const struct bench_load *load, int64_t start_ns)
{
    double seconds = (double)(dango_clock_ns() - start_ns) / 1e9;
    /* Events that are mostly data are counted in bytes. */
    return load->count / seconds * (load->data_size >= (1 << 20) ? (double)load->data_size : 1);
}

const char *bench_load_unit(const struct bench_load *load)
{
    return load->data_size >= (1 << 20) ? "B/s" : "events/s";
}

double bench_produce(void *arg)
{
    const struct bench_load *load = arg;
    diaspora_error err = DIASPORA_ERROR_INIT;
    diaspora_producer *producer = diaspora_producer_open(load->topic, load->options, &err);
    bench_check(producer ? 0 : -1, &err);
    int64_t start = dango_clock_ns();
    for (int i = 0; i < load->count; i++)
        bench_check(diaspora_push(producer, bench_metadata, BENCH_METADATA, DIASPORA_DATA(load->data, load->data_size),
                                  NULL, &err),
                    &err);
    bench_check(diaspora_flush(producer, DIASPORA_FOREVER, &err), &err);
    double result = bench_load_rate(load, start);
    diaspora_producer_close(producer);
    return result;
}

double bench_consume(void *arg)
{
    const struct bench_load *load = arg;
    diaspora_error err = DIASPORA_ERROR_INIT;
    int64_t start = dango_clock_ns();
    diaspora_consumer *consumer = diaspora_consumer_open(load->topic, load->options, &err);
    bench_check(consumer ? 0 : -1, &err);
    for (int i = 0; i < load->count; i++) {
        diaspora_event *event;
        bench_check(diaspora_pull(consumer, 10000, &event, &err), &err);
        if (diaspora_event_metadata_size(event) != BENCH_METADATA || diaspora_event_data_size(event) != load->data_size)
            exit(1);
        diaspora_event_release(event);
    }
    double result = bench_load_rate(load, start);
    diaspora_consumer_close(consumer);
    return result;
}

double bench_copy_events(void *arg)
{
    const struct bench_load *load = arg;
    enum { BUFFER = 64 << 20 };
    static char buffer[BUFFER];
    size_t used = 0, size = BENCH_METADATA + load->data_size;
    int64_t start = dango_clock_ns();
    for (int i = 0; i < load->count; i++) {
        used = used + size <= BUFFER ? used : 0;
        memcpy(buffer + used, bench_metadata, BENCH_METADATA);
        if (load->data_size > 0)
            memcpy(buffer + used + BENCH_METADATA, load->data, load->data_size);
        used += size;
        __asm__ volatile("" ::"r"(buffer) : "memory");
    }
    return bench_load_rate(load, start);
}

/* Descriptor of a file without a name that holds that many bytes, all written. */
static int make_file(const char *directory, size_t size)
{
    enum { PIECE = 1 << 20 };
    static char piece[PIECE];
    char path[4096];
    snprintf(path, sizeof path, "%s/bench-copy-XXXXXX", directory);
    int fd = mkstemp(path);
    bench_require(fd >= 0, path);
    unlink(path);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, piece, size - done < PIECE ? size - done : PIECE);
        bench_require(n > 0, path);
        done += (size_t)n;
    }
    return fd;
}

void bench_copy_out_start(struct bench_copy_out *copy, const struct bench_load *load, const char *directory)
{
    *copy = (struct bench_copy_out){.load = load, .size = (size_t)load->count * (BENCH_METADATA + load->data_size)};
    int fd = directory ? make_file(directory, copy->size) : -1;
    copy->bytes = mmap(NULL, copy->size, directory ? PROT_READ : PROT_READ | PROT_WRITE,
                       directory ? MAP_SHARED | MAP_POPULATE : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
    bench_require(copy->bytes != MAP_FAILED, "mmap");
    if (directory)
        close(fd);
    else
        memset(copy->bytes, 1, copy->size);
}

void bench_copy_out_end(struct bench_copy_out *copy)
{
    munmap(copy->bytes, copy->size);
}

double bench_copy_out(void *arg)
{
    const struct bench_copy_out *copy = arg;
    const size_t size = BENCH_METADATA + copy->load->data_size, reused = (size_t)8 << 20;
    size_t room = copy->fresh ? copy->size : reused;
    char *to =
        mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | (copy->fresh ? 0 : MAP_POPULATE), -1, 0);
    bench_require(to != MAP_FAILED, "mmap");
    int64_t start = dango_clock_ns();
    for (size_t done = 0, used = 0; done < copy->size; done += size, used += size) {
        if (used + size > room)
            used = 0;
        memcpy(to + used, copy->bytes + done, size);
        __asm__ volatile("" ::"r"(to) : "memory");
    }
    double rate = bench_load_rate(copy->load, start);
    munmap(to, room);
    return rate;
}

int bench_consume_count(const struct bench_options *options, int count)
{
    return options->quick ? count / 4 : count;
}
