/*
 * The in-memory test back-end: see fake.h.
 */
#include "tests/diaspora/support/fake.h"

#include "diaspora/record.h"
#include "util/clock.h"
#include "util/json.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TOPICS_MAX     16
#define PARTITIONS_MAX 8
#define POSITIONS_MAX  16
#define THREADS_MAX    8

struct stored_batch {
    unsigned char *records, *data;
    size_t records_size;
    uint64_t data_size, first_id;
    uint32_t count;
};

struct position {
    char consumer[32];
    uint64_t next;
};

struct partition {
    struct stored_batch *batches;
    size_t batch_count, batch_capacity;
    uint64_t events;
    struct position positions[POSITIONS_MAX];
    struct list_node sources;
};

struct topic {
    char name[300];
    char *validator, *selector, *serializer;
    size_t partition_count;
    struct partition partitions[PARTITIONS_MAX];
    bool complete;
};

struct sink {
    struct partition *partition;
    size_t unanswered; /* done has not returned */
    size_t queued;     /* done has not been called */
    bool failing;      /* until all batches that were there when one failed are answered */
};

struct source {
    struct list_node link;
    struct topic *topic;
    struct partition *partition;
    char consumer[32];
    uint64_t first, next, end;
    bool with_data;
    struct list_node fetches;
    size_t unanswered;
    /* where `next` is */
    size_t batch;
    uint32_t done;
    size_t records_at;
    uint64_t data_at;
};

