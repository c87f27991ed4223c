/*
 * Backend centralized in one process on one execution stream: configuration, joining and leaving in every order, updates,
 * metadata, and the primary's role handed on.
 */
#include "tests/flock/groups.h"

#include "flock/backends/centralized/centralized.h"

#include "util/json.h"
#include "util/log.h"

#define OPTIONS "\"ping_timeout_ms\":400,\"ping_interval_ms\":[80,100.0],\"ping_max_num_timeouts\":2"
#define CONFIG  "{\"group\":{\"type\":\"centralized\",\"config\":{" OPTIONS "}}}"

static void primary_of(uint16_t id, char *primary, size_t size)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    assert_true(fetch_view(id, &view));
    const char *text = flock_group_view_find_metadata(&view, "__config__");
    struct json_object *json = dango_json_parse(text, strlen(text), NULL);
    snprintf(primary, size, "%s", json_object_to_json_string(dango_json_get(json, "primary_provider_id")));
    json_object_put(json);
    flock_group_view_clear(&view);
}

static bool has_primary(uint16_t id, const char *expected)
{
    char primary[16];
    primary_of(id, primary, sizeof primary);
    return strcmp(primary, expected) == 0;
}

static void effective_configuration(void **state)
{
    (void)state;
    char expected[1024];
    start_group(3, "{\"bootstrap\":\"view\",\"group\":{\"type\":\"centralized\",\"config\":{\"ping_timeout_ms\":400.0,"
                   "\"ping_interval_ms\":[800.0,1000.0],\"ping_max_num_timeouts\":2,\"primary_provider_id\":1}}}");
    snprintf(expected, sizeof expected,
             "{\"gateway\":{\"type\":\"default\",\"config\":{}},\"group\":{\"type\":\"centralized\",\"config\":{"
             "\"ping_timeout_ms\":400.0,\"ping_interval_ms\":[800.0,1000.0],\"ping_max_num_timeouts\":2,"
             "\"primary_address\":\"%s\",\"primary_provider_id\":1}}}",
             address);
    char *config = flock_provider_get_config(providers[3]);
    assert_string_equal(config, expected);
    free(config);
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    assert_true(fetch_view(1, &view));
    assert_int_equal(view.metadata.size, 4);
    assert_string_equal(flock_group_view_find_metadata(&view, "__type__"), "centralized");
    flock_group_view_clear(&view);
    assert_true(all_see("1,2,3"));
}

static void refused_configurations(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"ping_timeout_ms\":-1",
        "\"ping_timeout_ms\":\"1\"",
        "\"ping_interval_ms\":[2,1]",
        "\"ping_interval_ms\":[1]",
        "\"ping_interval_ms\":-1",
        "\"ping_max_num_timeouts\":0",
        "\"primary_provider_id\":65536",
        "\"primary_provider_id\":7",
        "\"primary_address\":\"na+sm://1-0\"",
        "\"ping_timeout\":1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char config[256];
        snprintf(config, sizeof config, "{\"group\":{\"type\":\"centralized\",\"config\":{%s}}}", bad[i]);
        if (register_member(1, config, 1, 2) != FLOCK_ERR_INVALID_CONFIG)
            fail_msg("accepted: %s", bad[i]);
    }
    /* A joiner needs to know the primary. */
    assert_ret(register_member(3, CONFIG, 1, 2), FLOCK_ERR_INVALID_CONFIG);
}

static void a_third_member_joins(void **state)
{
    (void)state;
    static struct counts counts[3]; /* lives as long as the providers */
    start_group(2, CONFIG);
    for (int id = 1; id <= 2; id++)
        assert_ok(flock_provider_add_update_callbacks(providers[id], count_member, count_metadata, &counts[id]));
    char config[512];
    snprintf(config, sizeof config,
             "{\"group\":{\"type\":\"centralized\",\"config\":{" OPTIONS
             ",\"primary_provider_id\":1,\"primary_address\":\"%s\"}}}",
             address);
    assert_ok(register_member(3, config, 1, 1));
    assert_true(sees(1, "1,2,3"));
    assert_true(sees(3, "1,2,3"));
    wait_for(all_see("1,2,3") && counts[2].members[FLOCK_MEMBER_JOINED] == 1, 2000);
    assert_int_equal(counts[1].members[FLOCK_MEMBER_JOINED], 1);
    stays(all_see("1,2,3"), 500);
    /* A secondary leaves: everybody is told that it left. */
    end_member(3);
    wait_for(all_see("1,2") && counts[2].members[FLOCK_MEMBER_LEFT] == 1, 2000);
    assert_int_equal(counts[1].members[FLOCK_MEMBER_LEFT], 1);
    assert_int_equal(counts[1].members[FLOCK_MEMBER_DIED] + counts[2].members[FLOCK_MEMBER_DIED], 0);
    assert_true(counts[1].last_id == 3 && counts[2].last_id == 3);
}

