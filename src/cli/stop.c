/*
 * Stopping on signals (see cli.h). All threads block SIGINT and SIGTERM; one thread waits for them, so that no call is
 * interrupted half-way and nothing runs in a signal handler.
 */
#include "cli/cli.h"
#include "util/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

static _Atomic int stop_signal;
static int stop_fd = -1;

static void *wait_for_signals(void *arg)
{
    sigset_t *set = arg;
    int64_t previous_ns = 0;
    uint64_t one = 1;
    for (;;) {
        int number = dango_signal_wait(set, &previous_ns);
        if (atomic_exchange(&stop_signal, number) != 0)
            _exit(128 + number); /* asked again: at once */
        if (write(stop_fd, &one, sizeof one) < 0)
            _exit(128 + number);
    }
}

int cli_stop_start(struct dango_error *err)
{
    static sigset_t set;
    pthread_t thread;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    stop_fd = eventfd(0, EFD_CLOEXEC);
    if (stop_fd < 0)
        return dango_error_set_errno(err, errno, "eventfd");
    int error = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (error == 0)
        error = pthread_create(&thread, NULL, wait_for_signals, &set);
    if (error != 0)
        return dango_error_set_errno(err, error, "signals");
    pthread_detach(thread);
    return 0;
}

int cli_stop_signal(void)
{
    return atomic_load(&stop_signal);
}

int cli_stop_fd(void)
{
    return stop_fd;
}
