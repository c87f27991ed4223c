/*
 * Collections and documents over each backend: ids, sizes, every operation, and pairs that look like documents.
 */
#include "tests/yokan/support.h"

#include "yokan/collections.h"

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

static void check_info(struct yokan_database *d, const char *name, uint64_t size, yk_id_t next_id)
{
    uint64_t found_size;
    yk_id_t found_next;
    assert_int_equal(yokan_collection_info(d, name, &found_size, &found_next), YOKAN_SUCCESS);
    assert_int_equal(found_size, size);
    assert_int_equal(found_next, next_id);
}

static yk_return_t see_document(void *arg, size_t index, yk_id_t id, struct yokan_slice document)
{
    char key[32];
    snprintf(key, sizeof key, "%llu", (unsigned long long)id);
    return see(arg, index, slice(key), document);
}

static yk_id_t store(struct yokan_database *d, const char *name, const char *document)
{
    yokan_document doc = slice(document);
    yk_id_t id = 0;
    assert_int_equal(yokan_doc_store(d, name, 1, &doc, &id), YOKAN_SUCCESS);
    return id;
}

static void create_exists_drop(void **state)
{
    struct yokan_database *d = *state;
    assert_int_equal(yokan_collection_info(d, "c", NULL, NULL), YOKAN_ERR_KEY_NOT_FOUND);
    assert_int_equal(yokan_collection_drop(d, "c"), YOKAN_ERR_KEY_NOT_FOUND);
    assert_int_equal(yokan_collection_create(d, "c"), YOKAN_SUCCESS);
    assert_int_equal(yokan_collection_create(d, "c"), YOKAN_ERR_KEY_EXISTS);
    check_info(d, "c", 0, 0);
    assert_int_equal(yokan_collection_drop(d, "c"), YOKAN_SUCCESS);
    assert_int_equal(yokan_collection_info(d, "c", NULL, NULL), YOKAN_ERR_KEY_NOT_FOUND);
    yokan_document doc = slice("x");
    yk_id_t id;
    assert_int_equal(yokan_doc_store(d, "c", 1, &doc, &id), YOKAN_ERR_KEY_NOT_FOUND);
}

static yk_return_t fail_to_erase(void *db, struct yokan_slice prefix)
{
    (void)db;
    (void)prefix;
    return YOKAN_ERR_IO;
}

/* What a crash in the middle of a drop leaves is a collection, not documents without one. */
static void a_drop_that_fails_can_be_repeated(void **state)
{
    struct yokan_database *d = *state;
    const struct yokan_backend *backend = d->backend;
    struct yokan_backend failing = *backend;
    failing.erase_range = fail_to_erase;
    yokan_collection_create(d, "c");
    store(d, "c", "a");
    d->backend = &failing;
    assert_int_equal(yokan_collection_drop(d, "c"), YOKAN_ERR_IO);
    d->backend = backend;
    check_info(d, "c", 1, 1);
    assert_int_equal(yokan_collection_drop(d, "c"), YOKAN_SUCCESS);
    yokan_collection_create(d, "c");
    struct seen seen = {0};
    yokan_doc_scan(d, "c", 0, see_document, &seen);
    assert_string_equal(seen.text, "");
}

static void ids_count_up_and_are_not_reused(void **state)
{
    struct yokan_database *d = *state;
    yokan_collection_create(d, "c");
    assert_int_equal(store(d, "c", "a"), 0);
    yokan_document docs[] = {slice("b"), slice(""), slice("d")};
    yk_id_t first, id = 3;
    assert_int_equal(yokan_doc_store(d, "c", 3, docs, &first), YOKAN_SUCCESS);
    assert_int_equal(first, 1);
    check_info(d, "c", 4, 4);
    assert_int_equal(yokan_doc_erase(d, "c", 1, &id), YOKAN_SUCCESS);
    check_info(d, "c", 3, 4);
    assert_int_equal(store(d, "c", "e"), 4);
    struct seen seen = {0};
    yk_id_t ids[] = {4, 3, 2, 99};
    assert_int_equal(yokan_doc_load(d, "c", 4, ids, see_document, &seen), YOKAN_SUCCESS);
    assert_string_equal(seen.text, "4=e 3! 2= 99! ");
}

static void erase_counts_what_it_erased(void **state)
{
    struct yokan_database *d = *state;
    yokan_collection_create(d, "c");
    store(d, "c", "a");
    store(d, "c", "b");
    yk_id_t ids[] = {1, 1, 7, 1};
    assert_int_equal(yokan_doc_erase(d, "c", 4, ids), YOKAN_SUCCESS);
    check_info(d, "c", 1, 2);
    assert_int_equal(yokan_doc_erase(d, "c", 4, ids), YOKAN_SUCCESS);
    check_info(d, "c", 1, 2);
    assert_int_equal(yokan_doc_erase(d, "none", 1, ids), YOKAN_ERR_KEY_NOT_FOUND);
}

