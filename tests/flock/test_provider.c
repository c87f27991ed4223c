/*
 * Providers, clients and group handles in one process: the behaviours that the specification fixes for backend static,
 * configurations that are refused, group files, callbacks, and backends and gateways of the program's own.
 */
#include "tests/flock/support.h"
#include "tests/support/protocol.h"

#include "flock/provider/flock.h"
#include "util/file.h"
#include "util/json.h"

#include <unistd.h>

#define MEMBERS 5

static margo_instance_id mid;
static char address[256];
static char directory[] = "/tmp/flock-provider-XXXXXX";
static char path[64];

static void fill_view(flock_group_view_t *view)
{
    for (uint16_t id = 1; id <= MEMBERS; id++)
        flock_group_view_add_member(view, address, id);
    flock_group_view_add_metadata(view, "matthieu", "dorier");
    flock_group_view_add_metadata(view, "shane", "snyder");
}

static flock_provider_t start_provider(uint16_t id, const char *config)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    struct flock_provider_args args = FLOCK_PROVIDER_ARGS_INIT;
    flock_provider_t provider;
    fill_view(&view);
    args.initial_view = &view;
    assert_ok(flock_provider_register(mid, id, config, &args, &provider));
    assert_int_equal(view.members.size, 0);
    return provider;
}

static void check_group(const flock_group_view_t *view)
{
    assert_int_equal(view->members.size, MEMBERS);
    for (size_t i = 0; i < MEMBERS; i++)
        assert_int_equal(view->members.data[i].provider_id, i + 1);
    assert_int_equal(view->metadata.size, 4);
    assert_string_equal(flock_group_view_find_metadata(view, "matthieu"), "dorier");
    assert_string_equal(flock_group_view_find_metadata(view, "shane"), "snyder");
    assert_string_equal(flock_group_view_find_metadata(view, "__type__"), "static");
    assert_string_equal(flock_group_view_find_metadata(view, "__config__"), "{}");
    assert_null(flock_group_view_find_metadata(view, "unknown"));
}

/* ---- registration and configuration ---- */

static void effective_configuration(void **state)
{
    (void)state;
    flock_provider_t provider =
        start_provider(1, "{\"bootstrap\":\"view\",\"group\":{\"type\":\"static\",\"config\":{}}}");
    char *config = flock_provider_get_config(provider);
    assert_string_equal(
        config, "{\"gateway\":{\"type\":\"default\",\"config\":{}},\"group\":{\"type\":\"static\",\"config\":{}}}");
    free(config);
    assert_ok(flock_provider_destroy(provider));
    assert_null(flock_provider_get_config(NULL));
    assert_ret(flock_provider_destroy(NULL), FLOCK_ERR_INVALID_ARGS);
}

static void refused_configurations(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "{",
        "[]",
        "{}",
        "{\"group\":3}",
        "{\"group\":{}}",
        "{\"group\":{\"type\":\"statik\"}}",
        "{\"group\":{\"type\":\"static\",\"config\":3}}",
        "{\"group\":{\"type\":\"static\"},\"gateway\":{}}",
        "{\"group\":{\"type\":\"static\"},\"gateway\":{\"type\":\"none\"}}",
        "{\"group\":{\"type\":\"static\"},\"file\":3}",
        "{\"group\":{\"type\":\"static\"},\"fiel\":\"x\"}",
    };
    flock_provider_t provider;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (flock_provider_register(mid, 1, bad[i], NULL, &provider) != FLOCK_ERR_INVALID_CONFIG)
            fail_msg("accepted: %s", bad[i]);
    }
    provider = start_provider(1, STATIC);
    assert_ret(flock_provider_register(mid, 1, STATIC, NULL, NULL), FLOCK_ERR_INVALID_PROVIDER);
    assert_ok(flock_provider_destroy(provider));
    /* The id is free again. */
    assert_ok(flock_provider_register(mid, 1, STATIC, NULL, &provider));
    assert_ok(flock_provider_destroy(provider));
}

static void static_groups_are_not_joined(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    struct flock_provider_args args = FLOCK_PROVIDER_ARGS_INIT;
    args.initial_view = &view;
    fill_view(&view);
    assert_ret(flock_provider_register(mid, 99, STATIC, &args, NULL), FLOCK_ERR_OP_FORBIDDEN);
    assert_int_equal(view.members.size, 0);
    fill_view(&view);
    assert_ret(flock_provider_register(mid, 1, "{", &args, NULL), FLOCK_ERR_INVALID_CONFIG);
    assert_int_equal(view.members.size, 0);
}

