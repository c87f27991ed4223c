/*
 * Group views: sorted arrays of members and metadata with a digest (see flock/flock-group-view.h). Pure functions: no
 * locks, no network, usable before anything is initialised.
 */
#include "flock/internal.h"

#include <assert.h>
#include <stdlib.h>

uint64_t flock_group_view_digest(const flock_group_view_t *view)
{
    assert(view);
    return view->digest;
}

/* One step of the string hash. Characters count as signed everywhere, so that all hosts agree. */
static uint64_t hash_step(uint64_t hash, char c)
{
    return 33 * hash + (uint64_t)(int64_t)(signed char)c;
}

uint64_t flock_djb2_hash(const char *text)
{
    assert(text);
    uint64_t hash = 5381;
    for (; *text; text++)
        hash = hash_step(hash, *text);
    return hash;
}

uint64_t flock_hash_member(uint16_t provider_id, const char *address)
{
    char bytes[sizeof provider_id];
    memcpy(bytes, &provider_id, sizeof bytes);
    return hash_step(hash_step(flock_djb2_hash(address), bytes[0]), bytes[1]);
}

uint64_t flock_hash_metadata(const char *key, const char *value)
{
    uint64_t hash = flock_djb2_hash(value);
    return flock_djb2_hash(key) ^ (hash << 3 | hash >> 61);
}

static void run_extra(flock_member_t *member)
{
    if (member->extra.free)
        member->extra.free(member->extra.data);
    member->extra.data = NULL;
    member->extra.free = NULL;
}

/* The owner of a view may hang things on its members; they go with the member. */
void flock_group_view_clear_extra(flock_group_view_t *view)
{
    assert(view);
    for (uint64_t i = 0; i < view->members.size; i++)
        run_extra(&view->members.data[i]);
}

void flock_group_view_clear(flock_group_view_t *view)
{
    assert(view);
    flock_group_view_clear_extra(view);
    for (uint64_t i = 0; i < view->members.size; i++)
        free(view->members.data[i].address);
    for (uint64_t i = 0; i < view->metadata.size; i++) {
        free(view->metadata.data[i].key);
        free(view->metadata.data[i].value);
    }
    free(view->members.data);
    free(view->metadata.data);
    memset(&view->members, 0, sizeof view->members);
    memset(&view->metadata, 0, sizeof view->metadata);
    view->digest = 0;
}

static int compare_member(const flock_member_t *member, const char *address, uint16_t provider_id)
{
    int order = strcmp(member->address, address);
    return order ? order : (member->provider_id > provider_id) - (member->provider_id < provider_id);
}

int flock_member_cmp(flock_member_t *a, flock_member_t *b)
{
    assert(a && b);
    return compare_member(a, b->address, b->provider_id);
}

