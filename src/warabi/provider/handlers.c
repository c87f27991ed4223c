/*
 * The RPC handlers: each decodes its input, calls one operation of store.h, and answers.
 *
 * All handlers share `serve`: it finds the provider, goes through its gate, decodes, runs the body, responds exactly
 * once whatever happened, and only then leaves the gate, so that a provider outlives every answer it owes.
 */
#include "warabi/err.h"
#include "warabi/provider/provider.h"
#include "warabi/provider/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A request while its body runs. */
struct request {
    struct warabi_provider *provider;
    struct wb_target *target;
    hg_handle_t handle;
    wb_out_t *out;
    void *buffer; /* to be freed after the answer was sent */
};

typedef int (*body_fn)(struct request *request, void *input, struct dango_error *err);

static void fail(wb_out_t *out, int code, char *text)
{
    *out = (wb_out_t){.code = code, .message = text};
}

/* Decodes the input and runs the body; fills in request->out. `err` keeps the text that the answer points to. */
static void run_body(struct request *request, void *input, body_fn body, struct dango_error *err)
{
    request->target = request->provider->target;
    hg_return_t decoded = margo_get_input(request->handle, input);
    if (decoded != HG_SUCCESS) {
        dango_error_set(err, DANGO_ERR_INVALID, "malformed request: %s", HG_Error_to_string(decoded));
        fail(request->out, WARABI_ERR_INVALID, err->text);
        return;
    }
    if (!request->target) {
        dango_error_set(err, DANGO_ERR_NOT_FOUND, "No target found in the provider");
        fail(request->out, WARABI_ERR_NO_TARGET, err->text);
    } else if (body(request, input, err) != 0) {
        fail(request->out, wb_err_public_code(err->code), err->text);
    }
    margo_free_input(request->handle, input);
}

/* `input` is a zeroed struct of the type that the RPC was registered with. */
static void serve(hg_handle_t handle, void *input, body_fn body)
{
    wb_out_t out = {.code = WARABI_ERR_OK, .kind = WB_OUT_NOTHING};
    struct dango_error err;
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct request request = {.handle = handle, .out = &out};
    request.provider = margo_registered_data(mid, margo_get_info(handle)->id);
    bool inside = request.provider && dango_gate_enter(&request.provider->gate);
    if (inside) {
        run_body(&request, input, body, &err);
    } else {
        dango_error_set(&err, DANGO_ERR_NOT_FOUND, "the provider is being removed");
        fail(&out, WARABI_ERR_NO_TARGET, err.text);
    }
    hg_return_t status = margo_respond(handle, &out);
    if (status != HG_SUCCESS)
        margo_debug(mid, "warabi: an answer could not be sent: %s", HG_Error_to_string(status));
    free(request.buffer);
    margo_destroy(handle);
    if (inside)
        dango_gate_leave(&request.provider->gate);
}

/* Runs `operation` with the memory that the peer described; "" is the sender of the request. */
static int with_remote(struct request *request, const wb_memory_t *memory, struct wb_remote *remote,
                       struct dango_error *err)
{
    margo_instance_id mid = request->provider->mid;
    *remote = (struct wb_remote){.mid = mid, .bulk = memory->bulk, .offset = memory->offset};
    hg_return_t status = memory->address && *memory->address
                             ? margo_addr_lookup(mid, memory->address, &remote->address)
                             : margo_addr_dup(mid, margo_get_info(request->handle)->addr, &remote->address);
    if (status != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_INVALID, "cannot resolve the address \"%s\" of the bulk memory: %s",
                               memory->address ? memory->address : "", HG_Error_to_string(status));
    return 0;
}

static void answer_region(struct request *request, const warabi_region_t *id)
{
    request->out->kind = WB_OUT_REGION;
    request->out->region = *id;
}

static int create_body(struct request *request, void *input, struct dango_error *err)
{
    const wb_create_in_t *in = input;
    warabi_region_t id;
    int status = wb_store_create(request->target, in->size, &id, err);
    if (status == 0)
        answer_region(request, &id);
    return status;
}

static int write_body(struct request *request, void *input, struct dango_error *err)
{
    const wb_write_in_t *in = input;
    struct wb_remote remote;
    int status = with_remote(request, &in->memory, &remote, err);
    if (status != 0)
        return status;
    struct wb_source source = {.remote = &remote};
    status = wb_store_write(request->target, &in->region, &in->segments.list, &source, in->persist, err);
    margo_addr_free(remote.mid, remote.address);
    return status;
}

