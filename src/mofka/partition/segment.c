/*
 * Segments in anonymous memory, mapped without reservation of swap.
 */
#include "mofka/partition/segment.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int mofka_segment_create(size_t size, bool huge, const struct mofka_registrar *registrar,
                         struct mofka_segment **segment, struct dango_error *err)
{
    assert(size > 0);
    struct mofka_segment *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    new->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (new->base == MAP_FAILED) {
        int code = dango_error_set_errno(err, errno, "cannot map %zu bytes for events", size);
        free(new);
        return code;
    }
    if (huge)
        (void)madvise(new->base, size, MADV_HUGEPAGE); /* a hint; kernels without it do without */
    new->capacity = size;
    atomic_init(&new->committed, 0);
    atomic_init(&new->end, SIZE_MAX);
    atomic_init(&new->next, NULL);
    if (registrar && registrar->attach(registrar->arg, new->base, size, &new->registration, err) != 0) {
        mofka_segment_destroy(new, NULL);
        return err ? err->code : DANGO_ERR_NO_MEMORY;
    }
    *segment = new;
    return 0;
}

void mofka_segment_destroy(struct mofka_segment *segment, const struct mofka_registrar *registrar)
{
    if (!segment)
        return;
    if (registrar)
        registrar->detach(registrar->arg, segment->registration);
    int rc = munmap(segment->base, segment->capacity);
    assert(rc == 0);
    (void)rc;
    free(segment);
}
