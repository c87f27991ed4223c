/*
 * Walking the frames of an answer; see frames.h.
 */
#include "mofka/client/frames.h"

#include "diaspora/record.h"
#include "mofka/partition/frame.h"

#include <inttypes.h>
#include <string.h>

static int bad(struct dango_error *err, const char *what)
{
    return dango_error_set(err, DANGO_ERR_PROTOCOL, "the server sent %s", what);
}

/* The frame at `offset`, and the bytes that it takes. */
static int take_frame(const struct diaspora_fetch *fetch, size_t offset, size_t size, bool with_data,
                      const uint8_t uuid[16], struct mofka_frame *frame, uint64_t *extent, struct dango_error *err)
{
    const unsigned char *bytes = fetch->buffer.base + offset;
    int code = dango_mofka_frame_check(bytes, size - offset, uuid, err);
    if (code != 0)
        return dango_error_prefix(err, "answer of the server");
    memcpy(frame, bytes, sizeof *frame);
    if (frame->count == 0)
        return bad(err, "a frame without events");
    uint64_t content = frame->records_size + (with_data ? frame->data_size : 0);
    *extent = sizeof *frame + (frame->flags & MOFKA_FRAME_PART ? content : mofka_frame_align(content));
    if (*extent > size - offset)
        return bad(err, "a frame that is cut off");
    return 0;
}

/* Whether the content came whole and is not what was stored: the server leaves it to us to find out. */
static bool is_damaged(const struct mofka_frame *frame, const unsigned char *content, bool with_data)
{
    bool whole = !(frame->flags & MOFKA_FRAME_PART) && (with_data || frame->data_size == 0);
    return whole && dango_mofka_frame_check_content(frame, content, NULL) < 0;
}

/* Whether the frame at `id` is to be fetched again, since it has come damaged; it will not be a second time. */
static bool is_doubtful(struct mofka_doubt *doubt, uint64_t id)
{
    bool known = doubt->is_set && doubt->id == id;
    *doubt = (struct mofka_doubt){true, id};
    return !known;
}

int dango_mofka_frames_to_runs(struct diaspora_fetch *fetch, size_t size, bool with_data, const uint8_t uuid[16],
                               uint64_t *next_id, struct mofka_doubt *doubt, struct dango_error *err)
{
    uint64_t events = 0, extent = 0, id = *next_id;
    fetch->run_count = 0;
    for (size_t offset = 0; offset < size; offset += (size_t)extent, *next_id = id) {
        struct mofka_frame frame;
        int code = take_frame(fetch, offset, size, with_data, uuid, &frame, &extent, err);
        if ((code == DANGO_ERR_CORRUPT || code == DANGO_ERR_UNSUPPORTED) && is_doubtful(doubt, id))
            return 1;
        if (code != 0)
            return code;
        if (frame.first_id != id)
            return dango_error_set(err, DANGO_ERR_PROTOCOL, "the server sent event %" PRIu64 " instead of %" PRIu64,
                                   frame.first_id, id);
        events += frame.count;
        if (fetch->run_count == fetch->runs_capacity || events > fetch->max_events)
            return bad(err, "more events than were asked for");
        size_t records = offset + sizeof frame;
        id += frame.count;
        if (is_damaged(&frame, fetch->buffer.base + records, with_data)) {
            if (is_doubtful(doubt, frame.first_id)) {
                dango_error_set(err, DANGO_ERR_CORRUPT, "events %" PRIu64 " to %" PRIu64 " came damaged",
                                frame.first_id, frame.first_id + frame.count - 1);
                return 1;
            }
            fetch->runs[fetch->run_count++] =
                (struct diaspora_run){.first_id = frame.first_id, .count = frame.count, .damaged = true};
            continue;
        }
        code = dango_diaspora_records_check(fetch->buffer.base + records, (size_t)frame.records_size, frame.count,
                                            frame.data_size, err);
        if (code != 0)
            return code;
        fetch->runs[fetch->run_count++] = (struct diaspora_run){
            .first_id = frame.first_id,
            .count = frame.count,
            .records_offset = records,
            .records_size = (size_t)frame.records_size,
            .data_offset = records + (size_t)frame.records_size,
            .data_size = frame.data_size,
            .with_data = with_data,
        };
    }
    return 0;
}
