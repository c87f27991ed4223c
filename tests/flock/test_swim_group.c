/*
 * Backend swim in one process on one execution stream: configuration, joining, leaving and crashing, metadata, and messages
 * that are none.
 */
#include "tests/flock/groups.h"

#include "flock/backends/swim/wire.h"

#include <flock/flock-swim.h>
#include <json-c/json.h>
#include <unistd.h>

#define FAST                                                                                                           \
    "{\"group\":{\"type\":\"swim\",\"config\":{\"protocol_period_ms\":60,\"ping_timeout_ms\":40,"                      \
    "\"ping_req_timeout_ms\":60,\"ping_req_members\":2,\"suspicion_timeout_ms\":300}}}"
#define SLOW "{\"group\":{\"type\":\"swim\",\"config\":{}}}"

static void effective_configuration(void **state)
{
    (void)state;
    start_group(3, SLOW);
    char *config = flock_provider_get_config(providers[2]);
    assert_string_equal(config,
                        "{\"gateway\":{\"type\":\"default\",\"config\":{}},\"group\":{\"type\":\"swim\",\"config\":{"
                        "\"protocol_period_ms\":1000.0,\"ping_timeout_ms\":200.0,\"ping_req_timeout_ms\":500.0,"
                        "\"ping_req_members\":3,\"suspicion_timeout_ms\":5000.0}}}");
    free(config);
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    assert_true(fetch_view(1, &view));
    assert_int_equal(view.metadata.size, 4);
    assert_string_equal(flock_group_view_find_metadata(&view, "__type__"), "swim");
    assert_string_equal(flock_group_view_find_metadata(&view, "shane"), "snyder");
    flock_group_view_clear(&view);
    assert_true(all_see("1,2,3"));
}

