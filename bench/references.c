/*
 * What this machine can do: every reference measurement on its own. The other benchmarks measure themselves against
 * these in the same run; this program shows how steady they are.
 */
#include "bench/support/reference.h"
#include "bench/support/report.h"

int main(int argc, char **argv)
{
    struct bench_options options = bench_start(argc, argv, "references");
    struct bench_copy copy = {.size = 1 << 20, .count = bench_count(&options, 1000)};
    struct bench_ping ping = {.count = bench_count(&options, 10000)};
    struct bench_append append = {.size = 4096, .count = bench_count(&options, 100), .sync = 1};
    int rounds = options.rounds;

    bench_print(&options, "memcpy, 1 MiB", bench_run(bench_memcpy, &copy, rounds), "B/s", NULL);
    bench_print(&options, "process_vm_readv, 1 MiB", bench_run(bench_process_vm_readv, &copy, rounds), "B/s", NULL);
    bench_print(&options, "loopback TCP stream, 1 MiB", bench_run(bench_socket_stream, &copy, rounds), "B/s", NULL);
    bench_print(&options, "ping-pong of processes, spinning", bench_run(bench_spin_ping, &ping, rounds), "ns", NULL);
    bench_print(&options, "ping-pong of processes, futex", bench_run(bench_futex_ping, &ping, rounds), "ns", NULL);
    bench_print(&options, "ping-pong of processes, loopback TCP", bench_run(bench_socket_ping, &ping, rounds), "ns",
                NULL);
    bench_print(&options, "append 4 KiB + fdatasync", bench_run(bench_append, &append, rounds), "ns", NULL);
    return 0;
}
