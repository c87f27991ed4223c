/*
 * For benchmarks between two processes: a small shared page, and helpers to run and end a forked peer. Medians of
 * samples, and reference loops, are printed side by side from one run.
 */
#ifndef DANGO_BENCH_PEER_H
#define DANGO_BENCH_PEER_H

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Anonymous memory shared with children that are forked later. */
static inline void *bench_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return memory;
}

/* Forks; the child runs `body`, and dies with this process. */
static inline pid_t bench_fork(void (*body)(void *), void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        body(arg);
        _exit(0);
    }
    return pid;
}

static inline void bench_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the samples; `fraction` 0.5 is the median. */
static inline double bench_quantile(double *samples, size_t count, double fraction)
{
    qsort(samples, count, sizeof *samples, bench_compare);
    return samples[(size_t)((double)(count - 1) * fraction)];
}

#endif
