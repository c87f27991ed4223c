/*
 * What partitions remember of producers: repeats are found, nothing is vouched for that is not known, the table is kept
 * over a restart and has limits.
 */
#include "tests/mofka/events.h"
#include "tests/mofka/stored.h"

#include "mofka/log/producers.h"

#include <fcntl.h>
#include <unistd.h>

static const struct mofka_resume fresh;
static const uint8_t uuid[16] = {9};

/* ---- the table ---- */

static struct mofka_frame frame_of(uint64_t producer, uint64_t sequence, uint64_t first_id, uint64_t time_ns)
{
    return (struct mofka_frame){
        .producer = producer, .sequence = sequence, .first_id = first_id, .count = 1, .timestamp_ns = time_ns};
}

static void note(struct mofka_producers *table, uint64_t producer, uint64_t sequence, uint64_t first_id,
                 uint64_t time_ns)
{
    struct mofka_frame frame = frame_of(producer, sequence, first_id, time_ns);
    dango_mofka_producers_note(table, &frame);
}

static struct mofka_producers *new_table(void)
{
    struct mofka_producers *table;
    assert_int_equal(dango_mofka_producers_create(&table, NULL), 0);
    return table;
}

static int get(struct mofka_producers *table, uint64_t id, struct mofka_resume resume, uint64_t now_ns,
               struct mofka_producer **producer)
{
    return dango_mofka_producers_get(table, id, &resume, now_ns, producer, NULL);
}

/* 1 and the expected id, or what else the table says. */
static void expect_found(struct mofka_producers *table, const struct mofka_producer *producer, uint64_t sequence,
                         int expected, uint64_t expected_id)
{
    uint64_t id = 0;
    assert_int_equal(dango_mofka_producers_find(table, producer, sequence, &id, NULL), expected);
    assert_int_equal(id, expected_id);
}

static void the_last_window_is_remembered(void **state)
{
    (void)state;
    struct mofka_producers *table = new_table();
    struct mofka_producer *producer;
    assert_int_equal(get(table, 5, (struct mofka_resume){.window = 6}, 1, &producer), 0);
    expect_found(table, producer, 0, 0, 0);
    for (uint64_t i = 0; i < 100; i++) {
        if (i != 97) /* failed, and a new attempt began */
            note(table, 5, i, 1000 + i, 1 + i);
        note(table, 6, i, 5000 + i, 1 + i);
    }
    note(table, 5, 99, 4, 200); /* what is known stays */
    expect_found(table, producer, 99, 1, 1099);
    expect_found(table, producer, 98, 1, 1098);
    expect_found(table, producer, 97, DANGO_ERR_CORRUPT, 0);
    expect_found(table, producer, 93, 1, 1093);
    expect_found(table, producer, 92, DANGO_ERR_CORRUPT, 0);
    expect_found(table, producer, 100, 0, 0);
    dango_mofka_producers_put(table, producer);
    dango_mofka_producers_destroy(table);
}

static void lies_of_producers_are_refused(void **state)
{
    (void)state;
    struct mofka_producers *table = new_table();
    struct mofka_producer *producer;
    assert_int_equal(get(table, 0, fresh, 1, &producer), DANGO_ERR_PROTOCOL);
    assert_int_equal(get(table, 1, (struct mofka_resume){.window = 1025}, 1, &producer), DANGO_ERR_PROTOCOL);
    assert_int_equal(get(table, 1, (struct mofka_resume){.unsettled = 1025}, 1, &producer), DANGO_ERR_PROTOCOL);
    assert_int_equal(get(table, 1, (struct mofka_resume){.first = UINT64_MAX}, 1, &producer), DANGO_ERR_PROTOCOL);
    assert_int_equal(dango_mofka_producers_count(table), 0);
    dango_mofka_producers_destroy(table);
}

static void what_is_missing_is_noticed(void **state)
{
    (void)state;
    struct mofka_producers *table = new_table();
    struct mofka_producer *producer;
    for (uint64_t i = 0; i < 10; i++)
        note(table, 5, i, i, 1);
    assert_int_equal(get(table, 5, (struct mofka_resume){.first = 11, .stored_end = 11}, 2, &producer),
                     DANGO_ERR_CORRUPT);
    assert_int_equal(get(table, 6, (struct mofka_resume){.first = 1, .stored_end = 1}, 2, &producer),
                     DANGO_ERR_CORRUPT);
    assert_int_equal(get(table, 5, (struct mofka_resume){.first = 10, .stored_end = 10, .unsettled = 4}, 2, &producer),
                     0);
    dango_mofka_producers_put(table, producer);
    dango_mofka_producers_destroy(table);
}

