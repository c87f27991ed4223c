/*
 * The table is direct-mapped: a frame has one place, and the latest one stays there.
 */
#include "mofka/log/checked.h"

/* To compare less than this costs no more than to remember it. */
#define REMEMBERED_MIN ((uint64_t)4 << 10)

void dango_mofka_checked_init(struct mofka_checked *checked)
{
    *checked = (struct mofka_checked){0};
    pthread_mutex_init(&checked->lock, NULL);
}

void dango_mofka_checked_fini(struct mofka_checked *checked)
{
    pthread_mutex_destroy(&checked->lock);
}

static struct mofka_checked_entry *entry_of(struct mofka_checked *checked, uint64_t chunk, uint64_t offset)
{
    uint64_t hash = (offset / MOFKA_FRAME_ALIGN + chunk) * UINT64_C(0x9e3779b97f4a7c15);
    return &checked->entries[(hash >> 32) % MOFKA_CHECKED_MAX];
}

static bool is_remembered(struct mofka_checked *checked, uint64_t chunk, uint64_t offset,
                          const struct mofka_frame *frame, int64_t now_ns)
{
    pthread_mutex_lock(&checked->lock);
    const struct mofka_checked_entry *entry = entry_of(checked, chunk, offset);
    bool found = entry->until_ns > now_ns && entry->chunk == chunk && entry->offset == offset &&
                 entry->header_crc == frame->header_crc;
    pthread_mutex_unlock(&checked->lock);
    return found;
}

static void remember(struct mofka_checked *checked, uint64_t chunk, uint64_t offset, const struct mofka_frame *frame,
                     int64_t now_ns)
{
    pthread_mutex_lock(&checked->lock);
    *entry_of(checked, chunk, offset) = (struct mofka_checked_entry){
        .chunk = chunk, .offset = offset, .header_crc = frame->header_crc, .until_ns = now_ns + MOFKA_CHECKED_HOLDS_NS};
    pthread_mutex_unlock(&checked->lock);
}

bool dango_mofka_checked_content(struct mofka_checked *checked, uint64_t chunk, uint64_t offset,
                                 const struct mofka_frame *frame, int64_t now_ns)
{
    if (mofka_frame_size(frame) < REMEMBERED_MIN)
        return dango_mofka_frame_check_content(frame, frame + 1, NULL) == 0;
    if (is_remembered(checked, chunk, offset, frame, now_ns))
        return true;
    if (dango_mofka_frame_check_content(frame, frame + 1, NULL) < 0)
        return false;
    remember(checked, chunk, offset, frame, now_ns);
    return true;
}
