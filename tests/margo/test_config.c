/*
 * The "margo" section as a document: what is accepted, how it is completed, what is printed, and every error with its
 * text. Nothing here starts Argobots or a network.
 */
#include "tests/support/test.h"

#include "margo/config.h"
#include "margo/dango_margo.h"
#include "util/json.h"

static struct json_object *json_of(const char *text)
{
    struct dango_error err;
    struct json_object *json = dango_json_parse(text, strlen(text), &err);
    if (!json)
        fail_msg("%s: %s", err.text, text);
    return json;
}

static int parse(const char *text, bool secondary, struct mg_config *config, struct dango_error *err)
{
    struct json_object *json = json_of(text);
    memset(config, 0, sizeof *config);
    int status = mg_config_parse(json, secondary ? "margo[1]" : "margo", secondary, config, err);
    json_object_put(json);
    return status;
}

/* Parses and completes; the result has the form {"pools":…,"xstreams":…,"progress_pool":…,"rpc_pool":…}. */
static struct json_object *expand(const char *text, bool by_name)
{
    struct mg_config config;
    struct dango_error err;
    if (parse(text, false, &config, &err) != 0)
        fail_msg("%s", err.text);
    struct mg_layout_wishes wishes = {config.progress_pool, config.rpc_pool, config.options.use_progress_thread,
                                      config.options.rpc_thread_count, false};
    assert_int_equal(mg_layout_complete(&config.layout, &wishes, &err), 0);
    struct json_object *json = json_object_new_object();
    struct json_object *pools = json_object_new_array(), *xstreams = json_object_new_array();
    for (size_t i = 0; i < config.layout.num_pools; i++)
        json_object_array_add(pools, mg_pool_dump(config.layout.pools[i]));
    for (size_t i = 0; i < config.layout.num_xstreams; i++)
        json_object_array_add(xstreams, mg_xstream_dump(&config.layout, config.layout.xstreams[i], by_name));
    json_object_object_add(json, "pools", pools);
    json_object_object_add(json, "xstreams", xstreams);
    json_object_object_add(json, "progress_pool",
                           mg_layout_pool_reference(&config.layout, wishes.progress_pool, by_name));
    json_object_object_add(json, "rpc_pool", mg_layout_pool_reference(&config.layout, wishes.rpc_pool, by_name));
    mg_config_release(&config);
    return json;
}

static void assert_expands(const char *input, const char *expected_text)
{
    struct json_object *actual = expand(input, true), *expected = json_of(expected_text);
    if (!json_object_equal(actual, expected))
        fail_msg("%s\ngives    %s\nexpected %s", input, json_object_to_json_string(actual),
                 json_object_to_json_string(expected));
    json_object_put(actual);
    json_object_put(expected);
}

#define POOL(name, kind) "{\"access\":\"mpmc\",\"kind\":\"" kind "\",\"name\":\"" name "\"}"
#define FIFO_WAIT(name)  POOL(name, "fifo_wait")
#define ES(name, pools)  "{\"name\":\"" name "\",\"scheduler\":{\"pools\":[" pools "],\"type\":\"basic_wait\"}}"
#define PRIMARY_ES       ES("__primary__", "\"__primary__\"")
#define RESULT(pools, xstreams, progress, rpc)                                                                         \
    "{\"pools\":[" pools "],\"xstreams\":[" xstreams "],\"progress_pool\":\"" progress "\",\"rpc_pool\":\"" rpc "\"}"

static void empty_document_gives_primary(void **state)
{
    (void)state;
    const char *expected = RESULT(FIFO_WAIT("__primary__"), PRIMARY_ES, "__primary__", "__primary__");
    assert_expands("{}", expected);
    assert_expands("{\"rpc_thread_count\":-1,\"argobots\":null}", expected);
    assert_expands("{\"progress_pool\":\"__primary__\",\"rpc_pool\":\"__primary__\"}", expected);
}

static void shortcuts_add_pools_and_streams(void **state)
{
    (void)state;
    assert_expands(
        "{\"use_progress_thread\":true,\"rpc_thread_count\":4}",
        RESULT(FIFO_WAIT("__primary__") "," FIFO_WAIT("__progress__") "," FIFO_WAIT("__rpc__"),
               PRIMARY_ES "," ES("__progress_0__", "\"__progress__\"") "," ES("__rpc_0__", "\"__rpc__\"") "," ES(
                   "__rpc_1__", "\"__rpc__\"") "," ES("__rpc_2__", "\"__rpc__\"") "," ES("__rpc_3__", "\"__rpc__\""),
               "__progress__", "__rpc__"));
    assert_expands("{\"use_progress_thread\":true,\"rpc_thread_count\":-1}",
                   RESULT(FIFO_WAIT("__primary__") "," FIFO_WAIT("__progress__"),
                          PRIMARY_ES "," ES("__progress_0__", "\"__progress__\""), "__progress__", "__progress__"));
    assert_expands("{\"rpc_thread_count\":1}",
                   RESULT(FIFO_WAIT("__primary__") "," FIFO_WAIT("__rpc__"),
                          PRIMARY_ES "," ES("__rpc_0__", "\"__rpc__\""), "__primary__", "__rpc__"));
}

