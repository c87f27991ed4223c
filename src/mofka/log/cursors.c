/*
 * The file of consumer positions: see cursors.h.
 */
#include "mofka/log/cursors.h"

#include "mofka/log/format.h"
#include "util/crc32c.h"
#include "util/file.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME      MOFKA_CURSORS_NAME
#define TEMPORARY_NAME FILE_NAME ".new"
#define FILE_SIZE_MAX  ((size_t)256 << 20)
#define WASTE_MIN      4096u               /* records, below which rewriting is not worth it */
#define DAMAGE_MAX     ((size_t)128 << 10) /* searched for the next whole record: more than one is long */

enum { RECORD_REMOVED = 1 };

struct record {
    uint32_t crc;
    uint16_t name_length;
    uint16_t flags;
    uint64_t next_id;
};

_Static_assert(sizeof(struct record) == 16, "part of a file format");

/* Bytes to be written, growing. */
struct bytes {
    unsigned char *base;
    size_t size, capacity;
};

struct mofka_cursors {
    char path[PATH_MAX]; /* of the file, for messages */
    int directory;
    int fd;
    uint8_t partition[16];
    const struct mofka_log_io *io;
    bool name_unsafe;     /* the file's name is not on the medium for certain: nothing in it is safe */
    bool failing;         /* the last sync did: `pending` holds what it was to write */
    size_t end;           /* of the file */
    size_t records;       /* in the file */
    size_t new_records;   /* in `pending` */
    struct bytes pending; /* prepared, not yet safe */
};

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static unsigned char *extend(struct bytes *bytes, size_t more, struct dango_error *err)
{
    if (bytes->size + more > bytes->capacity) {
        size_t capacity = 2 * bytes->capacity + more + 256;
        unsigned char *base = realloc(bytes->base, capacity);
        if (!base) {
            dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
            return NULL;
        }
        bytes->base = base;
        bytes->capacity = capacity;
    }
    bytes->size += more;
    return memset(bytes->base + bytes->size - more, 0, more);
}

static size_t record_size(size_t name_length)
{
    return padded(sizeof(struct record) + name_length);
}

static void fill_record(unsigned char *to, const char *name, uint64_t next_id, uint16_t flags)
{
    size_t length = strlen(name), size = record_size(length);
    struct record record = {.name_length = (uint16_t)length, .flags = flags, .next_id = next_id};
    memcpy(to, &record, sizeof record);
    memcpy(to + sizeof record, name, length); /* NOLINT(bugprone-not-null-terminated-result): its length is beside it */
    record.crc = dango_crc32c(0, to + sizeof record.crc, size - sizeof record.crc);
    memcpy(to, &record.crc, sizeof record.crc);
}

static int add_record(struct bytes *bytes, const char *name, uint64_t next_id, uint16_t flags, struct dango_error *err)
{
    assert(strlen(name) <= UINT16_MAX);
    unsigned char *to = extend(bytes, record_size(strlen(name)), err);
    if (!to)
        return DANGO_ERR_NO_MEMORY;
    fill_record(to, name, next_id, flags);
    return 0;
}

/* The prepared record of this name, or NULL. */
static unsigned char *find_prepared(const struct mofka_cursors *cursors, const char *name)
{
    size_t length = strlen(name), offset = 0;
    while (offset < cursors->pending.size) {
        unsigned char *at = cursors->pending.base + offset;
        struct record record;
        memcpy(&record, at, sizeof record);
        if (record.name_length == length && memcmp(at + sizeof record, name, length) == 0)
            return at;
        offset += record_size(record.name_length);
    }
    return NULL;
}

static int add_header(struct bytes *bytes, const uint8_t partition[16], struct dango_error *err)
{
    struct mofka_chunk_header header = {.magic = MOFKA_CURSORS_MAGIC, .version = MOFKA_LOG_VERSION};
    memcpy(header.partition, partition, sizeof header.partition);
    header.crc = dango_crc32c(0, &header, offsetof(struct mofka_chunk_header, crc));
    unsigned char *to = extend(bytes, sizeof header, err);
    if (to)
        memcpy(to, &header, sizeof header);
    return to ? 0 : DANGO_ERR_NO_MEMORY;
}

/* While the file cannot be written, what waits for it must not grow with every attempt: one record for a name. */
static int prepare(struct mofka_cursors *cursors, const char *name, uint64_t next_id, uint16_t flags,
                   struct dango_error *err)
{
    unsigned char *prepared = cursors->failing ? find_prepared(cursors, name) : NULL;
    if (prepared) {
        fill_record(prepared, name, next_id, flags);
        return 0;
    }
    cursors->new_records++;
    return add_record(&cursors->pending, name, next_id, flags, err);
}

int dango_mofka_cursors_set(struct mofka_cursors *cursors, const char *name, uint64_t next_id, struct dango_error *err)
{
    return prepare(cursors, name, next_id, 0, err);
}

