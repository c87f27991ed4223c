/*
 * Benchmarks between two processes: memory that they share, forked peers, and keeping a peer still while something else
 * is measured. A failure ends the program with a message.
 */
#ifndef DANGO_BENCH_SUPPORT_PROCESS_H
#define DANGO_BENCH_SUPPORT_PROCESS_H

#include "bench/support/stats.h"

#include <stdbool.h>
#include <sys/types.h>

/* Ends the program with "what: <text of errno>" unless the condition holds. */
void bench_require(bool condition, const char *what);

/* What endpoints are opened with: DANGO_BENCH_PROTOCOL, or na+sm. */
const char *bench_protocol(void);
bool bench_on_sockets(void);
bool bench_on_fabric(void); /* over libfabric, on sockets, too */

/* Anonymous zeroed memory, with all its pages, shared with children that are forked later. */
void *bench_shared(size_t size);

/* Forks; the child runs `body`, and dies with this process. Before anything with threads is started. */
pid_t bench_fork(void (*body)(void *), void *arg);
void bench_end(pid_t pid);
/* Waits for its own end; the program ends when it has failed. */
void bench_join(pid_t pid);

/* Resident memory of a process that no file backs, in bytes. */
double bench_memory(pid_t pid);

/*
 * A measurement with a peer that spins or does work of its own: the peer runs only during the measurement, so that it
 * does not disturb what is measured in between. For bench_run and bench_run_paired, with a struct bench_peer as `arg`.
 */
struct bench_peer {
    pid_t pid;
    bench_measure_fn measure;
    void *arg;
};
double bench_with_peer(void *peer);

/* Stops the peer until the next bench_with_peer. Returns when it stands still. */
void bench_pause(pid_t pid);

#endif