static void shortcuts_work_beside_declarations(void **state)
{
    (void)state;
    assert_expands(
        "{\"use_progress_thread\":true,\"rpc_thread_count\":2,\"argobots\":{\"pools\":["
        "{\"name\":\"__primary__\",\"kind\":\"fifo_wait\",\"access\":\"mpmc\"},"
        "{\"name\":\"io_pool\",\"kind\":\"fifo_wait\",\"access\":\"mpmc\"}],\"xstreams\":["
        "{\"name\":\"__primary__\",\"scheduler\":{\"type\":\"basic_wait\",\"pools\":[\"__primary__\"]}},"
        "{\"name\":\"io_es_0\",\"scheduler\":{\"type\":\"basic_wait\",\"pools\":[\"io_pool\"]}},"
        "{\"name\":\"io_es_1\",\"scheduler\":{\"type\":\"basic_wait\",\"pools\":[\"io_pool\"]}}]}}",
        RESULT(FIFO_WAIT("__primary__") "," FIFO_WAIT("io_pool") "," FIFO_WAIT("__progress__") "," FIFO_WAIT("__rpc__"),
               PRIMARY_ES "," ES("io_es_0", "\"io_pool\"") "," ES("io_es_1", "\"io_pool\"") "," ES(
                   "__progress_0__", "\"__progress__\"") "," ES("__rpc_0__", "\"__rpc__\"") "," ES("__rpc_1__",
                                                                                                   "\"__rpc__\""),
               "__progress__", "__rpc__"));
}

static void implicit_primary_comes_last(void **state)
{
    (void)state;
    assert_expands("{\"argobots\":{\"pools\":[{\"name\":\"net\"},{\"name\":\"work\",\"kind\":\"prio_wait\"}],"
                   "\"xstreams\":[{\"name\":\"net_es\",\"cpubind\":0,\"scheduler\":{\"pools\":[\"net\"]}},"
                   "{\"name\":\"work_es\",\"scheduler\":{\"type\":\"basic\",\"pools\":[1,0]}}]},"
                   "\"progress_pool\":\"net\",\"rpc_pool\":1}",
                   RESULT(FIFO_WAIT("net") "," POOL("work", "prio_wait") "," FIFO_WAIT("__primary__"),
                          "{\"name\":\"net_es\",\"cpubind\":0,\"scheduler\":{\"pools\":[\"net\"],\"type\":\"basic_"
                          "wait\"}},{\"name\":\"work_es\",\"scheduler\":{\"pools\":[\"work\",\"net\"],\"type\":"
                          "\"basic\"}}," PRIMARY_ES,
                          "net", "work"));
}

static void generated_names_avoid_declared_ones(void **state)
{
    (void)state;
    assert_expands("{\"argobots\":{\"pools\":[{},{},{\"name\":\"__pool_3__\"}],"
                   "\"xstreams\":[{\"scheduler\":{\"pools\":[0,1,2]}}]},\"use_progress_thread\":true}",
                   RESULT(FIFO_WAIT("__pool_0__") "," FIFO_WAIT("__pool_1__") "," FIFO_WAIT("__pool_3__") "," FIFO_WAIT(
                              "__primary__") "," FIFO_WAIT("__progress__"),
                          ES("__xstream_0__", "\"__pool_0__\",\"__pool_1__\",\"__pool_3__\"") "," PRIMARY_ES "," ES(
                              "__progress_0__", "\"__progress__\""),
                          "__progress__", "__primary__"));
    assert_expands("{\"argobots\":{\"pools\":[{},{\"name\":\"__pool_0__\"},{\"name\":\"__rpc__\"}],\"xstreams\":["
                   "{\"name\":\"__rpc_0__\",\"scheduler\":{\"pools\":[0,1,2]}}]},\"rpc_thread_count\":1}",
                   RESULT(FIFO_WAIT("__pool_1__") "," FIFO_WAIT("__pool_0__") "," FIFO_WAIT("__rpc__") "," FIFO_WAIT(
                              "__primary__") "," FIFO_WAIT("__rpc__1"),
                          ES("__rpc_0__", "\"__pool_1__\",\"__pool_0__\",\"__rpc__\"") "," PRIMARY_ES "," ES(
                              "__rpc_0__1", "\"__rpc__1\""),
                          "__primary__", "__rpc__1"));
}

