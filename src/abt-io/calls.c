/*
 * The system calls behind the operations: one small function per call, and a table with what else must be known about
 * each. Everything runs in the thread that calls abtio_call_run and may block it.
 */
#include "abt-io/abtio.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int64_t run_open(const struct abtio_call *c)
{
    return open(c->path, c->flags, c->mode);
}

static int64_t run_openat(const struct abtio_call *c)
{
    return openat(c->fd, c->path, c->flags, c->mode);
}

static int64_t run_close(const struct abtio_call *c)
{
    return close(c->fd);
}

static int64_t run_read(const struct abtio_call *c)
{
    return read(c->fd, c->buffer, c->count);
}

static int64_t run_write(const struct abtio_call *c)
{
    return write(c->fd, c->buffer, c->count);
}

static int64_t run_pread(const struct abtio_call *c)
{
    return pread(c->fd, c->buffer, c->count, c->offset);
}

static int64_t run_pwrite(const struct abtio_call *c)
{
    return pwrite(c->fd, c->buffer, c->count, c->offset);
}

static int64_t run_preadv(const struct abtio_call *c)
{
    return preadv(c->fd, c->buffer, c->flags, c->offset);
}

static int64_t run_pwritev(const struct abtio_call *c)
{
    return pwritev(c->fd, c->buffer, c->flags, c->offset);
}

static int64_t run_lseek(const struct abtio_call *c)
{
    return lseek(c->fd, c->length, c->flags);
}

static int64_t run_ftruncate(const struct abtio_call *c)
{
    return ftruncate(c->fd, c->length);
}

static int64_t run_truncate(const struct abtio_call *c)
{
    return truncate(c->path, c->length);
}

static int64_t run_fallocate(const struct abtio_call *c)
{
    return fallocate(c->fd, c->flags, c->offset, c->length);
}

static int64_t run_fdatasync(const struct abtio_call *c)
{
    return fdatasync(c->fd);
}

static int64_t run_fsync(const struct abtio_call *c)
{
    return fsync(c->fd);
}

static int64_t run_sync_file_range(const struct abtio_call *c)
{
    return sync_file_range(c->fd, c->offset, c->length, (unsigned)c->flags);
}

static int64_t run_mkostemp(const struct abtio_call *c)
{
    return mkostemp(c->buffer, c->flags);
}

static int64_t run_unlink(const struct abtio_call *c)
{
    return unlink(c->path);
}

static int64_t run_rename(const struct abtio_call *c)
{
    return rename(c->path, c->to);
}

static int64_t run_mkdir(const struct abtio_call *c)
{
    return mkdir(c->path, c->mode);
}

static int64_t run_stat(const struct abtio_call *c)
{
    return stat(c->path, c->buffer);
}

static int64_t run_fstat(const struct abtio_call *c)
{
    return fstat(c->fd, c->buffer);
}

static int64_t run_statfs(const struct abtio_call *c)
{
    return statfs(c->path, c->buffer);
}

static int64_t run_body(const struct abtio_call *c)
{
    c->body(c->buffer);
    return 0;
}

/* Repeats one data call until everything is transferred; a transfer of 0 bytes ends it. */
static int64_t run_all(const struct abtio_call *c, enum abtio_code step_code)
{
    struct abtio_call step = *c;
    step.code = step_code;
    while (step.count > 0) {
        int64_t n = abtio_call_run(&step);
        if (n < 0) {
            errno = (int)-n;
            return -1;
        }
        if (n == 0)
            break;
        step.buffer = (char *)step.buffer + n;
        step.count -= (size_t)n;
        step.offset += n;
    }
    return (int64_t)(c->count - step.count);
}

static int64_t run_pread_all(const struct abtio_call *c)
{
    return run_all(c, ABTIO_PREAD);
}

static int64_t run_pwrite_all(const struct abtio_call *c)
{
    int64_t n = run_all(c, ABTIO_PWRITE);
    if (n >= 0 && (size_t)n < c->count) {
        errno = EIO;
        return -1;
    }
    return n;
}

enum transfer { NO_DATA, READS, WRITES };

static const struct {
    int64_t (*run)(const struct abtio_call *);
    const char *name; /* in traces */
    enum transfer transfer;
    bool vector; /* buffer is a struct iovec[flags] */
} table[] = {
    [ABTIO_OPEN] = {run_open, "open", NO_DATA, false},
    [ABTIO_OPENAT] = {run_openat, "openat", NO_DATA, false},
    [ABTIO_CLOSE] = {run_close, "close", NO_DATA, false},
    [ABTIO_READ] = {run_read, "read", READS, false},
    [ABTIO_WRITE] = {run_write, "write", WRITES, false},
    [ABTIO_PREAD] = {run_pread, "pread", READS, false},
    [ABTIO_PWRITE] = {run_pwrite, "pwrite", WRITES, false},
    [ABTIO_PREADV] = {run_preadv, "preadv", READS, true},
    [ABTIO_PWRITEV] = {run_pwritev, "pwritev", WRITES, true},
    [ABTIO_PREAD_ALL] = {run_pread_all, "pread", READS, false},
    [ABTIO_PWRITE_ALL] = {run_pwrite_all, "pwrite", WRITES, false},
    [ABTIO_LSEEK] = {run_lseek, "lseek", NO_DATA, false},
    [ABTIO_FTRUNCATE] = {run_ftruncate, "ftruncate", NO_DATA, false},
    [ABTIO_TRUNCATE] = {run_truncate, "truncate", NO_DATA, false},
    [ABTIO_FALLOCATE] = {run_fallocate, "fallocate", NO_DATA, false},
    [ABTIO_FDATASYNC] = {run_fdatasync, "sync", NO_DATA, false},
    [ABTIO_FSYNC] = {run_fsync, "fsync", NO_DATA, false},
    [ABTIO_SYNC_FILE_RANGE] = {run_sync_file_range, "sync_file_range", NO_DATA, false},
    [ABTIO_MKOSTEMP] = {run_mkostemp, "mkostemp", NO_DATA, false},
    [ABTIO_UNLINK] = {run_unlink, "unlink", NO_DATA, false},
    [ABTIO_RENAME] = {run_rename, "rename", NO_DATA, false},
    [ABTIO_MKDIR] = {run_mkdir, "mkdir", NO_DATA, false},
    [ABTIO_STAT] = {run_stat, "stat", NO_DATA, false},
    [ABTIO_FSTAT] = {run_fstat, "fstat", NO_DATA, false},
    [ABTIO_STATFS] = {run_statfs, "statfs", NO_DATA, false},
    [ABTIO_RUN] = {run_body, "run", NO_DATA, false},
};

int64_t abtio_call_run(const struct abtio_call *call)
{
    assert((size_t)call->code < sizeof table / sizeof *table);
    int64_t result;
    /* Linux releases the descriptor even when close is interrupted: a second close could hit somebody else's. */
    do
        result = table[call->code].run(call);
    while (result < 0 && errno == EINTR && call->code != ABTIO_CLOSE);
    return result < 0 ? -errno : result;
}

const char *abtio_call_name(enum abtio_code code)
{
    return table[code].name;
}

size_t abtio_call_bytes(const struct abtio_call *call)
{
    if (!table[call->code].vector)
        return call->count;
    const struct iovec *iov = call->buffer;
    size_t bytes = 0;
    for (int i = 0; i < call->flags; i++)
        bytes += iov[i].iov_len;
    return bytes;
}

bool abtio_call_is_read(enum abtio_code code)
{
    return table[code].transfer == READS;
}

bool abtio_call_is_write(enum abtio_code code)
{
    return table[code].transfer == WRITES;
}
