/*
 * Targets and the checks in front of them, without a network: ids, bounds, limits, erasing while in use. What all kinds
 * have in common is tested with each of them.
 */
#include "tests/warabi/targets.h"

#include "warabi/wire.h"

#include <pthread.h>

static int setup_memory(void **state)
{
    *state = open_target(&wb_target_memory, "{\"capacity\":1000000,\"max_regions\":1000}");
    return 0;
}

static int setup_file(void **state)
{
    *state = open_target(&wb_target_abtio, test_file_config(""));
    return 0;
}

static int teardown(void **state)
{
    struct wb_target *target = *state;
    target->type->close(target);
    test_file_remove();
    return 0;
}

static void new_regions_are_zero(void **state)
{
    warabi_region_t id = create(*state, 64);
    char *data;
    const char zeros[64] = {0};
    assert_int_equal(read_at(*state, &id, 0, 64, &data, NULL), 0);
    assert_memory_equal(data, zeros, 64);
    free(data);
    uint64_t size;
    assert_int_equal(wb_store_size(*state, &id, &size, NULL), 0);
    assert_int_equal(size, 64);
}

static void empty_regions_are_allowed(void **state)
{
    warabi_region_t id = create(*state, 0);
    assert_int_equal(write_at(*state, &id, 0, "", 0, NULL), 0);
    assert_int_equal(write_at(*state, &id, 0, "x", 1, NULL), DANGO_ERR_RANGE);
    assert_int_equal(wb_store_erase(*state, &id, NULL), 0);
}

static void segments_are_concatenated(void **state)
{
    warabi_region_t id = create(*state, 16);
    const size_t offsets[] = {8, 3, 0}, sizes[] = {4, 0, 2};
    struct wb_segments segments = {.count = 3, .offsets = offsets, .sizes = sizes};
    struct wb_source source = {.data = "abcdef", .size = 6};
    assert_int_equal(wb_store_write(*state, &id, &segments, &source, false, NULL), 0);
    char *data;
    assert_int_equal(read_at(*state, &id, 0, 16, &data, NULL), 0);
    assert_memory_equal(data, "ef\0\0\0\0\0\0abcd\0\0\0\0", 16);
    free(data);
    uint64_t size;
    assert_int_equal(wb_store_read(*state, &id, &segments, &data, &size, NULL), 0);
    assert_int_equal(size, 6);
    assert_memory_equal(data, "abcdef", 6);
    free(data);
}

static void bounds_are_checked_without_overflow(void **state)
{
    warabi_region_t id = create(*state, 100);
    static const struct {
        size_t offset, size;
    } bad[] = {{0, 101}, {100, 1}, {101, 0}, {50, 51}, {SIZE_MAX, 1}, {1, SIZE_MAX}, {SIZE_MAX, SIZE_MAX}};
    struct dango_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *data;
        struct wb_segments segments = one(&bad[i].offset, &bad[i].size);
        struct wb_source source = {.data = "x", .size = bad[i].size};
        assert_int_equal(wb_store_write(*state, &id, &segments, &source, false, &err), DANGO_ERR_RANGE);
        assert_contains(err.text, "out of bounds");
        assert_int_equal(read_at(*state, &id, bad[i].offset, bad[i].size, &data, &err), DANGO_ERR_RANGE);
        if (!((struct wb_target *)*state)->type->persists_any)
            assert_int_equal(wb_store_persist(*state, &id, &segments, &err), DANGO_ERR_RANGE);
    }
    const size_t offsets[] = {0, 0}, sizes[] = {SIZE_MAX, 2};
    struct wb_segments sum = {.count = 2, .offsets = offsets, .sizes = sizes};
    struct wb_source source = {.data = "x", .size = 1};
    assert_int_equal(wb_store_write(*state, &id, &sum, &source, false, &err), DANGO_ERR_RANGE);
    assert_int_equal(write_at(*state, &id, 100, "", 0, NULL), 0);
}

