/*
 * The public operations of abt-io.h: each is a struct abtio_call made from the arguments, run or started. The macro
 * defines the blocking and the _nb form of one operation from the same description.
 */
#include "abt-io/abtio.h"

#define UNPACK(...) __VA_ARGS__

#define OPERATION(NAME, TYPE, PARAMETERS, ...)                                                                         \
    TYPE abt_io_##NAME(abt_io_instance_id aid, UNPACK PARAMETERS)                                                      \
    {                                                                                                                  \
        struct abtio_call call = {__VA_ARGS__};                                                                        \
        return (TYPE)abtio_execute(aid, &call);                                                                        \
    }                                                                                                                  \
    abt_io_op_t *abt_io_##NAME##_nb(abt_io_instance_id aid, UNPACK PARAMETERS, TYPE *ret)                              \
    {                                                                                                                  \
        struct abtio_call call = {__VA_ARGS__};                                                                        \
        return abtio_start(aid, &call, ret, sizeof *ret);                                                              \
    }

/* clang-format off */

/* ---- descriptors ---- */

OPERATION(open, int, (const char *pathname, int flags, mode_t mode),
          .code = ABTIO_OPEN, .path = pathname, .flags = flags, .mode = mode)
OPERATION(openat, int, (int dirfd, const char *pathname, int flags, mode_t mode),
          .code = ABTIO_OPENAT, .fd = dirfd, .path = pathname, .flags = flags, .mode = mode)
OPERATION(mkostemp, int, (char *tpl, int flags),
          .code = ABTIO_MKOSTEMP, .buffer = tpl, .flags = flags)
OPERATION(close, int, (int fd),
          .code = ABTIO_CLOSE, .fd = fd)
OPERATION(lseek, off_t, (int fd, off_t offset, int whence),
          .code = ABTIO_LSEEK, .fd = fd, .length = offset, .flags = whence)

/* ---- data ---- */

OPERATION(read, ssize_t, (int fd, void *buf, size_t count),
          .code = ABTIO_READ, .fd = fd, .buffer = buf, .count = count, .offset = -1)
OPERATION(write, ssize_t, (int fd, const void *buf, size_t count),
          .code = ABTIO_WRITE, .fd = fd, .buffer = (void *)buf, .count = count, .offset = -1)
OPERATION(pread, ssize_t, (int fd, void *buf, size_t count, off_t offset),
          .code = ABTIO_PREAD, .fd = fd, .buffer = buf, .count = count, .offset = offset)
OPERATION(pwrite, ssize_t, (int fd, const void *buf, size_t count, off_t offset),
          .code = ABTIO_PWRITE, .fd = fd, .buffer = (void *)buf, .count = count, .offset = offset)
OPERATION(preadv, ssize_t, (int fd, const struct iovec *iov, int count, off_t offset),
          .code = ABTIO_PREADV, .fd = fd, .buffer = (void *)iov, .flags = count, .offset = offset)
OPERATION(pwritev, ssize_t, (int fd, const struct iovec *iov, int count, off_t offset),
          .code = ABTIO_PWRITEV, .fd = fd, .buffer = (void *)iov, .flags = count, .offset = offset)
OPERATION(pread_all, ssize_t, (int fd, void *buf, size_t count, off_t offset),
          .code = ABTIO_PREAD_ALL, .fd = fd, .buffer = buf, .count = count, .offset = offset)
OPERATION(pwrite_all, ssize_t, (int fd, const void *buf, size_t count, off_t offset),
          .code = ABTIO_PWRITE_ALL, .fd = fd, .buffer = (void *)buf, .count = count, .offset = offset)

/* ---- size and durability ---- */

OPERATION(ftruncate, int, (int fd, off_t length),
          .code = ABTIO_FTRUNCATE, .fd = fd, .length = length)
OPERATION(truncate, int, (char *path, off_t length),
          .code = ABTIO_TRUNCATE, .path = path, .length = length)
OPERATION(fallocate, int, (int fd, int mode, off_t offset, off_t len),
          .code = ABTIO_FALLOCATE, .fd = fd, .flags = mode, .offset = offset, .length = len)
OPERATION(fdatasync, int, (int fd),
          .code = ABTIO_FDATASYNC, .fd = fd)
OPERATION(fsync, int, (int fd),
          .code = ABTIO_FSYNC, .fd = fd)
OPERATION(sync_file_range, int, (int fd, off_t offset, off_t length, unsigned flags),
          .code = ABTIO_SYNC_FILE_RANGE, .fd = fd, .offset = offset, .length = length, .flags = (int)flags)

/* ---- names and attributes ---- */

OPERATION(unlink, int, (const char *pathname),
          .code = ABTIO_UNLINK, .path = pathname)
OPERATION(rename, int, (const char *from, const char *to),
          .code = ABTIO_RENAME, .path = from, .to = to)
OPERATION(mkdir, int, (const char *pathname, mode_t mode),
          .code = ABTIO_MKDIR, .path = pathname, .mode = mode)
OPERATION(stat, int, (char *pathname, struct stat *statbuf),
          .code = ABTIO_STAT, .path = pathname, .buffer = statbuf)
OPERATION(fstat, int, (int fd, struct stat *statbuf),
          .code = ABTIO_FSTAT, .fd = fd, .buffer = statbuf)
OPERATION(statfs, int, (char *path, struct statfs *statfsbuf),
          .code = ABTIO_STATFS, .path = path, .buffer = statfsbuf)

int dango_abt_io_run(abt_io_instance_id aid, void (*body)(void *argument), void *argument)
{
    struct abtio_call call = {.code = ABTIO_RUN, .body = body, .buffer = argument};
    return (int)abtio_execute(aid, &call);
}
