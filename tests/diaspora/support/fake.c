/*
 * The in-memory test back-end: see fake.h. Here its topics, its answers, and how tests control it.
 */
#include "tests/diaspora/support/fake_internal.h"

#include "util/clock.h"
#include "util/json.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct fake fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

void *fake_must(void *pointer)
{
    assert(pointer);
    return pointer;
}

static unsigned random_below(unsigned limit)
{
    return limit ? (unsigned)rand_r(&fake.seed) % limit : 0;
}

/* ---- answering ------------------------------------------------------------------------------------------------- */

void fake_answer(struct answer what)
{
    struct answer *queued = fake_must(malloc(sizeof *queued));
    *queued = what;
    queued->due_ns = dango_clock_ns() + (int64_t)random_below(fake.settings.delay_us_max + 1) * 1000;
    if (random_below(2))
        list_append(&fake.answers, &queued->link);
    else
        list_prepend(&fake.answers, &queued->link);
    pthread_cond_broadcast(&fake.changed);
}

/* An answer that is due, or NULL and when to look again. */
static struct answer *next_answer(int64_t *look_ns)
{
    int64_t now = dango_clock_ns();
    *look_ns = DANGO_NEVER;
    list_for_each (node, &fake.answers) {
        struct answer *a = container_of(node, struct answer, link);
        if (a->held)
            continue;
        if (a->due_ns <= now) {
            list_remove(&a->link);
            return a;
        }
        if (a->due_ns < *look_ns)
            *look_ns = a->due_ns;
    }
    return NULL;
}

static void deliver(struct answer *a)
{
    struct dango_error error, *err = NULL;
    if (a->code != 0) {
        dango_error_set(&error, a->code, "%s", a->text);
        err = &error;
    }
    if (a->batch) {
        LOCK();
        fake.batches_unanswered--;
        a->sink->queued--;
        UNLOCK();
        a->batch->done(a->batch, a->first_id, err);
    } else if (a->fetch) {
        LOCK();
        fake.fetches_unanswered--;
        UNLOCK();
        a->fetch->done(a->fetch, err);
    } else if (a->settling) {
        a->settling->done(a->settling, err);
    } else {
        a->read->done(a->read, err);
    }
    LOCK();
    (*a->unanswered)--; /* only now may the sink or source go */
    pthread_cond_broadcast(&fake.changed);
    UNLOCK();
    free(a);
}

static void *answer_loop(void *arg)
{
    (void)arg;
    LOCK();
    while (!fake.stopping) {
        int64_t look_ns;
        struct answer *a = next_answer(&look_ns);
        if (a) {
            UNLOCK();
            deliver(a);
            LOCK();
        } else if (look_ns == DANGO_NEVER) {
            pthread_cond_wait(&fake.changed, &fake.lock);
        } else {
            UNLOCK();
            struct timespec until = {.tv_sec = look_ns / DANGO_NS_PER_S, .tv_nsec = look_ns % DANGO_NS_PER_S};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
            LOCK();
        }
    }
    UNLOCK();
    return NULL;
}

int fake_failure_code(int usual)
{
    return fake.settings.failure_code ? fake.settings.failure_code : usual;
}

/* ---- topics ---------------------------------------------------------------------------------------------------- */

static struct topic *find_topic(const char *name)
{
    for (size_t i = 0; i < fake.topic_count; i++) {
        if (strcmp(fake.topics[i].name, name) == 0)
            return &fake.topics[i];
    }
    return NULL;
}

static int fake_driver_open(struct json_object *options, void **driver, struct dango_error *err)
{
    if (dango_json_get(options, "refuse"))
        return dango_error_set(err, DANGO_ERR_DISCONNECTED, "the fake server does not answer");
    LOCK();
    fake.statistics.drivers++;
    UNLOCK();
    *driver = &fake;
    return 0;
}

static void fake_driver_close(void *driver)
{
    assert(driver == &fake);
    LOCK();
    fake.statistics.drivers--;
    UNLOCK();
}

