/*
 * Feeds: asking a partition for events ahead of the reader, and taking the answers in order (see consumer.h).
 *
 * A feed keeps `credits` packets under way or being read. The driver answers in the order of submission, but its
 * threads may deliver answers out of order, so only the packet at the head of the list is ever looked at. A packet that
 * could not hold even one event comes back with the size needed; it gets a larger buffer and goes to the end of the
 * list, which is where it is submitted again.
 *
 * The peer is not trusted: the places and ids that an answer names are checked before anything is read.
 */
#include "diaspora/consumer.h"

#include "util/log.h"

#include "diaspora/producer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define FRAMING_MAX      4096 /* what a driver may put around the records of one event */
#define IDLE_PACKETS_MAX 4
#define SPANS_AHEAD      2 /* spans whose data are read while one is delivered */

void dsp_feed_init(struct dsp_feed *feed, struct diaspora_consumer *consumer, size_t partition)
{
    feed->consumer = consumer;
    feed->partition = partition;
    list_init(&feed->ahead);
    list_init(&feed->spans);
    list_init(&feed->idle);
}

/* ---- packets --------------------------------------------------------------------------------------------------- */

static void packet_destroy(struct dsp_packet *packet)
{
    assert(atomic_load(&packet->references) == 0);
    struct diaspora_consumer *consumer = packet->feed->consumer;
    if (packet->fetch.buffer.base)
        consumer->topic->ops->buffer_free(consumer->topic->driver->handle, &packet->fetch.buffer);
    if (packet->error)
        dsp_error_free(packet->error);
    free(packet);
    dsp_consumer_release(consumer);
}

/* Gives a packet a buffer of at least `size` bytes. */
static int packet_reserve(struct dsp_packet *packet, size_t size, struct dango_error *err)
{
    diaspora_topic *topic = packet->feed->consumer->topic;
    if (packet->fetch.buffer.size >= size)
        return 0;
    struct diaspora_buffer larger = {0};
    int status = topic->ops->buffer_allocate(topic->driver->handle, size, &larger, err);
    if (status != 0)
        return status;
    if (packet->fetch.buffer.base)
        topic->ops->buffer_free(topic->driver->handle, &packet->fetch.buffer);
    packet->fetch.buffer = larger;
    return 0;
}

/* The driver has answered; on any of its threads. */
static void fetch_done(struct diaspora_fetch *fetch, const struct dango_error *err)
{
    struct dsp_packet *packet = container_of(fetch, struct dsp_packet, fetch);
    struct diaspora_consumer *consumer = packet->feed->consumer;
    dsp_consumer_retain(consumer); /* closing may be over before the gate is opened */
    struct dango_error *error = err ? dsp_error_copy(err) : NULL;
    pthread_mutex_lock(&consumer->lock);
    assert(!packet->arrived);
    packet->error = error;
    packet->arrived = true;
    dsp_consumer_arrived(consumer);
    pthread_mutex_unlock(&consumer->lock);
    dsp_gate_open(&consumer->gate);
    dsp_consumer_release(consumer);
}

static struct dsp_packet *packet_create(struct dsp_feed *feed, struct dango_error *err)
{
    struct dsp_packet *packet = calloc(1, sizeof *packet);
    if (!packet) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "consumer: out of memory");
        return NULL;
    }
    packet->feed = feed;
    list_init(&packet->order);
    list_init(&packet->fetch.link);
    dsp_consumer_retain(feed->consumer);
    packet->fetch.done = fetch_done;
    packet->fetch.runs = packet->runs;
    packet->fetch.runs_capacity = DSP_RUNS_MAX;
    packet->fetch.max_events = feed->consumer->events_per_fetch;
    if (packet_reserve(packet, feed->consumer->buffer_size, err) != 0) {
        packet_destroy(packet);
        return NULL;
    }
    return packet;
}

/* Puts a packet at the end of the list and gives it to the driver. With the lock, which is let go meanwhile. */
static void packet_submit(struct dsp_packet *packet)
{
    struct dsp_feed *feed = packet->feed;
    assert(!packet->error && packet->fetch.buffer.size > 0);
    packet->arrived = false;
    packet->run = 0;
    packet->done = 0;
    packet->records_at = 0;
    packet->data_at = 0;
    packet->fetch.run_count = 0;
    packet->fetch.needed = 0;
    packet->fetch.lost = 0;
    packet->fetch.removed = false;
    packet->fetch.end_of_stream = false;
    /* In the list before the driver has it: the answer may come before source_fetch returns. */
    list_append(&feed->ahead, &packet->order);
    pthread_mutex_unlock(&feed->consumer->lock);
    feed->consumer->topic->ops->source_fetch(feed->source, &packet->fetch);
    pthread_mutex_lock(&feed->consumer->lock);
}

