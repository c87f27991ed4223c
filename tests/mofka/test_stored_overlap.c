/*
 * Batches that are appended while a sync runs: when they are answered, and what a failure of either does to the other.
 * The sync is the moment at which the test acts (during_sync); it decides when helper and writer run.
 */
#include "tests/mofka/events.h"
#include "tests/mofka/stored.h"

#include <unistd.h>

static struct stored_fixture fixture;
static struct mofka_stream stream;
static struct test_batch first, second, third;

static int setup(void **state)
{
    (void)state;
    stream = (struct mofka_stream){.producer = 77};
    stored_setup(&fixture);
    stored_close(&fixture);
    fixture.help_bytes = 1;
    stored_open(&fixture);
    memset(&second, 0, sizeof second);
    memset(&third, 0, sizeof third);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stored_teardown(&fixture);
    return 0;
}

/* Reserves, stores and commits a batch of two events. */
static void send(struct test_batch *batch, uint64_t sequence)
{
    test_batch_init(batch, &stream, 1, sequence, 2, 100, (unsigned)sequence);
    assert_int_equal(dango_mofka_partition_reserve(fixture.partition, &batch->reception, NULL), 0);
    test_batch_store(fixture.partition, batch);
    free(batch->content);
}

static void expect_stored(const struct test_batch *batch, uint64_t first_id)
{
    assert_int_equal(batch->done, 1);
    assert_int_equal(batch->code, 0);
    assert_int_equal(batch->first_id, first_id);
}

static void expect_failed(const struct test_batch *batch, const char *text)
{
    assert_int_equal(batch->done, 1);
    assert_int_equal(batch->code, DANGO_ERR_IO);
    assert_contains(batch->text, text);
}

/* As many events as that are there when the partition is opened again. */
static void expect_recovered(uint64_t events)
{
    fixture.fail_write = fixture.fail_sync = 0;
    stored_close(&fixture);
    stored_open(&fixture);
    assert_int_equal(dango_mofka_partition_next_id(fixture.partition), events);
    assert_int_equal(fixture.report.torn_bytes, 0);
    assert_int_equal(fixture.report.damaged_stretches, 0);
}

static void append_two_during_sync(void)
{
    send(&second, 1);
    send(&third, 2);
    stored_run(&fixture); /* the helper */
}

static void expect_nothing_answered(void)
{
    append_two_during_sync();
    assert_int_equal(fixture.writes, 2);
    assert_int_equal(first.done + second.done + third.done, 0);
    assert_int_equal(dango_mofka_partition_next_id(fixture.partition), 0);
}

static void what_is_appended_during_a_sync_is_answered_after_the_next(void **state)
{
    (void)state;
    send(&first, 0);
    fixture.during_sync = expect_nothing_answered;
    stored_run(&fixture);
    assert_int_equal(fixture.writes, 2);
    assert_int_equal(fixture.syncs, 2);
    expect_stored(&first, 0);
    expect_stored(&second, 2);
    expect_stored(&third, 4);
    expect_recovered(6);
}

static void send_two(void)
{
    send(&second, 1);
    send(&third, 2);
}

static void a_helper_that_ends_after_the_sync_goes_on_as_the_writer(void **state)
{
    (void)state;
    send(&first, 0);
    fixture.during_sync = send_two;
    stored_run(&fixture); /* the writer, which finds that there is a helper, and leaves */
    expect_stored(&first, 0);
    assert_int_equal(second.done, 0);
    stored_run(&fixture);
    assert_int_equal(fixture.syncs, 2);
    expect_stored(&second, 2);
    expect_stored(&third, 4);
    expect_recovered(6);
}

static void a_write_that_fails_during_a_sync_fails_its_batches_only(void **state)
{
    (void)state;
    send(&first, 0);
    fixture.during_sync = append_two_during_sync;
    fixture.fail_write = 2;
    stored_run(&fixture);
    expect_stored(&first, 0);
    expect_failed(&second, "cannot write");
    expect_failed(&third, "cannot write");
    assert_int_equal(fixture.syncs, 1);
    expect_recovered(2);
}

static void a_sync_that_fails_takes_what_was_appended_meanwhile_with_it(void **state)
{
    (void)state;
    struct test_batch later;
    send(&first, 0);
    fixture.during_sync = append_two_during_sync;
    fixture.fail_sync = 1;
    stored_run(&fixture);
    assert_int_equal(fixture.writes, 2);
    assert_int_equal(fixture.syncs, 1);
    expect_failed(&first, "cannot sync");
    expect_failed(&second, "takes no more events");
    expect_failed(&third, "takes no more events");
    test_batch_init(&later, &stream, 2, 0, 1, 1, 9);
    assert_int_equal(dango_mofka_partition_reserve(fixture.partition, &later.reception, NULL), 0);
    test_batch_store(fixture.partition, &later);
    free(later.content);
    stored_run(&fixture);
    expect_failed(&later, "takes no more events");
    assert_int_equal(dango_mofka_partition_next_id(fixture.partition), 0);
}

