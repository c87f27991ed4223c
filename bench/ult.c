/*
 * What the thread runtime costs: creation, yielding, locking, waking, on one ES and across two.
 *
 * Each figure is measured in turn with a reference: an atomic exchange, a pthread mutex, or a futex ping-pong of two
 * OS threads. What happens on one ES is measured in CPU time of its thread, so that other programs on the machine
 * disturb little; what happens between two ESs, in real time.
 */
#include "bench/support/report.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "abt.h"
#include "argobots/atomics.h"
#include "util/clock.h"

#define BATCH 256

struct loop {
    void (*run)(int rounds);
    int rounds;
};

static ABT_pool pool, other_pool;

static void nothing(void *arg)
{
    (void)arg;
}

/* References ----------------------------------------------------------------------------------------- */

static void swap_words(int rounds)
{
    static atomic_uint word;
    for (int i = 0; i < rounds; i++) {
        atomic_exchange(&word, (unsigned)i);
    }
}

static void lock_pthread_mutex(int rounds)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    for (int i = 0; i < rounds; i++) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
    }
}

struct futexes {
    atomic_uint ping, pong;
    int rounds;
};

static void pass(atomic_uint *word)
{
    abti_store_release(word, 1);
    abti_futex_wake(word);
}

static void await(atomic_uint *word)
{
    while (!abti_load_acquire(word))
        abti_futex_wait(word, 0, -1);
    abti_store(word, 0);
}

static void *answer_futex(void *arg)
{
    struct futexes *futexes = arg;
    for (int i = 0; i < futexes->rounds; i++) {
        await(&futexes->ping);
        pass(&futexes->pong);
    }
    return NULL;
}

static void ping_pong_futex(int rounds)
{
    struct futexes futexes = {.rounds = rounds};
    pthread_t thread;
    pthread_create(&thread, NULL, answer_futex, &futexes);
    for (int i = 0; i < rounds; i++) {
        pass(&futexes.ping);
        await(&futexes.pong);
    }
    pthread_join(thread, NULL);
}

/* Measured ------------------------------------------------------------------------------------------- */

static void create_and_free(int rounds)
{
    for (int i = 0; i < rounds; i++) {
        ABT_thread thread;
        ABT_thread_create(pool, nothing, NULL, ABT_THREAD_ATTR_NULL, &thread);
        ABT_thread_free(&thread);
    }
}

static void create_many_and_free(int rounds)
{
    ABT_thread threads[BATCH];
    for (int i = 0; i < rounds; i += BATCH) {
        for (int j = 0; j < BATCH; j++)
            ABT_thread_create(pool, nothing, NULL, ABT_THREAD_ATTR_NULL, &threads[j]);
        for (int j = 0; j < BATCH; j++)
            ABT_thread_free(&threads[j]);
    }
}

static void create_unnamed(int rounds)
{
    for (int i = 0; i < rounds; i += BATCH) {
        for (int j = 0; j < BATCH; j++)
            ABT_thread_create(pool, nothing, NULL, ABT_THREAD_ATTR_NULL, NULL);
        ABT_thread_yield();
    }
}

static void yield_rounds(void *arg)
{
    for (int i = *(int *)arg; i > 0; i--)
        ABT_thread_yield();
}

/* Two ULTs take turns; a round is one yield. */
static void yield_in_turns(int rounds)
{
    ABT_thread threads[2];
    int each = rounds / 2;
    for (int i = 0; i < 2; i++)
        ABT_thread_create(pool, yield_rounds, &each, ABT_THREAD_ATTR_NULL, &threads[i]);
    ABT_thread_free_many(2, threads);
}

static void lock_mutex(int rounds)
{
    static ABT_mutex_memory memory = ABT_MUTEX_INITIALIZER;
    ABT_mutex mutex = ABT_MUTEX_MEMORY_GET_HANDLE(&memory);
    for (int i = 0; i < rounds; i++) {
        ABT_mutex_lock(mutex);
        ABT_mutex_unlock(mutex);
    }
}

struct eventuals {
    ABT_eventual ping, pong;
    int rounds;
};

