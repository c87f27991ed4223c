/*
 * Pools: life, accounting, and the one way in and out for all kinds.
 *
 * FIFO and RANDWS pools are a queue (queue.h); other kinds bring a table of operations. Whatever the kind,
 * a push wakes at most one of the sleepers of the pool. For queues that is decided inside the critical
 * section of the push; the other kinds, whose push is not ours, look at the number of sleepers after a full barrier.
 *
 * A pool may be destroyed as soon as the last unit in it has been run and joined. A push must therefore
 * not touch the pool any more once the unit is visible: for queues releasing the lock is the last access;
 * for the other kinds `num_pushing` covers the whole push, and destruction waits until it is 0.
 */
#include <stdlib.h>

#include "argobots/queue.h"
#include "util/fence.h"

static atomic_int next_pool_id;

int abti_pool_alloc(const struct abti_pool_ops *ops, ABT_pool_access access, bool automatic, const char *kind_name,
                    abti_pool **newpool)
{
    abti_pool *pool = aligned_alloc(64, sizeof *pool);
    if (!pool)
        return ABT_ERR_MEM;
    *pool = (abti_pool){.ops = ops, .access = access, .automatic = automatic, .kind_name = kind_name};
    pool->id = atomic_fetch_add(&next_pool_id, 1);
    *newpool = pool;
    return ABT_SUCCESS;
}

int abti_pool_create_fifo(ABT_pool_kind kind, ABT_pool_access access, bool automatic, abti_pool **newpool)
{
    static const char *const names[] = {"fifo", "fifo_wait", "randws"};
    assert(kind >= ABT_POOL_FIFO && kind <= ABT_POOL_RANDWS);
    int err = abti_pool_alloc(NULL, access, automatic, names[kind], newpool);
    if (err)
        return err;
    if (kind == ABT_POOL_RANDWS) {
        (*newpool)->lifo_create = true;
        (*newpool)->queue.revoked = true; /* others steal from it */
    }
    return ABT_SUCCESS;
}

void abti_pool_destroy(abti_pool *pool)
{
    unsigned tries = 0;
    assert(abti_load(&pool->num_scheds) == 0);
    while (abti_load_acquire(&pool->num_pushing))
        abti_backoff(&tries);
    abti_bitlock_lock(&pool->queue.lock); /* a late pusher may still be on its way out */
    abti_bitlock_unlock(&pool->queue.lock, 0);
    if (pool->ops && pool->ops->destroy)
        pool->ops->destroy(pool);
    free(pool);
}

void abti_pool_ref(abti_pool *pool)
{
    atomic_fetch_add(&pool->num_refs, 1);
}

void abti_pool_unref(abti_pool *pool)
{
    if (atomic_fetch_sub(&pool->num_refs, 1) == 1 && pool->automatic)
        abti_pool_destroy(pool);
}

/* A scheduler begins to serve the pool. */
void abti_pool_attach(abti_pool *pool)
{
    if (atomic_fetch_add(&pool->num_scheds, 1) == 0)
        return;
    abti_bitlock_lock(&pool->queue.lock);
    abti_queue_revoke(&pool->queue);
    abti_bitlock_unlock(&pool->queue.lock, 0);
}

void abti_pool_detach(abti_pool *pool, abti_xstream *es)
{
    abti_queue_drop_owner(&pool->queue, es);
    atomic_fetch_sub(&pool->num_scheds, 1);
}

/* Sleepers ---------------------------------------------------------------------------------------- */

void abti_pool_add_sleeper(abti_pool *pool, struct abti_sleep_link *link, bool last)
{
    abti_bitlock_lock(&pool->queue.lock);
    struct abti_sleep_link **place = &pool->queue.sleepers;
    struct abti_sleep_link *prev = NULL;
    while (last && *place) {
        prev = *place;
        place = &prev->next;
    }
    link->prev = prev;
    link->next = *place;
    if (link->next)
        link->next->prev = link;
    *place = link;
    link->queued = true;
    abti_store(&pool->queue.num_sleepers, abti_load(&pool->queue.num_sleepers) + 1);
    abti_bitlock_unlock(&pool->queue.lock, 0);
    dango_full_fence(); /* announced, before the pool is looked at again */
}

