/*
 * Handles: creation, references, user data, decoding. A handle is a slot of its context; recycling it allocates and
 * frees nothing, except payloads that outgrew their buffer.
 */
#include "mercury/hg.h"

#include "util/log.h"

#include <assert.h>
#include <string.h>

struct hg_handle *hgi_handle_new(hg_context_t *context)
{
    struct hg_handle *handle = (struct hg_handle *)hgi_table_get(&context->handles);

    if (!handle)
        return NULL;
    if (!handle->in.data) { /* first use of this slot */
        hgi_buffer_init(&handle->in);
        hgi_buffer_init(&handle->out);
    }
    atomic_fetch_add_explicit(&context->users, 1, memory_order_relaxed);
    handle->context = context;
    handle->info = (struct hg_info){.hg_class = context->hg_class, .context = context};
    atomic_store_explicit(&handle->refs, 1, memory_order_relaxed);
    handle->incoming = handle->one_way = handle->ready = false;
    atomic_store_explicit(&handle->in_flight, false, memory_order_relaxed);
    atomic_store_explicit(&handle->responded, false, memory_order_relaxed);
    handle->rpc = NULL;
    handle->conn = NULL;
    handle->more = NULL;
    handle->origin_cookie = 0;
    handle->callback = NULL;
    handle->ret = HG_SUCCESS;
    handle->data = NULL;
    handle->free_data = NULL;
    memset(handle->scratch, 0, sizeof handle->scratch);
    return handle;
}

static void drop_more(struct hg_handle *handle)
{
    HG_Bulk_free(handle->more);
    handle->more = NULL;
}

static void drop_target(struct hg_handle *handle)
{
    if (handle->conn)
        na_conn_release(handle->conn);
    if (handle->info.addr)
        hgi_addr_release(handle->info.addr);
    if (handle->rpc)
        hgi_rpc_release(handle->rpc);
    handle->conn = NULL;
    handle->info.addr = NULL;
    handle->rpc = NULL;
}

static void recycle(struct hg_handle *handle)
{
    hg_context_t *context = handle->context;

    assert(atomic_load(&handle->slot.pending) == 0 && !atomic_load(&handle->in_flight));
    if (handle->free_data)
        handle->free_data(handle->data);
    drop_more(handle);
    drop_target(handle);
    hgi_buffer_reset(&handle->in);
    hgi_buffer_reset(&handle->out);
    hgi_table_put(&context->handles, &handle->slot);
    hgi_context_release(context);
}

void hgi_handles_fini(hg_context_t *context)
{
    struct hgi_slot *slot;

    for (uint32_t i = 0; (slot = hgi_table_at(&context->handles, i)); i++) {
        struct hg_handle *handle = (struct hg_handle *)slot;
        if (!handle->in.data)
            continue;
        hgi_buffer_fini(&handle->in);
        hgi_buffer_fini(&handle->out);
    }
    hgi_table_fini(&context->handles);
}

hg_return_t HG_Create(hg_context_t *context, hg_addr_t addr, hg_id_t id, hg_handle_t *handle)
{
    struct hg_handle *created;
    hg_return_t ret;

    if (!context || !handle)
        return HG_INVALID_ARG;
    *handle = HG_HANDLE_NULL;
    created = hgi_handle_new(context);
    if (!created)
        return HG_NOMEM;
    ret = HG_Reset(created, addr, id);
    if (ret != HG_SUCCESS) {
        HG_Destroy(created);
        return ret;
    }
    *handle = created;
    return HG_SUCCESS;
}

hg_return_t HG_Reset(hg_handle_t handle, hg_addr_t addr, hg_id_t id)
{
    struct hgi_rpc *rpc = NULL;

    if (!handle || handle->incoming)
        return HG_INVALID_ARG;
    if (atomic_load(&handle->in_flight))
        return HG_BUSY;
    if (id != 0) {
        rpc = hgi_rpc_find(handle->info.hg_class, id);
        if (!rpc)
            return HG_NOENTRY;
    }
    if (addr)
        hgi_addr_ref(addr);
    drop_more(handle);
    drop_target(handle);
    handle->rpc = rpc;
    handle->info.addr = addr;
    handle->info.id = id;
    handle->info.context_id = 0;
    handle->ready = false;
    handle->ret = HG_SUCCESS;
    return HG_SUCCESS;
}

hg_return_t HG_Ref_incr(hg_handle_t handle)
{
    if (!handle)
        return HG_INVALID_ARG;
    atomic_fetch_add_explicit(&handle->refs, 1, memory_order_relaxed);
    return HG_SUCCESS;
}

int32_t HG_Ref_get(hg_handle_t handle)
{
    return handle ? atomic_load(&handle->refs) : 0;
}

