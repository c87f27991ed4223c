/*
 * The queue inside FIFO and RANDWS pools.
 *
 * Any thread may push to and pop from it. Because by far the most pools are served by one ES, whose own
 * ULTs do most of the pushing, that ES is made the *owner* of the queue and works on a list of its own
 * without any atomic read-modify-write:
 *
 *   owner      sets `busy`, looks whether it is still the owner, works on the `own` list, clears `busy`.
 *   others     push to the `shared` list under the lock. The owner takes over the whole shared list, under the
 *              lock, when it finds it not empty, before it does anything else: the order of arrival is kept.
 *   revocation when somebody else wants to pop, or a second scheduler is to serve the pool: under the lock, set the
 *              owner to NULL, membarrier (which puts a full barrier into every running thread of the process, so
 *              the owner needs none), wait until `busy` is clear, and put the own list in front of the shared one.
 *              Once revoked, always revoked: from then on everybody uses the shared list under the lock.
 *
 * A unit says in `linked` which list it is in, so that it can be removed. Only the owner changes it to or from OWN
 * (or the revoker, in its place).
 *
 * The owner never takes the lock while it is busy, and the lock holder waits for busy: no deadlock.
 * Without membarrier no queue ever has an owner.
 */
#ifndef DANGO_ARGOBOTS_QUEUE_H
#define DANGO_ARGOBOTS_QUEUE_H

#include "argobots/abti.h"

static inline void abti_list_append(struct abti_list *list, abti_thread *thread)
{
    thread->next = NULL;
    thread->prev = list->tail;
    if (list->tail)
        list->tail->next = thread;
    else
        list->head = thread;
    list->tail = thread;
}

static inline void abti_list_prepend(struct abti_list *list, abti_thread *thread)
{
    thread->prev = NULL;
    thread->next = list->head;
    if (list->head)
        list->head->prev = thread;
    else
        list->tail = thread;
    list->head = thread;
}

static inline void abti_list_remove(struct abti_list *list, abti_thread *thread)
{
    if (thread->prev)
        thread->prev->next = thread->next;
    else
        list->head = thread->next;
    if (thread->next)
        thread->next->prev = thread->prev;
    else
        list->tail = thread->prev;
}

/* Appends all of `from` to `to`, and empties it. */
static inline void abti_list_splice(struct abti_list *to, struct abti_list *from)
{
    if (!from->head)
        return;
    if (to->tail) {
        to->tail->next = from->head;
        from->head->prev = to->tail;
    } else {
        to->head = from->head;
    }
    to->tail = from->tail;
    from->head = from->tail = NULL;
}

static inline bool abti_queue_is_empty(struct abti_queue *queue)
{
    return !abti_load(&queue->own_size) && !abti_load(&queue->shared_size);
}

static inline size_t abti_queue_size(struct abti_queue *queue)
{
    return abti_load_acquire(&queue->own_size) + abti_load_acquire(&queue->shared_size);
}

/* Only by the thread that may change the size: the owner, or the holder of the lock. */
static inline void abti_size_add(atomic_size_t *size, size_t change)
{
    abti_store_release(size, abti_load(size) + change);
}

void abti_queue_drain(struct abti_queue *queue, abti_xstream *es);
void abti_queue_set_owner(struct abti_queue *queue, abti_xstream *es);
void abti_queue_drop_owner(struct abti_queue *queue, abti_xstream *es);
void abti_queue_revoke(struct abti_queue *queue); /* with the lock held */

/* Begins the owner's work on `own`; false if `es` is not the owner (any more). */
static inline bool abti_queue_enter(struct abti_queue *queue, abti_xstream *es)
{
    if (abti_load(&queue->owner) != es || !es)
        return false;
    if (abti_unlikely(abti_load(&queue->shared_size)))
        abti_queue_drain(queue, es);
    abti_store(&queue->busy, true);
    atomic_signal_fence(memory_order_seq_cst); /* paired with the membarrier in abti_queue_revoke */
    if (abti_likely(abti_load(&queue->owner) == es))
        return true;
    abti_store_release(&queue->busy, false);
    return false;
}

static inline void abti_queue_leave(struct abti_queue *queue)
{
    abti_store_release(&queue->busy, false);
}

/* The first or last unit of a list, out of it; by the owner, or with the lock held. */
static inline abti_thread *abti_queue_take(struct abti_list *list, atomic_size_t *size, bool from_tail)
{
    abti_thread *thread = from_tail ? list->tail : list->head;
    if (!thread)
        return NULL;
    abti_list_remove(list, thread);
    abti_store(&thread->linked, ABTI_LINK_NONE);
    abti_size_add(size, (size_t)-1);
    return thread;
}

/* abti_pool_push and abti_pool_pop with the most frequent case inline: the owner, in a pool of ours. */

static inline void abti_pool_push_inline(abti_xstream *es, abti_pool *pool, abti_thread *thread,
                                         ABT_pool_context context, bool unblocked)
{
    struct abti_queue *queue = &pool->queue;
    if (abti_unlikely(pool->ops || pool->lifo_create || !abti_queue_enter(queue, es))) {
        abti_pool_push(es, pool, thread, context, unblocked);
        return;
    }
    abti_store(&thread->state, ABT_THREAD_STATE_READY);
    abti_list_append(&queue->own, thread);
    abti_store(&thread->linked, ABTI_LINK_OWN);
    abti_size_add(&queue->own_size, 1);
    if (unblocked)
        abti_store(&pool->queue.own_blocked, abti_load(&pool->queue.own_blocked) - 1);
    abti_queue_leave(queue); /* no sleepers to look for: only the owner serves the pool, and it is awake */
}

static inline abti_thread *abti_pool_pop_inline(abti_xstream *es, abti_pool *pool, ABT_pool_context context)
{
    if (abti_unlikely(pool->ops || pool->lifo_create || !abti_queue_enter(&pool->queue, es)))
        return abti_pool_pop(es, pool, context);
    abti_thread *thread = abti_queue_take(&pool->queue.own, &pool->queue.own_size, false);
    abti_queue_leave(&pool->queue);
    return thread;
}

/* abti_sched_pick with the most frequent case inline: the first pool of an ordered scheduler has something. */
static inline abti_thread *abti_sched_pick_inline(abti_sched *sched, abti_xstream *es)
{
    if (abti_likely(abti_load(&sched->num_pools) > 0)) {
        abti_pool *first = sched->serve[0];
        if (!first->ops && !abti_queue_is_empty(&first->queue)) {
            abti_thread *thread = abti_pool_pop_inline(es, first, ABT_POOL_CONTEXT_OWNER_PRIMARY);
            if (thread)
                return thread;
        }
    }
    return abti_sched_pick(sched, es);
}

#endif
