/*
 * Fetch and iteration of pairs, in batches: see deliver.h.
 */
#include "yokan/client/deliver.h"

#include <assert.h>
#include <stdlib.h>

struct pair_delivery {
    yk_keyvalue_callback_t callback;
    void *uargs;
    size_t first_index;
    size_t count;
    struct yokan_slice *keys, *values; /* of the batch */
};

static yk_return_t deliver_pair(void *arg, size_t i)
{
    struct pair_delivery *d = arg;
    return d->callback(d->uargs, d->first_index + i, d->keys[i].data, d->keys[i].size, d->values[i].data,
                       d->values[i].size);
}

/* Cuts a packed buffer; returns how many items there are before the first that did not fit or is past the end. */
static size_t cut_items(const size_t *sizes, size_t count, const char *bytes, struct yokan_slice *items)
{
    assert(count == 0 || (sizes && items));
    size_t n = 0;
    for (; n < count && sizes[n] != YOKAN_SIZE_TOO_SMALL && sizes[n] != YOKAN_NO_MORE_KEYS; n++) {
        items[n] = (struct yokan_slice){bytes, sizes[n]};
        bytes += sizes[n] == YOKAN_KEY_NOT_FOUND ? 0 : sizes[n];
    }
    return n;
}

static yk_return_t init_delivery(struct pair_delivery *delivery, yk_keyvalue_callback_t callback, void *uargs,
                                 size_t batch_size)
{
    *delivery = (struct pair_delivery){.callback = callback, .uargs = uargs};
    delivery->keys = calloc(batch_size, sizeof *delivery->keys);
    delivery->values = calloc(batch_size, sizeof *delivery->values);
    return delivery->keys && delivery->values ? YOKAN_SUCCESS : YOKAN_ERR_ALLOCATION;
}

static void fini_delivery(struct pair_delivery *delivery)
{
    free(delivery->keys);
    free(delivery->values);
}

/* The callback's way to say "enough" is a success of the operation. */
static yk_return_t final_result(yk_return_t ret)
{
    return ret == YOKAN_STOP_ITERATION ? YOKAN_SUCCESS : ret;
}

/* ---- fetch ---- */

/* Keys i … of the request, at most `count`. */
static struct yokan_keys sub_keys(const struct yokan_keys *keys, size_t i, uint64_t packed_offset, size_t count)
{
    return (struct yokan_keys){.count = count,
                               .sizes = keys->sizes + i,
                               .pointers = keys->pointers ? keys->pointers + i : NULL,
                               .packed = keys->packed ? keys->packed + packed_offset : NULL};
}

/* Loads the values of `keys` and delivers those that fitted; *done says how many. */
static yk_return_t fetch_batch(struct yokan_batches *batches, struct pair_delivery *delivery,
                               const struct yokan_keys *keys, size_t *done)
{
    assert(keys->count > 0 && keys->count <= batches->batch_size);
    struct yokan_column values = {.sizes = batches->sizes, .buffer = batches->bytes, .space = batches->space};
    *done = 0;
    yk_return_t ret = yokan_batches_next(batches);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_get(&batches->target, keys, &values);
    if (ret != YOKAN_SUCCESS)
        return ret;
    size_t n = cut_items(batches->sizes, keys->count, batches->bytes, delivery->values);
    if (n == 0)
        return yokan_batches_grow(batches);
    const char *packed = keys->packed;
    for (size_t i = 0; i < n; i++) {
        delivery->keys[i] = (struct yokan_slice){keys->pointers ? keys->pointers[i] : packed, keys->sizes[i]};
        packed += packed ? keys->sizes[i] : 0;
    }
    *done = n;
    return yokan_deliver(batches, n, deliver_pair, delivery);
}

static yk_return_t fetch(const struct yokan_target *target, const struct yokan_keys *keys,
                         yk_keyvalue_callback_t callback, void *uargs, const yk_fetch_options_t *options)
{
    struct yokan_batches batches;
    struct pair_delivery delivery = {0};
    if (!callback)
        return YOKAN_ERR_INVALID_ARGS;
    if (keys->count == 0)
        return YOKAN_SUCCESS;
    yk_return_t ret = yokan_check_keys(keys);
    if (ret != YOKAN_SUCCESS)
        return ret;
    ret = yokan_batches_init(&batches, target, options && options->batch_size ? options->batch_size : keys->count,
                             keys->count, options ? options->pool : ABT_POOL_NULL);
    if (ret == YOKAN_SUCCESS)
        ret = init_delivery(&delivery, callback, uargs, batches.batch_size);
    uint64_t offset = 0;
    for (size_t i = 0, done; i < keys->count && ret == YOKAN_SUCCESS;) {
        size_t left = keys->count - i;
        struct yokan_keys batch = sub_keys(keys, i, offset, left < batches.batch_size ? left : batches.batch_size);
        delivery.first_index = i;
        ret = fetch_batch(&batches, &delivery, &batch, &done);
        for (size_t end = i + done; i < end; i++)
            offset += keys->sizes[i];
    }
    fini_delivery(&delivery);
    yokan_batches_fini(&batches);
    return final_result(ret);
}

