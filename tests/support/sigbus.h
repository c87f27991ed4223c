/*
 * For tests of guarded mappings (util/bus_guard.h): cmocka installs a handler of its own for SIGBUS before each test.
 */
#ifndef DANGO_TESTS_SUPPORT_SIGBUS_H
#define DANGO_TESTS_SUPPORT_SIGBUS_H

#include "util/bus_guard.h"

#include <signal.h>
#include <stdbool.h>

/* First thing in a test: gives the signal back to the guards. */
static inline void sigbus_to_guards(void)
{
    static struct sigaction guards_action;
    static bool known;
    static unsigned char anything;
    struct dango_bus_guard guard = {0};
    if (!known) {
        dango_bus_guard_init(&guard, &anything, 1);
        dango_bus_guard_fini(&guard);
        sigaction(SIGBUS, NULL, &guards_action);
    }
    known = true;
    sigaction(SIGBUS, &guards_action, NULL);
}

#endif
