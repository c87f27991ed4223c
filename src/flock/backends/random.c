/*
 * Random numbers for jitter, orders and choices: xorshift64*, seeded per provider, so that processes that start together do
 * not act in step.
 */
#include "flock/backends/backend.h"

#include "util/clock.h"

#include <assert.h>
#include <sys/random.h>
#include <unistd.h>

uint64_t flk_random_seed(const void *self)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uintptr_t)self ^ ((uint64_t)getpid() << 40) ^ (uint64_t)dango_clock_ns();
    return seed | 1; /* zero would stay zero */
}

uint64_t flk_random_next(uint64_t *state)
{
    assert(*state != 0);
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

size_t flk_random_below(uint64_t *state, size_t limit)
{
    assert(limit > 0);
    return (size_t)(flk_random_next(state) % limit);
}
