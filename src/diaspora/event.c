/*
 * Events as the user sees them: accessors, release, acknowledge (see consumer.h).
 */
#include "diaspora/consumer.h"

#include <assert.h>
#include <inttypes.h>

uint64_t diaspora_event_id(const diaspora_event *event)
{
    assert(event);
    return event->id;
}

size_t diaspora_event_partition(const diaspora_event *event)
{
    assert(event);
    return event->span ? event->span->packet->feed->partition : 0;
}

const char *diaspora_event_metadata(const diaspora_event *event)
{
    assert(event);
    return event->metadata;
}

size_t diaspora_event_metadata_size(const diaspora_event *event)
{
    assert(event);
    return event->metadata_size;
}

uint64_t diaspora_event_data_total(const diaspora_event *event)
{
    assert(event);
    return event->data_total;
}

const void *diaspora_event_data(const diaspora_event *event)
{
    assert(event);
    return event->segments == &event->own ? event->own.base : NULL;
}

uint64_t diaspora_event_data_size(const diaspora_event *event)
{
    assert(event);
    return event->data_size;
}

const diaspora_segment *diaspora_event_data_segments(const diaspora_event *event, size_t *count)
{
    assert(event && count);
    *count = event->segment_count;
    return event->segments;
}

void diaspora_event_release(diaspora_event *event)
{
    if (event && event->span)
        dsp_span_release(event->span, 1);
}

int diaspora_event_acknowledge(diaspora_event *event, diaspora_error *err)
{
    assert(event);
    if (!event->span)
        return dango_error_set(err, DIASPORA_INVALID, "acknowledge: this is the end of the stream, not an event");
    struct dsp_feed *feed = event->span->packet->feed;
    diaspora_consumer *consumer = feed->consumer;
    pthread_mutex_lock(&consumer->lock);
    bool closing = consumer->closing;
    bool done = event->id < feed->acknowledged;
    if (!closing && !done)
        consumer->calls++;
    pthread_mutex_unlock(&consumer->lock);
    if (closing)
        return dango_error_set(err, DANGO_ERR_CANCELED, "acknowledge: consumer \"%s\" is closed", consumer->name);
    if (done)
        return 0;
    int status = consumer->topic->ops->source_acknowledge(feed->source, event->id, err);
    if (status != 0)
        dango_error_prefix(err, "acknowledge event %" PRIu64 " of partition %zu", event->id, feed->partition);
    pthread_mutex_lock(&consumer->lock);
    if (status == 0 && event->id >= feed->acknowledged)
        feed->acknowledged = event->id + 1;
    consumer->calls--;
    pthread_mutex_unlock(&consumer->lock);
    dsp_gate_open(&consumer->gate);
    return status;
}
