/*
 * Views from damaged bytes: answers of the RPC, and texts of group files. What is accepted must be a proper view.
 */
#include "tests/support/test.h"

#include "flock/internal.h"
#include "mercury/hg.h"

#define ROUNDS 100000

static uint64_t seed = 88172645463325252u;
static hg_class_t *hg_class;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void damage(char *bytes, size_t *size)
{
    for (uint64_t times = 1 + next_random() % 3; times > 0; times--) {
        uint64_t number = next_random() & 1 ? UINT64_MAX >> next_random() % 64 : next_random();
        size_t at = next_random() % *size, width = next_random() & 1 ? 1 : sizeof number;
        memcpy(bytes + at, &number, *size - at < width ? *size - at : width);
    }
    if (next_random() % 8 == 0)
        *size = next_random() % (*size + 1);
}

/* Order, uniqueness and digest: adding all items to a new view gives the same one. */
static void check_invariants(const flock_group_view_t *view)
{
    flock_group_view_t copy = FLOCK_GROUP_VIEW_INITIALIZER;
    assert_true(flock_group_view_copy(view, &copy));
    assert_int_equal(copy.digest, view->digest);
    assert_int_equal(copy.members.size, view->members.size);
    assert_int_equal(copy.metadata.size, view->metadata.size);
    for (size_t i = 0; i < view->members.size; i++)
        assert_string_equal(copy.members.data[i].address, view->members.data[i].address);
    flock_group_view_clear(&copy);
}

static void fill(flock_group_view_t *view)
{
    flock_group_view_add_member(view, "na+sm://1-0", 1);
    flock_group_view_add_member(view, "na+sm://1-0", 2);
    flock_group_view_add_member(view, "na+sm://2-0", 1);
    flock_group_view_add_metadata(view, "__type__", "static");
    flock_group_view_add_metadata(view, "owner", "");
}

static void damaged_answers_are_survived(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        flk_get_view_out_t good = {.version = 7}, bad = {0};
        struct hgi_buffer buffer;
        hgi_buffer_init(&buffer);
        fill(&good.view);
        assert_int_equal(hgi_encode(hg_class, hg_proc_flk_get_view_out_t, &good, &buffer), HG_SUCCESS);
        if (round)
            damage(buffer.data, &buffer.size);
        hg_return_t hret = hgi_decode(hg_class, hg_proc_flk_get_view_out_t, HG_DECODE, &bad, &buffer);
        assert_true(round > 0 || hret == HG_SUCCESS);
        if (hret == HG_SUCCESS) {
            check_invariants(&bad.view);
            hgi_decode(hg_class, hg_proc_flk_get_view_out_t, HG_FREE, &bad, &buffer);
        }
        assert_null(bad.view.members.data);
        assert_null(bad.view.metadata.data);
        flock_group_view_clear(&good.view);
        hgi_buffer_fini(&buffer);
    }
}

static void damaged_texts_are_survived(void **state)
{
    (void)state;
    static const char good[] = "{\"members\":[{\"address\":\"na+sm://1-0\",\"provider_id\":1},{\"address\":\"b\","
                               "\"provider_id\":65535}],\"metadata\":{\"__type__\":\"static\",\"n\":3}}";
    for (int round = 0; round < ROUNDS; round++) {
        char text[sizeof good];
        size_t size = sizeof good - 1;
        flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
        memcpy(text, good, sizeof good);
        damage(text, &size);
        if (flock_group_view_from_string(text, size, &view) == FLOCK_SUCCESS) {
            assert_true(view.members.size > 0);
            check_invariants(&view);
        }
        flock_group_view_clear(&view);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_answers_are_survived),
        cmocka_unit_test(damaged_texts_are_survived),
    };
    hg_class = HG_Init("na+sm", HG_FALSE);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    HG_Finalize(hg_class);
    return failed;
}
