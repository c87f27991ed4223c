/*
 * The option parser, component options and DIASPORA_CTL_DRIVER_OPTIONS: what words become, and every error.
 */
#include "tests/support/test.h"

#include "cli/cli.h"
#include "util/json.h"

#include <unistd.h>

struct fields {
    struct cli_common common;
    const char *name;
    int64_t count;
    bool verbose;
    struct cli_component topic, validator;
};

static const struct cli_option options[] = {
    {"name", 0, CLI_TEXT, true, offsetof(struct fields, name), "NAME", ""},
    {"count", 0, CLI_COUNT, false, offsetof(struct fields, count), "N", ""},
    {"verbose", 'v', CLI_FLAG, false, offsetof(struct fields, verbose), NULL, ""},
    {"topic", 0, CLI_COMPONENT, false, offsetof(struct fields, topic), NULL, ""},
    {"validator", 0, CLI_TYPED_COMPONENT, false, offsetof(struct fields, validator), "TYPE", ""},
    CLI_COMMON(struct fields),
};

/* Splits at blanks; no quoting. */
static int parse(const char *line, struct fields *fields, struct dango_error *err)
{
    static char buffer[512];
    char *words[32], *rest = buffer;
    int count = 0;
    snprintf(buffer, sizeof buffer, "%s", line);
    memset(fields, 0, sizeof *fields);
    for (char *word = strsep(&rest, " "); word; word = strsep(&rest, " "))
        words[count++] = word;
    return cli_args_parse(options, count, words, fields, err);
}

static void assert_json(struct json_object *json, const char *expected)
{
    assert_non_null(json);
    assert_string_equal(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
                        expected);
}

static void options_have_values(void **state)
{
    (void)state;
    struct fields f;
    assert_int_equal(parse("--name=a=b -v --count 12 --logging off", &f, NULL), 0);
    assert_string_equal(f.name, "a=b");
    assert_int_equal(f.count, 12);
    assert_true(f.verbose);
    assert_string_equal(f.common.logging, "off");
    /* The next word is the value, whatever it looks like. */
    assert_int_equal(parse("--name --count", &f, NULL), 0);
    assert_string_equal(f.name, "--count");
    /* Who asks for help needs nothing else. */
    assert_int_equal(parse("-h", &f, NULL), 0);
    assert_true(f.common.help);
}

static void words_are_gathered_where_there_is_a_place(void **state)
{
    (void)state;
    struct {
        struct cli_words words;
        bool flag;
    } f = {0};
    const struct cli_option table[] = {
        {"directories", 0, CLI_WORDS, true, offsetof(typeof(f), words), "DIR...", ""},
        {"json", 0, CLI_FLAG, false, offsetof(typeof(f), flag), NULL, ""},
        {.kind = CLI_END},
    };
    char *words[] = {(char[]){"one"}, (char[]){"--json"}, (char[]){"two"}}, *other = (char[]){"--directories"};
    struct dango_error err;
    assert_int_equal(cli_args_parse(table, 3, words, &f, &err), 0);
    assert_int_equal(f.words.count, 2);
    assert_string_equal(f.words.list[0], "one");
    assert_string_equal(f.words.list[1], "two");
    assert_true(f.flag);
    cli_args_release(table, &f);
    assert_null(f.words.list);
    assert_int_equal(cli_args_parse(table, 0, NULL, &f, &err), DANGO_ERR_INVALID);
    assert_string_equal(err.text, "DIR... is required");
    assert_int_equal(cli_args_parse(table, 1, &other, &f, &err), DANGO_ERR_INVALID);
    assert_string_equal(err.text, "unknown option --directories");
}

