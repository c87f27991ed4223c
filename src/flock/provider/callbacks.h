/*
 * The update callbacks of a provider: pairs of functions under a context, called in the order of registration.
 *
 * Calls are made without any lock, so that callbacks may block and may add and remove callbacks. `remove` waits until
 * the pair does not run any more, except where it is called from inside that pair: then the pair is freed when it
 * returns. Used by any number of ULTs and threads at a time.
 */
#ifndef FLOCK_PROVIDER_CALLBACKS_H
#define FLOCK_PROVIDER_CALLBACKS_H

#include "util/list.h"

#include <flock/flock-common.h>

struct flk_callbacks {
    ABT_mutex_memory mutex; /* guards everything below */
    ABT_cond_memory ended;  /* signalled when a call returns */
    struct list_node pairs;
};

struct flk_update {
    bool is_metadata;
    flock_update_t kind;  /* membership */
    const char *name;     /* address or key */
    const char *value;    /* metadata */
    uint16_t provider_id; /* membership */
};

void flk_callbacks_init(struct flk_callbacks *callbacks);
/* Nothing may be running. */
void flk_callbacks_fini(struct flk_callbacks *callbacks);

/* The same context again replaces the functions. */
flock_return_t flk_callbacks_add(struct flk_callbacks *callbacks, flock_membership_update_fn member_update,
                                 flock_metadata_update_fn metadata_update, void *context);
flock_return_t flk_callbacks_remove(struct flk_callbacks *callbacks, void *context);
void flk_callbacks_call(struct flk_callbacks *callbacks, const struct flk_update *update);

#endif
