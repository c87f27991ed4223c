/*
 * What a null RPC costs between two processes of one node: round trips, one at a time, with both sides polling, with
 * progress threads, and sleeping; and the rate with several calls in flight. The references are a ping-pong between two
 * processes over shared memory: spinning, or sleeping in a futex.
 *
 * The server is forked for each arrangement before the client starts anything. Over na+sm, or what DANGO_BENCH_PROTOCOL
 * names: then the references go over a loopback socket. `--only TEXT`: what has the text in its name.
 */
#include "bench/support/process.h"
#include "bench/support/reference.h"
#include "bench/support/report.h"

#include "util/clock.h"

#include <margo.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define IN_FLIGHT_MAX 32

static const char *only = "";

static void null_rpc(hg_handle_t h)
{
    margo_respond(h, NULL);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(null_rpc)

    struct bench {
    pid_t server;
    margo_instance_id mid;
    hg_addr_t addr;
    hg_id_t id;
    hg_handle_t handles[IN_FLIGHT_MAX];
    int count;     /* calls per measurement */
    int in_flight; /* of the rate measurement */
};

static void check(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "margo-rpc: %s failed\n", what);
    exit(1);
}

static margo_instance_id start(int mode, const char *config)
{
    struct margo_init_info info = MARGO_INIT_INFO_INITIALIZER;
    info.json_config = config;
    margo_instance_id mid = margo_init_ext(bench_protocol(), mode, &info);
    check(mid != NULL, "initialisation");
    return mid;
}

static void serve(const char *config, int address_fd)
{
    char text[256] = "";
    hg_size_t size = sizeof text;
    hg_addr_t self;
    margo_instance_id mid = start(MARGO_SERVER_MODE, config);
    MARGO_REGISTER(mid, "null", void, void, null_rpc);
    margo_enable_remote_shutdown(mid);
    check(margo_addr_self(mid, &self) == HG_SUCCESS, "self address");
    check(margo_addr_to_string(mid, text, &size, self) == HG_SUCCESS, "address text");
    margo_addr_free(mid, self);
    check(write(address_fd, text, sizeof text) == sizeof text, "pipe");
    margo_wait_for_finalize(mid);
    exit(0);
}

static void bench_open(struct bench *b, const char *server_config, const char *client_config)
{
    int fds[2];
    char address[256];
    check(pipe(fds) == 0, "pipe");
    fflush(NULL);
    b->server = fork();
    check(b->server >= 0, "fork");
    if (b->server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(server_config, fds[1]);
    }
    check(read(fds[0], address, sizeof address) == sizeof address, "server");
    close(fds[0]);
    close(fds[1]);
    b->mid = start(MARGO_CLIENT_MODE, client_config);
    b->id = MARGO_REGISTER(b->mid, "null", void, void, NULL);
    check(margo_addr_lookup(b->mid, address, &b->addr) == HG_SUCCESS, "look-up");
    for (int i = 0; i < IN_FLIGHT_MAX; i++)
        check(margo_create(b->mid, b->addr, b->id, &b->handles[i]) == HG_SUCCESS, "create");
}

static void bench_close(struct bench *b)
{
    for (int i = 0; i < IN_FLIGHT_MAX; i++)
        margo_destroy(b->handles[i]);
    check(margo_shutdown_remote_instance(b->mid, b->addr) == 0, "shutdown");
    margo_addr_free(b->mid, b->addr);
    waitpid(b->server, NULL, 0);
    margo_finalize(b->mid);
}

/* ns per round trip */
static double round_trips(void *arg)
{
    struct bench *b = arg;
    int64_t start_ns = dango_clock_ns();
    for (int i = 0; i < b->count; i++)
        check(margo_forward(b->handles[0], NULL) == HG_SUCCESS, "call");
    return (double)(dango_clock_ns() - start_ns) / b->count;
}

