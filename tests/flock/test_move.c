/*
 * A gateway that changes its address: one MOVED at every member, at the mover, and at subscribed clients, with both dynamic
 * backends, for the primary as for others. Over tcp, where this process has more than one address.
 */
#include "tests/flock/groups.h"

#include "flock/backends/centralized/centralized.h"
#include "flock/internal.h"
#include "flock/provider/provider.h"

#include <unistd.h>

#define CENTRALIZED                                                                                                    \
    "\"centralized\",\"config\":{\"ping_timeout_ms\":400,\"ping_interval_ms\":50,\"ping_max_num_timeouts\":2}"
#define UNHURRIED "\"centralized\",\"config\":{\"ping_interval_ms\":60000}"
#define SWIM                                                                                                           \
    "\"swim\",\"config\":{\"protocol_period_ms\":60,\"ping_timeout_ms\":40,\"ping_req_timeout_ms\":60,"                \
    "\"suspicion_timeout_ms\":300}"

/* One whose primary is none of ours, and is not replaced. */
#define ALONE                                                                                                          \
    "{\"gateway\":{\"type\":\"moving\"},\"group\":{\"type\":\"centralized\",\"config\":{"                              \
    "\"ping_interval_ms\":60000,\"failover\":false}}}"

static char directory[] = "/tmp/flock-move-XXXXXX";
static char path[64], centralized[512], unhurried[512], swim[512], elsewhere[256];

/* ---- a gateway of two addresses ---- */

static uint16_t moved_id; /* the provider that is published under the second one; 0: none */

struct gateway {
    uint16_t id;
};

static flock_return_t gateway_init(flock_gateway_init_args_t *args, void **context)
{
    struct gateway *gateway = malloc(sizeof *gateway);
    gateway->id = args->provider_id;
    *context = gateway;
    return FLOCK_SUCCESS;
}

static flock_return_t gateway_destroy(void *context)
{
    free(context);
    return FLOCK_SUCCESS;
}

static flock_return_t gateway_config(void *context, void (*fn)(void *, const struct json_object *), void *uargs)
{
    (void)context;
    fn(uargs, NULL);
    return FLOCK_SUCCESS;
}

static const char *gateway_public(void *context)
{
    return ((struct gateway *)context)->id == moved_id ? elsewhere : address;
}

static const char *gateway_local(void *context)
{
    (void)context;
    return address;
}

static flock_gateway_impl gateway = {.name = "moving",
                                     .init_gateway = gateway_init,
                                     .destroy_gateway = gateway_destroy,
                                     .get_config = gateway_config,
                                     .get_public_address = gateway_public,
                                     .get_local_address = gateway_local};

/* ---- the tests ---- */

/* Whether every member sees these many, and the mover at the second address only. */
static bool all_see_it_elsewhere(size_t count)
{
    bool all = true;
    for (uint16_t id = 1; id <= GROUP_MAX && all; id++) {
        flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
        if (!providers[id] || id == moved_id) /* whom clients find by its new address */
            continue;
        fetch_view(id, &view);
        all = view.members.size == count && flock_group_view_find_member(&view, elsewhere, moved_id) &&
              !flock_group_view_find_member(&view, address, moved_id);
        flock_group_view_clear(&view);
    }
    return all;
}

static bool all_have_the_key(void)
{
    bool all = true;
    for (uint16_t id = 1; id <= 3 && all; id++) {
        flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
        all = fetch_view(id, &view) && flock_group_view_find_metadata(&view, "key");
        flock_group_view_clear(&view);
    }
    return all;
}

static bool file_has_it_elsewhere(void)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    bool has = flock_group_view_from_file(path, &view) == FLOCK_SUCCESS &&
               flock_group_view_find_member(&view, elsewhere, moved_id);
    flock_group_view_clear(&view);
    return has;
}

static void check_counts(const struct counts *counts)
{
    assert_int_equal(counts->members[FLOCK_MEMBER_MOVED], 1);
    assert_int_equal(counts->members[FLOCK_MEMBER_JOINED] + counts->members[FLOCK_MEMBER_LEFT] +
                         counts->members[FLOCK_MEMBER_DIED],
                     0);
    assert_string_equal(counts->last, elsewhere);
    assert_int_equal(counts->last_id, moved_id);
}

