/*
 * The end of an instance, however it comes: by the main thread, a handler, another thread, a peer, the last reference;
 * with waiters, callbacks, running handlers, pending calls; several instances at once.
 */
#include "tests/margo/peer.h"
#include "tests/support/protocol.h"
#include "tests/support/test.h"

#include "margo/dango_margo.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static const char *const arrangements[] = {
    "{}",
    "{\"use_progress_thread\":true}",
    "{\"use_progress_thread\":true,\"rpc_thread_count\":2}",
    "{\"rpc_thread_count\":1}",
};
#define ARRANGEMENTS (sizeof arrangements / sizeof *arrangements)

/* ---- handlers ---- */

static void stop(hg_handle_t h)
{
    margo_instance_id mid = margo_hg_handle_get_instance(h);
    margo_finalize(mid);
    margo_respond(h, NULL);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(stop)

    static void linger(hg_handle_t h)
{
    margo_thread_sleep(margo_hg_handle_get_instance(h), 20);
    margo_respond(h, NULL);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(linger)

    /* The test lets parked handlers go by writing into this pipe. */
    static int park_pipe[2];
static atomic_int num_parked;

/* Blocks its execution stream until the test says so. */
static void park(hg_handle_t h)
{
    char byte;
    atomic_fetch_add(&num_parked, 1);
    assert_int_equal(read(park_pipe[0], &byte, 1), 1);
    margo_respond(h, NULL);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(park)

    static void is_parked(hg_handle_t h)
{
    if (atomic_load(&num_parked) > 0)
        margo_respond(h, NULL);
    else
        __margo_respond_with_error(h, HG_AGAIN);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(is_parked)

    static void wait_until_parked(margo_instance_id mid, hg_addr_t addr)
{
    hg_id_t id = MARGO_REGISTER(mid, "is_parked", void, void, NULL);
    hg_return_t ret = HG_AGAIN;
    while (ret == HG_AGAIN)
        ret = call_void(mid, addr, id, MARGO_DEFAULT_PROVIDER_ID, 0);
    assert_int_equal(ret, HG_SUCCESS);
}

static void let_go(void)
{
    assert_int_equal(write(park_pipe[1], "", 1), 1);
}

static void setup(margo_instance_id mid)
{
    MARGO_REGISTER(mid, "stop", void, void, stop);
    MARGO_REGISTER(mid, "linger", void, void, linger);
    MARGO_REGISTER(mid, "park", void, void, park);
    MARGO_REGISTER(mid, "is_parked", void, void, is_parked);
}

/* ---- from everywhere ---- */

static void start_and_finalize(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        margo_instance_id mid = start_instance(i % 2, arrangements[i % ARRANGEMENTS]);
        margo_finalize(mid);
        assert_int_equal(ABT_initialized(), ABT_ERR_UNINITIALIZED);
    }
}

static void by_a_handler(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRANGEMENTS; i++) {
        struct peer peer;
        hg_addr_t addr;
        peer_start(&peer, arrangements[i], setup);
        margo_instance_id mid = peer_connect(&peer, "{}", &addr);
        hg_id_t id = MARGO_REGISTER(mid, "stop", void, void, NULL);
        assert_int_equal(call_void(mid, addr, id, MARGO_DEFAULT_PROVIDER_ID, 5000), HG_SUCCESS);
        peer_join(&peer);
        margo_addr_free(mid, addr);
        margo_finalize(mid);
    }
}

static void running_handlers_are_waited_for_and_new_calls_refused(void **state)
{
    (void)state;
    struct peer peer;
    hg_addr_t addr;
    peer_start(&peer, "{\"rpc_thread_count\":2}", setup);
    margo_instance_id mid = peer_connect(&peer, "{}", &addr);
    hg_id_t id = MARGO_REGISTER(mid, "park", void, void, NULL);
    hg_handle_t h;
    margo_request req;
    assert_int_equal(margo_create(mid, addr, id, &h), HG_SUCCESS);
    assert_int_equal(margo_iforward(h, NULL, &req), HG_SUCCESS);
    wait_until_parked(mid, addr);
    assert_int_equal(margo_shutdown_remote_instance(mid, addr), 0);
    /* The answer comes before the handler finalises. */
    hg_id_t late_id = MARGO_REGISTER(mid, "linger", void, void, NULL);
    hg_return_t late = HG_SUCCESS;
    while (late == HG_SUCCESS)
        late = call_void(mid, addr, late_id, MARGO_DEFAULT_PROVIDER_ID, 0);
    assert_int_equal(late, HG_PERMISSION);
    let_go();
    assert_int_equal(margo_wait(req), HG_SUCCESS);
    margo_destroy(h);
    peer_join(&peer);
    margo_addr_free(mid, addr);
    margo_finalize(mid);
}

/* With a reference, for the instance may be gone before the thread gets to wait. */
static void *wait_for_end(void *arg)
{
    margo_wait_for_finalize(arg);
    assert_int_equal(margo_instance_release(arg), HG_SUCCESS);
    return NULL;
}

static void *finalize(void *arg)
{
    margo_finalize(arg);
    return NULL;
}

static void by_a_thread_while_others_wait(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        margo_instance_id mid = start_instance(MARGO_SERVER_MODE, arrangements[(size_t)round % ARRANGEMENTS]);
        pthread_t waiters[3], finalizer;
        margo_instance_ref_incr(mid);
        for (int i = 0; i < 3; i++) {
            margo_instance_ref_incr(mid);
            pthread_create(&waiters[i], NULL, wait_for_end, mid);
        }
        pthread_create(&finalizer, NULL, finalize, mid);
        margo_wait_for_finalize(mid);
        pthread_join(finalizer, NULL);
        for (int i = 0; i < 3; i++)
            pthread_join(waiters[i], NULL);
        assert_int_equal(margo_instance_release(mid), HG_SUCCESS);
        assert_int_equal(ABT_initialized(), ABT_ERR_UNINITIALIZED);
    }
}

static void remote_shutdown_needs_permission(void **state)
{
    (void)state;
    margo_instance_id mid = start_instance(MARGO_SERVER_MODE, "{\"rpc_thread_count\":1}");
    hg_addr_t self;
    margo_addr_self(mid, &self);
    assert_int_equal(margo_shutdown_remote_instance(mid, self), -1);
    margo_enable_remote_shutdown(mid);
    margo_instance_ref_incr(mid);
    assert_int_equal(margo_shutdown_remote_instance(mid, self), 0);
    margo_wait_for_finalize(mid);
    margo_addr_free(mid, self);
    assert_int_equal(margo_instance_release(mid), HG_SUCCESS);
}

static void with_no_waiter_and_no_main_thread(void **state)
{
    (void)state;
    /* The last handler finalises on an execution stream that it cannot join: the next start cleans up. */
    margo_instance_id mid = start_instance(MARGO_SERVER_MODE, "{\"use_progress_thread\":true,\"rpc_thread_count\":1}");
    pthread_t thread;
    pthread_create(&thread, NULL, finalize, mid);
    pthread_join(thread, NULL);
    mid = start_instance(MARGO_SERVER_MODE, "{\"rpc_thread_count\":1}");
    margo_finalize(mid);
    assert_int_equal(ABT_initialized(), ABT_ERR_UNINITIALIZED);
}

/* ---- callbacks ---- */

static char order[64];
static margo_instance_id callback_mid;
static hg_addr_t callback_addr;
static hg_id_t callback_id;

static void append(void *arg)
{
    strcat(order, arg);
}

static void append_and_push(void *arg)
{
    append(arg);
    margo_push_finalize_callback(callback_mid, append, "new ");
}

static void call_peer(void *arg)
{
    append(arg);
    assert_int_equal(call_void(callback_mid, callback_addr, callback_id, MARGO_DEFAULT_PROVIDER_ID, 5000), HG_SUCCESS);
}

static void call_in_vain(void *arg)
{
    append(arg);
    assert_int_equal(call_void(callback_mid, callback_addr, callback_id, MARGO_DEFAULT_PROVIDER_ID, 0), HG_CANCELED);
}

static void callbacks_run_most_recent_first(void **state)
{
    (void)state;
    struct peer peer;
    int owner;
    margo_finalize_callback_t cb;
    void *arg;
    order[0] = '\0';
    peer_start(&peer, "{}", setup);
    callback_mid = peer_connect(&peer, "{}", &callback_addr);
    callback_id = MARGO_REGISTER(callback_mid, "linger", void, void, NULL);
    margo_push_finalize_callback(callback_mid, append, "f1 ");
    margo_push_finalize_callback(callback_mid, call_in_vain, "f2 ");
    margo_provider_push_finalize_callback(callback_mid, &owner, append, "gone ");
    margo_push_prefinalize_callback(callback_mid, append, "p1 ");
    margo_push_prefinalize_callback(callback_mid, call_peer, "p2 ");
    margo_push_finalize_callback(callback_mid, append_and_push, "f3 ");
    assert_int_equal(margo_provider_top_finalize_callback(callback_mid, &owner, &cb, &arg), 1);
    assert_true(cb == append);
    assert_string_equal(arg, "gone ");
    assert_int_equal(margo_provider_pop_finalize_callback(callback_mid, &owner), 1);
    assert_int_equal(margo_provider_pop_finalize_callback(callback_mid, &owner), 0);
    assert_int_equal(margo_provider_top_prefinalize_callback(callback_mid, &owner, &cb, &arg), 0);
    margo_instance_ref_incr(callback_mid);
    margo_finalize(callback_mid);
    assert_string_equal(order, "p2 p1 f3 new f2 f1 ");
    margo_addr_free(callback_mid, callback_addr);
    assert_int_equal(margo_instance_release(callback_mid), HG_SUCCESS);
    margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, "{}");
    peer_stop(&peer, mid);
    margo_finalize(mid);
}

