/*
 * Listing of keys and pairs. The backend walks in key order; this file decides what passes the filter, what is returned
 * of it and where to stop. One walk is one moment of the database.
 */
#include "yokan/provider/collect.h"

#include <stdlib.h>

#include <assert.h>

#define WORD sizeof(uint64_t)

struct listing {
    struct yokan_slice filter;
    int32_t mode;
    size_t limit, found;
    struct yokan_collector *keys, *values; /* values: NULL for list_keys */
    struct yokan_bytes last;               /* KEEP_LAST: copy of the last key found */
};

static bool passes(const struct listing *listing, struct yokan_slice key)
{
    struct yokan_slice filter = listing->filter;
    if (!(listing->mode & YOKAN_MODE_SUFFIX))
        return yokan_slice_begins_with(key, filter);
    return key.size >= filter.size &&
           (filter.size == 0 || memcmp((const char *)key.data + key.size - filter.size, filter.data, filter.size) == 0);
}

/* The part of a key that is returned. */
static struct yokan_slice visible_key(const struct listing *listing, struct yokan_slice key)
{
    assert(key.size >= listing->filter.size);
    if (!(listing->mode & YOKAN_MODE_NO_PREFIX))
        return key;
    size_t skip = listing->mode & YOKAN_MODE_SUFFIX ? 0 : listing->filter.size;
    return (struct yokan_slice){(const char *)key.data + skip, key.size - listing->filter.size};
}

static bool keeps_last(const struct listing *listing)
{
    return listing->values && (listing->mode & YOKAN_MODE_KEEP_LAST) == YOKAN_MODE_KEEP_LAST;
}

/* A copy, since the key is gone when the walk has ended. */
static bool note_last(struct yokan_bytes *last, struct yokan_slice key)
{
    if (key.size > last->capacity) {
        char *larger = realloc(last->data, key.size);
        if (!larger)
            return false;
        *last = (struct yokan_bytes){larger, 0, key.size};
    }
    last->size = key.size;
    if (key.size)
        memcpy(last->data, key.data, key.size);
    return true;
}

/* With IGNORE_KEYS (which KEEP_LAST contains) entries are empty; the last one is filled in after the walk. */
static yk_return_t collect_key(struct listing *listing, struct yokan_slice key)
{
    if (keeps_last(listing))
        return note_last(&listing->last, key) ? YOKAN_SUCCESS : YOKAN_ERR_ALLOCATION;
    if (listing->values && (listing->mode & YOKAN_MODE_IGNORE_KEYS))
        key.size = 0;
    yk_return_t ret = yokan_collector_add(listing->keys, listing->found, key);
    return ret == YOKAN_ERR_BUFFER_SIZE ? YOKAN_SUCCESS : ret;
}

static yk_return_t fill_in_last(struct listing *listing)
{
    assert(listing->found <= listing->limit);
    if (!keeps_last(listing) || listing->found == 0)
        return YOKAN_SUCCESS;
    for (size_t i = 0; i + 1 < listing->found; i++)
        listing->keys->sizes[i] = 0;
    yk_return_t ret = yokan_collector_add(listing->keys, listing->found - 1,
                                          (struct yokan_slice){listing->last.data, listing->last.size});
    return ret == YOKAN_ERR_BUFFER_SIZE ? YOKAN_SUCCESS : ret;
}

static yk_return_t collect_pair(void *arg, size_t index, struct yokan_slice key, struct yokan_slice value)
{
    assert(((struct listing *)arg)->found < ((struct listing *)arg)->limit);
    (void)index;
    struct listing *listing = arg;
    if (!passes(listing, key)) {
        /* Keys with a common prefix are neighbours: behind them nothing passes any more. */
        bool behind = !(listing->mode & YOKAN_MODE_SUFFIX) && yokan_slice_compare(key, listing->filter) > 0;
        return behind ? YOKAN_STOP_ITERATION : YOKAN_SUCCESS;
    }
    yk_return_t ret = collect_key(listing, visible_key(listing, key));
    if (ret == YOKAN_SUCCESS && listing->values) {
        ret = yokan_collector_add(listing->values, listing->found, value);
        if (ret == YOKAN_ERR_BUFFER_SIZE)
            ret = YOKAN_SUCCESS;
    }
    listing->found++;
    return ret == YOKAN_SUCCESS && listing->found == listing->limit ? YOKAN_STOP_ITERATION : ret;
}

/* Begins at the first key that can pass: the start key, or the prefix if that is behind it. */
static yk_return_t walk(struct yokan_job *job, struct listing *listing, struct yokan_slice from)
{
    assert(listing->limit > 0);
    bool inclusive = (listing->mode & YOKAN_MODE_INCLUSIVE) != 0;
    if (!(listing->mode & YOKAN_MODE_SUFFIX) && yokan_slice_compare(from, listing->filter) < 0) {
        from = listing->filter;
        inclusive = true;
    }
    return job->database->backend->scan(job->database->db, from, inclusive, collect_pair, listing);
}

/* Regions: from, filter, sizes of keys, sizes of values, keys, values; without values where there are none. */
static yk_return_t run_list(struct yokan_job *job, bool with_values)
{
    const struct yokan_request *r = job->request;
    uint64_t n = r->count, arrays = n * WORD * (with_values ? 2 : 1), head;
    const char *bytes;
    if (__builtin_add_overflow(r->from_size, r->filter_size, &head) || head > YOKAN_REGION_MAX)
        return YOKAN_ERR_INVALID_ARGS;
    yk_return_t ret = yokan_read(job, 0, head + (r->packed ? 0 : arrays), &bytes);
    if (ret != YOKAN_SUCCESS)
        return ret;
    const char *capacities = r->packed ? NULL : bytes + head;
    struct yokan_collector keys = {0}, values = {0};
    struct listing listing = {.filter = {bytes + r->from_size, r->filter_size},
                              .mode = r->mode,
                              .limit = n,
                              .keys = &keys,
                              .values = with_values ? &values : NULL};
    ret = yokan_collector_init(&keys, job, n, capacities, r->key_space, YOKAN_NO_MORE_KEYS);
    if (ret == YOKAN_SUCCESS && with_values)
        ret = yokan_collector_init(&values, job, n, capacities ? capacities + n * WORD : NULL, r->value_space,
                                   YOKAN_NO_MORE_KEYS);
    uint64_t key_place = head + arrays, value_place;
    if (ret == YOKAN_SUCCESS && __builtin_add_overflow(key_place, capacities ? keys.space : r->key_space, &value_place))
        ret = YOKAN_ERR_INVALID_ARGS;
    if (ret == YOKAN_SUCCESS)
        ret = walk(job, &listing, (struct yokan_slice){bytes, r->from_size});
    if (ret == YOKAN_SUCCESS)
        ret = fill_in_last(&listing);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_collector_write_sizes(&keys, head);
    if (ret == YOKAN_SUCCESS && with_values)
        ret = yokan_collector_write_sizes(&values, head + n * WORD);
    if (ret == YOKAN_SUCCESS)
        ret = yokan_collector_write_bytes(&keys, key_place);
    if (ret == YOKAN_SUCCESS && with_values)
        ret = yokan_collector_write_bytes(&values, value_place);
    free(listing.last.data);
    yokan_collector_fini(&keys);
    yokan_collector_fini(&values);
    return ret;
}

yk_return_t yokan_run_list_keys(struct yokan_job *job)
{
    return run_list(job, false);
}

yk_return_t yokan_run_list_keyvals(struct yokan_job *job)
{
    return run_list(job, true);
}
