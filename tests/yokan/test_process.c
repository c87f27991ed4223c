/*
 * Client and provider in two processes over na+sm: data of all sizes, a server that dies, one that hangs, one that is
 * gone, and many callers at once.
 */
#include "tests/support/child.h"
#include "tests/support/protocol.h"
#include "tests/yokan/rpc_support.h"

#include "util/clock.h"

static struct fixture f;
static struct child server;

static void run_server(void)
{
    f.mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 0, 1);
    register_providers(&f);
    own_address(f.mid, f.address, sizeof f.address);
    printf("%s\n", f.address);
    fflush(stdout);
    margo_wait_for_finalize(f.mid);
}

static int start_server(void **state)
{
    (void)state;
    char *const argv[] = {"server", "serve", NULL};
    test_root(); /* the child, which is killed, cannot remove it */
    server = child_start(argv);
    child_read_line(&server, f.address, sizeof f.address);
    connect_client(&f, f.address);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    disconnect_client(&f);
    if (server.pid)
        child_kill(&server);
    return 0;
}

static double elapsed_ms(int64_t since_ns)
{
    return (double)(dango_clock_ns() - since_ns) / (double)DANGO_NS_PER_MS;
}

static void values_of_all_sizes(void **state)
{
    (void)state;
    size_t largest = 8u << 20;
    char *value = malloc(largest), *back = malloc(largest);
    for (size_t i = 0; i < largest; i++)
        value[i] = (char)(i * 7 + i / 251);
    for (int way = 0; way < 2; way++) {
        int32_t mode = way ? YOKAN_MODE_NO_RDMA : 0;
        for (size_t size = 0; size <= largest; size = size ? 8 * size : 1) {
            size_t found = largest;
            assert_ok(yk_put(f.dbh, mode, "k", 1, value, size));
            assert_ok(yk_get(f.dbh, mode, "k", 1, back, &found));
            assert_int_equal(found, size);
            assert_memory_equal(back, value, size);
        }
    }
    free(value);
    free(back);
}

static void documents_of_all_sizes(void **state)
{
    (void)state;
    size_t sizes[] = {0, 1, 1000, 100000, 1u << 20}, found[5], total = 0;
    yk_id_t ids[5];
    for (int i = 0; i < 5; i++)
        total += sizes[i];
    char *documents = malloc(total), *back = malloc(total);
    memset(documents, 'd', total);
    assert_ok(yk_collection_create(f.dbh, "c", 0));
    assert_ok(yk_doc_store_packed(f.dbh, "c", 0, 5, documents, sizes, ids));
    assert_ok(yk_doc_list_packed(f.dbh, "c", 0, 0, NULL, 0, 5, ids, total, back, found));
    assert_memory_equal(found, sizes, sizeof sizes);
    assert_memory_equal(back, documents, total);
    free(documents);
    free(back);
}

static void a_dead_server_is_noticed_at_once(void **state)
{
    (void)state;
    size_t count;
    assert_ok(yk_count(f.dbh, 0, &count));
    child_kill(&server);
    int64_t start = dango_clock_ns();
    assert_ret(yk_put(f.dbh, 0, "k", 1, "v", 1), YOKAN_ERR_FROM_MERCURY);
    assert_ret(yk_count(f.dbh, 0, &count), YOKAN_ERR_FROM_MERCURY);
    assert_true(elapsed_ms(start) < 1000);
}

static void kill_server(void *arg)
{
    (void)arg;
    kill(server.pid, SIGKILL);
}

/* The server is stopped, so that the call is under way for sure when it dies. */
static void death_ends_calls_under_way(void **state)
{
    (void)state;
    size_t count;
    ABT_pool pool;
    ABT_thread killer;
    assert_ok(yk_count(f.dbh, 0, &count));
    kill(server.pid, SIGSTOP);
    margo_get_handler_pool(f.mid, &pool);
    assert_int_equal(ABT_thread_create(pool, kill_server, NULL, ABT_THREAD_ATTR_NULL, &killer), ABT_SUCCESS);
    int64_t start = dango_clock_ns();
    assert_ret(yk_put(f.dbh, 0, "k", 1, "v", 1), YOKAN_ERR_FROM_MERCURY);
    assert_true(elapsed_ms(start) < 1000);
    ABT_thread_free(&killer);
    child_wait(&server);
}

