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
    struct mofka_call call;
    struct diaspora_read *read;
    struct mofka_memory memory;    /* registration of the destination */
    struct mofka_read_item *items; /* of the request */
    diaspora_range *ranges;
    uint32_t range_count;
    uint64_t size;
};

static void reading_free(struct reading *reading)
{
    mofka_memory_release(&reading->memory);
    mofka_call_fini(&reading->call);
    free(reading->items);
    free(reading->ranges);
    free(reading);
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

static int accept_read(struct reading *reading, struct dango_error *err)
{
    struct diaspora_read *read = reading->read;
    struct mofka_read_answer answer;
    const unsigned char *statuses, *bytes;
    int code = dango_mofka_decode_read_answer(&reading->call.message, (uint32_t)read->item_count, reading->size,
                                              &answer, &statuses, &bytes, err);
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

static void complete_read(struct mofka_call *call)
{
    struct reading *reading = container_of(call, struct reading, call);
    struct diaspora_read *read = reading->read;
    struct dango_error err = call->err;
    if (err.code == 0)
        accept_read(reading, &err);
    mofka_call_drop_message(call);
    reading_free(reading);
    read->done(read, err.code != 0 ? &err : NULL);
}

/* Items and ranges as they go into the message. */
static int describe_read(struct reading *reading, struct dango_error *err)
{
    const struct diaspora_read *read = reading->read;
    size_t ranges = 0;
    for (size_t i = 0; i < read->item_count; i++)
        ranges += read->items[i].range_count;
    if (read->item_count > MOFKA_READ_ITEMS_MAX || ranges > MOFKA_READ_RANGES)
        return dango_error_set(err, DANGO_ERR_INVALID, "selections of more than %u events or %u ranges",
                               MOFKA_READ_ITEMS_MAX, MOFKA_READ_RANGES);
    reading->items = malloc(read->item_count * sizeof *reading->items);
    reading->ranges = malloc((ranges + 1) * sizeof *reading->ranges);
    if (!reading->items || !reading->ranges)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
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

/* What is sent is described once, however often it is sent. */
static int prepare(struct reading *reading, struct dango_error *err)
{
    const struct diaspora_read *read = reading->read;
    if (reading->items)
        return 0;
    int code = describe_read(reading, err);
    if (code == 0 && reading->size > 0)
        code = mofka_memory_register(reading->call.link->driver->engine, read->destination, read->destination_segments,
                                     HG_BULK_WRITE_ONLY, &reading->memory, err);
    return code;
}

static int send_read(struct mofka_call *call, struct dango_error *err)
{
    struct reading *reading = container_of(call, struct reading, call);
    size_t items = reading->read->item_count;
    int code = prepare(reading, err);
    if (code != 0)
        return code;
    struct mofka_read_request request = {
        .range_count = reading->range_count,
        .flat = (uint32_t)reading->memory.flat_size,
    };
    mofka_request_head_init(&request.head, call->link->token);
    request.head.extra = (uint32_t)items;
    diaspora_segment parts[] = {
        {&request, sizeof request},
        {reading->items, items * sizeof *reading->items},
        {reading->ranges, reading->range_count * sizeof *reading->ranges},
        {reading->memory.flat, reading->memory.flat_size},
    };
    return mofka_link_start(call, parts, 4, MOFKA_CALL_MS, err);
}

static const struct mofka_call_ops read_ops = {
    .rpc = MOFKA_RPC_READ,
    .send = send_read,
    .complete = complete_read,
};

void mofka_source_read(void *arg, struct diaspora_read *read)
{
    struct mofka_source *source = arg;
    struct reading *reading = calloc(1, sizeof *reading);
    assert(read->item_count > 0 && reading);
    reading->read = read;
    mofka_call_init(&reading->call, &source->link, &read_ops);
    pthread_mutex_lock(&source->link.lock);
    mofka_link_submit(&source->link, &reading->call);
    pthread_mutex_unlock(&source->link.lock);
}
