/*
 * Group handles: see flock/flock-group.h. A handle owns a copy of the view under the view's own mutex, which is never held
 * across an RPC: an update works on a list of members taken before, and puts the answer in place afterwards.
 *
 * An update asks the member that answered last, then the others in random order, so that many clients do not all turn to
 * the same one. Each attempt has a share of the time that is left; a member that is known to be dead costs none.
 */
#include "flock/client/client.h"

#include "flock/backends/backend.h"
#include "flock/internal.h"

#include <flock/flock-group.h>

#include "util/clock.h"

#include <assert.h>

#define UPDATE_TIMEOUT_MS 30000.0
#define ATTEMPTS_MAX      8

struct flock_request {
    flock_group_handle_t handle; /* a reference */
    ABT_eventual_memory done;
    ABT_thread thread;
    uint64_t completed; /* atomic */
    flock_return_t ret;
};

static void lock(struct flock_group_handle *handle)
{
    FLOCK_GROUP_VIEW_LOCK(&handle->view);
}

static void unlock(struct flock_group_handle *handle)
{
    FLOCK_GROUP_VIEW_UNLOCK(&handle->view);
}

/* ---- update ---- */

/* Whom to ask, in this order: copies, since the view may change meanwhile. */
struct contacts {
    flock_group_view_t copy;
    const flock_member_t *members[ATTEMPTS_MAX];
    size_t count;
    uint64_t version;
};

static void shuffle(const flock_member_t **members, size_t count)
{
    assert(members || count == 0);
    uint64_t random = (uint64_t)dango_clock_ns() | 1;
    for (size_t i = count; i > 1; i--) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        size_t j = random % i;
        const flock_member_t *swapped = members[i - 1];
        members[i - 1] = members[j];
        members[j] = swapped;
    }
}

/* The contact first, even if it has left the view: it may be the only one we know. */
static flock_return_t choose_contacts(struct flock_group_handle *handle, struct contacts *contacts)
{
    assert(handle->contact);
    memset(contacts, 0, sizeof *contacts);
    lock(handle);
    bool copied = flock_group_view_copy(&handle->view, &contacts->copy);
    flock_member_t *first =
        copied ? flock_group_view_add_member(&contacts->copy, handle->contact, handle->contact_id) : NULL;
    contacts->version = handle->version;
    unlock(handle);
    if (!first) {
        flock_group_view_clear(&contacts->copy);
        return FLOCK_ERR_ALLOCATION;
    }
    size_t n = contacts->copy.members.size;
    const flock_member_t **all = calloc(n, sizeof *all);
    if (!all) {
        flock_group_view_clear(&contacts->copy);
        return FLOCK_ERR_ALLOCATION;
    }
    size_t others = 0;
    for (size_t i = 0; i < n; i++) {
        if (&contacts->copy.members.data[i] != first)
            all[others++] = &contacts->copy.members.data[i];
    }
    shuffle(all, others);
    contacts->members[contacts->count++] = first;
    for (size_t i = 0; i < others && contacts->count < ATTEMPTS_MAX; i++)
        contacts->members[contacts->count++] = all[i];
    free(all);
    return FLOCK_SUCCESS;
}

/* Puts an answer in place of what is there. The answer's view is taken over. */
static flock_return_t accept(struct flock_group_handle *handle, const flock_member_t *member, flk_get_view_out_t *out)
{
    assert(out->ret == FLOCK_SUCCESS);
    char *contact = strdup(member->address);
    if (!contact)
        return FLOCK_ERR_ALLOCATION;
    lock(handle);
    free(handle->contact);
    handle->contact = contact;
    handle->contact_id = member->provider_id;
    handle->version = out->version;
    if (!out->unchanged) {
        flock_group_view_clear(&handle->view);
        FLOCK_GROUP_VIEW_MOVE(&out->view, &handle->view);
        flock_group_view_clear(&handle->left);
        FLOCK_GROUP_VIEW_MOVE(&out->left, &handle->left);
        flock_group_view_clear(&handle->moved);
        FLOCK_GROUP_VIEW_MOVE(&out->moved, &handle->moved);
    }
    unlock(handle);
    return FLOCK_SUCCESS;
}

