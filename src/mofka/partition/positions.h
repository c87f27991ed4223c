/*
 * Saved positions of a partition: consumer name → id of the first event that it has not acknowledged.
 *
 * Consumers move positions only forward; an operator may put them anywhere or remove them. They live as long as the
 * object (a `memory` partition forgets them with its events), or in a file of the partition's directory
 * (mofka/log/cursors.h). Then a position is saved when it is on the medium; positions that come while others are being
 * written are written together next.
 *
 * Thread-safe; never blocks beyond a mutex, except for open.
 */
#ifndef DANGO_MOFKA_POSITIONS_H
#define DANGO_MOFKA_POSITIONS_H

#include <dango/error.h>

#include "mofka/log/io.h"
#include "util/list.h"

#include <stdbool.h>
#include <stdint.h>

/* Longest consumer name in bytes, and most names per partition. */
#define MOFKA_CONSUMER_NAME_MAX 256u
#define MOFKA_POSITIONS_MAX     65536u

struct mofka_positions;

/* How positions become durable. */
struct mofka_positions_settings {
    int directory; /* descriptor, for the life of the positions */
    uint8_t uuid[16];
    uint64_t end;                  /* events that the partition has; positions behind it are moved there */
    const struct mofka_log_io *io; /* borrowed, as the rest */
    /* Calls body(argument) soon, somewhere where it may block; body must have returned before destroy. */
    int (*run)(void *arg, void (*body)(void *argument), void *argument);
    void *run_arg;
};

/* A position on its way to the medium; memory of the caller, from save to done. */
struct mofka_saving {
    struct list_node link;
    void (*done)(struct mofka_saving *saving, const struct dango_error *err); /* err NULL: saved */
};

int dango_mofka_positions_create(struct mofka_positions **positions, struct dango_error *err);
/* With the file "cursors" in the directory, which is made if it is not there. Blocks on file I/O. */
int dango_mofka_positions_open(const struct mofka_positions_settings *settings, struct mofka_positions **positions,
                               struct dango_error *err);
void dango_mofka_positions_destroy(struct mofka_positions *positions);

/* Whether a name has a position. */
bool dango_mofka_positions_find(struct mofka_positions *positions, const char *name, uint64_t *next_id);
/* The same; 0 for a name that has none. */
uint64_t dango_mofka_positions_get(struct mofka_positions *positions, const char *name);

/* Moves the position to `next_id` unless it is there or further already, and calls saving->done when it is safe, perhaps
 * before it returns. Not after a failure. */
int dango_mofka_positions_save(struct mofka_positions *positions, const char *name, uint64_t next_id,
                               struct mofka_saving *saving, struct dango_error *err);

/* Puts the position somewhere, perhaps back; then as above. */
int dango_mofka_positions_reset(struct mofka_positions *positions, const char *name, uint64_t next_id,
                                struct mofka_saving *saving, struct dango_error *err);
/* Forgets a name; then as above. DANGO_ERR_NOT_FOUND when it has no position. */
int dango_mofka_positions_remove(struct mofka_positions *positions, const char *name, struct mofka_saving *saving,
                                 struct dango_error *err);

/* One saved position. */
struct mofka_position {
    uint64_t next_id;
    char name[MOFKA_CONSUMER_NAME_MAX + 1];
};

/* Up to `max` positions in the order of their names, of names behind `after` ("" for all); *more: there are others. */
int dango_mofka_positions_list(struct mofka_positions *positions, const char *after, struct mofka_position *page,
                               size_t max, size_t *count, bool *more, struct dango_error *err);

#endif
