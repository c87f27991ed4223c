/*
 * Where the partition of a provider is kept, and how it reaches the medium: through the I/O controller, from ULTs in the
 * pool of the controller, if it has one, or else of the provider. Everything that runs so counts as a request, so that the
 * end of the provider waits for it.
 */
#include "abt-io/dango_abt_io.h"
#include "mofka/server/directories.h"
#include "mofka/server/provider.h"

#include <stdlib.h>

/* ---- operations of the log ---- */

static ssize_t controller_pwritev(void *arg, int fd, const struct iovec *iov, int count, off_t offset)
{
    return abt_io_pwritev(arg, fd, iov, count, offset);
}

static int controller_fdatasync(void *arg, int fd)
{
    return abt_io_fdatasync(arg, fd);
}

static int controller_run(void *arg, void (*body)(void *argument), void *argument)
{
    return dango_abt_io_run(arg, body, argument);
}

/* ---- work in a thread ---- */

struct task {
    struct mofka_provider *provider;
    void (*body)(void *argument);
    void *argument;
};

static void run_task(void *arg)
{
    struct task task = *(struct task *)arg;
    free(arg);
    task.body(task.argument);
    mofka_provider_leave(task.provider);
}

static int run_in(ABT_pool pool, struct mofka_provider *provider, void (*body)(void *argument), void *argument)
{
    struct task *task = malloc(sizeof *task);
    if (!task)
        return DANGO_ERR_NO_MEMORY;
    *task = (struct task){provider, body, argument};
    atomic_fetch_add(&provider->active, 1);
    if (ABT_thread_create(pool, run_task, task, ABT_THREAD_ATTR_NULL, NULL) == ABT_SUCCESS)
        return 0;
    mofka_provider_leave(provider);
    free(task);
    return DANGO_ERR_NO_MEMORY;
}

int mofka_provider_run(void *provider, void (*body)(void *argument), void *argument)
{
    struct mofka_provider *self = provider;
    return run_in(self->settings.pool, self, body, argument);
}

/* What writes the log runs where its system calls do, if that is a pool: one wake-up in all, and not two for each of
 * them. There it also hands what it has stored to waiting consumers: a controller that serves many partitions wants
 * several streams. */
static int run_writer(void *arg, void (*body)(void *argument), void *argument)
{
    struct mofka_provider *provider = arg;
    ABT_pool pool = dango_abt_io_pool(provider->settings.io_controller);
    return run_in(pool != ABT_POOL_NULL ? pool : provider->settings.pool, provider, body, argument);
}

static void sleep_in_thread(void *arg, int64_t timeout_ms)
{
    struct mofka_provider *provider = arg;
    margo_thread_sleep(provider->settings.mid, (double)timeout_ms);
}

/* ---- opening ---- */

static int open_positions(struct mofka_provider *provider, struct dango_error *err)
{
    struct mofka_log *log = dango_mofka_partition_log(provider->partition);
    struct mofka_positions_settings settings = {
        .directory = dango_mofka_log_directory(log),
        .end = dango_mofka_partition_next_id(provider->partition),
        .io = &provider->io,
        .run = mofka_provider_run,
        .run_arg = provider,
    };
    memcpy(settings.uuid, provider->settings.uuid, sizeof settings.uuid);
    return dango_mofka_positions_open(&settings, &provider->positions, err);
}

static int open_stored(struct mofka_provider *provider, const struct mofka_partition_settings *settings,
                       struct dango_error *err)
{
    struct mofka_log_report report;
    struct mofka_stored_settings stored = {
        .topic = provider->settings.topic,
        .options = provider->settings.stored,
        .must_exist = provider->settings.must_exist,
        .origin = provider->settings.origin,
        .io = &provider->io,
        .run = run_writer,
        .sleep = sleep_in_thread,
        .run_arg = provider,
    };
    provider->io = (struct mofka_log_io){controller_pwritev, controller_fdatasync, provider->settings.io_controller,
                                         controller_run};
    int code = 0;
    if (!stored.must_exist)
        dango_mofka_log_sweep_deleted(stored.options->path);
    if (!stored.must_exist)
        code = mofka_directories_check(stored.topic, stored.options->path, settings->uuid, err);
    if (code == 0)
        code = dango_mofka_partition_open(settings, &stored, &provider->partition, &report, err);
    if (code == 0)
        code = open_positions(provider, err);
    if (code != 0)
        dango_error_prefix(err, "config.partition.path");
    else
        code = mofka_retention_init(provider, &provider->settings.stored->retention, err);
    provider->settings.stored = NULL; /* borrowed until here */
    return code;
}

bool mofka_storage_is_slow(const struct mofka_provider *provider)
{
    return dango_mofka_partition_log(provider->partition) != NULL;
}

static void on_grown(void *arg)
{
    struct mofka_provider *provider = arg;
    mofka_feed_waiting(provider);
    mofka_retention_grown(provider);
}

int mofka_storage_open(struct mofka_provider *provider, struct dango_error *err)
{
    struct mofka_partition_settings settings = {
        .registrar = &provider->registrar,
        .grown = on_grown,
        .arg = provider,
    };
    memcpy(settings.uuid, provider->settings.uuid, sizeof settings.uuid);
    if (provider->settings.stored)
        return open_stored(provider, &settings, err);
    int code = provider->settings.legacy
                   ? dango_mofka_partition_open_legacy(&settings, provider->settings.legacy, mofka_provider_run,
                                                       provider, &provider->partition, err)
                   : dango_mofka_partition_create(&settings, &provider->partition, err);
    provider->settings.legacy = NULL; /* borrowed until here */
    return code == 0 ? dango_mofka_positions_create(&provider->positions, err) : code;
}
