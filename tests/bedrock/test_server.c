/*
 * A daemon inside of this program, and its client over the loopback of the transport: every management operation, its
 * errors, and what is left after failed starts.
 */
#include "tests/support/test.h"
#include "tests/support/protocol.h"
#include "tests/bedrock/modules.h"

#include "bedrock/config.h"
#include "bedrock/proto.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#include <bedrock/client.h>
#include <bedrock/server.h>

#include <pthread.h>

struct fixture {
    struct bedrock_server *server;
    struct bedrock_client *client;
    struct bedrock_service *service;
};

#define THING(name, more) "{\"name\":\"" name "\",\"type\":\"thing\"" more "}"

static const char standard[] = "{\"libraries\":[\"\"],\"providers\":[" THING("a", "") "," THING(
    "b", ",\"provider_id\":7,\"config\":{\"size\":2},\"dependencies\":{\"friend\":\"a\",\"pool\":0}") "]}";

static int start_server(void **state)
{
    static struct fixture f;
    struct dango_error err = {0};
    journal[0] = '\0';
    f.server = bedrock_server_create();
    if (bedrock_server_start(f.server, test_protocol(), standard, strlen(standard), &err) != 0)
        fail_msg("%s", err.text);
    margo_instance_id mid = bedrock_server_instance(f.server, 0);
    assert_int_equal(bedrock_client_create(mid, &f.client, &err), 0);
    bedrock_client_set_timeout(f.client, 5000);
    assert_int_equal(bedrock_service_open(f.client, bedrock_server_address(f.server), 0, &f.service, &err), 0);
    *state = &f;
    return 0;
}

static int stop_server(void **state)
{
    struct fixture *f = *state;
    bedrock_service_close(f->service);
    bedrock_client_destroy(f->client);
    bedrock_server_destroy(f->server);
    return 0;
}

/* The configuration as an object; its text is what a client got. */
static struct json_object *get_config(struct fixture *f)
{
    struct dango_error err = {0};
    char *text = NULL;
    if (bedrock_service_get_config(f->service, &text, &err) != 0)
        fail_msg("%s", err.text);
    struct json_object *json = dango_json_parse(text, strlen(text), &err);
    assert_non_null(json);
    free(text);
    return json;
}

static void assert_query(struct fixture *f, const char *expression, const char *expected)
{
    struct dango_error err = {0};
    char *result = NULL;
    if (bedrock_service_query(f->service, expression, &result, &err) != 0)
        fail_msg("%s: %s", expression, err.text);
    assert_string_equal(result, expected);
    free(result);
}

static void providers_live_in_order(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(journal, "create a; create b; ready a; ready b; ");
    stop_server(state);
    assert_string_equal(journal, "create a; create b; ready a; ready b; destroy b; destroy a; ");
    *f = (struct fixture){0};
}

static void configuration_is_effective(void **state)
{
    struct fixture *f = *state;
    assert_query(f, "$__config__.providers[0].config", "{\"color\":\"red\",\"fail\":\"never\",\"size\":1}");
    assert_query(f, "$__config__.providers[1].dependencies", "{\"friend\":\"a\",\"pool\":\"__primary__\"}");
    assert_query(f, "$__config__.providers[0].provider_id", "1");
    assert_query(f, "$__config__.libraries", "[\"\"]");
    assert_query(f, "$__config__.bedrock",
                 "{\"dependency_resolution_timeout\":30.0,\"pool\":\"__primary__\","
                 "\"provider_id\":0}");
    assert_query(f, "$MPI_COMM_WORLD.rank", "null");
    assert_query(f, "is_null($MPI_COMM_WORLD)", "true");
    struct dango_error err = {0};
    char *result;
    assert_int_equal(bedrock_service_query(f->service, "1 +", &result, &err), DANGO_ERR_INVALID);
    assert_contains(err.text, "query: column 4");
    assert_int_equal(bedrock_service_query(f->service, "$__config__.marg", &result, &err), DANGO_ERR_NOT_FOUND);
    assert_contains(err.text, "did you mean \"margo\"?");
}

