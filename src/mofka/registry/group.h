/*
 * The group around a server, as its Flock provider knows it. Blocks; any ULT or thread.
 */
#ifndef DANGO_MOFKA_REGISTRY_GROUP_H
#define DANGO_MOFKA_REGISTRY_GROUP_H

#include <flock/flock-common.h>
#include <flock/flock-group-view.h>
#include <margo.h>

struct json_object;

/* The id of the first provider of a type in the configuration of a server, or -1. */
int dango_mofka_find_provider(struct json_object *config, const char *type);

/* The members that the Flock provider at this place names. What `view` held is freed. */
flock_return_t dango_mofka_fetch_view(margo_instance_id mid, const char *address, uint16_t provider_id,
                                      flock_group_view_t *view);

#endif
