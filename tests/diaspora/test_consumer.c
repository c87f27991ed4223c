/*
 * Consumers: order, positions, data selection, prefetch, end of stream, failures, and events that outlive everything,
 * on the fake back-end.
 */
#include "tests/diaspora/support/fixture.h"

#include <diaspora/diaspora.h>

#include "diaspora/consumer.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

static struct fixture fixture;

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

static int setup(void **state)
{
    (void)state;
    open_topic(&fixture, FAKE_DEFAULTS, NULL);
    return 0;
}

static int setup_partitions(void **state)
{
    (void)state;
    struct fake_settings settings = FAKE_DEFAULTS;
    settings.threads = 4;
    settings.delay_us_max = 100;
    open_topic(&fixture, settings, "{\"num_partitions\":3}");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_topic(&fixture);
    return 0;
}

/* Pushes numbered events, with `data_size` bytes of data each, starting with the low byte of the number. */
static void produce(int from, int to, size_t data_size, const char *options)
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

static diaspora_event *pull(diaspora_consumer *consumer)
{
    diaspora_event *event = NULL;
    diaspora_error err = DIASPORA_ERROR_INIT;
    if (diaspora_pull(consumer, 10000, &event, &err) != 0)
        fail_msg("pull: %s", err.text);
    return event;
}

static void assert_number(const diaspora_event *event, int number)
{
    char text[64];
    snprintf(text, sizeof text, "{\"event_num\":%d}", number);
    assert_string_equal(diaspora_event_metadata(event), text);
    assert_int_equal(diaspora_event_metadata_size(event), strlen(text));
}

static void assert_nothing_more(diaspora_consumer *consumer)
{
    diaspora_event *event = NULL;
    assert_int_equal(diaspora_pull(consumer, 20, &event, NULL), DIASPORA_TIMEOUT);
    assert_null(event);
}

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

/* ---- data ------------------------------------------------------------------------------------------------------ */

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

/* ---- failures -------------------------------------------------------------------------------------------------- */

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

#define TEST(name)       cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PARTITIONS(name) cmocka_unit_test_setup_teardown(name, setup_partitions, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(options_are_checked),
        TEST(events_come_in_order_with_their_ids),
        TEST(pull_waits_for_events_to_come),
        TEST(the_saved_position_is_where_the_next_consumer_starts),
        TEST(the_selected_bytes_arrive),
        TEST(every_second_event_has_data),
        TEST(many_ranges_are_read_in_several_requests),
        TEST(all_data_come_along_or_are_read),
        TEST(an_allocator_alone_means_all_data),
        TEST(much_data_are_read_in_pieces),
        TEST(callbacks_that_fail_fail_their_event_only),
        TEST(an_unreadable_event_is_one_error),
        TEST(a_pull_may_time_out_while_data_are_read),
        TEST(prefetch_is_bounded),
        TEST(events_may_be_held_and_outlive_their_consumer),
        TEST(untaken_events_do_not_leak),
        TEST(an_event_larger_than_the_buffer_arrives),
        PARTITIONS(all_partitions_are_read_in_order_without_starving),
        PARTITIONS(targets_choose_partitions),
        PARTITIONS(the_end_of_a_complete_topic_is_an_event),
        PARTITIONS(a_lost_server_is_reported_after_what_came_before),
        TEST(damaged_records_are_detected),
        TEST(damaged_events_are_told_in_their_place),
        TEST(damage_inside_an_answer_is_told_in_its_place),
        TEST(events_that_are_no_longer_kept_are_counted),
        TEST(the_descriptor_tells_when_to_pull),
        PARTITIONS(nothing_is_lost_or_doubled_between_threads),
        TEST(closing_ends_a_pull_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
