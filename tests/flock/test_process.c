/*
 * Clients and members in different processes over na+sm: views through files, members that die or hang, stale files.
 */
#include "tests/flock/support.h"
#include "tests/support/protocol.h"
#include "tests/support/child.h"

#include "util/clock.h"

static margo_instance_id mid;
static flock_client_t client;

/* A server with one member; its first line is its address. */
static void run_server(const char *file)
{
    char address[256], config[256];
    flock_provider_t provider;
    mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 0, 1);
    snprintf(config, sizeof config, "{\"group\":{\"type\":\"static\"},\"file\":\"%s\"}", file);
    assert_ok(flock_provider_register(mid, 5, config, NULL, &provider));
    own_address(mid, address, sizeof address);
    printf("%s\n", address);
    fflush(stdout);
    margo_wait_for_finalize(mid);
}

static char path[] = "/tmp/flock-process-XXXXXX";
static char address[256];

static struct child start_server(void)
{
    char *const argv[] = {"server", path, NULL};
    struct child server = child_start(argv);
    child_read_line(&server, address, sizeof address);
    return server;
}

static double elapsed_ms(int64_t since_ns)
{
    return (double)(dango_clock_ns() - since_ns) / (double)DANGO_NS_PER_MS;
}

static void the_file_leads_to_the_group(void **state)
{
    (void)state;
    struct child server = start_server();
    flock_group_handle_t handle;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    assert_ok(flock_group_handle_create_from_file(client, path, FLOCK_MODE_INIT_UPDATE, &handle));
    assert_ok(flock_group_get_view(handle, &view));
    assert_int_equal(view.members.size, 1);
    assert_string_equal(view.members.data[0].address, address);
    assert_int_equal(view.members.data[0].provider_id, 5);
    flock_group_view_clear(&view);
    assert_ok(flock_group_handle_release(handle));
    child_kill(&server);
}

static void a_stale_file_fails_at_once(void **state)
{
    (void)state;
    struct child server = start_server();
    flock_group_handle_t handle;
    assert_ok(flock_group_handle_create_from_file(client, path, FLOCK_MODE_INIT_UPDATE, &handle));
    child_kill(&server);
    int64_t start = dango_clock_ns();
    assert_ret(flock_group_update_view(handle, NULL), FLOCK_ERR_FROM_MERCURY);
    assert_ok(flock_group_handle_release(handle));
    assert_ret(flock_group_handle_create_from_file(client, path, FLOCK_MODE_INIT_UPDATE, &handle),
               FLOCK_ERR_FROM_MERCURY);
    assert_true(elapsed_ms(start) < 1000);
    /* Without contact the file is as good as any. */
    assert_ok(flock_group_handle_create_from_file(client, path, 0, &handle));
    assert_ok(flock_group_handle_release(handle));
}

/* Two members in two processes; one dies. */
static void the_living_member_answers(void **state)
{
    (void)state;
    struct child dead = start_server();
    char text[1024], dead_address[256];
    strcpy(dead_address, address);
    struct child living = start_server();
    flock_group_handle_t handle;
    child_kill(&dead);
    int length = snprintf(text, sizeof text,
                          "{\"members\":[{\"address\":\"%s\",\"provider_id\":5},{\"address\":\"%s\","
                          "\"provider_id\":5}]}",
                          dead_address, address);
    int64_t start = dango_clock_ns();
    assert_ok(flock_group_handle_create_from_serialized(client, text, (size_t)length, true, &handle));
    assert_true(elapsed_ms(start) < 1000);
    assert_ok(flock_group_handle_release(handle));
    child_kill(&living);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return run_server(argv[1]), 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_leads_to_the_group),
        cmocka_unit_test(a_stale_file_fails_at_once),
        cmocka_unit_test(the_living_member_answers),
    };
    close(mkstemp(path));
    mid = margo_init(test_protocol(), MARGO_CLIENT_MODE, 0, 0);
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    flock_client_finalize(client);
    margo_finalize(mid);
    unlink(path);
    return failed;
}