static void unlink_sleeper(struct abti_queue *queue, struct abti_sleep_link *link)
{
    if (link->prev)
        link->prev->next = link->next;
    else
        queue->sleepers = link->next;
    if (link->next)
        link->next->prev = link->prev;
    link->queued = false;
    abti_store(&queue->num_sleepers, abti_load(&queue->num_sleepers) - 1);
}

void abti_pool_drop_sleeper(abti_pool *pool, struct abti_sleep_link *link)
{
    abti_bitlock_lock(&pool->queue.lock);
    if (link->queued)
        unlink_sleeper(&pool->queue, link);
    abti_bitlock_unlock(&pool->queue.lock, 0);
}

/* Takes one sleeper that nobody else has woken yet; the caller has the lock, and kicks it after releasing it. */
static struct abti_sleeper *take_sleeper(struct abti_queue *queue, enum abti_sleep_state *was)
{
    while (queue->sleepers) {
        struct abti_sleeper *sleeper = queue->sleepers->sleeper;
        unlink_sleeper(queue, queue->sleepers);
        if (abti_sleeper_wake(sleeper, was))
            return sleeper;
    }
    return NULL;
}

static void wake_sleeper(abti_pool *pool)
{
    enum abti_sleep_state was;
    abti_bitlock_lock(&pool->queue.lock);
    struct abti_sleeper *sleeper = take_sleeper(&pool->queue, &was);
    abti_bitlock_unlock(&pool->queue.lock, 0);
    if (sleeper)
        abti_sleeper_kick(sleeper, was);
}

/* Push and pop ------------------------------------------------------------------------------------ */

static void link_in(abti_pool *pool, struct abti_list *list, abti_thread *thread, ABT_pool_context context)
{
    const ABT_pool_context created = ABT_POOL_CONTEXT_OP_THREAD_CREATE | ABT_POOL_CONTEXT_OP_THREAD_REVIVE;
    if (abti_unlikely(pool->lifo_create && (context & created)))
        abti_list_prepend(list, thread);
    else
        abti_list_append(list, thread);
}

static void push_shared(abti_pool *pool, abti_thread *thread, ABT_pool_context context, bool unblocked)
{
    struct abti_queue *queue = &pool->queue;
    struct abti_sleeper *sleeper = NULL;
    enum abti_sleep_state was;
    abti_bitlock_lock(&queue->lock);
    link_in(pool, &queue->shared, thread, context);
    abti_store(&thread->linked, ABTI_LINK_SHARED);
    abti_size_add(&queue->shared_size, 1);
    if (unblocked)
        atomic_fetch_sub_explicit(&pool->queue.others_blocked, 1, memory_order_relaxed);
    if (queue->sleepers)
        sleeper = take_sleeper(queue, &was);
    abti_bitlock_unlock(&queue->lock, 0);
    if (sleeper)
        abti_sleeper_kick(sleeper, was);
}

static void push_other_kind(abti_pool *pool, abti_thread *thread, ABT_pool_context context, bool unblocked)
{
    atomic_fetch_add(&pool->num_pushing, 1);
    pool->ops->push(pool, thread, context);
    dango_full_fence(); /* pushed, before the sleepers are looked at */
    if (abti_load(&pool->queue.num_sleepers))
        wake_sleeper(pool);
    if (unblocked)
        atomic_fetch_sub(&pool->queue.others_blocked, 1);
    atomic_fetch_sub_explicit(&pool->num_pushing, 1, memory_order_release);
}

