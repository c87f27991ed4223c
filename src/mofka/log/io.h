/*
 * The two operations of a log that decide its speed, behind pointers, so that a server can run them on its I/O controller
 * (ABT-IO: in a pool or by io_uring) and tests and tools without one. Everything else (opening, renaming, truncating) is
 * rare and goes to the system directly.
 *
 * Both may block the calling thread or ULT, and return a negative errno value on failure.
 */
#ifndef DANGO_MOFKA_LOG_IO_H
#define DANGO_MOFKA_LOG_IO_H

#include <sys/types.h>
#include <sys/uio.h>

struct mofka_log_io {
    ssize_t (*pwritev)(void *arg, int fd, const struct iovec *iov, int count, off_t offset);
    int (*fdatasync)(void *arg, int fd);
    void *arg;
};

/* Plain system calls in the calling thread. */
extern const struct mofka_log_io mofka_log_system_io;

/* Writes all of it, continuing short writes; changes `iov`. 0 or a negative errno value. */
int mofka_log_write_all(const struct mofka_log_io *io, int fd, struct iovec *iov, int count, off_t offset);

#endif
