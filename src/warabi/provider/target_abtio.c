/*
 * The target `abtio`: regions in one file (blob_file.h), which survive the server. Regions and places are in
 * abtio_regions.c; here are their data, durability, and the life of the target.
 *
 * Persisting is fdatasync of the file. Those who ask while one runs share the next one. When it fails nobody knows what
 * is on the medium: from then on the target refuses everything that changes it, until it is opened again.
 *
 * With `directio`, transfers at offsets and of sizes that the device can do go past the page cache through a second
 * descriptor; the others do not.
 */
#include "warabi/provider/abtio.h"

#include "abt-io/dango_abt_io.h"
#include "warabi/dango_warabi.h"
#include "warabi/wire.h"

#include "util/json.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Moved at a time between the network and the file. */
#define PIECE_SIZE (1u << 20)
/* What O_DIRECT wants everywhere: offsets, sizes and addresses that are multiples of this. */
#define DIRECT_ALIGNMENT 4096u

const struct dango_option dango_warabi_abtio_options[] = {
    DANGO_OPTION_STRING_REQUIRED("path", struct file_settings, path, "the file"),
    DANGO_OPTION_BOOL("create_if_missing", struct file_settings, create_if_missing, false,
                      "make the file, and the directories above it, when there is none"),
    DANGO_OPTION_BOOL("override_if_exists", struct file_settings, override_if_exists, false,
                      "remove an existing file with everything in it, and start with a new one"),
    DANGO_OPTION_INT("alignment", struct file_settings, alignment, 8, 8, 1 << 30,
                     "regions begin at multiples of this many bytes; a multiple of 8. An existing file keeps its own"),
    DANGO_OPTION_BOOL("sync", struct file_settings, sync, false,
                      "every write is durable when it is answered (O_DSYNC), not only those that ask for it"),
    DANGO_OPTION_BOOL("directio", struct file_settings, directio, false,
                      "aligned transfers go past the page cache (O_DIRECT), where the file system can do that"),
    DANGO_OPTION_BOOL("destroy_on_shutdown", struct file_settings, destroy_on_shutdown, false,
                      "remove the file when the provider ends in an orderly way"),
    DANGO_OPTION_JSON("abt_io", struct file_settings, abt_io, DANGO_JSON_OBJECT, NULL,
                      "configuration of an ABT-IO instance of its own; absent: that of the dependency, or one thread"),
    DANGO_OPTION_END,
};

/* Whether the target may still be changed. */
int wb_abtio_check_health(struct abtio_target *target, struct dango_error *err)
{
    ABT_mutex_lock(target->lock);
    bool failed = target->failed;
    ABT_mutex_unlock(target->lock);
    if (!failed)
        return 0;
    return dango_error_set(err, DANGO_ERR_IO,
                           "%s takes no more changes: an earlier sync failed; restart the server when the medium is in "
                           "order",
                           target->file.path);
}

/* ---- data ---- */

static bool is_direct(const struct abtio_target *target, uint64_t offset, const void *data, size_t size)
{
    return target->direct_fd >= 0 && (offset | (uintptr_t)data | size) % DIRECT_ALIGNMENT == 0;
}

static int write_at(struct file_region *region, uint64_t at, const char *data, size_t size, struct dango_error *err)
{
    const struct abtio_target *target = target_of(region->base.target);
    uint64_t offset = region->offset + at;
    int fd = is_direct(target, offset, data, size) ? target->direct_fd : target->file.fd;
    ssize_t n = abt_io_pwrite_all(target->file.io, fd, data, size, (off_t)offset);
    return n < 0 ? dango_error_set_errno(err, (int)-n, "%s: cannot write", target->file.path) : 0;
}

