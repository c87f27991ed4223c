/*
 * Serialisers of the two message types: see wire.h.
 */
#include "warabi/wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const struct wb_rpc_info wb_rpcs[WB_RPC_COUNT] = {
#define RPC_INFO(name, fields) {"warabi_" #name, (fields)},
    WB_RPC_LIST(RPC_INFO)
#undef RPC_INFO
};

static hg_return_t proc_bytes(hg_proc_t proc, struct wb_bytes *bytes)
{
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

static hg_return_t decode_segments(hg_proc_t proc, wb_in_t *in, uint32_t count)
{
    const size_t array_size = (size_t)count * sizeof(size_t);
    if (count > WB_SEGMENTS_MAX || 2 * array_size > hg_proc_get_size_left(proc))
        return HG_OVERFLOW;
    size_t *offsets = in->single_offset, *sizes = in->single_size;
    if (count > 1) {
        in->decoded = malloc(2 * array_size);
        if (!in->decoded)
            return HG_NOMEM;
        offsets = in->decoded;
        sizes = in->decoded + count;
    }
    in->segments = (struct wb_segments){.count = count, .offsets = offsets, .sizes = sizes};
    hg_return_t status = hg_proc_bytes(proc, offsets, array_size);
    return status == HG_SUCCESS ? hg_proc_bytes(proc, sizes, array_size) : status;
}

static hg_return_t proc_segments(hg_proc_t proc, wb_in_t *in)
{
    uint32_t count = (uint32_t)in->segments.count;
    hg_return_t status = hg_proc_uint32_t(proc, &count);
    if (status != HG_SUCCESS || hg_proc_get_op(proc) == HG_FREE)
        return status;
    if (hg_proc_get_op(proc) == HG_DECODE)
        return decode_segments(proc, in, count);
    assert(in->segments.count <= WB_SEGMENTS_MAX);
    const hg_size_t array_size = count * sizeof(size_t);
    status = hg_proc_bytes(proc, (void *)in->segments.offsets, array_size);
    return status == HG_SUCCESS ? hg_proc_bytes(proc, (void *)in->segments.sizes, array_size) : status;
}

static hg_return_t proc_memory(hg_proc_t proc, struct wb_memory *memory)
{
    hg_return_t status = hg_proc_uint64_t(proc, &memory->offset);
    if (status == HG_SUCCESS)
        status = hg_proc_hg_bulk_t(proc, &memory->bulk);
    if (status == HG_SUCCESS)
        status = hg_proc_hg_string_t(proc, &memory->address);
    return status;
}

static hg_return_t proc_fields(hg_proc_t proc, wb_in_t *in)
{
    hg_return_t status = HG_SUCCESS;
    if (in->fields & WB_REGION)
        status = hg_proc_bytes(proc, &in->region, sizeof in->region);
    if (status == HG_SUCCESS && (in->fields & WB_SIZE))
        status = hg_proc_uint64_t(proc, &in->size);
    if (status == HG_SUCCESS && (in->fields & WB_SEGMENTS))
        status = proc_segments(proc, in);
    if (status == HG_SUCCESS && (in->fields & WB_BYTES))
        status = proc_bytes(proc, &in->bytes);
    if (status == HG_SUCCESS && (in->fields & WB_MEMORY))
        status = proc_memory(proc, &in->memory);
    return status;
}

/* Releases what decoding allocated, as far as it came. */
static void release(wb_in_t *in)
{
    free(in->decoded);
    HG_Bulk_free(in->memory.bulk);
    free(in->memory.address);
    memset(in, 0, sizeof *in);
}

hg_return_t hg_proc_wb_in_t(hg_proc_t proc, void *data)
{
    wb_in_t *in = data;
    if (hg_proc_get_op(proc) == HG_FREE) {
        release(in);
        return HG_SUCCESS;
    }
    if (hg_proc_get_op(proc) == HG_DECODE)
        memset(in, 0, sizeof *in);
    hg_return_t status = hg_proc_uint8_t(proc, &in->fields);
    if (status == HG_SUCCESS)
        status = in->fields & ~WB_ALL_FIELDS ? HG_PROTOCOL_ERROR : proc_fields(proc, in);
    if (status != HG_SUCCESS && hg_proc_get_op(proc) == HG_DECODE)
        release(in);
    return status;
}

hg_return_t hg_proc_wb_out_t(hg_proc_t proc, void *data)
{
    wb_out_t *out = data;
    if (hg_proc_get_op(proc) == HG_DECODE)
        memset(out, 0, sizeof *out);
    hg_return_t status = hg_proc_int32_t(proc, &out->code);
    if (status != HG_SUCCESS)
        return status;
    if (out->code != WARABI_ERR_OK)
        return hg_proc_hg_string_t(proc, &out->message);
    status = hg_proc_uint8_t(proc, &out->kind);
    if (status != HG_SUCCESS)
        return status;
    switch (out->kind) {
    case WB_OUT_NOTHING:
        return HG_SUCCESS;
    case WB_OUT_REGION:
        return hg_proc_bytes(proc, &out->region, sizeof out->region);
    case WB_OUT_SIZE:
        return hg_proc_uint64_t(proc, &out->size);
    case WB_OUT_BYTES:
        return proc_bytes(proc, &out->bytes);
    default:
        return HG_PROTOCOL_ERROR;
    }
}

double wb_deadline_ms(double base_ms, uint64_t bytes)
{
    return base_ms > 0 ? base_ms + (double)bytes / 10000.0 : 0;
}