static int write_eager_body(struct request *request, void *input, struct dango_error *err)
{
    const wb_write_eager_in_t *in = input;
    struct wb_source source = {.data = in->bytes.data, .size = in->bytes.size};
    return wb_store_write(request->target, &in->region, &in->segments.list, &source, in->persist, err);
}

static int persist_body(struct request *request, void *input, struct dango_error *err)
{
    const wb_persist_in_t *in = input;
    return wb_store_persist(request->target, &in->region, &in->segments.list, err);
}

static int create_write_body(struct request *request, void *input, struct dango_error *err)
{
    const wb_create_write_in_t *in = input;
    struct wb_remote remote;
    int status = with_remote(request, &in->memory, &remote, err);
    if (status != 0)
        return status;
    struct wb_source source = {.remote = &remote};
    warabi_region_t id;
    status = wb_store_create_write(request->target, in->size, &source, in->persist, &id, err);
    if (status == 0)
        answer_region(request, &id);
    margo_addr_free(remote.mid, remote.address);
    return status;
}

static int create_write_eager_body(struct request *request, void *input, struct dango_error *err)
{
    const wb_create_write_eager_in_t *in = input;
    struct wb_source source = {.data = in->bytes.data, .size = in->bytes.size};
    warabi_region_t id;
    int status = wb_store_create_write(request->target, in->bytes.size, &source, in->persist, &id, err);
    if (status == 0)
        answer_region(request, &id);
    return status;
}

static int read_body(struct request *request, void *input, struct dango_error *err)
{
    const wb_read_in_t *in = input;
    struct wb_remote remote;
    int status = with_remote(request, &in->memory, &remote, err);
    if (status != 0)
        return status;
    status = wb_store_push(request->target, &in->region, &in->segments.list, &remote, err);
    margo_addr_free(remote.mid, remote.address);
    return status;
}

static int read_eager_body(struct request *request, void *input, struct dango_error *err)
{
    const wb_read_eager_in_t *in = input;
    char *data;
    uint64_t size;
    int status = wb_store_read(request->target, &in->region, &in->segments.list, &data, &size, err);
    if (status != 0)
        return status;
    request->buffer = data;
    request->out->kind = WB_OUT_BYTES;
    request->out->bytes = (wb_bytes_t){.size = size, .data = data};
    return 0;
}

static int erase_body(struct request *request, void *input, struct dango_error *err)
{
    const wb_region_in_t *in = input;
    return wb_store_erase(request->target, &in->region, err);
}

static int region_size_body(struct request *request, void *input, struct dango_error *err)
{
    const wb_region_in_t *in = input;
    request->out->kind = WB_OUT_SIZE;
    return wb_store_size(request->target, &in->region, &request->out->size, err);
}

/* The functions that Margo calls: one per RPC, all alike. */
#define DEFINE_HANDLER(name, input_type)                                                                               \
    static void wb_##name##_ult(hg_handle_t handle)                                                                    \
    {                                                                                                                  \
        input_type input = {0};                                                                                        \
        serve(handle, &input, name##_body);                                                                            \
    }                                                                                                                  \
    static DECLARE_MARGO_RPC_HANDLER(wb_##name##_ult) DEFINE_MARGO_RPC_HANDLER(wb_##name##_ult)
WB_RPC_LIST(DEFINE_HANDLER)
#undef DEFINE_HANDLER

static const struct {
    const char *name;
    hg_proc_cb_t proc_in;
    hg_rpc_cb_t handler;
} rpcs[WB_RPC_COUNT] = {
#define TABLE_ENTRY(name, input) {"warabi_" #name, hg_proc_##input, _handler_for_wb_##name##_ult},
    WB_RPC_LIST(TABLE_ENTRY)
#undef TABLE_ENTRY
};

int wb_handlers_register(struct warabi_provider *provider, struct dango_error *err)
{
    for (int i = 0; i < WB_RPC_COUNT; i++) {
        hg_id_t id = margo_provider_register_name(provider->mid, rpcs[i].name, rpcs[i].proc_in, hg_proc_wb_out_t,
                                                  rpcs[i].handler, provider->id, provider->pool);
        if (id == 0 || margo_register_data(provider->mid, id, provider, NULL) != HG_SUCCESS) {
            wb_handlers_deregister(provider);
            return dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register the RPC %s", rpcs[i].name);
        }
        provider->rpc_ids[i] = id;
    }
    return 0;
}

void wb_handlers_deregister(struct warabi_provider *provider)
{
    for (int i = 0; i < WB_RPC_COUNT; i++) {
        if (provider->rpc_ids[i] != 0)
            margo_deregister(provider->mid, provider->rpc_ids[i]);
        provider->rpc_ids[i] = 0;
    }
}
