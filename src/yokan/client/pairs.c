/*
 * Client functions for pairs: count, put, get, exists, length, erase. Each form (one item, multi, packed, bulk) checks
 * its arguments, describes its region and runs one call.
 */
#include "yokan/client/client.h"

#include <assert.h>
#include <stdlib.h>

#define WORD sizeof(size_t)

/* Any operation whose region is a bulk handle of the user, ours or another process's. */
static yk_return_t run_bulk(enum yokan_op op, const struct yokan_target *target, size_t count, const char *origin,
                            hg_bulk_t data, size_t offset, size_t size, bool packed)
{
    struct yokan_call call;
    if (count == 0)
        return YOKAN_SUCCESS;
    if (size == 0)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_call_begin(&call, op, target);
    call.request.count = count;
    call.request.packed = packed;
    if (ret == YOKAN_SUCCESS)
        ret = yokan_call_run_bulk(&call, origin, data, offset, size);
    yokan_call_end(&call);
    return ret;
}

yk_return_t yk_count(yk_database_handle_t dbh, int32_t mode, size_t *count, ...)
{
    YOKAN_TIMEOUT_OF(mode, count);
    struct yokan_call call;
    if (!count)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_call_begin(&call, YOKAN_OP_count, &(struct yokan_target){dbh, mode, timeout_ms, NULL});
    if (ret == YOKAN_SUCCESS)
        ret = yokan_call_run(&call);
    if (ret == YOKAN_SUCCESS)
        *count = call.response.value;
    yokan_call_end(&call);
    return ret;
}

/* ---- put ---- */

/* Values are described like keys, but may be empty. */
static yk_return_t put(const struct yokan_target *target, const struct yokan_keys *keys,
                       const struct yokan_keys *values)
{
    struct yokan_call call;
    if (keys->count == 0)
        return YOKAN_SUCCESS;
    yk_return_t ret = yokan_check_keys(keys);
    if (ret != YOKAN_SUCCESS)
        return ret;
    ret = yokan_call_begin(&call, YOKAN_OP_put, target);
    if (ret == YOKAN_SUCCESS) {
        call.request.count = keys->count;
        yokan_part_in(&call, keys->sizes, keys->count * WORD);
        yokan_part_in(&call, values->sizes, keys->count * WORD);
        yokan_part_keys(&call, keys);
        yokan_part_keys(&call, values);
        ret = yokan_call_run(&call);
    }
    yokan_call_end(&call);
    return ret;
}

yk_return_t yk_put(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, const void *value,
                   size_t vsize, ...)
{
    YOKAN_TIMEOUT_OF(mode, vsize);
    if (!value && vsize)
        return YOKAN_ERR_INVALID_ARGS;
    return put(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){1, &ksize, NULL, key},
               &(struct yokan_keys){1, &vsize, NULL, value});
}

yk_return_t yk_put_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                         const size_t *ksizes, const void *const *values, const size_t *vsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, vsizes);
    if (count && (!values || !vsizes))
        return YOKAN_ERR_INVALID_ARGS;
    for (size_t i = 0; i < count; i++) {
        if (vsizes[i] && !values[i])
            return YOKAN_ERR_INVALID_ARGS;
    }
    return put(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){count, ksizes, keys, NULL},
               &(struct yokan_keys){count, vsizes, values, NULL});
}

yk_return_t yk_put_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys, const size_t *ksizes,
                          const void *values, const size_t *vsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, vsizes);
    uint64_t total;
    if (count && (!vsizes || !yokan_sum_sizes((const char *)vsizes, count, true, YOKAN_LAST_VALID_SIZE, &total) ||
                  (total && !values)))
        return YOKAN_ERR_INVALID_ARGS;
    return put(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){count, ksizes, NULL, keys},
               &(struct yokan_keys){count, vsizes, NULL, values});
}

yk_return_t yk_put_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                        size_t offset, size_t size, ...)
{
    YOKAN_TIMEOUT_OF(mode, size);
    return run_bulk(YOKAN_OP_put, &(struct yokan_target){dbh, mode, timeout_ms, NULL}, count, origin, data, offset,
                    size, true);
}

/* ---- operations on keys with a fixed-size answer ---- */