/* Codes that we do not know must not look like ours. */
static flock_return_t known_code(int32_t ret)
{
    return ret >= 0 && ret <= FLOCK_ERR_OTHER ? (flock_return_t)ret : FLOCK_ERR_OTHER;
}

/* What an answer means. */
static flock_return_t result_of(const flk_get_view_out_t *out)
{
    if (out->ret == FLOCK_SUCCESS && !out->unchanged && out->view.members.size == 0)
        return FLOCK_ERR_OTHER; /* a group without members does not exist */
    return known_code(out->ret);
}

/* Makes a call known to whoever may have to end it early; what is over is not known any more. */
static void show_call(struct flock_group_handle *handle, const struct flk_call *call)
{
    lock(handle);
    handle->waiting = call ? call->handle : HG_HANDLE_NULL;
    if (call && handle->unsubscribing)
        HG_Cancel(call->handle);
    unlock(handle);
}

flock_return_t flk_group_ask(struct flock_group_handle *handle, const flock_member_t *member, uint64_t version,
                             double timeout_ms, uint32_t wait_ms)
{
    assert(member->address && timeout_ms > 0);
    struct flk_call call;
    flk_get_view_in_t in = {version, wait_ms};
    flk_get_view_out_t out = {0};
    hg_return_t hret = flk_call_start(&call, handle->client->mid, handle->client->get_view, member->address,
                                      member->provider_id, &in, timeout_ms);
    if (hret != HG_SUCCESS)
        return hret == HG_NOENTRY ? FLOCK_ERR_INVALID_PROVIDER : FLOCK_ERR_FROM_MERCURY;
    if (wait_ms)
        show_call(handle, &call);
    hret = flk_call_wait(&call, &out);
    if (wait_ms)
        show_call(handle, NULL);
    flock_return_t ret = hret == HG_NOENTRY ? FLOCK_ERR_INVALID_PROVIDER : FLOCK_ERR_FROM_MERCURY;
    if (hret == HG_SUCCESS) {
        ret = result_of(&out);
        if (ret == FLOCK_SUCCESS)
            ret = accept(handle, member, &out);
        margo_free_output(call.handle, &out);
    }
    flk_call_end(&call);
    return ret;
}

flock_return_t flk_group_update(struct flock_group_handle *handle)
{
    struct contacts contacts;
    int64_t deadline_ns = dango_deadline_ns(UPDATE_TIMEOUT_MS);
    flock_return_t ret = choose_contacts(handle, &contacts);
    if (ret != FLOCK_SUCCESS)
        return ret;
    ret = FLOCK_ERR_FROM_MERCURY;
    for (size_t i = 0; i < contacts.count && ret != FLOCK_SUCCESS; i++) {
        double left_ms = (double)(deadline_ns - dango_clock_ns()) / (double)DANGO_NS_PER_MS;
        if (left_ms <= 0)
            break;
        /* The first member may be all there is; while there are others, nobody gets more than half of the time. */
        size_t others = contacts.count - i - 1;
        ret = flk_group_ask(handle, contacts.members[i], contacts.version, others ? left_ms / 2 : left_ms, 0);
    }
    flock_group_view_clear(&contacts.copy);
    return ret;
}

/* Body of an asynchronous update; `done` is the last thing that it touches. */
static void update_ult(void *arg)
{
    assert(arg);
    struct flock_request *request = arg;
    request->ret = flk_group_update(request->handle);
    __atomic_store_n(&request->completed, 1, __ATOMIC_RELEASE);
    ABT_eventual_set(ABT_EVENTUAL_MEMORY_GET_HANDLE(&request->done), NULL, 0);
}

