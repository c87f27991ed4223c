/*
 * The types of providers that this process knows: libraries that were loaded and the modules found in them.
 *
 * Libraries are never unloaded: providers, RPC handlers and thread-local data of theirs may live until exit. The
 * registry has its own lock; any ULT or thread may call.
 */
#ifndef DANGO_BEDROCK_REGISTRY_H
#define DANGO_BEDROCK_REGISTRY_H

#include <bedrock/module.h>
#include <dango/error.h>

#include <stddef.h>

struct bdk_registry;

struct bdk_registry *bdk_registry_create(void);
void bdk_registry_destroy(struct bdk_registry *registry);

/*
 * Loads a library: a name without '/' is looked for beside libdango, then where the dynamic linker looks; "" is the
 * program itself. Loading the same string again does nothing. Error: `cannot load "x": reason`.
 */
int bdk_registry_load(struct bdk_registry *registry, const char *library, struct dango_error *err);

/* NULL if no loaded library has the type. */
const struct bedrock_module *bdk_registry_find(struct bdk_registry *registry, const char *type);

/* ` (known: a, b; did you mean "a"?); …`, the tail of a message about an unknown type: says which library to add,
 * too. Returns buffer. */
const char *bdk_registry_suggest(struct bdk_registry *registry, const char *type, char *buffer, size_t size);

/* The i-th module in the order of loading; NULL beyond the last. */
const struct bedrock_module *bdk_registry_module(struct bdk_registry *registry, size_t i);

/* The i-th library string in the order of loading; NULL beyond the last. */
const char *bdk_registry_library(struct bdk_registry *registry, size_t i);

#endif
