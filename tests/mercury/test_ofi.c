/*
 * What the endpoint of libfabric keeps of peers that come and go: nothing, when they are gone; and frames that overtake
 * others. All sides are in this process, so that the server can be looked into.
 */
#include "tests/mercury/peer.h"

#include "mercury/hg.h"
#include "mercury/na/ofi/ofi.h"
#include "util/clock.h"

#include <dirent.h>
#include <endian.h>
#include <malloc.h>
#include <signal.h>

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

static void handler(int number)
{
    (void)number;
}

/* Loading libfabric, which this is the first to do, leaves handlers of signals alone. */
static void test_signals(void **state)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGBUS};
    struct sigaction now;

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        signal(numbers[i], handler);
    setup(state);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaction(numbers[i], NULL, &now);
        assert_ptr_equal(now.sa_handler, handler);
        signal(numbers[i], SIG_DFL);
    }
    teardown(state);
}

/* "DOMAIN/HOST": with the name of an interface, which says the address, and beside an address. */
static void test_domains(void **state)
{
    static const char *const names[] = {"ofi+tcp://lo/", "ofi+tcp://lo/:0", "tcp;ofi_rxm://lo/127.0.0.1:0",
                                        "ofi+sockets://lo/127.0.0.1"};
    hg_class_t *hg_class;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        hg_class = HG_Init(names[i], HG_TRUE);
        assert_non_null(hg_class);
        hg_size_t size = sizeof address;
        assert_int_equal(HG_Addr_self(hg_class, &self), HG_SUCCESS);
        assert_int_equal(HG_Addr_to_string(hg_class, address, &size, self), HG_SUCCESS);
        assert_contains(address, "://127.0.0.1:");
        HG_Addr_free(hg_class, self);
        assert_int_equal(HG_Finalize(hg_class), HG_SUCCESS);
    }
    assert_null(HG_Init("ofi+tcp://nosuch0/127.0.0.1", HG_TRUE));
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

static void until_done(struct side *client, struct call *call)
{
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);

    while (!call->done) {
        progress(client);
        progress(&server);
        assert_true(dango_clock_ns() < deadline);
    }
    assert_int_equal(call->ret, HG_SUCCESS);
}

/* A client with an address of its own calls once and goes. */
static void visit(void)
{
    struct side client;
    struct call call = {0};
    sum_in_t in = {.x = 1, .y = 2};
    hg_handle_t handle;

    side_open(&client, test_protocol(), false, NULL);
    hg_addr_t addr = side_lookup(&client, address);
    assert_int_equal(HG_Create(client.context, addr, client.rpcs.sum, &handle), HG_SUCCESS);
    assert_int_equal(HG_Forward(handle, call_done, &call, &in), HG_SUCCESS);
    until_done(&client, &call);
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

/* ---- frames ahead of their turn ---- */

static char arrived[64];
static struct na_upcalls upcalls;

static hg_return_t note(void *arg, struct na_conn *conn, const void *bytes, size_t size)
{
    (void)arg, (void)conn;
    assert_int_equal(size, 1);
    strncat(arrived, bytes, 1);
    return HG_SUCCESS;
}

static void note_closed(void *arg, struct na_conn *conn, hg_return_t why)
{
    strcat(arrived, "!");
    upcalls.closed(arg, conn, why);
}

/* A frame from a peer; its message is one letter. */
static void receive(enum ofi_kind kind, uint64_t token, uint32_t number, const void *head, uint32_t size)
{
    unsigned char bytes[sizeof(struct ofi_frame) + sizeof(struct ofi_hello)];
    const struct ofi_frame frame = {
        .token = htole64(token), .kind = htole32(kind), .head_size = htole32(size), .number = htole32(number)};

    memcpy(bytes, &frame, sizeof frame);
    memcpy(bytes + sizeof frame, head, size);
    ofi_arrived((struct ofi_context *)server.context->na, bytes, sizeof frame + size);
}

/* A stranger says hello; it has our own address, which is one that can be reached. Returns the token of its
 * connection. */
static uint64_t hello(void)
{
    struct ofi_hello hello = {.token = htole64(7), .epoch = 8};

    na_hello_fill(&hello.base, server.context->na, server.context->na->id);
    receive(OFI_HELLO, 0, 0, &hello, sizeof hello);
    struct ofi_context *context = (struct ofi_context *)server.context->na;
    assert_non_null(context->tokens);
    return context->tokens->token;
}

static void start_noting(void)
{
    upcalls = server.context->na->upcalls;
    server.context->na->upcalls.message = note;
    server.context->na->upcalls.closed = note_closed;
    *arrived = '\0';
}

static void test_order(void **state)
{
    uint64_t token = hello();

    (void)state;
    start_noting();
    receive(OFI_MESSAGE, token, 2, "c", 1);
    receive(OFI_MESSAGE, token, 1, "b", 1);
    receive(OFI_BYE, token, 5, "", 0);
    receive(OFI_PING, token, 0, "", 0);
    assert_string_equal(arrived, "");
    receive(OFI_MESSAGE, token, 0, "a", 1);
    assert_string_equal(arrived, "abc");
    receive(OFI_MESSAGE, token, 4, "e", 1);
    assert_string_equal(arrived, "abc");
    receive(OFI_MESSAGE, token, 3, "d", 1);
    assert_string_equal(arrived, "abcde!");
}

/* The same number twice, and one from the past, end the connection, and so does a BYE whose predecessors never come. */
static void test_disorder(void **state)
{
    (void)state;
    start_noting();
    uint64_t token = hello();
    receive(OFI_MESSAGE, token, 1, "b", 1);
    receive(OFI_MESSAGE, token, 1, "b", 1);
    assert_string_equal(arrived, "!");
    token = hello();
    receive(OFI_MESSAGE, token, 0, "a", 1);
    receive(OFI_MESSAGE, token, 0, "a", 1);
    assert_string_equal(arrived, "!a!");
    receive(OFI_BYE, hello(), 1, "", 0);
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);
    while (strcmp(arrived, "!a!!") != 0) {
        progress(&server);
        assert_true(dango_clock_ns() < deadline);
    }
}

