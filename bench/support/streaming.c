/*
 * Producers, consumers and topics; see streaming.h.
 */
#include "bench/support/streaming.h"

#include "util/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
