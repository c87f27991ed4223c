/*
 * One thread on a partition: order of commits, failures in the middle, cutting of batches, positions.
 */
#include "tests/mofka/events.h"

#include "mofka/partition/positions.h"

static struct mofka_partition *partition;
static struct mofka_stream stream;
static int grown_calls;

static void count_grown(void *arg)
{
    (void)arg;
    grown_calls++;
}

static int setup(void **state)
{
    (void)state;
    struct mofka_partition_settings settings = {.uuid = {9}, .segment_size = 4096, .grown = count_grown};
    stream = (struct mofka_stream){.producer = 77};
    grown_calls = 0;
    return dango_mofka_partition_create(&settings, &partition, NULL);
}

static int teardown(void **state)
{
    (void)state;
    dango_mofka_partition_destroy(partition);
    return 0;
}

static const struct mofka_limits everything = {.size = UINT64_MAX, .events = UINT32_MAX, .with_data = true};

static void an_empty_partition_has_nothing(void **state)
{
    (void)state;
    struct mofka_reader reader;
    struct mofka_slice slice;
    uint64_t needed;
    assert_int_equal(dango_mofka_partition_next_id(partition), 0);
    assert_int_equal(dango_mofka_reader_seek(&reader, partition, 0, NULL), 0);
    assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, NULL), 0);
    assert_int_equal(dango_mofka_reader_seek(&reader, partition, 1, NULL), DANGO_ERR_RANGE);
    /* A reader that was there before the first event finds it. */
    assert_int_equal(dango_mofka_reader_seek(&reader, partition, 0, NULL), 0);
    test_append(partition, &stream, 2, 3, 5);
    assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, NULL), 1);
    test_expect(&slice, 5, 0, 2);
    assert_int_equal(grown_calls, 1);
}

static void batches_are_completed_in_order_of_reservation(void **state)
{
    (void)state;
    struct test_batch batches[3];
    for (unsigned i = 0; i < 3; i++) {
        test_batch_init(&batches[i], &stream, 1, i, 2, 4, i);
        assert_int_equal(dango_mofka_partition_reserve(partition, &batches[i].reception, NULL), 0);
    }
    test_batch_store(partition, &batches[2]);
    test_batch_store(partition, &batches[1]);
    assert_int_equal(dango_mofka_partition_next_id(partition), 0);
    assert_int_equal(batches[1].done + batches[2].done, 0);
    test_batch_store(partition, &batches[0]);
    assert_int_equal(dango_mofka_partition_next_id(partition), 6);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(batches[i].done, 1);
        assert_int_equal(batches[i].first_id, 2 * i);
        free(batches[i].content);
    }
    assert_int_equal(grown_calls, 1);
}

