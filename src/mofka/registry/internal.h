/*
 * What the files of the registry share: the handle, keys, and errors. Not for others.
 */
#ifndef DANGO_MOFKA_REGISTRY_INTERNAL_H
#define DANGO_MOFKA_REGISTRY_INTERNAL_H

#include "mofka/partition/types.h"
#include "mofka/registry/registry.h"

#include <yokan/client.h>
#include <yokan/database.h>

#define MOFKA_KEY_PREFIX      "MOFKA:GLOBAL:"
#define MOFKA_KEY_PREFIX_SIZE (sizeof MOFKA_KEY_PREFIX - 1)
#define MOFKA_KEY_SIZE        (MOFKA_KEY_PREFIX_SIZE + MOFKA_TOPIC_NAME_MAX + sizeof ":partitions")

struct mofka_registry {
    yk_client_t client;
    yk_database_handle_t database;
    char locator[];
};

/* "MOFKA:GLOBAL:<topic>:<name>". Returns key. */
const char *mofka_registry_key(char key[MOFKA_KEY_SIZE], const char *topic, const char *name);

/* Puts a failure of the database into words. Returns err's code. */
int mofka_registry_error(const struct mofka_registry *registry, yk_return_t ret, struct dango_error *err);

#endif
