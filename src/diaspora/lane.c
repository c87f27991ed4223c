/*
 * Lanes: the way of a producer's events into one partition.
 *
 * An event joins the open batch. The batch is sealed when it is full, on flush, when somebody waits for one of its
 * events, or, in adaptive mode, when nothing is in flight; sealed batches wait until the window of batches in flight
 * has room. Only one thread at a time gives batches to the driver (`sending`), without the lock, so that their order is
 * the order of sealing and a push never waits for the driver. A push that finds no open batch while `waiting_max` sealed
 * ones wait, blocks until one leaves.
 *
 * Failures: a batch that fails completes its futures with the error; the first error is kept until the next flush of
 * events up to it. Later batches go on, except after a timeout: what was waiting for the window meanwhile fails, too,
 * so that a flush lasts one deadline of the driver's and not two. The driver may complete batches in any order: a flush
 * waits for all of them.
 */
#include "diaspora/producer.h"

#include "util/clock.h"

#include <assert.h>
#include <stdlib.h>

#define FREE_WAITING_MAX 64 /* sealed batches that wait for the window and are worth keeping */

static void batch_done(struct diaspora_batch *wire, uint64_t first_id, const struct dango_error *err);

void dsp_lane_init(struct dsp_lane *lane, struct diaspora_producer *producer, size_t partition)
{
    pthread_mutex_init(&lane->lock, NULL);
    lane->producer = producer;
    lane->partition = partition;
    list_init(&lane->waiting);
    list_init(&lane->outstanding);
    list_init(&lane->free);
    list_init(&lane->free_completions);
    dsp_gate_init(&lane->gate);
}

/* Batches go with the sink; what futures may still need (lock, free completions) goes with the producer's memory. */
void dsp_lane_fini(struct dsp_lane *lane)
{
    assert(list_empty(&lane->outstanding));
    struct list_node *node;
    if (lane->open) { /* opened for an event that could not be appended */
        assert(lane->open->wire.count == 0);
        dsp_completion_release(lane->open->completion);
        dsp_batch_destroy(lane->open);
        lane->open = NULL;
    }
    while ((node = list_pop(&lane->free)))
        dsp_batch_destroy(container_of(node, struct dsp_batch, wire.link));
    lane->free_count = 0;
}

static struct dsp_batch *take_free_batch(struct dsp_lane *lane, struct dango_error *err)
{
    struct list_node *node = list_pop(&lane->free);
    if (!node)
        return dsp_batch_create(lane, err);
    lane->free_count--;
    return container_of(node, struct dsp_batch, wire.link);
}

/* With the lock. */
static int open_batch(struct dsp_lane *lane, struct dango_error *err)
{
    struct dsp_batch *batch = take_free_batch(lane, err);
    assert(!lane->open);
    if (!batch)
        return DANGO_ERR_NO_MEMORY;
    batch->completion = dsp_completion_create(lane);
    if (!batch->completion) {
        dsp_batch_destroy(batch);
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "push: out of memory");
    }
    batch->wire.done = batch_done;
    lane->open = batch;
    return 0;
}

/* With the lock. */
static void seal(struct dsp_lane *lane)
{
    struct dsp_batch *batch = lane->open;
    assert(batch && batch->wire.count > 0);
    lane->open = NULL;
    batch->wire.sequence = lane->sealed++;
    list_append(&lane->waiting, &batch->wire.link);
    list_append(&lane->outstanding, &batch->order);
    lane->waiting_count++;
}

static bool open_has_events(const struct dsp_lane *lane)
{
    return lane->open && lane->open->wire.count > 0;
}

/* The next batch that may go to the driver, taken off the waiting list; NULL if there is none. With the lock. */
static struct dsp_batch *next_to_send(struct dsp_lane *lane)
{
    const struct diaspora_producer *producer = lane->producer;
    /* Adaptive: what gathered while the last batch was under way leaves now, however much it is. */
    if (producer->batch_size == DSP_ADAPTIVE && lane->in_flight == 0 && lane->waiting_count == 0 &&
        open_has_events(lane))
        seal(lane);
    if (lane->in_flight >= producer->window || lane->waiting_count == 0)
        return NULL;
    assert(!list_empty(&lane->waiting));
    lane->waiting_count--;
    lane->in_flight++;
    return container_of(list_pop(&lane->waiting), struct dsp_batch, wire.link);
}

/* Gives the driver what the window allows. With the lock, which is let go meanwhile. */
static void send(struct dsp_lane *lane)
{
    const struct diaspora_producer *producer = lane->producer;
    struct dsp_batch *batch;
    if (lane->sending)
        return; /* whoever does it looks again before it stops */
    lane->sending = true;
    while ((batch = next_to_send(lane))) {
        /* Whoever waits for room gets a good piece of it, instead of a wake-up for each batch. */
        bool has_room = lane->room_waiters > 0 && lane->waiting_count <= producer->waiting_max / 2;
        pthread_mutex_unlock(&lane->lock);
        if (has_room)
            dsp_gate_open(&lane->gate);
        producer->topic->ops->sink_submit(lane->sink, &batch->wire);
        pthread_mutex_lock(&lane->lock);
    }
    lane->sending = false;
}

