/*
 * Bulk transfers between the partition's memory and the memory of clients. The bulk handles that clients send are
 * checked by their sizes before use; what they claim about memory of their own is their own risk.
 */
#include "mofka/server/provider.h"

/* Stretches on the way at a time: hides the latency of a network without flooding it. */
#define TRANSFERS_MAX 16

static double patience_ms(uint64_t size)
{
    double patience_ms = MOFKA_TRANSFER_MS + (double)size / MOFKA_TRANSFER_RATE;
    return patience_ms < MOFKA_TRANSFER_MAX_MS ? patience_ms : MOFKA_TRANSFER_MAX_MS;
}

static int transfer_error(hg_return_t ret, const char *what, struct dango_error *err)
{
    int code = ret == HG_TIMEOUT ? DANGO_ERR_TIMEOUT : DANGO_ERR_DISCONNECTED;
    return dango_error_set(err, code, "cannot %s the client's memory: %s", what, HG_Error_to_string(ret));
}

int mofka_pull(struct mofka_request *request, const unsigned char *flat, size_t flat_size, struct mofka_region *region,
               size_t offset, uint64_t size, struct dango_error *err)
{
    margo_instance_id mid = request->provider->settings.mid;
    hg_bulk_t from;
    hg_return_t ret = margo_bulk_deserialize(mid, &from, flat, flat_size);
    if (ret != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed bulk handle: %s", HG_Error_to_string(ret));
    int code = 0;
    if (margo_bulk_get_size(from) < size) {
        code = dango_error_set(err, DANGO_ERR_PROTOCOL, "bulk handle is smaller than the batch");
    } else {
        ret = margo_bulk_transfer_timed(mid, HG_BULK_PULL, margo_get_info(request->handle)->addr, from, 0,
                                        region->registration, offset, (size_t)size, patience_ms(size));
        if (ret != HG_SUCCESS)
            code = transfer_error(ret, "read", err);
    }
    margo_bulk_free(from);
    return code;
}

/* Starts to send one piece. Memory that is not registered is for the time of the transfer: *own. */
static hg_return_t start(struct mofka_request *request, hg_bulk_t to, uint64_t offset, const struct mofka_piece *piece,
                         hg_bulk_t *own, margo_request *transfer)
{
    margo_instance_id mid = request->provider->settings.mid;
    hg_bulk_t from = HG_BULK_NULL;
    size_t from_offset = 0;
    *own = HG_BULK_NULL;
    if (piece->region && piece->region->registration) {
        from = piece->region->registration;
        from_offset = (size_t)(piece->base - piece->region->base);
    } else {
        void *base = (void *)(uintptr_t)piece->base;
        hg_size_t size = piece->size;
        hg_return_t ret = margo_bulk_create(mid, 1, &base, &size, HG_BULK_READ_ONLY, own);
        if (ret != HG_SUCCESS)
            return ret;
        from = *own;
    }
    hg_return_t ret =
        margo_bulk_itransfer_timed(mid, HG_BULK_PUSH, margo_get_info(request->handle)->addr, to, (size_t)offset, from,
                                   from_offset, piece->size, patience_ms(piece->size), transfer);
    if (ret != HG_SUCCESS) {
        margo_bulk_free(*own);
        *own = HG_BULK_NULL;
    }
    return ret;
}

bool mofka_pieces_whole(const struct mofka_piece *pieces, size_t count, struct dango_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!mofka_region_whole(pieces[i].region, pieces[i].base, pieces[i].size)) {
            dango_error_set(err, DANGO_ERR_DISCONNECTED, "the medium of the partition failed while events were read");
            return false;
        }
    }
    return true;
}

int mofka_push(struct mofka_request *request, hg_bulk_t to, uint64_t offset, const struct mofka_piece *pieces,
               size_t count, struct dango_error *err)
{
    margo_request transfers[TRANSFERS_MAX];
    hg_bulk_t own[TRANSFERS_MAX];
    hg_return_t result = HG_SUCCESS;
    size_t begun = 0, ended = 0;
    while (ended < begun || (begun < count && result == HG_SUCCESS)) {
        if (begun < count && begun - ended < TRANSFERS_MAX && result == HG_SUCCESS) {
            size_t slot = begun % TRANSFERS_MAX;
            result = start(request, to, offset, &pieces[begun], &own[slot], &transfers[slot]);
            if (result == HG_SUCCESS)
                offset += pieces[begun++].size;
            continue;
        }
        size_t slot = ended++ % TRANSFERS_MAX;
        hg_return_t ret = margo_wait(transfers[slot]);
        margo_bulk_free(own[slot]);
        if (result == HG_SUCCESS)
            result = ret;
    }
    if (result != HG_SUCCESS)
        return transfer_error(result, "write", err);
    return mofka_pieces_whole(pieces, count, err) ? 0 : DANGO_ERR_DISCONNECTED;
}
