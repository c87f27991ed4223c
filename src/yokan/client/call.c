/*
 * One call: building its region, sending it, and taking its answer apart. See client.h.
 */
#include "yokan/client/client.h"

#include "util/log.h"

#include <assert.h>
#include <stdlib.h>

double yokan_extra_timeout(va_list extras)
{
    double timeout_ms = YOKAN_TIMEOUT_MS;
    for (int tag = va_arg(extras, int); tag != YOKAN_EXTRA_END; tag = va_arg(extras, int)) {
        if (tag == YOKAN_EXTRA_TIMEOUT_MS)
            timeout_ms = va_arg(extras, double);
        else
            (void)va_arg(extras, void *); /* unknown: skipped with its value */
    }
    return timeout_ms > 0 ? timeout_ms : 0;
}

/* Pairs of modes that exclude each other. */
static bool is_contradictory(int32_t mode)
{
    static const int32_t pairs[] = {
        YOKAN_MODE_APPEND | YOKAN_MODE_NEW_ONLY, YOKAN_MODE_NEW_ONLY | YOKAN_MODE_EXIST_ONLY,
        YOKAN_MODE_SUFFIX | YOKAN_MODE_LUA_FILTER, YOKAN_MODE_SUFFIX | YOKAN_MODE_LIB_FILTER,
        YOKAN_MODE_LUA_FILTER | YOKAN_MODE_LIB_FILTER};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if ((mode & pairs[i]) == pairs[i])
            return true;
    }
    return false;
}

yk_return_t yokan_call_begin(struct yokan_call *call, enum yokan_op op, const struct yokan_target *target)
{
    assert(op < YOKAN_OP_COUNT);
    *call = (struct yokan_call){.target = *target, .op = op};
    call->request.mode = target->mode & ~YOKAN_MODE_EXTRA;
    call->request.timeout_ms = target->timeout_ms;
    call->request.name = target->collection;
    if (!target->dbh || (target->collection && !*target->collection))
        return YOKAN_ERR_INVALID_ARGS;
    return is_contradictory(target->mode) ? YOKAN_ERR_MODE : YOKAN_SUCCESS;
}

static bool make_room(struct yokan_call *call)
{
    assert(call->part_count <= call->part_capacity);
    if (call->part_count < call->part_capacity)
        return true;
    size_t capacity = call->part_capacity ? 2 * call->part_capacity : 8;
    struct yokan_slice *parts = reallocarray(call->parts, capacity, sizeof *parts);
    if (parts)
        call->parts = parts;
    bool *is_input = parts ? reallocarray(call->is_input, capacity, sizeof *is_input) : NULL;
    if (is_input)
        call->is_input = is_input;
    if (!parts || !is_input)
        return false;
    call->part_capacity = capacity;
    return true;
}

static void add_part(struct yokan_call *call, const void *bytes, size_t size, bool input)
{
    if (size == 0)
        return;
    if (size > YOKAN_LAST_VALID_SIZE - call->total_size)
        call->failure = YOKAN_ERR_INVALID_ARGS;
    else if (!make_room(call))
        call->failure = YOKAN_ERR_ALLOCATION;
    if (call->failure != YOKAN_SUCCESS)
        return;
    call->parts[call->part_count] = (struct yokan_slice){bytes, size};
    call->is_input[call->part_count++] = input;
    call->total_size += size;
    call->input_size += input ? size : 0;
}

void yokan_part_in(struct yokan_call *call, const void *bytes, size_t size)
{
    add_part(call, bytes, size, true);
}

void yokan_part_out(struct yokan_call *call, void *bytes, size_t size)
{
    add_part(call, bytes, size, false);
}

/* Output parts are not sent: the answer brings them. */
static yk_return_t prepare_inline(struct yokan_call *call)
{
    assert(call->request.bulk == HG_BULK_NULL);
    size_t count = 0;
    call->input = calloc(call->part_count ? call->part_count : 1, sizeof *call->input);
    if (!call->input)
        return YOKAN_ERR_ALLOCATION;
    for (size_t i = 0; i < call->part_count; i++) {
        if (call->is_input[i])
            call->input[count++] = call->parts[i];
    }
    call->request.data = (struct yokan_blob){.size = call->input_size, .parts = call->input, .part_count = count};
    return YOKAN_SUCCESS;
}

