/*
 * Producers: batches, futures, flush, back-pressure and failures, on the fake back-end.
 */
#include "tests/diaspora/support/fixture.h"

#include <diaspora/diaspora.h>

#include "util/log.h"

#include <pthread.h>
#include <stdatomic.h>

static struct fixture fixture;

static int setup(void **state)
{
    (void)state;
    open_topic(&fixture, FAKE_DEFAULTS, NULL);
    return 0;
}

static int setup_chaos(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.threads = 4;
    settings.delay_us_max = 200;
    open_topic(&fixture, settings, "{\"num_partitions\":3}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_topic(&fixture);
    return 0;
}

static void options_are_checked(void **state)
{
    (void)state;
    const struct {
        const char *options, *text;
    } wrong[] = {
        {"{\"batchsize\":1}", "unknown field \"batchsize\""},
        {"{\"batchsize\":1}", "did you mean \"batch_size\"?"},
        {"{\"batch_size\":-1}", "producer options: batch_size: must not be negative"},
        {"{\"batch_size\":\"big\"}", "expected a number of events or \"adaptive\", got \"big\""},
        {"{\"batch_size\":1.5}", "batch_size"},
        {"{\"ordering\":\"total\"}", "ordering"},
        {"{\"window\":0}", "window"},
        {"nonsense", "producer options: line 1"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        diaspora_error err;
        assert_null(diaspora_producer_open(fixture.topic, wrong[i].options, &err));
        assert_contains(err.text, wrong[i].text);
    }
}

static const char *const modes[] = {
    "{\"batch_size\":\"adaptive\"}",
    "{\"batch_size\":10}",
    "{\"batch_size\":1}",
    "{\"batch_size\":10,\"max_num_batches\":0,\"window\":1}",
    "{\"batch_size\":0,\"max_num_batches\":1,\"window\":1,\"ordering\":\"loose\"}",
    "{\"batch_size\":10,\"ack_early\":true}",
};

/* 100 events without and 100 with data; every fifth future is waited for. */
static void events_are_stored_in_every_mode(void **state)
{
    (void)state;
    for (size_t mode = 0; mode < sizeof modes / sizeof *modes; mode++) {
        diaspora_producer *producer = open_producer(&fixture, modes[mode]);
        uint64_t before = fake_event_count("events", 0);
        for (int i = 0; i < 200; i++) {
            diaspora_future *future = NULL;
            char data[32];
            int size = snprintf(data, sizeof data, "data %d", i);
            ASSERT_OK(
                diaspora_push(producer, "{}", 2, DIASPORA_DATA(data, i < 100 ? 0 : (size_t)size), &future, &problem));
            if (i % 5 == 0) {
                uint64_t id;
                ASSERT_OK(diaspora_future_wait(future, 10000, &id, &problem));
                assert_int_equal(id, before + (uint64_t)i);
            } else {
                ASSERT_OK(diaspora_future_wait(future, DIASPORA_FOREVER, NULL, &problem));
            }
            diaspora_future_release(future);
        }
        ASSERT_OK(diaspora_flush(producer, 10000, &problem));
        assert_int_equal(fake_event_count("events", 0), before + 200);
        diaspora_producer_close(producer);
    }
}

static void a_fixed_batch_leaves_when_full(void **state)
{
    (void)state;
    diaspora_producer *producer = open_producer(&fixture, "{\"batch_size\":4}");
    diaspora_future *futures[5];
    for (int i = 0; i < 3; i++)
        push_number(producer, i, &futures[i]);
    assert_int_equal(fake_statistics().batches, 0);
    assert_false(diaspora_future_completed(futures[0]));
    push_number(producer, 3, &futures[3]);
    assert_int_equal(fake_statistics().batches, 1);
    push_number(producer, 4, &futures[4]);
    assert_int_equal(diaspora_future_wait(futures[4], 0, NULL, NULL), DIASPORA_TIMEOUT);
    assert_int_equal(fake_statistics().batches, 1);
    /* Waiting sends the batch that the event is in. */
    uint64_t id = 0;
    ASSERT_OK(diaspora_future_wait(futures[4], 10000, &id, &problem));
    assert_int_equal(id, 4);
    assert_int_equal(fake_statistics().batches, 2);
    for (int i = 0; i < 5; i++) {
        /* Idempotent. */
        ASSERT_OK(diaspora_future_wait(futures[i], 10000, &id, &problem));
        ASSERT_OK(diaspora_future_wait(futures[i], 0, &id, &problem));
        assert_int_equal(id, i);
        assert_true(diaspora_future_completed(futures[i]));
        diaspora_future_release(futures[i]);
    }
    diaspora_producer_close(producer);
}

static void adaptive_batches_grow_while_the_partition_is_busy(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.hold_batches = true;
    fake_change(settings);
    diaspora_producer *producer = open_producer(&fixture, NULL);
    for (int i = 0; i < 101; i++)
        push_number(producer, i, NULL);
    assert_int_equal(fake_statistics().batches, 1);
    fake_release();
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    assert_int_equal(fake_statistics().batches, 2);
    assert_int_equal(fake_event_count("events", 0), 101);
    diaspora_producer_close(producer);
}

static void several_batches_are_in_flight_but_not_more_than_the_window(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.hold_batches = true;
    fake_change(settings);
    diaspora_producer *producer = open_producer(&fixture, "{\"batch_size\":1,\"window\":3,\"max_num_batches\":10}");
    for (int i = 0; i < 8; i++)
        push_number(producer, i, NULL);
    assert_int_equal(fake_statistics().batches, 3);
    fake_release();
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    assert_int_equal(fake_statistics().batches_unanswered_max, 3);
    diaspora_producer_close(producer);
}

static void a_timed_out_wait_can_be_repeated(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.hold_batches = true;
    fake_change(settings);
    diaspora_producer *producer = open_producer(&fixture, NULL);
    diaspora_future *future;
    diaspora_error err;
    push_number(producer, 0, &future);
    assert_int_equal(diaspora_future_wait(future, 10, NULL, &err), DIASPORA_TIMEOUT);
    assert_contains(err.text, "10 ms");
    assert_int_equal(diaspora_flush(producer, 10, &err), DIASPORA_TIMEOUT);
    fake_release();
    ASSERT_OK(diaspora_future_wait(future, 10000, NULL, &problem));
    diaspora_future_release(future);
    diaspora_producer_close(producer);
}

static void flush_with_nothing_pending_is_done_at_once(void **state)
{
    (void)state;
    diaspora_producer *producer = open_producer(&fixture, "{\"batch_size\":7}");
    ASSERT_OK(diaspora_flush(producer, 0, &problem));
    push_number(producer, 0, NULL);
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    ASSERT_OK(diaspora_flush(producer, 0, &problem));
    diaspora_producer_close(producer);
}

struct pusher {
    diaspora_producer *producer;
    int from, to;
    _Atomic int pushed;
};

static void *push_many(void *arg)
{
    struct pusher *p = arg;
    for (int i = p->from; i < p->to; i++) {
        push_number(p->producer, i, NULL);
        atomic_fetch_add(&p->pushed, 1);
    }
    return NULL;
}

static void push_blocks_while_too_many_batches_wait(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.hold_batches = true;
    fake_change(settings);
    struct pusher p = {open_producer(&fixture, "{\"batch_size\":2,\"window\":1,\"max_num_batches\":2}"), 0, 20, 0};
    pthread_t thread;
    pthread_create(&thread, NULL, push_many, &p);
    /* One batch in flight and two waiting are six events; the seventh has to wait. */
    while (atomic_load(&p.pushed) < 6)
        sched_yield();
    assert_int_equal(atomic_load(&p.pushed), 6);
    assert_int_equal(fake_statistics().batches, 1);
    fake_release();
    pthread_join(thread, NULL);
    ASSERT_OK(diaspora_flush(p.producer, 10000, &problem));
    assert_int_equal(fake_event_count("events", 0), 20);
    diaspora_producer_close(p.producer);
}

static void large_events_bound_a_batch_by_bytes(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.hold_batches = true;
    fake_change(settings);
    diaspora_producer *producer = open_producer(&fixture, "{\"window\":64,\"max_num_batches\":64}");
    static char data[1 << 20], metadata[400 << 10];
    memset(metadata, 'm', sizeof metadata);
    for (int i = 0; i < 21; i++)
        ASSERT_OK(diaspora_push(producer, "{}", 2, DIASPORA_DATA(data, sizeof data), NULL, &problem));
    /* The first alone, then four megabytes each; the last four are in the open batch. */
    assert_int_equal(fake_statistics().batches, 1 + 4);
    fake_release();
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    fake_change(settings);
    for (int i = 0; i < 7; i++)
        ASSERT_OK(diaspora_push(producer, metadata, sizeof metadata, DIASPORA_NO_DATA, NULL, &problem));
    /* A thread that has just answered a batch may be the one that sends, so look until it has. */
    while (fake_statistics().batches < 6 + 1 + 2)
        sched_yield();
    assert_int_equal(fake_statistics().batches, 6 + 1 + 2);
    fake_release();
    diaspora_producer_close(producer);
    assert_int_equal(fake_event_count("events", 0), 28);
}

static void an_event_may_be_larger_than_a_batch(void **state)
{
    (void)state;
    diaspora_producer *producer = open_producer(&fixture, NULL);
    size_t size = (size_t)9 << 20;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    memset(bytes, 'x', size);
    ASSERT_OK(diaspora_push(producer, bytes, size, DIASPORA_DATA(bytes, size), NULL, &problem));
    push_number(producer, 1, NULL);
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    diaspora_error err;
    assert_int_equal(diaspora_push(producer, bytes, SIZE_MAX, DIASPORA_NO_DATA, NULL, &err), DANGO_ERR_RANGE);
    assert_int_equal(diaspora_push(producer, "{}", 2, DIASPORA_DATA(NULL, 1), NULL, &err), DIASPORA_INVALID);
    free(bytes);
    diaspora_producer_close(producer);
    assert_int_equal(fake_event_count("events", 0), 2);
}

static void a_failed_batch_fails_its_futures_and_the_next_flush(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.batch_fails = 2;
    fake_change(settings);
    diaspora_producer *producer = open_producer(&fixture, "{\"batch_size\":3,\"window\":1}");
    diaspora_future *futures[9];
    diaspora_error err;
    for (int i = 0; i < 9; i++)
        push_number(producer, i, &futures[i]);
    assert_int_equal(diaspora_flush(producer, 10000, &err), DANGO_ERR_IO);
    assert_contains(err.text, FAKE_BATCH_FAILURE);
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    for (int i = 0; i < 9; i++) {
        for (int again = 0; again < 2; again++) {
            uint64_t id = 0;
            int status = diaspora_future_wait(futures[i], 10000, &id, &err);
            if (i / 3 == 1) {
                assert_int_equal(status, DANGO_ERR_IO);
                assert_contains(err.text, FAKE_BATCH_FAILURE);
            } else {
                assert_int_equal(status, 0);
                assert_int_equal(id, i < 3 ? i : i - 3);
            }
        }
        diaspora_future_release(futures[i]);
    }
    assert_int_equal(fake_event_count("events", 0), 6);
    diaspora_producer_close(producer);
}

static void a_flush_asks_whether_what_was_answered_early_is_stored(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    diaspora_producer *producer = open_producer(&fixture, "{\"batch_size\":1,\"ack_early\":true}");
    diaspora_future *future;
    diaspora_error err;
    ASSERT_OK(diaspora_flush(producer, 0, &problem)); /* there is nothing to be asked */
    settings.hold_settling = true;
    fake_change(settings);
    push_number(producer, 0, &future);
    ASSERT_OK(diaspora_future_wait(future, 10000, NULL, &problem));
    diaspora_future_release(future);
    assert_int_equal(diaspora_flush(producer, 10, &err), DIASPORA_TIMEOUT);
    fake_change(FAKE_DEFAULTS);
    fake_release();
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    ASSERT_OK(diaspora_flush(producer, 0, &problem)); /* nothing has come since */
    size_t asked = fake_statistics().settlings;
    assert_in_range(asked, 1, 2);
    settings.hold_settling = false;
    settings.unsettled = true;
    fake_change(settings);
    push_number(producer, 1, NULL);
    for (int again = 0; again < 2; again++) { /* for as long as it is so */
        assert_int_equal(diaspora_flush(producer, 10000, &err), DANGO_ERR_IO);
        assert_contains(err.text, FAKE_BATCH_FAILURE);
    }
    diaspora_producer_close(producer);
    assert_int_equal(fake_statistics().settlings, asked + 3);
}

static void batches_behind_a_failed_one_fail_with_it(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.batch_fails = 2;
    settings.hold_batches = true;
    fake_change(settings);
    diaspora_producer *producer = open_producer(&fixture, "{\"batch_size\":1,\"window\":4,\"max_num_batches\":8}");
    diaspora_future *futures[4];
    for (int i = 0; i < 4; i++)
        push_number(producer, i, &futures[i]);
    fake_release();
    for (int i = 0; i < 4; i++) {
        assert_int_equal(diaspora_future_wait(futures[i], 10000, NULL, NULL), i == 0 ? 0 : DANGO_ERR_IO);
        diaspora_future_release(futures[i]);
    }
    assert_int_equal(diaspora_flush(producer, 10000, NULL), DANGO_ERR_IO);
    assert_int_equal(fake_event_count("events", 0), 1);
    diaspora_producer_close(producer);
}

/* Nobody waits once more for a server that did not answer in time; nor is that told as if it might answer later. */
static void a_server_without_an_answer_is_waited_for_once(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.batch_fails = 1;
    settings.hold_batches = true;
    settings.failure_code = DANGO_ERR_TIMEOUT;
    fake_change(settings);
    diaspora_producer *producer = open_producer(&fixture, "{\"batch_size\":1,\"window\":2,\"max_num_batches\":8}");
    diaspora_future *futures[6];
    for (int i = 0; i < 6; i++)
        push_number(producer, i, &futures[i]);
    assert_int_equal(fake_statistics().batches, 2);
    fake_release();
    for (int i = 0; i < 6; i++) {
        assert_int_equal(diaspora_future_wait(futures[i], 10000, NULL, NULL), DIASPORA_DISCONNECTED);
        diaspora_future_release(futures[i]);
    }
    assert_int_equal(diaspora_flush(producer, 10000, NULL), DIASPORA_DISCONNECTED);
    assert_int_equal(fake_statistics().batches, 2);
    fake_change(FAKE_DEFAULTS);
    push_number(producer, 6, NULL);
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    diaspora_producer_close(producer);
    assert_int_equal(fake_event_count("events", 0), 1);
}

static void a_lost_server_fails_everything_at_once(void **state)
{
    (void)state;
    dango_log_set_level(DANGO_LOG_OFF);
    diaspora_producer *producer = open_producer(&fixture, NULL);
    push_number(producer, 0, NULL);
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    fake_disconnect();
    for (int i = 0; i < 100; i++)
        push_number(producer, i, NULL);
    assert_int_equal(diaspora_flush(producer, 10000, NULL), DIASPORA_DISCONNECTED);
    push_number(producer, 0, NULL);
    diaspora_producer_close(producer);
}

static void futures_outlive_their_producer(void **state)
{
    (void)state;
    diaspora_producer *producer = open_producer(&fixture, "{\"batch_size\":100}");
    diaspora_future *futures[250];
    for (int i = 0; i < 250; i++)
        push_number(producer, i, &futures[i]);
    diaspora_producer_close(producer);
    for (int i = 0; i < 250; i++) {
        uint64_t id;
        ASSERT_OK(diaspora_future_wait(futures[i], 0, &id, &problem));
        assert_int_equal(id, i);
        diaspora_future_release(futures[i]);
    }
}

static void partitions_are_chosen_in_turn_or_as_requested(void **state)
{
    (void)state;
    diaspora_producer *producer = open_producer(&fixture, NULL);
    for (int i = 0; i < 30; i++)
        push_number(producer, i, NULL);
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    for (size_t p = 0; p < 3; p++)
        assert_int_equal(fake_event_count("events", p), 10);
    for (size_t requested = 0; requested < 6; requested++)
        ASSERT_OK(diaspora_push_to(producer, requested % 3 ? 1 : requested, "{}", 2, DIASPORA_NO_DATA, NULL, &problem));
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    assert_int_equal(fake_event_count("events", 0), 12);
    assert_int_equal(fake_event_count("events", 1), 14);
    assert_int_equal(fake_event_count("events", 2), 10);
    diaspora_producer_close(producer);
}

static void targets_are_the_only_partitions(void **state)
{
    (void)state;
    diaspora_error err = DIASPORA_ERROR_INIT;
    diaspora_producer *producer = open_producer(&fixture, "{\"targets\":[2,0]}");
    for (int i = 0; i < 30; i++)
        push_number(producer, i, NULL);
    ASSERT_OK(diaspora_push_to(producer, 2, "{}", 2, DIASPORA_NO_DATA, NULL, &problem));
    assert_int_equal(diaspora_push_to(producer, 1, "{}", 2, DIASPORA_NO_DATA, NULL, &err), DANGO_ERR_RANGE);
    assert_contains(err.text, "partition 1 is not among the targets of the producer");
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    assert_int_equal(fake_event_count("events", 0), 15);
    assert_int_equal(fake_event_count("events", 1), 0);
    assert_int_equal(fake_event_count("events", 2), 16);
    diaspora_producer_close(producer);
    /* In another order: what is asked for is a partition of the topic all the same. */
    producer = open_producer(&fixture, "{\"targets\":[2,1,0]}");
    ASSERT_OK(diaspora_push_to(producer, 1, "{}", 2, DIASPORA_NO_DATA, NULL, &problem));
    ASSERT_OK(diaspora_push_to(producer, 0, "{}", 2, DIASPORA_NO_DATA, NULL, &problem));
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    assert_int_equal(fake_event_count("events", 0), 16);
    assert_int_equal(fake_event_count("events", 1), 1);
    diaspora_producer_close(producer);
    assert_null(diaspora_producer_open(fixture.topic, "{\"targets\":[]}", &err));
    assert_contains(err.text, "producer options: targets: must not be empty");
    assert_null(diaspora_producer_open(fixture.topic, "{\"targets\":[0,3]}", &err));
    assert_contains(err.text, "producer options: targets[1]: topic \"events\" has no partition 3 (partitions: 3)");
}

static void a_topic_without_partitions_takes_no_events(void **state)
{
    (void)state;
    diaspora_error err;
    ASSERT_OK(diaspora_topic_create(fixture.driver, "empty", "{\"num_partitions\":0}", NULL, &problem));
    diaspora_topic *topic = diaspora_topic_open(fixture.driver, "empty", &err);
    diaspora_producer *producer = diaspora_producer_open(topic, NULL, &err);
    assert_int_equal(diaspora_push(producer, "{}", 2, DIASPORA_NO_DATA, NULL, &err), DIASPORA_INVALID);
    assert_contains(err.text, "topic \"empty\" has no partition");
    ASSERT_OK(diaspora_flush(producer, 0, &problem));
    diaspora_producer_close(producer);
    diaspora_topic_close(topic);
}

/* Threads push, wait, flush and drop futures at random, while answers come late and in any order. */
static void *push_at_random(void *arg)
{
    struct pusher *p = arg;
    unsigned seed = (unsigned)p->from;
    for (int i = p->from; i < p->to; i++) {
        char text[32];
        static const char data[40000];
        diaspora_future *future = NULL;
        diaspora_error err;
        size_t size = rand_r(&seed) % 8 ? (size_t)rand_r(&seed) % 100 : sizeof data;
        int length = snprintf(text, sizeof text, "%d", i);
        int status = diaspora_push(p->producer, text, (size_t)length, DIASPORA_DATA(data, size),
                                   rand_r(&seed) % 2 ? &future : NULL, &err);
        assert_int_equal(status, 0);
        if (future && rand_r(&seed) % 4 == 0)
            assert_int_equal(diaspora_future_wait(future, 10000, NULL, &err), 0);
        diaspora_future_release(future);
        if (rand_r(&seed) % 64 == 0)
            assert_int_equal(diaspora_flush(p->producer, 10000, &err), 0);
    }
    return NULL;
}

static void producers_may_be_shared_by_threads(void **state)
{
    (void)state;
    for (size_t mode = 0; mode < sizeof modes / sizeof *modes; mode++) {
        enum { THREADS = 4, EVENTS = 150 };
        struct pusher p[THREADS];
        pthread_t threads[THREADS];
        diaspora_producer *producer = open_producer(&fixture, modes[mode]);
        uint64_t before = 0, after = 0;
        for (size_t i = 0; i < 3; i++)
            before += fake_event_count("events", i);
        for (int i = 0; i < THREADS; i++) {
            p[i] = (struct pusher){producer, i * EVENTS, (i + 1) * EVENTS, 0};
            pthread_create(&threads[i], NULL, push_at_random, &p[i]);
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        diaspora_producer_close(producer);
        for (size_t i = 0; i < 3; i++)
            after += fake_event_count("events", i);
        assert_int_equal(after - before, THREADS * EVENTS);
    }
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CHAOS(name) cmocka_unit_test_setup_teardown(name, setup_chaos, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(options_are_checked),
        TEST(events_are_stored_in_every_mode),
        TEST(a_fixed_batch_leaves_when_full),
        TEST(adaptive_batches_grow_while_the_partition_is_busy),
        TEST(several_batches_are_in_flight_but_not_more_than_the_window),
        TEST(a_timed_out_wait_can_be_repeated),
        TEST(flush_with_nothing_pending_is_done_at_once),
        TEST(push_blocks_while_too_many_batches_wait),
        TEST(large_events_bound_a_batch_by_bytes),
        TEST(an_event_may_be_larger_than_a_batch),
        TEST(a_failed_batch_fails_its_futures_and_the_next_flush),
        TEST(a_flush_asks_whether_what_was_answered_early_is_stored),
        TEST(batches_behind_a_failed_one_fail_with_it),
        TEST(a_server_without_an_answer_is_waited_for_once),
        TEST(a_lost_server_fails_everything_at_once),
        TEST(futures_outlive_their_producer),
        CHAOS(partitions_are_chosen_in_turn_or_as_requested),
        CHAOS(targets_are_the_only_partitions),
        CHAOS(a_topic_without_partitions_takes_no_events),
        CHAOS(producers_may_be_shared_by_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
