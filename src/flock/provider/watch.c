/*
 * Clients that wait for a change of the view: their requests are answered late. A request waits in its ULT, for a limited
 * time, and only so many at once; those beyond are answered at once, as if nothing had changed.
 *
 * A client sees who is missing from the new view, but not why. The members that have left or moved lately are therefore
 * sent along; whoever is missing and not among them has died. Backends of ours note them together with the change of the
 * view, under its lock: an answer, which takes the view first, never has a view without a member and not yet the reason.
 *
 * Somebody who has moved and is gone since is gone from the former address, too: a client that knows only that one hears of
 * the end there. The list has a limit; beyond it the oldest entry goes, a move with both addresses.
 */
#include "flock/provider/provider.h"

#include <assert.h>
#include <time.h>

#define WATCHERS_MAX 256
#define WAIT_MAX_MS  60000

static void lock(struct flock_provider *provider)
{
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->watch));
}

static void unlock(struct flock_provider *provider)
{
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->watch));
}

static void drop(struct flock_provider *provider, size_t i)
{
    assert(i < provider->gone_count);
    struct flk_gone *gone = &provider->gone[i];
    free(gone->address);
    free(gone->former);
    memmove(gone, gone + 1, (--provider->gone_count - i) * sizeof *gone);
}

/* A former address that is in use again is none any more. Returns from where the member came here, to be freed, or NULL. */
static char *forget(struct flock_provider *provider, const char *address, uint16_t provider_id)
{
    char *former = NULL;
    for (size_t i = provider->gone_count; i-- > 0;) {
        struct flk_gone *gone = &provider->gone[i];
        if (gone->provider_id != provider_id)
            continue;
        if (gone->former && strcmp(gone->former, address) == 0) {
            free(gone->former);
            gone->former = NULL;
        }
        if (strcmp(gone->address, address) == 0) {
            free(former);
            former = gone->former;
            gone->former = NULL;
            drop(provider, i);
        }
    }
    return former;
}

/* Takes over the strings. */
static void remember(struct flock_provider *provider, struct flk_gone gone)
{
    assert(gone.address);
    if (provider->gone_count == FLK_GONE_MAX)
        drop(provider, 0);
    provider->gone[provider->gone_count++] = gone;
}

/* Also at the addresses before this one. */
static void note_end(struct flock_provider *provider, flock_update_t kind, const char *address, uint16_t provider_id)
{
    char *former, *at = strdup(address);
    for (; at; at = former) {
        former = forget(provider, at, provider_id);
        if (kind == FLOCK_MEMBER_LEFT)
            remember(provider, (struct flk_gone){kind, provider_id, at, NULL});
        else
            free(at);
    }
}

/* With the lock. A member is on the list for what has happened to it last. */
static void note(struct flock_provider *provider, flock_update_t kind, const char *address, const char *former,
                 uint16_t provider_id)
{
    if (kind == FLOCK_MEMBER_LEFT || kind == FLOCK_MEMBER_DIED) {
        note_end(provider, kind, address, provider_id);
        return;
    }
    free(forget(provider, address, provider_id));
    char *copy = kind == FLOCK_MEMBER_MOVED ? strdup(address) : NULL;
    if (copy)
        remember(provider, (struct flk_gone){kind, provider_id, copy, former ? strdup(former) : NULL});
}

void flk_watch_member(void *context, flock_update_t kind, const char *address, const char *former, uint16_t provider_id)
{
    assert(context && address);
    struct flock_provider *provider = context;
    lock(provider);
    provider->left_in_time = true;
    note(provider, kind, address, former, provider_id);
    unlock(provider);
}

void flk_watch_changed(struct flock_provider *provider, const struct flk_update *update)
{
    assert(update->name);
    lock(provider);
    if (!update->is_metadata && !provider->left_in_time)
        note(provider, update->kind, update->name, NULL, update->provider_id);
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
    for (size_t i = 0; i < provider->gone_count; i++) {
        const struct flk_gone *gone = &provider->gone[i];
        flock_group_view_t *list = gone->kind == FLOCK_MEMBER_MOVED ? moved : left;
        flock_group_view_add_member(list, gone->address, gone->provider_id);
        if (gone->former)
            flock_group_view_add_member(list, gone->former, gone->provider_id);
    }
    unlock(provider);
}

void flk_watch_forget(struct flock_provider *provider)
{
    while (provider->gone_count > 0)
        drop(provider, provider->gone_count - 1);
}

void flk_watch_close(struct flock_provider *provider)
{
    lock(provider);
    provider->closing = true;
    ABT_cond_broadcast(ABT_COND_MEMORY_GET_HANDLE(&provider->changed));
    unlock(provider);
}
