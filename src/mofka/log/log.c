/*
 * A log: its chunks and its writer. Opening and identity are in log_open.c, readers in log_reader.c.
 */
#include "mofka/log/internal.h"

#include "util/clock.h"
#include "util/file.h"
#include "util/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

int mofka_log_add_chunk(struct mofka_log *log, struct mofka_chunk *chunk)
{
    pthread_mutex_lock(&log->lock);
    struct mofka_chunk **chunks = reallocarray(log->chunks, log->num_chunks + 1, sizeof *chunks);
    if (chunks) {
        log->chunks = chunks;
        log->chunks[log->num_chunks++] = chunk;
        chunk->log = log;
        chunk->region.hold = mofka_log_hold_chunk;
        chunk->region.release = mofka_log_release_chunk;
    }
    pthread_mutex_unlock(&log->lock);
    return chunks ? 0 : DANGO_ERR_NO_MEMORY;
}

void dango_mofka_log_close(struct mofka_log *log)
{
    if (!log)
        return;
    for (size_t i = 0; i < log->num_chunks; i++)
        mofka_chunk_destroy(log->chunks[i]);
    free(log->chunks);
    dango_mofka_producers_destroy(log->producers);
    if (log->lock_fd >= 0)
        close(log->lock_fd);
    if (log->directory >= 0)
        close(log->directory);
    pthread_mutex_destroy(&log->lock);
    pthread_mutex_destroy(&log->state_lock);
    dango_mofka_checked_fini(&log->checked);
    free(log->path);
    free(log);
}

uint64_t dango_mofka_log_first_id(struct mofka_log *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t id = log->chunks[0]->first_id;
    pthread_mutex_unlock(&log->lock);
    return id;
}

uint64_t dango_mofka_log_next_id(struct mofka_log *log)
{
    return log->next_id;
}

/* The writer's: only it adds chunks, but others take away the first ones. */
static struct mofka_chunk *last_chunk(struct mofka_log *log)
{
    pthread_mutex_lock(&log->lock);
    struct mofka_chunk *last = log->chunks[log->num_chunks - 1];
    pthread_mutex_unlock(&log->lock);
    return last;
}

/* Whether the log takes no more: an error that says why, or 0. */
static int check_healthy(struct mofka_log *log, struct dango_error *err)
{
    int code = 0;
    pthread_mutex_lock(&log->state_lock);
    if (log->failed)
        code = dango_error_set(
            err, DANGO_ERR_IO,
            "the partition is read-only and takes no more events: an earlier write or sync failed (%s); restart "
            "the server when the medium is in order",
            log->failure.text);
    pthread_mutex_unlock(&log->state_lock);
    return code;
}

static void fail(struct mofka_log *log, const struct dango_error *err)
{
    pthread_mutex_lock(&log->state_lock);
    log->failed = true;
    log->failure = *err;
    pthread_mutex_unlock(&log->state_lock);
    log_critical("mofka-log", "%s; the partition is read-only until the server is restarted", err->text);
}

bool dango_mofka_log_refuses(struct mofka_log *log)
{
    pthread_mutex_lock(&log->state_lock);
    bool refuses = log->failed;
    pthread_mutex_unlock(&log->state_lock);
    return refuses;
}

void dango_mofka_log_refuse(struct mofka_log *log, const struct dango_error *why)
{
    if (!dango_mofka_log_refuses(log))
        fail(log, why);
}

/* Whether `bytes` and `events` more belong into a new chunk. An empty chunk takes whatever comes. */
static bool chunk_is_full(const struct mofka_log *log, const struct mofka_chunk *chunk, uint64_t bytes, uint64_t events)
{
    if (chunk->end == sizeof(struct mofka_chunk_header))
        return false;
    return chunk->end + bytes > log->max_chunk_size || chunk->events + events > log->max_events_per_chunk;
}

/* What the frames of a chunk say about producers must be found without reading it once it is not the last any more.
 * Without the file nothing is lost; producers that come back after a restart may then be refused. */
static void save_producers(struct mofka_log *log, uint64_t number)
{
    struct dango_error err;
    if (dango_mofka_producers_save(log->producers, log->directory, log->uuid, number, dango_clock_wall_ns(), &err) < 0)
        log_warning("mofka-log", "partition %s-…: cannot save the table of producers: %s", log->topic, err.text);
}

static bool sync_is_begun(struct mofka_log *log)
{
    pthread_mutex_lock(&log->state_lock);
    bool begun = log->syncing != NULL;
    pthread_mutex_unlock(&log->state_lock);
    return begun;
}

/* From a full chunk to a new one. */
struct turn {
    struct mofka_log *log;
    struct mofka_chunk *full, *fresh;
    bool broken;
    struct dango_error *err;
    int code;
};

static void turn_over(void *arg)
{
    struct turn *turn = arg;
    struct mofka_log *log = turn->log;
    uint64_t number = turn->full->number + 1;
    save_producers(log, number);
    turn->code =
        mofka_chunk_create(log->directory, number, log->next_id, log->uuid, &turn->fresh, &turn->broken, turn->err);
    if (turn->code == 0)
        mofka_chunk_seal(turn->full, log->directory, log->uuid, log->next_id);
}