static void update_replaces_and_creates(void **state)
{
    struct yokan_database *d = *state;
    yokan_collection_create(d, "c");
    store(d, "c", "a");
    store(d, "c", "b");
    yk_id_t ids[] = {1, 5, 5};
    yokan_document docs[] = {slice("B"), slice("x"), slice("F")};
    assert_int_equal(yokan_doc_update(d, "c", 0, 2, ids, docs), YOKAN_ERR_INVALID_ID);
    struct seen seen = {0};
    yokan_doc_scan(d, "c", 0, see_document, &seen);
    assert_string_equal(seen.text, "0=a 1=b ");
    assert_int_equal(yokan_doc_update(d, "c", YOKAN_MODE_UPDATE_NEW, 3, ids, docs), YOKAN_SUCCESS);
    check_info(d, "c", 3, 6);
    seen = (struct seen){0};
    yokan_doc_scan(d, "c", 0, see_document, &seen);
    assert_string_equal(seen.text, "0=a 1=B 5=F ");
    assert_int_equal(store(d, "c", "g"), 6);
    yk_id_t last = UINT64_MAX;
    assert_int_equal(yokan_doc_update(d, "c", YOKAN_MODE_UPDATE_NEW, 1, &last, docs), YOKAN_ERR_INVALID_ID);
    assert_int_equal(yokan_doc_update(d, "none", 0, 1, ids, docs), YOKAN_ERR_KEY_NOT_FOUND);
}

/* An erased id is known: writing it again without UPDATE_NEW makes it count again. */
static void update_of_an_erased_document(void **state)
{
    struct yokan_database *d = *state;
    yokan_collection_create(d, "c");
    yk_id_t id = store(d, "c", "a");
    yokan_document doc = slice("again");
    yokan_doc_erase(d, "c", 1, &id);
    check_info(d, "c", 0, 1);
    assert_int_equal(yokan_doc_update(d, "c", 0, 1, &id, &doc), YOKAN_SUCCESS);
    check_info(d, "c", 1, 1);
}

static void collections_do_not_see_each_other(void **state)
{
    struct yokan_database *d = *state;
    yokan_collection_create(d, "ab");
    yokan_collection_create(d, "abc");
    store(d, "ab", "1");
    store(d, "abc", "2");
    /* Pairs of the user between the documents. */
    struct yokan_pair pairs[] = {{{"ab\0x", 4}, {"junk", 4}}, {{"ab\0\0\0\0\0\0\0\0\0\0", 12}, {"junk", 4}}};
    d->backend->put(d->db, 0, 2, pairs);
    struct seen seen = {0};
    yokan_doc_scan(d, "ab", 0, see_document, &seen);
    assert_string_equal(seen.text, "0=1 ");
    assert_int_equal(yokan_collection_drop(d, "ab"), YOKAN_SUCCESS);
    seen = (struct seen){0};
    yokan_doc_scan(d, "abc", 0, see_document, &seen);
    assert_string_equal(seen.text, "0=2 ");
}

static void a_pair_is_not_a_collection(void **state)
{
    struct yokan_database *d = *state;
    struct yokan_pair p = pair("p", "not sixteen bytes long");
    d->backend->put(d->db, 0, 1, &p);
    assert_int_equal(yokan_collection_info(d, "p", NULL, NULL), YOKAN_ERR_KEY_NOT_FOUND);
    assert_int_equal(yokan_collection_create(d, "p"), YOKAN_ERR_KEY_EXISTS);
}

static void scan_is_in_order_of_ids(void **state)
{
    struct yokan_database *d = *state;
    char document[16], expected[4096] = "";
    yokan_collection_create(d, "c");
    for (int i = 0; i < 300; i++) {
        snprintf(document, sizeof document, "d%d", i);
        store(d, "c", document);
        if (i >= 250)
            sprintf(expected + strlen(expected), "%d=d%d ", i, i);
    }
    struct seen seen = {0};
    assert_int_equal(yokan_doc_scan(d, "c", 250, see_document, &seen), YOKAN_SUCCESS);
    assert_string_equal(seen.text, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(create_exists_drop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_drop_that_fails_can_be_repeated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ids_count_up_and_are_not_reused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(erase_counts_what_it_erased, set_up, tear_down),
        cmocka_unit_test_setup_teardown(update_replaces_and_creates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(update_of_an_erased_document, set_up, tear_down),
        cmocka_unit_test_setup_teardown(collections_do_not_see_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_pair_is_not_a_collection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(scan_is_in_order_of_ids, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
