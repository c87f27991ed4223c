/*
 * Consumers: options, opening and closing, and pulling (see consumer.h for the parts and their threads).
 *
 * A pull takes the next event of the feed whose turn it is; the turn passes on with every span, so that no partition
 * starves another. When nothing is ready it does the pending work itself (parsing what has arrived, asking for data),
 * unless another thread is at it, and otherwise waits at the gate. An event is taken only by the call that returns it:
 * a pull that times out has touched nothing.
 *
 * Failures: a partition that cannot be read any more is reported once, after everything that came before; the other
 * partitions go on. When none is left, every pull reports a failure, or the end of the stream if there was none.
 */
#include "diaspora/consumer.h"

#include "diaspora/producer.h"
#include "diaspora/selection.h"
#include "diaspora/start.h"
#include "util/clock.h"
#include "util/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_PER_FETCH     4096u
#define EVENTS_PER_FETCH_MAX 65536u
#define BUFFER_RECORDS       ((size_t)256 << 10)
#define BUFFER_WITH_DATA     ((size_t)6 << 20) /* the largest batch of a producer fits, in whole huge pages */
#define BUFFER_MIN           ((size_t)16 << 10)
#define BUFFERS_MAX          ((size_t)64 << 20) /* of all feeds together, as long as BUFFER_MIN allows */
#define CREDITS_MAX          64

static const struct diaspora_event end_of_stream = {
    .id = DIASPORA_NO_MORE_EVENTS, .metadata = "{}", .metadata_size = 2};

/* ---- options --------------------------------------------------------------------------------------------------- */

struct settings {
    char *name;
    int data;
    struct json_object *from, *targets, *batch_size;
    int64_t max_num_batches;
};

static const char *const data_modes[] = {"none", "all", NULL};

const struct dango_option dango_diaspora_consumer_options[] = {
    DANGO_OPTION_STRING_REQUIRED("name", struct settings, name, "identifies the saved positions"),
    DANGO_OPTION_CHOICE("data", struct settings, data, 0, data_modes, "whether events come with their data"),
    DANGO_OPTION_JSON(
        "from", struct settings, from, DANGO_JSON_STRING | DANGO_JSON_INT, "\"saved\"",
        "where to start: \"saved\" position, \"first\" event, after the \"last\" one, an event id, or the "
        "time at which events came (2025-01-31T12:00:00, with Z for UTC)"),
    DANGO_OPTION_JSON("targets", struct settings, targets, DANGO_JSON_ARRAY, NULL,
                      "indices of the partitions to read; all by default"),
    DANGO_OPTION_JSON("batch_size", struct settings, batch_size, DANGO_JSON_STRING | DANGO_JSON_INT, "\"adaptive\"",
                      "events per fetch at most, or \"adaptive\""),
    DANGO_OPTION_INT("max_num_batches", struct settings, max_num_batches, 2, 0, INT32_MAX,
                     "batches fetched ahead per partition (at least 1, at most 63)"),
    DANGO_OPTION_END,
};

/* ---- opening and closing --------------------------------------------------------------------------------------- */

static size_t clamp(size_t value, size_t low, size_t high)
{
    return value < low ? low : value > high ? high : value;
}

static diaspora_consumer *create(diaspora_topic *topic, struct settings *settings, size_t feed_count,
                                 struct dango_error *err)
{
    size_t batch_size;
    if (dsp_batch_size(settings->batch_size, &batch_size, err) != 0)
        return NULL;
    diaspora_consumer *consumer = calloc(1, sizeof *consumer + feed_count * sizeof *consumer->feeds);
    diaspora_selection *selection = diaspora_selection_create(0);
    if (!consumer || !selection) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "consumer: out of memory");
        free(consumer);
        diaspora_selection_destroy(selection);
        return NULL;
    }
    atomic_init(&consumer->references, 1);
    consumer->topic = dsp_topic_retain(topic);
    consumer->name = settings->name;
    settings->name = NULL;
    consumer->data_all = settings->data == 1;
    consumer->selection = selection;
    consumer->events_per_fetch = EVENTS_PER_FETCH;
    if (batch_size != DSP_ADAPTIVE)
        consumer->events_per_fetch = (uint32_t)clamp(batch_size, 1, EVENTS_PER_FETCH_MAX);
    consumer->credits = clamp((size_t)settings->max_num_batches + 1, 2, CREDITS_MAX);
    consumer->buffer_size = clamp(BUFFERS_MAX / (feed_count * consumer->credits), BUFFER_MIN,
                                  consumer->data_all ? BUFFER_WITH_DATA : BUFFER_RECORDS);
    consumer->fd = -1;
    pthread_mutex_init(&consumer->lock, NULL);
    dsp_gate_init(&consumer->gate);
    list_init(&consumer->free_spans);
    return consumer;
}

