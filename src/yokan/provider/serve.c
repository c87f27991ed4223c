/*
 * The life of one request at a provider: see provider.h. Errors of the database and of the checks travel as return codes
 * in the response; a request that cannot even be decoded is answered with YOKAN_ERR_INVALID_ARGS.
 */
#include "yokan/provider/provider.h"

#include "util/log.h"

#include <assert.h>
#include <stdlib.h>

/* Transfers of a client that gave no time limit. */
#define TRANSFER_TIMEOUT_MS 15000.0

static const struct {
    yokan_run_fn run;
    bool needs_name;
    bool needs_items; /* count says how many items the request holds: not 0 */
} operations[YOKAN_OP_COUNT] = {
    [YOKAN_OP_count] = {yokan_run_count, false, false},
    [YOKAN_OP_put] = {yokan_run_put, false, true},
    [YOKAN_OP_get] = {yokan_run_get, false, true},
    [YOKAN_OP_exists] = {yokan_run_exists, false, true},
    [YOKAN_OP_length] = {yokan_run_length, false, true},
    [YOKAN_OP_erase] = {yokan_run_erase, false, true},
    [YOKAN_OP_erase_range] = {yokan_run_erase_range, false, false},
    [YOKAN_OP_list_keys] = {yokan_run_list_keys, false, true},
    [YOKAN_OP_list_keyvals] = {yokan_run_list_keyvals, false, true},
    [YOKAN_OP_coll_create] = {yokan_run_coll_create, true, false},
    [YOKAN_OP_coll_drop] = {yokan_run_coll_drop, true, false},
    [YOKAN_OP_coll_exists] = {yokan_run_coll_exists, true, false},
    [YOKAN_OP_coll_size] = {yokan_run_coll_size, true, false},
    [YOKAN_OP_coll_last_id] = {yokan_run_coll_last_id, true, false},
    [YOKAN_OP_doc_store] = {yokan_run_doc_store, true, true},
    [YOKAN_OP_doc_update] = {yokan_run_doc_update, true, true},
    [YOKAN_OP_doc_load] = {yokan_run_doc_load, true, true},
    [YOKAN_OP_doc_length] = {yokan_run_doc_length, true, true},
    [YOKAN_OP_doc_erase] = {yokan_run_doc_erase, true, true},
    [YOKAN_OP_doc_list] = {yokan_run_doc_list, true, true},
};

void yokan_job_keep(struct yokan_job *job, void *memory)
{
    assert(job->memory_count < sizeof job->memory / sizeof job->memory[0]);
    job->memory[job->memory_count++] = memory;
}

void *yokan_job_alloc(struct yokan_job *job, size_t count, size_t size)
{
    assert(count > 0 && size > 0);
    void *memory = calloc(count, size);
    if (memory)
        yokan_job_keep(job, memory);
    return memory;
}

/* What every operation requires before it may look at the rest of the request. */
static yk_return_t check_request(struct yokan_job *job, enum yokan_op op)
{
    const struct yokan_request *r = job->request;
    if (!job->database)
        return YOKAN_ERR_INVALID_DATABASE;
    if (r->mode & ~job->database->backend->modes)
        return YOKAN_ERR_MODE;
    if (operations[op].needs_name && (!r->name || !*r->name))
        return YOKAN_ERR_INVALID_ARGS;
    if ((operations[op].needs_items && r->count == 0) || r->count > YOKAN_COUNT_MAX)
        return YOKAN_ERR_INVALID_ARGS;
    if (!r->bulk)
        return YOKAN_SUCCESS;
    uint64_t total = margo_bulk_get_size(r->bulk);
    return r->offset <= total && r->size <= total - r->offset ? YOKAN_SUCCESS : YOKAN_ERR_INVALID_ARGS;
}

/* The parts of the output as they go into an inline response. */
static yk_return_t fill_response(struct yokan_job *job, struct yokan_response *response)
{
    assert(response->data.size == 0);
    response->value = job->value;
    if (job->request->bulk || job->output_count == 0)
        return YOKAN_SUCCESS;
    struct yokan_slice *parts = yokan_job_alloc(job, job->output_count, sizeof *parts);
    if (!parts)
        return YOKAN_ERR_ALLOCATION;
    for (size_t i = 0; i < job->output_count; i++) {
        parts[i] = job->outputs[i].bytes;
        response->data.size += parts[i].size;
    }
    response->data.parts = parts;
    response->data.part_count = job->output_count;
    return YOKAN_SUCCESS;
}

void yokan_job_run(struct yokan_job *job, enum yokan_op op, struct yokan_response *response)
{
    assert(op < YOKAN_OP_COUNT && operations[op].run);
    yk_return_t ret = check_request(job, op);
    if (ret == YOKAN_SUCCESS)
        ret = operations[op].run(job);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_push(job);
    if (ret == YOKAN_SUCCESS)
        ret = fill_response(job, response);
    response->ret = ret;
}

void yokan_job_release(struct yokan_job *job)
{
    yokan_region_release(job);
    for (size_t i = 0; i < job->memory_count; i++)
        free(job->memory[i]);
}

static void serve_inside(struct yokan_rpc *rpc, hg_handle_t handle)
{
    struct yokan_request request = {0};
    struct yokan_response response = {0};
    struct yokan_job job = {.provider = rpc->provider,
                            .database = rpc->provider->database,
                            .request = &request,
                            .sender = margo_get_info(handle)->addr};
    bool decoded = margo_get_input(handle, &request) == HG_SUCCESS;
    if (decoded) {
        /* Half of the client's time, so that a transfer that hangs still leaves time for an answer. */
        job.transfer_timeout_ms = request.timeout_ms > 0 ? request.timeout_ms / 2 : TRANSFER_TIMEOUT_MS;
        yokan_job_run(&job, rpc->op, &response);
    } else {
        response.ret = YOKAN_ERR_INVALID_ARGS;
    }
    hg_return_t hret = margo_respond(handle, &response);
    if (hret != HG_SUCCESS)
        log_debug("yokan", "%s: cannot respond: %s", yokan_op_names[rpc->op], HG_Error_to_string(hret));
    yokan_job_release(&job);
    if (decoded)
        margo_free_input(handle, &request);
}

void yokan_serve(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct yokan_rpc *rpc = margo_registered_data(mid, margo_get_info(handle)->id);
    if (rpc && dango_gate_enter(&rpc->provider->gate)) {
        serve_inside(rpc, handle);
        dango_gate_leave(&rpc->provider->gate);
    } else {
        struct yokan_response response = {.ret = YOKAN_ERR_INVALID_PROVIDER};
        margo_respond(handle, &response);
    }
    margo_destroy(handle);
}
DEFINE_MARGO_RPC_HANDLER(yokan_serve)
