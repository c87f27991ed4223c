/*
 * What every backend promises: every mode of put, get, erase and scan. Runs once for each backend (backends.h).
 */
#include "tests/yokan/support.h"

static int set_up(void **state)
{
    *state = open_database(new_database_config());
    return 0;
}

static int tear_down(void **state)
{
    yokan_database_close(*state);
    return 0;
}

static const char *value_of(struct yokan_database *d, const char *key, struct seen *seen)
{
    struct yokan_slice k = slice(key);
    *seen = (struct seen){0};
    assert_int_equal(d->backend->get(d->db, 0, 1, &k, see, seen), YOKAN_SUCCESS);
    return seen->text;
}

static yk_return_t put_one(struct yokan_database *d, int32_t mode, const char *key, const char *value)
{
    struct yokan_pair p = pair(key, value);
    return d->backend->put(d->db, mode, 1, &p);
}

static void put_modes_of_one_pair(void **state)
{
    struct yokan_database *d = *state;
    struct seen seen;
    assert_int_equal(put_one(d, YOKAN_MODE_EXIST_ONLY, "k", "x"), YOKAN_ERR_KEY_NOT_FOUND);
    assert_string_equal(value_of(d, "k", &seen), "k! ");
    assert_int_equal(put_one(d, YOKAN_MODE_APPEND, "k", "a"), YOKAN_SUCCESS);
    assert_int_equal(put_one(d, YOKAN_MODE_APPEND, "k", "b"), YOKAN_SUCCESS);
    assert_string_equal(value_of(d, "k", &seen), "k=ab ");
    assert_int_equal(put_one(d, YOKAN_MODE_NEW_ONLY, "k", "x"), YOKAN_ERR_KEY_EXISTS);
    assert_string_equal(value_of(d, "k", &seen), "k=ab ");
    assert_int_equal(put_one(d, YOKAN_MODE_EXIST_ONLY | YOKAN_MODE_APPEND, "k", "c"), YOKAN_SUCCESS);
    assert_string_equal(value_of(d, "k", &seen), "k=abc ");
    assert_int_equal(put_one(d, 0, "k", ""), YOKAN_SUCCESS);
    assert_string_equal(value_of(d, "k", &seen), "k= ");
    assert_int_equal(put_one(d, YOKAN_MODE_NEW_ONLY, "new", "n"), YOKAN_SUCCESS);
    assert_string_equal(value_of(d, "new", &seen), "new=n ");
}

static void put_of_several_skips_refused_ones(void **state)
{
    struct yokan_database *d = *state;
    struct seen seen;
    put_one(d, 0, "b", "old");
    struct yokan_pair pairs[] = {pair("a", "1"), pair("b", "2"), pair("c", "3"), pair("c", "4")};
    assert_int_equal(d->backend->put(d->db, YOKAN_MODE_NEW_ONLY, 3, pairs), YOKAN_SUCCESS);
    assert_string_equal(value_of(d, "a", &seen), "a=1 ");
    assert_string_equal(value_of(d, "b", &seen), "b=old ");
    assert_int_equal(d->backend->put(d->db, 0, 4, pairs), YOKAN_SUCCESS);
    assert_string_equal(value_of(d, "c", &seen), "c=4 ");
}

static void consume_erases_what_was_taken(void **state)
{
    struct yokan_database *d = *state;
    struct yokan_slice keys[] = {slice("a"), slice("none"), slice("b")};
    struct seen seen = {.answer = YOKAN_ERR_BUFFER_SIZE};
    uint64_t count;
    put_one(d, 0, "a", "1");
    put_one(d, 0, "b", "2");
    assert_int_equal(d->backend->get(d->db, YOKAN_MODE_CONSUME, 3, keys, see, &seen), YOKAN_SUCCESS);
    d->backend->count(d->db, &count);
    assert_int_equal(count, 2);
    seen = (struct seen){0};
    assert_int_equal(d->backend->get(d->db, YOKAN_MODE_CONSUME, 3, keys, see, &seen), YOKAN_SUCCESS);
    assert_string_equal(seen.text, "a=1 none! b=2 ");
    d->backend->count(d->db, &count);
    assert_int_equal(count, 0);
}

static void scan_is_ordered_and_stops(void **state)
{
    struct yokan_database *d = *state;
    static const char *const keys[] = {"b", "aa", "c", "a", "ab"};
    for (size_t i = 0; i < 5; i++)
        put_one(d, 0, keys[i], "");
    struct seen seen = {0};
    d->backend->scan(d->db, slice(""), false, see, &seen);
    assert_string_equal(seen.text, "a= aa= ab= b= c= ");
    seen = (struct seen){.limit = 2};
    assert_int_equal(d->backend->scan(d->db, slice("aa"), false, see, &seen), YOKAN_SUCCESS);
    assert_string_equal(seen.text, "ab= b= ");
    seen = (struct seen){.limit = 1};
    d->backend->scan(d->db, slice("aa"), true, see, &seen);
    assert_string_equal(seen.text, "aa= ");
    seen = (struct seen){.answer = YOKAN_ERR_ALLOCATION};
    assert_int_equal(d->backend->scan(d->db, slice(""), false, see, &seen), YOKAN_ERR_ALLOCATION);
}

