/*
 * Reading of selections: one request for all events of a batch, answered inside the message when it is little, else
 * written by the server into the memory where the user wants it. Events that cannot be read have a status of their own.
 *
 * Each read allocates what it needs: it is one per batch. It has a deadline, like every call.
 */
#include "mofka/client/source.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One read of selections on its way. */
struct reading {
    struct mofka_source *source;
    struct diaspora_read *read;
    hg_handle_t handle;
    struct mofka_memory memory;    /* registration of the destination */
    struct mofka_read_item *items; /* of the request */
    diaspora_range *ranges;
    uint32_t range_count;
    uint64_t size;
    struct dango_error err;
};

static void reading_free(struct reading *reading)
{
    mofka_memory_release(&reading->memory);
    if (reading->handle)
        margo_destroy(reading->handle);
    free(reading->items);
    free(reading->ranges);
    free(reading);
}

static void finish_reading(struct reading *reading)
{
    struct mofka_source *source = reading->source;
    struct diaspora_read *read = reading->read;
    struct dango_error err = reading->err;
    reading_free(reading);
    read->done(read, err.code != 0 ? &err : NULL);
    mofka_source_drop(source, 1);
}

static void finish_reading_in_thread(void *arg)
{
    finish_reading(arg);
}

/* Copies the bytes of an answer to the destination, skipping those of events that could not be read. */
static void scatter(const struct diaspora_read *read, const unsigned char *bytes)
{
    size_t segment = 0, used = 0;
    for (size_t i = 0; i < read->item_count; i++) {
        uint64_t left = 0;
        for (size_t range = 0; range < read->items[i].range_count; range++)
            left += read->items[i].ranges[range].size;
        while (left > 0) {
            const diaspora_segment *to = &read->destination[segment];
            size_t piece = to->size - used < left ? to->size - used : (size_t)left;
            if (read->items[i].status == 0 && piece > 0)
                memcpy((unsigned char *)to->base + used, bytes, piece);
            bytes += piece;
            used += piece;
            left -= piece;
            if (used == to->size) {
                segment++;
                used = 0;
            }
        }
    }
}

static int accept_read(struct reading *reading, const struct mofka_message *message)
{
    struct diaspora_read *read = reading->read;
    struct mofka_read_answer answer;
    const unsigned char *statuses, *bytes;
    int code = dango_mofka_decode_read_answer(message, (uint32_t)read->item_count, reading->size, &answer, &statuses,
                                              &bytes, &reading->err);
    if (code != 0)
        return code;
    for (size_t i = 0; i < read->item_count; i++) {
        int32_t status;
        memcpy(&status, statuses + i * sizeof status, sizeof status);
        read->items[i].status = status > 0 ? DANGO_ERR_PROTOCOL : status;
    }
    if (bytes)
        scatter(read, bytes);
    return 0;
}

static void read_answered(void *arg, hg_return_t ret)
{
    struct reading *reading = arg;
    struct mofka_message message;
    if (ret == HG_SUCCESS)
        ret = margo_get_output(reading->handle, &message);
    if (ret == HG_SUCCESS) {
        accept_read(reading, &message);
        margo_free_output(reading->handle, &message);
    } else {
        mofka_call_error(&reading->source->partition->target, ret, &reading->err);
    }
    finish_reading(reading);
}

/* Items and ranges as they go into the message. */
static int describe_read(struct reading *reading)
{
    const struct diaspora_read *read = reading->read;
    size_t ranges = 0;
    for (size_t i = 0; i < read->item_count; i++)
        ranges += read->items[i].range_count;
    if (read->item_count > MOFKA_READ_ITEMS_MAX || ranges > MOFKA_READ_RANGES)
        return dango_error_set(&reading->err, DANGO_ERR_INVALID, "selections of more than %u events or %u ranges",
                               MOFKA_READ_ITEMS_MAX, MOFKA_READ_RANGES);
    reading->items = malloc(read->item_count * sizeof *reading->items);
    reading->ranges = malloc((ranges + 1) * sizeof *reading->ranges);
    if (!reading->items || !reading->ranges)
        return dango_error_set(&reading->err, DANGO_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < read->item_count; i++) {
        const struct diaspora_read_item *item = &read->items[i];
        reading->items[i] = (struct mofka_read_item){item->event_id, item->range_count};
        for (size_t range = 0; range < item->range_count; range++) {
            reading->ranges[reading->range_count++] = item->ranges[range];
            reading->size += item->ranges[range].size;
        }
    }
    return 0;
}

static int start_read(struct reading *reading)
{
    struct mofka_source *source = reading->source;
    const struct diaspora_read *read = reading->read;
    struct dango_error *err = &reading->err;
    int code = describe_read(reading);
    if (code == 0 && reading->size > 0)
        code = mofka_memory_register(source->driver->engine, read->destination, read->destination_segments,
                                     HG_BULK_WRITE_ONLY, &reading->memory, err);
    if (code == 0)
        code = mofka_handle_create(&source->partition->target, MOFKA_RPC_READ, &reading->handle, err);
    if (code != 0)
        return code;
    struct mofka_read_request request = {
        .range_count = reading->range_count,
        .flat = (uint32_t)reading->memory.flat_size,
    };
    mofka_request_head_init(&request.head, source->token);
    request.head.extra = (uint32_t)read->item_count;
    diaspora_segment parts[] = {
        {&request, sizeof request},
        {reading->items, read->item_count * sizeof *reading->items},
        {reading->ranges, reading->range_count * sizeof *reading->ranges},
        {reading->memory.flat, reading->memory.flat_size},
    };
    return mofka_call_start(&source->partition->target, reading->handle, parts, 4, MOFKA_CALL_MS, read_answered,
                            reading, err);
}

void mofka_source_read(void *arg, struct diaspora_read *read)
{
    struct mofka_source *source = arg;
    struct reading *reading = calloc(1, sizeof *reading);
    assert(read->item_count > 0 && reading);
    reading->source = source;
    reading->read = read;
    atomic_fetch_add(&source->references, 1);
    if (start_read(reading) != 0)
        mofka_engine_defer(source->driver->engine, finish_reading_in_thread, reading);
}
