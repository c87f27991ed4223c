/*
 * The walk of an inspection: each chunk is copied into memory and walked through with the scan that recovery and readers
 * use; what lies between the frames, between the chunks, and between chunk and index becomes findings.
 *
 * The last chunk may be changing. What looks like damage in it while a process has the partition open is looked at again
 * a few times: a write that was going on, or was rolled back, has gone by then.
 */
#include "mofka/log/inspect.h"
#include "mofka/log/inspect_internal.h"

#include "diaspora/record.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LOOKS_MAX    5                                /* at a chunk or index that is being written */
#define LOOK_PAUSE   ((struct timespec){0, 20000000}) /* between them */
#define READ_AT_ONCE ((size_t)16 << 20)

struct walk {
    struct mofka_inspection *inspection;
    const struct mofka_inspect_visitor *visitor;
    unsigned flags;
    uint64_t from;
    /* The chunk that is being walked through. */
    const struct mofka_inspected_chunk *entry;
    struct mofka_chunk *chunk;
    bool last;
    size_t point;      /* the next one of the index that has not been met */
    bool point_failed; /* said already */
};

int mofka_inspect_report(const struct mofka_inspect_visitor *visitor, const struct mofka_finding *place,
                         const char *advice, const char *format, ...)
{
    if (!visitor->finding)
        return 0;
    struct mofka_finding finding = *place;
    va_list args;
    va_start(args, format);
    vsnprintf(finding.what, sizeof finding.what, format, args);
    va_end(args);
    /* Errors often begin with the name of the file, which the finding has already. */
    size_t length = strlen(finding.file);
    if (strncmp(finding.what, finding.file, length) == 0 && strncmp(finding.what + length, ": ", 2) == 0)
        memmove(finding.what, finding.what + length + 2, strlen(finding.what + length + 2) + 1);
    snprintf(finding.advice, sizeof finding.advice, "%s", advice);
    return visitor->finding(visitor->arg, &finding);
}

/* ---- chunks in memory ---- */

