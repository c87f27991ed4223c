/*
 * Who may replace a group file: stamps of both dynamic backends, files of a later and of an earlier state, files that say
 * nothing of themselves, files of other groups, and groups that start again from theirs. Writing itself is in test_file.c.
 */
#include "tests/flock/groups.h"

#include "flock/internal.h"
#include "flock/provider/provider.h"
#include "util/file.h"

#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define CENTRALIZED                                                                                                    \
    "\"centralized\",\"config\":{\"ping_timeout_ms\":400,\"ping_interval_ms\":50,\"ping_max_num_timeouts\":2}"
#define SWIM                                                                                                           \
    "\"swim\",\"config\":{\"protocol_period_ms\":60,\"ping_timeout_ms\":40,\"ping_req_timeout_ms\":60,"                \
    "\"suspicion_timeout_ms\":300}"

static char directory[] = "/tmp/flock-stamp-XXXXXX";
static char path[64], centralized[512], swim[512];

struct file {
    flock_group_view_t view;
    struct flk_stamp stamp;
};

static struct file read_file(void)
{
    struct file file = {.stamp = {.term = 0}};
    assert_ok(flk_group_file_read_stamp(path, &file.view, &file.stamp, NULL));
    return file;
}

static void clear(struct file *file)
{
    flock_group_view_clear(&file->view);
    flk_stamp_clear(&file->stamp);
}

static void write_file(const struct file *file)
{
    assert_int_equal(flk_group_file_write(&file->view, *file->stamp.group_id ? &file->stamp : NULL, path, NULL), 0);
}

/* The mark is in nobody's view: a file that has it is not from the group. */
static void write_marked(struct file *file)
{
    flock_group_view_add_metadata(&file->view, "mark", "x");
    write_file(file);
}

static bool is_marked(void)
{
    struct file file = read_file();
    bool marked = flock_group_view_find_metadata(&file.view, "mark") != NULL;
    clear(&file);
    return marked;
}

static bool file_names(size_t members)
{
    struct file file = read_file();
    bool names = file.view.members.size == members;
    clear(&file);
    return names;
}

static void set_metadata(uint16_t id, const char *key, const char *value)
{
    flock_client_t client;
    flock_group_handle_t handle;
    hg_addr_t self;
    assert_ok(flock_client_init(mid, ABT_POOL_NULL, &client));
    margo_addr_self(mid, &self);
    assert_ok(flock_group_handle_create(client, self, id, 0, &handle));
    assert_ok(flock_group_metadata_set(handle, key, value));
    assert_ok(flock_group_handle_release(handle));
    margo_addr_free(mid, self);
    assert_ok(flock_client_finalize(client));
}

static void set_owner(struct flk_stamp *stamp, uint16_t id)
{
    free(stamp->owner);
    stamp->owner = strdup(address);
    stamp->owner_id = id;
}

/* A later file does not exist for the group that wrote `before`: what it counts goes up, in the same group. */
static void check_later(const struct file *before)
{
    struct file now = read_file();
    assert_string_equal(now.stamp.group_id, before->stamp.group_id);
    if (now.stamp.term < before->stamp.term ||
        (now.stamp.term == before->stamp.term && now.stamp.change <= before->stamp.change))
        fail_msg("%" PRIu64 ".%" PRIu64 " after %" PRIu64 ".%" PRIu64, now.stamp.term, now.stamp.change,
                 before->stamp.term, before->stamp.change);
    clear(&now);
}

/* ---- what a file says of itself ---- */

static void changes_are_counted(const char *config, bool terms)
{
    start_group(2, config);
    struct file first = read_file();
    assert_true(*first.stamp.group_id && (first.stamp.term > 0) == terms);
    assert_string_equal(first.stamp.owner, address);
    set_metadata(2, "key", "value");
    wait_for(file_names(2) && !is_marked(), 2000);
    struct file second = read_file();
    wait_for((clear(&second), second = read_file(), second.stamp.change > first.stamp.change), 2000);
    end_member(2);
    wait_for(file_names(1), 2000);
    check_later(&second);
    clear(&first);
    clear(&second);
}

