/*
 * Waiting for signals (see signals.h): sigwait, and a clock.
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
