/*
 * Where ULTs live: a mapping that holds the stack and, above its top, the descriptor.
 *
 *   [ guard page | stack, grows down … | up to 15 cache lines of colour | descriptor ]
 *
 * Pages are committed by the kernel when touched, so a large default size costs address space only. Descriptors
 * are shifted by a varying number of cache lines, or all of them would compete for the same lines of the cache.
 *
 * Units with stacks of the default size are kept for reuse, in a list per ES; an ES with too many gives half of
 * them to a list of the process, an ES (or external thread) that has none takes from there. Beyond
 * ABT_MEM_MAX_NUM_STACKS in that list they are unmapped. Other sizes are mapped and unmapped each time.
 *
 * A guard page makes an overflow a fault instead of a corruption. When the kernel refuses to split the mapping (the
 * limit of mappings per process is reached), the stack works without.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "argobots/abti.h"

#define COLOURS       16u
#define CACHE_LINE    64u
#define MAX_PER_ES    256u
#define MIN_STACK     4096u
#define HUGE_PAGE     (2u << 20)
#define TAKE_FROM_ALL 32u

static atomic_uint next_colour;

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static abti_thread *map_thread(size_t stack_size)
{
    size_t page = abti_global.page_size;
    size_t colour = (atomic_fetch_add_explicit(&next_colour, 1, memory_order_relaxed) % COLOURS) * CACHE_LINE;
    size_t descriptor = round_up(sizeof(abti_thread), CACHE_LINE);
    if (stack_size > SIZE_MAX / 2)
        return NULL;
    size_t size = page + round_up(stack_size + descriptor + COLOURS * CACHE_LINE, page);
    char *map =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    mprotect(map, page, PROT_NONE); /* best effort, see above */
    if (size >= HUGE_PAGE)
        madvise(map, size, MADV_NOHUGEPAGE);
    abti_thread *thread = (abti_thread *)(map + size - descriptor - colour);
    thread->map = map;
    thread->map_size = size;
    thread->stack_low = map + page;
    thread->stack_high = (char *)thread;
    return thread;
}

static void unmap_thread(abti_thread *thread)
{
    if (thread->map)
        munmap(thread->map, thread->map_size);
    else
        free(thread);
}

/* A descriptor without a stack of ours: for user stacks and for the primary ULT. */
abti_thread *abti_thread_alloc_bare(void)
{
    abti_thread *thread = aligned_alloc(CACHE_LINE, round_up(sizeof *thread, CACHE_LINE));
    if (thread)
        memset(thread, 0, sizeof *thread);
    return thread;
}

static void count_free(unsigned change) /* under the lock */
{
    abti_store(&abti_global.num_free, abti_load(&abti_global.num_free) + change);
}

/* Takes some of what the process has; returns one of them, or NULL. */
static abti_thread *take_from_all(abti_xstream *es)
{
    if (!abti_load(&abti_global.num_free))
        return NULL;
    abti_bitlock_lock(&abti_global.threads_lock);
    abti_thread *first = abti_global.free_threads;
    if (first) {
        abti_global.free_threads = first->next;
        count_free(-1u);
    }
    for (unsigned i = 0; es && i < TAKE_FROM_ALL && abti_global.free_threads; i++) {
        abti_thread *thread = abti_global.free_threads;
        abti_global.free_threads = thread->next;
        count_free(-1u);
        thread->next = es->free_threads;
        es->free_threads = thread;
        es->num_free++;
    }
    abti_bitlock_unlock(&abti_global.threads_lock, 0);
    return first;
}

static abti_thread *alloc_default(abti_xstream *es)
{
    abti_thread *thread = es ? es->free_threads : NULL;
    if (abti_likely(thread != NULL)) {
        es->free_threads = thread->next;
        es->num_free--;
        return thread;
    }
    thread = take_from_all(es);
    if (!thread)
        thread = map_thread(abti_global.settings.thread_stack_size);
    if (thread)
        thread->default_stack = true;
    return thread;
}

/*
 * A descriptor with a stack: of stack_size bytes (0: the default), or the user's. Only the fields about the stack are
 * set. NULL: out of memory.
 */
abti_thread *abti_thread_alloc(abti_xstream *es, size_t stack_size, void *user_stack)
{
    if (abti_likely(!user_stack && (!stack_size || stack_size == abti_global.settings.thread_stack_size)))
        return alloc_default(es);
    abti_thread *thread;
    if (user_stack) {
        thread = abti_thread_alloc_bare();
        if (thread) {
            thread->stack_low = user_stack;
            thread->stack_high = (char *)user_stack + stack_size;
        }
    } else {
        thread = map_thread(stack_size < MIN_STACK ? MIN_STACK : stack_size);
    }
    if (thread)
        thread->default_stack = false;
    return thread;
}

/* Gives a chain of descriptors to the process, or to the kernel if that has enough. */
static void give_to_all(abti_thread *first)
{
    while (first) {
        abti_thread *thread = first;
        first = thread->next;
        abti_bitlock_lock(&abti_global.threads_lock);
        bool keep = abti_load(&abti_global.num_free) < abti_global.settings.max_stacks;
        if (keep) {
            thread->next = abti_global.free_threads;
            abti_global.free_threads = thread;
            count_free(1);
        }
        abti_bitlock_unlock(&abti_global.threads_lock, 0);
        if (!keep)
            unmap_thread(thread);
    }
}

static void spill_half(abti_xstream *es)
{
    abti_thread *last = es->free_threads;
    for (unsigned i = 1; i < MAX_PER_ES / 2; i++)
        last = last->next;
    abti_thread *rest = last->next;
    last->next = NULL;
    es->num_free = MAX_PER_ES / 2;
    give_to_all(rest);
}

void abti_thread_release(abti_xstream *es, abti_thread *thread)
{
    if (abti_unlikely(!thread->default_stack)) {
        unmap_thread(thread);
        return;
    }
    if (abti_unlikely(!es)) {
        thread->next = NULL;
        give_to_all(thread);
        return;
    }
    thread->next = es->free_threads;
    es->free_threads = thread;
    if (abti_unlikely(++es->num_free >= MAX_PER_ES))
        spill_half(es);
}

/* An ES ends: its stacks go to the others. */
void abti_stacks_spill(abti_xstream *es)
{
    abti_thread *first = es->free_threads;
    es->free_threads = NULL;
    es->num_free = 0;
    give_to_all(first);
}

void abti_stacks_free_all(void)
{
    abti_thread *thread = abti_global.free_threads;
    abti_global.free_threads = NULL;
    abti_store(&abti_global.num_free, 0);
    while (thread) {
        abti_thread *next = thread->next;
        unmap_thread(thread);
        thread = next;
    }
}
