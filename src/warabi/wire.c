/*
 * Serialisers that the generator macros cannot write: see wire.h.
 */
#include "warabi/wire.h"

#include <assert.h>
#include <stdlib.h>

hg_return_t hg_proc_warabi_region_t(hg_proc_t proc, void *data)
{
    return hg_proc_bytes(proc, data, sizeof(warabi_region_t));
}

hg_return_t hg_proc_wb_bytes_t(hg_proc_t proc, void *data)
{
    wb_bytes_t *bytes = data;
    hg_return_t status = hg_proc_uint64_t(proc, &bytes->size);
    if (status != HG_SUCCESS || hg_proc_get_op(proc) == HG_FREE || bytes->size == 0)
        return status;
    if (hg_proc_get_op(proc) == HG_ENCODE)
        return hg_proc_bytes(proc, (void *)bytes->data, bytes->size);
    if (bytes->size > hg_proc_get_size_left(proc))
        return HG_OVERFLOW;
    void *view = hg_proc_save_ptr(proc, bytes->size);
    if (!view)
        return HG_OVERFLOW;
    bytes->data = view;
    return hg_proc_restore_ptr(proc, view, bytes->size);
}

static hg_return_t decode_segments(hg_proc_t proc, wb_segments_t *segments, uint32_t count)
{
    const size_t array_size = (size_t)count * sizeof(size_t);
    segments->decoded = NULL;
    segments->list.count = 0;
    if (count > WB_SEGMENTS_MAX || 2 * array_size > hg_proc_get_size_left(proc))
        return HG_OVERFLOW;
    size_t *array = segments->single;
    if (count > 1) {
        array = segments->decoded = malloc(2 * array_size);
        if (!array)
            return HG_NOMEM;
    }
    segments->list = (struct wb_segments){.count = count, .offsets = array, .sizes = array + count};
    hg_return_t status = hg_proc_bytes(proc, array, array_size);
    return status == HG_SUCCESS ? hg_proc_bytes(proc, array + count, array_size) : status;
}

hg_return_t hg_proc_wb_segments_t(hg_proc_t proc, void *data)
{
    wb_segments_t *segments = data;
    if (hg_proc_get_op(proc) == HG_FREE) {
        free(segments->decoded);
        segments->decoded = NULL;
        return HG_SUCCESS;
    }
    uint32_t count = (uint32_t)segments->list.count;
    hg_return_t status = hg_proc_uint32_t(proc, &count);
    if (status != HG_SUCCESS)
        return status;
    if (hg_proc_get_op(proc) == HG_DECODE)
        return decode_segments(proc, segments, count);
    assert(segments->list.count <= WB_SEGMENTS_MAX);
    const hg_size_t array_size = count * sizeof(size_t);
    status = hg_proc_bytes(proc, (void *)segments->list.offsets, array_size);
    return status == HG_SUCCESS ? hg_proc_bytes(proc, (void *)segments->list.sizes, array_size) : status;
}

hg_return_t hg_proc_wb_out_t(hg_proc_t proc, void *data)
{
    wb_out_t *out = data;
    hg_return_t status = hg_proc_int32_t(proc, &out->code);
    if (status != HG_SUCCESS)
        return status;
    if (out->code != WARABI_ERR_OK)
        return hg_proc_hg_string_t(proc, &out->message);
    if (hg_proc_get_op(proc) == HG_DECODE)
        out->message = NULL;
    status = hg_proc_uint8_t(proc, &out->kind);
    if (status != HG_SUCCESS)
        return status;
    switch (out->kind) {
    case WB_OUT_NOTHING:
        return HG_SUCCESS;
    case WB_OUT_REGION:
        return hg_proc_warabi_region_t(proc, &out->region);
    case WB_OUT_SIZE:
        return hg_proc_uint64_t(proc, &out->size);
    case WB_OUT_BYTES:
        return hg_proc_wb_bytes_t(proc, &out->bytes);
    default:
        return HG_PROTOCOL_ERROR;
    }
}

double wb_deadline_ms(double base_ms, uint64_t bytes)
{
    return base_ms > 0 ? base_ms + (double)bytes / 10000.0 : 0;
}
