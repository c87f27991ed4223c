/*
 * What a client makes of the frames in an answer: good ones become runs, everything else is refused; also at random.
 */
#include "tests/support/test.h"

#include "diaspora/record.h"
#include "mofka/client/frames.h"
#include "mofka/partition/frame.h"
#include "tests/mofka/random.h"

static const uint8_t uuid[16] = {7};
static unsigned char buffer[8192];
static struct diaspora_run runs[8];
static struct diaspora_fetch fetch;
static struct mofka_doubt doubt;

static int setup(void **state)
{
    (void)state;
    memset(buffer, 0, sizeof buffer);
    doubt.is_set = false;
    fetch = (struct diaspora_fetch){
        .buffer = {.base = buffer, .size = sizeof buffer}, .max_events = 100, .runs = runs, .runs_capacity = 8};
    return 0;
}

/* Appends a frame of `count` events with 3 bytes of data each; returns the offset behind it. */
static size_t put_frame(size_t offset, uint64_t first_id, uint32_t count, int flags, bool with_data)
{
    unsigned char records[1024];
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += diaspora_record_put(records + size, "meta", 4, 3);
    struct mofka_frame frame = {
        .flags = (uint16_t)flags, .first_id = first_id, .count = count, .records_size = size, .data_size = 3u * count};
    memcpy(frame.partition, uuid, sizeof uuid);
    dango_mofka_frame_seal(&frame);
    memcpy(buffer + offset, &frame, sizeof frame);
    memcpy(buffer + offset + sizeof frame, records, size);
    size_t content = size + (with_data ? 3u * count : 0);
    return offset + sizeof frame + (flags & MOFKA_FRAME_PART ? content : (size_t)mofka_frame_align(content));
}

static void frames_become_runs(void **state)
{
    (void)state;
    uint64_t next_id = 5;
    size_t end = put_frame(0, 5, 2, MOFKA_FRAME_PART, true);
    end = put_frame(end, 7, 3, 0, true);
    assert_int_equal(dango_mofka_frames_to_runs(&fetch, end, true, uuid, &next_id, &doubt, NULL), 0);
    assert_int_equal(fetch.run_count, 2);
    assert_int_equal(next_id, 10);
    assert_int_equal(runs[0].records_offset, 96);
    assert_int_equal(runs[0].data_offset, 96 + runs[0].records_size);
    assert_int_equal(runs[1].first_id, 7);
    assert_int_equal(runs[1].data_size, 9);
    assert_true(runs[1].with_data);

    next_id = 0;
    end = put_frame(0, 0, 2, 0, false);
    end = put_frame(end, 2, 1, 0, false);
    assert_int_equal(dango_mofka_frames_to_runs(&fetch, end, false, uuid, &next_id, &doubt, NULL), 0);
    assert_int_equal(fetch.run_count, 2);
    assert_false(runs[0].with_data);
    assert_int_equal(runs[0].data_size, 6);
    assert_int_equal(dango_mofka_frames_to_runs(&fetch, 0, false, uuid, &next_id, &doubt, NULL), 0);
    assert_int_equal(fetch.run_count, 0);
}

static void what_was_not_asked_for_is_refused(void **state)
{
    (void)state;
    struct dango_error err;
    uint64_t next_id = 1;
    size_t end = put_frame(0, 0, 2, 0, true);
    assert_int_equal(dango_mofka_frames_to_runs(&fetch, end, true, uuid, &next_id, &doubt, &err), DANGO_ERR_PROTOCOL);
    assert_string_equal(err.text, "the server sent event 0 instead of 1");
    size_t later = put_frame(0, 2, 2, 0, true);
    assert_int_equal(dango_mofka_frames_to_runs(&fetch, later, true, uuid, &next_id, &doubt, &err), DANGO_ERR_PROTOCOL);
    assert_string_equal(err.text, "the server sent event 2 instead of 1");
    put_frame(0, 0, 2, 0, true);
    next_id = 0;
    fetch.max_events = 1;
    assert_int_equal(dango_mofka_frames_to_runs(&fetch, end, true, uuid, &next_id, &doubt, &err), DANGO_ERR_PROTOCOL);
    fetch.max_events = 100;
    fetch.runs_capacity = 0;
    assert_int_equal(dango_mofka_frames_to_runs(&fetch, end, true, uuid, &next_id, &doubt, &err), DANGO_ERR_PROTOCOL);
    fetch.runs_capacity = 8;
    assert_true(dango_mofka_frames_to_runs(&fetch, end - 8, true, uuid, &next_id, &doubt, &err) < 0);
    assert_int_equal(dango_mofka_frames_to_runs(&fetch, end, true, (const uint8_t[16]){8}, &next_id, &doubt, &err), 1);
    assert_true(dango_mofka_frames_to_runs(&fetch, end, true, (const uint8_t[16]){8}, &next_id, &doubt, &err) < 0);
    assert_int_equal(next_id, 0);
}