int dango_mofka_cursors_remove(struct mofka_cursors *cursors, const char *name, struct dango_error *err)
{
    return prepare(cursors, name, 0, RECORD_REMOVED, err);
}

static int sync_name(struct mofka_cursors *cursors)
{
    if (cursors->name_unsafe && fsync(cursors->directory) != 0)
        return -errno;
    cursors->name_unsafe = false;
    return 0;
}

int dango_mofka_cursors_sync(struct mofka_cursors *cursors, struct dango_error *err)
{
    if (cursors->pending.size == 0)
        return 0;
    struct iovec iov = {cursors->pending.base, cursors->pending.size};
    int status = sync_name(cursors);
    if (status == 0)
        status = mofka_log_write_all(cursors->io, cursors->fd, &iov, 1, (off_t)cursors->end);
    if (status == 0)
        status = cursors->io->fdatasync(cursors->io->arg, cursors->fd);
    cursors->failing = status != 0;
    if (status != 0)
        return dango_file_error(err, -status, "%s: cannot save the positions of consumers", cursors->path);
    cursors->end += cursors->pending.size;
    cursors->records += cursors->new_records;
    cursors->pending.size = cursors->new_records = 0;
    return 0;
}

bool dango_mofka_cursors_is_wasteful(const struct mofka_cursors *cursors, size_t live)
{
    return cursors->records > WASTE_MIN && cursors->records / 4 > live;
}

/* A new file with these bytes takes the place of the old one. From the renaming on it is the one that counts, even if the
 * directory could not be synced: no position is acknowledged before that has been made up for. */
static int replace_file(struct mofka_cursors *cursors, const struct bytes *bytes, struct dango_error *err)
{
    struct iovec iov = {bytes->base, bytes->size};
    int fd = openat(cursors->directory, TEMPORARY_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int status = fd < 0 ? -errno : mofka_log_write_all(&mofka_log_system_io, fd, &iov, 1, 0);
    if (status == 0 &&
        (fdatasync(fd) != 0 || renameat(cursors->directory, TEMPORARY_NAME, cursors->directory, FILE_NAME)))
        status = -errno;
    if (status != 0) {
        if (fd >= 0)
            close(fd);
        return dango_file_error(err, -status, "%s: cannot write", cursors->path);
    }
    if (cursors->fd >= 0)
        close(cursors->fd);
    cursors->fd = fd;
    cursors->end = bytes->size;
    cursors->name_unsafe = true;
    status = sync_name(cursors);
    if (status != 0)
        log_warning("mofka-log", "%s: cannot sync its directory: %s; it is tried again with the next position",
                    cursors->path, strerror(-status));
    return 0;
}

int dango_mofka_cursors_rewrite(struct mofka_cursors *cursors, mofka_cursor_next next, void *arg,
                                struct dango_error *err)
{
    struct bytes bytes = {0};
    const char *name;
    uint64_t next_id;
    size_t records = 0;
    int status = add_header(&bytes, cursors->partition, err);
    while (status == 0 && next(arg, &name, &next_id)) {
        status = add_record(&bytes, name, next_id, 0, err);
        records++;
    }
    if (status == 0)
        status = replace_file(cursors, &bytes, err);
    if (status == 0) {
        cursors->records = records;
        cursors->pending.size = cursors->new_records = 0;
    }
    free(bytes.base);
    return status;
}

/* ---- opening ---- */

/* The record at `at`, or 0 when there is no whole one. */
static size_t parse_record(const char *at, size_t available, struct record *record, char name[UINT16_MAX + 1])
{
    if (available < sizeof *record)
        return 0;
    memcpy(record, at, sizeof *record);
    size_t size = record_size(record->name_length);
    if (size > available || record->crc != dango_crc32c(0, at + sizeof record->crc, size - sizeof record->crc))
        return 0;
    memcpy(name, at + sizeof *record, record->name_length);
    name[record->name_length] = '\0';
    return size;
}

static int check_header(const char *bytes, size_t size, const uint8_t partition[16], struct dango_error *err)
{
    struct mofka_chunk_header header;
    if (size < sizeof header)
        return dango_error_set(err, DANGO_ERR_CORRUPT,
                               FILE_NAME ": shorter than its header; move it away to start all "
                                         "consumers at the first event");
    memcpy(&header, bytes, sizeof header);
    if (header.magic == MOFKA_CURSORS_MAGIC && header.version > MOFKA_LOG_VERSION)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED, FILE_NAME ": written by a newer version of this program");
    if (header.magic != MOFKA_CURSORS_MAGIC || memcmp(header.partition, partition, sizeof header.partition) != 0 ||
        header.crc != dango_crc32c(0, &header, offsetof(struct mofka_chunk_header, crc)))
        return dango_error_set(err, DANGO_ERR_CORRUPT,
                               FILE_NAME ": damaged, or of another partition; move it away to start all consumers at "
                                         "the first event");
    return 0;
}

/* What a walk found in the file. */
struct extent {
    size_t end;     /* of the last whole record */
    size_t damaged; /* bytes before that which are none */
    size_t records;
};

