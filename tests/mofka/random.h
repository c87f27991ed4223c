/*
 * Repeatable random numbers for tests (xorshift64*): a seed that is not 0 is all the state.
 */
#ifndef DANGO_TESTS_MOFKA_RANDOM_H
#define DANGO_TESTS_MOFKA_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * UINT64_C(2685821657736338717);
}

/* 0 ≤ result < limit */
static inline size_t random_below(uint64_t *seed, size_t limit)
{
    return (size_t)((random_next(seed) >> 11) % limit);
}

static inline void random_fill(uint64_t *seed, unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(random_next(seed) >> 32);
}

#endif
