/*
 * Saved positions in a hash table under a mutex, and what writes them to a file.
 *
 * Changed positions are on the list `dirty`, those who wait for them on `waiting`. If nobody writes, a writer is started;
 * it takes both lists, writes the positions without the lock, tells those who waited, and ends when there is nothing more.
 * A position that could not be written stays with the file's pending records and goes with the next attempt.
 *
 * A name that is removed stays in the table, marked, until the writer has made a record of it: only the writer frees
 * entries, so that it may look at names without the lock.
 */
#include "mofka/partition/positions.h"

#include "mofka/log/cursors.h"
#include "util/log.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct position {
    UT_hash_handle hh;
    struct list_node dirty; /* in positions->dirty while it is to be written */
    uint64_t next_id;
    bool removed; /* has no position any more; to be freed by the writer */
    char name[];
};

struct mofka_positions {
    struct mofka_positions_settings settings;
    struct mofka_cursors *cursors; /* the writer's; NULL: in memory only */
    pthread_mutex_t lock;          /* guards the rest */
    struct position *table;
    struct list_node dirty;   /* positions to be written */
    struct list_node waiting; /* who waits for that */
    bool writing;             /* a writer runs or is about to */
};

int dango_mofka_positions_create(struct mofka_positions **positions, struct dango_error *err)
{
    struct mofka_positions *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    pthread_mutex_init(&new->lock, NULL);
    list_init(&new->dirty);
    list_init(&new->waiting);
    *positions = new;
    return 0;
}

void dango_mofka_positions_destroy(struct mofka_positions *positions)
{
    if (!positions)
        return;
    assert(list_empty(&positions->waiting) && !positions->writing);
    dango_mofka_cursors_close(positions->cursors);
    struct position *position, *next;
    HASH_ITER (hh, positions->table, position, next) {
        HASH_DEL(positions->table, position);
        free(position);
    }
    pthread_mutex_destroy(&positions->lock);
    free(positions);
}

bool dango_mofka_positions_find(struct mofka_positions *positions, const char *name, uint64_t *next_id)
{
    assert(name);
    struct position *position;
    pthread_mutex_lock(&positions->lock);
    HASH_FIND_STR(positions->table, name, position);
    bool found = position && !position->removed;
    if (found)
        *next_id = position->next_id;
    pthread_mutex_unlock(&positions->lock);
    return found;
}

uint64_t dango_mofka_positions_get(struct mofka_positions *positions, const char *name)
{
    uint64_t next_id;
    return dango_mofka_positions_find(positions, name, &next_id) ? next_id : 0;
}

/* Adds a name at position 0; NULL when there is no memory. */
static struct position *add(struct mofka_positions *positions, const char *name)
{
    size_t length = strlen(name);
    struct position *position = calloc(1, sizeof *position + length + 1);
    if (!position)
        return NULL;
    memcpy(position->name, name, length + 1);
    list_init(&position->dirty);
    unsigned before = HASH_COUNT(positions->table);
    HASH_ADD_STR(positions->table, name, position);
    if (HASH_COUNT(positions->table) == before) { /* the table itself could not grow */
        free(position);
        return NULL;
    }
    return position;
}

/* The position of a name, made if there is none. Under the lock. */
static struct position *find_or_add(struct mofka_positions *positions, const char *name, struct dango_error *err)
{
    struct position *position;
    HASH_FIND_STR(positions->table, name, position);
    if (position && position->removed) {
        position->removed = false;
        position->next_id = 0;
    }
    if (position)
        return position;
    if (HASH_COUNT(positions->table) >= MOFKA_POSITIONS_MAX) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "the partition keeps the positions of %u consumers already",
                        MOFKA_POSITIONS_MAX);
        return NULL;
    }
    position = add(positions, name);
    if (!position)
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    return position;
}

/* Under the lock. */
static void change(struct mofka_positions *positions, struct position *position, uint64_t next_id)
{
    position->next_id = next_id;
    if (positions->cursors && !list_linked(&position->dirty))
        list_append(&positions->dirty, &position->dirty);
}

static void discard(struct mofka_positions *positions, struct position *position)
{
    assert(!list_linked(&position->dirty));
    HASH_DEL(positions->table, position);
    free(position);
}

