/*
 * The sparse index of a chunk: points every 64 KiB, in memory for the open chunk, in a file for a sealed one.
 */
#include "mofka/log/chunk.h"

#include "mofka/log/producers.h"
#include "mofka/log/scan.h"
#include "util/clock.h"
#include "util/crc32c.h"
#include "util/file.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An index file larger than this is not ours. */
#define INDEX_SIZE_MAX ((size_t)64 << 20)

/* Remembers the frame at `offset` if the last point is far enough away. The lock is held. */
static void add_point(struct mofka_chunk *chunk, uint64_t id, uint64_t offset)
{
    if (chunk->num_points > 0 && offset < chunk->points[chunk->num_points - 1].offset + MOFKA_INDEX_SPACING)
        return;
    if (chunk->num_points == chunk->points_capacity) {
        size_t capacity = chunk->points_capacity ? 2 * chunk->points_capacity : 16;
        struct mofka_index_point *points = reallocarray(chunk->points, capacity, sizeof *points);
        if (!points)
            return; /* fewer points make look-up slower, not wrong */
        chunk->points = points;
        chunk->points_capacity = capacity;
    }
    chunk->points[chunk->num_points++] = (struct mofka_index_point){id, offset};
}

void mofka_chunk_publish(struct mofka_chunk *chunk, size_t end)
{
    atomic_store_explicit(&chunk->size, end, memory_order_release);
}

void mofka_chunk_note(struct mofka_chunk *chunk, uint64_t id, uint64_t offset)
{
    pthread_mutex_lock(&chunk->lock);
    add_point(chunk, id, offset);
    pthread_mutex_unlock(&chunk->lock);
}

static void count_item(struct mofka_chunk *chunk, enum mofka_scan_kind kind, const struct mofka_scan_item *item,
                       struct mofka_chunk_report *report)
{
    if (kind == MOFKA_SCAN_FRAME) {
        report->frames++;
        report->events += item->frame->count;
        report->end_of_stream = item->frame->flags & MOFKA_FRAME_END_OF_STREAM;
        if (item->frame->count > 0)
            add_point(chunk, item->first_id, item->offset);
        if (chunk->producers)
            dango_mofka_producers_note(chunk->producers, item->frame);
    } else if (kind == MOFKA_SCAN_DAMAGED) {
        report->damaged_stretches++;
        if (chunk->producers)
            dango_mofka_producers_damaged(chunk->producers, dango_clock_wall_ns());
        report->lost_events += item->lost;
    } else if (kind == MOFKA_SCAN_TORN) {
        report->torn_offset = item->offset;
        report->torn_bytes = item->size;
    }
}

int mofka_chunk_scan(struct mofka_chunk *chunk, int directory, const uint8_t partition[16], bool contents,
                     struct mofka_chunk_report *report, struct dango_error *err)
{
    memset(report, 0, sizeof *report);
    size_t size = atomic_load(&chunk->size);
    pthread_mutex_lock(&chunk->lock);
    int status = mofka_chunk_map(chunk, directory, size, err);
    struct mofka_scan scan = {.base = chunk->region.base,
                              .size = size,
                              .offset = sizeof(struct mofka_chunk_header),
                              .next_id = chunk->first_id,
                              .partition = partition,
                              .contents = contents};
    chunk->num_points = 0;
    enum mofka_scan_kind kind = MOFKA_SCAN_FRAME;
    while (status == 0 && !report->unreadable && kind != MOFKA_SCAN_END && kind != MOFKA_SCAN_TORN) {
        struct mofka_scan_item item;
        kind = dango_mofka_scan_next(&scan, &item);
        report->unreadable = chunk->region.guard && dango_bus_guard_faults(chunk->region.guard) > 0;
        if (!report->unreadable)
            count_item(chunk, kind, &item, report);
    }
    report->next_id = scan.next_id;
    report->end = scan.offset;
    chunk->events = report->events + report->lost_events;
    pthread_mutex_unlock(&chunk->lock);
    return status;
}

struct mofka_index_point mofka_chunk_locate(struct mofka_chunk *chunk, uint64_t id)
{
    struct mofka_index_point point = {chunk->first_id, sizeof(struct mofka_chunk_header)};
    pthread_mutex_lock(&chunk->lock);
    size_t low = 0, high = chunk->num_points;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (chunk->points[middle].id <= id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0)
        point = chunk->points[low - 1];
    pthread_mutex_unlock(&chunk->lock);
    return point;
}

/* Writes the index file. Failing is no disaster: the index can be made again from the chunk. */
static void write_index(struct mofka_chunk *chunk, int directory, const uint8_t partition[16], uint64_t next_id)
{
    struct mofka_chunk_index_header header = {.magic = MOFKA_CHUNK_INDEX_MAGIC,
                                              .version = MOFKA_LOG_VERSION,
                                              .number = chunk->number,
                                              .log_size = atomic_load(&chunk->size),
                                              .next_id = next_id,
                                              .entries = (uint32_t)chunk->num_points};
    size_t bytes = chunk->num_points * sizeof *chunk->points;
    memcpy(header.partition, partition, sizeof header.partition);
    header.entries_crc = dango_crc32c(0, chunk->points, bytes);
    header.crc = dango_crc32c(0, &header, offsetof(struct mofka_chunk_index_header, crc));
    char name[MOFKA_CHUNK_NAME_MAX];
    mofka_chunk_name(chunk->number, "idx", name);
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    struct iovec iov[] = {{&header, sizeof header}, {chunk->points, bytes}};
    int status = fd < 0 ? -errno : mofka_log_write_all(&mofka_log_system_io, fd, iov, 2, 0);
    if (fd >= 0)
        close(fd);
    if (status != 0)
        log_warning("mofka-log", "%s: cannot write the index: %s; it will be made again when needed", name,
                    strerror(-status));
}

