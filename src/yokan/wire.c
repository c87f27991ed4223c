/*
 * Serialisation of requests and responses: see wire.h.
 */
#include "yokan/wire.h"

#include <assert.h>

const char *const yokan_op_names[YOKAN_OP_COUNT] = {
#define X(op) "yk_" #op,
    YOKAN_OPERATIONS(X)
#undef X
};

static hg_return_t encode_parts(hg_proc_t proc, const struct yokan_blob *blob)
{
    hg_return_t ret = HG_SUCCESS;
    uint64_t sum = 0;
    for (size_t i = 0; i < blob->part_count && ret == HG_SUCCESS; i++) {
        sum += blob->parts[i].size;
        if (blob->parts[i].size)
            ret = hg_proc_bytes(proc, (void *)(uintptr_t)blob->parts[i].data, blob->parts[i].size);
    }
    assert(ret != HG_SUCCESS || sum == blob->size);
    return ret;
}

static hg_return_t proc_blob(hg_proc_t proc, struct yokan_blob *blob)
{
    hg_proc_op_t op = hg_proc_get_op(proc);
    if (op == HG_FREE)
        return HG_SUCCESS;
    hg_return_t ret = hg_proc_uint64_t(proc, &blob->size);
    if (ret != HG_SUCCESS || op == HG_ENCODE)
        return ret != HG_SUCCESS ? ret : encode_parts(proc, blob);
    blob->data = NULL;
    blob->parts = NULL;
    blob->part_count = 0;
    if (blob->size > hg_proc_get_size_left(proc))
        return HG_OVERFLOW;
    if (blob->size == 0)
        return HG_SUCCESS;
    void *data = hg_proc_save_ptr(proc, blob->size);
    if (!data)
        return HG_OVERFLOW;
    blob->data = data;
    return hg_proc_restore_ptr(proc, data, blob->size);
}

/* A string travels with its final NUL, so that it can be used where it arrives; NULL as nothing. */
static hg_return_t proc_text(hg_proc_t proc, const char **text)
{
    bool encode = hg_proc_get_op(proc) == HG_ENCODE;
    struct yokan_slice part = {*text, encode && *text ? strlen(*text) + 1 : 0};
    struct yokan_blob blob = {.size = part.size, .parts = &part, .part_count = 1};
    hg_return_t ret = proc_blob(proc, &blob);
    if (ret != HG_SUCCESS || hg_proc_get_op(proc) != HG_DECODE)
        return ret;
    *text = blob.data;
    bool valid = blob.size == 0 || memchr(blob.data, '\0', blob.size) == blob.data + blob.size - 1;
    return valid ? HG_SUCCESS : HG_PROTOCOL_ERROR;
}

static hg_return_t proc_numbers(hg_proc_t proc, struct yokan_request *r)
{
    if (hg_proc_get_op(proc) == HG_FREE)
        return HG_SUCCESS;
    uint64_t *const numbers[] = {&r->count,       &r->from_size, &r->filter_size, &r->key_space,
                                 &r->value_space, &r->id,        &r->offset,      &r->size};
    hg_return_t ret = hg_proc_int32_t(proc, &r->mode);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint8_t(proc, &r->packed);
    if (ret == HG_SUCCESS)
        ret = hg_proc_bytes(proc, &r->timeout_ms, sizeof r->timeout_ms);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0] && ret == HG_SUCCESS; i++)
        ret = hg_proc_uint64_t(proc, numbers[i]);
    return ret;
}

hg_return_t yokan_proc_request(hg_proc_t proc, void *request)
{
    assert(request);
    struct yokan_request *r = request;
    /* The bulk comes last: what fails before it leaves nothing that needs to be freed. */
    if (hg_proc_get_op(proc) == HG_DECODE)
        r->bulk = HG_BULK_NULL;
    hg_return_t ret = proc_numbers(proc, r);
    if (ret == HG_SUCCESS)
        ret = proc_text(proc, &r->name);
    if (ret == HG_SUCCESS)
        ret = proc_text(proc, &r->origin);
    if (ret == HG_SUCCESS)
        ret = proc_blob(proc, &r->ids);
    if (ret == HG_SUCCESS)
        ret = proc_blob(proc, &r->data);
    return ret == HG_SUCCESS ? hg_proc_hg_bulk_t(proc, &r->bulk) : ret;
}

hg_return_t yokan_proc_response(hg_proc_t proc, void *response)
{
    assert(response);
    struct yokan_response *r = response;
    hg_return_t ret = hg_proc_int32_t(proc, &r->ret);
    if (ret == HG_SUCCESS)
        ret = hg_proc_uint64_t(proc, &r->value);
    return ret == HG_SUCCESS ? proc_blob(proc, &r->data) : ret;
}

bool yokan_sum_sizes(const char *sizes, size_t count, bool allow_zero, uint64_t limit, uint64_t *sum)
{
    assert((sizes || count == 0) && sum);
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t size = yokan_number_at(sizes, i);
        if ((size == 0 && !allow_zero) || size > limit - total)
            return false;
        total += size;
    }
    *sum = total;
    return true;
}

void yokan_cut(const char *sizes, size_t count, const char *data, struct yokan_slice *slices)
{
    assert(slices || count == 0);
    for (size_t i = 0; i < count; i++) {
        slices[i] = (struct yokan_slice){data, yokan_number_at(sizes, i)};
        data += slices[i].size;
    }
}
