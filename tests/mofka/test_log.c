/*
 * The log on disk: what was appended comes back after every kind of reopening, and damage costs what it hit, no more.
 */
#include "tests/mofka/log_model.h"

#include "mofka/log/chunk.h"
#include "mofka/log/internal.h"
#include "tests/support/sigbus.h"
#include "util/crc32c.h"
#include "util/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char base[64], directory[128];
    struct mofka_log_settings settings;
    struct mofka_log *log;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->base, "/tmp/dango-log-XXXXXX");
    assert_non_null(mkdtemp(f->base));
    snprintf(f->directory, sizeof f->directory, "%s/deep/topic-1", f->base);
    f->settings = (struct mofka_log_settings){.directory = f->directory,
                                              .topic = "topic",
                                              .max_chunk_size = 1 << 20,
                                              .max_events_per_chunk = 1000000,
                                              .mappings = 2,
                                              .io = &mofka_log_system_io};
    memcpy(f->settings.uuid, model_uuid, sizeof model_uuid);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    dango_mofka_log_close(f->log);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", f->base);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void create(struct fixture *f)
{
    struct dango_error err;
    if (dango_mofka_log_create(&f->settings, &f->log, &err) < 0)
        fail_msg("%s", err.text);
}

static int reopen(struct fixture *f, struct mofka_log_report *report, struct dango_error *err)
{
    dango_mofka_log_close(f->log);
    f->log = NULL;
    return dango_mofka_log_open(&f->settings, &f->log, report, err);
}

/* Appends `batches` groups of one frame with `count` events each. */
static void append(struct fixture *f, int batches, uint32_t count)
{
    for (int i = 0; i < batches; i++) {
        struct mofka_frame *frame = model_frame(dango_mofka_log_next_id(f->log), count);
        struct dango_error err;
        size_t appended;
        if (dango_mofka_log_append(f->log, &frame, 1, &appended, &err) < 0)
            fail_msg("%s", err.text);
        assert_int_equal(appended, 1);
        dango_mofka_log_publish(f->log);
        free(frame);
    }
    assert_int_equal(dango_mofka_log_sync(f->log, NULL), 0);
}

/* A reader that compares contents only when it is told to delivers the same events. */
static void expect_the_same_later(struct fixture *f, uint64_t from, uint64_t expected)
{
    struct mofka_log_reader reader;
    struct mofka_scan_item item;
    uint64_t events = 0;
    dango_mofka_log_reader_init(&reader, f->log);
    reader.headers_only = true;
    assert_int_equal(dango_mofka_log_seek(&reader, from, NULL), 0);
    while (dango_mofka_log_next(&reader, &item, NULL) == 1) {
        if (item.frame && dango_mofka_log_check(&reader, &item, true)) {
            assert_true(model_holds(item.frame));
            events += item.frame->count;
        }
    }
    dango_mofka_log_reader_fini(&reader);
    assert_int_equal(events, expected);
}

/* Reads from event `from` to the end; returns the events delivered, adds those reported as damaged to *lost. */
static uint64_t read_all(struct fixture *f, uint64_t from, uint64_t *lost)
{
    struct mofka_log_reader reader;
    struct mofka_scan_item item;
    uint64_t events = 0, next = UINT64_MAX;
    *lost = 0;
    dango_mofka_log_reader_init(&reader, f->log);
    assert_int_equal(dango_mofka_log_seek(&reader, from, NULL), 0);
    while (dango_mofka_log_next(&reader, &item, NULL) == 1) {
        if (next != UINT64_MAX)
            assert_int_equal(item.first_id, next);
        if (item.frame) {
            assert_true(model_holds(item.frame));
            events += item.frame->count;
            next = item.first_id + item.frame->count;
        } else {
            *lost += item.lost;
            next = item.first_id + item.lost;
        }
    }
    dango_mofka_log_reader_fini(&reader);
    expect_the_same_later(f, from, events);
    return events;
}

static void expect_events(struct fixture *f, uint64_t from, uint64_t expected)
{
    uint64_t lost;
    uint64_t events = read_all(f, from, &lost);
    assert_int_equal(lost, 0);
    assert_int_equal(events, expected);
}

/* ---- tests ---- */

static void what_was_appended_is_read(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    struct dango_error err;
    create(f);
    expect_events(f, 0, 0);
    append(f, 100, 7);
    expect_events(f, 0, 700);
    assert_int_equal(reopen(f, &report, &err), 0);
    assert_int_equal(report.next_id, 700);
    assert_int_equal(report.torn_bytes, 0);
    expect_events(f, 0, 700);
    append(f, 1, 1);
    expect_events(f, 700, 1);
    expect_events(f, 699, 8); /* begins with the frame that holds the event */
}

