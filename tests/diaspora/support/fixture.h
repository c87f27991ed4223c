/*
 * What the tests of the streaming core share: the fake back-end started and stopped around each test, a driver and a
 * topic on it, and a check that nothing is left open behind.
 */
#ifndef DANGO_TESTS_DIASPORA_FIXTURE_H
#define DANGO_TESTS_DIASPORA_FIXTURE_H

#include "tests/support/test.h"
#include "tests/diaspora/support/fake.h"

struct fixture {
    diaspora_driver *driver;
    diaspora_topic *topic; /* "events" */
};

#define ASSERT_OK(call)                                                                                                \
    do {                                                                                                               \
        diaspora_error problem = DIASPORA_ERROR_INIT;                                                                  \
        if ((call) != 0)                                                                                               \
            fail_msg("%s: %s", #call, problem.text);                                                                   \
    } while (0)

static inline void open_topic(struct fixture *f, struct fake_settings settings, const char *topic_options)
{
    fake_start(settings);
    diaspora_error err = DIASPORA_ERROR_INIT;
    f->driver = diaspora_driver_open("fake", NULL, &err);
    assert_non_null(f->driver);
    ASSERT_OK(diaspora_topic_create(f->driver, "events", topic_options, NULL, &problem));
    f->topic = diaspora_topic_open(f->driver, "events", &err);
    assert_non_null(f->topic);
}

static inline void close_topic(struct fixture *f)
{
    diaspora_topic_close(f->topic);
    diaspora_driver_close(f->driver);
    struct fake_statistics s = fake_statistics();
    fake_stop();
    assert_int_equal(s.sinks + s.sources, 0);
    assert_int_equal(s.topics, 0);
    assert_int_equal(s.drivers, 0);
    assert_int_equal(s.buffers, 0);
}

static inline diaspora_producer *open_producer(struct fixture *f, const char *options)
{
    diaspora_error err = DIASPORA_ERROR_INIT;
    diaspora_producer *producer = diaspora_producer_open(f->topic, options, &err);
    if (!producer)
        fail_msg("producer: %s", err.text);
    return producer;
}

static inline diaspora_consumer *open_consumer(struct fixture *f, const char *options)
{
    diaspora_error err = DIASPORA_ERROR_INIT;
    diaspora_consumer *consumer = diaspora_consumer_open(f->topic, options, &err);
    if (!consumer)
        fail_msg("consumer: %s", err.text);
    return consumer;
}

/* Pushes {"event_num":i}. */
static inline void push_number(diaspora_producer *producer, int i, diaspora_future **future)
{
    char text[64];
    int length = snprintf(text, sizeof text, "{\"event_num\":%d}", i);
    ASSERT_OK(diaspora_push(producer, text, (size_t)length, DIASPORA_NO_DATA, future, &problem));
}

#endif