static void a_failed_batch_takes_no_id_and_fails_what_follows_it(void **state)
{
    (void)state;
    struct mofka_stream other = {.producer = 78};
    struct test_batch bad, late, good;
    test_append(partition, &stream, 1, 0, 1);
    test_batch_init(&bad, &stream, 1, 1, 3, 10, 2);
    test_batch_init(&good, &other, 1, 0, 1, 10, 3);
    test_batch_init(&late, &stream, 1, 2, 1, 10, 4);
    assert_int_equal(dango_mofka_partition_reserve(partition, &bad.reception, NULL), 0);
    assert_int_equal(dango_mofka_partition_reserve(partition, &good.reception, NULL), 0);
    assert_int_equal(dango_mofka_partition_reserve(partition, &late.reception, NULL), 0);
    test_batch_store(partition, &late);
    test_batch_store(partition, &good);
    dango_mofka_partition_commit(partition, &bad.reception, DANGO_ERR_DISCONNECTED);
    assert_int_equal(bad.code, DANGO_ERR_DISCONNECTED);
    assert_int_equal(late.code, DANGO_ERR_CANCELED);
    assert_int_equal(good.code, 0);
    assert_int_equal(good.first_id, 1);
    free(bad.content);
    free(late.content);
    free(good.content);

    /* The same attempt stays refused; a new one goes on with any number. */
    struct dango_error err;
    test_batch_init(&late, &stream, 1, 3, 1, 10, 4);
    assert_int_equal(dango_mofka_partition_reserve(partition, &late.reception, &err), DANGO_ERR_CANCELED);
    late.reception.attempt = 2;
    late.reception.sequence = 9;
    assert_int_equal(dango_mofka_partition_reserve(partition, &late.reception, NULL), 0);
    test_batch_store(partition, &late);
    assert_int_equal(late.first_id, 2);
    free(late.content);

    /* Readers step over the hole. */
    struct mofka_reader reader;
    struct mofka_slice slice;
    uint64_t needed;
    assert_int_equal(dango_mofka_reader_seek(&reader, partition, 0, NULL), 0);
    for (unsigned tag = 1; tag <= 4; tag++) {
        if (tag == 2)
            continue;
        assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, NULL), 1);
        test_expect(&slice, tag, 0, 1);
        assert_int_equal(dango_mofka_frame_check(slice.frame, sizeof *slice.frame, NULL, NULL), 0);
    }
    assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, NULL), 0);
}

static void space_of_a_failed_last_batch_is_used_again(void **state)
{
    (void)state;
    test_append(partition, &stream, 1, 0, 1);
    uint64_t size = dango_mofka_partition_size(partition);
    struct test_batch bad;
    test_batch_init(&bad, &stream, 1, 1, 1, 100, 2);
    assert_int_equal(dango_mofka_partition_reserve(partition, &bad.reception, NULL), 0);
    dango_mofka_partition_commit(partition, &bad.reception, DANGO_ERR_CORRUPT);
    free(bad.content);
    assert_int_equal(bad.code, DANGO_ERR_CORRUPT);
    assert_int_equal(dango_mofka_partition_size(partition), size);
}

static void batches_out_of_sequence_are_refused(void **state)
{
    (void)state;
    struct dango_error err;
    struct test_batch batch;
    test_append(partition, &stream, 1, 0, 1);
    test_batch_init(&batch, &stream, 1, 2, 1, 0, 2);
    assert_int_equal(dango_mofka_partition_reserve(partition, &batch.reception, &err), DANGO_ERR_PROTOCOL);
    assert_string_equal(err.text, "batch 2 of a producer arrived instead of 1");
    batch.reception.sequence = 1; /* too late: order was broken */
    assert_int_equal(dango_mofka_partition_reserve(partition, &batch.reception, &err), DANGO_ERR_CANCELED);
    batch.reception.attempt = 2;
    batch.reception.data_size = MOFKA_CONTENT_MAX;
    assert_int_equal(dango_mofka_partition_reserve(partition, &batch.reception, &err), DANGO_ERR_INVALID);
    assert_int_equal(batch.done, 0);
    free(batch.content);
}

/* Many batches over many segments; every id is found again, in every order of asking. */
static void events_are_found_by_id(void **state)
{
    (void)state;
    uint64_t first[2000], end = 0;
    for (unsigned i = 0; i < 2000; i++) {
        first[i] = end;
        test_append(partition, &stream, 1 + i % 7, i % 50, i);
        end += 1 + i % 7;
    }
    assert_int_equal(dango_mofka_partition_next_id(partition), end);
    struct mofka_reader reader;
    struct mofka_place place;
    assert_int_equal(dango_mofka_reader_seek(&reader, partition, 0, NULL), 0);
    for (unsigned step = 0; step < 4000; step++) {
        unsigned i = step < 2000 ? step : (step * 7919) % 2000;
        for (unsigned number = 0; number < 1 + i % 7; number++) {
            assert_int_equal(dango_mofka_reader_locate(&reader, first[i] + number, &place, NULL), 0);
            assert_int_equal(place.data_size, i % 50);
            if (place.data_size > 0)
                assert_int_equal(place.region->base[place.data_offset], (unsigned char)(i + number));
        }
    }
    assert_int_equal(dango_mofka_reader_locate(&reader, end, &place, NULL), DANGO_ERR_RANGE);
    assert_int_equal(dango_mofka_reader_seek(&reader, partition, end, NULL), 0);
}

