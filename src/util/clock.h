/*
 * Time in nanoseconds on the monotonic clock, deadlines made from timeouts, and the time of day for what is stored.
 * Pure functions, any thread.
 */
#ifndef DANGO_UTIL_CLOCK_H
#define DANGO_UTIL_CLOCK_H

#include <stdint.h>
#include <time.h>

#define DANGO_NS_PER_MS INT64_C(1000000)
#define DANGO_NS_PER_S  INT64_C(1000000000)
#define DANGO_NEVER     INT64_MAX

static inline int64_t dango_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * DANGO_NS_PER_S + now.tv_nsec;
}

/* Nanoseconds since 1970. May jump: for people and files, not for waiting. */
static inline uint64_t dango_clock_wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * (uint64_t)DANGO_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* now + timeout_ms as a monotonic time; a negative timeout or one too far away gives DANGO_NEVER. */
static inline int64_t dango_deadline_ns(double timeout_ms)
{
    double ns = timeout_ms * (double)DANGO_NS_PER_MS;
    if (timeout_ms < 0 || ns > 4e18)
        return DANGO_NEVER;
    int64_t now = dango_clock_ns();
    return ns >= (double)(DANGO_NEVER - now) ? DANGO_NEVER : now + (int64_t)ns;
}

#endif
