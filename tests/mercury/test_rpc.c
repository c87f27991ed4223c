/*
 * Calls between two processes over na+sm, and within one.
 */
#include "tests/mercury/peer.h"

static struct peer peer;
static struct side client;
static hg_addr_t server;

static int setup(void **state)
{
    (void)state;
    pair_start(&peer, &client, false, &server);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_stop(&peer, &client, server);
    return 0;
}

static hg_handle_t create(hg_addr_t addr, hg_id_t id)
{
    hg_handle_t handle;

    assert_int_equal(HG_Create(client.context, addr, id, &handle), HG_SUCCESS);
    return handle;
}

static void check_sum(hg_addr_t addr)
{
    hg_handle_t handle = create(addr, client.rpcs.sum);
    sum_in_t in = {.x = 40, .y = 2};
    sum_out_t out;

    assert_int_equal(side_call(&client, handle, &in), HG_SUCCESS);
    assert_int_equal(HG_Get_output(handle, &out), HG_SUCCESS);
    assert_int_equal(out.sum, 42);
    assert_int_equal(HG_Free_output(handle, &out), HG_SUCCESS);
    assert_int_equal(HG_Ref_get(handle), 1);
    assert_int_equal(HG_Destroy(handle), HG_SUCCESS);
}

static void test_sum(void **state)
{
    (void)state;
    check_sum(server);
}

static void test_self(void **state)
{
    hg_addr_t self;

    (void)state;
    assert_int_equal(HG_Addr_self(client.hg_class, &self), HG_SUCCESS);
    check_sum(self);
    HG_Addr_free(client.hg_class, self);
}

/* One handle, many calls: reset keeps everything usable. */
static void test_reuse(void **state)
{
    hg_handle_t handle = create(HG_ADDR_NULL, 0);
    sum_out_t out;

    (void)state;
    assert_int_equal(HG_Forward(handle, NULL, NULL, NULL), HG_INVALID_ARG);
    for (int i = 0; i < 1000; i++) {
        sum_in_t in = {.x = i, .y = 1};
        assert_int_equal(HG_Reset(handle, server, client.rpcs.sum), HG_SUCCESS);
        assert_int_equal(side_call(&client, handle, &in), HG_SUCCESS);
        assert_int_equal(HG_Get_output(handle, &out), HG_SUCCESS);
        assert_int_equal(out.sum, i + 1);
        HG_Free_output(handle, &out);
    }
    HG_Destroy(handle);
}

static void check_echo(hg_addr_t addr, size_t length)
{
    hg_handle_t handle = create(addr, client.rpcs.echo);
    text_t in = {.text = malloc(length + 1)}, out;

    memset(in.text, 'a', length);
    in.text[length] = '\0';
    if (length > 2)
        in.text[length / 2] = 'b';
    assert_int_equal(side_call(&client, handle, &in), HG_SUCCESS);
    assert_int_equal(HG_Get_output(handle, &out), HG_SUCCESS);
    assert_string_equal(in.text, out.text);
    HG_Free_output(handle, &out);
    free(in.text);
    HG_Destroy(handle);
}

/* Around the sizes where the way of transport changes, up to several megabytes. */
static void test_sizes(void **state)
{
    static const size_t sizes[] = {0,     1,     200,   247,   248,   249,    4000,   16000,
                                   16343, 16350, 16352, 16360, 16400, 100000, 5000000};
    hg_addr_t self;

    (void)state;
    HG_Addr_self(client.hg_class, &self);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_echo(server, sizes[i]);
        check_echo(self, sizes[i]);
    }
    HG_Addr_free(client.hg_class, self);
}

static void test_null_string(void **state)
{
    hg_handle_t handle = create(server, client.rpcs.echo);
    text_t in = {.text = NULL}, out;

    (void)state;
    assert_int_equal(side_call(&client, handle, &in), HG_SUCCESS);
    assert_int_equal(HG_Get_output(handle, &out), HG_SUCCESS);
    assert_null(out.text);
    HG_Free_output(handle, &out);
    HG_Destroy(handle);
}

