/*
 * Accepting, and what happens when descriptors run out. A socket with waiting connections stays readable, so a context that
 * cannot accept takes it out of its epoll set instead of spinning. It comes back when one of the context's own connections
 * closes, and in any case after a moment: files or another context may have used the descriptors up. The timer that says so
 * is made with the listener, since there is none left to make it with when it is needed.
 */
#include "mercury/na/conn.h"

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

/* Setting the timer, or stopping it, takes back that it has expired. */
static void set_pause(struct na_context *context, bool off)
{
    struct epoll_event event = {.events = off ? 0 : EPOLLIN, .data.ptr = context};
    const struct itimerspec moment = {.it_value.tv_nsec = off ? PAUSE_MS * 1000000L : 0};

    epoll_ctl(context->wait.epoll_fd, EPOLL_CTL_MOD, context->listen_sock, &event);
    timerfd_settime(context->listen_timer, 0, &moment, NULL);
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
        log_warning("mercury", "cannot accept connections: %s; trying again every %d ms", strerror(errno), PAUSE_MS);
    context->listen_told = true;
    set_pause(context, true);
}

int na_listen_accept(struct na_context *context)
{
    na_listen_resume(context);
    int sock = accept4(context->listen_sock, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (sock >= 0)
        context->listen_told = false;
    else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
        pause_listening(context);
    return sock;
}
