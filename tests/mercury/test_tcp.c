/*
 * Peers of tcp that do not keep to the protocol: rubbish, half hellos, sizes beyond all limits, silence, data that
 * nobody asked for, streams cut into single bytes, and frames with random faults. Each costs its sender the connection
 * at most; the server goes on for everybody else.
 */
#include "tests/mercury/attacker.h"
#include "tests/mercury/peer.h"

#include "util/clock.h"

#include <sys/resource.h>
#include <unistd.h>

#define SILENT (NA_HALF_OPEN_MAX + 40)
#define ROUNDS 3000 /* of random faults */

static struct peer peer;
static struct side client;
static hg_addr_t server;

static int setup(void **state)
{
    struct rlimit limit;

    (void)state;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    pair_start(&peer, &client, false, &server);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_stop(&peer, &client, server);
    return 0;
}

static void expect_answers(int count)
{
    hg_handle_t handle;
    sum_in_t in = {.x = 20, .y = 22};

    assert_int_equal(HG_Create(client.context, server, client.rpcs.sum, &handle), HG_SUCCESS);
    for (int i = 0; i < count; i++)
        assert_int_equal(side_call(&client, handle, &in), HG_SUCCESS);
    HG_Destroy(handle);
}

/* Also over a new connection. */
static void expect_alive(void)
{
    expect_answers(1);
    HG_Addr_set_remove(client.hg_class, server);
}

/* ---- before the hello ---- */

static void test_rubbish(void **state)
{
    char rubbish[65536];

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof rubbish; i++)
            rubbish[i] = (char)rand();
        int sock = attacker_connect(peer.address);
        attacker_send(sock, rubbish, sizeof rubbish);
        attacker_expect_closed(sock);
        close(sock);
        expect_alive();
    }
}

static void send_frame_header(int sock, uint32_t head_size, uint32_t payload_size)
{
    struct tcp_frame frame = {.head_size = head_size, .payload_size = payload_size};
    attacker_send(sock, &frame, sizeof frame);
}

static void test_sizes(void **state)
{
    static const struct tcp_frame sizes[] = {{0, 0},           {UINT32_MAX, 0},        {TCP_MESSAGE_MAX + 1, 0},
                                             {24, UINT32_MAX}, {24, TCP_LOAN_MAX + 1}, {0, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int before = attacker_connect(peer.address), after = attacker_open(peer.address);
        send_frame_header(before, sizes[i].head_size, sizes[i].payload_size);
        send_frame_header(after, sizes[i].head_size, sizes[i].payload_size);
        attacker_expect_closed(before);
        attacker_expect_closed(after);
        close(before);
        close(after);
        expect_alive();
    }
}

static void try_hello(const struct tcp_hello *hello)
{
    int sock = attacker_connect(peer.address);

    attacker_send_hello(sock, hello);
    attacker_expect_closed(sock);
    close(sock);
}

static void test_hellos(void **state)
{
    int sock = attacker_connect(peer.address);
    const struct tcp_hello good = attacker_hello(sock);
    static const char *const hosts[] = {"",       "localhost:1", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000",
                                        "[::1:5", ":5"};
    struct tcp_hello bad;

    (void)state;
    close(sock);
    bad = good, bad.base.magic++, try_hello(&bad);
    bad = good, bad.base.version++, try_hello(&bad);
    bad = good, bad.base.target_id = 9, try_hello(&bad);
    bad = good, bad.epoch = 0, try_hello(&bad);
    bad = good, memset(bad.base.host, 'x', sizeof bad.base.host), try_hello(&bad);
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        bad = good;
        strcpy(bad.base.host, hosts[i]);
        try_hello(&bad);
    }
    expect_alive();
}

static void test_hello_twice(void **state)
{
    int sock = attacker_open(peer.address);
    struct tcp_hello hello = attacker_hello(sock);

    (void)state;
    attacker_send_hello(sock, &hello);
    attacker_expect_closed(sock);
    close(sock);
    /* Nor may anything follow a hello before it is answered. */
    sock = attacker_connect(peer.address);
    hello = attacker_hello(sock);
    char both[2 * (sizeof(struct tcp_frame) + sizeof hello)];
    struct tcp_frame frame = {.head_size = sizeof hello};
    for (size_t i = 0; i < 2; i++) {
        memcpy(both + i * sizeof both / 2, &frame, sizeof frame);
        memcpy(both + i * sizeof both / 2 + sizeof frame, &hello, sizeof hello);
    }
    attacker_send(sock, both, sizeof both);
    attacker_expect_closed(sock);
    close(sock);
    expect_alive();
}

