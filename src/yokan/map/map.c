/*
 * Backend "map": an ordered map in memory, gone when the process ends. A skip list under one reader/writer lock; readers
 * copy out under the shared lock, so that a listing sees one moment of the database.
 */
#include "yokan/backend.h"
#include "yokan/map/skiplist.h"

#include "util/clock.h"

#include <abt.h>
#include <assert.h>
#include <stdlib.h>

struct map_allocators {
    int key, node, value;
    struct json_object *key_config, *node_config, *value_config;
};

struct map_settings {
    struct yokan_common_settings common;
    struct map_allocators allocators;
    int comparator;
    bool use_lock;
};

struct map {
    ABT_rwlock lock; /* guards the list; ABT_RWLOCK_NULL with use_lock false */
    struct yokan_skiplist list;
};

/* The reference loads comparators and allocators from libraries; only the built-in ones exist here, and say so. */
static const char *const only_default[] = {"default", NULL};

#define ALLOCATOR(FIELD, HELP)                                                                                         \
    DANGO_OPTION_CHOICE(#FIELD "_allocator", struct map_allocators, FIELD, 0, only_default, HELP),                     \
        DANGO_OPTION_JSON(#FIELD "_allocator_config", struct map_allocators, FIELD##_config, DANGO_JSON_OBJECT, "{}",  \
                          "configuration of that allocator")

static const struct dango_option allocator_options[] = {
    ALLOCATOR(key, "allocator of keys"),
    ALLOCATOR(node, "allocator of nodes"),
    ALLOCATOR(value, "allocator of values"),
    DANGO_OPTION_END,
};

static const struct dango_option map_options[] = {
    DANGO_OPTION_OBJECT("allocators", struct map_settings, allocators, allocator_options, "where memory comes from"),
    DANGO_OPTION_CHOICE("comparator", struct map_settings, comparator, 0, only_default, "order of keys"),
    YOKAN_COMMON_OPTIONS,
    DANGO_OPTION_BOOL("use_lock", struct map_settings, use_lock, true, "protect the map by a reader/writer lock"),
    DANGO_OPTION_END,
};

static yk_return_t map_open(const void *settings, void **db, struct dango_error *err)
{
    assert(settings && db);
    const struct map_settings *s = settings;
    struct map *map = calloc(1, sizeof *map);
    if (!map || (s->use_lock && ABT_rwlock_create(&map->lock) != ABT_SUCCESS)) {
        free(map);
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return YOKAN_ERR_ALLOCATION;
    }
    yokan_skiplist_init(&map->list, (uint64_t)dango_clock_ns() ^ (uintptr_t)map);
    *db = map;
    return YOKAN_SUCCESS;
}

static void map_close(void *db)
{
    struct map *map = db;
    yokan_skiplist_clear(&map->list);
    if (map->lock)
        ABT_rwlock_free(&map->lock);
    free(map);
}

static void lock_shared(struct map *map)
{
    if (map->lock)
        ABT_rwlock_rdlock(map->lock);
}

static void lock_exclusive(struct map *map)
{
    if (map->lock)
        ABT_rwlock_wrlock(map->lock);
}

static void unlock(struct map *map)
{
    if (map->lock)
        ABT_rwlock_unlock(map->lock);
}

static yk_return_t map_count(void *db, uint64_t *count)
{
    assert(count);
    struct map *map = db;
    lock_shared(map);
    *count = map->list.count;
    unlock(map);
    return YOKAN_SUCCESS;
}

/* Finding first and storing then is one step for others: the lock is held. */
static yk_return_t put_one(struct yokan_skiplist *list, int32_t mode, const struct yokan_pair *pair)
{
    assert(pair->key.size > 0);
    bool stored;
    if (mode & (YOKAN_MODE_NEW_ONLY | YOKAN_MODE_EXIST_ONLY | YOKAN_MODE_APPEND)) {
        struct yokan_node *node = yokan_skiplist_find(list, pair->key);
        if (node && (mode & YOKAN_MODE_NEW_ONLY))
            return YOKAN_ERR_KEY_EXISTS;
        if (!node && (mode & YOKAN_MODE_EXIST_ONLY))
            return YOKAN_ERR_KEY_NOT_FOUND;
        stored = node ? yokan_node_set(node, pair->value, (mode & YOKAN_MODE_APPEND) != 0)
                      : yokan_skiplist_set(list, pair->key, pair->value);
    } else {
        stored = yokan_skiplist_set(list, pair->key, pair->value);
    }
    return stored ? YOKAN_SUCCESS : YOKAN_ERR_ALLOCATION;
}

static yk_return_t map_put(void *db, int32_t mode, size_t count, const struct yokan_pair *pairs)
{
    assert(pairs || count == 0);
    struct map *map = db;
    yk_return_t ret = YOKAN_SUCCESS;
    lock_exclusive(map);
    for (size_t i = 0; i < count && ret == YOKAN_SUCCESS; i++) {
        ret = put_one(&map->list, mode, &pairs[i]);
        bool refused = ret == YOKAN_ERR_KEY_EXISTS || ret == YOKAN_ERR_KEY_NOT_FOUND;
        if (refused && count > 1)
            ret = YOKAN_SUCCESS;
    }
    unlock(map);
    return ret;
}

static yk_return_t map_get(void *db, int32_t mode, size_t count, const struct yokan_slice *keys, yokan_visit_fn visit,
                           void *arg)
{
    assert((keys || count == 0) && visit);
    struct map *map = db;
    bool consume = (mode & YOKAN_MODE_CONSUME) != 0;
    yk_return_t ret = YOKAN_SUCCESS;
    consume ? lock_exclusive(map) : lock_shared(map);
    for (size_t i = 0; i < count && ret == YOKAN_SUCCESS; i++) {
        struct yokan_node *node = yokan_skiplist_find(&map->list, keys[i]);
        struct yokan_slice value = node ? yokan_node_value(node) : (struct yokan_slice){NULL, YOKAN_KEY_NOT_FOUND};
        ret = visit(arg, i, keys[i], value);
        if (ret == YOKAN_SUCCESS && consume && node)
            yokan_skiplist_remove(&map->list, keys[i]);
        if (ret == YOKAN_ERR_BUFFER_SIZE)
            ret = YOKAN_SUCCESS;
    }
    unlock(map);
    return ret == YOKAN_STOP_ITERATION ? YOKAN_SUCCESS : ret;
}

static yk_return_t map_erase(void *db, size_t count, const struct yokan_slice *keys)
{
    assert(keys || count == 0);
    struct map *map = db;
    lock_exclusive(map);
    for (size_t i = 0; i < count; i++)
        yokan_skiplist_remove(&map->list, keys[i]);
    unlock(map);
    return YOKAN_SUCCESS;
}

/* Keys with a common prefix are neighbours. */
static yk_return_t map_erase_range(void *db, struct yokan_slice prefix)
{
    struct map *map = db;
    lock_exclusive(map);
    struct yokan_node *node = yokan_skiplist_seek(&map->list, prefix, false);
    while (node && yokan_slice_begins_with(yokan_node_key(node), prefix)) {
        struct yokan_node *next = node->next[0];
        yokan_skiplist_remove(&map->list, yokan_node_key(node));
        node = next;
    }
    unlock(map);
    return YOKAN_SUCCESS;
}

static yk_return_t map_scan(void *db, struct yokan_slice from, bool inclusive, yokan_visit_fn visit, void *arg)
{
    assert(visit);
    struct map *map = db;
    yk_return_t ret = YOKAN_SUCCESS;
    lock_shared(map);
    struct yokan_node *node = yokan_skiplist_seek(&map->list, from, !inclusive);
    for (size_t i = 0; node && ret == YOKAN_SUCCESS; i++, node = node->next[0])
        ret = visit(arg, i, yokan_node_key(node), yokan_node_value(node));
    unlock(map);
    return ret == YOKAN_STOP_ITERATION ? YOKAN_SUCCESS : ret;
}

const struct yokan_backend yokan_map_backend = {
    .abi = YOKAN_BACKEND_ABI,
    .type = "map",
    .modes = YOKAN_MODES_COMMON | YOKAN_MODE_APPEND | YOKAN_MODE_NEW_ONLY | YOKAN_MODE_EXIST_ONLY,
    .options = map_options,
    .settings_size = sizeof(struct map_settings),
    .open = map_open,
    .close = map_close,
    .count = map_count,
    .put = map_put,
    .get = map_get,
    .erase = map_erase,
    .erase_range = map_erase_range,
    .scan = map_scan,
};
