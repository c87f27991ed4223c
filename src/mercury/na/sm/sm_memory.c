/*
 * Memory and descriptors that are shared with peers: made so that they cannot shrink, and accepted only if they cannot.
 * Touching a mapping of a file that was truncated raises SIGBUS; sealing against shrinking excludes that.
 */
#include "mercury/na/sm/sm.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

void *sm_memory_create(const char *name, size_t size, bool readable_only_for_others, int *fd)
{
    int saved;
    void *map = MAP_FAILED;

    assert(size > 0);
    *fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return NULL;
    if (ftruncate(*fd, (off_t)size) == 0)
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (map == MAP_FAILED)
        goto fail;
    /* The future-write seal needs Linux 5.1; without it only the mapping flags of well-behaved peers protect the page.
     */
    if (readable_only_for_others)
        fcntl(*fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE);
    if (fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return map;
    munmap(map, size);
fail:
    saved = errno;
    close(*fd);
    *fd = -1;
    errno = saved;
    return NULL;
}

void *sm_memory_map(int fd, size_t size, bool writable)
{
    struct stat status;
    struct statfs file_system;
    int seals = fcntl(fd, F_GET_SEALS);
    void *map;

    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return NULL;
    /* Huge pages could run out when they are touched. */
    if (fstat(fd, &status) || status.st_size != (off_t)size || fstatfs(fd, &file_system) ||
        file_system.f_type != TMPFS_MAGIC)
        return NULL;
    map = mmap(NULL, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    return map == MAP_FAILED ? NULL : map;
}

bool sm_is_eventfd(int fd)
{
    char path[64], target[64];
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || !(flags & O_NONBLOCK))
        return false;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0)
        return false;
    target[length] = '\0';
    return strcmp(target, "anon_inode:[eventfd]") == 0;
}
