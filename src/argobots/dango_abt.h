/*
 * What the thread runtime offers to the other components beyond abt.h: one way to sleep for the
 * progress loop, timers, pools of Margo's own kinds, and adding a pool to a running scheduler.
 *
 * Sleeping. An execution stream (ES) that finds all pools of its scheduler empty announces itself as
 * a sleeper of each of them, looks at the pools once more, and blocks in the kernel. A push takes one
 * sleeper off the pool's list and wakes it; when nobody sleeps there it costs nothing more. A progress
 * loop is a ULT, so that when it has nothing to do its whole ES has nothing to do: it calls
 * dango_abt_idle_wait, which does the same on its behalf, waiting in one epoll_wait for pushes, for
 * the transport's descriptor and for the timeout. The loop of such a ULT:
 *
 *     for (;;) {
 *         progress and trigger whatever is there;
 *         if (dango_abt_self_has_work()) { dango_abt_self_yield_last(); continue; }
 *         if (nothing happened for the spin time)
 *             dango_abt_idle_wait(transport_fd, timeout_ns, transport_may_sleep, transport);
 *     }
 */
#ifndef DANGO_ARGOBOTS_DANGO_ABT_H
#define DANGO_ARGOBOTS_DANGO_ABT_H

#include <stdbool.h>
#include <stdint.h>

#include "abt.h"

/* Why dango_abt_idle_wait returned: a set of these bits. */
enum dango_abt_wake {
    DANGO_ABT_WOKE_POOL = 1,    /* a pool of this ES has a ready unit, or somebody asked the ES for attention: yield */
    DANGO_ABT_WOKE_FD = 2,      /* epoll_fd is readable: progress the transport */
    DANGO_ABT_WOKE_TIMEOUT = 4, /* timeout_ns have passed */
    DANGO_ABT_WOKE_RECHECK = 8, /* recheck returned false: there is work already, did not sleep */
};

/*
 * Puts the calling ES to sleep until there is something to do; returns enum dango_abt_wake bits (at least one).
 *
 * epoll_fd: descriptor of the transport (an epoll descriptor is fine), -1 for none. It stays registered with this ES
 *     between calls: announce its closing with dango_abt_idle_forget.
 * timeout_ns: at most this long; 0 checks without sleeping, negative means for ever.
 * recheck: NULL, or called after this ES has been announced as a sleeper: the transport publishes that it sleeps,
 *     looks once more for work, and returns whether sleeping is safe. Called on the ULT's stack, must not block.
 *
 * Call it from a ULT that runs under the main scheduler of its ES. From an external thread it waits for epoll_fd and
 * the timeout only. Never fails; interruptions by signals are absorbed or show as a spurious WOKE_POOL.
 */
int dango_abt_idle_wait(int epoll_fd, int64_t timeout_ns, bool (*recheck)(void *arg), void *arg);

/* To be called before a descriptor that was given to dango_abt_idle_wait is closed. Any thread; does not block. */
void dango_abt_idle_forget(int epoll_fd);

/* Whether a pool of the calling ES holds a ready unit (or its scheduler was asked to stop): a few loads. */
bool dango_abt_self_has_work(void);

/*
 * Yields to every ready unit of the ES, also those in pools that its scheduler serves after the caller's own (which
 * ABT_self_yield would starve): for loops that must not keep anybody else from running. No-op outside of ULTs.
 */
void dango_abt_self_yield_last(void);

/* Whether the caller is a ULT that may block, i.e. neither an external thread nor a tasklet nor a scheduler. */
bool dango_abt_self_is_ult(void);

/*
 * Timers. One heap for the process, served by one thread that sleeps until the next deadline and is started with the
 * first timer: a deadline is kept even when all ESs are busy or asleep. The callback runs on that thread: it must be
 * short and must not block; it may set eventuals, signal, create ULTs, arm timers (also its own) and cancel others.
 *
 * The memory belongs to the caller and has to stay valid until the callback has returned or cancel has succeeded.
 */
typedef void (*dango_abt_timer_fn)(void *arg);

struct dango_abt_timer {
    dango_abt_timer_fn fn;
    void *arg;
    int64_t deadline_ns; /* CLOCK_MONOTONIC (dango_clock_ns) */
    struct dango_abt_timer *child, *next, *prev;
    bool armed;
};

void dango_abt_timer_init(struct dango_abt_timer *timer, dango_abt_timer_fn fn, void *arg);

/* Arms, or re-arms with another deadline. O(1); a system call only if it becomes the earliest of all. Needs ABT_init.
 */
void dango_abt_timer_arm(struct dango_abt_timer *timer, int64_t deadline_ns);

/*
 * Disarms; true if the callback will not run any more because of the last arm, false if it was not armed or has run.
 * In both cases the callback is not running when this returns (it is waited for), except when called by itself.
 */
bool dango_abt_timer_cancel(struct dango_abt_timer *timer);

/*
 * Pools of Margo's kinds.
 * prio:           two queues; units that already ran go first, but one rescheduled more than 25 times goes last again.
 * earliest_first: the oldest unit (by creation) first; one rescheduled 32 times or more moves to a queue behind.
 * Both belong to the caller (not automatic); sleeping schedulers are woken by a push as with all pools.
 */
int dango_abt_pool_create_prio(ABT_pool_access access, ABT_pool *newpool);
int dango_abt_pool_create_earliest_first(ABT_pool_access access, ABT_pool *newpool);

/*
 * Appends a pool to the main scheduler of an ES, running or not; it is served with the lowest priority. For predefined
 * schedulers only (ABT_ERR_SCHED otherwise); ABT_ERR_INV_ARG if the scheduler serves it already, ABT_ERR_SCHED if it
 * has the maximum of DANGO_ABT_MAX_POOLS. Any thread.
 */
#define DANGO_ABT_MAX_POOLS 64
int dango_abt_xstream_add_pool(ABT_xstream xstream, ABT_pool pool);

#endif
