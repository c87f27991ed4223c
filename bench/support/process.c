/*
 * Peers of benchmarks: see process.h.
 */
#include "bench/support/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void bench_require(bool condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

const char *bench_protocol(void)
{
    const char *protocol = getenv("DANGO_BENCH_PROTOCOL");
    return protocol ? protocol : "na+sm";
}

bool bench_on_fabric(void)
{
    return strncmp(bench_protocol(), "ofi+", 4) == 0;
}

bool bench_on_sockets(void)
{
    return strncmp(bench_protocol(), "na+sm", 5) != 0;
}

void *bench_shared(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    bench_require(memory != MAP_FAILED, "mmap");
    return memory;
}

pid_t bench_fork(void (*body)(void *), void *arg)
{
    fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    bench_require(pid >= 0, "fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            body(arg);
        _exit(0);
    }
    return pid;
}

void bench_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

void bench_join(pid_t pid)
{
    int status;
    bench_require(waitpid(pid, &status, 0) == pid, "waitpid");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        exit(1);
}

double bench_memory(pid_t pid)
{
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "r");
    bench_require(status != NULL, path);
    while (kib < 0 && fgets(line, sizeof line, status))
        (void)sscanf(line, "RssAnon: %ld kB", &kib);
    fclose(status);
    return (double)kib * 1024;
}

void bench_pause(pid_t pid)
{
    int status;
    kill(pid, SIGSTOP);
    bench_require(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "the peer ended");
}

double bench_with_peer(void *arg)
{
    const struct bench_peer *peer = arg;
    kill(peer->pid, SIGCONT);
    double result = peer->measure(peer->arg);
    bench_pause(peer->pid);
    return result;
}