static void changes_are_counted_by_a_primary(void **state)
{
    (void)state;
    changes_are_counted(centralized, true);
}

static void changes_are_counted_by_swim(void **state)
{
    (void)state;
    changes_are_counted(swim, false);
}

static void what_is_no_stamp(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"version\":3",
        "\"group_id\":\"a\"",
        "\"group_id\":3,\"version\":{\"term\":1,\"change\":1,\"address\":\"a\",\"provider_id\":1}",
        "\"group_id\":\"a\",\"version\":{\"term\":-1,\"change\":1,\"address\":\"a\",\"provider_id\":1}",
        "\"group_id\":\"a\",\"version\":{\"term\":1,\"change\":99999999999,\"address\":\"a\",\"provider_id\":1}",
        "\"group_id\":\"a\",\"version\":{\"term\":1,\"change\":\"1\",\"address\":\"a\",\"provider_id\":1}",
        "\"group_id\":\"a\",\"version\":{\"term\":1,\"change\":1,\"address\":4,\"provider_id\":1}",
        "\"group_id\":\"a\",\"version\":{\"term\":1,\"change\":1,\"address\":\"a\",\"provider_id\":65536}",
        "\"group_id\":\"0123456789012345678901234567890123456789\","
        "\"version\":{\"term\":1,\"change\":1,\"address\":\"a\",\"provider_id\":1}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"members\":[{\"address\":\"a\",\"provider_id\":1}],%s}", bad[i]);
        assert_int_equal(dango_file_write(path, text, strlen(text), NULL), 0);
        struct file file = read_file();
        if (*file.stamp.group_id || file.stamp.owner)
            fail_msg("accepted: %s", bad[i]);
        clear(&file);
    }
}

/* ---- other writers ---- */

/* The file that member 2 may have written is left alone until there is something later. */
static void a_later_file_stays(const char *config, uint64_t terms)
{
    start_group(3, config);
    struct file file = read_file();
    file.stamp.term += terms;
    file.stamp.change += terms ? 0 : 1000;
    set_owner(&file.stamp, 2);
    write_marked(&file);
    set_metadata(3, "key", "value");
    end_member(3);
    wait_for(all_see("1,2"), 2000);
    stays(is_marked(), 1300); /* longer than until the next attempt */
    /* An earlier one is replaced, with the attempt that is due. */
    file.stamp.term -= terms;
    file.stamp.change = 1;
    set_owner(&file.stamp, 1);
    write_marked(&file);
    wait_for(file_names(2) && !is_marked(), 3000);
    check_later(&file);
    clear(&file);
}

static void the_file_of_a_later_term_stays(void **state)
{
    (void)state;
    a_later_file_stays(centralized, 1);
}

static void the_file_of_a_member_that_knows_more_stays(void **state)
{
    (void)state;
    /* Nobody is suspected for being slow: the file of one that is would be replaced. */
    char patient[512];
    snprintf(patient, sizeof patient,
             "{\"file\":\"%s\",\"group\":{\"type\":\"swim\",\"config\":{\"protocol_period_ms\":60,"
             "\"ping_timeout_ms\":3000,\"ping_req_timeout_ms\":3000}}}",
             path);
    a_later_file_stays(patient, 0);
}

