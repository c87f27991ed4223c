/*
 * Saved positions in a hash table under a mutex.
 */
#include "mofka/partition/positions.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct position {
    UT_hash_handle hh;
    uint64_t next_id;
    char name[];
};

struct mofka_positions {
    pthread_mutex_t lock;
    struct position *table;
};

int dango_mofka_positions_create(struct mofka_positions **positions, struct dango_error *err)
{
    struct mofka_positions *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    pthread_mutex_init(&new->lock, NULL);
    *positions = new;
    return 0;
}

void dango_mofka_positions_destroy(struct mofka_positions *positions)
{
    if (!positions)
        return;
    struct position *position, *next;
    HASH_ITER (hh, positions->table, position, next) {
        HASH_DEL(positions->table, position);
        free(position);
    }
    pthread_mutex_destroy(&positions->lock);
    free(positions);
}

uint64_t dango_mofka_positions_get(struct mofka_positions *positions, const char *name)
{
    assert(name);
    struct position *position;
    pthread_mutex_lock(&positions->lock);
    HASH_FIND_STR(positions->table, name, position);
    uint64_t next_id = position ? position->next_id : 0;
    pthread_mutex_unlock(&positions->lock);
    return next_id;
}

/* Adds a name at position 0; NULL when there is no memory. */
static struct position *add(struct mofka_positions *positions, const char *name)
{
    size_t length = strlen(name);
    struct position *position = calloc(1, sizeof *position + length + 1);
    if (!position)
        return NULL;
    memcpy(position->name, name, length + 1);
    unsigned before = HASH_COUNT(positions->table);
    HASH_ADD_STR(positions->table, name, position);
    if (HASH_COUNT(positions->table) == before) { /* the table itself could not grow */
        free(position);
        return NULL;
    }
    return position;
}

int dango_mofka_positions_advance(struct mofka_positions *positions, const char *name, uint64_t next_id,
                                  struct dango_error *err)
{
    assert(name && strlen(name) <= MOFKA_CONSUMER_NAME_MAX);
    int code = 0;
    struct position *position;
    pthread_mutex_lock(&positions->lock);
    HASH_FIND_STR(positions->table, name, position);
    if (!position && HASH_COUNT(positions->table) >= MOFKA_POSITIONS_MAX) {
        code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "the partition keeps the positions of %u consumers already",
                               MOFKA_POSITIONS_MAX);
        goto out;
    }
    if (!position && !(position = add(positions, name))) {
        code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        goto out;
    }
    if (next_id > position->next_id)
        position->next_id = next_id;
out:
    pthread_mutex_unlock(&positions->lock);
    return code;
}