static int open_feeds(diaspora_consumer *consumer, const struct settings *settings, size_t feed_count,
                      struct dango_error *err)
{
    struct diaspora_source_settings source = {.consumer_name = consumer->name, .with_data = consumer->data_all};
    diaspora_topic *topic = consumer->topic;
    int status = dsp_start_parse(settings->from, "from", true, &source.start, &source.start_id, err);
    for (size_t i = 0; status == 0 && i < feed_count; i++) {
        struct dsp_feed *feed = &consumer->feeds[i];
        size_t partition;
        status = dsp_target(topic, settings->targets, i, &partition, err);
        if (status != 0)
            break;
        dsp_feed_init(feed, consumer, partition);
        consumer->feed_count++;
        status = topic->ops->source_open(topic->handle, partition, &source, &feed->source, err);
        if (status == 0 && topic->ops->source_skipped)
            feed->skipped = topic->ops->source_skipped(feed->source);
    }
    pthread_mutex_lock(&consumer->lock);
    for (size_t i = 0; status == 0 && i < feed_count; i++)
        status = dsp_feed_ask(&consumer->feeds[i], err);
    pthread_mutex_unlock(&consumer->lock);
    return status;
}

diaspora_consumer *diaspora_consumer_open(diaspora_topic *topic, const char *options, diaspora_error *err)
{
    assert(topic);
    struct settings settings = {0};
    struct json_object *json;
    diaspora_consumer *consumer = NULL;
    int status = dsp_options_text(options, "consumer options", &json, err);
    if (status != 0)
        return NULL;
    status = dango_options_parse(dango_diaspora_consumer_options, json, "", &settings, err);
    json_object_put(json);
    if (status != 0)
        goto out;
    size_t feed_count = settings.targets ? json_object_array_length(settings.targets) : topic->partition_count;
    if (feed_count == 0) {
        status = dango_error_set(err, DIASPORA_INVALID,
                                 settings.targets ? "targets: must not be empty" : "topic \"%s\" has no partition",
                                 topic->name);
        goto out;
    }
    consumer = create(topic, &settings, feed_count, err);
    status = consumer ? open_feeds(consumer, &settings, feed_count, err) : DANGO_ERR_INVALID;
    if (status != 0) {
        diaspora_consumer_close(consumer);
        consumer = NULL;
    }
out:
    if (status != 0)
        dango_error_prefix(err, "consumer");
    dango_options_release(dango_diaspora_consumer_options, &settings);
    return consumer;
}

void dsp_consumer_retain(struct diaspora_consumer *consumer)
{
    atomic_fetch_add_explicit(&consumer->references, 1, memory_order_relaxed);
}

void dsp_consumer_release(struct diaspora_consumer *consumer)
{
    uint32_t before = atomic_fetch_sub(&consumer->references, 1);
    assert(before > 0);
    if (before > 1)
        return;
    diaspora_selection_destroy(consumer->selection);
    dsp_gate_fini(&consumer->gate);
    pthread_mutex_destroy(&consumer->lock);
    dsp_topic_release(consumer->topic);
    free(consumer->name);
    free(consumer);
}

