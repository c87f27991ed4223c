/*
 * Accepting, what happens when descriptors run out, and who connects and says nothing.
 *
 * A socket with waiting connections stays readable, so a context that cannot accept takes it out of its epoll set
 * instead of spinning. It comes back when one of the context's own connections closes, and in any case after a moment:
 * files or another context may have used the descriptors up. The timer that says so is made with the listener, since
 * there is none left to make it with when it is needed.
 *
 * Who has connected and not said hello for NA_SILENT_MS is let go; when descriptors are short, after PAUSE_MS. What it
 * said may only not have been read yet, by a progress loop that was held up: so only who was silent at the last look,
 * too.
 */
#include "mercury/na/conn.h"

#include "util/clock.h"
#include "util/log.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define PAUSE_MS 250

int na_listen_start(struct na_context *context, int sock)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = context};

    assert(context->listen_timer < 0);
    context->listen_sock = sock;
    context->listen_timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (context->listen_timer < 0)
        return -1;
    if (epoll_ctl(context->wait.epoll_fd, EPOLL_CTL_ADD, context->listen_timer, &event))
        return -1;
    return epoll_ctl(context->wait.epoll_fd, EPOLL_CTL_ADD, sock, &event);
}

/* Setting the timer, or stopping it (0), takes back that it has expired. */
static void set_timer(struct na_context *context, int64_t when_ns)
{
    const struct itimerspec moment = {
        .it_value = {.tv_sec = when_ns / DANGO_NS_PER_S, .tv_nsec = when_ns % DANGO_NS_PER_S}};

    timerfd_settime(context->listen_timer, TFD_TIMER_ABSTIME, &moment, NULL);
}

/* ---- silence ---- */

static struct na_conn *find_silent(struct na_context *context, int64_t before_ns, bool marked)
{
    struct na_conn *found = NULL;

    pthread_mutex_lock(&context->conns_lock);
    list_for_each (node, &context->conns) {
        struct na_conn *conn = container_of(node, struct na_conn, link);
        if (conn->silent_ns != 0 && conn->silent_ns <= before_ns && (conn->silence_seen || !marked)) {
            found = conn;
            break;
        }
    }
    pthread_mutex_unlock(&context->conns_lock);
    return found;
}

static void mark_silent(struct na_context *context, int64_t before_ns)
{
    pthread_mutex_lock(&context->conns_lock);
    list_for_each (node, &context->conns) {
        struct na_conn *conn = container_of(node, struct na_conn, link);
        conn->silence_seen = conn->silent_ns != 0 && conn->silent_ns <= before_ns;
    }
    pthread_mutex_unlock(&context->conns_lock);
}

/* Closes those that were silent at the last look and have been for `ms`; marks those that are now. True if there were
 * any. */
static bool close_silent(struct na_context *context, int64_t ms)
{
    int64_t before_ns = dango_clock_ns() - ms * DANGO_NS_PER_MS;
    struct na_conn *conn;
    bool any = false;

    while ((conn = find_silent(context, before_ns, true))) {
        log_debug("mercury", "somebody has connected and says nothing: the connection is closed");
        na_conn_close(conn, HG_TIMEOUT);
        any = true;
    }
    mark_silent(context, before_ns);
    return any;
}

static void look_at(struct na_context *context, int64_t when_ns)
{
    context->listen_look_ns = when_ns;
    if (!context->listen_off)
        set_timer(context, when_ns);
}

static void look_if_due(struct na_context *context)
{
    int64_t now_ns = dango_clock_ns(), next_ns = now_ns + PAUSE_MS * DANGO_NS_PER_MS;

    if (context->listen_look_ns == 0 || now_ns < context->listen_look_ns)
        return;
    close_silent(context, NA_SILENT_MS);
    const struct na_conn *oldest = find_silent(context, now_ns, false);
    if (oldest && oldest->silent_ns + NA_SILENT_MS * DANGO_NS_PER_MS > next_ns)
        next_ns = oldest->silent_ns + NA_SILENT_MS * DANGO_NS_PER_MS;
    look_at(context, oldest ? next_ns : 0);
}

void na_listen_drop_oldest(struct na_context *context)
{
    struct na_conn *oldest = find_silent(context, INT64_MAX, false);

    if (oldest)
        na_conn_close(oldest, HG_TIMEOUT);
}

/* ---- pauses ---- */

static void set_pause(struct na_context *context, bool off)
{
    struct epoll_event event = {.events = off ? 0 : EPOLLIN, .data.ptr = context};

    epoll_ctl(context->wait.epoll_fd, EPOLL_CTL_MOD, context->listen_sock, &event);
    set_timer(context, off ? dango_deadline_ns(PAUSE_MS) : context->listen_look_ns);
    context->listen_off = off;
}

void na_listen_resume(struct na_context *context)
{
    if (context->listen_off)
        set_pause(context, false);
}

static void pause_listening(struct na_context *context)
{
    if (!context->listen_told)
        log_warning("mercury", "cannot accept connections: %s%s; trying again every %d ms", strerror(errno),
                    errno == EMFILE ? " (ulimit -n says how many this process may have)" : "", PAUSE_MS);
    context->listen_told = true;
    set_pause(context, true);
}

static bool is_short(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM || errnum == ENOBUFS;
}

static int accept_one(const struct na_context *context)
{
    return accept4(context->listen_sock, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

int na_listen_accept(struct na_context *context)
{
    na_listen_resume(context);
    int sock = accept_one(context);
    if (sock < 0 && is_short(errno)) {
        int errnum = errno;
        if (close_silent(context, PAUSE_MS))
            sock = accept_one(context);
        else
            errno = errnum;
    }
    if (sock >= 0) {
        context->listen_told = false;
        if (context->listen_look_ns == 0)
            look_at(context, dango_deadline_ns(NA_SILENT_MS));
    } else if (is_short(errno)) {
        pause_listening(context);
    } else {
        look_if_due(context);
    }
    return sock;
}
