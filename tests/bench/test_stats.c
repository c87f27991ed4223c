/*
 * Statistics of the benchmarks: percentiles, and the order and number of paired measurements.
 */
#include "tests/support/test.h"

#include "bench/support/stats.h"

#include <math.h>

static void percentiles(void **state)
{
    (void)state;
    struct bench_series series = {0};
    assert_true(isnan(bench_median(&series)));
    for (int i = 100; i >= 0; i--)
        bench_series_add(&series, i);
    assert_true(bench_percentile(&series, 0) == 0);
    assert_true(bench_median(&series) == 50);
    assert_true(fabs(bench_percentile(&series, 99) - 99) < 1e-9);
    assert_true(bench_percentile(&series, 100) == 100);
    bench_series_add(&series, 1000);
    assert_true(fabs(bench_median(&series) - 50.5) < 1e-9);
    bench_series_free(&series);
}

struct calls {
    char order[64];
    int count;
};

static double subject(void *arg)
{
    struct calls *calls = arg;
    calls->order[calls->count++] = 's';
    return 6;
}

static double reference(void *arg)
{
    struct calls *calls = arg;
    calls->order[calls->count++] = 'r';
    return 4;
}

static void paired_runs_alternate(void **state)
{
    (void)state;
    struct calls calls = {.count = 0};
    struct bench_pair pair = bench_run_paired(subject, &calls, reference, &calls, 3);
    assert_string_equal(calls.order, "srsrrssr");
    assert_true(pair.subject == 6 && pair.reference == 4 && pair.ratio == 1.5);
    calls = (struct calls){.count = 0};
    assert_true(bench_run(subject, &calls, 5) == 6);
    assert_int_equal(calls.count, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles),
        cmocka_unit_test(paired_runs_alternate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
