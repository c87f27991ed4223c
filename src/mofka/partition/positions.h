/*
 * Saved positions of a partition: consumer name → id of the first event that it has not acknowledged.
 *
 * Positions only move forward. They live as long as the object: a `memory` partition forgets them with its events.
 * Thread-safe; never blocks beyond a mutex.
 */
#ifndef DANGO_MOFKA_POSITIONS_H
#define DANGO_MOFKA_POSITIONS_H

#include <dango/error.h>

#include <stdint.h>

/* Longest consumer name in bytes, and most names per partition. */
#define MOFKA_CONSUMER_NAME_MAX 256u
#define MOFKA_POSITIONS_MAX     65536u

struct mofka_positions;

int dango_mofka_positions_create(struct mofka_positions **positions, struct dango_error *err);
void dango_mofka_positions_destroy(struct mofka_positions *positions);

/* 0 for a name that was never seen. */
uint64_t dango_mofka_positions_get(struct mofka_positions *positions, const char *name);

/* Moves the position to `next_id` unless it is there or further already. */
int dango_mofka_positions_advance(struct mofka_positions *positions, const char *name, uint64_t next_id,
                                  struct dango_error *err);

#endif
