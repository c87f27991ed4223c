/*
 * Beginning and end of a link, and finding the partition again after its server was lost. See link.h.
 *
 * A ULT of the engine looks for the partition; it ends when there is a session again, when the partition refuses for good,
 * when time is up, and when the link is closed. With reconnect_timeout_ms 0 there is one try.
 *
 * The user hears of it in two lines of the log: when the server hangs or the first try has failed, and when the session is
 * back or given up.
 */
#include "mofka/client/driver.h"
#include "mofka/client/link.h"
#include "util/clock.h"
#include "util/log.h"

#include <assert.h>

#define PAUSE_MIN_MS 10.0
#define PAUSE_MAX_MS 1000.0
/* Closing is noticed within this time. */
#define SLICE_MS 50.0

/* ---- one try ---- */

/* What may be over when it is tried again. */
static bool is_passing(int code)
{
    return code == DANGO_ERR_DISCONNECTED || code == DANGO_ERR_TIMEOUT || code == DANGO_ERR_BUSY ||
           code == DANGO_ERR_NO_MEMORY;
}

int mofka_link_ask(struct mofka_link *link, enum mofka_rpc rpc, const diaspora_segment *parts, size_t count,
                   void *answer, size_t answer_size, double timeout_ms, struct dango_error *err)
{
    hg_handle_t handle;
    int code = mofka_handle_create(&link->target, rpc, &handle, err);
    if (code != 0)
        return code;
    pthread_mutex_lock(&link->lock);
    bool closing = link->closing;
    if (!closing)
        link->asking = handle;
    pthread_mutex_unlock(&link->lock);
    code = closing ? dango_error_set(err, DANGO_ERR_CANCELED, "canceled: closed")
                   : mofka_call_by(&link->target, handle, parts, count, answer, answer_size, timeout_ms, err);
    pthread_mutex_lock(&link->lock);
    link->asking = HG_HANDLE_NULL;
    pthread_mutex_unlock(&link->lock);
    margo_destroy(handle);
    return code;
}

static int open_session(struct mofka_link *link, struct dango_error *err)
{
    int code = link->ops->open(link, err);
    return code == 0 ? mofka_link_begin_lease(link, err) : code;
}

static int open_here(struct mofka_link *link, bool *final, struct dango_error *err)
{
    int code = open_session(link, err);
    *final = code != 0 && !is_passing(code);
    return code;
}

/* Where the master database says that the partition is; where it was, when nobody can say. *final: it cannot be opened. */
static int open_elsewhere(struct mofka_link *link, bool *final, struct dango_error *err)
{
    struct mofka_target target;
    struct dango_error ignored;
    if (mofka_resolve(link->driver, link->topic, link->uuid, &target, err) != 0)
        return open_here(link, final, &ignored) == 0 ? 0 : err->code;
    mofka_target_fini(&link->target);
    link->target = target;
    return open_here(link, final, err);
}

static int try_once(struct mofka_link *link, bool first, bool *final, struct dango_error *err)
{
    /* The server may have forgotten us only; one that does not answer is not asked again at once. */
    if (first && link->cause.code != DANGO_ERR_TIMEOUT) {
        int code = open_here(link, final, err);
        if (code == 0 || *final)
            return code;
    }
    return open_elsewhere(link, final, err);
}

/* ---- trying again ---- */

static bool is_closing(struct mofka_link *link)
{
    pthread_mutex_lock(&link->lock);
    bool closing = link->closing;
    pthread_mutex_unlock(&link->lock);
    return closing;
}

/* Sleeps for the link's pause, half of it by chance, but not beyond the end, and makes the next one longer. */
static void pause_before_try(struct mofka_link *link, int64_t end_ns)
{
    int64_t now_ns = dango_clock_ns();
    double chance = (double)((uint64_t)now_ns / 64 % 1024) / 1024;
    double pause_ms = link->pause_ms / 2 + link->pause_ms / 2 * chance;
    double left_ms = (double)(end_ns - now_ns) / (double)DANGO_NS_PER_MS;
    if (pause_ms > left_ms)
        pause_ms = left_ms;
    for (; pause_ms > 0 && !is_closing(link); pause_ms -= SLICE_MS)
        margo_thread_sleep(mofka_engine_instance(link->driver->engine), pause_ms < SLICE_MS ? pause_ms : SLICE_MS);
    link->pause_ms = link->pause_ms > 0 ? 2 * link->pause_ms : PAUSE_MIN_MS;
    if (link->pause_ms > PAUSE_MAX_MS)
        link->pause_ms = PAUSE_MAX_MS;
}

static void report_loss(struct mofka_link *link, const struct dango_error *err)
{
    if (link->reported || link->driver->reconnect_timeout_ms == 0)
        return;
    link->reported = true;
    mofka_driver_note_loss(link->driver, link->cause.code != 0 ? link->cause.text : err->text);
}

static void report_end(struct mofka_link *link, bool found)
{
    if (link->reported)
        mofka_driver_note_end(link->driver, found, link->target.address,
                              (double)(dango_clock_ns() - link->lost_ns) / 1e9);
    link->reported = false;
}

