/*
 * ABT-IO: POSIX file calls that block the calling user-level thread, not the execution stream it runs on.
 *
 * An *instance* owns (or borrows) an Argobots pool; each call becomes a work unit in that pool and is executed by the
 * execution streams that serve it. Any number of instances may live in one process, each with its own engine.
 *
 *     abt_io_instance_id aid = abt_io_init(2);            two execution streams of their own
 *     int fd = abt_io_open(aid, "/tmp/data", O_RDWR | O_CREAT, 0644);
 *     ssize_t n = abt_io_pwrite(aid, fd, buffer, size, 0);
 *     if (n < 0) fprintf(stderr, "%s\n", strerror((int)-n));
 *
 * Results   The POSIX result, or -errno: never -1. errno of the caller means nothing. One system call per operation:
 *           transfers may be short, as in POSIX; only EINTR is retried. The _all forms continue short transfers.
 *           More than about 2 GiB in one call is a short transfer.
 * _nb       Returns at once; the result arrives in *ret, which holds -ENOSYS until then. With a NULL ret it is dropped.
 *           *ret, buffers and path strings must stay valid until the operation completed. A NULL handle: the operation
 *           could not be started, *ret says why (-ENOMEM, -EAGAIN: too many operations in flight, -EINVAL) and there
 *           is nothing to wait for.
 * Order     None between operations, even on one descriptor. A caller that needs order waits.
 * Threads   Everything may be called concurrently, from user-level threads and from plain pthreads (which sleep).
 *           Calls made while the instance is being finalised are executed by the caller itself.
 * Argobots must be initialised before the first and finalised after the last call.
 */
#ifndef ABT_IO_H
#define ABT_IO_H

#include <abt.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#ifdef __APPLE__
#include <sys/mount.h>
#else
#include <sys/vfs.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define ABT_IO_DEPRECATED(msg) __attribute__((deprecated(msg)))

typedef struct abt_io_instance *abt_io_instance_id;
#define ABT_IO_INSTANCE_NULL ((abt_io_instance_id)NULL)

/* An operation in flight. */
typedef struct abt_io_op abt_io_op_t;

struct abt_io_init_info {
    const char *json_config; /* NULL or "": all defaults */
    ABT_pool progress_pool;  /* where operations run; NULL: the instance makes a pool and streams of its own */
};

/* ---- life cycle ---- */

/* An instance with `backing_thread_count` execution streams of its own. NULL when < 1 or on failure (logged). */
abt_io_instance_id abt_io_init(int backing_thread_count);

/* The general form; `args` may be NULL. Blocks until the engine is ready. NULL on failure, with a logged reason. */
abt_io_instance_id abt_io_init_ext(const struct abt_io_init_info *args);

abt_io_instance_id abt_io_init_pool(ABT_pool progress_pool) ABT_IO_DEPRECATED("use abt_io_init_ext");

/*
 * Waits for every operation in flight, then releases the instance. An external pool is left alone; it must still be
 * served by somebody while this waits. Descriptors stay open. Operation handles stay valid until abt_io_op_free.
 */
void abt_io_finalize(abt_io_instance_id aid);

/* ---- operations: open(2), pwrite(2), … with the same arguments ---- */

int abt_io_open(abt_io_instance_id aid, const char *pathname, int flags, mode_t mode);
abt_io_op_t *abt_io_open_nb(abt_io_instance_id aid, const char *pathname, int flags, mode_t mode, int *ret);

ssize_t abt_io_pwrite(abt_io_instance_id aid, int fd, const void *buf, size_t count, off_t offset);
abt_io_op_t *abt_io_pwrite_nb(abt_io_instance_id aid, int fd, const void *buf, size_t count, off_t offset,
                              ssize_t *ret);

ssize_t abt_io_write(abt_io_instance_id aid, int fd, const void *buf, size_t count);
abt_io_op_t *abt_io_write_nb(abt_io_instance_id aid, int fd, const void *buf, size_t count, ssize_t *ret);

ssize_t abt_io_pread(abt_io_instance_id aid, int fd, void *buf, size_t count, off_t offset);
abt_io_op_t *abt_io_pread_nb(abt_io_instance_id aid, int fd, void *buf, size_t count, off_t offset, ssize_t *ret);

ssize_t abt_io_read(abt_io_instance_id aid, int fd, void *buf, size_t count);
abt_io_op_t *abt_io_read_nb(abt_io_instance_id aid, int fd, void *buf, size_t count, ssize_t *ret);

int abt_io_ftruncate(abt_io_instance_id aid, int fd, off_t length);
abt_io_op_t *abt_io_ftruncate_nb(abt_io_instance_id aid, int fd, off_t length, int *ret);

off_t abt_io_lseek(abt_io_instance_id aid, int fd, off_t offset, int whence);
abt_io_op_t *abt_io_lseek_nb(abt_io_instance_id aid, int fd, off_t offset, int whence, off_t *ret);

/* Edits `tpl` in place, like mkostemp(3). */
int abt_io_mkostemp(abt_io_instance_id aid, char *tpl, int flags);
abt_io_op_t *abt_io_mkostemp_nb(abt_io_instance_id aid, char *tpl, int flags, int *ret);

int abt_io_unlink(abt_io_instance_id aid, const char *pathname);
abt_io_op_t *abt_io_unlink_nb(abt_io_instance_id aid, const char *pathname, int *ret);

