/*
 * Serialiser and decoders of the messages in wire.h.
 */
#include "mofka/wire/wire.h"

#include "mofka/partition/frame.h"

#include <assert.h>
#include <string.h>

/* ---- the one serialiser ---- */

static hg_return_t encode(hg_proc_t proc, const struct mofka_message *message)
{
    uint64_t total = 0;
    for (size_t i = 0; i < message->part_count; i++)
        total += message->parts[i].size;
    hg_return_t ret = hg_proc_uint64_t(proc, &total);
    if (ret != HG_SUCCESS)
        return ret;
    unsigned char *to = hg_proc_save_ptr(proc, total);
    if (!to)
        return total == 0 ? HG_SUCCESS : HG_MSGSIZE;
    unsigned char *end = to;
    for (size_t i = 0; i < message->part_count; i++) {
        if (message->parts[i].size == 0)
            continue;
        memcpy(end, message->parts[i].base, message->parts[i].size);
        end += message->parts[i].size;
    }
    return hg_proc_restore_ptr(proc, to, total);
}

static hg_return_t decode(hg_proc_t proc, struct mofka_message *message)
{
    uint64_t size;
    hg_return_t ret = hg_proc_uint64_t(proc, &size);
    if (ret != HG_SUCCESS)
        return ret;
    if (size > hg_proc_get_size_left(proc))
        return HG_OVERFLOW;
    *message = (struct mofka_message){.size = (size_t)size};
    if (size == 0)
        return HG_SUCCESS;
    void *from = hg_proc_save_ptr(proc, size);
    if (!from)
        return HG_OVERFLOW;
    message->bytes = from;
    return hg_proc_restore_ptr(proc, from, size);
}

hg_return_t hg_proc_mofka_message(hg_proc_t proc, void *data)
{
    switch (hg_proc_get_op(proc)) {
    case HG_ENCODE:
        return encode(proc, data);
    case HG_DECODE:
        return decode(proc, data);
    case HG_FREE:
        break;
    }
    return HG_SUCCESS;
}

/* ---- pieces ---- */

/* What is left of a message while it is taken apart from the front. */
struct rest {
    const unsigned char *bytes;
    size_t size;
};

static struct rest rest_behind(const struct mofka_message *message, size_t head_size)
{
    assert(message->size >= head_size);
    return (struct rest){message->bytes + head_size, message->size - head_size};
}

/* The next `size` bytes; NULL when there are not as many. */
static const unsigned char *take(struct rest *rest, uint64_t size)
{
    if (size > rest->size)
        return NULL;
    const unsigned char *bytes = rest->bytes;
    rest->bytes += size;
    rest->size -= (size_t)size;
    return bytes;
}

static int malformed(struct dango_error *err, const char *what)
{
    return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed message: %s", what);
}

int dango_mofka_decode_request(const struct mofka_message *message, void *request, size_t size, struct dango_error *err)
{
    assert(size >= sizeof(struct mofka_request_head));
    struct mofka_request_head head;
    if (message->size < sizeof head)
        return malformed(err, "too short");
    memcpy(&head, message->bytes, sizeof head);
    if (head.version != MOFKA_WIRE_VERSION)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                               "the client speaks version %u of the protocol, this server version %u", head.version,
                               MOFKA_WIRE_VERSION);
    if (message->size < size)
        return malformed(err, "too short");
    memcpy(request, message->bytes, size);
    return 0;
}

int dango_mofka_decode_answer(const struct mofka_message *message, void *answer, size_t size, struct dango_error *err)
{
    assert(size >= sizeof(struct mofka_answer));
    struct mofka_answer head;
    if (message->size < sizeof head)
        return malformed(err, "answer is too short");
    memcpy(&head, message->bytes, sizeof head);
    if (head.code > 0)
        return malformed(err, "unknown code in an answer");
    if (head.code < 0) {
        struct rest rest = rest_behind(message, sizeof head);
        const char *text = (const char *)take(&rest, head.text_size);
        if (!text || head.text_size > DANGO_ERROR_TEXT_MAX)
            return malformed(err, "error text of an answer");
        return dango_error_set(err, head.code, "%.*s", (int)head.text_size, text);
    }
    if (message->size < size)
        return malformed(err, "answer is too short");
    memcpy(answer, message->bytes, size);
    return 0;
}

int dango_mofka_decode_name(const struct mofka_message *message, size_t head_size, char name[MOFKA_NAME_MAX + 1],
                            struct dango_error *err)
{
    struct mofka_request_head head;
    memcpy(&head, message->bytes, sizeof head);
    struct rest rest = rest_behind(message, head_size);
    const unsigned char *bytes = take(&rest, head.extra);
    if (!bytes || head.extra > MOFKA_NAME_MAX || memchr(bytes, '\0', head.extra))
        return malformed(err, "name");
    memcpy(name, bytes, head.extra);
    name[head.extra] = '\0';
    return 0;
}

