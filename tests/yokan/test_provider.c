/*
 * Registration, configuration and destruction of providers, handles, and what happens to requests that come while a
 * provider goes away.
 */
#include "tests/yokan/rpc_support.h"
#include "tests/support/protocol.h"

static margo_instance_id mid;

static yk_return_t try_register(uint16_t id, const char *config)
{
    yk_provider_t provider = NULL;
    yk_return_t ret = yk_provider_register(mid, id, config, NULL, &provider);
    if (ret == YOKAN_SUCCESS)
        assert_ok(yk_provider_destroy(provider));
    return ret;
}

static void registration(void **state)
{
    (void)state;
    yk_provider_t provider;
    assert_ret(try_register(1, "{\"database\":"), YOKAN_ERR_INVALID_CONFIG);
    assert_ret(try_register(1, "[]"), YOKAN_ERR_INVALID_CONFIG);
    assert_ret(try_register(1, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(try_register(1, ""), YOKAN_ERR_INVALID_ARGS);
    assert_ret(try_register(1, "{\"databas\":{}}"), YOKAN_ERR_INVALID_CONFIG);
    assert_ret(try_register(1, "{\"database\":{\"type\":\"nothing\"}}"), YOKAN_ERR_INVALID_CONFIG);
    assert_ret(try_register(1, "{\"buffer_cache\":{\"type\":\"external\"}}"), YOKAN_ERR_INVALID_CONFIG);
    assert_ret(try_register(1, "{\"buffer_cache\":{\"type\":\"keep_all\",\"margin\":0.5}}"), YOKAN_SUCCESS);
    assert_ok(yk_provider_register(mid, 1, "{}", NULL, &provider));
    assert_ret(try_register(1, "{}"), YOKAN_ERR_INVALID_PROVIDER);
    assert_ret(try_register(2, "{}"), YOKAN_SUCCESS);
    assert_ok(yk_provider_destroy(provider));
    assert_ret(try_register(1, "{}"), YOKAN_SUCCESS);
    assert_ret(yk_provider_destroy(NULL), YOKAN_ERR_INVALID_ARGS);
}

static void configuration(void **state)
{
    (void)state;
    yk_provider_t provider;
    assert_ok(yk_provider_register(mid, 1, "{\"database\":{\"type\":\"map\"}}", NULL, &provider));
    char *config = yk_provider_get_config(provider);
    assert_contains(config, "\"buffer_cache\":{\"type\":\"lru\",\"margin\":0.0,\"capacity\":32}");
    assert_contains(config, "\"database\":{\"type\":\"map\",\"config\":{\"allocators\":{");
    assert_ok(yk_provider_destroy(provider));
    /* The effective configuration can be given back, and stays the same. */
    assert_ok(yk_provider_register(mid, 1, config, NULL, &provider));
    char *again = yk_provider_get_config(provider);
    assert_string_equal(again, config);
    assert_ok(yk_provider_destroy(provider));
    free(config);
    free(again);
    assert_null(yk_provider_get_config(NULL));
}

static void operations_of_other_issues(void **state)
{
    (void)state;
    yk_provider_t provider;
    struct yk_restore_options options = {.new_root = "/nowhere"};
    assert_ok(yk_provider_register(mid, 1, "{\"database\":{\"type\":\"map\"}}", NULL, &provider));
    assert_ret(yk_provider_migrate_database(provider, "a", 1, NULL), YOKAN_ERR_OP_UNSUPPORTED);
    assert_ret(yk_provider_migrate_database(provider, NULL, 1, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_provider_snapshot_database(provider, "/nowhere", false, NULL), YOKAN_ERR_OP_UNSUPPORTED);
    assert_ret(yk_provider_restore_database(provider, "/nowhere", NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_provider_restore_database(provider, "/nowhere", &options), YOKAN_ERR_OP_UNSUPPORTED);
    assert_ok(yk_provider_destroy(provider));
}

static void handles(void **state)
{
    (void)state;
    struct fixture f = {.mid = mid};
    yk_client_t second, found;
    yk_database_handle_t handle;
    hg_addr_t addr;
    uint16_t id;
    size_t count;
    own_address(mid, f.address, sizeof f.address);
    register_providers(&f);
    connect_client(&f, f.address);
    assert_ok(yk_client_init(mid, &second));
    assert_ok(yk_client_finalize(second));
    assert_ret(yk_client_init(MARGO_INSTANCE_NULL, &second), YOKAN_ERR_INVALID_MID);
    assert_ret(yk_client_finalize(NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_database_handle_create(NULL, f.addr, 1, false, &handle), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_database_handle_create(f.client, HG_ADDR_NULL, 1, false, &handle), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_database_handle_create(f.client, f.addr, 99, true, &handle), YOKAN_ERR_OTHER);
    assert_ok(yk_database_handle_ref_incr(f.dbh));
    assert_ok(yk_database_handle_get_info(f.dbh, &found, &addr, &id));
    assert_true(found == f.client && id == PROVIDER_ID && margo_addr_cmp(mid, addr, f.addr));
    margo_addr_free(mid, addr);
    assert_ok(yk_database_handle_get_info(f.dbh, NULL, NULL, NULL));
    assert_ok(yk_database_handle_release(f.dbh));
    assert_ret(yk_database_handle_release(NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_database_handle_ref_incr(NULL), YOKAN_ERR_INVALID_ARGS);
    /* a provider without database, and none */
    assert_ok(yk_database_handle_create(f.client, f.addr, EMPTY_ID, true, &handle));
    assert_ret(yk_count(handle, 0, &count), YOKAN_ERR_INVALID_DATABASE);
    assert_ok(yk_database_handle_release(handle));
    assert_ok(yk_database_handle_create(f.client, f.addr, 99, false, &handle));
    assert_ret(yk_count(handle, 0, &count), YOKAN_ERR_INVALID_PROVIDER);
    assert_ok(yk_database_handle_release(handle));
    disconnect_client(&f);
    assert_ok(yk_provider_destroy(f.provider));
    assert_ok(yk_provider_destroy(f.empty));
}

/* ---- destruction under load ---- */

static int stop;
static yk_return_t unexpected; /* a result that no request should get */

static void put_until_stopped(void *arg)
{
    yk_database_handle_t dbh = arg;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        yk_return_t ret = yk_put(dbh, 0, "k", 1, "v", 1);
        /* Served, refused by margo on its way, or nobody there. */
        if (ret != YOKAN_SUCCESS && ret != YOKAN_ERR_FROM_MERCURY && ret != YOKAN_ERR_INVALID_PROVIDER)
            __atomic_store_n(&unexpected, ret, __ATOMIC_RELAXED);
    }
}

static void a_provider_goes_away_under_load(void **state)
{
    (void)state;
    struct fixture f = {.mid = mid};
    ABT_pool pool;
    ABT_thread threads[4];
    own_address(mid, f.address, sizeof f.address);
    register_providers(&f);
    connect_client(&f, f.address);
    margo_get_handler_pool(mid, &pool);
    stop = 0;
    for (int i = 0; i < 4; i++)
        assert_int_equal(ABT_thread_create(pool, put_until_stopped, f.dbh, ABT_THREAD_ATTR_NULL, &threads[i]), 0);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 50; i++)
            (void)yk_put(f.dbh, 0, "other", 5, "v", 1);
        assert_ok(yk_provider_destroy(f.provider));
        assert_ok(yk_provider_register(mid, PROVIDER_ID, "{\"database\":{\"type\":\"map\"}}", NULL, &f.provider));
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 4; i++)
        ABT_thread_free(&threads[i]);
    assert_int_equal(unexpected, YOKAN_SUCCESS);
    disconnect_client(&f);
    assert_ok(yk_provider_destroy(f.empty));
    /* The other one is left for margo to destroy. */
}

static int set_up(void **state)
{
    (void)state;
    mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 1, 2);
    return mid ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    margo_finalize(mid);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registration),
        cmocka_unit_test(configuration),
        cmocka_unit_test(operations_of_other_issues),
        cmocka_unit_test(handles),
        cmocka_unit_test(a_provider_goes_away_under_load),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
