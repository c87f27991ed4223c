/*
 * Spans: consecutive events of a packet, parsed into an array, which is what a pull takes from (see consumer.h).
 *
 * For a consumer of metadata alone a span is short, so that parsed events are taken while they are still in the cache;
 * for a consumer of data it reaches as far as the packet, within bounds on bytes and pieces, because its data are read by one
 * request. Records are checked as they are parsed: a damaged one ends the span before it, and the next attempt fails.
 */
#include "diaspora/consumer.h"

#include "diaspora/producer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define SPAN_EVENTS        256u
#define SPAN_DATA_MAX      ((uint64_t)8 << 20) /* selected bytes after which a span ends */
#define SPAN_AREA_KEPT_MAX ((uint64_t)32 << 20)
#define SPAN_PIECES_MAX    16384u /* ranges and segments of the user's after which a span ends: drivers have limits */
#define FREE_SPANS_MAX     8

static struct dsp_span *span_create(uint32_t capacity, bool with_plans)
{
    struct dsp_span *span = calloc(1, sizeof *span);
    if (!span)
        return NULL;
    list_init(&span->link);
    list_init(&span->read.link);
    span->capacity = capacity;
    span->events = malloc(capacity * sizeof *span->events);
    if (with_plans) {
        span->plans = malloc(capacity * sizeof *span->plans);
        span->items = malloc(capacity * sizeof *span->items);
    }
    if (!span->events || (with_plans && (!span->plans || !span->items))) {
        dsp_span_destroy(span);
        return NULL;
    }
    return span;
}

void dsp_span_destroy(struct dsp_span *span)
{
    free(span->events);
    free(span->plans);
    free(span->items);
    free(span->ranges);
    free(span->destination);
    free(span->area);
    free(span);
}

static struct dsp_span *span_get(struct diaspora_consumer *consumer)
{
    bool with_data = dsp_consumer_wants_data(consumer);
    pthread_mutex_lock(&consumer->lock);
    struct list_node *node = list_pop(&consumer->free_spans);
    if (node)
        consumer->free_span_count--;
    pthread_mutex_unlock(&consumer->lock);
    return node ? container_of(node, struct dsp_span, link)
                : span_create(with_data ? consumer->events_per_fetch : SPAN_EVENTS, with_data);
}

/* Empties a span and keeps or frees it. */
static void span_put(struct dsp_span *span, struct diaspora_consumer *consumer)
{
    assert(!span->reading);
    for (uint32_t i = 0; i < span->count; i++) {
        if (span->events[i].status != 0)
            dsp_error_free(span->events[i].error);
    }
    span->count = span->next = 0;
    span->range_count = span->destination_count = 0;
    span->area_size = 0;
    if (span->area_capacity > SPAN_AREA_KEPT_MAX) {
        free(span->area);
        span->area = NULL;
        span->area_capacity = 0;
    }
    pthread_mutex_lock(&consumer->lock);
    bool keep = !consumer->closing && consumer->free_span_count < FREE_SPANS_MAX;
    if (keep) {
        list_prepend(&consumer->free_spans, &span->link);
        consumer->free_span_count++;
    }
    pthread_mutex_unlock(&consumer->lock);
    if (!keep)
        dsp_span_destroy(span);
}

void dsp_span_release(struct dsp_span *span, uint32_t count)
{
    uint32_t before = atomic_fetch_sub_explicit(&span->references, count, memory_order_acq_rel);
    assert(before >= count);
    if (before > count)
        return;
    struct dsp_packet *packet = span->packet;
    span_put(span, packet->feed->consumer);
    dsp_packet_release(packet);
}

static int damaged(const struct dsp_packet *packet, const struct diaspora_run *run, struct dango_error *err)
{
    return dango_error_set(err, DANGO_ERR_PROTOCOL,
                           "the server sent damaged records (event %" PRIu64 " of partition %zu)",
                           run->first_id + packet->done, packet->feed->partition);
}

/* Parses the record at the packet's place into `event`, without moving on. Returns its bytes, or 0 if damaged. */
static size_t parse(const struct dsp_packet *packet, const struct diaspora_run *run, struct diaspora_event *event)
{
    struct diaspora_record record;
    assert(packet->done < run->count && packet->records_at <= run->records_size);
    const unsigned char *at = packet->fetch.buffer.base + run->records_offset + packet->records_at;
    size_t length = diaspora_record_get(at, run->records_size - packet->records_at, &record);
    if (length == 0 || record.data_size > run->data_size - packet->data_at)
        return 0;
    /* The last record of a run must end where the run does. */
    bool last = packet->done + 1 == run->count;
    if (last &&
        (packet->records_at + length != run->records_size || packet->data_at + record.data_size != run->data_size))
        return 0;
    event->id = run->first_id + packet->done;
    event->metadata = (const char *)record.metadata;
    event->metadata_size = (size_t)record.metadata_size;
    event->data_total = record.data_size;
    event->data_size = 0;
    event->segments = NULL;
    event->segment_count = 0;
    event->status = 0;
    return length;
}

