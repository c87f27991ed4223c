/*
 * Any bytes as a view: the answer of a provider, and the text of a group file; and as the other messages of Flock. What is
 * accepted must be a proper view, and have what handlers rely on. Input: a byte that chooses, then the message or the text.
 */
#include "tests/mercury/fuzz_proc.h"

#include "flock/backends/centralized/centralized.h"
#include "flock/backends/swim/machine.h"
#include "flock/backends/swim/wire.h"

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

static void touch_request(const void *value)
{
    const flk_cen_request_t *request = value;
    assert(request->from && request->type < CEN_TYPES);
    assert(request->update == CEN_NO_UPDATE || request->name);
    assert(request->update != FLOCK_MEMBER_MOVED || request->value);
    check_invariants(&request->view);
}

static void touch_primary(const void *value)
{
    const flk_cen_answer_t *answer = value;
    assert(answer->primary && answer->status <= CEN_FAILED);
    check_invariants(&answer->view);
}

static void touch_swim(const void *value)
{
    const flk_swim_message_t *message = value;
    assert(message->from && message->type < SWIM_MESSAGE_TYPES);
    for (uint64_t i = 0; i < message->event_count; i++) {
        assert(message->events[i].address && message->events[i].type < SWIM_EVENT_TYPES);
        assert((message->events[i].type == SWIM_MOVE) == (message->events[i].former != NULL));
    }
    for (uint64_t i = 0; i < message->value_count; i++)
        assert(message->values[i].key);
}

static void touch_text(const uint8_t *text, size_t size)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    if (flock_group_view_from_string((const char *)text, size, &view) == FLOCK_SUCCESS) {
        assert(view.members.size > 0);
        check_invariants(&view);
    }
    flock_group_view_clear(&view);
}

enum kind { ANSWER, TEXT, REQUEST, PRIMARY, SWIM, METADATA, KINDS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    union {
        flk_get_view_out_t answer;
        flk_cen_request_t request;
        flk_cen_answer_t primary;
        flk_swim_message_t swim;
        flk_set_metadata_in_t metadata;
    } value;
    static const struct {
        hg_proc_cb_t proc;
        void (*touch)(const void *value);
    } messages[KINDS] = {
        [ANSWER] = {hg_proc_flk_get_view_out_t, touch_answer}, [REQUEST] = {hg_proc_flk_cen_request_t, touch_request},
        [PRIMARY] = {hg_proc_flk_cen_answer_t, touch_primary}, [SWIM] = {hg_proc_flk_swim_message_t, touch_swim},
        [METADATA] = {hg_proc_flk_set_metadata_in_t, NULL},
    };
    if (size == 0)
        return 0;
    enum kind kind = data[0] % KINDS;
    if (kind == TEXT)
        touch_text(data + 1, size - 1);
    else
        fuzz_proc_decode(messages[kind].proc, &value, sizeof value, data + 1, size - 1, messages[kind].touch);
    if (kind == ANSWER)
        assert(!value.answer.view.members.data && !value.answer.view.metadata.data);
    return 0;
}

void fuzz_corpus(void)
{
    static const char text[] = "\1{\"members\":[{\"address\":\"na+sm://1-0\",\"provider_id\":1},{\"address\":\"b\","
                               "\"provider_id\":65535}],\"metadata\":{\"__type__\":\"static\",\"n\":3}}";
    static char address[] = "na+sm://3-0";
    flk_get_view_out_t answer = {.version = 7};
    fuzz_proc_begin();
    fuzz_seed(text, sizeof text - 1);
    flock_group_view_add_member(&answer.view, "na+sm://1-0", 1);
    flock_group_view_add_member(&answer.view, "na+sm://1-0", 2);
    flock_group_view_add_member(&answer.view, "na+sm://2-0", 1);
    flock_group_view_add_metadata(&answer.view, "__type__", "static");
    flock_group_view_add_metadata(&answer.view, "owner", "");
    fuzz_proc_seed(ANSWER, hg_proc_flk_get_view_out_t, &answer);
    flk_cen_request_t request = {.type = CEN_UPDATE,
                                 .from = address,
                                 .update = FLOCK_MEMBER_MOVED,
                                 .name = address,
                                 .value = address,
                                 .view = answer.view};
    fuzz_proc_seed(REQUEST, hg_proc_flk_cen_request_t, &request);
    fuzz_proc_seed(PRIMARY, hg_proc_flk_cen_answer_t, &(flk_cen_answer_t){.primary = address, .view = answer.view});
    struct flk_swim_event events[] = {
        {.type = SWIM_JOIN, .address = address},
        {.type = SWIM_SUSPECT, .accuser = 7, .address = address},
        {.type = SWIM_MOVE, .address = address, .former = address},
    };
    struct flk_swim_value values[] = {{.key = address, .value = address}, {.key = address}};
    flk_swim_message_t message = {
        .type = SWIM_STATE, .from = address, .event_count = 3, .value_count = 2, .events = events, .values = values};
    fuzz_proc_seed(SWIM, hg_proc_flk_swim_message_t, &message);
    fuzz_proc_seed(METADATA, hg_proc_flk_set_metadata_in_t, &(flk_set_metadata_in_t){address, address});
    flock_group_view_clear(&answer.view);
}
