/*
 * Yokan client: database handles and key/value operations.
 *
 * All operations block the calling ULT (or thread) and may be issued concurrently from any number of them on one
 * handle. They fail with YOKAN_ERR_TIMEOUT after 30 s (YOKAN_EXTRA_TIMEOUT_MS changes that), and at once with
 * YOKAN_ERR_FROM_MERCURY when the server is known to be dead. Memory given to a call must stay valid until it returns
 * and remains the caller's.
 *
 * Forms: `_multi` takes arrays of pointers and sizes; `_packed` takes all keys (values) contiguous in one buffer, plus
 * arrays of sizes; `_bulk` takes everything in one bulk handle, at `offset`, owned by this process (`origin` NULL) or
 * by the process with the address `origin`. Layouts of bulk handles (sizes are 8 bytes each, n = count):
 *
 *     put           ksizes[n] vsizes[n] keys values
 *     get           ksizes[n] vsizes[n] (out; in: capacities, if not packed) keys values (out)
 *     exists        ksizes[n] keys bits (out, ceil(n/8) bytes)
 *     length        ksizes[n] keys vsizes[n] (out)
 *     erase, fetch  ksizes[n] keys
 *     list_keys     from_key filter ksizes[n] (out; in: capacities, if not packed) keys (out)
 *     list_keyvals  from_key filter ksizes[n] vsizes[n] keys values (out; in as above)
 *
 * With count 0, multi, packed and list operations succeed without communication. An empty key, or a NULL array that is
 * needed, gives YOKAN_ERR_INVALID_ARGS. Operations on several items report absence per item in the sizes array.
 */
#ifndef YOKAN_DATABASE_H
#define YOKAN_DATABASE_H

#include <stdbool.h>
#include <yokan/client.h>
#include <yokan/common.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct yk_database_handle *yk_database_handle_t;
#define YOKAN_DATABASE_HANDLE_NULL ((yk_database_handle_t)NULL)

/*
 * A handle on the database of a provider; reference count 1. The address is duplicated. With `check` the provider is
 * asked who it is: YOKAN_ERR_OTHER without an answer, YOKAN_ERR_INVALID_PROVIDER when it is no Yokan provider.
 */
yk_return_t yk_database_handle_create(yk_client_t client, hg_addr_t addr, uint16_t provider_id, bool check,
                                      yk_database_handle_t *handle);
/* Each output may be NULL; *addr is a duplicate that the caller frees. */
yk_return_t yk_database_handle_get_info(yk_database_handle_t handle, yk_client_t *client, hg_addr_t *addr,
                                        uint16_t *provider_id);
yk_return_t yk_database_handle_ref_incr(yk_database_handle_t handle);
yk_return_t yk_database_handle_release(yk_database_handle_t handle);

/* Number of pairs in the database, documents and collection metadata included. */
yk_return_t yk_count(yk_database_handle_t dbh, int32_t mode, size_t *count, ...);

/*
 * Put. Several pairs with NEW_ONLY (EXIST_ONLY): those that (do not) exist are skipped and the call succeeds; one pair:
 * YOKAN_ERR_KEY_EXISTS (YOKAN_ERR_KEY_NOT_FOUND). A key repeated in one request: the later one wins.
 */
yk_return_t yk_put(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, const void *value,
                   size_t vsize, ...);
yk_return_t yk_put_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                         const size_t *ksizes, const void *const *values, const size_t *vsizes, ...);
yk_return_t yk_put_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys, const size_t *ksizes,
                          const void *values, const size_t *vsizes, ...);
yk_return_t yk_put_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                        size_t offset, size_t size, ...);

/* Exists. Several keys: a bit field of ceil(count/8) bytes, read with yk_unpack_exists_flag. */
yk_return_t yk_exists(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, uint8_t *exists, ...);
yk_return_t yk_exists_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                            const size_t *ksizes, uint8_t *flags, ...);
yk_return_t yk_exists_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys,
                             const size_t *ksizes, uint8_t *flags, ...);
yk_return_t yk_exists_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                           size_t offset, size_t size, ...);

static inline bool yk_unpack_exists_flag(const uint8_t *flags, size_t i)
{
    return (flags[i / 8] & (1 << (i % 8))) != 0;
}

/* Length of values. Absent: YOKAN_ERR_KEY_NOT_FOUND for one key, YOKAN_KEY_NOT_FOUND in vsizes for several. */
yk_return_t yk_length(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, size_t *vsize, ...);
yk_return_t yk_length_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                            const size_t *ksizes, size_t *vsizes, ...);
yk_return_t yk_length_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys,
                             const size_t *ksizes, size_t *vsizes, ...);
yk_return_t yk_length_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                           size_t offset, size_t size, ...);

/*
 * Get. *vsize (vsizes[i]) is the capacity going in and the size coming out. One key: YOKAN_ERR_KEY_NOT_FOUND or
 * YOKAN_ERR_BUFFER_SIZE. Several: per item YOKAN_KEY_NOT_FOUND or YOKAN_SIZE_TOO_SMALL. Packed: absent items take no
 * space; the first value that does not fit into the vbufsize bytes and all present ones after it are too small.
 */
yk_return_t yk_get(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, void *value, size_t *vsize,
                   ...);
yk_return_t yk_get_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                         const size_t *ksizes, void *const *values, size_t *vsizes, ...);
yk_return_t yk_get_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys, const size_t *ksizes,
                          size_t vbufsize, void *values, size_t *vsizes, ...);
