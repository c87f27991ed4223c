/*
 * Registration of RPCs: ids, the record that goes with each, providers, user data.
 *
 * A record (struct mg_rpc) is the data of Mercury's registration, which owns it and frees it when the last handle that
 * knows the RPC is gone. What it refers to (pool, user data) is released at deregistration already. Records are made
 * and changed under the instance's mutex; the progress loop reads only `mid`, which is constant until deregistration,
 * and `pool`, which is atomic.
 */
#include "margo/instance.h"

#include <mercury/dango_hg.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define PROVIDER_MASK UINT64_C(0xFFFF)

/* ---- ids ---- */

static uint32_t word_at(const unsigned char *bytes, size_t count)
{
    uint32_t word = 0;
    for (size_t i = 0; i < count; i++)
        word |= (uint32_t)bytes[i] << (8 * i);
    return word;
}

/* Bob Jenkins' mixing of three words ("lookup2", 1996). */
static void mix(uint32_t *a, uint32_t *b, uint32_t *c)
{
    static const int shifts[3][3] = {{13, 8, 13}, {12, 16, 5}, {3, 10, 15}};
    for (int i = 0; i < 3; i++) {
        *a = (*a - *b - *c) ^ (*c >> shifts[i][0]);
        *b = (*b - *c - *a) ^ (*a << shifts[i][1]);
        *c = (*c - *a - *b) ^ (*b >> shifts[i][2]);
    }
}

static uint32_t hash_name(const char *name)
{
    const unsigned char *bytes = (const unsigned char *)name;
    size_t length = strlen(name), left = length;
    uint32_t a = 0x9e3779b9, b = 0x9e3779b9, c = 0xfeedbeef;
    for (; left >= 12; left -= 12, bytes += 12) {
        a += word_at(bytes, 4);
        b += word_at(bytes + 4, 4);
        c += word_at(bytes + 8, 4);
        mix(&a, &b, &c);
    }
    /* The lowest byte of the last word holds the length. */
    c += (uint32_t)length;
    a += word_at(bytes, left < 4 ? left : 4);
    b += left > 4 ? word_at(bytes + 4, left < 8 ? left - 4 : 4) : 0;
    c += left > 8 ? word_at(bytes + 8, left - 8) << 8 : 0;
    mix(&a, &b, &c);
    return c;
}

hg_id_t mg_rpc_id(const char *name, uint16_t provider_id)
{
    return ((hg_id_t)hash_name(name) << 32) | provider_id;
}

/* ---- records ---- */

static struct mg_rpc *find_rpc(margo_instance_id mid, hg_id_t id)
{
    return HG_Registered_data(mid->hg_class, id);
}

static void free_record(void *data)
{
    struct mg_rpc *rpc = data;
    assert(!rpc->data && !rpc->pool_entry);
    free(rpc->name);
    free(rpc);
}

static struct mg_rpc *new_record(margo_instance_id mid, const char *name, hg_id_t id)
{
    struct mg_rpc *rpc = calloc(1, sizeof *rpc);
    if (!rpc)
        return NULL;
    rpc->mid = mid;
    rpc->id = id;
    rpc->name = strdup(name);
    list_init(&rpc->link);
    if (!rpc->name) {
        free(rpc);
        return NULL;
    }
    return rpc;
}

/* Releases what a record refers to. Called with the mutex; the user's function is left to the caller to run. */
static void detach_record(struct mg_rpc *rpc)
{
    mg_env_unref_pool(rpc->mid->env, rpc->pool_entry);
    rpc->pool_entry = NULL;
    rpc->mid = NULL;
    list_remove(&rpc->link);
}

static void set_pool(struct mg_rpc *rpc, ABT_pool pool)
{
    margo_instance_id mid = rpc->mid;
    if (pool == ABT_POOL_NULL)
        pool = mid->rpc_pool->handle;
    struct mg_pool *old = rpc->pool_entry;
    rpc->pool_entry = mg_env_find_handle(mid->env, pool);
    mg_env_ref_pool(mid->env, rpc->pool_entry);
    mg_env_unref_pool(mid->env, old);
    atomic_store(&rpc->pool, pool);
}

