/*
 * The mutex inside, for condition variables and users' static memory.
 */
#ifndef DANGO_ARGOBOTS_MUTEX_H
#define DANGO_ARGOBOTS_MUTEX_H

#include "argobots/abti.h"

#define ABTI_MUTEX_RECURSIVE 1u

/* All-zero is a valid, unlocked mutex. */
struct ABT_mutex_opaque {
    uint32_t attributes;
    atomic_uint word;         /* bit lock, LOCKED, WAITERS */
    atomic_uintptr_t holder;  /* hint: the ES that locked it, 0 outside of ESs */
    atomic_uintptr_t owner;   /* recursive: the unit or OS thread that holds it */
    uint32_t depth;           /* recursive: how often, minus 1 */
    struct abti_waiter *heir; /* was given the mutex, has not run since */
    struct abti_waiters waiters;
};
_Static_assert(sizeof(struct ABT_mutex_opaque) <= sizeof(ABT_mutex_memory), "must fit into the user's memory");

void abti_mutex_lock(struct ABT_mutex_opaque *mutex);
void abti_mutex_unlock(struct ABT_mutex_opaque *mutex);

#endif
