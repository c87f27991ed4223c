/*
 * A sink: batches of one producer to one partition, several in flight, completed in the order of submission.
 *
 * Every batch is one call of the sink's link; its record (struct batch_call) and its handle are kept and used again. What
 * the link does with calls when the server is lost, and how an interrupted producer comes back, is told in link.h and
 * mofka/log/producers.h; the sink says who it is, and which batches it has no answer for.
 *
 * Failure. When a batch has failed, order demands that no later one of the same attempt succeeds. The server sees to
 * that for the failures that it knows; for those that only we know (a batch that could not be sent), later batches of the
 * attempt are failed here. Once the core has been told, a new attempt begins.
 *
 * With ack_early an answer says that the server has the batch, not that it is stored; settling asks for that. When the
 * server is lost in between, the partition says at the next session how far it came: what is missing is reported by the
 * next settling, once, and the producer goes on.
 *
 * A message too large to be sent eagerly is fetched by the server, which small ones behind it overtake. Only data in very
 * many segments need one: such a batch travels alone.
 */
#include "mofka/client/driver.h"
#include "mofka/client/link.h"
#include "mofka/log/producers.h"
#include "util/clock.h"

#include <assert.h>
#include <inttypes.h>
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
/* The partition may have forgotten who was silent for longer than this: nothing is concluded from what it does not know. */
#define REMEMBERED_NS ((int64_t)(MOFKA_PRODUCER_AGE_NS / 2))
/* How long opening a session may take. */
#define ATTACH_MS 5000.0

_Static_assert(MOFKA_WINDOW_MAX <= MOFKA_PRODUCER_HISTORY, "every batch in flight can be found again");

struct batch_call {
    struct mofka_call call; /* idle, or in flight */
    struct diaspora_batch *batch;
    struct mofka_memory data; /* registration of the batch's data */
    uint32_t attempt;
};

struct mofka_sink {
    struct mofka_link link; /* its lock guards the rest */
    char *name;
    uint64_t producer; /* random number */
    uint32_t window;
    struct list_node idle;
    struct list_node queued; /* batches beyond the window, and behind one that travels alone */
    uint32_t attempt, failed_attempt;
    uint64_t stored_end; /* behind the last batch that the partition said it has … */
    int64_t stored_ns;   /* … and when it said so */
    bool ack_early;
    uint64_t
        promised_end; /* with ack_early: behind the last batch answered; from stored_end on, not known to be stored */
    struct dango_error loss; /* of batches that were answered */
    struct settle_call {
        struct mofka_call call;
        struct diaspora_settling *settling;
        uint64_t end; /* promised_end when it was asked */
    } settle;
};

static struct mofka_sink *sink_of(struct mofka_link *link)
{
    return container_of(link, struct mofka_sink, link);
}

static struct batch_call *batch_call_of(struct list_node *node)
{
    return container_of(node, struct batch_call, call.node);
}

/* ---- sending ---- */

static size_t add_data(const struct diaspora_batch *batch, diaspora_segment *parts)
{
    memcpy(parts, batch->data, batch->data_segments * sizeof *parts);
    return batch->data_segments;
}

/* Adds the description of data that do not go inside. They are registered once, however often the batch is sent. */
static int add_registered_data(struct batch_call *self, diaspora_segment *part, struct dango_error *err)
{
    const struct diaspora_batch *batch = self->batch;
    if (!self->data.bulk) {
        int code = mofka_memory_register(self->call.link->driver->engine, batch->data, batch->data_segments,
                                         HG_BULK_READ_ONLY, &self->data, err);
        if (code != 0)
            return code;
    }
    *part = (diaspora_segment){self->data.flat, self->data.flat_size};
    return 0;
}

/* Describes a batch as parts of a message; registers its data when they are too large to go inside. */
static int describe(struct batch_call *self, struct mofka_produce_request *request, diaspora_segment *parts,
                    size_t *count, struct dango_error *err)
{
    const struct diaspora_batch *batch = self->batch;
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
        int code = add_registered_data(self, &parts[used], err);
        if (code != 0)
            return code;
        request->data_flat = (uint32_t)parts[used++].size;
    }
    *count = used;
    return 0;
}

static int send_batch(struct mofka_call *call, struct dango_error *err)
{
    struct batch_call *self = container_of(call, struct batch_call, call);
    const struct mofka_sink *sink = sink_of(call->link);
    if (self->attempt <= sink->failed_attempt)
        return dango_error_set(err, DANGO_ERR_CANCELED, "an earlier batch of this producer failed");
    const struct diaspora_batch *batch = self->batch;
    struct mofka_produce_request request = {
        .sequence = batch->sequence,
        .records_size = batch->records_size,
        .data_size = batch->data_size,
        .attempt = self->attempt,
    };
    diaspora_segment parts[PARTS_MAX + 2];
    size_t count;
    mofka_request_head_init(&request.head, call->link->token);
    request.head.extra = batch->count;
    int code = describe(self, &request, parts, &count, err);
    return code == 0 ? mofka_link_start(call, parts, count, MOFKA_CALL_MS, err) : code;
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
    if (list_empty(&sink->link.ordered))
        return true;
    return !travels_alone(batch) && !travels_alone(batch_call_of(sink->link.ordered.next)->batch);
}