/* ---- references ---- */

static void references_keep_the_memory(void **state)
{
    (void)state;
    unsigned count;
    bool finalised;
    margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, "{}");
    assert_int_equal(margo_instance_ref_incr(mid), HG_SUCCESS);
    assert_int_equal(margo_instance_ref_count(mid, &count), HG_SUCCESS);
    assert_int_equal(count, 2);
    margo_finalize(mid);
    assert_int_equal(margo_instance_is_finalized(mid, &finalised), HG_SUCCESS);
    assert_true(finalised);
    assert_non_null(margo_get_class(mid));
    assert_int_equal(margo_instance_release(mid), HG_SUCCESS);
    mid = start_instance(MARGO_CLIENT_MODE, "{\"use_progress_thread\":true}");
    assert_int_equal(margo_instance_release(mid), HG_SUCCESS);
    assert_int_equal(ABT_initialized(), ABT_ERR_UNINITIALIZED);
    assert_int_equal(margo_instance_release(MARGO_INSTANCE_NULL), HG_INVALID_ARG);
    assert_int_equal(margo_instance_ref_incr(MARGO_INSTANCE_NULL), HG_INVALID_ARG);
}

/* ---- pending calls ---- */

struct pending {
    margo_instance_id mid;
    hg_addr_t addr;
    hg_id_t id;
    _Atomic int ret;
};

