/*
 * Listing, iteration and fetch of pairs through client and provider: filters, limits, end markers, continuation, batches,
 * callbacks that stop, callbacks in a pool.
 */
#include "tests/yokan/rpc_support.h"
#include "tests/support/protocol.h"

#define N 200

/* Keys "p/000" … with values of different sizes, and two neighbours that no filter "p/" may show. */
static int set_up(void **state)
{
    set_up_both(state);
    struct fixture *f = *state;
    for (int i = 0; i < N; i++) {
        char key[16], value[512];
        memset(value, 'a' + i % 26, sizeof value);
        int size = sprintf(key, "p/%03d", i);
        assert_ok(yk_put(f->dbh, 0, key, (size_t)size, value, (size_t)i % 7 * 60));
    }
    assert_ok(yk_put(f->dbh, 0, "o", 1, "before", 6));
    assert_ok(yk_put(f->dbh, 0, "q/000", 5, "behind", 6));
    return 0;
}

static void list_keys_and_continue(void **state)
{
    struct fixture *f = *state;
    char buffers[16][8], last[8] = "";
    void *pointers[16];
    size_t sizes[16], last_size = 0;
    int seen = 0;
    for (bool ended = false; !ended;) {
        for (int i = 0; i < 16; i++) {
            pointers[i] = buffers[i];
            sizes[i] = sizeof buffers[i];
        }
        assert_ok(yk_list_keys(f->dbh, seen ? 0 : YOKAN_MODE_INCLUSIVE, last, last_size, "p/", 2, 16, pointers, sizes));
        for (int i = 0; i < 16; i++) {
            if (sizes[i] == YOKAN_NO_MORE_KEYS) {
                ended = true;
                continue;
            }
            assert_false(ended);
            char expected[16];
            sprintf(expected, "p/%03d", seen++);
            assert_int_equal(sizes[i], 5);
            assert_memory_equal(buffers[i], expected, 5);
            memcpy(last, buffers[i], 5);
            last_size = 5;
        }
    }
    assert_int_equal(seen, N);
}

static void inclusive_suffix_and_no_prefix(void **state)
{
    struct fixture *f = *state;
    char packed[64];
    size_t sizes[8];
    assert_ok(yk_list_keys_packed(f->dbh, YOKAN_MODE_INCLUSIVE, "p/198", 5, "p/", 2, 4, packed, 64, sizes));
    assert_memory_equal(packed, "p/198p/199", 10);
    assert_true(sizes[2] == YOKAN_NO_MORE_KEYS && sizes[3] == YOKAN_NO_MORE_KEYS);
    assert_ok(yk_list_keys_packed(f->dbh, 0, "p/198", 5, NULL, 0, 4, packed, 64, sizes));
    assert_memory_equal(packed, "p/199q/000", 10);
    /* A key that is the prefix is behind the start, too. */
    assert_ok(yk_list_keys_packed(f->dbh, 0, NULL, 0, "p/197", 5, 4, packed, 64, sizes));
    assert_memory_equal(packed, "p/197", 5);
    assert_true(sizes[0] == 5 && sizes[1] == YOKAN_NO_MORE_KEYS);
    assert_ok(yk_list_keys_packed(f->dbh, YOKAN_MODE_SUFFIX, NULL, 0, "00", 2, 8, packed, 64, sizes));
    assert_memory_equal(packed, "p/000p/100q/000", 15);
    assert_true(sizes[3] == YOKAN_NO_MORE_KEYS);
    assert_ok(yk_list_keys_packed(f->dbh, YOKAN_MODE_NO_PREFIX, "p/197", 5, "p/", 2, 8, packed, 64, sizes));
    assert_memory_equal(packed, "198199", 6);
    assert_ok(yk_list_keys_packed(f->dbh, YOKAN_MODE_NO_PREFIX | YOKAN_MODE_SUFFIX, NULL, 0, "/000", 4, 8, packed, 64,
                                  sizes));
    assert_memory_equal(packed, "pq", 2);
}

static void what_does_not_fit(void **state)
{
    struct fixture *f = *state;
    char a[8], b[2], c[8], packed[12];
    void *pointers[] = {a, b, c};
    size_t sizes[] = {8, 2, 8};
    assert_ok(yk_list_keys(f->dbh, 0, NULL, 0, "p/", 2, 3, pointers, sizes));
    assert_int_equal(sizes[0], 5);
    assert_true(sizes[1] == YOKAN_SIZE_TOO_SMALL);
    assert_memory_equal(c, "p/002", 5);
    assert_ok(yk_list_keys_packed(f->dbh, 0, "p/196", 5, "p/", 2, 3, packed, 12, sizes));
    assert_memory_equal(packed, "p/197p/198", 10);
    assert_true(sizes[2] == YOKAN_SIZE_TOO_SMALL);
    size_t zero[] = {8, 0, 8};
    assert_ret(yk_list_keys(f->dbh, 0, NULL, 0, "p/", 2, 3, pointers, zero), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_list_keys(f->dbh, 0, NULL, 3, "p/", 2, 3, pointers, sizes), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_list_keys(f->dbh, 0, NULL, 0, NULL, 2, 3, pointers, sizes), YOKAN_ERR_INVALID_ARGS);
    assert_ok(yk_list_keys(f->dbh, 0, NULL, 0, NULL, 0, 0, NULL, NULL));
}