static void test_unknown_rpc(void **state)
{
    hg_id_t id = HG_Register_name(client.hg_class, "nobody has this", NULL, NULL, NULL);
    hg_handle_t handle = create(server, id);
    sum_out_t out;

    (void)state;
    assert_int_equal(side_call(&client, handle, NULL), HG_NOENTRY);
    assert_int_equal(HG_Get_output(handle, &out), HG_NOENTRY);
    HG_Destroy(handle);
    assert_int_equal(HG_Create(client.context, server, 12345, &handle), HG_NOENTRY);
    assert_null(handle);
}

static int notified(void)
{
    hg_handle_t handle = create(server, client.rpcs.count);
    sum_out_t out;

    assert_int_equal(side_call(&client, handle, NULL), HG_SUCCESS);
    assert_int_equal(HG_Get_output(handle, &out), HG_SUCCESS);
    HG_Free_output(handle, &out);
    HG_Destroy(handle);
    return out.sum;
}

/* One-way calls, small and large; the large one completes when the server has fetched the input. */
static void test_one_way(void **state)
{
    text_t small = {.text = (char[]){"hello"}}, large = {.text = malloc(1000001)};
    hg_handle_t handle;
    int before = notified();

    (void)state;
    memset(large.text, 'x', 1000000);
    large.text[1000000] = '\0';
    for (int i = 0; i < 4; i++) {
        handle = create(server, client.rpcs.notify);
        assert_int_equal(side_call(&client, handle, i % 2 ? &large : &small), HG_SUCCESS);
        HG_Destroy(handle);
    }
    assert_int_equal(notified(), before + 4);
    free(large.text);
}

/* Many calls in flight; every one is answered. */
static void test_many(void **state)
{
    enum { COUNT = 2000 };
    struct call *calls = calloc(COUNT, sizeof *calls);
    hg_handle_t *handles = calloc(COUNT, sizeof *handles);
    sum_out_t out;

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        sum_in_t in = {.x = i, .y = i};
        handles[i] = create(server, client.rpcs.sum);
        assert_int_equal(HG_Forward(handles[i], call_done, &calls[i], &in), HG_SUCCESS);
        assert_int_equal(HG_Forward(handles[i], call_done, &calls[i], &in), HG_BUSY);
        assert_int_equal(HG_Reset(handles[i], server, client.rpcs.sum), HG_BUSY);
    }
    for (int i = 0; i < COUNT; i++) {
        side_until(&client, &calls[i].done);
        assert_int_equal(calls[i].ret, HG_SUCCESS);
        assert_int_equal(HG_Get_output(handles[i], &out), HG_SUCCESS);
        assert_int_equal(out.sum, 2 * i);
        HG_Free_output(handles[i], &out);
        HG_Destroy(handles[i]);
    }
    free(calls);
    free(handles);
}

/* What a thread collects leaves at the latest when that thread looks for answers. */
static void test_collected(void **state)
{
    enum { COUNT = 100 };
    struct call calls[COUNT] = {0};
    hg_handle_t handles[COUNT];

    (void)state;
    check_sum(server); /* connects */
    const void *corked = dango_hg_cork(client.context);
    assert_null(corked ? dango_hg_cork(client.context) : NULL); /* one at a time */
    for (int i = 0; i < COUNT; i++) {
        sum_in_t in = {.x = i, .y = i};
        handles[i] = create(server, client.rpcs.sum);
        assert_int_equal(HG_Forward(handles[i], call_done, &calls[i], &in), HG_SUCCESS);
    }
    for (int i = 0; i < COUNT; i++) {
        side_until(&client, &calls[i].done);
        assert_int_equal(calls[i].ret, HG_SUCCESS);
        HG_Destroy(handles[i]);
    }
    dango_hg_uncork(client.context, corked);
    check_sum(server);
}

