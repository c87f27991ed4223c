/*
 * Client and provider over na+sm, in one process: every operation of the client on both paths (inside the RPC and by
 * RDMA), blocking and with requests; errors; several clients at once; deregistration while requests come in.
 */
#include "tests/warabi/fixture.h"
#include "tests/support/protocol.h"
#include "tests/warabi/targets.h"

struct fixture {
    margo_instance_id mid;
    warabi_provider_t provider;
    warabi_client_t client;
    warabi_target_handle_t th;
    char address[256];
};

static int start(void **state, const char *config)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 1, 2);
    assert_non_null(f->mid);
    self_address(f->mid, f->address, sizeof f->address);
    assert_success(warabi_provider_register(&f->provider, f->mid, PROVIDER_ID, config, NULL));
    assert_success(warabi_client_create(f->mid, &f->client));
    assert_success(warabi_client_make_target_handle(f->client, f->address, PROVIDER_ID, &f->th));
    assert_success(warabi_set_eager_write_threshold(f->th, 128));
    assert_success(warabi_set_eager_read_threshold(f->th, 128));
    *state = f;
    return 0;
}

static int with_memory(void **state)
{
    return start(state, "{\"target\":{\"type\":\"memory\",\"config\":{\"capacity\":100000000}}}");
}

static int with_file(void **state)
{
    char config[640];
    snprintf(config, sizeof config, "{\"target\":{\"type\":\"abtio\",\"config\":%s}}", test_file_config(""));
    return start(state, config);
}

static int without_target(void **state)
{
    return start(state, NULL);
}

static int stop(void **state)
{
    struct fixture *f = *state;
    assert_success(warabi_target_handle_free(f->th));
    assert_success(warabi_client_free(f->client));
    margo_finalize_and_wait(f->mid);
    free(f);
    test_file_remove();
    return 0;
}

static warabi_region_t invalid_region(void)
{
    warabi_region_t region = {{0}};
    memset(region.opaque, 0xEA, 8);
    return region;
}

static void fill(char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 31 + size);
}

static const size_t sizes[] = {0, 1, 64, 127, 128, 196, 5000, 3 << 20};
#define SIZES (sizeof sizes / sizeof *sizes)

static void create_write_persist_read_erase(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < SIZES; i++) {
        char *data = malloc(sizes[i] + 1), *back = calloc(1, sizes[i] + 1);
        warabi_region_t region;
        size_t size = 99;
        fill(data, sizes[i]);
        assert_success(warabi_create(f->th, sizes[i], &region, NULL));
        assert_success(warabi_region_size(f->th, region, &size, NULL));
        assert_int_equal(size, sizes[i]);
        assert_success(warabi_write(f->th, region, 0, data, sizes[i], i % 2, NULL));
        assert_success(warabi_persist(f->th, region, 0, sizes[i], NULL));
        assert_success(warabi_read(f->th, region, 0, back, sizes[i], NULL));
        assert_memory_equal(data, back, sizes[i]);
        assert_success(warabi_erase(f->th, region, NULL));
        assert_failure(warabi_read(f->th, region, 0, back, sizes[i], NULL), WARABI_ERR_NOT_FOUND);
        free(data);
        free(back);
    }
}

static void create_write_in_one_request(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < SIZES; i++) {
        char *data = malloc(sizes[i] + 1), *back = calloc(1, sizes[i] + 1);
        warabi_region_t region;
        fill(data, sizes[i]);
        assert_success(warabi_create_write(f->th, data, sizes[i], true, &region, NULL));
        assert_success(warabi_read(f->th, region, 0, back, sizes[i], NULL));
        assert_memory_equal(data, back, sizes[i]);
        free(data);
        free(back);
    }
}

static void requests_complete_in_any_order(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 32, SIZE = 196 };
    static char data[COUNT][SIZE], back[COUNT][SIZE];
    warabi_region_t regions[COUNT];
    warabi_async_request_t requests[COUNT];
    for (int i = 0; i < COUNT; i++) {
        memset(data[i], i + 1, SIZE);
        size_t size = i % 2 ? SIZE : 64;
        assert_success(warabi_create_write(f->th, data[i], size, false, &regions[i], &requests[i]));
    }
    for (int i = COUNT - 1; i >= 0; i--)
        assert_success(warabi_wait(requests[i]));
    for (int i = 0; i < COUNT; i++)
        assert_success(warabi_read(f->th, regions[i], 0, back[i], i % 2 ? SIZE : 64, &requests[i]));
    for (int i = 0; i < COUNT; i++) {
        bool done = false;
        assert_success(warabi_test(requests[i], &done));
        assert_success(warabi_wait(requests[i]));
        assert_memory_equal(data[i], back[i], i % 2 ? SIZE : 64);
    }
    size_t size = 0;
    assert_success(warabi_region_size(f->th, regions[1], &size, &requests[0]));
    assert_success(warabi_wait(requests[0]));
    assert_int_equal(size, SIZE);
    assert_success(warabi_erase(f->th, regions[1], &requests[0]));
    assert_success(warabi_wait(requests[0]));
    assert_success(warabi_persist(f->th, regions[0], 0, 10, &requests[0]));
    assert_success(warabi_wait(requests[0]));
}

