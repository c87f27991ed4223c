/*
 * Partitions on a log: what one producer sees of groups, of failing writes and syncs, of restarts and of damage, with an
 * I/O that can be held and told to fail.
 */
#include "tests/mofka/events.h"
#include "tests/mofka/stored.h"

#include <fcntl.h>
#include <unistd.h>

static struct stored_fixture fixture;
static struct mofka_stream stream;

static int setup(void **state)
{
    (void)state;
    stream = (struct mofka_stream){.producer = 77};
    stored_setup(&fixture);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stored_teardown(&fixture);
    return 0;
}

static const struct mofka_limits everything = {.size = UINT64_MAX, .events = UINT32_MAX, .with_data = true};

/* Reserves, stores and commits a batch of two events, which is complete when the writer has run. */
static void send(struct test_batch *batch, uint64_t sequence, uint32_t attempt, unsigned tag)
{
    test_batch_init(batch, &stream, attempt, sequence, 2, 100, tag);
    assert_int_equal(dango_mofka_partition_reserve(fixture.partition, &batch->reception, NULL), 0);
    test_batch_store(fixture.partition, batch);
    free(batch->content);
}

/* The next events of the reader are the batch with this tag. */
static void expect_batch(struct mofka_reader *reader, uint64_t first_id, unsigned tag)
{
    struct mofka_slice slice;
    struct diaspora_record record = {0};
    uint64_t needed;
    char text[32];
    struct dango_error err = {0};
    int found = dango_mofka_reader_next(reader, &everything, &slice, &needed, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(found, 1);
    assert_int_equal(slice.first_id, first_id);
    assert_int_equal(slice.count, 2);
    const unsigned char *records = slice.region->base + slice.records_offset;
    assert_true(diaspora_record_get(records, slice.records_size, &record) > 0);
    snprintf(text, sizeof text, "%u:0", tag);
    assert_string_equal((const char *)record.metadata, text);
    assert_int_equal(slice.region->base[slice.data_offset], (unsigned char)tag);
}

static void expect_end(struct mofka_reader *reader)
{
    struct mofka_slice slice;
    uint64_t needed;
    assert_int_equal(dango_mofka_reader_next(reader, &everything, &slice, &needed, NULL), 0);
}

static void batches_that_wait_are_one_group(void **state)
{
    (void)state;
    struct test_batch batches[10];
    for (unsigned i = 0; i < 10; i++)
        send(&batches[i], i, 1, i);
    assert_int_equal(dango_mofka_partition_next_id(fixture.partition), 0);
    struct mofka_reader reader;
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    expect_end(&reader);
    stored_run(&fixture);
    assert_int_equal(fixture.syncs, 1);
    assert_int_equal(fixture.writes, 1);
    assert_int_equal(fixture.grown, 1);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(batches[i].done, 1);
        assert_int_equal(batches[i].code, 0);
        assert_int_equal(batches[i].first_id, 2 * i);
        expect_batch(&reader, 2 * i, i);
    }
    expect_end(&reader);
    dango_mofka_reader_fini(&reader);
}

static void without_sync_nothing_is_synced(void **state)
{
    (void)state;
    stored_close(&fixture);
    stored_set_sync(&fixture, "false");
    stored_open(&fixture);
    struct test_batch batch;
    send(&batch, 0, 1, 1);
    stored_run(&fixture);
    assert_int_equal(batch.code, 0);
    assert_int_equal(fixture.syncs, 0);
}

/* While the first group is being synced others come: they are the next group. */
static struct test_batch gathered[5];

static void send_more(void)
{
    for (unsigned i = 0; i < 5; i++)
        send(&gathered[i], 1 + i, 1, 1 + i);
}

static void what_comes_during_a_sync_is_the_next_group(void **state)
{
    (void)state;
    struct test_batch first;
    send(&first, 0, 1, 0);
    fixture.during_sync = send_more;
    stored_run(&fixture);
    assert_int_equal(first.code, 0);
    assert_int_equal(fixture.syncs, 2);
    assert_int_equal(fixture.writes, 2);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(gathered[i].first_id, 2 + 2 * i);
}

