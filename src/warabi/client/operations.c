/*
 * The operations of warabi/client.h: check the arguments, choose between the eager and the bulk path, send.
 *
 * The forms with one segment are the forms with several; the forms with the caller's own memory expose it and become
 * the forms with bulk memory, unless the data are small enough to travel inside the RPC.
 */
#include "warabi/client/client.h"
#include "warabi/err.h"

#include <assert.h>

static const struct wb_expected nothing = {.kind = WB_OUT_NOTHING};

static struct wb_segments segments_of(size_t count, const size_t *offsets, const size_t *sizes)
{
    return (struct wb_segments){.count = count, .offsets = offsets, .sizes = sizes};
}

static struct wb_memory memory_of(hg_bulk_t bulk, const char *address, size_t offset)
{
    return (struct wb_memory){.bulk = bulk, .address = (hg_string_t)(address ? address : ""), .offset = offset};
}

static uint8_t persist_field(bool persist)
{
    return persist ? WB_PERSIST : 0;
}

static warabi_err_t null_argument(const char *function)
{
    return wb_err_new(WARABI_ERR_INVALID, "%s: NULL argument", function);
}

/* Arguments of every operation with segments; `total` is what they add up to. */
static warabi_err_t check(const char *function, warabi_target_handle_t th, const struct wb_segments *segments,
                          uint64_t *total)
{
    if (!th || (segments->count > 0 && (!segments->offsets || !segments->sizes)))
        return null_argument(function);
    struct dango_error err;
    if (wb_segments_total(segments, total, &err) != 0)
        return wb_err_from(&err);
    return WARABI_SUCCESS;
}

static warabi_err_t expose(warabi_target_handle_t th, const void *data, uint64_t size, hg_uint8_t flags,
                           hg_bulk_t *bulk)
{
    void *pointer = (void *)data;
    hg_return_t status = margo_bulk_create(th->client->mid, 1, &pointer, &size, flags, bulk);
    return status == HG_SUCCESS ? WARABI_SUCCESS : wb_err_from_hg(status, "cannot expose the data for RDMA");
}

/* ---- regions ---- */

warabi_err_t warabi_create(warabi_target_handle_t th, size_t size, warabi_region_t *region, warabi_async_request_t *req)
{
    if (!th || !region)
        return null_argument(__func__);
    wb_in_t in = {.size = size};
    struct wb_expected expected = {.kind = WB_OUT_REGION, .result = region};
    return wb_call(th, WB_RPC_create, &in, HG_BULK_NULL, 0, expected, req);
}

warabi_err_t warabi_region_size(warabi_target_handle_t th, warabi_region_t region, size_t *size,
                                warabi_async_request_t *req)
{
    if (!th || !size)
        return null_argument(__func__);
    wb_in_t in = {.region = region};
    struct wb_expected expected = {.kind = WB_OUT_SIZE, .result = size};
    return wb_call(th, WB_RPC_region_size, &in, HG_BULK_NULL, 0, expected, req);
}

warabi_err_t warabi_erase(warabi_target_handle_t th, warabi_region_t region, warabi_async_request_t *req)
{
    if (!th)
        return null_argument(__func__);
    wb_in_t in = {.region = region};
    return wb_call(th, WB_RPC_erase, &in, HG_BULK_NULL, 0, nothing, req);
}

/* ---- write ---- */

/* `own` is what the call exposed itself, to be released after the operation. */
static warabi_err_t write_memory(warabi_target_handle_t th, warabi_region_t region, const struct wb_segments *segments,
                                 uint64_t total, struct wb_memory memory, hg_bulk_t own, bool persist,
                                 warabi_async_request_t *req)
{
    wb_in_t in = {.region = region, .segments = *segments, .memory = memory, .fields = persist_field(persist)};
    return wb_call(th, WB_RPC_write, &in, own, total, nothing, req);
}

