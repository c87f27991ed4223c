/*
 * Synchronisation between ULTs of one ES, of several ESs, and external threads.
 */
#include <pthread.h>

#include "tests/argobots/support.h"

#define NUM_XSTREAMS 3
#define NUM_ULTS     16
#define NUM_EXTERNAL 2
#define ROUNDS       500

/* Runs fn(arg) in ULTs of several ESs and in external threads at once, and waits for all. */
static void run_everywhere(void (*fn)(void *), void *arg)
{
    ABT_xstream xstreams[NUM_XSTREAMS];
    ABT_thread threads[NUM_ULTS];
    pthread_t external[NUM_EXTERNAL];
    ABT_pool pool = start_xstreams(xstreams, NUM_XSTREAMS);
    for (int i = 0; i < NUM_ULTS; i++)
        OK(ABT_thread_create(i % 4 ? pool : main_pool(), fn, arg, ABT_THREAD_ATTR_NULL, &threads[i]));
    for (int i = 0; i < NUM_EXTERNAL; i++)
        assert_int_equal(pthread_create(&external[i], NULL, (void *(*)(void *))(void *)fn, arg), 0);
    OK(ABT_thread_free_many(NUM_ULTS, threads));
    for (int i = 0; i < NUM_EXTERNAL; i++)
        pthread_join(external[i], NULL);
    stop_xstreams(xstreams, NUM_XSTREAMS);
}

struct counter {
    ABT_mutex mutex;
    long count;
};

static void count_with_mutex(void *arg)
{
    struct counter *counter = arg;
    for (int i = 0; i < ROUNDS; i++) {
        OK(ABT_mutex_lock(counter->mutex));
        long count = counter->count;
        if (i % 16 == 1)
            OK(ABT_thread_yield());
        counter->count = count + 1;
        OK(ABT_mutex_unlock(counter->mutex));
    }
}

/* Nobody may yield while he has the lock: those who spin for it would keep him from running. */
static void count_with_spinning(void *arg)
{
    struct counter *counter = arg;
    for (int i = 0; i < ROUNDS; i++) {
        OK(i % 2 ? ABT_mutex_lock(counter->mutex) : ABT_mutex_spinlock(counter->mutex));
        counter->count++;
        OK(ABT_mutex_unlock(counter->mutex));
    }
}

static void test_mutex_excludes(void **state)
{
    struct counter counter = {0};
    (void)state;
    OK(ABT_mutex_create(&counter.mutex));
    run_everywhere(count_with_mutex, &counter);
    run_everywhere(count_with_spinning, &counter);
    assert_int_equal(counter.count, 2 * (NUM_ULTS + NUM_EXTERNAL) * ROUNDS);
    OK(ABT_mutex_free(&counter.mutex));
}

static void test_static_and_recursive_mutex(void **state)
{
    static ABT_mutex_memory plain = ABT_MUTEX_INITIALIZER;
    static ABT_mutex_memory recursive = ABT_RECURSIVE_MUTEX_INITIALIZER;
    ABT_mutex mutex = ABT_MUTEX_MEMORY_GET_HANDLE(&plain);
    (void)state; /* deliberately without ABT_init */
    OK(ABT_mutex_lock(mutex));
    assert_int_equal(ABT_mutex_trylock(mutex), ABT_ERR_MUTEX_LOCKED);
    OK(ABT_mutex_unlock(mutex));
    mutex = ABT_MUTEX_MEMORY_GET_HANDLE(&recursive);
    for (int i = 0; i < 3; i++)
        OK(i == 1 ? ABT_mutex_trylock(mutex) : ABT_mutex_lock(mutex));
    for (int i = 0; i < 3; i++)
        OK(ABT_mutex_unlock(mutex));
    OK(ABT_mutex_trylock(mutex));
    OK(ABT_mutex_unlock(mutex));
}

struct lock_and_yield {
    ABT_mutex mutex;
    int *count;
};

