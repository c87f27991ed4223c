/*
 * Batches in a producer's memory: appending records and data (see producer.h, and driver.h for the format).
 *
 * Records go into one driver buffer, which grows by moving until it has reached the size of the largest batch. Small
 * data are copied into chunks, back to back, so that a batch of many small events has one data segment; larger data
 * stay where the user has them. A batch is emptied and used again with all its memory.
 */
#include "diaspora/producer.h"
#include "diaspora/record.h"

#include <assert.h>
#include <stdlib.h>

#define RECORDS_FIRST ((size_t)64 << 10)
#define CHUNK_FIRST   ((size_t)64 << 10)
#define COPY_MAX      ((size_t)16 << 10) /* data of an event up to this size are copied */

static diaspora_topic *topic_of(const struct dsp_batch *batch)
{
    return batch->lane->producer->topic;
}

static void *driver_of(const struct dsp_batch *batch)
{
    return topic_of(batch)->driver->handle;
}

struct dsp_batch *dsp_batch_create(struct dsp_lane *lane, struct dango_error *err)
{
    struct dsp_batch *batch = calloc(1, sizeof *batch);
    if (!batch) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "producer: out of memory");
        return NULL;
    }
    batch->lane = lane;
    list_init(&batch->wire.link);
    list_init(&batch->order);
    return batch;
}

static void free_records(struct dsp_batch *batch)
{
    if (batch->wire.records.base)
        topic_of(batch)->ops->buffer_free(driver_of(batch), &batch->wire.records);
    batch->wire.records = (struct diaspora_buffer){0};
}

void dsp_batch_destroy(struct dsp_batch *batch)
{
    free_records(batch);
    while (batch->chunks) {
        struct dsp_chunk *chunk = batch->chunks;
        batch->chunks = chunk->next;
        free(chunk);
    }
    free(batch->segments);
    free(batch);
}

bool dsp_batch_has_room(const struct dsp_batch *batch, const struct dsp_push *push)
{
    const struct diaspora_batch *wire = &batch->wire;
    if (wire->count == 0)
        return true;
    return wire->count < DSP_BATCH_EVENTS_MAX &&
           wire->records_size + diaspora_record_bound(push->metadata_size) <= DSP_BATCH_RECORDS_MAX &&
           wire->data_size + push->data_size <= DSP_BATCH_DATA_MAX &&
           wire->data_segments + push->data_segments <= DSP_BATCH_SEGMENTS_MAX;
}

/* Makes room for `more` bytes of records. */
static int reserve_records(struct dsp_batch *batch, size_t more, struct dango_error *err)
{
    struct diaspora_buffer *records = &batch->wire.records;
    size_t needed = batch->wire.records_size + more;
    if (needed <= records->size)
        return 0;
    size_t size = records->size ? records->size : RECORDS_FIRST;
    while (size < needed && size < DSP_BATCH_RECORDS_MAX)
        size *= 2;
    struct diaspora_buffer larger = {0};
    /* A buffer that grew to the bound stays with its batch; one beyond it, for a single huge event, does not. */
    int status = topic_of(batch)->ops->buffer_allocate(driver_of(batch), size < needed ? needed : size, &larger, err);
    if (status != 0)
        return status;
    if (batch->wire.records_size > 0)
        memcpy(larger.base, records->base, batch->wire.records_size);
    free_records(batch);
    *records = larger;
    return 0;
}

static int reserve_segments(struct dsp_batch *batch, size_t more, struct dango_error *err)
{
    size_t needed = batch->wire.data_segments + more;
    if (needed <= batch->segment_capacity)
        return 0;
    size_t capacity = batch->segment_capacity ? batch->segment_capacity * 2 : 16;
    if (capacity < needed)
        capacity = needed;
    diaspora_segment *segments = realloc(batch->segments, capacity * sizeof *segments);
    if (!segments)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "push: out of memory for %zu data segments", capacity);
    batch->segments = segments;
    batch->segment_capacity = capacity;
    return 0;
}

/* A chunk at the head of the list with room for `size` bytes. */
static int reserve_copy(struct dsp_batch *batch, size_t size, struct dango_error *err)
{
    struct dsp_chunk *head = batch->chunks;
    if (head && head->size - head->used >= size)
        return 0;
    size_t chunk_size = head ? head->size * 2 : CHUNK_FIRST;
    struct dsp_chunk *chunk = malloc(sizeof *chunk + chunk_size);
    if (!chunk)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "push: out of memory for %zu bytes of data", chunk_size);
    *chunk = (struct dsp_chunk){.next = head, .size = chunk_size};
    batch->chunks = chunk;
    return 0;
}

static void add_segment(struct dsp_batch *batch, void *base, size_t size)
{
    size_t count = batch->wire.data_segments;
    diaspora_segment *last = count ? &batch->segments[count - 1] : NULL;
    if (last && (char *)last->base + last->size == (char *)base) {
        last->size += size;
        return;
    }
    assert(count < batch->segment_capacity);
    batch->segments[batch->wire.data_segments++] = (diaspora_segment){base, size};
}

static void add_data(struct dsp_batch *batch, const struct dsp_push *push)
{
    /* A copy costs less than another segment does in the transport, up to some kilobytes. */
    bool copies = push->data_size <= COPY_MAX;
    for (size_t i = 0; i < push->data_segments; i++) {
        diaspora_segment segment = push->data[i];
        if (segment.size == 0)
            continue;
        if (copies) {
            struct dsp_chunk *chunk = batch->chunks;
            assert(chunk && segment.size <= chunk->size - chunk->used);
            segment.base = memcpy(chunk->bytes + chunk->used, segment.base, segment.size);
            chunk->used += segment.size;
        }
        add_segment(batch, segment.base, segment.size);
    }
    batch->wire.data_size += push->data_size;
}

int dsp_batch_append(struct dsp_batch *batch, const struct dsp_push *push, struct dango_error *err)
{
    struct diaspora_batch *wire = &batch->wire;
    assert(dsp_batch_has_room(batch, push));
    /* Everything that can fail comes first: a batch never holds half an event. */
    int status = reserve_records(batch, diaspora_record_bound(push->metadata_size), err);
    if (status == 0 && push->data_size > 0)
        status = reserve_segments(batch, push->data_segments, err);
    if (status == 0 && push->data_size > 0 && push->data_size <= COPY_MAX)
        status = reserve_copy(batch, (size_t)push->data_size, err);
    if (status != 0)
        return status;
    wire->records_size += diaspora_record_put(wire->records.base + wire->records_size, push->metadata,
                                              push->metadata_size, push->data_size);
    if (push->data_size > 0)
        add_data(batch, push);
    wire->data = batch->segments;
    wire->count++;
    return 0;
}

bool dsp_batch_reset(struct dsp_batch *batch)
{
    assert(batch->wire.count > 0);
    /* The newest chunk is the largest: with that one alone, the next batch of this kind has one segment. */
    while (batch->chunks && batch->chunks->next) {
        struct dsp_chunk *older = batch->chunks->next;
        batch->chunks->next = older->next;
        free(older);
    }
    if (batch->chunks)
        batch->chunks->used = 0;
    batch->wire.records_size = 0;
    batch->wire.data = NULL;
    batch->wire.data_segments = 0;
    batch->wire.data_size = 0;
    batch->wire.count = 0;
    batch->completion = NULL;
    return batch->wire.records.size <= DSP_BATCH_RECORDS_MAX && batch->segment_capacity <= 2 * DSP_BATCH_SEGMENTS_MAX;
}