void mofka_chunk_seal(struct mofka_chunk *chunk, int directory, const uint8_t partition[16], uint64_t next_id)
{
    write_index(chunk, directory, partition, next_id);
    close(chunk->fd);
    chunk->fd = -1;
    atomic_store_explicit(&chunk->sealed, true, memory_order_release);
}

static bool index_fits(const struct mofka_chunk_index_header *header, const struct mofka_chunk *chunk,
                       const uint8_t partition[16], size_t file_size)
{
    return header->magic == MOFKA_CHUNK_INDEX_MAGIC && header->version == MOFKA_LOG_VERSION &&
           header->crc == dango_crc32c(0, header, offsetof(struct mofka_chunk_index_header, crc)) &&
           memcmp(header->partition, partition, sizeof header->partition) == 0 && header->number == chunk->number &&
           header->log_size == atomic_load(&chunk->size) && header->next_id >= chunk->first_id &&
           file_size == sizeof *header + header->entries * sizeof(struct mofka_index_point);
}

/* Points ascend and lie in the chunk where frames can be. A checksum only says that they are as somebody wrote them. */
static bool points_are_sound(const struct mofka_index_point *points, size_t count, const struct mofka_chunk *chunk)
{
    size_t size = atomic_load(&chunk->size);
    for (size_t i = 0; i < count; i++) {
        if (points[i].offset < sizeof(struct mofka_chunk_header) || points[i].offset >= size ||
            points[i].offset % MOFKA_FRAME_ALIGN != 0 || points[i].id < chunk->first_id)
            return false;
        if (i > 0 && (points[i].offset <= points[i - 1].offset || points[i].id <= points[i - 1].id))
            return false;
    }
    return true;
}

/* The points of an index file that fits the chunk; NULL when there is none. */
static struct mofka_index_point *parse_index(struct mofka_chunk *chunk, const char *bytes, size_t size,
                                             const uint8_t partition[16], size_t *count)
{
    struct mofka_chunk_index_header header;
    if (size < sizeof header)
        return NULL;
    memcpy(&header, bytes, sizeof header);
    size_t entries_size = size - sizeof header;
    if (!index_fits(&header, chunk, partition, size) ||
        header.entries_crc != dango_crc32c(0, bytes + sizeof header, entries_size))
        return NULL;
    struct mofka_index_point *points = malloc(entries_size + 1);
    if (points)
        memcpy(points, bytes + sizeof header, entries_size);
    *count = header.entries;
    if (points && points_are_sound(points, *count, chunk))
        return points;
    free(points);
    return NULL;
}

bool mofka_chunk_load_index(struct mofka_chunk *chunk, int directory, const uint8_t partition[16])
{
    char name[MOFKA_CHUNK_NAME_MAX], path[96];
    mofka_chunk_name(chunk->number, "idx", name);
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", directory, name);
    size_t size, count = 0;
    char *bytes = dango_file_read(path, sizeof(struct mofka_chunk_index_header) + INDEX_SIZE_MAX, &size, NULL);
    struct mofka_index_point *points = bytes ? parse_index(chunk, bytes, size, partition, &count) : NULL;
    free(bytes);
    if (!points)
        return false;
    pthread_mutex_lock(&chunk->lock);
    free(chunk->points);
    chunk->points = points;
    chunk->num_points = chunk->points_capacity = count;
    chunk->unread = 0;
    pthread_mutex_unlock(&chunk->lock);
    return true;
}

bool mofka_chunk_wants_index(const struct mofka_chunk *chunk)
{
    assert(atomic_load(&chunk->sealed) && chunk->mapped > chunk->unread);
    if (chunk->unread == 0)
        return chunk->num_points == 0;
    const unsigned char *there = chunk->region.base + chunk->unread;
    dango_bus_guard_touch(there, 1);
    return dango_bus_guard_whole(&chunk->guard, there, 1);
}

/* The first byte of a mapped chunk that cannot be read. */
static size_t first_unread(const struct mofka_chunk *chunk)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t offset = 0;
    while (offset < chunk->mapped && dango_bus_guard_whole(&chunk->guard, chunk->region.base + offset, 1))
        offset += page;
    assert(offset < chunk->mapped);
    return offset > 0 ? offset : 1; /* 0 has a meaning of its own */
}

int mofka_chunk_prepare_index(struct mofka_chunk *chunk, int directory, const uint8_t partition[16],
                              struct dango_error *err)
{
    if (mofka_chunk_load_index(chunk, directory, partition))
        return 0;
    struct mofka_chunk_report report;
    log_warning("mofka-log", "chunk %" PRIu64 ": its index is missing or damaged: made again", chunk->number);
    if (mofka_chunk_scan(chunk, directory, partition, false, &report, err) < 0)
        return err ? err->code : DANGO_ERR_IO;
    chunk->unread = report.unreadable ? first_unread(chunk) : 0;
    if (report.unreadable) /* the points before that place are good enough for now */
        log_error("mofka-log", "chunk %" PRIu64 ": " MOFKA_CHUNK_UNREADABLE, chunk->number);
    else
        write_index(chunk, directory, partition, report.next_id);
    return 0;
}

void mofka_chunk_forget(struct mofka_chunk *chunk)
{
    mofka_chunk_unmap(chunk);
    if (!atomic_load(&chunk->sealed))
        return;
    pthread_mutex_lock(&chunk->lock);
    free(chunk->points);
    chunk->points = NULL;
    chunk->num_points = chunk->points_capacity = chunk->unread = 0;
    pthread_mutex_unlock(&chunk->lock);
}
