/*
 * The origin's side of a call: forward, cancel, completion.
 *
 * A forward encodes into handle->in, arms the handle's slot and sends. From then on response, cancel and loss of the
 * connection compete for the slot; the winner queues the completion. A call to this process hands the encoded input
 * to a second handle, the target's, and its response comes back through the same slot, so that cancel and late
 * responses behave as over a connection.
 */
#include "mercury/hg.h"

#include <assert.h>

static void run_done(struct hgi_entry *entry)
{
    struct hg_handle *handle = container_of(entry, struct hg_handle, done);
    struct hg_cb_info info = {.arg = handle->arg, .type = HG_CB_FORWARD, .ret = handle->ret};
    hg_cb_t callback = handle->callback;

    info.info.forward.handle = handle;
    HG_Bulk_free(handle->more); /* nobody fetches the input any more */
    handle->more = NULL;
    handle->ready = handle->ret == HG_SUCCESS;
    atomic_store_explicit(&handle->in_flight, false, memory_order_release);
    if (callback)
        callback(&info);
    HG_Destroy(handle);
}

void hgi_forward_finish(struct hg_handle *handle, hg_return_t ret)
{
    assert(!handle->incoming);
    hgi_handle_complete(handle, ret);
}

hg_return_t hgi_send(struct na_conn *conn, enum hgi_kind kind, uint8_t flags, hg_return_t ret, uint64_t cookie,
                     uint64_t id, const struct iovec *pieces, int count)
{
    struct hgi_header header = {.version = HGI_WIRE_VERSION,
                                .kind = (uint8_t)kind,
                                .flags = flags,
                                .ret = (uint8_t)ret,
                                .cookie = cookie,
                                .id = id};
    struct iovec all[4] = {{.iov_base = &header, .iov_len = sizeof header}};

    assert(count < 4);
    for (int i = 0; i < count; i++) {
        all[i + 1] = pieces[i];
        header.size += (uint32_t)pieces[i].iov_len;
    }
    return na_conn_send(conn, all, count + 1);
}

hg_return_t hgi_send_loan(struct na_conn *conn, enum hgi_kind kind, uint64_t cookie, uint64_t id,
                          const struct iovec *piece, struct hgi_loan *loan)
{
    size_t extra = piece ? piece->iov_len : 0;
    struct hgi_header header = {.version = HGI_WIRE_VERSION,
                                .kind = (uint8_t)kind,
                                .size = (uint32_t)(extra + loan->base.size),
                                .cookie = cookie,
                                .id = id};
    struct iovec all[2] = {{.iov_base = &header, .iov_len = sizeof header}};

    if (piece)
        all[1] = *piece;
    hg_return_t ret = na_conn_send_loan(conn, all, piece ? 2 : 1, &loan->base);
    if (ret != HG_SUCCESS)
        hgi_loan_return(loan);
    return ret;
}

/* ---- to this process ---- */

static hg_return_t forward_self(struct hg_handle *handle)
{
    hg_class_t *hg_class = handle->info.hg_class;
    struct hg_handle *target;
    hg_context_t *context;
    hg_return_t ret = HG_SUCCESS;

    if (hg_class->no_loopback)
        return HG_OPNOTSUPPORTED;
    pthread_mutex_lock(&hg_class->contexts_lock);
    context = hg_class->contexts[handle->info.context_id];
    if (!context) {
        ret = HG_HOSTUNREACH;
        goto out;
    }
    target = hgi_handle_new(context);
    if (!target || !hgi_buffer_move(&target->in, &handle->in)) {
        HG_Destroy(target);
        ret = HG_NOMEM;
        goto out;
    }
    target->incoming = true;
    target->one_way = handle->one_way;
    target->rpc = handle->rpc;
    hgi_rpc_ref(target->rpc);
    target->info.addr = hg_class->self;
    hgi_addr_ref(hg_class->self);
    target->info.id = handle->info.id;
    target->info.context_id = context->id;
    uint64_t cookie = hgi_slot_arm(&handle->slot, NULL, HGI_EXPECTS_RESPONSE);
    target->origin_cookie = cookie;
    target->origin_context_id = handle->context->id;
    if (handle->one_way && hgi_slot_claim(&handle->slot, cookie))
        hgi_handle_complete(handle, HG_SUCCESS);
    hgi_handle_dispatch(target);
    na_wait_wake(&context->na->wait);
out:
    pthread_mutex_unlock(&hg_class->contexts_lock);
    return ret;
}