static void list_pairs(void **state)
{
    struct fixture *f = *state;
    static char keys[N * 8], values[N * 512];
    size_t ksizes[N + 4], vsizes[N + 4], used = 0;
    /* Once inside the messages, once exposed. */
    for (int way = 0; way < 2; way++) {
        int32_t mode = way ? 0 : YOKAN_MODE_NO_RDMA;
        used = 0;
        assert_ok(yk_list_keyvals_packed(f->dbh, mode, NULL, 0, "p/", 2, N + 4, keys, sizeof keys, ksizes, values,
                                         sizeof values, vsizes));
        for (int i = 0; i < N; i++) {
            assert_int_equal(ksizes[i], 5);
            assert_int_equal(vsizes[i], i % 7 * 60);
            if (vsizes[i])
                assert_int_equal(values[used], 'a' + i % 26);
            used += vsizes[i];
        }
        for (int i = N; i < N + 4; i++)
            assert_true(ksizes[i] == YOKAN_NO_MORE_KEYS && vsizes[i] == YOKAN_NO_MORE_KEYS);
        /* Overflow of keys and of values do not depend on each other. */
        assert_ok(
            yk_list_keyvals_packed(f->dbh, mode, NULL, 0, "p/", 2, 8, keys, 12, ksizes, values, sizeof values, vsizes));
        assert_true(ksizes[1] == 5 && ksizes[2] == YOKAN_SIZE_TOO_SMALL && ksizes[7] == YOKAN_SIZE_TOO_SMALL);
        assert_int_equal(vsizes[6], 360);
        assert_ok(yk_list_keyvals_packed(f->dbh, mode, NULL, 0, "p/", 2, 8, keys, 64, ksizes, values, 200, vsizes));
        assert_true(ksizes[7] == 5 && vsizes[2] == 120 && vsizes[3] == YOKAN_SIZE_TOO_SMALL &&
                    vsizes[7] == YOKAN_SIZE_TOO_SMALL);
    }
}

static void list_pairs_into_separate_buffers(void **state)
{
    struct fixture *f = *state;
    static char keys[4][8], values[4][512];
    void *key_pointers[4], *value_pointers[4];
    size_t ksizes[4], vsizes[4];
    for (int i = 0; i < 4; i++) {
        key_pointers[i] = keys[i];
        value_pointers[i] = values[i];
        ksizes[i] = 8;
        vsizes[i] = i == 2 ? 10 : 512;
    }
    assert_ok(yk_list_keyvals(f->dbh, 0, "p/002", 5, "p/", 2, 4, key_pointers, ksizes, value_pointers, vsizes));
    assert_memory_equal(keys[0], "p/003", 5);
    assert_int_equal(vsizes[0], 180);
    assert_int_equal(values[0][179], 'd');
    assert_true(vsizes[2] == YOKAN_SIZE_TOO_SMALL);
    assert_memory_equal(keys[2], "p/005", 5);
    assert_int_equal(vsizes[3], 360);
}

static void ignore_keys_and_keep_last(void **state)
{
    struct fixture *f = *state;
    char keys[64], values[2048];
    size_t ksizes[8], vsizes[8];
    assert_ok(yk_list_keyvals_packed(f->dbh, YOKAN_MODE_IGNORE_KEYS, NULL, 0, "p/", 2, 4, keys, 64, ksizes, values,
                                     2048, vsizes));
    assert_true(ksizes[0] == 0 && ksizes[3] == 0 && vsizes[3] == 180);
    assert_ok(yk_list_keyvals_packed(f->dbh, YOKAN_MODE_KEEP_LAST, NULL, 0, "p/", 2, 4, keys, 64, ksizes, values, 2048,
                                     vsizes));
    assert_true(ksizes[0] == 0 && ksizes[3] == 5);
    assert_memory_equal(keys, "p/003", 5);
    assert_ok(yk_list_keyvals_packed(f->dbh, YOKAN_MODE_KEEP_LAST, "p/197", 5, "p/", 2, 8, keys, 64, ksizes, values,
                                     2048, vsizes));
    assert_true(ksizes[0] == 0 && ksizes[1] == 5 && ksizes[2] == YOKAN_NO_MORE_KEYS);
    assert_memory_equal(keys, "p/199", 5);
}

