/*
 * How an ES sleeps, alone or inside a progress loop. The contract is in dango_abt.h.
 *
 * The sleeper's `state` is what both sides agree on: ASLEEP_FUTEX or ASLEEP_EPOLL from the announcement on, NOTIFIED
 * once somebody has decided to wake it. Who does that takes it out of the list of the pool he pushed to, under that
 * pool's lock; the one who changed the state pays for the system call, after releasing the lock. By then the ES may be
 * awake for another reason, asleep again, or ended: a spurious wake-up, harmless, because ESs are never unmapped while
 * the library is initialised and keep their event descriptor.
 *
 * No push is lost: the sleeper announces itself under the lock of each pool, then looks at all of them; the pusher
 * inserts and then looks for sleepers, both under the same lock (or with a full barrier in between on both
 * sides, for pools of other kinds). A request is a flag, `attention`, handled in the same way.
 */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "argobots/abti.h"
#include "util/clock.h"
#include "util/fence.h"

#define POOR_NAP_NS           DANGO_NS_PER_MS
#define MIN_NONNEGATIVE(a, b) ((a) >= 0 && (a) < (b) ? (a) : (b))

enum { EVENT_WAKE, EVENT_TRANSPORT };

/* Marks the sleeper as being woken by the caller, who must then kick it; false if somebody else is doing that. */
bool abti_sleeper_wake(struct abti_sleeper *sleeper, enum abti_sleep_state *was)
{
    *was = (enum abti_sleep_state)atomic_exchange(&sleeper->state, ABTI_NOTIFIED);
    return *was != ABTI_NOTIFIED;
}

void abti_sleeper_kick(struct abti_sleeper *sleeper, enum abti_sleep_state was)
{
    uint64_t one = 1;
    if (was == ABTI_ASLEEP_FUTEX)
        abti_futex_wake(&sleeper->state);
    else if (was == ABTI_ASLEEP_EPOLL && write(sleeper->event_fd, &one, sizeof one) < 0)
        assert(errno == EAGAIN); /* the counter is full: it is readable anyway */
}

/* Makes the ES look around: ends its sleep, or prevents the next one. */
void abti_xstream_wake(abti_xstream *es)
{
    atomic_store(&es->attention, true);
    uint32_t state = atomic_load(&es->sleeper.state);
    while (state == ABTI_ASLEEP_FUTEX || state == ABTI_ASLEEP_EPOLL) {
        if (atomic_compare_exchange_weak(&es->sleeper.state, &state, ABTI_NOTIFIED)) {
            abti_sleeper_kick(&es->sleeper, (enum abti_sleep_state)state);
            break;
        }
    }
}

static int announce(abti_xstream *es, abti_sched *sched, enum abti_sleep_state state)
{
    int num_pools = abti_load_acquire(&sched->num_pools);
    atomic_store(&es->sleeper.state, state);
    for (int i = 0; i < num_pools; i++) /* whoever only waits for pools is woken before a progress loop */
        abti_pool_add_sleeper(sched->pools[i], &sched->links[i], state == ABTI_ASLEEP_EPOLL);
    dango_full_fence();
    return num_pools;
}

static void withdraw(abti_xstream *es, abti_sched *sched, int num_pools)
{
    for (int i = 0; i < num_pools; i++)
        abti_pool_drop_sleeper(sched->pools[i], &sched->links[i]);
    atomic_store(&es->sleeper.state, ABTI_AWAKE);
}

static bool nothing_to_do(abti_xstream *es, abti_sched *sched)
{
    return !atomic_load(&es->attention) && !abti_sched_has_ready(sched);
}

/* For schedulers: sleeps until a push, a request or the timeout (negative: for ever). */
void abti_sched_sleep(abti_xstream *es, abti_sched *sched, int64_t timeout_ns)
{
    if (abti_load(&sched->es) !=
        es) { /* stacked in a pool, it has no links of its own: the ES wakes for its main scheduler */
        sched = es->main_sched;
    }
    int num_pools = announce(es, sched, ABTI_ASLEEP_FUTEX);
    if (nothing_to_do(es, sched))
        abti_futex_wait(&es->sleeper.state, ABTI_ASLEEP_FUTEX, timeout_ns);
    withdraw(es, sched, num_pools);
}

/* The epoll of the ES ------------------------------------------------------------------------------ */

