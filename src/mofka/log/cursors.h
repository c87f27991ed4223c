/*
 * The file of a partition's consumer positions.
 *
 *     header   64 bytes as in format.h: magic "MCUR", version, uuid, CRC32C
 *     records  { u32 crc, u16 name length, u16 flags, u64 next id, name, zeroes up to a multiple of 8 }
 *
 * A position is changed by appending a record; the last one of a name holds. The CRC32C of a record covers everything
 * behind itself. When records that no longer hold make up most of the file, it is written anew beside itself and renamed.
 * A torn end is cut when the file is opened: nobody was told that those records are safe. Damage before whole records costs
 * the positions that were in it: those names have the position before.
 *
 * The positions themselves live with the caller; this file knows how to store them. One thread at a time.
 */
#ifndef DANGO_MOFKA_CURSORS_H
#define DANGO_MOFKA_CURSORS_H

#include "mofka/log/io.h"

#include <dango/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MOFKA_CURSORS_NAME  "cursors"
#define MOFKA_CURSORS_MAGIC 0x5255434du /* "MCUR" */

struct mofka_cursors;

/* Called for each record of the file in order; `removed`: the name has no position any more. */
typedef int (*mofka_cursor_visit)(void *arg, const char *name, uint64_t next_id, bool removed, struct dango_error *err);

/* Opens or makes the file "cursors" in `directory` (a descriptor, used until close) and visits what it holds. */
int dango_mofka_cursors_open(int directory, const uint8_t partition[16], const struct mofka_log_io *io,
                             mofka_cursor_visit visit, void *arg, struct mofka_cursors **cursors,
                             struct dango_error *err);
/*
 * Visits what the file holds without changing it, whoever has it open; a missing file holds nothing. `whole` and `torn`:
 * bytes up to the end of the last whole record, and of what follows it. `damaged`: those of `whole` that are no record.
 */
int dango_mofka_cursors_read(int directory, const uint8_t partition[16], mofka_cursor_visit visit, void *arg,
                             size_t *whole, size_t *torn, size_t *damaged, struct dango_error *err);
void dango_mofka_cursors_close(struct mofka_cursors *cursors);

/* Prepares a record; nothing is written before the next sync. */
int dango_mofka_cursors_set(struct mofka_cursors *cursors, const char *name, uint64_t next_id, struct dango_error *err);
int dango_mofka_cursors_remove(struct mofka_cursors *cursors, const char *name, struct dango_error *err);

/* Writes what was prepared and waits until it is on the medium. On failure none of it may be acknowledged; it is kept
 * and tried again with the next sync. */
int dango_mofka_cursors_sync(struct mofka_cursors *cursors, struct dango_error *err);

/* Whether rewriting the file with `live` positions would make it much smaller. */
bool dango_mofka_cursors_is_wasteful(const struct mofka_cursors *cursors, size_t live);

/* Replaces the file by one that holds the positions that `next` gives: false ends the list. Atomic, and durable
 * before the next sync succeeds. */
typedef bool (*mofka_cursor_next)(void *arg, const char **name, uint64_t *next_id);
int dango_mofka_cursors_rewrite(struct mofka_cursors *cursors, mofka_cursor_next next, void *arg,
                                struct dango_error *err);

#endif
