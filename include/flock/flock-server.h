/*
 * Flock server: providers. A provider (identity "flock") holds the view of one group through one backend:
 *
 *     { "group": { "type": "static", "config": {} }, "gateway": { "type": "default", "config": {} }, "file": "g.json" }
 *
 * The provider that is the first member of its view writes the group file once it is registered and reachable, and
 * again after every change. The reason of every failure is logged.
 */
#ifndef FLOCK_SERVER_H
#define FLOCK_SERVER_H

#include <flock/flock-backend.h>
#include <flock/flock-common.h>
#include <flock/flock-gateway.h>
#include <flock/flock-group.h>
#include <margo.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FLOCK_ABT_POOL_DEFAULT ABT_POOL_NULL

typedef struct flock_provider *flock_provider_t;
#define FLOCK_PROVIDER_NULL   ((flock_provider_t)NULL)
#define FLOCK_PROVIDER_IGNORE ((flock_provider_t *)NULL)

struct flock_provider_args {
    ABT_pool pool;                    /* where RPC handlers run; ABT_POOL_NULL: the instance's handler pool */
    flock_group_view_t *initial_view; /* emptied by the registration, also when it fails; NULL: only this provider */
    flock_backend_impl *backend;      /* instead of group.type */
    flock_gateway_impl *gateway;      /* instead of gateway.type */
};

/* clang-format off */
#define FLOCK_PROVIDER_ARGS_INIT { ABT_POOL_NULL, NULL, NULL, NULL }
/* clang-format on */

/*
 * Registers a provider. A provider that is not in the initial view joins the group. `args` and `provider` may be NULL;
 * a NULL configuration means {}. Destroyed by flock_provider_destroy, or when margo is finalised.
 */
flock_return_t flock_provider_register(margo_instance_id mid, uint16_t provider_id, const char *json_config,
                                       const struct flock_provider_args *args, flock_provider_t *provider);

/*
 * Callbacks for changes after the start, called without locks, in the order of registration; they may block, issue RPCs
 * and add or remove callbacks. The same context again replaces the pair. NULL functions are skipped. After `remove` has
 * returned, the callbacks do not run any more (unless it was called from inside one).
 */
flock_return_t flock_provider_add_update_callbacks(flock_provider_t provider, flock_membership_update_fn member_update,
                                                   flock_metadata_update_fn metadata_update, void *context);
flock_return_t flock_provider_remove_update_callbacks(flock_provider_t provider, void *context);

/* Leaves the group, waits for operations in flight, frees the provider. The group file stays, unless
 * "remove_file" is set and this was the last member. */
flock_return_t flock_provider_destroy(flock_provider_t provider);

/*
 * Asks the gateway for the public address again, and, if it is another one, publishes this provider under it: the
 * others, and the callbacks here, hear of one MOVED with the new address. Blocks on an RPC to the primary
 * (centralized), which is repeated for a few seconds. One call at a time; update callbacks may make it, too.
 * FLOCK_ERR_OP_UNSUPPORTED: the backend cannot (static, or of the program's own); FLOCK_ERR_INVALID_ARGS: a member
 * with that address exists; FLOCK_ERR_FROM_MERCURY: the primary does not answer, or does not know this member any
 * more; FLOCK_ERR_OTHER: the provider leaves the group, or has been trying in vain for 10 s to join it again. After an
 * error the old address stays.
 */
flock_return_t flock_provider_update_address(flock_provider_t provider);

/* Effective configuration {"gateway":…,"group":…,"file":…}, compact JSON; free(). NULL for NULL or on error. */
char *flock_provider_get_config(flock_provider_t provider);

/* What the provider has counted since its start: members, changes of the view, files written, and what its backend counts
 * (rounds, pings, suspicions, refutations…). Compact JSON; free(). NULL for NULL or without memory. */
char *flock_provider_get_statistics(flock_provider_t provider);

#ifdef __cplusplus
}
#endif

#endif
