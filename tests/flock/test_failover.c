/*
 * Backend centralized when something is wrong: a primary that is not there, with all settings of the failover, members that
 * are removed by mistake, a secondary that hangs, updates that do not fit, and messages that are none. One process; who is
 * missing has never been started.
 */
#include "tests/flock/groups.h"

#include "flock/backends/centralized/centralized.h"

#include "util/json.h"

#define OPTIONS "\"ping_timeout_ms\":100,\"ping_interval_ms\":50,\"ping_max_num_timeouts\":2"
#define CONFIG  "{\"group\":{\"type\":\"centralized\",\"config\":{" OPTIONS "}}}"
#define WITH(x) "{\"group\":{\"type\":\"centralized\",\"config\":{" OPTIONS "," x "}}}"
#define HUNG_ID 60

static uint64_t counted(uint16_t id, const char *name)
{
    char *text = flock_provider_get_statistics(providers[id]);
    struct json_object *json = dango_json_parse(text, strlen(text), NULL);
    uint64_t number = json_object_get_uint64(dango_json_get(dango_json_get(json, "protocol"), name));
    json_object_put(json);
    free(text);
    return number;
}

static bool is_primary(uint16_t id)
{
    return counted(id, "primary");
}

/* ---- a primary that is not there ---- */

static void a_lost_primary_is_replaced(void **state)
{
    (void)state;
    static struct counts counts;
    for (uint16_t id = 2; id <= 3; id++)
        assert_ok(register_member(id, CONFIG, 1, 3));
    assert_ok(flock_provider_add_update_callbacks(providers[3], count_member, count_metadata, &counts));
    wait_for(all_see("2,3") && counts.members[FLOCK_MEMBER_DIED] == 1, 5000);
    assert_true(is_primary(2) && !is_primary(3));
    assert_int_equal(counted(3, "term"), 2);
    assert_int_equal(counts.last_id, 1);
    assert_int_equal(counts.members[FLOCK_MEMBER_LEFT], 0);
}

static void without_failover_it_is_not(void **state)
{
    (void)state;
    for (uint16_t id = 2; id <= 3; id++)
        assert_ok(register_member(id, WITH("\"failover\":false"), 1, 3));
    stays(all_see("1,2,3") && !is_primary(2) && !is_primary(3), 1500);
    char *config = flock_provider_get_config(providers[2]);
    assert_contains(config, "\"failover\":false");
    free(config);
}

static void a_quorum_is_needed_on_request(void **state)
{
    (void)state;
    /* Two of four are no majority. */
    for (uint16_t id = 2; id <= 3; id++)
        assert_ok(register_member(id, WITH("\"failover_quorum\":true"), 1, 4));
    stays(all_see("1,2,3,4") && !is_primary(2) && !is_primary(3), 1500);
    end_group();
    for (uint16_t id = 2; id <= 3; id++)
        assert_ok(register_member(id, WITH("\"failover_quorum\":true"), 1, 3));
    wait_for(all_see("2,3") && is_primary(2), 5000);
}

/* ---- what others say ---- */

/* A message from somebody who pretends to be a member; the status of the answer, -1 without one. */
static int say(uint16_t to, flk_cen_request_t *request)
{
    flk_cen_answer_t answer = {0};
    struct flk_call call;
    hg_id_t rpc = MARGO_REGISTER(mid, FLK_RPC_CENTRALIZED, flk_cen_request_t, flk_cen_answer_t, NULL);
    if (flk_call_start(&call, mid, rpc, address, to, request, 2000) != HG_SUCCESS)
        return -1;
    int status = flk_call_wait(&call, &answer) == HG_SUCCESS ? answer.status : -1;
    if (status >= 0)
        margo_free_output(call.handle, &answer);
    flk_call_end(&call);
    return status;
}

/* The primary hears that member 3 leaves, which that knows nothing of. */
static void remove_by_mistake(const char *config, struct counts *counts)
{
    flk_cen_request_t request = {.type = CEN_LEAVE, .from = address, .from_id = 3, .update = CEN_NO_UPDATE};
    memset(counts, 0, sizeof *counts);
    start_group(3, config);
    assert_ok(flock_provider_add_update_callbacks(providers[3], count_member, count_metadata, counts));
    assert_int_equal(say(1, &request), CEN_OK);
    wait_for(counts->members[FLOCK_MEMBER_DIED] == 1, 5000);
    assert_int_equal(counts->last_id, 3);
}

