/*
 * Flock clients: see client.h.
 */
#include "flock/client/client.h"

#include "flock/internal.h"

#include "util/log.h"

#include <assert.h>

flock_return_t flock_client_init(margo_instance_id mid, ABT_pool pool, flock_client_t *client)
{
    if (mid == MARGO_INSTANCE_NULL || !client)
        return FLOCK_ERR_INVALID_ARGS;
    struct flock_client *c = calloc(1, sizeof *c);
    if (!c)
        return FLOCK_ERR_ALLOCATION;
    c->mid = mid;
    c->references = 1;
    c->pool = pool;
    if (pool == ABT_POOL_NULL)
        margo_get_handler_pool(mid, &c->pool);
    c->get_view = MARGO_REGISTER(mid, FLK_RPC_GET_VIEW, flk_get_view_in_t, flk_get_view_out_t, NULL);
    c->set_metadata = MARGO_REGISTER(mid, FLK_RPC_SET_METADATA, flk_set_metadata_in_t, flk_set_metadata_out_t, NULL);
    c->statistics = MARGO_REGISTER(mid, FLK_RPC_STATISTICS, void, flk_statistics_out_t, NULL);
    if (!c->get_view || !c->set_metadata || !c->statistics) {
        free(c);
        return FLOCK_ERR_FROM_MERCURY;
    }
    margo_instance_ref_incr(mid);
    *client = c;
    return FLOCK_SUCCESS;
}

void flk_client_ref(struct flock_client *client)
{
    __atomic_add_fetch(&client->references, 1, __ATOMIC_RELAXED);
}

void flk_client_unref(struct flock_client *client)
{
    uint64_t references = __atomic_fetch_sub(&client->references, 1, __ATOMIC_ACQ_REL);
    assert(references > 0);
    if (references > 1)
        return;
    margo_instance_release(client->mid);
    free(client);
}

flock_return_t flock_client_finalize(flock_client_t client)
{
    if (!client)
        return FLOCK_ERR_INVALID_ARGS;
    uint64_t handles = __atomic_load_n(&client->references, __ATOMIC_RELAXED) - 1;
    if (handles)
        log_warning("flock", "a client is finalized while %llu of its group handles are alive",
                    (unsigned long long)handles);
    flk_client_unref(client);
    return FLOCK_SUCCESS;
}
