/*
 * Verification of a whole partition, and the positions of its consumers as an inspection sees them.
 */
#include "mofka/log/inspect.h"

#include "mofka/log/cursors.h"
#include "mofka/log/inspect_internal.h"
#include "mofka/log/internal.h"
#include "mofka/log/producers.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- positions ---- */

/* Records in the order of the file; removed names stay until the end, so that the last word about a name is found. */
struct collected {
    struct record {
        char *name;
        uint64_t next_id;
        size_t place;
        bool removed;
    } * records;
    size_t count, capacity;
};

static int collect(void *arg, const char *name, uint64_t next_id, bool removed, struct dango_error *err)
{
    struct collected *all = arg;
    if (all->count == all->capacity) {
        size_t capacity = all->capacity ? 2 * all->capacity : 64;
        struct record *records = reallocarray(all->records, capacity, sizeof *records);
        if (!records)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        all->records = records;
        all->capacity = capacity;
    }
    char *copy = strdup(name);
    if (!copy)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    all->records[all->count] = (struct record){copy, next_id, all->count, removed};
    all->count++;
    return 0;
}

static int by_name_and_place(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

/* Moves the last record of each name that has a position to the result. */
static size_t take_last(struct collected *all, struct mofka_inspected_cursor *cursors)
{
    size_t n = 0;
    if (all->count > 0)
        qsort(all->records, all->count, sizeof *all->records, by_name_and_place);
    for (size_t i = 0; i < all->count; i++) {
        struct record *record = &all->records[i];
        bool holds = i + 1 == all->count || strcmp(record->name, record[1].name) != 0;
        if (!holds || record->removed)
            continue;
        cursors[n++] = (struct mofka_inspected_cursor){record->name, record->next_id};
        record->name = NULL;
    }
    return n;
}

static int read_cursors(struct mofka_inspection *inspection, struct mofka_inspected_cursor **cursors, size_t *count,
                        size_t *whole, size_t *torn, size_t *damaged, struct dango_error *err)
{
    struct collected all = {0};
    *cursors = NULL;
    *count = 0;
    int status =
        dango_mofka_cursors_read(inspection->directory, inspection->uuid, collect, &all, whole, torn, damaged, err);
    if (status == 0 && !(*cursors = calloc(all.count + 1, sizeof **cursors)))
        status = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    if (status == 0)
        *count = take_last(&all, *cursors);
    for (size_t i = 0; i < all.count; i++)
        free(all.records[i].name);
    free(all.records);
    return status;
}

int dango_mofka_inspect_cursors(struct mofka_inspection *inspection, struct mofka_inspected_cursor **cursors,
                                size_t *count, size_t *whole, size_t *torn, struct dango_error *err)
{
    size_t damaged;
    return read_cursors(inspection, cursors, count, whole, torn, &damaged, err);
}

void dango_mofka_inspect_free_cursors(struct mofka_inspected_cursor *cursors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(cursors[i].name);
    free(cursors);
}

/* ---- verification ---- */

static int check_identity(const struct mofka_inspection *inspection, const struct mofka_inspect_visitor *visitor)
{
    struct mofka_finding place = {.severity = MOFKA_DAMAGE, .file = MOFKA_LOG_IDENTITY_FILE};
    char advice[MOFKA_FINDING_TEXT_MAX], expected[NAME_MAX + 1], real[PATH_MAX];
    if (inspection->identity_error.code != 0) {
        snprintf(advice, sizeof advice,
                 "no server can open the partition like this; going by its name, the directory needs "
                 "{\"format\":%u,\"topic\":\"%s\",\"uuid\":\"%s\"}",
                 MOFKA_LOG_VERSION, inspection->topic, inspection->uuid_text);
        return mofka_inspect_report(visitor, &place, advice, "%s", inspection->identity_error.text);
    }
    const char *name = realpath(inspection->path, real) ? strrchr(real, '/') : NULL;
    snprintf(expected, sizeof expected, "%s-%s", inspection->topic, inspection->uuid_text);
    if (!name || strcmp(name + 1, expected) == 0)
        return 0;
    place.severity = MOFKA_NOTE;
    snprintf(advice, sizeof advice, "a server looks for it under the name %s", expected);
    return mofka_inspect_report(visitor, &place, advice, "the directory has been renamed");
}

/* A consumer cannot have acknowledged what was never stored. */
static int check_positions(const struct mofka_inspected_cursor *cursors, size_t count, uint64_t next_id,
                           const struct mofka_inspect_visitor *visitor)
{
    int status = 0;
    for (size_t i = 0; status == 0 && i < count; i++) {
        struct mofka_finding place = {.severity = MOFKA_DAMAGE, .file = "cursors", .first_id = next_id};
        if (cursors[i].next_id <= next_id)
            continue;
        place.events = cursors[i].next_id - next_id;
        status = mofka_inspect_report(visitor, &place,
                                      "the end of the log is missing: restore the last chunks from a copy before new "
                                      "events take these ids",
                                      "consumer \"%.128s\" has acknowledged events that the log does not have",
                                      cursors[i].name);
    }
    return status;
}

static int check_cursors(struct mofka_inspection *inspection, const struct mofka_inspect_visitor *visitor)
{
    struct mofka_inspected_cursor *cursors;
    struct dango_error found = {0};
    size_t count, whole, torn, damaged;
    struct mofka_finding place = {.file = "cursors"};
    int status = read_cursors(inspection, &cursors, &count, &whole, &torn, &damaged, &found);
    if (status < 0) {
        place.severity = found.code == DANGO_ERR_CORRUPT ? MOFKA_DAMAGE : MOFKA_UNREADABLE;
        return mofka_inspect_report(visitor, &place, "the events are not concerned", "%s", found.text);
    }
    if (damaged > 0) {
        place.severity = MOFKA_DAMAGE;
        status =
            mofka_inspect_report(visitor, &place,
                                 "the events are not concerned; consumers whose last position was there start at an "
                                 "earlier one",
                                 "%zu bytes between positions are damaged", damaged);
        place.severity = MOFKA_NOTE;
    }
    if (status == 0 && torn > 0) {
        place.offset = whole;
        place.size = torn;
        status = mofka_inspect_report(visitor, &place,
                                      "nothing to do: the next server cuts it off; nobody was told that it is stored",
                                      "a position that was never written to its end");
    }
    /* What was acknowledged while we walked may lie behind what we saw. */
    if (status == 0 && inspection->holder == 0)
        status = check_positions(cursors, count, inspection->next_id, visitor);
    dango_mofka_inspect_free_cursors(cursors, count);
    return status;
}

/* The file of producers must name the last chunk. A server that runs may be changing both. */
static int check_producers(const struct mofka_inspection *inspection, const struct mofka_inspect_visitor *visitor)
{
    struct mofka_finding place = {.severity = MOFKA_DAMAGE, .file = MOFKA_PRODUCERS_NAME};
    struct mofka_producers *producers;
    if (inspection->holder != 0 || inspection->num_chunks == 0 ||
        faccessat(inspection->directory, MOFKA_PRODUCERS_NAME, F_OK, 0) != 0)
        return 0;
    if (dango_mofka_producers_create(&producers, NULL) < 0)
        return 0;
    uint64_t last = inspection->chunks[inspection->num_chunks - 1].number;
    bool sound = dango_mofka_producers_load(producers, inspection->directory, inspection->uuid, last, 0);
    dango_mofka_producers_destroy(producers);
    if (sound)
        return 0;
    return mofka_inspect_report(
        visitor, &place,
        "no event is concerned; producers that were interrupted are told that the fate of their "
        "last batches is unknown; it is written anew with the next chunk",
        "damaged, or not of the last chunk");
}

int dango_mofka_inspect_verify(struct mofka_inspection *inspection, const struct mofka_inspect_visitor *visitor)
{
    int status = check_identity(inspection, visitor);
    if (status == 0)
        status = dango_mofka_inspect_walk(inspection, 0, MOFKA_INSPECT_CONTENTS | MOFKA_INSPECT_INDEX, visitor);
    if (status == 0)
        status = check_cursors(inspection, visitor);
    return status == 0 ? check_producers(inspection, visitor) : status;
}