flock_return_t flock_group_update_view(flock_group_handle_t handle, flock_request_t *request)
{
    if (!handle)
        return FLOCK_ERR_INVALID_ARGS;
    if (!request)
        return flk_group_update(handle);
    struct flock_request *r = calloc(1, sizeof *r);
    if (!r)
        return FLOCK_ERR_ALLOCATION;
    flock_group_handle_ref_incr(handle);
    r->handle = handle;
    if (ABT_thread_create(handle->client->pool, update_ult, r, ABT_THREAD_ATTR_NULL, &r->thread) != ABT_SUCCESS) {
        flock_group_handle_release(handle);
        free(r);
        return FLOCK_ERR_FROM_ARGOBOTS;
    }
    *request = r;
    return FLOCK_SUCCESS;
}

flock_return_t flock_request_wait(flock_request_t request)
{
    if (!request)
        return FLOCK_ERR_INVALID_ARGS;
    ABT_eventual_wait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&request->done), NULL);
    ABT_thread_free(&request->thread);
    flock_return_t ret = request->ret;
    flock_group_handle_release(request->handle);
    free(request);
    return ret;
}

flock_return_t flock_request_test(flock_request_t request, bool *completed)
{
    if (!request || !completed)
        return FLOCK_ERR_INVALID_ARGS;
    *completed = __atomic_load_n(&request->completed, __ATOMIC_ACQUIRE) != 0;
    return FLOCK_SUCCESS;
}

/* ---- handles ---- */

static void destroy(struct flock_group_handle *handle)
{
    assert(handle->references <= 1);
    if (handle->subscribed)
        flock_group_unsubscribe(handle);
    flock_group_view_clear(&handle->view);
    flock_group_view_clear(&handle->left);
    flock_group_view_clear(&handle->moved);
    flock_group_view_clear(&handle->seen);
    free(handle->contact);
    flk_client_unref(handle->client);
    free(handle);
}

/* Takes the view over, which has a first member; that one is the contact. */
static flock_return_t create_from_view(flock_client_t client, flock_group_view_t *view, uint32_t mode,
                                       flock_group_handle_t *handle)
{
    assert(view->members.size > 0);
    struct flock_group_handle *h = calloc(1, sizeof *h);
    char *contact = strdup(view->members.data[0].address);
    if (!h || !contact) {
        free(h);
        free(contact);
        return FLOCK_ERR_ALLOCATION;
    }
    flk_client_ref(client);
    h->client = client;
    h->references = 1;
    h->contact = contact;
    h->contact_id = view->members.data[0].provider_id;
    FLOCK_GROUP_VIEW_MOVE(view, &h->view);
    flock_return_t ret = mode & FLOCK_MODE_INIT_UPDATE ? flk_group_update(h) : FLOCK_SUCCESS;
    if (ret == FLOCK_SUCCESS && mode & FLOCK_MODE_SUBSCRIBE)
        ret = flock_group_subscribe(h, NULL, NULL, NULL);
    if (ret == FLOCK_SUCCESS)
        *handle = h;
    else
        destroy(h);
    return ret;
}

/* Other providers would answer our RPC with "no such thing" at best. */
static flock_return_t check_identity(margo_instance_id mid, hg_addr_t addr, uint16_t provider_id)
{
    char identity[16];
    size_t size = sizeof identity;
    hg_return_t hret = margo_provider_get_identity(mid, addr, provider_id, identity, &size);
    if (hret == HG_NOENTRY || hret == HG_NOMEM || (hret == HG_SUCCESS && strcmp(identity, "flock") != 0))
        return FLOCK_ERR_INVALID_PROVIDER;
    return hret == HG_SUCCESS ? FLOCK_SUCCESS : FLOCK_ERR_FROM_MERCURY;
}