yk_return_t yk_fetch(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, yk_keyvalue_callback_t cb,
                     void *uargs, ...)
{
    YOKAN_TIMEOUT_OF(mode, uargs);
    return fetch(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){1, &ksize, NULL, key}, cb,
                 uargs, NULL);
}

yk_return_t yk_fetch_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys,
                            const size_t *ksizes, yk_keyvalue_callback_t cb, void *uargs,
                            const yk_fetch_options_t *options, ...)
{
    YOKAN_TIMEOUT_OF(mode, options);
    return fetch(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){count, ksizes, NULL, keys},
                 cb, uargs, options);
}

yk_return_t yk_fetch_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                           const size_t *ksizes, yk_keyvalue_callback_t cb, void *uargs,
                           const yk_fetch_options_t *options, ...)
{
    YOKAN_TIMEOUT_OF(mode, options);
    return fetch(&(struct yokan_target){dbh, mode, timeout_ms, NULL}, &(struct yokan_keys){count, ksizes, keys, NULL},
                 cb, uargs, options);
}

/* Copies a region that is described by a bulk handle, ours or another process's, into `buffer`. */
static yk_return_t pull_region(const struct yokan_target *target, const char *origin, hg_bulk_t data, size_t offset,
                               size_t size, void *buffer)
{
    margo_instance_id mid = target->dbh->client->mid;
    hg_addr_t addr = HG_ADDR_NULL;
    hg_bulk_t local = HG_BULK_NULL;
    hg_size_t local_size = size;
    hg_return_t hret = origin ? margo_addr_lookup(mid, origin, &addr) : margo_addr_self(mid, &addr);
    if (hret == HG_SUCCESS)
        hret = margo_bulk_create(mid, 1, &buffer, &local_size, HG_BULK_WRITE_ONLY, &local);
    if (hret == HG_SUCCESS)
        hret = margo_bulk_transfer_timed(mid, HG_BULK_PULL, addr, data, offset, local, 0, size, target->timeout_ms);
    margo_bulk_free(local);
    margo_addr_free(mid, addr);
    return hret == HG_SUCCESS ? YOKAN_SUCCESS : hret == HG_TIMEOUT ? YOKAN_ERR_TIMEOUT : YOKAN_ERR_FROM_MERCURY;
}

yk_return_t yk_fetch_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                          size_t offset, size_t size, yk_keyvalue_callback_t cb, void *uargs,
                          const yk_fetch_options_t *options, ...)
{
    YOKAN_TIMEOUT_OF(mode, options);
    struct yokan_target target = {dbh, mode, timeout_ms, NULL};
    uint64_t sum, header = count * sizeof(size_t);
    if (!dbh || !cb)
        return YOKAN_ERR_INVALID_ARGS;
    if (count == 0)
        return YOKAN_SUCCESS;
    if (data == HG_BULK_NULL || count > YOKAN_COUNT_MAX || size < header || size > YOKAN_REGION_MAX)
        return YOKAN_ERR_INVALID_ARGS;
    char *region = malloc(size);
    if (!region)
        return YOKAN_ERR_ALLOCATION;
    yk_return_t ret = pull_region(&target, origin, data, offset, size, region);
    if (ret == YOKAN_SUCCESS && !yokan_sum_sizes(region, count, false, size - header, &sum))
        ret = YOKAN_ERR_INVALID_ARGS;
    struct yokan_keys keys = {.count = count, .sizes = (size_t *)(void *)region, .packed = region + header};
    if (ret == YOKAN_SUCCESS)
        ret = fetch(&target, &keys, cb, uargs, options);
    free(region);
    return ret;
}

/* ---- iteration ---- */

struct iteration {
    struct yokan_batches batches;
    struct pair_delivery delivery;
    struct yokan_slice filter;
    char *from; /* owned copy of the last key */
    size_t from_size, from_capacity;
    int32_t mode; /* as the user gave it */
    bool ignore_values;
    size_t left; /* items still wanted */
};

