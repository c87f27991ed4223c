/*
 * Configuration of a provider: what is accepted, and the text of each refusal. Nothing is opened.
 */
#include "tests/support/test.h"

#include "util/json.h"
#include "warabi/dango_warabi.h"
#include "warabi/err.h"

static int check(const char *text, struct dango_error *err)
{
    struct json_object *json = json_tokener_parse(text);
    int status = dango_warabi_check(json, err);
    json_object_put(json);
    return status;
}

static void good_configurations(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{}",
        "{\"target\":{\"type\":\"memory\"}}",
        "{\"target\":{\"type\":\"memory\",\"config\":{\"capacity\":4096}},\"transfer_manager\":{}}",
        "{\"transfer_manager\":{\"type\":\"__default__\",\"config\":{}}}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct dango_error err;
        if (check(good[i], &err) != 0)
            fail_msg("%s: %s", good[i], err.text);
    }
}

static void bad_configurations(void **state)
{
    (void)state;
    static const struct {
        const char *config, *message;
    } bad[] = {
        {"{\"targets\":[]}", "did you mean \"target\"?"},
        {"{\"target\":[]}", "target: expected an object"},
        {"{\"target\":{}}", "target.type: this field is required"},
        {"{\"target\":{\"type\":3}}", "target.type: expected a string"},
        {"{\"target\":{\"type\":\"memroy\"}}", "target.type: unknown target type \"memroy\""},
        {"{\"target\":{\"type\":\"memroy\"}}", "did you mean \"memory\"?"},
        {"{\"target\":{\"type\":\"abtio\"}}", "target.config.path: this field is required"},
        {"{\"target\":{\"type\":\"abtio\",\"config\":{\"path\":\"x\",\"alignment\":4}}}", "target.config.alignment"},
        {"{\"target\":{\"type\":\"pmdk\"}}", "not part of this build"},
        {"{\"target\":{\"type\":\"memory\",\"config\":[]}}", "target.config: expected an object"},
        {"{\"target\":{\"type\":\"memory\",\"config\":{\"capacity\":-1}}}",
         "target.config.capacity: must not be negative"},
        {"{\"target\":{\"type\":\"memory\",\"config\":{\"size\":1}}}", "target.config: unknown field \"size\""},
        {"{\"transfer_manager\":{\"type\":\"pipeline\"}}", "transfer_manager.type: unknown value \"pipeline\""},
        {"{\"transfer_manager\":{\"config\":{\"x\":1}}}", "transfer_manager.config: unknown field \"x\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dango_error err;
        assert_true(check(bad[i].config, &err) < 0);
        assert_contains(err.text, bad[i].message);
    }
}

static void error_objects(void **state)
{
    (void)state;
    assert_string_equal(warabi_err_message(WARABI_SUCCESS), "Success");
    assert_int_equal(warabi_err_code(WARABI_SUCCESS), WARABI_ERR_OK);
    warabi_err_free(WARABI_SUCCESS);
    warabi_err_t err = wb_err_new(WARABI_ERR_BOUNDS, "%d too many", 3);
    assert_string_equal(warabi_err_message(err), "3 too many");
    assert_int_equal(warabi_err_code(err), WARABI_ERR_BOUNDS);
    warabi_err_free(err);
    err = wb_err_from_hg(HG_TIMEOUT, "waiting");
    assert_int_equal(warabi_err_code(err), WARABI_ERR_TIMEOUT);
    assert_contains(warabi_err_message(err), "waiting: HG_TIMEOUT");
    warabi_err_free(err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_configurations),
        cmocka_unit_test(bad_configurations),
        cmocka_unit_test(error_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
