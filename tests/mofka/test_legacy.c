/*
 * A partition on Yokan and Warabi providers of the same process: what is written is read, by those who wait and by those
 * who are told; it survives the partition; providers that fail are reported.
 */
#include "tests/mofka/events.h"
#include "tests/support/protocol.h"

#include "mofka/partition/legacy_store.h"

#include <warabi/client.h>
#include <warabi/server.h>
#include <yokan/collection.h>
#include <yokan/database.h>
#include <yokan/server.h>

enum { METADATA_ID = 3, DATA_ID = 4 };

struct fixture {
    margo_instance_id mid;
    char address[128];
    yk_provider_t metadata;
    warabi_provider_t data;
    struct mofka_partition *partition;
    struct mofka_stream stream;
    int grown;              /* atomic */
    ABT_thread threads[64]; /* what `run` started */
    int thread_count;       /* atomic */
};

static const struct mofka_limits everything = {.size = UINT64_MAX, .events = UINT32_MAX, .with_data = true};

static int run(void *arg, void (*body)(void *argument), void *argument)
{
    struct fixture *f = arg;
    ABT_pool pool;
    margo_get_handler_pool(f->mid, &pool);
    int i = __atomic_fetch_add(&f->thread_count, 1, __ATOMIC_ACQ_REL);
    assert_true(i < 64);
    return ABT_thread_create(pool, body, argument, ABT_THREAD_ATTR_NULL, &f->threads[i]) == ABT_SUCCESS ? 0 : -1;
}

/* Waits for everything that was started, and for what that started. */
static void settle(struct fixture *f)
{
    while (__atomic_load_n(&f->thread_count, __ATOMIC_ACQUIRE) > 0) {
        int last = __atomic_sub_fetch(&f->thread_count, 1, __ATOMIC_ACQ_REL);
        ABT_thread_free(&f->threads[last]);
    }
}

static void count_grown(void *arg)
{
    __atomic_add_fetch(&((struct fixture *)arg)->grown, 1, __ATOMIC_RELEASE);
}

static int try_open(struct fixture *f, uint16_t metadata, uint16_t data, struct dango_error *err)
{
    struct mofka_partition_settings settings = {.uuid = {9}, .grown = count_grown, .arg = f};
    struct mofka_legacy_settings legacy = {
        .mid = f->mid, .topic = "t", .uuid = {9}, .metadata = {f->address, metadata}, .data = {f->address, data}};
    return dango_mofka_partition_open_legacy(&settings, &legacy, run, f, &f->partition, err);
}

static void open_partition(struct fixture *f)
{
    struct dango_error err;
    if (try_open(f, METADATA_ID, DATA_ID, &err) != 0)
        fail_msg("%s", err.text);
    f->stream = (struct mofka_stream){.producer = 77};
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    hg_addr_t self;
    hg_size_t size = sizeof f->address;
    f->mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 0, 1);
    assert_non_null(f->mid);
    margo_addr_self(f->mid, &self);
    margo_addr_to_string(f->mid, f->address, &size, self);
    margo_addr_free(f->mid, self);
    assert_int_equal(yk_provider_register(f->mid, METADATA_ID, "{\"database\":{\"type\":\"map\"}}", NULL, &f->metadata),
                     YOKAN_SUCCESS);
    assert_null(warabi_provider_register(&f->data, f->mid, DATA_ID, "{\"target\":{\"type\":\"memory\"}}", NULL));
    open_partition(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    settle(f);
    dango_mofka_partition_destroy(f->partition);
    margo_finalize_and_wait(f->mid);
    free(f);
    return 0;
}

/* Stores a batch; the text of what went wrong, or "". */
static const char *append(struct fixture *f, uint32_t count, size_t data_size, unsigned tag)
{
    static struct test_batch batch;
    test_batch_init(&batch, &f->stream, f->stream.failed_attempt + 1, f->stream.next_sequence, count, data_size, tag);
    assert_int_equal(dango_mofka_partition_reserve(f->partition, &batch.reception, NULL), 0);
    test_batch_store(f->partition, &batch);
    settle(f);
    assert_int_equal(batch.done, 1);
    free(batch.content);
    assert_int_equal(batch.code == 0, !*batch.text);
    return batch.text;
}

