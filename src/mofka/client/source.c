/*
 * A source: the events of one partition for one consumer.
 *
 * Every fetch of the core is a call that the server answers when there is something; it has no deadline of its own,
 * but ends when the connection breaks, when the lease cannot be renewed, and when the source is closed. Answers are
 * delivered in the order of submission, by one thread at a time, without the lock. Whatever the server sends is checked
 * before the core sees it: frames, records, order of ids.
 *
 * After the first failure everything later fails, too: events may have been lost on the way, and the core has to open a
 * new source. Calls are kept and used again. Reading of selections is in read.c.
 */
#include "mofka/client/frames.h"
#include "mofka/client/source.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct call {
    struct list_node link; /* idle, or in flight in the order of submission */
    struct mofka_source *source;
    hg_handle_t handle;
    struct diaspora_fetch *fetch;
    bool answered;
    struct mofka_message message; /* the answer, while it is held */
    bool holds_message;
    struct dango_error err;
};

/* ---- fetch: answers ---- */

static void decode_answer(struct call *call, hg_return_t ret)
{
    if (ret == HG_SUCCESS)
        ret = margo_get_output(call->handle, &call->message);
    call->holds_message = ret == HG_SUCCESS;
    if (ret != HG_SUCCESS)
        mofka_call_error(&call->source->partition->target, ret, &call->err);
}

/* The server cannot read the next events. */
static int accept_damage(struct mofka_source *source, struct call *call, const struct mofka_fetch_answer *answer)
{
    if (answer->size > 0 || answer->lost > UINT64_MAX - 1 - source->next_id)
        return dango_error_set(&call->err, DANGO_ERR_PROTOCOL, "malformed message: answer to a fetch");
    call->fetch->lost = answer->lost;
    call->fetch->removed = answer->flags & MOFKA_FRAMES_REMOVED;
    call->fetch->lost_id = source->next_id;
    source->next_id += answer->lost;
    return 0;
}

/* Fills in the core's fetch from the answer. */
static int accept(struct mofka_source *source, struct call *call)
{
    struct diaspora_fetch *fetch = call->fetch;
    struct mofka_fetch_answer answer;
    fetch->run_count = 0;
    fetch->needed = 0;
    fetch->end_of_stream = false;
    if (call->err.code != 0)
        return call->err.code;
    int code = dango_mofka_decode_answer(&call->message, &answer, sizeof answer, &call->err);
    if (code != 0)
        return code;
    fetch->needed = answer.needed;
    fetch->end_of_stream = answer.flags & MOFKA_FRAMES_END;
    if (answer.lost > 0)
        return accept_damage(source, call, &answer);
    if (answer.size > fetch->buffer.size)
        return dango_error_set(&call->err, DANGO_ERR_PROTOCOL, "the server sent more than there was room for");
    if (answer.flags & MOFKA_FRAMES_INSIDE) {
        if (call->message.size - sizeof answer != answer.size)
            return dango_error_set(&call->err, DANGO_ERR_PROTOCOL, "malformed message: answer to a fetch");
        memcpy(fetch->buffer.base, call->message.bytes + sizeof answer, (size_t)answer.size);
    }
    return dango_mofka_frames_to_runs(fetch, (size_t)answer.size, answer.flags & MOFKA_FRAMES_WITH_DATA,
                                      source->partition->uuid, &source->next_id, &call->err);
}

/* The fetch is over with an error: the first one of the source stands for all. Without the lock. */
static void fail_fetch(struct mofka_source *source, struct diaspora_fetch *fetch, const struct dango_error *cause)
{
    pthread_mutex_lock(&source->lock);
    if (source->failure.code == 0)
        source->failure = *cause;
    struct dango_error err = source->failure;
    pthread_mutex_unlock(&source->lock);
    fetch->run_count = 0;
    fetch->done(fetch, &err);
}

/* Tells the core the outcome of the oldest call. Called with the lock, which is released meanwhile. */
static void complete(struct mofka_source *source, struct call *call)
{
    struct diaspora_fetch *fetch = call->fetch;
    bool failed = source->failure.code != 0;
    list_remove(&call->link);
    pthread_mutex_unlock(&source->lock);

    failed = accept(source, call) != 0 || failed;
    if (call->holds_message)
        margo_free_output(call->handle, &call->message);
    if (failed)
        fail_fetch(source, fetch, &call->err);

    pthread_mutex_lock(&source->lock);
    list_append(&source->idle, &call->link); /* before done, which may want it */
    pthread_mutex_unlock(&source->lock);
    if (!failed)
        fetch->done(fetch, NULL);
    pthread_mutex_lock(&source->lock);
}

