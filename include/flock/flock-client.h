/*
 * Flock client: what the group handles of one margo instance share.
 */
#ifndef FLOCK_CLIENT_H
#define FLOCK_CLIENT_H

#include <flock/flock-common.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct flock_client *flock_client_t;
#define FLOCK_CLIENT_NULL ((flock_client_t)NULL)

/* `pool` is where asynchronous updates run; ABT_POOL_NULL: the instance's handler pool. */
flock_return_t flock_client_init(margo_instance_id mid, ABT_pool pool, flock_client_t *client);
/* Logs a warning when group handles are still alive; they remain usable. */
flock_return_t flock_client_finalize(flock_client_t client);

#ifdef __cplusplus
}
#endif

#endif
