/*
 * A region: a stretch of memory in which frames lie, and what is needed to send it over the network or to receive into
 * it. Segments of events in memory, mapped chunks of a log and receive buffers are regions, so that whoever moves bytes
 * need not know which.
 *
 * Memory that can go away has hold and release: as long as somebody holds a region, its bytes stay where they are.
 */
#ifndef DANGO_MOFKA_REGION_H
#define DANGO_MOFKA_REGION_H

#include "util/bus_guard.h"

#include <dango/error.h>

#include <stdbool.h>
#include <stddef.h>

/* How memory becomes reachable for the network; the partition itself knows no network. */
struct mofka_registrar {
    int (*attach)(void *arg, void *base, size_t size, void **registration, struct dango_error *err);
    void (*detach)(void *arg, void *registration);
    void *arg;
};

struct mofka_region {
    unsigned char *base;
    void *registration; /* made by the registrar; NULL: register what is sent for the time of the transfer */
    void (*hold)(struct mofka_region *region); /* thread-safe; NULL: stays for the life of the partition */
    void (*release)(struct mofka_region *region);
    const struct dango_bus_guard *guard; /* NULL: memory that can always be read */
};

/* For whoever knows that the region is held by somebody else at this moment. NULL is allowed. */
static inline void mofka_region_hold(struct mofka_region *region)
{
    if (region && region->hold)
        region->hold(region);
}

static inline void mofka_region_release(struct mofka_region *region)
{
    if (region && region->release)
        region->release(region);
}

/* Whether bytes of the region that have just been read were really there. */
static inline bool mofka_region_whole(const struct mofka_region *region, const unsigned char *bytes, size_t size)
{
    return !region || !region->guard || dango_bus_guard_whole(region->guard, bytes, size);
}

/*
 * Anonymous memory of `size` bytes, registered if there is a registrar; untouched pages take none. `huge`: in huge pages
 * if the kernel has them; good for batches that fill many pages, bad for small ones, because clearing one takes long.
 */
int mofka_region_map(struct mofka_region *region, size_t size, bool huge, const struct mofka_registrar *registrar,
                     struct dango_error *err);
void mofka_region_unmap(struct mofka_region *region, size_t size, const struct mofka_registrar *registrar);

#endif
