/*
 * Frames from random bytes, and from good frames with random damage: whatever passes the check is safe to step over.
 */
#include "tests/support/test.h"

#include "mofka/partition/frame.h"
#include "tests/mofka/random.h"

#define ROUNDS 300000

static void expect_safe(const unsigned char *bytes, size_t size)
{
    struct mofka_frame frame;
    if (dango_mofka_frame_check(bytes, size, NULL, NULL) != 0)
        return;
    memcpy(&frame, bytes, sizeof frame);
    assert_true(size >= sizeof frame);
    assert_true(mofka_frame_size(&frame) >= sizeof frame);
    assert_true(mofka_frame_size(&frame) <= sizeof frame + MOFKA_CONTENT_MAX);
    assert_true(frame.records_size >= 3u * (uint64_t)frame.count);
}

static void random_bytes_are_no_frames(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char bytes[128];
        size_t size = random_below(&seed, sizeof bytes + 1);
        random_fill(&seed, bytes, size);
        expect_safe(bytes, size);
    }
}

static void sealed_random_fields_are_consistent(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (int round = 0; round < ROUNDS; round++) {
        struct mofka_frame frame;
        random_fill(&seed, (unsigned char *)&frame, sizeof frame);
        frame.records_size >>= random_below(&seed, 64);
        frame.data_size >>= random_below(&seed, 64);
        frame.count >>= random_below(&seed, 32);
        frame.flags &= (uint16_t)random_next(&seed) & 0x17;
        if (mofka_frame_size(&frame) == 0)
            continue;
        dango_mofka_frame_seal(&frame);
        expect_safe((unsigned char *)&frame, sizeof frame);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_bytes_are_no_frames),
        cmocka_unit_test(sealed_random_fields_are_consistent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