static void damage_leaves_open_what_may_lie_in_it(void **state)
{
    (void)state;
    struct mofka_producers *table = new_table();
    struct mofka_producer *producer;
    note(table, 5, 0, 0, 1);
    note(table, 6, 0, 1, 1);
    dango_mofka_producers_damaged(table, 10);
    note(table, 6, 1, 7, 11);
    /* 5 may have a batch 1 in the damage; 6 has not, and 7 may have had anything. */
    assert_int_equal(get(table, 5, (struct mofka_resume){.first = 1, .unsettled = 1}, 12, &producer),
                     DANGO_ERR_CORRUPT);
    assert_int_equal(get(table, 7, (struct mofka_resume){.first = 0, .unsettled = 2}, 12, &producer),
                     DANGO_ERR_CORRUPT);
    assert_int_equal(get(table, 6, (struct mofka_resume){.first = 1, .unsettled = 2}, 12, &producer), 0);
    expect_found(table, producer, 1, 1, 7);
    dango_mofka_producers_put(table, producer);
    /* What was not sent before is not in doubt, and neither is it after an hour. */
    assert_int_equal(get(table, 5, (struct mofka_resume){.first = 1}, 12, &producer), 0);
    dango_mofka_producers_put(table, producer);
    assert_int_equal(get(table, 5, (struct mofka_resume){.first = 1, .unsettled = 1}, 12, &producer), 0);
    dango_mofka_producers_put(table, producer);
    assert_int_equal(get(table, 8, (struct mofka_resume){.unsettled = 2}, 11 + MOFKA_PRODUCER_AGE_NS, &producer), 0);
    dango_mofka_producers_put(table, producer);
    dango_mofka_producers_destroy(table);
}

static void the_old_and_the_too_many_are_forgotten(void **state)
{
    (void)state;
    struct mofka_producers *table = new_table();
    struct mofka_producer *used, *producer;
    assert_int_equal(get(table, 1, fresh, 1, &used), 0);
    for (uint64_t i = 0; i < MOFKA_PRODUCERS_MAX + 100; i++)
        note(table, 10 + i, 0, i, 2 + i);
    assert_int_equal(dango_mofka_producers_count(table), MOFKA_PRODUCERS_MAX);
    expect_found(table, used, 0, 0, 0);
    dango_mofka_producers_put(table, used);
    /* Number 10 was forgotten although it was young: the table does not claim that it knows all. */
    assert_int_equal(get(table, 10, (struct mofka_resume){.unsettled = 1}, 200000, &producer), DANGO_ERR_CORRUPT);
    uint64_t later = 400000 + 2 * MOFKA_PRODUCER_AGE_NS;
    for (uint64_t i = 0; i < MOFKA_PRODUCERS_MAX; i++)
        note(table, 3 * MOFKA_PRODUCERS_MAX + i, 0, i, later);
    assert_int_equal(dango_mofka_producers_count(table), MOFKA_PRODUCERS_MAX);
    assert_int_equal(get(table, 10, (struct mofka_resume){.unsettled = 1}, later, &producer), 0);
    dango_mofka_producers_put(table, producer);
    dango_mofka_producers_destroy(table);
}

/* ---- the file ---- */

static char directory[] = "/tmp/dango-producers-XXXXXX";
static int descriptor;

static int make_directory(void **state)
{
    (void)state;
    strcpy(strrchr(directory, '-'), "-XXXXXX");
    assert_non_null(mkdtemp(directory));
    descriptor = open(directory, O_RDONLY | O_DIRECTORY);
    return descriptor < 0;
}

