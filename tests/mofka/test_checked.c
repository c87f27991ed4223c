/*
 * What was compared with its checksum a moment ago: how long that holds, and for what.
 */
#include "tests/mofka/log_model.h"

#include "mofka/log/checked.h"

#define MANY 400 /* events: a frame that is worth remembering */

struct fixture {
    struct mofka_checked checked;
    struct mofka_frame *frame;
};

static int setup(void **state)
{
    static struct fixture fixture;
    dango_mofka_checked_init(&fixture.checked);
    fixture.frame = model_frame(5, MANY);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    dango_mofka_checked_fini(&f->checked);
    free(f->frame);
    return 0;
}

static bool is_good(struct fixture *f, uint64_t chunk, uint64_t offset, int64_t now_ns)
{
    return dango_mofka_checked_content(&f->checked, chunk, offset, f->frame, now_ns);
}

/* The last byte of the content becomes another. */
static void damage(struct mofka_frame *frame)
{
    ((unsigned char *)(frame + 1))[frame->records_size + frame->data_size - 1] ^= 1;
}

static void what_was_compared_holds_for_a_second(void **state)
{
    struct fixture *f = *state;
    assert_true(is_good(f, 1, 64, 1000));
    damage(f->frame);
    assert_true(is_good(f, 1, 64, 1000 + MOFKA_CHECKED_HOLDS_NS - 1));
    assert_false(is_good(f, 1, 64, 1000 + MOFKA_CHECKED_HOLDS_NS));
}

static void it_holds_for_that_frame_alone(void **state)
{
    struct fixture *f = *state;
    assert_true(is_good(f, 1, 64, 0));
    damage(f->frame);
    assert_false(is_good(f, 2, 64, 0));
    assert_false(is_good(f, 1, 72, 0));
    f->frame->sequence++; /* another frame in the same place */
    dango_mofka_frame_seal(f->frame);
    assert_false(is_good(f, 1, 64, 0));
}

static void damage_is_not_remembered(void **state)
{
    struct fixture *f = *state;
    damage(f->frame);
    assert_false(is_good(f, 1, 64, 0));
    damage(f->frame); /* back again */
    assert_true(is_good(f, 1, 64, 0));
}

static void small_frames_are_compared_each_time(void **state)
{
    struct fixture *f = *state;
    free(f->frame);
    f->frame = model_frame(5, 3);
    assert_true(is_good(f, 1, 64, 0));
    damage(f->frame);
    assert_false(is_good(f, 1, 64, 0));
}

/* More frames than there is room for: each is still told apart from all others. */
static void the_table_is_bounded(void **state)
{
    struct fixture *f = *state;
    for (uint64_t offset = 64; offset < 64 + UINT64_C(8) * 4 * MOFKA_CHECKED_MAX; offset += 8)
        assert_true(is_good(f, 1, offset, 0));
    damage(f->frame);
    size_t remembered = 0;
    for (uint64_t offset = 64; offset < 64 + UINT64_C(8) * 4 * MOFKA_CHECKED_MAX; offset += 8)
        remembered += is_good(f, 1, offset, 0);
    assert_in_range(remembered, 1, MOFKA_CHECKED_MAX);
}

#define CHECKED_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECKED_TEST(what_was_compared_holds_for_a_second),
        CHECKED_TEST(it_holds_for_that_frame_alone),
        CHECKED_TEST(damage_is_not_remembered),
        CHECKED_TEST(small_frames_are_compared_each_time),
        CHECKED_TEST(the_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