/* All that the file names are gone: they are asked at once, and none answers. */
static void nobody_to_join(void **state)
{
    (void)state;
    static const char config[] = "{\"group\":{\"type\":\"centralized\",\"config\":{" OPTIONS
                                 ",\"primary_provider_id\":1,\"primary_address\":\"%s\"}}}";
    char text[512];
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    struct flock_provider_args args = FLOCK_PROVIDER_ARGS_INIT;
    snprintf(text, sizeof text, config, test_nobody());
    for (uint16_t id = 1; id <= 4; id++)
        flock_group_view_add_member(&view, test_nobody(), id);
    args.initial_view = &view;
    int64_t start = dango_clock_ns();
    assert_ret(flock_provider_register(mid, 9, text, &args, &providers[9]), FLOCK_ERR_FROM_MERCURY);
    assert_true(dango_clock_ns() - start < 6 * DANGO_NS_PER_S);
}

/* The primary is not the first of the view, and a joiner comes before it. */
static void a_primary_in_the_middle(void **state)
{
    (void)state;
    char config[512];
    snprintf(config, sizeof config,
             "{\"group\":{\"type\":\"centralized\",\"config\":{" OPTIONS
             ",\"primary_provider_id\":4,\"primary_address\":\"%s\"}}}",
             address);
    for (uint16_t id = 3; id <= 5; id++)
        assert_ok(register_member(id, config, 3, 5));
    assert_ok(register_member(1, config, 4, 4));
    wait_for(all_see("1,3,4,5"), 2000);
    assert_true(has_primary(1, "4"));
    stays(all_see("1,3,4,5"), 500);
    end_member(5);
    wait_for(all_see("1,3,4"), 2000);
}

static void the_leaving_primary_hands_over(void **state)
{
    (void)state;
    static struct counts counts;
    start_group(4, CONFIG);
    assert_ok(flock_provider_add_update_callbacks(providers[3], count_member, count_metadata, &counts));
    end_member(1);
    wait_for(all_see("2,3,4"), 2000);
    wait_for(has_primary(2, "2") && has_primary(3, "2") && has_primary(4, "2"), 2000);
    wait_for(counts.members[FLOCK_MEMBER_LEFT] == 1, 2000);
    assert_int_equal(counts.members[FLOCK_MEMBER_DIED], 0);
    end_member(2);
    wait_for(all_see("3,4") && has_primary(4, "3"), 2000);
    stays(all_see("3,4"), 500);
    end_member(3);
    wait_for(all_see("4") && has_primary(4, "4"), 2000);
}

static void count_warning(void *arg, enum dango_log_level level, const char *component, const char *text)
{
    (void)component;
    (void)text;
    *(int *)arg += level >= DANGO_LOG_WARNING;
}

static void end_one(void *arg)
{
    end_member((uint16_t)(uintptr_t)arg);
}

/* Ends the members 1 to `last` at the same time, as a launcher does; how many warnings that costs. */
static int end_together(uint16_t last)
{
    ABT_thread ults[GROUP_MAX];
    ABT_pool pool;
    int warnings = 0;
    margo_get_handler_pool(mid, &pool);
    dango_log_set_sink(count_warning, &warnings);
    for (uintptr_t id = 1; id <= last; id++)
        ABT_thread_create(pool, end_one, (void *)id, ABT_THREAD_ATTR_NULL, &ults[id - 1]);
    for (uint16_t i = 0; i < last; i++)
        ABT_thread_free(&ults[i]);
    dango_log_set_sink(NULL, NULL);
    return warnings;
}

/* Nobody is left to take over: nothing to warn of, and nothing to wait for. */
static void all_end_at_the_same_time(void **state)
{
    (void)state;
    for (uint16_t count = 2; count <= 4; count++) {
        start_group(count, CONFIG);
        int64_t start = dango_clock_ns();
        assert_int_equal(end_together(count), 0);
        assert_true(dango_clock_ns() - start < 900 * DANGO_NS_PER_MS);
    }
}