/* More connections than may be half open, all silent or in the middle of a hello: the oldest ones go. */
static void test_silence(void **state)
{
    static int socks[SILENT];
    struct tcp_hello hello;

    (void)state;
    for (int i = 0; i < SILENT; i++) {
        socks[i] = attacker_connect(peer.address);
        hello = attacker_hello(socks[i]);
        struct tcp_frame frame = {.head_size = sizeof hello};
        if (i % 2)
            attacker_send(socks[i], &frame, sizeof frame);
        if (i % 4 == 3)
            attacker_send(socks[i], &hello, sizeof hello / 2);
    }
    expect_alive();
    attacker_expect_closed(socks[0]);
    for (int i = 1; i < SILENT; i++)
        close(socks[i]);
    expect_alive();
}

static size_t connections(const struct side *side)
{
    size_t count = 0;

    list_for_each (node, &side->context->na->conns)
        count++;
    return count;
}

static void progress_until_connections(const struct side *side, size_t count)
{
    int64_t deadline_ns = dango_deadline_ns(PEER_LIMIT_MS);

    while (connections(side) != count) {
        assert_true(dango_clock_ns() < deadline_ns);
        HG_Progress(side->context, 10);
    }
}

/* Who has said nothing for too long goes, and only that one. The time passes by hand. */
static void test_silence_for_long(void **state)
{
    char address[256];
    hg_size_t size = sizeof address;
    struct side server_side;
    hg_addr_t self;

    (void)state;
    side_open(&server_side, "tcp://127.0.0.1", true, NULL);
    assert_int_equal(HG_Addr_self(server_side.hg_class, &self), HG_SUCCESS);
    assert_int_equal(HG_Addr_to_string(server_side.hg_class, address, &size, self), HG_SUCCESS);
    int first = attacker_connect(address);
    progress_until_connections(&server_side, 1);
    struct na_context *na = server_side.context->na;
    struct na_conn *conn = container_of(na->conns.next, struct na_conn, link);
    conn->silent_ns -= NA_SILENT_MS * DANGO_NS_PER_MS;
    na->listen_look_ns -= NA_SILENT_MS * DANGO_NS_PER_MS;
    int second = attacker_connect(address);
    progress_until_connections(&server_side, 2);
    progress_until_connections(&server_side, 1);
    attacker_expect_closed(first);
    char byte;
    assert_int_equal(recv(second, &byte, 1, MSG_DONTWAIT), -1); /* open: nothing to read */
    close(first);
    close(second);
    progress_until_connections(&server_side, 0);
    HG_Addr_free(server_side.hg_class, self);
    side_close(&server_side);
}

/* Silent connections have all descriptors that there are: they go at once. */
static void test_silence_when_short(void **state)
{
    size_t count = peer_descriptors(&peer);
    struct tcp_frame frame;
    int socks[20];

    (void)state;
    expect_answers(1);
    for (size_t i = 0; i < 20; i++)
        socks[i] = attacker_connect(peer.address);
    while (peer_descriptors(&peer) < count + 20)
        expect_answers(1);
    peer_limit_descriptors(&peer);
    int sock = attacker_connect(peer.address);
    struct tcp_hello hello = attacker_hello(sock);
    attacker_send_hello(sock, &hello);
    assert_true(attacker_read(sock, &frame, sizeof frame));
    assert_true(attacker_read(sock, &hello, sizeof hello));
    close(sock);
    peer_starve(&peer, false);
    for (size_t i = 0; i < 20; i++)
        close(socks[i]);
    expect_alive();
}

/* Files use the descriptors up, and set them free again, while no connection closes. */
static void test_no_descriptors(void **state)
{
    struct tcp_frame frame;
    struct tcp_hello hello;

    (void)state;
    expect_answers(1);
    peer_starve(&peer, true);
    int sock = attacker_connect(peer.address);
    hello = attacker_hello(sock);
    attacker_send_hello(sock, &hello);
    expect_answers(1000); /* the server has tried to accept, and serves whom it has */
    peer_starve(&peer, false);
    assert_true(attacker_read(sock, &frame, sizeof frame));
    assert_true(attacker_read(sock, &hello, sizeof hello));
    close(sock);
    expect_alive();
}

/* ---- after the hello ---- */

static void expect_answer(int sock, enum hgi_kind kind, hg_return_t ret)
{
    struct hgi_header header;
    uint32_t payload_size;

    assert_true(attacker_read_message(sock, &header, &payload_size));
    assert_int_equal(header.kind, kind);
    assert_int_equal(header.ret, ret);
    assert_int_equal(payload_size, 0);
}

