/*
 * The file of a chunk: making, opening, appending, cutting, mapping. Its index is in chunk_index.c.
 */
#include "mofka/log/chunk.h"

#include "mofka/log/scan.h"
#include "util/clock.h"
#include "util/crc32c.h"
#include "util/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reserved at a time, and after how many appends: what is written to rarely is not worth it. */
#define RESERVE_BYTES ((size_t)4 << 20)
#define RESERVE_AFTER 16

void mofka_chunk_name(uint64_t number, const char *suffix, char name[MOFKA_CHUNK_NAME_MAX])
{
    snprintf(name, MOFKA_CHUNK_NAME_MAX, "chunk-%06" PRIu64 ".%s", number, suffix);
}

static struct mofka_chunk *chunk_new(uint64_t number)
{
    struct mofka_chunk *chunk = calloc(1, sizeof *chunk);
    if (!chunk)
        return NULL;
    chunk->number = number;
    chunk->fd = -1;
    pthread_mutex_init(&chunk->lock, NULL);
    list_init(&chunk->idle);
    return chunk;
}

void mofka_chunk_destroy(struct mofka_chunk *chunk)
{
    if (!chunk)
        return;
    assert(chunk->pins == 0);
    mofka_chunk_unmap(chunk);
    (void)mofka_chunk_trim(chunk, NULL); /* else the next one to open it does */
    if (chunk->fd >= 0)
        close(chunk->fd);
    pthread_mutex_destroy(&chunk->lock);
    free(chunk->points);
    free(chunk);
}

static int write_header(const struct mofka_chunk *chunk, const uint8_t partition[16])
{
    struct mofka_chunk_header header = {.magic = MOFKA_CHUNK_MAGIC,
                                        .version = MOFKA_LOG_VERSION,
                                        .number = chunk->number,
                                        .first_id = chunk->first_id,
                                        .created_ns = chunk->created_ns};
    memcpy(header.partition, partition, sizeof header.partition);
    header.crc = dango_crc32c(0, &header, offsetof(struct mofka_chunk_header, crc));
    struct iovec iov = {&header, sizeof header};
    int status = mofka_log_write_all(&mofka_log_system_io, chunk->fd, &iov, 1, 0);
    return status == 0 && fsync(chunk->fd) != 0 ? -errno : status;
}

/* Makes the file under another name until its header is safe, so that a chunk without one is damage and nothing else. */
static int make_file(struct mofka_chunk *chunk, int directory, const char *name, const uint8_t partition[16])
{
    char temporary[MOFKA_CHUNK_NAME_MAX];
    mofka_chunk_name(chunk->number, "new", temporary);
    if (faccessat(directory, name, F_OK, 0) == 0)
        return -EEXIST;
    chunk->fd = openat(directory, temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (chunk->fd < 0)
        return -errno;
    int status = write_header(chunk, partition);
    if (status == 0 && renameat(directory, temporary, directory, name) != 0)
        status = -errno;
    if (status != 0)
        unlinkat(directory, temporary, 0);
    return status;
}

int mofka_chunk_create(int directory, uint64_t number, uint64_t first_id, const uint8_t partition[16],
                       struct mofka_chunk **result, bool *broken, struct dango_error *err)
{
    char name[MOFKA_CHUNK_NAME_MAX];
    mofka_chunk_name(number, "log", name);
    struct mofka_chunk *chunk = chunk_new(number);
    if (!chunk)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "%s: out of memory", name);
    chunk->first_id = first_id;
    chunk->created_ns = dango_clock_wall_ns();
    int status = make_file(chunk, directory, name, partition);
    /* The name must survive as well as the content, or recovery would find a hole in the numbers. */
    if (status == 0 && fsync(directory) != 0) {
        status = -errno;
        *broken = true;
    }
    if (status != 0) {
        mofka_chunk_destroy(chunk);
        return dango_file_error(err, -status, "%s: cannot create", name);
    }
    chunk->end = sizeof(struct mofka_chunk_header);
    atomic_store(&chunk->size, chunk->end);
    *result = chunk;
    return 0;
}

static int check_header(const struct mofka_chunk_header *header, const char *name, uint64_t number,
                        const uint8_t partition[16], struct dango_error *err)
{
    if (header->magic != MOFKA_CHUNK_MAGIC)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "%s: not a chunk of a partition: put it back from a copy", name);
    if (header->version > MOFKA_LOG_VERSION)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                               "%s: format version %u is newer than this program's %u: use the program that wrote it",
                               name, header->version, MOFKA_LOG_VERSION);
    if (header->crc != dango_crc32c(0, header, offsetof(struct mofka_chunk_header, crc)))
        return dango_error_set(err, DANGO_ERR_CORRUPT, "%s: damaged header: put the file back from a copy", name);
    if (memcmp(header->partition, partition, sizeof header->partition) != 0 || header->number != number)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "%s: belongs to another partition or has been renamed", name);
    return 0;
}

