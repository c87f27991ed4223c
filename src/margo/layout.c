/*
 * Layouts: the lists of pools and execution streams, look-up, and output. How a declared layout is completed is in
 * layout_complete.c.
 */
#include "margo/layout.h"
#include "margo/config.h"

#include "util/json.h"
#include "util/suggest.h"

#include <argobots/dango_abt.h>

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists ---- */

static int list_push(void ***list, size_t *count, void *entry)
{
    /* Capacities are powers of two: the list is full whenever the count is one. */
    if ((*count & (*count - 1)) == 0) {
        size_t capacity = *count ? *count * 2 : 1;
        void **grown = reallocarray(*list, capacity, sizeof *grown);
        if (!grown)
            return DANGO_ERR_NO_MEMORY;
        *list = grown;
    }
    (*list)[(*count)++] = entry;
    return 0;
}

static size_t list_index(void *const *list, size_t count, const void *entry)
{
    size_t i = 0;
    while (i < count && list[i] != entry)
        i++;
    assert(i < count);
    return i;
}

static void list_drop(void **list, size_t *count, const void *entry)
{
    size_t i = list_index(list, *count, entry);
    memmove(&list[i], &list[i + 1], (*count - i - 1) * sizeof *list);
    (*count)--;
}

/* ---- names ---- */

static bool declares(struct json_object *array, const char *name)
{
    for (size_t i = 0; array && i < json_object_array_length(array); i++) {
        const char *declared = dango_json_get_string(json_object_array_get_idx(array, i), "name");
        if (declared && strcmp(declared, name) == 0)
            return true;
    }
    return false;
}

static bool pool_name_taken(const struct mg_layout *layout, const char *name)
{
    return mg_layout_find_pool(layout, name) || declares(layout->declared_pools, name);
}

static bool xstream_name_taken(const struct mg_layout *layout, const char *name)
{
    return mg_layout_find_xstream(layout, name) || declares(layout->declared_xstreams, name);
}

/* "__<what>_<i>__" for the first i from `start` that is free. */
static char *generate_name(const struct mg_layout *layout, const char *what, size_t start,
                           bool (*taken)(const struct mg_layout *, const char *))
{
    for (size_t i = start;; i++) {
        char name[64];
        snprintf(name, sizeof name, "__%s_%zu__", what, i);
        if (!taken(layout, name))
            return strdup(name);
    }
}

/* ---- entries ---- */

static void free_pool(struct mg_pool *pool)
{
    free(pool->name);
    free(pool);
}

static void free_xstream(struct mg_xstream *xstream)
{
    free(xstream->name);
    free(xstream->pools);
    free(xstream->affinity);
    free(xstream);
}

static int out_of_memory(struct dango_error *err)
{
    return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
}

struct mg_pool *mg_layout_add_pool(struct mg_layout *layout, const char *name, int kind, int access,
                                   struct dango_error *err)
{
    if (layout->num_pools >= MG_POOLS_MAX) {
        dango_error_set(err, DANGO_ERR_RANGE, "more than %d pools", MG_POOLS_MAX);
        return NULL;
    }
    struct mg_pool *pool = calloc(1, sizeof *pool);
    if (pool) {
        pool->name = name ? strdup(name) : generate_name(layout, "pool", layout->num_pools, pool_name_taken);
        pool->kind = kind;
        pool->access = access;
        pool->handle = ABT_POOL_NULL;
        if (pool->name && list_push((void ***)&layout->pools, &layout->num_pools, pool) == 0)
            return pool;
        free_pool(pool);
    }
    out_of_memory(err);
    return NULL;
}

struct mg_xstream *mg_layout_add_xstream(struct mg_layout *layout, const char *name, int sched, struct dango_error *err)
{
    if (layout->num_xstreams >= MG_XSTREAMS_MAX) {
        dango_error_set(err, DANGO_ERR_RANGE, "more than %d execution streams", MG_XSTREAMS_MAX);
        return NULL;
    }
    struct mg_xstream *xstream = calloc(1, sizeof *xstream);
    if (xstream) {
        xstream->name =
            name ? strdup(name) : generate_name(layout, "xstream", layout->num_xstreams, xstream_name_taken);
        xstream->sched = sched;
        xstream->cpubind = -1;
        xstream->handle = ABT_XSTREAM_NULL;
        if (xstream->name && list_push((void ***)&layout->xstreams, &layout->num_xstreams, xstream) == 0)
            return xstream;
        free_xstream(xstream);
    }
    out_of_memory(err);
    return NULL;
}

int mg_xstream_add_pool(struct mg_xstream *xstream, struct mg_pool *pool, struct dango_error *err)
{
    if (xstream->num_pools >= DANGO_ABT_MAX_POOLS)
        return dango_error_set(err, DANGO_ERR_RANGE, "more than %d pools in one scheduler", DANGO_ABT_MAX_POOLS);
    if (list_push((void ***)&xstream->pools, &xstream->num_pools, pool) != 0)
        return out_of_memory(err);
    return 0;
}

void mg_layout_drop_pool(struct mg_layout *layout, struct mg_pool *pool)
{
    list_drop((void **)layout->pools, &layout->num_pools, pool);
    free_pool(pool);
}

void mg_layout_drop_xstream(struct mg_layout *layout, struct mg_xstream *xstream)
{
    list_drop((void **)layout->xstreams, &layout->num_xstreams, xstream);
    free_xstream(xstream);
}

