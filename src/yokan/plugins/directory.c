/*
 * Directories of persistent databases: see directory.h.
 *
 * The lock is flock(2) on the file "yokan.lock", which holds the process id for the message of whoever comes second. The
 * kernel drops it when the process ends, however it ends; the file stays, because removing it would race with the next
 * owner. Storage libraries have locks of their own, but not all (several processes may open an LMDB environment, and
 * would give the ids of documents twice), and none says who holds them.
 *
 * What a directory holds is told by the files that each library writes before a database exists: LMDB data.mdb, the two
 * others CURRENT, and RocksDB also IDENTITY.
 */
#include "yokan/plugins/directory.h"

#include "util/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static yk_return_t code_of_errno(int errnum)
{
    bool permission = errnum == EACCES || errnum == EPERM || errnum == EROFS;
    return permission ? YOKAN_ERR_PERMISSION : YOKAN_ERR_IO;
}

static bool has_file(const char *path, const char *name)
{
    char file[PATH_MAX];
    int length = snprintf(file, sizeof file, "%s/%s", path, name);
    return length > 0 && (size_t)length < sizeof file && access(file, F_OK) == 0;
}

/* The type of the database in a directory; NULL: none. */
static const char *type_in(const char *path)
{
    if (has_file(path, "data.mdb"))
        return "lmdb";
    if (has_file(path, "CURRENT"))
        return has_file(path, "IDENTITY") ? "rocksdb" : "leveldb";
    return NULL;
}

/* Afterwards there is a directory at the path. */
static yk_return_t find_or_make(const struct yokan_directory_request *request, struct dango_error *err)
{
    struct stat status;
    const char *path = request->path;
    int errnum = stat(path, &status) == 0 ? 0 : errno;
    if (errnum == ENOENT && request->create_if_missing) {
        int code = dango_file_make_directories(path, err);
        if (code < 0) {
            dango_error_prefix(err, "path");
            return code == DANGO_ERR_PERMISSION ? YOKAN_ERR_PERMISSION : YOKAN_ERR_IO;
        }
        errnum = stat(path, &status) == 0 ? 0 : errno;
    }
    if (errnum != 0) {
        const char *hint = errnum == ENOENT ? " (\"create_if_missing\" is false)" : "";
        dango_error_set_errno(err, errnum, "path: cannot open the directory \"%s\"%s", path, hint);
        return code_of_errno(errnum);
    }
    if (S_ISDIR(status.st_mode))
        return YOKAN_SUCCESS;
    dango_error_set(err, DANGO_ERR_INVALID, "path: \"%s\" is a file; a database of type \"%s\" is a directory", path,
                    request->type);
    return YOKAN_ERR_INVALID_CONFIG;
}

static yk_return_t check_content(const struct yokan_directory_request *request, struct dango_error *err)
{
    const char *path = request->path, *found = type_in(path);
    if (found && strcmp(found, request->type) != 0)
        dango_error_set(
            err, DANGO_ERR_INVALID,
            "path: \"%s\" holds a database of type \"%s\", not \"%s\": change \"type\", or take another path", path,
            found, request->type);
    else if (found && request->error_if_exists)
        dango_error_set(err, DANGO_ERR_EXISTS, "path: \"%s\" holds a database already (\"error_if_exists\" is true)",
                        path);
    else if (!found && !request->create_if_missing)
        dango_error_set(err, DANGO_ERR_NOT_FOUND,
                        "path: there is no database in \"%s\" (\"create_if_missing\" is false)", path);
    else
        return YOKAN_SUCCESS;
    return YOKAN_ERR_INVALID_CONFIG;
}