/* Under the lock. */
static void submit(struct mofka_sink *sink, struct diaspora_batch *batch)
{
    struct batch_call *self = batch_call_of(list_pop(&sink->idle));
    self->batch = batch;
    self->attempt = sink->attempt;
    mofka_link_submit(&sink->link, &self->call);
}

void mofka_sink_submit(void *arg, struct diaspora_batch *batch)
{
    struct mofka_sink *sink = arg;
    assert(batch->count > 0);
    pthread_mutex_lock(&sink->link.lock);
    if (list_empty(&sink->queued) && may_send(sink, batch))
        submit(sink, batch);
    else
        list_append(&sink->queued, &batch->link);
    pthread_mutex_unlock(&sink->link.lock);
}

/* ---- answers ---- */

static void decode_answer(struct mofka_call *call, uint64_t *first_id)
{
    struct mofka_produce_answer answer = {0};
    if (call->err.code == 0)
        dango_mofka_decode_answer(&call->message, &answer, sizeof answer, &call->err);
    mofka_call_drop_message(call);
    *first_id = answer.first_id;
}

/* What follows from the outcome. Under the lock. */
static void note_outcome(struct mofka_sink *sink, struct batch_call *self)
{
    struct dango_error *err = &self->call.err;
    if (self->attempt <= sink->failed_attempt && err->code == 0)
        dango_error_set(err, DANGO_ERR_CANCELED, "an earlier batch of this producer failed");
    if (err->code != 0 && self->attempt > sink->failed_attempt)
        sink->failed_attempt = self->attempt;
    /* The partition has lost what it had: the application is told now, once, and what comes next is a new start. */
    if (err->code == DANGO_ERR_CORRUPT)
        sink->stored_end = 0;
    if (err->code == 0 && sink->ack_early)
        sink->promised_end = self->batch->sequence + 1;
    else if (err->code == 0)
        sink->stored_end = self->batch->sequence + 1;
    if (err->code == 0) {
        sink->stored_ns = dango_clock_ns();
    }
}

static void complete_batch(struct mofka_call *call)
{
    struct batch_call *self = container_of(call, struct batch_call, call);
    struct mofka_sink *sink = sink_of(call->link);
    struct diaspora_batch *batch = self->batch;
    uint64_t first_id;
    decode_answer(call, &first_id);
    pthread_mutex_lock(&sink->link.lock);
    note_outcome(sink, self);
    pthread_mutex_unlock(&sink->link.lock);

    mofka_memory_unregister(&self->data);
    batch->done(batch, first_id, call->err.code != 0 ? &call->err : NULL);

    pthread_mutex_lock(&sink->link.lock);
    if (sink->attempt <= sink->failed_attempt)
        sink->attempt = sink->failed_attempt + 1; /* the core knows */
    list_append(&sink->idle, &call->node);
    while (!list_empty(&sink->queued)) {
        struct diaspora_batch *next = container_of(sink->queued.next, struct diaspora_batch, link);
        if (!may_send(sink, next))
            break;
        list_remove(&next->link);
        submit(sink, next);
    }
    pthread_mutex_unlock(&sink->link.lock);
}

static const struct mofka_call_ops batch_ops = {
    .rpc = MOFKA_RPC_PRODUCE,
    .ordered = true,
    .send = send_batch,
    .complete = complete_batch,
};

/* ---- settling ---- */

static int send_settle(struct mofka_call *call, struct dango_error *err)
{
    struct mofka_sink *sink = sink_of(call->link);
    struct mofka_request_head head;
    mofka_request_head_init(&head, call->link->token);
    diaspora_segment part = {&head, sizeof head};
    sink->settle.end = sink->promised_end;
    return mofka_link_start(call, &part, 1, MOFKA_CALL_MS, err);
}

static void complete_settle(struct mofka_call *call)
{
    struct mofka_sink *sink = sink_of(call->link);
    struct dango_error err = call->err;
    mofka_call_drop_message(call);
    pthread_mutex_lock(&sink->link.lock);
    if (err.code == 0) {
        err = sink->loss;
        dango_error_clear(&sink->loss);
        if (sink->settle.end <= sink->promised_end && sink->settle.end > sink->stored_end)
            sink->stored_end = sink->settle.end;
    }
    pthread_mutex_unlock(&sink->link.lock);
    sink->settle.settling->done(sink->settle.settling, err.code != 0 ? &err : NULL);
}

static const struct mofka_call_ops settle_ops = {
    .rpc = MOFKA_RPC_SETTLE,
    .send = send_settle,
    .complete = complete_settle,
};