static size_t first_chunk_size(struct fixture *f)
{
    char path[256];
    struct stat info;
    snprintf(path, sizeof path, "%s/chunk-000000.log", f->settings.directory);
    assert_int_equal(stat(path, &info), 0);
    return (size_t)info.st_size;
}

/* A busy log reserves space; what a crash leaves of it is neither an event nor damage. */
static void reserved_space_is_given_back(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    struct dango_error err;
    char path[256];
    create(f);
    append(f, 40, 7);
    size_t reserved = first_chunk_size(f);
    assert_int_equal(reopen(f, &report, &err), 0);
    size_t used = first_chunk_size(f);
    assert_true(used < reserved);
    dango_mofka_log_close(f->log);
    snprintf(path, sizeof path, "%s/chunk-000000.log", f->settings.directory);
    assert_int_equal(truncate(path, (off_t)reserved), 0);
    assert_int_equal(dango_mofka_log_open(&f->settings, &f->log, &report, &err), 0);
    assert_int_equal(report.torn_bytes, 0);
    assert_int_equal(report.damaged_stretches, 0);
    assert_int_equal(first_chunk_size(f), used);
    append(f, 1, 1);
    expect_events(f, 0, 281);
}

static void chunks_are_rotated_and_indexed(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    char path[256];
    f->settings.max_chunk_size = 100000;
    create(f);
    append(f, 300, 100);
    assert_int_equal(reopen(f, &report, NULL), 0);
    assert_true(report.chunks > 10);
    assert_int_equal(report.next_id, 30000);
    for (uint64_t id = 0; id < 30000; id += 977)
        expect_events(f, id, 30000 - id / 100 * 100);
    /* Without the index, and with a damaged one: the same. */
    snprintf(path, sizeof path, "%s/chunk-000001.idx", f->directory);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/chunk-000002.idx", f->directory);
    assert_int_equal(truncate(path, 70), 0);
    assert_int_equal(reopen(f, &report, NULL), 0);
    expect_events(f, 0, 30000);
    assert_int_equal(access(path, F_OK), 0);
}

static void chunks_are_limited_by_events(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    f->settings.max_events_per_chunk = 50;
    create(f);
    append(f, 10, 20);
    append(f, 1, 200); /* larger than a chunk: gets one for itself */
    append(f, 1, 20);
    assert_int_equal(reopen(f, &report, NULL), 0);
    assert_int_equal(report.chunks, 7);
    expect_events(f, 0, 420);
}

static void copy_chunk(struct fixture *f, char **bytes, size_t *size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/chunk-000000.log", f->directory);
    *bytes = dango_file_read(path, 1 << 20, size, NULL);
    assert_non_null(*bytes);
}

static void put_chunk(struct fixture *f, const char *bytes, size_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/chunk-000000.log", f->directory);
    assert_int_equal(dango_file_write(path, bytes, size, NULL), 0);
}

/* Whole frames within the first `size` bytes. */
static uint64_t whole_events(const char *bytes, size_t size)
{
    size_t offset = sizeof(struct mofka_chunk_header);
    uint64_t events = 0;
    while (offset + sizeof(struct mofka_frame) <= size) {
        const struct mofka_frame *frame = (const struct mofka_frame *)(bytes + offset);
        offset += (size_t)mofka_frame_size(frame);
        if (offset > size)
            break;
        events += frame->count;
    }
    return events;
}

/* An index that was made while the medium failed is made again when the medium can be read. */
static void an_index_that_ended_early_goes_on(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    char path[256], *bytes;
    size_t size;
    uint64_t lost;
    sigbus_to_guards();
    f->settings.max_chunk_size = 400000;
    f->settings.mappings = 16; /* none is given up */
    create(f);
    append(f, 300, 100);
    assert_int_equal(reopen(f, &report, NULL), 0);
    assert_true(report.chunks > 1);
    struct mofka_chunk *chunk = f->log->chunks[0];
    const uint64_t last_id = f->log->chunks[1]->first_id - 1;
    snprintf(path, sizeof path, "%s/chunk-000000.idx", f->directory);
    assert_int_equal(unlink(path), 0);
    copy_chunk(f, &bytes, &size);
    put_chunk(f, bytes, size / 2);
    for (int round = 0; round < 2; round++) {
        const uint64_t read = read_all(f, 0, &lost);
        assert_true(lost > 0);
        assert_int_equal(read + lost, 30000);
        assert_int_not_equal(access(path, F_OK), 0);
        assert_in_range(mofka_chunk_locate(chunk, last_id).offset, size / 4, size / 2);
    }
    put_chunk(f, bytes, size);
    free(bytes);
    assert_int_equal(read_all(f, 0, &lost), 30000);
    assert_int_equal(access(path, F_OK), 0);
    assert_in_range(mofka_chunk_locate(chunk, last_id).offset, size * 3 / 4, size);
}