static void segments_on_both_paths(void **state)
{
    struct fixture *f = *state;
    for (size_t unit = 10; unit <= 10000; unit *= 1000) {
        size_t offsets[] = {4 * unit, 0, 2 * unit}, lengths[] = {unit, 0, unit};
        char *data = malloc(2 * unit), *back = calloc(1, 2 * unit);
        warabi_region_t region;
        fill(data, 2 * unit);
        assert_success(warabi_create(f->th, 5 * unit, &region, NULL));
        assert_success(warabi_write_multi(f->th, region, 3, offsets, lengths, data, true, NULL));
        assert_success(warabi_persist_multi(f->th, region, 3, offsets, lengths, NULL));
        assert_success(warabi_read_multi(f->th, region, 3, offsets, lengths, back, NULL));
        assert_memory_equal(data, back, 2 * unit);
        assert_success(warabi_read(f->th, region, 2 * unit, back, unit, NULL));
        assert_memory_equal(data + unit, back, unit);
        assert_success(warabi_read(f->th, region, unit, back, unit, NULL));
        assert_int_equal(back[0], 0);
        assert_success(warabi_write_multi(f->th, region, 0, NULL, NULL, NULL, false, NULL));
        assert_success(warabi_read_multi(f->th, region, 0, NULL, NULL, NULL, NULL));
        free(data);
        free(back);
    }
}

static void bulk_forms(void **state)
{
    struct fixture *f = *state;
    char data[1000], back[1000] = {0};
    void *pointers[] = {data, back};
    hg_size_t size = sizeof data;
    hg_bulk_t source, sink;
    warabi_region_t region, created;
    warabi_async_request_t request;
    fill(data, sizeof data);
    assert_int_equal(margo_bulk_create(f->mid, 1, &pointers[0], &size, HG_BULK_READ_ONLY, &source), HG_SUCCESS);
    assert_int_equal(margo_bulk_create(f->mid, 1, &pointers[1], &size, HG_BULK_WRITE_ONLY, &sink), HG_SUCCESS);

    assert_success(warabi_create(f->th, 1000, &region, NULL));
    assert_success(warabi_write_bulk(f->th, region, 500, source, f->address, 100, 300, true, NULL));
    assert_success(warabi_read_bulk(f->th, region, 500, "", sink, 700, 300, NULL));
    assert_memory_equal(back + 700, data + 100, 300);

    size_t offsets[] = {0, 900}, lengths[] = {50, 50};
    assert_success(warabi_write_multi_bulk(f->th, region, 2, offsets, lengths, source, NULL, 10, false, &request));
    assert_success(warabi_wait(request));
    assert_success(warabi_read_multi_bulk(f->th, region, 2, offsets, lengths, NULL, sink, 0, &request));
    assert_success(warabi_wait(request));
    assert_memory_equal(back, data + 10, 100);

    assert_success(warabi_create_write_bulk(f->th, source, f->address, 200, 800, true, &created, &request));
    assert_success(warabi_wait(request));
    assert_success(warabi_read(f->th, created, 0, back, 800, NULL));
    assert_memory_equal(back, data + 200, 800);

    assert_failure(warabi_write_bulk(f->th, region, 0, source, NULL, 999, 2, false, NULL), WARABI_ERR_BOUNDS);
    assert_failure(warabi_write_bulk(f->th, region, 0, source, NULL, SIZE_MAX, 2, false, NULL), WARABI_ERR_BOUNDS);
    assert_failure(warabi_create_write_bulk(f->th, source, NULL, 0, 1001, false, &created, NULL), WARABI_ERR_BOUNDS);
    assert_failure(warabi_read_bulk(f->th, region, 0, NULL, sink, 1000, 1, NULL), WARABI_ERR_BOUNDS);
    assert_failure(warabi_write_bulk(f->th, region, 0, HG_BULK_NULL, NULL, 0, 1, false, NULL), WARABI_ERR_INVALID);
    assert_failure(warabi_write_bulk(f->th, region, 0, source, "no address", 0, 1, false, NULL), WARABI_ERR_INVALID);
    margo_bulk_free(source);
    margo_bulk_free(sink);
}

