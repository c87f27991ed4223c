/*
 * Series and paired runs: see stats.h.
 */
#include "bench/support/stats.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void bench_series_add(struct bench_series *series, double value)
{
    if (series->count == series->capacity) {
        series->capacity = series->capacity ? 2 * series->capacity : 64;
        series->values = realloc(series->values, series->capacity * sizeof *series->values);
        if (!series->values) {
            fputs("out of memory\n", stderr);
            exit(1);
        }
    }
    series->values[series->count++] = value;
    series->sorted = 0;
}

void bench_series_free(struct bench_series *series)
{
    free(series->values);
    *series = (struct bench_series){0};
}

double bench_mean(const struct bench_series *series)
{
    double sum = 0;
    for (size_t i = 0; i < series->count; i++)
        sum += series->values[i];
    return series->count > 0 ? sum / (double)series->count : NAN;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_percentile(struct bench_series *series, double percent)
{
    assert(percent >= 0 && percent <= 100);
    if (series->count == 0)
        return NAN;
    if (!series->sorted)
        qsort(series->values, series->count, sizeof *series->values, compare);
    series->sorted = 1;
    double position = percent / 100 * (double)(series->count - 1);
    size_t below = (size_t)position;
    size_t above = below + 1 < series->count ? below + 1 : below;
    double weight = position - (double)below;
    return series->values[below] * (1 - weight) + series->values[above] * weight;
}

double bench_median(struct bench_series *series)
{
    return bench_percentile(series, 50);
}

struct bench_pair bench_run_paired(bench_measure_fn subject, void *subject_arg, bench_measure_fn reference,
                                   void *reference_arg, int rounds)
{
    assert(rounds > 0);
    struct bench_series subjects = {0}, references = {0}, ratios = {0};
    subject(subject_arg);
    reference(reference_arg);
    for (int i = 0; i < rounds; i++) {
        /* Who comes first alternates, so that a drift of the machine does not favour one of them. */
        double r = i % 2 ? reference(reference_arg) : 0;
        double s = subject(subject_arg);
        if (i % 2 == 0)
            r = reference(reference_arg);
        bench_series_add(&subjects, s);
        bench_series_add(&references, r);
        bench_series_add(&ratios, s / r);
    }
    struct bench_pair pair = {.subject = bench_median(&subjects),
                              .reference = bench_median(&references),
                              .ratio = bench_median(&ratios),
                              .ratio_low = bench_percentile(&ratios, 25),
                              .ratio_high = bench_percentile(&ratios, 75)};
    bench_series_free(&subjects);
    bench_series_free(&references);
    bench_series_free(&ratios);
    return pair;
}

double bench_run(bench_measure_fn subject, void *arg, int rounds)
{
    assert(rounds > 0);
    struct bench_series results = {0};
    subject(arg);
    for (int i = 0; i < rounds; i++)
        bench_series_add(&results, subject(arg));
    double median = bench_median(&results);
    bench_series_free(&results);
    return median;
}
