/*
 * Removing chunks: what goes and what stays, readers that are in the middle of it, and what a crash leaves.
 */
#include "tests/mofka/log_model.h"

#include "mofka/log/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNKS 6
#define BATCH  10 /* events of a chunk: one batch */

static char base[64], directory[96];
static struct mofka_log *the_log;
static struct mofka_log_report report;

static struct mofka_log_settings settings(void)
{
    struct mofka_log_settings result = {.directory = directory,
                                        .topic = "topic",
                                        .max_chunk_size = 1 << 20,
                                        .max_events_per_chunk = BATCH,
                                        .mappings = 2,
                                        .io = &mofka_log_system_io};
    memcpy(result.uuid, model_uuid, sizeof model_uuid);
    return result;
}

static void append(int batches)
{
    for (int i = 0; i < batches; i++) {
        struct mofka_frame *frame = model_frame(dango_mofka_log_next_id(the_log), BATCH);
        size_t appended;
        assert_int_equal(dango_mofka_log_append(the_log, &frame, 1, &appended, NULL), 0);
        dango_mofka_log_publish(the_log);
        free(frame);
    }
}

/* Events 0 … 59 in six chunks, the last of which is open. */
static int set_up(void **state)
{
    (void)state;
    strcpy(base, "/tmp/dango-trim-XXXXXX");
    assert_non_null(mkdtemp(base));
    snprintf(directory, sizeof directory, "%s/topic-1", base);
    struct mofka_log_settings with = settings();
    assert_int_equal(dango_mofka_log_create(&with, &the_log, NULL), 0);
    append(CHUNKS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    dango_mofka_log_close(the_log);
    snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command);
}

static void reopen(void)
{
    struct mofka_log_settings with = settings();
    struct dango_error err = {0};
    dango_mofka_log_close(the_log);
    dango_mofka_log_open(&with, &the_log, &report, &err);
    assert_string_equal(err.text, "");
}

static struct mofka_log_removal trim(struct mofka_log_retention retention)
{
    struct mofka_log_removal removal;
    assert_int_equal(dango_mofka_log_trim(the_log, &retention, &removal, NULL), 0);
    return removal;
}

static bool there(int chunk, const char *suffix)
{
    char path[160];
    snprintf(path, sizeof path, "%s/chunk-%06d.%s", directory, chunk, suffix);
    return access(path, F_OK) == 0;
}

/* Chunks from `first` on are there, in memory and as files, also after a restart. */
static void expect_from(int first)
{
    for (int round = 0; round < 2; round++) {
        assert_int_equal(dango_mofka_log_first_id(the_log), first * BATCH);
        for (int i = 0; i < CHUNKS; i++) {
            assert_int_equal(there(i, "log"), i >= first);
            assert_true(!there(i, "idx") || i >= first);
        }
        reopen();
        assert_int_equal(report.first_id, first * BATCH);
        assert_int_equal(report.next_id, CHUNKS * BATCH);
    }
}

/* The next item of a reader is the batch that begins with `id`. */
static void expect_batch(struct mofka_log_reader *reader, uint64_t id)
{
    struct mofka_scan_item item;
    assert_int_equal(dango_mofka_log_next(reader, &item, NULL), 1);
    assert_non_null(item.frame);
    assert_int_equal(item.first_id, id);
}

static void without_limits_nothing_goes(void **state)
{
    (void)state;
    assert_int_equal(trim((struct mofka_log_retention){.needed_from_id = UINT64_MAX}).chunks, 0);
    expect_from(0);
}

static void the_open_chunk_never_goes(void **state)
{
    (void)state;
    struct mofka_log_removal removal =
        trim((struct mofka_log_retention){.max_bytes = 1, .max_age_ns = 1, .needed_from_id = UINT64_MAX});
    assert_int_equal(removal.chunks, CHUNKS - 1);
    assert_int_equal(removal.first_id, (CHUNKS - 1) * BATCH);
    assert_int_equal(removal.expires_ns, 0);
    expect_from(CHUNKS - 1);
    append(1);
    assert_int_equal(dango_mofka_log_next_id(the_log), (CHUNKS + 1) * BATCH);
}

static void bytes_are_a_limit_for_all_chunks_together(void **state)
{
    (void)state;
    uint64_t size = 0;
    for (int i = 2; i < CHUNKS; i++) {
        char path[160];
        struct stat info;
        snprintf(path, sizeof path, "%s/chunk-%06d.log", directory, i);
        assert_int_equal(stat(path, &info), 0);
        size += (uint64_t)info.st_size;
    }
    assert_int_equal(trim((struct mofka_log_retention){.max_bytes = size, .needed_from_id = UINT64_MAX}).chunks, 2);
    expect_from(2);
}

static void age_counts_from_the_end_of_a_chunk(void **state)
{
    (void)state;
    struct mofka_log_retention retention = {.max_age_ns = UINT64_C(3600) * 1000000000u, .needed_from_id = UINT64_MAX};
    struct mofka_log_removal removal = trim(retention);
    assert_int_equal(removal.chunks, 0);
    assert_int_equal(removal.expires_ns, the_log->chunks[1]->created_ns + retention.max_age_ns);
    the_log->chunks[1]->created_ns -= retention.max_age_ns;
    the_log->chunks[2]->created_ns -= retention.max_age_ns;
    assert_int_equal(trim(retention).chunks, 2);
    expect_from(2);
}

