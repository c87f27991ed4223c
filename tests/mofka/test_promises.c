/*
 * Batches that are promised before they are stored (ack_early): which ones, that they get the id that was promised, who
 * waits for them, and what becomes of everything when the medium fails in between.
 */
#include "tests/mofka/events.h"
#include "tests/mofka/stored.h"

static struct stored_fixture fixture;
static struct mofka_stream stream, other;

static void reopen(bool enabled, int64_t max_pending)
{
    stored_close(&fixture);
    fixture.fail_write = fixture.fail_sync = 0;
    fixture.options.ack_early = (struct mofka_ack_early_options){enabled, max_pending};
    stored_open(&fixture);
}

static int setup(void **state)
{
    (void)state;
    stream = (struct mofka_stream){.producer = 77};
    other = (struct mofka_stream){.producer = 78};
    stored_setup(&fixture);
    reopen(true, 2);
    fixture.writes = fixture.syncs = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stored_teardown(&fixture);
    return 0;
}

/* Commits a batch of two events. */
static void send_from(struct mofka_stream *from, struct test_batch *batch, bool early, int outcome)
{
    test_batch_init(batch, from, from->attempt > 0 ? from->attempt : 1, from->next_sequence, 2, 100, 1);
    batch->reception.promised = early ? test_batch_promised : NULL;
    assert_int_equal(dango_mofka_partition_reserve(fixture.partition, &batch->reception, NULL), 0);
    if (outcome == 0)
        test_batch_store(fixture.partition, batch);
    else
        dango_mofka_partition_commit(fixture.partition, &batch->reception, outcome);
    free(batch->content);
}

static void send(struct test_batch *batch, bool early)
{
    send_from(&stream, batch, early, 0);
}

static void expect_promised(const struct test_batch *batch, uint64_t first_id)
{
    assert_int_equal(batch->promised, 1);
    assert_int_equal(batch->promised_id, first_id);
    assert_int_equal(batch->done, 0);
}

static void expect_stored(const struct test_batch *batch, uint64_t first_id)
{
    assert_int_equal(batch->done, 1);
    assert_int_equal(batch->code, 0);
    assert_int_equal(batch->first_id, first_id);
}

static void expect_failed(const struct test_batch *batch, int code)
{
    assert_int_equal(batch->done, 1);
    assert_int_equal(batch->code, code);
}

/* ---- settling ---- */

struct question {
    struct mofka_settling settling;
    int answers, code;
    char text[DANGO_ERROR_TEXT_MAX];
};

static void answered(struct mofka_settling *settling, const struct dango_error *err)
{
    struct question *question = container_of(settling, struct question, settling);
    question->answers++;
    question->code = err ? err->code : 0;
    snprintf(question->text, sizeof question->text, "%s", err ? err->text : "");
}

static void ask(struct question *question)
{
    *question = (struct question){.settling.done = answered};
    dango_mofka_partition_settle(fixture.partition, &stream, &question->settling);
}

static void expect_loss(const struct question *question, const char *why)
{
    assert_int_equal(question->answers, 1);
    assert_int_equal(question->code, DANGO_ERR_IO);
    assert_contains(question->text, "ack_early");
    assert_contains(question->text, why);
}

/* ---- what is promised ---- */

static void a_batch_is_promised_before_it_is_written(void **state)
{
    (void)state;
    struct test_batch first, second;
    struct question question;
    send(&first, true);
    send(&second, true);
    expect_promised(&first, 0);
    expect_promised(&second, 2);
    assert_int_equal(fixture.writes, 0);
    assert_int_equal(dango_mofka_partition_next_id(fixture.partition), 0);
    ask(&question);
    assert_int_equal(question.answers, 0);
    stored_run(&fixture);
    expect_stored(&first, 0);
    expect_stored(&second, 2);
    assert_int_equal(question.answers, 1);
    assert_int_equal(question.code, 0);
}

static void both_sides_must_want_it(void **state)
{
    (void)state;
    struct test_batch first, second;
    struct question question;
    send(&first, false);
    ask(&question); /* nothing is promised */
    assert_int_equal(question.answers, 1);
    stored_run(&fixture);
    reopen(false, 2);
    stream = (struct mofka_stream){.producer = 77};
    send(&second, true);
    stored_run(&fixture);
    assert_int_equal(first.promised + second.promised, 0);
    expect_stored(&first, 0);
    expect_stored(&second, 2);
}

static void no_more_than_allowed_are_promised(void **state)
{
    (void)state;
    struct test_batch batches[4];
    for (int i = 0; i < 3; i++)
        send(&batches[i], true);
    assert_int_equal(batches[1].promised, 1);
    assert_int_equal(batches[2].promised, 0);
    stored_run(&fixture);
    expect_stored(&batches[2], 4);
    send(&batches[3], true);
    expect_promised(&batches[3], 6);
    stored_run(&fixture);
}

static void ids_are_right_behind_others_and_over_chunks(void **state)
{
    (void)state;
    struct test_batch batches[6], missing;
    fixture.options.max_events_per_chunk = 3;
    fixture.help_bytes = 1;
    reopen(true, 100);
    for (int i = 0; i < 6; i++) {
        if (i == 3)
            send_from(&other, &missing, true, DANGO_ERR_TIMEOUT);
        send(&batches[i], i % 2 == 1);
    }
    expect_failed(&missing, DANGO_ERR_TIMEOUT);
    assert_int_equal(missing.promised, 0);
    for (int i = 1; i < 6; i += 2)
        expect_promised(&batches[i], 2 * (uint64_t)i);
    stored_run(&fixture);
    for (int i = 0; i < 6; i++)
        expect_stored(&batches[i], 2 * (uint64_t)i);
}

