/*
 * Fresh contexts, and the portable context switch. See context.h.
 *
 * A fresh context is a stack that looks as if abti_context_switch had been called from the very
 * beginning of `entry`: its saved registers hold nothing of interest, its return address is `entry`.
 */
#include "argobots/context.h"

#include <assert.h>
#include <stdint.h>

#if defined(ABTI_UCONTEXT)

#include <ucontext.h>

void *abti_context_make(char *low, char *high, void (*entry)(void))
{
    uintptr_t place = ((uintptr_t)high - sizeof(ucontext_t)) & ~(uintptr_t)63;
    ucontext_t *context = (ucontext_t *)place;
    assert(place > (uintptr_t)low);
    getcontext(context);
    context->uc_stack.ss_sp = low;
    context->uc_stack.ss_size = place - (uintptr_t)low;
    context->uc_link = NULL;
    makecontext(context, entry, 0);
    return context;
}

void abti_context_switch(void **save, void *to)
{
    ucontext_t here;
    *save = &here;
    swapcontext(&here, to);
}

#else

#if defined(__x86_64__)
#define FRAME_WORDS 8 /* six registers, the return address, and the return address of entry: none */
#define ENTRY_WORD  6
#else
#define FRAME_WORDS 22 /* x19–x30, d8–d15, two words of padding */
#define ENTRY_WORD  11 /* x30 */
#endif

void *abti_context_make(char *low, char *high, void (*entry)(void))
{
    uintptr_t *top = (uintptr_t *)((uintptr_t)high & ~(uintptr_t)15);
    uintptr_t *frame = top - FRAME_WORDS;
    assert((char *)frame > low);
    frame[ENTRY_WORD] = (uintptr_t)entry;
#if defined(__x86_64__)
    frame[ENTRY_WORD + 1] = 0;
#endif
    return frame;
}

#endif
