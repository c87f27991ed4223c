/*
 * Configuration of databases: defaults, the effective configuration, and the text of every kind of error.
 */
#include "tests/yokan/support.h"

static void check_error(const char *config, const char *expected)
{
    struct dango_error err = {0};
    struct yokan_database *database;
    struct json_object *json = dango_json_parse(config, strlen(config), &err);
    assert_non_null(json);
    assert_int_not_equal(yokan_database_check(json, "config.database", &err), 0);
    assert_contains(err.text, expected);
    err = (struct dango_error){0};
    assert_int_equal(yokan_database_open(json, "config.database", &database, &err), YOKAN_ERR_INVALID_CONFIG);
    assert_contains(err.text, expected);
    json_object_put(json);
}

static void errors_say_what_to_do(void **state)
{
    (void)state;
    check_error("{}", "config.database.type: this field is required");
    check_error("{\"type\":3}", "config.database.type: expected a string");
    check_error("{\"type\":\"mop\"}", "config.database.type: unknown database type \"mop\" (types: map");
    check_error("{\"type\":\"mop\"}", "did you mean \"map\"?");
    check_error("{\"type\":\"map\",\"config\":3}", "config.database.config: expected an object");
    check_error("{\"type\":\"map\",\"configs\":{}}", "unknown field \"configs\"");
    check_error("{\"type\":\"map\",\"config\":{\"use_lock\":1}}",
                "config.database.config.use_lock: expected a boolean");
    check_error("{\"type\":\"map\",\"config\":{\"use_lok\":true}}", "did you mean \"use_lock\"?");
    check_error("{\"type\":\"map\",\"config\":{\"comparator\":\"x.so:f\"}}", "unknown value \"x.so:f\"");
}

static void effective_configuration_is_complete(void **state)
{
    (void)state;
    static const char *const expected =
        "{\"type\":\"map\",\"config\":{\"allocators\":{\"key_allocator\":\"default\",\"key_allocator_config\":{},"
        "\"node_allocator\":\"default\",\"node_allocator_config\":{},\"value_allocator\":\"default\","
        "\"value_allocator_config\":{}},\"comparator\":\"default\",\"disable_doc_mixin_lock\":false,"
        "\"use_lock\":true}}";
    struct yokan_database *database = open_database("{\"type\":\"map\"}");
    struct json_object *json = yokan_database_config(database);
    const char *text = json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN);
    assert_string_equal(text, expected);
    yokan_database_close(database);
    /* It can be given back. */
    database = open_database(text);
    json_object_put(json);
    yokan_database_close(database);
}

static void locks_can_be_left_out(void **state)
{
    (void)state;
    struct yokan_database *d =
        open_database("{\"type\":\"map\",\"config\":{\"use_lock\":false,\"disable_doc_mixin_lock\":true}}");
    struct yokan_pair p = pair("k", "v");
    assert_false(d->lock_documents);
    assert_int_equal(d->backend->put(d->db, 0, 1, &p), YOKAN_SUCCESS);
    yokan_database_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_say_what_to_do),
        cmocka_unit_test(effective_configuration_is_complete),
        cmocka_unit_test(locks_can_be_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
