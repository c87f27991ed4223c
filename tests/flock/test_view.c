/*
 * Group views: order, digest, every function, copies and moves, and the text form in both directions.
 */
#include "tests/support/test.h"

#include <flock/flock-group-view.h>

static void fill(flock_group_view_t *view)
{
    char text[32];
    for (int i = 15; i >= 0; i--) {
        uint64_t before = view->digest;
        snprintf(text, sizeof text, "address/%02d", i);
        assert_non_null(flock_group_view_add_member(view, text, (uint16_t)(42 + i)));
        assert_int_not_equal(view->digest, before);
    }
    for (int i = 0; i < 8; i++) {
        uint64_t before = view->digest;
        snprintf(text, sizeof text, "key%d", (i * 5) % 8);
        assert_non_null(flock_group_view_add_metadata(view, text, "value"));
        assert_int_not_equal(view->digest, before);
    }
}

static void an_empty_view_is_all_zero(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER, zero;
    memset(&zero, 0, sizeof zero);
    assert_memory_equal(&view, &zero, sizeof view);
    assert_int_equal(flock_group_view_digest(&view), 0);
    assert_null(flock_group_view_member_at(&view, 0));
    assert_null(flock_group_view_find_metadata(&view, "x"));
    flock_group_view_clear(&view);
}

static void members_are_sorted(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    fill(&view);
    assert_int_equal(flock_group_view_member_count(&view), 16);
    assert_true(view.members.capacity >= 16);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(flock_group_view_member_at(&view, i)->provider_id, 42 + i);
    assert_null(flock_group_view_member_at(&view, 16));
    assert_int_equal(flock_group_view_members_binary_search(&view, "address/03", 45), 3);
    assert_int_equal(flock_group_view_members_binary_search(&view, "address/03", 46), -1);
    assert_true(flock_member_cmp(&view.members.data[0], &view.members.data[1]) < 0);
    flock_group_view_clear(&view);
}

static void adding_twice_changes_nothing(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    flock_member_t *first = flock_group_view_add_member(&view, "a", 1);
    uint64_t digest = view.digest;
    assert_ptr_equal(flock_group_view_add_member(&view, "a", 1), first);
    assert_int_equal(view.members.size, 1);
    assert_int_equal(view.digest, digest);
    assert_non_null(flock_group_view_add_member(&view, "a", 0));
    assert_int_equal(flock_group_view_member_at(&view, 0)->provider_id, 0);
    flock_group_view_clear(&view);
}

static void removing_members(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    fill(&view);
    uint64_t digest = view.digest;
    assert_false(flock_group_view_remove_member(&view, (flock_member_t *)4));
    assert_false(flock_group_view_remove_member(&view, view.members.data + 16));
    assert_false(flock_group_view_remove_member(&view, (flock_member_t *)((char *)view.members.data + 1)));
    assert_false(flock_group_view_remove_member(&view, NULL));
    assert_int_equal(view.digest, digest);
    assert_true(flock_group_view_remove_member(&view, flock_group_view_member_at(&view, 5)));
    assert_int_not_equal(view.digest, digest);
    assert_null(flock_group_view_find_member(&view, "address/05", 47));
    assert_non_null(flock_group_view_find_member(&view, "address/06", 48));
    flock_group_view_add_member(&view, "address/05", 47);
    assert_int_equal(view.digest, digest);
    flock_group_view_clear(&view);
}

static void metadata_is_sorted_and_replaced(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    fill(&view);
    assert_int_equal(flock_group_view_metadata_count(&view), 8);
    assert_string_equal(flock_group_view_metadata_at(&view, 3)->key, "key3");
    uint64_t digest = view.digest;
    assert_non_null(flock_group_view_add_metadata(&view, "key3", "other"));
    assert_int_not_equal(view.digest, digest);
    assert_string_equal(flock_group_view_find_metadata(&view, "key3"), "other");
    assert_int_equal(flock_group_view_metadata_count(&view), 8);
    assert_non_null(flock_group_view_add_metadata(&view, "key3", "value"));
    assert_int_equal(view.digest, digest);
    assert_false(flock_group_view_remove_metadata(&view, "unknown"));
    assert_true(flock_group_view_remove_metadata(&view, "key0"));
    assert_null(flock_group_view_find_metadata(&view, "key0"));
    assert_string_equal(flock_group_view_find_metadata(&view, "key7"), "value");
    flock_group_view_clear(&view);
    assert_int_equal(view.digest, 0);
}