static void a_member_removed_by_mistake_comes_back(void **state)
{
    (void)state;
    static struct counts counts;
    remove_by_mistake(CONFIG, &counts);
    wait_for(all_see("1,2,3"), 5000);
    stays(all_see("1,2,3"), 300);
    assert_int_equal(counts.members[FLOCK_MEMBER_DIED], 1);
}

static void unless_it_shall_not(void **state)
{
    (void)state;
    static struct counts counts;
    remove_by_mistake(WITH("\"rejoin\":false"), &counts);
    stays(sees(1, "1,2") && sees(2, "1,2"), 1000);
    assert_int_equal(counts.members[FLOCK_MEMBER_DIED], 1);
}

/* A secondary that has missed updates does not apply the next one but asks for the view. */
static void updates_that_do_not_fit(void **state)
{
    (void)state;
    start_group(3, CONFIG);
    uint64_t version = counted(2, "version");
    flk_cen_request_t request = {.type = CEN_UPDATE,
                                 .from = address,
                                 .from_id = 1,
                                 .term = 1,
                                 .version = version + 7,
                                 .update = FLOCK_MEMBER_JOINED,
                                 .name = "nobody",
                                 .id = 9};
    assert_int_equal(say(2, &request), CEN_OK);
    stays(sees(2, "1,2,3"), 300);
    request.version = version; /* and what is old changes nothing */
    assert_int_equal(say(2, &request), CEN_OK);
    request.from_id = 2;
    request.term = 0;
    assert_int_equal(say(3, &request), CEN_OUTDATED);
    stays(all_see("1,2,3") && counted(2, "version") == version, 300);
}

/* Joining at somebody who is not the primary, and twice. */
static void joining_at_the_wrong_place(void **state)
{
    (void)state;
    start_group(2, CONFIG);
    flk_cen_request_t request = {.type = CEN_JOIN, .from = address, .from_id = 2, .update = CEN_NO_UPDATE};
    assert_int_equal(say(2, &request), CEN_REDIRECT);
    assert_int_equal(say(1, &request), CEN_OK);
    assert_int_equal(say(1, &request), CEN_OK);
    stays(all_see("1,2"), 200);
    request.type = CEN_FETCH;
    request.from_id = 77;
    assert_int_equal(say(1, &request), CEN_UNKNOWN);
}

static void malformed_messages(void **state)
{
    (void)state;
    flk_cen_request_t bad[] = {
        {.type = CEN_PING, .update = CEN_NO_UPDATE},                                      /* no sender */
        {.type = CEN_TYPES, .from = address, .update = CEN_NO_UPDATE},                    /* no such type */
        {.type = CEN_UPDATE, .from = address, .update = 77, .name = "x"},                 /* no such update */
        {.type = CEN_UPDATE, .from = address, .update = FLOCK_MEMBER_JOINED},             /* of nobody */
        {.type = CEN_UPDATE, .from = address, .update = FLOCK_MEMBER_MOVED, .name = "x"}, /* from nowhere */
        {.type = CEN_MOVE, .from = address, .update = CEN_NO_UPDATE},                     /* to nowhere */
        /* of nobody */
        {.type = CEN_MOVE, .from = address, .from_id = 5, .update = FLOCK_MEMBER_MOVED, .name = "x", .value = "y"},
    };
    start_group(2, CONFIG);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int status = say(1, &bad[i]);
        if (status != -1 && status != CEN_FAILED && status != CEN_UNKNOWN)
            fail_msg("message %zu: status %d", i, status);
    }
    stays(all_see("1,2"), 300);
}

/* Nobody but the primary itself lets it leave or move, and nobody but a member itself has it move. */
static void messages_in_the_name_of_others(void **state)
{
    (void)state;
    start_group(3, CONFIG);
    flk_cen_request_t forged[] = {
        {.type = CEN_LEAVE, .from = address, .from_id = 1, .update = CEN_NO_UPDATE},
        {.type = CEN_MOVE,
         .from = address,
         .from_id = 1,
         .update = FLOCK_MEMBER_MOVED,
         .name = "elsewhere",
         .value = address,
         .id = 1},
    };
    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++)
        assert_int_equal(say(1, &forged[i]), CEN_FAILED);
    flk_cen_request_t moved = {.type = CEN_UPDATE,
                               .from = address,
                               .from_id = 1,
                               .term = counted(2, "term"),
                               .version = counted(2, "version") + 1,
                               .update = FLOCK_MEMBER_MOVED,
                               .name = "elsewhere",
                               .value = address,
                               .id = 2};
    assert_int_equal(say(2, &moved), CEN_OK);
    stays(all_see("1,2,3") && is_primary(1), 300);
    end_member(2);
    wait_for(all_see("1,3"), 2000);
}

