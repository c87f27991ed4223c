/*
 * Fuzz targets: a function that takes any bytes, and good inputs to begin with.
 *
 * A target is one file that defines LLVMFuzzerTestOneInput, fuzz_rounds and fuzz_corpus; `dango_fuzz(NAME file.c USES …)`
 * makes a test of it. The test runs a fixed sequence of inputs (each good one, then changed ones) under whatever
 * sanitizers the build has, for a few seconds at most; DANGO_NIGHTLY=1 makes it minutes and another sequence every day.
 *
 *     test-NAME                      the fixed sequence
 *     test-NAME FILE…                these inputs
 *     test-NAME --corpus DIR         writes the good inputs to files, for libFuzzer
 *     DANGO_FUZZ_SEED=N              another sequence
 *     DANGO_FUZZ_ROUND=N             only this input of it: what a failure prints
 *
 * With Clang, `-DDANGO_LIBFUZZER=ON` also makes fuzz-NAME, which explores by coverage: `fuzz-NAME DIR`.
 */
#ifndef DANGO_TESTS_SUPPORT_FUZZ_H
#define DANGO_TESTS_SUPPORT_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* The bytes are exactly as many as they are, so that sanitizers see every one read too many. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Inputs of the ordinary run. */
extern const unsigned fuzz_rounds;

/* Gives the good inputs to fuzz_seed; called once, before the first input. Also the place to prepare what all need. */
void fuzz_corpus(void);
void fuzz_seed(const void *bytes, size_t size);

#endif
