/*
 * The small helpers: errors, suggestions, JSON with positions, atomic files, CRC32C, lists, deadlines.
 */
#include "tests/support/test.h"

#include <dango/error.h>

#include "util/clock.h"
#include "util/crc32c.h"
#include "util/file.h"
#include "util/json.h"
#include "util/list.h"
#include "util/log.h"
#include "util/suggest.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void errors_collect_context(void **state)
{
    (void)state;
    struct dango_error err;
    assert_int_equal(dango_error_set(&err, DANGO_ERR_NOT_FOUND, "no pool named \"%s\"", "x"), DANGO_ERR_NOT_FOUND);
    assert_int_equal(dango_error_prefix(&err, "providers[%d]", 2), DANGO_ERR_NOT_FOUND);
    assert_int_equal(dango_error_prefix(&err, "config.json"), DANGO_ERR_NOT_FOUND);
    assert_string_equal(err.text, "config.json: providers[2]: no pool named \"x\"");
    assert_int_equal(dango_error_set_errno(&err, EACCES, "a/b"), DANGO_ERR_PERMISSION);
    assert_string_equal(err.text, "a/b: Permission denied");
    char longer[3 * DANGO_ERROR_TEXT_MAX];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    dango_error_set(&err, DANGO_ERR_IO, "%s", longer);
    assert_int_equal(strlen(err.text), DANGO_ERROR_TEXT_MAX - 1);
    assert_contains(err.text, "…");
    assert_int_equal(dango_error_set(NULL, DANGO_ERR_IO, "no one listens"), DANGO_ERR_IO);
}

static void suggestions_are_near_misses_only(void **state)
{
    (void)state;
    static const char *const names[] = {"__primary__", "io_pool", "rpc_pool"};
    assert_string_equal(dango_suggest("io_pol", names, 3), "io_pool");
    assert_string_equal(dango_suggest("IO_POOL", names, 3), "io_pool");
    assert_string_equal(dango_suggest("__primray__", names, 3), "__primary__");
    assert_null(dango_suggest("elephant", names, 3));
    char text[128];
    dango_suggest_list("pools", "io_pol", names, 3, text, sizeof text);
    assert_string_equal(text, " (pools: __primary__, io_pool, rpc_pool; did you mean \"io_pool\"?)");
    dango_suggest_list("pools", "x", names, 0, text, sizeof text);
    assert_string_equal(text, " (pools: none)");
    char small[40];
    dango_suggest_list("pools", "io_pol", names, 3, small, sizeof small);
    assert_true(strlen(small) < sizeof small);
}

static void json_errors_have_positions(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "line 1, column 1: invalid JSON: the text ends"},
        {"{\n  \"a\": 1,\n  b: 2\n}", "line 3, column 3"},
        {"{\"a\": 1", "the text ends before the document does"},
        {"{\"a\": 1} x", "line 1, column 10: invalid JSON: something follows the document"},
        {"null", "null"},
        {"{\"a\": \"\xff\"}", "invalid JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dango_error err;
        assert_null(dango_json_parse(cases[i].text, strlen(cases[i].text), &err));
        assert_contains(err.text, cases[i].part);
    }
    struct json_object *number = dango_json_parse("12", 2, NULL);
    assert_int_equal(json_object_get_int(number), 12);
    json_object_put(number);
}

static void files_are_replaced_whole(void **state)
{
    (void)state;
    char path[] = "/tmp/dango-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct dango_error err;
    assert_int_equal(dango_file_write(path, "hello", 5, &err), 0);
    size_t size;
    char *text = dango_file_read(path, 100, &size, &err);
    assert_int_equal(size, 5);
    assert_string_equal(text, "hello");
    free(text);
    assert_null(dango_file_read(path, 4, &size, &err));
    assert_contains(err.text, "larger than the 4 bytes allowed");
    unlink(path);
    assert_null(dango_file_read(path, 4, &size, &err));
    assert_int_equal(err.code, DANGO_ERR_NOT_FOUND);
    assert_true(dango_file_write("/nonexistent/dir/file", "x", 1, &err) < 0);
    assert_contains(err.text, "/nonexistent/dir/file: cannot create a file in its directory");
}