static void a_server_that_hangs_costs_the_deadline(void **state)
{
    (void)state;
    size_t count;
    assert_ok(yk_count(f.dbh, 0, &count));
    kill(server.pid, SIGSTOP);
    int64_t start = dango_clock_ns();
    assert_ret(yk_count(f.dbh, YOKAN_MODE_EXTRA, &count, YOKAN_EXTRA_TIMEOUT_MS, 200.0, YOKAN_EXTRA_END),
               YOKAN_ERR_TIMEOUT);
    double ms = elapsed_ms(start);
    assert_true(ms >= 199 && ms < 5000);
    kill(server.pid, SIGCONT);
    assert_ok(yk_count(f.dbh, 0, &count));
}

static void nobody_at_the_address(void **state)
{
    (void)state;
    yk_database_handle_t handle;
    hg_addr_t addr;
    size_t count;
    assert_int_equal(margo_addr_lookup(f.mid, test_nobody(), &addr), HG_SUCCESS);
    int64_t start = dango_clock_ns();
    assert_ok(yk_database_handle_create(f.client, addr, PROVIDER_ID, false, &handle));
    assert_ret(yk_count(handle, 0, &count), YOKAN_ERR_FROM_MERCURY);
    assert_ok(yk_database_handle_release(handle));
    assert_ret(yk_database_handle_create(f.client, addr, PROVIDER_ID, true, &handle), YOKAN_ERR_OTHER);
    assert_true(elapsed_ms(start) < 1000);
    margo_addr_free(f.mid, addr);
}

struct caller {
    ABT_thread thread;
    int number;
    int failures;
};

static void call_many_times(void *arg)
{
    struct caller *caller = arg;
    char key[32], value[32];
    for (int i = 0; i < 200; i++) {
        size_t size = sizeof value;
        int length = snprintf(key, sizeof key, "%d/%d", caller->number, i);
        caller->failures += yk_put(f.dbh, 0, key, (size_t)length, key, (size_t)length) != YOKAN_SUCCESS;
        caller->failures += yk_get(f.dbh, 0, key, (size_t)length, value, &size) != YOKAN_SUCCESS ||
                            size != (size_t)length || memcmp(key, value, size) != 0;
    }
}

static void many_callers(void **state)
{
    (void)state;
    struct caller callers[16] = {0};
    ABT_pool pool;
    size_t count;
    margo_get_handler_pool(f.mid, &pool);
    for (int i = 0; i < 16; i++) {
        callers[i].number = i;
        assert_int_equal(
            ABT_thread_create(pool, call_many_times, &callers[i], ABT_THREAD_ATTR_NULL, &callers[i].thread), 0);
    }
    for (int i = 0; i < 16; i++) {
        ABT_thread_free(&callers[i].thread);
        assert_int_equal(callers[i].failures, 0);
    }
    assert_ok(yk_count(f.dbh, 0, &count));
    assert_int_equal(count, 16 * 200);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return run_server(), 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_of_all_sizes, start_server, stop_server),
        cmocka_unit_test_setup_teardown(documents_of_all_sizes, start_server, stop_server),
        cmocka_unit_test_setup_teardown(a_dead_server_is_noticed_at_once, start_server, stop_server),
        cmocka_unit_test_setup_teardown(death_ends_calls_under_way, start_server, stop_server),
        cmocka_unit_test_setup_teardown(a_server_that_hangs_costs_the_deadline, start_server, stop_server),
        cmocka_unit_test_setup_teardown(nobody_at_the_address, start_server, stop_server),
        cmocka_unit_test_setup_teardown(many_callers, start_server, stop_server),
    };
    f.mid = margo_init(test_protocol(), MARGO_CLIENT_MODE, 0, 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    margo_finalize(f.mid);
    return failed;
}
