/*
 * Configuration: defaults, the effective form, fixed values, errors with their texts, and what an external pool changes.
 */
#include "tests/abt-io/fixture.h"

#include "abt-io/dango_abt_io.h"
#include "util/json.h"
#include "util/log.h"

static char log_text[4096];

static void remember_log(void *arg, enum dango_log_level level, const char *component, const char *text)
{
    (void)arg;
    (void)level;
    (void)component;
    strncat(log_text, text, sizeof log_text - strlen(log_text) - 1);
}

static int catch_log(void **state)
{
    log_text[0] = '\0';
    dango_log_set_sink(remember_log, NULL);
    return without_instance(state);
}

static int release_log(void **state)
{
    dango_log_set_sink(NULL, NULL);
    return fixture_destroy(state);
}

/* The effective configuration as compact text. */
static void assert_config(abt_io_instance_id aid, const char *expected)
{
    char *text = abt_io_get_config(aid);
    assert_non_null(text);
    struct json_object *json = dango_json_parse(text, strlen(text), NULL);
    assert_string_equal(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN), expected);
    json_object_put(json);
    free(text);
}

static void defaults(void **state)
{
    struct fixture *f = *state;
    f->aid = abt_io_init_ext(NULL);
    assert_config(f->aid, "{\"version\":\"0.9.0\",\"null_io_write\":false,\"null_io_read\":false,\"trace_io\":false,"
                          "\"num_urings\":0,\"internal_pool_flag\":true,\"internal_pool\":{\"num_xstreams\":16,"
                          "\"kind\":\"fifo_wait\",\"access\":\"mpmc\"},\"liburing_flags\":[]}");
    assert_string_equal(log_text, "");
}

static void external_pool(void **state)
{
    struct fixture *f = *state;
    serve_external_pool(f);
    f->aid = instance_from("{\"internal_pool\":{},\"backing_thread_count\":3}", f->pool);
    assert_config(f->aid, "{\"version\":\"0.9.0\",\"null_io_write\":false,\"null_io_read\":false,\"trace_io\":false,"
                          "\"num_urings\":0,\"internal_pool_flag\":false,\"liburing_flags\":[]}");
    assert_contains(log_text, "internal_pool is ignored");
    assert_contains(log_text, "backing_thread_count is ignored");
}

static void effective_configuration_is_input(void **state)
{
    struct fixture *f = *state;
    f->aid = instance_from("{\"backing_thread_count\":2,\"null_io_write\":true}", ABT_POOL_NULL);
    char *first = abt_io_get_config(f->aid);
    assert_contains(first, "\"num_xstreams\": 2");
    abt_io_finalize(f->aid);
    f->aid = instance_from(first, ABT_POOL_NULL);
    char *second = abt_io_get_config(f->aid);
    assert_string_equal(first, second);
    assert_string_equal(log_text, "");
    free(first);
    free(second);
}

static void fixed_values_are_corrected(void **state)
{
    struct fixture *f = *state;
    f->aid = instance_from("{\"version\":\"0.1\",\"internal_pool\":{\"num_xstreams\":1,\"kind\":\"fifo\"},"
                           "\"backing_thread_count\":4,\"liburing_flags\":[\"IOSQE_ASINC\",\"IOSQE_ASYNC\"]}",
                           ABT_POOL_NULL);
    assert_non_null(f->aid);
    assert_contains(log_text, "version is always \"0.9.0\"");
    assert_contains(log_text, "internal_pool.kind is always \"fifo_wait\"");
    assert_contains(log_text, "backing_thread_count is ignored");
    assert_contains(log_text, "did you mean \"IOSQE_ASYNC\"?");
    char *text = abt_io_get_config(f->aid);
    assert_contains(text, "\"num_xstreams\": 1");
    assert_null(strstr(text, "IOSQE_ASINC"));
    free(text);
}

/* Programs of the original keep their own fields in the same document. */
static void foreign_fields_are_kept(void **state)
{
    struct fixture *f = *state;
    f->aid = instance_from("{\"duration_seconds\":10,\"backing_thread_count\":1}", ABT_POOL_NULL);
    char *text = abt_io_get_config(f->aid);
    assert_contains(text, "\"duration_seconds\": 10");
    assert_contains(log_text, "unknown field \"duration_seconds\" is ignored");
    free(text);
}

