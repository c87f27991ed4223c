/*
 * Machine contexts: the part of a ULT that the processor knows.
 *
 * A suspended context is a stack pointer; everything else lies on its stack: callee-saved registers
 * and the address to continue at (assembly), or a ucontext_t (portable version). Floating-point control
 * words are not switched: who changes the rounding mode restores it before blocking.
 *
 * Sanitizers have to be told about every switch; see fiber.h for that.
 */
#ifndef DANGO_ARGOBOTS_CONTEXT_H
#define DANGO_ARGOBOTS_CONTEXT_H

#include <stddef.h>

#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(ABTI_UCONTEXT)
#define ABTI_UCONTEXT
#endif

/* Saves the running context in *save and continues `to`; returns when somebody switches to *save. */
void abti_context_switch(void **save, void *to);

/* As abti_context_switch, but begins a new context: entry() on the stack [low, high). entry must not return. */
void abti_context_start(void **save, char *low, char *high, void (*entry)(void));

/* Continues `to`; the running context is given up for good. */
#if defined(ABTI_UCONTEXT)
void abti_context_resume(void *to) __attribute__((noreturn));
#elif defined(__x86_64__)
/* Inline, because a call more would upset the processor's stack of return addresses: see context.S. */
static inline __attribute__((always_inline, noreturn)) void abti_context_resume(void *to)
{
    __asm__ volatile("movq %0, %%rsp\n\t"
                     "popq %%r15\n\tpopq %%r14\n\tpopq %%r13\n\tpopq %%r12\n\tpopq %%rbx\n\tpopq %%rbp\n\t"
                     "ret"
                     :
                     : "r"(to)
                     : "memory");
    __builtin_unreachable();
}
#else
static inline __attribute__((always_inline, noreturn)) void abti_context_resume(void *to)
{
    __asm__ volatile("mov x1, %0\n\tb abti_context_restore" : : "r"(to) : "x1", "memory");
    __builtin_unreachable();
}
#endif

#endif