void diaspora_consumer_close(diaspora_consumer *consumer)
{
    struct list_node *node;
    if (!consumer)
        return;
    pthread_mutex_lock(&consumer->lock);
    consumer->closing = true;
    dsp_gate_open(&consumer->gate);
    while (consumer->calls > 0) {
        uint32_t ticket = dsp_gate_ticket(&consumer->gate);
        pthread_mutex_unlock(&consumer->lock);
        dsp_gate_wait(&consumer->gate, ticket, DANGO_NEVER);
        pthread_mutex_lock(&consumer->lock);
    }
    pthread_mutex_unlock(&consumer->lock);
    for (size_t i = 0; i < consumer->feed_count; i++) {
        struct dsp_feed *feed = &consumer->feeds[i];
        if (feed->source)
            consumer->topic->ops->source_close(feed->source);
        feed->source = NULL;
        dsp_feed_fini(feed);
    }
    while ((node = list_pop(&consumer->free_spans)))
        dsp_span_destroy(container_of(node, struct dsp_span, link));
    if (consumer->fd >= 0)
        close(consumer->fd);
    consumer->fd = -1;
    dsp_consumer_release(consumer);
}

/* ---- callbacks and descriptor ---------------------------------------------------------------------------------- */

/* Whether it is too late to change how data are dealt with. */
static int check_not_pulled(diaspora_consumer *consumer, struct dango_error *err)
{
    if (!consumer->pulled)
        return 0;
    return dango_error_set(err, DANGO_ERR_BUSY, "consumer \"%s\": set selector and allocator before the first pull",
                           consumer->name);
}

int diaspora_consumer_set_selector(diaspora_consumer *consumer, diaspora_data_selector selector, void *arg,
                                   diaspora_error *err)
{
    assert(consumer);
    pthread_mutex_lock(&consumer->lock);
    int status = check_not_pulled(consumer, err);
    if (status == 0) {
        consumer->selector = selector;
        consumer->selector_arg = arg;
    }
    pthread_mutex_unlock(&consumer->lock);
    return status;
}

int diaspora_consumer_set_allocator(diaspora_consumer *consumer, diaspora_data_allocator allocator, void *arg,
                                    diaspora_error *err)
{
    assert(consumer);
    pthread_mutex_lock(&consumer->lock);
    int status = check_not_pulled(consumer, err);
    if (status == 0) {
        consumer->allocator = allocator;
        consumer->allocator_arg = arg;
    }
    pthread_mutex_unlock(&consumer->lock);
    return status;
}

static void set_fd(diaspora_consumer *consumer, bool raised)
{
    if (consumer->fd < 0 || consumer->fd_raised == raised)
        return;
    uint64_t count = 1;
    ssize_t n = raised ? write(consumer->fd, &count, sizeof count) : read(consumer->fd, &count, sizeof count);
    assert(n == sizeof count);
    (void)n;
    consumer->fd_raised = raised;
}

void dsp_consumer_arrived(struct diaspora_consumer *consumer)
{
    consumer->work_pending = true;
    /* Perhaps too early, if data have to be read first: the pull that finds nothing lowers it again. */
    set_fd(consumer, true);
}

/* The feed of a partition; NULL with the error set when it is not read. */
static struct dsp_feed *find_feed(diaspora_consumer *consumer, size_t partition, struct dango_error *err)
{
    for (size_t i = 0; i < consumer->feed_count; i++) {
        if (consumer->feeds[i].partition == partition)
            return &consumer->feeds[i];
    }
    dango_error_set(err, DIASPORA_NOT_FOUND, "consumer \"%s\" does not read partition %zu", consumer->name, partition);
    return NULL;
}

int diaspora_consumer_extent(diaspora_consumer *consumer, size_t partition, uint64_t *first, uint64_t *end,
                             diaspora_error *err)
{
    assert(consumer && first && end);
    const struct diaspora_driver_ops *ops = consumer->topic->ops;
    struct dsp_feed *feed = find_feed(consumer, partition, err);
    if (!feed)
        return DIASPORA_NOT_FOUND;
    if (!ops->source_extent)
        return dango_error_set(err, DIASPORA_UNSUPPORTED, "driver \"%s\" cannot tell how many events there are",
                               ops->type);
    return ops->source_extent(feed->source, first, end, err);
}

