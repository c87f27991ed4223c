/*
 * The driver of fuzz targets: see fuzz.h. Every changed input follows from the seed and its number alone, so that one can
 * be repeated without those before it.
 */
#include "tests/support/fuzz.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEEDS_MAX      64
#define INPUT_MAX      ((size_t)1 << 20)
#define ORDINARY_S     5
#define NIGHTLY_S      120
#define NIGHTLY_FACTOR 1000u
#define CHANGES_MAX    6

static struct {
    uint8_t *bytes;
    size_t size;
} seeds[SEEDS_MAX];
static size_t num_seeds;

void fuzz_seed(const void *bytes, size_t size)
{
    assert(num_seeds < SEEDS_MAX && size <= INPUT_MAX);
    seeds[num_seeds].bytes = malloc(size + 1);
    assert(seeds[num_seeds].bytes);
    memcpy(seeds[num_seeds].bytes, bytes, size);
    seeds[num_seeds++].size = size;
}

#ifdef FUZZ_BY_LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_corpus();
    return 0;
}

#else

static uint64_t sequence = 1;     /* seed of the run */
static uint64_t round_now, state; /* of the input */
static char name[64];

static uint64_t next_random(void)
{
    state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(size_t limit)
{
    return limit ? (size_t)(next_random() % limit) : 0;
}

/* ---- changing inputs ---- */

static uint64_t extreme(void)
{
    static const uint64_t base[] = {0,      1,      2,       7,         8,          0x7f,      0x80,      0xff,
                                    0x7fff, 0xffff, 0x10000, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX};
    return base[below(sizeof base / sizeof *base)] + (below(4) == 0 ? next_random() % 17 - 8 : 0);
}

static void overwrite(uint8_t *bytes, size_t size)
{
    static const size_t widths[] = {1, 2, 4, 8};
    size_t width = widths[below(4)], at = below(size);
    uint64_t number = below(3) ? extreme() : next_random();
    /* Numbers mostly stand at multiples of their size. */
    if (below(4))
        at -= at % width;
    memcpy(bytes + at, &number, size - at < width ? size - at : width);
}

/* Takes a stretch out, or repeats one. Returns the new size. */
static size_t move(uint8_t *bytes, size_t size)
{
    size_t at = below(size), length = 1 + below(below(2) ? 16 : size - at);
    if (length > size - at)
        length = size - at;
    if (below(2)) {
        memmove(bytes + at, bytes + at + length, size - at - length);
        return size - length;
    }
    if (size + length > INPUT_MAX)
        return size;
    memmove(bytes + at + length, bytes + at, size - at);
    return size + length;
}

/* Takes the rest from another good input. */
static size_t splice_in(uint8_t *bytes, size_t size)
{
    size_t other = below(num_seeds), at = below(size < seeds[other].size ? size : seeds[other].size);
    memcpy(bytes + at, seeds[other].bytes + at, seeds[other].size - at);
    return seeds[other].size;
}

static size_t change(uint8_t *bytes, size_t size)
{
    if (size == 0)
        return 0;
    switch (below(10)) {
    case 0:
        return below(size + 1);
    case 1:
        return move(bytes, size);
    case 2:
        return splice_in(bytes, size);
    case 3:
    case 4:
        bytes[below(size)] ^= (uint8_t)(1u << below(8));
        return size;
    case 5:
        bytes[below(size)] = (uint8_t)next_random();
        return size;
    default:
        overwrite(bytes, size);
        return size;
    }
}

/* ---- running ---- */

static void run_exact(const uint8_t *bytes, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);
    assert(exact);
    memcpy(exact, bytes, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void run_round(uint64_t round, uint8_t *buffer)
{
    round_now = round;
    state = sequence * UINT64_C(0xd6e8feb86659fd93) + round;
    size_t seed = round < num_seeds ? (size_t)round : below(num_seeds), size = seeds[seed].size;
    memcpy(buffer, seeds[seed].bytes, size);
    if (round >= num_seeds) {
        for (size_t changes = 1 + below(CHANGES_MAX); changes > 0; changes--)
            size = change(buffer, size);
    }
    run_exact(buffer, size);
}

static void say_how_to_repeat(void)
{
    dprintf(STDERR_FILENO, "%s: failed; again: DANGO_FUZZ_SEED=%llu DANGO_FUZZ_ROUND=%llu\n", name,
            (unsigned long long)sequence, (unsigned long long)round_now);
}

static void on_signal(int number)
{
    say_how_to_repeat();
    signal(number, SIG_DFL);
    raise(number);
}

/* There when a sanitizer is linked. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void prepare_to_fail(const char *program)
{
    const char *slash = strrchr(program, '/');
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : program);
    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(say_how_to_repeat);
    else
        signal(SIGSEGV, on_signal), signal(SIGBUS, on_signal), signal(SIGFPE, on_signal);
}

static int run_file(const char *path, uint8_t *buffer)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    size_t size = fread(buffer, 1, INPUT_MAX, file);
    fclose(file);
    run_exact(buffer, size);
    return 0;
}

static int write_corpus(const char *directory)
{
    char path[4096];
    if (mkdir(directory, 0755) != 0 && access(directory, W_OK) != 0) {
        perror(directory);
        return 1;
    }
    for (size_t i = 0; i < num_seeds; i++) {
        snprintf(path, sizeof path, "%s/seed-%02zu", directory, i);
        FILE *file = fopen(path, "wb");
        bool written = file && fwrite(seeds[i].bytes, 1, seeds[i].size, file) == seeds[i].size;
        if (!file || fclose(file) != 0 || !written) {
            perror(path);
            return 1;
        }
    }
    return 0;
}

static uint64_t number_in(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void run_sequence(uint8_t *buffer)
{
    bool nightly = getenv("DANGO_NIGHTLY") != NULL;
    time_t end = time(NULL) + (nightly ? NIGHTLY_S : ORDINARY_S);
    uint64_t rounds = (uint64_t)fuzz_rounds * (nightly ? NIGHTLY_FACTOR : 1), round = 0;
    sequence = number_in("DANGO_FUZZ_SEED", nightly ? (uint64_t)time(NULL) / 86400 : 1);
    if (getenv("DANGO_FUZZ_ROUND")) {
        run_round(number_in("DANGO_FUZZ_ROUND", 0), buffer);
        return;
    }
    while (round < rounds && (round < num_seeds || time(NULL) < end))
        run_round(round++, buffer);
    printf("%s: %llu inputs from %zu good ones, seed %llu\n", name, (unsigned long long)round, num_seeds,
           (unsigned long long)sequence);
}

int main(int argc, char **argv)
{
    uint8_t *buffer = malloc(INPUT_MAX);
    int status = 0;
    assert(buffer);
    prepare_to_fail(argv[0]);
    fuzz_corpus();
    assert(num_seeds > 0);
    if (argc == 3 && strcmp(argv[1], "--corpus") == 0) {
        status = write_corpus(argv[2]);
    } else if (argc > 1) {
        for (int i = 1; i < argc; i++)
            status |= run_file(argv[i], buffer);
    } else {
        run_sequence(buffer);
    }
    for (size_t i = 0; i < num_seeds; i++)
        free(seeds[i].bytes);
    free(buffer);
    return status;
}

#endif
