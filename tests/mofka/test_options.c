/*
 * Options of topics: both shapes, defaults, and what is wrong with them; names of topics.
 */
#include "tests/support/test.h"

#include "mofka/client/options.h"
#include "mofka/partition/types.h"
#include "util/json.h"

static int parse(const char *text, struct mofka_topic_options *options, struct dango_error *err)
{
    struct json_object *json = dango_json_parse(text, strlen(text), NULL);
    assert_non_null(json);
    int code = dango_mofka_topic_options_parse(json, options, err);
    json_object_put(json);
    return code;
}

static void defaults_are_one_partition_in_memory(void **state)
{
    (void)state;
    struct mofka_topic_options options;
    assert_int_equal(dango_mofka_topic_options_parse(NULL, &options, NULL), 0);
    assert_int_equal(options.num_partitions, 1);
    assert_string_equal(options.config.type, "memory");
    assert_null(options.config.uuid);
    assert_int_equal(json_object_object_length(options.config.partition), 0);
    dango_options_release(dango_mofka_topic_options, &options);
}

static void everything_can_be_given(void **state)
{
    (void)state;
    struct mofka_topic_options options;
    assert_int_equal(parse("{\"num_partitions\": 1, \"config\": {\"type\": \"memory\", \"partition\": {},"
                           " \"uuid\": \"00112233-4455-6677-8899-aabbccddeeff\"},"
                           " \"dependencies\": {\"pool\": \"__primary__\", \"data\": [\"a\", \"b\"]}}",
                           &options, NULL),
                     0);
    assert_string_equal(options.config.uuid, "00112233-4455-6677-8899-aabbccddeeff");
    assert_string_equal(dango_json_get_string(options.dependencies, "pool"), "__primary__");
    dango_options_release(dango_mofka_topic_options, &options);
}

static void mistakes_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{\"num_partitions\": 0}", "topic.num_partitions"},
        {"{\"num_partition\": 2}", "did you mean \"num_partitions\""},
        {"{\"config\": {\"type\": \"default\"}}", "topic.config.partition.path: this field is required"},
        {"{\"config\": {\"type\": \"default\", \"partition\": {\"path\": \"/x\", \"max_chunk_sise\": 1}}}",
         "did you mean \"max_chunk_size\""},
        {"{\"config\": {\"type\": \"default\"}, \"path\": \"/x\","
         " \"consumers\": {\"desc_buffer_pool\": {\"size_multiple\": 1}}}",
         "topic.config.partition.consumers.desc_buffer_pool.size_multiple"},
        {"{\"config\": {\"type\": \"default\"}, \"path\": \"/x\", \"sync\": 2000}",
         "topic.config.partition: sync: 2000 is not between 0 and 1000 ms"},
        {"{\"config\": {\"type\": \"legacy\"}, \"fd_cache_capacity\": 64}", "unknown field \"fd_cache_capacity\""},
        {"{\"config\": {\"type\": \"memori\"}}", "did you mean \"memory\""},
        {"{\"config\": {\"type\": 7}}", "topic.config.type"},
        {"{\"config\": 7}", "topic.config"},
        {"{\"config\": {\"uuid\": \"x\"}}", "not a UUID"},
        {"{\"config\": {\"uuid\": \"00112233-4455-6677-8899-aabbccddeeff\"}, \"num_partitions\": 2}",
         "possible with one partition only"},
        {"{\"dependencies\": {\"pool\": 3}}", "topic.dependencies.pool: expected a string or a list of strings"},
        {"{\"dependencies\": {\"pool\": [\"a\", 3]}}", "topic.dependencies.pool"},
        {"{\"dependencies\": {\"pol\": \"a\"}}", "topic.dependencies: partitions have no dependency \"pol\""},
        {"[1]", "topic"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mofka_topic_options options;
        struct dango_error err = {0};
        assert_true(parse(cases[i].text, &options, &err) < 0);
        assert_contains(err.text, cases[i].part);
    }
}

static void names_of_topics_are_safe_in_keys_and_paths(void **state)
{
    (void)state;
    char longest[MOFKA_TOPIC_NAME_MAX + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    static const char *const bad[] = {"", ".hidden", "..", "a:b", "a/b", "a\nb", "\x7f"};
    static const char *const good[] = {"images", "my topic", "größe", "a.b", "-"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dango_error err = {0};
        assert_int_equal(dango_mofka_check_topic_name(bad[i], &err), DANGO_ERR_INVALID);
        assert_true(strlen(err.text) > 0);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(dango_mofka_check_topic_name(good[i], NULL), 0);
    assert_int_equal(dango_mofka_check_topic_name(longest, NULL), DANGO_ERR_INVALID);
    longest[MOFKA_TOPIC_NAME_MAX] = '\0';
    assert_int_equal(dango_mofka_check_topic_name(longest, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_one_partition_in_memory),
        cmocka_unit_test(everything_can_be_given),
        cmocka_unit_test(mistakes_are_explained),
        cmocka_unit_test(names_of_topics_are_safe_in_keys_and_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