/* Memory that does not exist is neither read nor written, and the stream stays in step. */
static void test_unknown_memory(void **state)
{
    static const char payload[70000];
    struct hgi_range range = {.offset = 0, .size = sizeof payload};
    int sock = attacker_open(peer.address);

    (void)state;
    for (int i = 0; i < 3; i++) {
        attacker_send_message(sock, (struct hgi_header){.kind = HGI_WRITE, .id = 1234}, &range, sizeof range,
                              sizeof payload);
        attacker_send(sock, payload, sizeof payload);
        expect_answer(sock, HGI_WRITE_DONE, HG_NOENTRY);
        attacker_send_message(sock, (struct hgi_header){.kind = HGI_READ, .id = 1234}, &range, sizeof range, 0);
        expect_answer(sock, HGI_READ_DATA, HG_NOENTRY);
        /* Data for a transfer that is over, for all that anybody knows. */
        attacker_send_message(sock, (struct hgi_header){.kind = HGI_READ_DATA, .cookie = 99}, NULL, 0, sizeof payload);
        attacker_send(sock, payload, sizeof payload);
        attacker_send_message(sock, (struct hgi_header){.kind = HGI_REQUEST, .cookie = 5, .id = client.rpcs.null}, NULL,
                              0, 0);
        expect_answer(sock, HGI_RESPONSE, HG_SUCCESS);
    }
    close(sock);
    expect_alive();
}

/* A payload behind what has none, or of another size than said. */
static void test_misplaced_payload(void **state)
{
    struct hgi_range range = {.size = 100};

    (void)state;
    for (uint8_t kind = 0; kind < 12; kind++) {
        int sock = attacker_open(peer.address);
        attacker_send_message(sock, (struct hgi_header){.kind = kind, .id = client.rpcs.null}, &range, sizeof range,
                              kind == HGI_WRITE ? 99 : 100);
        attacker_expect_closed(sock);
        close(sock);
    }
    expect_alive();
}

/* A hello and a request, one byte at a time. */
static void test_single_bytes(void **state)
{
    int sock = attacker_connect(peer.address);
    struct tcp_hello hello = attacker_hello(sock);
    struct tcp_frame frame = {.head_size = sizeof hello};
    struct hgi_header header = {.version = HGI_WIRE_VERSION, .kind = HGI_REQUEST, .id = client.rpcs.null};
    char bytes[sizeof frame + sizeof hello];

    (void)state;
    memcpy(bytes, &frame, sizeof frame);
    memcpy(bytes + sizeof frame, &hello, sizeof hello);
    for (size_t i = 0; i < sizeof bytes; i++)
        attacker_send(sock, bytes + i, 1);
    assert_true(attacker_read(sock, bytes, sizeof bytes));
    frame.head_size = sizeof header;
    memcpy(bytes, &frame, sizeof frame);
    memcpy(bytes + sizeof frame, &header, sizeof header);
    for (size_t i = 0; i < sizeof frame + sizeof header; i++)
        attacker_send(sock, bytes + i, 1);
    expect_answer(sock, HGI_RESPONSE, HG_SUCCESS);
    close(sock);
}

/* ---- random faults ---- */

/* One message of a random kind with fields that are mostly plausible. */
static void send_random(int sock)
{
    static char payload[4096];
    struct hgi_range range = {.offset = (uint64_t)rand() % 64, .size = (uint64_t)rand() % 4096};
    struct hgi_header header = {.kind = (uint8_t)(rand() % 9),
                                .flags = rand() % 4 ? 0 : (uint8_t)rand(),
                                .ret = rand() % 4 ? 0 : (uint8_t)rand(),
                                .cookie = (uint64_t)rand() % 3 << 32 | (uint64_t)rand() % 3,
                                .id = rand() % 2 ? client.rpcs.pull : (uint64_t)rand()};
    uint32_t size = rand() % 2 ? (uint32_t)range.size : 0;

    attacker_send_message(sock, header, &range, rand() % 3 ? sizeof range : (size_t)rand() % sizeof range, size);
    if (size > 0)
        attacker_send(sock, payload, rand() % 8 ? size : (uint32_t)rand() % size);
    if (rand() % 16 == 0)
        attacker_send(sock, payload, (size_t)rand() % 32);
}

static void test_random_faults(void **state)
{
    int sock = attacker_open(peer.address);

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        send_random(sock);
        if (rand() % 4 == 0) {
            close(sock);
            sock = attacker_open(peer.address);
        }
        if (round % 500 == 0)
            expect_alive();
    }
    close(sock);
    expect_alive();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rubbish),        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_hellos),         cmocka_unit_test(test_hello_twice),
        cmocka_unit_test(test_silence),        cmocka_unit_test(test_silence_for_long),
        cmocka_unit_test(test_unknown_memory), cmocka_unit_test(test_silence_when_short),
        cmocka_unit_test(test_single_bytes),   cmocka_unit_test(test_misplaced_payload),
        cmocka_unit_test(test_random_faults),  cmocka_unit_test(test_no_descriptors),
    };
    const char *seed = getenv("DANGO_TEST_SEED");

    setenv("DANGO_TEST_PROTOCOL", "tcp://127.0.0.1", 1);
    srand(seed ? (unsigned)atoi(seed) : 1);
    return cmocka_run_group_tests_name("mercury-tcp", tests, setup, teardown);
}
