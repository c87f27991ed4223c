/*
 * Which frames were compared with their checksums a moment ago.
 *
 * Part of a frame cannot be compared, only the whole frame. A consumer that takes a large frame bit by bit, or several that
 * read the same one, would have it read again for each piece. So what was compared within the last second counts as good.
 * No longer: the kernel may have dropped the pages since then and read them again from a medium that has gone bad.
 *
 * Frames are told apart by their place and the checksum of their header, which covers ids, sizes and the checksum of the
 * content. A bounded table; what does not fit is compared again.
 *
 * Threads: any.
 */
#ifndef DANGO_MOFKA_LOG_CHECKED_H
#define DANGO_MOFKA_LOG_CHECKED_H

#include "mofka/partition/frame.h"

#include <pthread.h>

#define MOFKA_CHECKED_MAX      128
#define MOFKA_CHECKED_HOLDS_NS INT64_C(1000000000)

struct mofka_checked {
    pthread_mutex_t lock; /* guards the entries; a leaf */
    struct mofka_checked_entry {
        uint64_t chunk, offset;
        uint32_t header_crc;
        int64_t until_ns; /* on the monotonic clock */
    } entries[MOFKA_CHECKED_MAX];
};

void dango_mofka_checked_init(struct mofka_checked *checked);
void dango_mofka_checked_fini(struct mofka_checked *checked);

/* Whether the content of the frame at `offset` of a chunk is good: by memory or by comparing. The header has been checked,
 * and the content is there. */
bool dango_mofka_checked_content(struct mofka_checked *checked, uint64_t chunk, uint64_t offset,
                                 const struct mofka_frame *frame, int64_t now_ns);

#endif