static void kind_of_primary_can_be_chosen(void **state)
{
    (void)state;
    assert_expands("{\"argobots\":{\"pools\":[{\"name\":\"__primary__\",\"kind\":\"fifo\"}]}}",
                   RESULT(POOL("__primary__", "fifo"), PRIMARY_ES, "__primary__", "__primary__"));
}

static void unserved_pool_is_adopted_by_primary(void **state)
{
    (void)state;
    assert_expands("{\"argobots\":{\"pools\":[{\"name\":\"rpc_pool\",\"kind\":\"fifo_wait\",\"access\":\"mpmc\"}]},"
                   "\"rpc_pool\":\"rpc_pool\"}",
                   RESULT(FIFO_WAIT("rpc_pool") "," FIFO_WAIT("__primary__"),
                          ES("__primary__", "\"__primary__\",\"rpc_pool\""), "__primary__", "rpc_pool"));
}

static void output_fed_back_gives_the_same(void **state)
{
    (void)state;
    struct json_object *first = expand("{\"use_progress_thread\":true,\"rpc_thread_count\":2}", false);
    struct json_object *document = json_object_new_object(), *argobots = json_object_new_object();
    json_object_object_add(argobots, "pools", dango_json_copy(dango_json_get(first, "pools")));
    json_object_object_add(argobots, "xstreams", dango_json_copy(dango_json_get(first, "xstreams")));
    json_object_object_add(document, "argobots", argobots);
    json_object_object_add(document, "progress_pool", dango_json_copy(dango_json_get(first, "progress_pool")));
    json_object_object_add(document, "rpc_pool", dango_json_copy(dango_json_get(first, "rpc_pool")));
    struct json_object *second = expand(json_object_to_json_string(document), false);
    assert_true(json_object_equal(first, second));
    json_object_put(first);
    json_object_put(second);
    json_object_put(document);
}

static void settings_have_their_defaults(void **state)
{
    (void)state;
    struct mg_config config;
    struct dango_error err;
    assert_int_equal(
        parse("{\"mercury\":{\"checksum_level\":\"rpc_headers\",\"address\":\"na+sm://x\"}}", false, &config, &err), 0);
    const struct mg_options *o = &config.options;
    assert_int_equal(o->handle_cache_size, 256);
    assert_int_equal(o->progress_spindown_msec, 10);
    assert_int_equal(o->progress_timeout_ub_msec, 100);
    assert_int_equal(o->argobots.mem_max_num_stacks, 8);
    assert_int_equal(o->argobots.thread_stacksize, 2097152);
    assert_string_equal(o->argobots.profiling_dir, ".");
    assert_int_equal(o->mercury.request_post_init, 256);
    assert_int_equal(o->mercury.checksum_level, 1);
    assert_string_equal(o->plumber.nic_policy, "roundrobin");
    mg_config_release(&config);
}

#define POOLS(text)    "{\"argobots\":{\"pools\":" text "}}"
#define XSTREAMS(text) "{\"argobots\":{\"pools\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"xstreams\":" text "}}"

