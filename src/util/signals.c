/*
 * Waiting for signals, and keeping their handlers: see signals.h.
 */
#include "util/signals.h"

#include "util/clock.h"

#include <assert.h>

int dango_signal_wait(const sigset_t *set, int64_t *previous_ns)
{
    for (;;) {
        int number, rc = sigwait(set, &number);
        int64_t now_ns = dango_clock_ns();
        assert(rc == 0); /* it fails for an invalid set only */
        (void)rc;
        if (*previous_ns == 0 || now_ns - *previous_ns >= DANGO_SIGNAL_REPEAT_MS * DANGO_NS_PER_MS) {
            *previous_ns = now_ns;
            return number;
        }
    }
}

void dango_signal_actions_get(struct dango_signal_actions *actions)
{
    for (int number = 1; number < NSIG; number++)
        if (sigaction(number, NULL, &actions->actions[number])) /* those that the C library keeps for itself */
            actions->actions[number] = (struct sigaction){.sa_handler = SIG_ERR};
}

void dango_signal_actions_restore(const struct dango_signal_actions *actions)
{
    for (int number = 1; number < NSIG; number++) {
        const struct sigaction *before = &actions->actions[number];
        struct sigaction now;
        if (before->sa_handler != SIG_ERR && sigaction(number, NULL, &now) == 0 && now.sa_handler != before->sa_handler)
            sigaction(number, before, NULL);
    }
}
