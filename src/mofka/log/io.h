/*
 * How a log gets to the medium, behind pointers, so that a server can do it on its I/O controller (ABT-IO: in a pool or by
 * io_uring) and tests and tools without one: the two operations that decide its speed, and a place for whatever else may
 * take long (new chunks, removing old ones), where it holds up nobody but who asked for it. What is left, mainly opening,
 * goes to the system directly.
 *
 * All may block the calling thread or ULT, and return a negative errno value on failure.
 */
#ifndef DANGO_MOFKA_LOG_IO_H
#define DANGO_MOFKA_LOG_IO_H

#include <sys/types.h>
#include <sys/uio.h>

struct mofka_log_io {
    ssize_t (*pwritev)(void *arg, int fd, const struct iovec *iov, int count, off_t offset);
    int (*fdatasync)(void *arg, int fd);
    void *arg;
    int (*run)(void *arg, void (*body)(void *argument), void *argument); /* NULL: in the calling thread */
};

/* Plain system calls in the calling thread. */
extern const struct mofka_log_io mofka_log_system_io;

/* Runs `body` in the place for what may take long; in the calling thread if there is none, or it takes no more. */
void mofka_log_run(const struct mofka_log_io *io, void (*body)(void *argument), void *argument);

/* Writes all of it, continuing short writes; changes `iov`. 0 or a negative errno value. */
int mofka_log_write_all(const struct mofka_log_io *io, int fd, struct iovec *iov, int count, off_t offset);

#endif
