/*
 * Consumers: order, positions, prefetch, several partitions, end of stream, the descriptor, threads, and events that outlive
 * everything, on the fake back-end.
 */
#include "tests/diaspora/support/consumer.h"

#include "diaspora/consumer.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

static void options_are_checked(void **state)
{
    (void)state;
    const struct {
        const char *options, *text;
    } wrong[] = {
        {"{}", "consumer: name: this field is required"},
        {NULL, "name"},
        {"{\"name\":\"c\",\"form\":1}", "did you mean \"from\"?"},
        {"{\"name\":\"c\",\"from\":\"middle\"}",
         "from: expected \"saved\", \"first\", \"last\", an event id or a time"},
        {"{\"name\":\"c\",\"from\":-1}", "not negative"},
        {"{\"name\":\"c\",\"targets\":[]}", "targets: must not be empty"},
        {"{\"name\":\"c\",\"targets\":[1]}", "targets[0]: topic \"events\" has no partition 1 (partitions: 1)"},
        {"{\"name\":\"c\",\"targets\":[0,0]}", "targets[1]: partition 0 is named twice"},
        {"{\"name\":\"c\",\"targets\":[\"0\"]}", "expected the index of a partition, got string"},
        {"{\"name\":\"c\",\"data\":\"some\"}", "data: unknown value \"some\""},
        {"{\"name\":\"c\",\"batch_size\":\"huge\"}", "batch_size"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        diaspora_error err = DIASPORA_ERROR_INIT;
        assert_null(diaspora_consumer_open(fixture.topic, wrong[i].options, &err));
        assert_contains(err.text, wrong[i].text);
    }
}

static void events_come_in_order_with_their_ids(void **state)
{
    (void)state;
    produce(0, 100, 0, "{\"batch_size\":7}");
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    for (int i = 0; i < 100; i++) {
        diaspora_event *event = pull(consumer);
        size_t segments;
        assert_int_equal(diaspora_event_id(event), i);
        assert_int_equal(diaspora_event_partition(event), 0);
        assert_number(event, i);
        assert_null(diaspora_event_data(event));
        assert_null(diaspora_event_data_segments(event, &segments));
        assert_int_equal(segments, 0);
        if (i % 5 == 0)
            ASSERT_OK(diaspora_event_acknowledge(event, &problem));
        diaspora_event_release(event);
    }
    assert_nothing_more(consumer);
    assert_nothing_more(consumer);
    diaspora_consumer_close(consumer);
}

static void pull_waits_for_events_to_come(void **state)
{
    (void)state;
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    assert_nothing_more(consumer);
    produce(0, 1, 0, NULL);
    diaspora_event *event = pull(consumer);
    assert_number(event, 0);
    diaspora_event_release(event);
    diaspora_consumer_close(consumer);
}

static void the_saved_position_is_where_the_next_consumer_starts(void **state)
{
    (void)state;
    produce(0, 50, 0, NULL);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    diaspora_event *events[50];
    for (int i = 0; i < 50; i++)
        events[i] = pull(consumer);
    ASSERT_OK(diaspora_event_acknowledge(events[29], &problem));
    ASSERT_OK(diaspora_event_acknowledge(events[10], &problem)); /* never moves backwards */
    assert_int_equal(fake_position("events", 0, "c"), 30);
    for (int i = 0; i < 50; i++)
        diaspora_event_release(events[i]);
    diaspora_consumer_close(consumer);

    const struct {
        const char *options;
        int first;
    } starts[] = {{"{\"name\":\"c\"}", 30},
                  {"{\"name\":\"other\"}", 0},
                  {"{\"name\":\"c\",\"from\":\"first\"}", 0},
                  {"{\"name\":\"c\",\"from\":17}", 17},
                  {"{\"name\":\"c\",\"from\":\"last\"}", 50}};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        uint64_t first, end;
        consumer = open_consumer(&fixture, starts[i].options);
        ASSERT_OK(diaspora_consumer_extent(consumer, 0, &first, &end, &problem));
        assert_int_equal(first, starts[i].first);
        assert_int_equal(end, 50);
        if (starts[i].first == 50) {
            assert_nothing_more(consumer);
        } else {
            diaspora_event *event = pull(consumer);
            assert_int_equal(diaspora_event_id(event), starts[i].first);
            diaspora_event_release(event);
        }
        diaspora_error err;
        assert_int_equal(diaspora_consumer_extent(consumer, 1, &first, &end, &err), DIASPORA_NOT_FOUND);
        diaspora_consumer_close(consumer);
    }
}

