/*
 * The target's side of a call: dispatch to the RPC's callback, respond.
 *
 * A response is over when the transport has taken it; only a large one waits until the origin has fetched it. With a
 * NULL callback nothing is queued, unless the response has to wait.
 */
#include "mercury/hg.h"

#include <assert.h>

static void run_dispatch(struct hgi_entry *entry)
{
    struct hg_handle *handle = container_of(entry, struct hg_handle, dispatch);

    if (atomic_load_explicit(&handle->context->closing, memory_order_relaxed)) {
        HG_Destroy(handle);
        return;
    }
    /* The callback owns the reference now. */
    if (handle->rpc->callback) {
        handle->rpc->callback(handle);
        return;
    }
    dango_hg_respond_error(handle, HG_NOENTRY);
    HG_Destroy(handle);
}

void hgi_handle_dispatch(struct hg_handle *handle)
{
    assert(handle->incoming && handle->rpc && handle->info.addr);
    handle->dispatch.run = run_dispatch;
    hgi_queue_push(&handle->context->queue, &handle->dispatch);
}

static void run_done(struct hgi_entry *entry)
{
    struct hg_handle *handle = container_of(entry, struct hg_handle, done);
    struct hg_cb_info info = {.arg = handle->arg, .type = HG_CB_RESPOND, .ret = handle->ret};

    info.info.respond.handle = handle;
    if (handle->callback)
        handle->callback(&info);
    HG_Destroy(handle);
}

/* Delivers a response to a handle of this process. */
static hg_return_t respond_self(struct hg_handle *handle, hg_return_t ret)
{
    hg_class_t *hg_class = handle->info.hg_class;
    struct hgi_slot *slot = NULL;
    bool violation;

    assert(handle->incoming && !handle->conn);
    pthread_mutex_lock(&hg_class->contexts_lock);
    hg_context_t *context = hg_class->contexts[handle->origin_context_id];
    if (context)
        slot = hgi_table_claim(&context->handles, handle->origin_cookie, NULL, HGI_EXPECTS_RESPONSE, &violation);
    if (slot) {
        struct hg_handle *origin = (struct hg_handle *)slot;
        if (ret == HG_SUCCESS && !hgi_buffer_move(&origin->out, &handle->out))
            ret = HG_NOMEM;
        hgi_forward_finish(origin, ret);
    }
    pthread_mutex_unlock(&hg_class->contexts_lock);
    return HG_SUCCESS;
}

/* A large output: the handle waits until the origin has fetched it. */
static hg_return_t respond_more(struct hg_handle *handle)
{
    char message[HGI_MORE_MESSAGE_MAX];
    struct iovec payload = {.iov_base = message};
    uint64_t cookie = hgi_slot_arm(&handle->slot, handle->conn, HGI_EXPECTS_ACK);
    hg_return_t ret;

    HG_Ref_incr(handle); /* until run_done */
    ret = hgi_more_offer(handle, &handle->out, cookie, message, &payload.iov_len);
    if (ret == HG_SUCCESS)
        ret = hgi_send(handle->conn, HGI_RESPONSE, HGI_FLAG_MORE, HG_SUCCESS, handle->origin_cookie, handle->info.id,
                       &payload, 1);
    if (ret == HG_SUCCESS || !hgi_slot_claim(&handle->slot, cookie))
        return HG_SUCCESS;
    HG_Destroy(handle);
    return ret;
}

/* Queues the callback of a response that is over. */
static void respond_done(struct hg_handle *handle)
{
    if (!handle->callback)
        return;
    HG_Ref_incr(handle); /* until run_done */
    hgi_handle_complete(handle, HG_SUCCESS);
}

static hg_return_t respond(struct hg_handle *handle, void *out_struct)
{
    struct iovec payload;
    hg_return_t ret;

    ret = hgi_encode(handle->info.hg_class, handle->rpc->out_proc, out_struct, &handle->out);
    if (ret != HG_SUCCESS)
        return ret;
    if (handle->conn && handle->out.size > handle->info.hg_class->eager_size)
        return handle->info.hg_class->no_overflow ? HG_MSGSIZE : respond_more(handle);
    if (handle->conn) {
        payload = (struct iovec){.iov_base = handle->out.data, .iov_len = handle->out.size};
        ret = hgi_send(handle->conn, HGI_RESPONSE, 0, HG_SUCCESS, handle->origin_cookie, handle->info.id, &payload, 1);
    } else {
        ret = respond_self(handle, HG_SUCCESS);
    }
    if (ret == HG_SUCCESS)
        respond_done(handle);
    return ret;
}

/* May this handle be answered? Marks it as answered. */
static hg_return_t begin(struct hg_handle *handle)
{
    if (!handle || !handle->incoming)
        return HG_INVALID_ARG;
    if (handle->one_way)
        return HG_OPNOTSUPPORTED;
    if (atomic_load(&handle->context->closing))
        return HG_CANCELED;
    return atomic_exchange(&handle->responded, true) ? HG_INVALID_ARG : HG_SUCCESS;
}

hg_return_t HG_Respond(hg_handle_t handle, hg_cb_t callback, void *arg, void *out_struct)
{
    hg_return_t ret = begin(handle);

    if (ret != HG_SUCCESS)
        return ret;
    handle->callback = callback;
    handle->arg = arg;
    handle->done.run = run_done;
    ret = respond(handle, out_struct);
    /* Nothing was sent: the caller may answer with something else. */
    if (ret != HG_SUCCESS)
        atomic_store(&handle->responded, false);
    return ret;
}

hg_return_t dango_hg_respond_error(hg_handle_t handle, hg_return_t error)
{
    hg_return_t ret = begin(handle);

    assert(error != HG_SUCCESS);
    if (ret != HG_SUCCESS)
        return ret == HG_OPNOTSUPPORTED ? HG_SUCCESS : ret;
    if (!handle->conn)
        return respond_self(handle, error);
    return hgi_send(handle->conn, HGI_RESPONSE, 0, error, handle->origin_cookie, handle->info.id, NULL, 0);
}
