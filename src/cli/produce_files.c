/*
 * Files as events: walks a directory tree in the order of names and pushes each regular file.
 *
 * Symbolic links are not followed anywhere below the directory. Small files are read, large ones mapped; either way the
 * memory is kept until the event is stored, and what is under way is bounded. A file that cannot be read, or changes
 * its size while it is read, is reported, counted and skipped.
 */
#include "cli/cli.h"

#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_FROM_BYTES  ((size_t)4 << 20)
#define UNDER_WAY_MAX   1024u
#define UNDER_WAY_BYTES ((size_t)64 << 20)

struct content {
    diaspora_future *future;
    void *bytes;
    size_t size;
    bool mapped;
};

struct walk {
    diaspora_producer *producer;
    struct cli_progress *progress;
    char path[PATH_MAX]; /* of the current entry, relative to the directory */
    struct content ring[UNDER_WAY_MAX];
    unsigned first, count;
    size_t bytes;
};

/* A mapped file that becomes shorter kills the process; say why. */
static void truncated(int number)
{
    static const char text[] = "error: a file became shorter while it was sent\n";
    (void)number;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(1);
    _exit(1);
}

static void fail(struct walk *walk, const char *what, int error)
{
    cli_progress_hide(walk->progress);
    log_error(CLI_LOG, "%s: %s: %s", walk->path, what, strerror(error));
    walk->progress->failed++;
}

static void content_release(struct content *content)
{
    if (content->mapped)
        munmap(content->bytes, content->size);
    else
        free(content->bytes);
    diaspora_future_release(content->future);
    *content = (struct content){0};
}

/* Lets go of what is stored; waits for it until at most `count` files and `bytes` bytes are under way. */
static int settle(struct walk *walk, unsigned count, size_t bytes, struct dango_error *err)
{
    assert(count < UNDER_WAY_MAX);
    while (walk->count > 0) {
        struct content *oldest = &walk->ring[walk->first];
        bool must_wait = walk->count > count || walk->bytes > bytes;
        if (!must_wait && !diaspora_future_completed(oldest->future))
            return 0;
        int status = diaspora_future_wait(oldest->future, DIASPORA_FOREVER, NULL, err);
        if (status == 0) {
            walk->progress->events++;
            walk->progress->bytes += oldest->size;
        }
        walk->bytes -= oldest->size;
        content_release(oldest);
        walk->first = (walk->first + 1) % UNDER_WAY_MAX;
        walk->count--;
        if (status != 0)
            return status;
    }
    return 0;
}

/* Reads exactly `size` bytes: 0, or an errno; a file that is shorter or longer now has changed (EAGAIN). */
static int read_all(int fd, char *bytes, size_t size)
{
    size_t done = 0;
    char extra;
    while (done < size) {
        ssize_t n = read(fd, bytes + done, size - done);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n == 0)
            return EAGAIN;
        if (n > 0)
            done += (size_t)n;
    }
    return read(fd, &extra, 1) == 1 ? EAGAIN : 0;
}

static int load(int fd, size_t size, struct content *content)
{
    *content = (struct content){.size = size, .mapped = size >= MAP_FROM_BYTES};
    if (size == 0)
        return 0;
    if (content->mapped) {
        content->bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        int error = content->bytes == MAP_FAILED ? errno : 0;
        if (error)
            *content = (struct content){0};
        return error;
    }
    content->bytes = malloc(size);
    int error = content->bytes ? read_all(fd, content->bytes, size) : ENOMEM;
    if (error)
        content_release(content);
    return error;
}

