/*
 * Making and opening logs: identity, lock, finding the chunks, recovery of the last one.
 */
#include "mofka/log/internal.h"

#include <dango/options.h>

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

#define IDENTITY_FILE "partition.json"

struct identity {
    int64_t format;
    char *topic;
    char *uuid;
};

static const struct dango_option identity_options[] = {
    DANGO_OPTION_INT("format", struct identity, format, 0, 0, INT64_MAX, "version of the format of the directory"),
    DANGO_OPTION_STRING_REQUIRED("topic", struct identity, topic, "topic that the partition belongs to"),
    DANGO_OPTION_STRING_REQUIRED("uuid", struct identity, uuid, "identity of the partition"),
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
    int status = dango_json_write_file(path, json, err);
    json_object_put(json);
    return status;
}

/* ---- the directory ---- */

/* One server at a time: the lock goes with the process, however it ends. */
static int lock_directory(struct mofka_log *log, const char *directory, struct dango_error *err)
{
    log->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->directory < 0)
        return dango_error_set_errno(err, errno, "%s: cannot open", directory);
    log->lock_fd = openat(log->directory, IDENTITY_FILE, O_RDONLY | O_CLOEXEC);
    if (log->lock_fd < 0)
        return dango_error_set_errno(err, errno, "%s/" IDENTITY_FILE ": cannot open", directory);
    if (flock(log->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return dango_error_set(err, DANGO_ERR_BUSY, "%s: another process has this partition open", directory);
    return dango_error_set_errno(err, errno, "%s: cannot lock", directory);
}

static struct mofka_log *log_new(const struct mofka_log_settings *settings, struct dango_error *err)
{
    assert(settings->directory && settings->topic && settings->io);
    struct mofka_log *log = calloc(1, sizeof *log);
    if (!log) {
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
    pthread_mutex_init(&log->lock, NULL);
    list_init(&log->idle);
    return log;
}

static int add_or_destroy(struct mofka_log *log, struct mofka_chunk *chunk, struct dango_error *err)
{
    if (mofka_log_add_chunk(log, chunk) == 0)
        return 0;
    mofka_chunk_destroy(chunk);
    return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
}

int dango_mofka_log_create(const struct mofka_log_settings *settings, struct mofka_log **result,
                           struct dango_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/" IDENTITY_FILE, settings->directory);
    if (access(path, F_OK) == 0)
        return dango_error_set(err, DANGO_ERR_EXISTS, "%s: holds a partition already", settings->directory);
    struct mofka_log *log = log_new(settings, err);
    if (!log)
        return DANGO_ERR_NO_MEMORY;
    struct mofka_chunk *chunk;
    int status = dango_file_make_directories(settings->directory, err);
    if (status == 0)
        status = write_identity(settings, err);
    if (status == 0)
        status = lock_directory(log, settings->directory, err);
    if (status == 0)
        status = mofka_chunk_create(log->directory, 0, 0, log->uuid, &chunk, err);
    if (status == 0)
        status = add_or_destroy(log, chunk, err);
    if (status < 0) {
        dango_mofka_log_close(log);
        return status;
    }
    *result = log;
    return 0;
}

/* ---- opening ---- */

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The numbers of all chunk-N.log files, ascending; NULL when there is none or on failure. */
static uint64_t *find_chunks(int directory, size_t *count)
{
    uint64_t *numbers = NULL;
    size_t n = 0;
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    while (entries && (entry = readdir(entries))) {
        uint64_t number;
        char name[MOFKA_CHUNK_NAME_MAX];
        if (sscanf(entry->d_name, "chunk-%" SCNu64 ".log", &number) != 1)
            continue;
        mofka_chunk_name(number, "log", name);
        if (strcmp(name, entry->d_name) != 0)
            continue;
        uint64_t *grown = reallocarray(numbers, n + 1, sizeof *numbers);
        if (!grown)
            break;
        numbers = grown;
        numbers[n++] = number;
    }
    if (entries)
        closedir(entries);
    if (n > 0)
        qsort(numbers, n, sizeof *numbers, compare_numbers);
    *count = n;
    return numbers;
}

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

/* Opens all chunks. A last chunk whose header never reached the medium holds nothing and is taken away. */
static int open_chunks(struct mofka_log *log, const uint64_t *numbers, size_t count, struct dango_error *err)
{
    int status = check_sequence(numbers, count, err);
    for (size_t i = 0; status == 0 && i < count; i++) {
        struct mofka_chunk *chunk;
        bool last = i + 1 == count;
        status = mofka_chunk_open(log->directory, numbers[i], log->uuid, last, &chunk, err);
        if (status == 0)
            status = add_or_destroy(log, chunk, err);
    }
    return status;
}

/* A crash between creating a chunk file and writing its header leaves a short file, which holds no event. */
static size_t drop_headless_chunk(struct mofka_log *log, const uint64_t *numbers, size_t count)
{
    char name[MOFKA_CHUNK_NAME_MAX];
    struct stat info;
    if (count < 2)
        return count;
    mofka_chunk_name(numbers[count - 1], "log", name);
    if (fstatat(log->directory, name, &info, 0) != 0 || (size_t)info.st_size >= sizeof(struct mofka_chunk_header))
        return count;
    log_warning("mofka-log", "partition %s-…: %s was never finished and holds no event: removed", log->topic, name);
    unlinkat(log->directory, name, 0);
    return count - 1;
}

static int recover_last(struct mofka_log *log, struct mofka_log_report *report, struct dango_error *err)
{
    struct mofka_chunk *last = log->chunks[log->num_chunks - 1];
    struct mofka_chunk_report found;
    if (mofka_chunk_scan(last, log->directory, log->uuid, true, &found, err) < 0)
        return err->code;
    if (found.torn_bytes > 0) {
        log_warning("mofka-log",
                    "partition %s-…: chunk %" PRIu64 ": %" PRIu64 " bytes after event %" PRIu64
                    " are no whole batch: cut off",
                    log->topic, last->number, found.torn_bytes, found.next_id);
        mofka_chunk_unmap(last);
        if (mofka_chunk_cut(last, found.torn_offset, err) < 0)
            return err->code;
    }
    if (found.damaged_stretches > 0)
        log_error("mofka-log", "partition %s-…: chunk %" PRIu64 ": %" PRIu64 " events are damaged and cannot be read",
                  log->topic, last->number, found.lost_events);
    log->next_id = found.next_id;
    *report = (struct mofka_log_report){.chunks = log->num_chunks,
                                        .first_id = log->chunks[0]->first_id,
                                        .next_id = found.next_id,
                                        .torn_bytes = found.torn_bytes,
                                        .damaged_stretches = found.damaged_stretches,
                                        .lost_events = found.lost_events};
    return 0;
}

static int check_owner(const struct mofka_log_settings *settings, struct dango_error *err)
{
    char *topic;
    uuid_t uuid;
    int status = dango_mofka_log_identify(settings->directory, &topic, uuid, err);
    if (status < 0)
        return status;
    if (strcmp(topic, settings->topic) != 0 || memcmp(uuid, settings->uuid, sizeof uuid) != 0) {
        char found[37];
        uuid_unparse_lower(uuid, found);
        status = dango_error_set(err, DANGO_ERR_EXISTS, "%s: holds partition %s of topic \"%s\", not the one asked for",
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
    uint64_t *numbers = NULL;
    size_t count = 0;
    status = lock_directory(log, settings->directory, err);
    if (status == 0) {
        numbers = find_chunks(log->directory, &count);
        count = drop_headless_chunk(log, numbers, count);
        status = open_chunks(log, numbers, count, err);
    }
    if (status == 0 && count == 0) {
        /* Created, but killed before the first chunk. */
        struct mofka_chunk *chunk;
        status = mofka_chunk_create(log->directory, 0, 0, log->uuid, &chunk, err);
        if (status == 0)
            status = add_or_destroy(log, chunk, err);
    }
    if (status == 0)
        status = recover_last(log, report, err);
    free(numbers);
    if (status < 0) {
        dango_error_prefix(err, "%s", settings->directory);
        dango_mofka_log_close(log);
        return status;
    }
    *result = log;
    return 0;
}