static yk_return_t remember_key(struct iteration *it, struct yokan_slice key)
{
    assert(key.data || key.size == 0);
    if (key.size > it->from_capacity) {
        char *larger = realloc(it->from, key.size);
        if (!larger)
            return YOKAN_ERR_ALLOCATION;
        it->from = larger;
        it->from_capacity = key.size;
    }
    if (key.size)
        memcpy(it->from, key.data, key.size);
    it->from_size = key.size;
    return YOKAN_SUCCESS;
}

/* Shows of the keys what the mode says; the request always asks for whole keys, which the next one starts from. */
static void shape_keys(const struct iteration *it, size_t count)
{
    size_t cut = it->mode & YOKAN_MODE_NO_PREFIX ? it->filter.size : 0;
    size_t skip = it->mode & YOKAN_MODE_SUFFIX ? 0 : cut;
    for (size_t i = 0; i < count; i++) {
        struct yokan_slice *key = &it->delivery.keys[i];
        *key = it->mode & YOKAN_MODE_IGNORE_KEYS
                   ? (struct yokan_slice){key->data, 0}
                   : (struct yokan_slice){(const char *)key->data + skip, key->size - cut};
    }
}

/* One batch. *ended: there is nothing behind it. */
static yk_return_t iterate_batch(struct iteration *it, bool *ended)
{
    assert(it->left > 0 && ended);
    struct yokan_batches *b = &it->batches;
    size_t wanted = it->left < b->batch_size ? it->left : b->batch_size;
    struct yokan_column keys = {.count = wanted, .sizes = b->key_sizes, .buffer = b->keys, .space = b->key_space};
    struct yokan_column values = {.count = wanted, .sizes = b->sizes, .buffer = b->bytes, .space = b->space};
    yk_return_t ret = yokan_batches_next(b);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_list(&b->target, (struct yokan_slice){it->from, it->from_size}, it->filter, &keys,
                         it->ignore_values ? NULL : &values);
    if (ret != YOKAN_SUCCESS)
        return ret;
    size_t n = cut_items(b->key_sizes, wanted, b->keys, it->delivery.keys);
    *ended = n < wanted && b->key_sizes[n] == YOKAN_NO_MORE_KEYS;
    size_t with_values = it->ignore_values ? n : cut_items(b->sizes, n, b->bytes, it->delivery.values);
    *ended = *ended && with_values == n;
    if (with_values == 0)
        return *ended ? YOKAN_SUCCESS : yokan_batches_grow(b);
    ret = remember_key(it, it->delivery.keys[with_values - 1]);
    if (ret != YOKAN_SUCCESS)
        return ret;
    shape_keys(it, with_values);
    ret = yokan_deliver(b, with_values, deliver_pair, &it->delivery);
    b->target.mode &= ~YOKAN_MODE_INCLUSIVE;
    it->delivery.first_index += with_values;
    it->left -= with_values;
    return ret;
}

yk_return_t yk_iter(yk_database_handle_t dbh, int32_t mode, const void *from_key, size_t from_ksize, const void *filter,
                    size_t filter_size, size_t count, yk_keyvalue_callback_t cb, void *uargs,
                    const yk_iter_options_t *options, ...)
{
    YOKAN_TIMEOUT_OF(mode, options);
    if (!cb || (!from_key && from_ksize))
        return YOKAN_ERR_INVALID_ARGS;
    struct yokan_target target = {dbh, mode & ~(YOKAN_MODE_NO_PREFIX | YOKAN_MODE_KEEP_LAST), timeout_ms, NULL};
    struct iteration it = {.filter = {filter, filter_size},
                           .mode = mode,
                           .ignore_values = options && options->ignore_values,
                           .left = count ? count : SIZE_MAX};
    yk_return_t ret = yokan_batches_init(&it.batches, &target, options ? options->batch_size : 0, count,
                                         options ? options->pool : ABT_POOL_NULL);
    if (ret == YOKAN_SUCCESS)
        ret = init_delivery(&it.delivery, cb, uargs, it.batches.batch_size);
    if (ret == YOKAN_SUCCESS)
        ret = remember_key(&it, (struct yokan_slice){from_key, from_ksize});
    for (bool ended = false; ret == YOKAN_SUCCESS && it.left > 0 && !ended;)
        ret = iterate_batch(&it, &ended);
    free(it.from);
    fini_delivery(&it.delivery);
    yokan_batches_fini(&it.batches);
    return final_result(ret);
}
