/*
 * What happens when the view of a provider changes: the version goes up, callbacks are called, the group file is brought
 * up to date. Updates that a backend reports during its own initialisation are kept until the provider is complete.
 *
 * The group file is written by one provider of the group (flk_backend_writes_file), from a copy of the view, under a mutex
 * of its own: the last to write has the newest view, and a burst of changes ends in one file. No lock of the view or of
 * the callbacks is held meanwhile.
 */
#include "flock/provider/provider.h"

#include "util/list.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

/* An update that came before the provider was complete. */
struct early_update {
    struct list_node node;
    struct flk_update update;
    char *name, *value;
};

/* ---- the view ---- */

struct snapshot {
    flock_group_view_t view;
    bool copied;
};

/* Backends hand out their own view; its lock is ours to take. */
static void copy_view(void *arg, const flock_group_view_t *view)
{
    struct snapshot *snapshot = arg;
    flock_group_view_t *shared = (flock_group_view_t *)(uintptr_t)view; /* locking is not a change */
    FLOCK_GROUP_VIEW_LOCK(shared);
    snapshot->copied = flock_group_view_copy(view, &snapshot->view);
    FLOCK_GROUP_VIEW_UNLOCK(shared);
}

bool flk_provider_snapshot(struct flock_provider *provider, flock_group_view_t *view)
{
    assert(view->members.size == 0);
    struct snapshot snapshot = {.view = FLOCK_GROUP_VIEW_INITIALIZER};
    if (provider->backend->get_view(provider->backend_context, copy_view, &snapshot) != FLOCK_SUCCESS ||
        !snapshot.copied)
        return false;
    FLOCK_GROUP_VIEW_MOVE(&snapshot.view, view);
    return true;
}

/* ---- the group file ---- */

static int write_file_locked(struct flock_provider *provider, struct dango_error *err)
{
    assert(provider->file);
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    /* Read before the view: a change in between makes the file newer than noted, never older. */
    uint64_t version = __atomic_load_n(&provider->version, __ATOMIC_ACQUIRE);
    if (!provider->file_allowed || provider->file_version == version)
        return 0;
    if (!flk_provider_snapshot(provider, &view))
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = 0;
    bool writer =
        flk_backend_writes_file(provider->backend, provider->backend_context, &view, provider->address, provider->id);
    /* The change that makes somebody else the writer is written by both: the new one may know nothing of a change. */
    if (writer || provider->file_writer)
        status = flk_group_file_write(&view, provider->file, err);
    if (status == 0 && (writer || provider->file_writer))
        __atomic_add_fetch(&provider->file_writes, 1, __ATOMIC_RELAXED);
    if (status == 0) {
        provider->file_version = version;
        provider->file_writer = writer;
    }
    flock_group_view_clear(&view);
    return status;
}

/* Brings the file up to date, if this provider is the one that writes it. */
static int write_file(struct flock_provider *provider, bool now_allowed, struct dango_error *err)
{
    if (!provider->file)
        return 0;
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->file_mutex));
    provider->file_allowed |= now_allowed;
    int status = write_file_locked(provider, err);
    if (provider->file_allowed)
        flk_lock_release(&provider->lock);
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->file_mutex));
    return status;
}

void flk_provider_remove_file(struct flock_provider *provider)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    if (!provider->file || !provider->remove_file)
        return;
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->file_mutex));
    bool alone = flk_provider_snapshot(provider, &view) && view.members.size == 1;
    if (alone && provider->file_writer && unlink(provider->file) != 0 && errno != ENOENT)
        log_warning("flock", "%s: the group file cannot be removed: %s", provider->file, strerror(errno));
    provider->file_allowed = false; /* what comes now does not bring it back */
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->file_mutex));
    flock_group_view_clear(&view);
}

void flk_provider_keep_lock(struct flock_provider *provider, struct flk_lock *lock)
{
    assert(provider->lock.fd < 0);
    provider->lock = *lock;
    *lock = FLK_LOCK_NONE;
}

int dango_flock_publish(flock_provider_t provider, struct dango_error *err)
{
    assert(provider);
    return write_file(provider, true, err);
}

/* ---- updates from the backend ---- */

/* The version first: a client that asks from inside a callback gets the new view. */
static void deliver(struct flock_provider *provider, const struct flk_update *update)
{
    assert(update->name);
    struct dango_error err = {0};
    flk_watch_changed(provider, update);
    flk_callbacks_call(&provider->callbacks, update);
    if (write_file(provider, false, &err) != 0)
        log_warning("flock", "the group file is out of date: %s", err.text);
}

static void free_early(struct early_update *early)
{
    free(early->name);
    free(early->value);
    free(early);
}

/* Copies: the strings of an update are valid during the call only. */
static void keep_for_later(struct flock_provider *provider, const struct flk_update *update)
{
    assert(!provider->started);
    struct early_update *early = calloc(1, sizeof *early);
    if (!early)
        return;
    early->update = *update;
    early->name = strdup(update->name);
    early->value = update->value ? strdup(update->value) : NULL;
    early->update.name = early->name;
    early->update.value = early->value;
    list_append(&provider->early, &early->node);
}

static void on_update(struct flock_provider *provider, const struct flk_update *update)
{
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->start));
    bool started = provider->started;
    if (!started)
        keep_for_later(provider, update);
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->start));
    if (started && dango_gate_enter(&provider->gate)) {
        deliver(provider, update);
        dango_gate_leave(&provider->gate);
    }
}

void flk_on_member_update(void *context, flock_update_t kind, const char *address, uint16_t provider_id)
{
    on_update(context, &(struct flk_update){.kind = kind, .name = address, .provider_id = provider_id});
}

void flk_on_metadata_update(void *context, const char *key, const char *value)
{
    on_update(context, &(struct flk_update){.is_metadata = true, .name = key, .value = value});
}

/* From now on updates are delivered; those that waited come first. */
void flk_updates_start(struct flock_provider *provider)
{
    assert(!provider->started);
    struct list_node *node;
    do {
        ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->start));
        node = list_pop(&provider->early);
        provider->started = node == NULL;
        ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->start));
        if (node) {
            struct early_update *early = container_of(node, struct early_update, node);
            if (early->name)
                deliver(provider, &early->update);
            free_early(early);
        }
    } while (node);
}

void flk_updates_drop(struct flock_provider *provider)
{
    for (struct list_node *node = list_pop(&provider->early); node; node = list_pop(&provider->early))
        free_early(container_of(node, struct early_update, node));
}