static char *json_text(struct json_object *json)
{
    return fake_must(strdup(json_object_to_json_string(json)));
}

static int fake_topic_create(void *driver, const char *name, struct json_object *options,
                             const struct diaspora_topic_description *description, struct dango_error *err)
{
    (void)driver;
    struct json_object *count = dango_json_get(options, "num_partitions");
    int status = 0;
    LOCK();
    if (find_topic(name)) {
        status = dango_error_set(err, DANGO_ERR_EXISTS, "topic \"%s\" exists already", name);
    } else {
        assert(fake.topic_count < TOPICS_MAX);
        struct topic *topic = &fake.topics[fake.topic_count++];
        memset(topic, 0, sizeof *topic);
        snprintf(topic->name, sizeof topic->name, "%s", name);
        topic->validator = json_text(description->validator);
        topic->selector = json_text(description->partition_selector);
        topic->serializer = json_text(description->serializer);
        topic->partition_count = count ? (size_t)json_object_get_int64(count) : 1;
        assert(topic->partition_count <= PARTITIONS_MAX);
        for (size_t i = 0; i < topic->partition_count; i++)
            list_init(&topic->partitions[i].sources);
    }
    UNLOCK();
    return status;
}

static int fake_topic_exists(void *driver, const char *name, bool *exists, struct dango_error *err)
{
    (void)driver, (void)err;
    LOCK();
    *exists = find_topic(name) != NULL;
    UNLOCK();
    return 0;
}

static int fake_topic_list(void *driver, struct json_object **list, struct dango_error *err)
{
    (void)driver, (void)err;
    *list = json_object_new_object();
    LOCK();
    for (size_t i = 0; i < fake.topic_count; i++) {
        struct json_object *info = json_object_new_object();
        json_object_object_add(info, "name", json_object_new_string(fake.topics[i].name));
        json_object_object_add(info, "num_partitions", json_object_new_int64((int64_t)fake.topics[i].partition_count));
        json_object_object_add(info, "validator", json_tokener_parse(fake.topics[i].validator));
        json_object_object_add(*list, fake.topics[i].name, info);
    }
    UNLOCK();
    return 0;
}

static int fake_topic_open(void *driver, const char *name, void **handle,
                           struct diaspora_topic_description *description, struct dango_error *err)
{
    (void)driver;
    LOCK();
    struct topic *topic = find_topic(name);
    if (topic) {
        description->validator = json_tokener_parse(topic->validator);
        description->partition_selector = json_tokener_parse(topic->selector);
        description->serializer = json_tokener_parse(topic->serializer);
        description->partitions = json_object_new_array();
        for (size_t i = 0; i < topic->partition_count; i++) {
            struct json_object *info = json_object_new_object();
            json_object_object_add(info, "index", json_object_new_int64((int64_t)i));
            json_object_array_add(description->partitions, info);
        }
        fake.statistics.topics++;
    }
    UNLOCK();
    *handle = topic;
    return topic ? 0 : dango_error_set(err, DANGO_ERR_NOT_FOUND, "no topic \"%s\"", name);
}

static void fake_topic_close(void *topic)
{
    (void)topic;
    LOCK();
    fake.statistics.topics--;
    UNLOCK();
}

static int fake_buffer_allocate(void *driver, size_t size, struct diaspora_buffer *buffer, struct dango_error *err)
{
    (void)driver, (void)err;
    *buffer = (struct diaspora_buffer){.base = fake_must(malloc(size)), .size = size};
    LOCK();
    fake.statistics.buffers++;
    UNLOCK();
    return 0;
}

static void fake_buffer_free(void *driver, struct diaspora_buffer *buffer)
{
    (void)driver;
    free(buffer->base);
    buffer->base = NULL;
    LOCK();
    fake.statistics.buffers--;
    UNLOCK();
}

/* ---- control --------------------------------------------------------------------------------------------------- */

