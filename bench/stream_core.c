/*
 * The streaming core alone, on a driver that stores nothing: what push and pull cost an application before any byte
 * leaves it, in processor time of its thread. The driver answers batches from a thread of its own, and fetches with a
 * batch made beforehand, copied into the buffer as a transport would. The reference is a loop that copies the same
 * metadata into a buffer.
 */
#include "bench/support/report.h"

#include "diaspora/driver.h"
#include "diaspora/record.h"
#include "util/clock.h"
#include "util/json.h"

#include <pthread.h>
#include <stdlib.h>

enum { METADATA = 64, BATCH = 512 }; /* a batch with 1 KiB of data each fits into the buffer of a fetch */

static const char metadata[METADATA] = "{\"shot\": 12345678, \"detector\": \"front\", \"energy_keV\": 12.345678}";

/* ---- a driver that does nothing --------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list_node batches, fetches;
    size_t data_size; /* of each event that is fetched */
    unsigned char *records, *data;
    size_t records_size;
    uint64_t stored, fetched, fetch_end;
    size_t outstanding;
    bool stopping;
    pthread_t thread;
} null = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void check(int status, const diaspora_error *err)
{
    if (status != 0) {
        diaspora_error_print(stderr, err);
        exit(1);
    }
}

static void fill(struct diaspora_fetch *fetch)
{
    size_t along = BATCH * null.data_size;
    memcpy(fetch->buffer.base, null.records, null.records_size);
    if (along > 0)
        memcpy(fetch->buffer.base + null.records_size, null.data, along);
    fetch->runs[0] = (struct diaspora_run){.first_id = null.fetched,
                                           .count = BATCH,
                                           .records_size = null.records_size,
                                           .data_offset = null.records_size,
                                           .data_size = along,
                                           .with_data = along > 0};
    fetch->run_count = 1;
    null.fetched += BATCH;
}

static void *answer(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&null.lock);
    while (!null.stopping) {
        struct list_node *batch = list_pop(&null.batches);
        struct list_node *fetch = null.fetched < null.fetch_end ? list_pop(&null.fetches) : NULL;
        if (!batch && !fetch) {
            pthread_cond_wait(&null.changed, &null.lock);
            continue;
        }
        uint64_t first_id = null.stored;
        struct diaspora_batch *b = batch ? container_of(batch, struct diaspora_batch, link) : NULL;
        struct diaspora_fetch *f = fetch ? container_of(fetch, struct diaspora_fetch, link) : NULL;
        if (b)
            null.stored += b->count;
        pthread_mutex_unlock(&null.lock);
        if (b)
            b->done(b, first_id, NULL);
        if (f) {
            fill(f);
            f->done(f, NULL);
        }
        pthread_mutex_lock(&null.lock);
        null.outstanding -= (b != NULL) + (f != NULL);
        pthread_cond_broadcast(&null.changed);
    }
    pthread_mutex_unlock(&null.lock);
    return NULL;
}

static void submit(struct list_node *queue, struct list_node *link)
{
    pthread_mutex_lock(&null.lock);
    list_append(queue, link);
    null.outstanding++;
    pthread_cond_broadcast(&null.changed);
    pthread_mutex_unlock(&null.lock);
}

static int null_driver_open(struct json_object *options, void **driver, struct dango_error *err)
{
    (void)options, (void)err;
    list_init(&null.batches);
    list_init(&null.fetches);
    *driver = &null;
    return pthread_create(&null.thread, NULL, answer, NULL);
}

static void null_driver_close(void *driver)
{
    (void)driver;
    pthread_mutex_lock(&null.lock);
    null.stopping = true;
    pthread_cond_broadcast(&null.changed);
    pthread_mutex_unlock(&null.lock);
    pthread_join(null.thread, NULL);
}

static int null_topic_open(void *driver, const char *name, void **topic, struct diaspora_topic_description *description,
                           struct dango_error *err)
{
    (void)name, (void)err;
    description->partitions = json_object_new_array();
    json_object_array_add(description->partitions, json_object_new_object());
    *topic = driver;
    return 0;
}

