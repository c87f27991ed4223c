/*
 * The end of a stream, in memory and in a log: what was reserved before it is stored, what comes later is refused, the mark
 * survives, and a mark that could not be stored has no effect.
 */
#include "tests/mofka/events.h"
#include "tests/mofka/stored.h"

static struct stored_fixture fixture;
static struct mofka_stream stream;
static struct dango_error err;

static int set_up(void **state)
{
    (void)state;
    stream = (struct mofka_stream){.producer = 77};
    dango_error_clear(&err);
    stored_setup(&fixture);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stored_teardown(&fixture);
    return 0;
}

/* A mark that is on its way. */
struct mark {
    struct mofka_reception reception;
    int done, code;
};

static void mark_done(struct mofka_reception *reception, uint64_t first_id, int code)
{
    struct mark *mark = container_of(reception, struct mark, reception);
    (void)first_id;
    mark->done++;
    mark->code = code;
}

static int end(struct mofka_partition *partition, struct mark *mark)
{
    *mark = (struct mark){.reception.done = mark_done};
    return dango_mofka_partition_end(partition, &mark->reception, &err);
}

static int reserve_for(struct mofka_partition *partition, struct mofka_stream *producer, struct test_batch *batch)
{
    test_batch_init(batch, producer, 1, producer->next_sequence, 2, 10, 1);
    return dango_mofka_partition_reserve(partition, &batch->reception, &err);
}

static int reserve(struct mofka_partition *partition, struct test_batch *batch)
{
    return reserve_for(partition, &stream, batch);
}

/* Another producer's, because a refused batch takes those of the same producer that are under way with it. */
static void expect_refused(struct mofka_partition *partition)
{
    struct mofka_stream other = {.producer = 99};
    struct test_batch batch;
    assert_int_equal(reserve_for(partition, &other, &batch), DANGO_ERR_COMPLETE);
    assert_contains(err.text, "takes no more events");
    free(batch.content);
}

static void count_grown(void *arg)
{
    ++*(unsigned *)arg;
}

static void in_memory_the_end_comes_behind_what_was_reserved(void **state)
{
    (void)state;
    unsigned grown = 0;
    struct mofka_partition_settings settings = {.uuid = {1}, .grown = count_grown, .arg = &grown};
    struct mofka_partition *partition;
    struct test_batch batch;
    struct mark mark, second;
    assert_int_equal(dango_mofka_partition_create(&settings, &partition, NULL), 0);
    assert_int_equal(reserve(partition, &batch), 0);
    assert_int_equal(end(partition, &mark), 0);
    assert_int_equal(mark.done, 0);
    assert_false(dango_mofka_partition_is_complete(partition));
    assert_int_equal(end(partition, &second), DANGO_ERR_BUSY);
    expect_refused(partition);

    test_batch_store(partition, &batch);
    free(batch.content);
    assert_int_equal(mark.done, 1);
    assert_int_equal(mark.code, 0);
    assert_int_equal(grown, 2); /* by an event, and because there will be no more */
    assert_true(dango_mofka_partition_is_complete(partition));
    assert_int_equal(dango_mofka_partition_next_id(partition), 2);
    assert_int_equal(end(partition, &second), 0);
    assert_int_equal(second.done, 1);
    dango_mofka_partition_destroy(partition);
}

static void in_a_log_the_mark_survives(void **state)
{
    (void)state;
    struct test_batch batch;
    struct mark mark;
    assert_int_equal(reserve(fixture.partition, &batch), 0);
    test_batch_store(fixture.partition, &batch);
    assert_int_equal(end(fixture.partition, &mark), 0);
    stored_run(&fixture);
    assert_int_equal(batch.code, 0);
    assert_int_equal(mark.done, 1);
    assert_int_equal(mark.code, 0);
    free(batch.content);
    for (int i = 0; i < 2; i++) {
        expect_refused(fixture.partition);
        assert_true(dango_mofka_partition_is_complete(fixture.partition));
        assert_int_equal(dango_mofka_partition_next_id(fixture.partition), 2);
        stored_close(&fixture);
        stream = (struct mofka_stream){.producer = 78};
        stored_open(&fixture);
        assert_int_equal(fixture.report.torn_bytes, 0);
    }
    assert_int_equal(end(fixture.partition, &mark), 0);
    assert_int_equal(mark.done, 1);
}

static void a_mark_that_cannot_be_written_has_no_effect(void **state)
{
    (void)state;
    struct test_batch batch;
    struct mark mark;
    fixture.fail_write = 1;
    assert_int_equal(end(fixture.partition, &mark), 0);
    stored_run(&fixture);
    assert_int_equal(mark.done, 1);
    assert_int_equal(mark.code, DANGO_ERR_IO);
    assert_false(dango_mofka_partition_is_complete(fixture.partition));
    assert_int_equal(reserve(fixture.partition, &batch), 0);
    test_batch_store(fixture.partition, &batch);
    free(batch.content);
    assert_int_equal(end(fixture.partition, &mark), 0);
    stored_run(&fixture);
    assert_int_equal(batch.code, 0);
    assert_int_equal(mark.code, 0);
    expect_refused(fixture.partition);
}

/* Chunks of one batch each: the mark alone is the content of the last one. */
static void a_mark_in_a_chunk_of_its_own_is_found(void **state)
{
    (void)state;
    struct test_batch batch;
    struct mark mark;
    stored_close(&fixture);
    fixture.options.max_chunk_size = 1;
    stored_open(&fixture);
    assert_int_equal(reserve(fixture.partition, &batch), 0);
    test_batch_store(fixture.partition, &batch);
    free(batch.content);
    assert_int_equal(end(fixture.partition, &mark), 0);
    stored_run(&fixture);
    assert_int_equal(mark.code, 0);
    stored_close(&fixture);
    stored_open(&fixture);
    assert_int_equal(fixture.report.chunks, 2);
    assert_true(dango_mofka_partition_is_complete(fixture.partition));
}

int main(void)
{
#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(in_memory_the_end_comes_behind_what_was_reserved),
        TEST(in_a_log_the_mark_survives),
        TEST(a_mark_that_cannot_be_written_has_no_effect),
        TEST(a_mark_in_a_chunk_of_its_own_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