static const struct diaspora_driver_ops fake_ops = {
    .abi = DIASPORA_DRIVER_ABI,
    .type = "fake",
    .driver_open = fake_driver_open,
    .driver_close = fake_driver_close,
    .topic_create = fake_topic_create,
    .topic_exists = fake_topic_exists,
    .topic_list = fake_topic_list,
    .topic_open = fake_topic_open,
    .topic_close = fake_topic_close,
    .buffer_allocate = fake_buffer_allocate,
    .buffer_free = fake_buffer_free,
    .sink_open = fake_sink_open,
    .sink_submit = fake_sink_submit,
    .sink_close = fake_sink_close,
    .sink_settle = fake_sink_settle,
    .source_open = fake_source_open,
    .source_fetch = fake_source_fetch,
    .source_read = fake_source_read,
    .source_acknowledge = fake_source_acknowledge,
    .source_extent = fake_source_extent,
    .source_close = fake_source_close,
};

void fake_start(struct fake_settings settings)
{
    fake.settings = settings;
    memset(&fake.statistics, 0, sizeof fake.statistics);
    fake.stopping = fake.disconnected = false;
    fake.seed = 1;
    list_init(&fake.answers);
    fake.thread_count = settings.threads ? settings.threads : 2;
    assert(fake.thread_count <= THREADS_MAX);
    for (unsigned i = 0; i < fake.thread_count; i++)
        pthread_create(&fake.threads[i], NULL, answer_loop, NULL);
    int status = dango_diaspora_register_driver(&fake_ops, NULL);
    assert(status == 0);
}

void fake_stop(void)
{
    LOCK();
    fake.stopping = true;
    pthread_cond_broadcast(&fake.changed);
    UNLOCK();
    for (unsigned i = 0; i < fake.thread_count; i++)
        pthread_join(fake.threads[i], NULL);
    assert(list_empty(&fake.answers));
    for (size_t t = 0; t < fake.topic_count; t++) {
        struct topic *topic = &fake.topics[t];
        for (size_t i = 0; i < topic->partition_count; i++) {
            for (size_t b = 0; b < topic->partitions[i].batch_count; b++) {
                free(topic->partitions[i].batches[b].records);
                free(topic->partitions[i].batches[b].data);
            }
            free(topic->partitions[i].batches);
        }
        free(topic->validator);
        free(topic->selector);
        free(topic->serializer);
    }
    fake.topic_count = 0;
}

void fake_change(struct fake_settings settings)
{
    LOCK();
    fake.settings = settings;
    UNLOCK();
}

struct fake_statistics fake_statistics(void)
{
    LOCK();
    struct fake_statistics statistics = fake.statistics;
    UNLOCK();
    return statistics;
}

void fake_release(void)
{
    LOCK();
    fake.settings.hold_batches = fake.settings.hold_reads = false;
    list_for_each (node, &fake.answers)
        container_of(node, struct answer, link)->held = false;
    pthread_cond_broadcast(&fake.changed);
    UNLOCK();
}

static void serve_all(void)
{
    for (size_t t = 0; t < fake.topic_count; t++) {
        for (size_t i = 0; i < fake.topics[t].partition_count; i++) {
            list_for_each (node, &fake.topics[t].partitions[i].sources)
                fake_serve(container_of(node, struct source, link));
        }
    }
}

void fake_disconnect(void)
{
    LOCK();
    fake.disconnected = true;
    serve_all();
    UNLOCK();
}

void fake_mark_complete(const char *topic)
{
    LOCK();
    find_topic(topic)->complete = true;
    serve_all();
    UNLOCK();
}

uint64_t fake_event_count(const char *topic, size_t partition)
{
    LOCK();
    uint64_t count = find_topic(topic)->partitions[partition].events;
    UNLOCK();
    return count;
}

uint64_t fake_position(const char *topic, size_t partition, const char *consumer)
{
    LOCK();
    uint64_t next = fake_position_of(&find_topic(topic)->partitions[partition], consumer)->next;
    UNLOCK();
    return next;
}

void fake_set_validator(const char *topic, const char *json)
{
    LOCK();
    struct topic *t = find_topic(topic);
    free(t->validator);
    t->validator = fake_must(strdup(json));
    UNLOCK();
}