/* ---- prefetch, lifetime ---------------------------------------------------------------------------------------- */

static void prefetch_is_bounded(void **state)
{
    (void)state;
    produce(0, 1000, 0, "{\"batch_size\":10}");
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\",\"batch_size\":10,\"max_num_batches\":3}");
    for (int i = 0; i < 1000; i++) {
        diaspora_event *event = pull(consumer);
        assert_number(event, i);
        diaspora_event_release(event);
    }
    assert_true(fake_statistics().fetches_unanswered_max <= 4);
    /* Buffers are used again and again. */
    assert_true(fake_statistics().buffers <= 5);
    diaspora_consumer_close(consumer);
}

static void events_may_be_held_and_outlive_their_consumer(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    produce(0, COUNT, 0, "{\"batch_size\":100}");
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\",\"batch_size\":64}");
    static diaspora_event *events[COUNT];
    for (int i = 0; i < COUNT; i++)
        events[i] = pull(consumer);
    diaspora_consumer_close(consumer);
    diaspora_error err;
    assert_int_equal(diaspora_event_acknowledge(events[5], &err), DANGO_ERR_CANCELED);
    assert_contains(err.text, "consumer \"c\" is closed");
    for (int i = 0; i < COUNT; i++) {
        int turn = (i * 7) % COUNT; /* in any order */
        assert_number(events[turn], turn);
        diaspora_event_release(events[turn]);
    }
}

static void untaken_events_do_not_leak(void **state)
{
    (void)state;
    produce(0, 1000, 20, "{\"batch_size\":100}");
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\",\"data\":\"all\"}");
    diaspora_event *event = pull(consumer);
    diaspora_consumer_close(consumer);
    diaspora_event_release(event);
}

static void an_event_larger_than_the_buffer_arrives(void **state)
{
    (void)state;
    size_t size = (size_t)3 << 20;
    char *large = malloc(size);
    assert_non_null(large);
    memset(large, 'm', size);
    diaspora_producer *producer = open_producer(&fixture, NULL);
    push_number(producer, 0, NULL);
    ASSERT_OK(diaspora_push(producer, large, size, DIASPORA_NO_DATA, NULL, &problem));
    push_number(producer, 2, NULL);
    push_number(producer, 3, NULL);
    ASSERT_OK(diaspora_push(producer, large, size / 2, DIASPORA_NO_DATA, NULL, &problem));
    diaspora_producer_close(producer);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    const size_t sizes[] = {15, size, 15, 15, size / 2};
    for (int i = 0; i < 5; i++) {
        diaspora_event *event = pull(consumer);
        assert_int_equal(diaspora_event_id(event), i);
        assert_int_equal(diaspora_event_metadata_size(event), sizes[i]);
        diaspora_event_release(event);
    }
    diaspora_consumer_close(consumer);
    free(large);
}

/* ---- several partitions ---------------------------------------------------------------------------------------- */

static void all_partitions_are_read_in_order_without_starving(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    produce(0, COUNT, 0, "{\"batch_size\":50}");
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    uint64_t next[3] = {0}, lead = 0;
    for (int i = 0; i < COUNT; i++) {
        diaspora_event *event = pull(consumer);
        size_t partition = diaspora_event_partition(event);
        assert_int_equal(diaspora_event_id(event), next[partition]);
        assert_number(event, (int)(diaspora_event_id(event) * 3 + partition));
        next[partition]++;
        for (size_t p = 0; p < 3; p++) {
            if (next[partition] > next[p] && next[partition] - next[p] > lead && next[p] < COUNT / 3)
                lead = next[partition] - next[p];
        }
        diaspora_event_release(event);
    }
    assert_true(lead <= COUNT / 3);
    assert_nothing_more(consumer);
    diaspora_consumer_close(consumer);
}

