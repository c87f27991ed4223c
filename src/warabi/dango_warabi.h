/*
 * What Warabi offers to its Bedrock module beyond the public headers: configuration as parsed JSON, errors as values.
 */
#ifndef DANGO_WARABI_DANGO_WARABI_H
#define DANGO_WARABI_DANGO_WARABI_H

#include <abt-io.h>
#include <dango/options.h>
#include <warabi/server.h>

struct json_object;

/* The options of a provider; they fill in a struct wb_provider_settings (provider/provider.h). */
extern const struct dango_option dango_warabi_options[];

/* Those of the targets. */
extern const struct dango_option dango_warabi_memory_options[], dango_warabi_abtio_options[];

/* Checks a configuration without opening anything. 0 or a negative code. */
int dango_warabi_check(struct json_object *config, struct dango_error *err);

/* As warabi_provider_register. `config`: an object or NULL for {}, borrowed. `pool` may be ABT_POOL_NULL.
 * `io`: for targets that use files, borrowed; ABT_IO_INSTANCE_NULL: they make an instance of their own. */
int dango_warabi_create(margo_instance_id mid, uint16_t provider_id, struct json_object *config, ABT_pool pool,
                        abt_io_instance_id io, warabi_provider_t *provider, struct dango_error *err);

/* The effective configuration, one new reference. */
struct json_object *dango_warabi_config(warabi_provider_t provider);

#endif