/* What lies behind the end of the file was never written. */
static int read_at(struct file_region *region, uint64_t at, char *data, size_t size, struct dango_error *err)
{
    const struct abtio_target *target = target_of(region->base.target);
    uint64_t offset = region->offset + at;
    int fd = is_direct(target, offset, data, size) ? target->direct_fd : target->file.fd;
    ssize_t n = abt_io_pread_all(target->file.io, fd, data, size, (off_t)offset);
    if (n < 0)
        return dango_error_set_errno(err, (int)-n, "%s: cannot read", target->file.path);
    memset(data + n, 0, size - (size_t)n);
    return 0;
}

/* A place in a list of segments, for walking through it in pieces. */
struct cursor {
    const struct wb_segments *segments;
    size_t index, done; /* bytes of segment `index` that are behind us */
};

/* Moves the next `size` bytes of the segments from or to `data`. */
static int move_bytes(struct file_region *region, struct cursor *cursor, char *data, size_t size, bool write,
                      struct dango_error *err)
{
    int status = 0;
    while (size > 0 && status == 0) {
        assert(cursor->index < cursor->segments->count);
        size_t left = cursor->segments->sizes[cursor->index] - cursor->done, n = left < size ? left : size;
        uint64_t at = cursor->segments->offsets[cursor->index] + cursor->done;
        if (n > 0)
            status = write ? write_at(region, at, data, n, err) : read_at(region, at, data, n, err);
        data += n;
        size -= n;
        cursor->done += n;
        if (cursor->done == cursor->segments->sizes[cursor->index])
            *cursor = (struct cursor){cursor->segments, cursor->index + 1, 0};
    }
    return status;
}

static size_t total_of(const struct wb_segments *segments)
{
    size_t total = 0;
    for (size_t i = 0; i < segments->count; i++)
        total += segments->sizes[i];
    return total;
}

static int abtio_write(struct wb_region *region, const struct wb_segments *segments, const char *data,
                       struct dango_error *err)
{
    struct cursor cursor = {segments, 0, 0};
    int status = wb_abtio_check_health(target_of(region->target), err);
    if (status < 0)
        return status;
    return move_bytes(region_of(region), &cursor, (char *)(uintptr_t)data, total_of(segments), true, err);
}

static int abtio_read(struct wb_region *region, const struct wb_segments *segments, char *data, struct dango_error *err)
{
    struct cursor cursor = {segments, 0, 0};
    return move_bytes(region_of(region), &cursor, data, total_of(segments), false, err);
}

/* One piece between the remote memory, at `offset` of the transfer, and the buffer. */
static int transfer_piece(const struct wb_remote *remote, hg_bulk_op_t op, hg_bulk_t bulk, uint64_t offset, size_t size,
                          struct dango_error *err)
{
    hg_return_t ret = margo_bulk_transfer_timed(remote->mid, op, remote->address, remote->bulk, remote->offset + offset,
                                                bulk, 0, size, wb_deadline_ms(30000, size));
    if (ret == HG_SUCCESS)
        return 0;
    return dango_error_set(err, ret == HG_TIMEOUT ? DANGO_ERR_TIMEOUT : DANGO_ERR_DISCONNECTED,
                           "%s %zu bytes failed: %s", op == HG_BULK_PULL ? "pulling" : "pushing", size,
                           HG_Error_to_string(ret));
}

static int transfer(struct wb_region *region, const struct wb_segments *segments, uint64_t total,
                    const struct wb_remote *remote, hg_bulk_op_t op, struct dango_error *err)
{
    bool write = op == HG_BULK_PULL;
    struct cursor cursor = {segments, 0, 0};
    void *buffer = NULL;
    hg_size_t capacity = total < PIECE_SIZE ? total : PIECE_SIZE;
    hg_bulk_t bulk;
    if (posix_memalign(&buffer, DIRECT_ALIGNMENT, capacity) != 0)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    hg_return_t ret = margo_bulk_create(remote->mid, 1, &buffer, &capacity, HG_BULK_READWRITE, &bulk);
    if (ret != HG_SUCCESS) {
        free(buffer);
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "cannot expose a buffer for RDMA: %s",
                               HG_Error_to_string(ret));
    }
    int status = write ? wb_abtio_check_health(target_of(region->target), err) : 0;
    for (uint64_t done = 0; done < total && status == 0;) {
        size_t size = total - done < capacity ? (size_t)(total - done) : (size_t)capacity;
        if (write)
            status = transfer_piece(remote, op, bulk, done, size, err);
        if (status == 0)
            status = move_bytes(region_of(region), &cursor, buffer, size, write, err);
        if (status == 0 && !write)
            status = transfer_piece(remote, op, bulk, done, size, err);
        done += size;
    }
    margo_bulk_free(bulk);
    free(buffer);
    return status;
}

