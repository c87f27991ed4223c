/*
 * Creation and end of a partition provider: registration of its RPCs and of the partition's memory. See provider.h.
 */
#include "mofka/server/provider.h"

#include <stdlib.h>

static const struct {
    const char *name;
    void (*handle)(struct mofka_request *request);
} endpoints[MOFKA_ENDPOINT_COUNT] = {
    {"mofka_attach", mofka_handle_attach},
    {"mofka_produce", mofka_handle_produce},
    {"mofka_settle", mofka_handle_settle},
    {"mofka_subscribe", mofka_handle_subscribe},
    {"mofka_fetch", mofka_handle_fetch},
    {"mofka_read", mofka_handle_read},
    {"mofka_acknowledge", mofka_handle_acknowledge},
    {"mofka_renew", mofka_handle_renew},
    {"mofka_close", mofka_handle_close},
    {"mofka_inspect", mofka_handle_inspect},
    {"mofka_set_position", mofka_handle_set_position},
    {"mofka_complete", mofka_handle_complete},
    {"mofka_erase", mofka_handle_erase},
};

/* ---- memory of the partition ---- */

static int attach_segment(void *arg, void *base, size_t size, void **registration, struct dango_error *err)
{
    struct mofka_provider *provider = arg;
    hg_size_t bytes = size;
    hg_bulk_t bulk;
    hg_return_t ret = margo_bulk_create(provider->settings.mid, 1, &base, &bytes, HG_BULK_READWRITE, &bulk);
    if (ret != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "cannot register %zu bytes for the network: %s", size,
                               HG_Error_to_string(ret));
    *registration = bulk;
    return 0;
}

static void detach_segment(void *arg, void *registration)
{
    (void)arg;
    margo_bulk_free(registration);
}

/* ---- life ---- */

static void free_shell(void *arg)
{
    struct mofka_provider *provider = arg;
    ABT_cond_free(&provider->idle);
    ABT_mutex_free(&provider->idle_lock);
    pthread_mutex_destroy(&provider->lock);
    free(provider);
}

static void deregister(struct mofka_provider *provider)
{
    for (size_t i = 0; i < MOFKA_ENDPOINT_COUNT; i++)
        if (provider->endpoints[i].id != 0)
            margo_deregister(provider->settings.mid, provider->endpoints[i].id);
}

static int register_endpoints(struct mofka_provider *provider, struct dango_error *err)
{
    margo_instance_id mid = provider->settings.mid;
    for (size_t i = 0; i < MOFKA_ENDPOINT_COUNT; i++) {
        struct mofka_endpoint *endpoint = &provider->endpoints[i];
        endpoint->name = endpoints[i].name;
        endpoint->handle = endpoints[i].handle;
        endpoint->provider = provider;
        endpoint->id = margo_provider_register_name(mid, endpoint->name, hg_proc_mofka_message, hg_proc_mofka_message,
                                                    mofka_request_arrived, provider->settings.provider_id,
                                                    provider->settings.pool);
        if (endpoint->id == 0)
            return dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register RPC %s", endpoint->name);
        hg_return_t ret = margo_register_data(mid, endpoint->id, endpoint, NULL);
        if (ret != HG_SUCCESS)
            return dango_error_set(err, DANGO_ERR_INTERNAL, "cannot register data of RPC %s: %s", endpoint->name,
                                   HG_Error_to_string(ret));
    }
    return 0;
}

static void release(struct mofka_provider *provider)
{
    deregister(provider);
    mofka_requests_free(provider);
    mofka_retention_fini(provider);
    dango_mofka_positions_destroy(provider->positions);
    dango_mofka_partition_destroy(provider->partition);
    margo_provider_push_finalize_callback(provider->settings.mid, provider, free_shell, provider);
}

int mofka_provider_create(const struct mofka_provider_settings *settings, struct mofka_provider **provider,
                          struct dango_error *err)
{
    struct mofka_provider *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    new->settings = *settings;
    if (new->settings.lease_ms == 0)
        new->settings.lease_ms = MOFKA_LEASE_MS;
    new->registrar = (struct mofka_registrar){attach_segment, detach_segment, new};
    pthread_mutex_init(&new->lock, NULL);
    list_init(&new->free_requests);
    list_init(&new->waiting);
    if (ABT_mutex_create(&new->idle_lock) != ABT_SUCCESS || ABT_cond_create(&new->idle) != ABT_SUCCESS) {
        free_shell(new);
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    }
    int code = mofka_storage_open(new, err);
    if (code == 0)
        code = mofka_sessions_watch(new, err);
    if (code == 0) {
        code = register_endpoints(new, err);
        if (code == 0) {
            mofka_retention_start(new);
            *provider = new;
            return 0;
        }
        mofka_sessions_unwatch(new);
    }
    release(new);
    return code;
}

static bool every_session(const struct mofka_session *session, const void *arg)
{
    (void)session;
    (void)arg;
    return true;
}

void mofka_provider_destroy(struct mofka_provider *provider)
{
    if (!provider)
        return;
    /* Before the count is read: a request sees this or is seen in the count. */
    pthread_mutex_lock(&provider->lock);
    atomic_store(&provider->closing, true);
    pthread_mutex_unlock(&provider->lock);
    mofka_sessions_unwatch(provider);
    mofka_retention_stop(provider);
    mofka_sessions_close(provider, every_session, NULL);
    ABT_mutex_lock(provider->idle_lock);
    while (atomic_load(&provider->active) > 0)
        ABT_cond_wait(provider->idle, provider->idle_lock);
    ABT_mutex_unlock(provider->idle_lock);
    release(provider);
}
