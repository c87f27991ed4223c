/*
 * Running, yielding, blocking and ending: every place where an ES changes from one context to another.
 *
 * The cost of a switch is what the whole library is measured by, so the common case does not go through
 * the scheduler: pick_next asks the scheduler (if it is one of ours and nobody wants something of it)
 * what it would run next, and the switch goes there directly. The parent of the new unit is the parent
 * of the old one, as if the scheduler had started it.
 *
 * Nothing may be kept across a switch that depends on the OS thread: a ULT can wake up on another ES, so
 * every function reads the current ES anew after switching.
 */
#include "argobots/queue.h"

static void thread_main(void);

/* Publishes the end of a unit. Afterwards it may be gone: a joiner frees it, or it is unnamed. */
static void publish_end(abti_xstream *es, abti_thread *thread)
{
    struct abti_waiter *handoff = thread->handoff;
    struct abti_waiter *first = NULL;
    uint32_t none = 0;
    thread->handoff = NULL;
    abti_store_release(&thread->state, ABT_THREAD_STATE_TERMINATED);
    if (!thread->named) {
        abti_thread_destroy(es, thread);
    } else if (!atomic_compare_exchange_strong_explicit(&thread->join_word, &none, ABTI_JOIN_TERMINATED,
                                                        memory_order_acq_rel, memory_order_relaxed)) {
        abti_bitlock_lock(&thread->join_word);
        first = abti_waiters_take_all(&thread->joiners);
        abti_bitlock_unlock(&thread->join_word, ABTI_JOIN_TERMINATED);
    }
    abti_wake_all(first);
    if (handoff)
        abti_wake(handoff);
}

static inline void do_post(abti_xstream *es)
{
    struct abti_post *post = &es->post;
    abti_thread *prev = post->prev;
    atomic_uint *word = post->word;
    uint32_t bits = post->bits;
    enum abti_post_kind kind = post->kind;
    post->kind = ABTI_POST_NONE; /* what follows may switch again */
    switch (kind) {
    case ABTI_POST_NONE:
        break;
    case ABTI_POST_PUSH:
        abti_pool_push_inline(es, abti_load(&prev->pool), prev, post->context, false);
        break;
    case ABTI_POST_BLOCK:
        abti_store_release(&prev->state, ABT_THREAD_STATE_BLOCKED);
        if (word)
            abti_bitlock_unlock(word, bits);
        break;
    case ABTI_POST_UNLOCK:
        abti_bitlock_unlock(word, 0);
        break;
    case ABTI_POST_END:
        abti_fiber_destroy(&prev->fiber);
        publish_end(es, prev);
        break;
    }
}

/* Does what the previous context could not do before it was saved. First thing in every context that goes on. */
static inline void after_switch(void)
{
    abti_xstream *es = abti_self();
    abti_fiber_enter(&es->current->fiber);
    if (es->post.kind != ABTI_POST_NONE)
        do_post(es);
}

/* `next` is going to run on this ES instead of the current context. */
static inline void set_current(abti_xstream *es, abti_thread *next)
{
    es->current = next;
    next->es = es;
    abti_store(&next->state, ABT_THREAD_STATE_RUNNING);
}

static void switch_to(abti_xstream *es, abti_thread *next)
{
    abti_thread *prev = es->current;
    assert(prev != next);
    set_current(es, next);
    abti_fiber_leave(&prev->fiber, &next->fiber);
    if (next->sp)
        abti_context_switch(&prev->sp, next->sp);
    else
        abti_context_start(&prev->sp, next->stack_low, next->stack_high,
                           next->is_root ? abti_primary_root : thread_main);
    after_switch();
}

/* The scheduler of the parent, if it is one that we can ask instead of returning to it. */
static abti_sched *direct_sched(abti_xstream *es, abti_thread *parent)
{
    abti_sched *sched = parent->sched;
    if (!sched || sched->kind == ABTI_SCHED_USER || abti_load(&sched->request) || abti_load(&es->attention))
        return NULL;
    return sched;
}

/* What to run when the current unit stops: another unit, or its parent. */
static abti_thread *pick_next(abti_xstream *es)
{
    abti_thread *parent = es->current->parent;
    abti_sched *sched = direct_sched(es, parent);
    abti_thread *next = sched ? abti_sched_pick_inline(sched, es) : NULL;
    if (!next)
        return parent;
    if (abti_unlikely(abti_load(&next->request))) { /* needs callbacks, and the caller may hold a lock */
        assert(!es->set_aside);
        es->set_aside = next;
        return parent;
    }
    next->parent = parent;
    return next;
}