static void null_topic_close(void *topic)
{
    (void)topic;
}

static int null_buffer_allocate(void *driver, size_t size, struct diaspora_buffer *buffer, struct dango_error *err)
{
    (void)driver, (void)err;
    *buffer = (struct diaspora_buffer){.base = malloc(size), .size = size};
    return buffer->base ? 0 : DANGO_ERR_NO_MEMORY;
}

static void null_buffer_free(void *driver, struct diaspora_buffer *buffer)
{
    (void)driver;
    free(buffer->base);
}

static int null_sink_open(void *topic, size_t partition, const struct diaspora_sink_settings *settings, void **sink,
                          struct dango_error *err)
{
    (void)partition, (void)settings, (void)err;
    *sink = topic;
    return 0;
}

static void null_sink_submit(void *sink, struct diaspora_batch *batch)
{
    (void)sink;
    submit(&null.batches, &batch->link);
}

static int null_source_open(void *topic, size_t partition, const struct diaspora_source_settings *settings,
                            void **source, struct dango_error *err)
{
    (void)partition, (void)settings, (void)err;
    *source = topic;
    return 0;
}

static void null_source_fetch(void *source, struct diaspora_fetch *fetch)
{
    (void)source;
    submit(&null.fetches, &fetch->link);
}

/* Also closes sinks, of which nothing is outstanding then. */
static void null_close(void *source)
{
    const struct dango_error closed = {DANGO_ERR_CANCELED, "closed"};
    struct list_node *node;
    (void)source;
    pthread_mutex_lock(&null.lock);
    while ((node = list_pop(&null.fetches))) {
        struct diaspora_fetch *fetch = container_of(node, struct diaspora_fetch, link);
        null.outstanding--;
        pthread_mutex_unlock(&null.lock);
        fetch->done(fetch, &closed);
        pthread_mutex_lock(&null.lock);
    }
    while (null.outstanding > 0)
        pthread_cond_wait(&null.changed, &null.lock);
    pthread_mutex_unlock(&null.lock);
}

static const struct diaspora_driver_ops null_ops = {
    .abi = DIASPORA_DRIVER_ABI,
    .type = "null",
    .driver_open = null_driver_open,
    .driver_close = null_driver_close,
    .topic_open = null_topic_open,
    .topic_close = null_topic_close,
    .buffer_allocate = null_buffer_allocate,
    .buffer_free = null_buffer_free,
    .sink_open = null_sink_open,
    .sink_submit = null_sink_submit,
    .sink_close = null_close,
    .source_open = null_source_open,
    .source_fetch = null_source_fetch,
    .source_close = null_close,
};

/* Processor time of the calling thread: what the application pays, on a busy machine as on an idle one. */
static int64_t thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * DANGO_NS_PER_S + now.tv_nsec;
}

/* ---- measurements ---------------------------------------------------------------------------------------------- */

struct load {
    diaspora_topic *topic;
    const char *options;
    int count;
    bool futures, many;
    size_t data_size;
};

static double push_events(void *arg)
{
    const struct load *load = arg;
    diaspora_error err = DIASPORA_ERROR_INIT;
    static char data[1 << 14];
    diaspora_producer *producer = diaspora_producer_open(load->topic, load->options, &err);
    check(producer ? 0 : -1, &err);
    int64_t start = thread_ns();
    for (int i = 0; i < load->count; i++) {
        diaspora_future *future = NULL;
        check(diaspora_push(producer, metadata, METADATA, DIASPORA_DATA(data, load->data_size),
                            load->futures ? &future : NULL, &err),
              &err);
        diaspora_future_release(future);
    }
    check(diaspora_flush(producer, DIASPORA_FOREVER, &err), &err);
    double ns = (double)(thread_ns() - start) / load->count;
    diaspora_producer_close(producer);
    return ns;
}

