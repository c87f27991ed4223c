/*
 * What the management RPCs need of a server beyond its public interface.
 */
#ifndef DANGO_BEDROCK_SERVER_INTERNAL_H
#define DANGO_BEDROCK_SERVER_INTERNAL_H

#include "bedrock/manager.h"

#include <bedrock/server.h>

struct bdk_manager *bdk_server_manager(struct bedrock_server *server);

/* An expression over the effective configuration; *result is JSON text to be freed. */
int bdk_server_query(struct bedrock_server *server, const char *expression, char **result, struct dango_error *err);

#endif
