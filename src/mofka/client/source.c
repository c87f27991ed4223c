/*
 * A source: the events of one partition for one consumer.
 *
 * Every fetch of the core is a call of the source's link, which the server answers when there is something; it has no
 * deadline of its own, but ends when the connection breaks, when the lease cannot be renewed, and when the source is
 * closed. When the server is lost, the link subscribes again behind the last event that was delivered and repeats the
 * fetches that have no answer: nothing comes twice, nothing is left out. Whatever the server sends is checked before the
 * core sees it: frames, records, order of ids. Frames that came damaged are asked for once more, in a new session over a new
 * connection, and the server compares what it has from then on: so it finds what is damaged on its medium, and says how far
 * that goes.
 *
 * After the first failure that is not a lost server everything later fails, too: events may have been lost on the way, and
 * the core has to open a new source. Calls are kept and used again. Reading of selections is in read.c.
 */
#include "mofka/client/source.h"

#include "util/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* How long opening a session may take. */
#define SUBSCRIBE_MS 5000.0

struct fetch_call {
    struct mofka_call call; /* idle, or in flight */
    struct diaspora_fetch *fetch;
};

/* ---- fetch: answers ---- */

/* The server cannot read the next events. */
static int accept_damage(struct mofka_source *source, struct diaspora_fetch *fetch,
                         const struct mofka_fetch_answer *answer, struct dango_error *err)
{
    if (answer->size > 0 || answer->lost > UINT64_MAX - 1 - source->next_id)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed message: answer to a fetch");
    fetch->lost = answer->lost;
    fetch->removed = answer->flags & MOFKA_FRAMES_REMOVED;
    fetch->lost_id = source->next_id;
    source->next_id += answer->lost;
    return 0;
}

/* Events were removed while there was no session: the fetch that met the gap says so. */
static void accept_gap(struct mofka_source *source, struct diaspora_fetch *fetch)
{
    pthread_mutex_lock(&source->link.lock);
    fetch->lost = source->gap;
    source->gap = 0;
    pthread_mutex_unlock(&source->link.lock);
    fetch->removed = true;
    fetch->lost_id = source->next_id;
    source->next_id += fetch->lost;
}

/* Fills in the core's fetch from the answer. 1: up to something that is to be fetched once more. */
static int accept(struct mofka_source *source, struct fetch_call *self, struct dango_error *err)
{
    const struct mofka_message *message = &self->call.message;
    struct diaspora_fetch *fetch = self->fetch;
    struct mofka_fetch_answer answer;
    fetch->run_count = 0;
    fetch->needed = 0;
    fetch->end_of_stream = false;
    if (err->code == DANGO_ERR_AGAIN) {
        accept_gap(source, fetch);
        dango_error_clear(err);
        return 0;
    }
    if (err->code != 0)
        return err->code;
    int code = dango_mofka_decode_answer(message, &answer, sizeof answer, err);
    if (code != 0)
        return code;
    fetch->needed = answer.needed;
    fetch->end_of_stream = answer.flags & MOFKA_FRAMES_END;
    if (answer.lost > 0)
        return accept_damage(source, fetch, &answer, err);
    if (answer.size > fetch->buffer.size)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "the server sent more than there was room for");
    if (answer.flags & MOFKA_FRAMES_INSIDE) {
        if (message->size - sizeof answer != answer.size)
            return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed message: answer to a fetch");
        memcpy(fetch->buffer.base, message->bytes + sizeof answer, (size_t)answer.size);
    }
    return dango_mofka_frames_to_runs(fetch, (size_t)answer.size, answer.flags & MOFKA_FRAMES_WITH_DATA,
                                      source->link.uuid, &source->next_id, &source->doubt, err);
}

/* A session begins behind what was accepted. Under the lock. */
static void fetch_again(struct mofka_source *source, struct dango_error *err)
{
    log_warning("mofka", "%s from %s; asking for them once more", err->text, source->link.target.address);
    source->compared = true;
    mofka_link_restart(&source->link, err);
    dango_error_clear(err);
}

