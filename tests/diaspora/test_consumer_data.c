/*
 * Data of events that a consumer wants: what is chosen, where it is put, in how many requests it is read, and what
 * fails of it, on the fake back-end.
 */
#include "tests/diaspora/support/consumer.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* What the selectors of these tests do. */
struct choice {
    enum { NOTHING, EVERYTHING, SUB, STRIDED, RANGES, EVEN, FAIL } what;
    char buffer[64];
    diaspora_segment segments[2];
    size_t calls;
};

static int choose(void *arg, const char *metadata, size_t metadata_size, diaspora_selection *selection,
                  diaspora_error *err)
{
    struct choice *choice = arg;
    const diaspora_range ranges[] = {{3, 6}, {15, 4}, {27, 8}};
    int number = 0;
    assert_int_equal(strlen(metadata), metadata_size);
    choice->calls++;
    switch (choice->what) {
    case NOTHING:
        diaspora_selection_clear(selection);
        return 0;
    case SUB:
        return diaspora_selection_sub(selection, 13, 26, err);
    case STRIDED:
        return diaspora_selection_strided(selection, 13, 3, 4, 2, err);
    case RANGES:
        return diaspora_selection_ranges(selection, ranges, 3, err);
    case EVEN:
        if (sscanf(metadata, "{\"event_num\":%d}", &number) == 1 && number % 2)
            diaspora_selection_clear(selection);
        return 0;
    case FAIL:
        return dango_error_set(err, DIASPORA_INVALID, "cannot choose");
    default:
        return 0;
    }
}

/* Two segments of which the first has 5 bytes. */
static int allocate(void *arg, const char *metadata, size_t metadata_size, uint64_t size, diaspora_segment **segments,
                    size_t *count, diaspora_error *err)
{
    (void)metadata, (void)metadata_size, (void)err;
    struct choice *choice = arg;
    memset(choice->buffer, 0, sizeof choice->buffer);
    size_t head = size < 5 ? (size_t)size : 5;
    choice->segments[0] = (diaspora_segment){choice->buffer, head};
    choice->segments[1] = (diaspora_segment){choice->buffer + head, (size_t)size - head};
    *segments = choice->segments;
    *count = 2;
    return 0;
}

static int allocate_too_little(void *arg, const char *metadata, size_t metadata_size, uint64_t size,
                               diaspora_segment **segments, size_t *count, diaspora_error *err)
{
    int status = allocate(arg, metadata, metadata_size, size, segments, count, err);
    (*segments)[1].size--;
    return status;
}

static void produce_letters(void)
{
    diaspora_producer *producer = open_producer(&fixture, NULL);
    char letters[] = LETTERS;
    const diaspora_segment halves[] = {{letters, 26}, {letters + 26, 26}};
    ASSERT_OK(diaspora_push(producer, "{}", 2, halves, 2, NULL, &problem));
    diaspora_producer_close(producer);
}

static const struct {
    int what;
    const char *expected;
} letter_choices[] = {{NOTHING, ""},
                      {EVERYTHING, LETTERS},
                      {SUB, "nopqrstuvwxyzABCDEFGHIJKLM"},
                      {STRIDED, "nopqtuvwzABC"},
                      {RANGES, "defghipqrsBCDEFGHI"}};

/* Data may come along with the records, or be read afterwards; into the library's memory or the user's. */
static void the_selected_bytes_arrive(void **state)
{
    (void)state;
    produce_letters();
    for (size_t i = 0; i < sizeof letter_choices / sizeof *letter_choices; i++) {
        for (int variant = 0; variant < 4; variant++) {
            bool along = variant & 1, user_memory = variant & 2;
            struct choice choice = {.what = letter_choices[i].what};
            const char *expected = letter_choices[i].expected;
            char options[64];
            snprintf(options, sizeof options, "{\"name\":\"c%zu\",\"data\":\"%s\"}", i * 4 + (size_t)variant,
                     along ? "all" : "none");
            diaspora_consumer *consumer = open_consumer(&fixture, options);
            ASSERT_OK(diaspora_consumer_set_selector(consumer, choose, &choice, &problem));
            if (user_memory)
                ASSERT_OK(diaspora_consumer_set_allocator(consumer, allocate, &choice, &problem));
            diaspora_event *event = pull(consumer);
            size_t segments, size = strlen(expected);
            const diaspora_segment *where = diaspora_event_data_segments(event, &segments);
            assert_int_equal(choice.calls, 1);
            assert_int_equal(diaspora_event_data_total(event), 52);
            assert_int_equal(diaspora_event_data_size(event), size);
            if (size == 0) {
                assert_int_equal(segments, 0);
                assert_null(diaspora_event_data(event));
            } else if (user_memory) {
                assert_ptr_equal(where, choice.segments);
                assert_null(diaspora_event_data(event));
                assert_memory_equal(choice.buffer, expected, size);
            } else {
                assert_int_equal(segments, 1);
                assert_int_equal(where[0].size, size);
                assert_memory_equal(diaspora_event_data(event), expected, size);
            }
            diaspora_event_release(event);
            assert_nothing_more(consumer);
            diaspora_consumer_close(consumer);
        }
    }
}

