/*
 * Attributes of ULTs.
 */
#ifndef DANGO_ARGOBOTS_THREAD_H
#define DANGO_ARGOBOTS_THREAD_H

#include "argobots/abti.h"

struct ABT_thread_attr_opaque {
    void *stack; /* the user's; NULL: ours */
    size_t stack_size;
    bool migratable;
    void (*migrate_cb)(ABT_thread, void *);
    void *migrate_arg;
};

#endif
