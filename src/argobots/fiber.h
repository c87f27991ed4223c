/*
 * What the sanitizers need to know about stacks: AddressSanitizer, which stack is in use (for its
 * fake stacks and for stack traces), ThreadSanitizer, which fiber runs (each has a vector clock of its
 * own; a switch orders what came before it and what comes after). Nothing in ordinary builds.
 */
#ifndef DANGO_ARGOBOTS_FIBER_H
#define DANGO_ARGOBOTS_FIBER_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define ABTI_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ABTI_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define ABTI_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define ABTI_TSAN 1
#endif
#endif

struct abti_fiber {
#if defined(ABTI_ASAN)
    void *fake_stack;
    const void *low; /* the stack, as AddressSanitizer wants it */
    size_t size;
#elif defined(ABTI_TSAN)
    void *handle;
    bool owned; /* made by us: the fibers of OS threads are not */
#else
    char unused;
#endif
};

#if defined(ABTI_ASAN)

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

static inline void abti_fiber_create(struct abti_fiber *fiber, const void *low, size_t size)
{
    *fiber = (struct abti_fiber){.low = low, .size = size};
    __asan_unpoison_memory_region(low, size); /* left over from a ULT that ended without unwinding */
}
static inline void abti_fiber_adopt_thread(struct abti_fiber *fiber, const void *low, size_t size)
{
    *fiber = (struct abti_fiber){.low = low, .size = size};
}
static inline void abti_fiber_destroy(struct abti_fiber *fiber)
{
    __asan_unpoison_memory_region(fiber->low, fiber->size);
}
/* `from` is NULL if the running context will never continue. */
static inline void abti_fiber_leave(struct abti_fiber *from, struct abti_fiber *to)
{
    __sanitizer_start_switch_fiber(from ? &from->fake_stack : NULL, to->low, to->size);
}
static inline void abti_fiber_enter(struct abti_fiber *self)
{
    __sanitizer_finish_switch_fiber(self->fake_stack, NULL, NULL);
}

#elif defined(ABTI_TSAN)

#include <sanitizer/tsan_interface.h>

static inline void abti_fiber_create(struct abti_fiber *fiber, const void *low, size_t size)
{
    (void)low, (void)size;
    fiber->handle = __tsan_create_fiber(0);
    fiber->owned = true;
}
static inline void abti_fiber_adopt_thread(struct abti_fiber *fiber, const void *low, size_t size)
{
    (void)low, (void)size;
    fiber->handle = __tsan_get_current_fiber();
    fiber->owned = false;
}
static inline void abti_fiber_destroy(struct abti_fiber *fiber)
{
    if (fiber->owned)
        __tsan_destroy_fiber(fiber->handle);
}
static inline void abti_fiber_leave(struct abti_fiber *from, struct abti_fiber *to)
{
    (void)from;
    __tsan_switch_to_fiber(to->handle, 0);
}
static inline void abti_fiber_enter(struct abti_fiber *self)
{
    (void)self;
}

#else

static inline void abti_fiber_create(struct abti_fiber *fiber, const void *low, size_t size)
{
    (void)fiber, (void)low, (void)size;
}
static inline void abti_fiber_adopt_thread(struct abti_fiber *fiber, const void *low, size_t size)
{
    (void)fiber, (void)low, (void)size;
}
static inline void abti_fiber_destroy(struct abti_fiber *fiber)
{
    (void)fiber;
}
static inline void abti_fiber_leave(struct abti_fiber *from, struct abti_fiber *to)
{
    (void)from, (void)to;
}
static inline void abti_fiber_enter(struct abti_fiber *self)
{
    (void)self;
}

#endif
#endif