/* Of two primaries of one term the one with the smaller address counts. */
static void the_file_of_another_primary_of_the_term(void **state)
{
    (void)state;
    char config[768];
    snprintf(config, sizeof config,
             "{\"file\":\"%s\",\"group\":{\"type\":\"centralized\",\"config\":{\"ping_interval_ms\":50,"
             "\"primary_address\":\"%s\",\"primary_provider_id\":2}}}",
             path, address);
    start_group(3, config);
    struct file file = read_file();
    file.stamp.change += 1000;
    set_owner(&file.stamp, 3);
    write_marked(&file);
    set_metadata(1, "key", "1");
    wait_for(!is_marked(), 2000);
    file.stamp.change = 0;
    set_owner(&file.stamp, 1);
    write_marked(&file);
    set_metadata(1, "key", "2");
    stays(is_marked(), 200);
    clear(&file);
}

/* Who has written it is gone, and nobody else knows what it knew. */
static void the_file_of_a_lost_member_is_replaced(void **state)
{
    (void)state;
    start_group(2, swim);
    struct file file = read_file();
    file.stamp.change += 1000;
    set_owner(&file.stamp, 9);
    write_marked(&file);
    set_metadata(2, "key", "value");
    wait_for(!is_marked(), 2000);
    check_later(&file);
    clear(&file);
}

/* The successor has the higher term, whatever its predecessor has counted. */
static void the_file_of_an_old_primary_is_replaced(void **state)
{
    (void)state;
    start_group(3, centralized);
    struct file file = read_file();
    end_member(1);
    wait_for(all_see("2,3") && file_names(2), 2000);
    check_later(&file);
    file.stamp.change += 1000;
    write_marked(&file);
    set_metadata(3, "key", "value");
    wait_for(!is_marked(), 2000);
    clear(&file);
}

static bool is_written_by(uint16_t id)
{
    struct file file = {.stamp = {.term = 0}};
    bool written = flk_group_file_read_stamp(path, &file.view, &file.stamp, NULL) == FLOCK_SUCCESS &&
                   file.stamp.owner && file.stamp.owner_id == id;
    clear(&file);
    return written;
}

/* Members that are suspected stay in the view: nothing changes but who is to write. */
static void a_suspected_writer_is_stood_in_for(void **state)
{
    (void)state;
    char config[512];
    snprintf(config, sizeof config,
             "{\"file\":\"%s\",\"group\":{\"type\":\"swim\",\"config\":{\"protocol_period_ms\":60,"
             "\"ping_timeout_ms\":40,\"ping_req_timeout_ms\":60,\"suspicion_timeout_ms\":60000}}}",
             path);
    for (uint16_t id = 2; id <= 3; id++)
        assert_ok(register_member(id, config, 1, 3));
    wait_for(is_written_by(2) && file_names(3), 5000);
    assert_ok(register_member(1, config, 1, 3));
    wait_for(is_written_by(1) && file_names(3), 5000);
    assert_true(all_see("1,2,3"));
}

static bool looks(uint16_t id)
{
    return __atomic_load_n(&providers[id]->file.waiting, __ATOMIC_RELAXED);
}

/* Only the writer wakes for the file, when nothing happens. */
static void others_do_not_look_at_the_file(void **state)
{
    (void)state;
    const char *const configs[] = {centralized, swim};
    for (int i = 0; i < 2; i++) {
        start_group(3, configs[i]);
        wait_for(looks(1) && !looks(2) && !looks(3), 5000);
        end_member(1);
        wait_for(is_written_by(2) && looks(2) && !looks(3), 5000);
        end_group();
        unlink(path);
    }
}

/* What a former writer has written last, or nothing at all: the group does not change, but its writer looks. */
static void the_writer_keeps_its_file(void **state)
{
    (void)state;
    const char *const configs[] = {centralized, swim};
    for (int i = 0; i < 2; i++) {
        start_group(3, configs[i]);
        wait_for(all_see("1,2,3") && file_names(3), 3000);
        struct file file = read_file();
        flock_group_view_remove_member(&file.view, flock_group_view_find_member(&file.view, address, 3));
        set_owner(&file.stamp, 2);
        write_marked(&file);
        wait_for(!is_marked() && file_names(3), 3000);
        unlink(path);
        wait_for(access(path, F_OK) == 0 && file_names(3), 3000);
        clear(&file);
        end_group();
        unlink(path);
    }
}