static void deliver(struct mofka_source *source)
{
    size_t delivered = 0;
    pthread_mutex_lock(&source->lock);
    if (!source->delivering) {
        source->delivering = true;
        while (!list_empty(&source->in_flight)) {
            struct call *oldest = container_of(source->in_flight.next, struct call, link);
            if (!oldest->answered)
                break;
            complete(source, oldest);
            delivered++;
        }
        source->delivering = false;
    }
    pthread_mutex_unlock(&source->lock);
    mofka_source_drop(source, delivered);
}

static void deliver_in_thread(void *arg)
{
    deliver(arg);
    mofka_source_drop(arg, 1);
}

static void answered(void *arg, hg_return_t ret)
{
    struct call *call = arg;
    struct mofka_source *source = call->source;
    decode_answer(call, ret);
    pthread_mutex_lock(&source->lock);
    call->answered = true;
    pthread_mutex_unlock(&source->lock);
    deliver(source);
    mofka_source_drop(source, 1);
}

/* ---- fetch: sending ---- */

/* An idle call, or a new one: there are as many as the core ever had fetches in flight. Under the lock. */
static struct call *take_call(struct mofka_source *source, struct dango_error *err)
{
    struct list_node *node = list_pop(&source->idle);
    if (node)
        return container_of(node, struct call, link);
    struct call *call = calloc(1, sizeof *call);
    if (!call) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    call->source = source;
    if (mofka_handle_create(&source->partition->target, MOFKA_RPC_FETCH, &call->handle, err) == 0)
        return call;
    free(call);
    return NULL;
}

static int send(struct mofka_source *source, struct call *call)
{
    if (source->failure.code != 0) {
        call->err = source->failure;
        return call->err.code;
    }
    const struct diaspora_fetch *fetch = call->fetch;
    const struct mofka_memory *memory = fetch->buffer.driver_data;
    struct mofka_fetch_request request = {
        .room = fetch->buffer.size,
        .frames_max = (uint32_t)fetch->runs_capacity,
        .flat = (uint32_t)memory->flat_size,
    };
    mofka_request_head_init(&request.head, source->token);
    request.head.extra = fetch->max_events;
    request.head.flags = source->with_data ? MOFKA_WITH_DATA : 0;
    diaspora_segment parts[] = {{&request, sizeof request}, {memory->flat, memory->flat_size}};
    return mofka_call_start(&source->partition->target, call->handle, parts, 2, 0, answered, call, &call->err);
}

/* There is not even memory for a call: the fetch alone is completed, from a ULT. */
struct refusal {
    struct mofka_source *source;
    struct diaspora_fetch *fetch;
    struct dango_error err;
};

static void refuse_in_thread(void *arg)
{
    struct refusal *refusal = arg;
    refusal->fetch->run_count = 0;
    refusal->fetch->done(refusal->fetch, &refusal->err);
    mofka_source_drop(refusal->source, 1);
    free(refusal);
}

static void refuse(struct mofka_source *source, struct diaspora_fetch *fetch, const struct dango_error *err)
{
    struct refusal *refusal = malloc(sizeof *refusal);
    assert(refusal); /* nobody could be told */
    *refusal = (struct refusal){source, fetch, *err};
    mofka_engine_defer(source->driver->engine, refuse_in_thread, refusal);
}

void mofka_source_fetch(void *arg, struct diaspora_fetch *fetch)
{
    struct mofka_source *source = arg;
    struct dango_error err;
    assert(fetch->max_events > 0 && fetch->runs_capacity > 0);
    atomic_fetch_add(&source->references, 1); /* the fetch's */
    pthread_mutex_lock(&source->lock);
    struct call *call = take_call(source, &err);
    if (!call) {
        pthread_mutex_unlock(&source->lock);
        refuse(source, fetch, &err);
        return;
    }
    call->fetch = fetch;
    call->answered = call->holds_message = false;
    dango_error_clear(&call->err);
    list_append(&source->in_flight, &call->link);
    atomic_fetch_add(&source->references, 1); /* the callback's or the ULT's */
    if (send(source, call) != 0) {
        call->answered = true;
        mofka_engine_defer(source->driver->engine, deliver_in_thread, source);
    }
    pthread_mutex_unlock(&source->lock);
}

