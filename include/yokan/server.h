/*
 * Yokan server: providers. A provider (identity "yokan") manages at most one database, described by JSON:
 *
 *     { "database": { "type": "map", "config": {} }, "buffer_cache": { "type": "lru", "margin": 0.0, "capacity": 32 } }
 *
 * Without "database", operations give YOKAN_ERR_INVALID_DATABASE. Unknown fields are errors; the reason of every
 * failure is logged.
 */
#ifndef YOKAN_SERVER_H
#define YOKAN_SERVER_H

#include <margo.h>
#include <stdbool.h>
#include <yokan/bulk-cache.h>
#include <yokan/common.h>

#ifdef __cplusplus
extern "C" {
#endif

#define YOKAN_ABT_POOL_DEFAULT ABT_POOL_NULL

typedef struct yk_provider *yk_provider_t;
#define YOKAN_PROVIDER_NULL   ((yk_provider_t)NULL)
#define YOKAN_PROVIDER_IGNORE ((yk_provider_t *)NULL)

typedef struct remi_client *remi_client_t;
typedef struct remi_provider *remi_provider_t;

struct yk_provider_args {
    ABT_pool pool;         /* where RPC handlers run; ABT_POOL_NULL: the instance's handler pool */
    yk_bulk_cache_t cache; /* NULL: built-in cache according to the configuration */
    struct {
        remi_client_t client;
        remi_provider_t provider;
    } remi;
};

/* clang-format off */
#define YOKAN_PROVIDER_ARGS_INIT { ABT_POOL_NULL, NULL, { NULL, NULL } }
/* clang-format on */

/*
 * Registers a provider. YOKAN_ERR_INVALID_PROVIDER when the id is taken, YOKAN_ERR_INVALID_ARGS when the instance does
 * not listen or the configuration is NULL or empty, YOKAN_ERR_INVALID_CONFIG when it is wrong or the database cannot be
 * opened. `args` and `provider` may be NULL. Destroyed by yk_provider_destroy or when margo is finalised.
 */
yk_return_t yk_provider_register(margo_instance_id mid, uint16_t provider_id, const char *config,
                                 const struct yk_provider_args *args, yk_provider_t *provider);
/* Waits for operations in flight, closes the database (persistent data stay), frees the provider. */
yk_return_t yk_provider_destroy(yk_provider_t provider);

/* Not available with the backends that are built in: YOKAN_ERR_OP_UNSUPPORTED after the checks of the arguments. */
yk_return_t yk_provider_migrate_database(yk_provider_t provider, const char *dest_addr, uint16_t dest_provider_id,
                                         const struct yk_migration_options *options);
yk_return_t yk_provider_snapshot_database(yk_provider_t provider, const char *dest_path, bool remove_source,
                                          const struct yk_snapshot_options *options);
yk_return_t yk_provider_restore_database(yk_provider_t provider, const char *src_path,
                                         const struct yk_restore_options *options);

/* Effective configuration, compact JSON; to be freed with free(). NULL for a NULL provider. */
char *yk_provider_get_config(yk_provider_t provider);

#ifdef __cplusplus
}
#endif

#endif
