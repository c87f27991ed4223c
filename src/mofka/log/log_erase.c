/*
 * Removing a whole log. The directory gets another name first: from then on, and after a crash, there is no partition of
 * that identity any more, and what may be left is litter that says what it is.
 */
#include "mofka/log/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Unlinks all files of the directory; 0 or -errno of the first that stays. */
static int empty_directory(const struct mofka_log *log)
{
    int status = 0, fd = openat(log->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (!entries) {
        status = -errno;
        if (fd >= 0)
            close(fd);
        return status;
    }
    for (struct dirent *entry; (entry = readdir(entries));) {
        bool own = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!own && unlinkat(log->directory, entry->d_name, 0) != 0 && errno != ENOENT && status == 0)
            status = -errno;
    }
    closedir(entries);
    return status;
}

int dango_mofka_log_erase(struct mofka_log *log, struct dango_error *err)
{
    char gone[PATH_MAX];
    if (snprintf(gone, sizeof gone, "%s.deleted", log->path) >= (int)sizeof gone)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: path is too long", log->path);
    if (rename(log->path, gone) != 0 && errno != ENOENT)
        return dango_error_set_errno(err, errno, "%s: cannot rename it in order to delete it", log->path);
    int status = empty_directory(log);
    if (status == 0 && rmdir(gone) != 0 && errno != ENOENT)
        status = -errno;
    return status == 0 ? 0 : dango_error_set_errno(err, -status, "%s: cannot remove", gone);
}
