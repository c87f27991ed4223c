/*
 * Making and opening logs: identity, lock, finding the chunks, recovery of the last one.
 */
#include "mofka/log/cursors.h"
#include "mofka/log/internal.h"

#include <dango/options.h>

#include "util/clock.h"
#include "util/file.h"
#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>

#define IDENTITY_FILE MOFKA_LOG_IDENTITY_FILE

struct identity {
    int64_t format;
    char *topic;
    char *uuid;
    struct json_object *origin;
};

static const struct dango_option identity_options[] = {
    DANGO_OPTION_INT("format", struct identity, format, 0, 0, INT64_MAX, "version of the format of the directory"),
    DANGO_OPTION_STRING_REQUIRED("topic", struct identity, topic, "topic that the partition belongs to"),
    DANGO_OPTION_STRING_REQUIRED("uuid", struct identity, uuid, "identity of the partition"),
    DANGO_OPTION_JSON("origin", struct identity, origin, DANGO_JSON_OBJECT, NULL, "what it was created as"),
    DANGO_OPTION_END,
};

/* ---- identity ---- */

static int check_identity(const struct identity *identity, uuid_t uuid, struct dango_error *err)
{
    if (identity->format > MOFKA_LOG_VERSION)
        return dango_error_set(err, DANGO_ERR_UNSUPPORTED,
                               "format %" PRId64 " is newer than this program's %u: use the program that wrote it",
                               identity->format, MOFKA_LOG_VERSION);
    if (uuid_parse(identity->uuid, uuid) != 0)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "uuid: \"%s\" is not a UUID", identity->uuid);
    return 0;
}

int dango_mofka_log_identify(const char *directory, char **topic, uint8_t uuid[16], struct dango_error *err)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/" IDENTITY_FILE, directory) >= (int)sizeof path)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: path is too long", directory);
    struct json_object *json = dango_json_read_file(path, err);
    if (!json)
        return err ? err->code : DANGO_ERR_CORRUPT;
    struct identity identity = {0};
    uuid_t found;
    int status = dango_options_parse(identity_options, json, "", &identity, err);
    if (status == 0)
        status = check_identity(&identity, found, err);
    if (status < 0) {
        dango_error_prefix(err, "%s", path);
    } else {
        if (uuid)
            memcpy(uuid, found, sizeof found);
        *topic = identity.topic;
        identity.topic = NULL;
    }
    dango_options_release(identity_options, &identity);
    json_object_put(json);
    return status;
}

static int write_identity(const struct mofka_log_settings *settings, struct dango_error *err)
{
    char path[PATH_MAX], uuid[37];
    snprintf(path, sizeof path, "%s/" IDENTITY_FILE, settings->directory);
    uuid_unparse_lower(settings->uuid, uuid);
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "format", json_object_new_int64(MOFKA_LOG_VERSION));
    json_object_object_add(json, "topic", json_object_new_string(settings->topic));
    json_object_object_add(json, "uuid", json_object_new_string(uuid));
    if (settings->origin)
        json_object_object_add(json, "origin", json_object_get(settings->origin));
    int status = dango_json_write_file(path, json, err);
    json_object_put(json);
    return status;
}

/* Goes on after an error about a damaged identity: what the file must say. Returns the error's code. */
static int advise_identity(const struct mofka_log_settings *settings, struct dango_error *err)
{
    char uuid[37], text[DANGO_ERROR_TEXT_MAX];
    uuid_unparse_lower(settings->uuid, uuid);
    snprintf(text, sizeof text, "%s", err->text);
    return dango_error_set(err, err->code,
                           "%s; if this directory is what you want, put the file back: "
                           "{\"format\": %u, \"topic\": \"%s\", \"uuid\": \"%s\"}",
                           text, MOFKA_LOG_VERSION, settings->topic, uuid);
}

/* ---- the directory ---- */

