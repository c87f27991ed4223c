/*
 * The table of producers in memory; see producers.h. The file is in producers_file.c.
 */
#include "mofka/log/producers_table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#define PLACES_MIN 4u
/* Records that are looked at when room is wanted: those in use are passed over. */
#define FORGET_TRIES 8

int dango_mofka_producers_create(struct mofka_producers **producers, struct dango_error *err)
{
    struct mofka_producers *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    pthread_mutex_init(&new->lock, NULL);
    list_init(&new->by_age);
    *producers = new;
    return 0;
}

/* Under the lock. */
static void forget(struct mofka_producers *producers, struct mofka_producer *producer)
{
    HASH_DEL(producers->table, producer);
    list_remove(&producer->link);
    if (producers->last == producer)
        producers->last = NULL;
    free(producer->places);
    free(producer);
}

void dango_mofka_producers_destroy(struct mofka_producers *producers)
{
    if (!producers)
        return;
    struct mofka_producer *producer, *next;
    HASH_ITER (hh, producers->table, producer, next) {
        assert(producer->users == 0);
        forget(producers, producer);
    }
    pthread_mutex_destroy(&producers->lock);
    free(producers);
}

size_t dango_mofka_producers_count(struct mofka_producers *producers)
{
    pthread_mutex_lock(&producers->lock);
    size_t count = HASH_COUNT(producers->table);
    pthread_mutex_unlock(&producers->lock);
    return count;
}

/* ---- doubt ---- */

static void doubt(struct mofka_producers *producers, uint64_t now_ns)
{
    if (producers->doubt_until_ns < now_ns + MOFKA_PRODUCER_AGE_NS)
        producers->doubt_until_ns = now_ns + MOFKA_PRODUCER_AGE_NS;
}

void dango_mofka_producers_doubt(struct mofka_producers *producers, uint64_t now_ns)
{
    pthread_mutex_lock(&producers->lock);
    doubt(producers, now_ns);
    pthread_mutex_unlock(&producers->lock);
}

void dango_mofka_producers_damaged(struct mofka_producers *producers, uint64_t now_ns)
{
    struct mofka_producer *producer, *next;
    pthread_mutex_lock(&producers->lock);
    HASH_ITER (hh, producers->table, producer, next) {
        producer->uncertain = true;
    }
    doubt(producers, now_ns);
    pthread_mutex_unlock(&producers->lock);
}

/* ---- records ---- */

/* Makes room for a new record: the old go, and if there are too many, the oldest. */
static void forget_old(struct mofka_producers *producers, uint64_t now_ns)
{
    for (int tries = 0; tries < FORGET_TRIES && !list_empty(&producers->by_age); tries++) {
        struct mofka_producer *oldest = container_of(producers->by_age.next, struct mofka_producer, link);
        bool old = oldest->seen_ns + MOFKA_PRODUCER_AGE_NS < now_ns;
        if (!old && HASH_COUNT(producers->table) < MOFKA_PRODUCERS_MAX)
            return;
        if (oldest->users > 0) {
            list_remove(&oldest->link);
            list_append(&producers->by_age, &oldest->link);
            continue;
        }
        if (!old)
            doubt(producers, now_ns);
        forget(producers, oldest);
    }
}

static struct mofka_producer *look_up(struct mofka_producers *producers, uint64_t id)
{
    struct mofka_producer *producer;
    HASH_FIND(hh, producers->table, &id, sizeof id, producer);
    return producer;
}

struct mofka_producer *mofka_producers_add(struct mofka_producers *producers, uint64_t id, uint64_t now_ns)
{
    forget_old(producers, now_ns);
    struct mofka_producer *producer = calloc(1, sizeof *producer);
    if (!producer)
        return NULL;
    unsigned before = HASH_COUNT(producers->table);
    producer->id = id;
    producer->seen_ns = now_ns;
    producer->window = MOFKA_PRODUCER_HISTORY;
    HASH_ADD(hh, producers->table, id, sizeof producer->id, producer);
    if (HASH_COUNT(producers->table) == before) {
        free(producer);
        return NULL;
    }
    list_append(&producers->by_age, &producer->link);
    return producer;
}

/* Twice the places, up to the window. The ring begins anew at 0. */
static int grow(struct mofka_producer *producer)
{
    uint32_t capacity = producer->capacity > 0 ? 2 * producer->capacity : PLACES_MIN;
    if (capacity > producer->window)
        capacity = producer->window;
    struct mofka_batch_place *places = malloc(capacity * sizeof *places);
    if (!places)
        return DANGO_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < producer->count; i++)
        places[i] = producer->places[(producer->end - producer->count + i) % producer->capacity];
    free(producer->places);
    producer->places = places;
    producer->capacity = capacity;
    producer->end = producer->count;
    return 0;
}

int mofka_producer_push(struct mofka_producer *producer, uint64_t sequence, uint64_t first_id)
{
    assert(producer->count == 0 || sequence >= mofka_producer_end(producer));
    if (producer->count == producer->capacity && producer->capacity < producer->window && grow(producer) != 0)
        return DANGO_ERR_NO_MEMORY;
    assert(producer->capacity > 0); /* as the window is */
    producer->places[producer->end++ % producer->capacity] = (struct mofka_batch_place){sequence, first_id};
    if (producer->count < producer->capacity)
        producer->count++;
    return 0;
}