/* What a daemon shows can be its input again. */
static void configuration_can_be_replayed(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    struct json_object *json = get_config(f);
    struct bdk_config config;
    if (bdk_config_parse(&config, json, &err) != 0)
        fail_msg("%s", err.text);
    struct bdk_registry *registry = bdk_registry_create();
    assert_int_equal(bdk_registry_load(registry, "", &err), 0);
    if (bdk_config_check(&config, registry, &err) != 0)
        fail_msg("%s", err.text);
    bdk_config_release(&config);
    bdk_registry_destroy(registry);
    json_object_put(json);
}

static void providers_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    uint16_t id = 0;
    if (bedrock_service_start_provider(f->service, THING("c", ",\"dependencies\":{\"friend\":\"b\"}"), &id, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(id, 2);
    assert_contains(journal, "create c; ready c; ");
    assert_int_equal(bedrock_service_remove_provider(f->service, "b", &err), DANGO_ERR_BUSY);
    assert_contains(err.text, "\"b\" is used by 1 other provider");
    assert_int_equal(bedrock_service_remove_provider(f->service, "thing:2", &err), 0);
    assert_int_equal(bedrock_service_remove_provider(f->service, "b", &err), 0);
    assert_int_equal(bedrock_service_remove_provider(f->service, "b", &err), DANGO_ERR_NOT_FOUND);
    assert_contains(err.text, "no provider named \"b\"");
    assert_contains(journal, "destroy c; destroy b; ");
}

static void bad_descriptions_are_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *description, *message;
    } cases[] = {
        {"{bad", "provider: line 1, column 2: invalid JSON"},
        {"", "provider: "},
        {"[]", "provider: expected an object, got array"},
        {THING("a", ""), "provider.name: \"a\" is already used by a provider of type thing"},
        {THING("x", ",\"provider_id\":7"), "provider (\"x\"): provider id 7 is already used by \"b\""},
        {THING("x", ",\"provider_id\":0"), "provider (\"x\"): provider id 0 is used by bedrock"},
        {THING("x", ",\"config\":{\"size\":\"big\"}"), "provider.config.size: expected an integer, got string"},
        {THING("x", ",\"dependencies\":{\"pool\":\"__primry__\"}"),
         "provider.dependencies.pool: no pool named \"__primry__\""},
        {THING("x", ",\"dependencies\":{\"xstream\":99}"), "provider.dependencies.xstream: no "},
        {THING("x", ",\"dependencies\":{\"friend\":\"bb\"}"), "provider.dependencies.friend: no provider named \"bb\""},
        {THING("x", ",\"config\":{\"fail\":\"create\"}"), "provider (\"x\", type \"thing\"): told to fail"},
        {THING("x", ",\"config\":{\"fail\":\"ready\"}"), "provider (\"x\", type \"thing\"): told to fail when ready"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dango_error err = {0};
        if (bedrock_service_start_provider(f->service, cases[i].description, NULL, &err) == 0)
            fail_msg("%s was accepted", cases[i].description);
        assert_contains(err.text, cases[i].message);
        assert_contains(err.text, bedrock_server_address(f->server));
    }
    assert_query(f, "count($__config__.providers)", "2");
    assert_contains(journal, "create x; destroy x; "); /* the one that was not ready */
}

static void settings_change_as_a_whole(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    assert_int_equal(bedrock_service_update_provider(f->service, "a", "{\"size\":50}", &err), 0);
    assert_query(f, "$__config__.providers[0].config.size", "50");
    assert_true(bedrock_service_update_provider(f->service, "a", "{\"size\":5,\"color\":\"blue\"}", &err) < 0);
    assert_contains(err.text, "config.color: unknown value \"blue\"");
    assert_query(f, "$__config__.providers[0].config.size", "50");
    assert_true(bedrock_service_update_provider(f->service, "zz", "{}", &err) < 0);
    assert_true(bedrock_service_update_provider(f->service, "a", "{", &err) < 0);
}