/* Waits until there is a batch that takes the event. With the lock, which is let go meanwhile. */
static int make_room(struct dsp_lane *lane, const struct dsp_push *push, struct dango_error *err)
{
    while (!lane->open || !dsp_batch_has_room(lane->open, push)) {
        if (lane->open) {
            seal(lane);
            send(lane);
        } else if (lane->waiting_count < lane->producer->waiting_max) {
            return open_batch(lane, err);
        } else {
            uint32_t ticket = dsp_gate_ticket(&lane->gate);
            lane->room_waiters++;
            pthread_mutex_unlock(&lane->lock);
            dsp_gate_wait(&lane->gate, ticket, DANGO_NEVER);
            pthread_mutex_lock(&lane->lock);
            lane->room_waiters--;
        }
    }
    return 0;
}

/* With the lock. */
static int append(struct dsp_batch *batch, const struct dsp_push *push, diaspora_future **future,
                  struct dango_error *err)
{
    diaspora_future *made = NULL;
    if (future) {
        made = dsp_completion_future(batch->completion, batch->wire.count);
        if (!made)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "push: out of memory");
    }
    int status = dsp_batch_append(batch, push, err);
    if (status != 0 && made)
        dsp_completion_take_back(batch->completion);
    else if (future)
        *future = made;
    return status;
}

int dsp_lane_push(struct dsp_lane *lane, const struct dsp_push *push, diaspora_future **future, struct dango_error *err)
{
    size_t batch_size = lane->producer->batch_size;
    pthread_mutex_lock(&lane->lock);
    int status = make_room(lane, push, err);
    if (status == 0)
        status = append(lane->open, push, future, err);
    if (status == 0) {
        if (batch_size != DSP_ADAPTIVE && lane->open->wire.count >= batch_size)
            seal(lane);
        if (lane->waiting_count > 0 || (batch_size == DSP_ADAPTIVE && lane->in_flight == 0))
            send(lane);
    }
    pthread_mutex_unlock(&lane->lock);
    return status;
}

uint64_t dsp_lane_seal(struct dsp_lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    if (open_has_events(lane))
        seal(lane);
    uint64_t sealed = lane->sealed;
    send(lane);
    pthread_mutex_unlock(&lane->lock);
    return sealed;
}

void dsp_lane_seal_batch_of(struct dsp_lane *lane, const struct dsp_completion *completion)
{
    pthread_mutex_lock(&lane->lock);
    if (open_has_events(lane) && lane->open->completion == completion) {
        seal(lane);
        send(lane);
    }
    pthread_mutex_unlock(&lane->lock);
}

/* The sequence of the oldest batch that is not done. With the lock. */
static uint64_t oldest(const struct dsp_lane *lane)
{
    if (list_empty(&lane->outstanding))
        return lane->sealed;
    return container_of(lane->outstanding.next, struct dsp_batch, order)->wire.sequence;
}

bool dsp_lane_wait(struct dsp_lane *lane, uint64_t sealed, int64_t deadline_ns)
{
    bool in_time = true;
    pthread_mutex_lock(&lane->lock);
    while (oldest(lane) < sealed && in_time) {
        uint32_t ticket = dsp_gate_ticket(&lane->gate);
        if (lane->flush_waiters++ == 0 || sealed < lane->flush_target)
            lane->flush_target = sealed;
        pthread_mutex_unlock(&lane->lock);
        in_time = dsp_gate_wait(&lane->gate, ticket, deadline_ns);
        pthread_mutex_lock(&lane->lock);
        lane->flush_waiters--;
    }
    bool all_done = oldest(lane) >= sealed;
    pthread_mutex_unlock(&lane->lock);
    return all_done;
}

/* With the lock. Remembers the failure with the lowest sequence. */
static void note_failure(struct dsp_lane *lane, const struct dango_error *err, uint64_t sequence)
{
    if (lane->failure && lane->failure_sequence < sequence)
        return;
    if (lane->failure)
        dsp_error_free(lane->failure);
    lane->failure = dsp_error_copy(err);
    lane->failure_sequence = sequence;
}

/* ---- batches that are done before they are stored ---- */

static void settled(struct diaspora_settling *settling, const struct dango_error *err);

/* With the lock, which is let go meanwhile. */
static void ask(struct dsp_lane *lane)
{
    lane->is_settling = true;
    lane->settles_begun++;
    lane->settling_end = oldest(lane);
    lane->settling.done = settled;
    pthread_mutex_unlock(&lane->lock);
    lane->producer->topic->ops->sink_settle(lane->sink, &lane->settling);
    pthread_mutex_lock(&lane->lock);
}

