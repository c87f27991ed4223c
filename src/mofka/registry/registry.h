/*
 * Topics in the master database:
 *
 *     MOFKA:GLOBAL:<topic>:validator, :selector, :serializer     JSON descriptions of the topic objects
 *     collection MOFKA:GLOBAL:<topic>:partitions                 {"address", "provider_id", "uuid"} in index order
 *
 * A topic exists when its three keys do. Creation makes the collection first, which only one of several creators can,
 * fills it, and writes the keys last and together: until then nobody sees the topic, and whoever fails takes the
 * collection away again. What a creator leaves that was killed half-way is reported as such by the next one.
 *
 * All functions block and may be called from any thread.
 */
#ifndef DANGO_MOFKA_REGISTRY_H
#define DANGO_MOFKA_REGISTRY_H

#include "diaspora/driver.h"

#include <margo.h>

struct mofka_registry;

int dango_mofka_registry_open(margo_instance_id mid, const char *address, uint16_t provider_id,
                              struct mofka_registry **registry, struct dango_error *err);
void dango_mofka_registry_close(struct mofka_registry *registry);

/* "yokan:<id>@<address>" */
const char *dango_mofka_registry_locator(const struct mofka_registry *registry);

int dango_mofka_registry_exists(struct mofka_registry *registry, const char *topic, bool *exists,
                                struct dango_error *err);

/* Creation in steps; after a failure of a later step the caller undoes the first with `drop`. */
int dango_mofka_registry_begin(struct mofka_registry *registry, const char *topic, struct dango_error *err);
int dango_mofka_registry_add_partition(struct mofka_registry *registry, const char *topic,
                                       struct json_object *partition, struct dango_error *err);
int dango_mofka_registry_publish(struct mofka_registry *registry, const char *topic,
                                 const struct diaspora_topic_description *description, struct dango_error *err);
int dango_mofka_registry_drop(struct mofka_registry *registry, const char *topic, struct dango_error *err);

/* Fills the description, one reference each. */
int dango_mofka_registry_load(struct mofka_registry *registry, const char *topic,
                              struct diaspora_topic_description *description, struct dango_error *err);
void dango_mofka_registry_release(struct diaspora_topic_description *description);

/* {name: {"name", "num_partitions", "validator", "serializer", "partition_selector"}} */
int dango_mofka_registry_list(struct mofka_registry *registry, struct json_object **list, struct dango_error *err);

#endif