/* Ends all fetches that wait; their callbacks run later. */
static void fail_waiting(struct mofka_source *source, const struct dango_error *err)
{
    pthread_mutex_lock(&source->lock);
    if (source->failure.code == 0)
        source->failure = *err;
    list_for_each (node, &source->in_flight) {
        struct call *call = container_of(node, struct call, link);
        if (!call->answered)
            HG_Cancel(call->handle);
    }
    pthread_mutex_unlock(&source->lock);
}

/* ---- life ---- */

int mofka_source_acknowledge(void *arg, uint64_t event_id, struct dango_error *err)
{
    struct mofka_source *source = arg;
    struct mofka_acknowledge_request request = {.event_id = event_id};
    struct mofka_answer answer;
    mofka_request_head_init(&request.head, source->token);
    diaspora_segment part = {&request, sizeof request};
    return mofka_call(&source->partition->target, MOFKA_RPC_ACKNOWLEDGE, &part, 1, &answer, sizeof answer, err);
}

int mofka_source_extent(void *arg, uint64_t *first, uint64_t *end, struct dango_error *err)
{
    const struct mofka_source *source = arg;
    (void)err;
    *first = source->first;
    *end = source->end;
    return 0;
}

uint64_t mofka_source_skipped(void *arg)
{
    const struct mofka_source *source = arg;
    return source->skipped;
}

static void on_lost(struct mofka_lease *lease, const struct dango_error *err)
{
    struct mofka_source *source = container_of(lease, struct mofka_source, lease);
    fail_waiting(source, err);
}

static int subscribe(struct mofka_source *source, const struct diaspora_source_settings *settings,
                     struct dango_error *err)
{
    struct mofka_subscribe_request request = {.start_id = settings->start_id};
    struct mofka_subscribe_answer answer;
    size_t length = strlen(settings->consumer_name);
    if (length > MOFKA_NAME_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "consumer name of %zu bytes (at most %u)", length,
                               MOFKA_NAME_MAX);
    mofka_request_head_init(&request.head, 0);
    request.head.flags = (uint16_t)settings->start;
    request.head.extra = (uint32_t)length;
    diaspora_segment parts[] = {{&request, sizeof request}, {(void *)(uintptr_t)settings->consumer_name, length}};
    int code = mofka_call(&source->partition->target, MOFKA_RPC_SUBSCRIBE, parts, 2, &answer, sizeof answer, err);
    if (code != 0)
        return code;
    source->token = answer.token;
    source->first = source->next_id = answer.position;
    source->end = answer.end;
    source->skipped = answer.skipped;
    return 0;
}

static void source_free(struct mofka_source *source)
{
    assert(list_empty(&source->in_flight));
    for (struct list_node *node; (node = list_pop(&source->idle));) {
        struct call *call = container_of(node, struct call, link);
        margo_destroy(call->handle);
        free(call);
    }
    ABT_eventual_free(&source->unused);
    pthread_mutex_destroy(&source->lock);
    free(source);
}

int mofka_source_open(void *topic, size_t partition, const struct diaspora_source_settings *settings, void **source,
                      struct dango_error *err)
{
    struct mofka_topic *self = topic;
    struct mofka_topic_partition *where;
    int code = mofka_topic_partition(self, partition, &where, err);
    if (code != 0)
        return code;
    struct mofka_source *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    new->driver = self->driver;
    new->partition = where;
    new->with_data = settings->with_data;
    list_init(&new->idle);
    list_init(&new->in_flight);
    pthread_mutex_init(&new->lock, NULL);
    atomic_init(&new->references, 1);
    if (ABT_eventual_create(0, &new->unused) != ABT_SUCCESS)
        code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    if (code == 0)
        code = subscribe(new, settings, err);
    if (code == 0)
        code = mofka_lease_begin(&new->lease, &self->driver->leases, &where->target, new->token, on_lost, err);
    if (code != 0) {
        source_free(new);
        return code;
    }
    *source = new;
    return 0;
}

/*
 * The server is told first, so that it answers what waits and finishes what it is writing to our memory: only a server
 * that does not listen any more gets its fetches canceled, and the memory is then out of its reach only if it is dead.
 */
void mofka_source_close(void *arg)
{
    struct mofka_source *source = arg;
    struct dango_error err;
    if (mofka_lease_end(&source->lease, &err) != 0)
        fail_waiting(source, &err);
    mofka_source_drop(source, 1);
    ABT_eventual_wait(source->unused, NULL);
    source_free(source);
}
