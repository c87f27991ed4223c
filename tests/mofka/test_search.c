/*
 * Looking for the master database: registries are kept once for each place, and servers that hang do not keep up a search
 * for longer than some seconds, the opening of a driver for less.
 */
#include "tests/margo/peer.h"
#include "tests/support/test.h"

#include "bedrock/proto.h"
#include "mofka/client/driver.h"
#include "util/clock.h"
#include "util/file.h"

#include <signal.h>
#include <unistd.h>
#include <yokan/server.h>

static char path[] = "/tmp/dango-search-XXXXXX";
static struct peer masters[2], hung[3], busy;
static struct mofka_driver driver = {.group_file = path, .reconnect_timeout_ms = 20000};
static struct dango_error err;

static void configuration(hg_handle_t handle)
{
    bdk_out_t out = {.value = "{\"providers\":[{\"type\":\"yokan\",\"provider_id\":1,\"tags\":[\"mofka:master\"]}]}"};
    margo_respond(handle, &out);
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(configuration)

#define BUSY_MS 1000

    static void configuration_after_a_while(hg_handle_t handle)
{
    margo_thread_sleep(margo_hg_handle_get_instance(handle), BUSY_MS);
    configuration(handle);
}
static DEFINE_MARGO_RPC_HANDLER(configuration_after_a_while)

    static void serve(margo_instance_id mid)
{
    MARGO_REGISTER_PROVIDER(mid, BDK_RPC_GET_CONFIG, bdk_in_t, bdk_out_t, configuration, 0, ABT_POOL_NULL);
    if (yk_provider_register(mid, 1, "{\"database\":{\"type\":\"map\"}}", NULL, NULL) != YOKAN_SUCCESS)
        abort();
}

static void serve_slowly(margo_instance_id mid)
{
    MARGO_REGISTER_PROVIDER(mid, BDK_RPC_GET_CONFIG, bdk_in_t, bdk_out_t, configuration_after_a_while, 0,
                            ABT_POOL_NULL);
    if (yk_provider_register(mid, 1, "{\"database\":{\"type\":\"map\"}}", NULL, NULL) != YOKAN_SUCCESS)
        abort();
}

static int start(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++)
        peer_start(&masters[i], NULL, serve);
    for (size_t i = 0; i < 3; i++)
        peer_start(&hung[i], NULL, serve);
    peer_start(&busy, NULL, serve_slowly);
    assert_true(close(mkstemp(path)) == 0);
    assert_int_equal(mofka_engine_get("na+sm", NULL, &driver.engine, &err), 0);
    assert_int_equal(mofka_search_init(&driver, &err), 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    mofka_search_fini(&driver);
    mofka_engine_put(driver.engine);
    for (size_t i = 0; i < 2; i++)
        peer_kill(&masters[i]);
    for (size_t i = 0; i < 3; i++)
        peer_kill(&hung[i]);
    peer_kill(&busy);
    unlink(path);
    return 0;
}

/* Searches among these servers, with no former result in the way. */
static int search(const struct peer *const *servers, size_t count, bool opening)
{
    char text[2048] = "{\"members\":[";
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s{\"address\":\"%s\",\"provider_id\":1}",
                 i ? "," : "", servers[i]->address);
    strcat(text, "],\"metadata\":{}}");
    assert_int_equal(dango_file_write(path, text, strlen(text), &err), 0);
    driver.searched_ns = 0;
    return mofka_find_master(&driver, opening, &err);
}

static void masters_that_alternate_are_kept_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < 10; i++) {
        const struct peer *server = &masters[i % 2];
        assert_int_equal(search(&server, 1, false), 0);
        assert_contains(dango_mofka_registry_locator(atomic_load(&driver.registry)), server->address);
    }
    assert_int_equal(driver.retired_count, 1);
}

static void many_servers_hang(void **state)
{
    (void)state;
    const struct peer *servers[] = {&hung[0], &hung[1], &hung[2], &masters[0]};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(kill(hung[i].pid, SIGSTOP), 0);
    int64_t began_ns = dango_clock_ns();
    assert_int_equal(search(servers, 4, false), DANGO_ERR_TIMEOUT);
    assert_true(dango_clock_ns() - began_ns < 5500 * DANGO_NS_PER_MS);
    assert_int_equal(driver.search_skip, 2);
    assert_int_equal(search(servers, 4, false), 0); /* behind them */
    assert_int_equal(driver.search_skip, 0);
}

/* The driver is opened in a moment although servers before the one with the master database hang … */
static void opening_passes_over_those_that_hang(void **state)
{
    (void)state;
    const struct peer *servers[] = {&hung[0], &hung[1], &masters[0]};
    int64_t began_ns = dango_clock_ns();
    assert_int_equal(search(servers, 3, true), 0);
    int64_t took_ns = dango_clock_ns() - began_ns;
    assert_in_range(took_ns, 900 * DANGO_NS_PER_MS, 3900 * DANGO_NS_PER_MS);
}

/* … and if that one itself takes its time, it is asked again. */
static void opening_waits_for_one_that_is_busy(void **state)
{
    (void)state;
    const struct peer *servers[] = {&busy, &masters[1]};
    assert_int_equal(search(servers, 2, true), 0);
    assert_contains(dango_mofka_registry_locator(atomic_load(&driver.registry)), masters[1].address);
    assert_int_equal(search(servers, 1, true), 0);
    assert_contains(dango_mofka_registry_locator(atomic_load(&driver.registry)), busy.address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masters_that_alternate_are_kept_once),
        cmocka_unit_test(many_servers_hang),
        cmocka_unit_test(opening_passes_over_those_that_hang),
        cmocka_unit_test(opening_waits_for_one_that_is_busy),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
