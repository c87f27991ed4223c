/*
 * Data selections: every line of the table of operations, composition, overflow, and a comparison of random
 * derivations with a model that marks bytes one by one.
 */
#include "tests/support/test.h"

#include <diaspora/diaspora.h>

#include "diaspora/selection.h"

#define S UINT64_C(1000)

static void assert_ranges(const diaspora_selection *selection, const diaspora_range *expected, size_t expected_count)
{
    size_t count;
    uint64_t total = 0;
    const diaspora_range *ranges = diaspora_selection_flatten(selection, &count);
    assert_int_equal(count, expected_count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ranges[i].offset, expected[i].offset);
        assert_int_equal(ranges[i].size, expected[i].size);
        total += ranges[i].size;
    }
    assert_int_equal(diaspora_selection_size(selection), total);
}

#define ASSERT_RANGES(selection, ...)                                                                                  \
    do {                                                                                                               \
        const diaspora_range wanted_[] = {__VA_ARGS__};                                                                \
        assert_ranges((selection), wanted_, sizeof wanted_ / sizeof *wanted_);                                         \
    } while (0)

static int setup(void **state)
{
    *state = diaspora_selection_create(S);
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    diaspora_selection_destroy(*state);
    return 0;
}

static void a_fresh_selection_is_everything(void **state)
{
    ASSERT_RANGES(*state, {0, S});
    diaspora_selection *empty = diaspora_selection_create(0);
    assert_ranges(empty, NULL, 0);
    diaspora_selection_destroy(empty);
    diaspora_selection_destroy(NULL);
}

static void clear_selects_nothing(void **state)
{
    diaspora_selection_clear(*state);
    assert_ranges(*state, NULL, 0);
    assert_int_equal(diaspora_selection_sub(*state, 0, 10, NULL), 0);
    assert_ranges(*state, NULL, 0);
}

static void sub_takes_a_piece(void **state)
{
    assert_int_equal(diaspora_selection_sub(*state, 100, 200, NULL), 0);
    ASSERT_RANGES(*state, {100, 200});
}

static void sub_is_cut_at_the_end(void **state)
{
    assert_int_equal(diaspora_selection_sub(*state, 900, 200, NULL), 0);
    ASSERT_RANGES(*state, {900, 100});
}

static void sub_does_not_overflow(void **state)
{
    assert_int_equal(diaspora_selection_sub(*state, 1, UINT64_MAX, NULL), 0);
    ASSERT_RANGES(*state, {1, S - 1});
}

static void sub_from_the_end_or_of_nothing_is_empty(void **state)
{
    const diaspora_range nothing[] = {{S, 1}, {S + 1, 1}, {UINT64_MAX, UINT64_MAX}, {10, 0}};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        dsp_selection_reset(*state, S);
        assert_int_equal(diaspora_selection_sub(*state, nothing[i].offset, nothing[i].size, NULL), 0);
        assert_ranges(*state, NULL, 0);
    }
}

static void strided_takes_blocks(void **state)
{
    assert_int_equal(diaspora_selection_strided(*state, 13, 3, 4, 2, NULL), 0);
    ASSERT_RANGES(*state, {13, 4}, {19, 4}, {25, 4});
}

static void strided_of_nothing_is_empty(void **state)
{
    const uint64_t nothing[][4] = {{0, 0, 4, 2}, {0, 4, 0, 2}, {S + 1, 1, 1, 0}, {UINT64_MAX, UINT64_MAX, 1, 1}};
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        const uint64_t *n = nothing[i];
        dsp_selection_reset(*state, S);
        assert_int_equal(diaspora_selection_strided(*state, n[0], n[1], n[2], n[3], NULL), 0);
        assert_ranges(*state, NULL, 0);
    }
}

static void strided_out_of_range_is_an_error_and_changes_nothing(void **state)
{
    const uint64_t wrong[][4] = {
        {0, 4, 128, 192 + 200},
        {S, 1, 1, 0}, /* at the end is inside for the offset, but the block is not */
        {1, 10, 100, 0},
        {0, 2, 500, 1},
        {0, UINT64_MAX, 1, 1},
        {0, UINT64_MAX, 1, 0},
        {0, 2, UINT64_MAX, 1},
        {0, 2, 1, UINT64_MAX},
        {0, 3, UINT64_C(1) << 63, UINT64_C(1) << 63},
        {1, 1, UINT64_MAX, 0},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        diaspora_error err = DIASPORA_ERROR_INIT;
        const uint64_t *w = wrong[i];
        assert_int_equal(diaspora_selection_strided(*state, w[0], w[1], w[2], w[3], &err), DANGO_ERR_RANGE);
        assert_contains(err.text, "do not fit into the 1000 bytes");
        ASSERT_RANGES(*state, {0, S});
    }
}

