/*
 * The file of consumer positions: the last synced word about a name holds, whatever happens to the end of the file.
 */
#include "tests/support/test.h"

#include "mofka/log/cursors.h"
#include "util/file.h"

#include <fcntl.h>
#include <unistd.h>

enum { NAMES = 3 };

struct fixture {
    char base[64], path[128];
    int directory;
    struct mofka_cursors *cursors;
    uint64_t positions[NAMES]; /* as visited; UINT64_MAX: none */
};

static const uint8_t uuid[16] = {7, 7, 7};
static const char *const names[NAMES] = {"viewer", "archive", "a consumer with a longer name"};

static int visit(void *arg, const char *name, uint64_t next_id, bool removed, struct dango_error *err)
{
    struct fixture *f = arg;
    (void)err;
    for (int i = 0; i < NAMES; i++) {
        if (strcmp(names[i], name) == 0)
            f->positions[i] = removed ? UINT64_MAX : next_id;
    }
    return 0;
}

static int open_cursors(struct fixture *f, struct dango_error *err)
{
    dango_mofka_cursors_close(f->cursors);
    f->cursors = NULL;
    for (int i = 0; i < NAMES; i++)
        f->positions[i] = UINT64_MAX;
    return dango_mofka_cursors_open(f->directory, uuid, &mofka_log_system_io, visit, f, &f->cursors, err);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->base, "/tmp/dango-cursors-XXXXXX");
    assert_non_null(mkdtemp(f->base));
    snprintf(f->path, sizeof f->path, "%s/cursors", f->base);
    f->directory = open(f->base, O_RDONLY | O_DIRECTORY);
    assert_int_equal(open_cursors(f, NULL), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    dango_mofka_cursors_close(f->cursors);
    close(f->directory);
    unlink(f->path);
    assert_int_equal(rmdir(f->base), 0);
    free(f);
    return 0;
}

static void set_and_sync(struct fixture *f, int name, uint64_t id)
{
    assert_int_equal(dango_mofka_cursors_set(f->cursors, names[name], id, NULL), 0);
    assert_int_equal(dango_mofka_cursors_sync(f->cursors, NULL), 0);
}

static void the_last_word_holds(void **state)
{
    struct fixture *f = *state;
    set_and_sync(f, 0, 10);
    set_and_sync(f, 1, 20);
    set_and_sync(f, 0, 11);
    set_and_sync(f, 2, 30);
    assert_int_equal(dango_mofka_cursors_remove(f->cursors, names[1], NULL), 0);
    assert_int_equal(dango_mofka_cursors_sync(f->cursors, NULL), 0);
    assert_int_equal(dango_mofka_cursors_set(f->cursors, names[2], 99, NULL), 0); /* never synced */
    assert_int_equal(open_cursors(f, NULL), 0);
    assert_int_equal(f->positions[0], 11);
    assert_true(f->positions[1] == UINT64_MAX);
    assert_int_equal(f->positions[2], 30);
}

static void every_truncation_keeps_whole_records(void **state)
{
    struct fixture *f = *state;
    size_t size, header = 64, record = 24; /* names of 6 bytes */
    for (uint64_t id = 1; id <= 5; id++)
        set_and_sync(f, 0, id);
    char *bytes = dango_file_read(f->path, 4096, &size, NULL);
    assert_int_equal(size, header + 5 * record);
    for (size_t cut = header; cut <= size; cut++) {
        assert_int_equal(dango_file_write(f->path, bytes, cut, NULL), 0);
        assert_int_equal(open_cursors(f, NULL), 0);
        uint64_t whole = (cut - header) / record;
        assert_true(f->positions[0] == (whole ? whole : UINT64_MAX));
        set_and_sync(f, 1, 77);
        assert_int_equal(open_cursors(f, NULL), 0);
        assert_int_equal(f->positions[1], 77);
    }
    free(bytes);
}

/* Whichever bit is flipped: no wrong position appears, and what was synced later holds. */
static void damage_costs_only_what_was_in_it(void **state)
{
    struct fixture *f = *state;
    size_t size, header = 64, whole, torn, damaged;
    set_and_sync(f, 0, 10);
    set_and_sync(f, 0, 11);
    set_and_sync(f, 1, 20);
    char *bytes = dango_file_read(f->path, 4096, &size, NULL);
    assert_int_equal(size, header + 3 * 24);
    for (size_t bit = (header + 24) * 8; bit < (header + 48) * 8; bit++) {
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(dango_file_write(f->path, bytes, size, NULL), 0);
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        assert_int_equal(dango_mofka_cursors_read(f->directory, uuid, visit, f, &whole, &torn, &damaged, NULL), 0);
        assert_true(whole == size && torn == 0 && damaged == 24);
        assert_int_equal(open_cursors(f, NULL), 0);
        assert_int_equal(f->positions[0], 10);
        assert_int_equal(f->positions[1], 20);
        set_and_sync(f, 0, 12);
        assert_int_equal(open_cursors(f, NULL), 0);
        assert_int_equal(f->positions[0], 12);
        assert_int_equal(f->positions[1], 20);
    }
    free(bytes);
}

static void a_foreign_file_is_refused(void **state)
{
    struct fixture *f = *state;
    struct dango_error err;
    char zeros[100] = {0};
    assert_int_equal(dango_file_write(f->path, zeros, sizeof zeros, NULL), 0);
    assert_int_equal(open_cursors(f, &err), DANGO_ERR_CORRUPT);
    assert_contains(err.text, "damaged, or of another partition");
}

static bool only_first(void *arg, const char **name, uint64_t *next_id)
{
    int *given = arg;
    *name = names[0];
    *next_id = 5000;
    return (*given)++ == 0;
}

static void rewriting_drops_what_no_longer_holds(void **state)
{
    struct fixture *f = *state;
    for (uint64_t id = 0; id < 5000; id++)
        assert_int_equal(dango_mofka_cursors_set(f->cursors, names[0], id, NULL), 0);
    assert_false(dango_mofka_cursors_is_wasteful(f->cursors, 1));
    assert_int_equal(dango_mofka_cursors_sync(f->cursors, NULL), 0);
    assert_true(dango_mofka_cursors_is_wasteful(f->cursors, 1));
    int given = 0;
    assert_int_equal(dango_mofka_cursors_rewrite(f->cursors, only_first, &given, NULL), 0);
    assert_false(dango_mofka_cursors_is_wasteful(f->cursors, 1));
    set_and_sync(f, 1, 3);
    assert_int_equal(open_cursors(f, NULL), 0);
    assert_int_equal(f->positions[0], 5000);
    assert_int_equal(f->positions[1], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_word_holds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_truncation_keeps_whole_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(damage_costs_only_what_was_in_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_foreign_file_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rewriting_drops_what_no_longer_holds, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