/* Called with the mutex. */
static struct mg_rpc *register_record(margo_instance_id mid, const char *name, hg_id_t id, hg_proc_cb_t in_proc,
                                      hg_proc_cb_t out_proc, hg_rpc_cb_t rpc_cb)
{
    struct mg_rpc *rpc = find_rpc(mid, id);
    if (rpc && !rpc_cb)
        return rpc;
    if (HG_Register(mid->hg_class, id, in_proc, out_proc, rpc_cb ? rpc_cb : _handler_for_NULL) != HG_SUCCESS)
        return NULL;
    if (!rpc) {
        rpc = new_record(mid, name, id);
        if (!rpc || HG_Register_data(mid->hg_class, id, rpc, free_record) != HG_SUCCESS) {
            if (rpc)
                free_record(rpc);
            HG_Deregister(mid->hg_class, id);
            return NULL;
        }
        list_append(&mid->rpcs, &rpc->link);
    }
    rpc->in_proc = in_proc;
    rpc->out_proc = out_proc;
    return rpc;
}

hg_id_t margo_provider_register_name(margo_instance_id mid, const char *func_name, hg_proc_cb_t in_proc_cb,
                                     hg_proc_cb_t out_proc_cb, hg_rpc_cb_t rpc_cb, uint16_t provider_id, ABT_pool pool)
{
    if (!mid || !func_name)
        return 0;
    hg_id_t id = mg_rpc_id(func_name, provider_id);
    mg_lock(mid);
    struct mg_rpc *rpc = register_record(mid, func_name, id, in_proc_cb, out_proc_cb, rpc_cb);
    if (rpc && (rpc_cb || !rpc->pool))
        set_pool(rpc, pool);
    mg_unlock(mid);
    return rpc ? id : 0;
}

hg_return_t mg_rpc_retarget(hg_handle_t handle, struct mg_rpc *rpc, uint16_t provider_id)
{
    margo_instance_id mid = rpc->mid;
    const struct hg_info *info = HG_Get_info(handle);
    hg_id_t id = (info->id & ~PROVIDER_MASK) | provider_id;
    if (!find_rpc(mid, id)) {
        mg_lock(mid);
        struct mg_rpc *twin = register_record(mid, rpc->name, id, rpc->in_proc, rpc->out_proc, NULL);
        if (twin && !twin->pool)
            set_pool(twin, ABT_POOL_NULL);
        if (twin && rpc->one_way) {
            twin->one_way = true;
            HG_Registered_disable_response(mid->hg_class, id, HG_TRUE);
        }
        mg_unlock(mid);
        if (!twin)
            return HG_NOMEM;
    }
    return HG_Reset(handle, info->addr, id);
}

/* Takes the user data out of a record; they are freed without any lock. */
static void free_user_data(void *data, void (*free_data)(void *))
{
    if (data && free_data)
        free_data(data);
}

hg_return_t margo_deregister(margo_instance_id mid, hg_id_t id)
{
    if (!mid)
        return HG_INVALID_ARG;
    mg_lock(mid);
    struct mg_rpc *rpc = find_rpc(mid, id);
    if (!rpc) {
        mg_unlock(mid);
        return HG_NOENTRY;
    }
    void *data = rpc->data;
    void (*free_data)(void *) = rpc->free_data;
    rpc->data = NULL;
    detach_record(rpc);
    hg_return_t ret = HG_Deregister(mid->hg_class, id);
    mg_unlock(mid);
    free_user_data(data, free_data);
    return ret;
}

void mg_rpc_deregister_all(margo_instance_id mid)
{
    while (!list_empty(&mid->rpcs)) {
        struct mg_rpc *rpc = container_of(mid->rpcs.next, struct mg_rpc, link);
        margo_deregister(mid, rpc->id);
    }
}