static void hold_and_yield(void *arg)
{
    struct lock_and_yield *work = arg;
    for (int i = 0; i < 50; i++) {
        OK(ABT_mutex_lock(work->mutex));
        OK(ABT_thread_yield());
        OK(ABT_mutex_unlock(work->mutex));
        ++*work->count;
    }
}

static void test_mutex_does_not_starve(void **state)
{
    int counts[2] = {0};
    struct lock_and_yield works[2];
    ABT_thread threads[2];
    (void)state;
    OK(ABT_mutex_create(&works[0].mutex));
    for (int i = 0; i < 2; i++) {
        works[i].mutex = works[0].mutex;
        works[i].count = &counts[i];
        OK(ABT_thread_create(main_pool(), hold_and_yield, &works[i], ABT_THREAD_ATTR_NULL, &threads[i]));
    }
    while (counts[0] + counts[1] < 40)
        OK(ABT_thread_yield());
    assert_true(counts[0] > 10 && counts[1] > 10);
    OK(ABT_thread_free_many(2, threads));
    OK(ABT_mutex_free(&works[0].mutex));
}

struct queue {
    ABT_mutex_memory mutex;
    ABT_cond_memory not_empty, not_full;
    int filled, produced, consumed;
};

static void produce_and_consume(void *arg)
{
    struct queue *queue = arg;
    ABT_mutex mutex = ABT_MUTEX_MEMORY_GET_HANDLE(&queue->mutex);
    ABT_cond not_empty = ABT_COND_MEMORY_GET_HANDLE(&queue->not_empty);
    ABT_cond not_full = ABT_COND_MEMORY_GET_HANDLE(&queue->not_full);
    for (int i = 0; i < ROUNDS; i++) {
        OK(ABT_mutex_lock(mutex));
        while (queue->filled == 3)
            OK(ABT_cond_wait(not_full, mutex));
        queue->filled++;
        queue->produced++;
        OK(ABT_cond_signal(not_empty));
        while (queue->filled == 0)
            OK(ABT_cond_wait(not_empty, mutex));
        queue->filled--;
        queue->consumed++;
        OK(i % 2 ? ABT_cond_broadcast(not_full) : ABT_cond_signal(not_full));
        OK(ABT_mutex_unlock(mutex));
    }
}

static void test_cond(void **state)
{
    struct queue queue = {.mutex = ABT_MUTEX_INITIALIZER};
    (void)state;
    run_everywhere(produce_and_consume, &queue);
    assert_int_equal(queue.produced, (NUM_ULTS + NUM_EXTERNAL) * ROUNDS);
    assert_int_equal(queue.produced, queue.consumed);
    assert_int_equal(queue.filled, 0);
}

static struct timespec from_now(long ms)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    time.tv_nsec += ms * 1000000;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

static void wait_in_vain(void *arg)
{
    ABT_mutex_memory mutex_memory = ABT_MUTEX_INITIALIZER;
    ABT_cond_memory cond_memory = ABT_COND_INITIALIZER;
    ABT_eventual_memory eventual_memory = ABT_EVENTUAL_INITIALIZER;
    ABT_mutex mutex = ABT_MUTEX_MEMORY_GET_HANDLE(&mutex_memory);
    struct timespec limit = from_now(20);
    (void)arg;
    double start = ABT_get_wtime();
    OK(ABT_mutex_lock(mutex));
    assert_int_equal(ABT_cond_timedwait(ABT_COND_MEMORY_GET_HANDLE(&cond_memory), mutex, &limit),
                     ABT_ERR_COND_TIMEDOUT);
    assert_int_equal(ABT_mutex_trylock(mutex), ABT_ERR_MUTEX_LOCKED);
    OK(ABT_mutex_unlock(mutex));
    assert_true(ABT_get_wtime() - start > 0.015);
    limit = from_now(5);
    assert_int_equal(ABT_eventual_timedwait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&eventual_memory), NULL, &limit),
                     ABT_ERR_COND_TIMEDOUT);
    assert_int_equal(ABT_eventual_timedwait(ABT_EVENTUAL_MEMORY_GET_HANDLE(&eventual_memory), NULL, &limit),
                     ABT_ERR_COND_TIMEDOUT);
}

