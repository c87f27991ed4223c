/*
 * Expressions: values, precedence, loose comparison, and the column of every mistake.
 */
#include "tests/support/test.h"

#include "bedrock/expression.h"
#include "util/json.h"

static struct json_object *variables;

struct example {
    const char *text, *result; /* JSON, or the error */
};

static const struct example values[] = {
    {"1 + 2 * 3", "7"},
    {"(1 + 2) * 3", "9"},
    {"7 / 2", "3.5"},
    {"6 / 2", "3"},
    {"7 % 4 == 3", "true"},
    {"1 / 0", "null"},
    {"9223372036854775807 % -1", "0"},
    {"-3 + +5 - -1", "3"},
    {"'a' .. 1 .. true", "\"a1true\""},
    {"\"tab\\t\" .. 'raw\\t'", "\"tab\\traw\\\\t\""},
    {"!0 && !false || null", "true"},
    {"1 < 2 == true", "true"},
    {"'10' == 10", "true"},
    {"'ten' == 10", "false"},
    {"'ten' < 10", "false"},
    {"null == 0", "true"},
    {"null > 0", "false"},
    {"null === 0", "false"},
    {"1 === 1.0", "false"},
    {"1 == 1.0", "true"},
    {"[1, 'b', [null]]", "[1,\"b\",[null]]"},
    {"1 ? 'yes' : 'no'", "\"yes\""},
    {"TRUE <> False", "true"},
    {"$world.rank == 2", "true"},
    {"$world.rank % 2 == 1", "false"},
    {"$world.size > 4 && $world.rank != 0", "true"},
    {"$world['rank']", "2"},
    {"$list[1].name", "\"second\""},
    {"$list[7].name.deeper", "null"},
    {"$unknown.rank == 0", "true"},
    {"$unknown.rank > 0", "false"},
    {"in_array($world.rank, [0, 2])", "true"},
    {"in_array('x', [])", "false"},
    {"count($list) .. '/' .. sizeof($world)", "\"2/2\""},
    {"array_key_exists('rank', $world)", "true"},
    {"is_array($world) && is_object($world) && !is_object($list)", "true"},
    {"is_int(1) && is_float(1.5) && is_bool(true) && is_null(null) && is_string('') && is_numeric('1e3')", "true"},
    {"empty([]) && empty('') && !empty('0x')", "true"},
    {"strlen('four')", "4"},
    {"return $world;", "{\"rank\":2,\"size\":5}"},
};

static const struct example mistakes[] = {
    {"", "column 1: the expression ends too early, expected a value"},
    {"1 +", "column 4: the expression ends too early, expected a value"},
    {"(1", "column 3: the expression ends too early, expected )"},
    {"[1 2]", "column 4: expected ]"},
    {"1 2", "column 3: expected an operator or the end"},
    {"$", "column 2: expected the name of a variable"},
    {"$a.", "column 4: expected the name of a member"},
    {"'open", "this string does not end"},
    {"\"$a\"", "variables inside of"},
    {"99999999999999999999", "column 1: this integer does not fit 64 bits"},
    {"in_aray(1, [])", "unknown function \"in_aray\""},
    {"1 + in_aray(1, [])", "column 5: unknown function"},
    {"in_aray(1, [])", "did you mean \"in_array\"?"},
    {"in_array(1)", "column 11: expected ,"},
    {"rank == 0", "column 1: unknown word; only expressions are supported here (variables begin with $): rank"},
    {"$x = 3", "column 4: \"=\" would assign, which is not supported here; to compare, write =="},
    {"$x 3", "column 4: expected an operator or the end"},
    {"1; 2", "column 2: expected an operator or the end"},
};

static void expressions_have_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct dango_error err = {0};
        struct json_object *value;
        if (bdk_expression_evaluate(values[i].text, variables, &value, NULL, &err) != 0)
            fail_msg("%s: %s", values[i].text, err.text);
        const char *text = json_object_to_json_string_ext(value, JSON_C_TO_STRING_NOSLASHESCAPE);
        if (strcmp(text, values[i].result) != 0)
            fail_msg("%s gave %s instead of %s", values[i].text, text, values[i].result);
        json_object_put(value);
    }
}

static void mistakes_have_columns(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        struct dango_error err = {0};
        struct json_object *value;
        if (bdk_expression_evaluate(mistakes[i].text, variables, &value, NULL, &err) == 0)
            fail_msg("%s was accepted", mistakes[i].text);
        assert_null(value);
        assert_contains(err.text, mistakes[i].result);
    }
}

/* All of these are null, or count as such. An empty result: nothing is missing. */
static const struct example absences[] = {
    {"$world.rnk", "column 8: no member \"rnk\" (members: rank, size; did you mean \"rank\"?)"},
    {"$world['siz']", "no member \"siz\" (members: rank, size; did you mean \"size\"?)"},
    {"$word.rank == 0", "column 2: no variable \"word\" (variables: world, list, nothing; did you mean \"world\"?)"},
    {"$list[7].name", "no element 7 among 2"},
    {"$list.name", "no member \"name\" in this array"},
    {"$world.rank.deeper", "no member \"deeper\" in this integer"},
    {"$world.rnk.deeper + $wrld", "no member \"rnk\""},
    {"$world.rank", ""},
    {"$list[1].name", ""},
    {"$nothing", ""},
    {"$nothing.rank == 0", ""},
    {"array_key_exists('rnk', $world)", ""},
};

static void what_is_missing_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof absences / sizeof *absences; i++) {
        struct dango_error err = {0}, missing = {0};
        struct json_object *value;
        assert_int_equal(bdk_expression_evaluate(absences[i].text, variables, &value, &missing, &err), 0);
        assert_contains(missing.text, absences[i].result);
        assert_int_equal(missing.code, *absences[i].result ? DANGO_ERR_NOT_FOUND : 0);
        json_object_put(value);
    }
}

static void nesting_is_limited(void **state)
{
    (void)state;
    static const char *const openers[] = {"(", "[", "!", "-", "is_null(", "1?", "$a["};
    for (size_t i = 0; i < sizeof openers / sizeof *openers; i++) {
        char text[4096] = "";
        for (size_t n = 0; n < 400; n++)
            strcat(text, openers[i]);
        struct dango_error err = {0};
        struct json_object *value;
        assert_true(bdk_expression_evaluate(text, variables, &value, NULL, &err) < 0);
        assert_contains(err.text, "nested too deeply");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_have_values),
        cmocka_unit_test(mistakes_have_columns),
        cmocka_unit_test(what_is_missing_is_told),
        cmocka_unit_test(nesting_is_limited),
    };
    variables = json_tokener_parse("{\"world\":{\"rank\":2,\"size\":5},\"list\":[{\"name\":\"first\"},{\"name\":"
                                   "\"second\"}],\"nothing\":null}");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_object_put(variables);
    return failed;
}
