/*
 * bedrock: reads a configuration, starts what it describes, and serves until a client, SIGINT or SIGTERM ends it.
 *
 * Signals are taken by a thread that sleeps in sigwait: the first one asks for an orderly stop, another one after a second
 * ends the process the hard way. Exit status: 0 after an orderly stop; 1 when the start failed, with one line on standard
 * error that says why, or for a wrong command line; 255 for options that contradict each other, or a file that cannot be
 * read.
 */
#include "bedrock/programs/cli.h"
#include "bedrock/reference_pages.h"
#include "util/file.h"
#include "util/json.h"
#include "util/log.h"
#include "util/signals.h"

#include <bedrock/server.h>

#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool from_stdin, is_jx9, is_toml;
static const char *config_file, *jx9_context, *output_file, *log_level, *server_name, *pages_directory;

static const struct cli_option options[] = {
    {'c', "config", "FILE", "configuration (JSON)", .value = &config_file},
    {'\0', "stdin", NULL, "read the configuration from standard input", .flag = &from_stdin},
    {'j', "jx9", NULL, "the configuration is a Jx9 script", .flag = &is_jx9},
    {'t', "toml", NULL, "the configuration is TOML", .flag = &is_toml},
    {'\0', "jx9-context", "LIST", "variables of the script", .value = &jx9_context},
    {'o', "output-config", "FILE", "after the start, write the effective configuration to FILE", .value = &output_file},
    {'\0', "name", "NAME", "name of this server, which stays the same when it is started again", .value = &server_name},
    {'v', "verbose", "LEVEL", "trace, debug, info (default), warning, error, critical, off", .value = &log_level},
    {'\0', "document", "DIR", "write the reference pages of all modules to DIR, and exit", .value = &pages_directory},
    CLI_END,
};

static const struct cli_program program = {
    .name = "bedrock",
    .positional = "[PROTOCOL|ADDRESS]",
    .summary = "Starts a service from its configuration and serves it until it is shut down.",
    .example = "bedrock na+sm -c config.json",
    .file_option = "-c",
    .options = options,
};

/* What the signal thread stops; guarded, because the server goes away while the thread still sleeps. */
static struct {
    pthread_mutex_t lock;
    struct bedrock_server *server;
    sigset_t signals;
} stop = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *wait_for_signals(void *arg)
{
    (void)arg;
    int64_t previous_ns = 0;
    int number = dango_signal_wait(&stop.signals, &previous_ns);
    pthread_mutex_lock(&stop.lock);
    log_info("bedrock", "%s: shutting down", strsignal(number));
    if (stop.server)
        bedrock_server_request_stop(stop.server);
    pthread_mutex_unlock(&stop.lock);
    number = dango_signal_wait(&stop.signals, &previous_ns);
    signal(number, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &stop.signals, NULL);
    raise(number);
    return NULL;
}

/*
 * Before any other thread exists, so that all of them inherit the mask. For the same reason the thread runtime's
 * registration for membarrier is made here: once there is a second thread, it takes the kernel some 10 ms.
 */
static int start_signal_thread(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&stop.signals);
    sigaddset(&stop.signals, SIGINT);
    sigaddset(&stop.signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop.signals, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int status = pthread_create(&thread, &attributes, wait_for_signals, NULL);
    pthread_attr_destroy(&attributes);
    return status;
}

static void set_server(struct bedrock_server *server)
{
    pthread_mutex_lock(&stop.lock);
    stop.server = server;
    pthread_mutex_unlock(&stop.lock);
}

static char *read_stdin(size_t *length, struct dango_error *err)
{
    char *text = NULL;
    size_t capacity = 0;
    ssize_t count;
    *length = 0;
    do {
        if (capacity - *length < 4096)
            text = realloc(text, capacity = 2 * capacity + 8192);
        if (!text)
            abort();
        count = read(STDIN_FILENO, text + *length, capacity - *length);
        *length += count > 0 ? (size_t)count : 0;
    } while (count > 0 && *length <= DANGO_JSON_SIZE_MAX);
    if (count == 0)
        return text;
    free(text);
    dango_error_set(err, DANGO_ERR_IO, "<stdin>: cannot be read, or is too long");
    return NULL;
}

static char *read_config(size_t *length, struct dango_error *err)
{
    if (from_stdin)
        return read_stdin(length, err);
    if (config_file)
        return dango_file_read(config_file, DANGO_JSON_SIZE_MAX, length, err);
    *length = 0;
    return strdup("");
}

/* Options that make no sense together, or that need what is not built in. */
static void check_options(void)
{
    const char *problem = NULL;
    if (config_file && from_stdin)
        problem = "--config and --stdin exclude each other";
    else if (is_jx9 && is_toml)
        problem = "--jx9 and --toml exclude each other";
    else if (jx9_context && !is_jx9)
        problem = "--jx9-context is for --jx9 only";
    else if (is_jx9)
        problem = "Jx9 scripts are not built in; write the configuration as JSON";
    else if (is_toml)
        problem = "TOML is not built in; write the configuration as JSON";
    if (problem)
        cli_refuse(&program, CLI_IMPOSSIBLE, "%s", problem);
}

static int write_output(struct bedrock_server *server, struct dango_error *err)
{
    char *text;
    if (!output_file)
        return 0;
    int status = bedrock_server_get_config(server, &text, err);
    if (status == 0) {
        status = dango_file_write(output_file, text, strlen(text), err);
        free(text);
    }
    return status;
}

static int start(struct bedrock_server *server, const char *address, const char *text, size_t length,
                 struct dango_error *err)
{
    int status = bedrock_server_start(server, address, text, length, err);
    if (status < 0)
        return dango_error_prefix(err, "%s", from_stdin ? "<stdin>" : config_file ? config_file : "configuration");
    log_info("bedrock", "Bedrock daemon now running at %s", bedrock_server_address(server));
    return write_output(server, err);
}

static int run(const char *address, const char *text, size_t length)
{
    struct dango_error err = {0};
    struct bedrock_server *server = bedrock_server_create();
    if (!server || start_signal_thread() != 0) {
        fputs("bedrock: out of memory\n", stderr);
        return 1;
    }
    set_server(server);
    int status = server_name && bedrock_server_set_name(server, server_name, &err) < 0
                     ? dango_error_prefix(&err, "--name")
                     : start(server, address, text, length, &err);
    if (status == 0)
        bedrock_server_wait(server);
    set_server(NULL);
    bedrock_server_destroy(server);
    if (status == 0)
        return 0;
    fprintf(stderr, "bedrock: %s\n", err.text); /* the last line is the one that people read */
    return 1;
}

static int read_and_run(const char *address)
{
    struct dango_error err = {0};
    size_t length;
    char *text = read_config(&length, &err);
    if (!text) {
        fprintf(stderr, "bedrock: %s\n", err.text);
        return CLI_IMPOSSIBLE;
    }
    int status = run(address, text, length);
    free(text);
    return status;
}

static int document(void)
{
    struct dango_error err = {0};
    if (dango_bedrock_write_pages(pages_directory, &err) == 0)
        return 0;
    fprintf(stderr, "bedrock: %s\n", err.text);
    return 1;
}

int main(int argc, char **argv)
{
    const char *address = cli_parse(&program, argc, argv);
    check_options();
    cli_set_log_level(&program, log_level, "info");
    dango_log_show_time(true);
    return pages_directory ? document() : read_and_run(address);
}
