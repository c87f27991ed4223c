/*
 * Peers that do not keep to the protocol. Requests with numbers that lie are answered with an error and harm nobody; a
 * client does not believe sizes in an answer that its buffers contradict.
 */
#include "tests/yokan/rpc_support.h"
#include "tests/support/protocol.h"

#include "yokan/client/client.h"
#include "yokan/wire.h"

static struct fixture f;

/* ---- requests ---- */

static yk_return_t send_request(enum yokan_op op, struct yokan_request *request)
{
    struct yokan_response response = {0};
    hg_handle_t handle;
    assert_int_equal(margo_create(f.mid, f.addr, f.client->ids[op], &handle), HG_SUCCESS);
    assert_int_equal(margo_provider_forward_timed(PROVIDER_ID, handle, request, 10000), HG_SUCCESS);
    assert_int_equal(margo_get_output(handle, &response), HG_SUCCESS);
    yk_return_t ret = (yk_return_t)response.ret;
    margo_free_output(handle, &response);
    margo_destroy(handle);
    return ret;
}

static void numbers_that_lie(void **state)
{
    (void)state;
    static const uint64_t lies[] = {1u << 20,       YOKAN_COUNT_MAX,    YOKAN_COUNT_MAX + 1, UINT32_MAX,
                                    UINT64_MAX / 8, UINT64_MAX / 8 + 1, UINT64_MAX - 7,      UINT64_MAX};
    uint64_t words[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    struct yokan_slice part = {words, sizeof words};
    assert_ok(yk_collection_create(f.dbh, "c", 0));
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        for (int op = 0; op < YOKAN_OP_COUNT; op++) {
            struct yokan_request request = {
                .count = lies[i],
                .packed = op % 2 == 0,
                .from_size = lies[i],
                .filter_size = lies[i],
                .key_space = lies[i],
                .value_space = lies[i],
                .id = lies[i],
                .name = op == YOKAN_OP_coll_drop ? "none" : "c",
                .ids = {.size = part.size, .parts = &part, .part_count = 1},
                .data = {.size = part.size, .parts = &part, .part_count = 1},
            };
            bool harmless = op == YOKAN_OP_count || op == YOKAN_OP_erase_range || op == YOKAN_OP_coll_exists ||
                            op == YOKAN_OP_coll_size || op == YOKAN_OP_coll_last_id;
            yk_return_t ret = send_request((enum yokan_op)op, &request);
            if (harmless)
                assert_true(ret == YOKAN_SUCCESS || ret == YOKAN_ERR_INVALID_ARGS);
            else if (op == YOKAN_OP_coll_drop)
                assert_true(ret == YOKAN_ERR_KEY_NOT_FOUND || ret == YOKAN_ERR_INVALID_ARGS);
            else if (op == YOKAN_OP_coll_create)
                assert_true(ret == YOKAN_ERR_KEY_EXISTS || ret == YOKAN_ERR_INVALID_ARGS);
            else
                assert_ret(ret, YOKAN_ERR_INVALID_ARGS);
        }
    }
    assert_ok(yk_collection_drop(f.dbh, "c", 0));
}

/* Sizes inside a bulk region, and the region inside the handle. */
static void regions_that_lie(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset, size, words[4];
        yk_return_t expected;
    } cases[] = {
        {0, 64, {1, 1, 0, 0}, YOKAN_SUCCESS},
        {0, 64, {UINT64_MAX, 1, 0, 0}, YOKAN_ERR_INVALID_ARGS},
        {0, 64, {40, 9, 0, 0}, YOKAN_ERR_INVALID_ARGS},
        {0, 64, {1, UINT64_MAX, 0, 0}, YOKAN_ERR_INVALID_ARGS},
        {0, 64, {0, 1, 0, 0}, YOKAN_ERR_INVALID_ARGS},
        {0, 65, {1, 1, 0, 0}, YOKAN_ERR_INVALID_ARGS},
        {1, 64, {1, 1, 0, 0}, YOKAN_ERR_INVALID_ARGS},
        {UINT64_MAX, 64, {1, 1, 0, 0}, YOKAN_ERR_INVALID_ARGS},
        {UINT64_MAX - 63, 64, {1, 1, 0, 0}, YOKAN_ERR_INVALID_ARGS},
        {0, 15, {1, 1, 0, 0}, YOKAN_ERR_INVALID_ARGS},
        {0, 0, {1, 1, 0, 0}, YOKAN_ERR_INVALID_ARGS},
    };
    uint64_t region[8] = {0};
    void *pointer = region;
    hg_size_t size = sizeof region;
    hg_bulk_t bulk;
    assert_int_equal(margo_bulk_create(f.mid, 1, &pointer, &size, HG_BULK_READWRITE, &bulk), HG_SUCCESS);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct yokan_request request = {.count = 1, .bulk = bulk, .offset = cases[i].offset, .size = cases[i].size};
        memcpy(region, cases[i].words, sizeof cases[i].words);
        assert_ret(send_request(YOKAN_OP_put, &request), cases[i].expected);
        request.packed = 1;
        yk_return_t ret = send_request(YOKAN_OP_get, &request);
        assert_true(ret == YOKAN_SUCCESS || ret == YOKAN_ERR_INVALID_ARGS);
        request.key_space = UINT64_MAX - 100;
        ret = send_request(YOKAN_OP_list_keyvals, &request);
        assert_true(ret == YOKAN_SUCCESS || ret == YOKAN_ERR_INVALID_ARGS);
    }
    margo_bulk_free(bulk);
}

