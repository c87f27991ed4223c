/*
 * Skip list: an ordered map of byte strings in memory. Search, insertion and removal take O(log n) steps on average,
 * independent of the order in which keys come; going to the next key is one pointer.
 *
 * Levels are drawn at random with p = 1/4 from a generator that is seeded per list, so that nobody who chooses keys can
 * make it slow. Keys and values are copied in. Not thread-safe.
 */
#ifndef YOKAN_MAP_SKIPLIST_H
#define YOKAN_MAP_SKIPLIST_H

#include "yokan/backend.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define YOKAN_SKIPLIST_LEVELS 24 /* 4^24 keys before searches become longer */

struct yokan_node {
    char *value; /* never NULL once set; owned */
    size_t value_size;
    size_t key_size;
    unsigned levels;           /* how many `next` there are; the key follows them */
    struct yokan_node *next[]; /* next[i]: the following node of at least i + 1 levels */
};

struct yokan_skiplist {
    struct yokan_node *heads[YOKAN_SKIPLIST_LEVELS];
    unsigned levels; /* highest in use */
    uint64_t count;  /* keys */
    uint64_t random; /* state of the generator; never 0 */
};

static inline struct yokan_slice yokan_node_key(const struct yokan_node *node)
{
    return (struct yokan_slice){&node->next[node->levels], node->key_size};
}

static inline struct yokan_slice yokan_node_value(const struct yokan_node *node)
{
    return (struct yokan_slice){node->value, node->value_size};
}

void yokan_skiplist_init(struct yokan_skiplist *list, uint64_t seed);
/* Frees everything; the list is empty and may be used again. */
void yokan_skiplist_clear(struct yokan_skiplist *list);

struct yokan_node *yokan_skiplist_find(struct yokan_skiplist *list, struct yokan_slice key);
/* The first node whose key is not before `key` (or, with `after`, is behind it); NULL at the end. */
struct yokan_node *yokan_skiplist_seek(struct yokan_skiplist *list, struct yokan_slice key, bool after);
/* Sets the value of a key, which is created if need be. False: out of memory, nothing changed. */
bool yokan_skiplist_set(struct yokan_skiplist *list, struct yokan_slice key, struct yokan_slice value);
/* Replaces or (with `append`) extends the value of a node. False: out of memory, nothing changed. */
bool yokan_node_set(struct yokan_node *node, struct yokan_slice value, bool append);
/* False when the key is absent. */
bool yokan_skiplist_remove(struct yokan_skiplist *list, struct yokan_slice key);

#endif