static char *address_text(margo_instance_id mid, hg_addr_t addr)
{
    hg_size_t size = 0;
    if (margo_addr_to_string(mid, NULL, &size, addr) != HG_SUCCESS)
        return NULL;
    char *text = malloc(size);
    if (text && margo_addr_to_string(mid, text, &size, addr) == HG_SUCCESS)
        return text;
    free(text);
    return NULL;
}

flock_return_t flock_group_handle_create(flock_client_t client, hg_addr_t addr, uint16_t provider_id, uint32_t mode,
                                         flock_group_handle_t *handle)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    if (!client || addr == HG_ADDR_NULL || !handle)
        return FLOCK_ERR_INVALID_ARGS;
    flock_return_t ret = check_identity(client->mid, addr, provider_id);
    if (ret != FLOCK_SUCCESS)
        return ret;
    char *address = address_text(client->mid, addr);
    ret = address ? FLOCK_SUCCESS : FLOCK_ERR_FROM_MERCURY;
    if (address && !flock_group_view_add_member(&view, address, provider_id))
        ret = FLOCK_ERR_ALLOCATION;
    free(address);
    if (ret == FLOCK_SUCCESS)
        ret = create_from_view(client, &view, mode, handle);
    flock_group_view_clear(&view);
    return ret;
}

/* The address of the contact must at least be one of our transport. */
static flock_return_t check_contact(flock_client_t client, const flock_group_view_t *view)
{
    assert(view->members.size > 0);
    hg_addr_t addr;
    if (margo_addr_lookup(client->mid, view->members.data[0].address, &addr) != HG_SUCCESS)
        return FLOCK_ERR_FROM_MERCURY;
    margo_addr_free(client->mid, addr);
    return FLOCK_SUCCESS;
}

/* `view` is freed. */
static flock_return_t create_from_loaded(flock_client_t client, flock_return_t loaded, flock_group_view_t *view,
                                         uint32_t mode, flock_group_handle_t *handle)
{
    if (loaded != FLOCK_SUCCESS)
        return loaded;
    flock_return_t ret = check_contact(client, view);
    if (ret == FLOCK_SUCCESS)
        ret = create_from_view(client, view, mode, handle);
    flock_group_view_clear(view);
    return ret;
}

flock_return_t flock_group_handle_create_from_file(flock_client_t client, const char *filename, uint32_t mode,
                                                   flock_group_handle_t *handle)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    if (!client || !handle)
        return FLOCK_ERR_INVALID_ARGS;
    return create_from_loaded(client, flock_group_view_from_file(filename, &view), &view, mode, handle);
}

flock_return_t flock_group_handle_create_from_serialized(flock_client_t client, const char *text, size_t length,
                                                         uint32_t mode, flock_group_handle_t *handle)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    if (!client || !handle)
        return FLOCK_ERR_INVALID_ARGS;
    return create_from_loaded(client, flock_group_view_from_string(text, length, &view), &view, mode, handle);
}

flock_return_t flock_group_handle_ref_incr(flock_group_handle_t handle)
{
    if (!handle)
        return FLOCK_ERR_INVALID_ARGS;
    __atomic_add_fetch(&handle->references, 1, __ATOMIC_RELAXED);
    return FLOCK_SUCCESS;
}

flock_return_t flock_group_handle_release(flock_group_handle_t handle)
{
    if (!handle)
        return FLOCK_ERR_INVALID_ARGS;
    if (__atomic_sub_fetch(&handle->references, 1, __ATOMIC_ACQ_REL) == 0)
        destroy(handle);
    return FLOCK_SUCCESS;
}

flock_return_t flock_group_get_view(flock_group_handle_t handle, flock_group_view_t *view)
{
    if (!handle || !view)
        return FLOCK_ERR_INVALID_ARGS;
    flock_group_view_clear(view);
    lock(handle);
    bool copied = flock_group_view_copy(&handle->view, view);
    unlock(handle);
    return copied ? FLOCK_SUCCESS : FLOCK_ERR_ALLOCATION;
}

