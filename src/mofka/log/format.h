/*
 * The files of a log, to the byte. docs/formats/log.md says the same for people who write other readers.
 *
 *     <path>/<topic>-<uuid>/partition.json     who this is; also what a server locks while it has the partition open
 *                          chunk-000000.log    header (64 bytes), then frames (mofka/partition/frame.h) up to its end
 *                          chunk-000000.idx    index of a sealed chunk: header (64 bytes), then entries
 *                          chunk-000001.log    …
 *                          cursors             positions of consumers
 *                          producers           last batches of producers (producers_file.c)
 *
 * All chunks but the last are sealed: whole, on the medium, never written again. Everything is little endian.
 * Headers end in a CRC32C over what comes before it.
 */
#ifndef DANGO_MOFKA_LOG_FORMAT_H
#define DANGO_MOFKA_LOG_FORMAT_H

#include "mofka/partition/frame.h"

#include <stdint.h>

#define MOFKA_LOG_VERSION       1u
#define MOFKA_CHUNK_MAGIC       0x4b48434du /* "MCHK" */
#define MOFKA_CHUNK_INDEX_MAGIC 0x5844494du /* "MIDX" */
#define MOFKA_PRODUCERS_MAGIC   0x4452504du /* "MPRD" */

struct mofka_chunk_header {
    uint32_t magic;
    uint16_t version;
    uint16_t flags;        /* 0 */
    uint8_t partition[16]; /* uuid */
    uint64_t number;       /* as in the file's name */
    uint64_t first_id;     /* of the first event it holds or will hold */
    uint64_t created_ns;   /* since 1970 */
    uint8_t reserved[12];  /* 0 */
    uint32_t crc;
};

struct mofka_chunk_index_header {
    uint32_t magic;
    uint16_t version;
    uint16_t flags; /* 0 */
    uint8_t partition[16];
    uint64_t number;
    uint64_t log_size; /* bytes of the .log file when it was sealed */
    uint64_t next_id;  /* after the last event of the chunk */
    uint32_t entries;
    uint32_t entries_crc;
    uint32_t reserved; /* 0 */
    uint32_t crc;
};

/* "Event `id` is the first of the frame at `offset`": one for each 64 KiB of log or more, ascending, the first one for
 * the chunk's first frame. */
struct mofka_index_point {
    uint64_t id;
    uint64_t offset;
};

#define MOFKA_INDEX_SPACING (UINT64_C(64) << 10)

_Static_assert(sizeof(struct mofka_chunk_header) == 64, "part of a file format");
_Static_assert(sizeof(struct mofka_chunk_index_header) == 64, "part of a file format");
_Static_assert(sizeof(struct mofka_index_point) == 16, "part of a file format");

#endif
