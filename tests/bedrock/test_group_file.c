/*
 * Group files: what is read from them, and what is wrong with them.
 */
#include "tests/support/test.h"

#include "util/file.h"

#include <bedrock/client.h>

#include <unistd.h>

static char path[] = "/tmp/dango-group-XXXXXX";

static int read_text(const char *text, char ***addresses, size_t *count, struct dango_error *err)
{
    assert_int_equal(dango_file_write(path, text, strlen(text), err), 0);
    return bedrock_group_file_read(path, addresses, count, err);
}

static void members_are_listed_once(void **state)
{
    (void)state;
    struct dango_error err = {0};
    char **addresses;
    size_t count;
    static const char text[] = "{\"members\":[{\"address\":\"na+sm://2-0\",\"provider_id\":1},"
                               "{\"address\":\"na+sm://1-0\",\"provider_id\":1},"
                               "{\"address\":\"na+sm://2-0\",\"provider_id\":2}],\"metadata\":{}}";
    assert_int_equal(read_text(text, &addresses, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_string_equal(addresses[0], "na+sm://2-0");
    assert_string_equal(addresses[1], "na+sm://1-0");
    bedrock_addresses_free(addresses, count);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "line 1, column 1"},
        {"{", "the text ends before the document does"},
        {"[]", "not a group file: it has no array \"members\""},
        {"{}", "not a group file"},
        {"{\"members\":{}}", "not a group file"},
        {"{\"members\":[]}", "the group has no members"},
        {"{\"members\":[{}]}", "members[0].address: expected the address of a member"},
        {"{\"members\":[{\"address\":\"x\"},{\"address\":3}]}", "members[1].address: expected the address"},
        {"{\"members\":[7]}", "members[0].address"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dango_error err = {0};
        char **addresses;
        size_t count;
        assert_true(read_text(cases[i].text, &addresses, &count, &err) < 0);
        assert_contains(err.text, cases[i].message);
        assert_contains(err.text, path);
    }
    struct dango_error err = {0};
    char **addresses;
    size_t count;
    assert_true(bedrock_group_file_read("/nonexistent/group.json", &addresses, &count, &err) < 0);
    assert_contains(err.text, "/nonexistent/group.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_listed_once),
        cmocka_unit_test(mistakes_are_named),
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