warabi_err_t warabi_write_multi(warabi_target_handle_t th, warabi_region_t region, size_t count,
                                const size_t *regionOffsets, const size_t *regionSizes, const char *data, bool persist,
                                warabi_async_request_t *req)
{
    uint64_t total = 0;
    struct wb_segments segments = segments_of(count, regionOffsets, regionSizes);
    warabi_err_t err = check(__func__, th, &segments, &total);
    if (err)
        return err;
    if (total > 0 && !data)
        return null_argument(__func__);
    if (total == 0 || total < th->eager_write) {
        wb_in_t in = {.region = region,
                      .segments = segments,
                      .bytes = {.size = total, .data = data},
                      .fields = persist_field(persist)};
        return wb_call(th, WB_RPC_write_eager, &in, HG_BULK_NULL, total, nothing, req);
    }
    hg_bulk_t bulk;
    err = expose(th, data, total, HG_BULK_READ_ONLY, &bulk);
    return err ? err : write_memory(th, region, &segments, total, memory_of(bulk, "", 0), bulk, persist, req);
}

warabi_err_t warabi_write(warabi_target_handle_t th, warabi_region_t region, size_t regionOffset, const char *data,
                          size_t size, bool persist, warabi_async_request_t *req)
{
    return warabi_write_multi(th, region, 1, &regionOffset, &size, data, persist, req);
}

warabi_err_t warabi_write_multi_bulk(warabi_target_handle_t th, warabi_region_t region, size_t count,
                                     const size_t *regionOffsets, const size_t *regionSizes, hg_bulk_t bulk,
                                     const char *address, size_t bulkOffset, bool persist, warabi_async_request_t *req)
{
    uint64_t total = 0;
    struct wb_segments segments = segments_of(count, regionOffsets, regionSizes);
    warabi_err_t err = check(__func__, th, &segments, &total);
    return err ? err
               : write_memory(th, region, &segments, total, memory_of(bulk, address, bulkOffset), HG_BULK_NULL, persist,
                              req);
}

warabi_err_t warabi_write_bulk(warabi_target_handle_t th, warabi_region_t region, size_t regionOffset, hg_bulk_t bulk,
                               const char *address, size_t bulkOffset, size_t size, bool persist,
                               warabi_async_request_t *req)
{
    return warabi_write_multi_bulk(th, region, 1, &regionOffset, &size, bulk, address, bulkOffset, persist, req);
}

/* ---- persist ---- */

warabi_err_t warabi_persist_multi(warabi_target_handle_t th, warabi_region_t region, size_t count,
                                  const size_t *regionOffsets, const size_t *regionSizes, warabi_async_request_t *req)
{
    uint64_t total = 0;
    wb_in_t in = {.region = region, .segments = segments_of(count, regionOffsets, regionSizes)};
    warabi_err_t err = check(__func__, th, &in.segments, &total);
    return err ? err : wb_call(th, WB_RPC_persist, &in, HG_BULK_NULL, total, nothing, req);
}

warabi_err_t warabi_persist(warabi_target_handle_t th, warabi_region_t region, size_t regionOffset, size_t size,
                            warabi_async_request_t *req)
{
    return warabi_persist_multi(th, region, 1, &regionOffset, &size, req);
}

/* ---- create and write ---- */

static warabi_err_t create_write_memory(warabi_target_handle_t th, struct wb_memory memory, hg_bulk_t own, size_t size,
                                        bool persist, warabi_region_t *region, warabi_async_request_t *req)
{
    wb_in_t in = {.size = size, .memory = memory, .fields = persist_field(persist)};
    struct wb_expected expected = {.kind = WB_OUT_REGION, .result = region};
    return wb_call(th, WB_RPC_create_write, &in, own, size, expected, req);
}

