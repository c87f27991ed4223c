/*
 * Frames: what sealing writes, checking accepts, and nothing else.
 */
#include "tests/support/test.h"

#include "mofka/partition/frame.h"

static const uint8_t uuid[16] = {1, 2, 3};

static struct mofka_frame sample(void)
{
    struct mofka_frame frame = {
        .first_id = 7,
        .producer = 1,
        .sequence = 2,
        .records_size = 12,
        .data_size = 5,
        .count = 3,
    };
    memcpy(frame.partition, uuid, sizeof uuid);
    dango_mofka_frame_seal(&frame);
    return frame;
}

static void sealed_frames_are_accepted(void **state)
{
    (void)state;
    struct mofka_frame frame = sample();
    assert_int_equal(dango_mofka_frame_check(&frame, sizeof frame, uuid, NULL), 0);
    assert_int_equal(dango_mofka_frame_check(&frame, sizeof frame, NULL, NULL), 0);
    assert_int_equal(mofka_frame_size(&frame), 96 + 24);
    assert_int_equal(mofka_frame_extent(0, 0), 96);
    assert_int_equal(mofka_frame_extent(8, 0), 104);
    assert_int_equal(mofka_frame_extent(MOFKA_CONTENT_MAX, 1), 0);
    assert_int_equal(mofka_frame_extent(1, UINT64_MAX), 0);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    struct mofka_frame frame = sample();
    unsigned char *bytes = (unsigned char *)&frame;
    for (size_t bit = 0; bit < 8 * sizeof frame; bit++) {
        struct dango_error err = {0};
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_true(dango_mofka_frame_check(&frame, sizeof frame, uuid, &err) < 0);
        assert_true(strlen(err.text) > 0);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    assert_int_equal(dango_mofka_frame_check(&frame, sizeof frame, uuid, NULL), 0);
}

static void cut_headers_ask_for_more(void **state)
{
    (void)state;
    struct mofka_frame frame = sample();
    for (size_t size = 0; size < sizeof frame; size++)
        assert_int_equal(dango_mofka_frame_check(&frame, size, uuid, NULL), DANGO_ERR_AGAIN);
}

/* Headers with a correct checksum that no program of ours writes. */
static void sealed_nonsense_is_refused(void **state)
{
    (void)state;
    struct mofka_frame cases[8];
    for (size_t i = 0; i < 8; i++)
        cases[i] = sample();
    cases[0].count = 0;
    cases[1].count = 5; /* 12 bytes cannot hold five records */
    cases[2].first_id = UINT64_MAX - 2;
    cases[3].flags = MOFKA_FRAME_DEAD;
    cases[4].flags = MOFKA_FRAME_END_OF_STREAM;
    cases[5].flags = 0x4000;
    cases[6].partition[0] ^= 1;
    cases[7].flags = MOFKA_FRAME_COMPRESSED;
    for (size_t i = 0; i < 8; i++) {
        dango_mofka_frame_seal(&cases[i]);
        assert_true(dango_mofka_frame_check(&cases[i], sizeof cases[i], uuid, NULL) < 0);
    }
}

static void other_versions_are_named(void **state)
{
    (void)state;
    struct mofka_frame frame = sample();
    struct dango_error err;
    frame.version = 2;
    assert_int_equal(dango_mofka_frame_check(&frame, sizeof frame, uuid, &err), DANGO_ERR_UNSUPPORTED);
    assert_string_equal(err.text, "frame of format version 2; this program reads version 1");
}

static void content_is_compared_with_its_checksum(void **state)
{
    (void)state;
    struct mofka_frame frame = sample();
    unsigned char content[17] = "twelve bytes+five";
    assert_int_equal(dango_mofka_frame_check_content(&frame, content, NULL), 0);
    dango_mofka_frame_sign_content(&frame, content, sizeof content);
    dango_mofka_frame_seal(&frame);
    assert_int_equal(dango_mofka_frame_check(&frame, sizeof frame, uuid, NULL), 0);
    assert_int_equal(dango_mofka_frame_check_content(&frame, content, NULL), 0);
    content[16] ^= 1;
    struct dango_error err;
    assert_int_equal(dango_mofka_frame_check_content(&frame, content, &err), DANGO_ERR_CORRUPT);
    assert_string_equal(err.text, "events 7 to 9 are damaged");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealed_frames_are_accepted), cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(cut_headers_ask_for_more),   cmocka_unit_test(sealed_nonsense_is_refused),
        cmocka_unit_test(other_versions_are_named),   cmocka_unit_test(content_is_compared_with_its_checksum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