/* Region: ksizes, keys, and `size` bytes of answer (none for erase). */
static yk_return_t run_keys(enum yokan_op op, const struct yokan_target *target, const struct yokan_keys *keys,
                            void *answer, size_t size)
{
    assert(keys->count > 0 && (answer || size == 0));
    struct yokan_call call;
    yk_return_t ret = yokan_call_begin(&call, op, target);
    if (ret == YOKAN_SUCCESS) {
        call.request.count = keys->count;
        yokan_part_in(&call, keys->sizes, keys->count * WORD);
        yokan_part_keys(&call, keys);
        yokan_part_out(&call, answer, size);
        ret = yokan_call_run(&call);
    }
    if (ret == YOKAN_SUCCESS)
        ret = yokan_fetch_out(&call, answer, size);
    yokan_call_end(&call);
    return ret;
}

static yk_return_t exists(const struct yokan_target *target, const struct yokan_keys *keys, uint8_t *flags)
{
    if (keys->count == 0)
        return YOKAN_SUCCESS;
    yk_return_t ret = flags ? yokan_check_keys(keys) : YOKAN_ERR_INVALID_ARGS;
    return ret == YOKAN_SUCCESS ? run_keys(YOKAN_OP_exists, target, keys, flags, (keys->count + 7) / 8) : ret;
}

yk_return_t yk_exists(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, uint8_t *flag, ...)
{
    YOKAN_TIMEOUT_OF(mode, flag);
    return exists(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){1, &ksize, NULL, key},
                  flag);
}

yk_return_t yk_exists_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                            const size_t *ksizes, uint8_t *flags, ...)
{
    YOKAN_TIMEOUT_OF(mode, flags);
    return exists(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){count, ksizes, keys, NULL},
                  flags);
}

yk_return_t yk_exists_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys,
                             const size_t *ksizes, uint8_t *flags, ...)
{
    YOKAN_TIMEOUT_OF(mode, flags);
    return exists(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){count, ksizes, NULL, keys},
                  flags);
}

yk_return_t yk_exists_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                           size_t offset, size_t size, ...)
{
    YOKAN_TIMEOUT_OF(mode, size);
    return run_bulk(YOKAN_OP_exists, &(struct yokan_target){dbh, mode, timeout_ms, NULL}, count, origin, data, offset,
                    size, true);
}

static yk_return_t length(const struct yokan_target *target, const struct yokan_keys *keys, size_t *vsizes)
{
    assert(target && keys);
    if (keys->count == 0)
        return YOKAN_SUCCESS;
    yk_return_t ret = vsizes ? yokan_check_keys(keys) : YOKAN_ERR_INVALID_ARGS;
    return ret == YOKAN_SUCCESS ? run_keys(YOKAN_OP_length, target, keys, vsizes, keys->count * WORD) : ret;
}

yk_return_t yk_length(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, size_t *vsize, ...)
{
    YOKAN_TIMEOUT_OF(mode, vsize);
    yk_return_t ret =
        length(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){1, &ksize, NULL, key}, vsize);
    return ret == YOKAN_SUCCESS && *vsize == YOKAN_KEY_NOT_FOUND ? YOKAN_ERR_KEY_NOT_FOUND : ret;
}

yk_return_t yk_length_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                            const size_t *ksizes, size_t *vsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, vsizes);
    return length(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){count, ksizes, keys, NULL},
                  vsizes);
}

yk_return_t yk_length_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys,
                             const size_t *ksizes, size_t *vsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, vsizes);
    return length(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){count, ksizes, NULL, keys},
                  vsizes);
}

yk_return_t yk_length_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                           size_t offset, size_t size, ...)
{
    YOKAN_TIMEOUT_OF(mode, size);
    return run_bulk(YOKAN_OP_length, &(struct yokan_target){dbh, mode, timeout_ms, NULL}, count, origin, data, offset,
                    size, true);
}

static yk_return_t erase(const struct yokan_target *target, const struct yokan_keys *keys)
{
    if (keys->count == 0)
        return YOKAN_SUCCESS;
    yk_return_t ret = yokan_check_keys(keys);
    return ret == YOKAN_SUCCESS ? run_keys(YOKAN_OP_erase, target, keys, NULL, 0) : ret;
}

yk_return_t yk_erase(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, ...)
{
    YOKAN_TIMEOUT_OF(mode, ksize);
    return erase(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){1, &ksize, NULL, key});
}

yk_return_t yk_erase_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                           const size_t *ksizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, ksizes);
    return erase(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){count, ksizes, keys, NULL});
}

yk_return_t yk_erase_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys,
                            const size_t *ksizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, ksizes);
    return erase(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){count, ksizes, NULL, keys});
}

