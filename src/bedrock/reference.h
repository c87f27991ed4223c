/*
 * References as they stand in "dependencies" and in requests that name a provider:
 *
 *     7                     index (pool, xstream, margo)
 *     name                  something of this process
 *     type:id               a provider of this process
 *     name@place, type:id@place      a provider as a client sees it; place: local, a rank, or an address
 *
 * Pure functions. A parsed reference is plain memory.
 */
#ifndef DANGO_BEDROCK_REFERENCE_H
#define DANGO_BEDROCK_REFERENCE_H

#include <bedrock/client.h>
#include <dango/error.h>

#include <stdbool.h>
#include <stdint.h>

struct json_object;

enum bdk_place { BDK_PLACE_NONE, BDK_PLACE_LOCAL, BDK_PLACE_RANK, BDK_PLACE_ADDRESS };

#define BDK_ADDRESS_BYTES 512

struct bdk_reference {
    char name[BEDROCK_NAME_MAX + 1]; /* name; the type if `by_id` */
    bool by_id;                      /* type:id */
    uint16_t provider_id;
    enum bdk_place place;
    int rank;
    char address[BDK_ADDRESS_BYTES];
};

/* Parses a reference to a provider. Error: `ill-formed reference "…"`, without a path. */
int bdk_reference_parse(struct bdk_reference *reference, const char *text, struct dango_error *err);

/* `name` or `type:id` into `buffer`, without the place. Returns buffer. */
const char *bdk_reference_spec(const struct bdk_reference *reference, char buffer[BEDROCK_NAME_MAX + 8]);

#endif
