/*
 * Sleeping and waking: pushes, descriptors, timers, requests; and that an idle process uses no CPU.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "argobots/abti.h"
#include "argobots/dango_abt.h"
#include "tests/argobots/support.h"
#include "util/clock.h"

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void test_idle_uses_no_cpu(void **state)
{
    ABT_xstream xstreams[2], basic;
    struct timespec limit;
    ABT_eventual_memory memory = ABT_EVENTUAL_INITIALIZER;
    (void)state;
    start_xstreams(xstreams, 2);
    OK(ABT_xstream_create_basic(ABT_SCHED_BASIC, 0, NULL, ABT_SCHED_CONFIG_NULL, &basic));
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 1;
    double before = cpu_seconds();
    assert_int_equal(ABT_eventual_timedwait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&memory), NULL, &limit),
                     ABT_ERR_COND_TIMEDOUT);
    assert_true(cpu_seconds() - before < 0.05);
    stop_xstreams(xstreams, 2);
    OK(ABT_xstream_free(&basic));
}

/* A progress loop as Margo has one, with a "transport" of one event descriptor. */
struct loop {
    int fd, epoll_fd;
    atomic_bool stop;
    atomic_int num_events, num_timeouts, num_rechecks, num_pool;
    bool refuse;
};

static bool recheck(void *arg)
{
    struct loop *loop = arg;
    atomic_fetch_add(&loop->num_rechecks, 1);
    return !loop->refuse;
}

static void progress(void *arg)
{
    struct loop *loop = arg;
    while (!atomic_load(&loop->stop)) {
        uint64_t value;
        if (read(loop->fd, &value, sizeof value) == sizeof value)
            atomic_fetch_add(&loop->num_events, 1);
        if (dango_abt_self_has_work()) {
            dango_abt_self_yield_last();
            continue;
        }
        int woke = dango_abt_idle_wait(loop->epoll_fd, 50 * DANGO_NS_PER_MS, recheck, loop);
        assert_true(woke != 0);
        atomic_fetch_add(&loop->num_timeouts, !!(woke & DANGO_ABT_WOKE_TIMEOUT));
        atomic_fetch_add(&loop->num_pool, !!(woke & DANGO_ABT_WOKE_POOL));
    }
    dango_abt_idle_forget(loop->epoll_fd);
}

static void open_loop(struct loop *loop)
{
    struct epoll_event event = {.events = EPOLLIN};
    *loop = (struct loop){.fd = eventfd(0, EFD_NONBLOCK), .epoll_fd = epoll_create1(0)};
    assert_int_equal(epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->fd, &event), 0);
}

static void close_loop(struct loop *loop)
{
    close(loop->epoll_fd);
    close(loop->fd);
}

static void count(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void test_progress_loop(void **state)
{
    struct loop loop;
    ABT_xstream xstream;
    ABT_thread thread, worker;
    atomic_int counter = 0;
    (void)state;
    open_loop(&loop);
    OK(ABT_xstream_create(ABT_SCHED_NULL, &xstream));
    OK(ABT_thread_create_on_xstream(xstream, progress, &loop, ABT_THREAD_ATTR_NULL, &thread));
    for (int i = 1; i <= 200; i++) {
        uint64_t one = 1;
        assert_int_equal(write(loop.fd, &one, sizeof one), sizeof one);
        while (atomic_load(&loop.num_events) < i)
            sched_yield();
        OK(ABT_thread_create_on_xstream(xstream, count, &counter, ABT_THREAD_ATTR_NULL, &worker));
        OK(ABT_thread_free(&worker));
        assert_int_equal(counter, i);
    }
    assert_true(atomic_load(&loop.num_rechecks) > 0);
    while (atomic_load(&loop.num_timeouts) < 2)
        sched_yield();
    atomic_store(&loop.stop, true);
    abti_xstream_wake(xstream);
    OK(ABT_thread_free(&thread));
    OK(ABT_xstream_free(&xstream));
    close_loop(&loop);
}

static void test_idle_wait_results(void **state)
{
    struct loop loop;
    uint64_t one = 1;
    (void)state;
    open_loop(&loop);
    assert_int_equal(dango_abt_idle_wait(-1, 0, NULL, NULL), DANGO_ABT_WOKE_TIMEOUT);
    assert_int_equal(dango_abt_idle_wait(loop.epoll_fd, 1000000, NULL, NULL), DANGO_ABT_WOKE_TIMEOUT);
    loop.refuse = true;
    assert_int_equal(dango_abt_idle_wait(loop.epoll_fd, -1, recheck, &loop), DANGO_ABT_WOKE_RECHECK);
    assert_int_equal(write(loop.fd, &one, sizeof one), sizeof one);
    assert_int_equal(dango_abt_idle_wait(loop.epoll_fd, -1, NULL, NULL), DANGO_ABT_WOKE_FD);
    OK(ABT_thread_create(main_pool(), count, &loop.num_pool, ABT_THREAD_ATTR_NULL, NULL));
    assert_true(dango_abt_self_has_work());
    assert_int_equal(dango_abt_idle_wait(loop.epoll_fd, -1, NULL, NULL), DANGO_ABT_WOKE_POOL);
    dango_abt_idle_forget(loop.epoll_fd);
    assert_true(dango_abt_self_is_ult());
    close_loop(&loop);
    struct loop again; /* very likely with the same descriptors */
    open_loop(&again);
    OK(ABT_thread_yield());
    assert_int_equal(write(again.fd, &one, sizeof one), sizeof one);
    assert_int_equal(dango_abt_idle_wait(again.epoll_fd, -1, NULL, NULL), DANGO_ABT_WOKE_FD);
    dango_abt_idle_forget(again.epoll_fd);
    close_loop(&again);
}

/* Every push into a pool of a sleeping ES is noticed: by any pool, from inside and outside. */
static void *push_from_outside(void *arg)
{
    ABT_pool *pools = arg;
    for (int i = 0; i < 300; i++) {
        atomic_int counter = 0;
        ABT_thread thread;
        OK(ABT_thread_create(pools[i % 3], count, &counter, ABT_THREAD_ATTR_NULL, &thread));
        OK(ABT_thread_free(&thread));
        assert_int_equal(counter, 1);
        if (i % 10 == 0)
            usleep(200); /* not to synchronise: lets the ES fall asleep, in one round of ten */
    }
    return NULL;
}

static void test_no_wake_up_is_lost(void **state)
{
    ABT_xstream xstreams[2];
    ABT_pool pools[3];
    pthread_t threads[2];
    (void)state;
    for (int i = 0; i < 3; i++)
        OK(i == 2 ? dango_abt_pool_create_prio(ABT_POOL_ACCESS_MPMC, &pools[i])
                  : ABT_pool_create_basic(ABT_POOL_FIFO_WAIT, ABT_POOL_ACCESS_MPMC, ABT_FALSE, &pools[i]));
    for (int i = 0; i < 2; i++)
        OK(ABT_xstream_create_basic(ABT_SCHED_BASIC_WAIT, 3 - i, &pools[i], ABT_SCHED_CONFIG_NULL, &xstreams[i]));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, push_from_outside, pools), 0);
    push_from_outside(pools);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    stop_xstreams(xstreams, 2);
    for (int i = 0; i < 3; i++)
        OK(ABT_pool_free(&pools[i]));
}