/* ---- bootstrap from a configuration ---- */

static int bootstrap(const char *config, char *text)
{
    struct dango_error err = {0};
    flock_provider_t provider = NULL;
    struct json_object *json = dango_json_parse(config, strlen(config), &err);
    assert_non_null(json);
    int checked = dango_flock_check(json, "config", &err);
    strcpy(text, err.text);
    int status = dango_flock_bootstrap(mid, 1, json, "config", ABT_POOL_NULL, &provider, &err);
    assert_true(checked == 0 || status != 0);
    if (checked == 0)
        strcpy(text, err.text);
    json_object_put(json);
    if (provider)
        assert_ok(flock_provider_destroy(provider));
    return checked ? checked : status;
}

static void bootstrap_methods(void **state)
{
    (void)state;
    char text[DANGO_ERROR_TEXT_MAX], config[512];
    assert_int_equal(bootstrap("{\"bootstrap\":\"self\",\"group\":{\"type\":\"static\"}}", text), 0);
    snprintf(config, sizeof config,
             "{\"bootstrap\":\"view\",\"group\":{\"type\":\"static\"},"
             "\"view\":{\"members\":[{\"address\":\"%s\",\"provider_id\":1}]}}",
             address);
    assert_int_equal(bootstrap(config, text), 0);
    /* Without a launcher this is a group of one. */
    assert_int_equal(bootstrap("{\"bootstrap\":\"mpi\",\"mpi_ranks\":[0],\"group\":{\"type\":\"static\"}}", text), 0);
    /* A method that leads to no provider gives way to the next. */
    assert_int_equal(bootstrap("{\"bootstrap\":[\"view\",\"self\"],\"group\":{\"type\":\"static\"},"
                               "\"view\":{\"members\":[{\"address\":\"x\",\"provider_id\":1}]}}",
                               text),
                     0);
}

static void bootstrap_errors_say_what_is_built_in(void **state)
{
    (void)state;
    static const struct {
        const char *config, *expected;
    } cases[] = {
        {"{\"group\":{\"type\":\"static\"}}", "config.bootstrap: this field is required"},
        {"{\"bootstrap\":\"mpi\",\"mpi_ranks\":[1],\"group\":{\"type\":\"static\"}}",
         "config.mpi_ranks: entry 0: expected a rank between 0 and 0, found 1 (this process was not started"},
        {"{\"bootstrap\":\"mpi\",\"mpi_ranks\":[0,0],\"group\":{\"type\":\"static\"}}", "rank 0 is listed twice"},
        {"{\"bootstrap\":\"mpi\",\"mpi_ranks\":[],\"group\":{\"type\":\"static\"}}", "at least one rank"},
        {"{\"bootstrap\":\"join\",\"group\":{\"type\":\"static\"}}", "need the field \"file\""},
        {"{\"bootstrap\":\"join\",\"file\":\"/nonexistent/f\",\"group\":{\"type\":\"static\"}}", "/nonexistent/f"},
        {"{\"bootstrap\":[\"self\",\"jion\"],\"group\":{\"type\":\"static\"}}", "unknown bootstrap method \"jion\""},
        {"{\"bootstrap\":\"selv\",\"group\":{\"type\":\"static\"}}", "did you mean \"self\"?"},
        {"{\"bootstrap\":[],\"group\":{\"type\":\"static\"}}", "config.bootstrap: the list of methods is empty"},
        {"{\"bootstrap\":[3],\"group\":{\"type\":\"static\"}}", "config.bootstrap: entry 0"},
        {"{\"bootstrap\":3,\"group\":{\"type\":\"static\"}}", "config.bootstrap"},
        {"{\"bootstrap\":\"view\",\"group\":{\"type\":\"static\"}}", "needs the field \"view\""},
        {"{\"bootstrap\":\"view\",\"group\":{\"type\":\"static\"},\"view\":{\"members\":[]}}", "members: expected"},
        {"{\"bootstrap\":\"self\"}", "config.group.type: this field is required"},
        {"{\"bootstrap\":\"self\",\"group\":{\"type\":\"swin\"}}", "config.group.type: unknown type \"swin\""},
        {"{\"bootstrap\":\"self\",\"group\":{\"type\":\"swim\",\"config\":{\"ping_timeout_ms\":\"1\"}}}",
         "group.config.ping_timeout_ms"},
        {"{\"bootstrap\":\"self\",\"group\":{\"type\":\"centralized\",\"config\":{\"ping_interval_ms\":[3,1]}}}",
         "ping_interval_ms: expected a number or [min, max]"},
        {"{\"bootstrap\":\"self\",\"group\":{\"type\":\"swin\"}}", "(backends: static, centralized, swim"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[DANGO_ERROR_TEXT_MAX];
        assert_int_not_equal(bootstrap(cases[i].config, text), 0);
        assert_contains(text, cases[i].expected);
    }
}

/* ---- clients ---- */

static flock_provider_t providers[MEMBERS];
static flock_client_t client;
static hg_addr_t self;

static int start_group(void **state)
{
    (void)state;
    char config[256];
    snprintf(config, sizeof config, "{\"group\":{\"type\":\"static\"},\"file\":\"%s\"}", path);
    for (uint16_t i = 0; i < MEMBERS; i++)
        providers[i] = start_provider((uint16_t)(i + 1), config);
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    assert_int_equal(margo_addr_self(mid, &self), HG_SUCCESS);
    return 0;
}

static int stop_group(void **state)
{
    (void)state;
    margo_addr_free(mid, self);
    assert_ok(flock_client_finalize(client));
    for (int i = 0; i < MEMBERS; i++)
        assert_ok(flock_provider_destroy(providers[i]));
    unlink(path);
    return 0;
}

static void check_handle(flock_group_handle_t handle)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    flock_group_view_add_member(&view, "what was there is freed", 1);
    assert_ok(flock_group_get_view(handle, &view));
    check_group(&view);
    flock_group_view_clear(&view);
}

