/*
 * The group file of a provider. One member of the group writes it (flk_backend_writes_file), from a copy of the view, under
 * a mutex of its own: the last to write has the newest view, and a burst of changes ends in one file. No lock of the view
 * or of the callbacks is held meanwhile.
 *
 * **Other writers.** Two members may both think that they are the one: halves of a broken network, or a process that was
 * stopped while the others replaced it. Files of the dynamic backends therefore carry a stamp: which group, and which state
 * of it (struct flk_stamp). Before a file is replaced its stamp is compared with ours:
 *
 * - no file, no stamp, or nothing readable: replaced.
 * - a later state of our group: left alone. A higher term is later; in one term there is one primary, of two that both
 *   took it the smaller address counts, as among themselves; then the count of changes decides. Groups without terms
 *   (SWIM) have a count that is passed on with every message, so that a member that has heard of the others' changes
 *   counts beyond them. A writer that is no member any more, or silent, cannot tell anybody: its file is replaced by
 *   one that counts on from it.
 * - the file of another group: left alone, with a warning. It formed itself here when nobody of us answered.
 *
 * **When.** After every change of the view, and when the backend says that the writer may be another one: a suspicion
 * changes that, and no view. Whoever becomes the writer writes whatever the file holds, since the one before need not
 * have written all that it was to write. What could not be written is tried again every LOOK_MS: the writer has caught
 * up by then, or is none any more. And every LOOK_MS the writer of a dynamic group looks whether the file is still its
 * own: whoever wrote last need not have known most, and a file may be removed. The other members do not wake for the
 * file.
 *
 * **Which group.** The first writer draws a group id. Others take it over from the file: joiners and members that start again
 * from it when they start, members of a new group when they come to write. A file that names one of our members is ours
 * whatever its id, since nobody is in two groups: the id tells our files from others' when all members have changed.
 *
 * Looking and replacing are under a lock of the directory. Where directories cannot be locked, or its holder hangs, writing
 * goes on without: then a writer may replace a file that it has not seen.
 */
#include "flock/provider/provider.h"

#include "flock/backends/backend.h"

#include "util/clock.h"
#include "util/file.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <unistd.h>

#define LOOK_MS       250.0
#define LITTER_AGE_S  60 /* writing takes milliseconds, or as long as the medium needs to sync */
#define LOCK_LIMIT_MS 1000.0
#define LOCK_RETRY_MS 2.0

static void lock(struct flk_file *file)
{
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&file->mutex));
}

static void unlock(struct flk_file *file)
{
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&file->mutex));
}

/* ---- the file that is there ---- */

struct found {
    flock_group_view_t view;
    struct flk_stamp stamp;
};

/* False: no file that says of which group it is. Pipes and terminals, which may be written to, are not waited for. */
static bool look(const char *path, struct found *found)
{
    struct stat status;
    memset(found, 0, sizeof *found);
    if (stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
        flk_group_file_read_stamp(path, &found->view, &found->stamp, NULL) == FLOCK_SUCCESS && *found->stamp.group_id)
        return true;
    flock_group_view_clear(&found->view);
    return false;
}

static void found_clear(struct found *found)
{
    flock_group_view_clear(&found->view);
    flk_stamp_clear(&found->stamp);
}

static bool names(const flock_group_view_t *view, const char *address, uint16_t id)
{
    return flock_group_view_find_member((flock_group_view_t *)(uintptr_t)view, address, id) != NULL;
}

/* Whether all that the one view has is in the other, what backends add excepted. */
static bool has_all(const flock_group_view_t *view, const flock_group_view_t *part)
{
    bool all = view->members.size == part->members.size;
    for (uint64_t i = 0; i < part->members.size && all; i++)
        all = names(view, part->members.data[i].address, part->members.data[i].provider_id);
    for (uint64_t i = 0; i < part->metadata.size && all; i++) {
        const char *value = flock_group_view_find_metadata(view, part->metadata.data[i].key);
        all = strncmp(part->metadata.data[i].key, "__", 2) == 0 ||
              (value && strcmp(value, part->metadata.data[i].value) == 0);
    }
    return all;
}

