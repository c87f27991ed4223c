/*
 * What all partitions have in common: the sequence of each stream, the order of reservations. See partition.h for the
 * protocol and internal.h for the storages.
 *
 * A batch may fail at any moment between reserve and commit. A reception that is reserved is always committed by whoever
 * reserved it: nothing here waits for a network.
 */
#include "mofka/partition/internal.h"

#include "util/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

void mofka_partition_init(struct mofka_partition *partition, const struct mofka_partition_settings *settings,
                          const struct mofka_storage_ops *ops)
{
    partition->settings = *settings;
    partition->ops = ops;
    pthread_mutex_init(&partition->lock, NULL);
    list_init(&partition->pending);
    list_init(&partition->streams);
    list_init(&partition->settlings);
}

void mofka_partition_fini(struct mofka_partition *partition)
{
    assert(list_empty(&partition->pending) && list_empty(&partition->streams));
    assert(list_empty(&partition->settlings));
    pthread_mutex_destroy(&partition->lock);
}

void dango_mofka_partition_destroy(struct mofka_partition *partition)
{
    if (partition)
        partition->ops->destroy(partition);
}

uint64_t dango_mofka_partition_next_id(const struct mofka_partition *partition)
{
    return atomic_load_explicit(&partition->next_id, memory_order_acquire);
}

uint64_t dango_mofka_partition_first_id(struct mofka_partition *partition)
{
    struct mofka_log *log = dango_mofka_partition_log(partition);
    return log ? dango_mofka_log_first_id(log) : 0;
}

uint64_t dango_mofka_partition_life(const struct mofka_partition *partition)
{
    return partition->life;
}

uint64_t dango_mofka_partition_size(struct mofka_partition *partition)
{
    pthread_mutex_lock(&partition->lock);
    uint64_t size = partition->size;
    pthread_mutex_unlock(&partition->lock);
    return size;
}

/* ---- streams ---- */

/* Ends the earlier streams of a producer. False while batches of theirs are under way. Under the lock. */
static bool end_streams(struct mofka_partition *partition, uint64_t producer)
{
    bool idle = true;
    list_for_each (node, &partition->streams) {
        struct mofka_stream *other = container_of(node, struct mofka_stream, link);
        if (other->producer != producer)
            continue;
        other->failed_attempt = UINT32_MAX;
        idle = idle && atomic_load(&other->pending) == 0;
    }
    return idle;
}

int dango_mofka_partition_attach(struct mofka_partition *partition, struct mofka_stream *stream, uint64_t producer,
                                 uint32_t attempt, const struct mofka_resume *resume, struct dango_error *err)
{
    assert(!stream->record);
    int code = 0;
    pthread_mutex_lock(&partition->lock);
    if (!end_streams(partition, producer))
        code = dango_error_set(err, DANGO_ERR_BUSY, "earlier batches of this producer are still under way");
    if (code == 0)
        code = dango_mofka_producers_get(partition->producers, producer, resume, dango_clock_wall_ns(), &stream->record,
                                         err);
    if (code == 0) {
        stream->producer = producer;
        stream->attempt = attempt;
        stream->failed_attempt = 0;
        stream->next_sequence = resume->first;
        uint64_t first_id;
        stream->stored_end = dango_mofka_producers_newest(partition->producers, stream->record, &first_id);
        stream->promised_end = stream->stored_end > 0 ? first_id + 1 : 0;
        list_append(&partition->streams, &stream->link);
    }
    pthread_mutex_unlock(&partition->lock);
    return code;
}

void dango_mofka_partition_detach(struct mofka_partition *partition, struct mofka_stream *stream)
{
    if (!stream->record)
        return;
    assert(atomic_load(&stream->pending) == 0);
    pthread_mutex_lock(&partition->lock);
    list_remove(&stream->link);
    pthread_mutex_unlock(&partition->lock);
    dango_mofka_producers_put(partition->producers, stream->record);
    stream->record = NULL;
}

/* ---- reserve ---- */

/* Whether the batch is the one that comes next in its stream. */
static int check_sequence(const struct mofka_reception *reception, struct dango_error *err)
{
    const struct mofka_stream *stream = reception->stream;
    if (reception->attempt <= stream->failed_attempt)
        return dango_error_set(err, DANGO_ERR_CANCELED, "an earlier batch of this producer failed");
    if (reception->attempt < stream->attempt)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "batch of attempt %" PRIu32 " after one of attempt %" PRIu32,
                               reception->attempt, stream->attempt);
    if (reception->attempt == stream->attempt && reception->sequence != stream->next_sequence)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "batch %" PRIu64 " of a producer arrived instead of %" PRIu64,
                               reception->sequence, stream->next_sequence);
    return 0;
}

/* 1: the batch is stored already. A log knows a batch from the moment it is written: it counts when it is safe, too. */
static int find_repeat(struct mofka_partition *partition, struct mofka_reception *reception, struct dango_error *err)
{
    const struct mofka_producer *record = reception->stream->record;
    if (!record)
        return 0;
    int found =
        dango_mofka_producers_find(partition->producers, record, reception->sequence, &reception->first_id, err);
    if (found > 0 && reception->first_id >= dango_mofka_partition_next_id(partition))
        return dango_error_set(err, DANGO_ERR_IO,
                               "batch %" PRIu64 " of this producer has been written, but the medium failed before it "
                               "was safe: restart the server",
                               reception->sequence);
    return found;
}