static int rotate(struct mofka_log *log, struct dango_error *err)
{
    struct mofka_chunk *full = last_chunk(log);
    struct turn turn = {.log = log, .full = full, .err = err};
    if (sync_is_begun(log))
        return dango_error_set(err, DANGO_ERR_AGAIN, "a new chunk has to wait for the end of a sync");
    /* A sealed chunk is never verified again, so it must be on the medium before the next one exists. */
    if (mofka_chunk_trim(full, err) < 0) {
        dango_error_prefix(err, "%s", log->path);
        return err->code;
    }
    if (dango_mofka_log_sync(log, err) < 0)
        return err->code;
    mofka_log_run(log->io, turn_over, &turn);
    if (turn.code < 0) {
        dango_error_prefix(err, "%s", log->path);
        if (turn.broken)
            fail(log, err);
        return err->code;
    }
    if (mofka_log_add_chunk(log, turn.fresh) == 0)
        return 0;
    mofka_chunk_destroy(turn.fresh);
    dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    fail(log, err);
    return err->code;
}

/* Frames from `frames` on that go into the open chunk together, after changing to a new one if need be; or negative. */
static ssize_t next_group(struct mofka_log *log, struct mofka_frame *const *frames, size_t count,
                          struct dango_error *err)
{
    if (chunk_is_full(log, last_chunk(log), mofka_frame_size(frames[0]), frames[0]->count) && rotate(log, err) < 0)
        return err->code;
    uint64_t bytes = mofka_frame_size(frames[0]), events = frames[0]->count;
    size_t n = 1;
    for (; n < count; n++) {
        bytes += mofka_frame_size(frames[n]);
        events += frames[n]->count;
        if (last_chunk(log)->end + bytes > log->max_chunk_size ||
            last_chunk(log)->events + events > log->max_events_per_chunk)
            break;
    }
    return (ssize_t)n;
}

static size_t bytes_of(struct mofka_frame *const *frames, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += (size_t)mofka_frame_size(frames[i]);
    return bytes;
}

static int append_group(struct mofka_log *log, struct mofka_frame *const *frames, size_t count, struct dango_error *err)
{
    struct mofka_chunk *chunk = last_chunk(log);
    size_t offset = chunk->end;
    bool broken = false;
    mofka_chunk_reserve(chunk, bytes_of(frames, count), log->max_chunk_size);
    if (mofka_chunk_append(chunk, log->io, frames, count, &broken, err) < 0) {
        dango_error_prefix(err, "%s", log->path);
        if (broken)
            fail(log, err);
        return err->code;
    }
    for (size_t i = 0; i < count; i++) {
        assert(frames[i]->first_id == log->next_id);
        if (frames[i]->count > 0)
            mofka_chunk_note(chunk, frames[i]->first_id, offset);
        offset += (size_t)mofka_frame_size(frames[i]);
        log->next_id += frames[i]->count;
        dango_mofka_producers_note(log->producers, frames[i]);
    }
    return 0;
}

int dango_mofka_log_append(struct mofka_log *log, struct mofka_frame *const *frames, size_t count, size_t *appended,
                           struct dango_error *err)
{
    assert(log && count > 0);
    struct dango_error local;
    err = err ? err : &local;
    *appended = 0;
    if (check_healthy(log, err) < 0)
        return err->code;
    while (*appended < count) {
        ssize_t group = next_group(log, frames + *appended, count - *appended, err);
        if (group < 0 || append_group(log, frames + *appended, (size_t)group, err) < 0)
            return err->code;
        *appended += (size_t)group;
    }
    return 0;
}

void dango_mofka_log_begin_sync(struct mofka_log *log)
{
    struct mofka_chunk *chunk = last_chunk(log);
    pthread_mutex_lock(&log->state_lock);
    assert(!log->syncing);
    log->syncing = chunk;
    log->sync_end = chunk->end;
    pthread_mutex_unlock(&log->state_lock);
}

/* What had been begun has ended. */
static void end_sync(struct mofka_log *log)
{
    pthread_mutex_lock(&log->state_lock);
    log->syncing = NULL;
    pthread_mutex_unlock(&log->state_lock);
}

int dango_mofka_log_sync(struct mofka_log *log, struct dango_error *err)
{
    struct dango_error local;
    err = err ? err : &local;
    if (!sync_is_begun(log))
        dango_mofka_log_begin_sync(log);
    struct mofka_chunk *chunk = log->syncing;
    int code = check_healthy(log, err);
    int status = code == 0 ? log->io->fdatasync(log->io->arg, chunk->fd) : 0;
    if (status != 0) {
        dango_file_error(err, -status, "%s: chunk %" PRIu64 ": cannot sync", log->path, chunk->number);
        code = err->code;
        fail(log, err);
    }
    if (code == 0)
        mofka_chunk_publish(chunk, log->sync_end);
    end_sync(log);
    return code;
}

struct mofka_producers *dango_mofka_log_producers(const struct mofka_log *log)
{
    return log->producers;
}

int dango_mofka_log_directory(const struct mofka_log *log)
{
    return log->directory;
}

void dango_mofka_log_publish(struct mofka_log *log)
{
    struct mofka_chunk *chunk = last_chunk(log);
    mofka_chunk_publish(chunk, chunk->end);
}
