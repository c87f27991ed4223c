/*
 * Reference measurements: see reference.h. Measurements with two processes fork a helper that serves until it is told
 * to stop or its parent is gone.
 */
#include "bench/support/reference.h"
#include "bench/support/process.h"

#include "util/clock.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void *pages(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    bench_require(memory != MAP_FAILED, "mmap");
    return memory;
}

static double seconds_since(int64_t start_ns)
{
    return (double)(dango_clock_ns() - start_ns) / (double)DANGO_NS_PER_S;
}

/* ---- copies ---- */

double bench_memcpy(void *arg)
{
    const struct bench_copy *copy = arg;
    char *from = pages(copy->size), *to = pages(copy->size);
    memset(from, 1, copy->size);
    memset(to, 2, copy->size);
    int64_t start = dango_clock_ns();
    for (int i = 0; i < copy->count; i++) {
        memcpy(to, from, copy->size);
        __asm__ volatile("" : : "r"(to) : "memory");
    }
    double rate = (double)copy->size * copy->count / seconds_since(start);
    munmap(from, copy->size);
    munmap(to, copy->size);
    return rate;
}

static void serve_memory(void *arg)
{
    (void)arg;
    for (;;)
        pause();
}

double bench_process_vm_readv(void *arg)
{
    const struct bench_copy *copy = arg;
    char *from = pages(copy->size), *to = pages(copy->size);
    memset(from, 1, copy->size);
    memset(to, 2, copy->size);
    pid_t helper = bench_fork(serve_memory, NULL); /* has the same bytes at the same address */
    memset(to, 3, copy->size);                     /* unshares what fork made common */
    int64_t start = dango_clock_ns();
    for (int i = 0; i < copy->count; i++) {
        for (size_t done = 0; done < copy->size;) {
            struct iovec local = {to + done, copy->size - done}, remote = {from + done, copy->size - done};
            ssize_t n = process_vm_readv(helper, &local, 1, &remote, 1, 0);
            bench_require(n > 0, "process_vm_readv");
            done += (size_t)n;
        }
    }
    double rate = (double)copy->size * copy->count / seconds_since(start);
    bench_end(helper);
    munmap(from, copy->size);
    munmap(to, copy->size);
    return rate;
}

/* ---- there and back ---- */

static void nap(long ns)
{
    struct timespec pause = {.tv_nsec = ns};
    if (ns > 0)
        nanosleep(&pause, NULL);
}

/* The result of a ping-pong; frees the series. */
static double typical(const struct bench_ping *ping, struct bench_series *trips)
{
    double ns = ping->pause_ns ? bench_median(trips) : bench_mean(trips);
    bench_series_free(trips);
    return ns;
}

/* ---- sockets ---- */

