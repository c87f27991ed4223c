/*
 * The transport that a test runs on: na+sm, unless DANGO_TEST_PROTOCOL says otherwise. `dango_test(… TRANSPORTS tcp)`
 * registers a test program once more for another one.
 */
#ifndef DANGO_TESTS_SUPPORT_PROTOCOL_H
#define DANGO_TESTS_SUPPORT_PROTOCOL_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What to start a class or an instance with. */
static inline const char *test_protocol(void)
{
    const char *protocol = getenv("DANGO_TEST_PROTOCOL");
    return protocol ? protocol : "na+sm";
}

static inline bool test_on_tcp(void)
{
    return strncmp(test_protocol(), "tcp", 3) == 0;
}

/* An address that nobody has. */
static inline const char *test_nobody(void)
{
    return test_on_tcp() ? "tcp://127.0.0.1:1" : "na+sm://1-999";
}

#endif
