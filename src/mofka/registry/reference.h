/*
 * References to providers of other servers, as they are kept in the registry. A partition may depend on "name@address"
 * (bedrock/module.h); addresses do not survive a restart, names of servers do. So the registry holds "name@server:NAME".
 *
 * Pure functions on the "dependencies" of a description; what is no such reference is left alone.
 */
#ifndef DANGO_MOFKA_REGISTRY_REFERENCE_H
#define DANGO_MOFKA_REGISTRY_REFERENCE_H

#include <dango/error.h>

struct json_object;

/* Replaces addresses by names; `name_of` gives the name of the server at an address, or NULL: left as it is then. */
void dango_mofka_references_store(struct json_object *dependencies,
                                  const char *(*name_of)(void *arg, const char *address), void *arg);

/* Replaces names by addresses; `address_of` puts the address of a server into *address (malloc'ed), or fails. */
int dango_mofka_references_load(struct json_object *dependencies,
                                int (*address_of)(void *arg, const char *name, char **address, struct dango_error *err),
                                void *arg, struct dango_error *err);

#endif
