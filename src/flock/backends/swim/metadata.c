/*
 * User metadata of a SWIM group: for every key the value with the highest (counter, writer) counts. A writer takes a
 * counter above all that it has seen. Removed keys stay as entries without value, so that old values do not return.
 */
#include "flock/backends/swim/machine.h"

#include <assert.h>

static struct flk_swim_entry *find(struct flk_swim *swim, const char *key)
{
    assert(key);
    for (size_t i = 0; i < swim->entry_count; i++) {
        if (strcmp(swim->entries[i].value.key, key) == 0)
            return &swim->entries[i];
    }
    return NULL;
}

static bool is_newer(const struct flk_swim_value *new, const struct flk_swim_value *old)
{
    if (new->counter != old->counter)
        return new->counter > old->counter;
    if (new->writer != old->writer)
        return new->writer > old->writer;
    /* Initial values that differ: everybody must decide alike. */
    if (!new->value || !old->value)
        return new->value != NULL && !old->value;
    return strcmp(new->value, old->value) > 0;
}

static bool fits(const char *key, const char *value)
{
    return *key && strlen(key) <= SWIM_KEY_BYTES_MAX && (!value || strlen(value) <= SWIM_VALUE_BYTES_MAX);
}

static struct flk_swim_entry *add_entry(struct flk_swim *swim, const char *key)
{
    struct flk_swim_entry *moved = swim->entry_count < SWIM_METADATA_MAX
                                       ? reallocarray(swim->entries, swim->entry_count + 1, sizeof *swim->entries)
                                       : NULL;
    if (!moved)
        return NULL;
    swim->entries = moved;
    struct flk_swim_entry *entry = &moved[swim->entry_count];
    memset(entry, 0, sizeof *entry);
    entry->value.key = strdup(key);
    if (!entry->value.key)
        return NULL;
    swim->entry_count++;
    return entry;
}

/* True: the entry holds it now. */
static bool put(struct flk_swim *swim, const struct flk_swim_value *value)
{
    struct flk_swim_entry *entry = find(swim, value->key);
    if (!entry)
        entry = add_entry(swim, value->key);
    char *copy = value->value ? strdup(value->value) : NULL;
    if (!entry || (value->value && !copy)) {
        free(copy);
        return false;
    }
    if (entry->value.value)
        swim->digest ^= flock_hash_metadata(entry->value.key, entry->value.value);
    if (copy)
        swim->digest ^= flock_hash_metadata(entry->value.key, copy);
    free(entry->value.value);
    entry->value.value = copy;
    entry->value.counter = value->counter;
    entry->value.writer = value->writer;
    entry->news = true;
    entry->sent = 0;
    flk_swim_count_change(swim);
    return true;
}

bool flk_swim_add_value(struct flk_swim *swim, const char *key, const char *value)
{
    return fits(key, value) &&
           put(swim, &(struct flk_swim_value){.key = (char *)(uintptr_t)key, .value = (char *)(uintptr_t)value});
}

void flk_swim_merge_value(struct flk_swim *swim, const struct flk_swim_value *value)
{
    const struct flk_swim_entry *entry = find(swim, value->key);
    if (!fits(value->key, value->value) || value->counter > SWIM_COUNTER_MAX ||
        (entry && !is_newer(value, &entry->value)))
        return;
    bool same = entry && entry->value.value && value->value && strcmp(entry->value.value, value->value) == 0;
    if (put(swim, value) && !same)
        swim->callbacks->metadata(swim->arg, value->key, value->value);
}

bool flk_swim_set_value(struct flk_swim *swim, const char *key, const char *value)
{
    uint64_t counter = 0;
    for (size_t i = 0; i < swim->entry_count; i++)
        counter = swim->entries[i].value.counter > counter ? swim->entries[i].value.counter : counter;
    struct flk_swim_value new = {.key = (char *)(uintptr_t)key,
                                 .value = (char *)(uintptr_t)value,
                                 .counter = counter + 1,
                                 .writer = flock_hash_member(swim->self->id, swim->self->address)};
    if (!fits(key, value) || !put(swim, &new))
        return false;
    swim->callbacks->metadata(swim->arg, key, value);
    return true;
}

void flk_swim_entries_free(struct flk_swim *swim)
{
    for (size_t i = 0; i < swim->entry_count; i++) {
        free(swim->entries[i].value.key);
        free(swim->entries[i].value.value);
    }
    free(swim->entries);
}
