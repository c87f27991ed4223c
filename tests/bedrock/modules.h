/*
 * Two module types for the tests of Bedrock, part of the test program itself (library ""):
 *
 *     thing   settings {size: 1..100, color: red|green, fail: when}; dependencies pool, friend (thing), friends
 *             (thing, array), xstream, engine; what its providers do is written to `journal`
 *     store   requires "pool"; refuses size 13 in its check
 */
#ifndef DANGO_TESTS_BEDROCK_MODULES_H
#define DANGO_TESTS_BEDROCK_MODULES_H

#include <bedrock/module.h>

const struct bedrock_module *const *bedrock_modules(void);

/* "create a; create b; destroy b; " …: calls so far. */
extern char journal[4096];

#endif