static void targets_choose_partitions(void **state)
{
    (void)state;
    produce(0, 30, 0, NULL);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\",\"targets\":[2,0]}");
    for (int i = 0; i < 20; i++) {
        diaspora_event *event = pull(consumer);
        assert_int_not_equal(diaspora_event_partition(event), 1);
        diaspora_event_release(event);
    }
    assert_nothing_more(consumer);
    diaspora_consumer_close(consumer);
}

static void the_end_of_a_complete_topic_is_an_event(void **state)
{
    (void)state;
    produce(0, 10, 0, NULL);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    diaspora_event *event;
    for (int i = 0; i < 10; i++)
        diaspora_event_release(pull(consumer));
    assert_nothing_more(consumer);
    fake_mark_complete("events");
    for (int again = 0; again < 3; again++) {
        diaspora_error err;
        event = pull(consumer);
        assert_int_equal(diaspora_event_id(event), DIASPORA_NO_MORE_EVENTS);
        assert_string_equal(diaspora_event_metadata(event), "{}");
        assert_int_equal(diaspora_event_data_size(event), 0);
        assert_int_equal(diaspora_event_acknowledge(event, &err), DIASPORA_INVALID);
        diaspora_event_release(event);
    }
    diaspora_consumer_close(consumer);
    consumer = open_consumer(&fixture, "{\"name\":\"d\"}");
    for (int i = 0; i < 10; i++) {
        event = pull(consumer);
        assert_int_not_equal(diaspora_event_id(event), DIASPORA_NO_MORE_EVENTS);
        diaspora_event_release(event);
    }
    event = pull(consumer);
    assert_int_equal(diaspora_event_id(event), DIASPORA_NO_MORE_EVENTS);
    diaspora_consumer_close(consumer);
    diaspora_event_release(event);
}

/* ---- descriptor ------------------------------------------------------------------------------------------------ */

