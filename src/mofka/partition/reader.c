/*
 * The reading half of a partition: finding events, cutting stored frames into what a consumer may get.
 *
 * Readers walk from frame to frame of their storage. A frame that is taken whole is never looked into; its records are
 * walked only where a limit or a start lies inside.
 *
 * The header of a frame is checked when the reader comes to it. The content is compared with its checksum before anything
 * in it is looked at or delivered, unless whoever gets it does that: a frame that travels whole is compared once, at its
 * destination, where damage on the way is found as well; here it is only made sure that it can be read.
 */
#include "mofka/partition/internal.h"

#include "diaspora/record.h"

#include <assert.h>
#include <inttypes.h>

/* How many frames a reader walks before it asks the index. */
#define WALK_MAX 2

int mofka_reader_gap(const struct mofka_reader *reader, struct dango_error *err)
{
    assert(reader->lost > 0);
    return dango_error_set(err, reader->removed ? DANGO_ERR_NOT_FOUND : DANGO_ERR_CORRUPT,
                           "events %" PRIu64 " to %" PRIu64 " are %s", reader->next_id,
                           reader->next_id + reader->lost - 1, reader->removed ? "no longer kept" : "damaged");
}

/* The frame that the reader stands in or before: 1; 0 at the end; negative: damage is in front. */
static int current_frame(struct mofka_reader *reader, const struct mofka_frame **frame, struct dango_error *err)
{
    if (reader->lost > 0)
        return mofka_reader_gap(reader, err);
    if (reader->waits && reader->partition->ops->load) {
        int code = reader->partition->ops->load(reader, err);
        if (code != 0)
            return code;
    }
    return reader->partition->ops->frame(reader, frame, err);
}

/* The same before its content is looked at, or (without `compare`) delivered. */
static int checked_frame(struct mofka_reader *reader, const struct mofka_frame **frame, bool compare,
                         struct dango_error *err)
{
    const struct mofka_storage_ops *ops = reader->partition->ops;
    int found = current_frame(reader, frame, err);
    return found > 0 && ops->check ? ops->check(reader, frame, compare, err) : found;
}

static void next_frame(struct mofka_reader *reader, const struct mofka_frame *frame)
{
    reader->next_id = frame->first_id + frame->count;
    reader->partition->ops->step(reader, frame);
    reader->record = 0;
    reader->records_done = 0;
    reader->data_done = 0;
}

void dango_mofka_reader_fini(struct mofka_reader *reader)
{
    if (reader->partition && reader->partition->ops->fini)
        reader->partition->ops->fini(reader);
    *reader = (struct mofka_reader){0};
}

uint64_t dango_mofka_reader_skip(struct mofka_reader *reader)
{
    uint64_t lost = reader->lost;
    reader->next_id += lost;
    reader->lost = 0;
    reader->removed = false;
    return lost;
}

/* Reads the record in front of the reader without stepping over it: its bytes, or 0 when it is damaged. */
static size_t peek_record(const struct mofka_reader *reader, const struct mofka_frame *frame,
                          struct diaspora_record *record)
{
    const unsigned char *records = (const unsigned char *)(frame + 1);
    return diaspora_record_get(records + reader->records_done, (size_t)frame->records_size - reader->records_done,
                               record);
}

static int damaged(const struct mofka_reader *reader, struct dango_error *err)
{
    return dango_error_set(err, DANGO_ERR_CORRUPT, "event %" PRIu64 " is damaged", reader->next_id);
}

/* Steps over records of the current frame until `id` is next. */
static int skip_records(struct mofka_reader *reader, const struct mofka_frame *frame, uint64_t id,
                        struct dango_error *err)
{
    assert(id >= reader->next_id && id < frame->first_id + frame->count);
    while (reader->next_id < id) {
        struct diaspora_record record;
        size_t size = peek_record(reader, frame, &record);
        if (size == 0)
            return damaged(reader, err);
        reader->next_id++;
        reader->record++;
        reader->records_done += size;
        reader->data_done += record.data_size;
    }
    return 0;
}