/* Exposes the user's memory as it is. The server is asked to write to output parts only. */
static yk_return_t prepare_bulk(struct yokan_call *call)
{
    assert(call->part_count > 0 && call->request.bulk == HG_BULK_NULL);
    void **pointers = calloc(call->part_count, sizeof *pointers);
    hg_size_t *sizes = calloc(call->part_count, sizeof *sizes);
    yk_return_t ret = YOKAN_ERR_ALLOCATION;
    for (size_t i = 0; i < call->part_count && pointers && sizes; i++) {
        pointers[i] = (void *)(uintptr_t)call->parts[i].data;
        sizes[i] = call->parts[i].size;
    }
    hg_uint8_t access = call->input_size == call->total_size ? HG_BULK_READ_ONLY : HG_BULK_READWRITE;
    if (pointers && sizes)
        ret = margo_bulk_create(call->target.dbh->client->mid, (hg_uint32_t)call->part_count, pointers, sizes, access,
                                &call->request.bulk) == HG_SUCCESS
                  ? YOKAN_SUCCESS
                  : YOKAN_ERR_FROM_MERCURY;
    call->request.size = call->total_size;
    free(pointers);
    free(sizes);
    return ret;
}

static yk_return_t result_of(hg_return_t hret)
{
    switch (hret) {
    case HG_SUCCESS:
        return YOKAN_SUCCESS;
    case HG_TIMEOUT:
        return YOKAN_ERR_TIMEOUT;
    case HG_NOENTRY:
        return YOKAN_ERR_INVALID_PROVIDER;
    case HG_NOMEM:
        return YOKAN_ERR_ALLOCATION;
    default:
        return YOKAN_ERR_FROM_MERCURY;
    }
}

/* One round trip. The result is the server's, or says why there is none. */
static yk_return_t send_call(struct yokan_call *call)
{
    assert(call->handle == HG_HANDLE_NULL);
    yk_database_handle_t dbh = call->target.dbh;
    hg_return_t hret = margo_create(dbh->client->mid, dbh->addr, dbh->client->ids[call->op], &call->handle);
    if (hret == HG_SUCCESS)
        hret = margo_provider_forward_timed(dbh->provider_id, call->handle, &call->request, call->target.timeout_ms);
    if (hret == HG_SUCCESS)
        hret = margo_get_output(call->handle, &call->response);
    if (hret != HG_SUCCESS) {
        log_debug("yokan", "%s: %s", yokan_op_names[call->op], HG_Error_to_string(hret));
        return result_of(hret);
    }
    call->has_output = true;
    /* A code that we do not know must not look like one of ours. */
    return call->response.ret >= 0 && call->response.ret <= YOKAN_ERR_OTHER ? (yk_return_t)call->response.ret
                                                                            : YOKAN_ERR_OTHER;
}

yk_return_t yokan_call_run(struct yokan_call *call)
{
    if (call->failure != YOKAN_SUCCESS)
        return call->failure;
    bool exposed = call->total_size > YOKAN_INLINE_THRESHOLD && !(call->target.mode & YOKAN_MODE_NO_RDMA);
    yk_return_t ret = exposed ? prepare_bulk(call) : prepare_inline(call);
    return ret == YOKAN_SUCCESS ? send_call(call) : ret;
}

yk_return_t yokan_call_run_bulk(struct yokan_call *call, const char *origin, hg_bulk_t bulk, size_t offset, size_t size)
{
    if (bulk == HG_BULK_NULL)
        return YOKAN_ERR_INVALID_ARGS;
    if (margo_bulk_ref_incr(bulk) != HG_SUCCESS)
        return YOKAN_ERR_FROM_MERCURY;
    call->request.bulk = bulk;
    call->request.offset = offset;
    call->request.size = size;
    call->request.origin = origin;
    return send_call(call);
}

void yokan_call_end(struct yokan_call *call)
{
    if (call->has_output)
        margo_free_output(call->handle, &call->response);
    margo_destroy(call->handle);
    margo_bulk_free(call->request.bulk);
    free(call->input);
    free(call->parts);
    free(call->is_input);
}

