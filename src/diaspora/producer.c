/*
 * Producers: options, opening and closing, and the way from a push to its lane.
 */
#include "diaspora/producer.h"

#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct settings {
    char *name;
    struct json_object *batch_size;
    int64_t max_num_batches;
    int64_t window;
    bool ack_early;
    int ordering;
    struct json_object *targets;
};

static const char *const orderings[] = {"strict", "loose", NULL};

/* Order within a partition is always kept, so "loose" asks for nothing that costs anything here. */
const struct dango_option dango_diaspora_producer_options[] = {
    DANGO_OPTION_STRING("name", struct settings, name, "", "identifies the producer in logs and statistics"),
    DANGO_OPTION_JSON("batch_size", struct settings, batch_size, DANGO_JSON_STRING | DANGO_JSON_INT, "\"adaptive\"",
                      "events per batch, or \"adaptive\": what gathers while the partition is busy"),
    DANGO_OPTION_INT("max_num_batches", struct settings, max_num_batches, 2, 0, INT32_MAX,
                     "batches that may wait per partition before push blocks (0 means 1)"),
    DANGO_OPTION_INT("window", struct settings, window, 4, 1, 1024, "batches in flight per partition"),
    DANGO_OPTION_BOOL("ack_early", struct settings, ack_early, false,
                      "futures of events are complete when the server has received them, if the partition allows that "
                      "(its option ack_early); only a flush says that they are stored"),
    DANGO_OPTION_CHOICE("ordering", struct settings, ordering, 0, orderings,
                        "order of events within a partition; it is kept in any case"),
    DANGO_OPTION_JSON("targets", struct settings, targets, DANGO_JSON_ARRAY, NULL,
                      "indices of the partitions to write, among which the selector chooses; all by default"),
    DANGO_OPTION_END,
};

int dsp_batch_size(struct json_object *json, size_t *batch_size, struct dango_error *err)
{
    if (json_object_is_type(json, json_type_int)) {
        int64_t value = json_object_get_int64(json);
        if (value < 0)
            return dango_error_set(err, DANGO_ERR_RANGE, "batch_size: must not be negative");
        *batch_size = (size_t)value;
        return 0;
    }
    const char *text = json_object_get_string(json);
    if (strcmp(text, "adaptive") != 0)
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "batch_size: expected a number of events or \"adaptive\", got \"%s\"", text);
    *batch_size = DSP_ADAPTIVE;
    return 0;
}

static int parse_settings(const char *options, struct settings *settings, size_t *batch_size, struct dango_error *err)
{
    struct json_object *json;
    int status = dsp_options_text(options, "producer options", &json, err);
    if (status != 0)
        return status;
    status = dango_options_parse(dango_diaspora_producer_options, json, "", settings, err);
    json_object_put(json);
    if (status == 0)
        status = dsp_batch_size(settings->batch_size, batch_size, err);
    if (status != 0)
        dango_error_prefix(err, "producer options");
    return status;
}

static int open_sinks(diaspora_producer *producer, struct json_object *targets, size_t count, struct dango_error *err)
{
    const struct diaspora_sink_settings settings = {
        .producer_name = producer->name, .window = producer->window, .ack_early = producer->ack_early};
    diaspora_topic *topic = producer->topic;
    int status = 0;
    for (size_t i = 0; status == 0 && i < count; i++) {
        struct dsp_lane *lane = &producer->lanes[i];
        size_t partition;
        status = dsp_target(topic, targets, i, &partition, err);
        if (status != 0)
            return dango_error_prefix(err, "producer options");
        dsp_lane_init(lane, producer, partition);
        producer->lane_count++;
        status = topic->ops->sink_open(topic->handle, partition, &settings, &lane->sink, err);
    }
    return status;
}

/* Gives everything back that belongs to the back-end; what futures need stays until the last reference is dropped. */
static void close_sinks(diaspora_producer *producer)
{
    assert(producer->topic);
    for (size_t i = 0; i < producer->lane_count; i++) {
        struct dsp_lane *lane = &producer->lanes[i];
        if (lane->sink)
            producer->topic->ops->sink_close(lane->sink);
        lane->sink = NULL;
        dsp_lane_fini(lane);
    }
    dsp_topic_release(producer->topic);
    producer->topic = NULL;
}