static int reserve_locked(struct mofka_partition *partition, struct mofka_reception *reception, struct dango_error *err)
{
    struct mofka_stream *stream = reception->stream;
    int code = check_sequence(reception, err);
    if (code == 0)
        code = find_repeat(partition, reception, err);
    if (code < 0)
        return code;
    stream->attempt = reception->attempt;
    stream->next_sequence = reception->sequence + 1;
    if (code > 0)
        return code;
    if (partition->ending)
        return dango_error_set(err, DANGO_ERR_COMPLETE, "the topic is complete: it takes no more events");

    uint64_t size = mofka_frame_extent(reception->records_size, reception->data_size);
    if (size == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "a batch of more than %" PRIu64 " bytes", MOFKA_CONTENT_MAX);
    code = partition->ops->place(partition, reception, (size_t)size, err);
    if (code != 0)
        return code;
    reception->received = reception->is_promised = false;
    reception->failure = NULL;
    atomic_fetch_add_explicit(&stream->pending, 1, memory_order_relaxed);
    list_append(&partition->pending, &reception->link);
    return 0;
}

int dango_mofka_partition_reserve(struct mofka_partition *partition, struct mofka_reception *reception,
                                  struct dango_error *err)
{
    assert(reception->stream && reception->attempt > 0 && reception->count > 0 && reception->done);
    pthread_mutex_lock(&partition->lock);
    int code = reserve_locked(partition, reception, err);
    if (code < 0 && reception->attempt > reception->stream->failed_attempt)
        reception->stream->failed_attempt = reception->attempt;
    pthread_mutex_unlock(&partition->lock);
    return code;
}

/* ---- commit ---- */

void mofka_partition_make_header(const struct mofka_partition *partition, const struct mofka_reception *reception,
                                 struct mofka_frame *frame)
{
    bool alive = reception->code == 0;
    *frame = (struct mofka_frame){
        .flags = !alive                     ? MOFKA_FRAME_DEAD
                 : reception->end_of_stream ? MOFKA_FRAME_END_OF_STREAM
                                            : 0,
        .producer = reception->stream->producer,
        .sequence = reception->sequence,
        .records_size = reception->records_size,
        .data_size = reception->data_size,
        .count = alive ? reception->count : 0,
    };
    memcpy(frame->partition, partition->settings.uuid, sizeof frame->partition);
}

void mofka_reception_failed(struct mofka_reception *reception, int code)
{
    assert(code < 0);
    reception->code = code;
    if (reception->attempt > reception->stream->failed_attempt)
        reception->stream->failed_attempt = reception->attempt;
}

void mofka_partition_complete(struct mofka_partition *partition, bool grown, struct list_node *finished)
{
    if (grown && partition->settings.grown)
        partition->settings.grown(partition->settings.arg);
    for (struct list_node *node; (node = list_pop(finished));) {
        struct mofka_reception *done = container_of(node, struct mofka_reception, link);
        atomic_fetch_sub(&done->stream->pending, 1); /* what it became is known to whoever comes now */
        if (done->end_of_stream)
            mofka_partition_ended(partition, done->code);
        mofka_reception_done(done);
    }
}

void dango_mofka_partition_commit(struct mofka_partition *partition, struct mofka_reception *reception, int code)
{
    assert(code <= 0 && !reception->received);
    const struct mofka_storage_ops *ops = partition->ops;
    struct list_node finished, promises;
    list_init(&finished);
    list_init(&promises);
    reception->code = code;
    if (code == 0 && ops->prepare)
        ops->prepare(partition, reception);

    pthread_mutex_lock(&partition->lock);
    uint64_t before = atomic_load_explicit(&partition->next_id, memory_order_relaxed);
    reception->received = true;
    while (!list_empty(&partition->pending)) {
        struct mofka_reception *oldest = container_of(partition->pending.next, struct mofka_reception, link);
        if (!oldest->received)
            break;
        list_remove(&oldest->link);
        if (oldest->code == 0 && oldest->attempt <= oldest->stream->failed_attempt)
            oldest->code = DANGO_ERR_CANCELED;
        if (oldest->code != 0)
            mofka_reception_failed(oldest, oldest->code);
        if (ops->finish(partition, oldest))
            list_append(&finished, &oldest->link);
        else if (oldest->is_promised)
            list_append(&promises, &oldest->promise);
    }
    bool grown = atomic_load_explicit(&partition->next_id, memory_order_relaxed) != before;
    bool start = ops->needs_writer && ops->needs_writer(partition);
    pthread_mutex_unlock(&partition->lock);
    mofka_receptions_tell(&promises);
    /* The last `done` may be the end of the partition, unless there is a writer to be started. */
    mofka_partition_complete(partition, grown, &finished);
    if (start)
        ops->start_writer(partition);
}