static const struct {
    const char *text, *message;
} faults[] = {
    {"[]", "margo: expected an object, got array"},
    {"\"text\"", "margo: expected an object, got string"},
    {"{\"argobots\":1}", "margo.argobots: expected an object, got integer"},
    {"{\"mercury\":[]}", "margo.mercury: expected an object, got array"},
    {"{\"plumber\":true}", "margo.plumber: expected an object, got boolean"},
    {"{\"handle_cache_size\":\"x\"}", "margo.handle_cache_size: expected an integer, got string"},
    {"{\"handle_cache_size\":1.0}", "margo.handle_cache_size: expected an integer, got number"},
    {"{\"use_progress_thread\":1}", "margo.use_progress_thread: expected a boolean"},
    {"{\"enable_abt_profiling\":\"yes\"}", "margo.enable_abt_profiling: expected a boolean"},
    {"{\"progress_timeout_ub_msec\":-1}", "margo.progress_timeout_ub_msec: must not be negative"},
    {"{\"progress_spindown_msec\":-1}", "margo.progress_spindown_msec: must not be negative"},
    {"{\"handle_cache_size\":-9223372036854775808}", "margo.handle_cache_size: must not be negative"},
    {"{\"argobots\":{\"abt_thread_stacksize\":-1}}", "margo.argobots.abt_thread_stacksize: must not be negative"},
    {"{\"mercury\":{\"request_post_init\":-2}}", "margo.mercury.request_post_init: must not be negative"},
    {"{\"mercury\":{\"checksum_level\":\"crc\"}}", "margo.mercury.checksum_level: unknown value \"crc\""},
    {"{\"mercury\":{\"na_addr_format\":\"ipv5\"}}", "did you mean \"ipv4\"?"},
    {"{\"mercury\":{\"auto_sm\":0}}", "margo.mercury.auto_sm: expected a boolean"},
    {"{\"use_progres_thread\":true}", "margo: unknown field \"use_progres_thread\""},
    {"{\"use_progres_thread\":true}", "did you mean \"use_progress_thread\"?"},
    {POOLS("true"), "margo.argobots.pools: expected an array, got boolean"},
    {POOLS("[3]"), "margo.argobots.pools[0]: expected an object, got integer"},
    {POOLS("[{\"name\":\"2p\"}]"), "margo.argobots.pools[0].name: \"2p\" is not a valid identifier"},
    {POOLS("[{\"name\":\"\"}]"), "margo.argobots.pools[0].name: \"\" is not a valid identifier"},
    {POOLS("[{\"name\":\"a-b\"}]"), "margo.argobots.pools[0].name: \"a-b\" is not a valid identifier"},
    {POOLS("[{\"name\":1}]"), "margo.argobots.pools[0].name: expected a string, got integer"},
    {POOLS("[{\"name\":\"a\"},{\"name\":\"a\"}]"), "margo.argobots.pools[1].name: \"a\" is already used"},
    {POOLS("[{\"kind\":\"fifo2\"}]"),
     "margo.argobots.pools[0].kind: unknown value \"fifo2\" (allowed: fifo, fifo_wait, "
     "prio_wait, earliest_first; did you mean \"fifo\"?)"},
    {POOLS("[{\"kind\":\"external\"}]"), "margo.argobots.pools[0].kind: \"external\" pools cannot be created"},
    {POOLS("[{\"type\":\"fifo\"}]"), "margo.argobots.pools[0]: unknown field \"type\" (fields: name, kind, access"},
    {POOLS("[{\"access\":\"mpcm\"}]"), "did you mean \"mpmc\"?"},
    {XSTREAMS("7"), "margo.argobots.xstreams: expected an array, got integer"},
    {XSTREAMS("[[]]"), "margo.argobots.xstreams[0]: expected an object, got array"},
    {XSTREAMS("[{}]"), "margo.argobots.xstreams[0].scheduler: this field is required"},
    {XSTREAMS("[{\"scheduler\":{}}]"), "margo.argobots.xstreams[0].scheduler.pools: this field is required"},
    {XSTREAMS("[{\"scheduler\":{\"pools\":[]}}]"), "scheduler.pools: at least one pool is required"},
    {XSTREAMS("[{\"scheduler\":{\"pools\":[true]}}]"),
     "margo.argobots.xstreams[0].scheduler.pools[0]: expected a pool name or index"},
    {XSTREAMS("[{\"scheduler\":{\"pools\":[\"x\"]}}]"), "scheduler.pools[0]: no pool named \"x\" (pools: a, b"},
    {XSTREAMS("[{\"scheduler\":{\"pools\":[0,7]}}]"), "scheduler.pools[1]: no pool at index 7"},
    {XSTREAMS("[{\"scheduler\":{\"pools\":[\"__primary__\"]}}]"), "no pool named \"__primary__\""},
    {XSTREAMS("[{\"scheduler\":{\"pools\":[\"a\",0]}}]"), "scheduler.pools[1]: pool \"a\" is listed twice"},
    {XSTREAMS("[{\"scheduler\":{\"pools\":[0],\"type\":\"basic_wiat\"}}]"), "did you mean \"basic_wait\"?"},
    {XSTREAMS("[{\"name\":\"e\",\"scheduler\":{\"pools\":[0]}},{\"name\":\"e\",\"scheduler\":{\"pools\":[0]}}]"),
     "margo.argobots.xstreams[1].name: \"e\" is already used"},
    {XSTREAMS("[{\"scheduler\":{\"pools\":[0]},\"affinity\":[\"x\"]}]"),
     "margo.argobots.xstreams[0].affinity[0]: expected an integer, got string"},
    {XSTREAMS("[{\"scheduler\":{\"pools\":[0]},\"affinity\":[-1]}]"), "affinity[0]: no such CPU"},
    {XSTREAMS("[{\"name\":\"__primary__\",\"scheduler\":{\"pools\":[0]}}]"),
     "margo.argobots.xstreams: \"__primary__\" needs a declared pool named \"__primary__\""},
    {"{\"argobots\":{\"pools\":[{\"name\":\"__primary__\"},{\"name\":\"b\"}],\"xstreams\":[{\"name\":\"__primary__\","
     "\"scheduler\":{\"pools\":[\"b\",\"__primary__\"]}}]}}",
     "margo.argobots.xstreams[0].scheduler.pools: pool \"__primary__\" must be the first pool of xstream"},
    {"{\"progress_pool\":true}", "margo.progress_pool: expected a string or an integer, got boolean"},
    {"{\"rpc_pool\":\"x\"}", "margo.rpc_pool: no pool named \"x\" (pools: none)"},
    {"{\"rpc_pool\":0}", "margo.rpc_pool: no pool at index 0"},
    {"{\"progress_pool\":-1}", "margo.progress_pool: no pool at index -1"},
};

