/*
 * Calls between two processes: inputs and outputs, providers and pools, errors, the non-blocking forms, callers of
 * every kind, under several arrangements of threads.
 */
#include "tests/margo/peer.h"
#include "tests/support/test.h"

#include <mercury_proc_string.h>
#include <pthread.h>

MERCURY_GEN_PROC(sum_in_t, ((int32_t)(x))((int32_t)(y)))
MERCURY_GEN_PROC(sum_out_t, ((int32_t)(sum)))
MERCURY_GEN_PROC(text_t, ((hg_string_t)(text)))

/* ---- the server ---- */

static void sum(hg_handle_t h)
{
    sum_in_t in;
    margo_get_input(h, &in);
    sum_out_t out = {.sum = in.x + in.y};
    margo_respond(h, &out);
    margo_free_input(h, &in);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(sum)

    static void echo(hg_handle_t h)
{
    text_t text;
    margo_get_input(h, &text);
    margo_respond(h, &text);
    margo_free_input(h, &text);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(echo)

    static void nothing(hg_handle_t h)
{
    margo_respond(h, NULL);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(nothing)

    static void slow(hg_handle_t h)
{
    margo_thread_sleep(margo_hg_handle_get_instance(h), 600);
    margo_respond(h, NULL);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(slow)

    static int notes;

static void note(hg_handle_t h)
{
    __atomic_fetch_add(&notes, 1, __ATOMIC_RELAXED);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(note)

    static void count_notes(hg_handle_t h)
{
    sum_out_t out = {.sum = __atomic_load_n(&notes, __ATOMIC_RELAXED)};
    margo_respond(h, &out);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(count_notes)

    /* Answers which provider was called and whether the handler runs in the provider's pool. */
    static void whoami(hg_handle_t h)
{
    margo_instance_id mid = margo_hg_handle_get_instance(h);
    const int *provider = margo_registered_data(mid, margo_get_info(h)->id);
    ABT_thread self;
    ABT_pool pool;
    ABT_thread_self(&self);
    ABT_thread_get_last_pool(self, &pool);
    sum_out_t out = {.sum = pool == margo_hg_handle_get_handler_pool(h) ? *provider : -1};
    margo_respond(h, &out);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(whoami)

    static void late(void *arg)
{
    hg_handle_t h = arg;
    ABT_self_yield();
    margo_respond(h, NULL);
    margo_destroy(h);
}

/* Returns before it answers: another thread does. */
static void handed_over(hg_handle_t h)
{
    ABT_thread_create(margo_hg_handle_get_handler_pool(h), late, h, ABT_THREAD_ATTR_NULL, NULL);
}
static DEFINE_MARGO_RPC_HANDLER(handed_over)

    struct ids {
    hg_id_t sum, echo, nothing, slow, note, count_notes, whoami, handed_over;
};

static void register_all(margo_instance_id mid, struct ids *ids)
{
    ids->sum = MARGO_REGISTER(mid, "sum", sum_in_t, sum_out_t, sum);
    ids->echo = MARGO_REGISTER(mid, "echo", text_t, text_t, echo);
    ids->nothing = MARGO_REGISTER(mid, "nothing", void, void, nothing);
    ids->slow = MARGO_REGISTER(mid, "slow", void, void, slow);
    ids->note = MARGO_REGISTER(mid, "note", void, void, note);
    ids->count_notes = MARGO_REGISTER(mid, "count_notes", void, sum_out_t, count_notes);
    ids->handed_over = MARGO_REGISTER(mid, "handed_over", void, void, handed_over);
    margo_registered_disable_response(mid, ids->note, HG_TRUE);
}

static void setup(margo_instance_id mid)
{
    static int one = 1, two = 2;
    struct ids ids;
    register_all(mid, &ids);
    struct margo_pool_info pool;
    margo_find_pool_by_index(mid, (uint32_t)margo_get_num_pools(mid) - 1, &pool);
    hg_id_t id = MARGO_REGISTER_PROVIDER(mid, "whoami", void, sum_out_t, whoami, 1, ABT_POOL_NULL);
    margo_register_data(mid, id, &one, NULL);
    id = MARGO_REGISTER_PROVIDER(mid, "whoami", void, sum_out_t, whoami, 2, pool.pool);
    margo_register_data(mid, id, &two, NULL);
    margo_provider_register_identity(mid, 2, "tester");
}

/* ---- the client ---- */

static const char *const arrangements[] = {
    "{}",
    "{\"use_progress_thread\":true}",
    "{\"rpc_thread_count\":2}",
    "{\"use_progress_thread\":true,\"rpc_thread_count\":2}",
    "{\"use_progress_thread\":true,\"rpc_thread_count\":-1}",
    "{\"argobots\":{\"pools\":[{\"name\":\"orphan\"}]},\"rpc_pool\":\"orphan\"}",
    "{\"argobots\":{\"pools\":[{\"name\":\"old\",\"kind\":\"earliest_first\"}]},\"rpc_pool\":\"old\"}",
    "{\"progress_spindown_msec\":0}",
};

struct client {
    margo_instance_id mid;
    hg_addr_t addr;
    struct ids ids;
};

static int call_sum(struct client *c, int32_t x, int32_t y)
{
    hg_handle_t h;
    sum_in_t in = {.x = x, .y = y};
    sum_out_t out;
    assert_int_equal(margo_create(c->mid, c->addr, c->ids.sum, &h), HG_SUCCESS);
    assert_int_equal(margo_forward(h, &in), HG_SUCCESS);
    assert_int_equal(margo_get_output(h, &out), HG_SUCCESS);
    int result = out.sum;
    margo_free_output(h, &out);
    margo_destroy(h);
    return result;
}

static int call_int(struct client *c, hg_id_t id, uint16_t provider)
{
    hg_handle_t h;
    sum_out_t out;
    assert_int_equal(margo_create(c->mid, c->addr, id, &h), HG_SUCCESS);
    assert_int_equal(margo_provider_forward(provider, h, NULL), HG_SUCCESS);
    assert_int_equal(margo_get_output(h, &out), HG_SUCCESS);
    margo_free_output(h, &out);
    margo_destroy(h);
    return out.sum;
}

static void with_client(const char *server_config, const char *client_config, void (*body)(struct client *))
{
    struct peer peer;
    struct client c;
    peer_start(&peer, server_config, setup);
    c.mid = peer_connect(&peer, client_config, &c.addr);
    register_all(c.mid, &c.ids);
    c.ids.whoami = MARGO_REGISTER(c.mid, "whoami", void, sum_out_t, NULL);
    body(&c);
    margo_addr_free(c.mid, c.addr);
    peer_stop(&peer, c.mid);
    margo_finalize(c.mid);
}

static void with_every_arrangement(void (*body)(struct client *))
{
    for (size_t i = 0; i < sizeof arrangements / sizeof *arrangements; i++) {
        with_client(arrangements[i], "{}", body);
        with_client("{}", arrangements[i], body);
    }
}

static void sums(struct client *c)
{
    for (int i = 0; i < 100; i++)
        assert_int_equal(call_sum(c, i, 1000), i + 1000);
    assert_int_equal(call_void(c->mid, c->addr, c->ids.nothing, MARGO_DEFAULT_PROVIDER_ID, 0), HG_SUCCESS);
    assert_int_equal(call_void(c->mid, c->addr, c->ids.handed_over, MARGO_DEFAULT_PROVIDER_ID, 0), HG_SUCCESS);
}

static void calls_work_in_every_arrangement(void **state)
{
    (void)state;
    with_every_arrangement(sums);
}

static void echoes(struct client *c)
{
    static const size_t sizes[] = {0, 1, 100, 3000, 5000, 100000, 3000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        text_t in, out;
        hg_handle_t h;
        in.text = malloc(sizes[i] + 1);
        memset(in.text, 'x', sizes[i]);
        in.text[sizes[i]] = '\0';
        assert_int_equal(margo_create(c->mid, c->addr, c->ids.echo, &h), HG_SUCCESS);
        assert_int_equal(margo_forward(h, &in), HG_SUCCESS);
        assert_int_equal(margo_get_output(h, &out), HG_SUCCESS);
        assert_string_equal(out.text, in.text);
        margo_free_output(h, &out);
        margo_destroy(h);
        free(in.text);
    }
}

static void inputs_and_outputs_of_every_size(void **state)
{
    (void)state;
    with_client("{}", "{}", echoes);
}

static void providers(struct client *c)
{
    assert_int_equal(call_int(c, c->ids.whoami, 1), 1);
    assert_int_equal(call_int(c, c->ids.whoami, 2), 2);
    assert_int_equal(call_void(c->mid, c->addr, c->ids.whoami, 3, 0), HG_NOENTRY);
    hg_id_t unknown = MARGO_REGISTER(c->mid, "unknown", void, void, NULL);
    assert_int_equal(call_void(c->mid, c->addr, unknown, MARGO_DEFAULT_PROVIDER_ID, 0), HG_NOENTRY);
    char buffer[16];
    size_t size = 3;
    assert_int_equal(margo_provider_get_identity(c->mid, c->addr, 2, buffer, &size), HG_NOMEM);
    assert_int_equal(size, 7);
    size = sizeof buffer;
    assert_int_equal(margo_provider_get_identity(c->mid, c->addr, 2, buffer, &size), HG_SUCCESS);
    assert_string_equal(buffer, "tester");
    assert_int_equal(margo_provider_get_identity(c->mid, c->addr, 1, buffer, &size), HG_NOENTRY);
}

static void providers_have_their_own_handlers_and_pools(void **state)
{
    (void)state;
    with_client("{\"rpc_thread_count\":1}", "{}", providers);
    with_client("{\"use_progress_thread\":true}", "{}", providers);
}

static void one_way(struct client *c)
{
    for (int i = 0; i < 50; i++)
        assert_int_equal(call_void(c->mid, c->addr, c->ids.note, MARGO_DEFAULT_PROVIDER_ID, 0), HG_SUCCESS);
    double end = now_s() + 10;
    while (call_int(c, c->ids.count_notes, MARGO_DEFAULT_PROVIDER_ID) < 50)
        assert_true(now_s() < end);
}

static void one_way_calls_arrive(void **state)
{
    (void)state;
    with_client("{}", "{}", one_way);
}

static void timeouts(struct client *c)
{
    double start = now_s();
    assert_int_equal(call_void(c->mid, c->addr, c->ids.slow, MARGO_DEFAULT_PROVIDER_ID, 50), HG_TIMEOUT);
    assert_true(now_s() - start >= 0.05);
    assert_int_equal(call_void(c->mid, c->addr, c->ids.slow, MARGO_DEFAULT_PROVIDER_ID, 5000), HG_SUCCESS);
    /* The handle may be used again at once; the late answer does not disturb it. */
    hg_handle_t h;
    assert_int_equal(margo_create(c->mid, c->addr, c->ids.slow, &h), HG_SUCCESS);
    assert_int_equal(margo_forward_timed(h, NULL, 1), HG_TIMEOUT);
    assert_int_equal(margo_forward_timed(h, NULL, 1), HG_TIMEOUT);
    assert_int_equal(margo_forward_timed(h, NULL, 3000), HG_SUCCESS);
    margo_destroy(h);
    for (int i = 0; i < 200; i++)
        call_void(c->mid, c->addr, c->ids.nothing, MARGO_DEFAULT_PROVIDER_ID, 0.02);
    assert_int_equal(call_sum(c, 1, 2), 3);
}

static void deadlines_end_calls(void **state)
{
    (void)state;
    with_client("{}", "{}", timeouts);
    with_client("{\"rpc_thread_count\":2}", "{\"use_progress_thread\":true}", timeouts);
}

#define IN_FLIGHT 16

static void requests(struct client *c)
{
    margo_request reqs[IN_FLIGHT];
    hg_handle_t handles[IN_FLIGHT];
    for (int i = 0; i < IN_FLIGHT; i++) {
        sum_in_t in = {.x = i, .y = i};
        assert_int_equal(margo_create(c->mid, c->addr, c->ids.sum, &handles[i]), HG_SUCCESS);
        assert_int_equal(margo_iforward(handles[i], &in, &reqs[i]), HG_SUCCESS);
    }
    assert_ptr_equal(margo_request_get_handle(reqs[3]), handles[3]);
    assert_int_equal(margo_request_get_type(reqs[3]), MARGO_FORWARD_REQUEST);
    int flag = 0;
    while (!flag) {
        assert_int_equal(margo_test(reqs[0], &flag), 0);
        ABT_thread_yield();
    }
    assert_int_equal(margo_wait(reqs[0]), HG_SUCCESS);
    reqs[0] = MARGO_REQUEST_NULL;
    for (int i = 1; i < IN_FLIGHT; i++) {
        size_t index;
        assert_int_equal(margo_wait_any(IN_FLIGHT, reqs, &index), HG_SUCCESS);
        assert_true(index > 0 && index < IN_FLIGHT && reqs[index]);
        reqs[index] = MARGO_REQUEST_NULL;
    }
    size_t index;
    assert_int_equal(margo_wait_any(IN_FLIGHT, reqs, &index), HG_SUCCESS);
    assert_int_equal(index, IN_FLIGHT);
    for (int i = 0; i < IN_FLIGHT; i++) {
        sum_out_t out;
        assert_int_equal(margo_get_output(handles[i], &out), HG_SUCCESS);
        assert_int_equal(out.sum, 2 * i);
        margo_free_output(handles[i], &out);
        margo_destroy(handles[i]);
    }
}

static void requests_can_be_waited_for_in_any_way(void **state)
{
    (void)state;
    with_client("{}", "{}", requests);
    with_client("{\"rpc_thread_count\":2}", "{\"use_progress_thread\":true}", requests);
}

struct completion {
    ABT_eventual done;
    hg_return_t ret;
};

static void on_complete(void *arg, hg_return_t ret)
{
    struct completion *completion = arg;
    completion->ret = ret;
    ABT_eventual_set(completion->done, NULL, 0);
}

static hg_return_t call_with_callback(struct client *c, hg_id_t id, double timeout_ms)
{
    struct completion completion;
    hg_handle_t h;
    ABT_eventual_create(0, &completion.done);
    assert_int_equal(margo_create(c->mid, c->addr, id, &h), HG_SUCCESS);
    hg_return_t ret =
        margo_provider_cforward_timed(MARGO_DEFAULT_PROVIDER_ID, h, NULL, timeout_ms, on_complete, &completion);
    assert_int_equal(ret, HG_SUCCESS);
    margo_destroy(h);
    ABT_eventual_wait(completion.done, NULL);
    ABT_eventual_free(&completion.done);
    return completion.ret;
}

static void callbacks(struct client *c)
{
    for (int i = 0; i < 20; i++)
        assert_int_equal(call_with_callback(c, c->ids.nothing, 0), HG_SUCCESS);
    assert_int_equal(call_with_callback(c, c->ids.nothing, 5000), HG_SUCCESS);
    assert_int_equal(call_with_callback(c, c->ids.slow, 20), HG_TIMEOUT);
}

static void callbacks_replace_requests(void **state)
{
    (void)state;
    with_client("{}", "{}", callbacks);
    with_client("{}", "{\"use_progress_thread\":true}", callbacks);
}

/* ---- callers of every kind ---- */

#define CALLERS 8
#define CALLS   100

static void caller(void *arg)
{
    for (int i = 0; i < CALLS; i++)
        assert_int_equal(call_sum(arg, i, -i), 0);
}

static void *external_caller(void *arg)
{
    caller(arg);
    return NULL;
}

static void from_ults(struct client *c)
{
    ABT_thread threads[CALLERS];
    ABT_pool pool;
    margo_get_handler_pool(c->mid, &pool);
    for (int i = 0; i < CALLERS; i++)
        ABT_thread_create(pool, caller, c, ABT_THREAD_ATTR_NULL, &threads[i]);
    for (int i = 0; i < CALLERS; i++)
        ABT_thread_free(&threads[i]);
}

static void from_threads(struct client *c)
{
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, external_caller, c), 0);
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
}

static void calls_from_ults_and_threads(void **state)
{
    (void)state;
    with_client("{}", "{}", from_ults);
    with_client("{\"rpc_thread_count\":2}", "{\"rpc_thread_count\":2}", from_ults);
    with_client("{}", "{\"use_progress_thread\":true}", from_threads);
    with_client("{\"rpc_thread_count\":2}", "{\"use_progress_thread\":true,\"rpc_thread_count\":1}", from_threads);
}

static void to_self(const char *config)
{
    struct client c;
    c.mid = start_instance(MARGO_SERVER_MODE, config);
    register_all(c.mid, &c.ids);
    assert_int_equal(margo_addr_self(c.mid, &c.addr), HG_SUCCESS);
    sums(&c);
    timeouts(&c);
    margo_addr_free(c.mid, c.addr);
    margo_finalize(c.mid);
}

static void calls_to_oneself(void **state)
{
    (void)state;
    to_self("{}");
    to_self("{\"use_progress_thread\":true,\"rpc_thread_count\":1}");
}

static void ids_are_those_of_the_original(void **state)
{
    (void)state;
    margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, "{}");
    static const struct {
        const char *name;
        uint32_t hash;
    } known[] = {{"echo", 0xe1fdae52},
                 {"my_rpc", 0xcc5ce282},
                 {"__shutdown__", 0x788dd320},
                 {"a_function_name_longer_than_24", 0xb84e2d54}};
    hg_id_t id;
    hg_bool_t flag;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_int_equal(margo_registered_name(mid, known[i].name, &id, &flag), HG_SUCCESS);
        assert_true(id == ((hg_id_t)known[i].hash << 32 | 0xffff));
        assert_int_equal(flag, strcmp(known[i].name, "__shutdown__") == 0);
    }
    assert_int_equal(margo_provider_registered_name(mid, "echo", 7, &id, &flag), HG_SUCCESS);
    assert_true((id & 0xffff) == 7);
    margo_finalize(mid);
}

static void count_free(void *data)
{
    (*(int *)data)++;
}

static void data_are_freed_when_replaced_and_at_the_end(void **state)
{
    (void)state;
    int first = 0, second = 0, third = 0;
    margo_instance_id mid = start_instance(MARGO_SERVER_MODE, "{}");
    hg_id_t id = MARGO_REGISTER(mid, "nothing", void, void, nothing);
    assert_null(margo_registered_data(mid, id));
    assert_int_equal(margo_register_data(mid, id + 1, &first, count_free), HG_OTHER_ERROR);
    assert_int_equal(margo_register_data(mid, id, &first, count_free), HG_SUCCESS);
    assert_ptr_equal(margo_registered_data(mid, id), &first);
    margo_register_data(mid, id, &second, count_free);
    assert_int_equal(first, 1);
    assert_int_equal(margo_deregister(mid, id), HG_SUCCESS);
    assert_int_equal(second, 1);
    assert_int_equal(margo_deregister(mid, id), HG_NOENTRY);
    id = MARGO_REGISTER(mid, "nothing", void, void, nothing);
    margo_register_data(mid, id, &third, count_free);
    margo_finalize(mid);
    assert_int_equal(third, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_work_in_every_arrangement),
        cmocka_unit_test(inputs_and_outputs_of_every_size),
        cmocka_unit_test(providers_have_their_own_handlers_and_pools),
        cmocka_unit_test(one_way_calls_arrive),
        cmocka_unit_test(deadlines_end_calls),
        cmocka_unit_test(requests_can_be_waited_for_in_any_way),
        cmocka_unit_test(callbacks_replace_requests),
        cmocka_unit_test(calls_from_ults_and_threads),
        cmocka_unit_test(calls_to_oneself),
        cmocka_unit_test(ids_are_those_of_the_original),
        cmocka_unit_test(data_are_freed_when_replaced_and_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
