/*
 * What every test program includes: cmocka with the headers that it wants first, and a few helpers.
 */
#ifndef DANGO_TESTS_SUPPORT_TEST_H
#define DANGO_TESTS_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Asserts that `text` contains `part`, and shows both when it does not. */
#define assert_contains(text, part)                                                                                    \
    do {                                                                                                               \
        if (!strstr((text), (part)))                                                                                   \
            fail_msg("\"%s\" does not contain \"%s\"", (text), (part));                                                \
    } while (0)

#endif
