/*
 * A sink: batches of one producer to one partition, several in flight, completed in the order of submission.
 *
 * Every batch is one call; its record (struct call) and its handle are kept and used again. Calls are sent under the
 * lock, so that they leave in order, and their answers are delivered in order, by one thread at a time, without it.
 *
 * Failure. When a batch has failed, order demands that no later one of the same attempt succeeds. The server sees to
 * that for the failures that it knows; for those that only we know (no answer in time), answers to later batches of the
 * attempt are turned into failures here. Once the core has been told, a new attempt begins.
 *
 * A message too large to be sent eagerly is fetched by the server, which small ones behind it overtake. Only data in very
 * many segments need one: such a batch travels alone.
 *
 * A batch that cannot even be sent is completed from a ULT, because `done` must not run inside submit.
 */
#include "mofka/client/driver.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Data in the user's memory travel inside the message up to MOFKA_INLINE_MAX in all; with larger data, only records up
 * to this size do. */
#define RECORDS_INSIDE_MAX 1024u
/* Segments of data that can be gathered into a message. */
#define PARTS_MAX 64
/* Segments whose description fits into an eager message beside records of RECORDS_INSIDE_MAX. */
#define SEGMENTS_EAGER_MAX 112

struct call {
    struct list_node link; /* free, or in flight in the order of submission */
    struct mofka_sink *sink;
    hg_handle_t handle;
    struct diaspora_batch *batch;
    struct mofka_memory data; /* registration of the batch's data */
    uint32_t attempt;
    bool answered;
    uint64_t first_id;
    struct dango_error err;
};

struct mofka_sink {
    struct mofka_driver *driver;
    const struct mofka_target *target;
    struct mofka_lease lease;
    uint64_t token;
    pthread_mutex_t lock;
    struct list_node idle, in_flight;
    struct list_node queued; /* batches beyond the window, and behind one that travels alone */
    uint32_t attempt, failed_attempt;
    bool delivering;          /* a thread is telling the core about answers */
    atomic_size_t references; /* the core's, one per batch that is not done, one per callback or ULT to come */
    ABT_eventual unused;      /* set when there is none left */
};

static void drop_references(struct mofka_sink *sink, size_t count)
{
    if (atomic_fetch_sub(&sink->references, count) == count)
        ABT_eventual_set(sink->unused, NULL, 0);
}

/* ---- sending ---- */

static void answered(void *arg, hg_return_t ret);
static void deliver_in_thread(void *arg);

static size_t add_data(const struct diaspora_batch *batch, diaspora_segment *parts)
{
    memcpy(parts, batch->data, batch->data_segments * sizeof *parts);
    return batch->data_segments;
}

/* Describes a batch as parts of a message; registers its data when they are too large to go inside. */
static int describe(struct call *call, struct mofka_produce_request *request, diaspora_segment *parts, size_t *count,
                    struct dango_error *err)
{
    const struct diaspora_batch *batch = call->batch;
    const struct mofka_memory *records = batch->records.driver_data;
    bool small = batch->data_segments <= PARTS_MAX && batch->data_size <= MOFKA_INLINE_MAX &&
                 batch->records_size <= MOFKA_INLINE_MAX - batch->data_size;
    size_t used = 0;
    parts[used++] = (diaspora_segment){request, sizeof *request};
    if (small || batch->records_size <= RECORDS_INSIDE_MAX) {
        request->head.flags |= MOFKA_RECORDS_INSIDE;
        parts[used++] = (diaspora_segment){batch->records.base, batch->records_size};
    } else {
        request->records_flat = (uint32_t)records->flat_size;
        parts[used++] = (diaspora_segment){records->flat, records->flat_size};
    }
    if (small || batch->data_size == 0) {
        request->head.flags |= MOFKA_DATA_INSIDE;
        if (batch->data_size > 0)
            used += add_data(batch, parts + used);
    } else {
        int code = mofka_memory_register(call->sink->driver->engine, batch->data, batch->data_segments,
                                         HG_BULK_READ_ONLY, &call->data, err);
        if (code != 0)
            return code;
        request->data_flat = (uint32_t)call->data.flat_size;
        parts[used++] = (diaspora_segment){call->data.flat, call->data.flat_size};
    }
    *count = used;
    return 0;
}