warabi_err_t warabi_create_write(warabi_target_handle_t th, const char *data, size_t size, bool persist,
                                 warabi_region_t *region, warabi_async_request_t *req)
{
    if (!th || !region || (size > 0 && !data))
        return null_argument(__func__);
    if (size == 0 || size < th->eager_write) {
        wb_in_t in = {.size = size, .bytes = {.size = size, .data = data}, .fields = persist_field(persist)};
        struct wb_expected expected = {.kind = WB_OUT_REGION, .result = region};
        return wb_call(th, WB_RPC_create_write_eager, &in, HG_BULK_NULL, size, expected, req);
    }
    hg_bulk_t bulk;
    warabi_err_t err = expose(th, data, size, HG_BULK_READ_ONLY, &bulk);
    return err ? err : create_write_memory(th, memory_of(bulk, "", 0), bulk, size, persist, region, req);
}

warabi_err_t warabi_create_write_bulk(warabi_target_handle_t th, hg_bulk_t bulk, const char *address, size_t bulkOffset,
                                      size_t size, bool persist, warabi_region_t *region, warabi_async_request_t *req)
{
    if (!th || !region)
        return null_argument(__func__);
    return create_write_memory(th, memory_of(bulk, address, bulkOffset), HG_BULK_NULL, size, persist, region, req);
}

/* ---- read ---- */

static warabi_err_t read_memory(warabi_target_handle_t th, warabi_region_t region, const struct wb_segments *segments,
                                uint64_t total, struct wb_memory memory, hg_bulk_t own, warabi_async_request_t *req)
{
    wb_in_t in = {.region = region, .segments = *segments, .memory = memory};
    return wb_call(th, WB_RPC_read, &in, own, total, nothing, req);
}

warabi_err_t warabi_read_multi(warabi_target_handle_t th, warabi_region_t region, size_t count,
                               const size_t *regionOffsets, const size_t *regionSizes, char *data,
                               warabi_async_request_t *req)
{
    uint64_t total = 0;
    struct wb_segments segments = segments_of(count, regionOffsets, regionSizes);
    warabi_err_t err = check(__func__, th, &segments, &total);
    if (err)
        return err;
    if (total > 0 && !data)
        return null_argument(__func__);
    if (total == 0 || total < th->eager_read) {
        wb_in_t in = {.region = region, .segments = segments};
        struct wb_expected expected = {.kind = WB_OUT_BYTES, .result = data, .size = total};
        return wb_call(th, WB_RPC_read_eager, &in, HG_BULK_NULL, total, expected, req);
    }
    hg_bulk_t bulk;
    err = expose(th, data, total, HG_BULK_WRITE_ONLY, &bulk);
    return err ? err : read_memory(th, region, &segments, total, memory_of(bulk, "", 0), bulk, req);
}

warabi_err_t warabi_read(warabi_target_handle_t th, warabi_region_t region, size_t regionOffset, char *data,
                         size_t size, warabi_async_request_t *req)
{
    return warabi_read_multi(th, region, 1, &regionOffset, &size, data, req);
}

warabi_err_t warabi_read_multi_bulk(warabi_target_handle_t th, warabi_region_t region, size_t count,
                                    const size_t *regionOffsets, const size_t *regionSizes, const char *address,
                                    hg_bulk_t bulk, size_t bulkOffset, warabi_async_request_t *req)
{
    uint64_t total = 0;
    struct wb_segments segments = segments_of(count, regionOffsets, regionSizes);
    warabi_err_t err = check(__func__, th, &segments, &total);
    return err ? err
               : read_memory(th, region, &segments, total, memory_of(bulk, address, bulkOffset), HG_BULK_NULL, req);
}

warabi_err_t warabi_read_bulk(warabi_target_handle_t th, warabi_region_t region, size_t regionOffset,
                              const char *address, hg_bulk_t bulk, size_t bulkOffset, size_t size,
                              warabi_async_request_t *req)
{
    return warabi_read_multi_bulk(th, region, 1, &regionOffset, &size, address, bulk, bulkOffset, req);
}
