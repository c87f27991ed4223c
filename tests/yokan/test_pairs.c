/*
 * Pairs through client and provider in one process: every operation in every form, inside the messages and by bulk
 * transfer, with wrong arguments and absent keys.
 */
#include "tests/yokan/rpc_support.h"
#include "tests/support/protocol.h"

#define N 64

/* Large enough that a request of N of them is exposed as a bulk handle, unless the mode forbids it. */
#define VALUE_MAX 4096

static char keys[N][16], values[N][VALUE_MAX];
static const void *key_pointers[N], *value_pointers[N];
static size_t ksizes[N], vsizes[N];

static void make_pairs(size_t value_size)
{
    for (int i = 0; i < N; i++) {
        ksizes[i] = (size_t)sprintf(keys[i], "key%03d", i);
        vsizes[i] = i % 8 == 7 ? 0 : value_size - (size_t)i % 3;
        memset(values[i], 'a' + i % 26, VALUE_MAX);
        key_pointers[i] = keys[i];
        value_pointers[i] = values[i];
    }
}

static size_t pack(const void *const *items, const size_t *sizes, char *buffer)
{
    size_t total = 0;
    for (int i = 0; i < N; i++) {
        memcpy(buffer + total, items[i], sizes[i]);
        total += sizes[i];
    }
    return total;
}

/* Small and large values, allowed to be exposed or not. */
static const struct {
    int32_t mode;
    size_t value_size;
} ways[] = {{0, 64}, {0, VALUE_MAX}, {YOKAN_MODE_NO_RDMA, VALUE_MAX}};

static void check_values(struct fixture *f, int32_t mode)
{
    static char out[N][VALUE_MAX];
    void *pointers[N];
    size_t sizes[N];
    for (int i = 0; i < N; i++) {
        pointers[i] = out[i];
        sizes[i] = VALUE_MAX;
    }
    assert_ok(yk_get_multi(f->dbh, mode, N, key_pointers, ksizes, pointers, sizes));
    for (int i = 0; i < N; i++) {
        assert_int_equal(sizes[i], vsizes[i]);
        assert_memory_equal(out[i], values[i], vsizes[i]);
    }
}

static void put_in_every_form(void **state)
{
    struct fixture *f = *state;
    static char packed_keys[N * 16], packed_values[N * VALUE_MAX];
    size_t count;
    for (size_t w = 0; w < 3; w++) {
        int32_t mode = ways[w].mode;
        make_pairs(ways[w].value_size);
        assert_ok(yk_erase_range(f->dbh, mode, NULL, 0));
        for (int i = 0; i < N; i++)
            assert_ok(yk_put(f->dbh, mode, keys[i], ksizes[i], values[i], vsizes[i]));
        check_values(f, mode);
        assert_ok(yk_erase_range(f->dbh, mode, "", 0));
        assert_ok(yk_put_multi(f->dbh, mode, N, key_pointers, ksizes, value_pointers, vsizes));
        check_values(f, mode);
        assert_ok(yk_erase_range(f->dbh, mode, "key", 3));
        pack(key_pointers, ksizes, packed_keys);
        pack(value_pointers, vsizes, packed_values);
        assert_ok(yk_put_packed(f->dbh, mode, N, packed_keys, ksizes, packed_values, vsizes));
        check_values(f, mode);
        assert_ok(yk_count(f->dbh, mode, &count));
        assert_int_equal(count, N);
    }
}