static void answer_eventual(void *arg)
{
    struct eventuals *eventuals = arg;
    for (int i = 0; i < eventuals->rounds; i++) {
        ABT_eventual_wait(eventuals->ping, NULL);
        ABT_eventual_reset(eventuals->ping);
        ABT_eventual_set(eventuals->pong, NULL, 0);
    }
}

static void ping_pong_with(ABT_pool where, int rounds)
{
    struct eventuals eventuals = {.rounds = rounds};
    ABT_thread thread;
    ABT_eventual_create(0, &eventuals.ping);
    ABT_eventual_create(0, &eventuals.pong);
    ABT_thread_create(where, answer_eventual, &eventuals, ABT_THREAD_ATTR_NULL, &thread);
    for (int i = 0; i < rounds; i++) {
        ABT_eventual_set(eventuals.ping, NULL, 0);
        ABT_eventual_wait(eventuals.pong, NULL);
        ABT_eventual_reset(eventuals.pong);
    }
    ABT_thread_free(&thread);
    ABT_eventual_free(&eventuals.ping);
    ABT_eventual_free(&eventuals.pong);
}

static void ping_pong_same(int rounds)
{
    ping_pong_with(pool, rounds);
}

static void ping_pong_other(int rounds)
{
    ping_pong_with(other_pool, rounds);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Nanoseconds of CPU time per round. */
static double measure_cpu(void *arg)
{
    struct loop *loop = arg;
    double start = seconds(CLOCK_THREAD_CPUTIME_ID);
    loop->run(loop->rounds);
    return (seconds(CLOCK_THREAD_CPUTIME_ID) - start) * 1e9 / loop->rounds;
}

/* Nanoseconds of real time per round. */
static double measure_real(void *arg)
{
    struct loop *loop = arg;
    int64_t start = dango_clock_ns();
    loop->run(loop->rounds);
    return (double)(dango_clock_ns() - start) / loop->rounds;
}

static void *do_nothing(void *arg)
{
    return arg;
}

int main(int argc, char **argv)
{
    struct bench_options options = bench_start(argc, argv, "user-level threads");
    int many = bench_count(&options, 200 * BATCH), few = bench_count(&options, 20000);
    struct loop swap = {swap_words, many}, mutex = {lock_pthread_mutex, many}, futex = {ping_pong_futex, few};
    const struct {
        const char *what;
        struct loop loop;
        struct loop *reference;
        const char *reference_name, *target;
    } local[] = {
        {"ULT create + run + join + free", {create_and_free, many}, &swap, "atomic exchange", "<= 40"},
        {"ULT create … free, 256 at once", {create_many_and_free, many}, &swap, "atomic exchange", "<= 40"},
        {"unnamed ULT create + run, 256 at once", {create_unnamed, many}, &swap, "atomic exchange", NULL},
        {"yield", {yield_in_turns, many}, &swap, "atomic exchange", "<= 15"},
        {"mutex lock + unlock, uncontended", {lock_mutex, many}, &mutex, "pthread mutex", "<= 6"},
        {"eventual ping-pong, same ES", {ping_pong_same, many}, &swap, "atomic exchange", "<= 50"},
    };
    pthread_t thread; /* a second thread: pthread mutexes of a process with one only do without atomic operations */
    pthread_create(&thread, NULL, do_nothing, NULL);
    pthread_join(thread, NULL);

    ABT_xstream self, other;
    ABT_init(0, NULL);
    ABT_xstream_self(&self);
    ABT_xstream_get_main_pools(self, 1, &pool);
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        struct loop loop = local[i].loop;
        struct bench_pair pair = bench_run_paired(measure_cpu, &loop, measure_cpu, local[i].reference, options.rounds);
        bench_print_pair(&options, local[i].what, &pair, "ns", local[i].reference_name, local[i].target);
    }

    struct loop across = {ping_pong_other, few};
    ABT_xstream_create(ABT_SCHED_NULL, &other);
    ABT_xstream_get_main_pools(other, 1, &other_pool);
    struct bench_pair pair = bench_run_paired(measure_real, &across, measure_real, &futex, options.rounds);
    bench_print_pair(&options, "eventual ping-pong, other ES", &pair, "ns", "futex ping-pong", "<= 300");
    ABT_xstream_free(&other);
    ABT_finalize();
    return 0;
}
