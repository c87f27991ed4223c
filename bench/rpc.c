/*
 * Null RPCs over na+sm between two processes, at the level of Mercury: latency with both sides polling, with both blocking
 * in HG_Progress call after call, with a server that has been asleep for a while, and the rate with several calls in
 * flight. The references, from the same run: a ping-pong of two spinning processes over one shared word each way, and
 * one with futexes after the same pause.
 */
#include "bench/peer.h"

#include "mercury.h"
#include "mercury/dango_hg.h"
#include "util/clock.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#define BLOCKS      41    /* samples; the median counts */
#define SPIN_CALLS  20000 /* round trips per sample */
#define SLEEP_CALLS 500
#define RATE_CALLS  100000

struct shared {
    _Alignas(128) _Atomic uint32_t ping;
    _Alignas(128) _Atomic uint32_t pong;
    _Alignas(128) _Atomic int sleepy; /* server: sleep in HG_Progress instead of polling */
    char address[256];
    _Atomic int ready;
};

static struct shared *shared;

/* ---- references ---- */

static void spin_server(void *arg)
{
    (void)arg;
    for (uint32_t n = 1;; n++) {
        while (atomic_load_explicit(&shared->ping, memory_order_acquire) != n)
            ;
        atomic_store_explicit(&shared->pong, n, memory_order_release);
    }
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void futex_set(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futex_server(void *arg)
{
    (void)arg;
    for (uint32_t n = 1;; n++) {
        while (atomic_load(&shared->ping) != n)
            futex_wait(&shared->ping, n - 1);
        futex_set(&shared->pong, n);
    }
}

/* Long enough for a server to fall asleep. */
static void nap(void)
{
    struct timespec pause = {.tv_nsec = 500000};
    nanosleep(&pause, NULL);
}

static pid_t reference_start(void (*server)(void *))
{
    atomic_store(&shared->ping, 0);
    atomic_store(&shared->pong, 0);
    return bench_fork(server, NULL);
}

/* Median time of a round trip of two spinning processes, ns. */
static double reference_spin(void)
{
    double samples[BLOCKS];
    uint32_t n = 0;
    pid_t pid = reference_start(spin_server);

    for (int block = 0; block < BLOCKS; block++) {
        int64_t start = dango_clock_ns();
        for (int i = 0; i < SPIN_CALLS; i++) {
            atomic_store_explicit(&shared->ping, ++n, memory_order_release);
            while (atomic_load_explicit(&shared->pong, memory_order_acquire) != n)
                ;
        }
        samples[block] = (double)(dango_clock_ns() - start) / SPIN_CALLS;
    }
    bench_end(pid);
    return bench_quantile(samples, BLOCKS, 0.5);
}

/* Median time until a sleeping process has answered, ns. */
static double reference_futex(void)
{
    double samples[SLEEP_CALLS];
    pid_t pid = reference_start(futex_server);

    for (uint32_t n = 1; n <= SLEEP_CALLS; n++) {
        nap();
        int64_t start = dango_clock_ns();
        futex_set(&shared->ping, n);
        while (atomic_load(&shared->pong) != n)
            futex_wait(&shared->pong, n - 1);
        samples[n - 1] = (double)(dango_clock_ns() - start);
    }
    bench_end(pid);
    return bench_quantile(samples, SLEEP_CALLS, 0.5);
}

/* ---- RPC ---- */

static hg_return_t handle_null(hg_handle_t handle)
{
    HG_Respond(handle, NULL, NULL, NULL);
    return HG_Destroy(handle);
}

static void rpc_server(void *arg)
{
    hg_class_t *hg_class = HG_Init("na+sm", HG_TRUE);
    hg_context_t *context = HG_Context_create(hg_class);
    hg_size_t size = sizeof shared->address;
    hg_addr_t self;
    unsigned count;

    (void)arg;
    HG_Register_name(hg_class, "null", NULL, NULL, handle_null);
    HG_Addr_self(hg_class, &self);
    HG_Addr_to_string(hg_class, shared->address, &size, self);
    HG_Addr_free(hg_class, self);
    atomic_store(&shared->ready, 1);
    for (;;) {
        unsigned timeout = atomic_load_explicit(&shared->sleepy, memory_order_relaxed) ? 100 : 0;
        HG_Progress(context, timeout);
        HG_Trigger(context, 0, 64, &count);
    }
}

struct client {
    hg_class_t *hg_class;
    hg_context_t *context;
    hg_addr_t server;
    hg_id_t id;
    unsigned done;
};

static hg_return_t count_done(const struct hg_cb_info *info)
{
    struct client *client = info->arg;
    if (info->ret != HG_SUCCESS) {
        fprintf(stderr, "call failed: %s\n", HG_Error_to_string(info->ret));
        exit(1);
    }
    client->done++;
    return HG_SUCCESS;
}

static void progress_until(struct client *client, unsigned done, unsigned timeout)
{
    unsigned count;
    while (client->done < done) {
        HG_Progress(client->context, timeout);
        HG_Trigger(client->context, 0, 64, &count);
    }
}

/* Fills `samples` with the times of single calls or of blocks, ns per call. */
static void latency(struct client *client, hg_handle_t handle, unsigned timeout, double *samples, int blocks, int calls)
{
    for (int block = 0; block < blocks; block++) {
        int64_t start = dango_clock_ns();
        client->done = 0;
        for (int i = 1; i <= calls; i++) {
            HG_Forward(handle, count_done, client, NULL);
            progress_until(client, (unsigned)i, timeout);
        }
        samples[block] = (double)(dango_clock_ns() - start) / calls;
    }
}

struct stream {
    struct client *client;
    unsigned left; /* calls to start */
};

/* Keeps the number of calls in flight. */
static hg_return_t again(const struct hg_cb_info *info)
{
    struct stream *stream = info->arg;
    stream->client->done++;
    if (stream->left > 0) {
        stream->left--;
        HG_Forward(info->info.forward.handle, again, stream, NULL);
    }
    return HG_SUCCESS;
}

static double rate(struct client *client, unsigned in_flight)
{
    hg_handle_t handles[64];
    double samples[BLOCKS];

    for (unsigned i = 0; i < in_flight; i++)
        HG_Create(client->context, client->server, client->id, &handles[i]);
    for (int block = 0; block < BLOCKS; block++) {
        struct stream stream = {.client = client, .left = RATE_CALLS - in_flight};
        int64_t start = dango_clock_ns();
        client->done = 0;
        for (unsigned i = 0; i < in_flight; i++)
            HG_Forward(handles[i], again, &stream, NULL);
        progress_until(client, RATE_CALLS, 0);
        samples[block] = RATE_CALLS * 1e9 / (double)(dango_clock_ns() - start);
    }
    for (unsigned i = 0; i < in_flight; i++)
        HG_Destroy(handles[i]);
    return bench_quantile(samples, BLOCKS, 0.5);
}

int main(void)
{
    enum { SINGLE = 5000 };
    static double samples[SINGLE];
    struct client client = {0};
    hg_handle_t handle;

    setvbuf(stdout, NULL, _IOLBF, 0);
    shared = bench_shared(sizeof *shared);
    double spin_ns = reference_spin(), futex_ns = reference_futex();
    pid_t pid = bench_fork(rpc_server, NULL);
    while (!atomic_load(&shared->ready))
        ;
    client.hg_class = HG_Init("na+sm", HG_FALSE);
    client.context = HG_Context_create(client.hg_class);
    client.id = HG_Register_name(client.hg_class, "null", NULL, NULL, NULL);
    HG_Addr_lookup2(client.hg_class, shared->address, &client.server);
    HG_Create(client.context, client.server, client.id, &handle);

    latency(&client, handle, 0, samples, 1, 1000);
    latency(&client, handle, 0, samples, BLOCKS, SPIN_CALLS);
    double rpc_ns = bench_quantile(samples, BLOCKS, 0.5);
    printf("null RPC, spinning:        %8.0f ns   (two-word spin ping-pong %.0f ns, ratio %.2f)\n", rpc_ns, spin_ns,
           rpc_ns / spin_ns);
    atomic_store(&shared->sleepy, 1);
    latency(&client, handle, 100, samples, 1, 100);
    latency(&client, handle, 100, samples, SINGLE, 1);
    double p99 = bench_quantile(samples, SINGLE, 0.99), sleep_ns = bench_quantile(samples, SINGLE, 0.5);
    printf("null RPC, blocking:        %8.0f ns   p99 %.0f ns\n", sleep_ns, p99);
    for (int i = 0; i < SLEEP_CALLS; i++) {
        nap();
        latency(&client, handle, 100, &samples[i], 1, 1);
    }
    p99 = bench_quantile(samples, SLEEP_CALLS, 0.99), sleep_ns = bench_quantile(samples, SLEEP_CALLS, 0.5);
    printf("null RPC, server asleep:   %8.0f ns   p99 %.0f ns (futex ping-pong, server asleep: %.0f ns, ratio %.2f)\n",
           sleep_ns, p99, futex_ns, sleep_ns / futex_ns);
    atomic_store(&shared->sleepy, 0);
    for (unsigned in_flight = 1; in_flight <= 64; in_flight *= 2)
        printf("null RPC, %2u in flight:    %8.0f k/s\n", in_flight, rate(&client, in_flight) / 1e3);
    HG_Destroy(handle);
    HG_Addr_free(client.hg_class, client.server);
    HG_Context_destroy(client.context);
    HG_Finalize(client.hg_class);
    bench_end(pid);
    return 0;
}