/* ---- to another process ---- */

/* Sends an armed handle's request; the cookie is part of it. */
static hg_return_t send_request(struct hg_handle *handle, uint64_t cookie)
{
    char message[HGI_MORE_MESSAGE_MAX];
    struct iovec payload = {.iov_base = handle->in.data, .iov_len = handle->in.size};
    uint8_t flags = handle->one_way ? HGI_FLAG_ONE_WAY : 0;

    if (handle->in.size > handle->info.hg_class->eager_size) {
        size_t size;
        hg_return_t ret = hgi_more_offer(handle, &handle->in, cookie, message, &size);
        if (ret != HG_SUCCESS)
            return ret;
        payload = (struct iovec){.iov_base = message, .iov_len = size};
        flags |= HGI_FLAG_MORE;
    }
    return hgi_send(handle->conn, HGI_REQUEST, flags, HG_SUCCESS, cookie, handle->info.id, &payload, 1);
}

static hg_return_t forward_remote(struct hg_handle *handle)
{
    assert(handle->info.addr != handle->info.hg_class->self);
    bool more = handle->in.size > handle->info.hg_class->eager_size;
    struct na_conn *conn = handle->conn;
    uint64_t cookie;
    hg_return_t ret;

    if (more && handle->info.hg_class->no_overflow)
        return HG_MSGSIZE;
    if (conn && na_conn_is_closed(conn)) {
        na_conn_release(conn);
        conn = handle->conn = NULL;
    }
    if (!conn) {
        ret = hgi_peer_get(handle->context, handle->info.addr, handle->info.context_id, &handle->conn);
        if (ret != HG_SUCCESS)
            return ret;
        conn = handle->conn;
    }
    cookie = hgi_slot_arm(&handle->slot, conn, handle->one_way ? HGI_EXPECTS_ACK : HGI_EXPECTS_RESPONSE);
    ret = send_request(handle, cookie);
    if (ret != HG_SUCCESS)
        /* If the progress loop has failed the handle already, its callback reports that. */
        return hgi_slot_claim(&handle->slot, cookie) ? ret : HG_SUCCESS;
    if (handle->one_way && !more && hgi_slot_claim(&handle->slot, cookie))
        hgi_handle_complete(handle, HG_SUCCESS);
    return HG_SUCCESS;
}

hg_return_t HG_Forward(hg_handle_t handle, hg_cb_t callback, void *arg, void *in_struct)
{
    hg_return_t ret;

    if (!handle || handle->incoming || !handle->info.addr || !handle->rpc)
        return HG_INVALID_ARG;
    if (atomic_load(&handle->context->closing))
        return HG_CANCELED;
    if (atomic_exchange(&handle->in_flight, true))
        return HG_BUSY;
    handle->callback = callback;
    handle->arg = arg;
    handle->ret = HG_SUCCESS;
    handle->ready = false;
    handle->one_way = atomic_load_explicit(&handle->rpc->one_way, memory_order_relaxed);
    handle->done.run = run_done;
    handle->out.size = 0;
    HG_Ref_incr(handle); /* until the callback has run */
    ret = hgi_encode(handle->info.hg_class, handle->rpc->in_proc, in_struct, &handle->in);
    if (ret == HG_SUCCESS)
        ret = handle->info.addr == handle->info.hg_class->self ? forward_self(handle) : forward_remote(handle);
    if (ret == HG_SUCCESS)
        return HG_SUCCESS;
    HG_Bulk_free(handle->more);
    handle->more = NULL;
    handle->ret = ret;
    atomic_store(&handle->in_flight, false);
    HG_Destroy(handle);
    return ret;
}

hg_return_t HG_Cancel(hg_handle_t handle)
{
    if (!handle)
        return HG_INVALID_ARG;
    if (handle->incoming)
        return HG_OPNOTSUPPORTED;
    if (hgi_slot_claim(&handle->slot, atomic_load(&handle->slot.pending)))
        hgi_handle_complete(handle, HG_CANCELED);
    return HG_SUCCESS;
}