static bool watch(int epoll_fd, int fd, uint32_t events, uint32_t what)
{
    struct epoll_event event = {.events = events, .data.u32 = what};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool open_epoll(abti_xstream *es)
{
    if (es->epoll_fd >= 0)
        return true;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Edge-triggered: every write is one event, and nobody needs to read. */
    if (epoll_fd < 0 || event_fd < 0 || !watch(epoll_fd, event_fd, EPOLLIN | EPOLLET, EVENT_WAKE)) {
        if (epoll_fd >= 0)
            close(epoll_fd);
        if (event_fd >= 0)
            close(event_fd);
        return false;
    }
    es->epoll_fd = epoll_fd;
    es->sleeper.event_fd = event_fd;
    return true;
}

void abti_sleep_close(abti_xstream *es)
{
    if (es->epoll_fd >= 0) {
        close(es->epoll_fd);
        close(es->sleeper.event_fd);
    }
    es->epoll_fd = es->sleeper.event_fd = -1;
}

/* Watches this transport from now on; false if the kernel refuses. */
static bool watch_transport(abti_xstream *es, int fd)
{
    bool ok = true;
    if (abti_load(&es->transport_fd) == fd)
        return true;
    abti_bitlock_lock(&es->transport_lock);
    int old = abti_load(&es->transport_fd);
    if (old >= 0)
        epoll_ctl(es->epoll_fd, EPOLL_CTL_DEL, old, NULL);
    if (fd >= 0)
        ok = watch(es->epoll_fd, fd, EPOLLIN, EVENT_TRANSPORT);
    abti_store(&es->transport_fd, ok ? fd : -1);
    abti_bitlock_unlock(&es->transport_lock, 0);
    return ok;
}

void dango_abt_idle_forget(int epoll_fd)
{
    abti_bitlock_lock(&abti_global.xstreams_lock);
    for (abti_xstream *es = abti_global.xstreams; es; es = es->next) {
        abti_bitlock_lock(&es->transport_lock);
        if (epoll_fd >= 0 && abti_load(&es->transport_fd) == epoll_fd) {
            epoll_ctl(es->epoll_fd, EPOLL_CTL_DEL, epoll_fd, NULL);
            abti_store(&es->transport_fd, -1);
        }
        abti_bitlock_unlock(&es->transport_lock, 0);
    }
    abti_bitlock_unlock(&abti_global.xstreams_lock, 0);
}

/* epoll_wait with a timeout in ns; falls back to milliseconds, rounded up, on old kernels. */
static int wait_events(int epoll_fd, struct epoll_event *events, int max, int64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = timeout_ns / DANGO_NS_PER_S, .tv_nsec = timeout_ns % DANGO_NS_PER_S};
    int n = epoll_pwait2(epoll_fd, events, max, timeout_ns < 0 ? NULL : &timeout, NULL);
    if (n >= 0 || errno != ENOSYS)
        return n;
    int64_t timeout_ms = timeout_ns < 0 ? -1 : (timeout_ns + DANGO_NS_PER_MS - 1) / DANGO_NS_PER_MS;
    return epoll_wait(epoll_fd, events, max, timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms);
}

static int block_in_epoll(abti_xstream *es, int64_t timeout_ns)
{
    struct epoll_event events[2];
    int n = wait_events(es->epoll_fd, events, 2, timeout_ns);
    if (n == 0)
        return DANGO_ABT_WOKE_TIMEOUT;
    int woke = n < 0 ? DANGO_ABT_WOKE_POOL : 0; /* interrupted: look around */
    for (int i = 0; i < n; i++)
        woke |= events[i].data.u32 == EVENT_TRANSPORT ? DANGO_ABT_WOKE_FD : DANGO_ABT_WOKE_POOL;
    return woke;
}

static int wait_outside(int fd, int64_t timeout_ns, bool (*recheck)(void *), void *arg)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    struct timespec timeout = {.tv_sec = timeout_ns / DANGO_NS_PER_S, .tv_nsec = timeout_ns % DANGO_NS_PER_S};
    if (recheck && !recheck(arg))
        return DANGO_ABT_WOKE_RECHECK;
    int n = ppoll(&pollfd, 1, timeout_ns < 0 ? NULL : &timeout, NULL);
    return n == 0 ? DANGO_ABT_WOKE_TIMEOUT : n < 0 ? DANGO_ABT_WOKE_POOL : DANGO_ABT_WOKE_FD;
}

int dango_abt_idle_wait(int epoll_fd, int64_t timeout_ns, bool (*recheck)(void *arg), void *arg)
{
    abti_xstream *es = abti_self();
    if (!es)
        return wait_outside(epoll_fd, timeout_ns, recheck, arg);
    if (!open_epoll(es) ||
        !watch_transport(es, epoll_fd)) /* out of descriptors: pools are looked at every now and then */
        return wait_outside(epoll_fd, MIN_NONNEGATIVE(timeout_ns, POOR_NAP_NS), recheck, arg) | DANGO_ABT_WOKE_POOL;
    abti_sched *sched = es->main_sched;
    int woke = 0;
    int num_pools = announce(es, sched, ABTI_ASLEEP_EPOLL);
    if (!nothing_to_do(es, sched))
        woke = DANGO_ABT_WOKE_POOL;
    else if (recheck && !recheck(arg))
        woke = DANGO_ABT_WOKE_RECHECK;
    else
        woke = block_in_epoll(es, timeout_ns);
    withdraw(es, sched, num_pools);
    return woke;
}

bool dango_abt_self_has_work(void)
{
    abti_xstream *es = abti_self();
    return es && (abti_load(&es->attention) || abti_sched_has_ready(es->main_sched));
}

bool dango_abt_self_is_ult(void)
{
    return abti_can_switch(abti_self());
}

void dango_abt_self_yield_last(void)
{
    abti_xstream *es = abti_self();
    if (abti_can_switch(es))
        abti_yield_last(es);
}