static int open_file(struct mofka_chunk *chunk, int directory, const char *name, int mode, const uint8_t partition[16],
                     struct dango_error *err)
{
    struct mofka_chunk_header header;
    struct stat info;
    chunk->fd = openat(directory, name, mode | O_CLOEXEC);
    if (chunk->fd < 0 || fstat(chunk->fd, &info) != 0)
        return dango_file_error(err, errno, "%s: cannot open", name);
    ssize_t n = pread(chunk->fd, &header, sizeof header, 0);
    if (n < 0)
        return dango_file_error(err, errno, "%s: cannot read", name);
    if ((size_t)n < sizeof header)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "%s: shorter than its header: put it back from a copy", name);
    int status = check_header(&header, name, chunk->number, partition, err);
    chunk->first_id = header.first_id;
    chunk->created_ns = header.created_ns;
    chunk->end = (size_t)info.st_size;
    atomic_store(&chunk->size, chunk->end);
    return status;
}

int mofka_chunk_open(int directory, uint64_t number, const uint8_t partition[16], bool last,
                     struct mofka_chunk **result, struct dango_error *err)
{
    char name[MOFKA_CHUNK_NAME_MAX];
    mofka_chunk_name(number, "log", name);
    struct mofka_chunk *chunk = chunk_new(number);
    if (!chunk)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "%s: out of memory", name);
    int status = open_file(chunk, directory, name, last ? O_RDWR : O_RDONLY, partition, err);
    if (status < 0) {
        mofka_chunk_destroy(chunk);
        return status;
    }
    if (!last) {
        close(chunk->fd);
        chunk->fd = -1;
        atomic_store(&chunk->sealed, true);
    }
    *result = chunk;
    return 0;
}

int mofka_chunk_cut(struct mofka_chunk *chunk, size_t offset, struct dango_error *err)
{
    assert(chunk->fd >= 0 && offset >= sizeof(struct mofka_chunk_header) && offset <= chunk->end);
    if (ftruncate(chunk->fd, (off_t)offset) != 0 || fdatasync(chunk->fd) != 0)
        return dango_file_error(err, errno, "chunk %" PRIu64 ": cannot cut the torn end", chunk->number);
    chunk->end = offset;
    atomic_store(&chunk->size, offset);
    return 0;
}

void mofka_chunk_reserve(struct mofka_chunk *chunk, size_t bytes, uint64_t limit)
{
    size_t used = chunk->end + bytes;
    if (++chunk->appends <= RESERVE_AFTER || used <= chunk->reserved || used >= limit)
        return;
    size_t want = used + RESERVE_BYTES < limit ? used + RESERVE_BYTES : (size_t)limit;
    /* What fails may have made the file longer all the same, and is not tried again before the bytes are used. */
    (void)fallocate(chunk->fd, 0, (off_t)chunk->end, (off_t)(want - chunk->end));
    chunk->reserved = want;
}

int mofka_chunk_trim(struct mofka_chunk *chunk, struct dango_error *err)
{
    if (chunk->fd < 0 || chunk->reserved <= chunk->end)
        return 0;
    if (ftruncate(chunk->fd, (off_t)chunk->end) != 0)
        return dango_file_error(err, errno, "chunk %" PRIu64 ": cannot give reserved space back", chunk->number);
    chunk->reserved = 0;
    return 0;
}

int mofka_chunk_append(struct mofka_chunk *chunk, const struct mofka_log_io *io, struct mofka_frame *const *frames,
                       size_t count, bool *broken, struct dango_error *err)
{
    assert(chunk->fd >= 0 && count > 0);
    struct iovec *iov = malloc(count * sizeof *iov);
    if (!iov)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    size_t bytes = 0;
    uint64_t events = 0;
    for (size_t i = 0; i < count; i++) {
        iov[i] = (struct iovec){frames[i], (size_t)mofka_frame_size(frames[i])};
        bytes += iov[i].iov_len;
        events += frames[i]->count;
    }
    int status = mofka_log_write_all(io, chunk->fd, iov, (int)count, (off_t)chunk->end);
    free(iov);
    if (status == 0) {
        chunk->end += bytes;
        chunk->events += events;
        return 0;
    }
    *broken = ftruncate(chunk->fd, (off_t)chunk->end) != 0;
    chunk->reserved = 0;
    return dango_file_error(err, -status, "chunk %" PRIu64 ": cannot write %zu bytes", chunk->number, bytes);
}

int mofka_chunk_map(struct mofka_chunk *chunk, int directory, size_t at_least, struct dango_error *err)
{
    if (chunk->region.base && chunk->mapped >= at_least && dango_bus_guard_faults(&chunk->guard) == 0)
        return 0;
    assert(chunk->pins == 0);
    char name[MOFKA_CHUNK_NAME_MAX];
    mofka_chunk_name(chunk->number, "log", name);
    mofka_chunk_unmap(chunk);
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dango_file_error(err, errno, "%s: cannot open", name);
    void *base = mmap(NULL, at_least, PROT_READ, MAP_SHARED, fd, 0);
    int errnum = errno;
    close(fd);
    if (base == MAP_FAILED)
        return dango_file_error(err, errnum, "%s: cannot map", name);
    if (dango_bus_guard_init(&chunk->guard, base, at_least) != 0) {
        munmap(base, at_least);
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "%s: out of memory", name);
    }
    chunk->region.base = base;
    chunk->region.guard = &chunk->guard;
    chunk->mapped = at_least;
    return 0;
}

void mofka_chunk_unmap(struct mofka_chunk *chunk)
{
    dango_bus_guard_fini(&chunk->guard);
    if (chunk->region.base)
        munmap(chunk->region.base, chunk->mapped);
    chunk->region.base = NULL;
    chunk->mapped = 0;
}