yk_return_t yk_get_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                        size_t offset, size_t size, bool packed, ...);

/*
 * Called for each item of a fetch or iteration; `index` counts from 0 in the call. Pointers are valid during the
 * callback only. An absent key has vsize YOKAN_KEY_NOT_FOUND. YOKAN_SUCCESS goes on, YOKAN_STOP_ITERATION ends the call
 * with success, anything else ends it and is returned. Runs in the calling ULT, or, with a pool in the options, in one
 * ULT of that pool per item (then unordered, and results only stop the next batch).
 */
typedef yk_return_t (*yk_keyvalue_callback_t)(void *uargs, size_t index, const void *key, size_t ksize,
                                              const void *value, size_t vsize);

typedef struct yk_fetch_options {
    ABT_pool pool;       /* where callbacks run; ABT_POOL_NULL: in the caller */
    unsigned batch_size; /* items per message; 0: all in one */
} yk_fetch_options_t;

/* Fetch: like get, without having to know the sizes. */
yk_return_t yk_fetch(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, yk_keyvalue_callback_t cb,
                     void *uargs, ...);
yk_return_t yk_fetch_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys,
                            const size_t *ksizes, yk_keyvalue_callback_t cb, void *uargs,
                            const yk_fetch_options_t *options, ...);
yk_return_t yk_fetch_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                           const size_t *ksizes, yk_keyvalue_callback_t cb, void *uargs,
                           const yk_fetch_options_t *options, ...);
yk_return_t yk_fetch_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                          size_t offset, size_t size, yk_keyvalue_callback_t cb, void *uargs,
                          const yk_fetch_options_t *options, ...);

/* Erase. An absent key is no error. erase_range erases all keys that begin with `prefix` (empty: everything). */
yk_return_t yk_erase(yk_database_handle_t dbh, int32_t mode, const void *key, size_t ksize, ...);
yk_return_t yk_erase_multi(yk_database_handle_t dbh, int32_t mode, size_t count, const void *const *keys,
                           const size_t *ksizes, ...);
yk_return_t yk_erase_packed(yk_database_handle_t dbh, int32_t mode, size_t count, const void *keys,
                            const size_t *ksizes, ...);
yk_return_t yk_erase_bulk(yk_database_handle_t dbh, int32_t mode, size_t count, const char *origin, hg_bulk_t data,
                          size_t offset, size_t size, ...);
yk_return_t yk_erase_range(yk_database_handle_t dbh, int32_t mode, const void *prefix, size_t prefix_size, ...);

/*
 * Listing: up to `count` keys in order, after `from_key` (empty: from the beginning), that pass the filter (a prefix; a
 * suffix with YOKAN_MODE_SUFFIX). Sizes are capacities going in (packed: only the buffer size counts). An entry that
 * does not fit becomes YOKAN_SIZE_TOO_SMALL (packed: and all later ones); entries past the end YOKAN_NO_MORE_KEYS.
 * One call sees the database at one moment. To go on, pass the last key received, without INCLUSIVE.
 */
yk_return_t yk_list_keys(yk_database_handle_t dbh, int32_t mode, const void *from_key, size_t from_ksize,
                         const void *filter, size_t filter_size, size_t count, void *const *keys, size_t *ksizes, ...);
yk_return_t yk_list_keys_packed(yk_database_handle_t dbh, int32_t mode, const void *from_key, size_t from_ksize,
                                const void *filter, size_t filter_size, size_t count, void *keys, size_t keys_buf_size,
                                size_t *ksizes, ...);
yk_return_t yk_list_keys_bulk(yk_database_handle_t dbh, int32_t mode, size_t from_ksize, size_t filter_size,
                              const char *origin, hg_bulk_t data, size_t offset, size_t keys_buf_size, bool packed,
                              size_t count, ...);
yk_return_t yk_list_keyvals(yk_database_handle_t dbh, int32_t mode, const void *from_key, size_t from_ksize,
                            const void *filter, size_t filter_size, size_t count, void *const *keys, size_t *ksizes,
                            void *const *values, size_t *vsizes, ...);
yk_return_t yk_list_keyvals_packed(yk_database_handle_t dbh, int32_t mode, const void *from_key, size_t from_ksize,
                                   const void *filter, size_t filter_size, size_t count, void *keys,
                                   size_t keys_buf_size, size_t *ksizes, void *values, size_t vals_buf_size,
                                   size_t *vsizes, ...);
yk_return_t yk_list_keyvals_bulk(yk_database_handle_t dbh, int32_t mode, size_t from_ksize, size_t filter_size,
                                 const char *origin, hg_bulk_t data, size_t offset, size_t key_buf_size,
                                 size_t val_buf_size, bool packed, size_t count, ...);

typedef struct yk_iter_options {
    unsigned batch_size; /* items per message; 0: a default */
    ABT_pool pool;       /* where callbacks run; ABT_POOL_NULL: in the caller */
    bool ignore_values;  /* vsize is 0 in the callback */
} yk_iter_options_t;

/* Iteration: the callback for up to `count` pairs (0: all) in key order, as for listing. */
yk_return_t yk_iter(yk_database_handle_t dbh, int32_t mode, const void *from_key, size_t from_ksize, const void *filter,
                    size_t filter_size, size_t count, yk_keyvalue_callback_t cb, void *uargs,
                    const yk_iter_options_t *options, ...);

#ifdef __cplusplus
}
#endif

#endif