static void a_later_batch_that_is_refused_takes_no_promise_back(void **state)
{
    (void)state;
    struct test_batch first, wrong;
    send(&first, true);
    test_batch_init(&wrong, &stream, 1, 7, 1, 1, 1);
    assert_int_equal(dango_mofka_partition_reserve(fixture.partition, &wrong.reception, NULL), DANGO_ERR_PROTOCOL);
    free(wrong.content);
    stored_run(&fixture);
    expect_stored(&first, 0);
}

/* ---- failures ---- */

static void expect_refusal(void)
{
    struct test_batch batch;
    struct mofka_stream fresh = {.producer = 79};
    send_from(&fresh, &batch, true, 0);
    assert_int_equal(batch.promised, 0);
    stored_run(&fixture);
    expect_failed(&batch, DANGO_ERR_IO);
    assert_contains(batch.text, "takes no more events");
}

static void a_promise_that_cannot_be_written_ends_all_writing(void **state)
{
    (void)state;
    struct test_batch first, second;
    struct question before, after;
    send(&first, true);
    stored_run(&fixture);
    send(&second, true);
    fixture.fail_write = 2;
    ask(&before);
    stored_run(&fixture);
    expect_stored(&first, 0);
    expect_failed(&second, DANGO_ERR_IO);
    ask(&after);
    expect_loss(&before, "cannot write");
    expect_loss(&after, "cannot write");
    expect_refusal();
    assert_int_equal(dango_mofka_partition_next_id(fixture.partition), 2);
}

static void a_promise_that_cannot_be_synced_ends_all_writing(void **state)
{
    (void)state;
    struct test_batch first;
    struct question before, after;
    send(&first, true);
    fixture.fail_sync = 1;
    ask(&before);
    stored_run(&fixture);
    expect_failed(&first, DANGO_ERR_IO);
    ask(&after);
    expect_loss(&before, "cannot sync");
    expect_loss(&after, "cannot sync");
    expect_refusal();
}

static struct test_batch promised_behind;

static void promise_one(void)
{
    send_from(&other, &promised_behind, true, 0);
}

static void a_batch_that_fails_before_a_promised_one_ends_all_writing(void **state)
{
    (void)state;
    struct test_batch first, second;
    send(&first, false);
    send(&second, false);
    promise_one();
    expect_promised(&promised_behind, 4);
    fixture.fail_write = 1;
    stored_run(&fixture);
    expect_failed(&first, DANGO_ERR_IO);
    expect_failed(&second, DANGO_ERR_IO);
    expect_failed(&promised_behind, DANGO_ERR_IO);
    expect_refusal();
}

static void a_batch_that_fails_behind_promised_ones_gives_its_ids_back(void **state)
{
    (void)state;
    struct test_batch first, second, third;
    send(&first, true);
    stored_run(&fixture);
    send(&second, false);
    fixture.fail_write = 2;
    stored_run(&fixture);
    expect_failed(&second, DANGO_ERR_IO);
    send_from(&other, &third, true, 0);
    expect_promised(&third, 2);
    stored_run(&fixture);
    expect_stored(&third, 2);
}

/* ---- after a crash ---- */

static void attach(struct mofka_stream *to, uint64_t first)
{
    const struct mofka_resume resume = {.first = first, .window = 4};
    *to = (struct mofka_stream){0};
    assert_int_equal(dango_mofka_partition_attach(fixture.partition, to, 77, 1, &resume, NULL), 0);
}

static void a_producer_goes_on_behind_what_was_lost(void **state)
{
    (void)state;
    struct test_batch batches[3];
    struct question question;
    attach(&stream, 0);
    send(&batches[0], true);
    stored_run(&fixture);
    send(&batches[1], true);
    fixture.fail_write = 2;
    stored_run(&fixture);
    dango_mofka_partition_detach(fixture.partition, &stream);
    reopen(true, 2);
    attach(&stream, 2);
    assert_int_equal(stream.stored_end, 1); /* from which the client sees that number 1 is lost */
    ask(&question);
    assert_int_equal(question.code, 0);
    send(&batches[2], true);
    expect_promised(&batches[2], 2);
    stored_run(&fixture);
    expect_stored(&batches[2], 2);
    dango_mofka_partition_detach(fixture.partition, &stream);
}

static void a_producer_that_comes_back_after_a_failed_sync_is_told(void **state)
{
    (void)state;
    struct test_batch first;
    struct question question;
    attach(&stream, 0);
    send(&first, true);
    fixture.fail_sync = 1;
    stored_run(&fixture);
    dango_mofka_partition_detach(fixture.partition, &stream);
    attach(&stream, 1);
    ask(&question);
    expect_loss(&question, "cannot sync");
    dango_mofka_partition_detach(fixture.partition, &stream);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_batch_is_promised_before_it_is_written),
        TEST(both_sides_must_want_it),
        TEST(no_more_than_allowed_are_promised),
        TEST(ids_are_right_behind_others_and_over_chunks),
        TEST(a_later_batch_that_is_refused_takes_no_promise_back),
        TEST(a_promise_that_cannot_be_written_ends_all_writing),
        TEST(a_promise_that_cannot_be_synced_ends_all_writing),
        TEST(a_batch_that_fails_before_a_promised_one_ends_all_writing),
        TEST(a_batch_that_fails_behind_promised_ones_gives_its_ids_back),
        TEST(a_producer_goes_on_behind_what_was_lost),
        TEST(a_producer_that_comes_back_after_a_failed_sync_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
