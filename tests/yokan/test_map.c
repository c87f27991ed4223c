/*
 * The skip list of the map backend against a plain sorted array under random operations.
 */
#include "tests/yokan/support.h"

#include "yokan/map/skiplist.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(skiplist_agrees_with_a_model),
        cmocka_unit_test(seek_finds_the_neighbour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
