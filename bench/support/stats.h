/*
 * Statistics of benchmarks: series of samples with median and percentiles, and paired runs.
 *
 * A single figure of this kind of program says little: machines differ, and the same machine differs from minute to
 * minute. What is comparable is the ratio of two things measured alternately in one run; bench_run_paired does that.
 * Values are doubles in whatever unit the caller chooses; nothing here is thread-safe.
 */
#ifndef DANGO_BENCH_SUPPORT_STATS_H
#define DANGO_BENCH_SUPPORT_STATS_H

#include <stddef.h>

/* A growing list of samples; starts as all zeros. */
struct bench_series {
    double *values;
    size_t count, capacity;
    int sorted;
};

/* Appends a sample; ends the program when memory is short. */
void bench_series_add(struct bench_series *series, double value);
void bench_series_free(struct bench_series *series);

/* The value below which `percent` (0 to 100) of the samples lie, interpolated; NaN without samples. Sorts. */
double bench_percentile(struct bench_series *series, double percent);
double bench_median(struct bench_series *series);
double bench_mean(const struct bench_series *series);

/* One complete measurement; returns its result, for instance nanoseconds per operation. */
typedef double (*bench_measure_fn)(void *arg);

/* A subject and its reference, measured in turn. */
struct bench_pair {
    double subject, reference;    /* medians of the results */
    double ratio;                 /* median of subject / reference of each round */
    double ratio_low, ratio_high; /* quartiles of the same */
};

/* `rounds` times subject and reference, in alternating order, after one round that does not count. */
struct bench_pair bench_run_paired(bench_measure_fn subject, void *subject_arg, bench_measure_fn reference,
                                   void *reference_arg, int rounds);

/* Median of `rounds` results after one that does not count, for what has no reference. */
double bench_run(bench_measure_fn subject, void *arg, int rounds);

#endif
