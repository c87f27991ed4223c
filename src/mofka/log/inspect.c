/*
 * Opening a partition directory for inspection: which directories, whose, who has it open, which chunks. The walk is in
 * inspect_walk.c, verification in inspect_verify.c.
 */
#include "mofka/log/inspect.h"

#include "mofka/log/internal.h"
#include "util/json.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <uuid/uuid.h>

#define UUID_LENGTH 36

/* ---- which directories ---- */

/* Whether a directory looks like a partition: it has an identity, or chunks that have lost theirs. */
static bool is_partition(const char *path)
{
    bool found = false;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    if (faccessat(fd, MOFKA_LOG_IDENTITY_FILE, F_OK, 0) == 0) {
        found = true;
    } else {
        uint64_t *numbers;
        size_t count = 0;
        if (mofka_log_find_chunks(fd, &numbers, &count, NULL) == 0)
            free(numbers);
        found = count > 0;
    }
    close(fd);
    return found;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_path(char ***list, size_t *count, const char *path, struct dango_error *err)
{
    char **grown = reallocarray(*list, *count + 1, sizeof *grown);
    if (grown)
        *list = grown;
    char *copy = grown ? strdup(path) : NULL;
    if (!copy)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    (*list)[(*count)++] = copy;
    return 0;
}

static int add_subdirectories(const char *path, DIR *entries, char ***list, size_t *count, struct dango_error *err)
{
    struct dirent *entry;
    char name[PATH_MAX];
    int status = 0;
    while (status == 0 && (entry = readdir(entries))) {
        if (entry->d_name[0] == '.')
            continue;
        int length =
            snprintf(name, sizeof name, "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", entry->d_name);
        if (length < (int)sizeof name && is_partition(name))
            status = add_path(list, count, name, err);
    }
    return status;
}

int dango_mofka_inspect_find(const char *path, char ***list, size_t *count, struct dango_error *err)
{
    *list = NULL;
    *count = 0;
    DIR *entries = *path ? opendir(path) : NULL;
    if (!entries)
        return dango_error_set_errno(err, *path ? errno : ENOENT, "%s: cannot open", path);
    int status =
        is_partition(path) ? add_path(list, count, path, err) : add_subdirectories(path, entries, list, count, err);
    closedir(entries);
    if (status == 0 && *count == 0)
        status = dango_error_set(err, DANGO_ERR_NOT_FOUND,
                                 "%s: neither a partition (no " MOFKA_LOG_IDENTITY_FILE
                                 ", no chunks) nor a directory that holds any: give <path>/<topic>-<uuid> or <path>",
                                 path);
    if (status < 0) {
        dango_mofka_inspect_free_list(*list, *count);
        return status;
    }
    qsort(*list, *count, sizeof **list, compare_paths);
    return 0;
}

void dango_mofka_inspect_free_list(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i]);
    free(list);
}

/* ---- whose ---- */

/* Topic and uuid from "<topic>-<uuid>"; for directories whose partition.json is damaged. */
static bool identity_from_name(struct mofka_inspection *inspection)
{
    char real[PATH_MAX];
    const char *name = realpath(inspection->path, real) ? strrchr(real, '/') : NULL;
    size_t length = name ? strlen(++name) : 0;
    if (length < UUID_LENGTH + 2 || name[length - UUID_LENGTH - 1] != '-' ||
        uuid_parse(name + length - UUID_LENGTH, inspection->uuid) != 0)
        return false;
    inspection->topic = strndup(name, length - UUID_LENGTH - 1);
    return inspection->topic;
}

/* The format that partition.json names, for display: it has been checked. */
static int64_t read_format(const char *path)
{
    char file[PATH_MAX];
    snprintf(file, sizeof file, "%s/" MOFKA_LOG_IDENTITY_FILE, path);
    struct json_object *json = dango_json_read_file(file, NULL);
    int64_t format = json_object_get_int64(dango_json_get(json, "format"));
    json_object_put(json);
    return format;
}

