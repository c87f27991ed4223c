/*
 * Interface of Flock backends: the policy that keeps the view of a group up to date. "static" is built in; a program
 * adds its own with flock_register_backend.
 */
#ifndef FLOCK_BACKEND_H
#define FLOCK_BACKEND_H

#include <flock/flock-common.h>
#include <flock/flock-group-view.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_object; /* json-c */

typedef struct flock_backend_init_args_t {
    margo_instance_id mid;
    uint16_t provider_id;
    ABT_pool pool;                   /* for the backend's RPCs; may be ABT_POOL_NULL */
    struct json_object *config;      /* group.config, never NULL; not to be modified */
    const char *self_addr_str;       /* public address of this process */
    bool join;                       /* this process is not in the initial view */
    flock_group_view_t initial_view; /* the backend normally moves it out */
    /* To be called after every change, with callback_context first and no lock held. */
    flock_membership_update_fn member_update_callback;
    flock_metadata_update_fn metadata_update_callback;
    void *callback_context;
} flock_backend_init_args_t;

typedef flock_return_t (*flock_backend_init_fn)(flock_backend_init_args_t *args, void **context);
typedef flock_return_t (*flock_backend_finalize_fn)(void *context);
typedef flock_return_t (*flock_backend_get_config_fn)(void *context, void (*fn)(void *, const struct json_object *),
                                                      void *uargs);
/* Calls `fn` synchronously with the view, without holding the view's mutex. */
typedef flock_return_t (*flock_backend_get_view_fn)(void *context, void (*fn)(void *, const flock_group_view_t *),
                                                    void *uargs);
typedef flock_return_t (*flock_backend_add_metadata_fn)(void *context, const char *key, const char *value);
typedef flock_return_t (*flock_backend_remove_metadata_fn)(void *context, const char *key);

typedef struct flock_backend_impl {
    const char *name;
    flock_backend_init_fn init_group;
    flock_backend_finalize_fn destroy_group; /* leaves the group; may issue RPCs */
    flock_backend_get_config_fn get_config;
    flock_backend_get_view_fn get_view;
    flock_backend_add_metadata_fn add_metadata;
    flock_backend_remove_metadata_fn remove_metadata;
} flock_backend_impl;

/*
 * Adds to the process-wide table of at most 64 (built-ins included); the pointer is kept. A name registered twice keeps
 * the first and succeeds. Full: FLOCK_ERR_ALLOCATION. Any thread.
 */
flock_return_t flock_register_backend(flock_backend_impl *backend);

#ifdef __cplusplus
}
#endif

#endif
