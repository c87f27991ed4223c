/*
 * Operations on pairs: count, put, get, exists, length, erase. Layouts are in yokan/database.h, fields in wire.h.
 */
#include "yokan/provider/collect.h"

#include <assert.h>

#define WORD sizeof(uint64_t)

yk_return_t yokan_run_count(struct yokan_job *job)
{
    return job->database->backend->count(job->database->db, &job->value);
}

/* The whole region is input. Bytes behind the last value are ignored. */
yk_return_t yokan_run_put(struct yokan_job *job)
{
    assert(job->database && job->request->count <= YOKAN_COUNT_MAX);
    const struct yokan_request *r = job->request;
    const struct yokan_backend *backend = job->database->backend;
    size_t n = r->count;
    uint64_t total = yokan_region_size(job), header = 2 * n * WORD, ksum, vsum;
    const char *region;
    if (total < header)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_read(job, 0, total, &region);
    if (ret != YOKAN_SUCCESS)
        return ret;
    if (!yokan_sum_sizes(region, n, false, total - header, &ksum) ||
        !yokan_sum_sizes(region + n * WORD, n, true, total - header - ksum, &vsum))
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_pair *pairs = yokan_job_alloc(job, n, sizeof *pairs);
    if (!pairs)
        return YOKAN_ERR_ALLOCATION;
    const char *key = region + header, *value = key + ksum;
    for (size_t i = 0; i < n; i++) {
        pairs[i].key = (struct yokan_slice){key, yokan_number_at(region, i)};
        pairs[i].value = (struct yokan_slice){value, yokan_number_at(region, n + i)};
        key += pairs[i].key.size;
        value += pairs[i].value.size;
    }
    return backend->put(job->database->db, r->mode, n, pairs);
}

/*
 * Reads n key sizes, `gap` bytes of other things (also read, into *between) and the keys. *end is the place behind.
 */
static yk_return_t read_keys(struct yokan_job *job, uint64_t gap, struct yokan_slice **keys, const char **between,
                             uint64_t *end)
{
    assert(job->request->count > 0 && job->request->count <= YOKAN_COUNT_MAX);
    size_t n = job->request->count;
    uint64_t header = n * WORD + gap, sum;
    const char *sizes, *bytes;
    yk_return_t ret = yokan_read(job, 0, header, &sizes);
    if (ret != YOKAN_SUCCESS)
        return ret;
    if (!yokan_sum_sizes(sizes, n, false, yokan_region_size(job) - header, &sum))
        return YOKAN_ERR_INVALID_ARGS;
    ret = yokan_read(job, header, sum, &bytes);
    if (ret != YOKAN_SUCCESS)
        return ret;
    *keys = yokan_job_alloc(job, n, sizeof **keys);
    if (!*keys)
        return YOKAN_ERR_ALLOCATION;
    yokan_cut(sizes, n, bytes, *keys);
    *between = sizes + n * WORD;
    *end = header + sum;
    return YOKAN_SUCCESS;
}

/* Absent keys keep the size that all begin with. */
static yk_return_t collect_value(void *arg, size_t i, struct yokan_slice key, struct yokan_slice value)
{
    (void)key;
    return value.data ? yokan_collector_add(arg, i, value) : YOKAN_SUCCESS;
}

/* Values are collected under the backend's lock and sent without it. */
yk_return_t yokan_run_get(struct yokan_job *job)
{
    const struct yokan_request *r = job->request;
    const struct yokan_backend *backend = job->database->backend;
    size_t n = r->count;
    struct yokan_collector values;
    struct yokan_slice *keys;
    const char *capacities;
    uint64_t end;
    bool has_capacities = r->bulk || !r->packed;
    yk_return_t ret = read_keys(job, has_capacities ? n * WORD : 0, &keys, &capacities, &end);
    if (ret != YOKAN_SUCCESS)
        return ret;
    uint64_t space = r->bulk ? r->size - end : r->value_space;
    ret = yokan_collector_init(&values, job, n, r->packed ? NULL : capacities, space, YOKAN_KEY_NOT_FOUND);
    if (ret == YOKAN_SUCCESS && r->bulk && values.space > space && !r->packed)
        ret = YOKAN_ERR_INVALID_ARGS; /* capacities beyond the region */
    if (ret == YOKAN_SUCCESS)
        ret = backend->get(job->database->db, r->mode, n, keys, collect_value, &values);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_collector_write_sizes(&values, n * WORD);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_collector_write_bytes(&values, end);
    yokan_collector_fini(&values);
    return ret;
}

/* Bit i % 8 of byte i / 8, as yk_unpack_exists_flag reads it. */
static yk_return_t set_bit(void *arg, size_t i, struct yokan_slice key, struct yokan_slice value)
{
    (void)key;
    uint8_t *bits = arg;
    if (value.data)
        bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << (i % 8));
    return YOKAN_SUCCESS;
}

yk_return_t yokan_run_exists(struct yokan_job *job)
{
    struct yokan_slice *keys;
    const char *between;
    uint64_t end;
    size_t n = job->request->count, size = (n + 7) / 8;
    yk_return_t ret = read_keys(job, 0, &keys, &between, &end);
    if (ret != YOKAN_SUCCESS)
        return ret;
    uint8_t *bits = yokan_job_alloc(job, size, 1);
    if (!bits)
        return YOKAN_ERR_ALLOCATION;
    ret = job->database->backend->get(job->database->db, 0, n, keys, set_bit, bits);
    return ret == YOKAN_SUCCESS ? yokan_write(job, end, bits, size) : ret;
}

static yk_return_t note_size(void *arg, size_t i, struct yokan_slice key, struct yokan_slice value)
{
    (void)key;
    ((uint64_t *)arg)[i] = value.size;
    return YOKAN_SUCCESS;
}

yk_return_t yokan_run_length(struct yokan_job *job)
{
    struct yokan_slice *keys;
    const char *between;
    uint64_t end;
    size_t n = job->request->count;
    yk_return_t ret = read_keys(job, 0, &keys, &between, &end);
    if (ret != YOKAN_SUCCESS)
        return ret;
    uint64_t *sizes = yokan_job_alloc(job, n, sizeof *sizes);
    if (!sizes)
        return YOKAN_ERR_ALLOCATION;
    ret = job->database->backend->get(job->database->db, 0, n, keys, note_size, sizes);
    return ret == YOKAN_SUCCESS ? yokan_write(job, end, sizes, n * WORD) : ret;
}

yk_return_t yokan_run_erase(struct yokan_job *job)
{
    struct yokan_slice *keys;
    const char *between;
    uint64_t end;
    yk_return_t ret = read_keys(job, 0, &keys, &between, &end);
    return ret == YOKAN_SUCCESS ? job->database->backend->erase(job->database->db, job->request->count, keys) : ret;
}

yk_return_t yokan_run_erase_range(struct yokan_job *job)
{
    const char *bytes;
    uint64_t size = yokan_region_size(job);
    yk_return_t ret = yokan_read(job, 0, size, &bytes);
    if (ret != YOKAN_SUCCESS)
        return ret;
    return job->database->backend->erase_range(job->database->db, (struct yokan_slice){bytes, size});
}
