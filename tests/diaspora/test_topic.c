/*
 * Drivers, topics and topic objects as the user meets them: existence, listing, names, descriptions, errors.
 */
#include "tests/diaspora/support/fixture.h"

#include <diaspora/diaspora.h>

static int setup(void **state)
{
    static struct fixture f;
    open_topic(&f, FAKE_DEFAULTS, "{\"num_partitions\":3}");
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    close_topic(*state);
    return 0;
}

static void unknown_drivers_are_errors(void **state)
{
    (void)state;
    diaspora_error err;
    assert_null(diaspora_driver_open("unknown", NULL, &err));
    assert_int_equal(err.code, DIASPORA_NOT_FOUND);
    assert_null(diaspora_driver_open("unknown:libunknown.so", NULL, &err));
    assert_null(diaspora_driver_open("fake", "{", &err));
    assert_contains(err.text, "driver options: line 1");
    assert_null(diaspora_driver_open("fake", "[]", &err));
    assert_contains(err.text, "expected a JSON object, got array");
    assert_null(diaspora_driver_open("fake", "{\"refuse\":true}", &err));
    assert_contains(err.text, "does not answer");
}

static void closing_nothing_is_allowed(void **state)
{
    (void)state;
    diaspora_driver_close(NULL);
    diaspora_topic_close(NULL);
    diaspora_producer_close(NULL);
    diaspora_consumer_close(NULL);
    diaspora_future_release(NULL);
    diaspora_event_release(NULL);
}

static void topics_exist_after_creation(void **state)
{
    struct fixture *f = *state;
    diaspora_error err = DIASPORA_ERROR_INIT;
    bool exists = true;
    ASSERT_OK(diaspora_topic_exists(f->driver, "other", &exists, &problem));
    assert_false(exists);
    assert_null(diaspora_topic_open(f->driver, "other", &err));
    assert_int_equal(err.code, DIASPORA_NOT_FOUND);
    ASSERT_OK(diaspora_topic_create(f->driver, "other", NULL, NULL, &problem));
    ASSERT_OK(diaspora_topic_exists(f->driver, "other", &exists, &problem));
    assert_true(exists);
    assert_int_equal(diaspora_topic_create(f->driver, "other", NULL, NULL, &err), DIASPORA_EXISTS);
}

static void topics_are_listed_by_name(void **state)
{
    struct fixture *f = *state;
    diaspora_error err = DIASPORA_ERROR_INIT;
    ASSERT_OK(diaspora_topic_create(f->driver, "b", NULL, NULL, &problem));
    ASSERT_OK(diaspora_topic_create(f->driver, "a", NULL, NULL, &problem));
    char *text = diaspora_topic_list(f->driver, &err);
    assert_non_null(text);
    assert_string_equal(text, "{\"a\":{\"name\":\"a\",\"num_partitions\":1,\"validator\":{\"type\":\"default\"}},"
                              "\"b\":{\"name\":\"b\",\"num_partitions\":1,\"validator\":{\"type\":\"default\"}},"
                              "\"events\":{\"name\":\"events\",\"num_partitions\":3,\"validator\":{\"type\":"
                              "\"default\"}}}");
    free(text);
}

static void a_topic_knows_its_partitions(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(diaspora_topic_name(f->topic), "events");
    assert_int_equal(diaspora_topic_num_partitions(f->topic), 3);
    assert_string_equal(diaspora_topic_partition_info(f->topic, 2), "{\"index\":2}");
    assert_null(diaspora_topic_partition_info(f->topic, 3));
}

static void impossible_names_are_refused(void **state)
{
    struct fixture *f = *state;
    char too_long[300];
    memset(too_long, 'n', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    const char *const wrong[] = {"", ".hidden", "..", "a/b", "a:b", "a\nb", "a\x7f", too_long};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        diaspora_error err;
        assert_int_equal(diaspora_topic_create(f->driver, wrong[i], NULL, NULL, &err), DIASPORA_INVALID);
        assert_contains(err.text, "topic name");
    }
    ASSERT_OK(diaspora_topic_create(f->driver, too_long + sizeof too_long - 1 - 256, NULL, NULL, &problem));
}

static void topic_objects_are_checked(void **state)
{
    struct fixture *f = *state;
    const struct {
        diaspora_topic_objects objects;
        const char *text;
    } wrong[] = {
        {{.validator = "{\"type\":\"schema\",\"schema\":{}}"},
         "validator: type \"schema\" is not built in (built in: "
         "default)"},
        {{.validator = "{\"type\":\"eventbridge\"}"}, "\"eventbridge\" is not built in"},
        {{.serializer = "{\"type\":\"schema\"}"}, "serializer: type \"schema\""},
        {{.serializer = "{\"type\":\"defualt\"}"}, "did you mean \"default\"?"},
        {{.partition_selector = "{\"type\":1}"}, "partition_selector.type: expected a string, got integer"},
        {{.partition_selector = "[]"}, "partition_selector: expected a JSON object, got array"},
        {{.validator = "{\"schema\":{}}"}, "validator: unknown field \"schema\" (fields: type)"},
        {{.validator = "{"}, "validator: line 1"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        diaspora_error err;
        bool exists;
        assert_int_not_equal(diaspora_topic_create(f->driver, "checked", NULL, &wrong[i].objects, &err), 0);
        assert_contains(err.text, wrong[i].text);
        ASSERT_OK(diaspora_topic_exists(f->driver, "checked", &exists, &problem));
        assert_false(exists);
    }
    const diaspora_topic_objects good = {.validator = "{}", .serializer = "{\"type\":\"default\"}"};
    ASSERT_OK(diaspora_topic_create(f->driver, "checked", "", &good, &problem));
}

static void stored_objects_are_checked_when_a_topic_is_opened(void **state)
{
    struct fixture *f = *state;
    diaspora_error err;
    fake_set_validator("events", "{\"type\":\"newer\"}");
    assert_null(diaspora_topic_open(f->driver, "events", &err));
    assert_int_equal(err.code, DIASPORA_UNSUPPORTED);
    assert_contains(err.text, "topic \"events\": validator: type \"newer\" is not built in");
}

static void a_driver_may_be_closed_before_its_topics(void **state)
{
    struct fixture *f = *state;
    diaspora_driver_close(f->driver);
    assert_int_equal(fake_statistics().drivers, 1);
    diaspora_topic_close(f->topic);
    assert_int_equal(fake_statistics().drivers, 0);
    f->driver = NULL;
    f->topic = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unknown_drivers_are_errors),
        TEST(closing_nothing_is_allowed),
        TEST(topics_exist_after_creation),
        TEST(topics_are_listed_by_name),
        TEST(a_topic_knows_its_partitions),
        TEST(impossible_names_are_refused),
        TEST(topic_objects_are_checked),
        TEST(stored_objects_are_checked_when_a_topic_is_opened),
        TEST(a_driver_may_be_closed_before_its_topics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