bool flk_file_open(struct flock_provider *provider, const char *path, const flock_group_view_t *view, bool join,
                   struct flk_resume *from)
{
    assert(path && !provider->file.path);
    struct flk_file *file = &provider->file;
    struct found found;
    file->path = strdup(path);
    if (!file->path || !look(path, &found))
        return false;
    bool resume = !join && names(&found.view, provider->address, provider->id);
    memcpy(join || resume ? file->group_id : file->old_group_id, found.stamp.group_id, FLK_GROUP_ID_SIZE);
    if (resume) {
        from->same_view = has_all(view, &found.view) && has_all(&found.view, view);
        from->file = found.stamp;
        found.stamp.owner = NULL;
    }
    found_clear(&found);
    return resume;
}

/* ---- may it be replaced? ---- */

static bool is_ours(struct flock_provider *provider, const struct found *found, const flock_group_view_t *view)
{
    return strcmp(found->stamp.group_id, provider->file.group_id) == 0 ||
           names(&found->view, provider->address, provider->id) || flk_views_meet(&found->view, view);
}

/*
 * Of one group: whether the file is of a later state than ours. Only one of them with terms: the group has changed its type.
 * Of two that count the same the smaller address decides: it is the primary, or the one that writes.
 */
static bool is_later(const struct flk_stamp *theirs, const struct flk_stamp *ours)
{
    if ((theirs->term == 0) != (ours->term == 0))
        return false;
    if (theirs->term != ours->term)
        return theirs->term > ours->term;
    int order = strcmp(theirs->owner, ours->owner);
    order = order ? order : (int)theirs->owner_id - (int)ours->owner_id;
    if (theirs->change != ours->change && (theirs->term == 0 || order == 0))
        return theirs->change > ours->change;
    return order < 0;
}

/* Whether somebody else in the group knows of the state that is in the file. With terms it cannot be otherwise. */
static bool is_known(const struct flock_provider *provider, const struct flk_stamp *stamp,
                     const flock_group_view_t *view)
{
    bool mine = stamp->owner_id == provider->id && strcmp(stamp->owner, provider->address) == 0;
    return stamp->term > 0 ||
           (!mine && names(view, stamp->owner, stamp->owner_id) &&
            !flk_backend_suspects(provider->backend, provider->backend_context, stamp->owner, stamp->owner_id));
}

static void draw_id(struct flk_file *file)
{
    snprintf(file->group_id, sizeof file->group_id, "%016" PRIx64, flk_random_seed(file));
}

static int refuse(struct flock_provider *provider, const struct found *found, bool foreign, struct dango_error *err)
{
    struct flk_file *file = &provider->file;
    if (foreign && !file->told)
        log_warning("flock",
                    "%s belongs to another group now (%s, ...): it is left alone. Remove it to have it written by this "
                    "group again, and give one of them another file",
                    file->path, found->view.members.data[0].address);
    else if (!file->told)
        log_info("flock", "%s is newer than what this member knows: it is left alone", file->path);
    file->told = true;
    return dango_error_set(err, DANGO_ERR_AGAIN, "%s: %s", file->path,
                           foreign ? "belongs to another group" : "is newer than what this member knows");
}

/* Fills in the id of the stamp with which the file is to be written. */
static int check(struct flock_provider *provider, const flock_group_view_t *view, struct flk_stamp *ours,
                 struct dango_error *err)
{
    struct flk_file *file = &provider->file;
    struct found found;
    int status = 0;
    if (look(file->path, &found)) {
        const struct flk_stamp *theirs = &found.stamp;
        if (is_ours(provider, &found, view)) {
            memcpy(file->group_id, theirs->group_id, sizeof file->group_id);
            if (is_later(theirs, ours) && is_known(provider, theirs, view)) {
                status = refuse(provider, &found, false, err);
            } else if (is_later(theirs, ours)) {
                flk_backend_pass(provider->backend, provider->backend_context, theirs->change);
                ours->change = theirs->change + 1;
            }
        } else if (*file->group_id || strcmp(theirs->group_id, file->old_group_id) != 0) {
            status = refuse(provider, &found, true, err);
        }
        found_clear(&found);
    }
    if (status == 0 && !*file->group_id)
        draw_id(file);
    memcpy(ours->group_id, file->group_id, sizeof ours->group_id);
    return status;
}