/* What is next for a reader that must not wait, after it was told that there is something. */
static void next_slice(struct fixture *f, struct mofka_reader *reader, struct mofka_slice *slice)
{
    uint64_t needed;
    struct dango_error err = {0};
    int found = dango_mofka_reader_next(reader, &everything, slice, &needed, &err);
    if (found == 0) {
        settle(f);
        assert_true(__atomic_load_n(&f->grown, __ATOMIC_ACQUIRE) > 0);
        found = dango_mofka_reader_next(reader, &everything, slice, &needed, &err);
    }
    if (found != 1)
        fail_msg("%d: %s", found, err.text);
}

static void expect_all(struct fixture *f, const unsigned *tags, size_t batches, uint32_t count)
{
    struct mofka_reader reader;
    assert_int_equal(dango_mofka_reader_seek(&reader, f->partition, 0, NULL), 0);
    for (uint64_t id = 0; id < batches * count;) {
        struct mofka_slice slice;
        next_slice(f, &reader, &slice);
        assert_int_equal(slice.first_id, id);
        if (slice.count <= count - id % count)
            test_expect(&slice, tags[id / count], (uint32_t)(id % count), slice.count);
        id += slice.count;
    }
    struct mofka_slice slice;
    uint64_t needed;
    assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, NULL), 0);
    dango_mofka_reader_fini(&reader);
}

static void events_are_read_as_written(void **state)
{
    struct fixture *f = *state;
    const unsigned tags[] = {3};
    assert_string_equal(append(f, 100, 1000, 3), "");
    assert_int_equal(dango_mofka_partition_next_id(f->partition), 100);
    expect_all(f, tags, 1, 100);
}

static void batches_without_data_and_with_large_ones(void **state)
{
    struct fixture *f = *state;
    const unsigned tags[] = {1, 2, 3};
    assert_string_equal(append(f, 2, 0, 1), "");
    assert_string_equal(append(f, 2, 5 << 20, 2), "");
    assert_string_equal(append(f, 2, 10, 3), "");
    expect_all(f, tags, 3, 2);
}

static void events_survive_the_partition(void **state)
{
    struct fixture *f = *state;
    const unsigned tags[] = {5, 6};
    append(f, 40, 7, 5);
    dango_mofka_partition_destroy(f->partition);
    open_partition(f);
    assert_int_equal(dango_mofka_partition_next_id(f->partition), 40);
    append(f, 40, 7, 6);
    expect_all(f, tags, 2, 40);
}

static void places_are_found_by_those_who_wait(void **state)
{
    struct fixture *f = *state;
    struct mofka_reader reader;
    append(f, 100, 16, 10);
    mofka_reader_init(&reader, f->partition);
    for (uint64_t id = 0; id < 100; id += 7) {
        struct mofka_place place;
        struct dango_error err;
        if (dango_mofka_reader_locate(&reader, id, &place, &err) != 0)
            fail_msg("%s", err.text);
        assert_int_equal(place.data_size, 16);
        assert_int_equal(place.region->base[place.data_offset], (unsigned char)(10 + id));
    }
    struct mofka_place place;
    assert_int_equal(dango_mofka_reader_locate(&reader, 100, &place, NULL), DANGO_ERR_RANGE);
    dango_mofka_reader_fini(&reader);
}

/* More readers at places of their own than frames are kept. */
static void many_readers(void **state)
{
    struct fixture *f = *state;
    enum { READERS = 100 };
    static struct mofka_reader readers[READERS];
    append(f, 1000, 3, 20);
    for (unsigned i = 0; i < READERS; i++) {
        struct mofka_slice slice;
        assert_int_equal(dango_mofka_reader_seek(&readers[i], f->partition, i * 5, NULL), 0);
        next_slice(f, &readers[i], &slice);
        test_expect(&slice, 20, i * 5, slice.count);
    }
    for (unsigned i = 0; i < READERS; i++)
        dango_mofka_reader_fini(&readers[i]);
}

