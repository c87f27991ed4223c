/*
 * Memory for the network: page-aligned buffers that the core fills or has filled, registered once for their whole
 * life, and registrations of the user's own memory for the time of one transfer.
 */
#include "mofka/client/driver.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Segments that are described without an allocation. */
#define SEGMENTS_ON_STACK 64
/* Buffers that hold one have huge pages: to make and clear one costs little more than a small one. Small answers, of
 * which the application may hold thousands, take small pages: huge ones begin at multiples of their size behind so
 * many bytes. */
#define HUGE_PAGE    ((size_t)2 << 20)
#define SMALL_ANSWER ((size_t)64 << 10)

static int flatten(struct mofka_memory *memory, struct dango_error *err)
{
    size_t size = (size_t)margo_bulk_get_serialize_size(memory->bulk, HG_FALSE);
    if (size > memory->flat_capacity) {
        unsigned char *flat = realloc(memory->flat, size);
        if (!flat)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        memory->flat = flat;
        memory->flat_capacity = size;
    }
    memory->flat_size = size;
    if (size > MOFKA_BULK_SIZE_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "memory in too many segments for one transfer");
    hg_return_t ret = margo_bulk_serialize(memory->flat, size, HG_FALSE, memory->bulk);
    if (ret != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_INTERNAL, "cannot describe memory: %s", HG_Error_to_string(ret));
    return 0;
}

int mofka_memory_register(struct mofka_engine *engine, const diaspora_segment *segments, size_t count, uint8_t flags,
                          struct mofka_memory *memory, struct dango_error *err)
{
    void *bases_on_stack[SEGMENTS_ON_STACK], **bases = bases_on_stack;
    hg_size_t sizes_on_stack[SEGMENTS_ON_STACK], *sizes = sizes_on_stack;
    int code = 0;
    if (count > SEGMENTS_ON_STACK) {
        bases = malloc(count * sizeof *bases);
        sizes = malloc(count * sizeof *sizes);
        if (!bases || !sizes) {
            code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
            goto out;
        }
    }
    uint32_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (segments[i].size == 0)
            continue;
        bases[used] = segments[i].base;
        sizes[used++] = segments[i].size;
    }
    assert(used > 0 && !memory->bulk);
    hg_return_t ret = margo_bulk_create(mofka_engine_instance(engine), used, bases, sizes, flags, &memory->bulk);
    if (ret != HG_SUCCESS) {
        memory->bulk = HG_BULK_NULL;
        code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "cannot register memory for the network: %s",
                               HG_Error_to_string(ret));
        goto out;
    }
    code = flatten(memory, err);
    if (code != 0)
        mofka_memory_unregister(memory);
out:
    if (bases != bases_on_stack)
        free(bases);
    if (sizes != sizes_on_stack)
        free(sizes);
    return code;
}

void mofka_memory_unregister(struct mofka_memory *memory)
{
    margo_bulk_free(memory->bulk);
    memory->bulk = HG_BULK_NULL;
}

void mofka_memory_release(struct mofka_memory *memory)
{
    mofka_memory_unregister(memory);
    free(memory->flat);
    *memory = (struct mofka_memory){0};
}

int mofka_buffer_allocate(void *driver, size_t size, struct diaspora_buffer *buffer, struct dango_error *err)
{
    assert(size > 0);
    struct mofka_driver *self = driver;
    struct mofka_memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        free(memory);
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "cannot map a buffer of %zu bytes", size);
    }
    if (size > HUGE_PAGE) /* a hint; kernels without it do without */
        (void)madvise((char *)base + SMALL_ANSWER, size - SMALL_ANSWER, MADV_HUGEPAGE);
    diaspora_segment segment = {base, size};
    int code = mofka_memory_register(self->engine, &segment, 1, HG_BULK_READWRITE, memory, err);
    if (code != 0) {
        munmap(base, size);
        free(memory);
        return code;
    }
    *buffer = (struct diaspora_buffer){.base = base, .size = size, .driver_data = memory};
    return 0;
}

void mofka_buffer_free(void *driver, struct diaspora_buffer *buffer)
{
    (void)driver;
    if (!buffer->base)
        return;
    struct mofka_memory *memory = buffer->driver_data;
    mofka_memory_release(memory);
    free(memory);
    munmap(buffer->base, buffer->size);
    *buffer = (struct diaspora_buffer){0};
}
