/*
 * How a context sleeps, and how others wake it.
 *
 * A context has one epoll descriptor with everything it waits for, among it an event descriptor that is its doorbell.
 * Ringing costs a system call, so it is done only for sleepers: the context publishes an *epoch*, odd while it
 * sleeps. Before a thread blocks it makes the epoch odd, looks once more for work, and only then sleeps. Who produces
 * work does so first and looks at the epoch second; between the two, on both sides, stands a full fence, so at least
 * one of them sees the other. Each declaration gives a new odd number, and a producer that has rung for a number need
 * not ring for it again.
 *
 * The word with the epoch may be shared with other processes (sm: a page that peers map read-only) or private (tcp).
 */
#ifndef DANGO_MERCURY_NA_WAIT_H
#define DANGO_MERCURY_NA_WAIT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct na_wait {
    int epoll_fd;
    int event_fd;               /* edge-triggered in epoll_fd: never read */
    _Atomic uint32_t *epoch;    /* odd: asleep */
    uint32_t private_epoch;     /* what `epoch` points to unless the transport gives a shared word */
    pthread_mutex_t lock;       /* guards `sleepers` and changes of the epoch */
    unsigned sleepers;          /* threads between na_wait_begin and na_wait_end */
    _Atomic bool look_at_epoll; /* somebody woke up: the next poll must ask epoll */
    _Atomic uint32_t rung;      /* epoch for which a local thread has rung */
};

/* `epoch` NULL: a private word. 0, or -1 with errno. */
int na_wait_init(struct na_wait *wait, _Atomic uint32_t *epoch);
void na_wait_fini(struct na_wait *wait);

/* Declares the calling thread asleep; look for work after this, and block only if there is none. */
void na_wait_begin(struct na_wait *wait);
/* Withdraws the declaration. */
void na_wait_end(struct na_wait *wait);

/* Wakes the sleepers of this process' own context, if there are any. The work must have been published before. */
void na_wait_wake(struct na_wait *wait);

/* Rings a doorbell; never blocks. */
void na_wait_ring(int event_fd);

#endif