hg_return_t HG_Destroy(hg_handle_t handle)
{
    int before;

    if (!handle)
        return HG_SUCCESS;
    before = atomic_fetch_sub_explicit(&handle->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        recycle(handle);
    return HG_SUCCESS;
}

const struct hg_info *HG_Get_info(hg_handle_t handle)
{
    return handle ? &handle->info : NULL;
}

hg_return_t HG_Set_data(hg_handle_t handle, void *data, void (*free_callback)(void *))
{
    if (!handle)
        return HG_INVALID_ARG;
    handle->data = data;
    handle->free_data = free_callback;
    return HG_SUCCESS;
}

void *HG_Get_data(hg_handle_t handle)
{
    return handle ? handle->data : NULL;
}

hg_return_t HG_Set_target_id(hg_handle_t handle, uint8_t id)
{
    if (!handle)
        return HG_INVALID_ARG;
    handle->info.context_id = id;
    return HG_SUCCESS;
}

void *dango_hg_handle_scratch(hg_handle_t handle)
{
    assert(handle);
    return handle->scratch;
}

void *dango_hg_handle_rpc_data(hg_handle_t handle)
{
    return handle && handle->rpc ? atomic_load_explicit(&handle->rpc->data, memory_order_acquire) : NULL;
}

/* ---- completion ---- */

void hgi_handle_complete(struct hg_handle *handle, hg_return_t ret)
{
    hg_context_t *context = handle->context;

    assert(atomic_load(&handle->slot.pending) == 0 && atomic_load(&handle->refs) > 0);
    handle->ret = ret;
    hgi_queue_push(&context->queue, &handle->done);
    na_wait_wake(&context->na->wait);
}

void hgi_handles_fail(hg_context_t *context, struct na_conn *conn, hg_return_t ret)
{
    struct hgi_slot *slot;

    for (uint32_t i = 0; (slot = hgi_table_at(&context->handles, i)); i++) {
        uint64_t cookie = atomic_load_explicit(&slot->pending, memory_order_acquire);
        if (cookie == 0 || (conn && atomic_load_explicit(&slot->conn, memory_order_relaxed) != conn))
            continue;
        if (hgi_slot_claim(slot, cookie))
            hgi_handle_complete((struct hg_handle *)slot, ret);
    }
}

/* ---- inputs and outputs ---- */

/* What a serialiser allocated before it met the end of a payload is lost: a peer may do that to us a few times only. */
static void count_bad_input(struct hg_handle *handle, hg_return_t ret)
{
    if (!handle->conn || (ret != HG_OVERFLOW && ret != HG_PROTOCOL_ERROR))
        return;
    if (atomic_fetch_add(&handle->conn->bad_inputs, 1) < HGI_BAD_INPUTS_MAX || na_conn_is_closed(handle->conn))
        return;
    log_warning("mercury", "%s sent %d payloads that do not decode: its connection is closed", handle->conn->peer,
                HGI_BAD_INPUTS_MAX + 1);
    na_conn_break(handle->conn, HG_PROTOCOL_ERROR);
}

static hg_return_t decode(struct hg_handle *handle, hg_proc_cb_t proc, void *data, struct hgi_buffer *buffer)
{
    hg_return_t ret;

    if (!proc || !data)
        return HG_SUCCESS;
    ret = hgi_decode(handle->info.hg_class, proc, HG_DECODE, data, buffer);
    if (ret == HG_SUCCESS)
        HG_Ref_incr(handle);
    else
        count_bad_input(handle, ret);
    return ret;
}

static hg_return_t release(struct hg_handle *handle, hg_proc_cb_t proc, void *data, struct hgi_buffer *buffer)
{
    hg_return_t ret;

    if (!proc || !data)
        return HG_SUCCESS;
    ret = hgi_decode(handle->info.hg_class, proc, HG_FREE, data, buffer);
    HG_Destroy(handle);
    return ret;
}

hg_return_t HG_Get_input(hg_handle_t handle, void *in_struct)
{
    if (!handle || !handle->incoming)
        return HG_INVALID_ARG;
    return decode(handle, handle->rpc->in_proc, in_struct, &handle->in);
}

hg_return_t HG_Free_input(hg_handle_t handle, void *in_struct)
{
    if (!handle || !handle->incoming)
        return HG_INVALID_ARG;
    return release(handle, handle->rpc->in_proc, in_struct, &handle->in);
}

hg_return_t HG_Get_output(hg_handle_t handle, void *out_struct)
{
    if (!handle || handle->incoming || !handle->rpc)
        return HG_INVALID_ARG;
    if (handle->ret != HG_SUCCESS)
        return handle->ret;
    if (!handle->ready)
        return HG_INVALID_ARG;
    return decode(handle, handle->rpc->out_proc, out_struct, &handle->out);
}

hg_return_t HG_Free_output(hg_handle_t handle, void *out_struct)
{
    if (!handle || handle->incoming || !handle->rpc)
        return HG_INVALID_ARG;
    return release(handle, handle->rpc->out_proc, out_struct, &handle->out);
}

hg_size_t HG_Get_input_payload_size(hg_handle_t handle)
{
    return handle ? handle->in.size : 0;
}

hg_size_t HG_Get_output_payload_size(hg_handle_t handle)
{
    return handle ? handle->out.size : 0;
}
