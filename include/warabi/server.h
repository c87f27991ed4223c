/*
 * Server side of Warabi: a provider holds at most one target, which stores the regions (see warabi/client.h).
 *
 *     { "target": { "type": "memory", "config": { "capacity": 1073741824 } },
 *       "transfer_manager": { "type": "__default__", "config": {} } }
 *
 * A provider without a target is allowed; every operation on data then fails with WARABI_ERR_NO_TARGET. Handlers run
 * as user-level threads in the provider's pool. All functions may be called from any thread; they may block.
 */
#ifndef WARABI_SERVER_H
#define WARABI_SERVER_H

#include <margo.h>
#include <warabi/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct remi_client *remi_client_t;
typedef struct remi_provider *remi_provider_t;
typedef struct warabi_provider *warabi_provider_t;
#define WARABI_PROVIDER_IGNORE NULL

struct warabi_provider_init_args {
    ABT_pool pool;           /* where handlers run; ABT_POOL_NULL: the handler pool of the margo instance */
    remi_client_t remi_cl;   /* sends targets; must be NULL, migration is not available */
    remi_provider_t remi_pr; /* receives targets; must be NULL, migration is not available */
};

/*
 * Opens the target and serves it under `provider_id`. `config` NULL or "" means {}; `args` may be NULL; `provider` may
 * be NULL, the provider then lives until margo is finalised. On failure nothing is left behind. The margo instance
 * must be in server mode, and the id must not be in use by another provider.
 */
warabi_err_t warabi_provider_register(warabi_provider_t *provider, margo_instance_id mid, uint16_t provider_id,
                                      const char *config, struct warabi_provider_init_args *args);

/*
 * Refuses new requests, waits for those being handled, closes the target (stored data stay where they are, memory is
 * released). Margo's finalisation does the same for providers that are still registered.
 */
warabi_err_t warabi_provider_deregister(warabi_provider_t provider);

/* The effective configuration as compact JSON, to be released with free(); NULL for a NULL provider. */
char *warabi_provider_get_config(warabi_provider_t provider);

/* Moving a target to another provider: fails with WARABI_ERR_UNSUPPORTED, the memory target cannot be moved. */
warabi_err_t warabi_provider_migrate(warabi_provider_t provider, const char *dest_addr, uint16_t dest_provider_id,
                                     const char *migration_config);

#ifdef __cplusplus
}
#endif

#endif
