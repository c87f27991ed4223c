/*
 * Any bytes as a view: the answer of a provider, and the text of a group file. What is accepted must be a proper view.
 * Input: a byte that chooses, then the message or the text.
 */
#include "tests/mercury/fuzz_proc.h"

#include "flock/internal.h"

const unsigned fuzz_rounds = 150000;

/* Order, uniqueness and digest: adding all items to a new view gives the same one. */
static void check_invariants(const flock_group_view_t *view)
{
    flock_group_view_t copy = FLOCK_GROUP_VIEW_INITIALIZER;
    assert(flock_group_view_copy(view, &copy));
    assert(copy.digest == view->digest);
    assert(copy.members.size == view->members.size && copy.metadata.size == view->metadata.size);
    for (size_t i = 0; i < view->members.size; i++)
        assert(strcmp(copy.members.data[i].address, view->members.data[i].address) == 0);
    flock_group_view_clear(&copy);
}

static void touch_answer(const void *value)
{
    check_invariants(&((const flk_get_view_out_t *)value)->view);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    flk_get_view_out_t answer;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    if (size > 0 && data[0] & 1) {
        if (flock_group_view_from_string((const char *)data + 1, size - 1, &view) == FLOCK_SUCCESS) {
            assert(view.members.size > 0);
            check_invariants(&view);
        }
        flock_group_view_clear(&view);
    } else if (size > 0) {
        fuzz_proc_decode(hg_proc_flk_get_view_out_t, &answer, sizeof answer, data + 1, size - 1, touch_answer);
        assert(!answer.view.members.data && !answer.view.metadata.data);
    }
    return 0;
}

void fuzz_corpus(void)
{
    static const char text[] = "\1{\"members\":[{\"address\":\"na+sm://1-0\",\"provider_id\":1},{\"address\":\"b\","
                               "\"provider_id\":65535}],\"metadata\":{\"__type__\":\"static\",\"n\":3}}";
    flk_get_view_out_t answer = {.version = 7};
    fuzz_proc_begin();
    fuzz_seed(text, sizeof text - 1);
    flock_group_view_add_member(&answer.view, "na+sm://1-0", 1);
    flock_group_view_add_member(&answer.view, "na+sm://1-0", 2);
    flock_group_view_add_member(&answer.view, "na+sm://2-0", 1);
    flock_group_view_add_metadata(&answer.view, "__type__", "static");
    flock_group_view_add_metadata(&answer.view, "owner", "");
    fuzz_proc_seed(0, hg_proc_flk_get_view_out_t, &answer);
    flock_group_view_clear(&answer.view);
}
