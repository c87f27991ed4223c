/*
 * Messages from the network. Runs in the progress loop; the bytes lie in memory that the peer can change, so each is
 * read once: the header into a local copy, payloads into the buffer of a handle, where decoding happens later.
 *
 * Everything is checked. A message that no correct peer would send makes hgi_receive fail, which costs the peer its
 * connection. An answer that comes too late is normal, and dropped.
 */
#include "mercury/hg.h"

#include <assert.h>
#include <string.h>

/* Copies out of shared memory; the barrier keeps the compiler from reading the source again later. */
static void copy_once(void *to, const void *from, size_t size)
{
    memcpy(to, from, size);
    __asm__ __volatile__("" : : "r"(to) : "memory");
}

static bool fill(struct hgi_buffer *buffer, const void *payload, size_t size)
{
    if (!hgi_buffer_reserve(buffer, size))
        return false;
    copy_once(buffer->data, payload, size);
    buffer->size = size;
    return true;
}

/* ---- requests ---- */

static hg_return_t refuse(struct na_conn *conn, const struct hgi_header *header, hg_return_t why)
{
    /* The payload of a large request is not fetched; a one-way request gets no answer, but the origin of a large one
     * waits for the acknowledgement. */
    if (!(header->flags & HGI_FLAG_ONE_WAY))
        hgi_send(conn, HGI_RESPONSE, 0, why, header->cookie, header->id, NULL, 0);
    else if (header->flags & HGI_FLAG_MORE)
        hgi_send(conn, HGI_ACK, 0, why, header->cookie, 0, NULL, 0);
    return HG_SUCCESS;
}

static hg_return_t receive_request(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                                   const char *payload)
{
    struct hgi_rpc *rpc = hgi_rpc_find(context->hg_class, header->id);
    struct hg_handle *handle;

    assert(conn->user);
    if (!rpc || !rpc->callback) {
        if (rpc)
            hgi_rpc_release(rpc);
        return refuse(conn, header, HG_NOENTRY);
    }
    handle = hgi_handle_new(context);
    if (!handle) {
        hgi_rpc_release(rpc);
        return refuse(conn, header, HG_AGAIN);
    }
    handle->incoming = true;
    handle->one_way = header->flags & HGI_FLAG_ONE_WAY;
    handle->rpc = rpc;
    handle->conn = conn;
    na_conn_ref(conn);
    handle->info.addr = conn->user;
    hgi_addr_ref(handle->info.addr);
    handle->info.id = header->id;
    handle->info.context_id = context->id;
    handle->origin_cookie = header->cookie;
    if (header->flags & HGI_FLAG_MORE)
        return hgi_more_fetch(handle, conn, payload, header->size);
    if (!fill(&handle->in, payload, header->size)) {
        HG_Destroy(handle);
        return refuse(conn, header, HG_NOMEM);
    }
    hgi_handle_dispatch(handle);
    return HG_SUCCESS;
}

/* ---- responses ---- */

static hg_return_t receive_response(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                                    const char *payload)
{
    bool violation;
    struct hgi_slot *slot = hgi_table_claim(&context->handles, header->cookie, conn, HGI_EXPECTS_RESPONSE, &violation);
    struct hg_handle *handle = (struct hg_handle *)slot;

    if (violation)
        return HG_PROTOCOL_ERROR;
    if (header->flags & HGI_FLAG_MORE)
        return hgi_more_fetch(handle, conn, payload, header->size);
    if (!handle)
        return HG_SUCCESS;
    if (header->ret == HG_SUCCESS && !fill(&handle->out, payload, header->size))
        hgi_forward_finish(handle, HG_NOMEM);
    else
        hgi_forward_finish(handle, (hg_return_t)header->ret);
    return HG_SUCCESS;
}

static hg_return_t receive_ack(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header)
{
    bool violation;
    struct hgi_slot *slot = hgi_table_claim(&context->handles, header->cookie, conn, HGI_EXPECTS_ACK, &violation);

    if (slot)
        hgi_handle_complete((struct hg_handle *)slot, (hg_return_t)header->ret);
    return violation ? HG_PROTOCOL_ERROR : HG_SUCCESS;
}

/* ---- all messages ---- */

/* The header, if it is one; `size` bytes in all. */
static bool read_header(struct hgi_header *header, const void *bytes, size_t size, size_t payload_size)
{
    if (size < sizeof *header)
        return false;
    copy_once(header, bytes, sizeof *header);
    return header->version == HGI_WIRE_VERSION && header->size == size - sizeof *header + payload_size &&
           header->ret < HG_RETURN_MAX && !(header->flags & ~(HGI_FLAG_MORE | HGI_FLAG_ONE_WAY));
}

hg_return_t hgi_place(void *arg, struct na_conn *conn, const void *bytes, size_t size, size_t payload_size,
                      struct na_loan **loan)
{
    struct hgi_header header;

    *loan = NULL;
    if (!read_header(&header, bytes, size, payload_size))
        return HG_PROTOCOL_ERROR;
    return hgi_copy_place(arg, conn, &header, (const char *)bytes + sizeof header, size - sizeof header, payload_size,
                          loan);
}

hg_return_t hgi_placed(void *arg, struct na_conn *conn, struct na_loan *loan)
{
    return hgi_copy_placed(arg, conn, loan);
}

hg_return_t hgi_receive(void *arg, struct na_conn *conn, const void *bytes, size_t size)
{
    hg_context_t *context = arg;
    struct hgi_header header;

    if (!read_header(&header, bytes, size, 0))
        return HG_PROTOCOL_ERROR;

    const char *payload = (const char *)bytes + sizeof header;
    switch (header.kind) {
    case HGI_REQUEST:
        return receive_request(context, conn, &header, payload);
    case HGI_RESPONSE:
        return receive_response(context, conn, &header, payload);
    case HGI_ACK:
        return receive_ack(context, conn, &header);
    default:
        return hgi_copy_receive(context, conn, &header, payload);
    }
}
