/*
 * Peers that do not keep to the protocol: on the socket, in the hello, in the shared memory, in the messages. The
 * server closes their connections, goes on, and serves a correct client all the while.
 */
#include "tests/mercury/peer.h"

#include "mercury/hg.h"
#include "mercury/na/sm/sm.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE     4096u
#define MAP_SIZE ((size_t)PAGE + 2 * SM_RING_SIZE)

static struct peer peer;
static struct side client;
static hg_addr_t server;
static hg_handle_t probe_handle;

static int setup(void **state)
{
    (void)state;
    peer_start(&peer, NULL);
    side_open(&client, "na+sm", false, NULL);
    server = side_lookup(&client, peer.address);
    assert_int_equal(HG_Create(client.context, server, client.rpcs.sum, &probe_handle), HG_SUCCESS);
    return 0;
}

/* The server answers a correct client. */
static void check_alive(void)
{
    sum_in_t in = {.x = 3, .y = 4};
    sum_out_t out;

    assert_int_equal(side_call(&client, probe_handle, &in), HG_SUCCESS);
    assert_int_equal(HG_Get_output(probe_handle, &out), HG_SUCCESS);
    assert_int_equal(out.sum, 7);
    HG_Free_output(probe_handle, &out);
}

static int teardown(void **state)
{
    (void)state;
    check_alive();
    HG_Destroy(probe_handle);
    pair_stop(&peer, &client, server);
    return 0;
}

/* ---- an attacker's side of a connection ---- */

struct attacker {
    int sock, ring_fd, page_fd, event_fd;
    char *map;
    void *page;
    struct sm_hello hello;
    struct sm_producer tx;
};

static int open_socket(void)
{
    struct sockaddr_un name;
    socklen_t length = sm_socket_name(peer.address + strlen("na+sm://"), 0, &name);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    assert_true(sock >= 0);
    assert_int_equal(connect(sock, (struct sockaddr *)&name, length), 0);
    return sock;
}

static void attacker_open(struct attacker *attacker)
{
    attacker->sock = open_socket();
    attacker->map = sm_memory_create("ring", MAP_SIZE, false, &attacker->ring_fd);
    attacker->page = sm_memory_create("page", PAGE, true, &attacker->page_fd);
    attacker->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_non_null(attacker->map);
    assert_non_null(attacker->page);
    memset(&attacker->hello, 0, sizeof attacker->hello);
    attacker->hello.base.magic = 0x4f474e44u;
    attacker->hello.base.version = 1;
    strcpy(attacker->hello.base.host, "attacker");
    attacker->hello.ring_size = SM_RING_SIZE;
    sm_producer_init(&attacker->tx, (struct sm_ring_control *)(void *)attacker->map, attacker->map + PAGE,
                     SM_MESSAGE_MAX);
}

static void attacker_close(struct attacker *attacker)
{
    close(attacker->sock);
    close(attacker->ring_fd);
    close(attacker->page_fd);
    close(attacker->event_fd);
    munmap(attacker->map, MAP_SIZE);
    munmap(attacker->page, PAGE);
}

static void send_with_fds(int sock, const void *bytes, size_t size, const int *fds, size_t count)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    char control[CMSG_SPACE(8 * sizeof(int))] = {0};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};

    if (count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    assert_int_equal(sendmsg(sock, &message, MSG_NOSIGNAL), size);
}

/* The server hangs up. */
static void expect_closed(int sock)
{
    struct pollfd ready = {.fd = sock, .events = POLLIN | POLLRDHUP};
    char bytes[1024];

    for (;;) {
        assert_int_equal(poll(&ready, 1, PEER_LIMIT_MS), 1);
        ssize_t size = recv(sock, bytes, sizeof bytes, 0);
        if (size <= 0)
            return;
    }
}

/* Completes the handshake as a correct peer would. */
static void attacker_shake_hands(struct attacker *attacker)
{
    int fds[3] = {attacker->ring_fd, attacker->page_fd, attacker->event_fd};
    struct sm_hello answer;

    send_with_fds(attacker->sock, &attacker->hello, sizeof attacker->hello, fds, 3);
    assert_int_equal(recv(attacker->sock, &answer, sizeof answer, 0), sizeof answer);
}

/* Keeps the server's progress loop awake until it has hung up; the correct client's calls do that. */
static void expect_closed_while_busy(int sock)
{
    struct pollfd ready = {.fd = sock, .events = POLLRDHUP};

    do
        check_alive();
    while (poll(&ready, 1, 0) == 0);
}

