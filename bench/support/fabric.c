/*
 * fi_pingpong, libfabric's own measurement, as a reference: two processes of it over the provider of
 * DANGO_BENCH_PROTOCOL, whose table of one line is read. See reference.h.
 */
#include "bench/support/process.h"
#include "bench/support/reference.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIES 200 /* until the other side listens; some seconds */

/* What one side is started with. */
struct side {
    const char *port_option; /* of its control connection */
    const char *host;        /* NULL: the side that listens */
    int port, count, out;
    size_t size;
};

static const char *provider(void)
{
    return strncmp(bench_protocol(), "ofi+sockets", 11) == 0 ? "sockets" : "tcp;ofi_rxm";
}

bool bench_has_fabric_ping(void)
{
    return bench_on_fabric() && system("command -v fi_pingpong >/dev/null") == 0;
}

static void run(void *arg)
{
    const struct side *side = arg;
    char port[16], count[16], size[24];

    snprintf(port, sizeof port, "%d", side->port);
    snprintf(count, sizeof count, "%d", side->count);
    snprintf(size, sizeof size, "%zu", side->size);
    dup2(side->out, STDOUT_FILENO);
    dup2(side->out, STDERR_FILENO);
    execlp("fi_pingpong", "fi_pingpong", "-p", provider(), "-e", "rdm", "-I", count, "-S", size, side->port_option,
           port, side->host, (char *)NULL);
    _exit(127);
}

/* A port that nobody has at the moment. */
static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    bench_require(sock >= 0 && bind(sock, (struct sockaddr *)&address, sizeof address) == 0 &&
                      getsockname(sock, (struct sockaddr *)&address, &size) == 0,
                  "a free port");
    close(sock);
    return ntohs(address.sin_port);
}

/* Microseconds per transfer in one direction, from the last line: bytes, #sent, #ack, total, time, MB/sec, usec/xfer. */
static bool read_table(FILE *table, double *us)
{
    char line[256];
    bool found = false;

    rewind(table);
    while (fgets(line, sizeof line, table))
        found |= sscanf(line, "%*s %*s =%*s %*s %*fs %*f %lf", us) == 1;
    return found;
}

/* Microseconds per transfer, or a failure of the side that connects: the other one may not listen yet. */
static bool connect_once(int port, size_t size, int count, double *us)
{
    FILE *table = tmpfile();
    bench_require(table != NULL, "tmpfile");
    struct side side = {"-P", "127.0.0.1", port, count, fileno(table), size};
    int status;
    pid_t pid = bench_fork(run, &side);

    bench_require(waitpid(pid, &status, 0) == pid, "waitpid");
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && read_table(table, us);
    fclose(table);
    return good;
}

static double microseconds(size_t size, int count)
{
    FILE *nothing = fopen("/dev/null", "we");
    bench_require(nothing != NULL, "/dev/null");
    struct side side = {"-B", NULL, free_port(), count, fileno(nothing), size};
    pid_t listener = bench_fork(run, &side);
    double us = 0;
    int tries = 0;

    while (!connect_once(side.port, size, count, &us) && ++tries < TRIES)
        usleep(20000);
    bench_require(tries < TRIES, "fi_pingpong does not run");
    bench_end(listener);
    fclose(nothing);
    return us;
}

double bench_fabric_ping(void *arg)
{
    const struct bench_ping *ping = arg;
    return 2e3 * microseconds(64, ping->count);
}

double bench_fabric_copy(void *arg)
{
    const struct bench_copy *copy = arg;
    return (double)copy->size * 1e6 / microseconds(copy->size, copy->count);
}
