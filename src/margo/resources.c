/*
 * Pools and execution streams of a running instance, for users: look-up by handle, name or index, references, additions
 * and removals. Each operation has one body that works on a key; the public functions only make the key.
 */
#include "margo/dango_margo.h"
#include "margo/instance.h"

#include "util/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct key {
    enum { BY_HANDLE, BY_NAME, BY_INDEX } by;
    void *handle;
    const char *name;
    uint32_t index;
};

#define KEY_handle(value) ((struct key){.by = BY_HANDLE, .handle = (void *)(value)})
#define KEY_name(value)   ((struct key){.by = BY_NAME, .name = (value)})
#define KEY_index(value)  ((struct key){.by = BY_INDEX, .index = (value)})

static bool key_is_valid(const struct key *key)
{
    return key->by == BY_INDEX || (key->by == BY_NAME ? key->name != NULL : key->handle != NULL);
}

static hg_return_t not_found(const struct key *key)
{
    return key->by == BY_INDEX ? HG_INVALID_ARG : HG_NOENTRY;
}

static hg_return_t hg_return(int code)
{
    switch (code) {
    case 0:
        return HG_SUCCESS;
    case DANGO_ERR_PERMISSION:
        return HG_PERMISSION;
    case DANGO_ERR_BUSY:
        return HG_OTHER_ERROR;
    case DANGO_ERR_NO_MEMORY:
        return HG_NOMEM;
    default:
        return HG_INVALID_ARG;
    }
}

/* ---- pools ---- */

/* With the environment's lock. */
static struct mg_pool *lookup_pool(const struct mg_layout *layout, const struct key *key)
{
    if (key->by == BY_INDEX)
        return key->index < layout->num_pools ? layout->pools[key->index] : NULL;
    if (key->by == BY_NAME)
        return mg_layout_find_pool(layout, key->name);
    for (size_t i = 0; i < layout->num_pools; i++) {
        if ((void *)layout->pools[i]->handle == key->handle)
            return layout->pools[i];
    }
    return NULL;
}

/* Locks the environment and finds the entry; on failure the lock is released again. */
static hg_return_t lock_pool(margo_instance_id mid, const struct key *key, struct mg_pool **pool)
{
    if (!mid || !key_is_valid(key))
        return HG_INVALID_ARG;
    mg_env_lock(mid->env);
    *pool = lookup_pool(&mid->env->layout, key);
    if (*pool)
        return HG_SUCCESS;
    mg_env_unlock(mid->env);
    return not_found(key);
}

/* With the environment's lock. */
static void describe_pool(margo_instance_id mid, const struct mg_pool *pool, struct margo_pool_info *info)
{
    if (info)
        *info = (struct margo_pool_info){pool->handle, pool->name, mg_layout_pool_index(&mid->env->layout, pool)};
}

static hg_return_t find_pool(margo_instance_id mid, struct key key, struct margo_pool_info *info)
{
    struct mg_pool *pool;
    hg_return_t ret = lock_pool(mid, &key, &pool);
    if (ret != HG_SUCCESS)
        return ret;
    describe_pool(mid, pool, info);
    mg_env_unlock(mid->env);
    return HG_SUCCESS;
}

static hg_return_t log_failure(margo_instance_id mid, int status, const struct dango_error *err)
{
    if (status != 0)
        margo_error(mid, "%s", err->text);
    return hg_return(status);
}

static hg_return_t remove_pool(margo_instance_id mid, struct key key)
{
    struct dango_error err;
    struct mg_pool *pool;
    hg_return_t ret = lock_pool(mid, &key, &pool);
    return ret == HG_SUCCESS ? log_failure(mid, mg_env_remove_pool(mid->env, pool, &err), &err) : ret;
}

static hg_return_t count_pool_refs(margo_instance_id mid, struct key key, unsigned *refcount)
{
    struct mg_pool *pool;
    hg_return_t ret = refcount ? lock_pool(mid, &key, &pool) : HG_INVALID_ARG;
    if (ret != HG_SUCCESS)
        return ret;
    *refcount = pool->refs;
    mg_env_unlock(mid->env);
    return HG_SUCCESS;
}

static hg_return_t ref_pool(margo_instance_id mid, struct key key)
{
    struct mg_pool *pool;
    hg_return_t ret = lock_pool(mid, &key, &pool);
    if (ret != HG_SUCCESS)
        return ret;
    pool->refs++;
    mg_env_unlock(mid->env);
    return HG_SUCCESS;
}

static hg_return_t release_pool(margo_instance_id mid, struct key key)
{
    struct mg_pool *pool;
    hg_return_t ret = lock_pool(mid, &key, &pool);
    if (ret != HG_SUCCESS)
        return ret;
    if (pool->refs > 0)
        pool->refs--;
    else
        ret = HG_PERMISSION;
    mg_env_unlock(mid->env);
    return ret;
}

/* ---- execution streams ---- */

