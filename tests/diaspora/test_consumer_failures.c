/*
 * Consumers whose server is lost, or whose events are damaged or no longer kept, on the fake back-end.
 */
#include "tests/diaspora/support/consumer.h"

#include <poll.h>

static void a_lost_server_is_reported_after_what_came_before(void **state)
{
    (void)state;
    produce(0, 30, 0, NULL);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    diaspora_event *first = pull(consumer);
    int events = 1;
    /* Everything there was is on its way already, or waits at the server: take what comes. */
    while (events < 30) {
        diaspora_event_release(pull(consumer));
        events++;
    }
    fake_disconnect();
    for (int i = 0; i < 6; i++) {
        diaspora_error err;
        diaspora_event *event;
        assert_int_equal(diaspora_pull(consumer, 10000, &event, &err), DIASPORA_DISCONNECTED);
        assert_contains(err.text, "the fake server is gone");
    }
    assert_int_equal(diaspora_event_acknowledge(first, NULL), DIASPORA_DISCONNECTED);
    diaspora_event_release(first);
    diaspora_consumer_close(consumer);
    diaspora_error err;
    assert_null(diaspora_consumer_open(fixture.topic, "{\"name\":\"c\"}", &err));
    assert_int_equal(err.code, DIASPORA_DISCONNECTED);
}

static void damaged_records_are_detected(void **state)
{
    (void)state;
    produce(0, 10, 0, "{\"batch_size\":10}");
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.damage_records = true;
    fake_change(settings);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    diaspora_error err;
    diaspora_event *event;
    for (int i = 0; i < 9; i++)
        diaspora_event_release(pull(consumer));
    assert_int_equal(diaspora_pull(consumer, 10000, &event, &err), DANGO_ERR_PROTOCOL);
    assert_contains(err.text, "damaged records (event 9 of partition 0)");
    diaspora_consumer_close(consumer);
}

static void damaged_events_are_told_in_their_place(void **state)
{
    (void)state;
    produce(0, 30, 0, "{\"batch_size\":10}");
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.batch_lost = 2;
    fake_change(settings);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\",\"batch_size\":10}");
    diaspora_error err;
    diaspora_event *event;
    int fd = diaspora_consumer_fd(consumer, &err);
    for (uint64_t id = 0; id < 10; id++) {
        event = pull(consumer);
        assert_int_equal(diaspora_event_id(event), id);
        diaspora_event_release(event);
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_int_equal(diaspora_pull(consumer, 10000, &event, &err), DIASPORA_CORRUPT);
    assert_contains(err.text, "partition 0: events 10 to 19 are damaged");
    for (uint64_t id = 20; id < 30; id++) {
        event = pull(consumer);
        assert_int_equal(diaspora_event_id(event), id);
        diaspora_event_release(event);
    }
    diaspora_consumer_close(consumer);
}

static void damage_inside_an_answer_is_told_in_its_place(void **state)
{
    (void)state;
    produce(0, 30, 100, "{\"batch_size\":10}");
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.lost_is_run = true;
    for (unsigned batch = 1; batch <= 3; batch++) {
        settings.batch_lost = batch;
        fake_change(settings);
        diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\",\"from\":\"first\",\"data\":\"all\"}");
        diaspora_error err;
        diaspora_event *event;
        char text[64];
        for (uint64_t id = 0; id < 30; id += 10) {
            if (id / 10 + 1 == batch) {
                snprintf(text, sizeof text, "events %d to %d are damaged", (int)id, (int)id + 9);
                assert_int_equal(diaspora_pull(consumer, 10000, &event, &err), DIASPORA_CORRUPT);
                assert_contains(err.text, text);
                continue;
            }
            for (uint64_t i = id; i < id + 10; i++) {
                event = pull(consumer);
                assert_int_equal(diaspora_event_id(event), i);
                diaspora_event_release(event);
            }
        }
        diaspora_consumer_close(consumer);
    }
}

static void events_that_are_no_longer_kept_are_counted(void **state)
{
    (void)state;
    produce(0, 30, 0, "{\"batch_size\":10}");
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.batch_lost = 2;
    settings.lost_is_removed = true;
    fake_change(settings);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\",\"batch_size\":10}");
    uint64_t skipped;
    for (uint64_t i = 0; i < 20; i++) {
        diaspora_event *event = pull(consumer);
        assert_int_equal(diaspora_event_id(event), i < 10 ? i : i + 10);
        diaspora_event_release(event);
    }
    ASSERT_OK(diaspora_consumer_skipped(consumer, 0, &skipped, &problem));
    assert_int_equal(skipped, 10);
    assert_int_equal(diaspora_consumer_skipped(consumer, 1, &skipped, NULL), DIASPORA_NOT_FOUND);
    diaspora_consumer_close(consumer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PARTITIONS(a_lost_server_is_reported_after_what_came_before),
        TEST(damaged_records_are_detected),
        TEST(damaged_events_are_told_in_their_place),
        TEST(damage_inside_an_answer_is_told_in_its_place),
        TEST(events_that_are_no_longer_kept_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
