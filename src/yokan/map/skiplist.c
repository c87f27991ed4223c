/*
 * Skip list: see skiplist.h. All operations begin with `locate`, which collects for each level the link that leads to
 * the first node at or behind the key; insertion and removal then only rewrite these links.
 */
#include "yokan/map/skiplist.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void yokan_skiplist_init(struct yokan_skiplist *list, uint64_t seed)
{
    assert(list);
    *list = (struct yokan_skiplist){.random = seed | 1};
}

static void free_node(struct yokan_node *node)
{
    free(node->value);
    free(node);
}

void yokan_skiplist_clear(struct yokan_skiplist *list)
{
    struct yokan_node *next;
    for (struct yokan_node *node = list->heads[0]; node; node = next) {
        next = node->next[0];
        free_node(node);
    }
    yokan_skiplist_init(list, list->random);
}

/* xorshift64: one in four nodes goes one level higher. */
static unsigned random_levels(struct yokan_skiplist *list)
{
    list->random ^= list->random << 13;
    list->random ^= list->random >> 7;
    list->random ^= list->random << 17;
    unsigned levels = 1;
    for (uint64_t bits = list->random >> 8; (bits & 3) == 0 && levels < YOKAN_SKIPLIST_LEVELS; bits >>= 2)
        levels++;
    return levels;
}

/* Fills links[0 … levels-1]; `after` skips a node with the key itself. Returns the node found, or NULL at the end. */
static struct yokan_node *locate(struct yokan_skiplist *list, struct yokan_slice key, bool after,
                                 struct yokan_node ***links)
{
    assert(list->levels <= YOKAN_SKIPLIST_LEVELS);
    struct yokan_node **next = list->heads;
    for (unsigned level = list->levels; level-- > 0;) {
        while (next[level]) {
            int order = yokan_slice_compare(yokan_node_key(next[level]), key);
            if (order > 0 || (order == 0 && !after))
                break;
            next = next[level]->next;
        }
        links[level] = &next[level];
    }
    return next[0];
}

struct yokan_node *yokan_skiplist_seek(struct yokan_skiplist *list, struct yokan_slice key, bool after)
{
    struct yokan_node **links[YOKAN_SKIPLIST_LEVELS];
    return locate(list, key, after, links);
}

static bool has_key(const struct yokan_node *node, struct yokan_slice key)
{
    return node && node->key_size == key.size && memcmp(yokan_node_key(node).data, key.data, key.size) == 0;
}

struct yokan_node *yokan_skiplist_find(struct yokan_skiplist *list, struct yokan_slice key)
{
    assert(list);
    struct yokan_node *node = yokan_skiplist_seek(list, key, false);
    return has_key(node, key) ? node : NULL;
}

bool yokan_node_set(struct yokan_node *node, struct yokan_slice value, bool append)
{
    assert(value.data || value.size == 0);
    size_t old = append ? node->value_size : 0;
    if (value.size > SIZE_MAX / 2 - old)
        return false;
    /* One byte at least, so that an empty value has an address. */
    char *bytes = realloc(node->value, old + value.size ? old + value.size : 1);
    if (!bytes)
        return false;
    if (value.size)
        memcpy(bytes + old, value.data, value.size);
    node->value = bytes;
    node->value_size = old + value.size;
    return true;
}

static struct yokan_node *create_node(struct yokan_slice key, struct yokan_slice value, unsigned levels)
{
    assert(levels >= 1 && levels <= YOKAN_SKIPLIST_LEVELS);
    struct yokan_node *node = calloc(1, sizeof *node + levels * sizeof node->next[0] + key.size);
    if (!node)
        return NULL;
    node->levels = levels;
    node->key_size = key.size;
    memcpy(&node->next[levels], key.data, key.size);
    if (yokan_node_set(node, value, false))
        return node;
    free(node);
    return NULL;
}

bool yokan_skiplist_set(struct yokan_skiplist *list, struct yokan_slice key, struct yokan_slice value)
{
    assert(key.size > 0);
    struct yokan_node **links[YOKAN_SKIPLIST_LEVELS];
    struct yokan_node *node = locate(list, key, false, links);
    if (has_key(node, key))
        return yokan_node_set(node, value, false);
    node = create_node(key, value, random_levels(list));
    if (!node)
        return false;
    for (; list->levels < node->levels; list->levels++)
        links[list->levels] = &list->heads[list->levels];
    for (unsigned level = 0; level < node->levels; level++) {
        node->next[level] = *links[level];
        *links[level] = node;
    }
    list->count++;
    return true;
}

bool yokan_skiplist_remove(struct yokan_skiplist *list, struct yokan_slice key)
{
    assert(key.size > 0);
    struct yokan_node **links[YOKAN_SKIPLIST_LEVELS];
    struct yokan_node *node = locate(list, key, false, links);
    if (!has_key(node, key))
        return false;
    for (unsigned level = 0; level < node->levels; level++) {
        assert(*links[level] == node);
        *links[level] = node->next[level];
    }
    free_node(node);
    assert(list->count > 0);
    list->count--;
    return true;
}