static void every_second_event_has_data(void **state)
{
    (void)state;
    produce(0, 100, 10, NULL);
    struct choice choice = {.what = EVEN};
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    ASSERT_OK(diaspora_consumer_set_selector(consumer, choose, &choice, &problem));
    for (int i = 0; i < 100; i++) {
        diaspora_event *event = pull(consumer);
        size_t segments;
        diaspora_event_data_segments(event, &segments);
        assert_int_equal(segments, i % 2 ? 0 : 1);
        if (i % 2 == 0)
            assert_int_equal(*(const char *)diaspora_event_data(event), i);
        diaspora_event_release(event);
    }
    /* As many events as came in one answer are read by one request. */
    assert_true(fake_statistics().reads < 10);
    assert_int_equal(fake_statistics().read_items, 50);
    diaspora_consumer_close(consumer);
}

static int choose_every_second_byte(void *arg, const char *metadata, size_t metadata_size,
                                    diaspora_selection *selection, diaspora_error *err)
{
    (void)arg;
    (void)metadata;
    (void)metadata_size;
    return diaspora_selection_strided(selection, 0, diaspora_selection_size(selection) / 2, 1, 1, err);
}

/* Drivers do not take any number of ranges in one request. */
static void many_ranges_are_read_in_several_requests(void **state)
{
    (void)state;
    produce(0, 600, 200, NULL);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    ASSERT_OK(diaspora_consumer_set_selector(consumer, choose_every_second_byte, NULL, &problem));
    for (int i = 0; i < 600; i++) {
        diaspora_event *event = pull(consumer);
        assert_number(event, i);
        assert_int_equal(diaspora_event_data_size(event), 100);
        diaspora_event_release(event);
    }
    assert_true(fake_statistics().reads > 1);
    assert_true(fake_statistics().read_ranges_max < 20000);
    diaspora_consumer_close(consumer);
}

static void check_all_data(const char *options, int count, size_t size, bool user_memory)
{
    struct choice choice = {0};
    diaspora_consumer *consumer = open_consumer(&fixture, options);
    if (user_memory)
        ASSERT_OK(diaspora_consumer_set_allocator(consumer, allocate, &choice, &problem));
    for (int i = 0; i < count; i++) {
        diaspora_event *event = pull(consumer);
        assert_number(event, i);
        assert_int_equal(diaspora_event_data_size(event), size);
        const unsigned char *data = diaspora_event_data(event);
        for (size_t k = 0; !user_memory && k < size; k++) {
            if (data[k] != (unsigned char)i)
                fail_msg("event %d, byte %zu: %d", i, k, data[k]);
        }
        diaspora_event_release(event);
    }
    assert_nothing_more(consumer);
    diaspora_consumer_close(consumer);
}

static void all_data_come_along_or_are_read(void **state)
{
    (void)state;
    produce(0, 300, 1000, "{\"batch_size\":16}");
    check_all_data("{\"name\":\"a\",\"data\":\"all\"}", 300, 1000, false);
    assert_int_equal(fake_statistics().reads, 0);
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.no_data_along = true;
    fake_change(settings);
    check_all_data("{\"name\":\"b\",\"data\":\"all\"}", 300, 1000, false);
    assert_true(fake_statistics().reads > 0);
}

static void an_allocator_alone_means_all_data(void **state)
{
    (void)state;
    produce(0, 20, 50, NULL);
    check_all_data("{\"name\":\"a\"}", 20, 50, true);
}

static void much_data_are_read_in_pieces(void **state)
{
    (void)state;
    produce(0, 40, (size_t)1 << 20, NULL);
    check_all_data("{\"name\":\"a\",\"data\":\"all\"}", 40, (size_t)1 << 20, false);
    assert_true(fake_statistics().reads >= 4);
}

