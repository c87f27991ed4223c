/*
 * Timers: firing, restarting, cancelling at every moment, destroying, and the end of the instance; sleeping.
 */
#include "tests/margo/peer.h"
#include "tests/support/test.h"

#include <margo-timer.h>
#include <pthread.h>
#include <stdatomic.h>

struct counter {
    margo_instance_id mid;
    margo_timer_t timer;
    atomic_int count;
    atomic_int repeat;
    double work_ms; /* how long the callback sleeps */
    atomic_bool inside;
};

static void count(void *arg)
{
    struct counter *c = arg;
    atomic_store(&c->inside, true);
    if (c->work_ms > 0)
        margo_thread_sleep(c->mid, c->work_ms);
    if (atomic_fetch_add(&c->count, 1) + 1 < c->repeat)
        assert_int_equal(margo_timer_start(c->timer, 1), 0);
    atomic_store(&c->inside, false);
}

static void wait_for_count(struct counter *c, int wanted)
{
    double end = now_s() + 20;
    while (atomic_load(&c->count) < wanted) {
        assert_true(now_s() < end);
        margo_thread_sleep(c->mid, 1);
    }
}

static const char *const arrangements[] = {"{}", "{\"use_progress_thread\":true,\"rpc_thread_count\":1}"};

static void each_arrangement(void (*body)(margo_instance_id))
{
    for (size_t i = 0; i < 2; i++) {
        margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, arrangements[i]);
        body(mid);
        margo_finalize(mid);
    }
}

static void one_shot(margo_instance_id mid)
{
    struct counter c = {.mid = mid};
    assert_int_equal(margo_timer_create(mid, count, &c, &c.timer), 0);
    double start = now_s();
    assert_int_equal(margo_timer_start(c.timer, 30), 0);
    assert_int_equal(margo_timer_start(c.timer, 30), -1);
    wait_for_count(&c, 1);
    assert_true(now_s() - start >= 0.03);
    assert_int_equal(margo_timer_start(c.timer, 0), 0);
    wait_for_count(&c, 2);
    c.repeat = 10;
    assert_int_equal(margo_timer_start(c.timer, 1), 0);
    wait_for_count(&c, 10);
    assert_int_equal(margo_timer_cancel(c.timer), 0);
    assert_int_equal(margo_timer_destroy(c.timer), 0);
}

static void timers_fire_once_and_can_be_restarted(void **state)
{
    (void)state;
    each_arrangement(one_shot);
}

static void cancelled(margo_instance_id mid)
{
    struct counter c = {.mid = mid};
    assert_int_equal(margo_timer_create(mid, count, &c, &c.timer), 0);
    assert_int_equal(margo_timer_start(c.timer, 10000), 0);
    assert_int_equal(margo_timer_cancel(c.timer), 0);
    assert_int_equal(margo_timer_cancel(c.timer), 0);
    /* Running: the cancellation waits for it. */
    c.work_ms = 50;
    assert_int_equal(margo_timer_start(c.timer, 0), 0);
    while (!atomic_load(&c.inside))
        margo_thread_sleep(mid, 1);
    assert_int_equal(margo_timer_cancel(c.timer), 0);
    assert_int_equal(c.count, 1);
    assert_false(atomic_load(&c.inside));
    /* At any moment: never a callback afterwards. */
    c.work_ms = 0;
    for (int i = 0; i < 200; i++) {
        assert_int_equal(margo_timer_start(c.timer, 0.001 * i), 0);
        if (i % 3 == 0)
            ABT_thread_yield();
        assert_int_equal(margo_timer_cancel(c.timer), 0);
        int seen = atomic_load(&c.count);
        ABT_thread_yield();
        assert_int_equal(atomic_load(&c.count), seen);
    }
    assert_int_equal(margo_timer_destroy(c.timer), 0);
}

static void no_callback_after_cancel(void **state)
{
    (void)state;
    each_arrangement(cancelled);
}

static void many(margo_instance_id mid)
{
    struct counter counters[32];
    margo_timer_t timers[32];
    for (int i = 0; i < 32; i++) {
        counters[i] = (struct counter){.mid = mid};
        assert_int_equal(margo_timer_create(mid, count, &counters[i], &timers[i]), 0);
        assert_int_equal(margo_timer_start(timers[i], i % 2 ? 1 : 100000), 0);
    }
    for (int i = 1; i < 32; i += 2)
        wait_for_count(&counters[i], 1);
    assert_int_equal(margo_timer_cancel_many(32, timers), 0);
    for (int i = 0; i < 32; i++) {
        assert_int_equal(counters[i].count, i % 2);
        margo_timer_destroy(timers[i]);
    }
}

static void many_timers(void **state)
{
    (void)state;
    each_arrangement(many);
}

static void destroyed_and_left_over_timers_fire(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, arrangements[i]);
        struct counter soon = {.mid = mid}, late = {.mid = mid}, idle = {.mid = mid};
        assert_int_equal(margo_timer_create(mid, count, &soon, &soon.timer), 0);
        assert_int_equal(margo_timer_create(mid, count, &late, &late.timer), 0);
        assert_int_equal(margo_timer_create_with_pool(mid, count, &idle, ABT_POOL_NULL, &idle.timer), 0);
        assert_int_equal(margo_timer_start(soon.timer, 5), 0);
        assert_int_equal(margo_timer_destroy(soon.timer), 0);
        wait_for_count(&soon, 1);
        assert_int_equal(margo_timer_start(late.timer, 1e7), 0);
        assert_int_equal(margo_timer_destroy(late.timer), 0);
        margo_finalize(mid);
        assert_int_equal(late.count, 1);
        assert_int_equal(margo_timer_start(idle.timer, 1), -1);
        assert_int_equal(margo_timer_destroy(idle.timer), 0);
    }
}

static void *sleep_outside(void *arg)
{
    double start = now_s();
    margo_thread_sleep(arg, 20);
    assert_true(now_s() - start >= 0.02);
    return NULL;
}

static void sleep_inside(void *arg)
{
    sleep_outside(arg);
}

static void sleepers(margo_instance_id mid)
{
    pthread_t thread;
    ABT_thread ults[8];
    ABT_pool pool;
    margo_get_handler_pool(mid, &pool);
    pthread_create(&thread, NULL, sleep_outside, mid);
    double start = now_s();
    for (int i = 0; i < 8; i++)
        ABT_thread_create(pool, sleep_inside, mid, ABT_THREAD_ATTR_NULL, &ults[i]);
    for (int i = 0; i < 8; i++)
        ABT_thread_free(&ults[i]);
    assert_true(now_s() - start < 10);
    pthread_join(thread, NULL);
}

static void sleeping_suspends_only_the_caller(void **state)
{
    (void)state;
    each_arrangement(sleepers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_once_and_can_be_restarted),
        cmocka_unit_test(no_callback_after_cancel),
        cmocka_unit_test(many_timers),
        cmocka_unit_test(destroyed_and_left_over_timers_fire),
        cmocka_unit_test(sleeping_suspends_only_the_caller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