static double pull_events(void *arg)
{
    const struct load *load = arg;
    diaspora_error err = DIASPORA_ERROR_INIT;
    null.data_size = load->data_size;
    null.fetched = 0;
    null.fetch_end = (uint64_t)load->count;
    diaspora_consumer *consumer = diaspora_consumer_open(load->topic, load->options, &err);
    check(consumer ? 0 : -1, &err);
    size_t sum = 0;
    int64_t start = thread_ns();
    for (int i = 0; i < load->count;) {
        diaspora_event *events[64];
        size_t count = 1;
        check(diaspora_pull_many(consumer, DIASPORA_FOREVER, events, load->many ? 64 : 1, &count, &err), &err);
        for (size_t k = 0; k < count; k++) {
            sum += (unsigned char)diaspora_event_metadata(events[k])[METADATA - 1];
            diaspora_event_release(events[k]);
        }
        i += (int)count;
    }
    double ns = (double)(thread_ns() - start) / load->count;
    if (sum != (size_t)metadata[METADATA - 1] * (size_t)load->count)
        exit(1);
    diaspora_consumer_close(consumer);
    return ns;
}

/* Copying the metadata, record by record, into a buffer of the size of a batch. */
static double copy_events(void *arg)
{
    const struct load *load = arg;
    static unsigned char buffer[BATCH * 128];
    size_t used = 0;
    int64_t start = thread_ns();
    for (int i = 0; i < load->count; i++) {
        used = i % BATCH ? used : 0;
        used += diaspora_record_put(buffer + used, metadata, METADATA, load->data_size);
        __asm__ volatile("" ::"r"(buffer) : "memory");
    }
    return (double)(thread_ns() - start) / load->count;
}

static void make_batch(void)
{
    null.records = malloc(BATCH * diaspora_record_bound(METADATA));
    null.data = calloc(BATCH, 1 << 10);
    if (!null.records || !null.data)
        exit(1);
}

/* The records of the prepared batch say how much data each event has. */
static void prepare(size_t data_size)
{
    null.records_size = 0;
    for (int i = 0; i < BATCH; i++)
        null.records_size += diaspora_record_put(null.records + null.records_size, metadata, METADATA, data_size);
}

static void measure(const struct bench_options *options, const char *what, bench_measure_fn subject, struct load load,
                    const char *target)
{
    load.count = bench_count(options, BATCH * 1000) / BATCH * BATCH;
    prepare(load.data_size);
    struct bench_pair pair = bench_run_paired(subject, &load, copy_events, &load, options->rounds);
    bench_print_pair(options, what, &pair, "ns/event", "copy", target);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_start(argc, argv, "stream-core");
    diaspora_error err = DIASPORA_ERROR_INIT;
    check(dango_diaspora_register_driver(&null_ops, &err), &err);
    diaspora_driver *driver = diaspora_driver_open("null", NULL, &err);
    diaspora_topic *topic = driver ? diaspora_topic_open(driver, "t", &err) : NULL;
    check(topic ? 0 : -1, &err);
    make_batch();
    const char *fixed = "{\"batch_size\":1024}", *none = "{\"name\":\"c\"}", *all = "{\"name\":\"c\",\"data\":\"all\"}";
    measure(&options, "push 64 B, batches of 1024", push_events, (struct load){topic, fixed, 0, false, false, 0},
            "<= 100");
    measure(&options, "push 64 B, with futures", push_events, (struct load){topic, fixed, 0, true, false, 0}, "<= 100");
    measure(&options, "push 64 B, adaptive", push_events, (struct load){topic, NULL, 0, false, false, 0}, "<= 100");
    measure(&options, "push 64 B + 1 KiB", push_events, (struct load){topic, fixed, 0, false, false, 1024}, NULL);
    measure(&options, "pull 64 B", pull_events, (struct load){topic, none, 0, false, false, 0}, "<= 200");
    measure(&options, "pull 64 B, many at a time", pull_events, (struct load){topic, none, 0, false, true, 0},
            "<= 200");
    measure(&options, "pull 64 B + 1 KiB", pull_events, (struct load){topic, all, 0, false, false, 1024}, "<= 1000");
    diaspora_topic_close(topic);
    diaspora_driver_close(driver);
    free(null.records);
    free(null.data);
    return 0;
}
