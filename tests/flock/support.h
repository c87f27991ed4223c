/*
 * What the RPC tests of Flock share.
 */
#ifndef TESTS_FLOCK_SUPPORT_H
#define TESTS_FLOCK_SUPPORT_H

#include "tests/support/test.h"

#include <flock/flock-bootstrap.h>
#include <flock/flock-server.h>

#define assert_ret(call, expected)                                                                                     \
    do {                                                                                                               \
        flock_return_t ret_ = (call);                                                                                  \
        if (ret_ != (expected))                                                                                        \
            fail_msg("%s: code %d instead of %d", #call, ret_, (expected));                                            \
    } while (0)
#define assert_ok(call) assert_ret(call, FLOCK_SUCCESS)

#define STATIC "{\"group\":{\"type\":\"static\"}}"

static inline void own_address(margo_instance_id mid, char *address, size_t capacity)
{
    hg_addr_t self;
    hg_size_t size = capacity;
    assert_int_equal(margo_addr_self(mid, &self), HG_SUCCESS);
    assert_int_equal(margo_addr_to_string(mid, address, &size, self), HG_SUCCESS);
    margo_addr_free(mid, self);
}

#endif
