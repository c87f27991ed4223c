/*
 * Taking possession of a group file before a new group is formed.
 *
 * The file is never deleted by a group that ends, so a file that is there says nothing about who is alive. Whoever is about
 * to write it asks its members: if one of them answers and is not a member of the new group, the file is taken and the
 * start fails; otherwise the file is removed at once, so that nobody who waits for the new one reads the old one. What is
 * no group file is not touched: the path is then probably a mistake.
 *
 * Two processes that start at the same moment must not both find no file and form two groups. Looking at the file and
 * writing the new one are therefore under an advisory lock on FILE.lock, which is removed when it is released: whoever
 * gets the lock of a file that has been removed meanwhile tries again. The lock ends with its holder. Where the file system
 * knows no locks, there is a warning and no protection.
 */
#include "flock/backends/backend.h"
#include "flock/provider/provider.h"

#include "util/clock.h"
#include "util/log.h"

#include <margo.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TIMEOUT_MS 60000.0
#define LOCK_RETRY_MS   5.0
#define ASK_LIMIT_MS    5000.0 /* even a busy member answers within it */

/* ---- the lock ---- */

/* Whether the descriptor is still that of the path: the previous holder removes the file. */
static bool is_current(int fd, const char *path)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && stat(path, &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
}

/* 1: locked; 0: somebody else has it; negative: errno. */
static int try_lock(struct flk_lock *lock)
{
    assert(lock->path && lock->fd < 0);
    int fd = open(lock->path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (fd < 0)
        return -errno;
    int result = flock(fd, LOCK_EX | LOCK_NB) == 0 ? 1 : errno == EWOULDBLOCK ? 0 : -errno;
    if (result == 1 && !is_current(fd, lock->path))
        result = 0;
    if (result == 1)
        lock->fd = fd;
    else
        close(fd);
    return result;
}

/* Whether a provider of this process has it, who will until all providers are there: waiting would not help. */
static bool is_held_here(const struct flk_lock *lock, margo_instance_id mid, const char *filename,
                         struct dango_error *err)
{
    struct stat status;
    uint16_t id;
    if (stat(lock->path, &status) != 0 || !flk_provider_find_lock(mid, &status, &id))
        return false;
    dango_error_set(err, DANGO_ERR_EXISTS,
                    "%s is the file of provider %u of this process already: give each of the two groups its own",
                    filename, id);
    return true;
}

/* flock(2) cannot be waited for without stopping the execution stream; this is done at start-up only. */
int flk_lock_take(struct flk_lock *lock, margo_instance_id mid, const char *filename, struct dango_error *err)
{
    assert(filename && !lock->path);
    int64_t deadline_ns = dango_deadline_ns(LOCK_TIMEOUT_MS);
    *lock = FLK_LOCK_NONE;
    if (asprintf(&lock->path, "%s.lock", filename) < 0)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int result = try_lock(lock);
    bool here = result == 0 && is_held_here(lock, mid, filename, err);
    while (result == 0 && !here && dango_clock_ns() < deadline_ns) {
        margo_thread_sleep(mid, LOCK_RETRY_MS);
        result = try_lock(lock);
    }
    if (result == 0 && !here)
        dango_error_set(err, DANGO_ERR_TIMEOUT, "%s: another process has been forming a group for %g s", lock->path,
                        LOCK_TIMEOUT_MS / 1000);
    else if (result < 0)
        log_warning("flock", "%s cannot be locked (%s): do not start several processes at once", lock->path,
                    strerror(-result));
    if (result != 1) {
        free(lock->path);
        *lock = FLK_LOCK_NONE;
    }
    return here ? DANGO_ERR_EXISTS : result == 0 ? DANGO_ERR_TIMEOUT : 0;
}

void flk_lock_release(struct flk_lock *lock)
{
    if (lock->fd < 0)
        return;
    unlink(lock->path);
    close(lock->fd);
    free(lock->path);
    *lock = FLK_LOCK_NONE;
}

/* ---- the file ---- */

static bool has_member(const flock_group_view_t *view, const flock_member_t *member)
{
    return view && flock_group_view_members_binary_search(view, member->address, member->provider_id) >= 0;
}

/* Whether some of these members, which are asked at once, are alive: *owner is one of them, if there is a choice one that
 * is not of the new group. Those of protocols that the instance does not speak are passed over. */
static void ask(margo_instance_id mid, const flock_member_t *members, size_t count, const flock_group_view_t *view,
                const flock_member_t **owner)
{
    struct flk_calls calls;
    struct flk_call *call;
    flk_get_view_in_t in = {0};
    flk_get_view_out_t out = {0};
    hg_id_t rpc = MARGO_REGISTER(mid, FLK_RPC_GET_VIEW, flk_get_view_in_t, flk_get_view_out_t, NULL);
    flk_calls_start(&calls, mid, rpc, members, count, &in, NULL, ASK_LIMIT_MS);
    while ((!*owner || has_member(view, *owner)) && (call = flk_calls_next(&calls, &out))) {
        if (out.ret == FLOCK_SUCCESS)
            *owner = call->member;
        margo_free_output(call->handle, &out);
        out = (flk_get_view_out_t){0};
    }
    flk_calls_end(&calls);
}

static void ask_all(margo_instance_id mid, const flock_group_view_t *members, const flock_group_view_t *view,
                    const flock_member_t **owner)
{
    for (size_t i = 0; i < members->members.size && !*owner; i += FLK_CALLS_MAX)
        ask(mid, &members->members.data[i], members->members.size - i, view, owner);
}

static bool speaks(margo_instance_id mid, const char *address)
{
    hg_addr_t addr = HG_ADDR_NULL;
    hg_return_t ret = margo_addr_lookup(mid, address, &addr);
    margo_addr_free(mid, addr);
    return ret != HG_PROTONOSUPPORT;
}

/* Members may speak another protocol than this process, which is no reason to overwrite the file of their group. */
static void ask_in_their_protocol(margo_instance_id mid, const flock_group_view_t *members,
                                  const flock_group_view_t *view, const flock_member_t **owner)
{
    const char *address = NULL;
    for (size_t i = 0; i < members->members.size && !address; i++)
        if (!speaks(mid, members->members.data[i].address))
            address = members->members.data[i].address;
    if (!address)
        return;
    char *protocol = strndup(address, strcspn(address, ":"));
    margo_instance_id other = protocol ? margo_init(protocol, MARGO_CLIENT_MODE, 1, 0) : MARGO_INSTANCE_NULL;
    free(protocol);
    if (other == MARGO_INSTANCE_NULL) {
        log_warning("flock", "cannot tell whether %s is alive: it is taken for dead", address);
        return;
    }
    ask_all(other, members, view, owner);
    margo_finalize(other);
}

/* What has no content belongs to nobody. */
static bool is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode));
}