/* ---- writing ---- */

/* The descriptor that holds the lock of the directory; -1: none. */
static int lock_directory(struct flock_provider *provider)
{
    const char *path = provider->file.path, *slash = strrchr(path, '/');
    char *directory = !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int fd = directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int64_t deadline_ns = dango_deadline_ns(LOCK_LIMIT_MS);
    free(directory);
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK || dango_clock_ns() > deadline_ns)
            break; /* closing it is all the same */
        margo_thread_sleep(provider->mid, LOCK_RETRY_MS);
    }
    return fd;
}

static int replace(struct flock_provider *provider, const flock_group_view_t *view, struct flk_stamp *stamp,
                   struct dango_error *err)
{
    assert(view->members.size > 0);
    int fd = stamp ? lock_directory(provider) : -1;
    int status = stamp ? check(provider, view, stamp, err) : 0;
    if (status == 0 && !provider->file.writes)
        dango_file_remove_litter(provider->file.path, LITTER_AGE_S);
    if (status == 0)
        status = flk_group_file_write(view, stamp, provider->file.path, err);
    if (status == 0) {
        __atomic_add_fetch(&provider->file.writes, 1, __ATOMIC_RELAXED);
        provider->file.told = false;
        if (stat(provider->file.path, &provider->file.written) != 0)
            provider->file.written.st_ino = 0;
    }
    if (fd >= 0)
        close(fd);
    return status;
}

/* Whether somebody has replaced or removed the file since we wrote it. */
static bool is_replaced(const struct flk_file *file)
{
    struct stat now;
    if (stat(file->path, &now) != 0)
        return errno == ENOENT;
    return now.st_ino != file->written.st_ino || now.st_dev != file->written.st_dev ||
           now.st_mtim.tv_sec != file->written.st_mtim.tv_sec || now.st_mtim.tv_nsec != file->written.st_mtim.tv_nsec;
}

/* Whether others may write the file, and we are the one to do it. What has a stamp needs no view to tell. */
static bool is_one_writer_of_many(const struct flock_provider *provider)
{
    return provider->file.stamped &&
           flk_backend_writes_file(provider->backend, provider->backend_context, NULL, provider->address, provider->id);
}

/* Whether to write although our view has not changed: we have become the writer, or are it and the file is not ours. */
static bool is_wanting(const struct flock_provider *provider)
{
    return is_one_writer_of_many(provider) && (!provider->file.writer || is_replaced(&provider->file));
}

/* With the lock. Version and stamp are read before the view: a change in between makes the file newer than they say, never
 * older. */
static int bring_up_to_date(struct flock_provider *provider, struct dango_error *err)
{
    struct flk_file *file = &provider->file;
    struct flk_stamp stamp = {0};
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    uint64_t version = __atomic_load_n(&provider->version, __ATOMIC_ACQUIRE);
    if (!file->allowed || (file->version == version && !is_wanting(provider)))
        return 0;
    file->stamped = flk_backend_stamp(provider->backend, provider->backend_context, &stamp);
    int status = 0;
    if (!flk_provider_snapshot(provider, &view))
        status = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    bool writer =
        flk_backend_writes_file(provider->backend, provider->backend_context, &view, provider->address, provider->id);
    /* The change that makes somebody else the writer is written by both: the new one may know nothing of a change. */
    if (status == 0 && (writer || file->writer))
        status = replace(provider, &view, file->stamped ? &stamp : NULL, err);
    if (status == 0 || (status == DANGO_ERR_AGAIN && !writer)) { /* the word of a former writer is not needed then */
        file->version = version;
        file->writer = writer;
    }
    flk_stamp_clear(&stamp);
    flock_group_view_clear(&view);
    return status;
}