static void handles_from_a_member(void **state)
{
    (void)state;
    flock_group_handle_t handle;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    assert_ret(flock_group_handle_create(NULL, self, 1, 0, &handle), FLOCK_ERR_INVALID_ARGS);
    assert_ret(flock_group_handle_create(client, self, 123, 0, &handle), FLOCK_ERR_INVALID_PROVIDER);
    assert_ok(flock_group_handle_create(client, self, 3, 0, &handle));
    assert_ok(flock_group_get_view(handle, &view));
    assert_true(view.members.size == 1 && view.metadata.size == 0 && view.members.data[0].provider_id == 3);
    flock_group_view_clear(&view);
    assert_ok(flock_group_update_view(handle, NULL));
    check_handle(handle);
    /* Nothing has changed: the copy stays. */
    assert_ok(flock_group_update_view(handle, NULL));
    check_handle(handle);
    assert_ok(flock_group_handle_ref_incr(handle));
    assert_ok(flock_group_handle_release(handle));
    assert_ok(flock_group_handle_release(handle));
    assert_ret(flock_group_handle_release(NULL), FLOCK_ERR_INVALID_ARGS);
    assert_ok(flock_group_handle_create(client, self, 1, true, &handle));
    check_handle(handle);
    assert_ok(flock_group_handle_release(handle));
}

static void note_size(void *uargs, const flock_group_view_t *view)
{
    *(size_t *)uargs = view->members.size;
}

static void asynchronous_updates(void **state)
{
    (void)state;
    flock_group_handle_t handle;
    flock_request_t request;
    bool completed = false;
    size_t size = 0;
    assert_ok(flock_group_handle_create(client, self, 2, 0, &handle));
    assert_ok(flock_group_update_view(handle, &request));
    while (!completed) {
        assert_ok(flock_request_test(request, &completed));
        ABT_thread_yield();
    }
    assert_ok(flock_request_wait(request));
    assert_ok(flock_group_access_view(handle, note_size, &size));
    assert_int_equal(size, MEMBERS);
    assert_ok(flock_group_access_view(handle, NULL, NULL));
    assert_ret(flock_group_unsubscribe(handle), FLOCK_ERR_INVALID_ARGS);
    assert_ret(flock_group_metadata_set(handle, "k", "v"), FLOCK_ERR_OP_UNSUPPORTED);
    assert_ok(flock_group_handle_release(handle));
}

