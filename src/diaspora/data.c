/*
 * Data of events: which bytes are wanted, where they go, and how they get there (see consumer.h).
 *
 * Per event: the selector narrows the selection (without one everything is wanted), the allocator provides memory
 * (without one the library does). Data that came along with the records are used in place when they are one piece and
 * the library provides the memory, and copied otherwise; all others of a span are asked for by one request, whose
 * destination is the library's area, in one piece, and the user's segments, in the order of the events.
 *
 * A selector or allocator that fails, or provides the wrong size, fails its event only.
 */
#include "diaspora/consumer.h"

#include "diaspora/producer.h"
#include "diaspora/selection.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

void dsp_event_fail(struct diaspora_event *event, int code, const char *text)
{
    struct dango_error err;
    if (event->status != 0)
        return;
    size_t partition = event->span->packet->feed->partition;
    dango_error_set(&err, code, "event %" PRIu64 " of partition %zu: %s", event->id, partition, text);
    event->error = dsp_error_copy(&err);
    event->status = event->error->code;
}

static void fail_from(struct diaspora_event *event, int status, const struct dango_error *err, const char *who)
{
    if (err->code != 0)
        dsp_event_fail(event, err->code, err->text);
    else
        dsp_event_fail(event, status < 0 ? status : DIASPORA_INVALID, who);
}

/* Notes the wanted ranges of an event in the span. */
static int note_ranges(struct dsp_span *span, struct dsp_plan *plan, const diaspora_range *ranges, size_t count)
{
    if (span->range_count + count > span->range_capacity) {
        size_t capacity = span->range_capacity ? 2 * span->range_capacity : 64;
        if (capacity < span->range_count + count)
            capacity = span->range_count + count;
        diaspora_range *larger = realloc(span->ranges, capacity * sizeof *larger);
        if (!larger)
            return DANGO_ERR_NO_MEMORY;
        span->ranges = larger;
        span->range_capacity = capacity;
    }
    memcpy(span->ranges + span->range_count, ranges, count * sizeof *ranges);
    plan->first_range = span->range_count;
    plan->range_count = count;
    span->range_count += count;
    return 0;
}

/* Runs the selector; the wanted bytes, or 0 with the event's status set when it fails. */
static uint64_t select_ranges(struct dsp_span *span, struct diaspora_event *event, struct dsp_plan *plan)
{
    struct diaspora_consumer *consumer = span->packet->feed->consumer;
    struct dango_error err = DIASPORA_ERROR_INIT;
    diaspora_range everything = {0, event->data_total};
    const diaspora_range *ranges = &everything;
    size_t count = 1;
    uint64_t size = event->data_total;
    if (consumer->selector) {
        /* One object for all events: only one thread at a time is here (`working`). */
        dsp_selection_reset(consumer->selection, event->data_total);
        int status = consumer->selector(consumer->selector_arg, event->metadata, event->metadata_size,
                                        consumer->selection, &err);
        if (status != 0) {
            fail_from(event, status, &err, "the data selector failed");
            return 0;
        }
        ranges = diaspora_selection_flatten(consumer->selection, &count);
        size = diaspora_selection_size(consumer->selection);
    }
    if (size > 0 && note_ranges(span, plan, ranges, count) != 0) {
        dsp_event_fail(event, DANGO_ERR_NO_MEMORY, "out of memory");
        return 0;
    }
    return size;
}

static void allocate_by_user(struct diaspora_consumer *consumer, struct diaspora_event *event, uint64_t size)
{
    struct dango_error err = DIASPORA_ERROR_INIT;
    diaspora_segment *segments = NULL;
    size_t count = 0;
    uint64_t provided = 0;
    int status = consumer->allocator(consumer->allocator_arg, event->metadata, event->metadata_size, size, &segments,
                                     &count, &err);
    if (status != 0) {
        fail_from(event, status, &err, "the data allocator failed");
        return;
    }
    bool overflows = !segments && count > 0;
    for (size_t i = 0; i < count && !overflows; i++)
        overflows = __builtin_add_overflow(provided, segments[i].size, &provided);
    if (overflows || provided != size) {
        char text[128];
        snprintf(text, sizeof text, "the data allocator provided %" PRIu64 " bytes for %" PRIu64, provided, size);
        dsp_event_fail(event, DIASPORA_INVALID, text);
        return;
    }
    event->segments = segments;
    event->segment_count = count;
}