/* What those who waited are told when time is up. */
static int give_up(const struct mofka_link *link, struct dango_error *err)
{
    double timeout_ms = link->driver->reconnect_timeout_ms;
    const struct dango_error last = *err;
    if (timeout_ms == 0)
        return dango_error_set(err, link->cause.code != 0 ? link->cause.code : last.code, "%s",
                               link->cause.code != 0 ? link->cause.text : last.text);
    return dango_error_set(err, DANGO_ERR_TIMEOUT, "%s%sthe partition was not found again within %g s (last try: %s)",
                           link->cause.text, link->cause.code != 0 ? "; " : "", timeout_ms / 1000, last.text);
}

static int find_again(struct mofka_link *link, struct dango_error *err)
{
    int64_t end_ns = link->lost_ns + (int64_t)(link->driver->reconnect_timeout_ms * (double)DANGO_NS_PER_MS);
    if (link->cause.code == DANGO_ERR_TIMEOUT) /* the first try may hang, too */
        report_loss(link, &link->cause);
    for (bool first = true;; first = false) {
        bool final;
        if (link->dismissal.code != 0) /* set while calls were under way, and none is now */
            return dango_error_set(err, link->dismissal.code, "%s", link->dismissal.text);
        pause_before_try(link, end_ns);
        if (is_closing(link))
            return dango_error_set(err, DANGO_ERR_CANCELED, "canceled: closed while its server was away");
        int code = try_once(link, first, &final, err);
        if (code == 0 || final)
            return code;
        report_loss(link, err);
        if (dango_clock_ns() >= end_ns)
            return give_up(link, err);
    }
}

void mofka_link_look(void *arg)
{
    struct mofka_link *link = arg;
    struct dango_error err = {0};
    assert(link->state == MOFKA_LINK_LOOKING);
    mofka_link_end_lease(link, false, NULL);
    int code = find_again(link, &err);
    report_end(link, code == 0);
    pthread_mutex_lock(&link->lock);
    bool too_late = code == 0 && link->closing; /* nobody would end the session: whoever closes has found none */
    if (too_late)
        code = dango_error_set(&err, DANGO_ERR_CANCELED, "canceled: closed while its server was away");
    if (code == 0) {
        link->state = MOFKA_LINK_UP;
        link->session++;
        link->served = link->discarding = false;
        link->up_ns = dango_clock_ns();
        mofka_link_send_ready(link);
    } else {
        link->state = MOFKA_LINK_DOWN;
        dango_error_clear(&link->cause);
        mofka_link_fail_calls(link, &err);
    }
    pthread_mutex_unlock(&link->lock);
    if (too_late)
        mofka_link_end_lease(link, true, &err);
    mofka_link_deliver(link);
    mofka_link_drop(link, 1);
}

/* ---- beginning and end ---- */

static void link_fini(struct mofka_link *link)
{
    assert(list_empty(&link->ordered) && list_empty(&link->loose) && !link->leased);
    mofka_target_fini(&link->target);
    if (link->unused)
        ABT_eventual_free(&link->unused);
    pthread_mutex_destroy(&link->lock);
}

/* The first session: where the topic says, or, if nobody is there any more, where the partition has gone since. */
static int open_first(struct mofka_link *link, const struct mofka_topic_partition *where, struct dango_error *err)
{
    bool final;
    int code =
        mofka_target_init(&link->target, link->driver->engine, where->target.address, where->target.provider_id, err);
    if (code == 0)
        code = open_session(link, err);
    if (code != DANGO_ERR_DISCONNECTED)
        return code;
    struct dango_error first = *err;
    code = open_elsewhere(link, &final, err);
    if (code != 0 && !final)
        return dango_error_set(err, first.code, "%s", first.text);
    return code;
}

int mofka_link_open(struct mofka_link *link, struct mofka_topic *topic, size_t partition,
                    const struct mofka_link_ops *ops, struct dango_error *err)
{
    struct mofka_topic_partition *where;
    struct dango_error mine;
    if (!err)
        err = &mine;
    int code = mofka_topic_partition(topic, partition, &where, err);
    if (code != 0)
        return code;
    *link = (struct mofka_link){.driver = topic->driver, .ops = ops, .topic = topic->name, .uuid = where->uuid};
    list_init(&link->ordered);
    list_init(&link->loose);
    pthread_mutex_init(&link->lock, NULL);
    atomic_init(&link->references, 1);
    link->session = 1;
    link->up_ns = dango_clock_ns();
    if (ABT_eventual_create(0, &link->unused) != ABT_SUCCESS)
        code = dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    if (code == 0 && open_first(link, where, err) != 0)
        code = dango_error_prefix(err, "partition %zu", partition);
    if (code != 0)
        link_fini(link);
    return code;
}

/*
 * The server is told first, so that it answers what waits and finishes what it is writing to our memory: only a server
 * that does not listen any more gets its calls canceled, and its connection closed.
 */
void mofka_link_close(struct mofka_link *link)
{
    struct dango_error err;
    pthread_mutex_lock(&link->lock);
    link->closing = true;
    if (link->asking != HG_HANDLE_NULL)
        HG_Cancel(link->asking);
    bool up = link->state == MOFKA_LINK_UP;
    pthread_mutex_unlock(&link->lock);
    if (up && mofka_link_end_lease(link, true, &err) != 0) {
        pthread_mutex_lock(&link->lock);
        mofka_link_lose(link, &err, true);
        pthread_mutex_unlock(&link->lock);
    }
    mofka_link_drop(link, 1);
    ABT_eventual_wait(link->unused, NULL);
    mofka_link_end_lease(link, false, NULL);
    link_fini(link);
}