void mg_layout_clear(struct mg_layout *layout)
{
    for (size_t i = 0; i < layout->num_xstreams; i++)
        free_xstream(layout->xstreams[i]);
    for (size_t i = 0; i < layout->num_pools; i++)
        free_pool(layout->pools[i]);
    free(layout->xstreams);
    free(layout->pools);
    *layout = (struct mg_layout){0};
}

/* ---- look-up ---- */

struct mg_pool *mg_layout_find_pool(const struct mg_layout *layout, const char *name)
{
    for (size_t i = 0; i < layout->num_pools; i++) {
        if (strcmp(layout->pools[i]->name, name) == 0)
            return layout->pools[i];
    }
    return NULL;
}

struct mg_xstream *mg_layout_find_xstream(const struct mg_layout *layout, const char *name)
{
    for (size_t i = 0; i < layout->num_xstreams; i++) {
        if (strcmp(layout->xstreams[i]->name, name) == 0)
            return layout->xstreams[i];
    }
    return NULL;
}

uint32_t mg_layout_pool_index(const struct mg_layout *layout, const struct mg_pool *pool)
{
    return (uint32_t)list_index((void *const *)layout->pools, layout->num_pools, pool);
}

uint32_t mg_layout_xstream_index(const struct mg_layout *layout, const struct mg_xstream *xstream)
{
    return (uint32_t)list_index((void *const *)layout->xstreams, layout->num_xstreams, xstream);
}

/* What kind of entry a reference is about, for messages. */
struct target {
    const char *noun;
    const char *plural;
    const char **names;
    size_t count;
};

/* Place in the list that `reference` names; -1 and an error if there is none. */
static int64_t resolve(const struct target *target, struct json_object *reference, const char *path,
                       struct dango_error *err)
{
    if (json_object_is_type(reference, json_type_int)) {
        int64_t index = json_object_get_int64(reference);
        if (index >= 0 && (uint64_t)index < target->count)
            return index;
        dango_error_set(err, DANGO_ERR_NOT_FOUND, "%s: no %s at index %" PRId64 " (there are %zu)", path, target->noun,
                        index, target->count);
        return -1;
    }
    if (!json_object_is_type(reference, json_type_string)) {
        dango_error_set(err, DANGO_ERR_INVALID, "%s: expected a %s name or index, got %s", path, target->noun,
                        dango_json_kind(reference));
        return -1;
    }
    const char *name = json_object_get_string(reference);
    for (size_t i = 0; i < target->count; i++) {
        if (strcmp(target->names[i], name) == 0)
            return (int64_t)i;
    }
    char list[512];
    dango_error_set(err, DANGO_ERR_NOT_FOUND, "%s: no %s named \"%s\"%s", path, target->noun, name,
                    dango_suggest_list(target->plural, name, target->names, target->count, list, sizeof list));
    return -1;
}

struct mg_pool *mg_layout_resolve_pool(const struct mg_layout *layout, struct json_object *reference, const char *path,
                                       struct dango_error *err)
{
    const char *names[MG_POOLS_MAX];
    for (size_t i = 0; i < layout->num_pools; i++)
        names[i] = layout->pools[i]->name;
    struct target target = {"pool", "pools", names, layout->num_pools};
    int64_t i = resolve(&target, reference, path, err);
    return i < 0 ? NULL : layout->pools[i];
}

struct mg_xstream *mg_layout_resolve_xstream(const struct mg_layout *layout, struct json_object *reference,
                                             const char *path, struct dango_error *err)
{
    const char *names[MG_XSTREAMS_MAX];
    for (size_t i = 0; i < layout->num_xstreams; i++)
        names[i] = layout->xstreams[i]->name;
    struct target target = {"xstream", "xstreams", names, layout->num_xstreams};
    int64_t i = resolve(&target, reference, path, err);
    return i < 0 ? NULL : layout->xstreams[i];
}

/* ---- output ---- */

struct json_object *mg_layout_pool_reference(const struct mg_layout *layout, const struct mg_pool *pool, bool by_name)
{
    if (by_name)
        return json_object_new_string(pool->name);
    return json_object_new_int64(mg_layout_pool_index(layout, pool));
}

struct json_object *mg_pool_dump(const struct mg_pool *pool)
{
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "kind", json_object_new_string(mg_pool_kind_name(pool->kind)));
    json_object_object_add(json, "name", json_object_new_string(pool->name));
    if (pool->kind != MG_POOL_EXTERNAL)
        json_object_object_add(json, "access", json_object_new_string(mg_pool_access_name(pool->access)));
    return json;
}

struct json_object *mg_xstream_dump(const struct mg_layout *layout, const struct mg_xstream *xstream, bool by_name)
{
    struct json_object *pools = json_object_new_array();
    for (size_t i = 0; i < xstream->num_pools; i++)
        json_object_array_add(pools, mg_layout_pool_reference(layout, xstream->pools[i], by_name));
    struct json_object *sched = json_object_new_object();
    json_object_object_add(sched, "type", json_object_new_string(mg_sched_type_name(xstream->sched)));
    json_object_object_add(sched, "pools", pools);
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "name", json_object_new_string(xstream->name));
    json_object_object_add(json, "scheduler", sched);
    if (xstream->cpubind >= 0)
        json_object_object_add(json, "cpubind", json_object_new_int(xstream->cpubind));
    if (xstream->num_affinity > 0) {
        struct json_object *cpus = json_object_new_array();
        for (size_t i = 0; i < xstream->num_affinity; i++)
            json_object_array_add(cpus, json_object_new_int(xstream->affinity[i]));
        json_object_object_add(json, "affinity", cpus);
    }
    return json;
}