/* Under the lock. */
static int advance(struct mofka_positions *positions, const char *name, uint64_t next_id, struct dango_error *err)
{
    assert(name && strlen(name) <= MOFKA_CONSUMER_NAME_MAX);
    struct position *position = find_or_add(positions, name, err);
    if (!position)
        return DANGO_ERR_NO_MEMORY;
    if (next_id > position->next_id)
        change(positions, position, next_id);
    return 0;
}

/* ---- writing ---- */

static int write_position(struct mofka_positions *positions, const struct position *position, struct dango_error *err)
{
    if (position->removed)
        return dango_mofka_cursors_remove(positions->cursors, position->name, err);
    return dango_mofka_cursors_set(positions->cursors, position->name, position->next_id, err);
}

/* Prepares records of what has changed and takes over who waits for it; false, and no writer any more, when nobody does. */
static bool take_dirty(struct mofka_positions *positions, struct list_node *waiting, struct dango_error *err)
{
    list_init(waiting);
    dango_error_clear(err);
    pthread_mutex_lock(&positions->lock);
    for (struct list_node *node; (node = list_pop(&positions->waiting));)
        list_append(waiting, node);
    while (!list_empty(&positions->dirty) && err->code == 0) {
        struct position *position = container_of(positions->dirty.next, struct position, dirty);
        if (write_position(positions, position, err) == 0) {
            list_remove(&position->dirty);
            if (position->removed)
                discard(positions, position);
        }
    }
    bool any = !list_empty(waiting);
    if (!any)
        positions->writing = false;
    pthread_mutex_unlock(&positions->lock);
    return any;
}

/* A copy of the table to be written without the lock. */
struct snapshot {
    size_t count, next;
    struct snapshot_entry {
        const char *name; /* of the table: only the writer, which we are, frees names */
        uint64_t next_id;
    } entries[];
};

static bool next_entry(void *arg, const char **name, uint64_t *next_id)
{
    struct snapshot *snapshot = arg;
    if (snapshot->next == snapshot->count)
        return false;
    *name = snapshot->entries[snapshot->next].name;
    *next_id = snapshot->entries[snapshot->next++].next_id;
    return true;
}

static struct snapshot *take_snapshot(struct mofka_positions *positions)
{
    struct position *position, *next;
    pthread_mutex_lock(&positions->lock);
    struct snapshot *snapshot = malloc(sizeof *snapshot + HASH_COUNT(positions->table) * sizeof(struct snapshot_entry));
    if (snapshot) {
        snapshot->count = snapshot->next = 0;
        HASH_ITER (hh, positions->table, position, next) {
            if (!position->removed)
                snapshot->entries[snapshot->count++] = (struct snapshot_entry){position->name, position->next_id};
        }
    }
    pthread_mutex_unlock(&positions->lock);
    return snapshot;
}

/* Makes the file smaller when most of it is history. Failing is no loss: the old file is good. */
static void shrink(struct mofka_positions *positions)
{
    pthread_mutex_lock(&positions->lock);
    size_t live = HASH_COUNT(positions->table);
    pthread_mutex_unlock(&positions->lock);
    if (!dango_mofka_cursors_is_wasteful(positions->cursors, live))
        return;
    struct dango_error err;
    struct snapshot *snapshot = take_snapshot(positions);
    if (snapshot && dango_mofka_cursors_rewrite(positions->cursors, next_entry, snapshot, &err) < 0)
        log_warning("mofka", "positions of consumers stay in a large file: %s", err.text);
    free(snapshot);
}

static void write_positions(void *arg)
{
    struct mofka_positions *positions = arg;
    struct list_node waiting;
    struct dango_error err;
    while (take_dirty(positions, &waiting, &err)) {
        if (err.code == 0 && dango_mofka_cursors_sync(positions->cursors, &err) == 0)
            shrink(positions);
        for (struct list_node *node; (node = list_pop(&waiting));) {
            struct mofka_saving *saving = container_of(node, struct mofka_saving, link);
            saving->done(saving, err.code == 0 ? NULL : &err);
        }
    }
}

/* A change was made under the lock, with its outcome: lets the lock go, and has it written. */
static int save_change(struct mofka_positions *positions, int code, struct mofka_saving *saving)
{
    bool durable = positions->cursors != NULL, start = false;
    if (code == 0 && durable) {
        list_append(&positions->waiting, &saving->link);
        start = !positions->writing;
        positions->writing = true;
    }
    pthread_mutex_unlock(&positions->lock);
    if (code == 0 && !durable)
        saving->done(saving, NULL);
    /* Without memory for a thread this one has to do it. */
    if (start && positions->settings.run(positions->settings.run_arg, write_positions, positions) != 0)
        write_positions(positions);
    return code;
}

