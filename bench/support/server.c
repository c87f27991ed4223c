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

static struct {
    pid_t pid;
    char directory[256], group_file[PATH_MAX];
} server;

void bench_server_stop(void)
{
    char command[300];
    if (server.pid <= 0)
        return;
    kill(server.pid, SIGTERM);
    waitpid(server.pid, NULL, 0);
    server.pid = 0;
    snprintf(command, sizeof command, "rm -rf %s", server.directory);
    if (system(command) != 0)
        fprintf(stderr, "%s: not removed\n", server.directory);
}

/* In the child: bedrock from the same build tree, in the temporary directory. */
static void run_server(const char *program)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (chdir(server.directory) == 0 && freopen("log", "w", stdout) && dup2(STDOUT_FILENO, STDERR_FILENO) >= 0)
        execl(program, "bedrock", "na+sm", "-c", "config.json", (char *)NULL);
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

static void make_directory(const char *config)
{
    char path[PATH_MAX];
    snprintf(server.directory, sizeof server.directory, "%s/dango-bench-XXXXXX", bench_temporary());
    bench_require(mkdtemp(server.directory) != NULL, server.directory);
    snprintf(path, sizeof path, "%s/config.json", server.directory);
    FILE *file = fopen(path, "w");
    bench_require(file && fputs(config, file) >= 0 && fclose(file) == 0, path);
    snprintf(server.group_file, sizeof server.group_file, "%s/mofka.json", server.directory);
}

int64_t bench_server_start(const char *config)
{
    static bool registered;
    char program[PATH_MAX + 32];
    bench_require(server.pid == 0, "one server at a time");
    find_program(program);
    make_directory(config);
    if (!registered)
        registered = atexit(bench_server_stop) == 0;
    int64_t start = dango_clock_ns();
    server.pid = fork();
    if (server.pid == 0)
        run_server(program);
    bench_require(server.pid > 0, "fork");
    while (access(server.group_file, R_OK) != 0) {
        if (dango_clock_ns() - start > INT64_C(20000000000) || waitpid(server.pid, NULL, WNOHANG) == server.pid) {
            fprintf(stderr, "bedrock did not start: see %s/log\n", server.directory);
            server.pid = 0;
            exit(1);
        }
        usleep(200);
    }
    return dango_clock_ns() - start;
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
    return bench_memory(server.pid);
}