/* Who leaves along with the primary is not taken for dead by its successor. */
static void members_that_leave_with_the_primary(void **state)
{
    (void)state;
    static struct counts counts;
    memset(&counts, 0, sizeof counts);
    start_group(5, CONFIG);
    assert_ok(flock_provider_add_update_callbacks(providers[5], count_member, count_metadata, &counts));
    assert_int_equal(end_together(3), 0);
    wait_for(all_see("4,5") && counts.members[FLOCK_MEMBER_LEFT] == 3, 8000);
    assert_int_equal(counts.members[FLOCK_MEMBER_DIED], 0);
    assert_true(has_primary(5, "4"));
}

static bool all_have(const char *key, const char *expected)
{
    bool all = true;
    for (uint16_t id = 1; id <= GROUP_MAX && all; id++) {
        flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
        if (!providers[id])
            continue;
        assert_true(fetch_view(id, &view));
        const char *value = flock_group_view_find_metadata(&view, key);
        all = value && strcmp(value, expected) == 0;
        flock_group_view_clear(&view);
    }
    return all;
}

static void metadata_reach_everybody(void **state)
{
    (void)state;
    static struct counts counts;
    flock_client_t client;
    flock_group_handle_t handle;
    hg_addr_t self;
    start_group(3, CONFIG);
    assert_ok(flock_provider_add_update_callbacks(providers[2], count_member, count_metadata, &counts));
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    margo_addr_self(mid, &self);
    for (uint16_t id = 1; id <= 3; id++) {
        char value[16];
        snprintf(value, sizeof value, "value %u", id);
        assert_ok(flock_group_handle_create(client, self, id, 0, &handle));
        assert_ok(flock_group_metadata_set(handle, "key", value));
        wait_for(all_have("key", value), 2000);
        assert_ret(flock_group_metadata_set(handle, "__type__", "x"), FLOCK_ERR_OP_FORBIDDEN);
        assert_ok(flock_group_handle_release(handle));
    }
    wait_for(counts.metadata == 3, 2000);
    margo_addr_free(mid, self);
    assert_ok(flock_client_finalize(client));
}

/* What somebody sends who pretends to be a member, with a view of both and of 2 and 3; the status of the answer. */
static int pretend(hg_id_t rpc, enum flk_cen_type type, uint16_t from, uint16_t to, uint64_t term, uint64_t version)
{
    flk_cen_request_t request = {.type = (uint8_t)type,
                                 .from = address,
                                 .from_id = from,
                                 .term = term,
                                 .version = version,
                                 .update = CEN_NO_UPDATE};
    flk_cen_answer_t answer = {0};
    struct flk_call call;
    flock_group_view_add_member(&request.view, address, 2);
    flock_group_view_add_member(&request.view, address, 3);
    flock_group_view_add_member(&request.view, address, from);
    assert_int_equal(flk_call_start(&call, mid, rpc, address, to, &request, 2000), HG_SUCCESS);
    assert_int_equal(flk_call_wait(&call, &answer), HG_SUCCESS);
    int status = answer.status;
    margo_free_output(call.handle, &answer);
    flk_call_end(&call);
    flock_group_view_clear(&request.view);
    return status;
}

static void terms_that_nobody_could_exceed(void **state)
{
    (void)state;
    static const uint64_t absurd[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX / 2, CEN_JUMP_MAX + 2};
    static const enum flk_cen_type types[] = {CEN_VIEW, CEN_HANDOVER};
    start_group(3, CONFIG);
    hg_id_t rpc = MARGO_REGISTER(mid, FLK_RPC_CENTRALIZED, flk_cen_request_t, flk_cen_answer_t, NULL);
    for (size_t i = 0; i < sizeof absurd / sizeof absurd[0]; i++) {
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(pretend(rpc, types[k], 3, 2, absurd[i], 1), CEN_OUTDATED);
            assert_int_equal(pretend(rpc, types[k], 1, 2, 1, absurd[i]), CEN_OUTDATED);
        }
        /* These say that there is something newer, which is then asked for in vain. */
        pretend(rpc, CEN_PING, 3, 2, absurd[i], 1);
        pretend(rpc, CEN_UPDATE, 1, 2, 1, absurd[i]);
    }
    stays(all_see("1,2,3") && has_primary(2, "1"), 500);
    margo_deregister(mid, rpc);
    /* The group still changes as it should. */
    end_member(3);
    wait_for(all_see("1,2"), 2000);
    end_member(1);
    wait_for(all_see("2") && has_primary(2, "2"), 2000);
}