/* Covers writes that completed before it was issued. */
int abt_io_fdatasync(abt_io_instance_id aid, int fd);
abt_io_op_t *abt_io_fdatasync_nb(abt_io_instance_id aid, int fd, int *ret);

/* As for close(2), the descriptor is released whatever the result; EINTR is therefore not retried. */
int abt_io_close(abt_io_instance_id aid, int fd);
abt_io_op_t *abt_io_close_nb(abt_io_instance_id aid, int fd, int *ret);

int abt_io_fallocate(abt_io_instance_id aid, int fd, int mode, off_t offset, off_t len);
abt_io_op_t *abt_io_fallocate_nb(abt_io_instance_id aid, int fd, int mode, off_t offset, off_t len, int *ret);

int abt_io_stat(abt_io_instance_id aid, char *pathname, struct stat *statbuf);
int abt_io_statfs(abt_io_instance_id aid, char *path, struct statfs *statfsbuf);
int abt_io_truncate(abt_io_instance_id aid, char *path, off_t length);

/* ---- operations that the original ABT-IO does not have ---- */

abt_io_op_t *abt_io_stat_nb(abt_io_instance_id aid, char *pathname, struct stat *statbuf, int *ret);
abt_io_op_t *abt_io_statfs_nb(abt_io_instance_id aid, char *path, struct statfs *statfsbuf, int *ret);
abt_io_op_t *abt_io_truncate_nb(abt_io_instance_id aid, char *path, off_t length, int *ret);

int abt_io_fstat(abt_io_instance_id aid, int fd, struct stat *statbuf);
abt_io_op_t *abt_io_fstat_nb(abt_io_instance_id aid, int fd, struct stat *statbuf, int *ret);

int abt_io_fsync(abt_io_instance_id aid, int fd);
abt_io_op_t *abt_io_fsync_nb(abt_io_instance_id aid, int fd, int *ret);

int abt_io_sync_file_range(abt_io_instance_id aid, int fd, off_t offset, off_t length, unsigned flags);
abt_io_op_t *abt_io_sync_file_range_nb(abt_io_instance_id aid, int fd, off_t offset, off_t length, unsigned flags,
                                       int *ret);

int abt_io_openat(abt_io_instance_id aid, int dirfd, const char *pathname, int flags, mode_t mode);
abt_io_op_t *abt_io_openat_nb(abt_io_instance_id aid, int dirfd, const char *pathname, int flags, mode_t mode,
                              int *ret);

int abt_io_mkdir(abt_io_instance_id aid, const char *pathname, mode_t mode);
abt_io_op_t *abt_io_mkdir_nb(abt_io_instance_id aid, const char *pathname, mode_t mode, int *ret);

int abt_io_rename(abt_io_instance_id aid, const char *from, const char *to);
abt_io_op_t *abt_io_rename_nb(abt_io_instance_id aid, const char *from, const char *to, int *ret);

/* The vector must stay valid until completion, as the buffers it names. */
ssize_t abt_io_pwritev(abt_io_instance_id aid, int fd, const struct iovec *iov, int count, off_t offset);
abt_io_op_t *abt_io_pwritev_nb(abt_io_instance_id aid, int fd, const struct iovec *iov, int count, off_t offset,
                               ssize_t *ret);

ssize_t abt_io_preadv(abt_io_instance_id aid, int fd, const struct iovec *iov, int count, off_t offset);
abt_io_op_t *abt_io_preadv_nb(abt_io_instance_id aid, int fd, const struct iovec *iov, int count, off_t offset,
                              ssize_t *ret);

/*
 * The whole of `count` bytes: short transfers are continued. The result is `count`; for a read less only at the end
 * of the file; or -errno, and then an unknown part has been transferred. A write that makes no progress is -EIO.
 */
ssize_t abt_io_pwrite_all(abt_io_instance_id aid, int fd, const void *buf, size_t count, off_t offset);
abt_io_op_t *abt_io_pwrite_all_nb(abt_io_instance_id aid, int fd, const void *buf, size_t count, off_t offset,
                                  ssize_t *ret);

ssize_t abt_io_pread_all(abt_io_instance_id aid, int fd, void *buf, size_t count, off_t offset);
abt_io_op_t *abt_io_pread_all_nb(abt_io_instance_id aid, int fd, void *buf, size_t count, off_t offset, ssize_t *ret);

/* ---- operation handles ---- */

/* Suspends the caller until the operation completed; afterwards returns at once. 0, or -1 if waiting is impossible. */
int abt_io_op_wait(abt_io_op_t *op);

/* Whether the operation completed (1) or not (0). Never blocks. */
int abt_io_op_test(abt_io_op_t *op);

/*
 * Releases a handle, once per handle, NULL allowed. Neither waits nor cancels: an operation that is still in flight
 * goes on, and its buffers and *ret must stay valid until it completed (abt_io_finalize waits for it).
 */
void abt_io_op_free(abt_io_op_t *op);

/* ---- introspection ---- */

/* Operations issued and not yet completed, queued or running. (size_t)-1 for a NULL instance. */
size_t abt_io_get_pending_op_count(abt_io_instance_id aid);

/* The effective configuration as JSON text, to be released with free(). NULL for a NULL instance. */
char *abt_io_get_config(abt_io_instance_id aid);

#ifdef __cplusplus
}
#endif

#endif