void mofka_sink_settle(void *arg, struct diaspora_settling *settling)
{
    struct mofka_sink *sink = arg;
    pthread_mutex_lock(&sink->link.lock);
    sink->settle.settling = settling;
    mofka_link_submit(&sink->link, &sink->settle.call);
    pthread_mutex_unlock(&sink->link.lock);
}

/* ---- sessions ---- */

/* Who we are and where we stand. */
static void describe_producer(struct mofka_sink *sink, struct mofka_attach_request *request)
{
    mofka_request_head_init(&request->head, 0);
    memcpy(request->partition, sink->link.uuid, sizeof request->partition);
    request->head.flags = sink->ack_early ? MOFKA_ACK_EARLY : 0;
    request->producer = sink->producer;
    request->window = sink->window;
    pthread_mutex_lock(&sink->link.lock);
    if (dango_clock_ns() - sink->stored_ns < REMEMBERED_NS)
        request->stored_end = sink->stored_end;
    list_for_each (node, &sink->link.ordered) {
        const struct batch_call *self = batch_call_of(node);
        if (self->attempt <= sink->failed_attempt)
            continue; /* will not be sent any more */
        if (request->attempt == 0) {
            request->attempt = self->attempt;
            request->first = self->batch->sequence;
        }
        if (self->call.sent_before)
            request->unsettled++;
    }
    pthread_mutex_unlock(&sink->link.lock);
}

/* The partition has the batches before `known_end`: of those that were answered early the others are lost. */
static void take_stock(struct mofka_sink *sink, uint64_t known_end)
{
    pthread_mutex_lock(&sink->link.lock);
    if (sink->promised_end > known_end && dango_clock_ns() - sink->stored_ns < REMEMBERED_NS) {
        dango_error_set(&sink->loss, DANGO_ERR_IO,
                        "batches %" PRIu64 " to %" PRIu64
                        " of this producer, which were answered early (ack_early), are "
                        "not stored: the server was lost before it had written them",
                        known_end, sink->promised_end - 1);
        sink->promised_end = known_end;
    }
    pthread_mutex_unlock(&sink->link.lock);
}

static int attach(struct mofka_link *link, struct dango_error *err)
{
    struct mofka_sink *sink = sink_of(link);
    struct mofka_attach_request request = {0};
    struct mofka_attach_answer answer;
    size_t length = sink->name ? strlen(sink->name) : 0;
    describe_producer(sink, &request);
    request.head.extra = (uint32_t)length;
    diaspora_segment parts[] = {{&request, sizeof request}, {sink->name, length}};
    int code = mofka_link_ask(link, MOFKA_RPC_ATTACH, parts, 2, &answer, sizeof answer, ATTACH_MS, err);
    if (code == 0) {
        link->token = answer.token;
        take_stock(sink, answer.stored_end);
    }
    return code;
}

static const struct mofka_link_ops link_ops = {.open = attach};

/* ---- life ---- */

static void sink_free(struct mofka_sink *sink)
{
    assert(list_empty(&sink->queued));
    for (struct list_node *node; (node = list_pop(&sink->idle));) {
        struct batch_call *self = batch_call_of(node);
        mofka_memory_release(&self->data);
        mofka_call_fini(&self->call);
        free(self);
    }
    mofka_call_fini(&sink->settle.call);
    free(sink->name);
    free(sink);
}

static int make_calls(struct mofka_sink *sink, size_t count, struct dango_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct batch_call *self = calloc(1, sizeof *self);
        if (!self)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        mofka_call_init(&self->call, &sink->link, &batch_ops);
        list_append(&sink->idle, &self->call.node);
    }
    return 0;
}

static int set_name(struct mofka_sink *sink, const char *name, struct dango_error *err)
{
    if (!name)
        return 0;
    if (strlen(name) > MOFKA_NAME_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "producer name of %zu bytes (at most %u)", strlen(name),
                               MOFKA_NAME_MAX);
    sink->name = strdup(name);
    return sink->name ? 0 : dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
}

int mofka_sink_open(void *topic, size_t partition, const struct diaspora_sink_settings *settings, void **sink,
                    struct dango_error *err)
{
    struct mofka_sink *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    size_t window = settings->window > 0 ? settings->window : 1;
    new->window = (uint32_t)(window < MOFKA_WINDOW_MAX ? window : MOFKA_WINDOW_MAX);
    new->attempt = 1;
    new->ack_early = settings->ack_early;
    mofka_call_init(&new->settle.call, &new->link, &settle_ops);
    list_init(&new->idle);
    list_init(&new->queued);
    int code = set_name(new, settings->producer_name, err);
    while (code == 0 && new->producer == 0)
        if (getrandom(&new->producer, sizeof new->producer, 0) != (ssize_t)sizeof new->producer)
            code = dango_error_set(err, DANGO_ERR_INTERNAL, "no random numbers");
    if (code == 0)
        code = make_calls(new, new->window, err);
    if (code == 0)
        code = mofka_link_open(&new->link, topic, partition, &link_ops, err);
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
    mofka_link_close(&sink->link);
    sink_free(sink);
}