#define NUM_TIMERS 200

struct ticking {
    struct dango_abt_timer timer;
    int64_t fired_ns;
    atomic_int *num_fired;
};

static void fire(void *arg)
{
    struct ticking *ticking = arg;
    ticking->fired_ns = dango_clock_ns();
    atomic_fetch_add(ticking->num_fired, 1);
}

static void test_timers(void **state)
{
    static struct ticking timers[NUM_TIMERS];
    atomic_int num_fired = 0;
    int num_cancelled = 0;
    int64_t start = dango_clock_ns() + 100 * DANGO_NS_PER_MS; /* none fires while they are being armed */
    (void)state;
    for (int i = 0; i < NUM_TIMERS; i++) {
        timers[i].num_fired = &num_fired;
        dango_abt_timer_init(&timers[i].timer, fire, &timers[i]);
        dango_abt_timer_arm(&timers[i].timer, start + (i * 7919 % NUM_TIMERS) * 100000);
    }
    for (int i = 0; i < NUM_TIMERS; i += 3)
        dango_abt_timer_arm(&timers[i].timer, start + 30 * DANGO_NS_PER_MS); /* again */
    for (int i = 1; i < NUM_TIMERS; i += 4)
        num_cancelled += dango_abt_timer_cancel(&timers[i].timer);
    while (atomic_load(&num_fired) + num_cancelled < NUM_TIMERS)
        OK(ABT_thread_yield());
    for (int i = 0; i < NUM_TIMERS; i++) {
        assert_false(dango_abt_timer_cancel(&timers[i].timer));
        if (timers[i].fired_ns)
            assert_true(timers[i].fired_ns >= timers[i].timer.deadline_ns);
    }
}

static void *race_timer(void *arg)
{
    atomic_int *num_fired = arg;
    int cancelled = 0;
    for (int i = 0; i < 300; i++) {
        struct ticking ticking = {.num_fired = num_fired};
        dango_abt_timer_init(&ticking.timer, fire, &ticking);
        dango_abt_timer_arm(&ticking.timer, dango_clock_ns() + i * 200);
        int64_t end = dango_clock_ns() + (i % 10) * 10000;
        while (dango_clock_ns() < end)
            sched_yield();
        cancelled += dango_abt_timer_cancel(&ticking.timer); /* the memory goes away now */
    }
    return (void *)(intptr_t)cancelled;
}

static void test_cancelling_races_with_firing(void **state)
{
    pthread_t threads[3];
    atomic_int num_fired = 0;
    int num_cancelled = 0;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race_timer, &num_fired), 0);
    for (int i = 0; i < 3; i++) {
        void *cancelled;
        pthread_join(threads[i], &cancelled);
        num_cancelled += (int)(intptr_t)cancelled;
    }
    assert_int_equal(num_fired + num_cancelled, 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_WITH_LIBRARY(test_idle_uses_no_cpu),
        TEST_WITH_LIBRARY(test_progress_loop),
        TEST_WITH_LIBRARY(test_idle_wait_results),
        TEST_WITH_LIBRARY(test_no_wake_up_is_lost),
        TEST_WITH_LIBRARY(test_timers),
        TEST_WITH_LIBRARY(test_cancelling_races_with_firing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