int dango_mofka_decode_produce(const struct mofka_message *message, struct mofka_produce *produce,
                               struct dango_error *err)
{
    *produce = (struct mofka_produce){0};
    struct mofka_produce_request *request = &produce->request;
    int code = dango_mofka_decode_request(message, request, sizeof *request, err);
    if (code != 0)
        return code;
    produce->count = request->head.extra;
    if (produce->count == 0 || request->attempt == 0)
        return malformed(err, "batch without events");
    if (mofka_frame_extent(request->records_size, request->data_size) == 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "batch of more than %llu bytes",
                               (unsigned long long)MOFKA_CONTENT_MAX);
    struct rest rest = rest_behind(message, sizeof *request);
    bool inside = request->head.flags & MOFKA_RECORDS_INSIDE;
    const unsigned char *records = take(&rest, inside ? request->records_size : request->records_flat);
    bool data_inside = request->head.flags & MOFKA_DATA_INSIDE;
    const unsigned char *data = take(&rest, data_inside ? request->data_size : request->data_flat);
    if (!records || !data || rest.size != 0)
        return malformed(err, "sizes of a batch");
    *(inside ? &produce->records : &produce->records_flat) = records;
    *(data_inside ? &produce->data : &produce->data_flat) = data;
    return 0;
}

int dango_mofka_decode_fetch(const struct mofka_message *message, struct mofka_fetch_request *fetch,
                             const unsigned char **flat, struct dango_error *err)
{
    int code = dango_mofka_decode_request(message, fetch, sizeof *fetch, err);
    if (code != 0)
        return code;
    struct rest rest = rest_behind(message, sizeof *fetch);
    *flat = take(&rest, fetch->flat);
    if (!*flat || fetch->flat > MOFKA_BULK_SIZE_MAX || rest.size != 0)
        return malformed(err, "room of a fetch");
    if (fetch->head.extra == 0 || fetch->frames_max == 0)
        return malformed(err, "fetch of nothing");
    return 0;
}

/* ---- read ---- */

/* Whether the items use all ranges and no more, and what they ask for in sum. */
static int check_ranges(struct mofka_read *read, struct dango_error *err)
{
    uint64_t ranges = 0;
    for (uint32_t i = 0; i < read->item_count; i++) {
        uint64_t count = mofka_read_item(read, i).range_count;
        if (count > MOFKA_READ_RANGES)
            return malformed(err, "ranges of a read");
        ranges += count;
    }
    if (ranges != read->request.range_count)
        return malformed(err, "ranges of a read");
    for (uint32_t i = 0; i < read->request.range_count; i++) {
        diaspora_range range = mofka_read_range(read, i);
        if (range.size > MOFKA_CONTENT_MAX || range.offset > MOFKA_CONTENT_MAX ||
            read->size > UINT64_MAX / 2 - range.size)
            return malformed(err, "range of a read");
        read->size += range.size;
    }
    return 0;
}

int dango_mofka_decode_read(const struct mofka_message *message, struct mofka_read *read, struct dango_error *err)
{
    *read = (struct mofka_read){0};
    struct mofka_read_request *request = &read->request;
    int code = dango_mofka_decode_request(message, request, sizeof *request, err);
    if (code != 0)
        return code;
    if (request->head.extra == 0 || request->head.extra > MOFKA_READ_ITEMS_MAX ||
        request->range_count > MOFKA_READ_RANGES || request->flat > MOFKA_BULK_SIZE_MAX)
        return malformed(err, "read of too much or nothing");
    read->item_count = request->head.extra;
    struct rest rest = rest_behind(message, sizeof *request);
    read->items = take(&rest, sizeof(struct mofka_read_item) * (uint64_t)read->item_count);
    read->ranges = take(&rest, sizeof(diaspora_range) * (uint64_t)request->range_count);
    read->flat = take(&rest, request->flat);
    if (!read->items || !read->ranges || !read->flat || rest.size != 0)
        return malformed(err, "sizes of a read");
    return check_ranges(read, err);
}

int dango_mofka_decode_read_answer(const struct mofka_message *message, uint32_t item_count, uint64_t size,
                                   struct mofka_read_answer *answer, const unsigned char **statuses,
                                   const unsigned char **bytes, struct dango_error *err)
{
    int code = dango_mofka_decode_answer(message, answer, sizeof *answer, err);
    if (code != 0)
        return code;
    struct rest rest = rest_behind(message, sizeof *answer);
    *statuses = take(&rest, mofka_frame_align(sizeof(int32_t) * (uint64_t)item_count));
    *bytes = answer->flags & MOFKA_BYTES_INSIDE ? take(&rest, size) : NULL;
    if (answer->item_count != item_count || !*statuses || answer->size != size ||
        (answer->flags & MOFKA_BYTES_INSIDE && !*bytes) || rest.size != 0)
        return malformed(err, "answer to a read");
    return 0;
}

int dango_mofka_decode_inspect_item(const struct mofka_message *message, size_t *offset,
                                    struct mofka_inspect_item *item, char name[MOFKA_NAME_MAX + 1],
                                    struct dango_error *err)
{
    struct rest rest = rest_behind(message, *offset);
    const unsigned char *head = take(&rest, sizeof *item);
    if (!head)
        return malformed(err, "too few positions");
    memcpy(item, head, sizeof *item);
    const unsigned char *bytes = take(&rest, item->name_size);
    if (!bytes || item->name_size > MOFKA_NAME_MAX || memchr(bytes, '\0', item->name_size))
        return malformed(err, "name");
    memcpy(name, bytes, item->name_size);
    name[item->name_size] = '\0';
    *offset = message->size - rest.size;
    return 0;
}
