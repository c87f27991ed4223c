/*
 * The portable context switch. See context.h.
 *
 * A suspended context is a ucontext_t on its own stack, in the frame of the function that switched away.
 */
#include "argobots/context.h"

#if defined(ABTI_UCONTEXT)

#include <stdlib.h>
#include <ucontext.h>

void abti_context_start(void **save, char *low, char *high, void (*entry)(void))
{
    ucontext_t here, fresh;
    *save = &here;
    getcontext(&fresh);
    fresh.uc_stack.ss_sp = low;
    fresh.uc_stack.ss_size = (size_t)(high - low);
    fresh.uc_link = NULL;
    makecontext(&fresh, entry, 0);
    swapcontext(&here, &fresh);
}

void abti_context_switch(void **save, void *to)
{
    ucontext_t here;
    *save = &here;
    swapcontext(&here, to);
}

void abti_context_resume(void *to)
{
    setcontext(to);
    abort(); /* setcontext returns only if the context is invalid */
}

#else
typedef int abti_context_is_in_assembly; /* a translation unit must not be empty */
#endif
