/*
 * Intrusive doubly linked list: the links live in the element, so that insertion and removal allocate nothing and
 * cannot fail. A head is a list_node of its own; an empty list points to itself. Not thread-safe.
 */
#ifndef DANGO_UTIL_LIST_H
#define DANGO_UTIL_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next, *prev;
};

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct list_node *head)
{
    head->next = head->prev = head;
}

static inline bool list_empty(const struct list_node *head)
{
    return head->next == head;
}

static inline void list_insert_between(struct list_node *node, struct list_node *prev, struct list_node *next)
{
    node->prev = prev;
    node->next = next;
    prev->next = node;
    next->prev = node;
}

static inline void list_append(struct list_node *head, struct list_node *node)
{
    list_insert_between(node, head->prev, head);
}

static inline void list_prepend(struct list_node *head, struct list_node *node)
{
    list_insert_between(node, head, head->next);
}

/* Removes and leaves the node pointing to itself, so that removing twice is harmless and list_linked works. */
static inline void list_remove(struct list_node *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* Whether an initialised node is in some list. */
static inline bool list_linked(const struct list_node *node)
{
    return node->next != node;
}

/* First node, removed; NULL when empty. */
static inline struct list_node *list_pop(struct list_node *head)
{
    struct list_node *node = head->next;
    if (node == head)
        return NULL;
    list_remove(node);
    return node;
}

#define list_for_each(node, head) for (struct list_node *node = (head)->next; node != (head); node = node->next)

#endif
