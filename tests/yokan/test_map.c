/*
 * The map backend: the skip list against a plain sorted array under random operations, and every mode of put, get, erase
 * and scan.
 */
#include "tests/yokan/support.h"

#include "yokan/map/skiplist.h"

/* ---- the skip list against a model ---- */

#define MODEL_KEYS 512

struct model {
    bool present[MODEL_KEYS]; /* key i is the text of i with leading zeros */
    int value[MODEL_KEYS];
};

static struct yokan_slice model_key(int i, char buffer[16])
{
    snprintf(buffer, 16, "%05d", i);
    return slice(buffer);
}

static void check_against(struct yokan_skiplist *list, const struct model *model)
{
    char buffer[16];
    uint64_t count = 0;
    struct yokan_node *node = list->heads[0];
    for (int i = 0; i < MODEL_KEYS; i++) {
        struct yokan_slice key = model_key(i, buffer);
        struct yokan_node *found = yokan_skiplist_find(list, key);
        assert_true((found != NULL) == model->present[i]);
        if (!found)
            continue;
        count++;
        assert_ptr_equal(node, found);
        assert_memory_equal(found->value, &model->value[i], sizeof(int));
        node = node->next[0];
    }
    assert_null(node);
    assert_int_equal(list->count, count);
}

static void skiplist_agrees_with_a_model(void **state)
{
    (void)state;
    struct yokan_skiplist list;
    struct model *model = calloc(1, sizeof *model);
    char buffer[16];
    srand(42);
    yokan_skiplist_init(&list, 7);
    for (int step = 0; step < 40000; step++) {
        int i = rand() % MODEL_KEYS, value = rand();
        struct yokan_slice key = model_key(i, buffer);
        if (rand() % 3) {
            assert_true(yokan_skiplist_set(&list, key, (struct yokan_slice){&value, sizeof value}));
            model->present[i] = true;
            model->value[i] = value;
        } else {
            assert_true(yokan_skiplist_remove(&list, key) == model->present[i]);
            model->present[i] = false;
        }
        if (step % 1000 == 0)
            check_against(&list, model);
    }
    check_against(&list, model);
    yokan_skiplist_clear(&list);
    assert_int_equal(list.count, 0);
    assert_null(list.heads[0]);
    free(model);
}

static void seek_finds_the_neighbour(void **state)
{
    (void)state;
    struct yokan_skiplist list;
    yokan_skiplist_init(&list, 1);
    assert_null(yokan_skiplist_seek(&list, slice("a"), false));
    yokan_skiplist_set(&list, slice("b"), slice("1"));
    yokan_skiplist_set(&list, slice("bb"), slice("2"));
    yokan_skiplist_set(&list, slice("d"), slice("3"));
    assert_memory_equal(yokan_skiplist_seek(&list, slice(""), true)->value, "1", 1);
    assert_memory_equal(yokan_skiplist_seek(&list, slice("b"), false)->value, "1", 1);
    assert_memory_equal(yokan_skiplist_seek(&list, slice("b"), true)->value, "2", 1);
    assert_memory_equal(yokan_skiplist_seek(&list, slice("c"), false)->value, "3", 1);
    assert_null(yokan_skiplist_seek(&list, slice("d"), true));
    yokan_skiplist_clear(&list);
}

/* ---- the backend ---- */

static int set_up(void **state)
{
    *state = open_database("{\"type\":\"map\"}");
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
        cmocka_unit_test(skiplist_agrees_with_a_model),
        cmocka_unit_test(seek_finds_the_neighbour),
        cmocka_unit_test_setup_teardown(put_modes_of_one_pair, set_up, tear_down),
        cmocka_unit_test_setup_teardown(put_of_several_skips_refused_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(consume_erases_what_was_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(scan_is_ordered_and_stops, set_up, tear_down),
        cmocka_unit_test_setup_teardown(erase_and_erase_range, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_are_bytes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