static void move(const char *config, uint16_t id)
{
    static struct counts counts[4], client_counts; /* live as long as the providers */
    flock_client_t client;
    flock_group_handle_t handle;
    hg_addr_t self;
    memset(counts, 0, sizeof counts);
    memset(&client_counts, 0, sizeof client_counts);
    moved_id = 0;
    start_group(3, config);
    for (uint16_t i = 1; i <= 3; i++)
        assert_ok(flock_provider_add_update_callbacks(providers[i], count_member, count_metadata, &counts[i]));
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    margo_addr_self(mid, &self);
    assert_ok(flock_group_handle_create(client, self, id == 3 ? 2 : 3, 0, &handle));
    assert_ok(flock_group_subscribe(handle, count_member, count_metadata, &client_counts));
    assert_ok(flock_group_metadata_set(handle, "key", "value"));
    wait_for(all_have_the_key(), 3000); /* each is in step with the others: none will ask for a whole view */
    assert_ok(flock_provider_update_address(providers[id])); /* nothing has changed */
    assert_true(all_see("1,2,3"));
    moved_id = id;
    assert_ok(flock_provider_update_address(providers[id]));
    wait_for(all_see_it_elsewhere(3) && file_has_it_elsewhere(), 5000);
    wait_for(client_counts.members[FLOCK_MEMBER_MOVED] == 1, 5000);
    stays(all_see_it_elsewhere(3), 1000);
    for (uint16_t i = 1; i <= 3; i++)
        check_counts(&counts[i]);
    check_counts(&client_counts);
    char *text = flock_provider_get_statistics(providers[id]);
    assert_contains(text, elsewhere);
    free(text);
    assert_ok(flock_group_handle_release(handle));
    margo_addr_free(mid, self);
    assert_ok(flock_client_finalize(client));
    /* It leaves under its new name. */
    end_member(id);
    uint16_t other = id == 2 ? 3 : 2;
    wait_for(counts[other].members[FLOCK_MEMBER_LEFT] == 1, 3000);
    assert_string_equal(counts[other].last, elsewhere);
    assert_int_equal(counts[other].members[FLOCK_MEMBER_DIED], 0);
}

static void a_secondary_moves(void **state)
{
    (void)state;
    move(centralized, 2);
}

static void the_primary_moves(void **state)
{
    (void)state;
    move(centralized, 1);
}

static void a_swim_member_moves(void **state)
{
    (void)state;
    move(swim, 2);
}

static void the_writer_of_the_file_moves(void **state)
{
    (void)state;
    move(swim, 1);
}

static void what_cannot_move(void **state)
{
    (void)state;
    moved_id = 0;
    assert_ret(flock_provider_update_address(NULL), FLOCK_ERR_INVALID_ARGS);
    assert_ok(register_member(1, "{\"group\":{\"type\":\"static\"},\"gateway\":{\"type\":\"moving\"}}", 1, 1));
    assert_ok(flock_provider_update_address(providers[1]));
    moved_id = 1;
    assert_ret(flock_provider_update_address(providers[1]), FLOCK_ERR_OP_UNSUPPORTED);
    char *text = flock_provider_get_statistics(providers[1]);
    assert_contains(text, address);
    free(text);
    end_group();
    /* The primary is gone, and has not been replaced yet. */
    moved_id = 0;
    assert_ok(register_member(2, ALONE, 1, 2));
    moved_id = 2;
    assert_ret(flock_provider_update_address(providers[2]), FLOCK_ERR_FROM_MERCURY);
    assert_true(sees(2, "1,2"));
}

/* ---- a move whose end not everybody knows ---- */

#define TERM    1 /* of the group */
#define VERSION 1

static int say(uint16_t to, flk_cen_request_t *request)
{
    flk_cen_answer_t answer = {0};
    struct flk_call call;
    hg_id_t rpc = MARGO_REGISTER(mid, FLK_RPC_CENTRALIZED, flk_cen_request_t, flk_cen_answer_t, NULL);
    assert_int_equal(flk_call_start(&call, mid, rpc, address, to, request, 2000), HG_SUCCESS);
    assert_int_equal(flk_call_wait(&call, &answer), HG_SUCCESS);
    int status = answer.status;
    margo_free_output(call.handle, &answer);
    flk_call_end(&call);
    margo_deregister(mid, rpc);
    return status;
}