static void a_target_that_fails_fails_the_batch_only(void **state)
{
    struct fixture *f = *state;
    const unsigned tags[] = {2, 4};
    append(f, 3, 8, 2);
    warabi_err_free(warabi_provider_deregister(f->data));
    assert_contains(append(f, 3, 8, 3), "dependency \"data\": cannot store the data of a batch");
    assert_null(warabi_provider_register(&f->data, f->mid, DATA_ID, "{\"target\":{\"type\":\"memory\"}}", NULL));
    assert_string_equal(append(f, 3, 0, 4), "");
    assert_int_equal(dango_mofka_partition_next_id(f->partition), 6);
    /* The data of the first batch went with the target: a reader is told, and not once only. */
    struct mofka_reader reader;
    struct mofka_slice slice;
    struct dango_error err;
    uint64_t needed;
    assert_int_equal(dango_mofka_reader_seek(&reader, f->partition, 0, NULL), 0);
    settle(f);
    assert_true(dango_mofka_reader_next(&reader, &everything, &slice, &needed, &err) < 0);
    assert_contains(err.text, "cannot read the data of events");
    assert_int_equal(dango_mofka_reader_seek(&reader, f->partition, 3, NULL), 0);
    next_slice(f, &reader, &slice);
    test_expect(&slice, tags[1], 0, 3);
    dango_mofka_reader_fini(&reader);
}

static void a_database_that_is_gone_makes_it_read_only(void **state)
{
    struct fixture *f = *state;
    append(f, 3, 8, 2);
    yk_provider_destroy(f->metadata);
    assert_contains(append(f, 3, 8, 3), "dependency \"metadata\": t--09000000-0000-0000-0000-000000000000--");
    assert_int_equal(dango_mofka_partition_next_id(f->partition), 3);
}

static void wrong_providers_are_refused(void **state)
{
    struct fixture *f = *state;
    struct dango_error err;
    struct mofka_partition *good = f->partition;
    assert_true(try_open(f, DATA_ID, DATA_ID, &err) < 0);
    assert_contains(err.text, "dependency \"metadata\"");
    f->partition = good;
}

/* Puts documents into the collection of descriptors. */
static void put_descriptors(struct fixture *f, yk_id_t first, yk_id_t end, const char *document, size_t size)
{
    yk_client_t client;
    yk_database_handle_t database;
    hg_addr_t self;
    margo_addr_self(f->mid, &self);
    assert_int_equal(yk_client_init(f->mid, &client), YOKAN_SUCCESS);
    assert_int_equal(yk_database_handle_create(client, self, METADATA_ID, true, &database), YOKAN_SUCCESS);
    for (yk_id_t id = first; id < end; id++)
        assert_int_equal(yk_doc_update(database, "t--09000000-0000-0000-0000-000000000000--dd", YOKAN_MODE_UPDATE_NEW,
                                       id, document, size),
                         YOKAN_SUCCESS);
    yk_database_handle_release(database);
    yk_client_finalize(client);
    margo_addr_free(f->mid, self);
}

/* Descriptors of a batch whose metadata were not stored any more are not those of the events that get its ids. */
static void interrupted_batches_leave_no_data_to_others(void **state)
{
    struct fixture *f = *state;
    const unsigned tags[] = {1, 2};
    char document[32] = {8}; /* eight bytes of some region */
    assert_string_equal(append(f, 300, 0, 1), "");
    put_descriptors(f, 301, 601, document, sizeof document);
    dango_mofka_partition_destroy(f->partition);
    open_partition(f);
    f->stream.next_sequence = 1;
    assert_string_equal(append(f, 300, 0, 2), "");
    expect_all(f, tags, 2, 300);
}

/* A document that does not say where data are. */
static void a_damaged_descriptor_is_reported(void **state)
{
    struct fixture *f = *state;
    append(f, 3, 8, 2);
    put_descriptors(f, 2, 3, "junk", 4);
    struct mofka_reader reader;
    struct mofka_place place;
    struct dango_error err;
    mofka_reader_init(&reader, f->partition);
    assert_true(dango_mofka_reader_locate(&reader, 0, &place, &err) < 0);
    assert_contains(err.text, "events from 0 on");
    dango_mofka_reader_fini(&reader);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(events_are_read_as_written),
        TEST(batches_without_data_and_with_large_ones),
        TEST(events_survive_the_partition),
        TEST(places_are_found_by_those_who_wait),
        TEST(many_readers),
        TEST(a_target_that_fails_fails_the_batch_only),
        TEST(a_database_that_is_gone_makes_it_read_only),
        TEST(wrong_providers_are_refused),
        TEST(interrupted_batches_leave_no_data_to_others),
        TEST(a_damaged_descriptor_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
