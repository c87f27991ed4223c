/*
 * Null RPCs between two processes, over na+sm or what DANGO_BENCH_PROTOCOL names, at the level of Mercury: latency with
 * both sides polling, with both blocking in HG_Progress call after call, with a server that has been asleep for a while,
 * and the rate with several calls in flight. The references, in the same run: a ping-pong of two processes that wait in
 * the same way, after the same pause, over shared words and futexes or, over a network, a loopback socket; over libfabric
 * its fi_pingpong, which spins; the server stands still meanwhile. `--only TEXT`: what has the text in its name.
 */
#include "bench/support/process.h"
#include "bench/support/reference.h"
#include "bench/support/report.h"

#include "mercury.h"
#include "mercury/dango_hg.h"
#include "util/clock.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAUSE_NS 500000 /* long enough for a server to fall asleep */

struct shared {
    _Alignas(128) _Atomic int sleepy; /* server: sleep in HG_Progress instead of polling */
    char address[256];
    _Atomic int ready;
};

static struct shared *shared;
static const char *only = "";

/* ---- RPC ---- */

static hg_return_t handle_null(hg_handle_t handle)
{
    HG_Respond(handle, NULL, NULL, NULL);
    return HG_Destroy(handle);
}

static void rpc_server(void *arg)
{
    hg_class_t *hg_class = HG_Init(bench_protocol(), HG_TRUE);
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
    hg_handle_t handle;
    unsigned done;
    int calls;          /* per measurement */
    unsigned in_flight; /* of the rate */
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

static void call(struct client *client, unsigned timeout)
{
    client->done = 0;
    HG_Forward(client->handle, count_done, client, NULL);
    progress_until(client, 1, timeout);
}

/* Both sides polling: nanoseconds per call. */
static double polling(void *arg)
{
    struct client *client = arg;
    int64_t start = dango_clock_ns();
    for (int i = 0; i < client->calls; i++)
        call(client, 0);
    return (double)(dango_clock_ns() - start) / client->calls;
}

static bool wanted(const char *what)
{
    return strstr(what, only) != NULL;
}

static void measure_polling(const struct bench_options *options, struct client *client, pid_t server)
{
    const char *what = "null RPC, polling", *name = bench_on_sockets() ? "spinning socket ping-pong" : "spin ping-pong";
    bench_measure_fn reference = bench_on_sockets() ? bench_socket_spin_ping : bench_spin_ping;
    struct bench_ping ping = {.count = client->calls = bench_count(options, 20000)};
    struct bench_peer peer = {server, polling, client};
    if (!wanted(what))
        return;
    if (bench_has_fabric_ping()) {
        name = "fi_pingpong";
        reference = bench_fabric_ping;
    }
    struct bench_pair pair = bench_run_paired(bench_with_peer, &peer, reference, &ping, options->rounds);
    kill(server, SIGCONT);
    const char *target = bench_on_sockets() ? "<= 1.1 x" : "<= 1500";
    bench_print_pair(options, what, &pair, "ns", name, bench_on_fabric() ? NULL : target);
}

/* Both sides blocking, without pauses: nanoseconds per call. */
static double blocking(void *arg)
{
    struct client *client = arg;
    int64_t start = dango_clock_ns();
    for (int i = 0; i < client->calls; i++)
        call(client, 100);
    return (double)(dango_clock_ns() - start) / client->calls;
}

/* Both sides blocking in HG_Progress; with `pause_ns`, the server has been asleep for a while at each call. */
static void sample_blocking(struct client *client, int calls, long pause_ns, struct bench_series *series)
{
    struct timespec pause = {.tv_nsec = pause_ns};
    for (int i = 0; i < calls; i++) {
        if (pause_ns > 0)
            nanosleep(&pause, NULL);
        int64_t start = dango_clock_ns();
        call(client, 100);
        bench_series_add(series, (double)(dango_clock_ns() - start));
    }
}

static double asleep(void *arg)
{
    struct client *client = arg;
    struct bench_series series = {0};
    sample_blocking(client, client->calls, PAUSE_NS, &series);
    double ns = bench_median(&series);
    bench_series_free(&series);
    return ns;
}

/* Beside its reference, and the distribution. */
static void measure_blocking(const struct bench_options *options, struct client *client, pid_t server, long pause_ns)
{
    const char *what = pause_ns ? "null RPC, server asleep" : "null RPC, blocking";
    bool sockets = bench_on_sockets();
    struct bench_ping ping = {.count = bench_count(options, pause_ns ? 200 : 20000), .pause_ns = pause_ns};
    struct bench_peer peer = {server, pause_ns ? asleep : blocking, client};
    struct bench_series series = {0};
    if (!wanted(what))
        return;
    client->calls = ping.count;
    struct bench_pair pair = bench_run_paired(bench_with_peer, &peer, sockets ? bench_socket_ping : bench_futex_ping,
                                              &ping, options->rounds);
    kill(server, SIGCONT);
    bench_print_pair(options, what, &pair, "ns", sockets ? "socket ping-pong" : "futex ping-pong",
                     sockets ? "<= 1.1 x" : "<= 12000");
    sample_blocking(client, bench_count(options, pause_ns ? 2000 : 50000), pause_ns, &series);
    bench_print_series(options, what, &series, "ns", "p99 <= 60000");
    bench_series_free(&series);
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

/* Calls per second. */
static double rate(void *arg)
{
    struct client *client = arg;
    hg_handle_t handles[64];
    struct stream stream = {.client = client, .left = (unsigned)client->calls - client->in_flight};
    for (unsigned i = 0; i < client->in_flight; i++)
        HG_Create(client->context, client->server, client->id, &handles[i]);
    int64_t start = dango_clock_ns();
    client->done = 0;
    for (unsigned i = 0; i < client->in_flight; i++)
        HG_Forward(handles[i], again, &stream, NULL);
    progress_until(client, (unsigned)client->calls, 0);
    double per_second = client->calls * 1e9 / (double)(dango_clock_ns() - start);
    for (unsigned i = 0; i < client->in_flight; i++)
        HG_Destroy(handles[i]);
    return per_second;
}

static void measure_rate(const struct bench_options *options, struct client *client)
{
    client->calls = bench_count(options, 100000);
    for (client->in_flight = 1; client->in_flight <= 64; client->in_flight *= 2) {
        char what[64];
        snprintf(what, sizeof what, "null RPC/s, polling, %u in flight", client->in_flight);
        if (!wanted(what))
            continue;
        const char *target = bench_on_sockets() ? ">= 4e5" : ">= 1e6";
        bool has_target = client->in_flight == 16 || client->in_flight == 32;
        bench_print(options, what, bench_run(rate, client, options->rounds), "/s", has_target ? target : NULL);
    }
}

static void client_open(struct client *client)
{
    client->hg_class = HG_Init(bench_protocol(), HG_FALSE);
    client->context = HG_Context_create(client->hg_class);
    client->id = HG_Register_name(client->hg_class, "null", NULL, NULL, NULL);
    HG_Addr_lookup2(client->hg_class, shared->address, &client->server);
    HG_Create(client->context, client->server, client->id, &client->handle);
}

static void client_close(struct client *client)
{
    HG_Destroy(client->handle);
    HG_Addr_free(client->hg_class, client->server);
    HG_Context_destroy(client->context);
    HG_Finalize(client->hg_class);
}

int main(int argc, char **argv)
{
    only = bench_take_option(&argc, argv, "--only", only);
    struct bench_options options = bench_start(argc, argv, "rpc");
    struct client client = {0};

    if (bench_on_fabric() && !bench_has_fabric_ping())
        fprintf(stderr, "no fi_pingpong here (Debian: libfabric-bin): beside a socket ping-pong instead\n");
    shared = bench_shared(sizeof *shared);
    pid_t pid = bench_fork(rpc_server, NULL);
    while (!atomic_load(&shared->ready))
        ;
    client_open(&client);
    measure_rate(&options, &client);
    measure_polling(&options, &client, pid);
    atomic_store(&shared->sleepy, 1);
    measure_blocking(&options, &client, pid, 0);
    measure_blocking(&options, &client, pid, PAUSE_NS);
    client_close(&client);
    bench_end(pid);
    return 0;
}
