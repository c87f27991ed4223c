/*
 * Update callbacks: see callbacks.h. A pair stays in memory while it is in the list or runs; each run is noted with its
 * caller, so that `remove` can tell its own caller from others.
 */
#include "flock/provider/callbacks.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Who runs a pair: on the runner's stack, linked to the pair. */
struct run {
    struct list_node node;
    ABT_thread ult; /* ABT_THREAD_NULL outside of Argobots */
    pthread_t thread;
};

struct pair {
    struct list_node node; /* in callbacks->pairs as long as it runs, also when it is removed: calls go on from it */
    struct list_node runs;
    bool removed;
    bool removed_inside; /* by a callback of its own: the last run frees it */
    flock_membership_update_fn member_update;
    flock_metadata_update_fn metadata_update;
    void *context;
};

static void lock(struct flk_callbacks *callbacks)
{
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&callbacks->mutex));
}

static void unlock(struct flk_callbacks *callbacks)
{
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&callbacks->mutex));
}

void flk_callbacks_init(struct flk_callbacks *callbacks)
{
    assert(callbacks);
    memset(callbacks, 0, sizeof *callbacks);
    list_init(&callbacks->pairs);
}

void flk_callbacks_fini(struct flk_callbacks *callbacks)
{
    for (struct list_node *node = list_pop(&callbacks->pairs); node; node = list_pop(&callbacks->pairs)) {
        struct pair *pair = container_of(node, struct pair, node);
        assert(list_empty(&pair->runs));
        free(pair);
    }
}

static struct pair *find(struct flk_callbacks *callbacks, void *context)
{
    assert(callbacks);
    list_for_each (node, &callbacks->pairs) {
        struct pair *pair = container_of(node, struct pair, node);
        if (pair->context == context && !pair->removed)
            return pair;
    }
    return NULL;
}

flock_return_t flk_callbacks_add(struct flk_callbacks *callbacks, flock_membership_update_fn member_update,
                                 flock_metadata_update_fn metadata_update, void *context)
{
    flock_return_t ret = FLOCK_SUCCESS;
    lock(callbacks);
    struct pair *pair = find(callbacks, context);
    if (!pair) {
        pair = calloc(1, sizeof *pair);
        if (pair) {
            list_init(&pair->runs);
            list_append(&callbacks->pairs, &pair->node);
        }
    }
    if (pair) {
        pair->member_update = member_update;
        pair->metadata_update = metadata_update;
        pair->context = context;
    } else {
        ret = FLOCK_ERR_ALLOCATION;
    }
    unlock(callbacks);
    return ret;
}

static void free_pair(struct pair *pair)
{
    assert(list_empty(&pair->runs));
    list_remove(&pair->node);
    free(pair);
}

static bool is_self(const struct run *run)
{
    ABT_thread self = ABT_THREAD_NULL;
    if (ABT_self_get_thread(&self) != ABT_SUCCESS)
        self = ABT_THREAD_NULL;
    if (run->ult != ABT_THREAD_NULL || self != ABT_THREAD_NULL)
        return run->ult == self;
    return pthread_equal(run->thread, pthread_self());
}

/* Waiting for a run of our own would never end. */
static bool runs_elsewhere(const struct pair *pair)
{
    list_for_each (node, &pair->runs) {
        if (!is_self(container_of(node, struct run, node)))
            return true;
    }
    return false;
}

flock_return_t flk_callbacks_remove(struct flk_callbacks *callbacks, void *context)
{
    lock(callbacks);
    struct pair *pair = find(callbacks, context);
    if (!pair) {
        unlock(callbacks);
        return FLOCK_ERR_INVALID_ARGS;
    }
    pair->removed = true;
    while (runs_elsewhere(pair))
        ABT_cond_wait(ABT_COND_MEMORY_GET_HANDLE(&callbacks->ended), ABT_MUTEX_MEMORY_GET_HANDLE(&callbacks->mutex));
    if (list_empty(&pair->runs))
        free_pair(pair);
    else
        pair->removed_inside = true;
    unlock(callbacks);
    return FLOCK_SUCCESS;
}

/* Calls one pair. The lock is held on entry and exit, not during the call. */
static void call_pair(struct flk_callbacks *callbacks, struct pair *pair, const struct flk_update *update)
{
    assert(!pair->removed);
    struct run run = {.ult = ABT_THREAD_NULL, .thread = pthread_self()};
    flock_membership_update_fn member_update = pair->member_update;
    flock_metadata_update_fn metadata_update = pair->metadata_update;
    void *context = pair->context;
    if (ABT_self_get_thread(&run.ult) != ABT_SUCCESS)
        run.ult = ABT_THREAD_NULL;
    list_append(&pair->runs, &run.node);
    unlock(callbacks);
    if (update->is_metadata && metadata_update)
        metadata_update(context, update->name, update->value);
    else if (!update->is_metadata && member_update)
        member_update(context, update->kind, update->name, update->provider_id);
    lock(callbacks);
    list_remove(&run.node);
    ABT_cond_broadcast(ABT_COND_MEMORY_GET_HANDLE(&callbacks->ended));
}

void flk_callbacks_call(struct flk_callbacks *callbacks, const struct flk_update *update)
{
    assert(update && update->name);
    lock(callbacks);
    for (struct list_node *node = callbacks->pairs.next, *next; node != &callbacks->pairs; node = next) {
        struct pair *pair = container_of(node, struct pair, node);
        if (!pair->removed)
            call_pair(callbacks, pair, update);
        next = node->next;
        /* Whoever waits for its end in `remove` frees it, unless that was this run itself. */
        if (pair->removed && pair->removed_inside && list_empty(&pair->runs))
            free_pair(pair);
    }
    unlock(callbacks);
}