static void complete_fetch(struct mofka_call *call)
{
    struct fetch_call *self = container_of(call, struct fetch_call, call);
    struct mofka_source *source = mofka_source_of(call->link);
    struct diaspora_fetch *fetch = self->fetch;
    struct dango_error *err = &call->err;
    bool again = accept(source, self, err) > 0;
    mofka_call_drop_message(call);
    pthread_mutex_lock(&source->link.lock);
    if (again)
        fetch_again(source, err);
    if (source->failure.code == 0 && err->code != 0)
        source->failure = *err; /* the first one stands for all, and stays */
    bool failed = source->failure.code != 0;
    list_append(&source->idle, &call->node); /* before done, which may want it */
    pthread_mutex_unlock(&source->link.lock);
    if (failed)
        fetch->run_count = 0;
    fetch->done(fetch, failed ? &source->failure : NULL);
}

/* ---- fetch: sending ---- */

static int send_fetch(struct mofka_call *call, struct dango_error *err)
{
    const struct mofka_source *source = mofka_source_of(call->link);
    const struct diaspora_fetch *fetch = container_of(call, struct fetch_call, call)->fetch;
    const struct mofka_memory *memory = fetch->buffer.driver_data;
    if (source->failure.code != 0)
        return dango_error_set(err, source->failure.code, "%s", source->failure.text);
    if (source->gap > 0 && call->link->ordered.next == &call->node)
        return dango_error_set(err, DANGO_ERR_AGAIN, "events are missing");
    struct mofka_fetch_request request = {
        .room = fetch->buffer.size,
        .frames_max = (uint32_t)fetch->runs_capacity,
        .flat = (uint32_t)memory->flat_size,
    };
    mofka_request_head_init(&request.head, call->link->token);
    request.head.extra = fetch->max_events;
    request.head.flags =
        (uint16_t)((source->with_data ? MOFKA_WITH_DATA : 0) | (source->compared ? MOFKA_COMPARED : 0));
    diaspora_segment parts[] = {{&request, sizeof request}, {memory->flat, memory->flat_size}};
    return mofka_link_start(call, parts, 2, 0, err);
}

static const struct mofka_call_ops fetch_ops = {
    .rpc = MOFKA_RPC_FETCH,
    .ordered = true,
    .send = send_fetch,
    .complete = complete_fetch,
};

/* An idle call, or a new one: there are as many as the core ever had fetches in flight. Under the lock. */
static struct fetch_call *take_call(struct mofka_source *source)
{
    struct list_node *node = list_pop(&source->idle);
    if (node)
        return container_of(node, struct fetch_call, call.node);
    struct fetch_call *self = calloc(1, sizeof *self);
    assert(self); /* nobody could be told */
    mofka_call_init(&self->call, &source->link, &fetch_ops);
    return self;
}

void mofka_source_fetch(void *arg, struct diaspora_fetch *fetch)
{
    struct mofka_source *source = arg;
    assert(fetch->max_events > 0 && fetch->runs_capacity > 0);
    pthread_mutex_lock(&source->link.lock);
    struct fetch_call *self = take_call(source);
    self->fetch = fetch;
    mofka_link_submit(&source->link, &self->call);
    pthread_mutex_unlock(&source->link.lock);
}

/* ---- acknowledging ---- */

struct acknowledgement {
    struct mofka_call call;
    uint64_t event_id;
    ABT_eventual done;
    struct dango_error err;
};

static int send_acknowledgement(struct mofka_call *call, struct dango_error *err)
{
    const struct acknowledgement *self = container_of(call, struct acknowledgement, call);
    struct mofka_acknowledge_request request = {.event_id = self->event_id};
    mofka_request_head_init(&request.head, call->link->token);
    diaspora_segment part = {&request, sizeof request};
    return mofka_link_start(call, &part, 1, MOFKA_CALL_MS, err);
}

static void complete_acknowledgement(struct mofka_call *call)
{
    struct acknowledgement *self = container_of(call, struct acknowledgement, call);
    mofka_call_drop_message(call);
    self->err = call->err;
    ABT_eventual_set(self->done, NULL, 0);
}