yk_return_t yk_erase_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                          size_t offset, size_t size, ...)
{
    YOKAN_TIMEOUT_OF(mode, size);
    return run_bulk(YOKAN_OP_erase, &(struct yokan_target){dbh, mode, timeout_ms, NULL}, count, origin, data, offset,
                    size, true);
}

yk_return_t yk_erase_range(yk_database_handle_t dbh, int32_t mode, const void *prefix, size_t prefix_size, ...)
{
    YOKAN_TIMEOUT_OF(mode, prefix_size);
    struct yokan_call call;
    if (!prefix && prefix_size)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret =
        yokan_call_begin(&call, YOKAN_OP_erase_range, &(struct yokan_target){dbh, mode, timeout_ms, NULL});
    if (ret == YOKAN_SUCCESS) {
        yokan_part_in(&call, prefix, prefix_size);
        ret = yokan_call_run(&call);
    }
    yokan_call_end(&call);
    return ret;
}

/* ---- get ---- */

/* The sizes stand between the sizes of the keys and the keys, as in the layout of get_bulk. */
yk_return_t yokan_get(const struct yokan_target *target, const struct yokan_keys *keys, struct yokan_column *values)
{
    assert(target && keys && values);
    struct yokan_call call;
    if (keys->count == 0)
        return YOKAN_SUCCESS;
    yk_return_t ret = values->sizes ? yokan_check_keys(keys) : YOKAN_ERR_INVALID_ARGS;
    if (ret != YOKAN_SUCCESS)
        return ret;
    values->count = keys->count;
    ret = yokan_call_begin(&call, YOKAN_OP_get, target);
    if (ret == YOKAN_SUCCESS) {
        call.request.count = keys->count;
        call.request.packed = values->pointers == NULL;
        call.request.value_space = values->space;
        yokan_part_in(&call, keys->sizes, keys->count * WORD);
        yokan_column_sizes(&call, values);
        yokan_part_keys(&call, keys);
        yokan_column_bytes(&call, values);
        ret = yokan_call_run(&call);
    }
    if (ret == YOKAN_SUCCESS)
        ret = yokan_column_fetch_sizes(&call, values);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_column_fetch_bytes(&call, values);
    yokan_call_end(&call);
    yokan_column_fini(values);
    return ret;
}

yk_return_t yk_get(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, void *value, size_t *vsize,
                   ...)
{
    YOKAN_TIMEOUT_OF(mode, vsize);
    if (!vsize || (!value && *vsize))
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_column column = {.sizes = vsize, .pointers = &value};
    yk_return_t ret = yokan_get(&(struct yokan_target){dbh, mode, timeout_ms, NULL},
                                &(struct yokan_keys){1, &ksize, NULL, key}, &column);
    if (ret != YOKAN_SUCCESS)
        return ret;
    return *vsize == YOKAN_KEY_NOT_FOUND    ? YOKAN_ERR_KEY_NOT_FOUND
           : *vsize == YOKAN_SIZE_TOO_SMALL ? YOKAN_ERR_BUFFER_SIZE
                                            : YOKAN_SUCCESS;
}

yk_return_t yk_get_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                         const size_t *ksizes, void *const *values, size_t *vsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, vsizes);
    if (count && !values)
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_column column = {.sizes = vsizes, .pointers = values};
    return yokan_get(&(struct yokan_target){dbh, mode, timeout_ms, NULL},
                     &(struct yokan_keys){count, ksizes, keys, NULL}, &column);
}

yk_return_t yk_get_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys, const size_t *ksizes,
                          size_t vbufsize, void *values, size_t *vsizes, ...)
{
    YOKAN_TIMEOUT_OF(mode, vsizes);
    if (count && vbufsize && !values)
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_column column = {.sizes = vsizes, .buffer = values, .space = vbufsize};
    return yokan_get(&(struct yokan_target){dbh, mode, timeout_ms, NULL},
                     &(struct yokan_keys){count, ksizes, NULL, keys}, &column);
}

/* The last named argument of the function below is a bool, for which the standard promises nothing here; all our
 * compilers pass it like an int. */
#pragma GCC diagnostic ignored "-Wvarargs"

yk_return_t yk_get_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                        size_t offset, size_t size, bool packed, ...)
{
    YOKAN_TIMEOUT_OF(mode, packed);
    return run_bulk(YOKAN_OP_get, &(struct yokan_target){dbh, mode, timeout_ms, NULL}, count, origin, data, offset,
                    size, packed);
}