static void handles_from_files_and_texts(void **state)
{
    (void)state;
    flock_group_handle_t handle;
    size_t size;
    assert_ok(flock_group_handle_create_from_file(client, path, 0, &handle));
    check_handle(handle);
    assert_ok(flock_group_update_view(handle, NULL));
    check_handle(handle);
    assert_ok(flock_group_handle_release(handle));
    char *text = dango_file_read(path, 4096, &size, NULL);
    assert_ok(flock_group_handle_create_from_serialized(client, text, size, FLOCK_MODE_INIT_UPDATE, &handle));
    check_handle(handle);
    assert_ok(flock_group_handle_release(handle));
    free(text);
    assert_ret(flock_group_handle_create_from_file(client, "/nonexistent", 0, &handle), FLOCK_ERR_INVALID_ARGS);
    assert_ret(flock_group_handle_create_from_serialized(client, "{}", 2, 0, &handle), FLOCK_ERR_INVALID_CONFIG);
    static const char foreign[] = "{\"members\":[{\"address\":\"xx://y\",\"provider_id\":1}]}";
    assert_ret(flock_group_handle_create_from_serialized(client, foreign, strlen(foreign), 0, &handle),
               FLOCK_ERR_FROM_MERCURY);
}

/* The first member, whom the handle knows best, is gone; another one answers. */
static void other_members_answer(void **state)
{
    (void)state;
    flock_group_handle_t handle;
    assert_ok(flock_group_handle_create(client, self, 1, true, &handle));
    assert_ok(flock_provider_destroy(providers[0]));
    assert_ok(flock_group_update_view(handle, NULL));
    check_handle(handle);
    for (int i = 1; i < MEMBERS; i++)
        assert_ok(flock_provider_destroy(providers[i]));
    assert_ret(flock_group_update_view(handle, NULL), FLOCK_ERR_INVALID_PROVIDER);
    check_handle(handle);
    assert_ok(flock_group_handle_release(handle));
    for (uint16_t i = 0; i < MEMBERS; i++)
        providers[i] = start_provider((uint16_t)(i + 1), STATIC);
}

static void the_first_member_writes_the_file(void **state)
{
    (void)state;
    char config[256];
    unlink(path);
    snprintf(config, sizeof config, "{\"group\":{\"type\":\"static\"},\"file\":\"%s\"}", path);
    flock_provider_t second = start_provider(2, config);
    assert_int_not_equal(access(path, F_OK), 0);
    flock_provider_t first = start_provider(1, config);
    assert_int_equal(access(path, F_OK), 0);
    assert_ok(flock_provider_destroy(first));
    assert_ok(flock_provider_destroy(second));
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    /* What cannot be written is only a warning here; a module's `ready` reports it. */
    assert_ok(
        flock_provider_register(mid, 1, "{\"group\":{\"type\":\"static\"},\"file\":\"/nonexistent/f\"}", NULL, &first));
    struct dango_error err = {0};
    assert_int_not_equal(dango_flock_publish(first, &err), 0);
    assert_contains(err.text, "/nonexistent/f");
    assert_ok(flock_provider_destroy(first));
}

static int init(void **state)
{
    (void)state;
    mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 0, 0);
    if (!mid || !mkdtemp(directory))
        return -1;
    own_address(mid, address, sizeof address);
    snprintf(path, sizeof path, "%s/group.json", directory);
    return 0;
}

static int fini(void **state)
{
    (void)state;
    margo_finalize(mid);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(effective_configuration),
        cmocka_unit_test(refused_configurations),
        cmocka_unit_test(static_groups_are_not_joined),
        cmocka_unit_test(bootstrap_methods),
        cmocka_unit_test(bootstrap_errors_say_what_is_built_in),
        cmocka_unit_test_setup_teardown(handles_from_a_member, start_group, stop_group),
        cmocka_unit_test_setup_teardown(asynchronous_updates, start_group, stop_group),
        cmocka_unit_test_setup_teardown(handles_from_files_and_texts, start_group, stop_group),
        cmocka_unit_test_setup_teardown(other_members_answer, start_group, stop_group),
        cmocka_unit_test(the_first_member_writes_the_file),
    };
    return cmocka_run_group_tests(tests, init, fini);
}
