/*
 * The completion queue of a context: a FIFO of entries that live in what completes, so that pushing cannot fail.
 */
#include "mercury/hg.h"

#include <assert.h>
#include <time.h>

void hgi_queue_init(struct hgi_queue *queue)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->filled, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&queue->lock, NULL);
    queue->first = queue->last = NULL;
    queue->waiters = 0;
    atomic_init(&queue->count, 0);
}

void hgi_queue_fini(struct hgi_queue *queue)
{
    assert(!queue->first);
    pthread_cond_destroy(&queue->filled);
    pthread_mutex_destroy(&queue->lock);
}

void hgi_queue_push(struct hgi_queue *queue, struct hgi_entry *entry)
{
    assert(entry->run);
    entry->next = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->last)
        queue->last->next = entry;
    else
        queue->first = entry;
    queue->last = entry;
    atomic_fetch_add_explicit(&queue->count, 1, memory_order_release);
    if (queue->waiters > 0)
        pthread_cond_signal(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
}

/* Waits for an entry; lock held. */
static void wait_filled(struct hgi_queue *queue, int64_t deadline_ns)
{
    struct timespec deadline = {.tv_sec = deadline_ns / 1000000000, .tv_nsec = deadline_ns % 1000000000};

    queue->waiters++;
    while (!queue->first && pthread_cond_timedwait(&queue->filled, &queue->lock, &deadline) == 0)
        ;
    queue->waiters--;
}

struct hgi_entry *hgi_queue_pop(struct hgi_queue *queue, int64_t deadline_ns)
{
    struct hgi_entry *entry;

    if (deadline_ns == 0 && hgi_queue_empty(queue))
        return NULL;
    pthread_mutex_lock(&queue->lock);
    if (!queue->first && deadline_ns != 0)
        wait_filled(queue, deadline_ns);
    entry = queue->first;
    assert(!entry == (atomic_load_explicit(&queue->count, memory_order_relaxed) == 0));
    if (entry) {
        queue->first = entry->next;
        if (!queue->first)
            queue->last = NULL;
        atomic_fetch_sub_explicit(&queue->count, 1, memory_order_release);
    }
    pthread_mutex_unlock(&queue->lock);
    return entry;
}