static void use_own_segment(struct diaspora_event *event, const unsigned char *base)
{
    assert(base && event->data_size > 0);
    event->own = (diaspora_segment){(void *)(uintptr_t)base, (size_t)event->data_size};
    event->segments = &event->own;
    event->segment_count = 1;
}

void dsp_data_plan(struct dsp_span *span, struct diaspora_event *event, struct dsp_plan *plan)
{
    struct diaspora_consumer *consumer = span->packet->feed->consumer;
    uint64_t size = select_ranges(span, event, plan);
    assert(size <= event->data_total);
    if (size == 0)
        return;
    event->data_size = size;
    if (consumer->allocator) {
        allocate_by_user(consumer, event, size);
    } else if (plan->along && plan->range_count == 1) {
        use_own_segment(event, plan->along + span->ranges[plan->first_range].offset);
        return;
    } else {
        plan->in_area = true;
        plan->area_offset = span->area_size;
    }
    plan->wanted = event->status == 0;
    if (plan->wanted) /* counts what lies in the user's memory, too: it bounds the span */
        span->area_size += size;
}

static int reserve_area(struct dsp_span *span, uint64_t size, struct dango_error *err)
{
    if (size <= span->area_capacity)
        return 0;
    /* Nothing in it is needed any more: a span is filled anew. */
    free(span->area);
    span->area = malloc(size);
    span->area_capacity = span->area ? size : 0;
    if (!span->area)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "consumer: out of memory for %" PRIu64 " bytes of data", size);
    return 0;
}

static int add_destination(struct dsp_span *span, const diaspora_segment *segment, struct dango_error *err)
{
    if (span->destination_count > 0) {
        diaspora_segment *last = &span->destination[span->destination_count - 1];
        if ((char *)last->base + last->size == (char *)segment->base) {
            last->size += segment->size;
            return 0;
        }
    }
    if (span->destination_count == span->destination_capacity) {
        size_t capacity = span->destination_capacity ? 2 * span->destination_capacity : 16;
        diaspora_segment *larger = realloc(span->destination, capacity * sizeof *larger);
        if (!larger)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "consumer: out of memory");
        span->destination = larger;
        span->destination_capacity = capacity;
    }
    span->destination[span->destination_count++] = *segment;
    return 0;
}

/* Copies the wanted ranges of data that came along into the event's segments. */
static void gather(const struct dsp_span *span, const struct diaspora_event *event, const struct dsp_plan *plan)
{
    const diaspora_segment *to = event->segments;
    size_t used = 0;
    for (size_t i = 0; i < plan->range_count; i++) {
        diaspora_range range = span->ranges[plan->first_range + i];
        const unsigned char *from = plan->along + range.offset;
        uint64_t left = range.size;
        while (left > 0) {
            size_t room = to->size - used;
            size_t part = left < room ? (size_t)left : room;
            if (part > 0)
                memcpy((char *)to->base + used, from, part);
            from += part;
            left -= part;
            used += part;
            if (used == to->size) {
                to++;
                used = 0;
            }
        }
    }
}

/* Asks for the data of one event. */
static int request(struct dsp_span *span, const struct diaspora_event *event, const struct dsp_plan *plan,
                   struct dango_error *err)
{
    struct diaspora_read *read = &span->read;
    assert(read->item_count < span->capacity);
    span->items[read->item_count++] = (struct diaspora_read_item){
        .event_id = event->id, .ranges = span->ranges + plan->first_range, .range_count = plan->range_count};
    int status = 0;
    for (size_t i = 0; status == 0 && i < event->segment_count; i++) {
        if (event->segments[i].size > 0)
            status = add_destination(span, &event->segments[i], err);
    }
    return status;
}

int dsp_data_prepare(struct dsp_span *span, struct dango_error *err)
{
    struct diaspora_read *read = &span->read;
    bool in_area = !span->packet->feed->consumer->allocator;
    read->items = span->items;
    read->item_count = 0;
    int status = in_area ? reserve_area(span, span->area_size, err) : 0;
    for (uint32_t i = 0; status == 0 && i < span->count; i++) {
        struct diaspora_event *event = &span->events[i];
        const struct dsp_plan *plan = &span->plans[i];
        if (!plan->wanted)
            continue;
        if (plan->in_area)
            use_own_segment(event, span->area + plan->area_offset);
        if (plan->along)
            gather(span, event, plan);
        else
            status = request(span, event, plan, err);
    }
    read->destination = span->destination;
    read->destination_segments = span->destination_count;
    span->reading = status == 0 && read->item_count > 0;
    return status;
}
