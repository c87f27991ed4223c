/*
 * A medium whose speed is known: preloaded into a benchmark (and so into the servers that it starts), it makes each fdatasync
 * last as long as on a device that takes some time for every sync and has some bandwidth. With the files in memory
 * (TMPDIR=/dev/shm) nothing else waits for a medium, and two builds, or a partition and its reference, can be compared
 * although the disks of the machine have other things to do.
 *
 *     TMPDIR=/dev/shm LD_PRELOAD=$PWD/build/bench/libsteady-medium.so build/bench/bench-stored
 *
 * The path is absolute because servers have directories of their own. DANGO_BENCH_MEDIUM=MICROSECONDS,MEGABYTES sets the
 * time of a sync without data and the megabytes per second; the default is a fast virtual disk. What io_uring does does
 * not pass here.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#define FDS_MAX  1024
#define NS_PER_S 1000000000

static double sync_us = 110, rate_mb = 1300; /* a byte takes 1000 / rate_mb ns */
static atomic_llong unsynced[FDS_MAX];
static ssize_t (*next_write)(int fd, const void *data, size_t size);
static ssize_t (*next_pwritev)(int fd, const struct iovec *iov, int count, off_t offset);

__attribute__((constructor)) static void set_up(void)
{
    const char *medium = getenv("DANGO_BENCH_MEDIUM");
    if (medium && (sscanf(medium, "%lf,%lf", &sync_us, &rate_mb) != 2 || sync_us < 0 || rate_mb <= 0)) {
        fprintf(stderr, "DANGO_BENCH_MEDIUM=%s: expected MICROSECONDS,MEGABYTES\n", medium);
        exit(2);
    }
    *(void **)&next_write = dlsym(RTLD_NEXT, "write");
    *(void **)&next_pwritev = dlsym(RTLD_NEXT, "pwritev");
}

static ssize_t count(int fd, ssize_t written)
{
    if (fd < FDS_MAX && written > 0)
        atomic_fetch_add(&unsynced[fd], written);
    return written;
}

ssize_t write(int fd, const void *data, size_t size)
{
    return count(fd, next_write(fd, data, size));
}

ssize_t pwritev(int fd, const struct iovec *iov, int iov_count, off_t offset)
{
    return count(fd, next_pwritev(fd, iov, iov_count, offset));
}

int fdatasync(int fd)
{
    struct timespec end;
    int64_t bytes = fd < FDS_MAX ? atomic_exchange(&unsynced[fd], 0) : 0;
    int64_t takes_ns = (int64_t)(sync_us * 1e3 + (double)bytes * 1e3 / rate_mb);
    prctl(PR_SET_TIMERSLACK, 1); /* or a sleep may last 50 us longer */
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += (end.tv_nsec + takes_ns) / NS_PER_S;
    end.tv_nsec = (end.tv_nsec + takes_ns) % NS_PER_S;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) != 0)
        ;
    return 0;
}
