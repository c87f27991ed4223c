/*
 * Walking through a chunk: see scan.h.
 */
#include "mofka/log/scan.h"

#include <assert.h>
#include <string.h>

/* A frame at `offset` that is whole as far as the scan looks; NULL if there is none. */
static const struct mofka_frame *frame_at(const struct mofka_scan *scan, size_t offset, bool contents)
{
    size_t available = scan->size - offset;
    const struct mofka_frame *frame = (const struct mofka_frame *)(scan->base + offset);
    if (dango_mofka_frame_check(frame, available, scan->partition, NULL) < 0)
        return NULL;
    if (mofka_frame_size(frame) > available || frame->first_id < scan->next_id)
        return NULL;
    if (contents && dango_mofka_frame_check_content(frame, frame + 1, NULL) < 0)
        return NULL;
    return frame;
}

/* The first whole frame behind `offset`, or the end. */
static size_t resume(const struct mofka_scan *scan, size_t offset)
{
    while (offset < scan->size && !frame_at(scan, offset, true))
        offset += MOFKA_FRAME_ALIGN;
    return offset < scan->size ? offset : scan->size;
}

static enum mofka_scan_kind take_frame(struct mofka_scan *scan, const struct mofka_frame *frame,
                                       struct mofka_scan_item *item)
{
    *item = (struct mofka_scan_item){
        .offset = scan->offset, .size = (size_t)mofka_frame_size(frame), .frame = frame, .first_id = frame->first_id};
    scan->offset += item->size;
    if (frame->count > 0)
        scan->next_id = frame->first_id + frame->count;
    return MOFKA_SCAN_FRAME;
}

/* Whether everything from where the walk is to the end is zero: space that was reserved and not used. */
static bool is_unused(const struct mofka_scan *scan)
{
    const unsigned char *rest = scan->base + scan->offset;
    return rest[0] == 0 && memcmp(rest, rest + 1, scan->size - scan->offset - 1) == 0;
}

enum mofka_scan_kind dango_mofka_scan_next(struct mofka_scan *scan, struct mofka_scan_item *item)
{
    assert(scan && scan->offset % MOFKA_FRAME_ALIGN == 0);
    *item = (struct mofka_scan_item){.offset = scan->offset, .first_id = scan->next_id};
    if (scan->offset >= scan->size)
        return MOFKA_SCAN_END;
    const struct mofka_frame *frame = frame_at(scan, scan->offset, scan->contents);
    /* Ids without a gap: a larger one than expected means that whole frames are missing before this one. */
    if (frame && (frame->first_id == scan->next_id || frame->count == 0))
        return take_frame(scan, frame, item);
    if (!frame && is_unused(scan))
        return MOFKA_SCAN_END;
    size_t next = frame ? scan->offset : resume(scan, scan->offset + MOFKA_FRAME_ALIGN);
    item->size = next - scan->offset;
    scan->offset = next;
    if (next == scan->size)
        return MOFKA_SCAN_TORN;
    frame = (const struct mofka_frame *)(scan->base + next);
    item->lost = frame->first_id - scan->next_id;
    scan->next_id = frame->first_id;
    return MOFKA_SCAN_DAMAGED;
}
