/*
 * Removing chunks from the front of a log.
 *
 * In memory a chunk goes at once: no reader finds it any more, and those that have pinned it free it when they leave. Its
 * files follow in ascending order, never two before the directory is safe, so that what a crash leaves begins with any
 * chunk, but has no hole. The index goes before its chunk: without it the chunk is as good, an index alone is litter.
 */
#include "mofka/log/internal.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

size_t dango_mofka_log_num_chunks(struct mofka_log *log)
{
    pthread_mutex_lock(&log->lock);
    size_t count = log->num_chunks;
    pthread_mutex_unlock(&log->lock);
    return count;
}

uint64_t dango_mofka_log_first_end(struct mofka_log *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t end = log->num_chunks > 1 ? log->chunks[1]->first_id : 0;
    pthread_mutex_unlock(&log->lock);
    return end;
}

/* ---- choosing ---- */

/* The lock is held. */
static uint64_t total_bytes(const struct mofka_log *log)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < log->num_chunks; i++)
        bytes += atomic_load_explicit(&log->chunks[i]->size, memory_order_relaxed);
    return bytes;
}

/* Whether the first chunk has had its time or takes room that others need. The next one was begun when the last event of
 * the first had come. The lock is held. */
static bool is_over(const struct mofka_log *log, const struct mofka_log_retention *retention, uint64_t bytes,
                    uint64_t now_ns)
{
    uint64_t sealed_ns = log->chunks[1]->created_ns;
    if (retention->max_bytes > 0 && bytes > retention->max_bytes)
        return true;
    return retention->max_age_ns > 0 && now_ns > sealed_ns && now_ns - sealed_ns >= retention->max_age_ns;
}

/* Takes the first chunk out of the log. The lock is held. */
static void drop_first(struct mofka_log *log)
{
    struct mofka_chunk *chunk = log->chunks[0];
    assert(log->num_chunks > 1);
    log->num_chunks--;
    memmove(log->chunks, log->chunks + 1, log->num_chunks * sizeof(struct mofka_chunk *));
    if (list_linked(&chunk->idle)) {
        list_remove(&chunk->idle);
        log->num_idle--;
    }
    if (chunk->pins > 0)
        chunk->removed = true;
    else
        mofka_chunk_destroy(chunk);
}

/* Drops what is to go and fills in the rest of *removal. */
static void drop_chunks(struct mofka_log *log, const struct mofka_log_retention *retention,
                        struct mofka_log_removal *removal)
{
    uint64_t now_ns = dango_clock_wall_ns();
    pthread_mutex_lock(&log->lock);
    uint64_t bytes = total_bytes(log);
    while (log->num_chunks > 1) {
        bool over = is_over(log, retention, bytes, now_ns),
             needed = log->chunks[1]->first_id > retention->needed_from_id;
        removal->held_back = over && needed;
        if (needed || !(over || retention->only_needed))
            break;
        uint64_t size = atomic_load_explicit(&log->chunks[0]->size, memory_order_relaxed);
        bytes -= size;
        removal->bytes += size;
        removal->chunks++;
        drop_first(log);
    }
    removal->first_id = log->chunks[0]->first_id;
    if (log->num_chunks > 1 && retention->max_age_ns > 0 && !removal->held_back)
        removal->expires_ns = log->chunks[1]->created_ns + retention->max_age_ns;
    pthread_mutex_unlock(&log->lock);
}

/* ---- files ---- */

static int unlink_file(const struct mofka_log *log, uint64_t number, const char *suffix, struct dango_error *err)
{
    char name[MOFKA_CHUNK_NAME_MAX];
    mofka_chunk_name(number, suffix, name);
    if (unlinkat(log->directory, name, 0) == 0 || errno == ENOENT)
        return 0;
    return dango_error_set_errno(err, errno, "%s/%s: cannot remove", log->path, name);
}

struct unlinking {
    struct mofka_log *log;
    struct dango_error *err;
    int code;
};

/* Removes the files of the first chunk of which there are any. */
static void unlink_chunk(void *arg)
{
    struct unlinking *self = arg;
    struct mofka_log *log = self->log;
    self->code = unlink_file(log, log->oldest_file, "idx", self->err);
    if (self->code == 0)
        self->code = unlink_file(log, log->oldest_file, "log", self->err);
    if (self->code == 0 && fsync(log->directory) != 0)
        self->code = dango_error_set_errno(self->err, errno, "%s: cannot sync the directory", log->path);
}

/* Removes the files of chunks that have been dropped. */
static int unlink_chunks(struct mofka_log *log, struct dango_error *err)
{
    struct unlinking self = {.log = log, .err = err};
    pthread_mutex_lock(&log->lock);
    uint64_t end = log->chunks[0]->number;
    pthread_mutex_unlock(&log->lock);
    while (self.code == 0 && log->oldest_file < end) {
        mofka_log_run(log->io, unlink_chunk, &self);
        log->oldest_file += self.code == 0;
    }
    return self.code;
}

int dango_mofka_log_trim(struct mofka_log *log, const struct mofka_log_retention *retention,
                         struct mofka_log_removal *removal, struct dango_error *err)
{
    struct dango_error local;
    *removal = (struct mofka_log_removal){0};
    drop_chunks(log, retention, removal);
    return unlink_chunks(log, err ? err : &local);
}

/* ---- opening ---- */

static void sweep_file(struct mofka_log *log, const char *name, uint64_t first)
{
    uint64_t number;
    char canonical[MOFKA_CHUNK_NAME_MAX];
    if (sscanf(name, "chunk-%" SCNu64 ".idx", &number) != 1 || number >= first)
        return;
    mofka_chunk_name(number, "idx", canonical);
    if (strcmp(name, canonical) == 0 && unlinkat(log->directory, name, 0) != 0)
        log_warning("mofka-log", "%s/%s: cannot remove: %s", log->path, name, strerror(errno));
}

void mofka_log_sweep(struct mofka_log *log)
{
    uint64_t first = log->chunks[0]->number;
    log->oldest_file = first;
    int fd = first > 0 ? openat(log->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    while (entries && (entry = readdir(entries)))
        sweep_file(log, entry->d_name, first);
    if (entries)
        closedir(entries);
    else if (fd >= 0)
        close(fd);
}
