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

typedef int (*body_fn)(struct request *request, const wb_in_t *in, struct dango_error *err);

static void fail(wb_out_t *out, int code, char *text)
{
    *out = (wb_out_t){.code = code, .message = text};
}

/* ---- bodies: 0, or a negative code and a text ---- */

/* Resolves the memory that the peer described; the caller frees remote->address. */
static int find_remote(const struct request *request, const struct wb_memory *memory, struct wb_remote *remote,
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

static int create(struct request *request, const wb_in_t *in, struct dango_error *err)
{
    request->out->kind = WB_OUT_REGION;
    return wb_store_create(request->target, in->size, &request->out->region, err);
}

static int write_from(struct request *request, const wb_in_t *in, const struct wb_source *source,
                      struct dango_error *err)
{
    return wb_store_write(request->target, &in->region, &in->segments, source, in->fields & WB_PERSIST, err);
}

static int write_memory(struct request *request, const wb_in_t *in, struct dango_error *err)
{
    struct wb_remote remote;
    int status = find_remote(request, &in->memory, &remote, err);
    if (status != 0)
        return status;
    status = write_from(request, in, &(struct wb_source){.remote = &remote}, err);
    margo_addr_free(remote.mid, remote.address);
    return status;
}

static int write_eager(struct request *request, const wb_in_t *in, struct dango_error *err)
{
    return write_from(request, in, &(struct wb_source){.data = in->bytes.data, .size = in->bytes.size}, err);
}

static int persist(struct request *request, const wb_in_t *in, struct dango_error *err)
{
    return wb_store_persist(request->target, &in->region, &in->segments, err);
}

static int create_write_from(struct request *request, const wb_in_t *in, const struct wb_source *source,
                             struct dango_error *err)
{
    request->out->kind = WB_OUT_REGION;
    return wb_store_create_write(request->target, in->size, source, in->fields & WB_PERSIST, &request->out->region,
                                 err);
}

static int create_write_memory(struct request *request, const wb_in_t *in, struct dango_error *err)
{
    struct wb_remote remote;
    int status = find_remote(request, &in->memory, &remote, err);
    if (status != 0)
        return status;
    status = create_write_from(request, in, &(struct wb_source){.remote = &remote}, err);
    margo_addr_free(remote.mid, remote.address);
    return status;
}

static int create_write_eager(struct request *request, const wb_in_t *in, struct dango_error *err)
{
    return create_write_from(request, in, &(struct wb_source){.data = in->bytes.data, .size = in->bytes.size}, err);
}

static int read_memory(struct request *request, const wb_in_t *in, struct dango_error *err)
{
    struct wb_remote remote;
    int status = find_remote(request, &in->memory, &remote, err);
    if (status != 0)
        return status;
    status = wb_store_push(request->target, &in->region, &in->segments, &remote, err);
    margo_addr_free(remote.mid, remote.address);
    return status;
}

static int read_eager(struct request *request, const wb_in_t *in, struct dango_error *err)
{
    char *data = NULL;
    uint64_t size = 0;
    int status = wb_store_read(request->target, &in->region, &in->segments, &data, &size, err);
    request->buffer = data;
    request->out->kind = WB_OUT_BYTES;
    request->out->bytes = (struct wb_bytes){.size = size, .data = data};
    return status;
}

static int erase(struct request *request, const wb_in_t *in, struct dango_error *err)
{
    return wb_store_erase(request->target, &in->region, err);
}

static int region_size(struct request *request, const wb_in_t *in, struct dango_error *err)
{
    request->out->kind = WB_OUT_SIZE;
    return wb_store_size(request->target, &in->region, &request->out->size, err);
}

/* ---- what all handlers share ---- */

static const body_fn bodies[WB_RPC_COUNT] = {
    [WB_RPC_create] = create,
    [WB_RPC_write] = write_memory,
    [WB_RPC_write_eager] = write_eager,
    [WB_RPC_persist] = persist,
    [WB_RPC_create_write] = create_write_memory,
    [WB_RPC_create_write_eager] = create_write_eager,
    [WB_RPC_read] = read_memory,
    [WB_RPC_read_eager] = read_eager,
    [WB_RPC_erase] = erase,
    [WB_RPC_region_size] = region_size,
};

/* Runs the body on a decoded input; fills in request->out. `err` keeps the text that the answer points to. */
static void run_body(struct request *request, enum wb_rpc rpc, const wb_in_t *in, struct dango_error *err)
{
    uint8_t needed = wb_rpcs[rpc].fields;
    request->target = request->provider->target;
    if ((in->fields & needed) != needed) {
        dango_error_set(err, DANGO_ERR_INVALID, "malformed request: fields are missing");
        fail(request->out, WARABI_ERR_INVALID, err->text);
    } else if (!request->target) {
        dango_error_set(err, DANGO_ERR_NOT_FOUND, "No target found in the provider");
        fail(request->out, WARABI_ERR_NO_TARGET, err->text);
    } else if (bodies[rpc](request, in, err) != 0) {
        fail(request->out, wb_err_public_code(err->code), err->text);
    }
}

static void decode_and_run(struct request *request, enum wb_rpc rpc, struct dango_error *err)
{
    wb_in_t in;
    hg_return_t decoded = margo_get_input(request->handle, &in);
    if (decoded != HG_SUCCESS) {
        dango_error_set(err, DANGO_ERR_INVALID, "malformed request: %s", HG_Error_to_string(decoded));
        fail(request->out, WARABI_ERR_INVALID, err->text);
        return;
    }
    run_body(request, rpc, &in, err);
    margo_free_input(request->handle, &in);
}

static void serve(hg_handle_t handle, enum wb_rpc rpc)
{
    wb_out_t out = {.code = WARABI_ERR_OK, .kind = WB_OUT_NOTHING};
    struct dango_error err;
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct request request = {.handle = handle, .out = &out};
    request.provider = margo_registered_data(mid, margo_get_info(handle)->id);
    bool inside = request.provider && dango_gate_enter(&request.provider->gate);
    if (inside) {
        decode_and_run(&request, rpc, &err);
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

/* The functions that Margo calls: one per RPC, all alike. */
#define DEFINE_HANDLER(name, fields)                                                                                   \
    static void wb_##name##_ult(hg_handle_t handle)                                                                    \
    {                                                                                                                  \
        serve(handle, WB_RPC_##name);                                                                                  \
    }                                                                                                                  \
    static DECLARE_MARGO_RPC_HANDLER(wb_##name##_ult) DEFINE_MARGO_RPC_HANDLER(wb_##name##_ult)
WB_RPC_LIST(DEFINE_HANDLER)
#undef DEFINE_HANDLER

static const hg_rpc_cb_t handlers[WB_RPC_COUNT] = {
#define HANDLER(name, fields) _handler_for_wb_##name##_ult,
    WB_RPC_LIST(HANDLER)
#undef HANDLER
};

int wb_handlers_register(struct warabi_provider *provider, struct dango_error *err)
{
    for (int i = 0; i < WB_RPC_COUNT; i++) {
        hg_id_t id = margo_provider_register_name(provider->mid, wb_rpcs[i].name, hg_proc_wb_in_t, hg_proc_wb_out_t,
                                                  handlers[i], provider->id, provider->pool);
        if (id == 0 || margo_register_data(provider->mid, id, provider, NULL) != HG_SUCCESS) {
            wb_handlers_deregister(provider);
            return dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register the RPC %s", wb_rpcs[i].name);
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