static void a_failed_write_fails_its_batches_and_gives_their_ids_back(void **state)
{
    (void)state;
    struct test_batch good, bad, later;
    send(&good, 0, 1, 1);
    stored_run(&fixture);
    send(&bad, 1, 1, 2);
    fixture.fail_write = fixture.writes + 1;
    stored_run(&fixture);
    assert_int_equal(bad.code, DANGO_ERR_IO);
    assert_contains(bad.text, "cannot write");
    assert_int_equal(dango_mofka_partition_next_id(fixture.partition), 2);

    /* The producer starts a new attempt; the ids are used again. */
    struct dango_error err;
    test_batch_init(&later, &stream, 1, 2, 1, 10, 3);
    assert_int_equal(dango_mofka_partition_reserve(fixture.partition, &later.reception, &err), DANGO_ERR_CANCELED);
    free(later.content);
    send(&later, 1, 2, 3);
    stored_run(&fixture);
    assert_int_equal(later.code, 0);
    assert_int_equal(later.first_id, 2);

    stored_close(&fixture);
    stored_open(&fixture);
    struct mofka_reader reader;
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    expect_batch(&reader, 0, 1);
    expect_batch(&reader, 2, 3);
    expect_end(&reader);
    dango_mofka_reader_fini(&reader);
}

static void a_failed_sync_ends_writing(void **state)
{
    (void)state;
    struct test_batch good, bad, later;
    send(&good, 0, 1, 1);
    stored_run(&fixture);
    send(&bad, 1, 1, 2);
    fixture.fail_sync = fixture.syncs + 1;
    stored_run(&fixture);
    assert_int_equal(bad.code, DANGO_ERR_IO);
    assert_contains(bad.text, "cannot sync");
    send(&later, 2, 2, 3);
    stored_run(&fixture);
    assert_int_equal(later.code, DANGO_ERR_IO);
    assert_contains(later.text, "takes no more events");
    assert_int_equal(dango_mofka_partition_next_id(fixture.partition), 2);

    /* What is there can be read. */
    struct mofka_reader reader;
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    expect_batch(&reader, 0, 1);
    expect_end(&reader);
    dango_mofka_reader_fini(&reader);
}

/* Every write and every sync of a small run fails once: what was acknowledged is there after a restart, in order. */
static void run_with_fault(unsigned fail_write, unsigned fail_sync)
{
    uint64_t acknowledged[20];
    unsigned count = 0, tags[20];
    fixture.fail_write = fail_write;
    fixture.fail_sync = fail_sync;
    for (unsigned i = 0; i < 20; i++) {
        struct test_batch batch;
        send(&batch, i, i + 1, i);
        stored_run(&fixture);
        assert_int_equal(batch.done, 1);
        if (batch.code == 0) {
            tags[count] = i;
            acknowledged[count++] = batch.first_id;
        }
    }
    fixture.fail_write = fixture.fail_sync = 0;
    stored_close(&fixture);
    stored_open(&fixture);
    struct mofka_reader reader;
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    for (unsigned i = 0; i < count; i++)
        expect_batch(&reader, acknowledged[i], tags[i]);
    dango_mofka_reader_fini(&reader);
}

static void every_operation_may_fail(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 25; n++) {
        for (unsigned kind = 0; kind < 2; kind++) {
            stored_teardown(&fixture);
            stored_setup(&fixture);
            fixture.options.max_chunk_size = 1000;
            stored_close(&fixture);
            stored_open(&fixture);
            stream = (struct mofka_stream){.producer = 77};
            run_with_fault(kind == 0 ? n : 0, kind == 1 ? n : 0);
        }
    }
}

static void readers_pass_from_chunk_to_chunk_and_hold_what_they_read(void **state)
{
    (void)state;
    fixture.options.max_chunk_size = 1000;
    fixture.options.fd_cache_capacity = 1;
    stored_close(&fixture);
    stored_open(&fixture);
    struct mofka_reader reader;
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    for (unsigned i = 0; i < 50; i++) {
        struct test_batch batch;
        send(&batch, i, 1, i);
        stored_run(&fixture);
        assert_int_equal(batch.code, 0);
    }
    struct mofka_slice slice;
    uint64_t needed;
    assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, NULL), 1);
    mofka_region_hold(slice.region);
    for (unsigned i = 1; i < 50; i++)
        expect_batch(&reader, 2 * i, i);
    expect_end(&reader);
    assert_int_equal(slice.frame->first_id, 0); /* still mapped */
    mofka_region_release(slice.region);
    for (unsigned i = 50; i-- > 0;) {
        struct mofka_place place;
        assert_int_equal(dango_mofka_reader_locate(&reader, 2 * i + 1, &place, NULL), 0);
        assert_int_equal(place.data_size, 100);
        assert_int_equal(place.region->base[place.data_offset], (unsigned char)(i + 1));
    }
    dango_mofka_reader_fini(&reader);
}

