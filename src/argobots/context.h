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

/* Prepares a context on the stack [low, high) that will call entry() when first switched to; entry must not return. */
void *abti_context_make(char *low, char *high, void (*entry)(void));

/* Saves the running context in *save and continues `to`; returns when somebody switches to *save. */
void abti_context_switch(void **save, void *to);

#endif
