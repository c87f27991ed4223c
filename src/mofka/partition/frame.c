/*
 * Making and checking frames; the format is described in frame.h.
 */
#include "mofka/partition/frame.h"

#include "util/crc32c.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define KNOWN_FLAGS (MOFKA_FRAME_DEAD | MOFKA_FRAME_CONTENT_CRC | MOFKA_FRAME_END_OF_STREAM | MOFKA_FRAME_PART)

static uint32_t header_crc(const struct mofka_frame *frame)
{
    return dango_crc32c(0, frame, offsetof(struct mofka_frame, header_crc));
}

void dango_mofka_frame_seal(struct mofka_frame *frame)
{
    assert(frame && mofka_frame_size(frame) > 0);
    frame->magic = MOFKA_FRAME_MAGIC;
    frame->version = MOFKA_FRAME_VERSION;
    frame->reserved = 0;
    frame->header_crc = header_crc(frame);
}

void dango_mofka_frame_sign_content(struct mofka_frame *frame, const void *content, uint64_t size)
{
    assert(size == frame->records_size + frame->data_size);
    frame->flags |= MOFKA_FRAME_CONTENT_CRC;
    frame->content_crc = dango_crc32c(0, content, (size_t)size);
}

/* Whether count, sizes and flags go together. */
static bool consistent(const struct mofka_frame *frame)
{
    if (mofka_frame_size(frame) == 0)
        return false;
    if (frame->flags & MOFKA_FRAME_DEAD)
        return frame->count == 0;
    if (frame->flags & MOFKA_FRAME_END_OF_STREAM)
        return frame->count == 0 && frame->records_size == 0 && frame->data_size == 0;
    /* A record has at least two sizes and a NUL; ids end below the number that means "no more events". */
    return frame->count > 0 && frame->records_size >= UINT64_C(3) * frame->count &&
           frame->first_id < UINT64_MAX - frame->count;
}

int dango_mofka_frame_check(const void *bytes, size_t available, const uint8_t partition[16], struct dango_error *err)
{
    struct mofka_frame frame;
    if (available < sizeof frame)
        return dango_error_set(err, DANGO_ERR_AGAIN, "%zu bytes are no frame header", available);
    memcpy(&frame, bytes, sizeof frame);
    if (frame.magic != MOFKA_FRAME_MAGIC)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "no frame here (magic number 0x%08" PRIx32 ")", frame.magic);
    /* The version first: what a newer one puts behind it is not ours to judge. */
    if (frame.version != MOFKA_FRAME_VERSION)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "frame of format version %u; this program reads version %u",
                               frame.version, MOFKA_FRAME_VERSION);
    if (frame.header_crc != header_crc(&frame))
        return dango_error_set(err, DANGO_ERR_CORRUPT, "damaged frame header (checksum does not match)");
    if (frame.flags & ~KNOWN_FLAGS)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED, "frame with unknown flags 0x%x", frame.flags & ~KNOWN_FLAGS);
    if (partition && memcmp(frame.partition, partition, sizeof frame.partition) != 0)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "frame of another partition");
    if (!consistent(&frame))
        return dango_error_set(err, DANGO_ERR_CORRUPT, "frame %" PRIu64 " contradicts itself", frame.first_id);
    return 0;
}

int dango_mofka_frame_check_content(const struct mofka_frame *frame, const void *content, struct dango_error *err)
{
    if (!(frame->flags & MOFKA_FRAME_CONTENT_CRC))
        return 0;
    size_t size = (size_t)(frame->records_size + frame->data_size);
    if (dango_crc32c(0, content, size) == frame->content_crc)
        return 0;
    return dango_error_set(err, DANGO_ERR_CORRUPT, "events %" PRIu64 " to %" PRIu64 " are damaged", frame->first_id,
                           frame->first_id + frame->count - 1);
}