/* With the environment's lock. */
static struct mg_xstream *lookup_xstream(const struct mg_layout *layout, const struct key *key)
{
    if (key->by == BY_INDEX)
        return key->index < layout->num_xstreams ? layout->xstreams[key->index] : NULL;
    if (key->by == BY_NAME)
        return mg_layout_find_xstream(layout, key->name);
    for (size_t i = 0; i < layout->num_xstreams; i++) {
        if ((void *)layout->xstreams[i]->handle == key->handle)
            return layout->xstreams[i];
    }
    return NULL;
}

static hg_return_t lock_xstream(margo_instance_id mid, const struct key *key, struct mg_xstream **xstream)
{
    if (!mid || !key_is_valid(key))
        return HG_INVALID_ARG;
    mg_env_lock(mid->env);
    *xstream = lookup_xstream(&mid->env->layout, key);
    if (*xstream)
        return HG_SUCCESS;
    mg_env_unlock(mid->env);
    return not_found(key);
}

/* With the environment's lock. */
static void describe_xstream(margo_instance_id mid, const struct mg_xstream *xstream, struct margo_xstream_info *info)
{
    if (info)
        *info = (struct margo_xstream_info){xstream->handle, xstream->name,
                                            mg_layout_xstream_index(&mid->env->layout, xstream)};
}

static hg_return_t find_xstream(margo_instance_id mid, struct key key, struct margo_xstream_info *info)
{
    struct mg_xstream *xstream;
    hg_return_t ret = lock_xstream(mid, &key, &xstream);
    if (ret != HG_SUCCESS)
        return ret;
    describe_xstream(mid, xstream, info);
    mg_env_unlock(mid->env);
    return HG_SUCCESS;
}

static hg_return_t remove_xstream(margo_instance_id mid, struct key key)
{
    struct dango_error err;
    struct mg_xstream *xstream;
    hg_return_t ret = lock_xstream(mid, &key, &xstream);
    return ret == HG_SUCCESS ? log_failure(mid, mg_env_remove_xstream(mid->env, xstream, &err), &err) : ret;
}

static hg_return_t count_xstream_refs(margo_instance_id mid, struct key key, unsigned *refcount)
{
    struct mg_xstream *xstream;
    hg_return_t ret = refcount ? lock_xstream(mid, &key, &xstream) : HG_INVALID_ARG;
    if (ret != HG_SUCCESS)
        return ret;
    *refcount = xstream->refs;
    mg_env_unlock(mid->env);
    return HG_SUCCESS;
}

static hg_return_t ref_xstream(margo_instance_id mid, struct key key)
{
    struct mg_xstream *xstream;
    hg_return_t ret = lock_xstream(mid, &key, &xstream);
    if (ret != HG_SUCCESS)
        return ret;
    xstream->refs++;
    mg_env_unlock(mid->env);
    return HG_SUCCESS;
}

static hg_return_t release_xstream(margo_instance_id mid, struct key key)
{
    struct mg_xstream *xstream;
    hg_return_t ret = lock_xstream(mid, &key, &xstream);
    if (ret != HG_SUCCESS)
        return ret;
    if (xstream->refs > 0)
        xstream->refs--;
    else
        ret = HG_PERMISSION;
    mg_env_unlock(mid->env);
    return ret;
}

/* ---- the public forms ---- */

#define FUNCTIONS(kind, by, type)                                                                                      \
    hg_return_t margo_find_##kind##_by_##by(margo_instance_id mid, type key, struct margo_##kind##_info *info)         \
    {                                                                                                                  \
        return find_##kind(mid, KEY_##by(key), info);                                                                  \
    }                                                                                                                  \
    hg_return_t margo_remove_##kind##_by_##by(margo_instance_id mid, type key)                                         \
    {                                                                                                                  \
        return remove_##kind(mid, KEY_##by(key));                                                                      \
    }                                                                                                                  \
    hg_return_t margo_##kind##_ref_count_by_##by(margo_instance_id mid, type key, unsigned *refcount)                  \
    {                                                                                                                  \
        return count_##kind##_refs(mid, KEY_##by(key), refcount);                                                      \
    }                                                                                                                  \
    hg_return_t margo_##kind##_ref_incr_by_##by(margo_instance_id mid, type key)                                       \
    {                                                                                                                  \
        return ref_##kind(mid, KEY_##by(key));                                                                         \
    }                                                                                                                  \
    hg_return_t margo_##kind##_release_by_##by(margo_instance_id mid, type key)                                        \
    {                                                                                                                  \
        return release_##kind(mid, KEY_##by(key));                                                                     \
    }

FUNCTIONS(pool, handle, ABT_pool)
FUNCTIONS(pool, name, const char *)
FUNCTIONS(pool, index, uint32_t)
FUNCTIONS(xstream, handle, ABT_xstream)
FUNCTIONS(xstream, name, const char *)
FUNCTIONS(xstream, index, uint32_t)

size_t margo_get_num_pools(margo_instance_id mid)
{
    if (!mid)
        return 0;
    mg_env_lock(mid->env);
    size_t count = mid->env->layout.num_pools;
    mg_env_unlock(mid->env);
    return count;
}

size_t margo_get_num_xstreams(margo_instance_id mid)
{
    if (!mid)
        return 0;
    mg_env_lock(mid->env);
    size_t count = mid->env->layout.num_xstreams;
    mg_env_unlock(mid->env);
    return count;
}