static void print_distribution(const struct bench_options *options, struct bench *b, const char *what,
                               const char *target)
{
    struct bench_series series = {0};
    for (int i = 0; i < b->count; i++) {
        int64_t start_ns = dango_clock_ns();
        check(margo_forward(b->handles[0], NULL) == HG_SUCCESS, "call");
        bench_series_add(&series, (double)(dango_clock_ns() - start_ns));
    }
    bench_print_series(options, what, &series, "ns", target);
    bench_series_free(&series);
}

/* Calls per second with `in_flight` of them at any time. */
static double rate(void *arg)
{
    struct bench *b = arg;
    margo_request requests[IN_FLIGHT_MAX];
    int64_t start_ns = dango_clock_ns();
    for (int i = 0; i < b->count + b->in_flight; i++) {
        int slot = i % b->in_flight;
        if (i >= b->in_flight)
            check(margo_wait(requests[slot]) == HG_SUCCESS, "call");
        if (i < b->count)
            check(margo_iforward(b->handles[slot], NULL, &requests[slot]) == HG_SUCCESS, "call");
    }
    return b->count / ((double)(dango_clock_ns() - start_ns) / 1e9);
}

#define SPINNING "{\"progress_timeout_ub_msec\":0}"
#define THREADS  "{\"use_progress_thread\":true}"
#define ASLEEP   "{\"progress_spindown_msec\":0}"

static void measure_latency(const struct bench_options *options, const char *config, const char *how, bool spinning)
{
    bool sockets = bench_on_sockets();
    bench_measure_fn in_memory = spinning ? bench_spin_ping : bench_futex_ping;
    bench_measure_fn by_socket = spinning ? bench_socket_spin_ping : bench_socket_ping;
    const char *target = sockets ? "<= 1.1 x" : spinning ? "<= 1500" : "<= 12000";
    struct bench b = {.count = bench_count(options, 10000)};
    struct bench_ping ping = {.count = bench_count(options, 10000)};
    char what[96];
    snprintf(what, sizeof what, "null RPC, %s", how);
    if (!strstr(what, only))
        return;
    bench_open(&b, config, config);
    struct bench_peer peer = {b.server, round_trips, &b}; /* a server that polls would disturb the reference */
    struct bench_pair pair =
        bench_run_paired(bench_with_peer, &peer, sockets ? by_socket : in_memory, &ping, options->rounds);
    kill(b.server, SIGCONT);
    bench_print_pair(options, what, &pair, "ns", spinning ? "spinning ping-pong" : "sleeping ping-pong", target);
    print_distribution(options, &b, what, spinning ? NULL : "p99 <= 60000");
    bench_close(&b);
}

static void measure_rate(const struct bench_options *options, const char *config, const char *how)
{
    static const int in_flight[] = {1, 16, 32};
    const char *target = bench_on_sockets() ? ">= 4e5" : ">= 1e6";
    struct bench b = {.count = bench_count(options, 100000)};
    char what[96];
    snprintf(what, sizeof what, "null RPC/s, %s", how);
    if (!strstr(what, only))
        return;
    bench_open(&b, config, config);
    for (size_t i = 0; i < sizeof in_flight / sizeof *in_flight; i++) {
        b.in_flight = in_flight[i];
        snprintf(what, sizeof what, "null RPC/s, %s, %d in flight", how, in_flight[i]);
        bench_print(options, what, bench_run(rate, &b, options->rounds), "/s", in_flight[i] > 1 ? target : NULL);
    }
    bench_close(&b);
}

int main(int argc, char **argv)
{
    only = bench_take_option(&argc, argv, "--only", only);
    struct bench_options options = bench_start(argc, argv, "margo-rpc");
    measure_latency(&options, SPINNING, "polling", true);
    measure_latency(&options, THREADS, "progress threads", false);
    measure_latency(&options, ASLEEP, "asleep", false);
    measure_latency(&options, "{}", "defaults", false);
    measure_rate(&options, SPINNING, "polling");
    measure_rate(&options, "{}", "defaults");
    return 0;
}