/* Values of the hash as the specification defines it. */
static void digests_follow_the_specification(void **state)
{
    (void)state;
    assert_int_equal(flock_djb2_hash(""), 5381);
    assert_int_equal(flock_djb2_hash("a"), 5381 * 33 + 97);
    assert_int_equal(flock_hash_member(0x0201, "a"), ((5381 * 33 + 97) * 33 + 1) * 33 + 2);
    uint64_t value = flock_djb2_hash("v");
    assert_int_equal(flock_hash_metadata("k", "v"), flock_djb2_hash("k") ^ (value << 3 | value >> 61));
    assert_int_equal(flock_djb2_hash("\xff"), 5381 * 33 - 1);
}

static unsigned freed;

static void count_free(void *data)
{
    freed += *(unsigned *)data;
}

static void extras_are_freed_once(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER, copy = FLOCK_GROUP_VIEW_INITIALIZER;
    static unsigned one = 1, ten = 10;
    freed = 0;
    flock_member_t *member = flock_group_view_add_member(&view, "a", 1);
    member->extra.data = &one;
    member->extra.free = count_free;
    assert_true(flock_group_view_copy(&view, &copy));
    assert_null(copy.members.data[0].extra.free);
    flock_group_view_clear_extra(&view);
    assert_int_equal(freed, 1);
    view.members.data[0].extra.data = &ten;
    view.members.data[0].extra.free = count_free;
    flock_group_view_clear(&view);
    assert_int_equal(freed, 11);
    flock_group_view_clear(&copy);
    assert_int_equal(freed, 11);
}

static void moving_leaves_nothing_behind(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER, other = FLOCK_GROUP_VIEW_INITIALIZER;
    fill(&view);
    flock_member_t *data = view.members.data;
    uint64_t digest = view.digest;
    FLOCK_GROUP_VIEW_MOVE(&view, &other);
    assert_ptr_equal(other.members.data, data);
    assert_int_equal(other.digest, digest);
    assert_null(view.members.data);
    assert_int_equal(view.digest, 0);
    flock_group_view_clear(&view);
    flock_group_view_clear(&other);
    flock_group_view_clear(&other);
    assert_int_equal(other.members.capacity, 0);
}

static void keep_text(void *context, const char *text, size_t length)
{
    assert_true(length < 4096);
    memcpy(context, text, length);
    ((char *)context)[length] = '\0';
}

static void text_goes_both_ways(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER, back = FLOCK_GROUP_VIEW_INITIALIZER;
    char text[4096];
    flock_group_view_add_member(&view, "na+sm://9-0", 7);
    flock_group_view_add_member(&view, "na+sm://10-0", 65535);
    flock_group_view_add_metadata(&view, "owner", "team/\"a\"");
    assert_int_equal(flock_group_view_serialize(&view, keep_text, text), FLOCK_SUCCESS);
    assert_string_equal(text, "{\"members\":[{\"address\":\"na+sm://10-0\",\"provider_id\":65535},"
                              "{\"address\":\"na+sm://9-0\",\"provider_id\":7}],"
                              "\"metadata\":{\"owner\":\"team/\\\"a\\\"\"}}");
    assert_int_equal(flock_group_view_from_string(text, strlen(text), &back), FLOCK_SUCCESS);
    assert_int_equal(back.digest, view.digest);
    assert_int_equal(back.members.size, 2);
    assert_int_equal(flock_group_view_serialize(&view, NULL, NULL), FLOCK_ERR_INVALID_ARGS);
    flock_group_view_clear(&view);
    flock_group_view_clear(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_view_is_all_zero),
        cmocka_unit_test(members_are_sorted),
        cmocka_unit_test(adding_twice_changes_nothing),
        cmocka_unit_test(removing_members),
        cmocka_unit_test(metadata_is_sorted_and_replaced),
        cmocka_unit_test(digests_follow_the_specification),
        cmocka_unit_test(extras_are_freed_once),
        cmocka_unit_test(moving_leaves_nothing_behind),
        cmocka_unit_test(text_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
