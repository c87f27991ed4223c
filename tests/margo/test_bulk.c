/*
 * Bulk transfers between processes in both directions, with offsets and sizes from nothing to many pieces, the
 * non-blocking form, mistakes, and pools of registered buffers.
 */
#include "tests/margo/peer.h"
#include "tests/support/test.h"

#include <margo-bulk-pool.h>

#define SIZE (16u << 20)

MERCURY_GEN_PROC(copy_in_t, ((hg_bulk_t)(bulk))((uint64_t)(size))((uint8_t)(wait)))
MERCURY_GEN_PROC(copy_out_t, ((int32_t)(ret)))

/* Pulls everything and pushes it back, inverted. */
static void invert(hg_handle_t h)
{
    margo_instance_id mid = margo_hg_handle_get_instance(h);
    hg_addr_t addr = margo_get_info(h)->addr;
    copy_in_t in;
    hg_bulk_t local;
    margo_get_input(h, &in);
    hg_size_t size = in.size ? in.size : 1;
    unsigned char *memory = malloc(size);
    void *pointer = memory;
    copy_out_t out;
    out.ret = margo_bulk_create(mid, 1, &pointer, &size, HG_BULK_READWRITE, &local);
    if (out.ret == HG_SUCCESS) {
        out.ret =
            margo_bulk_transfer_timed(mid, HG_BULK_PULL, addr, in.bulk, 0, local, 0, in.size, in.wait ? 10000 : 0);
        for (hg_size_t i = 0; i < in.size; i++)
            memory[i] = (unsigned char)~memory[i];
    }
    margo_request req;
    if (out.ret == HG_SUCCESS)
        out.ret = margo_bulk_itransfer_timed(mid, HG_BULK_PUSH, addr, in.bulk, 0, local, 0, in.size,
                                             in.wait ? 10000 : 0, &req);
    if (out.ret == HG_SUCCESS)
        out.ret = margo_wait(req);
    margo_respond(h, &out);
    margo_bulk_free(local);
    free(memory);
    margo_free_input(h, &in);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(invert)

    static void setup(margo_instance_id mid)
{
    MARGO_REGISTER(mid, "invert", copy_in_t, copy_out_t, invert);
}

static int call_invert(margo_instance_id mid, hg_addr_t addr, hg_id_t id, hg_bulk_t bulk, uint64_t size, uint8_t wait)
{
    hg_handle_t h;
    copy_in_t in = {.bulk = bulk, .size = size, .wait = wait};
    copy_out_t out;
    assert_int_equal(margo_create(mid, addr, id, &h), HG_SUCCESS);
    assert_int_equal(margo_forward(h, &in), HG_SUCCESS);
    assert_int_equal(margo_get_output(h, &out), HG_SUCCESS);
    int ret = out.ret;
    margo_free_output(h, &out);
    margo_destroy(h);
    return ret;
}

static void transfers_between(const char *server_config, const char *client_config)
{
    static const uint64_t sizes[] = {0, 1, 100, 4096, 70000, SIZE};
    struct peer peer;
    hg_addr_t addr;
    peer_start(&peer, server_config, setup);
    margo_instance_id mid = peer_connect(&peer, client_config, &addr);
    hg_id_t id = MARGO_REGISTER(mid, "invert", copy_in_t, copy_out_t, NULL);
    unsigned char *memory = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        memory[i] = (unsigned char)(i * 7 + i / 251);
    /* Two segments, the second before the first in memory. */
    void *pointers[2] = {memory + SIZE / 2, memory};
    hg_size_t lengths[2] = {SIZE / 2, SIZE / 2};
    hg_bulk_t bulk;
    assert_int_equal(margo_bulk_create(mid, 2, pointers, lengths, HG_BULK_READWRITE, &bulk), HG_SUCCESS);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (uint8_t wait = 0; wait < 2; wait++)
            assert_int_equal(call_invert(mid, addr, id, bulk, sizes[i], wait), HG_SUCCESS);
    }
    assert_int_equal(call_invert(mid, addr, id, bulk, SIZE, 0), HG_SUCCESS);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(memory[i], (unsigned char)~(i * 7 + i / 251));
    assert_int_equal(call_invert(mid, addr, id, bulk, SIZE + 1, 0), HG_INVALID_ARG);
    margo_bulk_free(bulk);
    assert_int_equal(margo_bulk_create(mid, 1, pointers, lengths, HG_BULK_READ_ONLY, &bulk), HG_SUCCESS);
    assert_int_equal(call_invert(mid, addr, id, bulk, 100000, 0), HG_PERMISSION);
    margo_bulk_free(bulk);
    free(memory);
    margo_addr_free(mid, addr);
    peer_stop(&peer, mid);
    margo_finalize(mid);
}