/* Moves the packet's place behind the record just parsed. */
static void advance(struct dsp_packet *packet, const struct diaspora_run *run, size_t length, uint64_t data_size)
{
    packet->records_at += length;
    packet->data_at += data_size;
    packet->done++;
    if (packet->done < run->count)
        return;
    packet->run++;
    packet->done = 0;
    packet->records_at = 0;
    packet->data_at = 0;
}

static void plan_data(struct dsp_span *span, const struct dsp_packet *packet, const struct diaspora_run *run)
{
    struct dsp_plan *plan = &span->plans[span->count];
    *plan = (struct dsp_plan){0};
    if (run->with_data)
        plan->along = packet->fetch.buffer.base + run->data_offset + packet->data_at;
    dsp_data_plan(span, &span->events[span->count], plan);
}

/* Parses events until the span or the packet is full; stops before a damaged record. */
static int fill(struct dsp_span *span, struct dsp_packet *packet, struct dango_error *err)
{
    bool with_data = dsp_consumer_wants_data(packet->feed->consumer);
    size_t pieces = 0;
    while (span->count < span->capacity && packet->run < packet->fetch.run_count && span->area_size < SPAN_DATA_MAX &&
           pieces < SPAN_PIECES_MAX && !packet->runs[packet->run].damaged) {
        const struct diaspora_run *run = &packet->runs[packet->run];
        struct diaspora_event *event = &span->events[span->count];
        size_t length = parse(packet, run, event);
        if (length == 0)
            return damaged(packet, run, err);
        event->span = span;
        if (with_data) {
            plan_data(span, packet, run);
            pieces += span->plans[span->count].range_count + event->segment_count;
        }
        span->count++;
        advance(packet, run, length, event->data_total);
    }
    return 0;
}

int dsp_span_build(struct dsp_packet *packet, struct dsp_span **result, struct dango_error *err)
{
    struct diaspora_consumer *consumer = packet->feed->consumer;
    struct dsp_span *span = span_get(consumer);
    *result = NULL;
    if (!span)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "consumer: out of memory");
    assert(span->count == 0 && span->area_size == 0);
    span->packet = packet;
    span->reading = false;
    int status = fill(span, packet, err);
    if (span->count > 0 && status != 0)
        status = 0; /* what came before is good; the next attempt meets the damage again */
    if (status == 0 && dsp_consumer_wants_data(consumer))
        status = dsp_data_prepare(span, err);
    if (status != 0) {
        span_put(span, consumer);
        return status;
    }
    atomic_store(&span->references, span->count);
    atomic_fetch_add(&packet->references, 1);
    *result = span;
    return 0;
}

/* Hands the results of a read on to the events. */
static void take_results(struct dsp_span *span, const struct dango_error *err)
{
    char text[128];
    size_t item = 0;
    /* Items are in the order of the events, of which some had nothing to be read. */
    for (uint32_t i = 0; i < span->count && item < span->read.item_count; i++) {
        struct diaspora_event *event = &span->events[i];
        if (event->id != span->items[item].event_id)
            continue;
        int status = span->items[item++].status;
        if (err) {
            dsp_event_fail(event, err->code, err->text);
        } else if (status != 0) {
            snprintf(text, sizeof text, "reading its data: %s", dango_error_string(status));
            dsp_event_fail(event, status, text);
        }
    }
}

/* The driver has read; on any of its threads. */
static void read_done(struct diaspora_read *read, const struct dango_error *err)
{
    struct dsp_span *span = container_of(read, struct dsp_span, read);
    struct diaspora_consumer *consumer = span->packet->feed->consumer;
    dsp_consumer_retain(consumer);
    take_results(span, err);
    pthread_mutex_lock(&consumer->lock);
    span->reading = false;
    dsp_consumer_arrived(consumer);
    pthread_mutex_unlock(&consumer->lock);
    dsp_gate_open(&consumer->gate);
    dsp_consumer_release(consumer);
}

void dsp_span_fetch_data(struct dsp_span *span)
{
    struct dsp_feed *feed = span->packet->feed;
    span->read.done = read_done;
    feed->consumer->topic->ops->source_read(feed->source, &span->read);
}
