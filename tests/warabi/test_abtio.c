/*
 * The target `abtio`: what survives a restart, what is refused at opening, and what damage to the file does.
 */
#include "tests/warabi/targets.h"

#include <fcntl.h>
#include <sys/stat.h>

static int setup(void **state)
{
    *state = open_target(&wb_target_abtio, test_file_config(""));
    return 0;
}

static int teardown(void **state)
{
    struct wb_target *target = *state;
    if (target)
        target->type->close(target);
    test_file_remove();
    return 0;
}

static void reopen(void **state, const char *more)
{
    struct wb_target *target = *state;
    target->type->close(target);
    *state = open_target(&wb_target_abtio, test_file_config(more));
}

static warabi_region_t store(struct wb_target *target, const char *text)
{
    struct wb_source source = {.data = text, .size = strlen(text)};
    warabi_region_t id;
    struct dango_error err;
    if (wb_store_create_write(target, source.size, &source, true, &id, &err) != 0)
        fail_msg("%s", err.text);
    return id;
}

static void assert_text(struct wb_target *target, const warabi_region_t *id, const char *text)
{
    struct dango_error err;
    char *data;
    if (read_at(target, id, 0, strlen(text), &data, &err) != 0)
        fail_msg("%s", err.text);
    assert_memory_equal(data, text, strlen(text));
    free(data);
}

static void regions_survive(void **state)
{
    warabi_region_t a = store(*state, "first"), b = store(*state, "the second one"), c = create(*state, 100000);
    assert_int_equal(write_at(*state, &c, 99990, "end", 3, NULL), 0);
    reopen(state, "");
    assert_text(*state, &a, "first");
    assert_text(*state, &b, "the second one");
    uint64_t size;
    assert_int_equal(wb_store_size(*state, &c, &size, NULL), 0);
    assert_int_equal(size, 100000);
    char *data;
    assert_int_equal(read_at(*state, &c, 99980, 20, &data, NULL), 0);
    assert_memory_equal(data, "\0\0\0\0\0\0\0\0\0\0end\0\0\0\0\0\0\0", 20);
    free(data);
    warabi_region_t d = store(*state, "after the restart");
    assert_text(*state, &d, "after the restart");
    assert_text(*state, &b, "the second one");
}

