/*
 * Walking through the bytes of a chunk, trusting none of them: frames where they are whole, stretches of damage where
 * they are not.
 *
 * After damage the walk goes on at the next place (a multiple of 8) where a whole frame of this partition begins, with a
 * correct content and an id that is not before what was expected: bytes that happen to look like a header, for example
 * inside an event's data, do not pass, unless somebody stored a copy of this very log in it, and then the ids give it away.
 *
 * Pure functions on memory.
 */
#ifndef DANGO_MOFKA_LOG_SCAN_H
#define DANGO_MOFKA_LOG_SCAN_H

#include "mofka/partition/frame.h"

#include <stdbool.h>

struct mofka_scan {
    const unsigned char *base; /* of the chunk */
    size_t size;               /* bytes that are there */
    size_t offset;             /* where the walk is: a multiple of 8 */
    uint64_t next_id;          /* expected */
    const uint8_t *partition;  /* uuid */
    bool contents;             /* compare contents with their checksums, too */
};

enum mofka_scan_kind {
    MOFKA_SCAN_END,     /* nothing more; behind the last frame there is nothing, or zeroes (reserved space) */
    MOFKA_SCAN_FRAME,   /* a whole frame */
    MOFKA_SCAN_DAMAGED, /* events first_id … first_id + lost - 1 are unreadable; whole frames follow */
    MOFKA_SCAN_TORN     /* from here to the end there is no whole frame */
};

struct mofka_scan_item {
    size_t offset, size;             /* bytes concerned */
    const struct mofka_frame *frame; /* FRAME only */
    uint64_t first_id;
    uint64_t lost; /* DAMAGED: events; may be 0 when a frame without events was hit */
    bool removed;  /* not damaged, but removed with their chunks; readers of logs only */
};

/* The next item; steps over it. TORN and END are final. */
enum mofka_scan_kind dango_mofka_scan_next(struct mofka_scan *scan, struct mofka_scan_item *item);

#endif