/* Under the lock. */
static void send(struct mofka_sink *sink, struct call *call, struct diaspora_batch *batch)
{
    call->batch = batch;
    call->attempt = sink->attempt;
    call->answered = false;
    dango_error_clear(&call->err);
    atomic_fetch_add(&sink->references, 1);
    list_append(&sink->in_flight, &call->link);
    struct mofka_produce_request request = {
        .sequence = batch->sequence,
        .records_size = batch->records_size,
        .data_size = batch->data_size,
        .attempt = call->attempt,
    };
    diaspora_segment parts[PARTS_MAX + 2];
    size_t count;
    mofka_request_head_init(&request.head, sink->token);
    request.head.extra = batch->count;
    int code = describe(call, &request, parts, &count, &call->err);
    if (code == 0)
        code = mofka_call_start(sink->target, call->handle, parts, count, MOFKA_CALL_MS, answered, call, &call->err);
    if (code != 0) {
        call->answered = true;
        mofka_engine_defer(sink->driver->engine, deliver_in_thread, sink);
    }
}

static bool travels_alone(const struct diaspora_batch *batch)
{
    return batch->data_segments > SEGMENTS_EAGER_MAX;
}

/* Whether the batch, which is the next one, may leave now. Under the lock. */
static bool may_send(const struct mofka_sink *sink, const struct diaspora_batch *batch)
{
    if (list_empty(&sink->idle))
        return false;
    if (list_empty(&sink->in_flight))
        return true;
    return !travels_alone(batch) && !travels_alone(container_of(sink->in_flight.next, struct call, link)->batch);
}

static struct call *idle_call(struct mofka_sink *sink)
{
    struct list_node *node = list_pop(&sink->idle);
    return node ? container_of(node, struct call, link) : NULL;
}

void mofka_sink_submit(void *arg, struct diaspora_batch *batch)
{
    struct mofka_sink *sink = arg;
    assert(batch->count > 0);
    atomic_fetch_add(&sink->references, 1);
    pthread_mutex_lock(&sink->lock);
    if (list_empty(&sink->queued) && may_send(sink, batch))
        send(sink, idle_call(sink), batch);
    else
        list_append(&sink->queued, &batch->link);
    pthread_mutex_unlock(&sink->lock);
}

/* ---- answers ---- */

/* Tells the core the outcome of the oldest call. Called with the lock, which is released meanwhile. */
static void complete(struct mofka_sink *sink, struct call *call)
{
    struct diaspora_batch *batch = call->batch;
    list_remove(&call->link);
    if (call->attempt <= sink->failed_attempt && call->err.code == 0)
        dango_error_set(&call->err, DANGO_ERR_CANCELED, "an earlier batch of this producer failed");
    if (call->err.code != 0 && call->attempt > sink->failed_attempt)
        sink->failed_attempt = call->attempt;
    pthread_mutex_unlock(&sink->lock);

    mofka_memory_unregister(&call->data);
    batch->done(batch, call->first_id, call->err.code != 0 ? &call->err : NULL);

    pthread_mutex_lock(&sink->lock);
    if (sink->attempt <= sink->failed_attempt)
        sink->attempt = sink->failed_attempt + 1; /* the core knows */
    list_append(&sink->idle, &call->link);
    while (!list_empty(&sink->queued)) {
        struct diaspora_batch *next = container_of(sink->queued.next, struct diaspora_batch, link);
        if (!may_send(sink, next))
            break;
        list_remove(&next->link);
        send(sink, idle_call(sink), next);
    }
}

/* Delivers all answers that are next in order. */
static void deliver(struct mofka_sink *sink)
{
    size_t delivered = 0;
    pthread_mutex_lock(&sink->lock);
    if (!sink->delivering) {
        sink->delivering = true;
        while (!list_empty(&sink->in_flight)) {
            struct call *oldest = container_of(sink->in_flight.next, struct call, link);
            if (!oldest->answered)
                break;
            complete(sink, oldest);
            delivered++;
        }
        sink->delivering = false;
    }
    pthread_mutex_unlock(&sink->lock);
    drop_references(sink, delivered);
}

static void deliver_in_thread(void *arg)
{
    deliver(arg);
    drop_references(arg, 1);
}