/* Runs a unit as the child of the calling context; returns when it, or one that followed it, gives the ES back. */
void abti_run_child(abti_xstream *es, abti_thread *thread)
{
    thread->parent = es->current;
    switch_to(es, thread);
}

/* Puts the caller, READY, into its pool and runs `next`. */
static void leave_ready(abti_xstream *es, abti_thread *next, ABT_pool_context context)
{
    es->post = (struct abti_post){.kind = ABTI_POST_PUSH, .prev = es->current, .context = context};
    switch_to(es, next);
}

/*
 * Takes the first unit of the caller's own pool and appends the caller: one critical section, or none if this ES owns
 * the queue. Returns false if there was nobody else.
 */
static bool rotate(abti_xstream *es, abti_pool *pool)
{
    struct abti_queue *queue = &pool->queue;
    abti_thread *self = es->current;
    bool owner = abti_queue_enter(queue, es);
    if (!owner) {
        abti_bitlock_lock(&queue->lock);
        if (abti_load(&queue->owner))
            abti_queue_revoke(queue);
    }
    struct abti_list *list = owner ? &queue->own : &queue->shared;
    abti_thread *next = list->head;
    if (!next || abti_unlikely(abti_load(&next->request))) { /* requests are for the scheduler */
        if (owner)
            abti_queue_leave(queue);
        else
            abti_bitlock_unlock(&queue->lock, 0);
        if (next)
            leave_ready(es, self->parent, ABT_POOL_CONTEXT_OP_THREAD_YIELD);
        return next != NULL;
    }
    abti_list_remove(list, next);
    abti_store(&next->linked, ABTI_LINK_NONE);
    abti_list_append(list, self);
    abti_store(&self->linked, owner ? ABTI_LINK_OWN : ABTI_LINK_SHARED);
    abti_store_release(&self->state, ABT_THREAD_STATE_READY);
    next->parent = self->parent;
    if (owner) {
        abti_queue_leave(queue);
    } else { /* nobody may take the caller before its context is saved */
        es->post = (struct abti_post){.kind = ABTI_POST_UNLOCK, .word = &queue->lock};
    }
    switch_to(es, next);
    return true;
}

/*
 * Yields as if the caller were pushed to its pool and the scheduler asked for the next unit: units in earlier pools go
 * first, then those in the caller's own pool; if there are none the caller goes on.
 */
void abti_yield(abti_xstream *es)
{
    abti_thread *self = es->current;
    abti_thread *parent = self->parent;
    abti_pool *pool = abti_load(&self->pool);
    abti_sched *sched = direct_sched(es, parent);
    bool direct = sched && !pool->ops && !abti_load(&self->request);
    int num_pools = direct ? abti_load_acquire(&sched->num_pools) : 0;
    if (direct && sched->kind == ABTI_SCHED_STEALING)
        num_pools = 1; /* others are looked at only when the first is empty */
    for (int i = 0; i < num_pools; i++) {
        abti_pool *other = sched->serve[i];
        if (other == pool) {
            if (!abti_queue_is_empty(&pool->queue))
                rotate(es, pool);
            return;
        }
        if (!abti_pool_is_empty(other))
            break;
    }
    leave_ready(es, parent, ABT_POOL_CONTEXT_OP_THREAD_YIELD);
}

/* Lets every ready unit of this ES run before the caller, whatever pool it is in. */
void abti_yield_last(abti_xstream *es)
{
    abti_thread *next = abti_load(&es->current->request) ? es->current->parent : pick_next(es);
    if (next == es->current->parent && !es->set_aside && !abti_load(&es->current->request) && direct_sched(es, next))
        return; /* nobody else */
    leave_ready(es, next, ABT_POOL_CONTEXT_OP_THREAD_YIELD);
}

/* The caller goes to its pool; `next`, READY and in no pool, runs. */
void abti_yield_to(abti_xstream *es, abti_thread *next, ABT_pool_context context)
{
    next->parent = es->current->parent;
    leave_ready(es, next, context);
}

