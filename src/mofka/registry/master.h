/*
 * Which provider is the master database: a yokan provider with the tag "mofka:master", in the effective configuration of
 * a server. Pure functions; any thread.
 */
#ifndef DANGO_MOFKA_REGISTRY_MASTER_H
#define DANGO_MOFKA_REGISTRY_MASTER_H

#include <stdbool.h>

#define MOFKA_MASTER_TAG "mofka:master"

struct json_object;

/* Whether a provider, as it stands in the configuration of its server, has this tag. */
bool dango_mofka_has_tag(struct json_object *provider, const char *tag);

/* Its provider id, or -1 when this server has none. */
int dango_mofka_find_master(struct json_object *config);

#endif
