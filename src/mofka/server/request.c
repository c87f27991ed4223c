/*
 * Requests: from the progress loop to the answer. The records are pooled, so that a batch costs no allocation.
 */
#include "mofka/server/provider.h"

#include <stdlib.h>

static struct mofka_request *request_take(struct mofka_provider *provider)
{
    pthread_mutex_lock(&provider->lock);
    struct list_node *node = list_pop(&provider->free_requests);
    pthread_mutex_unlock(&provider->lock);
    struct mofka_request *request = node ? container_of(node, struct mofka_request, link) : malloc(sizeof *request);
    if (request) {
        list_init(&request->link);
        request->provider = provider;
        request->session = NULL;
        request->answered = false;
        request->piece_count = 0;
        dango_error_clear(&request->err);
    }
    return request;
}

void mofka_requests_free(struct mofka_provider *provider)
{
    for (struct list_node *node; (node = list_pop(&provider->free_requests));)
        free(container_of(node, struct mofka_request, link));
}

void mofka_provider_leave(struct mofka_provider *provider)
{
    if (atomic_fetch_sub(&provider->active, 1) > 1 || !atomic_load(&provider->closing))
        return;
    ABT_mutex_lock(provider->idle_lock);
    ABT_cond_broadcast(provider->idle);
    ABT_mutex_unlock(provider->idle_lock);
}

void mofka_request_drop_pieces(struct mofka_request *request)
{
    for (size_t i = 0; i < request->piece_count; i++)
        mofka_region_release(request->pieces[i].region);
    request->piece_count = 0;
}

static void finish(struct mofka_request *request)
{
    struct mofka_provider *provider = request->provider;
    mofka_request_drop_pieces(request);
    if (request->session) {
        atomic_fetch_sub(&request->session->in_flight, 1);
        mofka_session_release(request->session);
    }
    margo_free_input(request->handle, &request->message);
    margo_destroy(request->handle);
    pthread_mutex_lock(&provider->lock);
    list_append(&provider->free_requests, &request->link);
    pthread_mutex_unlock(&provider->lock);
    mofka_provider_leave(provider);
}

/* A client that is gone gets no answer; its sessions are dropped elsewhere. */
static void respond(hg_handle_t handle, const diaspora_segment *parts, size_t count)
{
    struct mofka_message message = {.parts = parts, .part_count = count};
    (void)HG_Respond(handle, NULL, NULL, &message);
}

static void respond_error(hg_handle_t handle, const struct dango_error *err)
{
    size_t length = strlen(err->text);
    struct mofka_answer answer = {.code = err->code, .text_size = (uint32_t)length};
    diaspora_segment parts[] = {{&answer, sizeof answer}, {(void *)(uintptr_t)err->text, length}};
    respond(handle, parts, 2);
}

void mofka_request_answer_early(struct mofka_request *request, const diaspora_segment *parts, size_t count)
{
    assert(!request->answered);
    request->answered = true;
    respond(request->handle, parts, count);
}

void mofka_request_answer(struct mofka_request *request, const diaspora_segment *parts, size_t count)
{
    if (!request->answered)
        respond(request->handle, parts, count);
    finish(request);
}

void mofka_request_fail(struct mofka_request *request, const struct dango_error *err)
{
    assert(err->code < 0);
    if (!request->answered)
        respond_error(request->handle, err);
    finish(request);
}

int mofka_request_continue(struct mofka_request *request, void (*body)(void *request))
{
    if (ABT_thread_create(request->provider->settings.pool, body, request, ABT_THREAD_ATTR_NULL, NULL) == ABT_SUCCESS)
        return 0;
    return dango_error_set(&request->err, DANGO_ERR_NO_MEMORY, "no memory for a thread");
}

/* Takes a request up, or says why not. */
static int begin(struct mofka_endpoint *endpoint, hg_handle_t handle, struct mofka_request **request,
                 struct dango_error *err)
{
    struct mofka_provider *provider = endpoint->provider;
    if (atomic_load(&provider->closing))
        return dango_error_set(err, DANGO_ERR_DISCONNECTED, "the partition is being closed");
    if (atomic_load(&provider->active) > MOFKA_REQUESTS_MAX)
        return dango_error_set(err, DANGO_ERR_BUSY, "the partition has %u requests to answer already",
                               MOFKA_REQUESTS_MAX);
    struct mofka_request *new = request_take(provider);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
    hg_return_t ret = margo_get_input(handle, &new->message);
    if (ret != HG_SUCCESS) {
        pthread_mutex_lock(&provider->lock);
        list_append(&provider->free_requests, &new->link);
        pthread_mutex_unlock(&provider->lock);
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed message: %s", HG_Error_to_string(ret));
    }
    new->handle = handle;
    *request = new;
    return 0;
}

/* Called by the progress loop for every request to any of our RPCs. */
hg_return_t mofka_request_arrived(hg_handle_t handle)
{
    margo_instance_id mid = margo_hg_handle_get_instance(handle);
    struct mofka_endpoint *endpoint = margo_registered_data(mid, margo_get_info(handle)->id);
    struct mofka_request *request = NULL;
    struct dango_error err;
    if (!endpoint) { /* the RPC is registered already, or still: the provider is coming or going */
        dango_error_set(&err, DANGO_ERR_DISCONNECTED, "the partition is not served at this moment");
        respond_error(handle, &err);
        margo_destroy(handle);
        return HG_SUCCESS;
    }
    atomic_fetch_add(&endpoint->provider->active, 1);
    if (begin(endpoint, handle, &request, &err) == 0) {
        endpoint->handle(request);
        return HG_SUCCESS;
    }
    respond_error(handle, &err);
    margo_destroy(handle);
    mofka_provider_leave(endpoint->provider);
    return HG_SUCCESS;
}