static char *describe(const char *path, const struct stat *info)
{
    char mtime[64];
    struct json_object *json = json_object_new_object();
    assert(json);
    snprintf(mtime, sizeof mtime, "%lld.%09ld", (long long)info->st_mtim.tv_sec, info->st_mtim.tv_nsec);
    json_object_object_add(json, "name", json_object_new_string(path));
    json_object_object_add(json, "size", json_object_new_int64(info->st_size));
    json_object_object_add(json, "mode", json_object_new_int64(info->st_mode & 07777));
    /* The text keeps all nine digits, which a double does not. */
    json_object_object_add(json, "mtime", json_object_new_double_s((double)info->st_mtim.tv_sec, mtime));
    char *text = strdup(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    assert(text);
    json_object_put(json);
    return text;
}

static int push(struct walk *walk, const struct stat *info, struct content *content, struct dango_error *err)
{
    char *metadata = describe(walk->path, info);
    struct dango_error wrong;
    struct json_object *check = dango_json_parse(metadata, strlen(metadata), &wrong);
    int status = 0;
    if (!check) {
        fail(walk, "its name is not UTF-8", EILSEQ);
        content_release(content);
    } else {
        status = diaspora_push(walk->producer, metadata, strlen(metadata), DIASPORA_DATA(content->bytes, content->size),
                               &content->future, err);
        if (status == 0) {
            assert(walk->count < UNDER_WAY_MAX);
            walk->ring[(walk->first + walk->count++) % UNDER_WAY_MAX] = *content;
            walk->bytes += content->size;
        } else {
            content_release(content);
        }
    }
    json_object_put(check);
    free(metadata);
    return status;
}

static int send_file(struct walk *walk, int directory, const char *name, struct dango_error *err)
{
    struct stat info;
    struct content content = {0};
    /* Not to hang in a pipe that took the place of the file since it was listed. */
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        fail(walk, "cannot be opened", errno);
        if (fd >= 0)
            close(fd);
        return 0;
    }
    int status = 0;
    if (S_ISREG(info.st_mode)) { /* it was when it was listed */
        int error = load(fd, (size_t)info.st_size, &content);
        if (error)
            fail(walk, error == EAGAIN ? "changes while it is read" : "cannot be read", error);
        else
            status = push(walk, &info, &content, err);
    }
    close(fd);
    if (status == 0)
        status = settle(walk, UNDER_WAY_MAX - 1, UNDER_WAY_BYTES, err);
    cli_progress_show(walk->progress);
    return status;
}

static int send_directory(struct walk *walk, int fd, size_t length, struct dango_error *err);

/* One entry of a directory; walk->path ends with it. */
static int send_entry(struct walk *walk, int directory, const char *name, size_t length, struct dango_error *err)
{
    struct stat info;
    if (fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        fail(walk, "cannot be examined", errno);
        return 0;
    }
    if (S_ISLNK(info.st_mode))
        walk->progress->skipped_links++;
    else if (S_ISREG(info.st_mode))
        return send_file(walk, directory, name, err);
    if (!S_ISDIR(info.st_mode))
        return 0;
    int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        fail(walk, "cannot be opened", errno);
        return 0;
    }
    return send_directory(walk, fd, length, err);
}

static int no_dots(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* Everything in a directory; `length` bytes of walk->path name it. Takes the descriptor. */
static int send_directory(struct walk *walk, int fd, size_t length, struct dango_error *err)
{
    struct dirent **entries = NULL;
    int status = 0;
    int count = scandirat(fd, ".", &entries, no_dots, alphasort);
    if (count < 0)
        fail(walk, "cannot be listed", errno);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        size_t room = sizeof walk->path - length;
        int n = snprintf(walk->path + length, room, "%s%s", length ? "/" : "", name);
        if (status == 0 && !cli_stop_signal()) {
            if (n >= (int)room)
                fail(walk, "its path is too long", ENAMETOOLONG);
            else
                status = send_entry(walk, fd, name, length + (size_t)n, err);
        }
        walk->path[length] = '\0';
        free(entries[i]);
    }
    free(entries);
    close(fd);
    return status;
}

int cli_produce_files(diaspora_producer *producer, const char *directory, struct cli_progress *progress,
                      struct dango_error *err)
{
    struct walk *walk = calloc(1, sizeof *walk);
    if (!walk)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "--files: out of memory");
    walk->producer = producer;
    walk->progress = progress;
    signal(SIGBUS, truncated);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status =
        fd >= 0 ? send_directory(walk, fd, 0, err) : dango_error_set_errno(err, errno, "--files: %s", directory);
    int flushed = diaspora_flush(producer, DIASPORA_FOREVER, status == 0 ? err : NULL);
    while (walk->count > 0)
        (void)settle(walk, 0, 0, NULL); /* the flush has told of the errors */
    free(walk);
    return status != 0 ? status : flushed;
}
