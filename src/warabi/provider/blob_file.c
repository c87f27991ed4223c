/*
 * Reading and writing what blob_file.h describes.
 */
#include "warabi/provider/blob_file.h"

#include "util/crc32c.h"
#include "util/file.h"
#include "util/log.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAGIC    "dangoWB\n"
#define FILE_VERSION  1u
#define FIRST_BYTES   4096u /* before the first region */
#define RECORD_MAGIC  0x47455257u
#define WALK_BYTES    (1u << 20) /* read at a time where records may be near to each other */
#define SPARSE_BYTES  (1u << 16) /* from record to record: there, records are read by themselves */
#define OFFSET_MAX    ((uint64_t)INT64_MAX / 2)
#define ALIGNMENT_MAX (UINT64_C(1) << 30)

struct file_header {
    char magic[8];
    uint32_t version, step;
    uint64_t nonce;
    char zeros[36];
    uint32_t crc;
};
_Static_assert(sizeof(struct file_header) == WB_RECORD_SIZE, "as the format says");

struct raw_record {
    uint32_t magic, state;
    uint64_t offset, size, capacity, serial, nonce;
    char zeros[12];
    uint32_t crc;
};
_Static_assert(sizeof(struct raw_record) == WB_RECORD_SIZE, "as the format says");

/* ---- places ---- */

/* A multiple of the alignment and of the size of a record. */
static uint64_t step_of(uint64_t alignment)
{
    uint64_t step = alignment;
    while (step % WB_RECORD_SIZE != 0)
        step += alignment;
    return step;
}

static uint64_t align_up(uint64_t value, uint64_t step)
{
    return (value + step - 1) / step * step;
}

uint64_t wb_file_first(const struct wb_file *file)
{
    return align_up(FIRST_BYTES + WB_RECORD_SIZE, file->step);
}

uint64_t wb_file_next(const struct wb_file *file, uint64_t offset, uint64_t capacity)
{
    if (offset > OFFSET_MAX || capacity > OFFSET_MAX - offset)
        return 0;
    return align_up(offset + capacity + WB_RECORD_SIZE, file->step);
}

uint64_t wb_file_capacity(const struct wb_file *file, uint64_t offset, uint64_t size)
{
    uint64_t next = wb_file_next(file, offset, size);
    return next == 0 || next > OFFSET_MAX ? 0 : next - WB_RECORD_SIZE - offset;
}

/* ---- records ---- */

static bool decode(const struct wb_file *file, const struct raw_record *raw, uint64_t offset, struct wb_record *record)
{
    if (le32toh(raw->magic) != RECORD_MAGIC ||
        le32toh(raw->crc) != dango_crc32c(0, raw, offsetof(struct raw_record, crc)) ||
        le64toh(raw->nonce) != file->nonce || le64toh(raw->offset) != offset)
        return false;
    *record = (struct wb_record){
        .state = le32toh(raw->state),
        .offset = offset,
        .size = le64toh(raw->size),
        .capacity = le64toh(raw->capacity),
        .serial = le64toh(raw->serial),
    };
    return (record->state == WB_RECORD_USED || record->state == WB_RECORD_ERASED) && record->size <= record->capacity &&
           wb_file_next(file, offset, record->capacity) != 0;
}

int wb_file_read_record(const struct wb_file *file, uint64_t offset, struct wb_record *record, struct dango_error *err)
{
    struct raw_record raw;
    if (offset < wb_file_first(file) || offset > OFFSET_MAX || offset % file->step != 0)
        return 0;
    ssize_t n = abt_io_pread_all(file->io, file->fd, &raw, sizeof raw, (off_t)(offset - sizeof raw));
    if (n < 0)
        return dango_error_set_errno(err, (int)-n, "%s: cannot read at %" PRIu64, file->path, offset - sizeof raw);
    return (size_t)n == sizeof raw && decode(file, &raw, offset, record);
}

int wb_file_write_record(const struct wb_file *file, const struct wb_record *record, struct dango_error *err)
{
    assert(record->offset % file->step == 0 && record->size <= record->capacity);
    struct raw_record raw = {
        .magic = htole32(RECORD_MAGIC),
        .state = htole32(record->state),
        .offset = htole64(record->offset),
        .size = htole64(record->size),
        .capacity = htole64(record->capacity),
        .serial = htole64(record->serial),
        .nonce = htole64(file->nonce),
    };
    raw.crc = htole32(dango_crc32c(0, &raw, offsetof(struct raw_record, crc)));
    ssize_t n = abt_io_pwrite_all(file->io, file->fd, &raw, sizeof raw, (off_t)(record->offset - sizeof raw));
    if (n < 0)
        return dango_error_set_errno(err, (int)-n, "%s: cannot write", file->path);
    return 0;
}

