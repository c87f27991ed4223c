/*
 * The management RPCs of a daemon, see proto.h. Handlers run in the management pool; once bdk_rpcs_register returned,
 * requests are answered, also while providers are still being created.
 */
#ifndef DANGO_BEDROCK_RPC_H
#define DANGO_BEDROCK_RPC_H

#include "bedrock/manager.h"

struct bedrock_server;

/* On one engine; `pool` is ABT_POOL_NULL for the engine's RPC pool. Deregistered when the engine is finalised. */
int bdk_rpcs_register(struct bedrock_server *server, margo_instance_id mid, uint16_t provider_id, ABT_pool pool,
                      struct dango_error *err);

#endif