static void links_and_devices_are_not_replaced(void **state)
{
    (void)state;
    char directory[] = "/tmp/dango-test-XXXXXX", file[64], link[64], pipe[64];
    struct stat status;
    struct dango_error err;
    assert_non_null(mkdtemp(directory));
    snprintf(file, sizeof file, "%s/file", directory);
    snprintf(link, sizeof link, "%s/link", directory);
    snprintf(pipe, sizeof pipe, "%s/pipe", directory);
    assert_int_equal(dango_file_write(file, "old", 3, &err), 0);
    assert_int_equal(symlink("file", link), 0);
    assert_int_equal(dango_file_write(link, "hello", 5, &err), 0);
    assert_true(lstat(link, &status) == 0 && S_ISLNK(status.st_mode));
    assert_true(stat(file, &status) == 0 && status.st_size == 5);
    unlink(file); /* it leads nowhere yet */
    assert_int_equal(dango_file_write(link, "hi", 2, &err), 0);
    assert_true(lstat(link, &status) == 0 && S_ISLNK(status.st_mode));
    assert_true(lstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 2);
    unlink(file);
    assert_int_equal(symlink(link, file), 0); /* a circle */
    assert_true(dango_file_write(link, "x", 1, &err) < 0);
    assert_contains(err.text, "link: cannot follow");
    unlink(file);
    char litter[128];
    snprintf(litter, sizeof litter, "%s.new-a1B2c3", file);
    assert_int_equal(dango_file_write(litter, "x", 1, &err), 0);
    dango_file_remove_litter(link, 0);
    assert_int_not_equal(access(litter, F_OK), 0);
    /* Nobody reads, and then somebody does. */
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_true(dango_file_write(pipe, "hello", 5, &err) < 0);
    assert_contains(err.text, "pipe: cannot write");
    int fd = open(pipe, O_RDONLY | O_NONBLOCK);
    char text[8] = "";
    assert_int_equal(dango_file_write(pipe, "hello", 5, &err), 0);
    assert_int_equal(read(fd, text, sizeof text), 5);
    assert_string_equal(text, "hello");
    close(fd);
    assert_true(stat(pipe, &status) == 0 && S_ISFIFO(status.st_mode));
    unlink(link);
    unlink(pipe);
    assert_int_equal(rmdir(directory), 0);
}

static bool exists_after_cleaning(const char *path, const char *name, time_t age_s)
{
    char file[256];
    const struct timespec times[2] = {{.tv_sec = time(NULL) - age_s}, {.tv_sec = time(NULL) - age_s}};
    snprintf(file, sizeof file, "%s%s", path, name);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(utimensat(AT_FDCWD, file, times, 0), 0);
    dango_file_remove_litter(path, 60);
    return unlink(file) == 0;
}

static void what_dead_writers_leave_is_removed(void **state)
{
    (void)state;
    char directory[] = "/tmp/dango-litter-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/g.json", directory);
    assert_false(exists_after_cleaning(path, ".new-aB3xyZ", 61));
    assert_true(exists_after_cleaning(path, ".new-aB3xyZ", 30)); /* its writer may be at it */
    assert_true(exists_after_cleaning(path, ".new-aB3xy", 61));
    assert_true(exists_after_cleaning(path, ".new-aB3xy.", 61));
    assert_true(exists_after_cleaning(path, ".backup", 61));
    assert_true(exists_after_cleaning(path, ".new-aB3xyZ.old", 61));
    assert_true(exists_after_cleaning(path, "", 61));
    dango_file_remove_litter("/nonexistent/dir/file", 0);
    assert_int_equal(rmdir(directory), 0);
}

static void crc_matches_the_published_vectors(void **state)
{
    (void)state;
    unsigned char zeros[32] = {0}, ones[32];
    memset(ones, 0xff, sizeof ones);
    assert_int_equal(dango_crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(dango_crc32c(0, zeros, 32), 0x8a9136aau); /* RFC 3720, B.4 */
    assert_int_equal(dango_crc32c(0, ones, 32), 0x62a8ab43u);
    assert_int_equal(dango_crc32c(dango_crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}

static void lists_keep_order(void **state)
{
    (void)state;
    struct list_node head, nodes[3];
    list_init(&head);
    assert_null(list_pop(&head));
    for (int i = 0; i < 3; i++)
        list_append(&head, &nodes[i]);
    list_remove(&nodes[1]);
    assert_false(list_linked(&nodes[1]));
    assert_ptr_equal(list_pop(&head), &nodes[0]);
    assert_ptr_equal(list_pop(&head), &nodes[2]);
    assert_true(list_empty(&head));
}

static void deadlines_do_not_overflow(void **state)
{
    (void)state;
    assert_true(dango_deadline_ns(-1) == DANGO_NEVER);
    assert_true(dango_deadline_ns(1e300) == DANGO_NEVER);
    int64_t now = dango_clock_ns();
    int64_t later = dango_deadline_ns(1000);
    assert_true(later >= now + DANGO_NS_PER_S);
}

static void log_levels_have_names(void **state)
{
    (void)state;
    enum dango_log_level level;
    struct dango_error err;
    assert_int_equal(dango_log_level_parse("warn", &level, &err), 0);
    assert_int_equal(level, DANGO_LOG_WARNING);
    assert_true(dango_log_level_parse("verbose", &level, &err) < 0);
    assert_contains(err.text, "levels: trace, debug");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_collect_context),
        cmocka_unit_test(suggestions_are_near_misses_only),
        cmocka_unit_test(json_errors_have_positions),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(links_and_devices_are_not_replaced),
        cmocka_unit_test(what_dead_writers_leave_is_removed),
        cmocka_unit_test(crc_matches_the_published_vectors),
        cmocka_unit_test(lists_keep_order),
        cmocka_unit_test(deadlines_do_not_overflow),
        cmocka_unit_test(log_levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