static void erased_regions_stay_erased_and_their_place_is_used_again(void **state)
{
    warabi_region_t a = store(*state, "to be erased, and long enough"), b = store(*state, "kept");
    struct stat before, after;
    assert_int_equal(wb_store_erase(*state, &a, NULL), 0);
    assert_int_equal(stat(test_file_path, &before), 0);
    reopen(state, "");
    char *data;
    assert_int_equal(read_at(*state, &a, 0, 1, &data, NULL), DANGO_ERR_NOT_FOUND);
    warabi_region_t c = create(*state, 20);
    assert_memory_equal(a.opaque, c.opaque, 8);
    assert_int_equal(read_at(*state, &c, 0, 20, &data, NULL), 0);
    assert_memory_equal(data, (const char[20]){0}, 20);
    free(data);
    assert_int_equal(stat(test_file_path, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_int_equal(read_at(*state, &a, 0, 1, &data, NULL), DANGO_ERR_NOT_FOUND);
    assert_text(*state, &b, "kept");
}

static void erase_waits_for_users(void **state)
{
    struct wb_target *target = *state;
    warabi_region_t id = store(target, "in use");
    struct wb_region *region;
    assert_int_equal(target->type->acquire(target, &id, &region, NULL), 0);
    assert_int_equal(wb_store_erase(target, &id, NULL), 0);
    assert_int_equal(wb_store_erase(target, &id, NULL), DANGO_ERR_NOT_FOUND);
    const size_t offset = 0, size = 6;
    struct wb_segments segments = one(&offset, &size);
    char data[6];
    assert_int_equal(target->type->read(region, &segments, data, NULL), 0);
    assert_memory_equal(data, "in use", 6);
    warabi_region_t other = create(target, 6);
    assert_memory_not_equal(id.opaque, other.opaque, 8);
    target->type->release(region);
    other = create(target, 6);
    assert_memory_equal(id.opaque, other.opaque, 8);
}

static void alignment_and_modes(void **state)
{
    static const char *const modes[] = {",\"alignment\":4096,\"directio\":true", ",\"alignment\":24", ",\"sync\":true",
                                        ",\"abt_io\":{\"backing_thread_count\":2}"};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        struct wb_target *target = *state;
        target->type->close(target);
        assert_int_equal(unlink(test_file_path), 0);
        *state = open_target(&wb_target_abtio, test_file_config(modes[i]));
        char *big = malloc(3 * 8192 + 1), *data;
        memset(big, 'x', 3 * 8192);
        big[3 * 8192] = '\0';
        warabi_region_t a = store(*state, big), b = store(*state, "small");
        uint64_t place;
        memcpy(&place, b.opaque, sizeof place);
        assert_int_equal(place % (i == 0 ? 4096 : i == 1 ? 24 : 8), 0);
        reopen(state, modes[i]);
        assert_text(*state, &a, big);
        assert_text(*state, &b, "small");
        assert_int_equal(read_at(*state, &a, 8000, 9000, &data, NULL), 0);
        free(data);
        free(big);
    }
}

static void assert_refused(const char *config, int code, const char *text)
{
    struct wb_target *target;
    struct dango_error err;
    assert_int_equal(try_open_target(&wb_target_abtio, config, &target, &err), code);
    assert_contains(err.text, text);
}

static void refusals(void **state)
{
    (void)state;
    assert_refused(test_file_config(""), DANGO_ERR_BUSY, "another target has this file open");
    assert_refused(test_file_config(",\"override_if_exists\":true"), DANGO_ERR_BUSY, "another target");
    assert_refused("{\"path\":\"/nowhere/regions\"}", DANGO_ERR_NOT_FOUND, "File /nowhere/regions does not exist");
    assert_refused("{\"path\":\"/proc/x/regions\",\"create_if_missing\":true}", DANGO_ERR_NOT_FOUND,
                   "cannot create the directory");
    assert_refused("{\"path\":\"/tmp/x\",\"alignment\":12}", DANGO_ERR_INVALID, "not a multiple of 8");
    assert_refused("{}", DANGO_ERR_INVALID, "path");
    struct dango_error err;
    warabi_region_t id;
    assert_int_equal(wb_store_create(*state, UINT64_MAX, &id, &err), DANGO_ERR_NO_MEMORY);
    assert_int_equal(wb_store_create(*state, UINT64_C(1) << 62, &id, &err), DANGO_ERR_NO_MEMORY);
    assert_contains(err.text, "larger than the file system");
}

/* Closes the target, and changes one byte of the file, or cuts it at that byte. */
static void damage(void **state, off_t at, bool cut)
{
    struct wb_target *target = *state;
    target->type->close(target);
    *state = NULL;
    if (cut) {
        assert_int_equal(truncate(test_file_path, at), 0);
        return;
    }
    int fd = open(test_file_path, O_RDWR);
    char byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void foreign_and_newer_files_are_left_alone(void **state)
{
    damage(state, 0, false);
    assert_refused(test_file_config(""), DANGO_ERR_CORRUPT, "not a file of Warabi regions");
    damage((void *[]){ *state = open_target(&wb_target_abtio, test_file_config(",\"override_if_exists\":true"))}, 8,
           false);
    *state = NULL;
    assert_refused(test_file_config(""), DANGO_ERR_UNSUPPORTED, "newer than this program's");
}

static off_t place_of(const warabi_region_t *id)
{
    uint64_t place;
    memcpy(&place, id->opaque, sizeof place);
    return (off_t)place;
}

/* Every byte of a record: its region is gone, the others are there, and nothing new is put over what it may have held. */
static void a_damaged_record_costs_its_region_only(void **state)
{
    warabi_region_t a = store(*state, "before"), b = store(*state, "in the middle"), c = store(*state, "behind");
    for (off_t byte = 0; byte < 64; byte++) {
        char *data;
        damage(state, place_of(&b) - 64 + byte, false);
        *state = open_target(&wb_target_abtio, test_file_config(""));
        assert_text(*state, &a, "before");
        assert_text(*state, &c, "behind");
        assert_int_equal(read_at(*state, &b, 0, 5, &data, NULL), DANGO_ERR_NOT_FOUND);
        warabi_region_t d = store(*state, "new");
        assert_true(place_of(&d) > place_of(&c));
        damage(state, place_of(&b) - 64 + byte, false); /* and back */
        *state = open_target(&wb_target_abtio, test_file_config(""));
        assert_text(*state, &b, "in the middle");
        assert_text(*state, &d, "new");
    }
}

/* The last region may be cut by a crash while it is being made; whatever was durable is there. */
static void a_cut_file_keeps_what_is_whole(void **state)
{
    warabi_region_t a = store(*state, "whole"), b = store(*state, "cut");
    for (off_t end = place_of(&b) + 3; end >= place_of(&b) - 64; end--) {
        damage(state, end, true);
        *state = open_target(&wb_target_abtio, test_file_config(""));
        assert_text(*state, &a, "whole");
        char *data;
        int status = read_at(*state, &b, 0, 3, &data, NULL);
        if (end >= place_of(&b)) {
            assert_int_equal(status, 0);
            free(data);
        } else {
            assert_int_equal(status, DANGO_ERR_NOT_FOUND);
        }
    }
    warabi_region_t c = store(*state, "new");
    reopen(state, "");
    assert_text(*state, &a, "whole");
    assert_text(*state, &c, "new");
}

/* System calls of this process that read, and bytes that they gave. */
static void count_reads(unsigned long *calls, unsigned long *bytes)
{
    FILE *io = fopen("/proc/self/io", "r");
    if (!io)
        skip(); /* a kernel that does not count */
    int found = fscanf(io, "rchar: %lu wchar: %*u syscr: %lu", bytes, calls);
    fclose(io);
    assert_int_equal(found, 2);
}

/* Opens again and takes up all regions: in how many reads. */
static unsigned long reads_of_reopening(void **state, unsigned long *bytes)
{
    unsigned long before[2], after[2];
    count_reads(&before[0], &before[1]);
    reopen(state, "");
    count_reads(&after[0], &after[1]);
    *bytes = after[1] - before[1];
    return after[0] - before[0];
}

static void opening_reads_in_large_pieces(void **state)
{
    warabi_region_t small[5000], large[20];
    for (size_t i = 0; i < 5000; i++)
        small[i] = create(*state, 100 + i % 700);
    for (size_t i = 0; i < 20; i++)
        large[i] = create(*state, 3 << 20);
    unsigned long bytes;
    assert_in_range(reads_of_reopening(state, &bytes), 20, 100);
    assert_true(bytes < 8 << 20); /* what is in large regions is not read */
    uint64_t size;
    for (size_t i = 0; i < 5000; i++) {
        assert_int_equal(wb_store_size(*state, &small[i], &size, NULL), 0);
        assert_int_equal(size, 100 + i % 700);
    }
    for (size_t i = 0; i < 20; i++)
        assert_int_equal(wb_store_size(*state, &large[i], &size, NULL), 0);
}

static void the_file_goes_only_on_demand(void **state)
{
    reopen(state, "");
    assert_int_equal(access(test_file_path, F_OK), 0);
    reopen(state, ",\"destroy_on_shutdown\":true");
    struct wb_target *target = *state;
    target->type->close(target);
    *state = NULL;
    assert_int_equal(access(test_file_path, F_OK), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(regions_survive),
        TEST(erased_regions_stay_erased_and_their_place_is_used_again),
        TEST(erase_waits_for_users),
        TEST(alignment_and_modes),
        TEST(refusals),
        TEST(foreign_and_newer_files_are_left_alone),
        TEST(a_damaged_record_costs_its_region_only),
        TEST(a_cut_file_keeps_what_is_whole),
        TEST(opening_reads_in_large_pieces),
        TEST(the_file_goes_only_on_demand),
    };
    return cmocka_run_group_tests(tests, start_argobots, stop_argobots);
}
