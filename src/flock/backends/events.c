/*
 * Updates in order: see backend.h. Strings are copied, since the view may have changed again when they are reported; an
 * update for which there is no memory is lost, and the next one brings the group file up to date all the same.
 */
#include "flock/backends/backend.h"

#include <assert.h>

struct event {
    struct list_node node;
    struct flk_update update;
    char text[]; /* name, NUL, value, NUL */
};

static void lock(struct flk_events *events)
{
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&events->mutex));
}

static void unlock(struct flk_events *events)
{
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&events->mutex));
}

void flk_events_init(struct flk_events *events, flock_backend_init_args_t *args)
{
    assert(args->member_update_callback && args->metadata_update_callback);
    memset(events, 0, sizeof *events);
    list_init(&events->waiting);
    events->member_changed = container_of(args, struct flk_backend_args, args)->member_changed;
    events->writer_changed = container_of(args, struct flk_backend_args, args)->writer_changed;
    events->member_update = args->member_update_callback;
    events->metadata_update = args->metadata_update_callback;
    events->context = args->callback_context;
}

void flk_events_discard(struct flk_events *events)
{
    lock(events);
    for (struct list_node *node = list_pop(&events->waiting); node; node = list_pop(&events->waiting))
        free(container_of(node, struct event, node));
    events->writer = false;
    unlock(events);
}

void flk_events_fini(struct flk_events *events)
{
    assert(!events->reporting);
    if (events->context) /* initialised */
        flk_events_discard(events);
}

static void add(struct flk_events *events, const struct flk_update *update)
{
    assert(update->name);
    size_t name_size = strlen(update->name) + 1, value_size = update->value ? strlen(update->value) + 1 : 0;
    struct event *event = malloc(sizeof *event + name_size + value_size);
    if (!event)
        return;
    event->update = *update;
    event->update.name = memcpy(event->text, update->name, name_size);
    if (update->value)
        event->update.value = memcpy(event->text + name_size, update->value, value_size);
    lock(events);
    list_append(&events->waiting, &event->node);
    unlock(events);
}

static void note(struct flk_events *events, flock_update_t kind, const char *address, const char *former,
                 uint16_t provider_id)
{
    events->member_changed(events->context, kind, address, former, provider_id);
    add(events, &(struct flk_update){.kind = kind, .name = address, .provider_id = provider_id});
}

void flk_events_member(struct flk_events *events, flock_update_t kind, const char *address, uint16_t provider_id)
{
    note(events, kind, address, NULL, provider_id);
}

void flk_events_moved(struct flk_events *events, const char *from, const char *to, uint16_t provider_id)
{
    note(events, FLOCK_MEMBER_MOVED, to, from, provider_id);
}

void flk_events_metadata(struct flk_events *events, const char *key, const char *value)
{
    add(events, &(struct flk_update){.is_metadata = true, .name = key, .value = value});
}

void flk_events_writer(struct flk_events *events)
{
    lock(events);
    events->writer = true;
    unlock(events);
}

static void report(const struct flk_events *events, const struct flk_update *update)
{
    if (update->is_metadata)
        events->metadata_update(events->context, update->name, update->value);
    else
        events->member_update(events->context, update->kind, update->name, update->provider_id);
}

static void report_writer(struct flk_events *events)
{
    lock(events);
    bool changed = events->writer;
    events->writer = false;
    unlock(events);
    if (changed)
        events->writer_changed(events->context);
}

void flk_events_report(struct flk_events *events)
{
    report_writer(events);
    lock(events);
    if (events->reporting) {
        unlock(events);
        return;
    }
    events->reporting = true;
    for (struct list_node *node = list_pop(&events->waiting); node; node = list_pop(&events->waiting)) {
        struct event *event = container_of(node, struct event, node);
        unlock(events);
        report(events, &event->update);
        free(event);
        lock(events);
    }
    events->reporting = false;
    unlock(events);
}