static void *start_late(void *arg)
{
    struct fixture *f = arg;
    struct dango_error err = {0};
    assert_int_equal(bedrock_service_start_provider(f->service, THING("late", ""), NULL, &err), 0);
    return NULL;
}

static void lookup_waits_for_a_provider(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    struct bedrock_provider_info info;
    assert_int_equal(bedrock_service_lookup_provider(f->service, "thing:7", 0, &info, &err), 0);
    assert_string_equal(info.name, "b");
    assert_string_equal(info.type, "thing");
    assert_int_equal(info.provider_id, 7);

    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, start_late, f), 0);
    int status = bedrock_service_lookup_provider(f->service, "late", 10, &info, &err);
    if (status != 0)
        fail_msg("%s", err.text);
    assert_int_equal(info.provider_id, 2);
    pthread_join(thread, NULL);

    int64_t begin = dango_clock_ns();
    assert_int_equal(bedrock_service_lookup_provider(f->service, "never", 0.05, &info, &err), DANGO_ERR_TIMEOUT);
    assert_contains(err.text, "timed out after 0.05 s waiting for \"never\"");
    assert_true(dango_clock_ns() - begin >= 45 * DANGO_NS_PER_MS);
    assert_int_equal(bedrock_service_lookup_provider(f->service, "never", 0, &info, &err), DANGO_ERR_NOT_FOUND);
    assert_int_equal(bedrock_service_lookup_provider(f->service, "a b", 0, &info, &err), DANGO_ERR_INVALID);
}