/* ---- questions and settings ---- */

hg_return_t margo_provider_registered_name(margo_instance_id mid, const char *func_name, uint16_t provider_id,
                                           hg_id_t *id, hg_bool_t *flag)
{
    if (!mid || !func_name || !id || !flag)
        return HG_INVALID_ARG;
    *id = mg_rpc_id(func_name, provider_id);
    return HG_Registered(mid->hg_class, *id, flag);
}

hg_return_t margo_registered_name(margo_instance_id mid, const char *func_name, hg_id_t *id, hg_bool_t *flag)
{
    return margo_provider_registered_name(mid, func_name, MARGO_DEFAULT_PROVIDER_ID, id, flag);
}

hg_return_t margo_register_data(margo_instance_id mid, hg_id_t id, void *data, void (*free_callback)(void *))
{
    if (!mid)
        return HG_INVALID_ARG;
    mg_lock(mid);
    struct mg_rpc *rpc = find_rpc(mid, id);
    void *old = NULL;
    void (*free_old)(void *) = NULL;
    if (rpc) {
        old = rpc->data;
        free_old = rpc->free_data;
        rpc->data = data;
        rpc->free_data = free_callback;
    }
    mg_unlock(mid);
    free_user_data(old, free_old);
    return rpc ? HG_SUCCESS : HG_OTHER_ERROR;
}

void *margo_registered_data(margo_instance_id mid, hg_id_t id)
{
    struct mg_rpc *rpc = mid ? find_rpc(mid, id) : NULL;
    return rpc ? rpc->data : NULL;
}

hg_return_t margo_registered_disable_response(margo_instance_id mid, hg_id_t id, int disable_flag)
{
    if (!mid)
        return HG_INVALID_ARG;
    mg_lock(mid);
    struct mg_rpc *rpc = find_rpc(mid, id);
    if (rpc)
        rpc->one_way = disable_flag != 0;
    mg_unlock(mid);
    return rpc ? HG_Registered_disable_response(mid->hg_class, id, disable_flag != 0) : HG_OTHER_ERROR;
}

hg_return_t margo_registered_disabled_response(margo_instance_id mid, hg_id_t id, int *disabled_flag)
{
    struct mg_rpc *rpc = mid ? find_rpc(mid, id) : NULL;
    if (!mid || !disabled_flag)
        return HG_INVALID_ARG;
    if (!rpc)
        return HG_OTHER_ERROR;
    *disabled_flag = rpc->one_way;
    return HG_SUCCESS;
}

hg_return_t margo_rpc_get_pool(margo_instance_id mid, hg_id_t id, ABT_pool *pool)
{
    if (!mid || !pool)
        return HG_INVALID_ARG;
    struct mg_rpc *rpc = find_rpc(mid, id);
    if (!rpc)
        return HG_NOENTRY;
    *pool = atomic_load(&rpc->pool);
    return HG_SUCCESS;
}

hg_return_t margo_rpc_set_pool(margo_instance_id mid, hg_id_t id, ABT_pool pool)
{
    if (!mid)
        return HG_INVALID_ARG;
    mg_lock(mid);
    struct mg_rpc *rpc = find_rpc(mid, id);
    if (rpc)
        set_pool(rpc, pool);
    mg_unlock(mid);
    return rpc ? HG_SUCCESS : HG_NOENTRY;
}

const char *margo_rpc_get_name(margo_instance_id mid, hg_id_t id)
{
    struct mg_rpc *rpc = mid ? find_rpc(mid, id) : NULL;
    return rpc ? rpc->name : NULL;
}

const char *margo_handle_get_name(hg_handle_t handle)
{
    struct mg_rpc *rpc = handle ? dango_hg_handle_rpc_data(handle) : NULL;
    return rpc ? rpc->name : NULL;
}