/* 3 takes 2 for the primary, which knows better. */
static void a_value_finds_the_primary(void **state)
{
    (void)state;
    flock_client_t client;
    flock_group_handle_t handle;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    hg_addr_t self;
    start_group(3, "{\"group\":{\"type\":\"centralized\",\"config\":{\"ping_interval_ms\":60000}}}");
    hg_id_t rpc = MARGO_REGISTER(mid, FLK_RPC_CENTRALIZED, flk_cen_request_t, flk_cen_answer_t, NULL);
    assert_int_equal(pretend(rpc, CEN_VIEW, 2, 3, 2, 1), CEN_OK);
    assert_true(has_primary(2, "1") && has_primary(3, "2"));
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    margo_addr_self(mid, &self);
    assert_ok(flock_group_handle_create(client, self, 3, 0, &handle));
    assert_ok(flock_group_metadata_set(handle, "key", "value"));
    assert_true(fetch_view(1, &view));
    assert_string_equal(flock_group_view_find_metadata(&view, "key"), "value");
    flock_group_view_clear(&view);
    assert_ok(flock_group_handle_release(handle));
    margo_addr_free(mid, self);
    assert_ok(flock_client_finalize(client));
    margo_deregister(mid, rpc);
}

/* 3 alone hears of a later primary, 9, before that one is lost, too: 2 learns from 3 what there is to be replaced. */
static void a_primary_of_which_only_one_knew(void **state)
{
    (void)state;
    for (uint16_t id = 2; id <= 3; id++)
        assert_ok(register_member(id, CONFIG, 1, 3)); /* and 1, the first primary, is lost from the start */
    hg_id_t rpc = MARGO_REGISTER(mid, FLK_RPC_CENTRALIZED, flk_cen_request_t, flk_cen_answer_t, NULL);
    assert_int_equal(pretend(rpc, CEN_VIEW, 9, 3, 5, 1), CEN_OK);
    assert_true(has_primary(2, "1") && has_primary(3, "9"));
    wait_for(all_see("2,3") && (has_primary(2, "2") || has_primary(2, "3")), 8000);
    char primary[16];
    primary_of(2, primary, sizeof primary);
    wait_for(has_primary(3, primary), 2000);
    margo_deregister(mid, rpc);
}

/* 3 follows a primary of the same term that would come before 2, but does not live: it finds back to the one that does. */
static void a_dead_primary_does_not_outrank_a_living_one(void **state)
{
    (void)state;
    for (uint16_t id = 2; id <= 3; id++)
        assert_ok(register_member(id, CONFIG, 2, 3));
    hg_id_t rpc = MARGO_REGISTER(mid, FLK_RPC_CENTRALIZED, flk_cen_request_t, flk_cen_answer_t, NULL);
    assert_int_equal(pretend(rpc, CEN_VIEW, 1, 3, 1, 1), CEN_OK);
    assert_true(has_primary(2, "2") && has_primary(3, "1"));
    wait_for(all_see("2,3") && has_primary(3, "2"), 8000);
    assert_true(has_primary(2, "2"));
    margo_deregister(mid, rpc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(effective_configuration, end_group_teardown),
        cmocka_unit_test_teardown(refused_configurations, end_group_teardown),
        cmocka_unit_test_teardown(a_third_member_joins, end_group_teardown),
        cmocka_unit_test_teardown(nobody_to_join, end_group_teardown),
        cmocka_unit_test_teardown(a_primary_in_the_middle, end_group_teardown),
        cmocka_unit_test_teardown(the_leaving_primary_hands_over, end_group_teardown),
        cmocka_unit_test_teardown(all_end_at_the_same_time, end_group_teardown),
        cmocka_unit_test_teardown(members_that_leave_with_the_primary, end_group_teardown),
        cmocka_unit_test_teardown(terms_that_nobody_could_exceed, end_group_teardown),
        cmocka_unit_test_teardown(metadata_reach_everybody, end_group_teardown),
        cmocka_unit_test_teardown(a_value_finds_the_primary, end_group_teardown),
        cmocka_unit_test_teardown(a_primary_of_which_only_one_knew, end_group_teardown),
        cmocka_unit_test_teardown(a_dead_primary_does_not_outrank_a_living_one, end_group_teardown),
    };
    return cmocka_run_group_tests(tests, start_margo, stop_margo);
}
