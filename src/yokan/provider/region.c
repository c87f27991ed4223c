/*
 * The region of a request, on the provider's side: input parts are found in the message or pulled, output parts are
 * gathered and then put into the response or pushed. Operations need not know which.
 *
 * Everything about the region comes from the peer: places and sizes are checked against the message, or against the bulk
 * handle's size, before use. Pulled parts go into buffers of the provider's cache.
 */
#include "yokan/provider/provider.h"

#include <assert.h>
#include <stdlib.h>

static bool is_inside(uint64_t place, uint64_t size, uint64_t total)
{
    return place <= total && size <= total - place;
}

uint64_t yokan_region_size(const struct yokan_job *job)
{
    assert(job->request);
    const struct yokan_request *r = job->request;
    return r->bulk ? r->size : r->data.size;
}

/* The process that owns the bulk handle; to be freed. */
static yk_return_t find_origin(struct yokan_job *job, hg_addr_t *addr)
{
    margo_instance_id mid = job->provider->mid;
    hg_return_t hret = job->request->origin ? margo_addr_lookup(mid, job->request->origin, addr)
                                            : margo_addr_dup(mid, job->sender, addr);
    return hret == HG_SUCCESS ? YOKAN_SUCCESS : YOKAN_ERR_FROM_MERCURY;
}

static yk_return_t transfer_result(hg_return_t hret)
{
    return hret == HG_SUCCESS ? YOKAN_SUCCESS : hret == HG_TIMEOUT ? YOKAN_ERR_TIMEOUT : YOKAN_ERR_FROM_MERCURY;
}

static yk_return_t pull(struct yokan_job *job, uint64_t place, uint64_t size, const char **bytes)
{
    assert(job->request->bulk && size > 0);
    const struct yokan_request *r = job->request;
    struct yk_provider *p = job->provider;
    size_t i = 0;
    while (i < YOKAN_JOB_READS && job->reads[i])
        i++;
    assert(i < YOKAN_JOB_READS);
    hg_addr_t origin;
    yk_return_t ret = find_origin(job, &origin);
    if (ret != YOKAN_SUCCESS)
        return ret;
    job->reads[i] = p->cache->get(p->cache_context, size, HG_BULK_WRITE_ONLY);
    if (!job->reads[i]) {
        ret = YOKAN_ERR_ALLOCATION;
    } else {
        *bytes = job->reads[i]->data;
        ret = transfer_result(margo_bulk_transfer_timed(p->mid, HG_BULK_PULL, origin, r->bulk, r->offset + place,
                                                        job->reads[i]->bulk, 0, size, job->transfer_timeout_ms));
    }
    margo_addr_free(p->mid, origin);
    return ret;
}

yk_return_t yokan_read(struct yokan_job *job, uint64_t place, uint64_t size, const char **bytes)
{
    assert(bytes);
    const struct yokan_request *r = job->request;
    if (!is_inside(place, size, yokan_region_size(job)) || size > YOKAN_REGION_MAX)
        return YOKAN_ERR_INVALID_ARGS;
    *bytes = "";
    if (size == 0)
        return YOKAN_SUCCESS;
    if (r->bulk)
        return pull(job, place, size, bytes);
    *bytes = r->data.data + place;
    return YOKAN_SUCCESS;
}

yk_return_t yokan_write(struct yokan_job *job, uint64_t place, const void *bytes, size_t size)
{
    assert(bytes || size == 0);
    if (size == 0)
        return YOKAN_SUCCESS;
    if (job->request->bulk && !is_inside(place, size, job->request->size))
        return YOKAN_ERR_INVALID_ARGS;
    if (job->output_count == job->output_capacity) {
        size_t capacity = job->output_capacity ? 2 * job->output_capacity : 8;
        struct yokan_output *outputs = reallocarray(job->outputs, capacity, sizeof *outputs);
        if (!outputs)
            return YOKAN_ERR_ALLOCATION;
        job->outputs = outputs;
        job->output_capacity = capacity;
    }
    job->outputs[job->output_count++] = (struct yokan_output){place, {bytes, size}};
    return YOKAN_SUCCESS;
}

/* One handle for all output parts, one after the other. */
static yk_return_t expose_outputs(struct yokan_job *job, hg_bulk_t *local)
{
    assert(job->output_count > 0 && local);
    void **pointers = yokan_job_alloc(job, job->output_count, sizeof *pointers);
    hg_size_t *sizes = yokan_job_alloc(job, job->output_count, sizeof *sizes);
    if (!pointers || !sizes)
        return YOKAN_ERR_ALLOCATION;
    for (size_t i = 0; i < job->output_count; i++) {
        pointers[i] = (void *)(uintptr_t)job->outputs[i].bytes.data;
        sizes[i] = job->outputs[i].bytes.size;
    }
    return transfer_result(margo_bulk_create(job->provider->mid, (hg_uint32_t)job->output_count, pointers, sizes,
                                             HG_BULK_READ_ONLY, local));
}

/* Parts whose places adjoin are pushed together. */
static yk_return_t push_all(struct yokan_job *job, hg_addr_t origin, hg_bulk_t local)
{
    const struct yokan_request *r = job->request;
    uint64_t local_offset = 0;
    yk_return_t ret = YOKAN_SUCCESS;
    for (size_t i = 0; i < job->output_count && ret == YOKAN_SUCCESS;) {
        uint64_t place = job->outputs[i].place, size = 0;
        while (i < job->output_count && job->outputs[i].place == place + size)
            size += job->outputs[i++].bytes.size;
        ret = transfer_result(margo_bulk_transfer_timed(job->provider->mid, HG_BULK_PUSH, origin, r->bulk,
                                                        r->offset + place, local, local_offset, size,
                                                        job->transfer_timeout_ms));
        local_offset += size;
    }
    return ret;
}

yk_return_t yokan_push(struct yokan_job *job)
{
    assert(job->provider);
    if (!job->request->bulk || job->output_count == 0)
        return YOKAN_SUCCESS;
    hg_bulk_t local = HG_BULK_NULL;
    hg_addr_t origin;
    yk_return_t ret = find_origin(job, &origin);
    if (ret != YOKAN_SUCCESS)
        return ret;
    ret = expose_outputs(job, &local);
    if (ret == YOKAN_SUCCESS)
        ret = push_all(job, origin, local);
    margo_bulk_free(local);
    margo_addr_free(job->provider->mid, origin);
    return ret;
}

void yokan_region_release(struct yokan_job *job)
{
    for (size_t i = 0; i < YOKAN_JOB_READS; i++) {
        if (job->reads[i])
            job->provider->cache->release(job->provider->cache_context, job->reads[i]);
    }
    free(job->outputs);
}
