/*
 * Readers of a log: which chunk, which mapping, the walk.
 *
 * The open chunk is mapped far beyond its end, as long as it can ever become, so that it grows inside its mapping; what
 * lies behind the published size is never touched. A sealed chunk is mapped up to its end.
 */
#include "mofka/log/internal.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>
#include <inttypes.h>

static size_t size_of(struct mofka_chunk *chunk)
{
    return atomic_load_explicit(&chunk->size, memory_order_acquire);
}

/* Index of the chunk that holds event `id`, or would hold it; the first one for older ids. The log's lock is held. */
static size_t find_chunk(struct mofka_log *log, uint64_t id)
{
    size_t low = 0, high = log->num_chunks;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (log->chunks[middle]->first_id <= id)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? low - 1 : 0;
}

/* Drops mappings that nobody uses, oldest first, until they are few enough. The log's lock is held. */
static void trim_idle(struct mofka_log *log)
{
    while (log->num_idle > log->max_idle) {
        struct mofka_chunk *chunk = container_of(list_pop(&log->idle), struct mofka_chunk, idle);
        log->num_idle--;
        mofka_chunk_forget(chunk);
    }
}

/* The log's lock is held. */
static int pin(struct mofka_log *log, struct mofka_chunk *chunk, struct dango_error *err)
{
    if (list_linked(&chunk->idle)) {
        list_remove(&chunk->idle);
        log->num_idle--;
    }
    size_t want = atomic_load(&chunk->sealed)
                      ? size_of(chunk)
                      : (size_t)(log->max_chunk_size + mofka_frame_extent(MOFKA_CONTENT_MAX, 0));
    int status = 0;
    if (chunk->pins == 0)
        status = mofka_chunk_map(chunk, log->directory, want, err);
    if (status == 0 && chunk->pins == 0 && atomic_load(&chunk->sealed) && mofka_chunk_wants_index(chunk))
        status = mofka_chunk_prepare_index(chunk, log->directory, log->uuid, err);
    if (status == 0)
        chunk->pins++;
    return status;
}

static void unpin(struct mofka_log *log, struct mofka_chunk *chunk)
{
    pthread_mutex_lock(&log->lock);
    assert(chunk->pins > 0);
    bool free_it = --chunk->pins == 0 && chunk->removed;
    if (chunk->pins == 0 && !free_it) {
        list_append(&log->idle, &chunk->idle);
        log->num_idle++;
        trim_idle(log);
    }
    pthread_mutex_unlock(&log->lock);
    if (free_it)
        mofka_chunk_destroy(chunk);
}

void mofka_log_hold_chunk(struct mofka_region *region)
{
    struct mofka_chunk *chunk = container_of(region, struct mofka_chunk, region);
    pthread_mutex_lock(&chunk->log->lock);
    assert(chunk->pins > 0);
    chunk->pins++;
    pthread_mutex_unlock(&chunk->log->lock);
}

void mofka_log_release_chunk(struct mofka_region *region)
{
    struct mofka_chunk *chunk = container_of(region, struct mofka_chunk, region);
    unpin(chunk->log, chunk);
}

void dango_mofka_log_reader_init(struct mofka_log_reader *reader, struct mofka_log *log)
{
    *reader = (struct mofka_log_reader){.log = log};
}

void dango_mofka_log_reader_fini(struct mofka_log_reader *reader)
{
    if (reader->chunk)
        unpin(reader->log, reader->chunk);
    reader->chunk = NULL;
}

static unsigned count_faults(const struct mofka_log_reader *reader)
{
    return dango_bus_guard_faults(&reader->chunk->guard);
}

/* Leaves the reader's chunk, if any, for one that was pinned with this outcome, at its beginning. */
static int enter(struct mofka_log_reader *reader, struct mofka_chunk *chunk, int status, struct dango_error *err)
{
    struct mofka_log *log = reader->log;
    dango_mofka_log_reader_fini(reader);
    if (status < 0)
        return err ? dango_error_prefix(err, "%s", log->path) : status;
    reader->chunk = chunk;
    reader->faults = count_faults(reader);
    reader->scan = (struct mofka_scan){.base = chunk->region.base,
                                       .offset = sizeof(struct mofka_chunk_header),
                                       .next_id = chunk->first_id,
                                       .partition = log->uuid,
                                       .contents = !reader->headers_only};
    return 0;
}

/* The chunk behind the reader's, or the first one if that has been removed; NULL when there is none. The log's lock is
 * held. */
static struct mofka_chunk *following(const struct mofka_log_reader *reader)
{
    const struct mofka_log *log = reader->log;
    uint64_t first = log->chunks[0]->number, next = reader->chunk->number + 1;
    size_t index = next > first ? (size_t)(next - first) : 0;
    return index < log->num_chunks ? log->chunks[index] : NULL;
}

/* Whether nothing went missing while something was done with the chunk; otherwise says so, and it has to be done again. There
 * is an end to that: each page can go missing once. */