static int open_directory(struct mofka_log *log, struct dango_error *err)
{
    log->directory = open(log->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return log->directory >= 0 ? 0 : dango_file_error(err, errno, "%s: cannot open", log->path);
}

/* One server at a time: the lock goes with the process, however it ends. */
static int lock_directory(struct mofka_log *log, struct dango_error *err)
{
    log->lock_fd = openat(log->directory, IDENTITY_FILE, O_RDONLY | O_CLOEXEC);
    if (log->lock_fd < 0)
        return dango_file_error(err, errno, "%s/" IDENTITY_FILE ": cannot open", log->path);
    int status = flock(log->lock_fd, LOCK_EX | LOCK_NB);
    if (status != 0 && errno != EWOULDBLOCK)
        return dango_file_error(err, errno, "%s: cannot lock", log->path);
    /* Somebody who made the partition at the same time may have replaced the file: a lock on the old one is worth nothing. */
    struct stat locked, named;
    if (status == 0 && fstat(log->lock_fd, &locked) == 0 && fstatat(log->directory, IDENTITY_FILE, &named, 0) == 0 &&
        locked.st_ino == named.st_ino)
        return 0;
    return dango_error_set(err, DANGO_ERR_BUSY,
                           "%s: another process has this partition open: stop that one, or choose another path",
                           log->path);
}

static struct mofka_log *log_new(const struct mofka_log_settings *settings, struct dango_error *err)
{
    assert(settings->directory && settings->topic && settings->io);
    struct mofka_log *log = calloc(1, sizeof *log);
    char *path = strdup(settings->directory);
    if (!log || !path) {
        free(log);
        free(path);
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        return NULL;
    }
    snprintf(log->topic, sizeof log->topic, "%s", settings->topic);
    memcpy(log->uuid, settings->uuid, sizeof log->uuid);
    log->max_chunk_size = settings->max_chunk_size;
    log->max_events_per_chunk = settings->max_events_per_chunk;
    log->max_idle = settings->mappings;
    log->io = settings->io;
    log->directory = log->lock_fd = -1;
    log->path = path;
    pthread_mutex_init(&log->lock, NULL);
    pthread_mutex_init(&log->state_lock, NULL);
    dango_mofka_checked_init(&log->checked);
    list_init(&log->idle);
    if (dango_mofka_producers_create(&log->producers, err) == 0)
        return log;
    dango_mofka_log_close(log);
    return NULL;
}

static int add_or_destroy(struct mofka_log *log, struct mofka_chunk *chunk, struct dango_error *err)
{
    if (mofka_log_add_chunk(log, chunk) == 0)
        return 0;
    mofka_chunk_destroy(chunk);
    return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Appends the number in `name` if it is a chunk's. */
static int add_number(const char *name, uint64_t **numbers, size_t *count)
{
    uint64_t number;
    char canonical[MOFKA_CHUNK_NAME_MAX];
    if (sscanf(name, "chunk-%" SCNu64 ".log", &number) != 1)
        return 0;
    mofka_chunk_name(number, "log", canonical);
    if (strcmp(name, canonical) != 0)
        return 0;
    uint64_t *grown = reallocarray(*numbers, *count + 1, sizeof **numbers);
    if (!grown)
        return -ENOMEM;
    *numbers = grown;
    grown[(*count)++] = number;
    return 0;
}

int mofka_log_find_chunks(int directory, uint64_t **numbers, size_t *count, struct dango_error *err)
{
    *numbers = NULL;
    *count = 0;
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    int status = entries ? 0 : -errno;
    struct dirent *entry;
    while (status == 0 && (errno = 0, entry = readdir(entries)))
        status = add_number(entry->d_name, numbers, count);
    if (status == 0)
        status = -errno;
    if (entries)
        closedir(entries);
    else if (fd >= 0)
        close(fd);
    if (status < 0) {
        free(*numbers);
        *numbers = NULL;
        return dango_file_error(err, -status, "cannot list the directory");
    }
    if (*count > 0)
        qsort(*numbers, *count, sizeof **numbers, compare_numbers);
    return 0;
}

static int make_first_chunk(struct mofka_log *log, struct dango_error *err)
{
    struct mofka_chunk *chunk;
    bool broken;
    int status = mofka_chunk_create(log->directory, 0, 0, log->uuid, &chunk, &broken, err);
    return status == 0 ? add_or_destroy(log, chunk, err) : status;
}

/* No identity, but chunks: somebody lost it, and whose they are would be a guess. */
static int check_empty(const struct mofka_log_settings *settings, const struct mofka_log *log, struct dango_error *err)
{
    uint64_t *numbers;
    size_t count;
    if (mofka_log_find_chunks(log->directory, &numbers, &count, err) < 0)
        return dango_error_prefix(err, "%s", log->path);
    free(numbers);
    if (count == 0)
        return 0;
    dango_error_set(err, DANGO_ERR_CORRUPT, "%s/" IDENTITY_FILE " is missing, but there are chunks",
                    settings->directory);
    return advise_identity(settings, err);
}

int dango_mofka_log_create(const struct mofka_log_settings *settings, struct mofka_log **result,
                           struct dango_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/" IDENTITY_FILE, settings->directory);
    struct dango_error local;
    err = err ? err : &local;
    if (access(path, F_OK) == 0)
        return dango_error_set(err, DANGO_ERR_EXISTS, "%s: holds a partition already", settings->directory);
    struct mofka_log *log = log_new(settings, err);
    if (!log)
        return DANGO_ERR_NO_MEMORY;
    int status = dango_file_make_directories(settings->directory, err);
    if (status == 0)
        status = open_directory(log, err);
    if (status == 0)
        status = check_empty(settings, log, err);
    if (status == 0)
        status = write_identity(settings, err);
    if (status == 0)
        status = lock_directory(log, err);
    if (status == 0 && make_first_chunk(log, err) < 0)
        status = dango_error_prefix(err, "%s", log->path);
    if (status < 0) {
        dango_mofka_log_close(log);
        return status;
    }
    *result = log;
    return 0;
}

/* ---- opening ---- */

static int check_sequence(const uint64_t *numbers, size_t count, struct dango_error *err)
{
    for (size_t i = 1; i < count; i++) {
        if (numbers[i] != numbers[i - 1] + 1)
            return dango_error_set(err, DANGO_ERR_CORRUPT,
                                   "chunk-%06" PRIu64 ".log is missing: put it back, or move the chunks after it away",
                                   numbers[i - 1] + 1);
    }
    return 0;
}

/* Look-up relies on chunks that ascend by the ids they begin with, as they do by their numbers. */
static int check_order(const struct mofka_log *log, const struct mofka_chunk *next, struct dango_error *err)
{
    const struct mofka_chunk *last = log->num_chunks > 0 ? log->chunks[log->num_chunks - 1] : NULL;
    if (!last || last->first_id <= next->first_id)
        return 0;
    return dango_error_set(err, DANGO_ERR_CORRUPT,
                           "chunk-%06" PRIu64 ".log begins with event %" PRIu64
                           ", the one before it with event %" PRIu64 ": put back the files that belong together",
                           next->number, next->first_id, last->first_id);
}

/* Made, but killed before the first chunk; unless there have been consumers or full chunks, then it had events. */
static int begin_anew(struct mofka_log *log, struct dango_error *err)
{
    if (faccessat(log->directory, MOFKA_CURSORS_NAME, F_OK, 0) == 0 ||
        faccessat(log->directory, MOFKA_PRODUCERS_NAME, F_OK, 0) == 0)
        return dango_error_set(err, DANGO_ERR_CORRUPT,
                               "all chunks are missing: put them back, or move the directory away to begin anew");
    return make_first_chunk(log, err);
}

static int open_chunks(struct mofka_log *log, struct dango_error *err)
{
    uint64_t *numbers;
    size_t count;
    if (mofka_log_find_chunks(log->directory, &numbers, &count, err) < 0)
        return err->code;
    int status = count == 0 ? begin_anew(log, err) : check_sequence(numbers, count, err);
    for (size_t i = 0; status == 0 && i < count; i++) {
        struct mofka_chunk *chunk;
        bool last = i + 1 == count;
        status = mofka_chunk_open(log->directory, numbers[i], log->uuid, last, &chunk, err);
        if (status < 0)
            break;
        status = check_order(log, chunk, err);
        if (status == 0)
            status = add_or_destroy(log, chunk, err);
        else
            mofka_chunk_destroy(chunk);
    }
    free(numbers);
    return status;
}

static int recover_last(struct mofka_log *log, struct mofka_log_report *report, struct dango_error *err)
{
    struct mofka_chunk *last = log->chunks[log->num_chunks - 1];
    struct mofka_chunk_report found;
    dango_mofka_producers_tidy(log->directory);
    if (!dango_mofka_producers_load(log->producers, log->directory, log->uuid, last->number, dango_clock_wall_ns()))
        log_warning(
            "mofka-log",
            "partition %s-…: the file \"producers\" is missing or does not fit: producers that were interrupted "
            "may be refused once",
            log->topic);
    last->producers = log->producers;
    int status = mofka_chunk_scan(last, log->directory, log->uuid, true, &found, err);
    last->producers = NULL;
    if (status < 0)
        return status;
    /* It may be readable the next time, so it is no torn end. */
    if (found.unreadable)
        return dango_error_set(err, DANGO_ERR_IO, "chunk %" PRIu64 ": " MOFKA_CHUNK_UNREADABLE, last->number);
    if (found.torn_bytes > 0) {
        log_warning("mofka-log",
                    "partition %s-…: chunk %" PRIu64 ": %" PRIu64 " bytes after event %" PRIu64
                    " are no whole batch: cut off",
                    log->topic, last->number, found.torn_bytes, found.next_id);
        found.end = found.torn_offset;
    }
    if (found.end < last->end) { /* torn, or reserved and not used */
        mofka_chunk_unmap(last);
        if (mofka_chunk_cut(last, (size_t)found.end, err) < 0)
            return err->code;
    }
    if (found.damaged_stretches > 0)
        log_error("mofka-log", "partition %s-…: chunk %" PRIu64 ": %" PRIu64 " events are damaged and cannot be read",
                  log->topic, last->number, found.lost_events);
    log->next_id = found.next_id;
    mofka_log_sweep(log);
    *report = (struct mofka_log_report){.chunks = log->num_chunks,
                                        .first_id = log->chunks[0]->first_id,
                                        .next_id = found.next_id,
                                        .torn_bytes = found.torn_bytes,
                                        .damaged_stretches = found.damaged_stretches,
                                        .lost_events = found.lost_events,
                                        .end_of_stream = found.end_of_stream};
    return 0;
}

static int check_owner(const struct mofka_log_settings *settings, struct dango_error *err)
{
    char *topic;
    uuid_t uuid;
    int status = dango_mofka_log_identify(settings->directory, &topic, uuid, err);
    if (status == DANGO_ERR_CORRUPT || status == DANGO_ERR_INVALID)
        return advise_identity(settings, err);
    if (status < 0)
        return status;
    if (strcmp(topic, settings->topic) != 0 || memcmp(uuid, settings->uuid, sizeof uuid) != 0) {
        char found[37];
        uuid_unparse_lower(uuid, found);
        status = dango_error_set(err, DANGO_ERR_EXISTS,
                                 "%s: holds partition %s of topic \"%s\", not the one asked for: choose another path, "
                                 "or that topic and config.uuid",
                                 settings->directory, found, topic);
    }
    free(topic);
    return status;
}

int dango_mofka_log_open(const struct mofka_log_settings *settings, struct mofka_log **result,
                         struct mofka_log_report *report, struct dango_error *err)
{
    struct dango_error local;
    err = err ? err : &local;
    int status = check_owner(settings, err);
    if (status < 0)
        return status;
    struct mofka_log *log = log_new(settings, err);
    if (!log)
        return DANGO_ERR_NO_MEMORY;
    status = open_directory(log, err);
    if (status == 0)
        status = lock_directory(log, err);
    if (status == 0 && (open_chunks(log, err) < 0 || recover_last(log, report, err) < 0))
        status = dango_error_prefix(err, "%s", log->path);
    if (status < 0) {
        dango_mofka_log_close(log);
        return status;
    }
    *result = log;
    return 0;
}