/* Makes a READY unit available in its pool. `unblocked`: it was counted as blocked until now. */
void abti_pool_push(abti_xstream *es, abti_pool *pool, abti_thread *thread, ABT_pool_context context, bool unblocked)
{
    struct abti_queue *queue = &pool->queue;
    abti_store_release(&thread->state, ABT_THREAD_STATE_READY);
    if (abti_unlikely(pool->ops != NULL)) {
        push_other_kind(pool, thread, context, unblocked);
    } else if (abti_queue_enter(queue, es)) {
        link_in(pool, &queue->own, thread, context);
        abti_store(&thread->linked, ABTI_LINK_OWN);
        abti_size_add(&queue->own_size, 1);
        if (unblocked)
            abti_store(&pool->queue.own_blocked, abti_load(&pool->queue.own_blocked) - 1);
        abti_queue_leave(queue); /* no sleepers to look for: only the owner serves the pool, and it is awake */
    } else {
        push_shared(pool, thread, context, unblocked);
    }
}

static abti_thread *pop_shared(abti_pool *pool, bool from_tail)
{
    struct abti_queue *queue = &pool->queue;
    if (abti_queue_is_empty(queue))
        return NULL;
    abti_bitlock_lock(&queue->lock);
    if (abti_load(&queue->owner))
        abti_queue_revoke(queue);
    abti_thread *thread = abti_queue_take(&queue->shared, &queue->shared_size, from_tail);
    abti_bitlock_unlock(&queue->lock, 0);
    return thread;
}

abti_thread *abti_pool_pop(abti_xstream *es, abti_pool *pool, ABT_pool_context context)
{
    if (abti_unlikely(pool->ops != NULL))
        return pool->ops->pop(pool, context);
    bool from_tail = pool->lifo_create && (context & ABT_POOL_CONTEXT_OWNER_SECONDARY);
    if (!abti_queue_enter(&pool->queue, es))
        return pop_shared(pool, from_tail);
    abti_thread *thread = abti_queue_take(&pool->queue.own, &pool->queue.own_size, from_tail);
    abti_queue_leave(&pool->queue);
    return thread;
}

/* Takes a certain unit out of the pool; false if it is not in there (or the pool cannot remove). */
bool abti_pool_remove(abti_xstream *es, abti_pool *pool, abti_thread *thread)
{
    struct abti_queue *queue = &pool->queue;
    if (pool->ops)
        return pool->ops->remove && pool->ops->remove(pool, thread);
    if (abti_queue_enter(queue, es)) {
        bool found = abti_load(&thread->linked) == ABTI_LINK_OWN;
        if (found) {
            abti_list_remove(&queue->own, thread);
            abti_store(&thread->linked, ABTI_LINK_NONE);
            abti_size_add(&queue->own_size, -1);
        }
        abti_queue_leave(queue);
        return found;
    }
    abti_bitlock_lock(&queue->lock);
    if (abti_load(&queue->owner))
        abti_queue_revoke(queue);
    bool found = abti_load(&thread->linked) == ABTI_LINK_SHARED && abti_load(&thread->pool) == pool;
    if (found) {
        abti_list_remove(&queue->shared, thread);
        abti_store(&thread->linked, ABTI_LINK_NONE);
        abti_size_add(&queue->shared_size, -1);
    }
    abti_bitlock_unlock(&queue->lock, 0);
    return found;
}

bool abti_pool_is_empty(abti_pool *pool)
{
    return pool->ops ? pool->ops->is_empty(pool) : abti_queue_is_empty(&pool->queue);
}

/* READY units in the pool. */
size_t abti_pool_size(abti_pool *pool)
{
    return pool->ops ? pool->ops->size(pool) : abti_queue_size(&pool->queue);
}

/* Blocked units that belong to the pool, and units on their way into it. */
long abti_pool_num_blocked(abti_pool *pool)
{
    long blocked = abti_load_acquire(&pool->queue.own_blocked) + abti_load_acquire(&pool->queue.others_blocked);
    return blocked + (long)abti_load_acquire(&pool->num_pushing);
}