/* ---- walking ---- */

/* A piece of the file, so that a walk along many small regions need not read each record by itself. */
struct window {
    char *bytes;
    uint64_t start;
    size_t size;
};

/* The bytes of the record before `offset`: 1; 0 at the end of the file. What has not been read yet is read in pieces of
 * `piece` bytes; where one cannot be read, the record alone, since what else is in the piece may be the content of a
 * region. */
static int look(const struct wb_file *file, struct window *window, uint64_t offset, size_t piece,
                struct raw_record *raw, struct dango_error *err)
{
    uint64_t start = offset - WB_RECORD_SIZE;
    if (start < window->start || start - window->start + WB_RECORD_SIZE > window->size) {
        ssize_t n = abt_io_pread_all(file->io, file->fd, window->bytes, piece, (off_t)start);
        if (n < 0 && piece > WB_RECORD_SIZE)
            n = abt_io_pread_all(file->io, file->fd, window->bytes, WB_RECORD_SIZE, (off_t)start);
        if (n < 0)
            return dango_error_set_errno(err, (int)-n, "%s: cannot read at %" PRIu64, file->path, start);
        window->start = start;
        window->size = (size_t)n;
    }
    if (start - window->start + WB_RECORD_SIZE > window->size)
        return 0;
    memcpy(raw, window->bytes + (start - window->start), sizeof *raw);
    return 1;
}

/* The place of the first valid record from `offset` on; 0: there is none before the end of the file. */
static int find_record(const struct wb_file *file, struct window *window, uint64_t offset, uint64_t *found,
                       struct dango_error *err)
{
    struct raw_record raw;
    struct wb_record record;
    int status = 0;
    *found = 0;
    while (*found == 0 && (status = look(file, window, offset, WALK_BYTES, &raw, err)) > 0) {
        if (decode(file, &raw, offset, &record))
            *found = offset;
        offset += file->step;
    }
    return status < 0 ? status : 0;
}

/* Behind damage at `offset`: where the walk goes on. */
static int pass_damage(const struct wb_file *file, struct window *window, uint64_t size, uint64_t *offset,
                       struct dango_error *err)
{
    uint64_t found;
    int status = find_record(file, window, *offset, &found, err);
    uint64_t stop = found ? found - WB_RECORD_SIZE : size;
    if (status == 0)
        log_error("warabi",
                  "%s: bytes %" PRIu64 " to %" PRIu64 " hold no valid region: damage, or regions that were being "
                  "created when the machine stopped; they stay as they are",
                  file->path, *offset - WB_RECORD_SIZE, stop - 1);
    *offset = found ? found : wb_file_next(file, size, 0);
    return status;
}

static int walk(const struct wb_file *file, struct window *window, uint64_t size,
                int (*visit)(void *arg, const struct wb_record *record), void *arg, uint64_t *end,
                struct dango_error *err)
{
    uint64_t offset = wb_file_first(file);
    size_t piece = WALK_BYTES;
    int status = 0;
    while (status >= 0 && offset <= size) {
        struct raw_record raw;
        struct wb_record record;
        status = look(file, window, offset, piece, &raw, err);
        if (status > 0 && decode(file, &raw, offset, &record)) {
            status = visit(arg, &record);
            uint64_t next = wb_file_next(file, offset, record.capacity);
            piece = next - offset < SPARSE_BYTES ? WALK_BYTES : WB_RECORD_SIZE;
            offset = next;
        } else if (status >= 0) {
            status = pass_damage(file, window, size, &offset, err);
        }
    }
    *end = offset;
    return status < 0 ? status : 0;
}

int wb_file_walk(const struct wb_file *file, int (*visit)(void *arg, const struct wb_record *record), void *arg,
                 uint64_t *end, struct dango_error *err)
{
    struct stat info;
    if (fstat(file->fd, &info) != 0)
        return dango_error_set_errno(err, errno, "%s", file->path);
    struct window window = {.bytes = malloc(WALK_BYTES)};
    if (!window.bytes)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = walk(file, &window, (uint64_t)info.st_size, visit, arg, end, err);
    free(window.bytes);
    return status;
}

/* ---- life ---- */