static void errors_of_the_provider(void **state)
{
    struct fixture *f = *state;
    warabi_region_t region = invalid_region();
    char data[196];
    size_t size;
    fill(data, sizeof data);
    for (size_t n = 64; n <= 196; n += 132) {
        assert_failure(warabi_write(f->th, region, 0, data, n, false, NULL), WARABI_ERR_NOT_FOUND);
        assert_failure(warabi_read(f->th, region, 0, data, n, NULL), WARABI_ERR_NOT_FOUND);
    }
    assert_failure(warabi_persist(f->th, region, 0, 1, NULL), WARABI_ERR_NOT_FOUND);
    assert_failure(warabi_erase(f->th, region, NULL), WARABI_ERR_NOT_FOUND);
    assert_failure(warabi_region_size(f->th, region, &size, NULL), WARABI_ERR_NOT_FOUND);

    assert_success(warabi_create(f->th, 100, &region, NULL));
    assert_failure(warabi_write(f->th, region, 50, data, 51, false, NULL), WARABI_ERR_BOUNDS);
    assert_failure(warabi_write(f->th, region, 50, data, 150, false, NULL), WARABI_ERR_BOUNDS);
    assert_failure(warabi_read(f->th, region, SIZE_MAX, data, 10, NULL), WARABI_ERR_BOUNDS);
    assert_failure(warabi_read(f->th, region, 0, data, 196, NULL), WARABI_ERR_BOUNDS);
    assert_failure(warabi_create(f->th, (size_t)1 << 40, &region, NULL), WARABI_ERR_NO_SPACE);

    warabi_async_request_t request;
    assert_success(warabi_write(f->th, invalid_region(), 0, data, 64, false, &request));
    assert_failure(warabi_wait(request), WARABI_ERR_NOT_FOUND);
}

static void errors_of_arguments(void **state)
{
    struct fixture *f = *state;
    warabi_region_t region = invalid_region();
    size_t one = 1, huge[] = {SIZE_MAX, SIZE_MAX};
    bool flag;
    warabi_target_handle_t th;
    assert_failure(warabi_create(NULL, 1, &region, NULL), WARABI_ERR_INVALID);
    assert_failure(warabi_create(f->th, 1, NULL, NULL), WARABI_ERR_INVALID);
    assert_failure(warabi_write(f->th, region, 0, NULL, 1, false, NULL), WARABI_ERR_INVALID);
    assert_failure(warabi_read(f->th, region, 0, NULL, 1, NULL), WARABI_ERR_INVALID);
    assert_failure(warabi_write_multi(f->th, region, 1, NULL, &one, "x", false, NULL), WARABI_ERR_INVALID);
    assert_failure(warabi_write_multi(f->th, region, 2, huge, huge, "x", false, NULL), WARABI_ERR_BOUNDS);
    assert_failure(warabi_wait(NULL), WARABI_ERR_INVALID);
    assert_failure(warabi_test(NULL, &flag), WARABI_ERR_INVALID);
    assert_failure(warabi_client_make_target_handle(f->client, "nonsense", 1, &th), WARABI_ERR_TRANSPORT);
    assert_null(th);
}

static void a_wrong_provider_shows_at_the_first_operation(void **state)
{
    struct fixture *f = *state;
    warabi_target_handle_t th;
    warabi_region_t region;
    assert_success(warabi_client_make_target_handle(f->client, f->address, PROVIDER_ID + 1, &th));
    assert_failure(warabi_create(th, 1, &region, NULL), WARABI_ERR_TRANSPORT);
    assert_success(warabi_target_handle_free(th));
}

static void a_provider_without_target(void **state)
{
    struct fixture *f = *state;
    warabi_region_t region;
    assert_failure(warabi_create(f->th, 1, &region, NULL), WARABI_ERR_NO_TARGET);
    assert_failure(warabi_erase(f->th, invalid_region(), NULL), WARABI_ERR_NO_TARGET);
    assert_failure(warabi_provider_migrate(f->provider, f->address, 1, NULL), WARABI_ERR_NO_TARGET);
}