static bool chunk_exists(unsigned number)
{
    char path[256];
    snprintf(path, sizeof path, "%s/chunk-%06u.log", fixture.directory, number);
    return access(path, F_OK) == 0;
}

static void expect_no_new_chunk(void)
{
    append_two_during_sync();
    assert_false(chunk_exists(1));
    assert_int_equal(fixture.writes, 2);
}

static void a_new_chunk_waits_for_the_sync_of_the_old_one(void **state)
{
    (void)state;
    fixture.options.max_events_per_chunk = 4;
    stored_close(&fixture);
    stored_open(&fixture);
    send(&first, 0);
    fixture.during_sync = expect_no_new_chunk;
    stored_run(&fixture);
    assert_true(chunk_exists(1));
    assert_int_equal(fixture.writes, 3);
    assert_int_equal(fixture.syncs, 3); /* the first batch, the end of the old chunk, the new one */
    expect_stored(&first, 0);
    expect_stored(&second, 2);
    expect_stored(&third, 4);
    expect_recovered(6);
}

static void small_groups_wait_for_the_writer(void **state)
{
    (void)state;
    fixture.help_bytes = 0;
    stored_close(&fixture);
    stored_open(&fixture);
    send(&first, 0);
    fixture.during_sync = send_two;
    stored_run(&fixture);
    assert_null(fixture.body);
    assert_int_equal(fixture.writes, 2);
    assert_int_equal(fixture.syncs, 2);
    expect_stored(&third, 4);
}

static void send_second(void)
{
    send(&second, 1);
}

static void small_batches_share_the_sync_of_what_is_being_written(void **state)
{
    (void)state;
    fixture.help_bytes = 0;
    stored_close(&fixture);
    stored_open(&fixture);
    send(&first, 0);
    fixture.during_write = send_second;
    stored_run(&fixture);
    assert_int_equal(fixture.writes, 2);
    assert_int_equal(fixture.syncs, 1);
    expect_stored(&first, 0);
    expect_stored(&second, 2);
    expect_recovered(4);
}

static void large_batches_do_not_wait_for_each_other(void **state)
{
    (void)state;
    send(&first, 0);
    fixture.during_write = send_second;
    stored_run(&fixture); /* leaves the second one to the helper */
    assert_int_equal(fixture.writes, 1);
    assert_int_equal(fixture.syncs, 1);
    expect_stored(&first, 0);
    assert_int_equal(second.done, 0);
    stored_run(&fixture);
    assert_int_equal(fixture.syncs, 2);
    expect_stored(&second, 2);
    expect_recovered(4);
}

static void send_third(void)
{
    send(&third, 2);
}

static void with_an_interval_batches_gather_for_the_next_sync(void **state)
{
    (void)state;
    stored_set_sync(&fixture, "1000");
    stored_close(&fixture);
    stored_open(&fixture);
    send(&first, 0);
    stored_run(&fixture); /* nothing was synced recently: at once */
    expect_stored(&first, 0);
    assert_int_equal(fixture.slept_ms, 0);
    send(&second, 1);
    fixture.during_sleep = send_third;
    stored_run(&fixture);
    assert_in_range(fixture.slept_ms, 1, 1001);
    assert_int_equal(fixture.syncs, 2);
    expect_stored(&second, 2);
    expect_stored(&third, 4);
}

#define OVERLAP_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OVERLAP_TEST(what_is_appended_during_a_sync_is_answered_after_the_next),
        OVERLAP_TEST(a_helper_that_ends_after_the_sync_goes_on_as_the_writer),
        OVERLAP_TEST(a_write_that_fails_during_a_sync_fails_its_batches_only),
        OVERLAP_TEST(a_sync_that_fails_takes_what_was_appended_meanwhile_with_it),
        OVERLAP_TEST(a_new_chunk_waits_for_the_sync_of_the_old_one),
        OVERLAP_TEST(small_groups_wait_for_the_writer),
        OVERLAP_TEST(small_batches_share_the_sync_of_what_is_being_written),
        OVERLAP_TEST(large_batches_do_not_wait_for_each_other),
        OVERLAP_TEST(with_an_interval_batches_gather_for_the_next_sync),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