/* The primary has done it, but the mover does not know. */
static void an_answer_that_was_lost(void **state)
{
    (void)state;
    moved_id = 0;
    start_group(3, unhurried);
    flk_cen_request_t request = {.type = CEN_MOVE,
                                 .from = address,
                                 .from_id = 2,
                                 .update = FLOCK_MEMBER_MOVED,
                                 .name = elsewhere,
                                 .value = address,
                                 .id = 2};
    moved_id = 2;
    assert_int_equal(say(1, &request), CEN_OK);
    assert_ok(flock_provider_update_address(providers[2]));
    wait_for(all_see_it_elsewhere(3), 3000);
    stays(all_see_it_elsewhere(3), 500);
}

/* Whether a member has exactly these two in its view. */
static bool has_both(uint16_t id, const char *first, uint16_t first_id, const char *second, uint16_t second_id)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    bool both = flk_provider_snapshot(providers[id], &view) && view.members.size == 2 &&
                flock_group_view_find_member(&view, first, first_id) &&
                flock_group_view_find_member(&view, second, second_id);
    flock_group_view_clear(&view);
    return both;
}

/* What the primary of ids 1, which is lost now, has told member `to` last. */
static void tell_move(uint16_t to, uint16_t id, const char *from, const char *there)
{
    flk_cen_request_t request = {.type = CEN_UPDATE,
                                 .from = address,
                                 .from_id = 1,
                                 .term = TERM,
                                 .version = VERSION + 1,
                                 .update = FLOCK_MEMBER_MOVED,
                                 .name = (char *)(uintptr_t)there,
                                 .value = (char *)(uintptr_t)from,
                                 .id = id};
    assert_int_equal(say(to, &request), CEN_OK);
}

/* The primary has moved member 3, told member 2, and is lost: member 3 never heard of it. */
static void a_primary_that_is_lost_after_a_move(void **state)
{
    (void)state;
    moved_id = 0;
    assert_ok(register_member(2, centralized, 1, 3));
    assert_ok(register_member(3, centralized, 1, 3));
    tell_move(2, 3, address, elsewhere);
    wait_for(has_both(2, address, 2, address, 3) && has_both(3, address, 2, address, 3), 8000);
    stays(has_both(2, address, 2, address, 3) && has_both(3, address, 2, address, 3), 500);
}

/* Each comes after the other by its own view, and would wait for it. */
static void two_that_disagree_on_their_order(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    struct flock_provider_args args = FLOCK_PROVIDER_ARGS_INIT;
    moved_id = 2;
    for (uint16_t id = 2; id <= 3; id++) {
        flock_group_view_add_member(&view, address, 1);
        flock_group_view_add_member(&view, elsewhere, 2);
        flock_group_view_add_member(&view, address, 3);
        args.initial_view = &view;
        assert_ok(flock_provider_register(mid, id, centralized, &args, &providers[id]));
    }
    tell_move(3, 2, elsewhere, address);
    wait_for(has_both(2, elsewhere, 2, address, 3) && has_both(3, elsewhere, 2, address, 3), 8000);
    stays(has_both(2, elsewhere, 2, address, 3) && has_both(3, elsewhere, 2, address, 3), 500);
}

static void move_when_dead(void *arg, flock_update_t update, const char *member, uint16_t id)
{
    (void)member;
    if (update != FLOCK_MEMBER_DIED || id != 3)
        return;
    moved_id = 3;
    *(flock_return_t *)arg = flock_provider_update_address(providers[3]);
}

/* One that hears in a callback that it was removed moves there and then: the group takes it in again meanwhile. */
static void a_callback_that_moves(void **state)
{
    (void)state;
    flk_cen_request_t leave = {.type = CEN_LEAVE, .from = address, .from_id = 3, .update = CEN_NO_UPDATE};
    static flock_return_t ret; /* lives as long as the provider */
    ret = FLOCK_ERR_OTHER;
    moved_id = 0;
    start_group(3, centralized);
    assert_ok(flock_provider_add_update_callbacks(providers[3], move_when_dead, NULL, &ret));
    assert_int_equal(say(1, &leave), CEN_OK);
    wait_for(ret == FLOCK_SUCCESS, 5000);
    wait_for(all_see_it_elsewhere(3), 3000);
}