static void registration(void **state)
{
    struct fixture *f = *state;
    warabi_provider_t other;
    struct warabi_provider_init_args args = {.remi_cl = (remi_client_t)f};
    assert_failure(warabi_provider_register(&other, f->mid, PROVIDER_ID, NULL, NULL), WARABI_ERR_INVALID);
    assert_null(other);
    assert_failure(warabi_provider_register(&other, f->mid, 7, "{", NULL), WARABI_ERR_INVALID);
    assert_failure(warabi_provider_register(&other, f->mid, 7, "{\"target\":{}}", NULL), WARABI_ERR_INVALID);
    assert_failure(warabi_provider_register(&other, f->mid, 7, NULL, &args), WARABI_ERR_UNSUPPORTED);
    assert_failure(warabi_provider_migrate(f->provider, f->address, 1, NULL), WARABI_ERR_UNSUPPORTED);
    assert_success(warabi_provider_register(WARABI_PROVIDER_IGNORE, f->mid, 7, "", NULL));
    assert_string_equal(margo_provider_registered_identity(f->mid, 7), "warabi");

    char *config = warabi_provider_get_config(f->provider);
    assert_string_equal(config, "{\"target\":{\"type\":\"memory\",\"config\":{\"capacity\":100000000,"
                                "\"max_regions\":16777216}},"
                                "\"transfer_manager\":{\"type\":\"__default__\",\"config\":{}}}");
    free(config);
    config = warabi_client_get_config(f->client);
    assert_string_equal(config, "{}");
    free(config);
}

static void a_provider_may_be_replaced(void **state)
{
    struct fixture *f = *state;
    warabi_region_t region;
    assert_success(warabi_create(f->th, 10, &region, NULL));
    assert_success(warabi_provider_deregister(f->provider));
    assert_failure(warabi_provider_deregister(f->provider), WARABI_ERR_INVALID);
    assert_null(warabi_provider_get_config(f->provider));
    char c;
    assert_failure(warabi_read(f->th, region, 0, &c, 1, NULL), WARABI_ERR_TRANSPORT);
    assert_success(
        warabi_provider_register(&f->provider, f->mid, PROVIDER_ID, "{\"target\":{\"type\":\"memory\"}}", NULL));
    assert_failure(warabi_read(f->th, region, 0, &c, 1, NULL), WARABI_ERR_NOT_FOUND);
    assert_success(warabi_create(f->th, 10, &region, NULL));
}

struct user {
    struct fixture *f;
    int index, rounds, failures;
};

static int failed(warabi_err_t err)
{
    warabi_err_free(err);
    return err != WARABI_SUCCESS;
}

static void use(void *arg)
{
    struct user *u = arg;
    char data[300], back[300];
    for (int i = 0; i < u->rounds; i++) {
        size_t size = (size_t)(u->index * 37 + i * 11) % sizeof data;
        warabi_region_t region;
        memset(data, u->index * 16 + i, sizeof data);
        u->failures += failed(warabi_create_write(u->f->th, data, size, true, &region, NULL));
        u->failures += failed(warabi_read(u->f->th, region, 0, back, size, NULL)) || memcmp(data, back, size) != 0;
        u->failures += failed(warabi_erase(u->f->th, region, NULL));
    }
}

enum { USERS = 8 };

static void start_users(struct fixture *f, struct user *users, ABT_thread *threads, int rounds)
{
    ABT_pool pool;
    margo_get_handler_pool(f->mid, &pool);
    for (int i = 0; i < USERS; i++) {
        users[i] = (struct user){.f = f, .index = i, .rounds = rounds};
        assert_int_equal(ABT_thread_create(pool, use, &users[i], ABT_THREAD_ATTR_NULL, &threads[i]), ABT_SUCCESS);
    }
}

static void many_users_at_once(void **state)
{
    struct user users[USERS];
    ABT_thread threads[USERS];
    start_users(*state, users, threads, 50);
    for (int i = 0; i < USERS; i++) {
        ABT_thread_free(&threads[i]);
        assert_int_equal(users[i].failures, 0);
    }
}

/* Requests fail cleanly from the moment of the deregistration; none is lost. */
static void deregistration_under_load(void **state)
{
    struct fixture *f = *state;
    struct user users[USERS];
    ABT_thread threads[USERS];
    start_users(f, users, threads, 200);
    warabi_region_t region;
    assert_success(warabi_create(f->th, 10, &region, NULL));
    assert_success(warabi_provider_deregister(f->provider));
    for (int i = 0; i < USERS; i++)
        ABT_thread_free(&threads[i]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, with_memory, stop)
#define BOTH(name)                                                                                                     \
    TEST(name),                                                                                                        \
    {                                                                                                                  \
#name " (file)", name, with_file, stop, NULL                                                                   \
    }
    const struct CMUnitTest tests[] = {
        BOTH(create_write_persist_read_erase),
        BOTH(create_write_in_one_request),
        BOTH(requests_complete_in_any_order),
        BOTH(segments_on_both_paths),
        BOTH(bulk_forms),
        TEST(errors_of_the_provider),
        TEST(errors_of_arguments),
        TEST(a_wrong_provider_shows_at_the_first_operation),
        cmocka_unit_test_setup_teardown(a_provider_without_target, without_target, stop),
        TEST(registration),
        TEST(a_provider_may_be_replaced),
        BOTH(many_users_at_once),
        BOTH(deregistration_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
