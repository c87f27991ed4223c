/*
 * Files that are read through memory: what happens when they cannot be read.
 *
 * When the medium fails under a mapped file, or the file has been shortened, touching its page raises SIGBUS, which ends the
 * process. A guard over the mapping lets it go on: the page that cannot be read becomes a page of zeros, and the guard
 * remembers it. Whoever has read such memory asks afterwards whether it was whole.
 *
 * System calls and network cards that are given such a page do not raise the signal; they fail by themselves (EFAULT).
 *
 * There is one handler for the process, installed with the first guard. It passes signals on that have nothing to do with
 * guarded memory. A program that installs its own afterwards goes without guards.
 *
 * Thread-safe; nothing here blocks.
 */
#ifndef DANGO_UTIL_BUS_GUARD_H
#define DANGO_UTIL_BUS_GUARD_H

#include "util/list.h"

#include <stdatomic.h>
#include <stdbool.h>

struct dango_bus_guard {
    unsigned char *base; /* NULL: guards nothing */
    size_t size;
    atomic_uint faults;    /* pages that could not be read and are zeros now … */
    atomic_ulong *missing; /* … a bit for each */
    struct list_node link; /* among all guards */
};

/* Guards a mapping for reading. 0 or -ENOMEM. */
int dango_bus_guard_init(struct dango_bus_guard *guard, void *base, size_t size);
/* Before it is unmapped. Does nothing for one that guards nothing. */
void dango_bus_guard_fini(struct dango_bus_guard *guard);

static inline unsigned dango_bus_guard_faults(const struct dango_bus_guard *guard)
{
    return atomic_load_explicit(&guard->faults, memory_order_acquire);
}

bool dango_bus_guard_find_missing(const struct dango_bus_guard *guard, const void *bytes, size_t size);

/* Whether these bytes, which have been read before, were there: none of their pages is missing. */
static inline bool dango_bus_guard_whole(const struct dango_bus_guard *guard, const void *bytes, size_t size)
{
    return dango_bus_guard_faults(guard) == 0 || !dango_bus_guard_find_missing(guard, bytes, size);
}

/* Reads a byte of every page, so that those that cannot be read are found out now. */
void dango_bus_guard_touch(const unsigned char *bytes, size_t size);

#endif
