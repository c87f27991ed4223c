/*
 * When partitions are restored; see host.h.
 */
#include "mofka/server/host.h"

#include "mofka/server/directories.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>
#include <stdlib.h>

/* How long the server waits for the master before it announces itself all the same. */
#define WAIT_MS 5000
/* Pauses between attempts grow between these. */
#define PAUSE_MIN_MS 50
#define PAUSE_MAX_MS 5000

struct mofka_host {
    struct bedrock_host *bedrock;
    hg_id_t directories; /* the RPC */
    ABT_thread thread;   /* the attempts in the background; ABT_THREAD_NULL: none */
    ABT_mutex_memory mutex;
    ABT_cond_memory changed; /* `ending` is set */
    bool ending;
};

/* 0: done, or nothing to do. DANGO_ERR_AGAIN: later, perhaps. Everything else is final. */
static int attempt(struct mofka_host *host, struct dango_error *err)
{
    struct mofka_surroundings around = {0};
    int code = mofka_look_around(host->bedrock, &around, err);
    if (code == 0 && around.member_count == 1 && !around.master)
        code = mofka_name_server(host->bedrock, &around, err);
    else if (code == 0 && around.master)
        code = mofka_restore(host->bedrock, &around, err);
    else if (code == 0)
        code = dango_error_set(err, DANGO_ERR_AGAIN, "none of the %zu servers has a master database yet",
                               around.member_count);
    mofka_surroundings_release(&around);
    return code;
}

/* Sleeps between two attempts; false when the server is about to end. */
static bool pause_attempts(struct mofka_host *host, unsigned *pause_ms)
{
    ABT_mutex mutex = ABT_MUTEX_MEMORY_GET_HANDLE(&host->mutex);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += *pause_ms / 1000;
    until.tv_nsec += (long)(*pause_ms % 1000) * DANGO_NS_PER_MS;
    if (until.tv_nsec >= DANGO_NS_PER_S) {
        until.tv_nsec -= DANGO_NS_PER_S;
        until.tv_sec++;
    }
    ABT_mutex_lock(mutex);
    if (!host->ending)
        ABT_cond_timedwait(ABT_COND_MEMORY_GET_HANDLE(&host->changed), mutex, &until);
    bool go_on = !host->ending;
    ABT_mutex_unlock(mutex);
    *pause_ms = *pause_ms * 2 < PAUSE_MAX_MS ? *pause_ms * 2 : PAUSE_MAX_MS;
    return go_on && !bedrock_host_is_stopping(host->bedrock);
}

static void restore_later(void *arg)
{
    struct mofka_host *host = arg;
    struct dango_error err = {0};
    unsigned pause_ms = PAUSE_MIN_MS;
    int code = DANGO_ERR_AGAIN;
    while (code == DANGO_ERR_AGAIN && pause_attempts(host, &pause_ms))
        code = attempt(host, &err);
    if (code < 0 && code != DANGO_ERR_AGAIN)
        log_error("mofka", "partitions of this server are not restored: %s", err.text);
}

static int start_later(struct mofka_host *host, struct dango_error *err)
{
    ABT_pool pool;
    log_warning("mofka", "partitions of this server are not restored yet: %s; looking on in the background", err->text);
    if (margo_get_handler_pool(bedrock_host_instance(host->bedrock), &pool) == 0 &&
        ABT_thread_create(pool, restore_later, host, ABT_THREAD_ATTR_NULL, &host->thread) == ABT_SUCCESS)
        return 0;
    host->thread = ABT_THREAD_NULL;
    return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
}

/* Before the server announces itself, for a while. */
static int restore_now(struct mofka_host *host, struct dango_error *err)
{
    const int64_t deadline_ns = dango_deadline_ns(WAIT_MS);
    unsigned pause_ms = PAUSE_MIN_MS;
    int code = attempt(host, err);
    while (code == DANGO_ERR_AGAIN && dango_clock_ns() < deadline_ns && pause_attempts(host, &pause_ms))
        code = attempt(host, err);
    return code == DANGO_ERR_AGAIN ? start_later(host, err) : code;
}

static void free_host(struct mofka_host *host)
{
    if (host->directories)
        margo_deregister(bedrock_host_instance(host->bedrock), host->directories);
    free(host);
}

int mofka_host_attach(struct bedrock_host *bedrock, void **state, struct dango_error *err)
{
    struct mofka_host *host = calloc(1, sizeof *host);
    if (!host)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    host->bedrock = bedrock;
    host->thread = ABT_THREAD_NULL;
    host->mutex = (ABT_mutex_memory)ABT_MUTEX_INITIALIZER;
    host->changed = (ABT_cond_memory)ABT_COND_INITIALIZER;
    int code = mofka_directories_register(bedrock_host_instance(bedrock), bedrock_host_management_id(bedrock),
                                          &host->directories, err);
    if (code == 0)
        code = restore_now(host, err);
    if (code < 0) {
        free_host(host);
        return code;
    }
    *state = host;
    return 0;
}
void mofka_host_detach(void *state)
{
    struct mofka_host *host = state;
    ABT_mutex mutex = ABT_MUTEX_MEMORY_GET_HANDLE(&host->mutex);
    ABT_mutex_lock(mutex);
    host->ending = true;
    ABT_cond_broadcast(ABT_COND_MEMORY_GET_HANDLE(&host->changed));
    ABT_mutex_unlock(mutex);
    if (host->thread != ABT_THREAD_NULL)
        ABT_thread_free(&host->thread);
    free_host(host);
}
