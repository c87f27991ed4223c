/*
 * What the tests of Warabi with RPCs share: assertions on error objects, and the address of a process.
 */
#ifndef DANGO_TESTS_WARABI_FIXTURE_H
#define DANGO_TESTS_WARABI_FIXTURE_H

#include "tests/support/test.h"

#include <warabi/client.h>
#include <warabi/server.h>

#define PROVIDER_ID 42

/* Asserts success, and shows the message when it is not. */
#define assert_success(call)                                                                                           \
    do {                                                                                                               \
        warabi_err_t err_ = (call);                                                                                    \
        if (err_ != WARABI_SUCCESS)                                                                                    \
            fail_msg("%s: %s", #call, warabi_err_message(err_));                                                       \
    } while (0)

#define assert_failure(call, expected_code)                                                                            \
    do {                                                                                                               \
        warabi_err_t err_ = (call);                                                                                    \
        if (warabi_err_code(err_) != (expected_code))                                                                  \
            fail_msg("%s: code %d: %s", #call, warabi_err_code(err_), warabi_err_message(err_));                       \
        warabi_err_free(err_);                                                                                         \
    } while (0)

static inline void self_address(margo_instance_id mid, char *text, hg_size_t size)
{
    hg_addr_t self;
    assert_int_equal(margo_addr_self(mid, &self), HG_SUCCESS);
    assert_int_equal(margo_addr_to_string(mid, text, &size, self), HG_SUCCESS);
    margo_addr_free(mid, self);
}

#endif
