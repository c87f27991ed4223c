/*
 * What the tests of the thread runtime share: a fixture that initialises the library, and secondary ESs.
 */
#ifndef DANGO_TESTS_ARGOBOTS_SUPPORT_H
#define DANGO_TESTS_ARGOBOTS_SUPPORT_H

#include "tests/support/test.h"

#include "abt.h"

#define OK(call) assert_int_equal((call), ABT_SUCCESS)

int setup_library(void **state);    /* ABT_init; fails if something of the test before was left */
int teardown_library(void **state); /* ABT_finalize */

ABT_pool main_pool(void); /* of the calling ES */
ABT_pool pool_of(ABT_xstream xstream);

/* ESs that share one new automatic pool, which is returned. */
ABT_pool start_xstreams(ABT_xstream *xstreams, int num);
void stop_xstreams(ABT_xstream *xstreams, int num);

#define TEST_WITH_LIBRARY(function) cmocka_unit_test_setup_teardown(function, setup_library, teardown_library)

#endif