/* One answer on its way. */
struct answer {
    struct list_node link;
    int64_t due_ns;
    bool held;
    struct diaspora_batch *batch;
    struct sink *sink; /* of the batch */
    uint64_t first_id;
    struct diaspora_fetch *fetch;
    struct diaspora_read *read;
    struct diaspora_settling *settling;
    size_t *unanswered;
    int code;
    const char *text;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
    bool stopping, disconnected;
    struct fake_settings settings;
    struct fake_statistics statistics;
    struct list_node answers;
    struct topic topics[TOPICS_MAX];
    size_t topic_count;
    size_t batches_unanswered, fetches_unanswered;
    unsigned seed;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

#define LOCK()   pthread_mutex_lock(&fake.lock)
#define UNLOCK() pthread_mutex_unlock(&fake.lock)

static void *must(void *pointer)
{
    assert(pointer);
    return pointer;
}

static unsigned random_below(unsigned limit)
{
    return limit ? (unsigned)rand_r(&fake.seed) % limit : 0;
}

/* ---- answering ------------------------------------------------------------------------------------------------- */

static void answer(struct answer what)
{
    struct answer *queued = must(malloc(sizeof *queued));
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
    return must(strdup(json_object_to_json_string(json)));
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
    *buffer = (struct diaspora_buffer){.base = must(malloc(size)), .size = size};
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

/* ---- sources --------------------------------------------------------------------------------------------------- */

/* The records of at most `max` events at the source's place that fit into `room` bytes. */
static size_t measure(const struct source *s, uint32_t max, size_t room, uint32_t *count, uint64_t *data_size)
{
    const struct stored_batch *b = &s->partition->batches[s->batch];
    size_t size = 0;
    *count = 0;
    *data_size = 0;
    while (*count < max && s->done + *count < b->count) {
        struct diaspora_record record;
        size_t length =
            diaspora_record_get(b->records + s->records_at + size, b->records_size - s->records_at - size, &record);
        assert(length > 0);
        if (length > room - size)
            break;
        size += length;
        *data_size += record.data_size;
        (*count)++;
    }
    return size;
}

static void advance(struct source *s, uint32_t count, size_t records_size, uint64_t data_size)
{
    s->next += count;
    s->done += count;
    s->records_at += records_size;
    s->data_at += data_size;
    if (s->done == s->partition->batches[s->batch].count) {
        s->batch++;
        s->done = 0;
        s->records_at = 0;
        s->data_at = 0;
    }
}

/* Puts the next run into the fetch; false when nothing more fits. */
static bool add_run(struct source *s, struct diaspora_fetch *fetch, size_t *used, uint32_t *events)
{
    const struct stored_batch *b = &s->partition->batches[s->batch];
    uint32_t count;
    uint64_t data_size;
    size_t size = measure(s, fetch->max_events - *events, fetch->buffer.size - *used, &count, &data_size);
    if (count == 0)
        return false;
    struct diaspora_run *run = &fetch->runs[fetch->run_count++];
    *run = (struct diaspora_run){
        .first_id = s->next, .count = count, .records_offset = *used, .records_size = size, .data_size = data_size};
    memcpy(fetch->buffer.base + *used, b->records + s->records_at, size);
    *used += size;
    if (s->with_data && !fake.settings.no_data_along && data_size <= fetch->buffer.size - *used) {
        run->with_data = true;
        run->data_offset = *used;
        memcpy(fetch->buffer.base + *used, b->data + s->data_at, data_size);
        *used += data_size;
    }
    *events += count;
    advance(s, count, size, data_size);
    return true;
}

/* Whether the source stands before the batch that cannot be read. */
static bool stands_before_damage(const struct source *s)
{
    return fake.settings.batch_lost > 0 && s->batch == fake.settings.batch_lost - 1 && s->done == 0 &&
           s->next < s->partition->events;
}

static void lose_batch(struct source *s, struct diaspora_fetch *fetch)
{
    const struct stored_batch *b = &s->partition->batches[s->batch];
    fetch->lost_id = s->next;
    fetch->lost = b->count;
    fetch->removed = fake.settings.lost_is_removed;
    advance(s, b->count, b->records_size, b->data_size);
}

/* Puts the batch that cannot be read into the fetch. */
static void add_damaged_run(struct source *s, struct diaspora_fetch *fetch)
{
    const struct stored_batch *b = &s->partition->batches[s->batch];
    fetch->runs[fetch->run_count++] = (struct diaspora_run){.first_id = s->next, .count = b->count, .damaged = true};
    advance(s, b->count, b->records_size, b->data_size);
}

static void fill(struct source *s, struct diaspora_fetch *fetch)
{
    size_t used = 0;
    uint32_t events = 0;
    fetch->run_count = 0;
    fetch->needed = 0;
    fetch->end_of_stream = false;
    if (stands_before_damage(s) && !fake.settings.lost_is_run) {
        lose_batch(s, fetch);
        return;
    }
    while (s->next < s->partition->events && fetch->run_count < fetch->runs_capacity && events < fetch->max_events) {
        if (stands_before_damage(s)) {
            if (!fake.settings.lost_is_run)
                break;
            add_damaged_run(s, fetch);
            continue;
        }
        if (!add_run(s, fetch, &used, &events))
            break;
    }
    if (events == 0 && s->next < s->partition->events && !stands_before_damage(s)) {
        uint32_t count;
        uint64_t data_size;
        fetch->needed = measure(s, 1, SIZE_MAX, &count, &data_size);
    }
    fetch->end_of_stream = s->topic->complete && s->next == s->partition->events;
    if (fake.settings.damage_records && fetch->run_count > 0)
        fetch->buffer.base[fetch->runs[0].records_offset + fetch->runs[0].records_size - 1] = 'x';
}

/* Answers the fetches that can be answered. */
static void serve(struct source *s)
{
    while (!list_empty(&s->fetches) && (fake.disconnected || s->topic->complete || s->next < s->partition->events)) {
        struct diaspora_fetch *fetch = container_of(list_pop(&s->fetches), struct diaspora_fetch, link);
        struct answer a = {.fetch = fetch, .unanswered = &s->unanswered};
        if (fake.disconnected) {
            a.code = DANGO_ERR_DISCONNECTED;
            a.text = "the fake server is gone";
        } else {
            fill(s, fetch);
        }
        answer(a);
    }
}

static void seek(struct source *s)
{
    while (s->batch < s->partition->batch_count) {
        const struct stored_batch *b = &s->partition->batches[s->batch];
        if (s->next < b->first_id + b->count)
            break;
        s->batch++;
    }
    uint64_t target = s->next;
    if (s->batch == s->partition->batch_count)
        return;
    s->next = s->partition->batches[s->batch].first_id;
    uint32_t count;
    uint64_t data_size;
    size_t size = measure(s, (uint32_t)(target - s->next), SIZE_MAX, &count, &data_size);
    if (count > 0)
        advance(s, count, size, data_size);
}

static struct position *position_of(struct partition *p, const char *consumer)
{
    size_t i = 0;
    while (i < POSITIONS_MAX - 1 && p->positions[i].consumer[0] && strcmp(p->positions[i].consumer, consumer) != 0)
        i++;
    snprintf(p->positions[i].consumer, sizeof p->positions[i].consumer, "%s", consumer);
    return &p->positions[i];
}

static int fake_source_open(void *handle, size_t index, const struct diaspora_source_settings *settings, void **source,
                            struct dango_error *err)
{
    struct topic *topic = handle;
    if (fake.disconnected)
        return dango_error_set(err, DANGO_ERR_DISCONNECTED, "the fake server is gone");
    struct source *s = must(calloc(1, sizeof *s));
    LOCK();
    s->topic = topic;
    s->partition = &topic->partitions[index];
    s->with_data = settings->with_data;
    snprintf(s->consumer, sizeof s->consumer, "%s", settings->consumer_name);
    list_init(&s->fetches);
    list_append(&s->partition->sources, &s->link);
    const uint64_t starts[] = {[DIASPORA_START_SAVED] = position_of(s->partition, s->consumer)->next,
                               [DIASPORA_START_FIRST] = 0,
                               [DIASPORA_START_LAST] = s->partition->events,
                               [DIASPORA_START_ID] = settings->start_id};
    s->first = s->next = starts[settings->start];
    s->end = s->partition->events;
    seek(s);
    fake.statistics.sources++;
    UNLOCK();
    *source = s;
    return 0;
}

static void fake_source_fetch(void *source, struct diaspora_fetch *fetch)
{
    struct source *s = source;
    LOCK();
    list_append(&s->fetches, &fetch->link);
    s->unanswered++;
    fake.fetches_unanswered++;
    if (fake.fetches_unanswered > fake.statistics.fetches_unanswered_max)
        fake.statistics.fetches_unanswered_max = fake.fetches_unanswered;
    serve(s);
    UNLOCK();
}

static int failure_code(int usual)
{
    return fake.settings.failure_code ? fake.settings.failure_code : usual;
}

/* Finds an event's data. */
static const unsigned char *find_data(const struct partition *p, uint64_t id, uint64_t *size)
{
    for (size_t i = 0; i < p->batch_count; i++) {
        const struct stored_batch *b = &p->batches[i];
        if (id < b->first_id || id >= b->first_id + b->count)
            continue;
        size_t records_at = 0;
        uint64_t data_at = 0;
        for (uint64_t at = b->first_id;; at++) {
            struct diaspora_record record = {0};
            records_at += diaspora_record_get(b->records + records_at, b->records_size - records_at, &record);
            *size = record.data_size;
            if (at == id)
                return b->data + data_at;
            data_at += record.data_size;
        }
    }
    return NULL;
}

struct scatter {
    const diaspora_segment *segment;
    size_t used;
};

static void put(struct scatter *to, const unsigned char *from, uint64_t size)
{
    while (size > 0) {
        size_t part = to->segment->size - to->used;
        if (part > size)
            part = (size_t)size;
        if (from) {
            memcpy((char *)to->segment->base + to->used, from, part);
            from += part;
        }
        to->used += part;
        size -= part;
        if (to->used == to->segment->size) {
            to->segment++;
            to->used = 0;
        }
    }
}

static void fake_source_read(void *source, struct diaspora_read *read)
{
    struct source *s = source;
    struct scatter to = {read->destination, 0};
    LOCK();
    fake.statistics.reads++;
    fake.statistics.read_items += read->item_count;
    size_t ranges = 0;
    for (size_t i = 0; i < read->item_count; i++)
        ranges += read->items[i].range_count;
    if (ranges > fake.statistics.read_ranges_max)
        fake.statistics.read_ranges_max = ranges;
    for (size_t i = 0; i < read->item_count && !fake.disconnected; i++) {
        struct diaspora_read_item *item = &read->items[i];
        uint64_t size = 0;
        const unsigned char *data = find_data(s->partition, item->event_id, &size);
        bool fails = !data || item->event_id == fake.settings.read_fails;
        item->status = fails ? failure_code(DANGO_ERR_CORRUPT) : 0;
        for (size_t k = 0; k < item->range_count; k++) {
            assert(fails || item->ranges[k].offset + item->ranges[k].size <= size);
            put(&to, fails ? NULL : data + item->ranges[k].offset, item->ranges[k].size);
        }
    }
    s->unanswered++;
    struct answer a = {.read = read, .unanswered = &s->unanswered, .held = fake.settings.hold_reads};
    if (fake.disconnected) {
        a.code = DANGO_ERR_DISCONNECTED;
        a.text = "the fake server is gone";
    }
    answer(a);
    UNLOCK();
}

static int fake_source_acknowledge(void *source, uint64_t event_id, struct dango_error *err)
{
    struct source *s = source;
    int status = 0;
    LOCK();
    struct position *position = position_of(s->partition, s->consumer);
    if (fake.disconnected)
        status = dango_error_set(err, DANGO_ERR_DISCONNECTED, "the fake server is gone");
    else if (event_id + 1 > position->next)
        position->next = event_id + 1;
    UNLOCK();
    return status;
}

static int fake_source_extent(void *source, uint64_t *first, uint64_t *end, struct dango_error *err)
{
    (void)err;
    struct source *s = source;
    *first = s->first;
    *end = s->end;
    return 0;
}

static void fake_source_close(void *source)
{
    struct source *s = source;
    LOCK();
    list_remove(&s->link);
    while (!list_empty(&s->fetches)) {
        struct diaspora_fetch *fetch = container_of(list_pop(&s->fetches), struct diaspora_fetch, link);
        answer((struct answer){
            .fetch = fetch, .unanswered = &s->unanswered, .code = DANGO_ERR_CANCELED, .text = "closed"});
    }
    list_for_each (node, &fake.answers) {
        struct answer *a = container_of(node, struct answer, link);
        if (a->unanswered == &s->unanswered)
            a->held = false;
    }
    pthread_cond_broadcast(&fake.changed);
    while (s->unanswered > 0)
        pthread_cond_wait(&fake.changed, &fake.lock);
    fake.statistics.sources--;
    UNLOCK();
    free(s);
}

/* ---- sinks ----------------------------------------------------------------------------------------------------- */

static int fake_sink_open(void *handle, size_t index, const struct diaspora_sink_settings *settings, void **sink,
                          struct dango_error *err)
{
    (void)settings, (void)err;
    struct topic *topic = handle;
    struct sink *s = must(calloc(1, sizeof *s));
    LOCK();
    s->partition = &topic->partitions[index];
    fake.statistics.sinks++;
    UNLOCK();
    *sink = s;
    return 0;
}

static uint64_t store(struct partition *p, const struct diaspora_batch *batch)
{
    if (p->batch_count == p->batch_capacity) {
        p->batch_capacity = p->batch_capacity ? 2 * p->batch_capacity : 64;
        p->batches = must(realloc(p->batches, p->batch_capacity * sizeof *p->batches));
    }
    struct stored_batch *b = &p->batches[p->batch_count++];
    *b = (struct stored_batch){.records = must(malloc(batch->records_size)),
                               .data = must(malloc(batch->data_size + 1)),
                               .records_size = batch->records_size,
                               .data_size = batch->data_size,
                               .first_id = p->events,
                               .count = batch->count};
    memcpy(b->records, batch->records.base, batch->records_size);
    uint64_t at = 0;
    for (size_t i = 0; i < batch->data_segments; i++) {
        memcpy(b->data + at, batch->data[i].base, batch->data[i].size);
        at += batch->data[i].size;
    }
    assert(at == batch->data_size);
    p->events += batch->count;
    return b->first_id;
}

static void fake_sink_submit(void *sink, struct diaspora_batch *batch)
{
    struct sink *s = sink;
    struct answer a = {.batch = batch, .sink = s, .unanswered = &s->unanswered};
    int status =
        dango_diaspora_records_check(batch->records.base, batch->records_size, batch->count, batch->data_size, NULL);
    assert(status == 0);
    LOCK();
    fake.statistics.batches++;
    if (s->queued == 0)
        s->failing = false;
    if (fake.statistics.batches == fake.settings.batch_fails)
        s->failing = true;
    if (fake.disconnected) {
        a.code = DANGO_ERR_DISCONNECTED;
        a.text = "the fake server is gone";
    } else if (s->failing) {
        a.code = failure_code(DANGO_ERR_IO);
        a.text = FAKE_BATCH_FAILURE;
    } else {
        a.first_id = store(s->partition, batch);
        list_for_each (node, &s->partition->sources)
            serve(container_of(node, struct source, link));
    }
    s->unanswered++;
    s->queued++;
    fake.batches_unanswered++;
    if (fake.batches_unanswered > fake.statistics.batches_unanswered_max)
        fake.statistics.batches_unanswered_max = fake.batches_unanswered;
    a.held = fake.settings.hold_batches;
    answer(a);
    UNLOCK();
}

static void fake_sink_settle(void *sink, struct diaspora_settling *settling)
{
    struct sink *s = sink;
    struct answer a = {.settling = settling, .unanswered = &s->unanswered};
    LOCK();
    fake.statistics.settlings++;
    if (fake.settings.unsettled) {
        a.code = DANGO_ERR_IO;
        a.text = FAKE_BATCH_FAILURE;
    }
    s->unanswered++;
    a.held = fake.settings.hold_settling;
    answer(a);
    UNLOCK();
}

static void fake_sink_close(void *sink)
{
    struct sink *s = sink;
    LOCK();
    while (s->unanswered > 0)
        pthread_cond_wait(&fake.changed, &fake.lock);
    fake.statistics.sinks--;
    UNLOCK();
    free(s);
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
                serve(container_of(node, struct source, link));
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
    uint64_t next = position_of(&find_topic(topic)->partitions[partition], consumer)->next;
    UNLOCK();
    return next;
}

void fake_set_validator(const char *topic, const char *json)
{
    LOCK();
    struct topic *t = find_topic(topic);
    free(t->validator);
    t->validator = must(strdup(json));
    UNLOCK();
}
