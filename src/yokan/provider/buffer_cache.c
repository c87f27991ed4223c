/*
 * The built-in cache of registered buffers, into which providers pull data. Types: "lru" keeps the buffers that were
 * used last, up to "capacity" of them; "keep_all" keeps every one; "dummy" none. "external" stands for a cache that the
 * program passed in and is handled by the provider.
 *
 * Free buffers hang in one list, the last used first; a request takes the first that is large enough. A buffer is
 * exclusive to its user until released. One mutex, never held during registration.
 */
#include "yokan/provider/provider.h"

#include "util/json.h"
#include "util/list.h"

#include <assert.h>
#include <stdlib.h>

enum cache_type { CACHE_LRU, CACHE_KEEP_ALL, CACHE_DUMMY, CACHE_EXTERNAL };

static const char *const cache_types[] = {"lru", "keep_all", "dummy", "external", NULL};

const struct dango_option yokan_cache_options[] = {
    DANGO_OPTION_CHOICE("type", struct yokan_cache_settings, type, CACHE_LRU, cache_types, "which buffers are kept"),
    DANGO_OPTION_REAL("margin", struct yokan_cache_settings, margin, 0.0, -1e9, 16.0,
                      "allocate this fraction more than asked for; negative: 0"),
    DANGO_OPTION_INT("capacity", struct yokan_cache_settings, capacity, 32, 0, 1 << 20, "lru: buffers kept"),
    DANGO_OPTION_END,
};

/* Buffers beyond this size are not worth keeping: registering them costs little compared with filling them. */
#define KEPT_SIZE_MAX (size_t)(16 << 20)

struct entry {
    struct yk_buffer buffer; /* first: what users see */
    struct list_node node;   /* in cache->free while nobody uses it */
};

struct cache {
    margo_instance_id mid;
    size_t capacity; /* free buffers kept at most */
    double margin;
    ABT_mutex_memory mutex; /* guards the list */
    struct list_node free;  /* last used first */
    size_t free_count;
};

static void *cache_init(margo_instance_id mid, const char *config)
{
    assert(mid && config);
    struct yokan_cache_settings settings = {0};
    struct json_object *json = dango_json_parse(config, strlen(config), NULL);
    int status = dango_options_parse(yokan_cache_options, json, "buffer_cache", &settings, NULL);
    json_object_put(json);
    struct cache *cache = status == 0 ? calloc(1, sizeof *cache) : NULL;
    if (!cache)
        return NULL;
    cache->mid = mid;
    cache->margin = settings.margin > 0 ? settings.margin : 0;
    cache->capacity = settings.type == CACHE_DUMMY      ? 0
                      : settings.type == CACHE_KEEP_ALL ? SIZE_MAX
                                                        : (size_t)settings.capacity;
    list_init(&cache->free);
    return cache;
}

static void free_entry(struct entry *entry)
{
    assert(entry->buffer.data);
    margo_bulk_free(entry->buffer.bulk);
    free(entry->buffer.data);
    free(entry);
}

static void cache_finalize(void *context)
{
    assert(context);
    struct cache *cache = context;
    for (struct list_node *node = list_pop(&cache->free); node; node = list_pop(&cache->free))
        free_entry(container_of(node, struct entry, node));
    free(cache);
}

/* The list is short, and its first entries are the ones in the processor's cache. */
static struct entry *take_free(struct cache *cache, size_t size, hg_uint8_t mode)
{
    struct entry *found = NULL;
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&cache->mutex));
    list_for_each (node, &cache->free) {
        struct entry *entry = container_of(node, struct entry, node);
        if (entry->buffer.size < size || entry->buffer.mode != mode)
            continue;
        list_remove(node);
        cache->free_count--;
        found = entry;
        break;
    }
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&cache->mutex));
    return found;
}

static yk_buffer_t cache_get(void *context, size_t size, hg_uint8_t mode)
{
    struct cache *cache = context;
    assert(size > 0);
    struct entry *entry = take_free(cache, size, mode);
    if (entry)
        return &entry->buffer;
    entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    hg_size_t total = size + (size_t)((double)size * cache->margin);
    void *data = malloc(total);
    entry->buffer = (struct yk_buffer){.size = total, .mode = mode, .data = data};
    if (!data || margo_bulk_create(cache->mid, 1, &data, &total, mode, &entry->buffer.bulk) != HG_SUCCESS) {
        free(data);
        free(entry);
        return NULL;
    }
    return &entry->buffer;
}

/* The surplus is what was not used for longest; it is freed without the mutex. */
static void cache_release(void *context, yk_buffer_t buffer)
{
    assert(buffer);
    struct cache *cache = context;
    struct entry *entry = container_of(buffer, struct entry, buffer);
    struct list_node *surplus = &entry->node;
    if (buffer->size <= KEPT_SIZE_MAX || cache->capacity == SIZE_MAX) {
        ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&cache->mutex));
        list_prepend(&cache->free, &entry->node);
        surplus = ++cache->free_count > cache->capacity ? cache->free.prev : NULL;
        if (surplus) {
            list_remove(surplus);
            cache->free_count--;
        }
        ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&cache->mutex));
    }
    if (surplus)
        free_entry(container_of(surplus, struct entry, node));
}

struct yk_bulk_cache yokan_buffer_cache = {cache_init, cache_finalize, cache_get, cache_release};