static void files_that_say_nothing_are_replaced(void **state)
{
    (void)state;
    static const char garbage[] = "no group file";
    const char *const configs[] = {centralized, swim};
    for (int i = 0; i < 2; i++) {
        start_group(2, configs[i]);
        struct file file = read_file();
        memset(file.stamp.group_id, 0, sizeof file.stamp.group_id);
        write_marked(&file);
        set_metadata(1, "key", "1");
        wait_for(!is_marked(), 2000);
        clear(&file);
        assert_int_equal(dango_file_write(path, garbage, strlen(garbage), NULL), 0);
        set_metadata(1, "key", "2");
        wait_for(flock_group_view_from_file(path, &file.view) == FLOCK_SUCCESS, 2000);
        clear(&file);
        end_group();
        unlink(path);
    }
}

static void the_file_of_another_group_is_left_alone(void **state)
{
    (void)state;
    const char *const configs[] = {centralized, swim};
    for (int i = 0; i < 2; i++) {
        start_group(2, configs[i]);
        struct file file = read_file(), other = {.stamp = file.stamp};
        strcpy(other.stamp.group_id, "other");
        flock_group_view_add_member(&other.view, "elsewhere", 1);
        write_marked(&other);
        set_metadata(1, "key", "1");
        stays(is_marked(), 300);
        /* Moved away by the user, as the warning says: no change is needed. */
        unlink(path);
        wait_for(access(path, F_OK) == 0, 3000);
        check_later(&file);
        flock_group_view_clear(&other.view);
        clear(&file);
        end_group();
        unlink(path);
    }
}

/* A new group takes the file over that it finds when it starts. */
static void the_file_of_an_old_group_is_taken_over(void **state)
{
    (void)state;
    const char *const configs[] = {centralized, swim};
    for (int i = 0; i < 2; i++) {
        struct file old = {.stamp = {.group_id = "old", .term = 7, .change = 7}};
        set_owner(&old.stamp, 7);
        flock_group_view_add_member(&old.view, "elsewhere", 1);
        write_file(&old);
        start_group(2, configs[i]);
        struct file file = read_file();
        assert_string_not_equal(file.stamp.group_id, "old");
        assert_int_equal(file.view.members.size, 2);
        clear(&old);
        clear(&file);
        end_group();
        unlink(path);
    }
}

/* As after a crash of all, at addresses that are the same again: later, and of the same group. */
static void a_group_starts_again_from_its_file(void **state)
{
    (void)state;
    const char *const configs[] = {centralized, swim};
    for (int i = 0; i < 2; i++) {
        start_group(3, configs[i]);
        set_metadata(2, "key", "1");
        struct file file = read_file(), last = file;
        file.stamp.term += file.stamp.term ? 3 : 0;
        end_group();
        write_file(&file);
        start_group(3, configs[i]);
        wait_for(file_names(3), 2000);
        check_later(&last);
        stays(all_see("1,2,3"), 300);
        end_member(1);
        wait_for(all_see("2,3") && file_names(2), 3000);
        check_later(&file);
        clear(&file);
        end_group();
        unlink(path);
    }
}

/* What could not be written comes later, without another change. */
static void a_failed_write_is_tried_again(void **state)
{
    (void)state;
    const char *const kinds[] = {CENTRALIZED, SWIM};
    char missing[64], later[96], config[640];
    snprintf(missing, sizeof missing, "%s/missing", directory);
    snprintf(later, sizeof later, "%s/group.json", missing);
    for (int i = 0; i < 2; i++) {
        snprintf(config, sizeof config, "{\"file\":\"%s\",\"group\":{\"type\":%s}}", later, kinds[i]);
        start_group(1, config);
        assert_int_not_equal(access(later, F_OK), 0);
        assert_int_equal(mkdir(missing, 0755), 0);
        wait_for(access(later, F_OK) == 0, 3000);
        end_group();
        unlink(later);
        assert_int_equal(rmdir(missing), 0);
    }
}

