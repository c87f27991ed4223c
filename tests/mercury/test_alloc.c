/*
 * A null RPC allocates nothing, on either side, once the pools are warm. The allocator is wrapped by the linker.
 */
#include "tests/mercury/peer.h"

static _Atomic unsigned long allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

void *__wrap_malloc(size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    atomic_fetch_add(&allocations, 1);
    return __real_realloc(old, size);
}

static struct side client, server;

/* Both sides in this process, so that both are counted. */
static void call_null(hg_addr_t addr)
{
    struct call call = {0};
    hg_handle_t handle;
    unsigned count;

    HG_Create(client.context, addr, client.rpcs.null, &handle);
    HG_Forward(handle, call_done, &call, NULL);
    while (!call.done) {
        HG_Progress(server.context, 0);
        HG_Trigger(server.context, 0, 8, &count);
        HG_Progress(client.context, 0);
        HG_Trigger(client.context, 0, 8, &count);
    }
    HG_Destroy(handle);
}

static void check(hg_addr_t addr)
{
    for (int i = 0; i < 100; i++)
        call_null(addr);
    unsigned long before = atomic_load(&allocations);
    for (int i = 0; i < 10000; i++)
        call_null(addr);
    assert_int_equal(atomic_load(&allocations), before);
}

static void test_null_rpc(void **state)
{
    char address[256];
    hg_size_t size = sizeof address;
    hg_addr_t self, addr;

    (void)state;
    side_open(&server, test_protocol(), true, NULL);
    side_open(&client, test_protocol(), false, NULL);
    HG_Addr_self(server.hg_class, &self);
    HG_Addr_to_string(server.hg_class, address, &size, self);
    HG_Addr_free(server.hg_class, self);
    addr = side_lookup(&client, address);
    check(addr);
    HG_Addr_self(client.hg_class, &self);
    check(self);
    HG_Addr_free(client.hg_class, self);
    HG_Addr_free(client.hg_class, addr);
    assert_true(atomic_load(&allocations) > 0);
    side_close(&client);
    side_close(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_null_rpc)};
    return cmocka_run_group_tests_name("mercury-alloc", tests, NULL, NULL);
}