static void transfers_in_both_directions(void **state)
{
    (void)state;
    transfers_between("{}", "{}");
    transfers_between("{\"rpc_thread_count\":2}", "{\"use_progress_thread\":true}");
}

static margo_bulk_pool_t waited_pool;

static void take_and_give_back(void *arg)
{
    (void)arg;
    hg_bulk_t bulk;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(margo_bulk_pool_get(waited_pool, &bulk), 0);
        ABT_thread_yield();
        assert_int_equal(margo_bulk_pool_release(waited_pool, bulk), 0);
    }
}

static void pools_lend_buffers(void **state)
{
    (void)state;
    margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, "{\"rpc_thread_count\":1}");
    margo_bulk_pool_t pool;
    hg_bulk_t first, second, none;
    assert_int_equal(margo_bulk_pool_create(mid, 0, 100, HG_BULK_READWRITE, &pool), -1);
    assert_int_equal(margo_bulk_pool_create(mid, 2, 100, HG_BULK_READWRITE, &pool), 0);
    assert_int_equal(margo_bulk_pool_get(pool, &first), 0);
    assert_int_equal(margo_bulk_pool_tryget(pool, &second), 0);
    assert_int_equal(margo_bulk_get_size(first), 100);
    assert_int_equal(margo_bulk_pool_tryget(pool, &none), 0);
    assert_null(none);
    assert_int_equal(margo_bulk_pool_destroy(pool), -1);
    assert_int_equal(margo_bulk_pool_release(pool, HG_BULK_NULL), -1);
    assert_int_equal(margo_bulk_pool_release(pool, second), 0);
    assert_int_equal(margo_bulk_pool_release(pool, second), -1);
    waited_pool = pool;
    ABT_pool handlers;
    ABT_thread threads[4];
    margo_get_handler_pool(mid, &handlers);
    for (int i = 0; i < 4; i++)
        ABT_thread_create(handlers, take_and_give_back, NULL, ABT_THREAD_ATTR_NULL, &threads[i]);
    for (int i = 0; i < 4; i++)
        ABT_thread_free(&threads[i]);
    assert_int_equal(margo_bulk_pool_release(pool, first), 0);
    assert_int_equal(margo_bulk_pool_destroy(pool), 0);
    margo_finalize(mid);
}

static void pool_sets_lend_the_smallest_that_fits(void **state)
{
    (void)state;
    margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, "{}");
    margo_bulk_poolset_t set;
    hg_bulk_t small, large, none;
    hg_size_t max;
    assert_int_equal(margo_bulk_poolset_create(mid, 3, 1, 64, 1, HG_BULK_READWRITE, &set), -1);
    assert_int_equal(margo_bulk_poolset_create(mid, 3, 1, (hg_size_t)1 << 62, 4, HG_BULK_READWRITE, &set), -1);
    assert_int_equal(margo_bulk_poolset_create(mid, 3, 1, 64, 4, HG_BULK_READWRITE, &set), 0);
    assert_int_equal(margo_bulk_poolset_get_max(set, &max), 0);
    assert_int_equal(max, 1024);
    assert_int_equal(margo_bulk_poolset_get(set, 50, &small), 0);
    assert_int_equal(margo_bulk_get_size(small), 64);
    assert_int_equal(margo_bulk_poolset_tryget(set, 50, HG_FALSE, &none), 0);
    assert_null(none);
    assert_int_equal(margo_bulk_poolset_tryget(set, 50, HG_TRUE, &large), 0);
    assert_int_equal(margo_bulk_get_size(large), 256);
    assert_int_equal(margo_bulk_poolset_get(set, 1025, &none), -1);
    assert_int_equal(margo_bulk_poolset_release(set, small), 0);
    assert_int_equal(margo_bulk_poolset_release(set, large), 0);
    assert_int_equal(margo_bulk_poolset_destroy(set), 0);
    margo_finalize(mid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers_in_both_directions),
        cmocka_unit_test(pools_lend_buffers),
        cmocka_unit_test(pool_sets_lend_the_smallest_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