static void erase_and_erase_range(void **state)
{
    struct yokan_database *d = *state;
    static const char *const keys[] = {"a", "b", "b1", "b2", "c"};
    for (size_t i = 0; i < 5; i++)
        put_one(d, 0, keys[i], "v");
    struct yokan_slice gone[] = {slice("a"), slice("absent")};
    assert_int_equal(d->backend->erase(d->db, 2, gone), YOKAN_SUCCESS);
    assert_int_equal(d->backend->erase_range(d->db, slice("zz")), YOKAN_SUCCESS);
    struct seen seen = {0};
    d->backend->scan(d->db, slice(""), false, see, &seen);
    assert_string_equal(seen.text, "b=v b1=v b2=v c=v ");
    assert_int_equal(d->backend->erase_range(d->db, slice("b")), YOKAN_SUCCESS);
    seen = (struct seen){0};
    d->backend->scan(d->db, slice(""), false, see, &seen);
    assert_string_equal(seen.text, "c=v ");
    assert_int_equal(d->backend->erase_range(d->db, slice("")), YOKAN_SUCCESS);
    uint64_t count;
    d->backend->count(d->db, &count);
    assert_int_equal(count, 0);
}

/* Items of one request see what the items before them did. */
static void a_key_twice_in_one_request(void **state)
{
    struct yokan_database *d = *state;
    struct seen seen;
    struct yokan_pair twice[] = {pair("a", "1"), pair("b", "x"), pair("a", "2")};
    assert_int_equal(d->backend->put(d->db, YOKAN_MODE_NEW_ONLY, 3, twice), YOKAN_SUCCESS);
    assert_string_equal(value_of(d, "a", &seen), "a=1 ");
    assert_int_equal(d->backend->put(d->db, YOKAN_MODE_APPEND, 3, twice), YOKAN_SUCCESS);
    assert_string_equal(value_of(d, "a", &seen), "a=112 ");
    assert_int_equal(d->backend->put(d->db, YOKAN_MODE_EXIST_ONLY, 3, twice), YOKAN_SUCCESS);
    assert_string_equal(value_of(d, "a", &seen), "a=2 ");
    struct yokan_slice keys[] = {slice("a"), slice("b"), slice("a")};
    seen = (struct seen){0};
    assert_int_equal(d->backend->get(d->db, YOKAN_MODE_CONSUME, 3, keys, see, &seen), YOKAN_SUCCESS);
    assert_string_equal(seen.text, "a=2 b=x a! ");
}

static void get_stops_when_told(void **state)
{
    struct yokan_database *d = *state;
    struct yokan_slice keys[] = {slice("a"), slice("b"), slice("c")};
    put_one(d, 0, "a", "1");
    put_one(d, 0, "b", "2");
    struct seen seen = {.limit = 2};
    assert_int_equal(d->backend->get(d->db, 0, 3, keys, see, &seen), YOKAN_SUCCESS);
    assert_string_equal(seen.text, "a=1 b=2 ");
    seen = (struct seen){.answer = YOKAN_ERR_ALLOCATION};
    assert_int_equal(d->backend->get(d->db, 0, 3, keys, see, &seen), YOKAN_ERR_ALLOCATION);
}

static void keys_are_bytes(void **state)
{
    struct yokan_database *d = *state;
    struct yokan_pair pairs[] = {{{"\0", 1}, {"zero", 4}}, {{"\xff", 1}, {"high", 4}}, {{"\0\0", 2}, {"two", 3}}};
    struct seen seen = {0};
    assert_int_equal(d->backend->put(d->db, 0, 3, pairs), YOKAN_SUCCESS);
    struct yokan_slice keys[] = {pairs[2].key, pairs[0].key, pairs[1].key};
    d->backend->get(d->db, 0, 3, keys, see, &seen);
    assert_contains(seen.text, "=two");
    assert_int_equal(seen.count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(put_modes_of_one_pair, set_up, tear_down),
        cmocka_unit_test_setup_teardown(put_of_several_skips_refused_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(consume_erases_what_was_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_twice_in_one_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(get_stops_when_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(scan_is_ordered_and_stops, set_up, tear_down),
        cmocka_unit_test_setup_teardown(erase_and_erase_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_are_bytes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