static void strided_needs_no_gap_behind_the_last_block(void **state)
{
    assert_int_equal(diaspora_selection_strided(*state, 0, 4, 100, 200, NULL), 0);
    ASSERT_RANGES(*state, {0, 100}, {300, 100}, {600, 100}, {900, 100});
}

static void strided_without_gap_or_with_one_block_is_one_range(void **state)
{
    assert_int_equal(diaspora_selection_strided(*state, 10, 5, 7, 0, NULL), 0);
    ASSERT_RANGES(*state, {10, 35});
    dsp_selection_reset(*state, S);
    assert_int_equal(diaspora_selection_strided(*state, 10, 1, 7, UINT64_MAX, NULL), 0);
    ASSERT_RANGES(*state, {10, 7});
}

static void ranges_are_taken_and_merged(void **state)
{
    const diaspora_range wanted[] = {{0, 10}, {10, 5}, {20, 0}, {30, 10}, {990, 10}};
    assert_int_equal(diaspora_selection_ranges(*state, wanted, 5, NULL), 0);
    ASSERT_RANGES(*state, {0, 15}, {30, 10}, {990, 10});
}

static void no_ranges_are_nothing(void **state)
{
    assert_int_equal(diaspora_selection_ranges(*state, NULL, 0, NULL), 0);
    assert_ranges(*state, NULL, 0);
}

static void wrong_ranges_are_errors_and_change_nothing(void **state)
{
    const struct {
        diaspora_range ranges[2];
        int code;
    } wrong[] = {
        {{{0, 10}, {9, 5}}, DANGO_ERR_INVALID},        /* overlap */
        {{{20, 10}, {5, 5}}, DANGO_ERR_INVALID},       /* descending */
        {{{0, 10}, {995, 6}}, DANGO_ERR_RANGE},        /* behind the end */
        {{{0, 10}, {UINT64_MAX, 6}}, DANGO_ERR_RANGE}, /* overflow */
        {{{0, 10}, {11, UINT64_MAX}}, DANGO_ERR_RANGE},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        diaspora_error err = DIASPORA_ERROR_INIT;
        assert_int_equal(diaspora_selection_ranges(*state, wrong[i].ranges, 2, &err), wrong[i].code);
        assert_contains(err.text, "range 1");
        ASSERT_RANGES(*state, {0, S});
    }
}

static void too_many_ranges_are_an_error(void **state)
{
    (void)state;
    diaspora_error err = DIASPORA_ERROR_INIT;
    diaspora_selection *huge = diaspora_selection_create(UINT64_MAX);
    assert_int_equal(diaspora_selection_strided(huge, 0, UINT64_C(1) << 40, 1, 1, &err), DANGO_ERR_NO_MEMORY);
    assert_contains(err.text, "separate ranges");
    ASSERT_RANGES(huge, {0, UINT64_MAX});
    diaspora_selection_destroy(huge);
}

/* A rectangle of an image, cut out of its rows first, equals the rectangle cut out directly. */
static void offsets_count_in_the_bytes_selected_so_far(void **state)
{
    (void)state;
    enum { W = 100, H = 80, X = 7, Y = 11, w = 20, h = 30 };
    diaspora_selection *nested = diaspora_selection_create((uint64_t)W * H);
    diaspora_selection *direct = diaspora_selection_create((uint64_t)W * H);
    assert_int_equal(diaspora_selection_sub(nested, (uint64_t)Y * W + X, (uint64_t)W * h, NULL), 0);
    assert_int_equal(diaspora_selection_strided(nested, 0, h, w, W - w, NULL), 0);
    assert_int_equal(diaspora_selection_strided(direct, (uint64_t)Y * W + X, h, w, W - w, NULL), 0);
    size_t count;
    const diaspora_range *expected = diaspora_selection_flatten(direct, &count);
    assert_int_equal(count, h);
    assert_ranges(nested, expected, count);
    diaspora_selection_destroy(nested);
    diaspora_selection_destroy(direct);
}

