/*
 * Whole files: see file.h.
 */
#include "util/file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What follows the name of a file in that of its temporaries, which end in six such characters; not what people call their
 * copies. */
#define TEMPORARY    ".new-"
#define ALPHANUMERIC "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
/* As many as the kernel follows. */
#define LINKS_MAX 40

/* What an operator can do about a failed call; NULL: that depends. */
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
        return "give this user the right to it, or choose another path";
    case EIO:
        return "the medium or its connection fails: see the messages of the kernel (dmesg)";
    case EMFILE:
    case ENFILE:
        return "let the process open more files (ulimit -n)";
    default:
        return NULL;
    }
}

int dango_file_error(struct dango_error *err, int errnum, const char *format, ...)
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

/* Reads until end of file; the size is not trusted from stat, since pipes and /proc files report 0. */
static char *read_all(int fd, const char *path, size_t size_max, size_t *size, struct dango_error *err)
{
    size_t capacity = 4096, length = 0;
    char *bytes = malloc(capacity);
    while (bytes) {
        ssize_t n = read(fd, bytes + length, capacity - length - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            dango_file_error(err, errno, "%s: cannot read", path);
            break;
        }
        if (n == 0) {
            bytes[length] = '\0';
            *size = length;
            return bytes;
        }
        length += (size_t)n;
        if (length > size_max) {
            dango_error_set(err, DANGO_ERR_RANGE, "%s: larger than the %zu bytes allowed", path, size_max);
            break;
        }
        if (length + 1 == capacity) {
            capacity *= 2;
            char *larger = realloc(bytes, capacity);
            if (!larger)
                dango_error_set(err, DANGO_ERR_NO_MEMORY, "%s: out of memory", path);
            if (!larger)
                break;
            bytes = larger;
        }
    }
    free(bytes);
    return NULL;
}

char *dango_file_read(const char *path, size_t size_max, size_t *size, struct dango_error *err)
{
    assert(path && size);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        dango_file_error(err, errno, "%s: cannot open", path);
        return NULL;
    }
    char *bytes = read_all(fd, path, size_max, size, err);
    close(fd);
    return bytes;
}

static int write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        size -= (size_t)n;
    }
    return 0;
}

int dango_file_sync_directory(const char *path, struct dango_error *err)
{
    assert(path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return dango_file_error(err, errno, "%s: cannot open the directory", path);
    /* Some file systems keep directories without being asked, and say EINVAL. */
    int errnum = fsync(fd) == 0 || errno == EINVAL ? 0 : errno;
    close(fd);
    return errnum == 0 ? 0 : dango_file_error(err, errnum, "%s: cannot sync the directory", path);
}

int dango_file_sync_parent(const char *path, struct dango_error *err)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash)
        return dango_file_sync_directory(".", err);
    snprintf(directory, sizeof directory, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return dango_file_sync_directory(directory, err);
}

/* Without waiting for somebody who reads a pipe: there may be nobody. */
static int write_into(const char *path, const void *bytes, size_t size, struct dango_error *err)
{
    int fd = open(path, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    int failed = fd < 0 || fcntl(fd, F_SETFL, 0) != 0 || write_all(fd, bytes, size) != 0;
    int errnum = errno;
    if (fd >= 0)
        close(fd);
    return failed ? dango_file_error(err, errnum, "%s: cannot write", path) : 0;
}

static int replace(const char *path, const void *bytes, size_t size, struct dango_error *err)
{
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof temporary, "%s" TEMPORARY "XXXXXX", path) >= (int)sizeof temporary)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: path is too long", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return dango_file_error(err, errno, "%s: cannot create a file in its directory", path);
    mode_t mask = umask(0);
    umask(mask);
    int failed = fchmod(fd, 0666 & ~mask) != 0 || write_all(fd, bytes, size) != 0 || fsync(fd) != 0 ||
                 rename(temporary, path) != 0;
    int errnum = errno;
    close(fd);
    if (!failed)
        return dango_file_sync_parent(path, err);
    unlink(temporary);
    return dango_file_error(err, errnum, "%s: cannot write", path);
}

/* Where symbolic links lead from `path`, which need not exist. */
static int follow(const char *path, char target[PATH_MAX], struct dango_error *err)
{
    char link[PATH_MAX], next[PATH_MAX];
    ssize_t n = 0;
    if (snprintf(target, PATH_MAX, "%s", path) >= PATH_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: path is too long", path);
    for (int links = 0; (n = readlink(target, link, sizeof link)) >= 0; links++) {
        const char *slash = strrchr(target, '/');
        int directory = slash && link[0] != '/' ? (int)(slash + 1 - target) : 0; /* relative links begin in theirs */
        if (links == LINKS_MAX)
            return dango_file_error(err, ELOOP, "%s: cannot follow", path);
        if (snprintf(next, sizeof next, "%.*s%.*s", directory, target, (int)n, link) >= (int)sizeof next)
            return dango_error_set(err, DANGO_ERR_INVALID, "%s: leads to a path that is too long", path);
        memcpy(target, next, sizeof next);
    }
    return 0; /* what is no link, or cannot be looked at, is for who opens it */
}

int dango_file_write(const char *path, const void *bytes, size_t size, struct dango_error *err)
{
    assert(path && (bytes || size == 0));
    struct stat status;
    char target[PATH_MAX];
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
        return write_into(path, bytes, size, err);
    int code = follow(path, target, err);
    return code < 0 ? code : replace(target, bytes, size, err);
}

/* Whether `name` is a temporary of the file called `base`. */
static bool is_temporary(const char *name, const char *base)
{
    size_t length = strlen(base);
    const char *tail = name + length + strlen(TEMPORARY);
    return strncmp(name, base, length) == 0 && strncmp(name + length, TEMPORARY, strlen(TEMPORARY)) == 0 &&
           strlen(tail) == 6 && strspn(tail, ALPHANUMERIC) == 6;
}

static void remove_old(int directory, const char *name, unsigned age_s)
{
    struct stat status;
    if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
        status.st_uid == geteuid() && time(NULL) - status.st_mtime >= (time_t)age_s)
        unlinkat(directory, name, 0);
}

void dango_file_remove_litter(const char *path, unsigned age_s)
{
    assert(path);
    char target[PATH_MAX];
    if (follow(path, target, NULL) < 0)
        return;
    const char *slash = strrchr(target, '/'), *base = slash ? slash + 1 : target;
    char *where = slash ? strndup(target, slash == target ? 1 : (size_t)(slash - target)) : strdup(".");
    DIR *directory = where ? opendir(where) : NULL;
    struct dirent *entry;
    while (directory && (entry = readdir(directory)))
        if (is_temporary(entry->d_name, base))
            remove_old(dirfd(directory), entry->d_name, age_s);
    if (directory)
        closedir(directory);
    free(where);
}

/* Makes what comes before each slash from the second character on, and at the end if `last`. */
static int make_path(const char *path, bool last, struct dango_error *err)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: path is too long", path);
    for (size_t i = 1; i < length + last; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0755) == 0) {
            int code = dango_file_sync_parent(part, err);
            if (code < 0)
                return code;
        } else if (errno != EEXIST) {
            return dango_file_error(err, errno, "%s: cannot create the directory", part);
        }
    }
    return 0;
}

int dango_file_make_directories(const char *path, struct dango_error *err)
{
    return make_path(path, true, err);
}

int dango_file_make_parents(const char *path, struct dango_error *err)
{
    return make_path(path, false, err);
}
