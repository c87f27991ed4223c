/*
 * What Yokan offers to its Bedrock module beyond yokan/server.h: providers from parsed configurations, with error texts.
 */
#ifndef YOKAN_PROVIDER_YOKAN_H
#define YOKAN_PROVIDER_YOKAN_H

#include "yokan/provider/provider.h"

struct dango_yokan_settings {
    struct json_object *database;
    struct yokan_cache_settings cache;
};

/* "config" of a provider. */
extern const struct dango_option dango_yokan_options[];

/* Checks a configuration without side effects; `path` is its place in the document. */
int dango_yokan_check(struct json_object *config, const char *path, struct dango_error *err);

/* yk_provider_register that says why it failed. `path` as above; `args` and `provider` may be NULL. */
yk_return_t dango_yokan_register(margo_instance_id mid, uint16_t provider_id, struct json_object *config,
                                 const char *path, const struct yk_provider_args *args, yk_provider_t *provider,
                                 struct dango_error *err);

/* Effective configuration; one new reference. */
struct json_object *dango_yokan_config(yk_provider_t provider);

#endif
