/*
 * Bulk pulls between two processes, over na+sm or what DANGO_BENCH_PROTOCOL names, at the level of Mercury, beside a
 * loop of process_vm_readv over the same memory in the same run (the two alternate, block by block); over a network,
 * beside a stream over a loopback socket, over libfabric beside its fi_pingpong. With DANGO_SM_NO_DIRECT=1 pulls over
 * na+sm go by messages. `--only TEXT`: what has the text in its name.
 */
#include "bench/support/process.h"
#include "bench/support/reference.h"
#include "bench/support/report.h"

#include "mercury.h"
#include "mercury/dango_hg.h"
#include "mercury_bulk.h"
#include "util/clock.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#define MEMORY_SIZE   (4u << 20)
#define BLOCK_BYTES   (4 << 20) /* moved per measurement */
#define SOCKET_BLOCKS 16        /* the same, over sockets: starting a stream takes a while */

struct shared {
    char address[256];
    char descriptor[256];
    hg_size_t descriptor_size;
    void *memory; /* in the server's address space */
    _Atomic int ready;
};

static struct shared *shared;
static const char *only = "";

static void serve(void *arg)
{
    hg_class_t *hg_class = HG_Init(bench_protocol(), HG_TRUE);
    hg_context_t *context = HG_Context_create(hg_class);
    hg_size_t size = sizeof shared->address, length = MEMORY_SIZE;
    void *memory = malloc(length);
    hg_bulk_t bulk;
    hg_addr_t self;
    unsigned count;

    (void)arg;
    memset(memory, 1, length);
    HG_Addr_self(hg_class, &self);
    HG_Addr_to_string(hg_class, shared->address, &size, self);
    HG_Bulk_create(hg_class, 1, &memory, &length, HG_BULK_READ_ONLY, &bulk);
    shared->memory = memory;
    shared->descriptor_size = HG_Bulk_get_serialize_size(bulk, 0);
    HG_Bulk_serialize(shared->descriptor, shared->descriptor_size, 0, bulk);
    atomic_store(&shared->ready, 1);
    for (;;) {
        HG_Progress(context, 100);
        HG_Trigger(context, 0, 64, &count);
    }
}

static hg_return_t done(const struct hg_cb_info *info)
{
    if (info->ret != HG_SUCCESS) {
        fprintf(stderr, "transfer failed: %s\n", HG_Error_to_string(info->ret));
        exit(1);
    }
    *(int *)info->arg = 1;
    return HG_SUCCESS;
}

struct client {
    hg_class_t *hg_class;
    hg_context_t *context;
    hg_addr_t server;
    hg_bulk_t origin, local;
    void *memory;
    pid_t pid;    /* of the server */
    size_t size;  /* of one transfer */
    size_t times; /* transfers per measurement */
};

static void pull(struct client *client, size_t size)
{
    int finished = 0;
    unsigned count;

    HG_Bulk_transfer(client->context, done, &finished, HG_BULK_PULL, client->server, client->origin, 0, client->local,
                     0, size, HG_OP_ID_IGNORE);
    while (!finished) {
        HG_Progress(client->context, 100); /* as the reference does: who polled would take the core of a server */
        HG_Trigger(client->context, 0, 1, &count);
    }
}

static double rate(const struct client *client, int64_t start_ns)
{
    return (double)(client->times * client->size) * 1e9 / (double)(dango_clock_ns() - start_ns);
}

/* Bytes per second by pulls. */
static double pulls(void *arg)
{
    struct client *client = arg;
    int64_t start = dango_clock_ns();
    for (size_t i = 0; i < client->times; i++)
        pull(client, client->size);
    return rate(client, start);
}

/* Bytes per second by bare system calls. */
static double system_calls(void *arg)
{
    struct client *client = arg;
    int64_t start = dango_clock_ns();
    for (size_t i = 0; i < client->times; i++) {
        struct iovec local = {.iov_base = client->memory, .iov_len = client->size};
        struct iovec remote = {.iov_base = shared->memory, .iov_len = client->size};
        bench_require(process_vm_readv(client->pid, &local, 1, &remote, 1, 0) == (ssize_t)client->size,
                      "process_vm_readv");
    }
    return rate(client, start);
}

static void measure(const struct bench_options *options, struct client *client, size_t size)
{
    char what[64];
    client->size = size;
    client->times = (size_t)bench_count(options, BLOCK_BYTES) / size + 1;
    snprintf(what, sizeof what, "bulk pull, %zu KiB", size >> 10);
    if (!strstr(what, only))
        return;
    if (bench_on_sockets()) {
        client->times *= SOCKET_BLOCKS;
        struct bench_copy copy = {.size = size, .count = (int)client->times};
        struct bench_peer peer = {client->pid, pulls, client};
        bool fabric = bench_has_fabric_ping();
        struct bench_pair pair = bench_run_paired(
            bench_with_peer, &peer, fabric ? bench_fabric_copy : bench_socket_stream, &copy, options->rounds);
        bench_print_pair(options, what, &pair, "B/s", fabric ? "fi_pingpong" : "socket stream",
                         size == 1 << 20 && !fabric ? ">= 0.85" : NULL);
        return;
    }
    struct bench_pair pair = bench_run_paired(pulls, client, system_calls, client, options->rounds);
    bench_print_pair(options, what, &pair, "B/s", "process_vm_readv", size == 1 << 20 ? ">= 0.9" : NULL);
}

int main(int argc, char **argv)
{
    only = bench_take_option(&argc, argv, "--only", only);
    struct bench_options options = bench_start(argc, argv, "bulk");
    struct client client = {0};
    hg_size_t length = MEMORY_SIZE;

    if (options.rounds < 41 && !options.quick)
        options.rounds = 41; /* the measurements are short */
    shared = bench_shared(sizeof *shared);
    client.pid = bench_fork(serve, NULL);
    while (!atomic_load(&shared->ready))
        ;
    client.hg_class = HG_Init(bench_protocol(), HG_FALSE);
    client.context = HG_Context_create(client.hg_class);
    client.memory = malloc(length);
    bench_require(client.memory != NULL, "malloc");
    memset(client.memory, 2, length);
    HG_Addr_lookup2(client.hg_class, shared->address, &client.server);
    HG_Bulk_create(client.hg_class, 1, &client.memory, &length, HG_BULK_WRITE_ONLY, &client.local);
    HG_Bulk_deserialize(client.hg_class, &client.origin, shared->descriptor, shared->descriptor_size);
    pull(&client, 1);
    for (size_t size = 4096; size <= MEMORY_SIZE; size *= 4)
        measure(&options, &client, size);
    HG_Bulk_free(client.origin);
    HG_Bulk_free(client.local);
    HG_Addr_free(client.hg_class, client.server);
    HG_Context_destroy(client.context);
    HG_Finalize(client.hg_class);
    free(client.memory);
    bench_end(client.pid);
    return 0;
}