/* Blocks the caller and runs `next`; *word, a bit lock (or NULL), is released as `bits` once the context is saved. */
void abti_suspend_to(abti_xstream *es, abti_thread *next, atomic_uint *word, uint32_t bits)
{
    abti_thread *self = es->current;
    assert(!self->is_root && !self->is_task);
    abti_pool_count_blocked(es, abti_load(&self->pool), 1);
    if (next != self->parent)
        next->parent = self->parent;
    es->post = (struct abti_post){.kind = ABTI_POST_BLOCK, .prev = self, .word = word, .bits = bits};
    switch_to(es, next);
}

void abti_suspend(abti_xstream *es, atomic_uint *word, uint32_t bits)
{
    abti_suspend_to(es, pick_next(es), word, bits);
}

/* The joiner that gave its place on this ES to the unit that now ends, if it can simply go on. */
static abti_thread *take_handoff(abti_xstream *es, abti_thread *self)
{
    if (!self->handoff)
        return NULL;
    abti_thread *joiner = self->handoff->thread;
    if (joiner->es != es || abti_load(&joiner->request) || !direct_sched(es, self->parent))
        return NULL;
    self->handoff = NULL;
    joiner->parent = self->parent;
    abti_pool_count_blocked(es, abti_load(&joiner->pool), -1);
    return joiner;
}

/* A context that has not run yet, for abti_context_resume, which cannot start one. */
static void start_from_end(abti_thread *self, abti_thread *next)
{
    void (*entry)(void) = next->is_root ? abti_primary_root : thread_main;
    abti_context_start(&self->sp, next->stack_low, next->stack_high, entry);
}

/* Inline in the main function of ULTs: see context.S about calls at the end. */
static inline __attribute__((always_inline, noreturn)) void end_self(abti_xstream *es, abti_thread *next)
{
    abti_thread *self = es->current;
    assert(!self->is_root && !self->is_primary);
    if (abti_unlikely(!self->named && self->values)) {
        abti_values_destroy(self); /* destructors may block */
        es = abti_self();
    }
    if (next)
        next->parent = self->parent;
    else
        next = take_handoff(es, self);
    if (!next)
        next = pick_next(es);
    es->post.kind = ABTI_POST_END;
    es->post.prev = self;
    set_current(es, next);
    abti_fiber_leave(NULL, &next->fiber);
    if (abti_unlikely(!next->sp))
        start_from_end(self, next);
    abti_context_resume(next->sp);
}

/* Ends the calling unit; `next` runs, or whoever is next if NULL. */
void abti_end(abti_xstream *es, abti_thread *next)
{
    end_self(es, next);
}

/* Where every ULT begins and ends. */
static void thread_main(void)
{
    after_switch();
    abti_thread *self = abti_self()->current;
    self->fn(self->arg);
    end_self(abti_self(), NULL);
}

/* Ends a unit that is in no pool and does not run: it was cancelled. */
static void finish_unrun(abti_thread *thread)
{
    if (!thread->named)
        abti_values_destroy(thread);
    abti_fiber_destroy(&thread->fiber);
    publish_end(abti_self(), thread);
}

/* A blocked unit can go on: into its pool. */
void abti_ready(abti_thread *thread)
{
    abti_pool_push_inline(abti_self(), abti_load(&thread->pool), thread, ABT_POOL_CONTEXT_OP_THREAD_RESUME, true);
}

/* The one schedule point for requests: returns the popped unit, or NULL if it was cancelled or went elsewhere. */
abti_thread *abti_admit(abti_thread *thread)
{
    uint32_t request = abti_load_acquire(&thread->request);
    if (abti_likely(!request))
        return thread;
    if (request & ABTI_REQUEST_CANCEL) {
        finish_unrun(thread);
        return NULL;
    }
    return abti_migrate(thread) ? NULL : thread;
}

/* First thing in the root context of the primary ES. */
void abti_root_begin(void)
{
    after_switch();
}

/* The primary ULT, in ABT_finalize, leaves the ES to the scheduler until that has no work left. */
void abti_wait_for_root(abti_xstream *es)
{
    assert(es->primary && es->current->is_primary);
    es->post = (struct abti_post){.kind = ABTI_POST_BLOCK, .prev = es->current};
    switch_to(es, &es->root);
}

/* The counterpart, called by the root context when all is done; it is never continued. */
void abti_return_to_primary(abti_xstream *es, abti_thread *primary)
{
    assert(es->primary && es->current->is_root);
    switch_to(es, primary);
}