static void parts_of_batches_can_be_read(void **state)
{
    (void)state;
    struct test_batch batch;
    send(&batch, 0, 1, 9);
    stored_run(&fixture);
    struct mofka_reader reader;
    struct mofka_slice slice;
    struct mofka_limits one = {.size = UINT64_MAX, .events = 1, .with_data = true};
    uint64_t needed;
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    for (uint64_t id = 0; id < 2; id++) {
        assert_int_equal(dango_mofka_reader_next(&reader, &one, &slice, &needed, NULL), 1);
        assert_int_equal(slice.first_id, id);
        assert_int_equal(slice.count, 1);
    }
    dango_mofka_reader_fini(&reader);
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 1, NULL), 0);
    assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, NULL), 1);
    assert_int_equal(slice.first_id, 1);
    assert_int_equal(slice.count, 1);
    expect_end(&reader);
    dango_mofka_reader_fini(&reader);
}

/* Changes one byte in the file, somewhere in the content of the batch with this tag. */
static void flip(unsigned tag)
{
    char path[256], needle[8];
    static char bytes[100000];
    snprintf(path, sizeof path, "%s/chunk-000000.log", fixture.directory);
    int length = snprintf(needle, sizeof needle, "%u:1", tag);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    ssize_t size = pread(fd, bytes, sizeof bytes, 0);
    assert_true(size > 0);
    char *found = memmem(bytes, (size_t)size, needle, (size_t)length);
    assert_non_null(found);
    *found = 'x';
    assert_int_equal(pwrite(fd, found, 1, found - bytes), 1);
    close(fd);
}

static void damage_is_reported_and_can_be_skipped(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct test_batch batch;
        send(&batch, i, 1, 10 + i);
        stored_run(&fixture);
    }
    flip(12);
    struct mofka_reader reader;
    struct mofka_slice slice;
    struct dango_error err = {0};
    uint64_t needed;
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    expect_batch(&reader, 0, 10);
    expect_batch(&reader, 2, 11);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, &err), DANGO_ERR_CORRUPT);
        assert_string_equal(err.text, "events 4 to 5 are damaged");
    }
    assert_int_equal(dango_mofka_reader_skip(&reader), 2);
    expect_batch(&reader, 6, 13);

    /* A reader that begins in the damage gets the rest of it; single events are refused, and only those. */
    struct mofka_place place;
    assert_int_equal(dango_mofka_reader_locate(&reader, 5, &place, &err), DANGO_ERR_CORRUPT);
    assert_int_equal(dango_mofka_reader_locate(&reader, 6, &place, &err), 0);
    assert_int_equal(dango_mofka_reader_locate(&reader, 3, &place, &err), 0);
    dango_mofka_reader_fini(&reader);
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 5, NULL), 0);
    assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, &err), DANGO_ERR_CORRUPT);
    assert_int_equal(dango_mofka_reader_skip(&reader), 1);
    expect_batch(&reader, 6, 13);
    dango_mofka_reader_fini(&reader);
}

static void what_is_left_to_the_receiver_is_not_compared(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct test_batch batch;
        send(&batch, i, 1, 10 + i);
        stored_run(&fixture);
    }
    flip(11);
    flip(12);
    struct mofka_limits left = everything;
    struct mofka_reader reader;
    struct mofka_slice slice;
    uint64_t needed;
    left.unchecked = true;
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 2, NULL), 0);
    assert_int_equal(dango_mofka_reader_next(&reader, &left, &slice, &needed, NULL), 1);
    assert_int_equal(slice.first_id, 2);
    assert_int_equal(slice.count, 2);
    /* The receiver could not find out about parts, nor without the data. The end of the log is told of at once, too. */
    left.events = 1;
    assert_int_equal(dango_mofka_reader_next(&reader, &left, &slice, &needed, NULL), DANGO_ERR_CORRUPT);
    assert_int_equal(dango_mofka_reader_skip(&reader), 2);
    expect_end(&reader);
    dango_mofka_reader_fini(&reader);
    left.events = UINT32_MAX;
    left.with_data = false;
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 2, NULL), 0);
    assert_int_equal(dango_mofka_reader_next(&reader, &left, &slice, &needed, NULL), DANGO_ERR_CORRUPT);
    assert_int_equal(dango_mofka_reader_skip(&reader), 4);
    struct test_batch batch;
    send(&batch, 3, 1, 13);
    stored_run(&fixture);
    expect_batch(&reader, 6, 13);
    dango_mofka_reader_fini(&reader);
}

