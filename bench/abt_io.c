/*
 * ABT-IO against the same system calls made directly: what an operation costs in the pool and in rings, one at a time
 * and with many in flight, in the page cache and with fdatasync.
 */
#include "bench/support/reference.h"
#include "bench/support/report.h"

#include "util/clock.h"

#include <abt-io.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4096, WINDOW = 32, SPREAD = 256 };

struct load {
    abt_io_instance_id aid; /* NULL: the system calls directly */
    int fd, count;
    char *block;
};

static off_t place(int i)
{
    return (off_t)(i % SPREAD) * BLOCK;
}

static void check(int64_t result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror((int)-result));
        exit(1);
    }
}

static double per_operation(const struct load *load, int64_t start_ns)
{
    return (double)(dango_clock_ns() - start_ns) / load->count;
}

static double write_one_by_one(void *arg)
{
    struct load *load = arg;
    int64_t start = dango_clock_ns();
    for (int i = 0; i < load->count; i++)
        check(abt_io_pwrite(load->aid, load->fd, load->block, BLOCK, place(i)), "abt_io_pwrite");
    return per_operation(load, start);
}

static double write_directly(void *arg)
{
    struct load *load = arg;
    int64_t start = dango_clock_ns();
    for (int i = 0; i < load->count; i++)
        check(pwrite(load->fd, load->block, BLOCK, place(i)), "pwrite");
    return per_operation(load, start);
}

static double write_many(void *arg)
{
    struct load *load = arg;
    abt_io_op_t *ops[WINDOW] = {NULL};
    ssize_t results[WINDOW] = {0};
    int64_t start = dango_clock_ns();
    for (int i = 0; i < load->count + WINDOW; i++) {
        int slot = i % WINDOW;
        if (ops[slot]) {
            abt_io_op_wait(ops[slot]);
            abt_io_op_free(ops[slot]);
            check(results[slot], "abt_io_pwrite_nb");
        }
        ops[slot] = NULL;
        if (i < load->count)
            ops[slot] = abt_io_pwrite_nb(load->aid, load->fd, load->block, BLOCK, place(i), &results[slot]);
    }
    return per_operation(load, start);
}

static double write_and_sync(void *arg)
{
    struct load *load = arg;
    int64_t start = dango_clock_ns();
    for (int i = 0; i < load->count; i++) {
        check(abt_io_pwrite(load->aid, load->fd, load->block, BLOCK, place(i)), "abt_io_pwrite");
        check(abt_io_fdatasync(load->aid, load->fd), "abt_io_fdatasync");
    }
    return per_operation(load, start);
}

static double write_and_sync_directly(void *arg)
{
    struct load *load = arg;
    int64_t start = dango_clock_ns();
    for (int i = 0; i < load->count; i++) {
        check(pwrite(load->fd, load->block, BLOCK, place(i)), "pwrite");
        check(fdatasync(load->fd), "fdatasync");
    }
    return per_operation(load, start);
}

static void measure(const struct bench_options *options, const char *engine, const char *config, ABT_pool pool, int fd)
{
    struct abt_io_init_info args = {.json_config = config, .progress_pool = pool};
    abt_io_instance_id aid = abt_io_init_ext(&args);
    if (!aid)
        exit(1);
    char what[80], *block = calloc(1, BLOCK);
    struct load load = {.aid = aid, .fd = fd, .count = bench_count(options, 20000), .block = block};
    struct bench_pair pair = bench_run_paired(write_one_by_one, &load, write_directly, &load, options->rounds);
    snprintf(what, sizeof what, "%s: pwrite 4 KiB", engine);
    bench_print_pair(options, what, &pair, "ns", "pwrite", NULL);
    pair = bench_run_paired(write_many, &load, write_directly, &load, options->rounds);
    snprintf(what, sizeof what, "%s: pwrite 4 KiB, %d in flight", engine, WINDOW);
    bench_print_pair(options, what, &pair, "ns", "pwrite", NULL);
    load.count = bench_count(options, 100);
    pair = bench_run_paired(write_and_sync, &load, write_and_sync_directly, &load, options->rounds);
    snprintf(what, sizeof what, "%s: pwrite 4 KiB + fdatasync", engine);
    bench_print_pair(options, what, &pair, "ns", "the same calls", "<= 1.2");
    free(block);
    abt_io_finalize(aid);
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_start(argc, argv, "abt-io");
    char path[] = "./bench-abt-io-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0 || ABT_init(0, NULL) != ABT_SUCCESS) {
        perror(path);
        return 1;
    }
    unlink(path);
    ABT_xstream self;
    ABT_pool own_pool;
    ABT_xstream_self(&self);
    ABT_xstream_get_main_pools(self, 1, &own_pool);
    measure(&options, "pool of the caller", NULL, own_pool, fd);
    measure(&options, "pool of 1 stream", "{\"backing_thread_count\":1}", ABT_POOL_NULL, fd);
    measure(&options, "1 ring", "{\"num_urings\":1,\"backing_thread_count\":1}", ABT_POOL_NULL, fd);
    ABT_finalize();
    close(fd);
    return 0;
}