static void limits_cut_batches_between_events(void **state)
{
    (void)state;
    test_append(partition, &stream, 10, 100, 1);
    test_append(partition, &stream, 10, 100, 2);
    struct mofka_limits limits = {.size = UINT64_MAX, .events = 4, .with_data = true};
    struct mofka_reader reader;
    struct mofka_slice slice;
    struct mofka_frame header;
    uint64_t needed;
    assert_int_equal(dango_mofka_reader_seek(&reader, partition, 3, NULL), 0);
    static const struct {
        unsigned tag;
        uint32_t number, count;
    } expected[] = {{1, 3, 4}, {1, 7, 3}, {2, 0, 4}, {2, 4, 4}, {2, 8, 2}};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(dango_mofka_reader_next(&reader, &limits, &slice, &needed, NULL), 1);
        test_expect(&slice, expected[i].tag, expected[i].number, expected[i].count);
        dango_mofka_slice_header(&slice, &header);
        assert_int_equal(dango_mofka_frame_check(&header, sizeof header, NULL, NULL), 0);
        assert_int_equal(mofka_frame_size(&header), slice.size);
        assert_int_equal(header.first_id, slice.first_id);
        assert_true(header.flags & MOFKA_FRAME_PART);
    }
    assert_int_equal(dango_mofka_reader_next(&reader, &limits, &slice, &needed, NULL), 0);
    assert_int_equal(needed, 0);

    /* By bytes: room for two events with data, for all without, for none. */
    limits = (struct mofka_limits){.size = 96 + 8 + 240, .events = 100, .with_data = true};
    assert_int_equal(dango_mofka_reader_seek(&reader, partition, 0, NULL), 0);
    assert_int_equal(dango_mofka_reader_next(&reader, &limits, &slice, &needed, NULL), 1);
    test_expect(&slice, 1, 0, 2);
    limits.with_data = false;
    assert_int_equal(dango_mofka_reader_next(&reader, &limits, &slice, &needed, NULL), 1);
    test_expect(&slice, 1, 2, 8);
    limits = (struct mofka_limits){.size = 150, .events = 100, .with_data = true};
    assert_int_equal(dango_mofka_reader_next(&reader, &limits, &slice, &needed, NULL), 0);
    assert_int_equal(needed, 96 + 112);
    limits.size = needed;
    assert_int_equal(dango_mofka_reader_next(&reader, &limits, &slice, &needed, NULL), 1);
    test_expect(&slice, 2, 0, 1);
}

/* The segment is full and closed, but the first batch of the next one is still on its way. */
static void a_reader_waits_across_the_border_of_segments(void **state)
{
    (void)state;
    struct mofka_reader reader;
    struct mofka_slice slice;
    struct test_batch batch;
    uint64_t needed;
    test_append(partition, &stream, 1, 3000, 1);
    assert_int_equal(dango_mofka_reader_seek(&reader, partition, 0, NULL), 0);
    assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, NULL), 1);
    test_batch_init(&batch, &stream, 1, 1, 1, 3000, 2);
    assert_int_equal(dango_mofka_partition_reserve(partition, &batch.reception, NULL), 0);
    assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, NULL), 0);
    test_batch_store(partition, &batch);
    free(batch.content);
    assert_int_equal(dango_mofka_reader_next(&reader, &everything, &slice, &needed, NULL), 1);
    test_expect(&slice, 2, 0, 1);
}

static int registered;

static int attach(void *arg, void *base, size_t size, void **registration, struct dango_error *err)
{
    int *allowed = arg;
    if (registered == *allowed)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "no more");
    assert_non_null(base);
    assert_true(size >= 4096);
    registered++;
    *registration = arg;
    return 0;
}