static void wrong_options_are_errors(void **state)
{
    (void)state;
    const struct {
        const char *line, *text;
    } wrong[] = {
        {"", "unexpected argument \"\""},
        {"-v", "--name NAME is required"},
        {"--nam x", "unknown option --nam (did you mean --name?)"},
        {"--frobnicate x", "unknown option --frobnicate"},
        {"-x", "unknown option -x"},
        {"-vv", "unknown option -vv"},
        {"--name", "--name needs a value"},
        {"--name a --name b", "--name is given twice"},
        {"--name a --verbose=1", "--verbose takes no value"},
        {"--name a --count 0", "--count: expected a number from 1 on, got \"0\""},
        {"--name a --count 1x", "got \"1x\""},
        {"--name a --count 99999999999999999999", "--count"},
        {"--name a rest", "unexpected argument \"rest\""},
        {"--name a -", "unexpected argument \"-\""},
        {"--topic t", "unknown option --topic"},
        {"--topc.x 1", "unknown option --topc.x (did you mean --topic.x?)"},
        {"--topic-confg f", "did you mean --topic-config?"},
        {"--topic. 1", "--topic.: a key must not be empty"},
        {"--topic..x 1", "a key must not be empty"},
        {"--topic.x. 1", "a key must not be empty"},
        {"--topic.x..y 1", "a key must not be empty"},
        {"--topic.x 99999999999999999999", "--topic.x: 99999999999999999999 does not fit into 64 bits"},
        {"--topic-config a --topic-config b", "--topic-config is given twice"},
        {"--validator a --validator b", "--validator is given twice"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct fields f;
        struct dango_error err = DIASPORA_ERROR_INIT;
        assert_int_not_equal(parse(wrong[i].line, &f, &err), 0);
        assert_contains(err.text, wrong[i].text);
        cli_args_release(options, &f);
    }
}

static void texts_become_values(void **state)
{
    (void)state;
    const struct {
        const char *text, *json;
    } values[] = {
        {"42", "42"},
        {"-7", "-7"},
        {"+7", "7"},
        {"18446744073709551615", "18446744073709551615"},
        {"1.5", "1.5"},
        {"-.5", "-0.5"},
        {"2.", "2.0"},
        {"true", "true"},
        {"false", "false"},
        {"True", "\"True\""},
        {"", "\"\""},
        {"+", "\"+\""},
        {".", "\".\""},
        {"1e5", "\"1e5\""},
        {"1.2.3", "\"1.2.3\""},
        {"10.0.0.1", "\"10.0.0.1\""},
        {"a,1,2.5", "[\"a\",1,2.5]"},
        {"a,", "[\"a\"]"},
        {"a,,b", "[\"a\",\"\",\"b\"]"},
        {",", "[\"\"]"},
        {"true,x", "[true,\"x\"]"},
        {"--x", "\"--x\""},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct json_object *json = cli_component_value(values[i].text, NULL);
        assert_json(json, values[i].json);
        json_object_put(json);
    }
    struct dango_error err;
    assert_null(cli_component_value("-99999999999999999999", &err));
    assert_null(cli_component_value("1,99999999999999999999", &err));
    assert_int_equal(err.code, DANGO_ERR_RANGE);
}

static void components_become_objects(void **state)
{
    (void)state;
    const struct {
        const char *line, *json;
    } objects[] = {
        {"--name n", "{}"},
        {"--name n --topic.x 42 --topic.y.z abc", "{\"x\":42,\"y\":{\"z\":\"abc\"}}"},
        {"--name n --topic.x 1 --topic.x 2", "{\"x\":2}"},
        {"--name n --topic.x 1 --topic.x.y 2", "{\"x\":{\"y\":2}}"},
        {"--name n --topic.x.y 1 --topic.x.z=2", "{\"x\":{\"y\":1,\"z\":2}}"},
        {"--name n --topic.x --topic.y", "{\"x\":\"--topic.y\"}"},
    };
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        struct fields f;
        struct json_object *json = NULL;
        assert_int_equal(parse(objects[i].line, &f, NULL), 0);
        assert_int_equal(cli_component_json(&f.topic, "topic", &json, NULL), 0);
        assert_json(json, objects[i].json);
        json_object_put(json);
        cli_args_release(options, &f);
    }
}

/* A file with the given content; the name is valid until the next call. */
static const char *file_with(const char *content)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/dango-cli-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    return path;
}

static void files_are_merged_below_the_command_line(void **state)
{
    (void)state;
    const char *path = file_with("{\"a\":1,\"b\":{\"c\":2,\"d\":[1,2]},\"e\":{\"f\":1}}");
    char line[256];
    struct fields f;
    struct json_object *json = NULL;
    snprintf(line, sizeof line, "--name n --topic.b.c 3 --topic-config %s --topic.e x --topic.g 4", path);
    assert_int_equal(parse(line, &f, NULL), 0);
    assert_int_equal(cli_component_json(&f.topic, "topic", &json, NULL), 0);
    assert_json(json, "{\"a\":1,\"b\":{\"c\":3,\"d\":[1,2]},\"e\":\"x\",\"g\":4}");
    json_object_put(json);
    cli_args_release(options, &f);
    unlink(path);
}