/* Visits the whole records. Between them there may be damage; records behind it were told to be safe, too. */
static int walk(const char *bytes, size_t size, const uint8_t partition[16], mofka_cursor_visit visit, void *arg,
                struct extent *extent, struct dango_error *err)
{
    char name[UINT16_MAX + 1];
    struct record record;
    int status = check_header(bytes, size, partition, err);
    if (status < 0)
        return status;
    *extent = (struct extent){.end = sizeof(struct mofka_chunk_header)};
    for (size_t offset = extent->end; status == 0 && offset < size && offset - extent->end <= DAMAGE_MAX;) {
        size_t n = parse_record(bytes + offset, size - offset, &record, name);
        if (n == 0) {
            offset += 8;
            continue;
        }
        status = visit(arg, name, record.next_id, record.flags & RECORD_REMOVED, err);
        extent->records++;
        extent->damaged += offset - extent->end;
        offset += n;
        extent->end = offset;
    }
    return status;
}

int dango_mofka_cursors_read(int directory, const uint8_t partition[16], mofka_cursor_visit visit, void *arg,
                             size_t *whole, size_t *torn, size_t *damaged, struct dango_error *err)
{
    char path[64];
    size_t size;
    struct extent extent = {0};
    *whole = *torn = *damaged = 0;
    int fd = openat(directory, FILE_NAME, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : dango_error_set_errno(err, errno, FILE_NAME ": cannot open");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    char *bytes = dango_file_read(path, FILE_SIZE_MAX, &size, err);
    close(fd);
    if (!bytes)
        return err ? err->code : DANGO_ERR_IO;
    int status = walk(bytes, size, partition, visit, arg, &extent, err);
    free(bytes);
    *whole = extent.end;
    *damaged = extent.damaged;
    *torn = status == 0 ? size - extent.end : 0;
    return status;
}

static int load(struct mofka_cursors *cursors, const char *bytes, size_t size, mofka_cursor_visit visit, void *arg,
                struct dango_error *err)
{
    struct extent extent = {0};
    int status = walk(bytes, size, cursors->partition, visit, arg, &extent, err);
    if (status == 0 && extent.damaged > 0)
        log_error("mofka-log",
                  "%s: %zu bytes are damaged: consumers whose last position was there start at an earlier one",
                  cursors->path, extent.damaged);
    if (status == 0 && extent.end < size) {
        log_warning("mofka-log", "%s: %zu bytes at the end are no whole record: cut off", cursors->path,
                    size - extent.end);
        if (ftruncate(cursors->fd, (off_t)extent.end) != 0)
            return dango_file_error(err, errno, FILE_NAME ": cannot cut the torn end");
    }
    cursors->end = extent.end;
    cursors->records = extent.records;
    return status;
}

static bool no_positions(void *arg, const char **name, uint64_t *next_id)
{
    (void)arg, (void)name, (void)next_id;
    return false;
}

static void set_path(struct mofka_cursors *cursors)
{
    char link[64], directory[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", cursors->directory);
    ssize_t n = readlink(link, directory, sizeof directory);
    snprintf(cursors->path, sizeof cursors->path, "%.*s/" FILE_NAME, n > 0 ? (int)n : (int)strlen(link),
             n > 0 ? directory : link);
}

int dango_mofka_cursors_open(int directory, const uint8_t partition[16], const struct mofka_log_io *io,
                             mofka_cursor_visit visit, void *arg, struct mofka_cursors **result,
                             struct dango_error *err)
{
    struct mofka_cursors *cursors = calloc(1, sizeof *cursors);
    if (!cursors)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    cursors->directory = directory;
    cursors->io = io;
    memcpy(cursors->partition, partition, sizeof cursors->partition);
    set_path(cursors);
    cursors->fd = openat(directory, FILE_NAME, O_RDWR | O_CLOEXEC);
    int status = 0;
    if (cursors->fd < 0 && errno == ENOENT) {
        status = dango_mofka_cursors_rewrite(cursors, no_positions, NULL, err);
    } else if (cursors->fd < 0) {
        status = dango_file_error(err, errno, "%s: cannot open", cursors->path);
    } else {
        size_t size;
        char *bytes = dango_file_read(cursors->path, FILE_SIZE_MAX, &size, err);
        status = bytes ? load(cursors, bytes, size, visit, arg, err) : DANGO_ERR_IO;
        if (bytes && status < 0)
            dango_error_prefix(err, "%.*s", (int)(strlen(cursors->path) - strlen("/" FILE_NAME)), cursors->path);
        free(bytes);
    }
    if (status < 0) {
        dango_mofka_cursors_close(cursors);
        return status;
    }
    *result = cursors;
    return 0;
}

void dango_mofka_cursors_close(struct mofka_cursors *cursors)
{
    if (!cursors)
        return;
    if (cursors->fd >= 0)
        close(cursors->fd);
    free(cursors->pending.base);
    free(cursors);
}
