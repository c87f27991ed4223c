/*
 * Inspection of partition directories: a sound one has no findings, each kind of damage has the one that names it, and
 * nothing that is looked at is changed.
 */
#include "tests/mofka/log_model.h"
#include "tests/support/test.h"

#include "mofka/log/cursors.h"
#include "mofka/log/inspect.h"
#include "mofka/log/log.h"
#include "util/crc32c.h"
#include "util/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME         "topic-01020304-0506-0708-090a-0b0c0d0e0f10"
#define FINDINGS_MAX 32
#define CHUNK_SIZE   100000
#define EVENTS       30000
#define BATCH        100u
#define FRAME_OF(id) ((id) / BATCH)

struct fixture {
    char base[64], directory[192];
    struct mofka_log *log;
    struct mofka_finding findings[FINDINGS_MAX];
    char files[FINDINGS_MAX][64];
    size_t count;
    uint64_t frames, events, first_seen;
};

static void append(struct fixture *f, int batches)
{
    for (int i = 0; i < batches; i++) {
        struct mofka_frame *frame = model_frame(dango_mofka_log_next_id(f->log), BATCH);
        size_t appended;
        assert_int_equal(dango_mofka_log_append(f->log, &frame, 1, &appended, NULL), 0);
        free(frame);
    }
    assert_int_equal(dango_mofka_log_sync(f->log, NULL), 0);
    dango_mofka_log_publish(f->log);
}

static int ignore(void *arg, const char *name, uint64_t next_id, bool removed, struct dango_error *err)
{
    (void)arg, (void)name, (void)next_id, (void)removed, (void)err;
    return 0;
}

