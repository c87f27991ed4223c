/*
 * Partitions that lie in a directory and are not started: for `topic import`, and for the refusal to begin a topic anew
 * where there is one; and for their removal. Looking touches nothing (log/inspect.h). Blocks on file I/O; any ULT or thread.
 */
#ifndef DANGO_MOFKA_SERVER_DIRECTORIES_H
#define DANGO_MOFKA_SERVER_DIRECTORIES_H

#include <dango/error.h>

#include <margo.h>

#include <stdint.h>

struct json_object;

/*
 * Whether the partition `uuid` may be made below `path`, if it is not there: not when others of its topic hold events,
 * which the user would look for in vain. DANGO_ERR_EXISTS with the command that takes them up.
 */
int mofka_directories_check(const char *topic, const char *path, const uint8_t uuid[16], struct dango_error *err);

/* The RPC. */
int mofka_directories_register(margo_instance_id mid, uint16_t provider_id, hg_id_t *id, struct dango_error *err);

#endif