static int decode_answer(struct call *call, hg_return_t ret)
{
    struct mofka_message message;
    struct mofka_produce_answer answer;
    if (ret == HG_SUCCESS)
        ret = margo_get_output(call->handle, &message);
    if (ret != HG_SUCCESS)
        return mofka_call_error(call->sink->target, ret, &call->err);
    int code = dango_mofka_decode_answer(&message, &answer, sizeof answer, &call->err);
    if (code == 0)
        call->first_id = answer.first_id;
    margo_free_output(call->handle, &message);
    return code;
}

static void answered(void *arg, hg_return_t ret)
{
    struct call *call = arg;
    struct mofka_sink *sink = call->sink;
    decode_answer(call, ret);
    pthread_mutex_lock(&sink->lock);
    call->answered = true;
    pthread_mutex_unlock(&sink->lock);
    deliver(sink);
    drop_references(sink, 1);
}

/* ---- life ---- */

static void on_lost(struct mofka_lease *lease, const struct dango_error *err)
{
    (void)lease; /* batches in flight have deadlines of their own, and the next one tells the user */
    (void)err;
}

static int attach(struct mofka_sink *sink, const char *name, struct dango_error *err)
{
    struct mofka_attach_request request = {0};
    struct mofka_attach_answer answer;
    size_t length = name ? strlen(name) : 0;
    if (length > MOFKA_NAME_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "producer name of %zu bytes (at most %u)", length,
                               MOFKA_NAME_MAX);
    mofka_request_head_init(&request.head, 0);
    request.head.extra = (uint32_t)length;
    if (getrandom(&request.producer, sizeof request.producer, 0) != (ssize_t)sizeof request.producer)
        return dango_error_set(err, DANGO_ERR_INTERNAL, "no random numbers");
    diaspora_segment parts[] = {{&request, sizeof request}, {(void *)(uintptr_t)name, length}};
    int code = mofka_call(sink->target, MOFKA_RPC_ATTACH, parts, 2, &answer, sizeof answer, err);
    if (code == 0)
        sink->token = answer.token;
    return code;
}

static void free_calls(struct mofka_sink *sink)
{
    assert(list_empty(&sink->in_flight) && list_empty(&sink->queued));
    for (struct call *call; (call = idle_call(sink));) {
        mofka_memory_release(&call->data);
        margo_destroy(call->handle);
        free(call);
    }
}

static int make_calls(struct mofka_sink *sink, size_t count, struct dango_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct call *call = calloc(1, sizeof *call);
        if (!call)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        call->sink = sink;
        int code = mofka_handle_create(sink->target, MOFKA_RPC_PRODUCE, &call->handle, err);
        if (code != 0) {
            free(call);
            return code;
        }
        list_append(&sink->idle, &call->link);
    }
    return 0;
}

static void sink_free(struct mofka_sink *sink)
{
    free_calls(sink);
    ABT_eventual_free(&sink->unused);
    pthread_mutex_destroy(&sink->lock);
    free(sink);
}

int mofka_sink_open(void *topic, size_t partition, const struct diaspora_sink_settings *settings, void **sink,
                    struct dango_error *err)
{
    struct mofka_topic *self = topic;
    struct mofka_topic_partition *where;
    int code = mofka_topic_partition(self, partition, &where, err);
    if (code != 0)
        return code;
    struct mofka_sink *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    new->driver = self->driver;
    new->target = &where->target;
    new->attempt = 1;
    list_init(&new->idle);
    list_init(&new->in_flight);
    list_init(&new->queued);
    pthread_mutex_init(&new->lock, NULL);
    atomic_init(&new->references, 1);
    if (ABT_eventual_create(0, &new->unused) != ABT_SUCCESS)
        code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    size_t window = settings->window > 0 ? settings->window : 1;
    if (code == 0)
        code = make_calls(new, window < MOFKA_WINDOW_MAX ? window : MOFKA_WINDOW_MAX, err);
    if (code == 0)
        code = attach(new, settings->producer_name, err);
    if (code == 0)
        code = mofka_lease_begin(&new->lease, &self->driver->leases, new->target, new->token, on_lost, err);
    if (code != 0) {
        sink_free(new);
        return code;
    }
    *sink = new;
    return 0;
}

void mofka_sink_close(void *arg)
{
    struct mofka_sink *sink = arg;
    drop_references(sink, 1);
    ABT_eventual_wait(sink->unused, NULL);     /* every call has a deadline */
    (void)mofka_lease_end(&sink->lease, NULL); /* a server that is gone has forgotten us anyway */
    sink_free(sink);
}
