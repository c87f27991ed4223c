/*
 * From the references in a provider's "dependencies" to what they refer to: pools, execution streams, engines, local
 * components, and providers of other daemons, which are asked for over the network.
 *
 * What was resolved holds references on pools, execution streams and local providers until it is released.
 */
#ifndef DANGO_BEDROCK_RESOLVE_H
#define DANGO_BEDROCK_RESOLVE_H

#include "bedrock/manager.h"

/*
 * Whether the pools and execution streams that a description refers to exist: what can be told of a whole configuration
 * before its first provider is created.
 */
int bdk_resolve_check(struct bdk_manager *manager, const struct bdk_description *description, struct dango_error *err);

/*
 * Fills provider->resolved. Waits for providers of other daemons up to the manager's time limit. On failure nothing is
 * held. With the manager's `operations` lock held.
 */
int bdk_resolve(struct bdk_manager *manager, struct bdk_provider *provider, struct dango_error *err);
void bdk_resolve_release(struct bdk_manager *manager, struct bdk_provider *provider);

/* Canonical names: {"pool": "io_pool", "friends": ["a", "b"]}. A new reference. */
struct json_object *bdk_resolve_dump(const struct bdk_provider *provider);

#endif