/* Two ends of a TCP connection over the loopback interface. */
static void connect_loopback(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bench_require(listener >= 0, "socket");
    bench_require(bind(listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    bench_require(listen(listener, 1) == 0, "listen");
    bench_require(getsockname(listener, (struct sockaddr *)&address, &length) == 0, "getsockname");
    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bench_require(ends[0] >= 0, "socket");
    bench_require(connect(ends[0], (struct sockaddr *)&address, sizeof address) == 0, "connect");
    ends[1] = accept(listener, NULL, NULL);
    bench_require(ends[1] >= 0, "accept");
    for (int i = 0; i < 2; i++)
        bench_require(setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0, "TCP_NODELAY");
    close(listener);
}

struct stream {
    const struct bench_copy *copy;
    int socket;
};

static void serve_stream(void *arg)
{
    const struct stream *stream = arg;
    char *data = pages(stream->copy->size);
    for (int i = 0; i < stream->copy->count; i++) {
        for (size_t done = 0; done < stream->copy->size;) {
            ssize_t n = write(stream->socket, data + done, stream->copy->size - done);
            bench_require(n > 0, "write to a socket");
            done += (size_t)n;
        }
    }
}

double bench_socket_stream(void *arg)
{
    const struct bench_copy *copy = arg;
    char *to = pages(copy->size);
    int ends[2];
    connect_loopback(ends);
    struct stream stream = {copy, ends[1]};
    pid_t helper = bench_fork(serve_stream, &stream);
    int64_t start = dango_clock_ns();
    for (int i = 0; i < copy->count; i++) {
        for (size_t done = 0; done < copy->size;) {
            ssize_t n = read(ends[0], to + done, copy->size - done);
            bench_require(n > 0, "read from a socket");
            done += (size_t)n;
        }
    }
    double rate = (double)copy->size * copy->count / seconds_since(start);
    bench_end(helper);
    close(ends[0]);
    close(ends[1]);
    munmap(to, copy->size);
    return rate;
}

struct echo {
    int socket;
    bool spin;
};

static bool receive_byte(const struct echo *echo)
{
    char byte;
    ssize_t size;
    do
        size = recv(echo->socket, &byte, 1, echo->spin ? MSG_DONTWAIT : 0);
    while (size < 0 && errno == EAGAIN);
    return size == 1;
}

static bool send_byte(const struct echo *echo)
{
    return send(echo->socket, "x", 1, MSG_NOSIGNAL) == 1;
}

static void serve_echo(void *arg)
{
    const struct echo *echo = arg;
    while (receive_byte(echo) && send_byte(echo))
        ;
}

static double ping_over_socket(const struct bench_ping *ping, bool spin)
{
    int ends[2];
    connect_loopback(ends);
    struct echo here = {ends[0], spin}, there = {ends[1], spin};
    pid_t helper = bench_fork(serve_echo, &there);
    struct bench_series trips = {0};
    for (int i = 0; i <= ping->count; i++) {
        nap(ping->pause_ns);
        int64_t start = dango_clock_ns();
        bench_require(send_byte(&here) && receive_byte(&here), "socket ping");
        if (i > 0) /* in the first one the helper starts */
            bench_series_add(&trips, (double)(dango_clock_ns() - start));
    }
    double ns = typical(ping, &trips);
    bench_end(helper);
    close(ends[0]);
    close(ends[1]);
    return ns;
}

double bench_socket_ping(void *arg)
{
    return ping_over_socket(arg, false);
}

double bench_socket_spin_ping(void *arg)
{
    return ping_over_socket(arg, true);
}

/* ---- shared memory ---- */

/* The number of the last ping and of the last pong, in lines of their own. */
struct table {
    _Alignas(128) uint32_t ping;
    _Alignas(128) uint32_t pong;
    bool sleep;
};

static void send_turn(const struct table *table, uint32_t *word, uint32_t turn)
{
    __atomic_store_n(word, turn, __ATOMIC_RELEASE);
    if (table->sleep)
        syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void await_turn(const struct table *table, uint32_t *word, uint32_t turn)
{
    uint32_t seen;
    while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) != turn) {
        if (table->sleep)
            syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
    }
}

static void serve_turns(void *arg)
{
    struct table *table = arg;
    for (uint32_t turn = 1;; turn++) {
        await_turn(table, &table->ping, turn);
        send_turn(table, &table->pong, turn);
    }
}

static double ping_in_memory(const struct bench_ping *ping, bool sleep)
{
    struct table *table = bench_shared(sizeof *table);
    table->sleep = sleep;
    pid_t helper = bench_fork(serve_turns, table);
    struct bench_series trips = {0};
    for (uint32_t turn = 1; turn <= (uint32_t)ping->count + 1; turn++) {
        nap(ping->pause_ns);
        int64_t start = dango_clock_ns();
        send_turn(table, &table->ping, turn);
        await_turn(table, &table->pong, turn);
        if (turn > 1) /* in the first one the helper starts */
            bench_series_add(&trips, (double)(dango_clock_ns() - start));
    }
    double ns = typical(ping, &trips);
    bench_end(helper);
    munmap(table, sizeof *table);
    return ns;
}

double bench_futex_ping(void *arg)
{
    return ping_in_memory(arg, true);
}

double bench_spin_ping(void *arg)
{
    return ping_in_memory(arg, false);
}

/* ---- files ---- */

double bench_append(void *arg)
{
    const struct bench_append *append = arg;
    char path[4096];
    snprintf(path, sizeof path, "%s/bench-append-XXXXXX", append->directory ? append->directory : ".");
    int fd = mkstemp(path);
    bench_require(fd >= 0, path);
    unlink(path);
    char *data = calloc(1, append->size);
    assert(data);
    int64_t start = dango_clock_ns();
    for (int i = 0; i < append->count; i++) {
        bench_require(write(fd, data, append->size) == (ssize_t)append->size, "append");
        if (append->sync)
            bench_require(fdatasync(fd) == 0, "fdatasync");
    }
    double ns = seconds_since(start) * 1e9 / append->count;
    close(fd);
    free(data);
    return ns;
}