int diaspora_consumer_skipped(diaspora_consumer *consumer, size_t partition, uint64_t *events, diaspora_error *err)
{
    assert(consumer && events);
    struct dsp_feed *feed = find_feed(consumer, partition, err);
    if (!feed)
        return DIASPORA_NOT_FOUND;
    pthread_mutex_lock(&consumer->lock);
    *events = feed->skipped;
    pthread_mutex_unlock(&consumer->lock);
    return 0;
}

/* ---- pulling --------------------------------------------------------------------------------------------------- */

/* Does the pending work. With the lock, which is let go meanwhile; nobody else is working. */
static void work(diaspora_consumer *consumer)
{
    assert(!consumer->working);
    consumer->working = true;
    /* Cleared first: what arrives from now on asks for another round. */
    consumer->work_pending = false;
    for (size_t i = 0; i < consumer->feed_count && !consumer->closing; i++)
        dsp_feed_work(&consumer->feeds[i]);
    consumer->working = false;
    dsp_gate_open(&consumer->gate);
}

/* The span that the next event comes from; NULL when nothing is ready. */
static struct dsp_span *ready_span(diaspora_consumer *consumer)
{
    for (size_t i = 0; i < consumer->feed_count; i++) {
        size_t index = consumer->turn + i;
        if (index >= consumer->feed_count)
            index -= consumer->feed_count;
        struct dsp_feed *feed = &consumer->feeds[index];
        if (list_empty(&feed->spans))
            continue;
        struct dsp_span *span = container_of(feed->spans.next, struct dsp_span, link);
        if (span->reading)
            continue;
        consumer->turn = index;
        return span;
    }
    return NULL;
}

/* Takes events of one span up to `max`, or a single one that is in error. Returns how many. */
static size_t take(diaspora_consumer *consumer, diaspora_event **events, size_t max)
{
    struct dsp_span *span = ready_span(consumer);
    size_t count = 0;
    if (!span)
        return 0;
    while (count < max && span->next < span->count) {
        diaspora_event *event = &span->events[span->next];
        if (event->status != 0 && count > 0)
            return count;
        events[count++] = event;
        span->next++;
        if (event->status != 0)
            break;
    }
    if (span->next == span->count) {
        assert(span->packet->feed->span_count > 0);
        struct dsp_feed *feed = span->packet->feed;
        list_remove(&span->link);
        feed->span_count--;
        consumer->turn = (consumer->turn + 1) % consumer->feed_count;
        consumer->work_pending = true;
    }
    return count;
}

/* Tells once, then goes on behind the damage. */
static int report_damage(struct dsp_feed *feed, struct dango_error *err)
{
    int code = dango_error_set(err, feed->damage->code, "partition %zu: %s", feed->partition, feed->damage->text);
    dsp_error_free(feed->damage);
    feed->damage = NULL;
    feed->consumer->work_pending = true;
    return code;
}

static int report_failure(struct dsp_feed *feed, struct dango_error *err)
{
    assert(feed->failure);
    feed->failure_told = true;
    return dango_error_set(err, feed->failure->code, "partition %zu: %s", feed->partition, feed->failure->text);
}

/* What a pull returns when nothing is ready: DANGO_ERR_AGAIN to wait, 0 for the end of the stream, or a failure. */
static int nothing_ready(diaspora_consumer *consumer, struct dango_error *err)
{
    struct dsp_feed *failed = NULL;
    bool alive = false;
    for (size_t i = 0; i < consumer->feed_count; i++) {
        struct dsp_feed *feed = &consumer->feeds[i];
        bool drained = list_empty(&feed->spans);
        if (feed->damage && drained)
            return report_damage(feed, err);
        if (feed->failure && drained) {
            if (!feed->failure_told)
                return report_failure(feed, err);
            failed = feed;
        } else if (!feed->ended || !drained) {
            alive = true;
        }
    }
    if (alive)
        return DANGO_ERR_AGAIN;
    return failed ? report_failure(failed, err) : 0;
}

