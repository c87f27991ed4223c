/*
 * Collecting output: see collect.h. Runs while the backend holds its lock, hence only copies; memory grows with what is
 * really collected, never with what the peer claims to have room for.
 */
#include "yokan/provider/collect.h"

#include <assert.h>
#include <stdlib.h>

yk_return_t yokan_collector_init(struct yokan_collector *collector, struct yokan_job *job, size_t count,
                                 const char *capacities, uint64_t space, uint64_t initial)
{
    assert(collector && job && count > 0);
    *collector = (struct yokan_collector){.job = job, .count = count, .capacities = capacities};
    collector->limit = job->request->bulk ? YOKAN_REGION_MAX : YOKAN_INLINE_MAX;
    collector->space = space < collector->limit ? space : collector->limit;
    if (capacities && !yokan_sum_sizes(capacities, count, true, YOKAN_LAST_VALID_SIZE, &collector->space))
        return YOKAN_ERR_INVALID_ARGS;
    collector->sizes = yokan_job_alloc(job, count, sizeof *collector->sizes);
    if (!collector->sizes)
        return YOKAN_ERR_ALLOCATION;
    for (size_t i = 0; i < count; i++)
        collector->sizes[i] = initial;
    return YOKAN_SUCCESS;
}

static bool append(struct yokan_bytes *bytes, struct yokan_slice item)
{
    assert(bytes->size <= bytes->capacity);
    if (item.size > bytes->capacity - bytes->size) {
        size_t capacity = bytes->capacity ? bytes->capacity : 4096;
        while (capacity - bytes->size < item.size)
            capacity *= 2;
        char *data = realloc(bytes->data, capacity);
        if (!data)
            return false;
        bytes->data = data;
        bytes->capacity = capacity;
    }
    if (item.size)
        memcpy(bytes->data + bytes->size, item.data, item.size);
    bytes->size += item.size;
    return true;
}

static bool fits(const struct yokan_collector *collector, size_t i, uint64_t size)
{
    assert(i < collector->count);
    if (collector->capacities)
        return size <= yokan_number_at(collector->capacities, i);
    return !collector->full && size <= collector->space - collector->bytes.size;
}

yk_return_t yokan_collector_add(struct yokan_collector *collector, size_t i, struct yokan_slice item)
{
    assert(i < collector->count);
    if (!fits(collector, i, item.size)) {
        collector->sizes[i] = YOKAN_SIZE_TOO_SMALL;
        collector->full = true;
        return YOKAN_ERR_BUFFER_SIZE;
    }
    if (item.size > collector->limit - collector->bytes.size || !append(&collector->bytes, item))
        return YOKAN_ERR_ALLOCATION;
    collector->sizes[i] = item.size;
    return YOKAN_SUCCESS;
}

yk_return_t yokan_collector_write_sizes(struct yokan_collector *collector, uint64_t place)
{
    assert(collector->sizes);
    return yokan_write(collector->job, place, collector->sizes, collector->count * sizeof *collector->sizes);
}

yk_return_t yokan_collector_write_bytes(struct yokan_collector *collector, uint64_t place)
{
    assert(collector->sizes);
    struct yokan_job *job = collector->job;
    const char *bytes = collector->bytes.data;
    size_t total = collector->bytes.size;
    yokan_job_keep(job, collector->bytes.data);
    collector->bytes = (struct yokan_bytes){0};
    if (!collector->capacities || !job->request->bulk)
        return yokan_write(job, place, bytes, total);
    yk_return_t ret = YOKAN_SUCCESS;
    for (size_t i = 0; i < collector->count && ret == YOKAN_SUCCESS; i++) {
        if (collector->sizes[i] <= YOKAN_LAST_VALID_SIZE) {
            ret = yokan_write(job, place, bytes, collector->sizes[i]);
            bytes += collector->sizes[i];
        }
        place += yokan_number_at(collector->capacities, i);
    }
    return ret;
}

void yokan_collector_fini(struct yokan_collector *collector)
{
    free(collector->bytes.data);
}