/* ---- attacks ---- */

static void test_socket(void **state)
{
    static const char garbage[3000] = "garbage";
    struct attacker attacker;

    (void)state;
    for (int i = 0; i < 20; i++) {
        close(open_socket());
        int sock = open_socket();
        send_with_fds(sock, garbage, (size_t)(i * 100 + 1), NULL, 0);
        expect_closed(sock);
        close(sock);
    }
    /* Data after the handshake. */
    attacker_open(&attacker);
    attacker_shake_hands(&attacker);
    send_with_fds(attacker.sock, garbage, 10, NULL, 0);
    expect_closed(attacker.sock);
    attacker_close(&attacker);
}

/* More silent connections than are allowed: the rest of the world is served. */
static void test_half_open(void **state)
{
    int socks[NA_HALF_OPEN_MAX + 50];

    (void)state;
    for (int i = 0; i < NA_HALF_OPEN_MAX + 50; i++)
        socks[i] = open_socket();
    check_alive();
    for (int i = 0; i < NA_HALF_OPEN_MAX + 50; i++)
        close(socks[i]);
}

/* Files use the descriptors up, and set them free again, while no connection closes. */
static void test_no_descriptors(void **state)
{
    struct pollfd ready = {.events = POLLIN};
    struct attacker attacker;
    struct sm_hello answer;

    (void)state;
    check_alive();
    peer_starve(&peer, true);
    attacker_open(&attacker);
    int fds[3] = {attacker.ring_fd, attacker.page_fd, attacker.event_fd};
    send_with_fds(attacker.sock, &attacker.hello, sizeof attacker.hello, fds, 3);
    for (int i = 0; i < 5000; i++)
        check_alive(); /* the server has tried to accept, and serves whom it has */
    peer_starve(&peer, false);
    ready.fd = attacker.sock;
    assert_int_equal(poll(&ready, 1, PEER_LIMIT_MS), 1);
    assert_int_equal(recv(attacker.sock, &answer, sizeof answer, 0), sizeof answer);
    attacker_close(&attacker);
}

typedef void (*spoil_t)(struct attacker *attacker, int *fds, size_t *count);

static void spoil_magic(struct attacker *attacker, int *fds, size_t *count)
{
    (void)fds, (void)count;
    attacker->hello.base.magic = 1;
}

static void spoil_version(struct attacker *attacker, int *fds, size_t *count)
{
    (void)fds, (void)count;
    attacker->hello.base.version = 77;
}

static void spoil_target(struct attacker *attacker, int *fds, size_t *count)
{
    (void)fds, (void)count;
    attacker->hello.base.target_id = 9;
}

static void spoil_host(struct attacker *attacker, int *fds, size_t *count)
{
    (void)fds, (void)count;
    memset(attacker->hello.base.host, 'a', sizeof attacker->hello.base.host);
}

static void spoil_host_text(struct attacker *attacker, int *fds, size_t *count)
{
    (void)fds, (void)count;
    strcpy(attacker->hello.base.host, "../\n#");
}

static void spoil_ring_size(struct attacker *attacker, int *fds, size_t *count)
{
    (void)fds, (void)count;
    attacker->hello.ring_size = 1u << 30;
}

static void spoil_missing(struct attacker *attacker, int *fds, size_t *count)
{
    (void)attacker, (void)fds;
    *count = 2;
}

static void spoil_extra(struct attacker *attacker, int *fds, size_t *count)
{
    (void)attacker;
    fds[3] = fds[4] = fds[5] = fds[0];
    *count = 6;
}

static void spoil_order(struct attacker *attacker, int *fds, size_t *count)
{
    (void)count;
    fds[0] = attacker->page_fd;
    fds[1] = attacker->ring_fd;
}

/* A file that can be truncated under the server. */
static void spoil_unsealed(struct attacker *attacker, int *fds, size_t *count)
{
    (void)count;
    close(attacker->ring_fd);
    attacker->ring_fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(attacker->ring_fd, MAP_SIZE), 0);
    fds[0] = attacker->ring_fd;
}

static void spoil_small(struct attacker *attacker, int *fds, size_t *count)
{
    (void)count;
    close(attacker->ring_fd);
    void *map = sm_memory_create("small", PAGE, false, &attacker->ring_fd);
    munmap(map, PAGE);
    fds[0] = attacker->ring_fd;
}

/* A doorbell on which the server would block. */
static void spoil_blocking(struct attacker *attacker, int *fds, size_t *count)
{
    (void)count;
    close(attacker->event_fd);
    attacker->event_fd = eventfd(0, EFD_CLOEXEC);
    fds[2] = attacker->event_fd;
}

