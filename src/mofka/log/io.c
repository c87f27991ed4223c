/*
 * Writing through the operations of io.h: system calls as the default, the loop that continues short writes, and what to
 * say when something fails.
 */
#include "mofka/log/io.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
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

const struct mofka_log_io mofka_log_system_io = {system_pwritev, system_fdatasync, NULL};

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

static const char *advice(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return "make room on its file system and try again";
    case EROFS:
        return "its file system is mounted read-only: mount it for writing, or choose another path";
    case EACCES:
    case EPERM:
        return "give the user of the server the right to write there, or choose another path";
    case EIO:
        return "the medium or its connection fails: see the messages of the kernel (dmesg)";
    case EMFILE:
    case ENFILE:
        return "let the server open more files (ulimit -n)";
    default:
        return NULL;
    }
}

int mofka_log_io_error(struct dango_error *err, int errnum, const char *format, ...)
{
    char what[DANGO_ERROR_TEXT_MAX];
    const char *todo = advice(errnum);
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    int code = dango_error_set_errno(err, errnum, "%s", what);
    if (err && todo) {
        snprintf(what, sizeof what, "%s", err->text);
        dango_error_set(err, code, "%s; %s", what, todo);
    }
    return code;
}
