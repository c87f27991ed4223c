/*
 * Events written as files below one directory, and nowhere else, whatever their names say.
 *
 * A name is a relative path of plain components: empty ones, ".", "..", NUL bytes and absolute paths are refused before
 * anything is touched, and every directory on the way is opened without following symbolic links, so that a link that
 * somebody planted is an error, not a way out. The file is written under a temporary name and renamed: a reader never
 * sees half of it, and a link of that name is replaced, not followed. Of the mode only the permission bits are kept.
 */
#include "cli/cli.h"

#include "util/json.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

struct description {
    const char *name;
    size_t name_size;
    mode_t mode;
    struct timespec mtime;
    bool has_mode, has_mtime;
    int64_t size; /* -1: not said */
};

int cli_files_open(struct cli_files *files, const char *directory, struct dango_error *err)
{
    *files = (struct cli_files){.root = -1, .parent = -1};
    if (mkdir(directory, 0777) != 0 && errno != EEXIST)
        return dango_error_set_errno(err, errno, "--into: %s", directory);
    files->root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (files->root < 0)
        return dango_error_set_errno(err, errno, "--into: %s", directory);
    return 0;
}

static void close_parent(struct cli_files *files)
{
    if (files->parent >= 0)
        close(files->parent);
    free(files->parent_path);
    files->parent = -1;
    files->parent_path = NULL;
}

int cli_files_sync(struct cli_files *files, struct dango_error *err)
{
    if (syncfs(files->root) == 0)
        return 0;
    return dango_error_set_errno(err, errno, "--into: files may not have reached the medium");
}

void cli_files_close(struct cli_files *files)
{
    close_parent(files);
    if (files->root >= 0)
        close(files->root);
    files->root = -1;
}

/* Whether a name is harmless: see above. */
static int check_name(const char *name, size_t size, struct dango_error *err)
{
    if (size == 0 || size >= PATH_MAX)
        return dango_error_set(err, DANGO_ERR_INVALID, "the name has %zu bytes", size);
    if (memchr(name, '\0', size))
        return dango_error_set(err, DANGO_ERR_INVALID, "the name contains a NUL");
    for (const char *part = name; part;) {
        const char *slash = strchr(part, '/');
        size_t length = slash ? (size_t)(slash - part) : strlen(part);
        if (length == 0 || length > NAME_MAX || strncmp(part, "..", length > 2 ? length : 2) == 0 ||
            (length == 1 && *part == '.'))
            return dango_error_set(err, DANGO_ERR_INVALID, "the name \"%s\" is not a plain relative path", name);
        part = slash ? slash + 1 : NULL;
    }
    return 0;
}

/* "1763756000.123456789" exactly. */
static bool parse_mtime(struct json_object *json, struct timespec *mtime)
{
    const char *text = json ? json_object_get_string(json) : "";
    char *end;
    errno = 0;
    mtime->tv_sec = strtoll(text, &end, 10);
    mtime->tv_nsec = 0;
    if (errno != 0 || end == text || (*end && *end != '.'))
        return false;
    long digit = 100000000;
    for (const char *c = *end ? end + 1 : end; *c >= '0' && *c <= '9' && digit > 0; c++, digit /= 10)
        mtime->tv_nsec += digit * (*c - '0');
    return true;
}

static int parse_description(struct json_object *json, struct description *d, struct dango_error *err)
{
    struct json_object *name = dango_json_get(json, "name");
    struct json_object *mode = dango_json_get(json, "mode");
    struct json_object *mtime = dango_json_get(json, "mtime");
    struct json_object *size = dango_json_get(json, "size");
    *d = (struct description){.size = -1};
    if (!json_object_is_type(name, json_type_string))
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "the metadata have no text \"name\" (made with produce --files?)");
    d->name = json_object_get_string(name);
    d->name_size = (size_t)json_object_get_string_len(name);
    d->has_mode = json_object_is_type(mode, json_type_int);
    d->mode = d->has_mode ? (mode_t)json_object_get_int64(mode) & 0777 : 0;
    d->has_mtime = (json_object_is_type(mtime, json_type_int) || json_object_is_type(mtime, json_type_double)) &&
                   parse_mtime(mtime, &d->mtime);
    if (json_object_is_type(size, json_type_int))
        d->size = json_object_get_int64(size);
    return check_name(d->name, d->name_size, err);
}