/* Whoever sends more and more of them is stopped; what is there can still be changed. */
static void too_many_values(void **state)
{
    (void)state;
    char name[16], value[] = "1";
    int status = CEN_OK;
    start_group(1, CONFIG);
    flk_cen_request_t request = {
        .type = CEN_METADATA, .from = address, .from_id = 2, .update = CEN_METADATA_SET, .name = name, .value = value};
    for (int i = 0; i <= CEN_METADATA_MAX && status == CEN_OK; i++) {
        snprintf(name, sizeof name, "key%d", i);
        status = say(1, &request);
    }
    assert_int_equal(status, CEN_FAILED);
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    assert_true(fetch_view(1, &view));
    assert_int_equal(view.metadata.size, CEN_METADATA_MAX);
    flock_group_view_clear(&view);
    strcpy(name, "key0");
    value[0] = '2';
    assert_int_equal(say(1, &request), CEN_OK);
    assert_true(fetch_view(1, &view));
    assert_string_equal(flock_group_view_find_metadata(&view, "key0"), "2");
    flock_group_view_clear(&view);
}

/* ---- a secondary that hangs ---- */

static void hang_ult(hg_handle_t handle)
{
    margo_thread_sleep(mid, 700);
    margo_respond(handle, &(flk_cen_answer_t){.status = CEN_FAILED});
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(hang_ult)

    static void a_secondary_that_hangs_delays_nobody(void **state)
{
    (void)state;
    char config[512];
    snprintf(config, sizeof config,
             "{\"group\":{\"type\":\"centralized\",\"config\":{\"ping_interval_ms\":60000,\"primary_address\":\"%s\","
             "\"primary_provider_id\":1}}}",
             address);
    hg_id_t hung = MARGO_REGISTER_PROVIDER(mid, FLK_RPC_CENTRALIZED, flk_cen_request_t, flk_cen_answer_t, hang_ult,
                                           HUNG_ID, ABT_POOL_NULL);
    assert_ok(register_member(1, config, 1, 1));
    flk_cen_request_t request = {.type = CEN_JOIN, .from = address, .from_id = HUNG_ID, .update = CEN_NO_UPDATE};
    assert_int_equal(say(1, &request), CEN_OK);
    int64_t start = dango_clock_ns();
    assert_ok(register_member(2, config, 1, 1));
    assert_ok(register_member(3, config, 1, 1));
    assert_true(dango_clock_ns() - start < 500 * DANGO_NS_PER_MS);
    assert_true(sees(1, "1,2,3,60") && sees(3, "1,2,3,60"));
    wait_for(sees(2, "1,2,3,60"), 400);
    end_group();
    margo_thread_sleep(mid, 800); /* until the last answer of the one that hangs */
    margo_deregister(mid, hung);
}

static void statistics(void **state)
{
    (void)state;
    start_group(2, CONFIG);
    wait_for(counted(1, "pings") >= 3, 3000);
    assert_int_equal(counted(1, "deaths") + counted(1, "pings_failed"), 0);
    assert_int_equal(counted(2, "pings"), 0);
    assert_true(is_primary(1) && !is_primary(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_lost_primary_is_replaced, end_group_teardown),
        cmocka_unit_test_teardown(without_failover_it_is_not, end_group_teardown),
        cmocka_unit_test_teardown(a_quorum_is_needed_on_request, end_group_teardown),
        cmocka_unit_test_teardown(a_member_removed_by_mistake_comes_back, end_group_teardown),
        cmocka_unit_test_teardown(unless_it_shall_not, end_group_teardown),
        cmocka_unit_test_teardown(updates_that_do_not_fit, end_group_teardown),
        cmocka_unit_test_teardown(joining_at_the_wrong_place, end_group_teardown),
        cmocka_unit_test_teardown(malformed_messages, end_group_teardown),
        cmocka_unit_test_teardown(messages_in_the_name_of_others, end_group_teardown),
        cmocka_unit_test_teardown(too_many_values, end_group_teardown),
        cmocka_unit_test_teardown(a_secondary_that_hangs_delays_nobody, end_group_teardown),
        cmocka_unit_test_teardown(statistics, end_group_teardown),
    };
    return cmocka_run_group_tests(tests, start_margo, stop_margo);
}