static void too_many_segments_are_refused(void **state)
{
    warabi_region_t id = create(*state, 100);
    size_t *zeros = calloc(WB_SEGMENTS_MAX + 1, sizeof *zeros);
    struct wb_segments segments = {.count = WB_SEGMENTS_MAX + 1, .offsets = zeros, .sizes = zeros};
    struct dango_error err;
    struct wb_source source = {.data = "", .size = 0};
    assert_int_equal(wb_store_write(*state, &id, &segments, &source, false, &err), DANGO_ERR_INVALID);
    segments.count--;
    assert_int_equal(wb_store_write(*state, &id, &segments, &source, false, &err), 0);
    free(zeros);
}

static void size_of_the_data_must_fit(void **state)
{
    warabi_region_t id = create(*state, 100);
    size_t offset = 0, size = 10;
    struct wb_segments segments = one(&offset, &size);
    struct wb_source source = {.data = "too short", .size = 9};
    struct dango_error err;
    assert_int_equal(wb_store_write(*state, &id, &segments, &source, false, &err), DANGO_ERR_RANGE);
    assert_contains(err.text, "carries 9 bytes for segments of 10 bytes");
}

static void assert_invalid(struct wb_target *target, const warabi_region_t *id)
{
    struct dango_error err;
    char *data;
    uint64_t size;
    assert_int_equal(write_at(target, id, 0, "x", 1, &err), DANGO_ERR_NOT_FOUND);
    assert_contains(err.text, "invalid region id");
    assert_int_equal(read_at(target, id, 0, 1, &data, &err), DANGO_ERR_NOT_FOUND);
    assert_int_equal(wb_store_size(target, id, &size, &err), DANGO_ERR_NOT_FOUND);
    assert_int_equal(wb_store_erase(target, id, &err), DANGO_ERR_NOT_FOUND);
}

static void made_up_ids_are_invalid(void **state)
{
    warabi_region_t good = create(*state, 8);
    warabi_region_t id = {{0}};
    assert_invalid(*state, &id);
    memset(id.opaque, 0xEA, 8);
    assert_invalid(*state, &id);
    for (size_t byte = 0; byte < sizeof id; byte++) {
        id = good;
        id.opaque[byte] ^= 0x41;
        assert_invalid(*state, &id);
    }
    assert_int_equal(write_at(*state, &good, 0, "x", 1, NULL), 0);
}

static void erased_ids_stay_invalid(void **state)
{
    warabi_region_t old = create(*state, 8);
    assert_int_equal(wb_store_erase(*state, &old, NULL), 0);
    assert_invalid(*state, &old);
    warabi_region_t new = create(*state, 8);
    assert_memory_equal(old.opaque, new.opaque, 4); /* the place is used again */
    assert_invalid(*state, &old);
    assert_int_equal(write_at(*state, &new, 0, "x", 1, NULL), 0);
}

static void ids_of_another_target_are_invalid(void **state)
{
    struct wb_target *other = open_target(&wb_target_memory, "{}");
    warabi_region_t id = create(*state, 8);
    create(other, 8);
    assert_invalid(other, &id);
    other->type->close(other);
}

static void capacity_is_a_limit(void **state)
{
    struct dango_error err;
    warabi_region_t id, small;
    assert_int_equal(wb_store_create(*state, 1000001, &id, &err), DANGO_ERR_NO_MEMORY);
    assert_contains(err.text, "exceeds the capacity of the target (1000000 bytes)");
    assert_int_equal(wb_store_create(*state, UINT64_MAX, &id, &err), DANGO_ERR_NO_MEMORY);
    id = create(*state, 900000);
    assert_int_equal(wb_store_create(*state, 100000, &small, &err), DANGO_ERR_NO_MEMORY);
    assert_int_equal(wb_store_erase(*state, &id, NULL), 0);
    create(*state, 900000);
}

static void number_of_regions_is_a_limit(void **state)
{
    struct dango_error err;
    warabi_region_t id;
    for (int i = 0; i < 1000; i++)
        create(*state, 1);
    assert_int_equal(wb_store_create(*state, 1, &id, &err), DANGO_ERR_NO_MEMORY);
    assert_contains(err.text, "1000 regions already");
}