static bool was_readable(struct mofka_log_reader *reader)
{
    unsigned faults = count_faults(reader);
    if (faults == reader->faults)
        return true;
    log_error("mofka-log", "%s: chunk %" PRIu64 ": " MOFKA_CHUNK_UNREADABLE, reader->log->path, reader->chunk->number);
    reader->faults = faults;
    return false;
}

static enum mofka_scan_kind scan_next(struct mofka_log_reader *reader, struct mofka_scan_item *item)
{
    struct mofka_scan before = reader->scan;
    enum mofka_scan_kind kind;
    do {
        reader->scan = before;
        kind = dango_mofka_scan_next(&reader->scan, item);
    } while (!was_readable(reader));
    /* A page that is missing in a frame that holds zeros there: it would be refused by whoever sends it. */
    if (kind == MOFKA_SCAN_FRAME && !dango_bus_guard_whole(&reader->chunk->guard, item->frame, item->size)) {
        item->lost = item->frame->count;
        item->frame = NULL;
        kind = MOFKA_SCAN_DAMAGED;
    }
    return kind;
}

bool dango_mofka_log_reader_intact(struct mofka_log_reader *reader, const struct mofka_frame *frame)
{
    dango_bus_guard_touch((const unsigned char *)frame, sizeof *frame);
    return was_readable(reader);
}

/* The frame that the scan stands before, by its header alone; NULL at the end or at damage. */
static const struct mofka_frame *peek(const struct mofka_scan *scan)
{
    const struct mofka_frame *frame = (const struct mofka_frame *)(scan->base + scan->offset);
    if (dango_mofka_frame_check(frame, scan->size - scan->offset, scan->partition, NULL) < 0)
        return NULL;
    return mofka_frame_size(frame) <= scan->size - scan->offset ? frame : NULL;
}

/* Steps over the frames before event `id`. */
static void walk_to(struct mofka_scan *scan, uint64_t id)
{
    const struct mofka_frame *frame;
    while ((frame = peek(scan)) && frame->first_id == scan->next_id && frame->first_id + frame->count <= id) {
        scan->offset += (size_t)mofka_frame_size(frame);
        scan->next_id += frame->count;
    }
}

int dango_mofka_log_seek(struct mofka_log_reader *reader, uint64_t id, struct dango_error *err)
{
    struct mofka_log *log = reader->log;
    pthread_mutex_lock(&log->lock);
    struct mofka_chunk *chunk = log->chunks[find_chunk(log, id)];
    int status = pin(log, chunk, err);
    pthread_mutex_unlock(&log->lock);
    if (enter(reader, chunk, status, err) < 0)
        return status;
    struct mofka_scan *scan = &reader->scan;
    struct mofka_index_point point = mofka_chunk_locate(reader->chunk, id);
    scan->size = size_of(reader->chunk);
    if (point.offset > scan->offset && point.offset < scan->size) {
        scan->offset = (size_t)point.offset;
        scan->next_id = point.id;
    }
    struct mofka_scan before = *scan;
    do {
        *scan = before;
        walk_to(scan, id);
    } while (!was_readable(reader));
    return 0;
}

bool dango_mofka_log_check(struct mofka_log_reader *reader, const struct mofka_scan_item *item, bool compare)
{
    const struct mofka_frame *frame = item->frame;
    assert(reader->headers_only && frame && reader->scan.offset == item->offset + item->size);
    /* Also for what was good a moment ago: a page that is missing makes it damaged. */
    dango_bus_guard_touch((const unsigned char *)frame, item->size);
    bool good = !compare || dango_mofka_checked_content(&reader->log->checked, reader->chunk->number, item->offset,
                                                        frame, dango_clock_ns());
    (void)was_readable(reader);
    return good && dango_bus_guard_whole(&reader->chunk->guard, frame, item->size);
}

int dango_mofka_log_next(struct mofka_log_reader *reader, struct mofka_scan_item *item, struct dango_error *err)
{
    struct mofka_log *log = reader->log;
    assert(reader->chunk);
    for (;;) {
        /* Sealed first: once it is, the size read after it is final. */
        bool sealed = atomic_load_explicit(&reader->chunk->sealed, memory_order_acquire);
        reader->scan.size = size_of(reader->chunk);
        enum mofka_scan_kind kind = scan_next(reader, item);
        if (kind == MOFKA_SCAN_FRAME || kind == MOFKA_SCAN_DAMAGED)
            return 1;
        if (!sealed)
            return 0;
        uint64_t expected = reader->scan.next_id, number = reader->chunk->number;
        pthread_mutex_lock(&log->lock);
        struct mofka_chunk *next = following(reader);
        int status = next ? pin(log, next, err) : 0;
        pthread_mutex_unlock(&log->lock);
        if (!next)
            return 0;
        if (enter(reader, next, status, err) < 0)
            return status;
        /* The end of a sealed chunk may be damaged, too: the next one tells how many events are missing. */
        if (reader->scan.next_id > expected) {
            *item = (struct mofka_scan_item){
                .first_id = expected, .lost = reader->scan.next_id - expected, .removed = next->number != number + 1};
            return 1;
        }
        /* Chunks that overlap come from different copies: no id is delivered twice. */
        reader->scan.next_id = expected;
    }
}