diaspora_producer *diaspora_producer_open(diaspora_topic *topic, const char *options, diaspora_error *err)
{
    assert(topic);
    struct settings settings = {0};
    size_t batch_size = DSP_ADAPTIVE;
    diaspora_producer *producer = NULL;
    if (parse_settings(options, &settings, &batch_size, err) != 0)
        goto out;
    size_t count = settings.targets ? json_object_array_length(settings.targets) : topic->partition_count;
    if (settings.targets && count == 0) {
        dango_error_set(err, DANGO_ERR_INVALID, "producer options: targets: must not be empty");
        goto out;
    }
    producer = calloc(1, sizeof *producer + count * sizeof *producer->lanes);
    if (!producer) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "producer: out of memory");
        goto out;
    }
    atomic_init(&producer->references, 1);
    producer->topic = dsp_topic_retain(topic);
    producer->name = settings.name;
    settings.name = NULL;
    producer->batch_size = batch_size;
    producer->waiting_max = settings.max_num_batches > 0 ? (size_t)settings.max_num_batches : 1;
    producer->window = (size_t)settings.window;
    producer->targeted = settings.targets != NULL;
    producer->ack_early = settings.ack_early && topic->ops->sink_settle;
    if (open_sinks(producer, settings.targets, count, err) != 0) {
        close_sinks(producer);
        dsp_producer_release(producer);
        producer = NULL;
    }
out:
    dango_options_release(dango_diaspora_producer_options, &settings);
    return producer;
}

void diaspora_producer_close(diaspora_producer *producer)
{
    struct dango_error err = DIASPORA_ERROR_INIT;
    if (!producer)
        return;
    if (diaspora_flush(producer, DIASPORA_FOREVER, &err) != 0)
        log_error("diaspora", "producer \"%s\" of topic \"%s\": %s", producer->name, producer->topic->name, err.text);
    close_sinks(producer);
    dsp_producer_release(producer);
}

void dsp_producer_retain(struct diaspora_producer *producer)
{
    atomic_fetch_add_explicit(&producer->references, 1, memory_order_relaxed);
}

void dsp_producer_release(struct diaspora_producer *producer)
{
    uint32_t before = atomic_fetch_sub(&producer->references, 1);
    assert(before > 0);
    if (before > 1)
        return;
    for (size_t i = 0; i < producer->lane_count; i++) {
        struct dsp_lane *lane = &producer->lanes[i];
        struct list_node *node;
        while ((node = list_pop(&lane->free_completions)))
            dsp_completion_destroy(container_of(node, struct dsp_completion, link));
        if (lane->failure)
            dsp_error_free(lane->failure);
        dsp_gate_fini(&lane->gate);
        pthread_mutex_destroy(&lane->lock);
    }
    free(producer->name);
    free(producer);
}

/* Sums up the data segments. */
static int measure(struct dsp_push *push, struct dango_error *err)
{
    push->data_size = 0;
    for (size_t i = 0; i < push->data_segments; i++) {
        if (__builtin_add_overflow(push->data_size, push->data[i].size, &push->data_size))
            return dango_error_set(err, DANGO_ERR_RANGE, "push: the data segments sum up to more than 2^64 bytes");
        if (!push->data[i].base && push->data[i].size > 0)
            return dango_error_set(err, DANGO_ERR_INVALID, "push: data segment %zu is %zu bytes at NULL", i,
                                   push->data[i].size);
    }
    return 0;
}

/* The lane of a partition that the user names. */
static int find_lane(const diaspora_producer *producer, size_t partition, size_t *lane, struct dango_error *err)
{
    for (*lane = 0; *lane < producer->lane_count; (*lane)++)
        if (producer->lanes[*lane].partition == partition)
            return 0;
    return dango_error_set(err, DANGO_ERR_RANGE, "push: partition %zu is not among the targets of the producer",
                           partition);
}