int dango_mofka_positions_save(struct mofka_positions *positions, const char *name, uint64_t next_id,
                               struct mofka_saving *saving, struct dango_error *err)
{
    pthread_mutex_lock(&positions->lock);
    return save_change(positions, advance(positions, name, next_id, err), saving);
}

int dango_mofka_positions_reset(struct mofka_positions *positions, const char *name, uint64_t next_id,
                                struct mofka_saving *saving, struct dango_error *err)
{
    assert(name && strlen(name) <= MOFKA_CONSUMER_NAME_MAX);
    pthread_mutex_lock(&positions->lock);
    struct position *position = find_or_add(positions, name, err);
    if (position)
        change(positions, position, next_id);
    return save_change(positions, position ? 0 : DANGO_ERR_NO_MEMORY, saving);
}

int dango_mofka_positions_remove(struct mofka_positions *positions, const char *name, struct mofka_saving *saving,
                                 struct dango_error *err)
{
    struct position *position;
    int code = 0;
    pthread_mutex_lock(&positions->lock);
    HASH_FIND_STR(positions->table, name, position);
    if (!position || position->removed) {
        code = dango_error_set(err, DANGO_ERR_NOT_FOUND, "consumer \"%s\" has no saved position", name);
    } else if (positions->cursors) {
        position->removed = true;
        change(positions, position, 0);
    } else {
        discard(positions, position);
    }
    return save_change(positions, code, saving);
}

/* ---- listing ---- */

static int compare_names(const void *a, const void *b)
{
    const struct position *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

int dango_mofka_positions_list(struct mofka_positions *positions, const char *after, struct mofka_position *page,
                               size_t max, size_t *count, bool *more, struct dango_error *err)
{
    struct position *position, *next;
    size_t found = 0;
    pthread_mutex_lock(&positions->lock);
    struct position **sorted = calloc(HASH_COUNT(positions->table) + 1, sizeof(struct position *));
    HASH_ITER (hh, positions->table, position, next) {
        if (sorted && !position->removed && strcmp(position->name, after) > 0)
            sorted[found++] = position;
    }
    if (found > 1)
        qsort(sorted, found, sizeof *sorted, compare_names);
    *more = found > max;
    *count = *more ? max : found;
    for (size_t i = 0; i < *count; i++) {
        page[i].next_id = sorted[i]->next_id;
        strcpy(page[i].name, sorted[i]->name);
    }
    pthread_mutex_unlock(&positions->lock);
    int code = sorted ? 0 : dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    free(sorted);
    return code;
}

/* ---- opening ---- */

static int load(void *arg, const char *name, uint64_t next_id, bool removed, struct dango_error *err)
{
    struct mofka_positions *positions = arg;
    struct position *position;
    if (strlen(name) > MOFKA_CONSUMER_NAME_MAX)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "cursors: a name of more than %u bytes",
                               MOFKA_CONSUMER_NAME_MAX);
    if (removed) {
        HASH_FIND_STR(positions->table, name, position);
        if (position)
            discard(positions, position);
        return 0;
    }
    position = find_or_add(positions, name, err);
    if (!position)
        return DANGO_ERR_NO_MEMORY;
    position->next_id = next_id;
    return 0;
}

/* Events that were acknowledged can be missing when they were not synced: their ids will be given again. */
static void clamp(struct mofka_positions *positions, uint64_t end)
{
    struct position *position, *next;
    HASH_ITER (hh, positions->table, position, next) {
        if (position->next_id <= end)
            continue;
        log_warning("mofka",
                    "consumer \"%s\" has acknowledged event %" PRIu64 ", but the partition holds only %" PRIu64
                    " events: it goes on with the next new one",
                    position->name, position->next_id - 1, end);
        position->next_id = end;
    }
}

int dango_mofka_positions_open(const struct mofka_positions_settings *settings, struct mofka_positions **positions,
                               struct dango_error *err)
{
    struct mofka_positions *new;
    int code = dango_mofka_positions_create(&new, err);
    if (code != 0)
        return code;
    new->settings = *settings;
    code = dango_mofka_cursors_open(settings->directory, settings->uuid, settings->io, load, new, &new->cursors, err);
    if (code != 0) {
        dango_mofka_positions_destroy(new);
        return code;
    }
    clamp(new, settings->end);
    *positions = new;
    return 0;
}