static void refused_configurations(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"protocol_period_ms\":0", "\"ping_timeout_ms\":\"1\"",   "\"ping_req_members\":-1",
        "\"ping_req_members\":2.5", "\"suspicion_timeout_ms\":-1", "\"period\":1",

    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char config[256];
        snprintf(config, sizeof config, "{\"group\":{\"type\":\"swim\",\"config\":{%s}}}", bad[i]);
        if (register_member(1, config, 1, 2) != FLOCK_ERR_INVALID_CONFIG)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void a_third_member_joins(void **state)
{
    (void)state;
    static struct counts counts;
    start_group(2, FAST);
    assert_ok(flock_provider_add_update_callbacks(providers[2], count_member, count_metadata, &counts));
    assert_ok(register_member(3, FAST, 1, 1));
    assert_true(sees(1, "1,2,3"));
    assert_true(sees(3, "1,2,3"));
    wait_for(all_see("1,2,3") && counts.members[FLOCK_MEMBER_JOINED] == 1, 3000);
    stays(all_see("1,2,3"), 500);
    end_member(3);
    wait_for(all_see("1,2") && counts.members[FLOCK_MEMBER_LEFT] == 1, 1000);
    stays(all_see("1,2"), 500);
    assert_int_equal(counts.members[FLOCK_MEMBER_DIED], 0);
}

static void nobody_to_join(void **state)
{
    (void)state;
    int64_t start = dango_clock_ns();
    assert_ret(register_member(3, FAST, 1, 2), FLOCK_ERR_FROM_MERCURY);
    assert_true(dango_clock_ns() - start < 3 * DANGO_NS_PER_S);
    /* An empty view is a group of one. */
    assert_ok(register_member(3, FAST, 2, 1));
    stays(sees(3, "3"), 200);
}

static void a_crash_is_noticed(void **state)
{
    (void)state;
    static struct counts counts;
    start_group(5, FAST);
    assert_ok(flock_provider_add_update_callbacks(providers[1], count_member, count_metadata, &counts));
    assert_ok(flock_swim_set_crash_mode(providers[5], true));
    assert_ret(flock_swim_set_crash_mode(NULL, true), FLOCK_ERR_INVALID_ARGS);
    end_member(5);
    wait_for(all_see("1,2,3,4"), 5000);
    assert_int_equal(counts.members[FLOCK_MEMBER_DIED], 1);
    assert_int_equal(counts.last_id, 5);
    /* It comes back at the same address, as if nothing had happened. */
    assert_ok(register_member(5, FAST, 1, 5));
    wait_for(all_see("1,2,3,4,5"), 3000);
    assert_int_equal(counts.members[FLOCK_MEMBER_JOINED], 1);
}

static uint64_t counted(struct json_object *json, const char *name)
{
    struct json_object *value = NULL;
    assert_true(json_object_object_get_ex(json, name, &value));
    return json_object_get_uint64(value);
}

static struct json_object *statistics_of(flock_group_handle_t handle)
{
    char *text = NULL;
    assert_ok(flock_group_get_statistics(handle, &text));
    struct json_object *json = json_tokener_parse(text);
    assert_non_null(json);
    free(text);
    return json;
}

static bool has_probed(flock_group_handle_t handle, uint64_t pings)
{
    struct json_object *json = statistics_of(handle);
    bool probed = counted(json_object_object_get(json, "protocol"), "pings") >= pings;
    json_object_put(json);
    return probed;
}

static void statistics(void **state)
{
    (void)state;
    flock_client_t client;
    flock_group_handle_t handle;
    hg_addr_t self;
    start_group(3, FAST);
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    margo_addr_self(mid, &self);
    assert_ok(flock_group_handle_create(client, self, 2, 0, &handle));
    wait_for(has_probed(handle, 3), 5000);
    assert_ok(flock_swim_set_crash_mode(providers[3], true));
    end_member(3);
    wait_for(all_see("1,2"), 5000);
    struct json_object *json = statistics_of(handle);
    assert_int_equal(counted(json, "provider_id"), 2);
    assert_int_equal(counted(json, "members"), 2);
    assert_int_equal(counted(json, "changes"), 1);
    assert_int_equal(counted(json, "file_writes"), 0);
    assert_int_equal(counted(json_object_object_get(json, "protocol"), "deaths"), 1);
    assert_true(counted(json_object_object_get(json, "protocol"), "suspicions") >= 1);
    json_object_put(json);
    assert_null(flock_provider_get_statistics(NULL));
    assert_ret(flock_group_get_statistics(handle, NULL), FLOCK_ERR_INVALID_ARGS);
    end_group();
    char *text = NULL;
    assert_ret(flock_group_get_statistics(handle, &text), FLOCK_ERR_FROM_MERCURY);
    assert_ok(flock_group_handle_release(handle));
    margo_addr_free(mid, self);
    assert_ok(flock_client_finalize(client));
}

/* On request the last member takes the file along; members before it do not. */
static void the_last_member_removes_the_file(void **state)
{
    (void)state;
    char directory[] = "/tmp/flock-swim-XXXXXX", path[64], config[512];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/group.json", directory);
    snprintf(config, sizeof config, "{\"file\":\"%s\",\"remove_file\":true,%s", path, FAST + 1);
    start_group(3, config);
    char *effective = flock_provider_get_config(providers[1]);
    assert_contains(effective, ",\"remove_file\":true}");
    free(effective);
    for (uint16_t id = 1; id <= 2; id++) {
        end_member(id);
        wait_for(all_see(id == 1 ? "2,3" : "3"), 3000);
        assert_int_equal(access(path, F_OK), 0);
    }
    end_member(3);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void leaving_is_quick(void **state)
{
    (void)state;
    start_group(4, SLOW);
    end_member(2);
    wait_for(all_see("1,3,4"), 1000);
}

static void sixty_four_members(void **state)
{
    (void)state;
    char all[GROUP_MAX * 4] = "1";
    assert_ok(register_member(1, SLOW, 1, 1));
    for (uint16_t id = 2; id <= GROUP_MAX; id++) {
        assert_ok(register_member(id, SLOW, 1, 1));
        snprintf(all + strlen(all), sizeof all - strlen(all), ",%u", id);
    }
    wait_for(all_see(all), 30000);
}

static bool has(uint16_t id, const char *expected)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    assert_true(fetch_view(id, &view));
    const char *value = flock_group_view_find_metadata(&view, "key");
    bool same = value && strcmp(value, expected) == 0;
    flock_group_view_clear(&view);
    return same;
}

static void metadata_reach_everybody(void **state)
{
    (void)state;
    static struct counts counts;
    flock_client_t client;
    flock_group_handle_t handle;
    hg_addr_t self;
    start_group(3, FAST);
    assert_ok(flock_provider_add_update_callbacks(providers[2], count_member, count_metadata, &counts));
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    margo_addr_self(mid, &self);
    assert_ok(flock_group_handle_create(client, self, 3, 0, &handle));
    assert_ok(flock_group_metadata_set(handle, "key", "value"));
    wait_for(has(1, "value") && has(2, "value") && has(3, "value"), 3000);
    assert_int_equal(counts.metadata, 1);
    assert_ret(flock_group_metadata_set(handle, "__config__", "{}"), FLOCK_ERR_OP_FORBIDDEN);
    assert_ok(flock_group_handle_release(handle));
    margo_addr_free(mid, self);
    assert_ok(flock_client_finalize(client));
}

/* A client hears of everything, also when the member that it asks is lost. */
static void clients_subscribe(void **state)
{
    (void)state;
    static struct counts counts;
    flock_client_t client;
    flock_group_handle_t handle;
    hg_addr_t self;
    start_group(4, FAST);
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    margo_addr_self(mid, &self);
    assert_ok(flock_group_handle_create(client, self, 2, 0, &handle));
    assert_ok(flock_group_subscribe(handle, count_member, count_metadata, &counts));
    assert_ret(flock_group_subscribe(handle, count_member, count_metadata, &counts), FLOCK_ERR_INVALID_ARGS);
    assert_ok(register_member(5, FAST, 1, 1));
    wait_for(counts.members[FLOCK_MEMBER_JOINED] == 1 && counts.last_id == 5, 3000);
    end_member(5);
    wait_for(counts.members[FLOCK_MEMBER_LEFT] == 1, 3000);
    wait_for(all_see("1,2,3,4"), 3000); /* the client turns to another member, whatever that knows */
    end_member(2);
    wait_for(counts.members[FLOCK_MEMBER_LEFT] == 2 && counts.last_id == 2, 3000);
    wait_for(all_see("1,3,4"), 3000);
    assert_ok(flock_swim_set_crash_mode(providers[4], true));
    end_member(4);
    wait_for(counts.members[FLOCK_MEMBER_DIED] == 1 && counts.last_id == 4, 5000);
    assert_ok(flock_group_metadata_set(handle, "key", "value"));
    wait_for(counts.metadata == 1, 3000);
    assert_ok(flock_group_unsubscribe(handle));
    assert_ret(flock_group_unsubscribe(handle), FLOCK_ERR_INVALID_ARGS);
    assert_ok(register_member(6, FAST, 1, 1));
    stays(counts.members[FLOCK_MEMBER_JOINED] == 1, 200);
    assert_ok(flock_group_subscribe(handle, NULL, NULL, NULL));
    assert_ok(flock_group_handle_release(handle));
    margo_addr_free(mid, self);
    assert_ok(flock_client_finalize(client));
}

/* Whoever sends something else gets no answer, and the group goes on. */
static void malformed_messages(void **state)
{
    (void)state;
    flk_swim_message_t bad[] = {
        {.type = SWIM_PING},                                    /* no sender */
        {.type = 99, .from = address},                          /* no such type */
        {.type = SWIM_PING, .from = address, .event_count = 1}, /* an event without address */
        {.type = SWIM_PING, .from = address, .event_count = 9}, /* more than fit */
        {.type = SWIM_SYNC, .from = address, .value_count = 1}, /* a value without key */
    };
    struct flk_swim_event events[9] = {{0}};
    struct flk_swim_value values[1] = {{0}};
    hg_addr_t self;
    start_group(2, FAST);
    hg_id_t rpc = MARGO_REGISTER(mid, FLK_RPC_SWIM, flk_swim_message_t, flk_swim_answer_t, NULL);
    margo_addr_self(mid, &self);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hg_handle_t handle;
        flk_swim_answer_t answer = {0};
        bad[i].events = events;
        bad[i].values = values;
        bad[i].from_id = 2;
        assert_int_equal(margo_create(mid, self, rpc, &handle), HG_SUCCESS);
        if (margo_provider_forward_timed(1, handle, &bad[i], 2000) == HG_SUCCESS &&
            margo_get_output(handle, &answer) == HG_SUCCESS) {
            assert_int_equal(answer.has_reply, 0);
            margo_free_output(handle, &answer);
        }
        margo_destroy(handle);
    }
    margo_addr_free(mid, self);
    stays(all_see("1,2"), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(effective_configuration, end_group_teardown),
        cmocka_unit_test_teardown(refused_configurations, end_group_teardown),
        cmocka_unit_test_teardown(a_third_member_joins, end_group_teardown),
        cmocka_unit_test_teardown(nobody_to_join, end_group_teardown),
        cmocka_unit_test_teardown(a_crash_is_noticed, end_group_teardown),
        cmocka_unit_test_teardown(statistics, end_group_teardown),
        cmocka_unit_test_teardown(the_last_member_removes_the_file, end_group_teardown),
        cmocka_unit_test_teardown(leaving_is_quick, end_group_teardown),
        cmocka_unit_test_teardown(sixty_four_members, end_group_teardown),
        cmocka_unit_test_teardown(metadata_reach_everybody, end_group_teardown),
        cmocka_unit_test_teardown(clients_subscribe, end_group_teardown),
        cmocka_unit_test_teardown(malformed_messages, end_group_teardown),
    };
    return cmocka_run_group_tests(tests, start_margo, stop_margo);
}
