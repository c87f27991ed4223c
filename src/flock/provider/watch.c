/*
 * Clients that wait for a change of the view: their requests are answered late. A request waits in its ULT, for a limited
 * time, and only so many at once; those beyond are answered at once, as if nothing had changed.
 *
 * A client sees who is missing from the new view, but not why. The members that have left or moved lately are therefore
 * sent along; whoever is missing and not among them has died. Backends of ours note them together with the change of the view, under its
 * lock: an answer, which takes the view first, never has a view without a member and not yet the reason.
 */
#include "flock/provider/provider.h"

#include <assert.h>
#include <time.h>

#define WATCHERS_MAX 256
#define WAIT_MAX_MS  60000
#define LEFT_MAX     32

static void lock(struct flock_provider *provider)
{
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->watch));
}

static void unlock(struct flock_provider *provider)
{
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->watch));
}

static void forget(flock_group_view_t *list, const char *address, uint16_t provider_id)
{
    flock_member_t *known = flock_group_view_find_member(list, address, provider_id);
    if (known)
        flock_group_view_remove_member(list, known);
}

static void remember(flock_group_view_t *list, const char *address, uint16_t provider_id)
{
    if (flock_group_view_find_member(list, address, provider_id))
        return;
    if (list->members.size >= LEFT_MAX)
        flock_group_view_remove_member(list, &list->members.data[0]);
    flock_group_view_add_member(list, address, provider_id);
}

/* With the lock. A member is on the list of what has happened to it last. */
static void note(struct flock_provider *provider, flock_update_t kind, const char *address, uint16_t provider_id)
{
    if (kind != FLOCK_MEMBER_LEFT)
        forget(&provider->left, address, provider_id);
    if (kind != FLOCK_MEMBER_MOVED)
        forget(&provider->moved, address, provider_id);
    if (kind == FLOCK_MEMBER_LEFT)
        remember(&provider->left, address, provider_id);
    else if (kind == FLOCK_MEMBER_MOVED)
        remember(&provider->moved, address, provider_id);
}

void flk_watch_member(void *context, flock_update_t kind, const char *address, uint16_t provider_id)
{
    assert(context && address);
    struct flock_provider *provider = context;
    lock(provider);
    provider->left_in_time = true;
    note(provider, kind, address, provider_id);
    unlock(provider);
}

void flk_watch_changed(struct flock_provider *provider, const struct flk_update *update)
{
    assert(update->name);
    lock(provider);
    if (!update->is_metadata && !provider->left_in_time)
        note(provider, update->kind, update->name, update->provider_id);
    __atomic_add_fetch(&provider->version, 1, __ATOMIC_RELEASE);
    ABT_cond_broadcast(ABT_COND_MEMORY_GET_HANDLE(&provider->changed));
    unlock(provider);
}

void flk_watch(struct flock_provider *provider, uint64_t version, uint32_t wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    wait_ms = wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS;
    int64_t ns = until.tv_nsec + (int64_t)wait_ms * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    lock(provider);
    if (provider->watchers < WATCHERS_MAX) {
        int result = ABT_SUCCESS;
        provider->watchers++;
        while (provider->version == version && !provider->closing && result == ABT_SUCCESS)
            result = ABT_cond_timedwait(ABT_COND_MEMORY_GET_HANDLE(&provider->changed),
                                        ABT_MUTEX_MEMORY_GET_HANDLE(&provider->watch), &until);
        provider->watchers--;
    }
    unlock(provider);
}

void flk_watch_gone(struct flock_provider *provider, flock_group_view_t *left, flock_group_view_t *moved)
{
    lock(provider);
    flock_group_view_copy(&provider->left, left);
    flock_group_view_copy(&provider->moved, moved);
    unlock(provider);
}

void flk_watch_close(struct flock_provider *provider)
{
    lock(provider);
    provider->closing = true;
    ABT_cond_broadcast(ABT_COND_MEMORY_GET_HANDLE(&provider->changed));
    unlock(provider);
}
