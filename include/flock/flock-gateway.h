/*
 * Interface of Flock gateways: which address of this process the group publishes. "default" (the margo address) is
 * built in; a program adds its own with flock_register_gateway.
 */
#ifndef FLOCK_GATEWAY_H
#define FLOCK_GATEWAY_H

#include <flock/flock-common.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_object; /* json-c */

typedef struct flock_gateway_init_args_t {
    margo_instance_id mid;
    uint16_t provider_id;
    ABT_pool pool;
    struct json_object *config; /* gateway.config, never NULL; not to be modified */
} flock_gateway_init_args_t;

typedef flock_return_t (*flock_gateway_init_fn)(flock_gateway_init_args_t *args, void **context);
typedef flock_return_t (*flock_gateway_finalize_fn)(void *context);
typedef flock_return_t (*flock_gateway_get_config_fn)(void *context, void (*fn)(void *, const struct json_object *),
                                                      void *uargs);
/* Valid until the gateway is destroyed, or gives another one (see flock_provider_update_address). */
typedef const char *(*flock_gateway_get_public_address_fn)(void *context);
typedef const char *(*flock_gateway_get_local_address_fn)(void *context);

typedef struct flock_gateway_impl {
    const char *name;
    flock_gateway_init_fn init_gateway;
    flock_gateway_finalize_fn destroy_gateway;
    flock_gateway_get_config_fn get_config;
    flock_gateway_get_public_address_fn get_public_address;
    flock_gateway_get_local_address_fn get_local_address;
} flock_gateway_impl;

/* As flock_register_backend, with a table of its own. */
flock_return_t flock_register_gateway(flock_gateway_impl *gateway);

#ifdef __cplusplus
}
#endif

#endif