static int identify(struct mofka_inspection *inspection, struct dango_error *err)
{
    struct dango_error found = {0};
    int status = dango_mofka_log_identify(inspection->path, &inspection->topic, inspection->uuid, &found);
    inspection->format = status == 0 ? read_format(inspection->path) : MOFKA_LOG_VERSION;
    if (status < 0) {
        /* Of a newer format we know nothing. With a damaged identity the events may still be whole. */
        if (found.code == DANGO_ERR_UNSUPPORTED || !identity_from_name(inspection)) {
            if (err)
                *err = found;
            return status;
        }
        inspection->identity_error = found;
    }
    uuid_unparse_lower(inspection->uuid, inspection->uuid_text);
    return 0;
}

/* The process that holds the lock on partition.json, from the kernel's list: asking for the lock would get into the way
 * of a server that starts now. */
static pid_t find_holder(int directory)
{
    struct stat info;
    if (fstatat(directory, MOFKA_LOG_IDENTITY_FILE, &info, 0) != 0)
        return 0;
    FILE *locks = fopen("/proc/locks", "re");
    char line[256];
    pid_t holder = 0;
    while (locks && holder == 0 && fgets(line, sizeof line, locks)) {
        int pid;
        unsigned major_number, minor_number;
        unsigned long inode;
        if (sscanf(line, "%*s FLOCK %*s %*s %d %x:%x:%lu", &pid, &major_number, &minor_number, &inode) == 4 &&
            inode == info.st_ino && major_number == major(info.st_dev) && minor_number == minor(info.st_dev))
            holder = pid;
    }
    if (locks)
        fclose(locks);
    return holder;
}

/* ---- which chunks ---- */

static int note_chunk(struct mofka_inspection *inspection, uint64_t number, struct dango_error *err)
{
    struct mofka_inspected_chunk *entry = &inspection->chunks[inspection->num_chunks];
    struct dango_error found = {0};
    struct mofka_chunk *chunk;
    struct stat info;
    *entry = (struct mofka_inspected_chunk){.number = number};
    mofka_chunk_name(number, "log", entry->name);
    entry->size = fstatat(inspection->directory, entry->name, &info, 0) == 0 ? (uint64_t)info.st_size : 0;
    entry->code = mofka_chunk_open(inspection->directory, number, inspection->uuid, false, &chunk, &found);
    if (entry->code == 0) {
        entry->first_id = chunk->first_id;
        entry->size = atomic_load(&chunk->size);
        mofka_chunk_destroy(chunk);
    } else if (entry->code == DANGO_ERR_NOT_FOUND && inspection->num_chunks == 0) {
        return 0; /* retention took it away since we read the directory */
    } else if (!(entry->problem = strdup(found.text))) {
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    }
    inspection->num_chunks++;
    return 0;
}

static int list_chunks(struct mofka_inspection *inspection, struct dango_error *err)
{
    size_t count;
    uint64_t *numbers;
    if (mofka_log_find_chunks(inspection->directory, &numbers, &count, err) < 0)
        return dango_error_prefix(err, "%s", inspection->path);
    inspection->chunks = calloc(count + 1, sizeof *inspection->chunks);
    int status = inspection->chunks ? 0 : dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    for (size_t i = 0; status == 0 && i < count; i++)
        status = note_chunk(inspection, numbers[i], err);
    free(numbers);
    return status;
}

int dango_mofka_inspect_open(const char *path, struct mofka_inspection **result, struct dango_error *err)
{
    assert(path && result);
    struct mofka_inspection *inspection = calloc(1, sizeof *inspection);
    if (!inspection || !(inspection->path = strdup(path))) {
        free(inspection);
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    }
    inspection->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = inspection->directory < 0 ? dango_error_set_errno(err, errno, "%s: cannot open", path)
                                           : identify(inspection, err);
    if (status == 0)
        status = list_chunks(inspection, err);
    if (status < 0) {
        dango_mofka_inspect_close(inspection);
        return status;
    }
    inspection->holder = find_holder(inspection->directory);
    *result = inspection;
    return 0;
}

void dango_mofka_inspect_close(struct mofka_inspection *inspection)
{
    if (!inspection)
        return;
    for (size_t i = 0; i < inspection->num_chunks; i++)
        free(inspection->chunks[i].problem);
    free(inspection->chunks);
    if (inspection->directory >= 0)
        close(inspection->directory);
    free(inspection->topic);
    free(inspection->path);
    free(inspection);
}
