/*
 * One RPC from creation of its handle to the delivery of its answer, blocking or with a request that the caller waits
 * for. Both take the same way: a blocking call is a request on the stack that is completed at once.
 */
#include "warabi/client/client.h"
#include "warabi/err.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct warabi_async_request {
    margo_request pending; /* MARGO_REQUEST_NULL for blocking calls */
    hg_handle_t handle;
    hg_bulk_t bulk;
    struct wb_expected expected;
};

static void request_release(struct warabi_async_request *request)
{
    margo_bulk_free(request->bulk);
    margo_destroy(request->handle);
}

static warabi_err_t deliver(const wb_out_t *out, const struct wb_expected *expected)
{
    if (out->code != WARABI_ERR_OK)
        return wb_err_new(out->code, "%s", out->message ? out->message : "error without a text");
    if (out->kind != expected->kind || (out->kind == WB_OUT_BYTES && out->bytes.size != expected->size))
        return wb_err_new(WARABI_ERR_TRANSPORT, "the answer of the provider does not fit the request");
    switch (out->kind) {
    case WB_OUT_REGION:
        memcpy(expected->result, &out->region, sizeof out->region);
        break;
    case WB_OUT_SIZE:
        *(size_t *)expected->result = out->size;
        break;
    case WB_OUT_BYTES:
        if (out->bytes.size > 0)
            memcpy(expected->result, out->bytes.data, out->bytes.size);
        break;
    default:
        break;
    }
    return WARABI_SUCCESS;
}

/* Takes the answer out of a handle whose forward ended with `status`, and releases the request. */
static warabi_err_t request_finish(struct warabi_async_request *request, hg_return_t status)
{
    warabi_err_t err;
    wb_out_t out = {0};
    if (status == HG_SUCCESS)
        status = margo_get_output(request->handle, &out);
    if (status == HG_SUCCESS) {
        err = deliver(&out, &request->expected);
        margo_free_output(request->handle, &out);
    } else {
        err = wb_err_from_hg(status, "the request to the Warabi provider failed");
    }
    request_release(request);
    return err;
}

static warabi_err_t call_blocking(struct warabi_target_handle *th, struct warabi_async_request *request, wb_in_t *input,
                                  double timeout_ms)
{
    return request_finish(request, margo_provider_forward_timed(th->provider_id, request->handle, input, timeout_ms));
}

static warabi_err_t call_start(struct warabi_target_handle *th, struct warabi_async_request *request, wb_in_t *input,
                               double timeout_ms, warabi_async_request_t *result)
{
    struct warabi_async_request *copy = malloc(sizeof *copy);
    if (!copy) {
        request_release(request);
        return wb_err_new(WARABI_ERR_NO_SPACE, "out of memory");
    }
    hg_return_t status =
        margo_provider_iforward_timed(th->provider_id, request->handle, input, timeout_ms, &request->pending);
    if (status != HG_SUCCESS) {
        free(copy);
        request_release(request);
        return wb_err_from_hg(status, "cannot send the request to the Warabi provider");
    }
    *copy = *request;
    *result = copy;
    return WARABI_SUCCESS;
}

warabi_err_t wb_call(struct warabi_target_handle *th, enum wb_rpc rpc, wb_in_t *input, hg_bulk_t bulk, uint64_t bytes,
                     struct wb_expected expected, warabi_async_request_t *request)
{
    assert(expected.kind == WB_OUT_NOTHING || expected.result || expected.size == 0);
    struct warabi_async_request r = {.pending = MARGO_REQUEST_NULL, .bulk = bulk, .expected = expected};
    if (request)
        *request = NULL;
    input->fields |= wb_rpcs[rpc].fields;
    hg_return_t status = margo_create(th->client->mid, th->address, th->client->ids[rpc], &r.handle);
    if (status != HG_SUCCESS) {
        margo_bulk_free(bulk);
        return wb_err_from_hg(status, "cannot create a request to the Warabi provider");
    }
    double timeout_ms = wb_deadline_ms(th->timeout_ms, bytes);
    return request ? call_start(th, &r, input, timeout_ms, request) : call_blocking(th, &r, input, timeout_ms);
}

warabi_err_t warabi_wait(warabi_async_request_t req)
{
    if (!req)
        return wb_err_new(WARABI_ERR_INVALID, "warabi_wait: NULL request");
    warabi_err_t err = request_finish(req, margo_wait(req->pending));
    free(req);
    return err;
}

warabi_err_t warabi_test(warabi_async_request_t req, bool *flag)
{
    if (!req || !flag)
        return wb_err_new(WARABI_ERR_INVALID, "warabi_test: NULL argument");
    int done = 0;
    if (margo_test(req->pending, &done) != 0)
        return wb_err_new(WARABI_ERR_OTHER, "warabi_test: the request cannot be tested");
    *flag = done != 0;
    return WARABI_SUCCESS;
}