static int abtio_pull(struct wb_region *region, const struct wb_segments *segments, uint64_t total,
                      const struct wb_remote *remote, struct dango_error *err)
{
    return transfer(region, segments, total, remote, HG_BULK_PULL, err);
}

static int abtio_push(struct wb_region *region, const struct wb_segments *segments, uint64_t total,
                      const struct wb_remote *remote, struct dango_error *err)
{
    return transfer(region, segments, total, remote, HG_BULK_PUSH, err);
}

/* ---- durability ---- */

/* Syncs for all who wait. Called with the lock, which is released meanwhile. */
static void sync_for_all(struct abtio_target *target)
{
    uint64_t covered = target->sync_wanted;
    target->syncing = true;
    ABT_mutex_unlock(target->lock);
    int status = abt_io_fdatasync(target->file.io, target->file.fd);
    if (status < 0)
        log_critical("warabi", "%s: cannot sync (%s); it takes no more changes until the server is restarted",
                     target->file.path, strerror(-status));
    ABT_mutex_lock(target->lock);
    target->syncing = false;
    target->sync_done = covered;
    if (status < 0)
        target->failed = true;
    ABT_cond_broadcast(target->synced);
}

static int abtio_persist(struct wb_target *base, struct wb_region *region, const struct wb_segments *segments,
                         struct dango_error *err)
{
    struct abtio_target *target = target_of(base);
    (void)region;
    (void)segments;
    ABT_mutex_lock(target->lock);
    uint64_t ticket = ++target->sync_wanted;
    while (target->sync_done < ticket && !target->failed) {
        if (target->syncing)
            ABT_cond_wait(target->synced, target->lock);
        else
            sync_for_all(target);
    }
    ABT_mutex_unlock(target->lock);
    return wb_abtio_check_health(target, err);
}

/* ---- life ---- */

static int note_place(void *arg, const struct wb_record *record)
{
    if (record->state == WB_RECORD_ERASED)
        wb_abtio_add_free(arg, record->offset, record->capacity, false);
    return 0;
}

/* A second descriptor that goes past the page cache; the settings say whether there is one. */
static void open_direct(struct abtio_target *target, int flags)
{
    if (target->settings.directio)
        target->direct_fd = open(target->file.path, O_RDWR | O_CLOEXEC | O_DIRECT | flags);
    if (target->settings.directio && target->direct_fd < 0) {
        log_warning("warabi", "%s: no direct I/O (%s), going on without", target->file.path, strerror(errno));
        target->settings.directio = false;
    }
}

static int open_io(struct abtio_target *target, abt_io_instance_id io, struct dango_error *err)
{
    struct json_object *config = target->settings.abt_io;
    if (io && config)
        return dango_error_set(err, DANGO_ERR_INVALID,
                               "target.config.abt_io: there is a dependency \"abt_io\" as well; use one of them");
    target->file.io = io;
    if (io)
        return 0;
    struct json_object *one_thread = config ? NULL : json_tokener_parse("{\"backing_thread_count\":1}");
    target->file.io = dango_abt_io_create(config ? config : one_thread, ABT_POOL_NULL, err);
    json_object_put(one_thread);
    target->own_io = target->file.io != NULL;
    return target->own_io ? 0 : dango_error_prefix(err, "target.config.abt_io");
}

