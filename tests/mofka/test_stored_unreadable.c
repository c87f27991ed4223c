/*
 * Partitions whose files become shorter while they are read, which looks to readers like a medium that fails: nobody crashes,
 * events that cannot be read are reported, those that can be read are delivered.
 */
#include "tests/mofka/events.h"
#include "tests/mofka/stored.h"
#include "tests/support/sigbus.h"

#include <unistd.h>

/* Batches, each of EVENTS events in more than a page. */
#define BATCHES 40
#define EVENTS  10
#define DATA    700
#define HALF    ((off_t)BATCHES * EVENTS * DATA / 2)

static struct stored_fixture fixture;
static struct mofka_reader reader;
static struct mofka_stream stream;
static const struct mofka_limits everything = {.size = UINT64_MAX, .events = UINT32_MAX, .with_data = true};

static void produce(unsigned batches)
{
    for (unsigned i = 0; i < batches; i++) {
        struct test_batch batch;
        test_batch_init(&batch, &stream, 1, stream.next_sequence, EVENTS, DATA, (unsigned)stream.next_sequence);
        assert_int_equal(dango_mofka_partition_reserve(fixture.partition, &batch.reception, NULL), 0);
        test_batch_store(fixture.partition, &batch);
        stored_run(&fixture);
        assert_int_equal(batch.code, 0);
        free(batch.content);
    }
}

static int setup(void **state)
{
    (void)state;
    stream = (struct mofka_stream){.producer = 77};
    stored_setup(&fixture);
    produce(BATCHES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dango_mofka_reader_fini(&reader);
    stored_teardown(&fixture);
    return 0;
}

static void shorten(off_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/chunk-000000.log", fixture.directory);
    assert_int_equal(truncate(path, size), 0);
}

/* Reads all that is left, at most `events` at a time; how many events were there. *lost: those that were reported. */
static uint64_t read_all(uint32_t events, uint64_t *lost)
{
    struct mofka_limits limits = everything;
    uint64_t read = 0, needed;
    limits.events = events;
    *lost = 0;
    for (;;) {
        struct mofka_slice slice;
        struct dango_error err = {0};
        uint64_t expected = reader.next_id;
        int found = dango_mofka_reader_next(&reader, &limits, &slice, &needed, &err);
        if (found == 0)
            return read;
        if (found < 0) {
            assert_int_equal(err.code, DANGO_ERR_CORRUPT);
            *lost += dango_mofka_reader_skip(&reader);
            continue;
        }
        assert_int_equal(slice.first_id, expected);
        for (uint64_t i = 0; i < slice.count; i++) {
            uint64_t id = slice.first_id + i;
            assert_int_equal(slice.region->base[slice.data_offset + i * DATA],
                             (unsigned char)(id / EVENTS + id % EVENTS));
        }
        read += slice.count;
    }
}

static void a_reader_reports_what_is_gone(void **state)
{
    (void)state;
    uint64_t lost;
    sigbus_to_guards();
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    shorten(HALF);
    uint64_t read = read_all(UINT32_MAX, &lost);
    assert_in_range(read, EVENTS, BATCHES * EVENTS / 2);
    assert_int_equal(read + lost, BATCHES * EVENTS);
    assert_true(reader.log.faults > 0);
    /* What comes afterwards is delivered, except where it shares a page with what is gone. */
    produce(10);
    read = read_all(UINT32_MAX, &lost);
    assert_int_equal(read + lost, 10 * EVENTS);
    assert_true(read >= 8 * EVENTS);
    dango_mofka_reader_fini(&reader);
    /* Nobody has it mapped any more: the next one sees the file as it is. */
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, BATCHES * EVENTS, NULL), 0);
    assert_int_equal(read_all(UINT32_MAX, &lost), 10 * EVENTS);
    assert_int_equal(lost, 0);
    dango_mofka_reader_fini(&reader);
}

static void a_reader_in_the_middle_of_a_batch_notices(void **state)
{
    (void)state;
    struct mofka_slice slice;
    struct mofka_limits limits = everything;
    uint64_t needed, lost;
    limits.events = 3;
    sigbus_to_guards();
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    assert_int_equal(dango_mofka_reader_next(&reader, &limits, &slice, &needed, NULL), 1);
    assert_int_equal(slice.count, 3);
    assert_true(mofka_region_whole(slice.region, slice.region->base + slice.data_offset, DATA));
    shorten(4096); /* the first batch begins before that, and ends behind it */
    dango_bus_guard_touch(slice.region->base + slice.data_offset, 8192);
    assert_true(mofka_region_whole(slice.region, slice.region->base + slice.data_offset, DATA));
    assert_false(mofka_region_whole(slice.region, slice.region->base + slice.data_offset, 8192));
    assert_int_equal(read_all(3, &lost), 0);
    assert_int_equal(lost, BATCHES * EVENTS - 3);
    struct mofka_place place;
    dango_mofka_reader_fini(&reader);
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    assert_int_equal(dango_mofka_reader_locate(&reader, 5, &place, NULL), DANGO_ERR_CORRUPT);
    dango_mofka_reader_fini(&reader);
}

static void what_was_cut_off_is_no_reason_to_refuse(void **state)
{
    (void)state;
    uint64_t lost;
    stored_close(&fixture);
    shorten(HALF);
    stored_open(&fixture);
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    uint64_t read = read_all(UINT32_MAX, &lost);
    assert_int_equal(lost, 0);
    assert_int_equal(read, dango_mofka_partition_next_id(fixture.partition));
    dango_mofka_reader_fini(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_reader_reports_what_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_in_the_middle_of_a_batch_notices, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_cut_off_is_no_reason_to_refuse, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
