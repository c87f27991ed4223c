/*
 * Subscriptions of group handles: a ULT that asks a member for its view again and again, with the answer delayed until
 * there is something new. So nobody has to call the client, which works for clients that do not listen, too, and a member
 * that is lost is noticed by the pending call. What the callbacks know is kept beside the view: however the view has been
 * updated meanwhile, the differences are reported once.
 */
#include "flock/client/client.h"

#include "flock/internal.h"

#include <assert.h>

#define WAIT_MS        10000
#define ANSWER_MS      5000.0 /* beyond that */
#define BACKOFF_MS     50.0
#define BACKOFF_MAX_MS 800.0

static void lock(struct flock_group_handle *handle)
{
    FLOCK_GROUP_VIEW_LOCK(&handle->view);
}

static void unlock(struct flock_group_handle *handle)
{
    FLOCK_GROUP_VIEW_UNLOCK(&handle->view);
}

/* ---- reporting ---- */

static void report_member(struct flock_group_handle *handle, flock_update_t update, const flock_member_t *member)
{
    if (handle->member_update)
        handle->member_update(handle->context, update, member->address, member->provider_id);
}

static bool has(flock_group_view_t *view, const flock_member_t *member)
{
    return flock_group_view_find_member(view, member->address, member->provider_id) != NULL;
}

/* A view as the last answer gave it, and what it says of members that are gone. */
struct answer {
    flock_group_view_t view, left, moved;
};

/* A member that has moved is reported with its new address; with the old one it is only missing. If it is gone from the new
 * one, too, the answer does not say any more that it has moved. */
static void report_members(struct flock_group_handle *handle, struct answer *now)
{
    for (uint64_t i = 0; i < handle->seen.members.size; i++) {
        const flock_member_t *member = &handle->seen.members.data[i];
        if (!has(&now->view, member) && !has(&now->moved, member))
            report_member(handle, has(&now->left, member) ? FLOCK_MEMBER_LEFT : FLOCK_MEMBER_DIED, member);
    }
    for (uint64_t i = 0; i < now->view.members.size; i++) {
        const flock_member_t *member = &now->view.members.data[i];
        if (!has(&handle->seen, member))
            report_member(handle, has(&now->moved, member) ? FLOCK_MEMBER_MOVED : FLOCK_MEMBER_JOINED, member);
    }
}

static void report_metadata(struct flock_group_handle *handle, const flock_group_view_t *now)
{
    if (!handle->metadata_update)
        return;
    for (uint64_t i = 0; i < now->metadata.size; i++) {
        const flock_metadata_t *entry = &now->metadata.data[i];
        const char *before = flock_group_view_find_metadata(&handle->seen, entry->key);
        if (!before || strcmp(before, entry->value) != 0)
            handle->metadata_update(handle->context, entry->key, entry->value);
    }
    for (uint64_t i = 0; i < handle->seen.metadata.size; i++) {
        if (!flock_group_view_find_metadata(now, handle->seen.metadata.data[i].key))
            handle->metadata_update(handle->context, handle->seen.metadata.data[i].key, NULL);
    }
}

static void report(struct flock_group_handle *handle)
{
    struct answer now = {.view = FLOCK_GROUP_VIEW_INITIALIZER};
    lock(handle);
    handle->reported = handle->version;
    bool copied = flock_group_view_copy(&handle->view, &now.view) && flock_group_view_copy(&handle->left, &now.left) &&
                  flock_group_view_copy(&handle->moved, &now.moved);
    unlock(handle);
    if (copied) {
        report_members(handle, &now);
        report_metadata(handle, &now.view);
        flock_group_view_clear(&handle->seen);
        FLOCK_GROUP_VIEW_MOVE(&now.view, &handle->seen);
    }
    flock_group_view_clear(&now.view);
    flock_group_view_clear(&now.left);
    flock_group_view_clear(&now.moved);
}

/* ---- waiting ---- */

/* One question to the member that answered last; false if it does not answer. What an update of the program has fetched
 * since the last report would not be news to that member. */
static bool wait_for_change(struct flock_group_handle *handle)
{
    lock(handle);
    if (handle->version != handle->reported) {
        unlock(handle);
        return true;
    }
    char *address = strdup(handle->contact);
    flock_member_t contact = {.address = address, .provider_id = handle->contact_id};
    uint64_t version = handle->version;
    unlock(handle);
    bool answered = address && flk_group_ask(handle, &contact, version, WAIT_MS + ANSWER_MS, WAIT_MS) == FLOCK_SUCCESS;
    free(address);
    return answered;
}

static bool is_wanted(struct flock_group_handle *handle)
{
    lock(handle);
    bool wanted = !handle->unsubscribing;
    unlock(handle);
    return wanted;
}

static void subscriber(void *arg)
{
    struct flock_group_handle *handle = arg;
    double backoff_ms = BACKOFF_MS;
    while (is_wanted(handle)) {
        if (wait_for_change(handle) || (is_wanted(handle) && flk_group_update(handle) == FLOCK_SUCCESS)) {
            backoff_ms = BACKOFF_MS;
            report(handle);
        } else if (is_wanted(handle)) {
            margo_thread_sleep(handle->client->mid, backoff_ms);
            backoff_ms = 2 * backoff_ms < BACKOFF_MAX_MS ? 2 * backoff_ms : BACKOFF_MAX_MS;
        }
    }
}

/* ---- beginning and end ---- */

flock_return_t flock_group_subscribe(flock_group_handle_t handle, flock_membership_update_fn member_update,
                                     flock_metadata_update_fn metadata_update, void *context)
{
    if (!handle)
        return FLOCK_ERR_INVALID_ARGS;
    lock(handle);
    bool first = !handle->subscribed;
    handle->subscribed = true;
    unlock(handle);
    if (!first)
        return FLOCK_ERR_INVALID_ARGS;
    flock_return_t ret = flk_group_update(handle);
    if (ret == FLOCK_SUCCESS && flock_group_get_view(handle, &handle->seen) != FLOCK_SUCCESS)
        ret = FLOCK_ERR_ALLOCATION;
    handle->member_update = member_update;
    handle->metadata_update = metadata_update;
    handle->context = context;
    handle->unsubscribing = false;
    handle->reported = 0;
    if (ret == FLOCK_SUCCESS && ABT_thread_create(handle->client->pool, subscriber, handle, ABT_THREAD_ATTR_NULL,
                                                  &handle->subscriber) != ABT_SUCCESS)
        ret = FLOCK_ERR_FROM_ARGOBOTS;
    if (ret != FLOCK_SUCCESS)
        handle->subscribed = false;
    return ret;
}

flock_return_t flock_group_unsubscribe(flock_group_handle_t handle)
{
    if (!handle || !handle->subscribed)
        return FLOCK_ERR_INVALID_ARGS;
    lock(handle);
    handle->unsubscribing = true;
    if (handle->waiting != HG_HANDLE_NULL)
        HG_Cancel(handle->waiting);
    unlock(handle);
    ABT_thread_free(&handle->subscriber);
    handle->subscribed = false;
    return FLOCK_SUCCESS;
}