static yk_return_t refuse_locked(const char *path, int fd, struct dango_error *err)
{
    char owner[32] = "";
    ssize_t size = pread(fd, owner, sizeof owner - 1, 0);
    owner[size > 0 ? size : 0] = '\0';
    long pid = strtol(owner, NULL, 10);
    if (pid == (long)getpid())
        dango_error_set(err, DANGO_ERR_BUSY, "path: \"%s\" is in use by another provider of this process", path);
    else
        dango_error_set(err, DANGO_ERR_BUSY,
                        "path: \"%s\" is in use by another process (id %ld): stop it, or take another path", path, pid);
    return YOKAN_ERR_BUSY;
}

static yk_return_t take_lock(const char *path, int *lock, struct dango_error *err)
{
    char file[PATH_MAX];
    int length = snprintf(file, sizeof file, "%s/yokan.lock", path);
    int fd = length > 0 && (size_t)length < sizeof file ? open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644)
                                                        : (errno = ENAMETOOLONG, -1);
    if (fd < 0) {
        int errnum = errno;
        dango_error_set_errno(err, errnum, "path: the directory \"%s\" is not writable", path);
        return code_of_errno(errnum);
    }
    yk_return_t ret = YOKAN_SUCCESS;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int errnum = errno;
        ret = YOKAN_ERR_IO;
        if (errnum == EWOULDBLOCK)
            ret = refuse_locked(path, fd, err);
        else
            dango_error_set_errno(err, errnum, "path: cannot lock \"%s\"", file);
    } else if (ftruncate(fd, 0) != 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0) {
        int errnum = errno;
        dango_error_set_errno(err, errnum, "path: cannot write \"%s\"", file);
        ret = code_of_errno(errnum);
    }
    if (ret != YOKAN_SUCCESS)
        close(fd);
    else
        *lock = fd;
    return ret;
}

yk_return_t yokan_directory_open(const struct yokan_directory_request *request, int *lock, struct dango_error *err)
{
    assert(request->path && request->type && lock);
    if (!*request->path) {
        dango_error_set(err, DANGO_ERR_INVALID, "path: is empty; give the directory of the database");
        return YOKAN_ERR_INVALID_CONFIG;
    }
    yk_return_t ret = find_or_make(request, err);
    if (ret == YOKAN_SUCCESS)
        ret = check_content(request, err);
    if (ret == YOKAN_SUCCESS)
        ret = take_lock(request->path, lock, err);
    return ret;
}

void yokan_directory_close(int lock)
{
    assert(lock >= 0);
    close(lock);
}

yk_return_t yokan_status_code(const char *text)
{
    static const struct {
        const char *prefix;
        yk_return_t code;
    } codes[] = {
        {"NotFound", YOKAN_ERR_KEY_NOT_FOUND},
        {"Corruption", YOKAN_ERR_CORRUPTION},
        {"Not implemented", YOKAN_ERR_OP_UNSUPPORTED},
        {"Invalid argument", YOKAN_ERR_INVALID_ARGS},
        {"IO error", YOKAN_ERR_IO},
        {"Result incomplete", YOKAN_ERR_INCOMPLETE},
        {"Operation timed out", YOKAN_ERR_TIMEOUT},
        {"Operation aborted", YOKAN_ERR_ABORTED},
        {"Resource busy", YOKAN_ERR_BUSY},
        {"Operation expired", YOKAN_ERR_EXPIRED},
        {"Operation failed. Try again", YOKAN_ERR_TRY_AGAIN},
    };
    assert(text);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strncmp(text, codes[i].prefix, strlen(codes[i].prefix)) == 0)
            return codes[i].code;
    }
    return YOKAN_ERR_OTHER;
}

int yokan_error_code(yk_return_t ret)
{
    switch (ret) {
    case YOKAN_ERR_INVALID_ARGS:
        return DANGO_ERR_INVALID;
    case YOKAN_ERR_CORRUPTION:
        return DANGO_ERR_CORRUPT;
    case YOKAN_ERR_OP_UNSUPPORTED:
        return DANGO_ERR_UNSUPPORTED;
    case YOKAN_ERR_ALLOCATION:
        return DANGO_ERR_NO_MEMORY;
    default:
        return DANGO_ERR_IO;
    }
}