/* Sets the descriptor to what it promises. With the lock. */
static void update_fd(diaspora_consumer *consumer)
{
    if (consumer->fd < 0)
        return;
    /* Otherwise it would have to be raised for answers that hold no event. */
    while (consumer->work_pending && !consumer->working)
        work(consumer);
    bool failure = false;
    for (size_t i = 0; i < consumer->feed_count; i++)
        failure =
            failure || consumer->feeds[i].damage || (consumer->feeds[i].failure && !consumer->feeds[i].failure_told);
    set_fd(consumer, failure || ready_span(consumer) || nothing_ready(consumer, NULL) != DANGO_ERR_AGAIN);
}

int diaspora_consumer_fd(diaspora_consumer *consumer, diaspora_error *err)
{
    assert(consumer);
    pthread_mutex_lock(&consumer->lock);
    if (consumer->fd < 0) {
        consumer->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        consumer->fd_raised = false;
        if (consumer->fd < 0)
            dango_error_set_errno(err, errno, "consumer \"%s\": eventfd", consumer->name);
        /* Whatever may be there already: the next pull finds out. */
        set_fd(consumer, true);
    }
    int fd = consumer->fd;
    pthread_mutex_unlock(&consumer->lock);
    return fd;
}

/* With the lock, which is let go while waiting and working. */
static int pull(diaspora_consumer *consumer, int64_t timeout_ms, diaspora_event **events, size_t max, size_t *count,
                struct dango_error *err)
{
    int64_t deadline_ns = 0;
    for (;;) {
        if (consumer->closing)
            return dango_error_set(err, DANGO_ERR_CANCELED, "consumer \"%s\" is closed", consumer->name);
        if (consumer->work_pending && !consumer->working)
            work(consumer);
        *count = take(consumer, events, max);
        if (*count > 0)
            return 0;
        if (consumer->work_pending && !consumer->working)
            continue;
        int status = nothing_ready(consumer, err);
        if (status == 0) {
            events[0] = (diaspora_event *)(uintptr_t)&end_of_stream; /* never written to */
            *count = 1;
        }
        if (status != DANGO_ERR_AGAIN)
            return status;
        if (timeout_ms == 0)
            return dango_error_set(err, DANGO_ERR_TIMEOUT, "pull: no event came in time");
        if (deadline_ns == 0)
            deadline_ns = dango_deadline_ns((double)timeout_ms);
        uint32_t ticket = dsp_gate_ticket(&consumer->gate);
        pthread_mutex_unlock(&consumer->lock);
        if (!dsp_gate_wait(&consumer->gate, ticket, deadline_ns))
            timeout_ms = 0; /* one last look */
        pthread_mutex_lock(&consumer->lock);
    }
}

int diaspora_pull_many(diaspora_consumer *consumer, int64_t timeout_ms, diaspora_event **events, size_t max,
                       size_t *count, diaspora_error *err)
{
    assert(consumer && events && count && max > 0);
    pthread_mutex_lock(&consumer->lock);
    consumer->pulled = true;
    consumer->calls++;
    int status = pull(consumer, timeout_ms, events, max, count, err);
    update_fd(consumer);
    consumer->calls--;
    if (consumer->closing) /* under the lock: once it is let go the consumer may be no more */
        dsp_gate_open(&consumer->gate);
    pthread_mutex_unlock(&consumer->lock);
    if (status == 0 && events[0]->status != 0) {
        status = dango_error_set(err, events[0]->status, "%s", events[0]->error->text);
        diaspora_event_release(events[0]);
        *count = 0;
    }
    return status;
}

int diaspora_pull(diaspora_consumer *consumer, int64_t timeout_ms, diaspora_event **event, diaspora_error *err)
{
    size_t count;
    assert(event);
    *event = NULL;
    int status = diaspora_pull_many(consumer, timeout_ms, event, 1, &count, err);
    if (status != 0)
        *event = NULL;
    return status;
}