static const struct mofka_call_ops acknowledge_ops = {
    .rpc = MOFKA_RPC_ACKNOWLEDGE,
    .send = send_acknowledgement,
    .complete = complete_acknowledgement,
};

/* Positions only move forward, so that one that arrives twice does no harm. */
int mofka_source_acknowledge(void *arg, uint64_t event_id, struct dango_error *err)
{
    struct mofka_source *source = arg;
    struct acknowledgement self = {.event_id = event_id};
    mofka_call_init(&self.call, &source->link, &acknowledge_ops);
    if (ABT_eventual_create(0, &self.done) != ABT_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    pthread_mutex_lock(&source->link.lock);
    mofka_link_submit(&source->link, &self.call);
    pthread_mutex_unlock(&source->link.lock);
    ABT_eventual_wait(self.done, NULL);
    ABT_eventual_free(&self.done);
    mofka_call_fini(&self.call);
    return self.err.code == 0 ? 0 : dango_error_set(err, self.err.code, "%s", self.err.text);
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

/* ---- sessions ---- */

static int subscribe(struct mofka_link *link, struct dango_error *err)
{
    struct mofka_source *source = mofka_source_of(link);
    struct mofka_subscribe_request request = {.start_id = source->next_id, .life = source->life};
    struct mofka_subscribe_answer answer;
    size_t length = strlen(source->name);
    if (source->failure.code != 0) /* it is over: nobody must believe that we read on */
        return dango_error_set(err, source->failure.code, "%s", source->failure.text);
    mofka_request_head_init(&request.head, 0);
    memcpy(request.partition, link->uuid, sizeof request.partition);
    request.head.flags = (uint16_t)(source->opened ? DIASPORA_START_ID : source->start);
    request.head.extra = (uint32_t)length;
    diaspora_segment parts[] = {{&request, sizeof request}, {source->name, length}};
    int code = mofka_link_ask(link, MOFKA_RPC_SUBSCRIBE, parts, 2, &answer, sizeof answer, SUBSCRIBE_MS, err);
    if (code != 0)
        return code;
    link->token = answer.token;
    if (source->opened && (answer.position < source->next_id || answer.position - source->next_id != answer.skipped))
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "the server begins with event %" PRIu64 " instead of %" PRIu64,
                               answer.position, source->next_id);
    if (source->opened) {
        pthread_mutex_lock(&link->lock);
        source->gap = answer.skipped;
        pthread_mutex_unlock(&link->lock);
    }
    if (!source->opened) {
        source->first = source->next_id = answer.position;
        source->end = answer.end;
        source->skipped = answer.skipped;
        source->life = answer.life;
    }
    source->opened = true;
    return 0;
}

/* An operator has shut this consumer out. */
static bool is_dismissal(int code)
{
    return code == DANGO_ERR_CANCELED;
}

static const struct mofka_link_ops link_ops = {.open = subscribe, .is_dismissal = is_dismissal};

/* ---- life ---- */

static void source_free(struct mofka_source *source)
{
    for (struct list_node *node; (node = list_pop(&source->idle));) {
        struct fetch_call *self = container_of(node, struct fetch_call, call.node);
        mofka_call_fini(&self->call);
        free(self);
    }
    free(source->name);
    free(source);
}

int mofka_source_open(void *topic, size_t partition, const struct diaspora_source_settings *settings, void **source,
                      struct dango_error *err)
{
    size_t length = strlen(settings->consumer_name);
    if (length > MOFKA_NAME_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "consumer name of %zu bytes (at most %u)", length,
                               MOFKA_NAME_MAX);
    struct mofka_source *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    new->start = settings->start;
    new->next_id = settings->start_id;
    new->with_data = settings->with_data;
    list_init(&new->idle);
    new->name = strdup(settings->consumer_name);
    int code = new->name ? mofka_link_open(&new->link, topic, partition, &link_ops, err)
                         : dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    if (code != 0) {
        source_free(new);
        return code;
    }
    *source = new;
    return 0;
}

void mofka_source_close(void *arg)
{
    struct mofka_source *source = arg;
    mofka_link_close(&source->link);
    source_free(source);
}
