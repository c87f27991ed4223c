/*
 * How long the progress loop polls: the budget grows with near misses, shrinks with vain polling, and obeys its limits.
 */
#include "tests/support/test.h"

#include "margo/spin.h"

/* Polls in steps of a microsecond until told to sleep; the time it took. */
static int64_t poll_in_vain(struct mg_spin *spin)
{
    int64_t now_ns = 1000;
    while (mg_spin_again(spin, now_ns))
        now_ns += 1000;
    return now_ns - 1000;
}

static void vain_polling_gets_shorter(void **state)
{
    (void)state;
    struct mg_spin spin;
    mg_spin_init(&spin, 10000000, 8);
    int64_t first = poll_in_vain(&spin), second = poll_in_vain(&spin);
    assert_true(first > 0 && second < first && second > 0);
    for (int i = 0; i < 100; i++)
        second = poll_in_vain(&spin);
    assert_true(second > 0 && second < 10000);
}

static void near_misses_make_it_longer_up_to_the_limit(void **state)
{
    (void)state;
    struct mg_spin spin;
    mg_spin_init(&spin, 1000000, 8);
    int64_t before = spin.budget_ns;
    mg_spin_woken(&spin, 1000000000);
    assert_int_equal(spin.budget_ns, before);
    for (int i = 0; i < 100; i++)
        mg_spin_woken(&spin, 1000);
    assert_true(spin.budget_ns > before && spin.budget_ns <= 1000000);
}

static void activity_starts_it_anew(void **state)
{
    (void)state;
    struct mg_spin spin;
    mg_spin_init(&spin, 10000000, 8);
    assert_true(mg_spin_again(&spin, 1000));
    mg_spin_active(&spin);
    assert_true(mg_spin_again(&spin, 1000000000));
}

static void no_polling_where_it_was_forbidden_or_cpus_are_few(void **state)
{
    (void)state;
    struct mg_spin spin;
    mg_spin_init(&spin, 0, 8);
    assert_false(mg_spin_again(&spin, 1000));
    mg_spin_init(&spin, 10000000, 2);
    assert_false(mg_spin_again(&spin, 1000));
    assert_true(mg_spin_num_cpus() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vain_polling_gets_shorter),
        cmocka_unit_test(near_misses_make_it_longer_up_to_the_limit),
        cmocka_unit_test(activity_starts_it_anew),
        cmocka_unit_test(no_polling_where_it_was_forbidden_or_cpus_are_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