/* Where a member is, or belongs. */
static size_t member_position(const flock_group_view_t *view, const char *address, uint16_t provider_id, bool *found)
{
    assert(view && address);
    size_t low = 0, high = view->members.size;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_member(&view->members.data[middle], address, provider_id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < view->members.size && compare_member(&view->members.data[low], address, provider_id) == 0;
    return low;
}

/* The same for metadata. */
static size_t metadata_position(const flock_group_view_t *view, const char *key, bool *found)
{
    assert(view && key);
    size_t low = 0, high = view->metadata.size;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(view->metadata.data[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < view->metadata.size && strcmp(view->metadata.data[low].key, key) == 0;
    return low;
}

ssize_t flock_group_view_members_binary_search(const flock_group_view_t *view, const char *address,
                                               uint16_t provider_id)
{
    bool found;
    size_t i = member_position(view, address, provider_id, &found);
    return found ? (ssize_t)i : -1;
}

ssize_t flock_group_view_metadata_binary_search(const flock_group_view_t *view, const char *key)
{
    bool found;
    size_t i = metadata_position(view, key, &found);
    return found ? (ssize_t)i : -1;
}

/* Makes a gap of one item at `position` of a growing array; false when out of memory (nothing changed). */
static bool open_gap(void *array, uint64_t *size, uint64_t *capacity, size_t item_size, size_t position)
{
    char **data = array;
    assert(position <= *size);
    if (*size == *capacity) {
        uint64_t larger = *capacity ? 2 * *capacity : 1;
        char *moved = reallocarray(*data, larger, item_size);
        if (!moved)
            return false;
        *data = moved;
        *capacity = larger;
    }
    memmove(*data + (position + 1) * item_size, *data + position * item_size, (*size - position) * item_size);
    memset(*data + position * item_size, 0, item_size);
    (*size)++;
    return true;
}

flock_member_t *flock_group_view_add_member(flock_group_view_t *view, const char *address, uint16_t provider_id)
{
    assert(view && address);
    bool found;
    size_t i = member_position(view, address, provider_id, &found);
    if (found)
        return &view->members.data[i];
    char *copy = strdup(address);
    if (!copy ||
        !open_gap(&view->members.data, &view->members.size, &view->members.capacity, sizeof *view->members.data, i)) {
        free(copy);
        return NULL;
    }
    view->members.data[i].address = copy;
    view->members.data[i].provider_id = provider_id;
    view->digest ^= flock_hash_member(provider_id, copy);
    return &view->members.data[i];
}

bool flock_group_view_remove_member(flock_group_view_t *view, flock_member_t *member)
{
    assert(view);
    /* As numbers: comparing a foreign pointer with ours would not be defined. */
    uintptr_t offset = (uintptr_t)member - (uintptr_t)view->members.data;
    size_t i = offset / sizeof *member;
    if (!view->members.data || (uintptr_t)member < (uintptr_t)view->members.data || i >= view->members.size ||
        offset % sizeof *member != 0)
        return false;
    view->digest ^= flock_hash_member(member->provider_id, member->address);
    run_extra(member);
    free(member->address);
    memmove(member, member + 1, (view->members.size - i - 1) * sizeof *member);
    view->members.size--;
    return true;
}

flock_member_t *flock_group_view_find_member(flock_group_view_t *view, const char *address, uint16_t provider_id)
{
    ssize_t i = flock_group_view_members_binary_search(view, address, provider_id);
    return i < 0 ? NULL : &view->members.data[i];
}

flock_member_t *flock_group_view_member_at(const flock_group_view_t *view, size_t index)
{
    assert(view);
    return index < view->members.size ? &view->members.data[index] : NULL;
}

size_t flock_group_view_member_count(const flock_group_view_t *view)
{
    return view->members.size;
}

/* Puts a new entry at `position`, with a copy of the key; `value` becomes its own. */
static flock_metadata_t *insert_metadata(flock_group_view_t *view, size_t position, const char *key, char *value)
{
    char *copy = strdup(key);
    if (!copy || !open_gap(&view->metadata.data, &view->metadata.size, &view->metadata.capacity,
                           sizeof *view->metadata.data, position)) {
        free(copy);
        return NULL;
    }
    flock_metadata_t *entry = &view->metadata.data[position];
    *entry = (flock_metadata_t){copy, value};
    return entry;
}

flock_metadata_t *flock_group_view_add_metadata(flock_group_view_t *view, const char *key, const char *value)
{
    assert(view && key && value);
    bool found;
    size_t i = metadata_position(view, key, &found);
    char *copy = strdup(value);
    if (!copy)
        return NULL;
    flock_metadata_t *entry = found ? &view->metadata.data[i] : insert_metadata(view, i, key, copy);
    if (!entry) {
        free(copy);
        return NULL;
    }
    if (found) {
        view->digest ^= flock_hash_metadata(entry->key, entry->value);
        free(entry->value);
        entry->value = copy;
    }
    view->digest ^= flock_hash_metadata(entry->key, entry->value);
    return entry;
}

bool flock_group_view_remove_metadata(flock_group_view_t *view, const char *key)
{
    ssize_t i = flock_group_view_metadata_binary_search(view, key);
    if (i < 0)
        return false;
    flock_metadata_t *entry = &view->metadata.data[i];
    view->digest ^= flock_hash_metadata(entry->key, entry->value);
    free(entry->key);
    free(entry->value);
    memmove(entry, entry + 1, (view->metadata.size - (size_t)i - 1) * sizeof *entry);
    view->metadata.size--;
    return true;
}

const char *flock_group_view_find_metadata(const flock_group_view_t *view, const char *key)
{
    ssize_t i = flock_group_view_metadata_binary_search(view, key);
    return i < 0 ? NULL : view->metadata.data[i].value;
}

flock_metadata_t *flock_group_view_metadata_at(const flock_group_view_t *view, size_t index)
{
    assert(view);
    return index < view->metadata.size ? &view->metadata.data[index] : NULL;
}

size_t flock_group_view_metadata_count(const flock_group_view_t *view)
{
    return view->metadata.size;
}

bool flock_group_view_copy(const flock_group_view_t *src, flock_group_view_t *dst)
{
    assert(src != dst);
    bool copied = true;
    for (uint64_t i = 0; i < src->members.size && copied; i++)
        copied = flock_group_view_add_member(dst, src->members.data[i].address, src->members.data[i].provider_id);
    for (uint64_t i = 0; i < src->metadata.size && copied; i++)
        copied = flock_group_view_add_metadata(dst, src->metadata.data[i].key, src->metadata.data[i].value);
    if (!copied)
        flock_group_view_clear(dst);
    return copied;
}

bool flk_views_meet(const flock_group_view_t *a, const flock_group_view_t *b)
{
    assert(a && b);
    for (uint64_t i = 0; i < a->members.size; i++) {
        const flock_member_t *member = &a->members.data[i];
        if (flock_group_view_members_binary_search(b, member->address, member->provider_id) >= 0)
            return true;
    }
    return false;
}