static void callbacks_that_fail_fail_their_event_only(void **state)
{
    (void)state;
    produce(0, 2, 10, NULL);
    struct choice choice = {.what = FAIL};
    diaspora_error err;
    diaspora_event *event;
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    ASSERT_OK(diaspora_consumer_set_selector(consumer, choose, &choice, &problem));
    assert_int_equal(diaspora_pull(consumer, 10000, &event, &err), DIASPORA_INVALID);
    assert_string_equal(err.text, "event 0 of partition 0: cannot choose");
    assert_null(event);
    assert_int_equal(diaspora_pull(consumer, 10000, &event, &err), DIASPORA_INVALID);
    assert_nothing_more(consumer);
    assert_int_equal(diaspora_consumer_set_selector(consumer, NULL, NULL, &err), DANGO_ERR_BUSY);
    diaspora_consumer_close(consumer);

    consumer = open_consumer(&fixture, "{\"name\":\"c\"}");
    ASSERT_OK(diaspora_consumer_set_allocator(consumer, allocate_too_little, &choice, &problem));
    assert_int_equal(diaspora_pull(consumer, 10000, &event, &err), DIASPORA_INVALID);
    assert_contains(err.text, "the data allocator provided 9 bytes for 10");
    diaspora_consumer_close(consumer);
}

static void an_unreadable_event_is_one_error(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.read_fails = 3;
    settings.no_data_along = true;
    fake_change(settings);
    produce(0, 6, 10, NULL);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\",\"data\":\"all\"}");
    diaspora_event *events[6];
    size_t count;
    diaspora_error err;
    ASSERT_OK(diaspora_pull_many(consumer, 10000, events, 3, &count, &problem));
    for (size_t got = count; got < 3; got += count)
        ASSERT_OK(diaspora_pull_many(consumer, 10000, events + got, 3 - got, &count, &problem));
    assert_int_equal(diaspora_pull_many(consumer, 10000, events + 3, 3, &count, &err), DANGO_ERR_CORRUPT);
    assert_contains(err.text, "event 3 of partition 0: reading its data");
    events[3] = NULL;
    for (int i = 4; i < 6; i++)
        events[i] = pull(consumer);
    for (int i = 0; i < 6; i++) {
        if (events[i])
            assert_int_equal(*(const char *)diaspora_event_data(events[i]), i);
        diaspora_event_release(events[i]);
    }
    diaspora_consumer_close(consumer);

    /* A read that took too long is over: TIMEOUT would say that nothing is lost. */
    settings.failure_code = DANGO_ERR_TIMEOUT;
    fake_change(settings);
    consumer = open_consumer(&fixture, "{\"name\":\"d\",\"data\":\"all\",\"from\":3}");
    assert_int_equal(diaspora_pull_many(consumer, 10000, events, 3, &count, &err), DIASPORA_DISCONNECTED);
    assert_int_equal(diaspora_event_id(events[0] = pull(consumer)), 4);
    diaspora_event_release(events[0]);
    diaspora_consumer_close(consumer);
}

static void a_pull_may_time_out_while_data_are_read(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.hold_reads = true;
    settings.no_data_along = true;
    fake_change(settings);
    produce(0, 3, 10, NULL);
    diaspora_consumer *consumer = open_consumer(&fixture, "{\"name\":\"c\",\"data\":\"all\"}");
    assert_nothing_more(consumer);
    assert_nothing_more(consumer);
    fake_release();
    for (int i = 0; i < 3; i++) {
        diaspora_event *event = pull(consumer);
        assert_number(event, i);
        diaspora_event_release(event);
    }
    /* Reads that are still held back when the consumer is closed. */
    fake_change(settings);
    produce(3, 6, 10, NULL);
    assert_nothing_more(consumer);
    diaspora_consumer_close(consumer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_selected_bytes_arrive),
        TEST(every_second_event_has_data),
        TEST(many_ranges_are_read_in_several_requests),
        TEST(all_data_come_along_or_are_read),
        TEST(an_allocator_alone_means_all_data),
        TEST(much_data_are_read_in_pieces),
        TEST(callbacks_that_fail_fail_their_event_only),
        TEST(an_unreadable_event_is_one_error),
        TEST(a_pull_may_time_out_while_data_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
