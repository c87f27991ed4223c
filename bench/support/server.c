/*
 * The server process; see server.h.
 */
#include "bench/support/server.h"

#include "bench/support/process.h"
#include "util/clock.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVERS_MAX 16

static struct {
    pid_t pids[SERVERS_MAX];
    size_t count;
    char directory[256], group_file[PATH_MAX];
} server;

void bench_server_stop(void)
{
    char command[300];
    if (server.count == 0)
        return;
    for (size_t i = 0; i < server.count; i++)
        kill(server.pids[i], SIGTERM);
    for (size_t i = 0; i < server.count; i++)
        waitpid(server.pids[i], NULL, 0);
    server.count = 0;
    snprintf(command, sizeof command, "rm -rf %s", server.directory);
    if (system(command) != 0)
        fprintf(stderr, "%s: not removed\n", server.directory);
}

/* In the child: bedrock from the same build tree, in the temporary directory. */
static void run_server(const char *program, const char *config)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(server.directory) == 0 && freopen("log", "a", stdout) && dup2(STDOUT_FILENO, STDERR_FILENO) >= 0)
        execl(program, "bedrock", bench_protocol(), "-c", config, "--name", config, (char *)NULL);
    perror(program);
    _exit(1);
}

static void find_program(char program[PATH_MAX + 32])
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    snprintf(program, PATH_MAX + 32, "%s/../bin/bedrock", self);
}

static void make_directory(void)
{
    snprintf(server.directory, sizeof server.directory, "%s/dango-bench-XXXXXX", bench_temporary());
    bench_require(mkdtemp(server.directory) != NULL, server.directory);
    snprintf(server.group_file, sizeof server.group_file, "%s/mofka.json", server.directory);
}

/* How many members the group file has; 0 without one. */
static size_t count_members(void)
{
    static char text[65536];
    FILE *file = fopen(server.group_file, "r");
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0, count = 0;
    text[length] = '\0';
    if (file)
        fclose(file);
    for (const char *at = text; (at = strstr(at, "\"address\"")); at++)
        count++;
    return count;
}

/* Starts the next server, and waits until it is in the group file. */
static void start_server(const char *config)
{
    char program[PATH_MAX + 32], name[32], path[PATH_MAX];
    bench_require(server.count < SERVERS_MAX, "too many servers");
    find_program(program);
    snprintf(name, sizeof name, "config-%zu.json", server.count);
    snprintf(path, sizeof path, "%s/%s", server.directory, name);
    FILE *file = fopen(path, "w");
    bench_require(file && fputs(config, file) >= 0 && fclose(file) == 0, path);
    int64_t start = dango_clock_ns();
    pid_t pid = fork();
    if (pid == 0)
        run_server(program, name);
    bench_require(pid > 0, "fork");
    server.pids[server.count++] = pid;
    while (count_members() < server.count) {
        if (dango_clock_ns() - start > INT64_C(20000000000) || waitpid(pid, NULL, WNOHANG) == pid) {
            fprintf(stderr, "bedrock did not start: see %s/log\n", server.directory);
            server.count = 0;
            exit(1);
        }
        usleep(200);
    }
}

int64_t bench_server_start(const char *config)
{
    static bool registered;
    bench_require(server.count == 0, "one service at a time");
    make_directory();
    if (!registered)
        registered = atexit(bench_server_stop) == 0;
    int64_t start = dango_clock_ns();
    start_server(config);
    return dango_clock_ns() - start;
}

void bench_server_add(const char *config)
{
    bench_require(server.count > 0, "no server to join");
    start_server(config);
}

const char *bench_temporary(void)
{
    const char *directory = getenv("TMPDIR");
    return directory ? directory : "/tmp";
}

const char *bench_server_directory(void)
{
    return server.directory;
}

const char *bench_server_group_file(void)
{
    return server.group_file;
}

double bench_server_memory(void)
{
    return bench_memory(server.pids[0]);
}