static void bulk_listing(void **state)
{
    struct fixture *f = *state;
    static char region[4096];
    void *pointer = region;
    hg_size_t size = sizeof region;
    hg_bulk_t bulk;
    uint64_t sizes[8];
    assert_int_equal(margo_bulk_create(f->mid, 1, &pointer, &size, HG_BULK_READWRITE, &bulk), HG_SUCCESS);
    memcpy(region + 8, "p/001p/", 7);
    assert_ok(yk_list_keyvals_bulk(f->dbh, 0, 5, 2, NULL, bulk, 8, 40, 1000, true, 4));
    memcpy(sizes, region + 15, sizeof sizes);
    assert_true(sizes[0] == 5 && sizes[3] == 5 && sizes[4] == 120 && sizes[7] == 300);
    assert_memory_equal(region + 15 + 64, "p/002p/003p/004p/005", 20);
    assert_int_equal(region[15 + 64 + 40], 'c');
    assert_ok(yk_list_keys_bulk(f->dbh, 0, 5, 2, f->address, bulk, 8, 40, true, 4));
    memcpy(sizes, region + 15, 32);
    assert_true(sizes[0] == 5 && sizes[3] == 5);
    assert_ret(yk_list_keys_bulk(f->dbh, 0, 5, 2, NULL, bulk, 8, SIZE_MAX - 20, true, 4), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_list_keys_bulk(f->dbh, 0, 5, 2, NULL, bulk, 8, sizeof region, true, 4), YOKAN_ERR_INVALID_ARGS);
    margo_bulk_free(bulk);
}

/* ---- callbacks ---- */

struct visits {
    size_t count;
    size_t stop_at; /* 0: never */
    yk_return_t stop_with;
    size_t next_index; /* expected; checked unless concurrent */
    bool concurrent, without_values;
};

static yk_return_t visit_pair(void *uargs, size_t index, const void *key, size_t ksize, const void *value, size_t vsize)
{
    struct visits *v = uargs;
    size_t count = __atomic_add_fetch(&v->count, 1, __ATOMIC_RELAXED);
    char expected[32];
    snprintf(expected, sizeof expected, "p/%03zu", index);
    if (!v->concurrent && index != v->next_index++)
        return YOKAN_ERR_OTHER;
    if (ksize != 5 || memcmp(key, expected, 5) != 0)
        return YOKAN_ERR_OTHER;
    if (!v->without_values && (vsize != index % 7 * 60 || (vsize && *(const char *)value != 'a' + (char)(index % 26))))
        return YOKAN_ERR_OTHER;
    return count == v->stop_at ? v->stop_with : YOKAN_SUCCESS;
}

static void iterate(void **state)
{
    struct fixture *f = *state;
    for (unsigned batch_size = 0; batch_size <= 64; batch_size += 32) {
        yk_iter_options_t options = {.batch_size = batch_size + (batch_size == 32), .pool = ABT_POOL_NULL};
        struct visits v = {.count = 0};
        assert_ok(yk_iter(f->dbh, 0, NULL, 0, "p/", 2, 0, visit_pair, &v, &options));
        assert_int_equal(v.count, N);
        v = (struct visits){.without_values = true};
        options.ignore_values = true;
        assert_ok(yk_iter(f->dbh, 0, NULL, 0, "p/", 2, 150, visit_pair, &v, &options));
        assert_int_equal(v.count, 150);
    }
    struct visits v = {.stop_at = 5, .stop_with = YOKAN_STOP_ITERATION};
    assert_ok(yk_iter(f->dbh, 0, NULL, 0, "p/", 2, 0, visit_pair, &v, NULL));
    assert_int_equal(v.count, 5);
    v = (struct visits){.stop_at = 5, .stop_with = YOKAN_ERR_CANCELED};
    assert_ret(yk_iter(f->dbh, 0, NULL, 0, "p/", 2, 0, visit_pair, &v, NULL), YOKAN_ERR_CANCELED);
    assert_ret(yk_iter(f->dbh, 0, NULL, 0, "p/", 2, 0, NULL, &v, NULL), YOKAN_ERR_INVALID_ARGS);
    v = (struct visits){.count = 0};
    assert_ok(yk_iter(f->dbh, YOKAN_MODE_INCLUSIVE, "p/000", 5, "p/", 2, 0, visit_pair, &v, NULL));
    assert_int_equal(v.count, N);
}

static void iterate_in_a_pool(void **state)
{
    struct fixture *f = *state;
    yk_iter_options_t options = {.batch_size = 30};
    struct visits v = {.concurrent = true};
    margo_get_handler_pool(f->mid, &options.pool);
    assert_ok(yk_iter(f->dbh, 0, NULL, 0, "p/", 2, 0, visit_pair, &v, &options));
    assert_int_equal(v.count, N);
}

