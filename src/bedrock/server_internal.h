/*
 * What the management RPCs and the modules' view of the process need of a server beyond its public interface.
 */
#ifndef DANGO_BEDROCK_SERVER_INTERNAL_H
#define DANGO_BEDROCK_SERVER_INTERNAL_H

#include "bedrock/manager.h"

#include <bedrock/server.h>

struct bdk_manager *bdk_server_manager(struct bedrock_server *server);

uint16_t bdk_server_management_id(const struct bedrock_server *server);
bool bdk_server_is_stopping(struct bedrock_server *server);

/* Loads a module library and lets its modules attach. */
int bdk_server_load(struct bedrock_server *server, const char *library, struct dango_error *err);

/* Starts a provider from its description, at run time. */
int bdk_server_start_provider(struct bedrock_server *server, struct json_object *description, uint16_t *provider_id,
                              struct dango_error *err);

/* The effective configuration, keys sorted. A new reference. */
struct json_object *bdk_server_dump(struct bedrock_server *server);

/* An expression over the effective configuration; *result is JSON text to be freed. */
int bdk_server_query(struct bedrock_server *server, const char *expression, char **result, struct dango_error *err);

#endif
