/*
 * The process-wide tables of backends and gateways: what is built in, and what programs register. Two tables of the same
 * shape, entries keep their place for ever. One mutex that works before Argobots is initialised.
 */
#include "flock/internal.h"

#include "util/suggest.h"

#include <assert.h>
#include <pthread.h>

#define ENTRIES_MAX 64

/* An entry begins with its name, in both kinds. */
struct named {
    const char *name;
};

static_assert(offsetof(flock_backend_impl, name) == 0, "a backend begins with its name");
static_assert(offsetof(flock_gateway_impl, name) == 0, "a gateway begins with its name");

struct table {
    const char *kind;
    void *entries[ENTRIES_MAX];
    size_t count;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards both tables */
static struct table backends = {"backends", {&flk_static_backend, &flk_centralized_backend, &flk_swim_backend}, 3};
static struct table gateways = {"gateways", {&flk_default_gateway}, 1};

static const char *name_of(const void *entry)
{
    return ((const struct named *)entry)->name;
}

static void *find_locked(const struct table *table, const char *name)
{
    assert(name && table->count <= ENTRIES_MAX);
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(name_of(table->entries[i]), name) == 0)
            return table->entries[i];
    }
    return NULL;
}

/* The first one of a name stays: providers may be using it. */
static flock_return_t add(struct table *table, void *entry)
{
    flock_return_t ret = FLOCK_SUCCESS;
    if (!entry || !name_of(entry))
        return FLOCK_ERR_INVALID_ARGS;
    pthread_mutex_lock(&mutex);
    if (!find_locked(table, name_of(entry))) {
        if (table->count < ENTRIES_MAX)
            table->entries[table->count++] = entry;
        else
            ret = FLOCK_ERR_ALLOCATION;
    }
    pthread_mutex_unlock(&mutex);
    return ret;
}

static void *find(struct table *table, const char *name, struct dango_error *err)
{
    assert(name);
    const char *names[ENTRIES_MAX];
    pthread_mutex_lock(&mutex);
    void *entry = find_locked(table, name);
    size_t count = table->count;
    for (size_t i = 0; i < count; i++)
        names[i] = name_of(table->entries[i]);
    pthread_mutex_unlock(&mutex);
    if (!entry) {
        char list[256];
        dango_error_set(err, DANGO_ERR_INVALID, "unknown type \"%s\"%s", name,
                        dango_suggest_list(table->kind, name, names, count, list, sizeof list));
    }
    return entry;
}

flock_return_t flock_register_backend(flock_backend_impl *backend)
{
    return add(&backends, backend);
}

flock_return_t flock_register_gateway(flock_gateway_impl *gateway)
{
    return add(&gateways, gateway);
}

flock_backend_impl *flk_backend_find(const char *name, struct dango_error *err)
{
    return find(&backends, name, err);
}

flock_gateway_impl *flk_gateway_find(const char *name, struct dango_error *err)
{
    return find(&gateways, name, err);
}

bool flk_backend_writes_file(const flock_backend_impl *backend, void *context, const flock_group_view_t *view,
                             const char *address, uint16_t id)
{
    assert(backend && address);
    if (backend == &flk_centralized_backend)
        return flk_cen_writes_file(context);
    if (backend == &flk_swim_backend)
        return flk_swim_writes_file(context);
    const flock_member_t *first = flock_group_view_member_at(view, 0);
    return first && first->provider_id == id && strcmp(first->address, address) == 0;
}

bool flk_backend_stamp(const flock_backend_impl *backend, void *context, struct flk_stamp *stamp)
{
    assert(backend && stamp);
    if (backend == &flk_centralized_backend)
        return flk_cen_stamp(context, stamp);
    return backend == &flk_swim_backend && flk_swim_stamp(context, stamp);
}

void flk_backend_pass(const flock_backend_impl *backend, void *context, uint64_t change)
{
    if (backend == &flk_swim_backend)
        flk_swim_pass(context, change);
}

bool flk_backend_suspects(const flock_backend_impl *backend, void *context, const char *address, uint16_t id)
{
    return backend == &flk_swim_backend && flk_swim_suspects(context, address, id);
}

flock_return_t flk_backend_move(const flock_backend_impl *backend, void *context, const char *address)
{
    assert(backend && address);
    if (backend == &flk_centralized_backend)
        return flk_cen_move_self(context, address);
    return backend == &flk_swim_backend ? flk_swim_move_self(context, address) : FLOCK_ERR_OP_UNSUPPORTED;
}

void flk_backend_statistics(const flock_backend_impl *backend, void *context, struct json_object *json)
{
    assert(backend && json);
    if (backend == &flk_centralized_backend)
        flk_cen_statistics(context, json);
    else if (backend == &flk_swim_backend)
        flk_swim_statistics(context, json);
}
