/*
 * What the endpoint of libfabric keeps of peers that come and go: nothing, when they are gone. All sides are in this
 * process, so that the server can be looked into.
 */
#include "tests/mercury/peer.h"

#include "mercury/hg.h"
#include "mercury/na/ofi/ofi.h"
#include "util/clock.h"

#include <dirent.h>
#include <malloc.h>

#define WARM_UP     10
#define VISITORS    40
#define MAX_VISITOR 512 /* bytes that one may leave behind: tables of libfabric grow in steps */

static struct side server;
static hg_addr_t self;
static char address[256];

static unsigned known_peers(void)
{
    return atomic_load(&((struct ofi_domain *)server.context->na->domain)->peer_count);
}

static int setup(void **state)
{
    hg_size_t size = sizeof address;

    (void)state;
    side_open(&server, test_protocol(), true, NULL);
    assert_int_equal(HG_Addr_self(server.hg_class, &self), HG_SUCCESS);
    assert_int_equal(HG_Addr_to_string(server.hg_class, address, &size, self), HG_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    HG_Addr_free(server.hg_class, self);
    side_close(&server);
    return 0;
}

static void progress(struct side *side)
{
    unsigned count;

    HG_Progress(side->context, 1);
    HG_Trigger(side->context, 0, 64, &count);
}

/* Progresses the server until it knows as many peers as it should. */
static void until_known(unsigned count)
{
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);

    while (known_peers() != count) {
        progress(&server);
        assert_true(dango_clock_ns() < deadline);
    }
}

/* A client with an address of its own calls once and goes. */
static void visit(void)
{
    struct side client;
    struct call call = {0};
    sum_in_t in = {.x = 1, .y = 2};
    hg_handle_t handle;
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);

    side_open(&client, test_protocol(), false, NULL);
    hg_addr_t addr = side_lookup(&client, address);
    assert_int_equal(HG_Create(client.context, addr, client.rpcs.sum, &handle), HG_SUCCESS);
    assert_int_equal(HG_Forward(handle, call_done, &call, &in), HG_SUCCESS);
    while (!call.done) {
        progress(&client);
        progress(&server);
        assert_true(dango_clock_ns() < deadline);
    }
    assert_int_equal(call.ret, HG_SUCCESS);
    assert_int_equal(known_peers(), 1);
    HG_Destroy(handle);
    HG_Addr_free(client.hg_class, addr);
    side_close(&client);
    until_known(0);
}

static int descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* Visitors leave next to nothing. libfabric frees its own connection to a peer a moment after that is gone. */
static void test_visitors(void **state)
{
    (void)state;
    for (int i = 0; i < WARM_UP; i++)
        visit();
    size_t heap = mallinfo2().uordblks;
    int fds = descriptors();
    for (int i = 0; i < VISITORS; i++)
        visit();
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);
    while (descriptors() > fds || mallinfo2().uordblks > heap + VISITORS * MAX_VISITOR) {
        progress(&server);
        if (dango_clock_ns() > deadline)
            fail_msg("%d visitors have left %zu bytes and %d descriptors", VISITORS, mallinfo2().uordblks - heap,
                     descriptors() - fds);
    }
}

int main(void)
{
    setenv("DANGO_TEST_PROTOCOL", "ofi+tcp://127.0.0.1", 0);
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_visitors, setup, teardown)};
    return cmocka_run_group_tests_name("mercury-ofi", tests, NULL, NULL);
}