static void spoil_pipe(struct attacker *attacker, int *fds, size_t *count)
{
    int pipe_fds[2];

    (void)count;
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
    close(pipe_fds[0]);
    close(attacker->event_fd);
    attacker->event_fd = pipe_fds[1];
    fds[2] = attacker->event_fd;
}

static void test_hello(void **state)
{
    static const spoil_t spoils[] = {spoil_magic,     spoil_version,  spoil_target, spoil_host,  spoil_host_text,
                                     spoil_ring_size, spoil_missing,  spoil_extra,  spoil_order, spoil_unsealed,
                                     spoil_small,     spoil_blocking, spoil_pipe};

    (void)state;
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        struct attacker attacker;
        attacker_open(&attacker);
        int fds[8] = {attacker.ring_fd, attacker.page_fd, attacker.event_fd};
        size_t count = 3;
        spoils[i](&attacker, fds, &count);
        send_with_fds(attacker.sock, &attacker.hello, sizeof attacker.hello, fds, count);
        expect_closed(attacker.sock);
        attacker_close(&attacker);
        check_alive();
    }
}

/* Hellos with some wrong bytes: refused, or taken as those of a peer that then says nothing. */
static void test_hello_random(void **state)
{
    (void)state;
    srandom(20260103);
    for (int round = 0; round < 300; round++) {
        struct attacker attacker;
        attacker_open(&attacker);
        int fds[3] = {attacker.ring_fd, attacker.page_fd, attacker.event_fd};
        for (long n = random() % 4 + 1; n > 0; n--)
            ((char *)&attacker.hello)[(size_t)random() % sizeof attacker.hello] = (char)random();
        send_with_fds(attacker.sock, &attacker.hello, sizeof attacker.hello, fds,
                      (size_t)(random() % 8 ? 3 : random() % 4));
        attacker_close(&attacker);
        if (round % 10 == 0)
            check_alive();
    }
}

static void write_tail(struct attacker *attacker, uint64_t tail)
{
    atomic_store(&((struct sm_ring_control *)(void *)attacker->map)->tail, tail);
}

/* Random bytes in the data, and all kinds of tails. */
static void test_ring_garbage(void **state)
{
    static const uint64_t tails[] = {64, 1, 63, SM_RING_SIZE, SM_RING_SIZE + 64, UINT64_MAX, UINT64_MAX - 63, 1u << 20};

    (void)state;
    srandom(20260101);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        for (int fill = 0; fill < 3; fill++) {
            struct attacker attacker;
            attacker_open(&attacker);
            attacker_shake_hands(&attacker);
            for (size_t k = 0; k < SM_RING_SIZE; k++)
                attacker.map[PAGE + k] = (char)(fill == 0 ? random() : fill == 1 ? 0xff : 0);
            write_tail(&attacker, tails[i]);
            expect_closed_while_busy(attacker.sock);
            attacker_close(&attacker);
        }
    }
}

/* An attacker that claims to have read more than was written: noticed when the server answers. */
static void test_ring_head(void **state)
{
    struct hgi_header header = {.version = HGI_WIRE_VERSION, .kind = HGI_REQUEST, .cookie = 1};
    struct iovec piece = {.iov_base = &header, .iov_len = sizeof header};
    struct attacker attacker;

    (void)state;
    attacker_open(&attacker);
    attacker_shake_hands(&attacker);
    header.id = client.rpcs.null;
    atomic_store(&((struct sm_ring_control *)(void *)attacker.map)[1].head, 1u << 30);
    /* The server looks at the head when it has sent as much as the ring holds. */
    struct pollfd ready = {.fd = attacker.sock, .events = POLLRDHUP};
    while (poll(&ready, 1, 0) == 0) {
        sm_ring_write(&attacker.tx, &piece, 1);
        check_alive();
    }
    attacker_close(&attacker);
}

