/*
 * The table of RPCs of a class, by id. Entries are replaced as a whole; handles keep the one they were made with.
 */
#include "mercury/hg.h"

#include <assert.h>
#include <stdlib.h>

void hgi_rpc_ref(struct hgi_rpc *rpc)
{
    atomic_fetch_add_explicit(&rpc->refs, 1, memory_order_relaxed);
}

void hgi_rpc_release(struct hgi_rpc *rpc)
{
    unsigned before = atomic_fetch_sub_explicit(&rpc->refs, 1, memory_order_acq_rel);

    assert(before > 0);
    if (before > 1)
        return;
    /* Not before: requests that arrived before the RPC was deregistered are still dispatched with the data. */
    if (rpc->free_data)
        rpc->free_data(atomic_load(&rpc->data));
    free(rpc);
}

static struct hgi_rpc *find_locked(hg_class_t *hg_class, hg_id_t id)
{
    struct hgi_rpc *rpc;

    HASH_FIND(hh, hg_class->rpcs, &id, sizeof id, rpc);
    return rpc;
}

struct hgi_rpc *hgi_rpc_find(hg_class_t *hg_class, hg_id_t id)
{
    pthread_mutex_lock(&hg_class->rpcs_lock);
    struct hgi_rpc *rpc = find_locked(hg_class, id);
    if (rpc)
        hgi_rpc_ref(rpc);
    pthread_mutex_unlock(&hg_class->rpcs_lock);
    return rpc;
}

/* User data that is to be freed once no lock is held. */
struct garbage {
    void *data;
    void (*free_data)(void *);
};

static void collect(const struct garbage *garbage)
{
    if (garbage->free_data)
        garbage->free_data(garbage->data);
}

/* Takes the data off an entry; rpcs_lock held. */
static struct garbage take_data(struct hgi_rpc *rpc)
{
    struct garbage garbage = {.data = atomic_load(&rpc->data), .free_data = rpc->free_data};

    rpc->free_data = NULL;
    return garbage;
}

void hgi_rpcs_clear(hg_class_t *hg_class)
{
    struct hgi_rpc *rpc, *next;

    HASH_ITER (hh, hg_class->rpcs, rpc, next) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the analyser does not see that deleting unlinks */
        HASH_DEL(hg_class->rpcs, rpc);
        hgi_rpc_release(rpc);
    }
}

hg_return_t HG_Register(hg_class_t *hg_class, hg_id_t id, hg_proc_cb_t in_proc_cb, hg_proc_cb_t out_proc_cb,
                        hg_rpc_cb_t rpc_cb)
{
    struct hgi_rpc *rpc, *old;

    if (!hg_class || id == 0)
        return HG_INVALID_ARG;
    rpc = calloc(1, sizeof *rpc);
    if (!rpc)
        return HG_NOMEM;
    rpc->id = id;
    atomic_init(&rpc->refs, 1);
    rpc->in_proc = in_proc_cb;
    rpc->out_proc = out_proc_cb;
    rpc->callback = rpc_cb;
    pthread_mutex_lock(&hg_class->rpcs_lock);
    old = find_locked(hg_class, id);
    if (old) {
        /* Handles of the old entry go on seeing the data, which the new one now owns. */
        atomic_init(&rpc->data, atomic_load(&old->data));
        rpc->free_data = old->free_data;
        old->free_data = NULL;
        atomic_init(&rpc->one_way, atomic_load(&old->one_way));
        HASH_DEL(hg_class->rpcs, old);
    }
    HASH_ADD(hh, hg_class->rpcs, id, sizeof rpc->id, rpc);
    pthread_mutex_unlock(&hg_class->rpcs_lock);
    if (old)
        hgi_rpc_release(old);
    return HG_SUCCESS;
}