flock_return_t flock_group_access_view(flock_group_handle_t handle,
                                       void (*fn)(void *uargs, const flock_group_view_t *view), void *uargs)
{
    if (!handle)
        return FLOCK_ERR_INVALID_ARGS;
    if (!fn)
        return FLOCK_SUCCESS;
    lock(handle);
    fn(uargs, &handle->view);
    unlock(handle);
    return FLOCK_SUCCESS;
}

/* What one member says to a new value. */
static flock_return_t set_metadata_at(struct flock_group_handle *handle, const flock_member_t *member,
                                      flk_set_metadata_in_t *in, double timeout_ms)
{
    margo_instance_id mid = handle->client->mid;
    struct flk_call call;
    flk_set_metadata_out_t out = {0};
    hg_return_t hret =
        flk_call_start(&call, mid, handle->client->set_metadata, member->address, member->provider_id, in, timeout_ms);
    if (hret != HG_SUCCESS)
        return FLOCK_ERR_FROM_MERCURY;
    flock_return_t ret = FLOCK_ERR_FROM_MERCURY;
    if (flk_call_wait(&call, &out) == HG_SUCCESS) {
        ret = known_code(out.ret);
        margo_free_output(call.handle, &out);
    }
    flk_call_end(&call);
    return ret;
}

flock_return_t flock_group_metadata_set(flock_group_handle_t handle, const char *key, const char *value)
{
    if (!handle || !key || !*key || !value)
        return FLOCK_ERR_INVALID_ARGS;
    if (strncmp(key, "__", 2) == 0)
        return FLOCK_ERR_OP_FORBIDDEN;
    struct contacts contacts;
    flk_set_metadata_in_t in = {(char *)(uintptr_t)key, (char *)(uintptr_t)value}; /* only read */
    int64_t deadline_ns = dango_deadline_ns(UPDATE_TIMEOUT_MS);
    flock_return_t ret = choose_contacts(handle, &contacts);
    if (ret != FLOCK_SUCCESS)
        return ret;
    /* Setting a value twice is harmless: whoever does not answer is followed by the next. */
    ret = FLOCK_ERR_FROM_MERCURY;
    for (size_t i = 0; i < contacts.count && ret == FLOCK_ERR_FROM_MERCURY; i++) {
        double left_ms = (double)(deadline_ns - dango_clock_ns()) / (double)DANGO_NS_PER_MS;
        if (left_ms <= 0)
            break;
        ret = set_metadata_at(handle, contacts.members[i], &in, i + 1 < contacts.count ? left_ms / 2 : left_ms);
    }
    flock_group_view_clear(&contacts.copy);
    return ret;
}

flock_return_t flock_group_get_statistics(flock_group_handle_t handle, char **statistics)
{
    if (!handle || !statistics)
        return FLOCK_ERR_INVALID_ARGS;
    struct flk_call call;
    flk_statistics_out_t out = {0};
    lock(handle);
    char *contact = strdup(handle->contact);
    uint16_t id = handle->contact_id;
    unlock(handle);
    if (!contact)
        return FLOCK_ERR_ALLOCATION;
    flock_return_t ret = FLOCK_ERR_FROM_MERCURY;
    hg_return_t hret =
        flk_call_start(&call, handle->client->mid, handle->client->statistics, contact, id, NULL, UPDATE_TIMEOUT_MS);
    free(contact);
    if (hret != HG_SUCCESS)
        return ret;
    if (flk_call_wait(&call, &out) == HG_SUCCESS) {
        ret = known_code(out.ret);
        *statistics = ret == FLOCK_SUCCESS ? strdup(out.text) : NULL;
        if (ret == FLOCK_SUCCESS && !*statistics)
            ret = FLOCK_ERR_ALLOCATION;
        margo_free_output(call.handle, &out);
    }
    flk_call_end(&call);
    return ret;
}