/* Reports a failure of the system, and remembers whether it is this event's or would meet every later one, too. */
static int fail(struct cli_files *files, int error, struct dango_error *err, const char *path, const char *what)
{
    static const int others_too[] = {ENOSPC, EDQUOT, EIO, EROFS, EMFILE, ENFILE, ENOMEM, ESTALE};
    for (size_t i = 0; i < sizeof others_too / sizeof *others_too; i++)
        files->hopeless = files->hopeless || error == others_too[i];
    return dango_error_set_errno(err, error, "%s%s", path, what);
}

/* Opens the directory of `path` below root, making what is missing; *leaf is the last component. */
static int open_parent(struct cli_files *files, const char *path, const char **leaf, struct dango_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    *leaf = slash ? slash + 1 : path;
    /* Files of one directory come one after the other: walk down once for all of them. */
    if (files->parent >= 0 && strlen(files->parent_path) == length && memcmp(files->parent_path, path, length) == 0)
        return 0;
    close_parent(files);
    files->parent_path = strndup(path, length);
    int directory = fcntl(files->root, F_DUPFD_CLOEXEC, 0);
    char *rest = strndup(path, length), *position = rest;
    assert(files->parent_path && rest);
    int error = directory < 0 ? errno : 0;
    for (char *part = strsep(&position, "/"); !error && part && *part; part = strsep(&position, "/")) {
        if (mkdirat(directory, part, 0777) != 0 && errno != EEXIST)
            error = errno;
        int next = error ? -1 : openat(directory, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (!error && next < 0)
            error = errno;
        close(directory);
        directory = next;
    }
    free(rest);
    if (error) {
        if (directory >= 0)
            close(directory);
        close_parent(files);
        return fail(files, error, err, path,
                    error == ELOOP || error == ENOTDIR
                        ? ": its directory cannot be opened (symbolic links are not followed)"
                        : ": its directory cannot be opened");
    }
    files->parent = directory;
    return 0;
}

static int write_all(int fd, const diaspora_event *event)
{
    size_t count;
    const diaspora_segment *segments = diaspora_event_data_segments(event, &count);
    for (size_t i = 0; i < count; i++) {
        size_t done = 0;
        while (done < segments[i].size) {
            ssize_t n = write(fd, (const char *)segments[i].base + done, segments[i].size - done);
            if (n < 0 && errno != EINTR)
                return errno;
            if (n > 0)
                done += (size_t)n;
        }
    }
    return 0;
}

/* Writes and closes; 0 or an errno. */
static int fill(int fd, const diaspora_event *event, const struct description *d)
{
    int error = write_all(fd, event);
    if (!error && d->has_mode && fchmod(fd, d->mode) != 0)
        error = errno;
    const struct timespec times[] = {{.tv_nsec = UTIME_NOW}, d->mtime};
    if (!error && d->has_mtime && futimens(fd, times) != 0)
        error = errno;
    if (close(fd) != 0 && !error)
        error = errno;
    return error;
}

static int write_file(struct cli_files *files, const char *leaf, const diaspora_event *event,
                      const struct description *d, struct dango_error *err)
{
    char temporary[64];
    assert(files->parent >= 0 && *leaf);
    snprintf(temporary, sizeof temporary, ".diaspora-ctl.%d.%" PRIu64, (int)getpid(), files->count++);
    int fd = openat(files->parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    int error = fd < 0 ? errno : fill(fd, event, d);
    if (!error && renameat(files->parent, temporary, files->parent, leaf) != 0)
        error = errno;
    if (error && fd >= 0)
        unlinkat(files->parent, temporary, 0);
    return error ? fail(files, error, err, d->name, "") : 0;
}

int cli_files_write(struct cli_files *files, const diaspora_event *event, struct dango_error *err)
{
    struct description d;
    const char *leaf;
    struct json_object *json =
        dango_json_parse(diaspora_event_metadata(event), diaspora_event_metadata_size(event), err);
    if (!json)
        return err->code;
    int status = parse_description(json, &d, err);
    if (status == 0 && d.size >= 0 && (uint64_t)d.size != diaspora_event_data_size(event))
        status = dango_error_set(err, DANGO_ERR_CORRUPT, "%s: %" PRIu64 " bytes of data, but its size is %" PRId64,
                                 d.name, diaspora_event_data_size(event), d.size);
    if (status == 0)
        status = open_parent(files, d.name, &leaf, err);
    if (status == 0)
        status = write_file(files, leaf, event, &d, err);
    json_object_put(json);
    return status;
}