/* Opens the file, or makes a new one, as the settings say. */
static int open_file(struct abtio_target *target, struct dango_error *err)
{
    const struct file_settings *settings = &target->settings;
    int flags = settings->sync ? O_DSYNC : 0;
    int status = wb_file_open(&target->file, flags, err);
    bool replace =
        settings->override_if_exists && (status == 0 || status == DANGO_ERR_CORRUPT || status == DANGO_ERR_UNSUPPORTED);
    if (replace) {
        wb_file_close(&target->file);
        if (unlink(target->file.path) != 0)
            return dango_error_set_errno(err, errno, "%s: cannot remove", target->file.path);
    }
    if (replace || (status == DANGO_ERR_NOT_FOUND && settings->create_if_missing)) {
        dango_error_clear(err);
        status = wb_file_create(&target->file, flags, (uint64_t)settings->alignment, err);
    }
    if (status == 0)
        status = wb_file_walk(&target->file, note_place, target, &target->end, err);
    if (status == 0)
        open_direct(target, flags);
    if (status == 0 && target->file.step % (uint64_t)settings->alignment != 0)
        log_warning("warabi", "%s was made with another alignment, and keeps it", settings->path);
    return status;
}

static int check_settings(const struct file_settings *settings, struct dango_error *err)
{
    if (settings->alignment % 8 != 0)
        return dango_error_set(err, DANGO_ERR_INVALID, "target.config.alignment: %lld is not a multiple of 8",
                               (long long)settings->alignment);
    return 0;
}

static void abtio_close(struct wb_target *base)
{
    struct abtio_target *target = target_of(base);
    assert(!target->regions && !target->syncing);
    if (target->file.fd >= 0 && target->settings.destroy_on_shutdown)
        unlink(target->file.path);
    if (target->direct_fd >= 0)
        close(target->direct_fd);
    wb_file_close(&target->file);
    if (target->own_io)
        abt_io_finalize(target->file.io);
    wb_abtio_forget_free(target);
    ABT_cond_free(&target->synced);
    ABT_mutex_free(&target->lock);
    ABT_mutex_free(&target->growth);
    dango_options_release(dango_warabi_abtio_options, &target->settings);
    free(target);
}

static int abtio_open(struct json_object *config, abt_io_instance_id io, struct wb_target **result,
                      struct dango_error *err)
{
    struct abtio_target *target = calloc(1, sizeof *target);
    if (!target)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = dango_options_parse(dango_warabi_abtio_options, config, "target.config", &target->settings, err);
    if (status < 0) {
        free(target);
        return status;
    }
    target->base.type = &wb_target_abtio;
    target->file = (struct wb_file){.path = target->settings.path, .fd = -1};
    target->direct_fd = -1;
    for (size_t i = 0; i < WB_FREE_CLASSES; i++)
        list_init(&target->free[i]);
    if (ABT_mutex_create(&target->growth) != ABT_SUCCESS || ABT_mutex_create(&target->lock) != ABT_SUCCESS ||
        ABT_cond_create(&target->synced) != ABT_SUCCESS)
        status = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    if (status == 0)
        status = check_settings(&target->settings, err);
    if (status == 0)
        status = open_io(target, io, err);
    if (status == 0)
        status = open_file(target, err);
    if (status < 0) {
        target->settings.destroy_on_shutdown = false;
        abtio_close(&target->base);
        return status;
    }
    *result = &target->base;
    return 0;
}

static struct json_object *abtio_get_config(const struct wb_target *base)
{
    return dango_options_dump(dango_warabi_abtio_options, &target_of(base)->settings);
}

const struct wb_target_type wb_target_abtio = {
    .name = "abtio",
    .persists_any = true,
    .options = dango_warabi_abtio_options,
    .settings_size = sizeof(struct file_settings),
    .open = abtio_open,
    .close = abtio_close,
    .get_config = abtio_get_config,
    .create = wb_abtio_create,
    .acquire = wb_abtio_acquire,
    .release = wb_abtio_release,
    .erase = wb_abtio_erase,
    .write = abtio_write,
    .read = abtio_read,
    .pull = abtio_pull,
    .push = abtio_push,
    .persist = abtio_persist,
};