/* What is acquired stays usable; its memory is given back by the last user. */
static void erase_waits_for_users(void **state)
{
    struct wb_target *target = *state;
    warabi_region_t id = create(target, 900000);
    struct wb_region *region;
    assert_int_equal(target->type->acquire(target, &id, &region, NULL), 0);
    assert_int_equal(wb_store_erase(target, &id, NULL), 0);
    const size_t offset = 899999, size = 1;
    struct wb_segments segments = one(&offset, &size);
    assert_int_equal(target->type->write(region, &segments, "x", NULL), 0);
    warabi_region_t other;
    assert_int_equal(wb_store_create(target, 900000, &other, NULL), DANGO_ERR_NO_MEMORY);
    target->type->release(region);
    assert_int_equal(wb_store_create(target, 900000, &other, NULL), 0);
}

static void a_failed_create_write_leaves_nothing(void **state)
{
    struct wb_source source = {.data = "abc", .size = 3};
    warabi_region_t id;
    for (int i = 0; i < 2000; i++)
        assert_int_equal(wb_store_create_write(*state, 4, &source, false, &id, NULL), DANGO_ERR_RANGE);
    assert_int_equal(wb_store_create_write(*state, 3, &source, true, &id, NULL), 0);
}

static void answers_have_a_limit(void **state)
{
    (void)state;
    struct wb_target *target = open_target(&wb_target_memory, "{\"capacity\":10000000}");
    warabi_region_t id = create(target, WB_EAGER_MAX + 1);
    char *data = NULL;
    struct dango_error err;
    assert_int_equal(read_at(target, &id, 0, WB_EAGER_MAX + 1, &data, &err), DANGO_ERR_INVALID);
    assert_null(data);
    assert_int_equal(read_at(target, &id, 0, WB_EAGER_MAX, &data, &err), 0);
    free(data);
    target->type->close(target);
}

struct churn {
    struct wb_target *target;
    int failures;
};

static void *churn(void *arg)
{
    struct churn *c = arg;
    int rounds = c->target->type == &wb_target_memory ? 2000 : 200; /* each write to a file waits for the medium */
    for (int i = 0; i < rounds; i++) {
        warabi_region_t id;
        char *data = NULL;
        struct wb_source source = {.data = "0123456789", .size = 10};
        c->failures += wb_store_create_write(c->target, 10, &source, true, &id, NULL) != 0;
        c->failures += read_at(c->target, &id, 2, 5, &data, NULL) != 0 || memcmp(data, "23456", 5) != 0;
        c->failures += wb_store_erase(c->target, &id, NULL) != 0;
        c->failures += wb_store_erase(c->target, &id, NULL) != DANGO_ERR_NOT_FOUND;
        free(data);
    }
    return NULL;
}

static void many_threads_at_once(void **state)
{
    enum { THREADS = 4 };
    struct churn churns[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        churns[i] = (struct churn){.target = *state};
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &churns[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(churns[i].failures, 0);
    }
}

int main(void)
{
#define MEMORY(name) cmocka_unit_test_setup_teardown(name, setup_memory, teardown)
#define ALL(name)                                                                                                      \
    MEMORY(name),                                                                                                      \
    {                                                                                                                  \
#name " (file)", name, setup_file, teardown, NULL                                                              \
    }
    const struct CMUnitTest tests[] = {
        ALL(new_regions_are_zero),
        ALL(empty_regions_are_allowed),
        ALL(segments_are_concatenated),
        ALL(bounds_are_checked_without_overflow),
        ALL(too_many_segments_are_refused),
        ALL(size_of_the_data_must_fit),
        ALL(made_up_ids_are_invalid),
        ALL(erased_ids_stay_invalid),
        ALL(a_failed_create_write_leaves_nothing),
        ALL(many_threads_at_once),
        MEMORY(ids_of_another_target_are_invalid),
        MEMORY(capacity_is_a_limit),
        MEMORY(number_of_regions_is_a_limit),
        MEMORY(erase_waits_for_users),
        MEMORY(answers_have_a_limit),
    };
    return cmocka_run_group_tests(tests, start_argobots, stop_argobots);
}