int diaspora_push_to(diaspora_producer *producer, size_t partition, const char *metadata, size_t metadata_size,
                     const diaspora_segment *data, size_t data_segments, diaspora_future **future, diaspora_error *err)
{
    assert(producer && (metadata || metadata_size == 0) && (data || data_segments == 0));
    const struct dsp_objects *objects = &producer->topic->objects;
    struct dsp_push push = {metadata, metadata_size, data, data_segments, 0};
    if (future)
        *future = NULL;
    if (metadata_size > DSP_METADATA_MAX)
        return dango_error_set(err, DANGO_ERR_RANGE, "push: %zu bytes of metadata are more than the %zu allowed",
                               metadata_size, DSP_METADATA_MAX);
    int status = measure(&push, err);
    if (status == 0)
        status = dsp_objects_validate(objects, metadata, metadata_size, data, data_segments, err);
    if (status != 0)
        return status;
    if (producer->lane_count == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "push: topic \"%s\" has no partition", producer->topic->name);
    size_t chosen = 0;
    if (producer->targeted && partition != DIASPORA_ANY_PARTITION &&
        (status = find_lane(producer, partition, &partition, err)) != 0)
        return status;
    status = objects->selector_class->select(objects->selector, producer->lane_count, metadata, metadata_size,
                                             partition, &chosen, err);
    if (status != 0)
        return status;
    /* The selector may be somebody else's code. */
    if (chosen >= producer->lane_count)
        return dango_error_set(err, DANGO_ERR_RANGE, "push: the partition selector chose partition %zu of %zu", chosen,
                               producer->lane_count);
    return dsp_lane_push(&producer->lanes[chosen], &push, future, err);
}

int diaspora_push(diaspora_producer *producer, const char *metadata, size_t metadata_size, const diaspora_segment *data,
                  size_t data_segments, diaspora_future **future, diaspora_error *err)
{
    return diaspora_push_to(producer, DIASPORA_ANY_PARTITION, metadata, metadata_size, data, data_segments, future,
                            err);
}

/* The first failure of a lane's batches up to `sealed`: into *status and err, unless there is one already. */
static void collect_failure(struct dsp_lane *lane, uint64_t sealed, int *status, struct dango_error *err)
{
    struct dango_error *failure = dsp_lane_take_failure(lane, sealed);
    if (!failure)
        return;
    if (*status == 0)
        *status = dango_error_set(err, failure->code, "partition %zu: %s", lane->partition, failure->text);
    dsp_error_free(failure);
}

/* Waits until everything that is done is stored, too. False: not in time. */
static bool settle(diaspora_producer *producer, const uint64_t *sealed, uint64_t *numbers, int64_t deadline_ns)
{
    bool in_time = true;
    for (size_t i = 0; i < producer->lane_count; i++)
        numbers[i] = dsp_lane_settle(&producer->lanes[i], sealed[i]);
    for (size_t i = 0; in_time && i < producer->lane_count; i++)
        in_time = dsp_lane_wait_settled(&producer->lanes[i], numbers[i], deadline_ns);
    return in_time;
}

int diaspora_flush(diaspora_producer *producer, int64_t timeout_ms, diaspora_error *err)
{
    assert(producer);
    int64_t deadline_ns = dango_deadline_ns((double)timeout_ms);
    size_t count = producer->lane_count;
    int status = 0;
    uint64_t few[8];
    uint64_t *sealed = count <= 4 ? few : malloc(2 * count * sizeof *sealed);
    if (!sealed)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "flush: out of memory");
    for (size_t i = 0; i < count; i++)
        sealed[i] = dsp_lane_seal(&producer->lanes[i]);
    /* Partitions work side by side: all are asked to send before the first is waited for. */
    bool in_time = true;
    for (size_t i = 0; in_time && i < count; i++)
        in_time = dsp_lane_wait(&producer->lanes[i], sealed[i], deadline_ns);
    if (in_time && producer->ack_early)
        in_time = settle(producer, sealed, sealed + count, deadline_ns);
    for (size_t i = 0; in_time && i < count; i++)
        collect_failure(&producer->lanes[i], sealed[i], &status, err);
    if (!in_time)
        status = dango_error_set(err, DANGO_ERR_TIMEOUT, "flush: not everything was stored within %" PRId64 " ms",
                                 timeout_ms);
    if (sealed != few)
        free(sealed);
    return status;
}
