/*
 * Output and options of benchmarks: see report.h.
 */
#include "bench/support/report.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] = "usage: %s [--rounds N] [--quick] [--json]\n";

struct bench_options bench_start(int argc, char **argv, const char *what)
{
    static const struct option long_options[] = {
        {"rounds", required_argument, NULL, 'r'},
        {"quick", no_argument, NULL, 'q'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct bench_options options = {.rounds = 0};
    for (int c; (c = getopt_long(argc, argv, "r:qjh", long_options, NULL)) != -1;) {
        if (c == 'r')
            options.rounds = atoi(optarg);
        else if (c == 'q')
            options.quick = true;
        else if (c == 'j')
            options.json = true;
        if (c == 'h' || c == '?' || (c == 'r' && options.rounds < 1)) {
            fprintf(c == 'h' ? stdout : stderr, usage, argv[0]);
            exit(c == 'h' ? 0 : 2);
        }
    }
    if (options.rounds == 0)
        options.rounds = options.quick ? 3 : 11;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!options.json)
        printf("# %s: medians of %d rounds, %ld cores\n", what, options.rounds, sysconf(_SC_NPROCESSORS_ONLN));
    return options;
}

const char *bench_take_option(int *argc, char **argv, const char *option, const char *otherwise)
{
    for (int i = 1; i + 1 < *argc; i++) {
        if (strcmp(argv[i], option) != 0)
            continue;
        const char *value = argv[i + 1];
        memmove(argv + i, argv + i + 2, (size_t)(*argc - i - 1) * sizeof *argv);
        *argc -= 2;
        return value;
    }
    return otherwise;
}

int bench_count(const struct bench_options *options, int count)
{
    int quick = count / 100 > 0 ? count / 100 : 1;
    return options->quick ? quick : count;
}

/* Four significant digits with a fitting unit: "57.16 us", "15.56 GB/s". */
static const char *scaled(double value, const char *unit, char *buffer, size_t size)
{
    static const char *const factors[] = {"", "k", "M", "G", "T"}, *const times[] = {"ns", "us", "ms", "s"};
    bool time = strcmp(unit, "ns") == 0;
    size_t i = 0, count = time ? sizeof times / sizeof *times : sizeof factors / sizeof *factors;
    for (; value >= 10000 && i + 1 < count; i++)
        value /= 1000;
    snprintf(buffer, size, "%.4g %s%s", value, time ? times[i] : factors[i], time ? "" : unit);
    return buffer;
}

void bench_print(const struct bench_options *options, const char *what, double value, const char *unit,
                 const char *target)
{
    char text[32];
    if (options->json)
        printf("{\"what\":\"%s\",\"median\":%.6g,\"unit\":\"%s\"}\n", what, value, unit);
    else
        printf("%-44s %14s  %s%s\n", what, scaled(value, unit, text, sizeof text), target ? "target " : "",
               target ? target : "");
}

void bench_print_pair(const struct bench_options *options, const char *what, const struct bench_pair *pair,
                      const char *unit, const char *reference, const char *target)
{
    char text[32], reference_text[32];
    if (options->json)
        printf("{\"what\":\"%s\",\"median\":%.6g,\"unit\":\"%s\",\"reference\":\"%s\",\"reference_median\":%.6g,"
               "\"ratio\":%.4g,\"ratio_low\":%.4g,\"ratio_high\":%.4g}\n",
               what, pair->subject, unit, reference, pair->reference, pair->ratio, pair->ratio_low, pair->ratio_high);
    else
        printf("%-44s %14s  %.3f x %s %s (%.3f - %.3f) %s%s\n", what, scaled(pair->subject, unit, text, sizeof text),
               pair->ratio, reference, scaled(pair->reference, unit, reference_text, sizeof reference_text),
               pair->ratio_low, pair->ratio_high, target ? "target " : "", target ? target : "");
}

void bench_print_series(const struct bench_options *options, const char *what, struct bench_series *series,
                        const char *unit, const char *target)
{
    double p50 = bench_percentile(series, 50), p90 = bench_percentile(series, 90);
    double p99 = bench_percentile(series, 99), maximum = bench_percentile(series, 100);
    char text[4][32];
    if (options->json)
        printf("{\"what\":\"%s\",\"unit\":\"%s\",\"p50\":%.6g,\"p90\":%.6g,\"p99\":%.6g,\"max\":%.6g}\n", what, unit,
               p50, p90, p99, maximum);
    else
        printf("%-44s %14s  p90 %s  p99 %s  max %s %s%s\n", what, scaled(p50, unit, text[0], sizeof text[0]),
               scaled(p90, unit, text[1], sizeof text[1]), scaled(p99, unit, text[2], sizeof text[2]),
               scaled(maximum, unit, text[3], sizeof text[3]), target ? "target " : "", target ? target : "");
}
