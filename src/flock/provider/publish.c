/*
 * What happens when the view of a provider changes: the version goes up, callbacks are called, the group file is brought
 * up to date (file.c). Updates that a backend reports during its own initialisation are kept until the provider is
 * complete.
 */
#include "flock/mpi.h"
#include "flock/provider/provider.h"

#include "util/list.h"
#include "util/log.h"

#include <assert.h>

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

void flk_provider_keep_ranks(struct flock_provider *provider, int *ranks, size_t count)
{
    assert(ranks && !provider->ranks);
    provider->ranks = ranks;
    provider->rank_count = count;
}

static void wait_for_ranks(struct flock_provider *provider)
{
    struct dango_error err = {0};
    if (provider->ranks && flk_mpi_allgather(provider->ranks, provider->rank_count, NULL, 0, NULL, &err) != 0)
        log_warning("flock", "the processes of this launch do not wait for each other: %s", err.text);
    free(provider->ranks);
    provider->ranks = NULL;
}

int dango_flock_publish(flock_provider_t provider, struct dango_error *err)
{
    assert(provider);
    wait_for_ranks(provider);
    return flk_file_update(provider, true, err);
}

/* ---- updates from the backend ---- */

static void update_file(struct flock_provider *provider)
{
    struct dango_error err = {0};
    if (flk_file_update(provider, false, &err) != 0)
        log_warning("flock", "the group file is out of date: %s", err.text);
}

/* The version first: a client that asks from inside a callback gets the new view. */
static void deliver(struct flock_provider *provider, const struct flk_update *update)
{
    assert(update->name);
    flk_watch_changed(provider, update);
    flk_callbacks_call(&provider->callbacks, update);
    update_file(provider);
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

/* Before the start there is nothing to do: the first file is written after it. */
void flk_on_writer_change(void *context)
{
    struct flock_provider *provider = context;
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->start));
    bool started = provider->started;
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&provider->start));
    if (started && dango_gate_enter(&provider->gate)) {
        update_file(provider);
        dango_gate_leave(&provider->gate);
    }
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