static void the_last_member_removes_the_file(void **state)
{
    (void)state;
    const char *const configs[] = {centralized, swim};
    for (int i = 0; i < 2; i++) {
        char config[640];
        snprintf(config, sizeof config, "{\"remove_file\":true,%s", configs[i] + 1);
        start_group(2, config);
        wait_for(file_names(2), 2000);
        end_member(1);
        wait_for(sees(2, "2") && file_names(1), 3000);
        end_member(2);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

/* Another group has taken the path: it is theirs to remove. */
static void the_file_of_another_group_is_not_removed(void **state)
{
    (void)state;
    char config[640];
    snprintf(config, sizeof config, "{\"remove_file\":true,%s", swim + 1);
    start_group(1, config);
    struct file file = read_file(), other = {.stamp = file.stamp};
    strcpy(other.stamp.group_id, "other");
    flock_group_view_add_member(&other.view, "elsewhere", 1);
    write_file(&other);
    end_group();
    assert_int_equal(access(path, F_OK), 0);
    flock_group_view_clear(&other.view);
    clear(&file);
}

/* Somebody who reads the file name as that of a pipe gets the text; nobody has to. */
static void a_pipe_in_place_of_the_file(void **state)
{
    (void)state;
    struct stat status;
    assert_int_equal(mkfifo(path, 0600), 0);
    start_group(1, swim);
    assert_true(stat(path, &status) == 0 && S_ISFIFO(status.st_mode));
}

/* ---- the frame ---- */

static int end(void **state)
{
    end_group_teardown(state);
    unlink(path);
    return 0;
}

static int init(void **state)
{
    if (start_margo(state) != 0 || !mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/group.json", directory);
    snprintf(centralized, sizeof centralized, "{\"file\":\"%s\",\"group\":{\"type\":%s}}", path, CENTRALIZED);
    snprintf(swim, sizeof swim, "{\"file\":\"%s\",\"group\":{\"type\":%s}}", path, SWIM);
    return 0;
}

static int fini(void **state)
{
    stop_margo(state);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(changes_are_counted_by_a_primary, end),
        cmocka_unit_test_teardown(changes_are_counted_by_swim, end),
        cmocka_unit_test_teardown(what_is_no_stamp, end),
        cmocka_unit_test_teardown(the_file_of_a_later_term_stays, end),
        cmocka_unit_test_teardown(the_file_of_a_member_that_knows_more_stays, end),
        cmocka_unit_test_teardown(the_file_of_another_primary_of_the_term, end),
        cmocka_unit_test_teardown(the_file_of_a_lost_member_is_replaced, end),
        cmocka_unit_test_teardown(the_file_of_an_old_primary_is_replaced, end),
        cmocka_unit_test_teardown(the_writer_keeps_its_file, end),
        cmocka_unit_test_teardown(a_suspected_writer_is_stood_in_for, end),
        cmocka_unit_test_teardown(others_do_not_look_at_the_file, end),
        cmocka_unit_test_teardown(files_that_say_nothing_are_replaced, end),
        cmocka_unit_test_teardown(the_file_of_another_group_is_left_alone, end),
        cmocka_unit_test_teardown(the_file_of_an_old_group_is_taken_over, end),
        cmocka_unit_test_teardown(a_group_starts_again_from_its_file, end),
        cmocka_unit_test_teardown(a_failed_write_is_tried_again, end),
        cmocka_unit_test_teardown(the_last_member_removes_the_file, end),
        cmocka_unit_test_teardown(the_file_of_another_group_is_not_removed, end),
        cmocka_unit_test_teardown(a_pipe_in_place_of_the_file, end),
    };
    return cmocka_run_group_tests(tests, init, fini);
}
