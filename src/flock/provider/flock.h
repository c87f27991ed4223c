/*
 * What Flock offers to its Bedrock module beyond flock/flock-server.h: providers from parsed configurations, with error
 * texts, and the moment at which the group file is written in the caller's hands.
 */
#ifndef FLOCK_PROVIDER_FLOCK_H
#define FLOCK_PROVIDER_FLOCK_H

#include <dango/options.h>
#include <flock/flock-server.h>

struct json_object;

struct dango_flock_settings {
    struct json_object *bootstrap;
    char *file;
    struct json_object *gateway, *group, *mpi_ranks, *view;
    bool remove_file;
};

/* "config" of a provider, and "group.config" of the two backends that have one. */
extern const struct dango_option dango_flock_options[], dango_flock_centralized_options[], dango_flock_swim_options[];

/* Checks a configuration, with its bootstrap, without side effects; `path` is its place in the document. */
int dango_flock_check(struct json_object *config, const char *path, struct dango_error *err);

/* flock_provider_register that says why it failed and writes no group file. "bootstrap" and "view" are not looked at:
 * the view is the one in `args`, which must not be NULL. */
flock_return_t dango_flock_register(margo_instance_id mid, uint16_t provider_id, struct json_object *config,
                                    const char *path, const struct flock_provider_args *args,
                                    flock_provider_t *provider, struct dango_error *err);

/* The same with the view built by the methods of "bootstrap", tried in order until one leads to a provider. */
int dango_flock_bootstrap(margo_instance_id mid, uint16_t provider_id, struct json_object *config, const char *path,
                          ABT_pool pool, flock_provider_t *provider, struct dango_error *err);

/* Writes the group file, now and after every change, if this provider is the one that writes it. */
int dango_flock_publish(flock_provider_t provider, struct dango_error *err);

/* Effective configuration without bootstrap; one new reference. */
struct json_object *dango_flock_config(flock_provider_t provider);

#endif
