/*
 * Margo's kinds of pools, which look at a unit's past.
 *
 * prio: two queues. A unit that comes back (it yielded or was woken) goes to the first, which is served first, so
 * that work under way is finished before new work is begun; after MAX_RETURNS it queues up with the new ones.
 *
 * earliest_first: a binary heap by age, so that the oldest work (in Margo: request) goes first; a unit that came back
 * MAX_HEAP_PUSHES times goes to a queue behind, so that one which waits by yielding does not starve the others.
 */
#include <stdlib.h>

#include "argobots/queue.h"

#define MAX_RETURNS     25
#define MAX_HEAP_PUSHES 32
#define FIRST_CAPACITY  64

struct ranked_pool {
    atomic_uint lock;
    struct abti_list first, second;
    abti_thread **heap; /* earliest_first: instead of `first` */
    size_t heap_size, heap_capacity;
    uint64_t births;
    atomic_size_t size;
};

static struct ranked_pool *ranked(abti_pool *pool)
{
    return pool->state;
}

static void append(struct abti_list *list, abti_thread *thread, enum abti_link link)
{
    abti_list_append(list, thread);
    abti_store(&thread->linked, link);
}

static abti_thread *take_first(struct abti_list *list)
{
    abti_thread *thread = list->head;
    if (thread)
        abti_list_remove(list, thread);
    return thread;
}

static size_t ranked_size(abti_pool *pool)
{
    return abti_load_acquire(&ranked(pool)->size);
}

static bool ranked_is_empty(abti_pool *pool)
{
    return ranked_size(pool) == 0;
}

static void ranked_destroy(abti_pool *pool)
{
    free(ranked(pool)->heap);
    free(pool->state);
}

/* prio ------------------------------------------------------------------------------------------------- */

static void prio_push(abti_pool *pool, abti_thread *thread, ABT_pool_context context)
{
    struct ranked_pool *state = ranked(pool);
    (void)context;
    abti_bitlock_lock(&state->lock);
    bool returns = thread->times_pushed > 0 && thread->times_pushed <= MAX_RETURNS;
    thread->times_pushed++;
    append(returns ? &state->first : &state->second, thread, returns ? ABTI_LINK_OWN : ABTI_LINK_SHARED);
    abti_size_add(&state->size, 1);
    abti_bitlock_unlock(&state->lock, 0);
}

static abti_thread *prio_pop(abti_pool *pool, ABT_pool_context context)
{
    struct ranked_pool *state = ranked(pool);
    (void)context;
    if (ranked_is_empty(pool))
        return NULL;
    abti_bitlock_lock(&state->lock);
    abti_thread *thread = take_first(&state->first);
    if (!thread)
        thread = take_first(&state->second);
    if (thread) {
        abti_store(&thread->linked, ABTI_LINK_NONE);
        abti_size_add(&state->size, (size_t)-1);
    }
    abti_bitlock_unlock(&state->lock, 0);
    return thread;
}

static bool prio_remove(abti_pool *pool, abti_thread *thread)
{
    struct ranked_pool *state = ranked(pool);
    abti_bitlock_lock(&state->lock);
    enum abti_link link = abti_load(&thread->linked);
    bool found = link != ABTI_LINK_NONE && abti_load(&thread->pool) == pool;
    if (found) {
        abti_list_remove(link == ABTI_LINK_OWN ? &state->first : &state->second, thread);
        abti_store(&thread->linked, ABTI_LINK_NONE);
        abti_size_add(&state->size, (size_t)-1);
    }
    abti_bitlock_unlock(&state->lock, 0);
    return found;
}

static const struct abti_pool_ops prio_ops = {
    .push = prio_push,
    .pop = prio_pop,
    .remove = prio_remove,
    .size = ranked_size,
    .is_empty = ranked_is_empty,
    .destroy = ranked_destroy,
};

/* earliest_first --------------------------------------------------------------------------------------- */

static bool grow_heap(struct ranked_pool *state)
{
    size_t capacity = state->heap_capacity ? 2 * state->heap_capacity : FIRST_CAPACITY;
    abti_thread **heap = realloc(state->heap, capacity * sizeof *heap);
    if (!heap)
        return false;
    state->heap = heap;
    state->heap_capacity = capacity;
    return true;
}

static void heap_insert(struct ranked_pool *state, abti_thread *thread)
{
    size_t i = state->heap_size++;
    for (; i > 0 && state->heap[(i - 1) / 2]->birth > thread->birth; i = (i - 1) / 2)
        state->heap[i] = state->heap[(i - 1) / 2];
    state->heap[i] = thread;
}

static abti_thread *heap_take(struct ranked_pool *state)
{
    if (state->heap_size == 0)
        return NULL;
    abti_thread *oldest = state->heap[0];
    abti_thread *last = state->heap[--state->heap_size];
    size_t i = 0;
    for (size_t child = 1; child < state->heap_size; child = 2 * i + 1) {
        if (child + 1 < state->heap_size && state->heap[child + 1]->birth < state->heap[child]->birth)
            child++;
        if (state->heap[child]->birth >= last->birth)
            break;
        state->heap[i] = state->heap[child];
        i = child;
    }
    if (state->heap_size)
        state->heap[i] = last;
    return oldest;
}

static void earliest_push(abti_pool *pool, abti_thread *thread, ABT_pool_context context)
{
    struct ranked_pool *state = ranked(pool);
    (void)context;
    abti_bitlock_lock(&state->lock);
    if (!thread->times_pushed)
        thread->birth = ++state->births;
    /* Without memory for the heap the unit queues up behind: late, but not lost. */
    if (thread->times_pushed++ < MAX_HEAP_PUSHES && (state->heap_size < state->heap_capacity || grow_heap(state)))
        heap_insert(state, thread);
    else
        abti_list_append(&state->second, thread);
    abti_size_add(&state->size, 1);
    abti_bitlock_unlock(&state->lock, 0);
}

static abti_thread *earliest_pop(abti_pool *pool, ABT_pool_context context)
{
    struct ranked_pool *state = ranked(pool);
    (void)context;
    if (ranked_is_empty(pool))
        return NULL;
    abti_bitlock_lock(&state->lock);
    abti_thread *thread = heap_take(state);
    if (!thread)
        thread = take_first(&state->second);
    if (thread)
        abti_size_add(&state->size, (size_t)-1);
    abti_bitlock_unlock(&state->lock, 0);
    return thread;
}

static const struct abti_pool_ops earliest_ops = {
    .push = earliest_push,
    .pop = earliest_pop,
    .size = ranked_size,
    .is_empty = ranked_is_empty,
    .destroy = ranked_destroy,
};

/* Creation ----------------------------------------------------------------------------------------------- */

static int create_ranked(const struct abti_pool_ops *ops, ABT_pool_access access, const char *kind, ABT_pool *newpool)
{
    abti_pool *pool;
    *newpool = ABT_POOL_NULL;
    struct ranked_pool *state = calloc(1, sizeof *state);
    int err = state ? abti_pool_alloc(ops, access, false, kind, &pool) : ABT_ERR_MEM;
    if (err) {
        free(state);
        return err;
    }
    pool->state = state;
    *newpool = pool;
    return ABT_SUCCESS;
}

int dango_abt_pool_create_prio(ABT_pool_access access, ABT_pool *newpool)
{
    return create_ranked(&prio_ops, access, "prio_wait", newpool);
}

int dango_abt_pool_create_earliest_first(ABT_pool_access access, ABT_pool *newpool)
{
    return create_ranked(&earliest_ops, access, "earliest_first", newpool);
}
