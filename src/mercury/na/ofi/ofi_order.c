/*
 * Frames ahead of their turn. A provider may complete a small frame before a large one that was sent first, because
 * that is fetched meanwhile. What overtakes is copied and kept until everything before it is here. The sender learns
 * when a large frame has been fetched, and sends no more than OFI_EARLY_MAX from a moment when all had arrived until
 * all have again (ofi_send.c). Who sends more that has no predecessor, or the same number twice, is cut off.
 */
#include "mercury/na/ofi/ofi.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t cost(const struct ofi_frame *frame)
{
    return ofi_early_cost(frame->head_size + frame->payload_size);
}

static struct ofi_early *find(const struct ofi_conn *conn, uint32_t number)
{
    struct ofi_early *early;

    HASH_FIND(hh, conn->early, &number, sizeof number, early);
    return early;
}

hg_return_t ofi_early_add(struct ofi_conn *conn, const struct ofi_frame *frame, const char *bytes)
{
    assert(frame->number != conn->received);
    if (frame->number - conn->received > INT32_MAX || cost(frame) > OFI_EARLY_MAX - conn->early_bytes ||
        find(conn, frame->number))
        return HG_PROTOCOL_ERROR;
    struct ofi_early *early = malloc(sizeof *early + frame->head_size + frame->payload_size);
    if (!early)
        return HG_NOMEM;
    early->frame = *frame;
    memcpy(early->bytes, bytes, frame->head_size + frame->payload_size);
    HASH_ADD(hh, conn->early, frame.number, sizeof early->frame.number, early);
    conn->early_bytes += cost(frame);
    return HG_SUCCESS;
}

struct ofi_early *ofi_early_next(struct ofi_conn *conn)
{
    struct ofi_early *early = find(conn, conn->received);

    if (!early)
        return NULL;
    HASH_DEL(conn->early, early);
    conn->early_bytes -= cost(&early->frame);
    return early;
}

void ofi_early_drop(struct ofi_conn *conn)
{
    struct ofi_early *early, *next;

    HASH_ITER (hh, conn->early, early, next) {
        HASH_DEL(conn->early, early);
        free(early);
    }
    conn->early_bytes = 0;
}
