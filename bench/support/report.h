/*
 * How benchmarks print: one line per figure, in columns, so that all programs read alike; with --json one JSON object
 * per line instead, for scripts. And the options that all of them take.
 *
 *     what                                       median unit        reference unit   ratio (quartiles)   target
 */
#ifndef DANGO_BENCH_SUPPORT_REPORT_H
#define DANGO_BENCH_SUPPORT_REPORT_H

#include "bench/support/stats.h"

#include <stdbool.h>

struct bench_options {
    int rounds; /* --rounds N: measurements of each figure; default 11 */
    bool quick; /* --quick: a smoke test; 3 rounds, and programs shorten their loops (bench_count) */
    bool json;  /* --json */
};

/* Takes an option of the program's own and its value out of the command line, before bench_start; `otherwise` when it is
 * not there. */
const char *bench_take_option(int *argc, char **argv, const char *option, const char *otherwise);

/* Reads the command line; ends the program on --help or on a mistake. Prints the heading. */
struct bench_options bench_start(int argc, char **argv, const char *what);

/* `count` of loop turns, or a hundredth of it for a smoke test. */
int bench_count(const struct bench_options *options, int count);

/* A figure without reference. `target` may be NULL: text such as "<= 40". */
void bench_print(const struct bench_options *options, const char *what, double value, const char *unit,
                 const char *target);

/* A figure beside its reference, which `reference` names. */
void bench_print_pair(const struct bench_options *options, const char *what, const struct bench_pair *pair,
                      const char *unit, const char *reference, const char *target);

/* Distribution of latencies: p50, p90, p99 and maximum. */
void bench_print_series(const struct bench_options *options, const char *what, struct bench_series *series,
                        const char *unit, const char *target);

#endif