static yk_return_t count_absent(void *uargs, size_t index, const void *key, size_t ksize, const void *value,
                                size_t vsize)
{
    (void)index, (void)key, (void)ksize, (void)value;
    *(int *)uargs += vsize == YOKAN_KEY_NOT_FOUND;
    return YOKAN_SUCCESS;
}

static void fetch(void **state)
{
    struct fixture *f = *state;
    static char keys[N][16], packed[N * 5];
    const void *pointers[N];
    size_t sizes[N];
    for (int i = 0; i < N; i++) {
        sprintf(keys[i], "p/%03d", i);
        memcpy(packed + 5 * i, keys[i], 5);
        pointers[i] = keys[i];
        sizes[i] = 5;
    }
    for (unsigned batch_size = 0; batch_size <= 17; batch_size += 17) {
        yk_fetch_options_t options = {.batch_size = batch_size, .pool = ABT_POOL_NULL};
        struct visits v = {.count = 0};
        assert_ok(yk_fetch_multi(f->dbh, 0, N, pointers, sizes, visit_pair, &v, &options));
        assert_int_equal(v.count, N);
        v = (struct visits){.count = 0};
        assert_ok(yk_fetch_packed(f->dbh, 0, N, packed, sizes, visit_pair, &v, &options));
        assert_int_equal(v.count, N);
    }
    struct visits v = {.count = 0};
    assert_ok(yk_fetch(f->dbh, 0, keys[0], 5, visit_pair, &v));
    assert_int_equal(v.count, 1);
    assert_ret(yk_fetch(f->dbh, 0, keys[0], 5, NULL, &v), YOKAN_ERR_INVALID_ARGS);
    int absent = 0;
    memcpy(keys[3], "none!", 5);
    assert_ok(yk_fetch_multi(f->dbh, 0, N, pointers, sizes, count_absent, &absent, NULL));
    assert_int_equal(absent, 1);
}

static void fetch_from_a_bulk(void **state)
{
    struct fixture *f = *state;
    static char region[8 + N * 13];
    void *pointer = region;
    hg_size_t size = sizeof region;
    hg_bulk_t bulk;
    uint64_t *sizes = (uint64_t *)(void *)(region + 8);
    for (int i = 0; i < N; i++) {
        sizes[i] = 5;
        char key[16];
        sprintf(key, "p/%03d", i);
        memcpy(region + 8 + N * 8 + i * 5, key, 5);
    }
    assert_int_equal(margo_bulk_create(f->mid, 1, &pointer, &size, HG_BULK_READ_ONLY, &bulk), HG_SUCCESS);
    struct visits v = {.count = 0};
    assert_ok(yk_fetch_bulk(f->dbh, 0, N, NULL, bulk, 8, N * 13, visit_pair, &v, NULL));
    assert_int_equal(v.count, N);
    v = (struct visits){.count = 0};
    assert_ok(yk_fetch_bulk(f->dbh, 0, N, f->address, bulk, 8, N * 13, visit_pair, &v, NULL));
    assert_int_equal(v.count, N);
    assert_ret(yk_fetch_bulk(f->dbh, 0, N, NULL, bulk, 8, N * 13 - 1, visit_pair, &v, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_fetch_bulk(f->dbh, 0, N, "x://y", bulk, 8, N * 13, visit_pair, &v, NULL), YOKAN_ERR_FROM_MERCURY);
    margo_bulk_free(bulk);
}

/* A value that is larger than the first buffer, and one that is larger than what travels inside messages. */
static void fetch_of_large_values(void **state)
{
    struct fixture *f = *state;
    size_t size = 3u << 20;
    char *large = malloc(size);
    memset(large, 'a', size);
    assert_ok(yk_put(f->dbh, 0, "p/000", 5, large, size));
    struct visits v = {.without_values = true};
    assert_ok(yk_fetch(f->dbh, 0, "p/000", 5, visit_pair, &v));
    assert_int_equal(v.count, 1);
    v = (struct visits){.without_values = true};
    assert_ok(yk_iter(f->dbh, 0, NULL, 0, "p/", 2, 0, visit_pair, &v, NULL));
    assert_int_equal(v.count, N);
    assert_ok(yk_put(f->dbh, 0, "p/000", 5, NULL, 0));
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_keys_and_continue),
        cmocka_unit_test(inclusive_suffix_and_no_prefix),
        cmocka_unit_test(what_does_not_fit),
        cmocka_unit_test(list_pairs),
        cmocka_unit_test(list_pairs_into_separate_buffers),
        cmocka_unit_test(ignore_keys_and_keep_last),
        cmocka_unit_test(bulk_listing),
        cmocka_unit_test(iterate),
        cmocka_unit_test(iterate_in_a_pool),
        cmocka_unit_test(fetch),
        cmocka_unit_test(fetch_from_a_bulk),
        cmocka_unit_test(fetch_of_large_values),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down_both);
}