static void wrong_arguments(void **state)
{
    struct fixture *f = *state;
    yk_database_handle_t d = f->dbh;
    size_t zero = 0, one = 1, size = 8;
    uint8_t flag;
    char buffer[8];
    const void *key = "k";
    void *value = buffer;
    assert_ret(yk_put(d, 0, "", 0, "v", 1), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_put(d, 0, NULL, 3, "v", 1), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_put(d, 0, "k", 1, NULL, 1), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_put(NULL, 0, "k", 1, "v", 1), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_put_multi(d, 0, 1, NULL, &one, &key, &one), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_put_multi(d, 0, 1, &key, NULL, &key, &one), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_put_multi(d, 0, 1, &key, &one, NULL, &one), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_put_multi(d, 0, 1, &key, &one, &key, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_put_multi(d, 0, 1, &key, &zero, &key, &one), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_put_packed(d, 0, 1, "k", &one, NULL, &one), YOKAN_ERR_INVALID_ARGS);
    assert_ok(yk_put_packed(d, 0, 1, "k", &one, NULL, &zero));
    assert_ok(yk_put_multi(d, 0, 0, NULL, NULL, NULL, NULL));
    assert_ok(yk_get_packed(d, 0, 0, NULL, NULL, 0, NULL, NULL));
    assert_ret(yk_get(d, 0, "", 0, buffer, &size), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_get(d, 0, "k", 1, NULL, &size), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_get(d, 0, "k", 1, buffer, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_get_multi(d, 0, 1, &key, &one, NULL, &size), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_get_multi(d, 0, 1, &key, &one, &value, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_get_packed(d, 0, 1, "k", &one, 8, NULL, &size), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_exists(d, 0, "", 0, &flag), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_exists(d, 0, "k", 1, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_length(d, 0, "k", 1, NULL), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_erase(d, 0, "", 0), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_erase_range(d, 0, NULL, 4), YOKAN_ERR_INVALID_ARGS);
    assert_ret(yk_count(d, 0, NULL), YOKAN_ERR_INVALID_ARGS);
}

static void wrong_modes(void **state)
{
    struct fixture *f = *state;
    size_t size = 8;
    char buffer[8];
    assert_ret(yk_put(f->dbh, YOKAN_MODE_APPEND | YOKAN_MODE_NEW_ONLY, "k", 1, "v", 1), YOKAN_ERR_MODE);
    assert_ret(yk_put(f->dbh, YOKAN_MODE_NEW_ONLY | YOKAN_MODE_EXIST_ONLY, "k", 1, "v", 1), YOKAN_ERR_MODE);
    assert_ret(yk_get(f->dbh, YOKAN_MODE_WAIT, "k", 1, buffer, &size), YOKAN_ERR_MODE);
    assert_ret(yk_list_keys_packed(f->dbh, YOKAN_MODE_LUA_FILTER, NULL, 0, "x", 1, 1, buffer, 8, &size),
               YOKAN_ERR_MODE);
    assert_ret(yk_list_keys_packed(f->dbh, YOKAN_MODE_LIB_FILTER, NULL, 0, "x", 1, 1, buffer, 8, &size),
               YOKAN_ERR_MODE);
}

static void put_modes(void **state)
{
    struct fixture *f = *state;
    char out[8];
    size_t size = sizeof out;
    assert_ret(yk_put(f->dbh, YOKAN_MODE_EXIST_ONLY, "m", 1, "x", 1), YOKAN_ERR_KEY_NOT_FOUND);
    assert_ok(yk_put(f->dbh, YOKAN_MODE_NEW_ONLY | YOKAN_MODE_NO_RDMA, "m", 1, "a", 1));
    assert_ret(yk_put(f->dbh, YOKAN_MODE_NEW_ONLY, "m", 1, "x", 1), YOKAN_ERR_KEY_EXISTS);
    assert_ok(yk_put(f->dbh, YOKAN_MODE_APPEND | YOKAN_MODE_EXTRA, "m", 1, "b", 1, YOKAN_EXTRA_TIMEOUT_MS, 5000.0,
                     YOKAN_EXTRA_END));
    assert_ok(yk_put(f->dbh, YOKAN_MODE_APPEND | YOKAN_MODE_EXTRA, "m", 1, "c", 1, YOKAN_EXTRA_TIMEOUT_MS, 0.0, 77,
                     (void *)out, YOKAN_EXTRA_END));
    assert_ok(yk_get(f->dbh, YOKAN_MODE_CONSUME, "m", 1, out, &size));
    assert_int_equal(size, 3);
    assert_memory_equal(out, "abc", 3);
    assert_ret(yk_length(f->dbh, 0, "m", 1, &size), YOKAN_ERR_KEY_NOT_FOUND);
}

static void get_of_one(void **state)
{
    struct fixture *f = *state;
    char out[8];
    size_t size = 2;
    assert_ok(yk_put(f->dbh, 0, "k", 1, "value", 5));
    assert_ret(yk_get(f->dbh, 0, "k", 1, out, &size), YOKAN_ERR_BUFFER_SIZE);
    assert_true(size == YOKAN_SIZE_TOO_SMALL);
    size = sizeof out;
    assert_ret(yk_get(f->dbh, 0, "none", 4, out, &size), YOKAN_ERR_KEY_NOT_FOUND);
    assert_true(size == YOKAN_KEY_NOT_FOUND);
    size = sizeof out;
    assert_ok(yk_get(f->dbh, 0, "k", 1, out, &size));
    assert_int_equal(size, 5);
    assert_ok(yk_put(f->dbh, 0, "empty", 5, NULL, 0));
    size = 0;
    assert_ok(yk_get(f->dbh, 0, "empty", 5, NULL, &size));
    assert_int_equal(size, 0);
    assert_ok(yk_length(f->dbh, 0, "k", 1, &size));
    assert_int_equal(size, 5);
}

/* Every third key is absent; of get_multi, every fifth buffer is too small. */
static void get_reports_each_item(void **state)
{
    struct fixture *f = *state;
    static char out[N][VALUE_MAX];
    void *pointers[N];
    size_t sizes[N];
    for (size_t w = 0; w < 3; w++) {
        make_pairs(ways[w].value_size);
        assert_ok(yk_erase_range(f->dbh, 0, NULL, 0));
        for (int i = 0; i < N; i++) {
            if (i % 3)
                assert_ok(yk_put(f->dbh, ways[w].mode, keys[i], ksizes[i], values[i], vsizes[i]));
            pointers[i] = out[i];
            sizes[i] = i % 5 ? VALUE_MAX : 3;
        }
        assert_ok(yk_get_multi(f->dbh, ways[w].mode, N, key_pointers, ksizes, pointers, sizes));
        for (int i = 0; i < N; i++) {
            if (i % 3 == 0)
                assert_true(sizes[i] == YOKAN_KEY_NOT_FOUND);
            else if (i % 5 == 0 && vsizes[i] > 3)
                assert_true(sizes[i] == YOKAN_SIZE_TOO_SMALL);
            else
                assert_memory_equal(out[i], values[i], (assert_int_equal(sizes[i], vsizes[i]), vsizes[i]));
        }
    }
}

static void get_packed_stops_at_the_first_that_does_not_fit(void **state)
{
    struct fixture *f = *state;
    static char packed_keys[N * 16], out[N * VALUE_MAX];
    size_t sizes[N];
    for (size_t w = 0; w < 3; w++) {
        make_pairs(ways[w].value_size);
        size_t total = pack(value_pointers, vsizes, out);
        pack(key_pointers, ksizes, packed_keys);
        assert_ok(yk_erase_range(f->dbh, 0, NULL, 0));
        assert_ok(yk_put_multi(f->dbh, 0, N - 1, key_pointers, ksizes, value_pointers, vsizes));
        assert_ok(yk_get_packed(f->dbh, ways[w].mode, N, packed_keys, ksizes, total / 2, out, sizes));
        size_t used = 0;
        int i = 0;
        for (; sizes[i] != YOKAN_SIZE_TOO_SMALL; i++) {
            assert_int_equal(sizes[i], vsizes[i]);
            assert_memory_equal(out + used, values[i], vsizes[i]);
            used += sizes[i];
        }
        assert_true(used <= total / 2 && used + vsizes[i] > total / 2);
        for (; i < N - 1; i++)
            assert_true(sizes[i] == YOKAN_SIZE_TOO_SMALL);
        assert_true(sizes[N - 1] == YOKAN_KEY_NOT_FOUND);
    }
}

static void exists_length_erase(void **state)
{
    struct fixture *f = *state;
    static char packed_keys[N * 16];
    uint8_t flags[N / 8], flag;
    size_t sizes[N], count;
    make_pairs(VALUE_MAX);
    pack(key_pointers, ksizes, packed_keys);
    assert_ok(yk_erase_range(f->dbh, 0, NULL, 0));
    for (int i = 0; i < N; i += 2)
        assert_ok(yk_put(f->dbh, 0, keys[i], ksizes[i], values[i], vsizes[i]));
    for (int form = 0; form < 2; form++) {
        memset(flags, 0xff, sizeof flags);
        assert_ok(form ? yk_exists_packed(f->dbh, 0, N, packed_keys, ksizes, flags)
                       : yk_exists_multi(f->dbh, YOKAN_MODE_NO_RDMA, N, key_pointers, ksizes, flags));
        assert_ok(form ? yk_length_packed(f->dbh, 0, N, packed_keys, ksizes, sizes)
                       : yk_length_multi(f->dbh, YOKAN_MODE_NO_RDMA, N, key_pointers, ksizes, sizes));
        for (int i = 0; i < N; i++) {
            assert_true(yk_unpack_exists_flag(flags, (size_t)i) == (i % 2 == 0));
            assert_true(sizes[i] == (i % 2 ? YOKAN_KEY_NOT_FOUND : vsizes[i]));
        }
    }
    assert_ok(yk_exists(f->dbh, 0, keys[0], ksizes[0], &flag));
    assert_int_equal(flag, 1);
    assert_ok(yk_erase_multi(f->dbh, 0, 4, key_pointers, ksizes));
    assert_ok(yk_erase_packed(f->dbh, 0, 6, packed_keys, ksizes));
    assert_ok(yk_erase(f->dbh, 0, "absent", 6));
    assert_ok(yk_exists(f->dbh, 0, keys[0], ksizes[0], &flag));
    assert_int_equal(flag, 0);
    assert_ok(yk_count(f->dbh, 0, &count));
    assert_int_equal(count, N / 2 - 3);
}

/* ---- bulk forms: the layout of put, get, exists, length and erase in one buffer, behind some garbage ---- */

#define GARBAGE 24

static void bulk_forms(void **state)
{
    struct fixture *f = *state;
    static char region[GARBAGE + N * (16 + 16 + VALUE_MAX)];
    void *pointer = region;
    hg_size_t size = sizeof region;
    hg_bulk_t bulk;
    uint64_t *numbers = (uint64_t *)(void *)(region + GARBAGE);
    assert_int_equal(margo_bulk_create(f->mid, 1, &pointer, &size, HG_BULK_READWRITE, &bulk), HG_SUCCESS);
    for (int with_origin = 0; with_origin < 2; with_origin++) {
        const char *origin = with_origin ? f->address : NULL;
        make_pairs(VALUE_MAX);
        assert_ok(yk_erase_range(f->dbh, 0, NULL, 0));
        memcpy(numbers, ksizes, sizeof ksizes);
        memcpy(numbers + N, vsizes, sizeof vsizes);
        size_t keys_total = pack(key_pointers, ksizes, (char *)(numbers + 2 * N));
        size_t values_total = pack(value_pointers, vsizes, (char *)(numbers + 2 * N) + keys_total);
        size_t used = 2 * sizeof ksizes + keys_total + values_total;
        assert_ret(yk_put_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, used - 1), YOKAN_ERR_INVALID_ARGS);
        assert_ret(yk_put_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, 0), YOKAN_ERR_INVALID_ARGS);
        assert_ret(yk_put_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, sizeof region), YOKAN_ERR_INVALID_ARGS);
        assert_ret(yk_put_bulk(f->dbh, 0, N, "na+xx://nobody", bulk, GARBAGE, used), YOKAN_ERR_FROM_MERCURY);
        assert_ok(yk_put_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, used));
        check_values(f, 0);
        /* get, packed: sizes and values come back into the same places */
        memset(numbers + N, 0xee, sizeof vsizes);
        memset((char *)(numbers + 2 * N) + keys_total, 0, values_total);
        assert_ok(yk_get_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, used, true));
        assert_memory_equal(numbers + N, vsizes, sizeof vsizes);
        static char expected[N * VALUE_MAX];
        pack(value_pointers, vsizes, expected);
        assert_memory_equal((char *)(numbers + 2 * N) + keys_total, expected, values_total);
        /* get, not packed: the same since the capacities are the sizes */
        memset((char *)(numbers + 2 * N) + keys_total, 0, values_total);
        assert_ok(yk_get_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, used, false));
        assert_memory_equal((char *)(numbers + 2 * N) + keys_total, expected, values_total);
        /* capacities beyond the region */
        numbers[N] = sizeof region;
        assert_ret(yk_get_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, used, false), YOKAN_ERR_INVALID_ARGS);
        /* exists and length put their output behind the keys */
        pack(key_pointers, ksizes, (char *)(numbers + N));
        size_t header = sizeof ksizes + keys_total;
        assert_ok(yk_exists_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, header + N / 8));
        assert_int_equal((unsigned char)region[GARBAGE + header], 0xff);
        assert_ret(yk_length_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, header + 8), YOKAN_ERR_INVALID_ARGS);
        assert_ok(yk_length_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, header + sizeof vsizes));
        assert_memory_equal(region + GARBAGE + header, vsizes, sizeof vsizes);
        assert_ok(yk_erase_bulk(f->dbh, 0, N, origin, bulk, GARBAGE, header));
        size_t count;
        assert_ok(yk_count(f->dbh, 0, &count));
        assert_int_equal(count, 0);
    }
    margo_bulk_free(bulk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_in_every_form),
        cmocka_unit_test(wrong_arguments),
        cmocka_unit_test(wrong_modes),
        cmocka_unit_test(put_modes),
        cmocka_unit_test(get_of_one),
        cmocka_unit_test(get_reports_each_item),
        cmocka_unit_test(get_packed_stops_at_the_first_that_does_not_fit),
        cmocka_unit_test(exists_length_erase),
        cmocka_unit_test(bulk_forms),
    };
    return cmocka_run_group_tests(tests, set_up_both, tear_down_both);
}