static void test_cancel(void **state)
{
    hg_addr_t self, targets[2];

    (void)state;
    HG_Addr_self(client.hg_class, &self);
    targets[0] = server;
    targets[1] = self;
    for (int i = 0; i < 2; i++) {
        hg_handle_t handle = create(targets[i], client.rpcs.hang);
        struct call call = {0};
        assert_int_equal(HG_Forward(handle, call_done, &call, NULL), HG_SUCCESS);
        assert_int_equal(HG_Cancel(handle), HG_SUCCESS);
        assert_int_equal(HG_Cancel(handle), HG_SUCCESS);
        side_until(&client, &call.done);
        assert_int_equal(call.ret, HG_CANCELED);
        /* The handle can be used again at once. */
        sum_in_t in = {.x = 1, .y = 2};
        assert_int_equal(HG_Reset(handle, targets[i], client.rpcs.sum), HG_SUCCESS);
        assert_int_equal(side_call(&client, handle, &in), HG_SUCCESS);
        HG_Destroy(handle);
    }
    HG_Addr_free(client.hg_class, self);
}

/* A late answer to a cancelled call does not disturb the handle's next one. */
static void test_late_answer(void **state)
{
    hg_handle_t handle = create(server, client.rpcs.sum);
    sum_out_t out;

    (void)state;
    for (int i = 0; i < 500; i++) {
        struct call call = {0};
        sum_in_t in = {.x = i, .y = 0}, wrong = {.x = -1, .y = -1};
        assert_int_equal(HG_Forward(handle, call_done, &call, &wrong), HG_SUCCESS);
        assert_int_equal(HG_Cancel(handle), HG_SUCCESS);
        side_until(&client, &call.done);
        assert_int_equal(side_call(&client, handle, &in), HG_SUCCESS);
        assert_int_equal(HG_Get_output(handle, &out), HG_SUCCESS);
        assert_int_equal(out.sum, i);
        HG_Free_output(handle, &out);
    }
    HG_Destroy(handle);
}

static void free_counter(void *data)
{
    ++*(int *)data;
}

static void test_handle_data(void **state)
{
    hg_handle_t handle = create(server, client.rpcs.null);
    int freed = 0;

    (void)state;
    assert_int_equal(HG_Set_data(handle, &freed, free_counter), HG_SUCCESS);
    assert_int_equal(side_call(&client, handle, NULL), HG_SUCCESS);
    assert_ptr_equal(HG_Get_data(handle), &freed);
    assert_int_equal(HG_Ref_incr(handle), HG_SUCCESS);
    HG_Destroy(handle);
    assert_int_equal(freed, 0);
    HG_Destroy(handle);
    assert_int_equal(freed, 1);
    assert_int_equal(HG_Destroy(HG_HANDLE_NULL), HG_SUCCESS);
}

/* A serialiser that fails makes the forward fail with its code, and the handle stays usable. */
static hg_return_t proc_again(hg_proc_t proc, void *data)
{
    (void)proc;
    (void)data;
    return HG_AGAIN;
}

static void test_proc_error(void **state)
{
    hg_id_t id = HG_Register_name(client.hg_class, "refuses to encode", proc_again, NULL, NULL);
    hg_handle_t handle = create(server, id);
    int dummy = 0;

    (void)state;
    assert_int_equal(HG_Forward(handle, NULL, NULL, &dummy), HG_AGAIN);
    assert_int_equal(HG_Ref_get(handle), 1);
    HG_Destroy(handle);
}

/* What the server cannot decode is answered with an error. */
static void test_bad_input(void **state)
{
    hg_id_t id = HG_Register_name(client.hg_class, "sum", hg_proc_uint8_t, hg_proc_sum_out_t, NULL);
    hg_handle_t handle = create(server, id);
    uint8_t byte = 1;

    (void)state;
    assert_int_equal(side_call(&client, handle, &byte), HG_PROTOCOL_ERROR);
    HG_Destroy(handle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sum, setup, teardown),
        cmocka_unit_test_setup_teardown(test_self, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reuse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_null_string, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_rpc, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_collected, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_handle_data, setup, teardown),
        cmocka_unit_test_setup_teardown(test_proc_error, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_input, setup, teardown),
    };
    return cmocka_run_group_tests_name("mercury-rpc", tests, NULL, NULL);
}
