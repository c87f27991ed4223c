/*
 * Reference measurements: what the machine itself needs for the work that a benchmark does through Dango. Each is a
 * bench_measure_fn that takes a pointer to its parameters and does one complete measurement, so that it can be paired
 * (stats.h) with the subject. Helper processes and files are created and removed by the measurement itself; a failure
 * ends the program with a message.
 *
 * Rates are in bytes per second, times in nanoseconds.
 */
#ifndef DANGO_BENCH_SUPPORT_REFERENCE_H
#define DANGO_BENCH_SUPPORT_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>

/* Copying within the process: bytes per second. */
struct bench_copy {
    size_t size; /* of one copy, in bytes */
    int count;   /* copies per measurement */
};
double bench_memcpy(void *copy);

/* Reading another process's memory with process_vm_readv, the floor of a same-node bulk pull: bytes per second. */
double bench_process_vm_readv(void *copy);

/* One-way stream over a TCP socket on the loopback interface between two processes: bytes per second. */
double bench_socket_stream(void *copy);

/* Going there and back between two processes: nanoseconds per round trip. */
struct bench_ping {
    int count; /* round trips per measurement */
    /* Before each trip, for the other side to fall asleep; the result is then the median of the trips, else their mean. */
    long pause_ns;
};
/* Both sides sleep in a futex: the floor of a round trip between processes that sleep. */
double bench_futex_ping(void *ping);
/* Both sides spin on shared memory: the floor between processes that do not. */
double bench_spin_ping(void *ping);
/* One byte over a TCP socket on the loopback interface; both sides sleep in read(). */
double bench_socket_ping(void *ping);
/* The same; both sides ask the socket again and again. */
double bench_socket_spin_ping(void *ping);

/* fi_pingpong over the provider of DANGO_BENCH_PROTOCOL, both sides spinning: 64 bytes there and back, and bytes per second
 * of one transfer at a time. Only where there is one (Debian: libfabric-bin). */
bool bench_has_fabric_ping(void);
double bench_fabric_ping(void *ping);
double bench_fabric_copy(void *copy);

/* Appending to a file: nanoseconds per append. */
struct bench_append {
    const char *directory; /* where the file is made; NULL: the working directory */
    size_t size;           /* bytes per append */
    int count;             /* appends per measurement */
    int sync;              /* fdatasync after each */
};
double bench_append(void *append);

#endif
