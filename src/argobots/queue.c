/*
 * Owners of queues: taking over what others pushed, becoming owner, losing it. See queue.h.
 */
#include "argobots/queue.h"

#include <linux/membarrier.h>

static void relabel(struct abti_list *list, enum abti_link link)
{
    for (abti_thread *thread = list->head; thread; thread = thread->next)
        abti_store(&thread->linked, link);
}

/* Moves what others pushed behind the owner's own list. The caller is not busy. */
void abti_queue_drain(struct abti_queue *queue, abti_xstream *es)
{
    abti_bitlock_lock(&queue->lock);
    if (abti_load(&queue->owner) == es) {
        size_t moved = abti_load(&queue->shared_size);
        relabel(&queue->shared, ABTI_LINK_OWN);
        abti_list_splice(&queue->own, &queue->shared);
        abti_size_add(&queue->own_size, moved); /* first: the sum must never look empty in between */
        abti_store_release(&queue->shared_size, 0);
    }
    abti_bitlock_unlock(&queue->lock, 0);
}

/* `es`, the caller, is now the only one that pops. No effect once the queue has been revoked. */
void abti_queue_set_owner(struct abti_queue *queue, abti_xstream *es)
{
    if (!abti_global.can_bias)
        return;
    abti_bitlock_lock(&queue->lock);
    if (!queue->revoked && !abti_load(&queue->owner))
        abti_store(&queue->owner, es);
    abti_bitlock_unlock(&queue->lock, 0);
}

static void return_own_list(struct abti_queue *queue)
{
    size_t moved = abti_load(&queue->own_size);
    relabel(&queue->own, ABTI_LINK_SHARED);
    abti_list_splice(&queue->own, &queue->shared);
    queue->shared = queue->own;
    queue->own = (struct abti_list){0};
    abti_size_add(&queue->shared_size, moved);
    abti_store_release(&queue->own_size, 0);
}

/* The owner itself gives up ownership, because it stops serving the pool. Another ES may become owner later. */
void abti_queue_drop_owner(struct abti_queue *queue, abti_xstream *es)
{
    abti_bitlock_lock(&queue->lock);
    if (es && abti_load(&queue->owner) == es) {
        abti_store(&queue->owner, NULL);
        return_own_list(queue);
    }
    abti_bitlock_unlock(&queue->lock, 0);
}

void abti_queue_revoke(struct abti_queue *queue)
{
    unsigned tries = 0;
    assert(abti_load(&queue->lock) & ABTI_LOCK_BIT);
    queue->revoked = true;
    if (!abti_load(&queue->owner))
        return;
    abti_store(&queue->owner, NULL);
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    while (abti_load_acquire(&queue->busy))
        abti_backoff(&tries);
    return_own_list(queue);
}