/* What waits for its turn is limited. */
static void test_early_limit(void **state)
{
    (void)state;
    start_noting();
    uint64_t token = hello();
    struct ofi_conn *conn = ((struct ofi_context *)server.context->na)->tokens;
    receive(OFI_MESSAGE, token, 1, "b", 1);
    conn->early_bytes = OFI_EARLY_MAX - OFI_EARLY_COST;
    receive(OFI_MESSAGE, token, 2, "c", 1);
    assert_string_equal(arrived, "!");
}

/* A sender does not reach the limit: it waits until everything has arrived. */
static void test_sender_waits(void **state)
{
    struct side client;
    struct call call = {0};
    hg_handle_t handle;

    (void)state;
    side_open(&client, test_protocol(), false, NULL);
    hg_addr_t addr = side_lookup(&client, address);
    assert_int_equal(HG_Create(client.context, addr, client.rpcs.null, &handle), HG_SUCCESS);
    assert_int_equal(HG_Forward(handle, call_done, &call, NULL), HG_SUCCESS);
    until_done(&client, &call);
    struct ofi_conn *conn = ((struct ofi_context *)client.context->na)->tokens;
    while (atomic_load(&conn->unarrived) > 0)
        progress(&client);
    atomic_store(&conn->unarrived, 1);
    conn->unsettled = OFI_EARLY_MAX + 1 - ofi_early_cost(sizeof(struct hgi_header)) - ofi_early_cost(0); /* a BYE */
    call.done = false;
    assert_int_equal(HG_Forward(handle, call_done, &call, NULL), HG_SUCCESS);
    progress(&client);
    assert_true(atomic_load(&conn->base.has_backlog));
    atomic_store(&conn->unarrived, 0);
    until_done(&client, &call);
    HG_Destroy(handle);
    HG_Addr_free(client.hg_class, addr);
    side_close(&client);
}

/* Who does not know a connection any more may still have sent something over it; who never did is another process. */
static void test_gone(void **state)
{
    struct ofi_hello who = {.token = htole64(7), .epoch = 8};

    (void)state;
    start_noting();
    na_hello_fill(&who.base, server.context->na, server.context->na->id);
    uint64_t token = hello();
    receive(OFI_PING, token, 0, "", 0);
    receive(OFI_GONE, token, 0, &who, sizeof who);
    receive(OFI_MESSAGE, token, 0, "a", 1);
    assert_string_equal(arrived, "a");
    who.epoch = 9;
    receive(OFI_GONE, token, 0, &who, sizeof who);
    assert_string_equal(arrived, "a!");
}

/* However many ask, few are answered, and nothing is kept of them. */
static void test_strangers(void **state)
{
    struct ofi_hello who = {.token = htole64(7), .epoch = 8};
    const struct ofi_context *context = (struct ofi_context *)server.context->na;

    (void)state;
    na_hello_fill(&who.base, server.context->na, server.context->na->id);
    for (int i = 0; i < 2 * OFI_GONE_MAX; i++)
        receive(OFI_PING, 99, 0, &who, sizeof who);
    assert_int_equal(context->strangers, OFI_GONE_MAX);
    assert_null(context->tokens);
    until_known(0);
}

int main(void)
{
    setenv("DANGO_TEST_PROTOCOL", "ofi+tcp://127.0.0.1", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_domains),
        cmocka_unit_test_setup_teardown(test_visitors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disorder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_early_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sender_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
    };
    return cmocka_run_group_tests_name("mercury-ofi", tests, NULL, NULL);
}