static void test_time_limits(void **state)
{
    (void)state;
    run_everywhere(wait_in_vain, NULL);
    wait_in_vain(NULL);
}

struct race {
    ABT_eventual eventual;
    int timed_out, woken;
};

static void wait_shortly(void *arg)
{
    struct race *race = arg;
    struct timespec limit = from_now(0);
    limit.tv_nsec += 50000;
    int err = ABT_eventual_timedwait(race->eventual, NULL, &limit);
    __atomic_fetch_add(err ? &race->timed_out : &race->woken, 1, __ATOMIC_RELAXED);
}

static void test_time_limit_races_with_set(void **state)
{
    ABT_xstream xstream;
    ABT_pool pool = start_xstreams(&xstream, 1);
    struct race race = {0};
    (void)state;
    for (int i = 0; i < 200; i++) {
        ABT_thread thread;
        OK(ABT_eventual_create(0, &race.eventual));
        OK(ABT_thread_create(pool, wait_shortly, &race, ABT_THREAD_ATTR_NULL, &thread));
        double end = ABT_get_wtime() + 1e-6 * (i % 150);
        while (ABT_get_wtime() < end)
            OK(ABT_thread_yield());
        OK(ABT_eventual_set(race.eventual, NULL, 0));
        OK(ABT_thread_free(&thread));
        OK(ABT_eventual_free(&race.eventual));
    }
    assert_int_equal(race.timed_out + race.woken, 200);
    stop_xstreams(&xstream, 1);
}

/* The waiter owns the eventual and destroys it as soon as it wakes up. */
static void set_eventual(void *arg)
{
    int value = 42;
    OK(ABT_eventual_set(arg, &value, sizeof value));
}

static void wait_on_own_eventual(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        ABT_eventual eventual;
        int *value = NULL;
        OK(ABT_eventual_create(sizeof *value, &eventual));
        OK(ABT_thread_create(arg, set_eventual, eventual, ABT_THREAD_ATTR_NULL, NULL));
        OK(ABT_eventual_wait(eventual, (void **)&value));
        assert_int_equal(*value, 42);
        OK(ABT_eventual_free(&eventual));
    }
}

static void test_eventual_across_threads(void **state)
{
    ABT_xstream xstreams[2];
    (void)state;
    ABT_pool pool = start_xstreams(xstreams, 2);
    run_everywhere(wait_on_own_eventual, pool);
    stop_xstreams(xstreams, 2);
}

static void test_eventual_rules(void **state)
{
    ABT_eventual eventual;
    ABT_bool ready;
    int number = 7, *value;
    (void)state;
    OK(ABT_eventual_create(sizeof number, &eventual));
    OK(ABT_eventual_test(eventual, NULL, &ready));
    assert_false(ready);
    assert_int_equal(ABT_eventual_set(eventual, &number, 100), ABT_ERR_INV_EVENTUAL);
    assert_int_equal(ABT_eventual_set(eventual, &number, -1), ABT_ERR_INV_ARG);
    OK(ABT_eventual_set(eventual, &number, sizeof number));
    assert_int_equal(ABT_eventual_set(eventual, &number, sizeof number), ABT_ERR_EVENTUAL);
    assert_int_equal(ABT_eventual_set(eventual, NULL, 0), ABT_ERR_EVENTUAL);
    OK(ABT_eventual_test(eventual, (void **)&value, &ready));
    assert_true(ready && *value == 7);
    OK(ABT_eventual_reset(eventual));
    OK(ABT_eventual_test(eventual, NULL, &ready));
    assert_false(ready);
    OK(ABT_eventual_free(&eventual));
}

