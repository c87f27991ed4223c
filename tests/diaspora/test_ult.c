/*
 * The streaming API inside user-level threads: whoever waits must not stop the execution stream, on which the one that
 * he waits for may have to run.
 */
#include "tests/diaspora/support/fixture.h"

#include <abt.h>
#include <diaspora/diaspora.h>

static struct fixture fixture;
static diaspora_consumer *consumer;
static diaspora_producer *producer;

#define EVENTS 200

static int setup(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.delay_us_max = 100;
    assert_int_equal(ABT_init(0, NULL), ABT_SUCCESS);
    open_topic(&fixture, settings, NULL);
    consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    producer = open_producer(&fixture, "{\"batch_size\":3}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    diaspora_producer_close(producer);
    diaspora_consumer_close(consumer);
    close_topic(&fixture);
    return ABT_finalize() == ABT_SUCCESS ? 0 : -1;
}

static void pull_all(void *arg)
{
    int *pulled = arg;
    while (*pulled < EVENTS) {
        diaspora_event *event;
        int status = diaspora_pull(consumer, *pulled % 2 ? DIASPORA_FOREVER : 10000, &event, NULL);
        assert_int_equal(status, 0);
        assert_int_equal(diaspora_event_id(event), *pulled);
        diaspora_event_release(event);
        (*pulled)++;
    }
}

static void push_all(void *arg)
{
    int *pulled = arg;
    for (int i = 0; i < EVENTS; i++) {
        diaspora_future *future;
        push_number(producer, i, &future);
        assert_int_equal(diaspora_future_wait(future, 10000, NULL, NULL), 0);
        diaspora_future_release(future);
        /* Lock step: the other ULT must get the execution stream to go on. */
        while (*pulled <= i)
            ABT_thread_yield();
    }
}

static void ults_of_one_stream_wait_for_each_other(void **state)
{
    (void)state;
    int pulled = 0;
    ABT_xstream self;
    ABT_pool pool;
    ABT_thread threads[2];
    assert_int_equal(ABT_xstream_self(&self), ABT_SUCCESS);
    assert_int_equal(ABT_xstream_get_main_pools(self, 1, &pool), ABT_SUCCESS);
    assert_int_equal(ABT_thread_create(pool, pull_all, &pulled, ABT_THREAD_ATTR_NULL, &threads[0]), ABT_SUCCESS);
    assert_int_equal(ABT_thread_create(pool, push_all, &pulled, ABT_THREAD_ATTR_NULL, &threads[1]), ABT_SUCCESS);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ABT_thread_join(threads[i]), ABT_SUCCESS);
        assert_int_equal(ABT_thread_free(&threads[i]), ABT_SUCCESS);
    }
    assert_int_equal(pulled, EVENTS);
}

static void timeouts_end_the_wait_of_a_ult(void **state)
{
    (void)state;
    diaspora_event *event;
    for (int i = 0; i < 20; i++)
        assert_int_equal(diaspora_pull(consumer, 2, &event, NULL), DIASPORA_TIMEOUT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ults_of_one_stream_wait_for_each_other),
        TEST(timeouts_end_the_wait_of_a_ult),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