static void frames_are_not_cut_if_so_wanted(void **state)
{
    (void)state;
    struct test_batch batches[2];
    send(&batches[0], 0, 1, 10);
    send(&batches[1], 1, 1, 11);
    stored_run(&fixture);
    struct mofka_limits uncut = everything;
    struct mofka_reader reader;
    struct mofka_slice slice;
    uint64_t needed;
    assert_int_equal(dango_mofka_reader_seek(&reader, fixture.partition, 0, NULL), 0);
    assert_int_equal(dango_mofka_reader_next(&reader, &uncut, &slice, &needed, NULL), 1);
    assert_int_equal(slice.count, 2);
    uncut.uncut = slice.size;
    uncut.events = 1;
    assert_int_equal(dango_mofka_reader_next(&reader, &uncut, &slice, &needed, NULL), 0);
    assert_int_equal(needed, 0);
    uncut.uncut--; /* it is larger than that: nothing else would ever take it */
    assert_int_equal(dango_mofka_reader_next(&reader, &uncut, &slice, &needed, NULL), 1);
    assert_int_equal(slice.count, 1);
    uncut.uncut = UINT64_MAX; /* the rest of one that has been cut */
    assert_int_equal(dango_mofka_reader_next(&reader, &uncut, &slice, &needed, NULL), 1);
    assert_int_equal(slice.first_id, 3);
    expect_end(&reader);
    dango_mofka_reader_fini(&reader);
}

static void a_batch_larger_than_every_buffer_has_one_of_its_own(void **state)
{
    (void)state;
    fixture.options.producers.data = fixture.options.producers.metadata =
        (struct mofka_pool_options){.num_tiers = 2, .num_buffers = 1, .first_size = 100, .size_multiple = 4};
    stored_close(&fixture);
    stored_open(&fixture);
    struct test_batch batches[3];
    for (unsigned i = 0; i < 3; i++) {
        test_batch_init(&batches[i], &stream, 1, i, 1, 50 * (i + 1) * (i + 1), i);
        assert_int_equal(dango_mofka_partition_reserve(fixture.partition, &batches[i].reception, NULL), 0);
        test_batch_store(fixture.partition, &batches[i]);
        free(batches[i].content);
    }
    stored_run(&fixture);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(batches[i].code, 0);
}

static void a_batch_that_never_came_leaves_nothing(void **state)
{
    (void)state;
    struct mofka_stream other = {.producer = 78};
    struct test_batch bad, good;
    test_batch_init(&bad, &other, 1, 0, 1, 10, 1);
    assert_int_equal(dango_mofka_partition_reserve(fixture.partition, &bad.reception, NULL), 0);
    send(&good, 0, 1, 2);
    stored_run(&fixture);
    assert_int_equal(good.done, 0); /* its turn has not come */
    dango_mofka_partition_commit(fixture.partition, &bad.reception, DANGO_ERR_DISCONNECTED);
    free(bad.content);
    stored_run(&fixture);
    assert_int_equal(bad.code, DANGO_ERR_DISCONNECTED);
    assert_int_equal(good.code, 0);
    assert_int_equal(good.first_id, 0);
}

#define STORED_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORED_TEST(batches_that_wait_are_one_group),
        STORED_TEST(without_sync_nothing_is_synced),
        STORED_TEST(what_comes_during_a_sync_is_the_next_group),
        STORED_TEST(a_failed_write_fails_its_batches_and_gives_their_ids_back),
        STORED_TEST(a_failed_sync_ends_writing),
        STORED_TEST(every_operation_may_fail),
        STORED_TEST(readers_pass_from_chunk_to_chunk_and_hold_what_they_read),
        STORED_TEST(parts_of_batches_can_be_read),
        STORED_TEST(damage_is_reported_and_can_be_skipped),
        STORED_TEST(what_is_left_to_the_receiver_is_not_compared),
        STORED_TEST(frames_are_not_cut_if_so_wanted),
        STORED_TEST(a_batch_larger_than_every_buffer_has_one_of_its_own),
        STORED_TEST(a_batch_that_never_came_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