static void call_pending(void *arg)
{
    struct pending *p = arg;
    p->ret = call_void(p->mid, p->addr, p->id, MARGO_DEFAULT_PROVIDER_ID, 0);
}

static void pending_calls_are_cancelled(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRANGEMENTS; i++) {
        struct peer peer;
        struct pending p = {.ret = -1};
        ABT_pool pool;
        peer_start(&peer, "{\"rpc_thread_count\":2}", setup);
        p.mid = peer_connect(&peer, arrangements[i], &p.addr);
        p.id = MARGO_REGISTER(p.mid, "park", void, void, NULL);
        margo_get_handler_pool(p.mid, &pool);
        ABT_thread_create(pool, call_pending, &p, ABT_THREAD_ATTR_NULL, NULL);
        wait_until_parked(p.mid, p.addr);
        assert_int_equal(p.ret, -1);
        margo_addr_free(p.mid, p.addr);
        margo_finalize(p.mid);
        assert_int_equal(p.ret, HG_CANCELED);
        let_go();
        margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, "{}");
        peer_stop(&peer, mid);
        margo_finalize(mid);
    }
}

/* ---- several instances ---- */

static void instances_are_independent(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        margo_instance_id first = start_instance(MARGO_SERVER_MODE, "{\"use_progress_thread\":true}");
        margo_instance_id second = start_instance(MARGO_CLIENT_MODE, "{\"use_progress_thread\":true}");
        hg_addr_t self, addr;
        char text[256];
        hg_size_t size = sizeof text;
        MARGO_REGISTER(first, "linger", void, void, linger);
        hg_id_t id = MARGO_REGISTER(second, "linger", void, void, NULL);
        margo_addr_self(first, &self);
        margo_addr_to_string(first, text, &size, self);
        margo_addr_free(first, self);
        assert_int_equal(margo_addr_lookup(second, text, &addr), HG_SUCCESS);
        assert_int_equal(call_void(second, addr, id, MARGO_DEFAULT_PROVIDER_ID, 5000), HG_SUCCESS);
        margo_addr_free(second, addr);
        margo_finalize(second);
        margo_finalize(first);
        assert_int_equal(ABT_initialized(), ABT_ERR_UNINITIALIZED);
    }
}