struct shared {
    ABT_rwlock lock;
    long a, b;
};

static void read_and_write(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 5 == 0) {
            OK(ABT_rwlock_wrlock(shared->lock));
            shared->a++;
            if (i % 20 == 0)
                OK(ABT_thread_yield());
            shared->b++;
        } else {
            OK(ABT_rwlock_rdlock(shared->lock));
            assert_int_equal(shared->a, shared->b);
            if (i % 7 == 0)
                OK(ABT_thread_yield());
        }
        OK(ABT_rwlock_unlock(shared->lock));
    }
}

static void test_rwlock(void **state)
{
    struct shared shared = {0};
    (void)state;
    OK(ABT_rwlock_create(&shared.lock));
    run_everywhere(read_and_write, &shared);
    assert_int_equal(shared.a, (NUM_ULTS + NUM_EXTERNAL) * ROUNDS / 5);
    OK(ABT_rwlock_free(&shared.lock));
}

struct phases {
    ABT_barrier barrier;
    int arrived;
};

static void pass_barriers(void *arg)
{
    struct phases *phases = arg;
    const int all = NUM_ULTS + NUM_EXTERNAL;
    for (int i = 1; i <= 50; i++) {
        __atomic_fetch_add(&phases->arrived, 1, __ATOMIC_RELAXED);
        OK(ABT_barrier_wait(phases->barrier));
        int arrived = __atomic_load_n(&phases->arrived, __ATOMIC_RELAXED);
        assert_true(arrived >= i * all);
        OK(ABT_barrier_wait(phases->barrier));
    }
}

static void test_barrier(void **state)
{
    struct phases phases = {0};
    (void)state;
    assert_int_equal(ABT_barrier_create(0, &phases.barrier), ABT_ERR_INV_ARG);
    OK(ABT_barrier_create(NUM_ULTS + NUM_EXTERNAL, &phases.barrier));
    run_everywhere(pass_barriers, &phases);
    OK(ABT_barrier_free(&phases.barrier));
}

static int sum_of_values;

static void sum_up(void **values)
{
    for (int i = 0; i < NUM_ULTS + NUM_EXTERNAL; i++)
        sum_of_values += *(int *)values[i];
}

static void set_and_wait(void *arg)
{
    static int one = 1;
    OK(ABT_future_set(arg, &one));
    OK(ABT_future_wait(arg));
    assert_int_equal(sum_of_values, NUM_ULTS + NUM_EXTERNAL);
}

static void test_future(void **state)
{
    ABT_future future;
    ABT_bool ready;
    (void)state;
    OK(ABT_future_create(NUM_ULTS + NUM_EXTERNAL, sum_up, &future));
    for (int i = 0; i < 3; i++) {
        sum_of_values = 0;
        run_everywhere(set_and_wait, future);
        assert_int_equal(ABT_future_set(future, NULL), ABT_ERR_FUTURE);
        OK(ABT_future_test(future, &ready));
        assert_true(ready);
        OK(ABT_future_reset(future));
    }
    OK(ABT_future_free(&future));
    OK(ABT_future_create(0, NULL, &future));
    OK(ABT_future_wait(future));
    OK(ABT_future_free(&future));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_static_and_recursive_mutex),
        TEST_WITH_LIBRARY(test_mutex_excludes),
        TEST_WITH_LIBRARY(test_mutex_does_not_starve),
        TEST_WITH_LIBRARY(test_cond),
        TEST_WITH_LIBRARY(test_time_limits),
        TEST_WITH_LIBRARY(test_time_limit_races_with_set),
        TEST_WITH_LIBRARY(test_eventual_across_threads),
        TEST_WITH_LIBRARY(test_eventual_rules),
        TEST_WITH_LIBRARY(test_rwlock),
        TEST_WITH_LIBRARY(test_barrier),
        TEST_WITH_LIBRARY(test_future),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
