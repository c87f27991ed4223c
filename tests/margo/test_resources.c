/*
 * Pools and execution streams at run time, the effective configuration, programs that run Argobots themselves, moving
 * the progress loop, and parameters.
 */
#include "tests/margo/peer.h"
#include "tests/support/protocol.h"
#include "tests/support/test.h"

#include "margo/dango_margo.h"
#include "util/json.h"

#include <unistd.h>

static void nothing(hg_handle_t h)
{
    margo_respond(h, NULL);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(nothing)

    static void assert_call_to_self(margo_instance_id mid, uint16_t provider, ABT_pool pool)
{
    hg_id_t id = MARGO_REGISTER_PROVIDER(mid, "nothing", void, void, nothing, provider, pool);
    hg_addr_t self;
    margo_addr_self(mid, &self);
    assert_int_equal(call_void(mid, self, id, provider, 5000), HG_SUCCESS);
    margo_addr_free(mid, self);
}

static void pools_and_streams_come_and_go(void **state)
{
    (void)state;
    struct margo_pool_info pool, found;
    struct margo_xstream_info xstream;
    margo_instance_id mid = start_instance(MARGO_SERVER_MODE, "{}");
    assert_int_equal(margo_add_pool_from_json(mid, "{\"name\":\"extra\",\"kind\":\"prio_wait\"}", &pool), HG_SUCCESS);
    assert_string_equal(pool.name, "extra");
    assert_int_equal(pool.index, 1);
    assert_int_equal(margo_find_pool(mid, "extra", &found), HG_SUCCESS);
    assert_ptr_equal(found.pool, pool.pool);
    assert_int_equal(margo_find_pool(mid, pool.pool, &found), HG_SUCCESS);
    assert_int_equal(margo_find_pool(mid, 1, &found), HG_SUCCESS);
    assert_int_equal(margo_find_pool(mid, 7, &found), HG_INVALID_ARG);
    assert_int_equal(margo_find_pool(mid, "none", &found), HG_NOENTRY);
    assert_int_equal(margo_add_xstream_from_json(
                         mid, "{\"name\":\"es\",\"scheduler\":{\"pools\":[\"extra\",\"__primary__\"]}}", &xstream),
                     HG_SUCCESS);
    assert_int_equal(xstream.index, 1);
    assert_call_to_self(mid, 3, pool.pool);
    assert_int_equal(margo_remove_pool(mid, "extra"), HG_PERMISSION); /* the RPC holds it */
    hg_id_t id;
    hg_bool_t flag;
    assert_int_equal(margo_provider_registered_name(mid, "nothing", 3, &id, &flag), HG_SUCCESS);
    assert_true(flag);
    assert_int_equal(margo_deregister(mid, id), HG_SUCCESS);
    assert_int_equal(margo_remove_pool(mid, "extra"), HG_PERMISSION); /* the stream serves it */
    assert_int_equal(margo_xstream_ref_incr(mid, "es"), HG_SUCCESS);
    assert_int_equal(margo_remove_xstream(mid, "es"), HG_PERMISSION);
    assert_int_equal(margo_xstream_release(mid, xstream.xstream), HG_SUCCESS);
    assert_int_equal(margo_xstream_release(mid, 1), HG_PERMISSION);
    assert_int_equal(margo_remove_xstream(mid, "es"), HG_SUCCESS);
    assert_int_equal(margo_remove_xstream(mid, "__primary__"), HG_PERMISSION);
    unsigned refs;
    assert_int_equal(margo_pool_ref_incr(mid, "extra"), HG_SUCCESS);
    assert_int_equal(margo_pool_ref_count(mid, "extra", &refs), HG_SUCCESS);
    assert_int_equal(refs, 1);
    assert_int_equal(margo_remove_pool(mid, "extra"), HG_PERMISSION);
    assert_int_equal(margo_pool_release(mid, "extra"), HG_SUCCESS);
    assert_int_equal(margo_remove_pool(mid, "extra"), HG_SUCCESS);
    assert_int_equal(margo_remove_pool(mid, "__primary__"), HG_OTHER_ERROR);
    assert_int_equal(margo_get_num_pools(mid), 1);
    assert_int_equal(margo_get_num_xstreams(mid), 1);
    margo_finalize(mid);
}

static void additions_are_checked(void **state)
{
    (void)state;
    static const char *const pools[] = {
        "{\"name\":\"__primary__\"}", "{\"name\":\"1\"}", "{'name':'a'}", "{\"kind\":\"x\"}", "[]", "{,}"};
    margo_instance_id mid = start_instance(MARGO_SERVER_MODE, "{}");
    margo_set_log_level(mid, MARGO_LOG_CRITICAL);
    for (size_t i = 0; i < sizeof pools / sizeof *pools; i++)
        assert_int_equal(margo_add_pool_from_json(mid, pools[i], NULL), HG_INVALID_ARG);
    assert_int_equal(margo_add_xstream_from_json(mid, "", NULL), HG_INVALID_ARG);
    assert_int_equal(margo_add_xstream_from_json(mid, "{\"scheduler\":{\"pools\":[\"x\"]}}", NULL), HG_INVALID_ARG);
    assert_int_equal(margo_add_pool_from_json(mid, NULL, NULL), HG_SUCCESS);
    assert_int_equal(margo_find_pool(mid, "__pool_1__", NULL), HG_SUCCESS);
    struct dango_error err;
    assert_true(dango_margo_remove_pool(mid, "nope", &err) < 0);
    assert_string_equal(err.text, "no pool named \"nope\"");
    assert_true(dango_margo_remove_pool(mid, "__primary__", &err) < 0);
    assert_contains(err.text, "it runs the progress loop");
    struct json_object *reference = json_object_new_string("__pol_1__");
    assert_true(dango_margo_find_pool(mid, reference, "providers[0].dependencies.pool", NULL, &err) < 0);
    assert_string_equal(err.text, "providers[0].dependencies.pool: no pool named \"__pol_1__\" (pools: __primary__, "
                                  "__pool_1__; did you mean \"__pool_1__\"?)");
    json_object_put(reference);
    margo_finalize(mid);
}

static void configuration_is_complete(void **state)
{
    (void)state;
    static const char *const keys[] = {"version",
                                       "argobots",
                                       "mercury",
                                       "plumber",
                                       "progress_timeout_ub_msec",
                                       "progress_spindown_msec",
                                       "handle_cache_size",
                                       "enable_abt_profiling",
                                       "progress_pool",
                                       "rpc_pool"};
    margo_instance_id mid =
        start_instance(MARGO_SERVER_MODE, "{\"use_progress_thread\":true,\"rpc_thread_count\":1,"
                                          "\"progress_spindown_msec\":3,\"monitoring\":{\"config\":{}}}");
    struct json_object *config = dango_margo_config(mid);
    assert_int_equal(json_object_object_length(config), sizeof keys / sizeof *keys);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_non_null(dango_json_get(config, keys[i]));
    assert_string_equal(dango_json_get_string(config, "rpc_pool"), "__rpc__");
    struct json_object *mercury = dango_json_get(config, "mercury");
    assert_contains(dango_json_get_string(mercury, "address"), test_protocol());
    assert_true(json_object_get_boolean(dango_json_get(mercury, "listening")));
    assert_true(json_object_get_int64(dango_json_get(mercury, "input_eager_size")) > 1000);
    char *text = margo_get_config(mid), *named = margo_get_config_opt(mid, MARGO_CONFIG_USE_NAMES);
    assert_contains(text, "\"progress_pool\":1,\"rpc_pool\":2");
    assert_contains(named, "\"progress_pool\":\"__progress__\",\"rpc_pool\":\"__rpc__\"");
    margo_finalize(mid);
    /* Fed back, it gives itself, but for the address. */
    mid = start_instance(MARGO_SERVER_MODE, text);
    struct json_object *again = dango_margo_config(mid);
    json_object_object_del(dango_json_get(again, "mercury"), "address");
    json_object_object_del(mercury, "address");
    assert_true(json_object_equal(config, again));
    json_object_put(config);
    json_object_put(again);
    free(text);
    free(named);
    margo_finalize(mid);
}

static void the_program_runs_argobots(void **state)
{
    (void)state;
    struct dango_error err;
    struct margo_init_info info = MARGO_INIT_INFO_INITIALIZER;
    struct margo_pool_info found;
    ABT_pool pool;
    ABT_xstream xstream;
    ABT_init(0, NULL);
    ABT_pool_create_basic(ABT_POOL_FIFO_WAIT, ABT_POOL_ACCESS_MPMC, ABT_FALSE, &pool);
    ABT_xstream_create_basic(ABT_SCHED_BASIC_WAIT, 1, &pool, ABT_SCHED_CONFIG_NULL, &xstream);
    info.json_config = "{\"argobots\":{\"pools\":[{\"name\":\"__primary__\"}]}}";
    assert_null(dango_margo_init(test_protocol(), MARGO_SERVER_MODE, &info, &err));
    assert_contains(err.text, "margo.argobots.pools: \"__primary__\" cannot be declared");
    info.json_config = "{\"argobots\":{\"pools\":[{\"name\":\"orphan\"}]}}";
    info.rpc_pool = pool;
    margo_instance_id mid = dango_margo_init(test_protocol(), MARGO_SERVER_MODE, &info, &err);
    if (!mid)
        fail_msg("%s", err.text);
    assert_call_to_self(mid, 1, ABT_POOL_NULL);
    assert_int_equal(margo_find_pool(mid, pool, &found), HG_SUCCESS);
    assert_string_equal(found.name, "__pool_1__");
    assert_int_equal(margo_find_pool(mid, "orphan", &found), HG_SUCCESS);
    assert_call_to_self(mid, 2, found.pool);
    char *config = margo_get_config_opt(mid, MARGO_CONFIG_HIDE_EXTERNAL);
    assert_null(strstr(config, "external"));
    free(config);
    margo_finalize(mid);
    assert_int_equal(ABT_initialized(), ABT_SUCCESS);
    ABT_xstream_join(xstream);
    ABT_xstream_free(&xstream);
    ABT_pool_free(&pool);
    ABT_finalize();
}

static void progress_moves_to_another_pool(void **state)
{
    (void)state;
    margo_instance_id mid = start_instance(MARGO_SERVER_MODE, "{\"rpc_thread_count\":1}");
    ABT_pool progress, rpc;
    assert_int_equal(margo_migrate_progress_loop(mid, 0), 0);
    assert_int_not_equal(margo_migrate_progress_loop(mid, 9), 0);
    for (unsigned i = 1; i < 20; i++) {
        assert_int_equal(margo_migrate_progress_loop(mid, i % 2), 0);
        assert_call_to_self(mid, 1, ABT_POOL_NULL);
    }
    margo_get_progress_pool(mid, &progress);
    margo_get_handler_pool(mid, &rpc);
    assert_ptr_equal(progress, rpc);
    margo_finalize(mid);
}

static void parameters(void **state)
{
    (void)state;
    margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, "{}");
    assert_int_equal(margo_set_param(mid, "progress_timeout_ub_msec", "0"), 0);
    assert_int_equal(margo_set_param(mid, "progress_timeout_ub_msecs", "20"), 0);
    assert_int_equal(margo_set_param(mid, "progress_timeout_ub_msecs", "-1"), -1);
    assert_int_equal(margo_set_param(mid, "progress_timeout_ub_msecs", "x"), -1);
    assert_int_equal(margo_set_param(mid, "colour", "1"), -1);
    struct json_object *config = dango_margo_config(mid);
    assert_int_equal(json_object_get_int64(dango_json_get(config, "progress_timeout_ub_msec")), 20);
    json_object_put(config);
    margo_finalize(mid);
}

static void state_is_dumped(void **state)
{
    (void)state;
    char directory[] = "/tmp/dango-margo-XXXXXX", config[128], line[256];
    assert_non_null(mkdtemp(directory));
    snprintf(config, sizeof config, "{\"argobots\":{\"profiling_dir\":\"%s\"}}", directory);
    margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, config);
    char *name = NULL;
    assert_int_equal(margo_state_dump(mid, "x", 1, &name), 0);
    assert_contains(name, directory);
    assert_contains(name, ".state.txt");
    FILE *file = fopen(name, "r");
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "# Margo instance\n");
    fclose(file);
    unlink(name);
    rmdir(directory);
    free(name);
    margo_finalize(mid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pools_and_streams_come_and_go),
        cmocka_unit_test(additions_are_checked),
        cmocka_unit_test(configuration_is_complete),
        cmocka_unit_test(the_program_runs_argobots),
        cmocka_unit_test(progress_moves_to_another_pool),
        cmocka_unit_test(parameters),
        cmocka_unit_test(state_is_dumped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
