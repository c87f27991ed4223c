/*
 * Saved positions: forwards for consumers, anywhere for operators, and the same after the file was read again.
 */
#include "tests/support/test.h"

#include "mofka/partition/positions.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGE 4

static char base[64];
static int directory;
static struct mofka_positions *positions;
static bool durable;

static struct {
    struct mofka_saving saving;
    int done, code;
} saved;

static void note_saved(struct mofka_saving *saving, const struct dango_error *err)
{
    (void)saving;
    saved.done++;
    saved.code = err ? err->code : 0;
}

static int run_at_once(void *arg, void (*body)(void *argument), void *argument)
{
    (void)arg;
    body(argument);
    return 0;
}

static void open_again(void)
{
    struct mofka_positions_settings settings = {
        .directory = directory, .uuid = {1}, .end = 1000, .io = &mofka_log_system_io, .run = run_at_once};
    dango_mofka_positions_destroy(positions);
    assert_int_equal(dango_mofka_positions_open(&settings, &positions, NULL), 0);
}

static int set_up(void **state)
{
    durable = *(bool *)*state;
    positions = NULL;
    saved.saving.done = note_saved;
    saved.done = 0;
    strcpy(base, "/tmp/dango-positions-XXXXXX");
    assert_non_null(mkdtemp(base));
    directory = open(base, O_RDONLY | O_DIRECTORY);
    if (durable)
        open_again();
    else
        assert_int_equal(dango_mofka_positions_create(&positions, NULL), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    dango_mofka_positions_destroy(positions);
    close(directory);
    snprintf(command, sizeof command, "rm -rf %s", base);
    return system(command);
}

/* ---- what is done, and must be done when it returns ---- */

static void save(const char *name, uint64_t id)
{
    saved.done = 0;
    assert_int_equal(dango_mofka_positions_save(positions, name, id, &saved.saving, NULL), 0);
    assert_int_equal(saved.done, 1);
    assert_int_equal(saved.code, 0);
}

static void reset(const char *name, uint64_t id)
{
    saved.done = 0;
    assert_int_equal(dango_mofka_positions_reset(positions, name, id, &saved.saving, NULL), 0);
    assert_int_equal(saved.done, 1);
    assert_int_equal(saved.code, 0);
}

static int forget(const char *name)
{
    saved.done = 0;
    int code = dango_mofka_positions_remove(positions, name, &saved.saving, NULL);
    assert_int_equal(saved.done, code == 0);
    return code;
}

static void expect(const char *name, uint64_t id)
{
    assert_int_equal(dango_mofka_positions_get(positions, name), id);
    if (durable) {
        open_again();
        assert_int_equal(dango_mofka_positions_get(positions, name), id);
    }
}

/* ---- tests ---- */

static void operators_move_positions_both_ways(void **state)
{
    (void)state;
    save("c", 50);
    save("c", 20);
    expect("c", 50);
    reset("c", 20);
    expect("c", 20);
    save("c", 21);
    expect("c", 21);
    reset("c", 0);
    expect("c", 0);
    reset("never seen", 7);
    expect("never seen", 7);
}

static void forgotten_names_begin_anew(void **state)
{
    (void)state;
    assert_int_equal(forget("c"), DANGO_ERR_NOT_FOUND);
    save("c", 50);
    assert_int_equal(forget("c"), 0);
    expect("c", 0);
    assert_int_equal(forget("c"), DANGO_ERR_NOT_FOUND);
    save("c", 3);
    expect("c", 3);
}

static void pages_are_in_order_and_complete(void **state)
{
    (void)state;
    struct mofka_position page[PAGE];
    char name[16], after[16] = "";
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "c%u", 9 - i);
        save(name, 9 - i);
    }
    assert_int_equal(forget("c4"), 0);
    unsigned seen = 0;
    bool more = true;
    for (unsigned pages = 0; more; pages++) {
        size_t count;
        assert_true(pages < 3);
        assert_int_equal(dango_mofka_positions_list(positions, after, page, PAGE, &count, &more, NULL), 0);
        for (size_t i = 0; i < count; i++, seen++) {
            unsigned expected = seen < 4 ? seen : seen + 1;
            snprintf(name, sizeof name, "c%u", expected);
            assert_string_equal(page[i].name, name);
            assert_int_equal(page[i].next_id, expected);
        }
        snprintf(after, sizeof after, "%s", page[count - 1].name);
    }
    assert_int_equal(seen, 9);
}

/* A file that has become large is written anew while names come and go. */
static void removed_names_stay_removed_when_the_file_is_rewritten(void **state)
{
    (void)state;
    char name[16];
    for (unsigned i = 0; i < 6000; i++) {
        snprintf(name, sizeof name, "n%u", i % 7);
        save(name, i % 1000);
        if (i % 3 == 0)
            assert_int_equal(forget(name), 0);
    }
    for (unsigned i = 0; i < 7; i++) {
        snprintf(name, sizeof name, "n%u", i);
        uint64_t id = dango_mofka_positions_get(positions, name);
        expect(name, id);
    }
}

int main(void)
{
    static bool in_memory = false, in_file = true;
#define BOTH(TEST)                                                                                                     \
    {#TEST " in memory", TEST, set_up, tear_down, &in_memory},                                                         \
    {                                                                                                                  \
#TEST " in a file", TEST, set_up, tear_down, &in_file                                                          \
    }
    const struct CMUnitTest tests[] = {
        BOTH(operators_move_positions_both_ways),
        BOTH(forgotten_names_begin_anew),
        BOTH(pages_are_in_order_and_complete),
        BOTH(removed_names_stay_removed_when_the_file_is_rewritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