static void every_truncation_keeps_the_whole_batches(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    struct dango_error err;
    char *bytes;
    size_t size;
    create(f);
    append(f, 6, 3);
    copy_chunk(f, &bytes, &size);
    for (size_t cut = sizeof(struct mofka_chunk_header); cut <= size; cut++) {
        put_chunk(f, bytes, cut);
        uint64_t expected = whole_events(bytes, cut);
        assert_int_equal(reopen(f, &report, &err), 0);
        assert_int_equal(report.next_id, expected);
        assert_int_equal(report.damaged_stretches, 0);
        expect_events(f, 0, expected);
        append(f, 1, 2); /* and it goes on from there */
        expect_events(f, 0, expected + 2);
    }
    put_chunk(f, bytes, 10);
    assert_int_equal(reopen(f, &report, &err), DANGO_ERR_CORRUPT);
    assert_contains(err.text, "shorter than its header");
    free(bytes);
}

static void every_flipped_bit_costs_its_batch_only(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    char *bytes;
    size_t size;
    create(f);
    append(f, 6, 3);
    copy_chunk(f, &bytes, &size);
    for (size_t at = sizeof(struct mofka_chunk_header); at < size; at++) {
        bytes[at] = (char)(bytes[at] ^ (1 << (at % 8)));
        put_chunk(f, bytes, size);
        bytes[at] = (char)(bytes[at] ^ (1 << (at % 8)));
        assert_int_equal(reopen(f, &report, NULL), 0);
        uint64_t lost, events = read_all(f, 0, &lost);
        /* A flip in padding costs nothing; in the last batch it looks like a torn end; elsewhere it is reported. */
        assert_true(events >= 15);
        assert_true(events + lost + (report.torn_bytes > 0 ? 3 : 0) == 18);
        assert_int_equal(report.lost_events, lost);
    }
    free(bytes);
}

static void damage_in_a_sealed_chunk_is_met_when_read(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    char path[256];
    uint64_t lost;
    f->settings.max_events_per_chunk = 30;
    create(f);
    append(f, 30, 3);
    dango_mofka_log_close(f->log);
    f->log = NULL;
    snprintf(path, sizeof path, "%s/chunk-000001.log", f->directory);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "?????", 5, 64 + 200), 5);
    close(fd);
    assert_int_equal(reopen(f, &report, NULL), 0);
    assert_int_equal(read_all(f, 0, &lost), 87);
    assert_int_equal(lost, 3);
    /* A sealed chunk that lost its end: the next one shows how much. */
    assert_int_equal(truncate(path, 64 + 400), 0);
    assert_int_equal(reopen(f, &report, NULL), 0);
    uint64_t events = read_all(f, 0, &lost);
    assert_int_equal(events + lost, 90);
    assert_true(lost >= 24);
}

static void directories_know_whose_they_are(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    struct mofka_log *second;
    struct dango_error err;
    create(f);
    assert_int_equal(dango_mofka_log_create(&f->settings, &second, &err), DANGO_ERR_EXISTS);
    assert_int_equal(dango_mofka_log_open(&f->settings, &second, &report, &err), DANGO_ERR_BUSY);
    assert_contains(err.text, "another process has this partition open");
    f->settings.topic = "other";
    assert_int_equal(reopen(f, &report, &err), DANGO_ERR_EXISTS);
    assert_contains(err.text, "of topic \"topic\", not the one asked for");
    char path[256];
    snprintf(path, sizeof path, "%s/partition.json", f->directory);
    assert_int_equal(dango_file_write(path, "{\"format\":99,\"topic\":\"a\",\"uuid\":\"b\"}", 36, NULL), 0);
    assert_int_equal(reopen(f, &report, &err), DANGO_ERR_UNSUPPORTED);
    assert_contains(err.text, "format 99 is newer than this program's 1");
    assert_int_equal(dango_file_write(path, "{\"format\":1", 11, NULL), 0);
    assert_int_equal(reopen(f, &report, &err), DANGO_ERR_INVALID);
    assert_contains(err.text, "partition.json: line 1");
}

static void a_missing_chunk_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    struct dango_error err;
    char path[256];
    f->settings.max_events_per_chunk = 10;
    create(f);
    append(f, 5, 10);
    snprintf(path, sizeof path, "%s/chunk-000002.log", f->directory);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(reopen(f, &report, &err), DANGO_ERR_CORRUPT);
    assert_contains(err.text, "chunk-000002.log is missing");
}

