/*
 * Events in memory: segments of anonymous memory, into which batches are received directly, and a sparse index.
 *
 * If a batch that failed was the last one reserved, its space is taken back; otherwise a dead frame remains so that readers
 * can step over it. Readers walk frame by frame through committed memory, without a lock; only a jump uses the index,
 * under the lock.
 *
 * The index has an entry for about every 64 KiB. It may lack entries when memory is short: a search then walks further.
 */
#include "mofka/partition/internal.h"
#include "mofka/partition/segment.h"

#include "util/clock.h"

#include <stdlib.h>
#include <sys/random.h>

#define SEGMENT_SIZE     ((size_t)4 << 20)
#define SEGMENT_SIZE_MAX ((size_t)64 << 20)
#define INDEX_DISTANCE   ((size_t)64 << 10)
/* From this size on of the batch that opens a segment, the segment has huge pages. */
#define LARGE_BATCH ((size_t)256 << 10)

/* An entry of the sparse index: event `id` is the first of the frame at that place. */
struct index_entry {
    uint64_t id;
    struct mofka_segment *segment;
    size_t offset;
};

struct memory_partition {
    struct mofka_partition base;
    struct mofka_segment *first; /* NULL until the first batch comes */
    struct mofka_segment *last;  /* the open one */
    struct index_entry *index;   /* ascending by id; ids before index[0].id do not exist */
    size_t index_count, index_capacity;
};

static struct memory_partition *memory(struct mofka_partition *partition)
{
    return container_of(partition, struct memory_partition, base);
}

static void destroy(struct mofka_partition *base)
{
    struct memory_partition *partition = memory(base);
    for (struct mofka_segment *segment = partition->first, *next; segment; segment = next) {
        next = atomic_load_explicit(&segment->next, memory_order_relaxed);
        mofka_segment_destroy(segment, base->settings.registrar);
    }
    mofka_partition_fini(base);
    dango_mofka_producers_destroy(base->producers);
    free(partition->index);
    free(partition);
}

/* ---- index ---- */

static void index_add(struct memory_partition *partition, uint64_t id, struct mofka_segment *segment, size_t offset)
{
    if (partition->index_count > 0) {
        const struct index_entry *last = &partition->index[partition->index_count - 1];
        if (last->segment == segment && offset - last->offset < INDEX_DISTANCE)
            return;
    }
    if (partition->index_count == partition->index_capacity) {
        size_t capacity = partition->index_capacity ? 2 * partition->index_capacity : 64;
        struct index_entry *index = realloc(partition->index, capacity * sizeof *index);
        if (!index)
            return;
        partition->index = index;
        partition->index_capacity = capacity;
    }
    partition->index[partition->index_count++] = (struct index_entry){id, segment, offset};
}

/* The last index entry that is not behind `id`; a zeroed one when the partition has no segment yet. */
static struct index_entry find(struct memory_partition *partition, uint64_t id)
{
    pthread_mutex_lock(&partition->base.lock);
    struct index_entry entry = {.segment = partition->first};
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
    pthread_mutex_unlock(&partition->base.lock);
    return entry;
}

/* ---- writing ---- */

/* Makes room for `size` bytes at the end of the last segment. */
static int make_room(struct memory_partition *partition, size_t size, struct dango_error *err)
{
    struct mofka_segment *last = partition->last;
    if (last && last->capacity - last->reserved >= size)
        return 0;
    size_t capacity = partition->base.settings.segment_size;
    if (last && last->capacity >= capacity)
        capacity = last->capacity < SEGMENT_SIZE_MAX / 2 ? 2 * last->capacity : SEGMENT_SIZE_MAX;
    if (capacity < size)
        capacity = size;
    struct mofka_segment *segment;
    int code = mofka_segment_create(capacity, size >= LARGE_BATCH, partition->base.settings.registrar, &segment, err);
    if (code != 0)
        return code;
    if (last)
        mofka_segment_close(last, segment);
    else
        partition->first = segment;
    partition->last = segment;
    return 0;
}

