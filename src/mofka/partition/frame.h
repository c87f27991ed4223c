/*
 * A frame: one batch as it stands in a partition, in the answer to a fetch, and in the files of a log.
 *
 *     header     struct mofka_frame, 96 bytes, little endian
 *     records    count × { varint metadata size, varint data size, metadata, NUL } (src/diaspora/record.h)
 *     data       of all events, back to back
 *     padding    to the next multiple of 8
 *
 * The header describes itself: magic, version, and a CRC32C over everything before that field, so that a reader that
 * comes upon bytes of unknown origin knows whether they are a frame and how long it is. The content has a CRC32C of
 * its own where it is kept on a medium (MOFKA_FRAME_CONTENT_CRC); in memory it has not.
 *
 * A frame whose content never arrived is dead: it takes space but no event id. A frame with MOFKA_FRAME_PART occurs
 * only in answers: it is a stretch of the events of a stored frame.
 *
 * Pure functions on memory; any thread. Nothing here trusts the bytes it is given.
 */
#ifndef DANGO_MOFKA_FRAME_H
#define DANGO_MOFKA_FRAME_H

#include <dango/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOFKA_FRAME_MAGIC   0x4b46444du /* "MDFK" */
#define MOFKA_FRAME_VERSION 1u
#define MOFKA_FRAME_ALIGN   8u

/* Largest records + data of one frame, in bytes. */
#define MOFKA_CONTENT_MAX ((uint64_t)4 << 30)

enum {
    MOFKA_FRAME_DEAD = 1,          /* space of a batch that failed: skip it */
    MOFKA_FRAME_CONTENT_CRC = 2,   /* content_crc is valid */
    MOFKA_FRAME_END_OF_STREAM = 4, /* the partition is complete: no events, nothing follows */
    MOFKA_FRAME_COMPRESSED = 8,    /* reserved: records and data are compressed */
    MOFKA_FRAME_PART = 16          /* some events of a stored frame */
};

/* The header. Naturally aligned without padding: its layout in memory is its layout everywhere. */
struct mofka_frame {
    uint32_t magic;
    uint16_t version;
    uint16_t flags;
    uint8_t partition[16]; /* uuid */
    uint64_t epoch;        /* of the leadership under which it was written; 0 while there is one copy */
    uint64_t first_id;     /* of its first event */
    uint64_t timestamp_ns; /* when the server took it in, nanoseconds since 1970 */
    uint64_t producer;     /* who sent it: random number of a producer … */
    uint64_t sequence;     /* … and its count of batches for this partition */
    uint64_t records_size; /* bytes */
    uint64_t data_size;    /* bytes */
    uint32_t count;        /* events; 0 in dead frames and at the end of the stream */
    uint32_t content_crc;
    uint32_t reserved; /* 0 */
    uint32_t header_crc;
};

_Static_assert(sizeof(struct mofka_frame) == 96, "the header is part of a file format");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "headers are copied as they are");

static inline uint64_t mofka_frame_align(uint64_t size)
{
    return (size + MOFKA_FRAME_ALIGN - 1) & ~(uint64_t)(MOFKA_FRAME_ALIGN - 1);
}

/* Bytes of a frame with that content, header and padding included; 0 when it is larger than MOFKA_CONTENT_MAX. */
static inline uint64_t mofka_frame_extent(uint64_t records_size, uint64_t data_size)
{
    if (records_size > MOFKA_CONTENT_MAX || data_size > MOFKA_CONTENT_MAX - records_size)
        return 0;
    return sizeof(struct mofka_frame) + mofka_frame_align(records_size + data_size);
}

/* The same for a header that has been checked or was made here. */
static inline uint64_t mofka_frame_size(const struct mofka_frame *frame)
{
    return mofka_frame_extent(frame->records_size, frame->data_size);
}

/* Fills in magic, version and header CRC; everything else has been set. */
void dango_mofka_frame_seal(struct mofka_frame *frame);

/* Fills in the content CRC over `size` bytes (records and data, without padding) and its flag; seal afterwards. */
void dango_mofka_frame_sign_content(struct mofka_frame *frame, const void *content, uint64_t size);

/*
 * Whether `bytes` begin with the header of a frame of this partition (NULL: of any). The content need not be there: use
 * mofka_frame_size afterwards. DANGO_ERR_AGAIN when there are fewer than a header's bytes, else DANGO_ERR_CORRUPT or
 * DANGO_ERR_UNSUPPORTED (a version or flag that is too new).
 */
int dango_mofka_frame_check(const void *bytes, size_t available, const uint8_t partition[16], struct dango_error *err);

/* Compares the content with its CRC; frames without one are taken as they are. */
int dango_mofka_frame_check_content(const struct mofka_frame *frame, const void *content, struct dango_error *err);

#endif
