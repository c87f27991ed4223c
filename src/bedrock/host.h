/*
 * What modules see of the process as a whole: struct bedrock_host of bedrock/module.h, and the calls of attach and detach.
 *
 * A host exists as long as its server. The name is set once and never changes. Attaching and detaching are serialised;
 * everything else is for any ULT.
 */
#ifndef DANGO_BEDROCK_HOST_H
#define DANGO_BEDROCK_HOST_H

#include "bedrock/registry.h"

#include <bedrock/module.h>

struct bedrock_server;

/* NULL without memory. The server is borrowed. */
struct bedrock_host *bdk_host_create(struct bedrock_server *server);
void bdk_host_destroy(struct bedrock_host *host);

/* Attaches all modules of the registry that are not attached; the first that fails stays unattached. */
int bdk_host_attach(struct bedrock_host *host, struct bdk_registry *registry, struct dango_error *err);

/* The last one first. Nothing is attached afterwards. */
void bdk_host_detach(struct bedrock_host *host);

#endif