/* Signs the content of the frame at `offset`, which is there with its data. */
static void sign(size_t offset)
{
    struct mofka_frame frame;
    memcpy(&frame, buffer + offset, sizeof frame);
    dango_mofka_frame_sign_content(&frame, buffer + offset + sizeof frame, frame.records_size + frame.data_size);
    dango_mofka_frame_seal(&frame);
    memcpy(buffer + offset, &frame, sizeof frame);
}

/* Three signed frames; *second and *third are where the others begin. */
static size_t put_three(size_t *second, size_t *third)
{
    *second = put_frame(0, 0, 2, 0, true);
    *third = put_frame(*second, 2, 3, 0, true);
    size_t end = put_frame(*third, 5, 1, 0, true);
    sign(0);
    sign(*second);
    sign(*third);
    return end;
}

static void a_frame_that_came_damaged_is_fetched_again(void **state)
{
    (void)state;
    struct dango_error err;
    uint64_t next_id = 0;
    size_t second, third, end = put_three(&second, &third);
    for (size_t place = 0; place < 2; place++) { /* in the header, in the content */
        size_t wrong = second + (place == 0 ? 20 : sizeof(struct mofka_frame));
        doubt.is_set = false;
        next_id = 0;
        buffer[wrong] ^= 1;
        assert_int_equal(dango_mofka_frames_to_runs(&fetch, end, true, uuid, &next_id, &doubt, &err), 1);
        assert_int_equal(err.code, DANGO_ERR_CORRUPT);
        assert_int_equal(fetch.run_count, 1); /* what came before is good */
        assert_int_equal(next_id, 2);
        buffer[wrong] ^= 1;
        memmove(buffer, buffer + second, end - second); /* the new answer begins there */
        assert_int_equal(dango_mofka_frames_to_runs(&fetch, end - second, true, uuid, &next_id, &doubt, NULL), 0);
        assert_int_equal(fetch.run_count, 2);
        assert_int_equal(next_id, 6);
        put_three(&second, &third);
    }
    /* The next one is another frame. */
    buffer[third + sizeof(struct mofka_frame)] ^= 1;
    next_id = 0;
    assert_int_equal(dango_mofka_frames_to_runs(&fetch, end, true, uuid, &next_id, &doubt, NULL), 1);
    assert_int_equal(next_id, 5);
}

static void a_frame_that_comes_damaged_twice_is_a_run_that_says_so(void **state)
{
    (void)state;
    uint64_t next_id = 0;
    size_t second, third, end = put_three(&second, &third);
    doubt = (struct mofka_doubt){true, 2};
    buffer[second + sizeof(struct mofka_frame)] ^= 1;
    assert_int_equal(dango_mofka_frames_to_runs(&fetch, end, true, uuid, &next_id, &doubt, NULL), 0);
    assert_int_equal(fetch.run_count, 3);
    assert_int_equal(next_id, 6);
    assert_false(runs[0].damaged);
    assert_true(runs[1].damaged);
    assert_int_equal(runs[1].first_id, 2);
    assert_int_equal(runs[1].count, 3);
    assert_int_equal(runs[1].records_size, 0);
    assert_false(runs[2].damaged);
    assert_int_equal(runs[2].first_id, 5);
}

static void damage_is_never_followed(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int round = 0; round < 100000; round++) {
        uint64_t next_id = 0;
        size_t end = put_frame(0, 0, 1 + (uint32_t)random_below(&seed, 9), 0, true);
        end = put_frame(end, 3, 2, MOFKA_FRAME_PART, true);
        for (size_t damage = random_below(&seed, 4); damage > 0; damage--)
            buffer[random_below(&seed, end)] ^= (unsigned char)(1u << random_below(&seed, 8));
        size_t size = random_below(&seed, 3) ? end : random_below(&seed, end + 1);
        doubt.is_set = random_below(&seed, 2);
        doubt.id = 0;
        if (dango_mofka_frames_to_runs(&fetch, size, random_below(&seed, 2), uuid, &next_id, &doubt, NULL) < 0)
            continue;
        for (size_t i = 0; i < fetch.run_count; i++) {
            assert_true(runs[i].records_offset + runs[i].records_size <= size);
            if (runs[i].with_data)
                assert_true(runs[i].data_offset + runs[i].data_size <= size);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(frames_become_runs, setup),
        cmocka_unit_test_setup(what_was_not_asked_for_is_refused, setup),
        cmocka_unit_test_setup(a_frame_that_came_damaged_is_fetched_again, setup),
        cmocka_unit_test_setup(a_frame_that_comes_damaged_twice_is_a_run_that_says_so, setup),
        cmocka_unit_test_setup(damage_is_never_followed, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
