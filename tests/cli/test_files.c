/*
 * Events written as files: content, mode and time, and names that try to leave the directory by every way.
 */
#include "tests/diaspora/support/fixture.h"

#include "cli/cli.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fixture fixture;
static diaspora_producer *producer;
static diaspora_consumer *consumer;
static struct cli_files files;
static char sandbox[64], directory[96];

static int setup(void **state)
{
    (void)state;
    diaspora_error err = DIASPORA_ERROR_INIT;
    open_topic(&fixture, FAKE_DEFAULTS, NULL);
    producer = open_producer(&fixture, NULL);
    consumer = open_consumer(&fixture, "{\"name\":\"c\",\"data\":\"all\"}");
    snprintf(sandbox, sizeof sandbox, "/tmp/dango-files-XXXXXX");
    assert_non_null(mkdtemp(sandbox));
    snprintf(directory, sizeof directory, "%s/into", sandbox);
    assert_int_equal(cli_files_open(&files, directory, &err), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    cli_files_close(&files);
    diaspora_consumer_close(consumer);
    diaspora_producer_close(producer);
    close_topic(&fixture);
    snprintf(command, sizeof command, "rm -rf %s", sandbox);
    return system(command);
}

/* Sends an event through the topic and writes it. */
static int write_event(const char *metadata, const char *data, diaspora_error *err)
{
    diaspora_event *event;
    ASSERT_OK(diaspora_push(producer, metadata, strlen(metadata), DIASPORA_DATA(data, strlen(data)), NULL, &problem));
    ASSERT_OK(diaspora_flush(producer, 10000, &problem));
    ASSERT_OK(diaspora_pull(consumer, 10000, &event, &problem));
    int status = cli_files_write(&files, event, err);
    diaspora_event_release(event);
    return status;
}

static void assert_file(const char *name, const char *content)
{
    char path[256], bytes[64] = "";
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, bytes, sizeof bytes - 1), strlen(content));
    assert_string_equal(bytes, content);
    close(fd);
}

/* Number of entries below a directory, of all kinds. */
static size_t entries(const char *path)
{
    size_t count = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count - 2;
}

static void files_arrive_with_mode_and_time(void **state)
{
    (void)state;
    char path[256];
    struct stat info;
    assert_int_equal(
        write_event("{\"name\":\"a/b/c.txt\",\"size\":5,\"mode\":416,\"mtime\":1700000000.123456789}", "hello", NULL),
        0);
    assert_file("a/b/c.txt", "hello");
    snprintf(path, sizeof path, "%s/a/b/c.txt", directory);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);
    assert_int_equal(info.st_mtim.tv_sec, 1700000000);
    assert_int_equal(info.st_mtim.tv_nsec, 123456789);
    assert_int_equal(write_event("{\"name\":\"a/b/d\",\"mode\":4095}", "", NULL), 0);
    assert_file("a/b/d", "");
    snprintf(path, sizeof path, "%s/a/b/d", directory);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0777); /* no set-uid from somebody else's event */
    assert_int_equal(write_event("{\"name\":\"top\"}", "1", NULL), 0);
    assert_int_equal(write_event("{\"name\":\"top\"}", "22", NULL), 0);
    assert_file("top", "22");
    assert_int_equal(entries(directory), 2);
}

static void names_do_not_leave_the_directory(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "/etc/evil", "../evil", "a/../../evil",    "a/..",    "..", ".", "./a", "a/.", "", "a//b", "a/",
        "/",         "//a",     "evil\\u0000.txt", "\\u0000",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char metadata[128];
        diaspora_error err = DIASPORA_ERROR_INIT;
        snprintf(metadata, sizeof metadata, "{\"name\":\"%s\"}", wrong[i]);
        assert_int_equal(write_event(metadata, "x", &err), DIASPORA_INVALID);
        assert_contains(err.text, "the name");
    }
    assert_int_equal(entries(directory), 0);
    assert_int_equal(entries(sandbox), 1);
    /* Names that only look suspicious. */
    assert_int_equal(write_event("{\"name\":\"..a\"}", "1", NULL), 0);
    assert_int_equal(write_event("{\"name\":\"...\"}", "1", NULL), 0);
    assert_int_equal(write_event("{\"name\":\".hidden/b..\"}", "1", NULL), 0);
}

static void symbolic_links_are_not_followed(void **state)
{
    (void)state;
    char path[256], target[256];
    diaspora_error err = DIASPORA_ERROR_INIT;
    snprintf(target, sizeof target, "%s/outside", sandbox);
    assert_int_equal(mkdir(target, 0700), 0);
    snprintf(path, sizeof path, "%s/link", directory);
    assert_int_equal(symlink(target, path), 0);
    assert_int_not_equal(write_event("{\"name\":\"link/evil\"}", "x", &err), 0);
    assert_contains(err.text, "symbolic links are not followed");
    assert_int_not_equal(write_event("{\"name\":\"link/deeper/evil\"}", "x", &err), 0);
    assert_int_equal(entries(target), 0);
    /* A link in place of the file is replaced; what it points to stays as it is. */
    snprintf(path, sizeof path, "%s/file", directory);
    snprintf(target, sizeof target, "%s/outside/target", sandbox);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(write_event("{\"name\":\"file\"}", "x", &err), 0);
    assert_file("file", "x");
    assert_int_not_equal(access(target, F_OK), 0);
}

static void what_is_no_file_is_an_error(void **state)
{
    (void)state;
    static const struct {
        const char *metadata, *text;
    } wrong[] = {
        {"no json", "invalid JSON"},
        {"[]", "no text \"name\""},
        {"{}", "no text \"name\""},
        {"{\"name\":1}", "no text \"name\""},
        {"{\"name\":\"a\",\"size\":7}", "1 bytes of data, but its size is 7"},
        {"{\"name\":\"d\"}", "d: Is a directory"},
        {"{\"name\":\"f/g\"}", "cannot be opened"},
    };
    assert_int_equal(write_event("{\"name\":\"d/x\"}", "x", NULL), 0);
    assert_int_equal(write_event("{\"name\":\"f\"}", "x", NULL), 0);
    size_t before = entries(directory);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        diaspora_error err = DIASPORA_ERROR_INIT;
        assert_int_not_equal(write_event(wrong[i].metadata, "x", &err), 0);
        assert_contains(err.text, wrong[i].text);
    }
    assert_false(files.hopeless);
    /* No temporary file is left behind. */
    assert_int_equal(entries(directory), before);
}

/* Such a failure stands for a full disk: it is not the event's, so that the event must not be passed over. */
static void what_would_meet_every_event_is_hopeless(void **state)
{
    (void)state;
    diaspora_error err = DIASPORA_ERROR_INIT;
    struct rlimit usual, none;
    int free_fd = dup(0);
    assert_true(free_fd >= 0);
    close(free_fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    none = (struct rlimit){.rlim_cur = (rlim_t)free_fd, .rlim_max = usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int status = write_event("{\"name\":\"d/x\"}", "x", &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
    assert_int_not_equal(status, 0);
    assert_contains(err.text, "d/x: its directory cannot be opened: Too many open files");
    assert_true(files.hopeless);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_arrive_with_mode_and_time),         TEST(names_do_not_leave_the_directory),
        TEST(symbolic_links_are_not_followed),         TEST(what_is_no_file_is_an_error),
        TEST(what_would_meet_every_event_is_hopeless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