static void detach(void *arg, void *registration)
{
    assert_ptr_equal(arg, registration);
    registered--;
}

static void segments_are_registered_and_failure_to_is_reported(void **state)
{
    (void)state;
    int allowed = 2;
    struct mofka_registrar registrar = {attach, detach, &allowed};
    struct mofka_partition_settings settings = {.segment_size = 4096, .registrar = &registrar};
    struct mofka_partition *other;
    assert_int_equal(dango_mofka_partition_create(&settings, &other, NULL), 0);
    test_append(other, &stream, 1, 3000, 1);
    test_append(other, &stream, 1, 3000, 1);
    test_append(other, &stream, 1, 3000, 1);
    struct test_batch batch;
    struct dango_error err;
    test_batch_init(&batch, &stream, 1, 3, 1, 100000, 0);
    assert_int_equal(dango_mofka_partition_reserve(other, &batch.reception, &err), DANGO_ERR_NO_MEMORY);
    free(batch.content);
    assert_int_equal(registered, 2);
    dango_mofka_partition_destroy(other);
    assert_int_equal(registered, 0);
}

static void saved(struct mofka_saving *saving, const struct dango_error *err)
{
    (void)saving;
    assert_null(err);
}

static int advance(struct mofka_positions *positions, const char *name, uint64_t next_id, struct dango_error *err)
{
    struct mofka_saving saving = {.done = saved};
    return dango_mofka_positions_save(positions, name, next_id, &saving, err);
}

static void positions_only_move_forward(void **state)
{
    (void)state;
    struct mofka_positions *positions;
    assert_int_equal(dango_mofka_positions_create(&positions, NULL), 0);
    assert_int_equal(dango_mofka_positions_get(positions, "viewer"), 0);
    assert_int_equal(advance(positions, "viewer", 10, NULL), 0);
    assert_int_equal(advance(positions, "viewer", 4, NULL), 0);
    assert_int_equal(advance(positions, "", 2, NULL), 0);
    assert_int_equal(dango_mofka_positions_get(positions, "viewer"), 10);
    assert_int_equal(dango_mofka_positions_get(positions, ""), 2);
    assert_int_equal(dango_mofka_positions_get(positions, "view"), 0);
    dango_mofka_positions_destroy(positions);
}

static void positions_are_limited(void **state)
{
    (void)state;
    struct mofka_positions *positions;
    struct dango_error err;
    char name[16];
    assert_int_equal(dango_mofka_positions_create(&positions, NULL), 0);
    for (unsigned i = 0; i < MOFKA_POSITIONS_MAX; i++) {
        snprintf(name, sizeof name, "c%u", i);
        assert_int_equal(advance(positions, name, i, NULL), 0);
    }
    assert_int_equal(advance(positions, "one more", 1, &err), DANGO_ERR_NO_MEMORY);
    assert_int_equal(advance(positions, "c7", 100, NULL), 0);
    assert_int_equal(dango_mofka_positions_get(positions, "c7"), 100);
    dango_mofka_positions_destroy(positions);
}

#define WITH_PARTITION(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PARTITION(an_empty_partition_has_nothing),
        WITH_PARTITION(batches_are_completed_in_order_of_reservation),
        WITH_PARTITION(a_failed_batch_takes_no_id_and_fails_what_follows_it),
        WITH_PARTITION(space_of_a_failed_last_batch_is_used_again),
        WITH_PARTITION(batches_out_of_sequence_are_refused),
        WITH_PARTITION(events_are_found_by_id),
        WITH_PARTITION(limits_cut_batches_between_events),
        WITH_PARTITION(a_reader_waits_across_the_border_of_segments),
        WITH_PARTITION(segments_are_registered_and_failure_to_is_reported),
        cmocka_unit_test(positions_only_move_forward),
        cmocka_unit_test(positions_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