static void settled(struct diaspora_settling *settling, const struct dango_error *err)
{
    struct dsp_lane *lane = container_of(settling, struct dsp_lane, settling);
    struct diaspora_producer *producer = lane->producer;
    dsp_producer_retain(producer); /* the flush may be over once the lock is let go */
    pthread_mutex_lock(&lane->lock);
    if (err)
        note_failure(lane, err, 0); /* it is about batches before all that are not done */
    else
        lane->settled_end = lane->settling_end;
    lane->settles_done = lane->settles_begun;
    lane->is_settling = false;
    bool again = lane->settle_again;
    lane->settle_again = false;
    if (again)
        ask(lane);
    pthread_mutex_unlock(&lane->lock);
    dsp_gate_open(&lane->gate);
    dsp_producer_release(producer);
}

uint64_t dsp_lane_settle(struct dsp_lane *lane, uint64_t sealed)
{
    pthread_mutex_lock(&lane->lock);
    assert(oldest(lane) >= sealed);
    uint64_t number = lane->settled_end < sealed ? lane->settles_begun + 1 : 0;
    if (number > 0 && lane->is_settling)
        lane->settle_again = true; /* what is under way may not cover the last batches */
    else if (number > 0)
        ask(lane);
    pthread_mutex_unlock(&lane->lock);
    return number;
}

bool dsp_lane_wait_settled(struct dsp_lane *lane, uint64_t number, int64_t deadline_ns)
{
    bool in_time = true;
    pthread_mutex_lock(&lane->lock);
    while (lane->settles_done < number && in_time) {
        uint32_t ticket = dsp_gate_ticket(&lane->gate);
        pthread_mutex_unlock(&lane->lock);
        in_time = dsp_gate_wait(&lane->gate, ticket, deadline_ns);
        pthread_mutex_lock(&lane->lock);
    }
    bool done = lane->settles_done >= number;
    pthread_mutex_unlock(&lane->lock);
    return done;
}

struct dango_error *dsp_lane_take_failure(struct dsp_lane *lane, uint64_t sealed)
{
    struct dango_error *failure = NULL;
    pthread_mutex_lock(&lane->lock);
    if (lane->failure && lane->failure_sequence < sealed) {
        failure = lane->failure;
        lane->failure = NULL;
    }
    pthread_mutex_unlock(&lane->lock);
    return failure;
}

/* As many batches as are needed at a time are kept, up to a limit: making one costs more than filling it. */
static size_t free_max(const struct diaspora_producer *producer)
{
    return producer->window + (producer->waiting_max < FREE_WAITING_MAX ? producer->waiting_max : FREE_WAITING_MAX) + 2;
}

/* What follows from the outcome of a batch that counts as in flight. */
static void finish(struct diaspora_batch *wire, uint64_t first_id, const struct dango_error *err)
{
    struct dsp_batch *batch = container_of(wire, struct dsp_batch, wire);
    struct dsp_lane *lane = batch->lane;
    struct diaspora_producer *producer = lane->producer;
    struct dsp_completion *completion = batch->completion;
    dsp_producer_retain(producer); /* the last flush may be over, and the producer closed, once the lock is let go */
    assert(completion);
    bool reusable = dsp_batch_reset(batch);
    /* The futures first: what follows may keep this thread busy with sending what others push. */
    dsp_completion_finish(completion, first_id, err);
    pthread_mutex_lock(&lane->lock);
    assert(lane->in_flight > 0);
    if (err)
        note_failure(lane, err, wire->sequence);
    list_remove(&batch->order);
    assert(lane->in_flight > 0);
    lane->in_flight--;
    reusable = reusable && lane->free_count < free_max(producer);
    if (reusable) {
        list_prepend(&lane->free, &wire->link);
        lane->free_count++;
    } else {
        dsp_batch_destroy(batch);
    }
    send(lane);
    bool flushed = lane->flush_waiters > 0 && oldest(lane) >= lane->flush_target;
    pthread_mutex_unlock(&lane->lock);
    if (flushed)
        dsp_gate_open(&lane->gate);
    dsp_producer_release(producer);
}

/* Completes what waits with the same error; it counts as in flight for that. */
static void give_up_waiting(struct dsp_lane *lane, const struct dango_error *err)
{
    struct list_node given_up;
    list_init(&given_up);
    pthread_mutex_lock(&lane->lock);
    for (struct list_node *node; (node = list_pop(&lane->waiting)); lane->in_flight++, lane->waiting_count--)
        list_append(&given_up, node);
    bool has_room = lane->room_waiters > 0;
    pthread_mutex_unlock(&lane->lock);
    if (has_room)
        dsp_gate_open(&lane->gate);
    for (struct list_node *node; (node = list_pop(&given_up));)
        finish(container_of(node, struct diaspora_batch, link), 0, err);
}

/* The driver is done with a batch; on any of its threads. */
static void batch_done(struct diaspora_batch *wire, uint64_t first_id, const struct dango_error *err)
{
    struct dsp_lane *lane = container_of(wire, struct dsp_batch, wire)->lane;
    /* The lane lives as long as this batch is not finished. Whoever waited long already must not wait as long again. */
    if (err && err->code == DANGO_ERR_TIMEOUT)
        give_up_waiting(lane, err);
    finish(wire, first_id, err);
}
