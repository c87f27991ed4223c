/*
 * Group files: what is accepted, what is refused, and that a file is never seen half-written.
 */
#include "tests/support/test.h"

#include <flock/flock-group-view.h>

#include "util/file.h"

#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

static char directory[] = "/tmp/flock-file-XXXXXX";
static char path[64];

static flock_return_t read_text(const char *text, flock_group_view_t *view)
{
    return flock_group_view_from_string(text, strlen(text), view);
}

static void bad_texts_leave_the_view_alone(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{\"members\":3}",
        "{}",
        "{\"members\":[]}",
        "{\"members\":[3]}",
        "{\"members\":[{\"provider_id\":1}]}",
        "{\"members\":[{\"address\":1,\"provider_id\":1}]}",
        "{\"members\":[{\"address\":\"a\"}]}",
        "{\"members\":[{\"address\":\"a\\u0000b\",\"provider_id\":1}]}",
        "{\"members\":[{\"address\":\"a\",\"provider_id\":\"1\"}]}",
        "{\"members\":[{\"address\":\"a\",\"provider_id\":1.0}]}",
        "{\"members\":[{\"address\":\"a\",\"provider_id\":-1}]}",
        "{\"members\":[{\"address\":\"a\",\"provider_id\":65536}]}",
        "{\"members\":[{\"address\":\"a\",\"provider_id\":1}],\"metadata\":[]}",
        "{\"members\":[{\"address\":\"a\",\"provider_id\":1}]} x",
    };
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    flock_group_view_add_member(&view, "old", 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (read_text(bad[i], &view) != FLOCK_ERR_INVALID_CONFIG)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(flock_group_view_find_member(&view, "old", 1));
    }
    flock_group_view_clear(&view);
}

static void old_files_are_read(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    flock_group_view_add_member(&view, "old", 1);
    assert_int_equal(read_text("{\"members\":[{\"address\":\"b\",\"provider_id\":2,\"rank\":0},"
                               "{\"address\":\"a\",\"provider_id\":0},{\"address\":\"b\",\"provider_id\":2}],"
                               "\"transport\":\"x\",\"metadata\":{\"n\":3,\"none\":null,\"o\":{\"k\":true}}}",
                               &view),
                     FLOCK_SUCCESS);
    assert_int_equal(view.members.size, 2);
    assert_string_equal(view.members.data[0].address, "a");
    assert_int_equal(view.metadata.size, 2);
    assert_string_equal(flock_group_view_find_metadata(&view, "n"), "3");
    assert_string_equal(flock_group_view_find_metadata(&view, "o"), "{\"k\":true}");
    flock_group_view_clear(&view);
}

static void files_go_both_ways(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER, back = FLOCK_GROUP_VIEW_INITIALIZER;
    flock_group_view_add_member(&view, "na+sm://1-0", 7);
    flock_group_view_add_metadata(&view, "k", "v");
    assert_int_equal(flock_group_view_serialize_to_file(&view, path), FLOCK_SUCCESS);
    assert_int_equal(flock_group_view_from_file(path, &back), FLOCK_SUCCESS);
    assert_int_equal(back.digest, view.digest);
    size_t size;
    char *text = dango_file_read(path, 4096, &size, NULL);
    assert_string_equal(text, "{\"members\":[{\"address\":\"na+sm://1-0\",\"provider_id\":7}],"
                              "\"metadata\":{\"k\":\"v\"}}");
    free(text);
    flock_group_view_clear(&view);
    flock_group_view_clear(&back);
}

static void files_that_cannot_be(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    flock_group_view_add_member(&view, "a", 1);
    assert_int_equal(flock_group_view_from_file("/nonexistent/g.json", &view), FLOCK_ERR_INVALID_ARGS);
    assert_int_equal(flock_group_view_serialize_to_file(&view, "/nonexistent/g.json"), FLOCK_ERR_ALLOCATION);
    assert_int_equal(flock_group_view_serialize_to_file(&view, directory), FLOCK_ERR_OTHER);
    assert_int_equal(flock_group_view_serialize_to_file(&view, NULL), FLOCK_ERR_INVALID_ARGS);
    flock_group_view_clear(&view);
}

static int stop;

static void *keep_writing(void *arg)
{
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    char address[32];
    (void)arg;
    for (int i = 0; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); i++) {
        snprintf(address, sizeof address, "address/%d", i % 64);
        flock_group_view_add_member(&view, address, 1);
        flock_group_view_serialize_to_file(&view, path);
    }
    flock_group_view_clear(&view);
    return NULL;
}

static void readers_never_see_half_a_file(void **state)
{
    (void)state;
    flock_group_view_t view = FLOCK_GROUP_VIEW_INITIALIZER;
    pthread_t writers[2];
    flock_group_view_add_member(&view, "first", 1);
    flock_group_view_serialize_to_file(&view, path);
    for (int i = 0; i < 2; i++)
        pthread_create(&writers[i], NULL, keep_writing, NULL);
    for (int i = 0; i < 500; i++)
        assert_int_equal(flock_group_view_from_file(path, &view), FLOCK_SUCCESS);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i], NULL);
    flock_group_view_clear(&view);
    /* Nothing but the file is left. */
    DIR *dir = opendir(directory);
    int entries = 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        entries += entry->d_name[0] != '.';
    closedir(dir);
    assert_int_equal(entries, 1);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/group.json", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_texts_leave_the_view_alone),
        cmocka_unit_test(old_files_are_read),
        cmocka_unit_test(files_go_both_ways),
        cmocka_unit_test(files_that_cannot_be),
        cmocka_unit_test(readers_never_see_half_a_file),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