/* The next bytes of an inline answer; NULL when it has not that many. */
static const char *take(struct yokan_call *call, uint64_t size)
{
    assert(call->cursor <= call->response.data.size);
    if (size > call->response.data.size - call->cursor)
        return NULL;
    const char *bytes = call->response.data.data + call->cursor;
    call->cursor += size;
    return bytes;
}

yk_return_t yokan_fetch_out(struct yokan_call *call, void *bytes, size_t size)
{
    assert(call->has_output);
    if (call->request.bulk || size == 0)
        return YOKAN_SUCCESS; /* it is there already */
    const char *answer = take(call, size);
    if (!answer)
        return YOKAN_ERR_OTHER;
    memcpy(bytes, answer, size);
    return YOKAN_SUCCESS;
}

void yokan_column_sizes(struct yokan_call *call, struct yokan_column *column)
{
    assert(column->count > 0 && column->sizes && !column->answer);
    size_t size = column->count * sizeof *column->answer;
    column->answer = calloc(column->count, sizeof *column->answer);
    if (!column->answer) {
        call->failure = YOKAN_ERR_ALLOCATION;
        return;
    }
    if (column->pointers)
        memcpy(column->answer, column->sizes, size);
    add_part(call, column->answer, size, column->pointers != NULL);
}

void yokan_column_bytes(struct yokan_call *call, struct yokan_column *column)
{
    assert(column->sizes);
    if (!column->pointers) {
        yokan_part_out(call, column->buffer, column->space);
        return;
    }
    for (size_t i = 0; i < column->count; i++)
        yokan_part_out(call, column->pointers[i], column->sizes[i]);
}

/* Whether the sizes of an answer fit the room there is. */
static bool are_plausible(const struct yokan_column *column)
{
    assert(column->answer);
    uint64_t left = column->space;
    for (size_t i = 0; i < column->count; i++) {
        uint64_t size = column->answer[i];
        if (size > YOKAN_LAST_VALID_SIZE)
            continue;
        if (size > (column->pointers ? column->sizes[i] : left))
            return false;
        left -= column->pointers ? 0 : size;
    }
    return true;
}

yk_return_t yokan_column_fetch_sizes(struct yokan_call *call, struct yokan_column *column)
{
    yk_return_t ret = yokan_fetch_out(call, column->answer, column->count * sizeof *column->answer);
    if (ret != YOKAN_SUCCESS)
        return ret;
    if (!are_plausible(column))
        return YOKAN_ERR_OTHER;
    memcpy(column->sizes, column->answer, column->count * sizeof *column->answer);
    return YOKAN_SUCCESS;
}

yk_return_t yokan_column_fetch_bytes(struct yokan_call *call, struct yokan_column *column)
{
    yk_return_t ret = YOKAN_SUCCESS;
    char *target = column->buffer;
    for (size_t i = 0; i < column->count && ret == YOKAN_SUCCESS; i++) {
        if (column->sizes[i] > YOKAN_LAST_VALID_SIZE)
            continue;
        ret = yokan_fetch_out(call, column->pointers ? column->pointers[i] : target, column->sizes[i]);
        if (!column->pointers && column->sizes[i])
            target += column->sizes[i];
    }
    return ret;
}

void yokan_column_fini(struct yokan_column *column)
{
    free(column->answer);
    column->answer = NULL;
}

yk_return_t yokan_check_keys(const struct yokan_keys *keys)
{
    if (!keys->sizes || (!keys->pointers && !keys->packed))
        return YOKAN_ERR_INVALID_ARGS;
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->sizes[i] == 0 || (keys->pointers && !keys->pointers[i]))
            return YOKAN_ERR_INVALID_ARGS;
    }
    return YOKAN_SUCCESS;
}

void yokan_part_keys(struct yokan_call *call, const struct yokan_keys *keys)
{
    assert(keys->pointers || keys->packed || keys->sizes);
    if (keys->pointers) {
        for (size_t i = 0; i < keys->count; i++)
            yokan_part_in(call, keys->pointers[i], keys->sizes[i]);
        return;
    }
    uint64_t total;
    if (yokan_sum_sizes((const char *)keys->sizes, keys->count, true, YOKAN_LAST_VALID_SIZE, &total))
        yokan_part_in(call, keys->packed, total);
    else
        call->failure = YOKAN_ERR_INVALID_ARGS;
}
