/*
 * What all partitions have in common: the sequence of each stream, the order of reservations. See partition.h for the
 * protocol and internal.h for the storages.
 *
 * A batch may fail at any moment between reserve and commit. A reception that is reserved is always committed by whoever
 * reserved it: nothing here waits for a network.
 */
#include "mofka/partition/internal.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

void mofka_partition_init(struct mofka_partition *partition, const struct mofka_partition_settings *settings,
                          const struct mofka_storage_ops *ops)
{
    partition->settings = *settings;
    partition->ops = ops;
    pthread_mutex_init(&partition->lock, NULL);
    list_init(&partition->pending);
}

void mofka_partition_fini(struct mofka_partition *partition)
{
    assert(list_empty(&partition->pending));
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

uint64_t dango_mofka_partition_size(struct mofka_partition *partition)
{
    pthread_mutex_lock(&partition->lock);
    uint64_t size = partition->size;
    pthread_mutex_unlock(&partition->lock);
    return size;
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

static int reserve_locked(struct mofka_partition *partition, struct mofka_reception *reception, struct dango_error *err)
{
    struct mofka_stream *stream = reception->stream;
    int code = check_sequence(reception, err);
    if (code != 0)
        return code;
    stream->attempt = reception->attempt;
    stream->next_sequence = reception->sequence + 1;

    uint64_t size = mofka_frame_extent(reception->records_size, reception->data_size);
    if (size == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "a batch of more than %" PRIu64 " bytes", MOFKA_CONTENT_MAX);
    code = partition->ops->place(partition, reception, (size_t)size, err);
    if (code != 0)
        return code;
    reception->received = false;
    reception->failure = NULL;
    list_append(&partition->pending, &reception->link);
    return 0;
}

int dango_mofka_partition_reserve(struct mofka_partition *partition, struct mofka_reception *reception,
                                  struct dango_error *err)
{
    assert(reception->stream && reception->attempt > 0 && reception->count > 0 && reception->done);
    pthread_mutex_lock(&partition->lock);
    int code = reserve_locked(partition, reception, err);
    if (code != 0 && reception->attempt > reception->stream->failed_attempt)
        reception->stream->failed_attempt = reception->attempt;
    pthread_mutex_unlock(&partition->lock);
    return code;
}

/* ---- commit ---- */

uint64_t mofka_partition_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void mofka_partition_make_header(const struct mofka_partition *partition, const struct mofka_reception *reception,
                                 struct mofka_frame *frame)
{
    bool alive = reception->code == 0;
    *frame = (struct mofka_frame){
        .flags = alive ? 0 : MOFKA_FRAME_DEAD,
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
        done->done(done, done->first_id, done->code);
    }
}

void dango_mofka_partition_commit(struct mofka_partition *partition, struct mofka_reception *reception, int code)
{
    assert(code <= 0 && !reception->received);
    const struct mofka_storage_ops *ops = partition->ops;
    struct list_node finished;
    list_init(&finished);
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
    }
    bool grown = atomic_load_explicit(&partition->next_id, memory_order_relaxed) != before;
    bool start = ops->needs_writer && ops->needs_writer(partition);
    pthread_mutex_unlock(&partition->lock);
    /* The last `done` may be the end of the partition, unless there is a writer to be started. */
    mofka_partition_complete(partition, grown, &finished);
    if (start)
        ops->start_writer(partition);
}
