/*
 * Client functions that list keys and pairs.
 */
#include "yokan/client/client.h"

#include <assert.h>

/* Keys need room (a key is never empty), values may have none: then only their sizes are wanted. */
static yk_return_t check_column(const struct yokan_column *column, bool allow_no_room)
{
    if (!column->sizes || (!column->pointers && !column->buffer && column->space))
        return YOKAN_ERR_INVALID_ARGS;
    for (size_t i = 0; i < column->count && column->pointers; i++) {
        if ((column->sizes[i] == 0 && !allow_no_room) || (column->sizes[i] && !column->pointers[i]))
            return YOKAN_ERR_INVALID_ARGS;
    }
    return YOKAN_SUCCESS;
}

/* The region in the order of the layout in yokan/database.h. */
static void describe(struct yokan_call *call, struct yokan_slice from, struct yokan_slice filter,
                     struct yokan_column *keys, struct yokan_column *values)
{
    call->request.count = keys->count;
    call->request.packed = keys->pointers == NULL;
    call->request.from_size = from.size;
    call->request.filter_size = filter.size;
    call->request.key_space = keys->space;
    call->request.value_space = values ? values->space : 0;
    yokan_part_in(call, from.data, from.size);
    yokan_part_in(call, filter.data, filter.size);
    yokan_column_sizes(call, keys);
    if (values)
        yokan_column_sizes(call, values);
    yokan_column_bytes(call, keys);
    if (values)
        yokan_column_bytes(call, values);
}

static yk_return_t fetch_columns(struct yokan_call *call, struct yokan_column *keys, struct yokan_column *values)
{
    yk_return_t ret = yokan_column_fetch_sizes(call, keys);
    if (ret == YOKAN_SUCCESS && values)
        ret = yokan_column_fetch_sizes(call, values);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_column_fetch_bytes(call, keys);
    if (ret == YOKAN_SUCCESS && values)
        ret = yokan_column_fetch_bytes(call, values);
    return ret;
}

yk_return_t yokan_list(const struct yokan_target *target, struct yokan_slice from, struct yokan_slice filter,
                       struct yokan_column *keys, struct yokan_column *values)
{
    assert(target && keys && (!values || values->count == keys->count));
    struct yokan_call call;
    if (keys->count == 0)
        return YOKAN_SUCCESS;
    if ((!from.data && from.size) || (!filter.data && filter.size))
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = check_column(keys, values != NULL);
    if (ret == YOKAN_SUCCESS && values)
        ret = check_column(values, true);
    if (ret != YOKAN_SUCCESS)
        return ret;
    ret = yokan_call_begin(&call, values ? YOKAN_OP_list_keyvals : YOKAN_OP_list_keys, target);
    if (ret == YOKAN_SUCCESS) {
        describe(&call, from, filter, keys, values);
        ret = yokan_call_run(&call);
    }
    if (ret == YOKAN_SUCCESS)
        ret = fetch_columns(&call, keys, values);
    yokan_call_end(&call);
    yokan_column_fini(keys);
    if (values)
        yokan_column_fini(values);
    return ret;
}

yk_return_t yk_list_keys(yk_database_handle_t dbh, int32_t mode, const void *from_key, size_t from_ksize,
                         const void *filter, size_t filter_size, size_t count, void *const *keys, size_t *ksizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, ksizes);
    if (count && !keys)
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_column column = {.count = count, .sizes = ksizes, .pointers = keys};
    return yokan_list(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, (struct yokan_slice){from_key, from_ksize},
                      (struct yokan_slice){filter, filter_size}, &column, NULL);
}

yk_return_t yk_list_keys_packed(yk_database_handle_t dbh, int32_t mode, const void *from_key, size_t from_ksize,
                                const void *filter, size_t filter_size, size_t count, void *keys, size_t keys_buf_size,
                                size_t *ksizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, ksizes);
    struct yokan_column column = {.count = count, .sizes = ksizes, .buffer = keys, .space = keys_buf_size};
    return yokan_list(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, (struct yokan_slice){from_key, from_ksize},
                      (struct yokan_slice){filter, filter_size}, &column, NULL);
}