int dsp_feed_ask(struct dsp_feed *feed, struct dango_error *err)
{
    size_t ahead = 0;
    list_for_each (node, &feed->ahead)
        ahead++;
    for (; ahead < feed->consumer->credits && !feed->ended && !feed->failure; ahead++) {
        struct list_node *node = list_pop(&feed->idle);
        struct dsp_packet *packet;
        if (node) {
            feed->idle_count--;
            packet = container_of(node, struct dsp_packet, order);
        } else if (!(packet = packet_create(feed, err))) {
            return DANGO_ERR_NO_MEMORY;
        }
        atomic_store(&packet->references, 1);
        packet_submit(packet);
    }
    return 0;
}

void dsp_packet_release(struct dsp_packet *packet)
{
    struct dsp_feed *feed = packet->feed;
    struct diaspora_consumer *consumer = feed->consumer;
    uint32_t before = atomic_fetch_sub(&packet->references, 1);
    assert(before > 0);
    if (before > 1)
        return;
    pthread_mutex_lock(&consumer->lock);
    /* A buffer that was enlarged for one event is not kept. */
    bool keep =
        !consumer->closing && feed->idle_count < IDLE_PACKETS_MAX && packet->fetch.buffer.size <= consumer->buffer_size;
    if (keep) {
        list_prepend(&feed->idle, &packet->order);
        feed->idle_count++;
    }
    pthread_mutex_unlock(&consumer->lock);
    if (!keep)
        packet_destroy(packet);
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

static int check_run(const struct dsp_feed *feed, const struct diaspora_run *run, size_t buffer_size)
{
    if (run->count == 0 || (feed->started && run->first_id < feed->next_id))
        return -1;
    if (run->records_offset > buffer_size || run->records_size > buffer_size - run->records_offset)
        return -1;
    if (!run->with_data)
        return 0;
    return run->data_offset > buffer_size || run->data_size > buffer_size - run->data_offset ? -1 : 0;
}

/* Whether the answer makes sense: everything it names lies in the buffer, and ids ascend. */
static int check_answer(struct dsp_packet *packet, struct dango_error *err)
{
    struct dsp_feed *feed = packet->feed;
    const struct diaspora_fetch *fetch = &packet->fetch;
    uint64_t events = 0;
    if (fetch->run_count > fetch->runs_capacity)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "the server answered with too many runs of events");
    for (size_t i = 0; i < fetch->run_count; i++) {
        const struct diaspora_run *run = &fetch->runs[i];
        events += run->count;
        if (check_run(feed, run, fetch->buffer.size) != 0 || events > fetch->max_events ||
            run->first_id > UINT64_MAX - 1 - run->count)
            return dango_error_set(err, DANGO_ERR_PROTOCOL,
                                   "the server answered with an impossible run of events (id %" PRIu64 ", %" PRIu32
                                   " events)",
                                   run->first_id, run->count);
        feed->next_id = run->first_id + run->count;
        feed->started = true;
    }
    return 0;
}

/* Damage is told when what came before has been pulled. */
static void note_damage(struct dsp_feed *feed, uint64_t first_id, uint64_t count)
{
    struct dango_error err;
    dango_error_set(&err, DANGO_ERR_CORRUPT, "events %" PRIu64 " to %" PRIu64 " are damaged and cannot be read",
                    first_id, first_id + count - 1);
    feed->damage = dsp_error_copy(&err);
}

/* The packet says that events are missing. What retention has removed is only counted. */
static void note_gap(struct dsp_feed *feed, const struct diaspora_fetch *fetch)
{
    feed->next_id = fetch->lost_id + fetch->lost;
    feed->started = true;
    if (fetch->removed)
        feed->skipped += fetch->lost;
    else
        note_damage(feed, fetch->lost_id, fetch->lost);
}

static void fail(struct dsp_feed *feed, const struct dango_error *err)
{
    if (!feed->failure)
        feed->failure = dsp_error_copy(err);
}

/* Gives a packet that was too small what the next event needs. With the lock. */
static void enlarge(struct dsp_packet *packet)
{
    struct dsp_feed *feed = packet->feed;
    struct dango_error err = DIASPORA_ERROR_INIT;
    const uint64_t limit = DSP_METADATA_MAX + DSP_RECORD_HEAD_MAX + FRAMING_MAX;
    list_remove(&packet->order);
    int status = 0;
    if (packet->fetch.needed > limit || packet->fetch.needed <= packet->fetch.buffer.size)
        status = dango_error_set(&err, DANGO_ERR_PROTOCOL,
                                 "the server says that the next event needs %" PRIu64 " bytes (buffer: %zu)",
                                 packet->fetch.needed, packet->fetch.buffer.size);
    if (status == 0) {
        pthread_mutex_unlock(&feed->consumer->lock);
        status = packet_reserve(packet, (size_t)packet->fetch.needed, &err);
        pthread_mutex_lock(&feed->consumer->lock);
    }
    if (status == 0) {
        packet_submit(packet);
        return;
    }
    fail(feed, &err);
    pthread_mutex_unlock(&feed->consumer->lock);
    dsp_packet_release(packet);
    pthread_mutex_lock(&feed->consumer->lock);
}