static bool readable(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

static void the_descriptor_tells_when_to_pull(void **state)
{
    (void)state;
    diaspora_error err;
    diaspora_event *event;
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    int fd = diaspora_consumer_fd(consumer, &err);
    assert_true(fd >= 0);
    assert_int_equal(diaspora_consumer_fd(consumer, &err), fd);
    assert_int_equal(diaspora_pull(consumer, 0, &event, &err), DIASPORA_TIMEOUT);
    assert_false(readable(fd, 0));
    for (int round = 0; round < 20; round++) {
        produce(round * 3, round * 3 + 3, 0, NULL);
        for (int i = 0; i < 3; i++) {
            assert_true(readable(fd, 10000));
            event = NULL;
            while (diaspora_pull(consumer, 0, &event, &err) == DIASPORA_TIMEOUT)
                assert_true(readable(fd, 10000));
            assert_number(event, round * 3 + i);
            diaspora_event_release(event);
        }
        assert_int_equal(diaspora_pull(consumer, 0, &event, &err), DIASPORA_TIMEOUT);
        assert_false(readable(fd, 0));
    }
    fake_mark_complete("events");
    assert_true(readable(fd, 10000));
    diaspora_consumer_close(consumer);
}

/* ---- threads --------------------------------------------------------------------------------------------------- */

struct reader {
    diaspora_consumer *consumer;
    _Atomic int *seen;
    _Atomic int *left;
};

/* Pulls with a short timeout until all events were seen. */
static void *read_many(void *arg)
{
    struct reader *r = arg;
    while (atomic_load(r->left) > 0) {
        diaspora_event *events[16];
        size_t count;
        if (diaspora_pull_many(r->consumer, 1, events, 16, &count, NULL) != 0)
            continue;
        for (size_t i = 0; i < count; i++) {
            int number = -1;
            if (sscanf(diaspora_event_metadata(events[i]), "{\"event_num\":%d}", &number) == 1) {
                atomic_fetch_add(&r->seen[number], 1);
                atomic_fetch_sub(r->left, 1);
            }
            if (number % 10 == 0)
                (void)diaspora_event_acknowledge(events[i], NULL);
            diaspora_event_release(events[i]);
        }
    }
    return NULL;
}

struct writer {
    diaspora_producer *producer;
    int from, to;
};

static void *write_many(void *arg)
{
    struct writer *w = arg;
    for (int i = w->from; i < w->to; i++)
        push_number(w->producer, i, NULL);
    return NULL;
}

/* Producers and consumers at work together; every event is seen once although nearly every pull times out. */
static void nothing_is_lost_or_doubled_between_threads(void **state)
{
    (void)state;
    enum { READERS = 3, WRITERS = 3, EVENTS = 600 };
    static const char *const consumers[] = {"{\"name\":\"a\"}", "{\"name\":\"b\",\"data\":\"all\",\"batch_size\":5}"};
    for (size_t round = 0; round < 2; round++) {
        static _Atomic int seen[WRITERS * EVENTS];
        _Atomic int left = WRITERS * EVENTS;
        memset(seen, 0, sizeof seen);
        char options[96];
        snprintf(options, sizeof options, "%.*s,\"from\":\"last\"}", (int)strlen(consumers[round]) - 1,
                 consumers[round]);
        diaspora_consumer *consumer = open_consumer(&fixture, options);
        diaspora_producer *producer = open_producer(&fixture, NULL);
        struct reader reader = {consumer, seen, &left};
        struct writer writers[WRITERS];
        pthread_t threads[READERS + WRITERS];
        for (int i = 0; i < READERS; i++)
            pthread_create(&threads[i], NULL, read_many, &reader);
        for (int i = 0; i < WRITERS; i++) {
            writers[i] = (struct writer){producer, i * EVENTS, (i + 1) * EVENTS};
            pthread_create(&threads[READERS + i], NULL, write_many, &writers[i]);
        }
        for (int i = 0; i < READERS + WRITERS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < WRITERS * EVENTS; i++)
            assert_int_equal(seen[i], 1);
        diaspora_producer_close(producer);
        diaspora_consumer_close(consumer);
    }
}

struct puller {
    diaspora_consumer *consumer;
    int status;
};

static void *pull_forever(void *arg)
{
    struct puller *p = arg;
    diaspora_event *event;
    p->status = diaspora_pull(p->consumer, DIASPORA_FOREVER, &event, NULL);
    return NULL;
}

static void closing_ends_a_pull_that_waits(void **state)
{
    (void)state;
    struct puller puller = {open_consumer(&fixture, "{\"name\":\"c\"}"), 1};
    pthread_t thread;
    pthread_create(&thread, NULL, pull_forever, &puller);
    while (atomic_load(&puller.consumer->gate.sleepers) == 0)
        sched_yield();
    diaspora_consumer_close(puller.consumer);
    pthread_join(thread, NULL);
    assert_int_equal(puller.status, DANGO_ERR_CANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(options_are_checked),
        TEST(events_come_in_order_with_their_ids),
        TEST(pull_waits_for_events_to_come),
        TEST(the_saved_position_is_where_the_next_consumer_starts),
        TEST(prefetch_is_bounded),
        TEST(events_may_be_held_and_outlive_their_consumer),
        TEST(untaken_events_do_not_leak),
        TEST(an_event_larger_than_the_buffer_arrives),
        PARTITIONS(all_partitions_are_read_in_order_without_starving),
        PARTITIONS(targets_choose_partitions),
        PARTITIONS(the_end_of_a_complete_topic_is_an_event),
        TEST(the_descriptor_tells_when_to_pull),
        PARTITIONS(nothing_is_lost_or_doubled_between_threads),
        TEST(closing_ends_a_pull_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