static void errors_say_where_and_what(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct mg_config config;
        struct dango_error err;
        if (parse(faults[i].text, false, &config, &err) == 0)
            fail_msg("accepted: %s", faults[i].text);
        assert_contains(err.text, faults[i].message);
        assert_null(config.layout.pools);
        assert_null(strchr(err.text, '\n'));
    }
}

static void secondary_instances_have_no_layout(void **state)
{
    (void)state;
    static const char *const forbidden[] = {"argobots", "use_progress_thread", "rpc_thread_count"};
    static const char *const documents[] = {"{\"argobots\":{}}", "{\"use_progress_thread\":false}",
                                            "{\"rpc_thread_count\":0}"};
    struct mg_config config;
    struct dango_error err;
    for (int i = 0; i < 3; i++) {
        char expected[128];
        snprintf(expected, sizeof expected, "margo[1].%s: not allowed in a secondary instance", forbidden[i]);
        assert_true(parse(documents[i], true, &config, &err) < 0);
        assert_string_equal(err.text, expected);
    }
    assert_int_equal(parse("{\"rpc_pool\":\"__rpc__\",\"progress_spindown_msec\":0}", true, &config, &err), 0);
    mg_config_release(&config);
}

static void collect(void *arg, const char *text)
{
    char *all = arg;
    size_t used = strlen(all);
    snprintf(all + used, 4096 - used, "%s\n", text);
}

static const char *warnings_of(const char *text, char *buffer)
{
    struct mg_config config;
    struct dango_error err;
    assert_int_equal(parse(text, false, &config, &err), 0);
    struct mg_layout_wishes wishes = {config.progress_pool, config.rpc_pool, config.options.use_progress_thread,
                                      config.options.rpc_thread_count, false};
    assert_int_equal(mg_layout_complete(&config.layout, &wishes, &err), 0);
    buffer[0] = '\0';
    mg_layout_warn(&config.layout, wishes.progress_pool, collect, buffer);
    mg_config_release(&config);
    return buffer;
}

static void warnings_name_the_pool_and_the_remedy(void **state)
{
    (void)state;
    char text[4096];
    assert_string_equal(warnings_of("{}", text), "");
    assert_string_equal(warnings_of("{\"use_progress_thread\":true,\"rpc_thread_count\":2}", text), "");
    assert_contains(warnings_of(POOLS("[{\"name\":\"x\"},{\"name\":\"y\"}]"), text),
                    "no xstream serves pools \"x\", \"y\"");
    assert_null(strchr(text, '\n')[1] ? text : NULL);
    const char *two = "{\"argobots\":{\"pools\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"xstreams\":[{\"scheduler\":"
                      "{\"pools\":[\"a\",\"b\"]}}]},\"progress_pool\":\"%s\"}";
    char document[512];
    snprintf(document, sizeof document, two, "__primary__");
    assert_contains(warnings_of(document, text), "pool \"b\" is not the first pool");
    snprintf(document, sizeof document, two, "b");
    assert_contains(warnings_of(document, text), "pool \"a\" shares an xstream with the progress pool");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_document_gives_primary),        cmocka_unit_test(shortcuts_add_pools_and_streams),
        cmocka_unit_test(shortcuts_work_beside_declarations),  cmocka_unit_test(implicit_primary_comes_last),
        cmocka_unit_test(generated_names_avoid_declared_ones), cmocka_unit_test(kind_of_primary_can_be_chosen),
        cmocka_unit_test(unserved_pool_is_adopted_by_primary), cmocka_unit_test(output_fed_back_gives_the_same),
        cmocka_unit_test(settings_have_their_defaults),        cmocka_unit_test(errors_say_where_and_what),
        cmocka_unit_test(secondary_instances_have_no_layout),  cmocka_unit_test(warnings_name_the_pool_and_the_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
