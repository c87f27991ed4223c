/*
 * The writing half of a partition: reservation, commit in order, sparse index. See partition.h for the protocol.
 *
 * A batch may fail at any moment between reserve and commit. If it was the last one reserved, its space is taken back;
 * otherwise a dead frame remains so that readers can step over it. A reception that is reserved is always committed by
 * whoever reserved it: nothing here waits for a network.
 *
 * The index has an entry for about every 64 KiB. It may lack entries when memory is short: a search then walks further.
 */
#include "mofka/partition/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SEGMENT_SIZE     ((size_t)4 << 20)
#define SEGMENT_SIZE_MAX ((size_t)64 << 20)
#define INDEX_DISTANCE   ((size_t)64 << 10)
/* From this size on of the batch that opens a segment, the segment has huge pages. */
#define LARGE_BATCH ((size_t)256 << 10)

int dango_mofka_partition_create(const struct mofka_partition_settings *settings, struct mofka_partition **partition,
                                 struct dango_error *err)
{
    struct mofka_partition *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    new->settings = *settings;
    if (new->settings.segment_size == 0)
        new->settings.segment_size = SEGMENT_SIZE;
    pthread_mutex_init(&new->lock, NULL);
    list_init(&new->pending);
    *partition = new;
    return 0;
}

void dango_mofka_partition_destroy(struct mofka_partition *partition)
{
    if (!partition)
        return;
    assert(list_empty(&partition->pending));
    for (struct mofka_segment *segment = partition->first, *next; segment; segment = next) {
        next = atomic_load_explicit(&segment->next, memory_order_relaxed);
        mofka_segment_destroy(segment, partition->settings.registrar);
    }
    free(partition->index);
    pthread_mutex_destroy(&partition->lock);
    free(partition);
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

/* ---- index ---- */

static void index_add(struct mofka_partition *partition, uint64_t id, struct mofka_segment *segment, size_t offset)
{
    if (partition->index_count > 0) {
        const struct mofka_index_entry *last = &partition->index[partition->index_count - 1];
        if (last->segment == segment && offset - last->offset < INDEX_DISTANCE)
            return;
    }
    if (partition->index_count == partition->index_capacity) {
        size_t capacity = partition->index_capacity ? 2 * partition->index_capacity : 64;
        struct mofka_index_entry *index = realloc(partition->index, capacity * sizeof *index);
        if (!index)
            return;
        partition->index = index;
        partition->index_capacity = capacity;
    }
    partition->index[partition->index_count++] = (struct mofka_index_entry){id, segment, offset};
}

struct mofka_index_entry mofka_partition_find(struct mofka_partition *partition, uint64_t id)
{
    pthread_mutex_lock(&partition->lock);
    struct mofka_index_entry entry = {.segment = partition->first};
    size_t low = 0, high = partition->index_count; /* entries below `low` are not behind id, from `high` on they are */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (partition->index[middle].id <= id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0)
        entry = partition->index[low - 1];
    pthread_mutex_unlock(&partition->lock);
    return entry;
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

/* Makes room for `size` bytes at the end of the last segment. */
static int make_room(struct mofka_partition *partition, size_t size, struct dango_error *err)
{
    struct mofka_segment *last = partition->last;
    if (last && last->capacity - last->reserved >= size)
        return 0;
    size_t capacity = partition->settings.segment_size;
    if (last && last->capacity >= capacity)
        capacity = last->capacity < SEGMENT_SIZE_MAX / 2 ? 2 * last->capacity : SEGMENT_SIZE_MAX;
    if (capacity < size)
        capacity = size;
    struct mofka_segment *segment;
    int code = mofka_segment_create(capacity, size >= LARGE_BATCH, partition->settings.registrar, &segment, err);
    if (code != 0)
        return code;
    if (last)
        mofka_segment_close(last, segment);
    else
        partition->first = segment;
    partition->last = segment;
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
    code = make_room(partition, (size_t)size, err);
    if (code != 0)
        return code;
    reception->segment = partition->last;
    reception->offset = partition->last->reserved + sizeof(struct mofka_frame);
    reception->received = false;
    partition->last->reserved += (size_t)size;
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

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Takes the space of the youngest reservation back if the batch at the head of the queue is that one. */
static bool take_back(struct mofka_segment *segment, size_t offset, size_t size)
{
    if (offset + size != segment->reserved || atomic_load_explicit(&segment->end, memory_order_relaxed) != SIZE_MAX)
        return false;
    segment->reserved = offset;
    return true;
}

/* Completes the oldest pending batch: ids, header, visibility. */
static void finish(struct mofka_partition *partition, struct mofka_reception *reception)
{
    struct mofka_segment *segment = reception->segment;
    size_t offset = reception->offset - sizeof(struct mofka_frame);
    size_t size = (size_t)mofka_frame_extent(reception->records_size, reception->data_size);
    assert(offset == atomic_load_explicit(&segment->committed, memory_order_relaxed));

    if (reception->code == 0 && reception->attempt <= reception->stream->failed_attempt)
        reception->code = DANGO_ERR_CANCELED;
    if (reception->code != 0) {
        if (reception->attempt > reception->stream->failed_attempt)
            reception->stream->failed_attempt = reception->attempt;
        if (take_back(segment, offset, size))
            return;
    }
    bool alive = reception->code == 0;
    reception->first_id = atomic_load_explicit(&partition->next_id, memory_order_relaxed);
    struct mofka_frame *frame = (struct mofka_frame *)(segment->base + offset);
    *frame = (struct mofka_frame){
        .flags = alive ? 0 : MOFKA_FRAME_DEAD,
        .first_id = reception->first_id,
        .timestamp_ns = now_ns(),
        .producer = reception->stream->producer,
        .sequence = reception->sequence,
        .records_size = reception->records_size,
        .data_size = reception->data_size,
        .count = alive ? reception->count : 0,
    };
    memcpy(frame->partition, partition->settings.uuid, sizeof frame->partition);
    dango_mofka_frame_seal(frame);
    if (alive)
        index_add(partition, reception->first_id, segment, offset);
    partition->size += size;
    atomic_store_explicit(&segment->committed, offset + size, memory_order_release);
    atomic_store_explicit(&partition->next_id, reception->first_id + frame->count, memory_order_release);
}

void dango_mofka_partition_commit(struct mofka_partition *partition, struct mofka_reception *reception, int code)
{
    assert(code <= 0 && !reception->received);
    struct list_node finished;
    list_init(&finished);

    pthread_mutex_lock(&partition->lock);
    uint64_t before = atomic_load_explicit(&partition->next_id, memory_order_relaxed);
    reception->code = code;
    reception->received = true;
    while (!list_empty(&partition->pending)) {
        struct mofka_reception *oldest = container_of(partition->pending.next, struct mofka_reception, link);
        if (!oldest->received)
            break;
        finish(partition, oldest);
        list_remove(&oldest->link);
        list_append(&finished, &oldest->link);
    }
    bool grown = atomic_load_explicit(&partition->next_id, memory_order_relaxed) != before;
    pthread_mutex_unlock(&partition->lock);

    if (grown && partition->settings.grown) /* first: whoever waits for an event is in a greater hurry */
        partition->settings.grown(partition->settings.arg);
    for (struct list_node *node; (node = list_pop(&finished));) {
        struct mofka_reception *done = container_of(node, struct mofka_reception, link);
        done->done(done, done->first_id, done->code);
    }
}
