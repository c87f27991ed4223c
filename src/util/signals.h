/*
 * Signals: requests to end, and handlers that libraries must not replace.
 *
 * Who ends a process may send its signal twice for one request: `timeout` to the process and to its group, a terminal to
 * the group of which a launcher is part, which forwards it. A program that takes the second for impatience ends in the
 * middle of its orderly end.
 */
#ifndef DANGO_UTIL_SIGNALS_H
#define DANGO_UTIL_SIGNALS_H

#include <signal.h>
#include <stdint.h>

#define DANGO_SIGNAL_REPEAT_MS 1000

/*
 * Waits for a signal of `set`, which all threads block, and returns it; what follows the last one that was returned within
 * DANGO_SIGNAL_REPEAT_MS is passed over. `*previous_ns` is the time of that one, 0 before the first.
 */
int dango_signal_wait(const sigset_t *set, int64_t *previous_ns);

/*
 * What every signal does. Some libraries set handlers when they are loaded (libinfinipath, which libfabric brings along,
 * those of SIGINT, SIGTERM, SIGSEGV and SIGBUS), without regard for those that the program has set.
 */
struct dango_signal_actions {
    struct sigaction actions[NSIG];
};

/* Remembers them before a library is loaded, and puts back those that it has changed. Any thread. */
void dango_signal_actions_get(struct dango_signal_actions *actions);
void dango_signal_actions_restore(const struct dango_signal_actions *actions);

#endif