/* ---- a primary that answers as it is told ---- */

#define LOST   (-1) /* comes too late */
#define OTHER  9    /* another one */
#define SCRIPT 4

static struct {
    int status[SCRIPT]; /* of the answers to CEN_MOVE, one after the other */
    uint64_t term;      /* of these answers */
    uint16_t asked[SCRIPT];
    size_t count;
    uint16_t fetched; /* from whom; 0: not */
    int pinged;       /* the answer of one that waits for ours to a ping at the address that it is to have */
} script;

/* The answer to a ping of the primary for a member at `elsewhere`. */
static int ping_elsewhere(uint16_t to)
{
    flk_cen_request_t ping = {.type = CEN_PING,
                              .from = address,
                              .from_id = 1,
                              .to = elsewhere,
                              .term = TERM,
                              .version = VERSION,
                              .update = CEN_NO_UPDATE};
    return say(to, &ping);
}

static void script_ult(hg_handle_t handle)
{
    flk_cen_request_t request;
    flk_cen_answer_t answer = {.status = CEN_FAILED, .term = TERM, .version = VERSION, .primary = address};
    uint16_t id = margo_get_info(handle)->id & 0xffff;
    assert_int_equal(margo_get_input(handle, &request), HG_SUCCESS);
    answer.primary_id = id;
    if (request.type == CEN_FETCH)
        script.fetched = id;
    if (request.type == CEN_MOVE && script.count < SCRIPT) {
        script.asked[script.count] = id;
        int status = script.status[script.count++];
        script.pinged = ping_elsewhere(moved_id);
        if (status == LOST)
            margo_thread_sleep(mid, CEN_CALL_MS + 100);
        answer.status = status == LOST ? CEN_OK : (uint8_t)status;
        answer.term = script.term;
        answer.version = VERSION + 1;
        if (status == CEN_REDIRECT)
            answer.primary_id = OTHER;
    }
    margo_free_input(handle, &request);
    margo_respond(handle, &answer);
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(script_ult)

    struct scripted {
    int status[SCRIPT];
    uint64_t term;
    flock_return_t ret;
    size_t count;            /* of requests */
    uint16_t asked, fetched; /* who was asked last, and for the view */
};

static void play(const struct scripted *step)
{
    memset(&script, 0, sizeof script);
    memcpy(script.status, step->status, sizeof script.status);
    script.term = step->term;
    moved_id = 0;
    assert_ok(register_member(2, ALONE, 1, 2));
    moved_id = 2;
    assert_ret(flock_provider_update_address(providers[2]), step->ret);
    assert_int_equal(script.count, step->count);
    assert_int_equal(script.asked[script.count - 1], step->asked);
    assert_int_equal(script.pinged, CEN_OK);
    assert_int_equal(ping_elsewhere(2), step->ret == FLOCK_SUCCESS ? CEN_OK : CEN_STRANGER);
    if (step->fetched)
        wait_for(script.fetched == step->fetched, 3000);
    char *text = flock_provider_get_statistics(providers[2]);
    assert_contains(text, step->ret == FLOCK_SUCCESS ? elsewhere : address);
    free(text);
    end_member(2);
    assert_int_equal(script.fetched, step->fetched);
}

static void what_a_primary_may_answer(void **state)
{
    (void)state;
    static const struct scripted steps[] = {
        {{CEN_OK}, TERM, FLOCK_SUCCESS, 1, 1, 0},
        {{CEN_OK}, TERM + 1, FLOCK_SUCCESS, 1, 1, 1}, /* with a view that we do not know */
        {{LOST, CEN_FAILED, CEN_OK}, TERM, FLOCK_SUCCESS, 3, 1, 0},
        {{CEN_REDIRECT, CEN_OK}, TERM + 1, FLOCK_SUCCESS, 2, OTHER, OTHER},
        {{CEN_OK, CEN_OK}, TERM - 1, FLOCK_ERR_FROM_MERCURY, SCRIPT, 1, 0}, /* of one that has been replaced */
        {{CEN_TAKEN}, TERM, FLOCK_ERR_INVALID_ARGS, 1, 1, 0},
        {{CEN_UNKNOWN}, TERM, FLOCK_ERR_FROM_MERCURY, 1, 1, 0},
    };
    static const uint16_t ids[] = {1, OTHER};
    hg_id_t rpcs[2];
    for (size_t i = 0; i < 2; i++)
        rpcs[i] = MARGO_REGISTER_PROVIDER(mid, FLK_RPC_CENTRALIZED, flk_cen_request_t, flk_cen_answer_t, script_ult,
                                          ids[i], ABT_POOL_NULL);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
        play(&steps[i]);
    for (size_t i = 0; i < 2; i++)
        margo_deregister(mid, rpcs[i]);
}

/* The primary has moved member 3 and said so, but to nobody else, and is lost: it is not where member 2 has it. */
static void a_primary_that_told_only_the_mover(void **state)
{
    (void)state;
    memset(&script, 0, sizeof script);
    script.term = TERM;
    hg_id_t rpc = MARGO_REGISTER_PROVIDER(mid, FLK_RPC_CENTRALIZED, flk_cen_request_t, flk_cen_answer_t, script_ult, 1,
                                          ABT_POOL_NULL);
    moved_id = 0;
    assert_ok(register_member(2, centralized, 1, 3));
    assert_ok(register_member(3, centralized, 1, 3));
    moved_id = 3;
    assert_ok(flock_provider_update_address(providers[3]));
    wait_for(has_both(2, address, 2, elsewhere, 3) && has_both(3, address, 2, elsewhere, 3), 8000);
    stays(has_both(2, address, 2, elsewhere, 3) && has_both(3, address, 2, elsewhere, 3), 500);
    end_group();
    margo_deregister(mid, rpc);
}

/* ---- the state of a group ---- */

static void ignore_member(void *arg, flock_update_t update, const char *member, uint16_t id)
{
    (void)arg;
    (void)update;
    (void)member;
    (void)id;
}

static void ignore_change(void *arg, flock_update_t update, const char *member, const char *former, uint16_t id)
{
    (void)former;
    ignore_member(arg, update, member, id);
}

/* A primary does not look for a lost one at an address at which another member is by now. */
static void a_lost_address_that_is_used_again(void **state)
{
    (void)state;
    struct flk_cen_group *group = calloc(1, sizeof *group);
    group->self = (char[]){"a"};
    struct flk_backend_args args = {
        .args = {.member_update_callback = ignore_member, .metadata_update_callback = count_metadata},
        .member_changed = ignore_change};
    flk_events_init(&group->events, &args.args);
    assert_true(flk_cen_add(group, "b", 2));
    assert_true(flk_cen_remove(group, FLOCK_MEMBER_DIED, "b", 2));
    assert_int_equal(group->lost.members.size, 1);
    assert_true(flk_cen_add(group, "c", 2));
    assert_int_equal(group->lost.members.size, 1);
    assert_true(flk_cen_move(group, "c", "b", 2));
    assert_int_equal(group->lost.members.size, 0);
    flk_events_discard(&group->events);
    flock_group_view_clear(&group->view);
    flock_group_view_clear(&group->lost);
    free(group);
}

/* ---- what clients hear of members that are gone ---- */

static void check_gone(struct flock_provider *provider, const char *expected_left, const char *expected_moved)
{
    flock_group_view_t views[2] = {FLOCK_GROUP_VIEW_INITIALIZER, FLOCK_GROUP_VIEW_INITIALIZER};
    const char *const expected[2] = {expected_left, expected_moved};
    flk_watch_gone(provider, &views[0], &views[1]);
    for (size_t i = 0; i < 2; i++) {
        char found[256] = "";
        for (uint64_t k = 0; k < views[i].members.size; k++)
            strcat(found, views[i].members.data[k].address);
        assert_string_equal(found, expected[i]);
        flock_group_view_clear(&views[i]);
    }
}

/* Whoever is gone from where he moved to is gone from where he came from. */
static void the_end_of_one_that_has_moved(void **state)
{
    (void)state;
    struct flock_provider *provider = calloc(1, sizeof *provider);
    flk_watch_member(provider, FLOCK_MEMBER_MOVED, "b", "a", 1);
    flk_watch_member(provider, FLOCK_MEMBER_MOVED, "y", "x", 1); /* a provider of the same id */
    check_gone(provider, "", "abxy");
    flk_watch_member(provider, FLOCK_MEMBER_DIED, "b", NULL, 1);
    check_gone(provider, "", "xy");
    flk_watch_member(provider, FLOCK_MEMBER_MOVED, "z", "y", 1);
    flk_watch_member(provider, FLOCK_MEMBER_LEFT, "z", NULL, 2); /* another one */
    check_gone(provider, "z", "xyz");
    flk_watch_member(provider, FLOCK_MEMBER_LEFT, "z", NULL, 1);
    check_gone(provider, "xyzz", "");
    flk_watch_member(provider, FLOCK_MEMBER_JOINED, "z", NULL, 1);
    check_gone(provider, "xyz", "");
    flk_watch_member(provider, FLOCK_MEMBER_MOVED, "x", "z", 1);
    flk_watch_member(provider, FLOCK_MEMBER_MOVED, "z", "x", 1); /* and back */
    check_gone(provider, "yz", "xz");
    flk_watch_forget(provider);
    free(provider);
}

static void the_oldest_entry_is_forgotten(void **state)
{
    (void)state;
    struct flock_provider *provider = calloc(1, sizeof *provider);
    flk_watch_member(provider, FLOCK_MEMBER_MOVED, "z", "y", 1);
    flk_watch_member(provider, FLOCK_MEMBER_MOVED, "b", "a", 1);
    for (uint16_t id = 2; id < FLK_GONE_MAX; id++)
        flk_watch_member(provider, FLOCK_MEMBER_LEFT, "", NULL, id);
    check_gone(provider, "", "abyz");
    flk_watch_member(provider, FLOCK_MEMBER_LEFT, "", NULL, 1);
    check_gone(provider, "", "ab");
    flk_watch_forget(provider);
    free(provider);
}

static int end(void **state)
{
    end_group_teardown(state);
    unlink(path);
    return 0;
}

/* The name is another address than the numbers. */
static int init(void **state)
{
    (void)state;
    mid = margo_init("tcp://127.0.0.1:0", MARGO_SERVER_MODE, 0, 0);
    if (!mid || !mkdtemp(directory))
        return -1;
    own_address(mid, address, sizeof address);
    snprintf(elsewhere, sizeof elsewhere, "tcp://localhost%s", strrchr(address, ':'));
    snprintf(path, sizeof path, "%s/group.json", directory);
    static const char config[] = "{\"file\":\"%s\",\"gateway\":{\"type\":\"moving\"},\"group\":{\"type\":%s}}";
    snprintf(centralized, sizeof centralized, config, path, CENTRALIZED);
    snprintf(unhurried, sizeof unhurried, config, path, UNHURRIED);
    snprintf(swim, sizeof swim, config, path, SWIM);
    return flock_register_gateway(&gateway) == FLOCK_SUCCESS ? 0 : -1;
}

static int fini(void **state)
{
    stop_margo(state);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_secondary_moves, end),
        cmocka_unit_test_teardown(the_primary_moves, end),
        cmocka_unit_test_teardown(a_swim_member_moves, end),
        cmocka_unit_test_teardown(the_writer_of_the_file_moves, end),
        cmocka_unit_test_teardown(what_cannot_move, end),
        cmocka_unit_test_teardown(an_answer_that_was_lost, end),
        cmocka_unit_test_teardown(a_callback_that_moves, end),
        cmocka_unit_test_teardown(a_primary_that_is_lost_after_a_move, end),
        cmocka_unit_test_teardown(two_that_disagree_on_their_order, end),
        cmocka_unit_test_teardown(a_primary_that_told_only_the_mover, end),
        cmocka_unit_test_teardown(what_a_primary_may_answer, end),
        cmocka_unit_test(a_lost_address_that_is_used_again),
        cmocka_unit_test(the_end_of_one_that_has_moved),
        cmocka_unit_test(the_oldest_entry_is_forgotten),
    };
    return cmocka_run_group_tests(tests, init, fini);
}
