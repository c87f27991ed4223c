/*
 * Removing a whole log. The directory gets another name first, <directory>.deleted: from then on, and after a crash, there
 * is no partition of that identity any more, and what is left is litter that says what it is. Whoever removes the same
 * directory again removes its litter, too; and all litter of a directory can be swept.
 */
#include "mofka/log/internal.h"
#include "util/file.h"
#include "util/log.h"

#include <uuid/uuid.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SUFFIX ".deleted"

/* Unlinks all files of the directory; 0 or -errno of the first that stays. */
static int empty_directory(const char *path)
{
    int status = 0, fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (!entries) {
        status = -errno;
        if (fd >= 0)
            close(fd);
        return status;
    }
    for (struct dirent *entry; (entry = readdir(entries));) {
        bool own = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!own && unlinkat(fd, entry->d_name, 0) != 0 && errno != ENOENT && status == 0)
            status = -errno;
    }
    closedir(entries);
    return status;
}

/* Somebody else may be at it, too. */
static int remove_litter(const char *path, struct dango_error *err)
{
    int status = empty_directory(path);
    if (status == 0 && rmdir(path) != 0)
        status = -errno;
    return status == 0 || status == -ENOENT ? 0 : dango_error_set_errno(err, -status, "%s: cannot remove", path);
}

/* The name comes first, and to the medium: what a crash leaves from there on is nobody's partition. */
static int remove_directory(const char *path, struct dango_error *err)
{
    char gone[PATH_MAX];
    if (snprintf(gone, sizeof gone, "%s" SUFFIX, path) >= (int)sizeof gone)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: path is too long", path);
    int code = remove_litter(gone, err);
    if (code == 0 && rename(path, gone) != 0 && errno != ENOENT)
        code = dango_error_set_errno(err, errno, "%s: cannot rename it in order to delete it", path);
    if (code == 0)
        code = dango_file_sync_parent(path, err);
    if (code == 0)
        code = remove_litter(gone, err);
    return code == 0 ? dango_file_sync_parent(path, err) : code;
}

struct erasing {
    const char *path;
    struct dango_error *err;
    int code;
};

static void erase(void *arg)
{
    struct erasing *self = arg;
    self->code = remove_directory(self->path, self->err);
}

int dango_mofka_log_erase(struct mofka_log *log, struct dango_error *err)
{
    struct erasing self = {.path = log->path, .err = err};
    mofka_log_run(log->io, erase, &self);
    return self.code;
}

int dango_mofka_log_remove(const char *directory, struct dango_error *err)
{
    char identity[PATH_MAX];
    if (snprintf(identity, sizeof identity, "%s/" MOFKA_LOG_IDENTITY_FILE, directory) >= (int)sizeof identity)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: path is too long", directory);
    int fd = open(identity, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return dango_error_set(err, DANGO_ERR_BUSY, "%s: a process has this partition open", directory);
    }
    int code = remove_directory(directory, err);
    if (fd >= 0)
        close(fd);
    return code;
}

/* "<topic>-<uuid>.deleted" */
static bool is_litter(const char *name)
{
    char uuid[UUID_STR_LEN];
    uuid_t parsed;
    size_t length = strlen(name), tail = UUID_STR_LEN - 1 + strlen(SUFFIX);
    if (length < tail + 2 || strcmp(name + length - strlen(SUFFIX), SUFFIX) != 0 || name[length - tail - 1] != '-')
        return false;
    snprintf(uuid, sizeof uuid, "%s", name + length - tail);
    return uuid_parse(uuid, parsed) == 0;
}

void dango_mofka_log_sweep_deleted(const char *path)
{
    DIR *entries = opendir(path);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        char litter[PATH_MAX];
        struct dango_error err;
        if (!is_litter(entry->d_name) ||
            snprintf(litter, sizeof litter, "%s/%s", path, entry->d_name) >= (int)sizeof litter)
            continue;
        if (remove_litter(litter, &err) == 0)
            log_info("mofka", "%s: removed what an interrupted deletion had left", litter);
        else
            log_warning("mofka", "left by an interrupted deletion: %s", err.text);
    }
    if (entries)
        closedir(entries);
}