/* What lies in front of the reader is damaged, and `id` is behind it or in it: moves there. Whether it is in it. */
static bool walk_damage(struct mofka_reader *reader, uint64_t id)
{
    bool inside = id - reader->next_id < reader->lost;
    uint64_t step = inside ? id - reader->next_id : reader->lost;
    reader->next_id += step;
    reader->lost -= step;
    return inside;
}

/* Walks at most `frames` frames forward. 1: the reader stands in the frame with `id`, or in damage or at the end with it;
 * 0: not yet; negative: the storage cannot be read. */
static int walk(struct mofka_reader *reader, uint64_t id, size_t frames, struct dango_error *err)
{
    for (size_t i = 0; i < frames; i++) {
        const struct mofka_frame *frame;
        int found = current_frame(reader, &frame, err);
        if (found == 0)
            return reader->next_id == id;
        if (found < 0 && reader->lost == 0)
            return found;
        if (found < 0) {
            if (walk_damage(reader, id))
                return 1;
            continue;
        }
        if (id - frame->first_id < frame->count)
            return 1;
        next_frame(reader, frame);
    }
    return 0;
}

/* Moves a reader that stands in a frame, or in damage, or at the end, with `id` to that event. */
static int move_inside(struct mofka_reader *reader, uint64_t id, struct dango_error *err)
{
    const struct mofka_frame *frame;
    if (reader->next_id == id)
        return 0;
    if (checked_frame(reader, &frame, true, NULL) > 0)
        return skip_records(reader, frame, id, err);
    return reader->lost > 0 && walk_damage(reader, id) ? 0 : damaged(reader, err);
}

/* Moves a reader that was set up before to `id`. */
static int move(struct mofka_reader *reader, uint64_t id, struct dango_error *err)
{
    uint64_t end = dango_mofka_partition_next_id(reader->partition);
    if (id > end)
        return dango_error_set(err, DANGO_ERR_RANGE, "there is no event %" PRIu64 " (the next one is %" PRIu64 ")", id,
                               end);
    int found = id < reader->next_id ? 0 : walk(reader, id, WALK_MAX, err);
    if (found == 0) {
        found = reader->partition->ops->seek(reader, id, err);
        if (found == 0)
            found = walk(reader, id, SIZE_MAX, err);
        if (found == 0)
            return dango_error_set(err, DANGO_ERR_CORRUPT, "event %" PRIu64 " is not where it should be", id);
    }
    return found < 0 ? found : move_inside(reader, id, err);
}

int dango_mofka_reader_seek(struct mofka_reader *reader, struct mofka_partition *partition, uint64_t id,
                            struct dango_error *err)
{
    *reader = (struct mofka_reader){.partition = partition, .next_id = UINT64_MAX};
    int code = move(reader, id, err);
    if (code != 0)
        dango_mofka_reader_fini(reader);
    return code;
}

int dango_mofka_reader_locate(struct mofka_reader *reader, uint64_t id, struct mofka_place *place,
                              struct dango_error *err)
{
    if (id >= dango_mofka_partition_next_id(reader->partition))
        return dango_error_set(err, DANGO_ERR_RANGE, "there is no event %" PRIu64, id);
    int code = move(reader, id, err);
    if (code != 0)
        return code;
    const struct mofka_frame *frame;
    struct diaspora_record record;
    code = checked_frame(reader, &frame, true, err);
    if (code <= 0)
        return code < 0 ? code : damaged(reader, err);
    if (peek_record(reader, frame, &record) == 0 || record.data_size > frame->data_size - reader->data_done)
        return damaged(reader, err);
    place->region = reader->region;
    place->data_offset = reader->offset + sizeof *frame + (size_t)(frame->records_size + reader->data_done);
    place->data_size = record.data_size;
    return 0;
}

/* ---- slices ---- */

static uint64_t slice_extent(const struct mofka_slice *slice)
{
    return mofka_frame_extent(slice->records_size, slice->with_data ? slice->data_size : 0);
}