static int place(struct mofka_partition *base, struct mofka_reception *reception, size_t size, struct dango_error *err)
{
    struct memory_partition *partition = memory(base);
    int code = make_room(partition, size, err);
    if (code != 0)
        return code;
    reception->region = &partition->last->region;
    reception->offset = partition->last->reserved + sizeof(struct mofka_frame);
    partition->last->reserved += size;
    return 0;
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
static bool finish(struct mofka_partition *partition, struct mofka_reception *reception)
{
    struct mofka_segment *segment = container_of(reception->region, struct mofka_segment, region);
    size_t offset = reception->offset - sizeof(struct mofka_frame);
    size_t size = (size_t)mofka_frame_extent(reception->records_size, reception->data_size);
    assert(offset == atomic_load_explicit(&segment->committed, memory_order_relaxed));
    if (reception->code != 0 && take_back(segment, offset, size))
        return true;
    reception->first_id = atomic_load_explicit(&partition->next_id, memory_order_relaxed);
    struct mofka_frame *frame = (struct mofka_frame *)(segment->region.base + offset);
    mofka_partition_make_header(partition, reception, frame);
    frame->first_id = reception->first_id;
    frame->timestamp_ns = dango_clock_wall_ns();
    dango_mofka_frame_seal(frame);
    dango_mofka_producers_note(partition->producers, frame);
    if (frame->count > 0)
        index_add(memory(partition), reception->first_id, segment, offset);
    partition->size += size;
    atomic_store_explicit(&segment->committed, offset + size, memory_order_release);
    atomic_store_explicit(&partition->next_id, reception->first_id + frame->count, memory_order_release);
    return true;
}

/* ---- reading ---- */

static int seek(struct mofka_reader *reader, uint64_t id, struct dango_error *err)
{
    (void)err;
    struct index_entry entry = find(memory(reader->partition), id);
    *reader = (struct mofka_reader){
        .partition = reader->partition,
        .segment = entry.segment,
        .region = entry.segment ? &entry.segment->region : NULL,
        .offset = entry.offset,
        .next_id = entry.id,
    };
    return 0;
}

/* Steps over frames without events. */
static int current_frame(struct mofka_reader *reader, const struct mofka_frame **frame, struct dango_error *err)
{
    (void)err;
    if (!reader->segment) { /* the partition was empty when the reader was set up */
        reader->segment = find(memory(reader->partition), 0).segment;
        if (!reader->segment)
            return 0;
    }
    while (mofka_segment_advance(&reader->segment, &reader->offset)) {
        reader->region = &reader->segment->region;
        *frame = (const struct mofka_frame *)(reader->region->base + reader->offset);
        if ((*frame)->count > 0)
            return 1;
        reader->offset += (size_t)mofka_frame_size(*frame);
    }
    return 0;
}

static void step(struct mofka_reader *reader, const struct mofka_frame *frame)
{
    reader->offset += (size_t)mofka_frame_size(frame);
}

/* ---- life ---- */

static const struct mofka_storage_ops memory_ops = {
    .destroy = destroy,
    .place = place,
    .finish = finish,
    .seek = seek,
    .frame = current_frame,
    .step = step,
};

int dango_mofka_partition_create(const struct mofka_partition_settings *settings, struct mofka_partition **partition,
                                 struct dango_error *err)
{
    struct memory_partition *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    mofka_partition_init(&new->base, settings, &memory_ops);
    int code = dango_mofka_producers_create(&new->base.producers, err);
    while (code == 0 && new->base.life == 0)
        if (getrandom(&new->base.life, sizeof new->base.life, 0) != (ssize_t)sizeof new->base.life)
            code = dango_error_set(err, DANGO_ERR_INTERNAL, "no random numbers");
    if (code != 0) {
        destroy(&new->base);
        return code;
    }
    if (new->base.settings.segment_size == 0)
        new->base.settings.segment_size = SEGMENT_SIZE;
    *partition = &new->base;
    return 0;
}