static void look_again(void *arg)
{
    struct flock_provider *provider = arg;
    if (!dango_gate_enter(&provider->gate))
        return;
    lock(&provider->file);
    provider->file.waiting = false;
    unlock(&provider->file);
    flk_file_update(provider, false, NULL);
    dango_gate_leave(&provider->gate);
}

/* With the lock. */
static void look_later(struct flock_provider *provider)
{
    struct flk_file *file = &provider->file;
    if (file->waiting || (!file->timer && margo_timer_create_with_pool(provider->mid, look_again, provider,
                                                                       provider->pool, &file->timer) != 0))
        return;
    file->waiting = margo_timer_start(file->timer, LOOK_MS) == 0;
}

int flk_file_update(struct flock_provider *provider, bool now_allowed, struct dango_error *err)
{
    struct flk_file *file = &provider->file;
    if (!file->path)
        return 0;
    lock(file);
    file->allowed |= now_allowed;
    int status = bring_up_to_date(provider, err);
    if (status != 0 || is_one_writer_of_many(provider))
        look_later(provider);
    if (file->allowed)
        flk_lock_release(&file->lock);
    unlock(file);
    return status == DANGO_ERR_AGAIN ? 0 : status;
}

/* ---- the end ---- */

/* Whether the file is of this group, with or without saying so. */
static bool file_is_ours(struct flock_provider *provider, const flock_group_view_t *view)
{
    struct found found;
    if (!look(provider->file.path, &found))
        return true;
    bool ours = is_ours(provider, &found, view);
    found_clear(&found);
    return ours;
}

static void remove_if_alone(struct flock_provider *provider)
{
    struct flk_file *file = &provider->file;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    bool alone = flk_provider_snapshot(provider, &view) && view.members.size == 1;
    if (alone && file->writer && file_is_ours(provider, &view) && unlink(file->path) != 0 && errno != ENOENT)
        log_warning("flock", "%s: the group file cannot be removed: %s", file->path, strerror(errno));
    flock_group_view_clear(&view);
}

void flk_file_close(struct flock_provider *provider)
{
    struct flk_file *file = &provider->file;
    if (!file->path)
        return;
    lock(file);
    if (file->remove)
        remove_if_alone(provider);
    file->allowed = false; /* what comes now does not bring it back */
    unlock(file);
    if (file->timer) {
        margo_timer_cancel(file->timer);
        margo_timer_destroy(file->timer);
        file->timer = NULL;
    }
}

char *flk_provider_address(struct flock_provider *provider)
{
    lock(&provider->file);
    char *address = strdup(provider->address);
    unlock(&provider->file);
    return address;
}

void flk_file_swap_address(struct flock_provider *provider, char **address)
{
    lock(&provider->file);
    char *old = provider->address;
    provider->address = *address;
    *address = old;
    unlock(&provider->file);
}

void flk_file_free(struct flk_file *file)
{
    assert(!file->timer);
    flk_lock_release(&file->lock);
    free(file->path);
}

void flk_provider_keep_lock(struct flock_provider *provider, struct flk_lock *held)
{
    assert(provider->file.lock.fd < 0);
    provider->file.lock = *held;
    *held = FLK_LOCK_NONE;
}

static bool holds_lock(struct flock_provider *provider, const struct stat *lock_file)
{
    struct stat held;
    lock(&provider->file);
    int fd = provider->file.lock.fd;
    bool same =
        fd >= 0 && fstat(fd, &held) == 0 && held.st_ino == lock_file->st_ino && held.st_dev == lock_file->st_dev;
    unlock(&provider->file);
    return same;
}

bool flk_provider_find_lock(margo_instance_id mid, const struct stat *lock_file, uint16_t *id)
{
    for (uint16_t i = 0; i < UINT16_MAX; i++) {
        hg_bool_t found = false;
        hg_id_t rpc;
        if (margo_provider_registered_name(mid, FLK_RPC_GET_VIEW, i, &rpc, &found) != HG_SUCCESS || !found)
            continue;
        struct flock_provider *provider = margo_registered_data(mid, rpc);
        if (provider && holds_lock(provider, lock_file)) {
            *id = i;
            return true;
        }
    }
    return false;
}