/* Whether the reader stands at the beginning of the frame, and all of it is within the limits. */
static bool fits_whole(const struct mofka_reader *reader, const struct mofka_frame *frame,
                       const struct mofka_limits *limits)
{
    uint64_t size = mofka_frame_extent(frame->records_size, limits->with_data ? frame->data_size : 0);
    return reader->record == 0 && frame->count <= limits->events && size <= limits->size;
}

/* Whether the frame is not to be cut, and would have to be. */
static bool is_to_wait(const struct mofka_reader *reader, const struct mofka_frame *frame,
                       const struct mofka_limits *limits)
{
    return reader->record == 0 && mofka_frame_size(frame) <= limits->uncut && !fits_whole(reader, frame, limits);
}

/* Whether the receiver gets all that the checksum covers, and compares it. */
static bool is_left_to_receiver(const struct mofka_reader *reader, const struct mofka_frame *frame,
                                const struct mofka_limits *limits)
{
    return limits->unchecked && (limits->with_data || frame->data_size == 0) && fits_whole(reader, frame, limits);
}

/* All that is left of the frame. */
static void take_rest(struct mofka_reader *reader, const struct mofka_frame *frame, struct mofka_slice *slice)
{
    slice->count = frame->count - reader->record;
    slice->records_size = (size_t)frame->records_size - reader->records_done;
    slice->data_size = frame->data_size - reader->data_done;
    slice->size = slice_extent(slice);
}

/* As many records as the limits allow, at least 0; steps over them. *needed: the size that would have been one more. */
static int take_records(struct mofka_reader *reader, const struct mofka_frame *frame, const struct mofka_limits *limits,
                        struct mofka_slice *slice, uint64_t *needed, struct dango_error *err)
{
    slice->count = 0;
    slice->records_size = 0;
    slice->data_size = 0;
    while (slice->count < limits->events && reader->record < frame->count) {
        struct diaspora_record record;
        size_t size = peek_record(reader, frame, &record);
        if (size == 0)
            return damaged(reader, err);
        struct mofka_slice more = *slice;
        more.count++;
        more.records_size += size;
        more.data_size += record.data_size;
        more.size = slice_extent(&more);
        if (more.size > limits->size) {
            *needed = more.size;
            break;
        }
        *slice = more;
        reader->next_id++;
        reader->record++;
        reader->records_done += size;
        reader->data_done += record.data_size;
    }
    return 0;
}

int dango_mofka_reader_next(struct mofka_reader *reader, const struct mofka_limits *limits, struct mofka_slice *slice,
                            uint64_t *needed, struct dango_error *err)
{
    assert(limits->events > 0);
    *needed = 0;
    const struct mofka_frame *frame;
    int code = current_frame(reader, &frame, err);
    if (code <= 0)
        return code;
    if (is_to_wait(reader, frame, limits))
        return 0;
    code = checked_frame(reader, &frame, !is_left_to_receiver(reader, frame, limits), err);
    if (code <= 0)
        return code;
    *slice = (struct mofka_slice){
        .region = reader->region,
        .frame = frame,
        .first_id = reader->next_id,
        .with_data = limits->with_data,
        .records_offset = reader->offset + sizeof *frame + reader->records_done,
        .data_offset = reader->offset + sizeof *frame + (size_t)(frame->records_size + reader->data_done),
    };
    take_rest(reader, frame, slice);
    if (slice->count <= limits->events && slice->size <= limits->size) {
        next_frame(reader, frame);
        return 1;
    }
    code = take_records(reader, frame, limits, slice, needed, err);
    if (code != 0)
        return code;
    if (slice->count == 0)
        return 0;
    *needed = 0;
    if (reader->record == frame->count)
        next_frame(reader, frame);
    return 1;
}

void dango_mofka_slice_header(const struct mofka_slice *slice, struct mofka_frame *header)
{
    *header = *slice->frame;
    if (slice->count == header->count)
        return;
    header->flags = (uint16_t)((header->flags & ~MOFKA_FRAME_CONTENT_CRC) | MOFKA_FRAME_PART);
    header->content_crc = 0;
    header->first_id = slice->first_id;
    header->count = slice->count;
    header->records_size = slice->records_size;
    header->data_size = slice->data_size;
    dango_mofka_frame_seal(header);
}
