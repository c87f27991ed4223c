/*
 * Peers that are not there, or vanish: every call to them ends with an error, soon, and the rest goes on.
 */
#include "margo/dango_margo.h"
#include "tests/margo/peer.h"
#include "tests/support/protocol.h"
#include "tests/support/test.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

static void hang(hg_handle_t h)
{
    margo_thread_sleep(margo_hg_handle_get_instance(h), 1e6);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(hang)

    static void nothing(hg_handle_t h)
{
    margo_respond(h, NULL);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(nothing)

    static void setup(margo_instance_id mid)
{
    MARGO_REGISTER(mid, "hang", void, void, hang);
    MARGO_REGISTER(mid, "nothing", void, void, nothing);
}

#define CALLERS 4

static void calls_to_a_killed_peer(const char *config)
{
    struct peer peer;
    hg_addr_t addr;
    peer_start(&peer, "{}", setup);
    margo_instance_id mid = peer_connect(&peer, config, &addr);
    hg_id_t hang_id = MARGO_REGISTER(mid, "hang", void, void, NULL);
    hg_id_t nothing_id = MARGO_REGISTER(mid, "nothing", void, void, NULL);
    assert_int_equal(call_void(mid, addr, nothing_id, MARGO_DEFAULT_PROVIDER_ID, 0), HG_SUCCESS);
    hg_handle_t handles[CALLERS];
    margo_request reqs[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(margo_create(mid, addr, hang_id, &handles[i]), HG_SUCCESS);
        assert_int_equal(
            margo_provider_iforward_timed(MARGO_DEFAULT_PROVIDER_ID, handles[i], NULL, i ? 0 : 30000, &reqs[i]),
            HG_SUCCESS);
    }
    peer_kill(&peer);
    double start = now_s();
    for (int i = 0; i < CALLERS; i++) {
        hg_return_t ret = margo_wait(reqs[i]);
        assert_true(ret != HG_SUCCESS && ret != HG_TIMEOUT && ret != HG_CANCELED);
        margo_destroy(handles[i]);
    }
    hg_return_t ret = call_void(mid, addr, nothing_id, MARGO_DEFAULT_PROVIDER_ID, 5000);
    assert_true(ret != HG_SUCCESS && ret != HG_TIMEOUT);
    assert_true((now_s() - start) * 1e3 < test_soon_ms());
    margo_addr_free(mid, addr);
    margo_finalize(mid);
}

static void calls_to_a_killed_peer_fail_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < test_rounds(5); i++) {
        calls_to_a_killed_peer("{}");
        calls_to_a_killed_peer("{\"use_progress_thread\":true}");
    }
}

static void nobody_there(void **state)
{
    (void)state;
    margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, "{}");
    hg_id_t id = MARGO_REGISTER(mid, "nothing", void, void, NULL);
    hg_addr_t addr;
    double start = now_s();
    assert_int_equal(margo_addr_lookup(mid, test_nobody(), &addr), HG_SUCCESS);
    hg_return_t ret = call_void(mid, addr, id, MARGO_DEFAULT_PROVIDER_ID, 2000);
    assert_true(ret != HG_SUCCESS && ret != HG_TIMEOUT);
    assert_true(now_s() - start < 1.0);
    margo_addr_free(mid, addr);
    assert_int_not_equal(margo_addr_lookup(mid, test_on_tcp() ? "na+sm://1-0" : "tcp://1.2.3.4:5", &addr), HG_SUCCESS);
    assert_int_not_equal(margo_addr_lookup(mid, "nonsense", &addr), HG_SUCCESS);
    margo_finalize(mid);
}

/* A client that dies with calls pending leaves its server in good order. */
static void killed_client(void **state)
{
    (void)state;
    struct peer server;
    peer_start(&server, "{\"rpc_thread_count\":1}", setup);
    for (int round = 0; round < 5; round++) {
        fflush(NULL);
        pid_t client = fork();
        if (client == 0) {
            hg_addr_t addr;
            margo_instance_id mid = peer_connect(&server, "{}", &addr);
            hg_id_t id = MARGO_REGISTER(mid, "nothing", void, void, NULL);
            hg_handle_t handles[16];
            margo_request reqs[16];
            for (int i = 0; i < 16; i++) {
                margo_create(mid, addr, id, &handles[i]);
                margo_iforward(handles[i], NULL, &reqs[i]);
            }
            margo_wait(reqs[round]);
            raise(SIGKILL);
        }
        struct peer dying = {.pid = client};
        peer_kill(&dying);
    }
    hg_addr_t addr;
    margo_instance_id mid = peer_connect(&server, "{}", &addr);
    hg_id_t id = MARGO_REGISTER(mid, "nothing", void, void, NULL);
    assert_int_equal(call_void(mid, addr, id, MARGO_DEFAULT_PROVIDER_ID, 5000), HG_SUCCESS);
    margo_addr_free(mid, addr);
    peer_stop(&server, mid);
    margo_finalize(mid);
}

/* ---- peers that are silent ---- */

struct told {
    atomic_int times;
    char address[256];
};