/* The letters of the specification: 26 lower case, 26 upper case. */
static void examples_of_the_specification(void **state)
{
    (void)state;
    diaspora_selection *s = diaspora_selection_create(52);
    assert_int_equal(diaspora_selection_sub(s, 13, 26, NULL), 0);
    ASSERT_RANGES(s, {13, 26});
    dsp_selection_reset(s, 52);
    assert_int_equal(diaspora_selection_strided(s, 13, 3, 4, 2, NULL), 0);
    ASSERT_RANGES(s, {13, 4}, {19, 4}, {25, 4});
    dsp_selection_reset(s, 52);
    const diaspora_range pieces[] = {{3, 6}, {15, 4}, {27, 8}};
    assert_int_equal(diaspora_selection_ranges(s, pieces, 3, NULL), 0);
    ASSERT_RANGES(s, {3, 6}, {15, 4}, {27, 8});
    diaspora_selection_destroy(s);

    s = diaspora_selection_create(1024);
    assert_int_equal(diaspora_selection_strided(s, 0, 4, 64, 192, NULL), 0);
    assert_int_equal(diaspora_selection_size(s), 256);
    diaspora_selection_destroy(s);
}

/* ---- against a model -------------------------------------------------------------------------------------------- */

#define MODEL_BYTES 300

struct model {
    uint16_t bytes[MODEL_BYTES]; /* which byte of the data stands at each place of the selection */
    size_t size;
};

static void model_check(const struct model *model, const diaspora_selection *selection)
{
    size_t count, at = 0;
    const diaspora_range *ranges = diaspora_selection_flatten(selection, &count);
    assert_int_equal(diaspora_selection_size(selection), model->size);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            assert_true(ranges[i].offset > ranges[i - 1].offset + ranges[i - 1].size);
        for (uint64_t k = 0; k < ranges[i].size; k++)
            assert_int_equal(model->bytes[at++], ranges[i].offset + k);
    }
    assert_int_equal(at, model->size);
}

static void model_keep(struct model *model, const struct model *from, size_t offset, size_t size)
{
    for (size_t i = 0; i < size; i++)
        model->bytes[model->size++] = from->bytes[offset + i];
}

static void derive(struct model *model, diaspora_selection *selection)
{
    const struct model from = *model;
    size_t left = from.size;
    if (left == 0)
        return;
    size_t offset = (size_t)rand() % left;
    size_t block = 1 + (size_t)rand() % 5, gap = (size_t)rand() % 5;
    size_t count = 1 + (left - offset) / (block + gap + 1);
    model->size = 0;
    if (rand() % 2 && offset + count * block + (count - 1) * gap <= left) {
        assert_int_equal(diaspora_selection_strided(selection, offset, count, block, gap, NULL), 0);
        for (size_t i = 0; i < count; i++)
            model_keep(model, &from, offset + i * (block + gap), block);
    } else if (rand() % 2) {
        size_t middle = offset / 2;
        const diaspora_range pieces[] = {{0, middle / 2}, {middle, offset - middle}, {offset, (left - offset) / 2}};
        assert_int_equal(diaspora_selection_ranges(selection, pieces, 3, NULL), 0);
        for (size_t i = 0; i < 3; i++)
            model_keep(model, &from, pieces[i].offset, pieces[i].size);
    } else {
        size_t size = 1 + (size_t)rand() % left;
        assert_int_equal(diaspora_selection_sub(selection, offset, size, NULL), 0);
        model_keep(model, &from, offset, size < left - offset ? size : left - offset);
    }
}

static void random_derivations_agree_with_the_model(void **state)
{
    (void)state;
    srand(1);
    diaspora_selection *selection = diaspora_selection_create(MODEL_BYTES);
    for (int round = 0; round < 5000; round++) {
        struct model model = {.size = MODEL_BYTES};
        for (size_t i = 0; i < MODEL_BYTES; i++)
            model.bytes[i] = (uint16_t)i;
        dsp_selection_reset(selection, MODEL_BYTES);
        for (int depth = 0; depth < 4; depth++) {
            derive(&model, selection);
            model_check(&model, selection);
        }
    }
    diaspora_selection_destroy(selection);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_fresh_selection_is_everything),
        TEST(clear_selects_nothing),
        TEST(sub_takes_a_piece),
        TEST(sub_is_cut_at_the_end),
        TEST(sub_does_not_overflow),
        TEST(sub_from_the_end_or_of_nothing_is_empty),
        TEST(strided_takes_blocks),
        TEST(strided_of_nothing_is_empty),
        TEST(strided_out_of_range_is_an_error_and_changes_nothing),
        TEST(strided_needs_no_gap_behind_the_last_block),
        TEST(strided_without_gap_or_with_one_block_is_one_range),
        TEST(ranges_are_taken_and_merged),
        TEST(no_ranges_are_nothing),
        TEST(wrong_ranges_are_errors_and_change_nothing),
        TEST(too_many_ranges_are_an_error),
        TEST(offsets_count_in_the_bytes_selected_so_far),
        TEST(examples_of_the_specification),
        TEST(random_derivations_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
