/*
 * Regions of anonymous memory, mapped without reservation of swap.
 */
#include "mofka/partition/region.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

static void unmap(struct mofka_region *region, size_t size)
{
    int rc = munmap(region->base, size);
    assert(rc == 0);
    (void)rc;
    region->base = NULL;
}

int mofka_region_map(struct mofka_region *region, size_t size, bool huge, const struct mofka_registrar *registrar,
                     struct dango_error *err)
{
    assert(size > 0);
    *region = (struct mofka_region){0};
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return dango_error_set_errno(err, errno, "cannot map %zu bytes for events", size);
    if (huge)
        (void)madvise(base, size, MADV_HUGEPAGE); /* a hint; kernels without it do without */
    region->base = base;
    int code = registrar ? registrar->attach(registrar->arg, base, size, &region->registration, err) : 0;
    if (code != 0)
        unmap(region, size);
    return code;
}

void mofka_region_unmap(struct mofka_region *region, size_t size, const struct mofka_registrar *registrar)
{
    if (registrar)
        registrar->detach(registrar->arg, region->registration);
    unmap(region, size);
}