/* Well-formed records with malformed messages. */
static void test_messages(void **state)
{
    (void)state;
    srandom(20260102);
    for (int round = 0; round < 300; round++) {
        struct attacker attacker;
        char message[300];
        struct hgi_header *header = (struct hgi_header *)(void *)message;
        struct iovec piece = {.iov_base = message, .iov_len = (size_t)random() % sizeof message};

        attacker_open(&attacker);
        attacker_shake_hands(&attacker);
        for (int i = 0; i < 20; i++) {
            for (size_t k = 0; k < sizeof message; k++)
                message[k] = (char)(random() % 3 ? 0 : random());
            header->version = round % 10 ? HGI_WIRE_VERSION : (uint8_t)random();
            header->kind = (uint8_t)(random() % 9);
            header->flags = (uint8_t)(random() % 5);
            header->ret = (uint8_t)(random() % 30);
            header->id = random() % 2 ? client.rpcs.sum : client.rpcs.echo;
            if (piece.iov_len >= sizeof *header)
                header->size = (uint32_t)(piece.iov_len - sizeof *header) + (random() % 8 == 0);
            sm_ring_write(&attacker.tx, &piece, 1);
        }
        check_alive();
        attacker_close(&attacker);
    }
}

/* Reads and writes of memory that is not offered, with keys made up. */
static void test_forged_keys(void **state)
{
    static const enum hgi_kind kinds[] = {HGI_READ, HGI_WRITE};

    (void)state;
    for (int i = 0; i < 2; i++) {
        enum hgi_kind kind = kinds[i];
        struct attacker attacker;
        struct {
            struct hgi_header header;
            struct hgi_range range;
            char data[64];
        } message = {.header = {.version = HGI_WIRE_VERSION, .kind = (uint8_t)kind, .cookie = 5, .id = 0x1234},
                     .range = {.offset = 0, .size = 64}};
        struct sm_consumer rx;
        const void *bytes;
        size_t size = sizeof message - (kind == HGI_READ ? 64 : 0);
        struct iovec piece = {.iov_base = &message, .iov_len = size};

        message.header.size = (uint32_t)(size - sizeof message.header);
        attacker_open(&attacker);
        attacker_shake_hands(&attacker);
        sm_consumer_init(&rx, &((struct sm_ring_control *)(void *)attacker.map)[1], attacker.map + PAGE + SM_RING_SIZE,
                         SM_MESSAGE_MAX);
        assert_int_equal(sm_ring_write(&attacker.tx, &piece, 1), SM_RING_OK);
        do
            check_alive();
        while (sm_ring_next(&rx, &bytes, &size) == SM_RING_EMPTY);
        assert_int_equal(size, sizeof message.header);
        assert_int_equal(((const struct hgi_header *)bytes)->ret, HG_NOENTRY);
        attacker_close(&attacker);
    }
}

/* A peer that asks and asks, and reads no answer: what waits for it has a limit, and then it is cut off. */
static void test_unread_answers(void **state)
{
    struct {
        struct hgi_header header;
        struct hgi_range range;
    } message = {.header = {.version = HGI_WIRE_VERSION, .kind = HGI_READ, .size = sizeof message.range, .cookie = 5},
                 .range = {.size = 64}};
    struct iovec piece = {.iov_base = &message, .iov_len = sizeof message};
    struct attacker attacker;
    size_t asked = 0;

    (void)state;
    attacker_open(&attacker);
    attacker_shake_hands(&attacker);
    struct pollfd ready = {.fd = attacker.sock, .events = POLLRDHUP};
    while (poll(&ready, 1, 0) == 0) {
        while (sm_ring_write(&attacker.tx, &piece, 1) == SM_RING_OK)
            asked++;
        check_alive();
        assert_true(asked * sizeof message.header < 2 * (size_t)NA_BACKLOG_MAX);
    }
    assert_true(asked > 100000);
    attacker_close(&attacker);
}

/* Inputs that do not decode are answered; a peer that sends nothing else is cut off. */
static void test_bad_inputs(void **state)
{
    struct side bad;
    hg_handle_t handle;
    hg_addr_t addr;
    uint8_t byte = 0;
    int answered = 0;

    (void)state;
    side_open(&bad, "na+sm", false, NULL);
    addr = side_lookup(&bad, peer.address);
    hg_id_t id = HG_Register_name(bad.hg_class, "sum", hg_proc_uint8_t, NULL, NULL);
    assert_int_equal(HG_Create(bad.context, addr, id, &handle), HG_SUCCESS);
    while (side_call(&bad, handle, &byte) == HG_PROTOCOL_ERROR && answered < 10000) {
        answered++;
        HG_Progress(bad.context, 0);
    }
    assert_true(answered >= 10 && answered < 10000);
    HG_Destroy(handle);
    HG_Addr_free(bad.hg_class, addr);
    side_close(&bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_open, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hello, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hello_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ring_garbage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ring_head, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unread_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_inputs, setup, teardown),
    };
    return cmocka_run_group_tests_name("mercury-hostile", tests, NULL, NULL);
}