/* Under the lock. */
static void note(struct mofka_producers *producers, const struct mofka_frame *frame)
{
    struct mofka_producer *producer = producers->last;
    if (!producer || producer->id != frame->producer)
        producer = look_up(producers, frame->producer);
    if (!producer)
        producer = mofka_producers_add(producers, frame->producer, frame->timestamp_ns);
    if (!producer) {
        doubt(producers, frame->timestamp_ns);
        return;
    }
    producers->last = producer;
    uint64_t end = mofka_producer_end(producer);
    if (producer->count > 0 && frame->sequence < end)
        return;
    if (mofka_producer_push(producer, frame->sequence, frame->first_id) != 0) {
        producer->uncertain = true;
        return;
    }
    /* Nothing of it can be missing behind this one: what is missing before it is not found and so not vouched for. */
    producer->uncertain = false;
    producer->seen_ns = frame->timestamp_ns;
    list_remove(&producer->link);
    list_append(&producers->by_age, &producer->link);
}

void dango_mofka_producers_note(struct mofka_producers *producers, const struct mofka_frame *frame)
{
    if (frame->count == 0 || frame->producer == 0)
        return;
    pthread_mutex_lock(&producers->lock);
    note(producers, frame);
    pthread_mutex_unlock(&producers->lock);
}

/* ---- producers that come ---- */

static int unknown_fate(const struct mofka_resume *resume, struct dango_error *err)
{
    return dango_error_set(err, DANGO_ERR_CORRUPT,
                           "it is not known whether batches %" PRIu64 " to %" PRIu64
                           " of this producer are stored (part of the log is damaged, or its file \"producers\" is "
                           "missing): they are not stored again",
                           resume->first, resume->first + resume->unsettled - 1);
}

/* What speaks against the producer going on where it says. */
static int check_resume(const struct mofka_producers *producers, const struct mofka_producer *producer,
                        const struct mofka_resume *resume, uint64_t now_ns, struct dango_error *err)
{
    uint64_t end = producer ? mofka_producer_end(producer) : 0;
    bool uncertain = producer ? producer->uncertain : now_ns < producers->doubt_until_ns;
    if (resume->stored_end > end)
        return dango_error_set(err, DANGO_ERR_CORRUPT,
                               "the partition does not have batch %" PRIu64
                               " of this producer any more, of which it said that it was stored",
                               resume->stored_end - 1);
    if (uncertain && resume->unsettled > 0 && resume->first + resume->unsettled > end)
        return unknown_fate(resume, err);
    return 0;
}

int dango_mofka_producers_get(struct mofka_producers *producers, uint64_t id, const struct mofka_resume *resume,
                              uint64_t now_ns, struct mofka_producer **producer, struct dango_error *err)
{
    if (id == 0 || resume->window > MOFKA_PRODUCER_HISTORY || resume->unsettled > MOFKA_PRODUCER_HISTORY ||
        resume->first > UINT64_MAX - MOFKA_PRODUCER_HISTORY)
        return dango_error_set(err, DANGO_ERR_PROTOCOL, "malformed message: numbers of a producer");
    pthread_mutex_lock(&producers->lock);
    struct mofka_producer *found = look_up(producers, id);
    int code = check_resume(producers, found, resume, now_ns, err);
    if (code == 0 && !found) {
        found = mofka_producers_add(producers, id, now_ns);
        if (!found)
            code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
    }
    if (code == 0) {
        found->users++;
        found->window = resume->window > 0 ? resume->window : MOFKA_PRODUCER_HISTORY;
        found->uncertain = found->uncertain && resume->unsettled > 0;
        *producer = found;
    }
    pthread_mutex_unlock(&producers->lock);
    return code;
}

void dango_mofka_producers_put(struct mofka_producers *producers, struct mofka_producer *producer)
{
    pthread_mutex_lock(&producers->lock);
    assert(producer->users > 0);
    producer->users--;
    pthread_mutex_unlock(&producers->lock);
}

int dango_mofka_producers_find(struct mofka_producers *producers, const struct mofka_producer *producer,
                               uint64_t sequence, uint64_t *first_id, struct dango_error *err)
{
    int found = 0;
    pthread_mutex_lock(&producers->lock);
    if (sequence < mofka_producer_end(producer)) {
        for (uint32_t back = 1; back <= producer->count && found == 0; back++) {
            const struct mofka_batch_place *place = &producer->places[(producer->end - back) % producer->capacity];
            if (place->sequence < sequence)
                break;
            if (place->sequence == sequence) {
                *first_id = place->first_id;
                found = 1;
            }
        }
        if (found == 0)
            found = dango_error_set(err, DANGO_ERR_CORRUPT,
                                    "it is not known whether batch %" PRIu64
                                    " of this producer is stored, although later ones are (is part of the log "
                                    "damaged?): it is not stored again",
                                    sequence);
    }
    pthread_mutex_unlock(&producers->lock);
    return found;
}

uint64_t dango_mofka_producers_newest(struct mofka_producers *producers, const struct mofka_producer *producer,
                                      uint64_t *first_id)
{
    pthread_mutex_lock(&producers->lock);
    uint64_t end = mofka_producer_end(producer);
    *first_id = end > 0 ? producer->places[(producer->end - 1) % producer->capacity].first_id : 0;
    pthread_mutex_unlock(&producers->lock);
    return end;
}