yk_return_t yk_list_keyvals(yk_database_handle_t dbh, int32_t mode, const void *from_key, size_t from_ksize,
                            const void *filter, size_t filter_size, size_t count, void *const *keys, size_t *ksizes,
                            void *const *values, size_t *vsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, vsizes);
    if (count && (!keys || !values))
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_column key_column = {.count = count, .sizes = ksizes, .pointers = keys};
    struct yokan_column value_column = {.count = count, .sizes = vsizes, .pointers = values};
    return yokan_list(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, (struct yokan_slice){from_key, from_ksize},
                      (struct yokan_slice){filter, filter_size}, &key_column, &value_column);
}

yk_return_t yk_list_keyvals_packed(yk_database_handle_t dbh, int32_t mode, const void *from_key, size_t from_ksize,
                                   const void *filter, size_t filter_size, size_t count, void *keys,
                                   size_t keys_buf_size, size_t *ksizes, void *values, size_t vals_buf_size,
                                   size_t *vsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, vsizes);
    struct yokan_column key_column = {.count = count, .sizes = ksizes, .buffer = keys, .space = keys_buf_size};
    struct yokan_column value_column = {.count = count, .sizes = vsizes, .buffer = values, .space = vals_buf_size};
    return yokan_list(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, (struct yokan_slice){from_key, from_ksize},
                      (struct yokan_slice){filter, filter_size}, &key_column, &value_column);
}

/* The region that the layout needs; false on overflow. */
static bool region_size(const struct yokan_request *request, size_t arrays, uint64_t *size)
{
    return !__builtin_add_overflow(request->from_size, request->filter_size, size) &&
           !__builtin_add_overflow(*size, request->count * sizeof(size_t) * arrays, size) &&
           !__builtin_add_overflow(*size, request->key_space, size) &&
           !__builtin_add_overflow(*size, request->value_space, size);
}

static yk_return_t list_bulk(enum yokan_op op, const struct yokan_target *target, const struct yokan_request *numbers,
                             const char *origin, hg_bulk_t data, size_t offset)
{
    assert(op == YOKAN_OP_list_keys || op == YOKAN_OP_list_keyvals);
    struct yokan_call call;
    uint64_t size;
    if (numbers->count == 0)
        return YOKAN_SUCCESS;
    if (numbers->count > YOKAN_COUNT_MAX || !region_size(numbers, op == YOKAN_OP_list_keyvals ? 2 : 1, &size))
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_call_begin(&call, op, target);
    call.request.packed = numbers->packed;
    call.request.count = numbers->count;
    call.request.from_size = numbers->from_size;
    call.request.filter_size = numbers->filter_size;
    call.request.key_space = numbers->key_space;
    call.request.value_space = numbers->value_space;
    if (ret == YOKAN_SUCCESS)
        ret = yokan_call_run_bulk(&call, origin, data, offset, size);
    yokan_call_end(&call);
    return ret;
}

yk_return_t yk_list_keys_bulk(yk_database_handle_t dbh, int32_t mode, size_t from_ksize, size_t filter_size,
                              const char *origin, hg_bulk_t data, size_t offset, size_t keys_buf_size, bool packed,
                              size_t count, ...)
{
    YOKAN_TIMEOUT_OF(mode, count);
    struct yokan_request numbers = {.packed = packed,
                                    .count = count,
                                    .from_size = from_ksize,
                                    .filter_size = filter_size,
                                    .key_space = keys_buf_size};
    return list_bulk(YOKAN_OP_list_keys, &(struct yokan_target){dbh, mode, timeout_ms, NULL}, &numbers, origin, data,
                     offset);
}

yk_return_t yk_list_keyvals_bulk(yk_database_handle_t dbh, int32_t mode, size_t from_ksize, size_t filter_size,
                                 const char *origin, hg_bulk_t data, size_t offset, size_t key_buf_size,
                                 size_t val_buf_size, bool packed, size_t count, ...)
{
    YOKAN_TIMEOUT_OF(mode, count);
    struct yokan_request numbers = {.packed = packed,
                                    .count = count,
                                    .from_size = from_ksize,
                                    .filter_size = filter_size,
                                    .key_space = key_buf_size,
                                    .value_space = val_buf_size};
    return list_bulk(YOKAN_OP_list_keyvals, &(struct yokan_target){dbh, mode, timeout_ms, NULL}, &numbers, origin, data,
                     offset);
}