static void note_silence(void *arg, const char *address)
{
    struct told *told = arg;
    snprintf(told->address, sizeof told->address, "%s", address);
    atomic_fetch_add(&told->times, 1);
}

/* Nobody has waited for the answer, but it is there. */
static void answered_call(margo_instance_id mid, hg_addr_t addr, hg_id_t id, struct told *told)
{
    hg_handle_t handle;
    margo_request req;
    int answered = 0;
    assert_int_equal(margo_create(mid, addr, id, &handle), HG_SUCCESS);
    double start = now_s();
    assert_int_equal(margo_provider_iforward_timed(MARGO_DEFAULT_PROVIDER_ID, handle, NULL, 60000, &req), HG_SUCCESS);
    while (margo_test(req, &answered) == 0 && !answered)
        margo_thread_sleep(mid, 1);
    bool soon = now_s() - start < 0.05;
    margo_thread_sleep(mid, 100);
    assert_true(!soon || atomic_load(&told->times) == 0);
    assert_int_equal(margo_wait(req), HG_SUCCESS);
    margo_destroy(handle);
}

/* One call is told of although all of them hang, and all end when their time is up and not before. */
static void silent_peers_are_named_before_the_deadline(void **state)
{
    (void)state;
    struct peer peer;
    struct told told = {0};
    hg_addr_t addr;
    hg_handle_t handles[CALLERS];
    margo_request reqs[CALLERS];
    peer_start(&peer, "{}", setup);
    margo_instance_id mid = peer_connect(&peer, "{}", &addr);
    hg_id_t hang_id = MARGO_REGISTER(mid, "hang", void, void, NULL);
    hg_id_t nothing_id = MARGO_REGISTER(mid, "nothing", void, void, NULL);
    dango_margo_on_silence(mid, 50, note_silence, &told);
    answered_call(mid, addr, nothing_id, &told);
    for (int i = 0; i < test_rounds(100); i++)
        assert_int_equal(call_void(mid, addr, nothing_id, MARGO_DEFAULT_PROVIDER_ID, 60000), HG_SUCCESS);
    int before = atomic_load(&told.times); /* the machine may have been slow */
    double start = now_s();
    assert_int_equal(call_void(mid, addr, hang_id, MARGO_DEFAULT_PROVIDER_ID, 20), HG_TIMEOUT);
    assert_int_equal(atomic_load(&told.times), before);
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(margo_create(mid, addr, hang_id, &handles[i]), HG_SUCCESS);
        assert_int_equal(margo_provider_iforward_timed(MARGO_DEFAULT_PROVIDER_ID, handles[i], NULL, 200, &reqs[i]),
                         HG_SUCCESS);
    }
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(margo_wait(reqs[i]), HG_TIMEOUT);
        margo_destroy(handles[i]);
    }
    assert_true(now_s() - start >= 0.2);
    assert_int_equal(atomic_load(&told.times), 1);
    assert_string_equal(told.address, peer.address);
    margo_addr_free(mid, addr);
    peer_kill(&peer);
    margo_finalize(mid);
}

static void arguments_that_are_wrong(void **state)
{
    (void)state;
    margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, "{}");
    hg_handle_t h = HG_HANDLE_NULL;
    hg_addr_t self, other = HG_ADDR_NULL;
    hg_size_t size = 0;
    margo_addr_self(mid, &self);
    assert_int_equal(margo_create(NULL, self, 1, &h), HG_INVALID_ARG);
    assert_int_not_equal(margo_create(mid, self, 12345, &h), HG_SUCCESS);
    assert_int_equal(margo_destroy(HG_HANDLE_NULL), HG_SUCCESS);
    assert_int_equal(margo_forward(HG_HANDLE_NULL, NULL), HG_INVALID_ARG);
    assert_int_equal(margo_respond(HG_HANDLE_NULL, NULL), HG_INVALID_ARG);
    assert_int_equal(margo_addr_dup(mid, HG_ADDR_NULL, &other), HG_INVALID_ARG);
    assert_int_equal(margo_addr_free(mid, HG_ADDR_NULL), HG_SUCCESS);
    assert_int_equal(margo_addr_to_string(mid, NULL, &size, HG_ADDR_NULL), HG_INVALID_ARG);
    assert_int_equal(margo_addr_to_string(mid, NULL, &size, self), HG_SUCCESS);
    assert_true(size > 8);
    assert_false(margo_addr_cmp(mid, self, HG_ADDR_NULL));
    assert_int_equal(margo_addr_dup(mid, self, &other), HG_SUCCESS);
    assert_true(margo_addr_cmp(mid, self, other));
    margo_addr_free(mid, other);
    assert_int_equal(margo_bulk_free(HG_BULK_NULL), HG_SUCCESS);
    assert_int_equal(margo_bulk_ref_incr(HG_BULK_NULL), HG_INVALID_ARG);
    assert_int_equal(margo_get_handler_pool(NULL, NULL), -1);
    assert_null(margo_get_config(NULL));
    margo_addr_free(mid, self);
    margo_finalize(mid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_to_a_killed_peer_fail_at_once),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(killed_client),
        cmocka_unit_test(silent_peers_are_named_before_the_deadline),
        cmocka_unit_test(arguments_that_are_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