/* djb2, so that both sides agree on the id of a name. */
static hg_id_t hash_name(const char *name)
{
    uint32_t hash = 5381;

    for (; *name; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash;
}

hg_id_t HG_Register_name(hg_class_t *hg_class, const char *func_name, hg_proc_cb_t in_proc_cb, hg_proc_cb_t out_proc_cb,
                         hg_rpc_cb_t rpc_cb)
{
    hg_id_t id;

    if (!hg_class || !func_name)
        return 0;
    id = hash_name(func_name);
    return HG_Register(hg_class, id, in_proc_cb, out_proc_cb, rpc_cb) == HG_SUCCESS ? id : 0;
}

hg_return_t HG_Deregister(hg_class_t *hg_class, hg_id_t id)
{
    struct hgi_rpc *rpc;

    if (!hg_class)
        return HG_INVALID_ARG;
    pthread_mutex_lock(&hg_class->rpcs_lock);
    rpc = find_locked(hg_class, id);
    if (rpc)
        HASH_DEL(hg_class->rpcs, rpc);
    pthread_mutex_unlock(&hg_class->rpcs_lock);
    if (!rpc)
        return HG_NOENTRY;
    hgi_rpc_release(rpc);
    return HG_SUCCESS;
}

hg_return_t HG_Registered(hg_class_t *hg_class, hg_id_t id, uint8_t *flag)
{
    if (!hg_class || !flag)
        return HG_INVALID_ARG;
    pthread_mutex_lock(&hg_class->rpcs_lock);
    *flag = find_locked(hg_class, id) != NULL;
    pthread_mutex_unlock(&hg_class->rpcs_lock);
    return HG_SUCCESS;
}

hg_return_t HG_Registered_name(hg_class_t *hg_class, const char *func_name, hg_id_t *id, uint8_t *flag)
{
    if (!hg_class || !func_name || !id)
        return HG_INVALID_ARG;
    *id = hash_name(func_name);
    return HG_Registered(hg_class, *id, flag);
}

hg_return_t HG_Register_data(hg_class_t *hg_class, hg_id_t id, void *data, void (*free_callback)(void *))
{
    struct hgi_rpc *rpc;
    struct garbage garbage = {0};

    if (!hg_class)
        return HG_INVALID_ARG;
    pthread_mutex_lock(&hg_class->rpcs_lock);
    rpc = find_locked(hg_class, id);
    if (rpc) {
        garbage = take_data(rpc);
        atomic_store(&rpc->data, data);
        rpc->free_data = free_callback;
    }
    pthread_mutex_unlock(&hg_class->rpcs_lock);
    collect(&garbage);
    return rpc ? HG_SUCCESS : HG_NOENTRY;
}

void *HG_Registered_data(hg_class_t *hg_class, hg_id_t id)
{
    void *data = NULL;

    if (!hg_class)
        return NULL;
    pthread_mutex_lock(&hg_class->rpcs_lock);
    struct hgi_rpc *rpc = find_locked(hg_class, id);
    if (rpc)
        data = atomic_load(&rpc->data);
    pthread_mutex_unlock(&hg_class->rpcs_lock);
    return data;
}

hg_return_t HG_Registered_disable_response(hg_class_t *hg_class, hg_id_t id, uint8_t disable)
{
    struct hgi_rpc *rpc;

    if (!hg_class)
        return HG_INVALID_ARG;
    pthread_mutex_lock(&hg_class->rpcs_lock);
    rpc = find_locked(hg_class, id);
    if (rpc)
        atomic_store(&rpc->one_way, disable != 0);
    pthread_mutex_unlock(&hg_class->rpcs_lock);
    return rpc ? HG_SUCCESS : HG_NOENTRY;
}

hg_return_t HG_Registered_disabled_response(hg_class_t *hg_class, hg_id_t id, uint8_t *disabled)
{
    struct hgi_rpc *rpc;

    if (!hg_class || !disabled)
        return HG_INVALID_ARG;
    pthread_mutex_lock(&hg_class->rpcs_lock);
    rpc = find_locked(hg_class, id);
    if (rpc)
        *disabled = atomic_load(&rpc->one_way);
    pthread_mutex_unlock(&hg_class->rpcs_lock);
    return rpc ? HG_SUCCESS : HG_NOENTRY;
}