static void wrong_files_are_errors(void **state)
{
    (void)state;
    struct cli_component component = {.file = "/nonexistent/topic.json"};
    struct json_object *json = NULL;
    struct dango_error err;
    assert_int_not_equal(cli_component_json(&component, "topic", &json, &err), 0);
    assert_contains(err.text, "--topic-config: /nonexistent/topic.json");
    component.file = file_with("[1]");
    assert_int_not_equal(cli_component_json(&component, "topic", &json, &err), 0);
    assert_contains(err.text, "expected an object, got array");
    unlink(component.file);
    component.file = file_with("{\n \"a\" 1}");
    assert_int_not_equal(cli_component_json(&component, "topic", &json, &err), 0);
    assert_contains(err.text, "line 2");
    unlink(component.file);
}

static void the_environment_ranks_below_the_command_line(void **state)
{
    (void)state;
    const struct {
        const char *line, *environment, *type, *json;
    } cases[] = {
        {"--driver mofka --driver.group_file f", NULL, "mofka", "{\"group_file\":\"f\"}"},
        {"--name n", "--driver mofka --driver.group_file f", "mofka", "{\"group_file\":\"f\"}"},
        {"--name n", " --driver\tmofka  --driver.group_file 'a b' ", "mofka", "{\"group_file\":\"a b\"}"},
        {"--name n", "--driver mofka --driver.x \"q\\\"\\$\\a\" --driver.y c\\ d'e'\"f\"", "mofka",
         "{\"x\":\"q\\\"$\\\\a\",\"y\":\"c def\"}"},
        {"--name n", "--driver=mofka --driver.x ''", "mofka", "{\"x\":\"\"}"},
        {"--driver.x 2", "--driver mofka --driver.x 1 --driver.y 1", "mofka", "{\"x\":2,\"y\":1}"},
        {"--driver mofka --driver.x 2", "--driver mofka --driver.y 1", "mofka", "{\"y\":1,\"x\":2}"},
        {"--driver files --driver.x 2", "--driver mofka --driver.y 1", "files", "{\"x\":2}"},
        {"--driver files", "", "files", "{}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fields f;
        char *type = NULL;
        struct json_object *json = NULL;
        struct dango_error err = DIASPORA_ERROR_INIT;
        (void)parse(cases[i].line, &f, NULL); /* --name may be missing here */
        if (cli_driver_options(&f.common.driver, cases[i].environment, &type, &json, &err) != 0)
            fail_msg("%s: %s", cases[i].line, err.text);
        assert_string_equal(type, cases[i].type);
        assert_json(json, cases[i].json);
        json_object_put(json);
        free(type);
        cli_args_release(options, &f);
    }
}

static void a_wrong_environment_is_an_error(void **state)
{
    (void)state;
    const struct {
        const char *environment, *text;
    } wrong[] = {
        {NULL, "--driver TYPE is required, as in"},
        {"--driver.x 1", "--driver TYPE is required"},
        {"--name x", "DIASPORA_CTL_DRIVER_OPTIONS: unknown option --name"},
        {"--driver 'a", "DIASPORA_CTL_DRIVER_OPTIONS: a quote is not closed"},
        {"--driver", "DIASPORA_CTL_DRIVER_OPTIONS: --driver needs a value"},
        {"mofka", "unexpected argument \"mofka\""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct cli_component none = {0};
        char *type = NULL;
        struct json_object *json = NULL;
        struct dango_error err = DIASPORA_ERROR_INIT;
        assert_int_not_equal(cli_driver_options(&none, wrong[i].environment, &type, &json, &err), 0);
        assert_contains(err.text, wrong[i].text);
        assert_null(type);
        assert_null(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_have_values),
        cmocka_unit_test(words_are_gathered_where_there_is_a_place),
        cmocka_unit_test(wrong_options_are_errors),
        cmocka_unit_test(texts_become_values),
        cmocka_unit_test(components_become_objects),
        cmocka_unit_test(files_are_merged_below_the_command_line),
        cmocka_unit_test(wrong_files_are_errors),
        cmocka_unit_test(the_environment_ranks_below_the_command_line),
        cmocka_unit_test(a_wrong_environment_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