static void errors_name_the_field(void **state)
{
    (void)state;
    static const struct {
        const char *config, *message;
    } cases[] = {
        {"{", "invalid JSON"},
        {"[]", "expected an object"},
        {"{\"num_urings\":\"2\"}", "num_urings: expected an integer, got string"},
        {"{\"num_urings\":-1}", "num_urings: -1 is not in 0..64"},
        {"{\"backing_thread_count\":0}", "backing_thread_count: 0 is not in 1..1024"},
        {"{\"internal_pool\":{\"num_xstreams\":0}}", "internal_pool.num_xstreams: 0 is not in 1..1024"},
        {"{\"internal_pool\":[]}", "internal_pool: expected an object"},
        {"{\"liburing_flags\":\"IOSQE_ASYNC\"}", "liburing_flags: expected an array"},
        {"{\"liburing_flags\":[1]}", "liburing_flags[0]: expected a string"},
        {"{\"trace_io\":1}", "trace_io: expected a boolean"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        log_text[0] = '\0';
        assert_null(instance_from(cases[i].config, ABT_POOL_NULL));
        assert_contains(log_text, cases[i].message);
    }
    assert_null(abt_io_init(0));
}

/* Inside Dango an unknown field is a mistake. */
static void unknown_fields_are_errors_for_components(void **state)
{
    (void)state;
    struct dango_error err;
    struct json_object *config = json_tokener_parse("{\"num_uring\":1}");
    assert_null(dango_abt_io_create(config, ABT_POOL_NULL, &err));
    assert_contains(err.text, "did you mean \"num_urings\"?");
    json_object_put(config);
}

static void null_io_transfers_nothing(void **state)
{
    struct fixture *f = *state;
    f->aid = instance_from("{\"null_io_read\":true,\"null_io_write\":true,\"backing_thread_count\":1}", ABT_POOL_NULL);
    char c = 'c';
    struct iovec iov[] = {{&c, 5}, {&c, 7}};
    assert_int_equal(abt_io_pwrite(f->aid, -1, &c, 100, 0), 100);
    assert_int_equal(abt_io_pread(f->aid, -1, &c, 100, 0), 100);
    assert_int_equal(abt_io_write(f->aid, -1, &c, 3), 3);
    assert_int_equal(abt_io_pwritev(f->aid, -1, iov, 2, 0), 12);
    assert_int_equal(abt_io_fdatasync(f->aid, -1), -EBADF);
    assert_int_equal(c, 'c');
}

static void trace_writes_one_line_per_operation(void **state)
{
    struct fixture *f = *state;
    fflush(stderr);
    int saved = dup(2), fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(dup2(fd, 2), 2);
    setenv("ABT_IO_TRACE_IO", "1", 1);
    f->aid = abt_io_init(1);
    unsetenv("ABT_IO_TRACE_IO");
    abt_io_pread(f->aid, -1, NULL, 77, 4096);
    abt_io_ftruncate(f->aid, -1, 55);
    fflush(stderr);
    dup2(saved, 2);
    char text[1024] = {0};
    assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
    assert_contains(text, "#Module\tRank\tOp\tSegment\tOffset\tLength\tStart(s)\tEnd(s)\n");
    assert_contains(text, "X_ABTIO\t-1\tpread\t-1\t4096\t77\t0.");
    assert_contains(text, "X_ABTIO\t-1\tftruncate\t-1\t0\t55\t0.");
    close(fd);
    close(saved);
}

static void deprecated_init_works(void **state)
{
    struct fixture *f = *state;
    serve_external_pool(f);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    f->aid = abt_io_init_pool(f->pool);
#pragma GCC diagnostic pop
    assert_non_null(f->aid);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, catch_log, release_log)
    const struct CMUnitTest tests[] = {
        TEST(defaults),
        TEST(external_pool),
        TEST(effective_configuration_is_input),
        TEST(fixed_values_are_corrected),
        TEST(foreign_fields_are_kept),
        TEST(errors_name_the_field),
        TEST(unknown_fields_are_errors_for_components),
        TEST(null_io_transfers_nothing),
        TEST(trace_writes_one_line_per_operation),
        TEST(deprecated_init_works),
    };
    return cmocka_run_group_tests(tests, start_argobots, stop_argobots);
}
