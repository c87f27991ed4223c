/*
 * Writing through the operations of io.h: system calls as the default, and the loop that continues short writes.
 */
#include "mofka/log/io.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

static ssize_t system_pwritev(void *arg, int fd, const struct iovec *iov, int count, off_t offset)
{
    (void)arg;
    ssize_t n = pwritev(fd, iov, count, offset);
    return n < 0 ? -errno : n;
}

static int system_fdatasync(void *arg, int fd)
{
    (void)arg;
    return fdatasync(fd) == 0 ? 0 : -errno;
}

const struct mofka_log_io mofka_log_system_io = {.pwritev = system_pwritev, .fdatasync = system_fdatasync};

void mofka_log_run(const struct mofka_log_io *io, void (*body)(void *argument), void *argument)
{
    if (!io->run || io->run(io->arg, body, argument) != 0)
        body(argument);
}

/* Steps over `written` bytes; returns how many vectors are used up entirely. */
static int advance(struct iovec *iov, int count, size_t written)
{
    int i = 0;
    while (i < count && written >= iov[i].iov_len)
        written -= iov[i++].iov_len;
    if (i < count) {
        iov[i].iov_base = (char *)iov[i].iov_base + written;
        iov[i].iov_len -= written;
    }
    return i;
}

int mofka_log_write_all(const struct mofka_log_io *io, int fd, struct iovec *iov, int count, off_t offset)
{
    assert(io && count >= 0);
    count -= advance(iov, count, 0);
    while (count > 0) {
        ssize_t n = io->pwritev(io->arg, fd, iov, count < IOV_MAX ? count : IOV_MAX, offset);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        int done = advance(iov, count, (size_t)n);
        iov += done;
        count -= done;
        offset += n;
    }
    return 0;
}
