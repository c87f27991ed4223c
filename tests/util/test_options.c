/*
 * Option tables: defaults, every type, every kind of error with its text, and the round trip parse → dump → parse.
 */
#include "tests/support/test.h"

#include <dango/options.h>

#include "util/json.h"

struct inner {
    int64_t tiers;
    double factor;
};

struct settings {
    bool sync;
    int64_t capacity;
    char *path;
    char *comment;
    int kind;
    struct inner pool;
    struct json_object *extra;
};

static const char *const kinds[] = {"fifo", "fifo_wait", "prio_wait", NULL};

static const struct dango_option inner_options[] = {
    DANGO_OPTION_INT("num_tiers", struct inner, tiers, 1, 1, 16, "tiers"),
    DANGO_OPTION_REAL("size_multiple", struct inner, factor, 4.0, 1.0, 64.0, "ratio"),
    DANGO_OPTION_END,
};

static const struct dango_option options[] = {
    DANGO_OPTION_BOOL("sync", struct settings, sync, true, "sync each batch"),
    DANGO_OPTION_INT("fd_cache_capacity", struct settings, capacity, 64, 1, 4096, "descriptors"),
    DANGO_OPTION_STRING_REQUIRED("path", struct settings, path, "base directory"),
    DANGO_OPTION_STRING("comment", struct settings, comment, NULL, "free text"),
    DANGO_OPTION_CHOICE("kind", struct settings, kind, 1, kinds, "pool kind"),
    DANGO_OPTION_OBJECT("buffer_pool", struct settings, pool, inner_options, "buffers"),
    DANGO_OPTION_JSON("extra", struct settings, extra, DANGO_JSON_OBJECT | DANGO_JSON_ARRAY, "{}", "passed on"),
    DANGO_OPTION_END,
};

static int parse(const char *text, struct settings *s, struct dango_error *err)
{
    struct json_object *json = dango_json_parse(text, strlen(text), err);
    assert_non_null(json);
    memset(s, 0, sizeof *s);
    int status = dango_options_parse(options, json, "config", s, err);
    json_object_put(json);
    return status;
}

static void defaults_are_filled_in(void **state)
{
    (void)state;
    struct settings s;
    struct dango_error err;
    assert_int_equal(parse("{\"path\":\"/tmp/x\"}", &s, &err), 0);
    assert_true(s.sync);
    assert_int_equal(s.capacity, 64);
    assert_string_equal(s.path, "/tmp/x");
    assert_null(s.comment);
    assert_int_equal(s.kind, 1);
    assert_int_equal(s.pool.tiers, 1);
    assert_true(s.pool.factor == 4.0);
    assert_non_null(s.extra);
    dango_options_release(options, &s);
    assert_null(s.path);
}

static void dump_is_the_inverse_of_parse(void **state)
{
    (void)state;
    struct settings s;
    struct dango_error err;
    const char *text =
        "{\"sync\":false,\"fd_cache_capacity\":3,\"path\":\"p\",\"comment\":\"c\",\"kind\":\"prio_wait\","
        "\"buffer_pool\":{\"num_tiers\":2,\"size_multiple\":1.5},\"extra\":[1,2]}";
    assert_int_equal(parse(text, &s, &err), 0);
    struct json_object *dump = dango_options_dump(options, &s);
    assert_string_equal(json_object_to_json_string_ext(dump, JSON_C_TO_STRING_PLAIN), text);
    json_object_put(dump);
    dango_options_release(options, &s);
}

static void errors_say_where_and_what(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{}", "config.path: this field is required"},
        {"{\"path\":3}", "config.path: expected a string, got integer"},
        {"{\"path\":\"p\",\"syncc\":true}", "unknown field \"syncc\""},
        {"{\"path\":\"p\",\"syncc\":true}", "did you mean \"sync\"?"},
        {"{\"path\":\"p\",\"fd_cache_capacity\":0}", "config.fd_cache_capacity: 0 is not in 1..4096"},
        {"{\"path\":\"p\",\"fd_cache_capacity\":4097}", "config.fd_cache_capacity: 4097 is not in 1..4096"},
        {"{\"path\":\"p\",\"fd_cache_capacity\":99999999999999999999}", "is not in 1..4096"},
        {"{\"path\":\"p\",\"fd_cache_capacity\":1.5}", "expected an integer, got number"},
        {"{\"path\":\"p\",\"kind\":\"fifo_wiat\"}", "did you mean \"fifo_wait\"?"},
        {"{\"path\":null}", "config.path: this field is required"},
        {"{\"path\":\"p\",\"buffer_pool\":{\"num_tiers\":\"2\"}}", "config.buffer_pool.num_tiers: expected an integer"},
        {"{\"path\":\"p\",\"buffer_pool\":{\"size_multiple\":64.5}}", "size_multiple: 64.5 is not in 1..64"},
        {"{\"path\":\"p\",\"buffer_pool\":{\"size_multiple\":0.5}}", "size_multiple: 0.5 is not in 1..64"},
        {"{\"path\":\"p\",\"buffer_pool\":[]}", "config.buffer_pool: expected an object, got array"},
        {"{\"path\":\"p\",\"extra\":\"s\"}", "config.extra: expected an object or an array, got string"},
        {"[1]", "config: expected an object, got array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings s;
        struct dango_error err;
        assert_true(parse(cases[i].text, &s, &err) < 0);
        assert_contains(err.text, cases[i].part);
        assert_null(s.path);
    }
}

static void reference_page_lists_every_option(void **state)
{
    (void)state;
    char *page = NULL;
    size_t size;
    FILE *out = open_memstream(&page, &size);
    dango_options_document(options, "Partition", out);
    fclose(out);
    assert_contains(page, "# Partition");
    assert_contains(page, "| `path` | (required) | string | base directory |");
    assert_contains(page, "| `buffer_pool.size_multiple` | `4` | number 1 to 64 | ratio |");
    assert_contains(page, "| `extra` | `{}` | object or array |");
    assert_contains(page, "| `kind` | `\"fifo_wait\"` | fifo, fifo_wait, prio_wait | pool kind |");
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_filled_in),
        cmocka_unit_test(dump_is_the_inverse_of_parse),
        cmocka_unit_test(errors_say_where_and_what),
        cmocka_unit_test(reference_page_lists_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
