/*
 * What the tests of consumers share: topics with numbered events, and looking at what a consumer gives.
 */
#ifndef DANGO_TESTS_DIASPORA_CONSUMER_H
#define DANGO_TESTS_DIASPORA_CONSUMER_H

#include "tests/diaspora/support/fixture.h"

#include <diaspora/diaspora.h>

static struct fixture fixture;

static inline int setup(void **state)
{
    (void)state;
    open_topic(&fixture, FAKE_DEFAULTS, NULL);
    return 0;
}

static inline int setup_partitions(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.threads = 4;
    settings.delay_us_max = 100;
    open_topic(&fixture, settings, "{\"num_partitions\":3}");
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    close_topic(&fixture);
    return 0;
}

/* Pushes numbered events, with `data_size` bytes of data each, starting with the low byte of the number. */
static inline void produce(int from, int to, size_t data_size, const char *options)
{
    diaspora_producer *producer = open_producer(&fixture, options);
    char *data = calloc(1, (size_t)(to - from) * data_size + 1);
    assert_non_null(data);
    for (int i = from; i < to; i++) {
        char text[64], *mine = data + (size_t)(i - from) * data_size;
        int length = snprintf(text, sizeof text, "{\"event_num\":%d}", i);
        memset(mine, i & 0xff, data_size);
        ASSERT_OK(diaspora_push(producer, text, (size_t)length, DIASPORA_DATA(mine, data_size), NULL, &problem));
    }
    diaspora_producer_close(producer);
    free(data);
}

static inline diaspora_event *pull(diaspora_consumer *consumer)
{
    diaspora_event *event = NULL;
    diaspora_error err = DIASPORA_ERROR_INIT;
    if (diaspora_pull(consumer, 10000, &event, &err) != 0)
        fail_msg("pull: %s", err.text);
    return event;
}

static inline void assert_number(const diaspora_event *event, int number)
{
    char text[64];
    snprintf(text, sizeof text, "{\"event_num\":%d}", number);
    assert_string_equal(diaspora_event_metadata(event), text);
    assert_int_equal(diaspora_event_metadata_size(event), strlen(text));
}

static inline void assert_nothing_more(diaspora_consumer *consumer)
{
    diaspora_event *event = NULL;
    assert_int_equal(diaspora_pull(consumer, 20, &event, NULL), DIASPORA_TIMEOUT);
    assert_null(event);
}
#define TEST(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PARTITIONS(name) cmocka_unit_test_setup_teardown(name, setup_partitions, teardown)

#endif
