/*
 * What consumers get of the fake back-end: runs of events that fit into their buffers, selected data, positions.
 */
#include "tests/diaspora/support/fake_internal.h"

#include "diaspora/record.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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
void fake_serve(struct source *s)
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
        fake_answer(a);
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

struct position *fake_position_of(struct partition *p, const char *consumer)
{
    size_t i = 0;
    while (i < POSITIONS_MAX - 1 && p->positions[i].consumer[0] && strcmp(p->positions[i].consumer, consumer) != 0)
        i++;
    snprintf(p->positions[i].consumer, sizeof p->positions[i].consumer, "%s", consumer);
    return &p->positions[i];
}

int fake_source_open(void *handle, size_t index, const struct diaspora_source_settings *settings, void **source,
                     struct dango_error *err)
{
    struct topic *topic = handle;
    if (fake.disconnected)
        return dango_error_set(err, DANGO_ERR_DISCONNECTED, "the fake server is gone");
    struct source *s = fake_must(calloc(1, sizeof *s));
    LOCK();
    s->topic = topic;
    s->partition = &topic->partitions[index];
    s->with_data = settings->with_data;
    snprintf(s->consumer, sizeof s->consumer, "%s", settings->consumer_name);
    list_init(&s->fetches);
    list_append(&s->partition->sources, &s->link);
    const uint64_t starts[] = {[DIASPORA_START_SAVED] = fake_position_of(s->partition, s->consumer)->next,
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

void fake_source_fetch(void *source, struct diaspora_fetch *fetch)
{
    struct source *s = source;
    LOCK();
    list_append(&s->fetches, &fetch->link);
    s->unanswered++;
    fake.fetches_unanswered++;
    if (fake.fetches_unanswered > fake.statistics.fetches_unanswered_max)
        fake.statistics.fetches_unanswered_max = fake.fetches_unanswered;
    fake_serve(s);
    UNLOCK();
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

void fake_source_read(void *source, struct diaspora_read *read)
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
        item->status = fails ? fake_failure_code(DANGO_ERR_CORRUPT) : 0;
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
    fake_answer(a);
    UNLOCK();
}

int fake_source_acknowledge(void *source, uint64_t event_id, struct dango_error *err)
{
    struct source *s = source;
    int status = 0;
    LOCK();
    struct position *position = fake_position_of(s->partition, s->consumer);
    if (fake.disconnected)
        status = dango_error_set(err, DANGO_ERR_DISCONNECTED, "the fake server is gone");
    else if (event_id + 1 > position->next)
        position->next = event_id + 1;
    UNLOCK();
    return status;
}

int fake_source_extent(void *source, uint64_t *first, uint64_t *end, struct dango_error *err)
{
    (void)err;
    struct source *s = source;
    *first = s->first;
    *end = s->end;
    return 0;
}

void fake_source_close(void *source)
{
    struct source *s = source;
    LOCK();
    list_remove(&s->link);
    while (!list_empty(&s->fetches)) {
        struct diaspora_fetch *fetch = container_of(list_pop(&s->fetches), struct diaspora_fetch, link);
        fake_answer((struct answer){
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