/* The packet is read to the end, or useless: gives the credit back. With the lock, which is let go meanwhile. */
static void retire(struct dsp_packet *packet)
{
    struct dsp_feed *feed = packet->feed;
    struct dango_error err = DIASPORA_ERROR_INIT;
    if (packet->fetch.end_of_stream)
        feed->ended = true;
    list_remove(&packet->order);
    pthread_mutex_unlock(&feed->consumer->lock);
    dsp_packet_release(packet);
    pthread_mutex_lock(&feed->consumer->lock);
    if (dsp_feed_ask(feed, &err) != 0)
        fail(feed, &err);
}

/* The packet at the head if it has arrived and holds something to read; deals with all others. With the lock. */
static struct dsp_packet *next_packet(struct dsp_feed *feed)
{
    while (!list_empty(&feed->ahead) && !feed->damage) {
        struct dsp_packet *packet = container_of(feed->ahead.next, struct dsp_packet, order);
        struct dango_error err = DIASPORA_ERROR_INIT;
        if (!packet->arrived)
            return NULL;
        bool fresh = packet->run == 0 && packet->done == 0;
        if (packet->error) {
            fail(feed, packet->error);
            dsp_error_free(packet->error);
            packet->error = NULL;
            packet->fetch.end_of_stream = false;
        } else if (!feed->failure && packet->fetch.needed > 0 && packet->fetch.run_count == 0) {
            enlarge(packet);
            continue;
        } else if (!feed->failure && packet->fetch.lost > 0 && packet->fetch.run_count == 0) {
            note_gap(feed, &packet->fetch);
        } else if (!feed->failure && fresh && check_answer(packet, &err) != 0) {
            fail(feed, &err);
        }
        if (feed->failure || packet->run == packet->fetch.run_count) {
            retire(packet);
            continue;
        }
        const struct diaspora_run *run = &packet->runs[packet->run];
        if (!run->damaged)
            return packet;
        note_damage(feed, run->first_id, run->count);
        packet->run++;
    }
    return NULL;
}

/* Makes one more span; false when nothing has arrived. With the lock, which is let go meanwhile. */
static bool make_span(struct dsp_feed *feed)
{
    struct diaspora_consumer *consumer = feed->consumer;
    assert(consumer->working);
    struct dsp_packet *packet = next_packet(feed);
    struct dsp_span *span = NULL;
    struct dango_error err = DIASPORA_ERROR_INIT;
    if (!packet)
        return false;
    pthread_mutex_unlock(&consumer->lock);
    int status = dsp_span_build(packet, &span, &err);
    pthread_mutex_lock(&consumer->lock);
    if (status != 0) {
        fail(feed, &err);
        return false;
    }
    /* Read before the span is in the list: from then on the answer may change it. */
    assert(span->count > 0);
    bool reads = span->reading;
    list_append(&feed->spans, &span->link);
    feed->span_count++;
    if (reads) {
        pthread_mutex_unlock(&consumer->lock);
        dsp_span_fetch_data(span);
        pthread_mutex_lock(&consumer->lock);
    }
    /* The credit goes back as soon as the last event is parsed, so that the next batch is under way meanwhile. */
    if (packet->run == packet->fetch.run_count)
        retire(packet);
    return true;
}

void dsp_feed_work(struct dsp_feed *feed)
{
    size_t wanted = dsp_consumer_wants_data(feed->consumer) ? SPANS_AHEAD : 1;
    while (feed->span_count < wanted && make_span(feed))
        ;
}

void dsp_feed_fini(struct dsp_feed *feed)
{
    struct list_node *node;
    assert(!feed->source);
    /* Events that were not pulled release their spans here, so that only what the user holds remains. */
    while ((node = list_pop(&feed->spans))) {
        struct dsp_span *span = container_of(node, struct dsp_span, link);
        dsp_span_release(span, span->count - span->next);
    }
    while ((node = list_pop(&feed->ahead)))
        dsp_packet_release(container_of(node, struct dsp_packet, order));
    while ((node = list_pop(&feed->idle)))
        packet_destroy(container_of(node, struct dsp_packet, order));
    if (feed->failure)
        dsp_error_free(feed->failure);
    if (feed->damage)
        dsp_error_free(feed->damage);
    feed->failure = feed->damage = NULL;
}