static void what_is_needed_stays(void **state)
{
    (void)state;
    struct mofka_log_retention acknowledged = {.needed_from_id = 2 * BATCH + 3, .only_needed = true};
    struct mofka_log_removal removal = trim(acknowledged);
    assert_int_equal(removal.chunks, 2);
    assert_false(removal.held_back);
    assert_int_equal(dango_mofka_log_first_end(the_log), 3 * BATCH);
    acknowledged.max_bytes = 1;
    removal = trim(acknowledged);
    assert_int_equal(removal.chunks, 0);
    assert_true(removal.held_back);
    acknowledged.needed_from_id = 3 * BATCH;
    assert_int_equal(trim(acknowledged).chunks, 1);
    expect_from(3);
}

static void readers_keep_what_they_have_and_go_on_behind_the_gap(void **state)
{
    (void)state;
    struct mofka_log_reader reader, late;
    struct mofka_scan_item item;
    dango_mofka_log_reader_init(&reader, the_log);
    assert_int_equal(dango_mofka_log_seek(&reader, BATCH, NULL), 0);
    assert_int_equal(trim((struct mofka_log_retention){.needed_from_id = 4 * BATCH, .only_needed = true}).chunks, 4);
    expect_batch(&reader, BATCH);
    assert_int_equal(dango_mofka_log_next(&reader, &item, NULL), 1);
    assert_null(item.frame);
    assert_true(item.removed);
    assert_int_equal(item.first_id, 2 * BATCH);
    assert_int_equal(item.lost, 2 * BATCH);
    expect_batch(&reader, 4 * BATCH);
    dango_mofka_log_reader_init(&late, the_log);
    assert_int_equal(dango_mofka_log_seek(&late, 7, NULL), 0);
    assert_int_equal(late.scan.next_id, 4 * BATCH);
    expect_batch(&late, 4 * BATCH);
    dango_mofka_log_reader_fini(&late);
    dango_mofka_log_reader_fini(&reader);
    expect_from(4);
}

/* A crash may come between any two files. */
static void what_a_crash_leaves_is_a_log(void **state)
{
    (void)state;
    char path[160];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/chunk-%06d.idx", directory, i);
        assert_int_equal(unlink(path), 0);
        reopen();
        assert_int_equal(report.first_id, i * BATCH);
        snprintf(path, sizeof path, "%s/chunk-%06d.log", directory, i);
        assert_int_equal(unlink(path), 0);
        reopen();
        assert_int_equal(report.first_id, (i + 1) * BATCH);
    }
    /* The removal of an index may have been lost, that of its chunk not. */
    snprintf(path, sizeof path, "%s/chunk-%06d.log", directory, 3);
    assert_int_equal(unlink(path), 0);
    reopen();
    expect_from(4);
}

/* Root ignores permissions, so that a file that cannot be removed is a directory. */
static void files_that_cannot_be_removed_are_tried_again(void **state)
{
    (void)state;
    char path[160];
    struct mofka_log_removal removal;
    struct mofka_log_retention retention = {.needed_from_id = 3 * BATCH, .only_needed = true};
    struct dango_error err;
    snprintf(path, sizeof path, "%s/chunk-%06d.idx", directory, 1);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_not_equal(dango_mofka_log_trim(the_log, &retention, &removal, &err), 0);
    assert_contains(err.text, "chunk-000001.idx: cannot remove");
    assert_int_equal(dango_mofka_log_first_id(the_log), 3 * BATCH);
    assert_false(there(0, "log"));
    assert_true(there(1, "log") && there(2, "log")); /* no hole */
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(trim(retention).chunks, 0);
    expect_from(3);
}

static int ran;

static int run_elsewhere(void *arg, void (*body)(void *argument), void *argument)
{
    assert_ptr_equal(arg, &ran);
    if (++ran == 2)
        return -EAGAIN; /* it is done here, then */
    body(argument);
    return 0;
}

static void what_takes_long_is_done_elsewhere(void **state)
{
    (void)state;
    struct mofka_log_io io = mofka_log_system_io;
    struct dango_error err;
    io.arg = &ran;
    io.run = run_elsewhere;
    the_log->io = &io;
    assert_int_equal(trim((struct mofka_log_retention){.max_bytes = 1, .needed_from_id = 3 * BATCH}).chunks, 3);
    assert_int_equal(ran, 3);
    assert_false(there(0, "log") || there(1, "log") || there(2, "idx"));
    append(1); /* in a new chunk */
    assert_int_equal(ran, 4);
    assert_true(there(3, "log") && there(CHUNKS, "log") && there(CHUNKS - 1, "idx"));
    assert_int_equal(dango_mofka_log_erase(the_log, &err), 0);
    assert_int_equal(ran, 5);
    assert_int_not_equal(access(directory, F_OK), 0);
    the_log->io = &mofka_log_system_io;
}

int main(void)
{
#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(without_limits_nothing_goes),
        TEST(the_open_chunk_never_goes),
        TEST(bytes_are_a_limit_for_all_chunks_together),
        TEST(age_counts_from_the_end_of_a_chunk),
        TEST(what_is_needed_stays),
        TEST(readers_keep_what_they_have_and_go_on_behind_the_gap),
        TEST(what_a_crash_leaves_is_a_log),
        TEST(files_that_cannot_be_removed_are_tried_again),
        TEST(what_takes_long_is_done_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
