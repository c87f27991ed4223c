/*
 * The transport that a test runs on: na+sm, unless DANGO_TEST_PROTOCOL says otherwise. `dango_test(… TRANSPORTS tcp)`
 * registers a test program once more for another one.
 */
#ifndef DANGO_TESTS_SUPPORT_PROTOCOL_H
#define DANGO_TESTS_SUPPORT_PROTOCOL_H

#include <stdbool.h>
#include <stdlib.h>
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

static inline bool test_on_ofi(void)
{
    return strncmp(test_protocol(), "ofi+", 4) == 0;
}

/* How often something is repeated that takes seconds over libfabric: less there, unless by night. */
static inline int test_rounds(int count)
{
    return test_on_ofi() && !getenv("DANGO_NIGHTLY") ? (count + 9) / 10 : count;
}

/* Within how long a call to a peer that dies fails; much longer than it takes, much shorter than a timeout somewhere.
 * libfabric does not tell that a peer is gone: pings find out. */
static inline int test_soon_ms(void)
{
    return test_on_ofi() ? 4000 : 1000;
}

/* An address that nobody has. */
static inline const char *test_nobody(void)
{
    if (test_on_ofi())
        return strncmp(test_protocol(), "ofi+sockets", 11) == 0 ? "ofi+sockets://127.0.0.1:1" : "ofi+tcp://127.0.0.1:1";
    return test_on_tcp() ? "tcp://127.0.0.1:1" : "na+sm://1-999";
}

#endif
