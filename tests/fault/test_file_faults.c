/*
 * Files that are replaced whole (util/file.h): whichever call fails, the old content or the new one is there, the
 * caller knows which, and nothing else stays in the directory.
 */
#include "tests/fault/fault.h"
#include "tests/support/test.h"

#include "util/file.h"

#include <dirent.h>
#include <unistd.h>

static char base[] = "/tmp/dango-file-faults-XXXXXX", path[64];

static int set_up(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(base));
    snprintf(path, sizeof path, "%s/file", base);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dango_fault_plan(NULL);
    unlink(path);
    return rmdir(base);
}

static void expect_content(const char *expected)
{
    size_t size;
    char *text = dango_file_read(path, 100, &size, NULL);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static unsigned count_entries(void)
{
    unsigned count = 0;
    DIR *entries = opendir(base);
    for (struct dirent *entry; (entry = readdir(entries));)
        count += entry->d_name[0] != '.';
    closedir(entries);
    return count;
}

/* Replaces "old" by "new" while calls of this name fail. */
static int replace(const char *call, const char *what, struct dango_error *err)
{
    char plan[128];
    dango_fault_plan(NULL);
    assert_int_equal(dango_file_write(path, "old", 3, NULL), 0);
    snprintf(plan, sizeof plan, "dir=%s,call=%s,do=%s,n=1", base, call, what);
    assert_true(dango_fault_plan(plan));
    int code = dango_file_write(path, "new", 3, err);
    dango_fault_plan(NULL);
    assert_int_equal(count_entries(), 1);
    return code;
}

static void a_failure_leaves_the_old_file(void **state)
{
    (void)state;
    static const char *const calls[] = {"open", "write", "sync", "rename"};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct dango_error err;
        assert_true(replace(calls[i], "ENOSPC", &err) < 0);
        assert_contains(err.text, path);
        assert_contains(err.text, "No space left on device");
        expect_content("old");
    }
}

static void short_writes_are_continued(void **state)
{
    (void)state;
    assert_int_equal(replace("write", "short", NULL), 0);
    expect_content("new");
}

/* The new name is durable only when the directory has been synced: a failure of that must not be taken for success. */
static void the_directory_is_synced_after_renaming(void **state)
{
    (void)state;
    struct dango_error err;
    char plan[128];
    assert_int_equal(dango_file_write(path, "old", 3, NULL), 0);
    snprintf(plan, sizeof plan, "dir=%s,call=sync,n=2,do=EIO", base);
    assert_true(dango_fault_plan(plan));
    assert_true(dango_file_write(path, "new", 3, &err) < 0);
    dango_fault_plan(NULL);
    assert_contains(err.text, "cannot sync the directory");
    expect_content("new");
    assert_int_equal(dango_file_sync_directory("/nonexistent", &err), DANGO_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_leaves_the_old_file),
        cmocka_unit_test(short_writes_are_continued),
        cmocka_unit_test(the_directory_is_synced_after_renaming),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
