/*
 * The sleeping protocol of wait.h. The mutex is taken only when a thread goes to sleep or wakes up.
 */
#include "mercury/na/wait.h"

#include "util/fence.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int na_wait_init(struct na_wait *wait, _Atomic uint32_t *epoch)
{
    wait->private_epoch = 0;
    wait->epoch = epoch ? epoch : (_Atomic uint32_t *)&wait->private_epoch;
    wait->sleepers = 0;
    atomic_init(&wait->look_at_epoll, true);
    atomic_init(&wait->rung, 0);
    wait->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (wait->epoll_fd < 0)
        return -1;
    wait->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wait->event_fd < 0) {
        close(wait->epoll_fd);
        return -1;
    }
    /* data.ptr NULL marks the doorbell; everything else in the set has an object. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (epoll_ctl(wait->epoll_fd, EPOLL_CTL_ADD, wait->event_fd, &event)) {
        close(wait->event_fd);
        close(wait->epoll_fd);
        return -1;
    }
    pthread_mutex_init(&wait->lock, NULL);
    return 0;
}

void na_wait_fini(struct na_wait *wait)
{
    assert(wait->sleepers == 0);
    pthread_mutex_destroy(&wait->lock);
    close(wait->event_fd);
    close(wait->epoll_fd);
}

void na_wait_begin(struct na_wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    uint32_t epoch = atomic_load_explicit(wait->epoch, memory_order_relaxed);
    atomic_store_explicit(wait->epoch, epoch + (epoch & 1 ? 2 : 1), memory_order_relaxed);
    wait->sleepers++;
    pthread_mutex_unlock(&wait->lock);
    /* The declaration must be visible before the caller looks for work. */
    dango_full_fence();
}

void na_wait_end(struct na_wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    assert(wait->sleepers > 0);
    wait->sleepers--;
    /* If others still sleep, a new number makes producers ring again for them; the caller polls for the present one. */
    atomic_fetch_add_explicit(wait->epoch, wait->sleepers ? 2 : 1, memory_order_relaxed);
    pthread_mutex_unlock(&wait->lock);
    atomic_store_explicit(&wait->look_at_epoll, true, memory_order_release);
}

void na_wait_wake(struct na_wait *wait)
{
    /* The work must be visible before we look whether anybody sleeps. */
    dango_full_fence();
    uint32_t epoch = atomic_load_explicit(wait->epoch, memory_order_relaxed);
    if ((epoch & 1) && atomic_exchange_explicit(&wait->rung, epoch, memory_order_relaxed) != epoch)
        na_wait_ring(wait->event_fd);
}

void na_wait_ring(int event_fd)
{
    uint64_t one = 1;
    /* EAGAIN means that the counter is full, so that the doorbell is ringing anyway. */
    while (write(event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}