/* ---- additions ---- */

int dango_margo_add_pool(margo_instance_id mid, struct json_object *config, const char *path,
                         struct margo_pool_info *info, struct dango_error *err)
{
    struct mg_pool *pool;
    int status = mg_env_add_pool(mid->env, config, path, &pool, err);
    if (status == 0 && info) {
        mg_env_lock(mid->env);
        describe_pool(mid, pool, info);
        mg_env_unlock(mid->env);
    }
    return status;
}

int dango_margo_add_xstream(margo_instance_id mid, struct json_object *config, const char *path,
                            struct margo_xstream_info *info, struct dango_error *err)
{
    struct mg_xstream *xstream;
    int status = mg_env_add_xstream(mid->env, config, path, &xstream, err);
    if (status == 0 && info) {
        mg_env_lock(mid->env);
        describe_xstream(mid, xstream, info);
        mg_env_unlock(mid->env);
    }
    return status;
}

hg_return_t margo_add_pool_from_json(margo_instance_id mid, const char *json, struct margo_pool_info *info)
{
    struct dango_error err;
    struct json_object *config = NULL;
    if (!mid)
        return HG_INVALID_ARG;
    int status = 0;
    if (json && *json) {
        config = dango_json_parse(json, strlen(json), &err);
        status = config ? 0 : dango_error_prefix(&err, "pool");
    }
    if (status == 0)
        status = dango_margo_add_pool(mid, config, "pool", info, &err);
    json_object_put(config);
    return log_failure(mid, status, &err);
}

hg_return_t margo_add_xstream_from_json(margo_instance_id mid, const char *json, struct margo_xstream_info *info)
{
    struct dango_error err;
    if (!mid || !json || !*json)
        return HG_INVALID_ARG;
    struct json_object *config = dango_json_parse(json, strlen(json), &err);
    int status =
        config ? dango_margo_add_xstream(mid, config, "xstream", info, &err) : dango_error_prefix(&err, "xstream");
    json_object_put(config);
    return log_failure(mid, status, &err);
}

hg_return_t margo_add_pool_external(margo_instance_id mid, const char *name, ABT_pool pool, ABT_bool take_ownership,
                                    struct margo_pool_info *info)
{
    struct dango_error err;
    struct mg_pool *entry;
    if (!mid || pool == ABT_POOL_NULL)
        return HG_INVALID_ARG;
    int status = mg_env_add_external_pool(mid->env, name, pool, take_ownership, &entry, &err);
    if (status == 0 && info) {
        mg_env_lock(mid->env);
        describe_pool(mid, entry, info);
        mg_env_unlock(mid->env);
    }
    return log_failure(mid, status, &err);
}

/* ---- with error texts ---- */

int dango_margo_find_pool(margo_instance_id mid, struct json_object *reference, const char *path,
                          struct margo_pool_info *info, struct dango_error *err)
{
    mg_env_lock(mid->env);
    struct mg_pool *pool = mg_layout_resolve_pool(&mid->env->layout, reference, path, err);
    if (pool)
        describe_pool(mid, pool, info);
    mg_env_unlock(mid->env);
    return pool ? 0 : DANGO_ERR_NOT_FOUND;
}

int dango_margo_find_xstream(margo_instance_id mid, struct json_object *reference, const char *path,
                             struct margo_xstream_info *info, struct dango_error *err)
{
    mg_env_lock(mid->env);
    struct mg_xstream *xstream = mg_layout_resolve_xstream(&mid->env->layout, reference, path, err);
    if (xstream)
        describe_xstream(mid, xstream, info);
    mg_env_unlock(mid->env);
    return xstream ? 0 : DANGO_ERR_NOT_FOUND;
}

int dango_margo_remove_pool(margo_instance_id mid, const char *name, struct dango_error *err)
{
    struct mg_pool *pool;
    struct key key = KEY_name(name);
    if (lock_pool(mid, &key, &pool) != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "no pool named \"%s\"", name ? name : "");
    return mg_env_remove_pool(mid->env, pool, err);
}

int dango_margo_remove_xstream(margo_instance_id mid, const char *name, struct dango_error *err)
{
    struct mg_xstream *xstream;
    struct key key = KEY_name(name);
    if (lock_xstream(mid, &key, &xstream) != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NOT_FOUND, "no xstream named \"%s\"", name ? name : "");
    return mg_env_remove_xstream(mid->env, xstream, err);
}

/* ---- parameters ---- */

int margo_set_param(margo_instance_id mid, const char *key, const char *value)
{
    if (!mid || !key || !value)
        return -1;
    _Atomic int64_t *target = NULL;
    if (strcmp(key, "progress_timeout_ub_msec") == 0 || strcmp(key, "progress_timeout_ub_msecs") == 0)
        target = &mid->progress_timeout_ms;
    else if (strcmp(key, "progress_spindown_msec") == 0)
        target = &mid->spindown_ms;
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (!target || end == value || *end || errno || number < 0)
        return -1;
    atomic_store(target, number);
    return 0;
}