/* Memory that may only be read cannot be written to by an operation with output. */
static void regions_of_the_wrong_kind(void **state)
{
    (void)state;
    uint64_t region[8] = {1, 8, 'k'};
    void *pointer = region;
    hg_size_t size = sizeof region;
    hg_bulk_t bulk;
    assert_ok(yk_put(f.dbh, 0, "k", 1, "v", 1));
    assert_int_equal(margo_bulk_create(f.mid, 1, &pointer, &size, HG_BULK_READ_ONLY, &bulk), HG_SUCCESS);
    assert_ret(yk_get_bulk(f.dbh, 0, 1, NULL, bulk, 0, sizeof region, true), YOKAN_ERR_FROM_MERCURY);
    margo_bulk_free(bulk);
}

/* ---- answers ---- */

#define LIAR_ID 77

static struct yokan_response lie;

static void lie_ult(hg_handle_t handle)
{
    margo_respond(handle, &lie);
    margo_destroy(handle);
}
static DEFINE_MARGO_RPC_HANDLER(lie_ult)

    static void answers_that_lie(void **state)
{
    (void)state;
    yk_database_handle_t liar;
    hg_id_t ids[YOKAN_OP_COUNT];
    for (int op = 0; op < YOKAN_OP_COUNT; op++)
        ids[op] = margo_provider_register_name(f.mid, yokan_op_names[op], yokan_proc_request, yokan_proc_response,
                                               _handler_for_lie_ult, LIAR_ID, ABT_POOL_NULL);
    assert_ok(yk_database_handle_create(f.client, f.addr, LIAR_ID, false, &liar));
    static const uint64_t numbers[] = {0, 3, 9, 1u << 20, INT64_MAX, YOKAN_LAST_VALID_SIZE};
    char buffer[8];
    void *pointers[] = {buffer, buffer};
    const void *keys[] = {"a", "b"};
    const size_t one[] = {1, 1};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        for (size_t words = 0; words <= 4; words++) {
            uint64_t answer[4] = {numbers[i], numbers[i], numbers[i], numbers[i]};
            struct yokan_slice part = {answer, words * 8};
            size_t sizes[] = {8, 8}, vsizes[] = {8, 8};
            yk_id_t listed[2];
            lie = (struct yokan_response){.data = {.size = part.size, .parts = &part, .part_count = 1}};
            /* Whatever the result: nothing is written beyond the buffers, and sizes are never larger than they. */
            if (yk_get_multi(liar, 0, 2, keys, one, pointers, sizes) == YOKAN_SUCCESS)
                assert_true(sizes[0] <= 8 && sizes[1] <= 8);
            if (yk_get_packed(liar, 0, 2, "ab", one, 8, buffer, sizes) == YOKAN_SUCCESS)
                assert_true(sizes[0] <= 8 && sizes[1] <= 8 && sizes[0] + sizes[1] <= 8);
            if (yk_list_keyvals_packed(liar, 0, NULL, 0, NULL, 0, 2, buffer, 8, sizes, buffer, 8, vsizes) ==
                YOKAN_SUCCESS)
                assert_true(sizes[0] + sizes[1] <= 8 && vsizes[0] + vsizes[1] <= 8);
            (void)yk_doc_list_packed(liar, "c", 0, 0, NULL, 0, 2, listed, 8, buffer, sizes);
            (void)yk_length(liar, 0, "a", 1, sizes);
            uint8_t flag;
            (void)yk_exists(liar, 0, "a", 1, &flag);
        }
    }
    lie = (struct yokan_response){.ret = -3};
    size_t count;
    assert_ret(yk_count(liar, 0, &count), YOKAN_ERR_OTHER);
    lie.ret = 1000;
    assert_ret(yk_count(liar, 0, &count), YOKAN_ERR_OTHER);
    assert_ok(yk_database_handle_release(liar));
    for (int op = 0; op < YOKAN_OP_COUNT; op++)
        margo_deregister(f.mid, ids[op]);
}

static int set_up(void **state)
{
    (void)state;
    f.mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 0, 1);
    assert_non_null(f.mid);
    own_address(f.mid, f.address, sizeof f.address);
    register_providers(&f);
    connect_client(&f, f.address);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    disconnect_client(&f);
    margo_finalize(f.mid);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_that_lie),
        cmocka_unit_test(regions_that_lie),
        cmocka_unit_test(regions_of_the_wrong_kind),
        cmocka_unit_test(answers_that_lie),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