int flk_claim_file(margo_instance_id mid, const char *filename, const flock_group_view_t *view, struct dango_error *err)
{
    flock_group_view_t old = FLOCK_GROUP_VIEW_INITIALIZER;
    const flock_member_t *owner = NULL;
    int status = 0;
    if (!is_file(filename))
        return 0;
    if (flk_group_file_read(filename, &old, err) != FLOCK_SUCCESS)
        return dango_error_prefix(err, "exists and is not a group file: remove it, or give another path");
    ask_all(mid, &old, view, &owner);
    if (!owner)
        ask_in_their_protocol(mid, &old, view, &owner);
    if (!owner && unlink(filename) != 0 && errno != ENOENT)
        status = dango_error_set_errno(err, errno, "%s: cannot remove the file of an old group", filename);
    /* Otherwise another process of the new group has been faster, and has written it. */
    else if (owner && !has_member(view, owner))
        status = dango_error_set(
            err, DANGO_ERR_EXISTS,
            "%s belongs to a group that is running (%s): stop it, or give this one another file; processes "
            "of one launch make one group with \"bootstrap\": \"mpi\", others get into it with \"join\"",
            filename, owner->address);
    flock_group_view_clear(&old);
    return status;
}

void flk_warn_of_owner(margo_instance_id mid, const char *filename, const flock_group_view_t *view)
{
    flock_group_view_t old = FLOCK_GROUP_VIEW_INITIALIZER;
    const flock_member_t *owner = NULL;
    if (is_file(filename) && flk_group_file_read(filename, &old, NULL) == FLOCK_SUCCESS && !flk_views_meet(&old, view))
        ask_all(mid, &old, view, &owner);
    if (owner)
        log_warning("flock",
                    "%s belongs to a group that is running (%s, provider %u) and is taken from it: give one of the two "
                    "another file",
                    filename, owner->address, owner->provider_id);
    flock_group_view_clear(&old);
}