/* Reads the file into `chunk`'s region; shortens the chunk if the file has become shorter. */
static int fill(struct mofka_chunk *chunk, int fd, struct dango_error *err)
{
    size_t size = atomic_load(&chunk->size), done = 0;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return dango_error_set_errno(err, errno, "no memory for %zu bytes", size);
    chunk->region.base = memory;
    chunk->mapped = size;
    while (done < size) {
        size_t part = size - done < READ_AT_ONCE ? size - done : READ_AT_ONCE;
        ssize_t n = pread(fd, (char *)memory + done, part, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dango_error_set_errno(err, errno, "cannot read at offset %zu", done);
        if (n == 0)
            break;
        done += (size_t)n;
    }
    atomic_store(&chunk->size, done);
    return done >= sizeof(struct mofka_chunk_header)
               ? 0
               : dango_error_set(err, DANGO_ERR_CORRUPT, "has become shorter than its header");
}

static int load(const struct walk *walk, struct mofka_chunk **result, struct dango_error *err)
{
    const struct mofka_inspection *inspection = walk->inspection;
    struct mofka_chunk *chunk;
    int status = mofka_chunk_open(inspection->directory, walk->entry->number, inspection->uuid, false, &chunk, err);
    if (status < 0)
        return status;
    int fd = openat(inspection->directory, walk->entry->name, O_RDONLY | O_CLOEXEC);
    status = fd < 0 ? dango_error_set_errno(err, errno, "cannot open") : fill(chunk, fd, err);
    if (fd >= 0)
        close(fd);
    if (status < 0) {
        mofka_chunk_destroy(chunk);
        return status;
    }
    *result = chunk;
    return 0;
}

static bool all_zero(const unsigned char *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Whether the end of a chunk looks like a write that was not finished: too short for what it says, or nothing but zeroes.
 * *header: that of the frame that was to stand there, or NULL. */
static bool is_unfinished(const struct walk *walk, size_t offset, const struct mofka_frame **header)
{
    const unsigned char *at = (const unsigned char *)walk->chunk->region.base + offset;
    size_t left = atomic_load(&walk->chunk->size) - offset;
    *header = NULL;
    if (left < sizeof **header || all_zero(at, left))
        return true;
    if (dango_mofka_frame_check(at, left, walk->inspection->uuid, NULL) < 0)
        return false;
    *header = (const struct mofka_frame *)at;
    return mofka_frame_size(*header) > left;
}

/* Loads the chunk; once more when it seems damaged but may only be changing. */
static int load_settled(struct walk *walk, struct dango_error *err)
{
    bool changing = walk->last && walk->inspection->holder != 0;
    for (int look = 1;; look++) {
        struct mofka_chunk_report report;
        const struct mofka_frame *header;
        int status = load(walk, &walk->chunk, err);
        if (status < 0 || !walk->last)
            return status;
        /* Gives the last chunk an index in memory, too. */
        status = mofka_chunk_scan(walk->chunk, walk->inspection->directory, walk->inspection->uuid, true, &report, err);
        bool damaged = status < 0 || report.damaged_stretches > 0 ||
                       (report.torn_bytes > 0 && !is_unfinished(walk, report.torn_offset, &header));
        if (!damaged || !changing || look == LOOKS_MAX)
            return status;
        mofka_chunk_destroy(walk->chunk);
        walk->chunk = NULL;
        nanosleep(&LOOK_PAUSE, NULL);
    }
}

/* ---- index ---- */

static struct mofka_finding place_in_index(const struct walk *walk, char name[MOFKA_CHUNK_NAME_MAX])
{
    mofka_chunk_name(walk->entry->number, "idx", name);
    return (struct mofka_finding){.severity = MOFKA_DAMAGE, .file = name};
}

/* Reads the index of a sealed chunk, when there is one. */
static int load_index(struct walk *walk)
{
    char name[MOFKA_CHUNK_NAME_MAX];
    struct mofka_finding place = place_in_index(walk, name);
    int directory = walk->inspection->directory;
    for (int look = 1; look <= LOOKS_MAX; look++) {
        if (mofka_chunk_load_index(walk->chunk, directory, walk->inspection->uuid) ||
            !(walk->flags & MOFKA_INSPECT_INDEX))
            return 0;
        if (faccessat(directory, name, F_OK, 0) != 0) {
            place.severity = MOFKA_NOTE;
            return mofka_inspect_report(walk->visitor, &place, "nothing to do: it is made again when it is needed",
                                        "the index is missing");
        }
        if (walk->inspection->holder == 0)
            break;
        nanosleep(&LOOK_PAUSE, NULL);
    }
    return mofka_inspect_report(walk->visitor, &place,
                                "remove the file: the index is made again from the chunk, no event is lost",
                                "the index is damaged, or of another chunk or format");
}

/* Compares the index with an item of the chunk: points are beginnings of frames, or lie in damage. */
static int check_points(struct walk *walk, const struct mofka_scan_item *item)
{
    const struct mofka_chunk *chunk = walk->chunk;
    if (!(walk->flags & MOFKA_INSPECT_INDEX) || walk->last || walk->point_failed)
        return 0;
    while (walk->point < chunk->num_points && chunk->points[walk->point].offset < item->offset + item->size) {
        const struct mofka_index_point *point = &chunk->points[walk->point++];
        if (!item->frame || (point->offset == item->offset && point->id == item->first_id))
            continue;
        char name[MOFKA_CHUNK_NAME_MAX];
        struct mofka_finding place = place_in_index(walk, name);
        walk->point_failed = true;
        place.offset = sizeof(struct mofka_chunk_index_header) + (walk->point - 1) * sizeof *point;
        place.size = sizeof *point;
        return mofka_inspect_report(
            walk->visitor, &place, "remove the file: the index is made again from the chunk, no event is lost",
            "the index says that event %" PRIu64 " is at offset %" PRIu64 " of %s, where it is not", point->id,
            point->offset, walk->entry->name);
    }
    return 0;
}

/* ---- items ---- */

static int visit_frame(struct walk *walk, const struct mofka_scan_item *item)
{
    const struct mofka_frame *frame = item->frame;
    struct dango_error found = {0};
    if (frame->count > 0 && frame->first_id + frame->count <= walk->from)
        return 0;
    if ((walk->flags & MOFKA_INSPECT_CONTENTS) && frame->count > 0 &&
        dango_diaspora_records_check(frame + 1, (size_t)frame->records_size, frame->count, frame->data_size, &found) <
            0) {
        struct mofka_finding place = {.severity = MOFKA_DAMAGE,
                                      .file = walk->entry->name,
                                      .offset = item->offset,
                                      .size = item->size,
                                      .first_id = frame->first_id,
                                      .events = frame->count};
        return mofka_inspect_report(walk->visitor, &place,
                                    "consumers cannot take this batch apart; it was stored like that: report it",
                                    "the checksum is right, but not the content: %s", found.text);
    }
    return walk->visitor->frame ? walk->visitor->frame(walk->visitor->arg, walk->entry, item) : 0;
}

/* Why there is no whole frame at `offset`. */
static void explain(const struct walk *walk, size_t offset, struct dango_error *why)
{
    const char *at = (const char *)walk->chunk->region.base + offset;
    size_t left = atomic_load(&walk->chunk->size) - offset;
    const struct mofka_frame *header = (const struct mofka_frame *)at;
    if (dango_mofka_frame_check(at, left, walk->inspection->uuid, why) < 0)
        return;
    if (mofka_frame_size(header) > left)
        dango_error_set(why, DANGO_ERR_CORRUPT, "the frame says that it is longer than the file");
    else if (dango_mofka_frame_check_content(header, header + 1, NULL) < 0)
        dango_error_set(why, DANGO_ERR_CORRUPT, "the content of the frame does not match its checksum");
    else
        dango_error_set(why, DANGO_ERR_CORRUPT, "a frame that does not belong here");
}

static int report_stretch(struct walk *walk, const struct mofka_scan_item *item, uint64_t events)
{
    struct mofka_finding place = {.severity = MOFKA_DAMAGE,
                                  .file = walk->entry->name,
                                  .offset = item->offset,
                                  .size = item->size,
                                  .first_id = item->first_id,
                                  .events = events};
    if (item->first_id + events <= walk->from && events > 0)
        return 0;
    if (item->size == 0)
        return mofka_inspect_report(walk->visitor, &place, "restore the file from a copy; consumers skip these events",
                                    "events are missing before this place");
    struct dango_error why;
    explain(walk, item->offset, &why);
    return mofka_inspect_report(
        walk->visitor, &place,
        "restore the file from a copy; without one, consumers are told that these events are lost "
        "and get all others",
        "%s", why.text);
}

/* The end of the last chunk is no whole frame. */
static int report_end(struct walk *walk, const struct mofka_scan_item *item)
{
    const struct mofka_frame *header;
    bool unfinished = is_unfinished(walk, item->offset, &header);
    struct mofka_finding place = {.severity = unfinished ? MOFKA_NOTE : MOFKA_DAMAGE,
                                  .file = walk->entry->name,
                                  .offset = item->offset,
                                  .size = item->size};
    if (header && header->first_id == item->first_id) {
        place.first_id = header->first_id;
        place.events = header->count;
    }
    if (!unfinished) {
        struct dango_error why;
        explain(walk, item->offset, &why);
        return mofka_inspect_report(walk->visitor, &place,
                                    "copy the file before a server opens it: it will cut off everything from here on, "
                                    "which may hold events that had been acknowledged",
                                    "%s", why.text);
    }
    if (walk->inspection->holder != 0)
        return mofka_inspect_report(walk->visitor, &place, "nothing to do: a server is writing",
                                    "a batch that is not whole yet");
    return mofka_inspect_report(walk->visitor, &place,
                                "nothing to do: the next server cuts it off; nobody was told that it is stored",
                                "a batch that was never written to its end");
}

/* The first id of the next chunk that can be read, or `otherwise`. */
static uint64_t next_known_id(const struct walk *walk, uint64_t otherwise)
{
    const struct mofka_inspection *inspection = walk->inspection;
    for (size_t i = (size_t)(walk->entry - inspection->chunks) + 1; i < inspection->num_chunks; i++) {
        if (inspection->chunks[i].code == 0)
            return inspection->chunks[i].first_id;
    }
    return otherwise;
}

/* ---- chunks ---- */

/* The index point from which to walk to event `from`, or the beginning. */
static struct mofka_scan start_of(struct walk *walk)
{
    struct mofka_chunk *chunk = walk->chunk;
    struct mofka_index_point start = {chunk->first_id, sizeof(struct mofka_chunk_header)};
    if (walk->from > chunk->first_id && !(walk->flags & MOFKA_INSPECT_INDEX)) {
        struct mofka_index_point point = mofka_chunk_locate(chunk, walk->from);
        const struct mofka_frame *frame = (const struct mofka_frame *)((char *)chunk->region.base + point.offset);
        if (point.offset + sizeof *frame <= atomic_load(&chunk->size) && frame->magic == MOFKA_FRAME_MAGIC &&
            frame->first_id == point.id)
            start = point;
    }
    return (struct mofka_scan){.base = chunk->region.base,
                               .size = atomic_load(&chunk->size),
                               .offset = (size_t)start.offset,
                               .next_id = start.id,
                               .partition = walk->inspection->uuid,
                               .contents = walk->flags & MOFKA_INSPECT_CONTENTS};
}

/* Walks through the loaded chunk; *next_id: the id after its last event. */
static int walk_frames(struct walk *walk, uint64_t *next_id)
{
    struct mofka_scan scan = start_of(walk);
    struct mofka_scan_item item;
    enum mofka_scan_kind kind = MOFKA_SCAN_FRAME;
    int status = 0;
    while (status == 0 && kind != MOFKA_SCAN_END) {
        kind = dango_mofka_scan_next(&scan, &item);
        if (kind != MOFKA_SCAN_END)
            status = check_points(walk, &item);
        if (status != 0)
            break;
        if (kind == MOFKA_SCAN_FRAME) {
            status = visit_frame(walk, &item);
        } else if (kind == MOFKA_SCAN_DAMAGED) {
            status = report_stretch(walk, &item, item.lost);
        } else if (kind == MOFKA_SCAN_TORN && walk->last) {
            status = report_end(walk, &item);
        } else if (kind == MOFKA_SCAN_TORN) {
            uint64_t limit = next_known_id(walk, item.first_id);
            status = report_stretch(walk, &item, limit > item.first_id ? limit - item.first_id : 0);
            scan.next_id = limit > scan.next_id ? limit : scan.next_id;
        }
        if (kind == MOFKA_SCAN_TORN)
            break;
    }
    *next_id = scan.next_id;
    return status;
}

/* A chunk that cannot be read, or is not there. */
static int report_chunk(struct walk *walk, const char *file, int code, const char *problem, uint64_t next_id)
{
    uint64_t limit = next_known_id(walk, next_id);
    struct mofka_finding place = {.severity = code == DANGO_ERR_CORRUPT ? MOFKA_DAMAGE : MOFKA_UNREADABLE,
                                  .file = file,
                                  .first_id = next_id,
                                  .events = limit > next_id ? limit - next_id : 0};
    if (code == DANGO_ERR_NOT_FOUND && walk->inspection->holder != 0) {
        place.severity = MOFKA_NOTE;
        return mofka_inspect_report(walk->visitor, &place, "nothing to do", "removed by the server while we looked");
    }
    const char *advice = code == DANGO_ERR_CORRUPT
                             ? "no server can open the partition like this: restore the file from a copy"
                         : code == DANGO_ERR_UNSUPPORTED ? "look at it with the program that wrote it"
                                                         : "make it readable, and look again";
    return mofka_inspect_report(walk->visitor, &place, advice, "%s", problem);
}

/* From the end of this chunk to the beginning of the next: numbers and ids go on without a gap. */
static int check_transition(struct walk *walk, uint64_t *next_id)
{
    const struct mofka_inspected_chunk *next = walk->entry + 1;
    uint64_t known = next_known_id(walk, *next_id);
    int status = 0;
    if (next->number != walk->entry->number + 1) {
        char name[MOFKA_CHUNK_NAME_MAX];
        mofka_chunk_name(walk->entry->number + 1, "log", name);
        status = report_chunk(walk, name, DANGO_ERR_CORRUPT, "the chunk is missing", *next_id);
        *next_id = known;
    } else if (next->code == 0 && known != *next_id) {
        struct mofka_finding place = {.severity = MOFKA_DAMAGE,
                                      .file = next->name,
                                      .first_id = *next_id,
                                      .events = known > *next_id ? known - *next_id : 0};
        status = mofka_inspect_report(
            walk->visitor, &place, "one of the two files is not what the server wrote: restore it from a copy",
            "begins with event %" PRIu64 ", but %s ends before event %" PRIu64, known, walk->entry->name, *next_id);
        *next_id = known;
    }
    return status;
}

static int walk_chunk(struct walk *walk, uint64_t *next_id)
{
    struct dango_error found = {0};
    int status = walk->entry->code;
    if (status != 0)
        dango_error_set(&found, status, "%s", walk->entry->problem);
    else
        status = load_settled(walk, &found);
    if (status < 0) {
        status = report_chunk(walk, walk->entry->name, found.code, found.text, *next_id);
        *next_id = next_known_id(walk, *next_id);
        return status;
    }
    status = walk->last ? 0 : load_index(walk);
    if (status == 0)
        status = walk_frames(walk, next_id);
    return status;
}

/* The chunk to begin with: the last one that begins at or before `from`. */
static size_t first_chunk(const struct mofka_inspection *inspection, uint64_t from)
{
    size_t start = 0;
    for (size_t i = 0; i < inspection->num_chunks; i++) {
        if (inspection->chunks[i].code == 0 && inspection->chunks[i].first_id <= from)
            start = i;
    }
    return from > 0 ? start : 0;
}

int dango_mofka_inspect_walk(struct mofka_inspection *inspection, uint64_t from, unsigned flags,
                             const struct mofka_inspect_visitor *visitor)
{
    assert(inspection && visitor);
    struct walk walk = {.inspection = inspection, .visitor = visitor, .flags = flags, .from = from};
    size_t start = first_chunk(inspection, from);
    uint64_t next_id = 0;
    int status = 0;
    if (inspection->num_chunks > 0 && inspection->chunks[start].code == 0)
        next_id = inspection->chunks[start].first_id;
    for (size_t i = start; status == 0 && i < inspection->num_chunks; i++) {
        walk.entry = &inspection->chunks[i];
        walk.last = i + 1 == inspection->num_chunks;
        walk.point = 0;
        walk.point_failed = false;
        status = walk_chunk(&walk, &next_id);
        if (status == 0 && !walk.last)
            status = check_transition(&walk, &next_id);
        mofka_chunk_destroy(walk.chunk);
        walk.chunk = NULL;
    }
    inspection->next_id = next_id;
    return status;
}