static int remove_directory(void **state)
{
    (void)state;
    char command[64];
    close(descriptor);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static void save_two(uint64_t number)
{
    struct mofka_producers *table = new_table();
    for (uint64_t i = 0; i < 2000; i++)
        note(table, 5, i, i, 100);
    note(table, 6, 3, 77, 100 + MOFKA_PRODUCER_AGE_NS);
    dango_mofka_producers_damaged(table, 1);
    note(table, 6, 4, 78, 100 + MOFKA_PRODUCER_AGE_NS);
    assert_int_equal(dango_mofka_producers_save(table, descriptor, uuid, number, 100, NULL), 0);
    dango_mofka_producers_destroy(table);
}

static void a_saved_table_is_the_same_when_loaded(void **state)
{
    (void)state;
    save_two(3);
    struct mofka_producers *table = new_table();
    struct mofka_producer *producer;
    assert_true(dango_mofka_producers_load(table, descriptor, uuid, 3, 100));
    assert_int_equal(dango_mofka_producers_count(table), 2);
    assert_int_equal(get(table, 5, (struct mofka_resume){.first = 2000, .unsettled = 1}, 101, &producer),
                     DANGO_ERR_CORRUPT);
    assert_int_equal(get(table, 5, (struct mofka_resume){.first = 1999, .unsettled = 1}, 101, &producer), 0);
    expect_found(table, producer, 1999, 1, 1999);
    expect_found(table, producer, 2000 - MOFKA_PRODUCER_HISTORY, 1, 2000 - MOFKA_PRODUCER_HISTORY);
    expect_found(table, producer, 1999 - MOFKA_PRODUCER_HISTORY, DANGO_ERR_CORRUPT, 0);
    dango_mofka_producers_put(table, producer);
    assert_int_equal(get(table, 6, (struct mofka_resume){.first = 4, .unsettled = 9}, 101, &producer), 0);
    expect_found(table, producer, 4, 1, 78);
    dango_mofka_producers_put(table, producer);
    dango_mofka_producers_destroy(table);
}

/* Whether the table that is loaded with this number vouches for producers that it does not know. */
static bool is_complete(uint64_t number)
{
    struct mofka_producers *table = new_table();
    struct mofka_producer *producer;
    bool complete = dango_mofka_producers_load(table, descriptor, uuid, number, 2 * MOFKA_PRODUCER_AGE_NS);
    int code = get(table, 99, (struct mofka_resume){.unsettled = 1}, 2 * MOFKA_PRODUCER_AGE_NS, &producer);
    assert_int_equal(code, complete ? 0 : DANGO_ERR_CORRUPT);
    if (code == 0)
        dango_mofka_producers_put(table, producer);
    dango_mofka_producers_destroy(table);
    return complete;
}

/* Nor is one that was being written. */
static void a_file_that_does_not_fit_is_not_believed(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, "%s/producers", directory);
    assert_true(is_complete(0)); /* nothing is needed yet */
    assert_false(is_complete(1));
    save_two(3);
    assert_true(is_complete(2)); /* killed between the file and the chunk */
    assert_true(is_complete(3));
    assert_false(is_complete(1));
    assert_false(is_complete(4));
    for (int at = 0; at < 64 + 24 + 16; at++) {
        unsigned char byte;
        int fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_false(is_complete(3));
        byte ^= 1;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
    assert_true(is_complete(3));
    snprintf(path, sizeof path, "%s/producers.new-a1B2c3", directory);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    dango_mofka_producers_tidy(descriptor);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_true(is_complete(3));
    snprintf(path, sizeof path, "%s/producers", directory);
    assert_int_equal(truncate(path, 1000), 0);
    assert_false(is_complete(3));
    assert_int_equal(truncate(path, 10), 0);
    assert_false(is_complete(3));
}

/* ---- partitions ---- */

static struct stored_fixture fixture;

/* Reserves a batch of one event and, if it is new, stores it: what reserve said. */
static int send(struct mofka_partition *partition, struct mofka_stream *stream, uint64_t sequence, uint32_t attempt,
                uint64_t *first_id)
{
    struct test_batch batch;
    test_batch_init(&batch, stream, attempt, sequence, 1, 50, (unsigned)sequence);
    int reserved = dango_mofka_partition_reserve(partition, &batch.reception, NULL);
    if (reserved == 0) {
        test_batch_store(partition, &batch);
        stored_run(&fixture);
        assert_int_equal(batch.done, 1);
        *first_id = batch.first_id;
        reserved = batch.code;
    } else {
        *first_id = batch.reception.first_id;
    }
    free(batch.content);
    return reserved;
}

static void attach(struct mofka_partition *partition, struct mofka_stream *stream, struct mofka_resume resume)
{
    struct dango_error err = {0};
    *stream = (struct mofka_stream){0};
    dango_mofka_partition_attach(partition, stream, 77, 1, &resume, &err);
    assert_string_equal(err.text, "");
}

/* Sends batches 0 to 9, then 6 to 12 again as a producer does that has lost its connection. */
static void resend(struct mofka_partition *partition)
{
    struct mofka_stream first, second;
    uint64_t id;
    attach(partition, &first, fresh);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(send(partition, &first, i, 1, &id), 0);
    attach(partition, &second, (struct mofka_resume){.first = 6, .stored_end = 6, .unsettled = 5, .window = 8});
    assert_int_equal(send(partition, &first, 10, 1, &id), DANGO_ERR_CANCELED); /* its time is over */
    assert_int_equal(send(partition, &second, 7, 1, &id), DANGO_ERR_PROTOCOL); /* 6 is missing */
    dango_mofka_partition_detach(partition, &second);
    attach(partition, &second, (struct mofka_resume){.first = 6, .stored_end = 6, .unsettled = 5, .window = 8});
    for (uint64_t i = 6; i < 10; i++) {
        assert_int_equal(send(partition, &second, i, 1, &id), 1);
        assert_int_equal(id, i);
    }
    for (uint64_t i = 10; i < 13; i++) {
        assert_int_equal(send(partition, &second, i, 1, &id), 0);
        assert_int_equal(id, i);
    }
    assert_int_equal(dango_mofka_partition_next_id(partition), 13);
    dango_mofka_partition_detach(partition, &first);
    dango_mofka_partition_detach(partition, &second);
}

static void repeats_are_dropped_in_memory(void **state)
{
    (void)state;
    struct mofka_partition_settings settings = {.uuid = {1}};
    struct mofka_partition *partition;
    assert_int_equal(dango_mofka_partition_create(&settings, &partition, NULL), 0);
    resend(partition);
    dango_mofka_partition_destroy(partition);
}

static int open_stored(void **state)
{
    (void)state;
    stored_setup(&fixture);
    return 0;
}

static int close_stored(void **state)
{
    (void)state;
    stored_teardown(&fixture);
    return 0;
}

static void reopen(size_t chunk_size)
{
    stored_close(&fixture);
    if (chunk_size > 0)
        fixture.options.max_chunk_size = (int64_t)chunk_size;
    stored_open(&fixture);
}

static void repeats_are_dropped_in_files(void **state)
{
    (void)state;
    resend(fixture.partition);
}

/* With one chunk, and with so many that the last batches lie in several. */
static void repeats_are_dropped_after_a_restart(void **state)
{
    (void)state;
    for (size_t chunk_size = 100000; chunk_size > 300; chunk_size /= 6) {
        struct mofka_stream stream;
        uint64_t id;
        close_stored(NULL);
        open_stored(NULL);
        reopen(chunk_size);
        attach(fixture.partition, &stream, fresh);
        for (uint64_t i = 0; i < 20; i++)
            assert_int_equal(send(fixture.partition, &stream, i, 1, &id), 0);
        dango_mofka_partition_detach(fixture.partition, &stream);
        reopen(0);
        attach(fixture.partition, &stream, (struct mofka_resume){.first = 13, .stored_end = 12, .unsettled = 8});
        for (uint64_t i = 13; i < 21; i++) {
            assert_int_equal(send(fixture.partition, &stream, i, 1, &id), i < 20);
            assert_int_equal(id, i);
        }
        dango_mofka_partition_detach(fixture.partition, &stream);
        assert_int_equal(dango_mofka_partition_next_id(fixture.partition), 21);
    }
}

static void flip(const char *name, off_t offset)
{
    char path[256];
    unsigned char byte;
    snprintf(path, sizeof path, "%s/%s", fixture.directory, name);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* Batch 1 of 77 lies in a damaged stretch behind which another producer's are whole. */
static void damaged_batches_are_neither_stored_nor_stored_again(void **state)
{
    (void)state;
    struct mofka_stream stream, other = {.producer = 78};
    struct mofka_resume resume = {.first = 1, .stored_end = 1, .unsettled = 2};
    struct dango_error err;
    uint64_t id;
    attach(fixture.partition, &stream, fresh);
    assert_int_equal(send(fixture.partition, &stream, 0, 1, &id), 0);
    uint64_t offset = sizeof(struct mofka_chunk_header) + dango_mofka_partition_size(fixture.partition);
    assert_int_equal(send(fixture.partition, &stream, 1, 1, &id), 0);
    assert_int_equal(send(fixture.partition, &other, 0, 1, &id), 0);
    dango_mofka_partition_detach(fixture.partition, &stream);
    flip("chunk-000000.log", (off_t)offset + 100);
    reopen(0);
    assert_int_equal(fixture.report.lost_events, 1);
    stream = (struct mofka_stream){0};
    assert_int_equal(dango_mofka_partition_attach(fixture.partition, &stream, 77, 1, &resume, &err), DANGO_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "not known whether batches 1 to 2"));
    /* Having told its application, it goes on with what comes next. */
    attach(fixture.partition, &stream, (struct mofka_resume){.first = 3});
    assert_int_equal(send(fixture.partition, &stream, 3, 1, &id), 0);
    assert_int_equal(id, 3);
    assert_int_equal(send(fixture.partition, &stream, 2, 2, &id), DANGO_ERR_CORRUPT);
    dango_mofka_partition_detach(fixture.partition, &stream);
}

static void what_was_written_but_not_synced_is_not_called_stored(void **state)
{
    (void)state;
    struct mofka_stream stream, again;
    uint64_t id;
    attach(fixture.partition, &stream, fresh);
    fixture.fail_sync = 1;
    assert_int_equal(send(fixture.partition, &stream, 0, 1, &id), DANGO_ERR_IO);
    attach(fixture.partition, &again, (struct mofka_resume){.unsettled = 1});
    assert_int_equal(send(fixture.partition, &again, 0, 1, &id), DANGO_ERR_IO);
    dango_mofka_partition_detach(fixture.partition, &stream);
    dango_mofka_partition_detach(fixture.partition, &again);
}

static void a_producer_waits_for_its_earlier_batches(void **state)
{
    (void)state;
    struct mofka_stream stream, again = {0};
    struct test_batch batch;
    const struct mofka_resume resume = {.unsettled = 1};
    uint64_t id;
    attach(fixture.partition, &stream, fresh);
    test_batch_init(&batch, &stream, 1, 0, 1, 50, 0);
    assert_int_equal(dango_mofka_partition_reserve(fixture.partition, &batch.reception, NULL), 0);
    assert_int_equal(dango_mofka_partition_attach(fixture.partition, &again, 77, 1, &resume, NULL), DANGO_ERR_BUSY);
    test_batch_store(fixture.partition, &batch); /* arrives at last, and too late */
    assert_int_equal(batch.code, DANGO_ERR_CANCELED);
    free(batch.content);
    attach(fixture.partition, &again, resume);
    assert_int_equal(send(fixture.partition, &again, 0, 1, &id), 0);
    assert_int_equal(id, 0);
    dango_mofka_partition_detach(fixture.partition, &stream);
    dango_mofka_partition_detach(fixture.partition, &again);
}

#define FILE_TEST(test)   cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)
#define STORED_TEST(test) cmocka_unit_test_setup_teardown(test, open_stored, close_stored)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_window_is_remembered),
        cmocka_unit_test(lies_of_producers_are_refused),
        cmocka_unit_test(what_is_missing_is_noticed),
        cmocka_unit_test(damage_leaves_open_what_may_lie_in_it),
        cmocka_unit_test(the_old_and_the_too_many_are_forgotten),
        FILE_TEST(a_saved_table_is_the_same_when_loaded),
        FILE_TEST(a_file_that_does_not_fit_is_not_believed),
        cmocka_unit_test(repeats_are_dropped_in_memory),
        STORED_TEST(repeats_are_dropped_in_files),
        STORED_TEST(repeats_are_dropped_after_a_restart),
        STORED_TEST(damaged_batches_are_neither_stored_nor_stored_again),
        STORED_TEST(what_was_written_but_not_synced_is_not_called_stored),
        STORED_TEST(a_producer_waits_for_its_earlier_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