static void a_child_shares_threads(void **state)
{
    (void)state;
    struct dango_error err;
    struct margo_init_info info = MARGO_INIT_INFO_INITIALIZER;
    margo_instance_id parent =
        start_instance(MARGO_SERVER_MODE, "{\"use_progress_thread\":true,\"rpc_thread_count\":2}");
    info.parent_mid = parent;
    info.json_config = "{\"progress_pool\":\"__progress__\",\"rpc_pool\":2}";
    margo_instance_id child = dango_margo_init(test_protocol(), MARGO_SERVER_MODE, &info, &err);
    if (!child)
        fail_msg("%s", err.text);
    assert_int_equal(margo_get_num_pools(child), 3);
    hg_id_t id = MARGO_REGISTER(child, "linger", void, void, linger);
    hg_addr_t self;
    margo_addr_self(child, &self);
    assert_int_equal(call_void(child, self, id, MARGO_DEFAULT_PROVIDER_ID, 5000), HG_SUCCESS);
    margo_addr_free(child, self);
    info.json_config = "{\"rpc_pool\":\"__rpc_\"}";
    assert_null(dango_margo_init(test_protocol(), MARGO_SERVER_MODE, &info, &err));
    assert_contains(err.text,
                    "margo.rpc_pool: no pool named \"__rpc_\" (pools: __primary__, __progress__, __rpc__; did "
                    "you mean \"__rpc__\"?)");
    margo_finalize(child);
    margo_finalize(parent);
    assert_int_equal(ABT_initialized(), ABT_ERR_UNINITIALIZED);
}

int main(void)
{
    if (pipe(park_pipe) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_and_finalize),
        cmocka_unit_test(by_a_handler),
        cmocka_unit_test(running_handlers_are_waited_for_and_new_calls_refused),
        cmocka_unit_test(by_a_thread_while_others_wait),
        cmocka_unit_test(remote_shutdown_needs_permission),
        cmocka_unit_test(with_no_waiter_and_no_main_thread),
        cmocka_unit_test(callbacks_run_most_recent_first),
        cmocka_unit_test(references_keep_the_memory),
        cmocka_unit_test(pending_calls_are_cancelled),
        cmocka_unit_test(instances_are_independent),
        cmocka_unit_test(a_child_shares_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