/* ---- failing media ---- */

struct faulty {
    int writes_left, syncs_left; /* until failure */
    size_t short_by;             /* bytes that each write leaves out */
};

static ssize_t faulty_pwritev(void *arg, int fd, const struct iovec *iov, int count, off_t offset)
{
    struct faulty *faulty = arg;
    if (faulty->writes_left-- <= 0)
        return -ENOSPC;
    (void)count;
    size_t n = iov[0].iov_len > faulty->short_by ? iov[0].iov_len - faulty->short_by : iov[0].iov_len;
    return pwrite(fd, iov[0].iov_base, n, offset);
}

static int faulty_fdatasync(void *arg, int fd)
{
    struct faulty *faulty = arg;
    return faulty->syncs_left-- > 0 ? fdatasync(fd) : -EIO;
}

static void failures_keep_what_was_there(void **state)
{
    struct fixture *f = *state;
    struct faulty faulty = {.writes_left = 1000, .syncs_left = 1000, .short_by = 5};
    const struct mofka_log_io io = {.pwritev = faulty_pwritev, .fdatasync = faulty_fdatasync, .arg = &faulty};
    struct mofka_log_report report;
    struct dango_error err;
    size_t appended;
    f->settings.io = &io;
    create(f);
    append(f, 4, 3); /* short writes are continued */
    expect_events(f, 0, 12);
    faulty.writes_left = 1; /* the second half of the frame meets a full disk */
    struct mofka_frame *frame = model_frame(12, 3);
    assert_true(dango_mofka_log_append(f->log, &frame, 1, &appended, &err) < 0);
    assert_contains(err.text, "No space left on device");
    assert_int_equal(appended, 0);
    faulty.writes_left = 1000; /* space again: it goes on where it was */
    append(f, 1, 3);
    expect_events(f, 0, 15);
    faulty.syncs_left = 0;
    assert_true(dango_mofka_log_sync(f->log, &err) < 0);
    faulty.syncs_left = 1000; /* what a failed sync left behind is unknown: no more writing until opened again */
    assert_true(dango_mofka_log_append(f->log, &frame, 1, &appended, &err) < 0);
    assert_contains(err.text, "takes no more events");
    assert_int_equal(reopen(f, &report, &err), 0);
    append(f, 1, 3);
    expect_events(f, 0, 18);
    free(frame);
}

/* Gives the header of a chunk another first id; with a correct checksum. */
static void forge(struct fixture *f, const char *name, uint64_t id)
{
    char path[256];
    size_t size;
    snprintf(path, sizeof path, "%s/%s", f->directory, name);
    char *bytes = dango_file_read(path, 1 << 20, &size, NULL);
    assert_non_null(bytes);
    struct mofka_chunk_header *header = (void *)bytes;
    header->first_id = id;
    header->crc = dango_crc32c(0, header, offsetof(struct mofka_chunk_header, crc));
    assert_int_equal(dango_file_write(path, bytes, size, NULL), 0);
    free(bytes);
}

/* Chunks of different copies of a log, put together by somebody. */
static void no_event_is_delivered_twice(void **state)
{
    struct fixture *f = *state;
    struct mofka_log_report report;
    struct dango_error err;
    uint64_t lost;
    f->settings.max_chunk_size = 100000;
    create(f);
    append(f, 200, 100);
    assert_int_equal(reopen(f, &report, &err), 0);
    dango_mofka_log_close(f->log);
    f->log = NULL;
    forge(f, "chunk-000001.log", 100); /* in the middle of the one before */
    assert_int_equal(reopen(f, &report, &err), 0);
    read_all(f, 0, &lost); /* ids go on without a gap */
    dango_mofka_log_close(f->log);
    f->log = NULL;
    forge(f, "chunk-000002.log", 50);
    assert_int_equal(reopen(f, &report, &err), DANGO_ERR_CORRUPT);
    assert_contains(err.text, "chunk-000002.log begins with event 50, the one before it with event 100");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* The first, since the guards' handler is installed once, and cmocka's replaces it in every test. */
        cmocka_unit_test_setup_teardown(an_index_that_ended_early_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_appended_is_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reserved_space_is_given_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(chunks_are_rotated_and_indexed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(chunks_are_limited_by_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_truncation_keeps_the_whole_batches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_flipped_bit_costs_its_batch_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_in_a_sealed_chunk_is_met_when_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(directories_know_whose_they_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_event_is_delivered_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_chunk_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_keep_what_was_there, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