static void pools_and_streams_change(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    assert_int_equal(bedrock_service_add_pool(f->service, "{\"name\":\"extra\"}", &err), 0);
    assert_true(bedrock_service_add_pool(f->service, "{\"name\":\"extra\"}", &err) < 0);
    assert_contains(err.text, "\"extra\" is already used");
    if (bedrock_service_add_xstream(f->service, "{\"name\":\"es\",\"scheduler\":{\"pools\":[\"extra\"]}}", &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(
        bedrock_service_start_provider(
            f->service, THING("user", ",\"dependencies\":{\"pool\":\"extra\",\"xstream\":\"es\"}"), NULL, &err),
        0);
    assert_true(bedrock_service_remove_xstream(f->service, "es", &err) < 0);
    assert_int_equal(bedrock_service_remove_provider(f->service, "user", &err), 0);
    if (bedrock_service_remove_xstream(f->service, "es", &err) != 0)
        fail_msg("%s", err.text);
    if (bedrock_service_remove_pool(f->service, "extra", &err) != 0)
        fail_msg("%s", err.text);
    assert_true(bedrock_service_remove_pool(f->service, "extra", &err) < 0);
}

static void modules_are_loaded_at_run_time(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    assert_int_equal(bedrock_service_load_module(f->service, "", &err), 0);
    assert_int_equal(bedrock_service_load_module(f->service, "nothing.so", &err), DANGO_ERR_NOT_FOUND);
    assert_contains(err.text, "cannot load \"nothing.so\"");
}

static void groups_ask_every_member_once(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    struct bedrock_group *group = NULL;
    const char *address = bedrock_server_address(f->server);
    const char *addresses[] = {address, address};
    char *text = NULL;
    assert_int_equal(bedrock_group_open(f->client, addresses, 2, 0, &group, &err), 0);
    assert_int_equal(bedrock_group_size(group), 1);
    assert_null(bedrock_group_service(group, 1));
    assert_int_equal(bedrock_group_query(group, "$__config__.providers[0].name", &text, &err), 0);
    assert_contains(text, address);
    assert_contains(text, ":\"a\"}");
    free(text);
    bedrock_group_close(group);
    assert_int_equal(bedrock_group_open(f->client, addresses, 0, 0, &group, &err), 0);
    assert_int_equal(bedrock_group_get_config(group, &text, &err), 0);
    assert_string_equal(text, "{}");
    free(text);
    bedrock_group_close(group);
}

static void count_failures(struct bedrock_service *member, const struct dango_error *why, void *count)
{
    assert_contains(why->text, bedrock_service_address(member));
    ++*(int *)count;
}

static void groups_go_on_without_members_that_fail(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    struct bedrock_group *group = NULL;
    const char *address = bedrock_server_address(f->server);
    bool over_tcp = strncmp(address, "tcp", 3) == 0;
    const char *addresses[] = {over_tcp ? "tcp://127.0.0.1:1" : "na+sm://999999999-0", address,
                               over_tcp ? "tcp://127.0.0.1:2" : "na+sm://999999999-1"};
    char *text = NULL;
    int failures = 0;
    assert_int_equal(bedrock_group_open(f->client, addresses, 3, 0, &group, &err), 0);
    bedrock_group_on_failure(group, count_failures, &failures);
    assert_int_equal(bedrock_group_query(group, "1 + 1", &text, &err), DANGO_ERR_DISCONNECTED);
    assert_int_equal(failures, 2);
    assert_contains(err.text, addresses[0]);
    assert_contains(err.text, addresses[2]);
    assert_contains(text, address);
    assert_contains(text, "\":2}");
    assert_null(strstr(text, addresses[0]));
    free(text);
    bedrock_group_close(group);
}

static void wrong_management_id_is_named(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    struct bedrock_service *service = NULL;
    char *text = NULL;
    assert_int_equal(bedrock_service_open(f->client, bedrock_server_address(f->server), 5, &service, &err), 0);
    assert_int_equal(bedrock_service_get_config(service, &text, &err), DANGO_ERR_NOT_FOUND);
    assert_contains(err.text, "is not a bedrock daemon, or not one with management provider id 5");
    bedrock_service_close(service);
}

static void a_client_can_shut_it_down(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    assert_int_equal(bedrock_service_shutdown(f->service, &err), 0);
    bedrock_server_wait(f->server);
}

static void failed_starts_leave_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *config, *message, *journal;
    } cases[] = {
        {"{\"libraries\":[\"\"],\"providers\":[" THING("a", "") "," THING("b",
                                                                          ",\"config\":{\"fail\":\"create\"}") "]}",
         "providers[1] (\"b\", type \"thing\"): told to fail", "create a; destroy a; "},
        {"{\"libraries\":[\"\"],\"providers\":[" THING("a", "") "," THING("b", ",\"config\":{\"fail\":\"ready\"}") "]}",
         "providers[1] (\"b\", type \"thing\"): told to fail when ready",
         "create a; create b; ready a; destroy b; destroy a; "},
        {"{\"libraries\":[\"\"],\"providers\":[" THING("a", "") "," THING(
             "b", ",\"dependencies\":{\"pool\":\"io_pol\"}") "],\"margo\":{\"argobots\":{\"pools\":[{\"name\":"
                                                             "\"io_pool\"}]}}}",
         "providers[1].dependencies.pool: no pool named \"io_pol\" (pools: io_pool, __primary__; did you mean "
         "\"io_pool\"?)",
         ""},
        {"{\"libraries\":[\"\"],\"providers\":[" THING("a", "") "," THING("b", ",\"config\":{\"size\":0}") "]}",
         "providers[1].config.size: 0 is not in 1..100", ""},
        {"{\"bedrock\":{\"pool\":\"nope\"}}", "bedrock.pool: no pool named \"nope\"", ""},
        {"{\"margo\":{\"rpc_thread_count\":\"x\"}}", "margo.rpc_thread_count: expected an integer, got string", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dango_error err = {0};
        struct bedrock_server *server = bedrock_server_create();
        journal[0] = '\0';
        if (bedrock_server_start(server, test_protocol(), cases[i].config, strlen(cases[i].config), &err) == 0)
            fail_msg("%s was accepted", cases[i].config);
        bedrock_server_destroy(server);
        if (!strstr(err.text, cases[i].message))
            fail_msg("expected %s\ngot      %s", cases[i].message, err.text);
        assert_string_equal(journal, cases[i].journal);
    }
}

static void a_start_can_be_given_up(void **state)
{
    (void)state;
    struct dango_error err = {0};
    struct bedrock_server *server = bedrock_server_create();
    journal[0] = '\0';
    bedrock_server_request_stop(server);
    assert_int_equal(bedrock_server_start(server, test_protocol(), standard, strlen(standard), &err),
                     DANGO_ERR_CANCELED);
    bedrock_server_destroy(server);
    assert_string_equal(journal, "");
}

static void several_engines_share_their_pools(void **state)
{
    (void)state;
    static const char config[] = "{\"margo\":[{},{\"mercury\":{\"address\":\"na+sm\"}}],\"libraries\":[\"\"],"
                                 "\"providers\":[" THING("a", ",\"engine\":1,\"dependencies\":{\"engine\":1}") "]}";
    struct dango_error err = {0};
    struct bedrock_server *server = bedrock_server_create();
    if (bedrock_server_start(server, test_protocol(), config, strlen(config), &err) != 0)
        fail_msg("%s", err.text);
    assert_non_null(bedrock_server_instance(server, 1));
    char *text = NULL;
    assert_int_equal(bedrock_server_get_config(server, &text, &err), 0);
    assert_contains(text, "\"margo\":[{");
    assert_contains(text, "\"engine\":1");
    free(text);
    bedrock_server_destroy(server);
}

/* A request may arrive when its RPC is registered, but not what belongs to it. */
static void requests_before_it_is_ready_are_refused(void **state)
{
    struct fixture *f = *state;
    struct dango_error err = {0};
    margo_instance_id mid = bedrock_server_instance(f->server, 0);
    static const struct {
        const char *name;
        uint16_t provider_id;
    } rpcs[] = {{BDK_RPC_GET_CONFIG, 0}, {BDK_RPC_SHUTDOWN, MARGO_DEFAULT_PROVIDER_ID}};
    for (size_t i = 0; i < 2; i++) {
        hg_id_t id;
        hg_bool_t known = 0;
        margo_provider_registered_name(mid, rpcs[i].name, rpcs[i].provider_id, &id, &known);
        assert_true(known);
        assert_int_equal(margo_register_data(mid, id, NULL, NULL), HG_SUCCESS);
    }
    char *text = NULL;
    assert_int_equal(bedrock_service_get_config(f->service, &text, &err), DANGO_ERR_AGAIN);
    assert_contains(err.text, "still starting");
    assert_int_equal(bedrock_service_shutdown(f->service, &err), DANGO_ERR_PERMISSION);
    assert_query(f, "$__config__.providers[0].name", "\"a\"");
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, start_server, stop_server)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(providers_live_in_order, start_server),
        WITH_SERVER(configuration_is_effective),
        WITH_SERVER(configuration_can_be_replayed),
        WITH_SERVER(providers_come_and_go),
        WITH_SERVER(bad_descriptions_are_refused),
        WITH_SERVER(settings_change_as_a_whole),
        WITH_SERVER(lookup_waits_for_a_provider),
        WITH_SERVER(pools_and_streams_change),
        WITH_SERVER(modules_are_loaded_at_run_time),
        WITH_SERVER(groups_ask_every_member_once),
        WITH_SERVER(groups_go_on_without_members_that_fail),
        WITH_SERVER(wrong_management_id_is_named),
        WITH_SERVER(requests_before_it_is_ready_are_refused),
        WITH_SERVER(a_client_can_shut_it_down),
        cmocka_unit_test(failed_starts_leave_nothing),
        cmocka_unit_test(a_start_can_be_given_up),
        cmocka_unit_test(several_engines_share_their_pools),
    };
    dango_log_set_level(DANGO_LOG_OFF);
    margo_set_global_log_level(MARGO_LOG_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