static int lock_file(const struct wb_file *file, struct dango_error *err)
{
    if (flock(file->fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return dango_error_set(err, DANGO_ERR_BUSY, "%s: another target has this file open", file->path);
    return dango_error_set_errno(err, errno, "%s: cannot lock", file->path);
}

static int write_header(struct wb_file *file, struct dango_error *err)
{
    struct file_header header = {.version = htole32(FILE_VERSION), .step = htole32((uint32_t)file->step)};
    if (getrandom(&file->nonce, sizeof file->nonce, 0) != (ssize_t)sizeof file->nonce)
        return dango_error_set(err, DANGO_ERR_IO, "no random numbers");
    memcpy(header.magic, FILE_MAGIC, sizeof header.magic);
    header.nonce = htole64(file->nonce);
    header.crc = htole32(dango_crc32c(0, &header, offsetof(struct file_header, crc)));
    ssize_t n = abt_io_pwrite_all(file->io, file->fd, &header, sizeof header, 0);
    if (n >= 0)
        n = abt_io_ftruncate(file->io, file->fd, FIRST_BYTES);
    if (n >= 0)
        n = abt_io_fdatasync(file->io, file->fd);
    return n < 0 ? dango_error_set_errno(err, (int)-n, "%s: cannot write", file->path) : 0;
}

static int read_header(struct wb_file *file, struct dango_error *err)
{
    struct file_header header = {0};
    ssize_t n = abt_io_pread_all(file->io, file->fd, &header, sizeof header, 0);
    if (n < 0)
        return dango_error_set_errno(err, (int)-n, "%s: cannot read", file->path);
    if (memcmp(header.magic, FILE_MAGIC, sizeof header.magic) != 0)
        return dango_error_set(
            err, DANGO_ERR_CORRUPT,
            "%s is not a file of Warabi regions; choose another path, or set \"override_if_exists\" to "
            "replace it",
            file->path);
    if (le32toh(header.version) > FILE_VERSION)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                               "%s: format %u is newer than this program's %u: use the program that wrote it",
                               file->path, le32toh(header.version), FILE_VERSION);
    file->nonce = le64toh(header.nonce);
    file->step = le32toh(header.step);
    if (le32toh(header.crc) != dango_crc32c(0, &header, offsetof(struct file_header, crc)) || file->step == 0 ||
        file->step % WB_RECORD_SIZE != 0)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "%s: the header of the file is damaged", file->path);
    return 0;
}

void wb_file_close(struct wb_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* Header, contents and mode of the file that will get the name; and the name, unless somebody else was faster. */
static int furnish(struct wb_file *file, const char *temporary, struct dango_error *err)
{
    if (fchmod(file->fd, 0644) != 0)
        return dango_error_set_errno(err, errno, "%s: cannot set its mode", temporary);
    int status = lock_file(file, err);
    if (status == 0)
        status = write_header(file, err);
    if (status == 0 && link(temporary, file->path) != 0)
        status = dango_error_set_errno(err, errno, "%s: cannot create", file->path);
    return status;
}

int wb_file_create(struct wb_file *file, int flags, uint64_t alignment, struct dango_error *err)
{
    char temporary[PATH_MAX];
    assert(alignment > 0 && alignment <= ALIGNMENT_MAX);
    file->step = step_of(alignment);
    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", file->path) >= (int)sizeof temporary)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: path is too long", file->path);
    int status = dango_file_make_parents(file->path, err);
    if (status < 0)
        return status;
    file->fd = mkostemp(temporary, O_CLOEXEC | flags);
    if (file->fd < 0)
        return dango_error_set_errno(err, errno, "%s: cannot create a file in its directory", file->path);
    status = furnish(file, temporary, err);
    unlink(temporary);
    if (status == 0)
        status = dango_file_sync_parent(file->path, err);
    if (status < 0)
        wb_file_close(file);
    return status;
}

int wb_file_open(struct wb_file *file, int flags, struct dango_error *err)
{
    file->fd = open(file->path, O_RDWR | O_CLOEXEC | flags);
    if (file->fd < 0 && errno == ENOENT)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "File %s does not exist (\"create_if_missing\" is false)",
                               file->path);
    if (file->fd < 0)
        return dango_error_set_errno(err, errno, "%s: cannot open", file->path);
    int status = lock_file(file, err);
    if (status == 0)
        status = read_header(file, err);
    if (status < 0)
        wb_file_close(file);
    return status;
}
