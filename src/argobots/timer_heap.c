/*
 * Timers: a pairing heap of deadlines, and the thread that serves it.
 *
 * The nodes are the users' own structures, so arming allocates nothing and cannot fail. Arming is O(1), cancelling
 * O(log n) amortised. The thread sleeps on a futex until the earliest deadline; arming a later one costs no system
 * call, and cancelling the earliest leaves the thread to find out by itself. So a program that arms and cancels
 * a time limit around every operation wakes it about once per time limit.
 *
 * The lock is a mutex of the OS, held for short times only, never during callbacks. `running` names the timer whose
 * callback runs; who cancels that one waits until it is over. A callback may end the life of its own timer.
 *
 * The thread is started with the first timer and stopped by the last ABT_finalize.
 */
#include <errno.h>
#include <sys/prctl.h>

#include "argobots/abti.h"
#include "util/clock.h"

static struct {
    pthread_mutex_t lock;
    struct dango_abt_timer *root; /* the earliest */
    struct dango_abt_timer *running;
    int64_t wakes_at_ns; /* when the thread will look next */
    atomic_uint alarm;   /* futex of the thread: changes when it must look now */
    bool started, stop;
    pthread_t thread;
} service = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The heap: `child` is the first child, `next` the next sibling, `prev` the previous sibling or the parent. */

static struct dango_abt_timer *meld(struct dango_abt_timer *a, struct dango_abt_timer *b)
{
    if (!a || !b)
        return a ? a : b;
    if (b->deadline_ns < a->deadline_ns) {
        struct dango_abt_timer *swap = a;
        a = b;
        b = swap;
    }
    b->next = a->child;
    if (b->next)
        b->next->prev = b;
    b->prev = a;
    a->child = b;
    a->next = a->prev = NULL;
    return a;
}

/* Melds siblings pairwise, then the pairs. */
static struct dango_abt_timer *meld_siblings(struct dango_abt_timer *first)
{
    struct dango_abt_timer *pairs = NULL;
    while (first) {
        struct dango_abt_timer *second = first->next;
        struct dango_abt_timer *rest = second ? second->next : NULL;
        first->next = first->prev = NULL;
        if (second)
            second->next = second->prev = NULL;
        struct dango_abt_timer *pair = meld(first, second);
        pair->next = pairs; /* a stack of pairs, last one on top */
        pairs = pair;
        first = rest;
    }
    struct dango_abt_timer *result = NULL;
    while (pairs) {
        struct dango_abt_timer *rest = pairs->next;
        pairs->next = NULL;
        result = meld(result, pairs);
        pairs = rest;
    }
    return result;
}

static void heap_remove(struct dango_abt_timer *timer)
{
    struct dango_abt_timer *children = meld_siblings(timer->child);
    if (timer == service.root) {
        service.root = children;
    } else {
        if (timer->prev->child == timer)
            timer->prev->child = timer->next;
        else
            timer->prev->next = timer->next;
        if (timer->next)
            timer->next->prev = timer->prev;
        service.root = meld(service.root, children);
    }
    timer->child = timer->next = timer->prev = NULL;
    timer->armed = false;
}

/* Runs what is due; returns the next deadline. Called with the lock held, which it releases during callbacks. */
static int64_t run_due(void)
{
    while (service.root && service.root->deadline_ns <= dango_clock_ns()) {
        struct dango_abt_timer *timer = service.root;
        dango_abt_timer_fn fn = timer->fn;
        void *arg = timer->arg;
        heap_remove(timer);
        service.running = timer;
        pthread_mutex_unlock(&service.lock);
        fn(arg); /* the timer may be gone afterwards */
        pthread_mutex_lock(&service.lock);
        service.running = NULL;
    }
    return service.root ? service.root->deadline_ns : DANGO_NEVER;
}

static void *serve(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "dango-timer");
    prctl(PR_SET_TIMERSLACK, 1000);
    pthread_mutex_lock(&service.lock);
    while (!service.stop) {
        uint32_t alarm = abti_load(&service.alarm);
        int64_t next_ns = run_due();
        service.wakes_at_ns = next_ns;
        pthread_mutex_unlock(&service.lock);
        int64_t left_ns = next_ns == DANGO_NEVER ? -1 : next_ns - dango_clock_ns();
        if (next_ns == DANGO_NEVER || left_ns > 0)
            abti_futex_wait(&service.alarm, alarm, left_ns);
        pthread_mutex_lock(&service.lock);
    }
    pthread_mutex_unlock(&service.lock);
    return NULL;
}

static void ring(void)
{
    atomic_fetch_add(&service.alarm, 1);
    abti_futex_wake(&service.alarm);
}

static void start(void)
{
    service.stop = false;
    service.wakes_at_ns = DANGO_NEVER;
    int err = pthread_create(&service.thread, NULL, serve, NULL);
    assert(err == 0 && "no thread for timers");
    service.started = err == 0;
}

void abti_timers_stop(void)
{
    pthread_mutex_lock(&service.lock);
    bool started = service.started;
    service.stop = true;
    service.started = false;
    pthread_mutex_unlock(&service.lock);
    if (!started)
        return;
    ring();
    pthread_join(service.thread, NULL);
}

void dango_abt_timer_init(struct dango_abt_timer *timer, dango_abt_timer_fn fn, void *arg)
{
    *timer = (struct dango_abt_timer){.fn = fn, .arg = arg};
}

void dango_abt_timer_arm(struct dango_abt_timer *timer, int64_t deadline_ns)
{
    pthread_mutex_lock(&service.lock);
    if (timer->armed)
        heap_remove(timer);
    timer->deadline_ns = deadline_ns;
    timer->armed = true;
    service.root = meld(service.root, timer);
    if (!service.started)
        start();
    bool earlier = deadline_ns < service.wakes_at_ns;
    if (earlier)
        service.wakes_at_ns = deadline_ns; /* later arms need not ring again */
    pthread_mutex_unlock(&service.lock);
    if (earlier)
        ring();
}

bool dango_abt_timer_cancel(struct dango_abt_timer *timer)
{
    unsigned tries = 0;
    pthread_mutex_lock(&service.lock);
    while (service.running == timer && !pthread_equal(service.thread, pthread_self())) {
        pthread_mutex_unlock(&service.lock);
        abti_backoff(&tries);
        pthread_mutex_lock(&service.lock);
    }
    bool armed = timer->armed; /* only now: the callback may have armed it anew */
    if (armed)
        heap_remove(timer);
    pthread_mutex_unlock(&service.lock);
    return armed;
}