static void write_positions(struct fixture *f, uint64_t furthest)
{
    struct mofka_cursors *cursors;
    int directory = open(f->directory, O_RDONLY | O_DIRECTORY);
    assert_int_equal(
        dango_mofka_cursors_open(directory, model_uuid, &mofka_log_system_io, ignore, NULL, &cursors, NULL), 0);
    dango_mofka_cursors_set(cursors, "viewer", 1, NULL);
    dango_mofka_cursors_set(cursors, "archive", furthest, NULL);
    dango_mofka_cursors_set(cursors, "gone", 5, NULL);
    dango_mofka_cursors_set(cursors, "viewer", 2, NULL);
    dango_mofka_cursors_remove(cursors, "gone", NULL);
    assert_int_equal(dango_mofka_cursors_sync(cursors, NULL), 0);
    dango_mofka_cursors_close(cursors);
    close(directory);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct dango_error err;
    strcpy(f->base, "/tmp/dango-inspect-XXXXXX");
    assert_non_null(mkdtemp(f->base));
    snprintf(f->directory, sizeof f->directory, "%s/" NAME, f->base);
    struct mofka_log_settings settings = {.directory = f->directory,
                                          .topic = "topic",
                                          .max_chunk_size = CHUNK_SIZE,
                                          .max_events_per_chunk = 1000000,
                                          .mappings = 2,
                                          .io = &mofka_log_system_io};
    memcpy(settings.uuid, model_uuid, sizeof model_uuid);
    if (dango_mofka_log_create(&settings, &f->log, &err) < 0)
        fail_msg("%s", err.text);
    append(f, EVENTS / BATCH);
    write_positions(f, EVENTS);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[192];
    dango_mofka_log_close(f->log);
    snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -rf %s", f->base, f->base);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

/* The server ends. */
static void leave(struct fixture *f)
{
    dango_mofka_log_close(f->log);
    f->log = NULL;
}

/* ---- looking ---- */

static int on_frame(void *arg, const struct mofka_inspected_chunk *chunk, const struct mofka_scan_item *item)
{
    struct fixture *f = arg;
    assert_non_null(chunk);
    assert_true(model_holds(item->frame));
    if (f->frames++ == 0)
        f->first_seen = item->first_id;
    f->events += item->frame->count;
    return 0;
}

static int on_finding(void *arg, const struct mofka_finding *finding)
{
    struct fixture *f = arg;
    assert_true(f->count < FINDINGS_MAX);
    assert_true(finding->what[0] && finding->advice[0]);
    snprintf(f->files[f->count], sizeof f->files[0], "%s", finding->file);
    f->findings[f->count] = *finding;
    f->findings[f->count].file = f->files[f->count];
    f->count++;
    return 0;
}

static struct mofka_inspection *inspect(struct fixture *f)
{
    struct mofka_inspection *inspection;
    struct dango_error err;
    if (dango_mofka_inspect_open(f->directory, &inspection, &err) < 0)
        fail_msg("%s", err.text);
    return inspection;
}

static void verify(struct fixture *f)
{
    struct mofka_inspection *inspection = inspect(f);
    struct mofka_inspect_visitor visitor = {on_frame, on_finding, f};
    f->count = 0;
    f->frames = f->events = 0;
    assert_int_equal(dango_mofka_inspect_verify(inspection, &visitor), 0);
    dango_mofka_inspect_close(inspection);
}

/* Exactly one finding, with these properties; `text` is part of what it says. */
static void expect_one(struct fixture *f, enum mofka_severity severity, const char *file, uint64_t events,
                       const char *text)
{
    verify(f);
    for (size_t i = 0; i < f->count; i++)
        print_message("%s: %s; %s\n", f->findings[i].file, f->findings[i].what, f->findings[i].advice);
    assert_int_equal(f->count, 1);
    assert_int_equal(f->findings[0].severity, severity);
    assert_string_equal(f->findings[0].file, file);
    assert_int_equal(f->findings[0].events, events);
    assert_contains(f->findings[0].what, text);
}

/* ---- damage ---- */

static const char *path_of(struct fixture *f, const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", f->directory, name);
    return path;
}

static size_t size_of(struct fixture *f, const char *name)
{
    struct stat info;
    assert_int_equal(stat(path_of(f, name), &info), 0);
    return (size_t)info.st_size;
}

static void flip(struct fixture *f, const char *name, off_t offset)
{
    unsigned char byte;
    int fd = open(path_of(f, name), O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void cut(struct fixture *f, const char *name, size_t size)
{
    assert_int_equal(truncate(path_of(f, name), (off_t)size), 0);
}

static char *last_chunk(struct fixture *f)
{
    static char name[MOFKA_CHUNK_NAME_MAX];
    struct mofka_inspection *inspection = inspect(f);
    snprintf(name, sizeof name, "%s", inspection->chunks[inspection->num_chunks - 1].name);
    dango_mofka_inspect_close(inspection);
    return name;
}

/* ---- tests ---- */

static void a_sound_log_has_no_findings(void **state)
{
    struct fixture *f = *state;
    verify(f); /* open */
    assert_int_equal(f->count, 0);
    assert_int_equal(f->events, EVENTS);
    leave(f);
    verify(f);
    assert_int_equal(f->count, 0);
    assert_int_equal(f->events, EVENTS);
}

static void identity_and_chunks_are_told(void **state)
{
    struct fixture *f = *state;
    struct mofka_inspection *inspection = inspect(f);
    assert_string_equal(inspection->topic, "topic");
    assert_string_equal(inspection->uuid_text, "01020304-0506-0708-090a-0b0c0d0e0f10");
    assert_int_equal(inspection->format, 1);
    assert_int_equal(inspection->holder, getpid());
    assert_true(inspection->num_chunks > 10);
    assert_int_equal(inspection->chunks[0].first_id, 0);
    dango_mofka_inspect_close(inspection);
    leave(f);
    inspection = inspect(f);
    assert_int_equal(inspection->holder, 0);
    dango_mofka_inspect_close(inspection);
}

static void a_walk_begins_where_it_is_told(void **state)
{
    struct fixture *f = *state;
    struct mofka_inspection *inspection = inspect(f);
    struct mofka_inspect_visitor visitor = {on_frame, on_finding, f};
    for (uint64_t id = 0; id < EVENTS; id += 977) {
        f->frames = 0;
        assert_int_equal(dango_mofka_inspect_walk(inspection, id, MOFKA_INSPECT_CONTENTS, &visitor), 0);
        assert_int_equal(f->first_seen, FRAME_OF(id) * BATCH);
        assert_int_equal(f->frames, EVENTS / BATCH - FRAME_OF(id));
        assert_int_equal(inspection->next_id, EVENTS);
    }
    assert_int_equal(f->count, 0);
    dango_mofka_inspect_close(inspection);
}

static void positions_are_those_that_hold(void **state)
{
    struct fixture *f = *state;
    struct mofka_inspection *inspection = inspect(f);
    struct mofka_inspected_cursor *cursors;
    size_t count, whole, torn;
    assert_int_equal(dango_mofka_inspect_cursors(inspection, &cursors, &count, &whole, &torn, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(cursors[0].name, "archive");
    assert_int_equal(cursors[0].next_id, EVENTS);
    assert_string_equal(cursors[1].name, "viewer");
    assert_int_equal(cursors[1].next_id, 2);
    assert_int_equal(whole, size_of(f, "cursors"));
    assert_int_equal(torn, 0);
    dango_mofka_inspect_free_cursors(cursors, count);
    dango_mofka_inspect_close(inspection);
}

static void a_flipped_content_costs_its_batch(void **state)
{
    struct fixture *f = *state;
    leave(f);
    flip(f, "chunk-000001.log", 64 + 96 + 20);
    expect_one(f, MOFKA_DAMAGE, "chunk-000001.log", BATCH, "content of the frame does not match");
    assert_int_equal(f->findings[0].offset, 64);
    assert_int_equal(f->events, EVENTS - BATCH);
}

static void a_flipped_header_costs_its_batch(void **state)
{
    struct fixture *f = *state;
    leave(f);
    flip(f, "chunk-000002.log", 64 + 60);
    expect_one(f, MOFKA_DAMAGE, "chunk-000002.log", BATCH, "damaged frame header");
}

static void a_short_sealed_chunk_costs_its_end(void **state)
{
    struct fixture *f = *state;
    leave(f);
    cut(f, "chunk-000001.log", size_of(f, "chunk-000001.log") - 10);
    verify(f);
    assert_int_equal(f->count, 2); /* and its index is not that of a file of this size */
    assert_string_equal(f->findings[0].file, "chunk-000001.idx");
    assert_string_equal(f->findings[1].file, "chunk-000001.log");
    assert_int_equal(f->findings[1].events, BATCH);
    assert_int_equal(f->events, EVENTS - BATCH);
}

static void a_missing_chunk_is_named(void **state)
{
    struct fixture *f = *state;
    struct mofka_inspection *inspection = inspect(f);
    uint64_t events = inspection->chunks[4].first_id - inspection->chunks[3].first_id;
    dango_mofka_inspect_close(inspection);
    leave(f);
    assert_int_equal(unlink(path_of(f, "chunk-000003.log")), 0);
    expect_one(f, MOFKA_DAMAGE, "chunk-000003.log", events, "missing");
    assert_int_equal(f->events, EVENTS - events);
}

static void a_log_may_begin_later(void **state)
{
    struct fixture *f = *state;
    leave(f);
    assert_int_equal(unlink(path_of(f, "chunk-000000.log")), 0);
    assert_int_equal(unlink(path_of(f, "chunk-000000.idx")), 0);
    verify(f);
    assert_int_equal(f->count, 0);
}

static void a_damaged_chunk_header_is_named(void **state)
{
    struct fixture *f = *state;
    leave(f);
    flip(f, "chunk-000003.log", 40);
    verify(f);
    assert_int_equal(f->count, 1);
    assert_contains(f->findings[0].what, "damaged header");
    assert_true(f->findings[0].events > 0);
    assert_int_equal(f->events + f->findings[0].events, EVENTS);
}

static void an_unfinished_end_is_no_damage(void **state)
{
    struct fixture *f = *state;
    leave(f);
    const char *name = last_chunk(f);
    cut(f, name, size_of(f, name) - 1);
    write_positions(f, EVENTS - BATCH);
    expect_one(f, MOFKA_NOTE, name, BATCH, "never written to its end");
    /* Room that was reserved and never written. */
    size_t end = (size_t)f->findings[0].offset;
    cut(f, name, end);
    cut(f, name, end + 50000);
    verify(f);
    assert_int_equal(f->count, 0);
    assert_int_equal(f->events, EVENTS - BATCH);
}

static void a_flipped_end_is_damage(void **state)
{
    struct fixture *f = *state;
    leave(f);
    const char *name = last_chunk(f);
    write_positions(f, EVENTS - BATCH);
    flip(f, name, (off_t)size_of(f, name) - 200);
    expect_one(f, MOFKA_DAMAGE, name, BATCH, "does not match its checksum");
}

/* The server makes chunks under another name; this is none that it left behind. */
static void a_chunk_without_a_header_is_damage(void **state)
{
    struct fixture *f = *state;
    leave(f);
    cut(f, last_chunk(f), 30);
    verify(f);
    assert_true(f->count >= 1);
    assert_int_equal(f->findings[0].severity, MOFKA_DAMAGE);
    assert_contains(f->findings[0].what, "shorter than its header");
}

static void indexes_are_compared(void **state)
{
    struct fixture *f = *state;
    leave(f);
    assert_int_equal(unlink(path_of(f, "chunk-000001.idx")), 0);
    expect_one(f, MOFKA_NOTE, "chunk-000001.idx", 0, "missing");
    flip(f, "chunk-000002.idx", 70);
    verify(f);
    assert_int_equal(f->count, 2);
    assert_int_equal(f->findings[1].severity, MOFKA_DAMAGE);
    assert_string_equal(f->findings[1].file, "chunk-000002.idx");
    /* Nothing was made again by looking. */
    assert_int_not_equal(access(path_of(f, "chunk-000001.idx"), F_OK), 0);
}

/* An index with correct checksums that says something else than the chunk. */
static void a_lying_index_is_found(void **state)
{
    struct fixture *f = *state;
    leave(f);
    size_t size;
    char *bytes = dango_file_read(path_of(f, "chunk-000001.idx"), 1 << 20, &size, NULL);
    struct mofka_chunk_index_header *header = (struct mofka_chunk_index_header *)(void *)bytes;
    struct mofka_index_point *points = (struct mofka_index_point *)(void *)(header + 1);
    assert_true(header->entries >= 1);
    points[0].offset += 8;
    header->entries_crc = dango_crc32c(0, points, header->entries * sizeof *points);
    header->crc = dango_crc32c(0, header, offsetof(struct mofka_chunk_index_header, crc));
    assert_int_equal(dango_file_write(path_of(f, "chunk-000001.idx"), bytes, size, NULL), 0);
    free(bytes);
    expect_one(f, MOFKA_DAMAGE, "chunk-000001.idx", 0, "where it is not");
    /* It leads no walk astray. */
    struct mofka_inspection *inspection = inspect(f);
    struct mofka_inspect_visitor visitor = {on_frame, on_finding, f};
    f->count = f->frames = 0;
    dango_mofka_inspect_walk(inspection, inspection->chunks[1].first_id + 1, MOFKA_INSPECT_CONTENTS, &visitor);
    assert_int_equal(f->count, 0);
    assert_int_equal(f->first_seen, inspection->chunks[1].first_id);
    dango_mofka_inspect_close(inspection);
}

static void positions_are_checked(void **state)
{
    struct fixture *f = *state;
    write_positions(f, EVENTS + 7);
    verify(f); /* a server that runs may be ahead of us */
    assert_int_equal(f->count, 0);
    leave(f);
    expect_one(f, MOFKA_DAMAGE, "cursors", 7, "\"archive\" has acknowledged events that the log does not have");
    write_positions(f, 3);
    flip(f, "cursors", 70);
    expect_one(f, MOFKA_DAMAGE, "cursors", 0, "bytes between positions are damaged");
    flip(f, "cursors", 70);
    cut(f, "cursors", size_of(f, "cursors") - 3);
    expect_one(f, MOFKA_NOTE, "cursors", 0, "never written to its end");
    flip(f, "cursors", 20);
    expect_one(f, MOFKA_DAMAGE, "cursors", 0, "damaged, or of another partition");
    unlink(path_of(f, "cursors"));
    verify(f);
    assert_int_equal(f->count, 0);
}

static void the_memory_of_producers_is_checked(void **state)
{
    struct fixture *f = *state;
    leave(f);
    flip(f, "producers", 24);
    expect_one(f, MOFKA_DAMAGE, "producers", 0, "damaged, or not of the last chunk");
    unlink(path_of(f, "producers"));
    verify(f);
    assert_int_equal(f->count, 0);
}

static void a_damaged_identity_hides_no_events(void **state)
{
    struct fixture *f = *state;
    leave(f);
    dango_file_write(path_of(f, "partition.json"), "{", 1, NULL);
    verify(f);
    assert_int_equal(f->count, 1);
    assert_string_equal(f->findings[0].file, "partition.json");
    assert_non_null(strstr(f->findings[0].advice,
                           "{\"format\":1,\"topic\":\"topic\",\"uuid\":\"01020304-0506-0708-090a-0b0c0d0e0f10\"}"));
    assert_int_equal(f->events, EVENTS);
    unlink(path_of(f, "partition.json"));
    verify(f);
    assert_int_equal(f->count, 1);
    assert_int_equal(f->events, EVENTS);
}

static void what_is_newer_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct mofka_inspection *inspection;
    struct dango_error err;
    static const char newer[] = "{\"format\":2,\"topic\":\"topic\",\"uuid\":\"01020304-0506-0708-090a-0b0c0d0e0f10\"}";
    leave(f);
    dango_file_write(path_of(f, "partition.json"), newer, sizeof newer - 1, NULL);
    assert_int_equal(dango_mofka_inspect_open(f->directory, &inspection, &err), DANGO_ERR_UNSUPPORTED);
    assert_contains(err.text, "newer than this program's");
}

static void partitions_are_found(void **state)
{
    struct fixture *f = *state;
    struct dango_error err;
    char **list, path[128];
    size_t count;
    assert_int_equal(dango_mofka_inspect_find(f->base, &list, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(list[0], f->directory);
    dango_mofka_inspect_free_list(list, count);
    assert_int_equal(dango_mofka_inspect_find(f->directory, &list, &count, NULL), 0);
    assert_int_equal(count, 1);
    dango_mofka_inspect_free_list(list, count);
    snprintf(path, sizeof path, "%s/empty", f->base);
    mkdir(path, 0755);
    assert_int_equal(dango_mofka_inspect_find(path, &list, &count, &err), DANGO_ERR_NOT_FOUND);
    assert_contains(err.text, "neither a partition");
    snprintf(path, sizeof path, "%s/missing", f->base);
    assert_int_equal(dango_mofka_inspect_find(path, &list, &count, &err), DANGO_ERR_NOT_FOUND);
    assert_int_not_equal(dango_mofka_inspect_find("", &list, &count, &err), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_sound_log_has_no_findings),
        TEST(identity_and_chunks_are_told),
        TEST(a_walk_begins_where_it_is_told),
        TEST(positions_are_those_that_hold),
        TEST(a_flipped_content_costs_its_batch),
        TEST(a_flipped_header_costs_its_batch),
        TEST(a_short_sealed_chunk_costs_its_end),
        TEST(a_missing_chunk_is_named),
        TEST(a_log_may_begin_later),
        TEST(a_damaged_chunk_header_is_named),
        TEST(an_unfinished_end_is_no_damage),
        TEST(a_flipped_end_is_damage),
        TEST(a_chunk_without_a_header_is_damage),
        TEST(indexes_are_compared),
        TEST(a_lying_index_is_found),
        TEST(positions_are_checked),
        TEST(the_memory_of_producers_is_checked),
        TEST(a_damaged_identity_hides_no_events),
        TEST(what_is_newer_is_left_alone),
        TEST(partitions_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
