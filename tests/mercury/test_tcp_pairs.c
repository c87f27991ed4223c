/*
 * tcp inside one process, where a test sees both ends: one connection for each pair of endpoints, also when both
 * connect at once; peers that come back; and memory that its owner takes back while the network has it.
 */
#include "tests/mercury/attacker.h"
#include "tests/mercury/peer.h"

#include "util/clock.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE  (2u << 20) /* of memory; several payloads */
#define READS 600        /* of a payload each: more than a backlog may hold of copies */

static struct side a, b;

static void address_of(struct side *side, char *text, hg_size_t size)
{
    hg_addr_t self;

    assert_int_equal(HG_Addr_self(side->hg_class, &self), HG_SUCCESS);
    assert_int_equal(HG_Addr_to_string(side->hg_class, text, &size, self), HG_SUCCESS);
    HG_Addr_free(side->hg_class, self);
}

static void turn(struct side *side)
{
    unsigned count;

    HG_Progress(side->context, 0);
    HG_Trigger(side->context, 0, 64, &count);
}

/* Progresses both until the condition holds. */
#define TURN_UNTIL(condition)                                                                                          \
    for (int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS); !(condition);) {                                         \
        turn(&a);                                                                                                      \
        turn(&b);                                                                                                      \
        if (dango_clock_ns() > deadline)                                                                               \
            fail_msg("%s does not come about", #condition);                                                            \
    }

static void until(_Atomic bool *one, _Atomic bool *other)
{
    TURN_UNTIL(atomic_load(one) && atomic_load(other));
}

static bool readable(int sock)
{
    char byte;
    return recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static int setup(void **state)
{
    (void)state;
    side_open(&a, "tcp://127.0.0.1", true, NULL);
    side_open(&b, "tcp://127.0.0.1", true, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    side_close(&a);
    side_close(&b);
    return 0;
}

/* ---- one connection for each pair ---- */

static hg_handle_t forward(struct side *from, struct side *to, struct call *call)
{
    char address[256];
    hg_handle_t handle;

    address_of(to, address, sizeof address);
    hg_addr_t addr = side_lookup(from, address);
    assert_int_equal(HG_Create(from->context, addr, from->rpcs.null, &handle), HG_SUCCESS);
    assert_int_equal(HG_Forward(handle, call_done, call, NULL), HG_SUCCESS);
    HG_Addr_free(from->hg_class, addr);
    return handle;
}

static void test_simultaneous(void **state)
{
    struct call one = {0}, other = {0};
    hg_handle_t first = forward(&a, &b, &one), second = forward(&b, &a, &other);

    (void)state;
    until(&one.done, &other.done);
    assert_int_equal(one.ret, HG_SUCCESS);
    assert_int_equal(other.ret, HG_SUCCESS);
    HG_Destroy(first);
    HG_Destroy(second);
    /* What is superfluous closes. */
    TURN_UNTIL(a.context->na->conn_count == 1 && b.context->na->conn_count == 1);
}

/* An answer to a call goes back over the same connection, and so does a call in the other direction. */
static void test_both_directions(void **state)
{
    struct call one = {0}, other = {0};
    _Atomic bool yes = true;
    hg_handle_t first = forward(&a, &b, &one);

    (void)state;
    until(&one.done, &yes);
    hg_handle_t second = forward(&b, &a, &other);
    until(&other.done, &yes);
    assert_int_equal(other.ret, HG_SUCCESS);
    assert_int_equal(a.context->na->conn_count, 1);
    assert_int_equal(b.context->na->conn_count, 1);
    HG_Destroy(first);
    HG_Destroy(second);
}

/* A server that comes back on the same port is reached again. */
static void test_restart(void **state)
{
    char address[256];
    hg_handle_t handle;
    _Atomic bool yes = true;

    (void)state;
    address_of(&b, address, sizeof address);
    for (int i = 0; i < 3; i++) {
        struct call call = {0};
        handle = forward(&a, &b, &call);
        until(&call.done, &yes);
        assert_int_equal(call.ret, HG_SUCCESS);
        HG_Destroy(handle);
        side_close(&b);
        side_open(&b, address, true, NULL);
        TURN_UNTIL(a.context->na->conn_count == 0);
    }
}

/* ---- memory that is taken back ---- */

static void *map_memory(void)
{
    void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    memset(memory, 'm', SIZE);
    return memory;
}

static hg_bulk_t register_memory(struct side *side, void *memory, uint8_t flags)
{
    hg_size_t size = SIZE;
    hg_bulk_t bulk;

    assert_int_equal(HG_Bulk_create(side->hg_class, 1, &memory, &size, flags, &bulk), HG_SUCCESS);
    return bulk;
}

/* An attacker in this process: the side must turn while it waits. */
static int open_from_here(struct side *side)
{
    char address[256], answer[sizeof(struct tcp_frame) + sizeof(struct tcp_hello)];

    address_of(side, address, sizeof address);
    int sock = attacker_connect(address);
    struct tcp_hello hello = attacker_hello(sock);
    attacker_send_hello(sock, &hello);
    TURN_UNTIL(readable(sock));
    assert_true(attacker_read(sock, answer, sizeof answer));
    return sock;
}

/* A peer asks for memory and does not take it; the owner frees it; what the peer gets in the end is what was there. */
static void test_freed_while_read(void **state)
{
    void *memory = map_memory();
    hg_bulk_t bulk = register_memory(&a, memory, HG_BULK_READ_ONLY);
    char descriptor[256], data[65536];
    struct hgi_range range = {.size = TCP_LOAN_MAX};
    int sock = open_from_here(&a);
    size_t total = 0, requests = 64;

    (void)state;
    assert_int_equal(HG_Bulk_serialize(descriptor, sizeof descriptor, 0, bulk), HG_SUCCESS);
    for (size_t i = 0; i < requests; i++)
        attacker_send_message(sock, (struct hgi_header){.kind = HGI_READ, .id = bulk->key, .cookie = i + 1}, &range,
                              sizeof range, 0);
    TURN_UNTIL(!list_empty(&bulk->loans));
    for (int i = 0; i < 100; i++) /* some more of them */
        turn(&a);
    assert_false(list_empty(&bulk->loans));
    HG_Bulk_free(bulk);
    munmap(memory, SIZE);
    size_t all = requests * (sizeof(struct tcp_frame) + sizeof(struct hgi_header) + range.size);
    while (total < all) {
        TURN_UNTIL(readable(sock));
        ssize_t size = recv(sock, data, sizeof data, MSG_DONTWAIT);
        assert_true(size > 0);
        total += (size_t)size;
    }
    assert_int_equal(total, all);
    close(sock);
}

/* A peer asks for the same memory again and again, and reads nothing: when the memory is freed it is not copied as
 * often. */
static void test_freed_while_read_without_end(void **state)
{
    void *memory = map_memory();
    hg_bulk_t bulk = register_memory(&a, memory, HG_BULK_READ_ONLY);
    char descriptor[256];
    static char data[1u << 20];
    struct hgi_range range = {.size = TCP_LOAN_MAX};
    int sock = open_from_here(&a);
    size_t total = 0;

    (void)state;
    assert_int_equal(HG_Bulk_serialize(descriptor, sizeof descriptor, 0, bulk), HG_SUCCESS);
    for (uint64_t i = 0; i < READS; i++) {
        attacker_send_message(sock, (struct hgi_header){.kind = HGI_READ, .id = bulk->key, .cookie = i + 1}, &range,
                              sizeof range, 0);
        turn(&a);
    }
    TURN_UNTIL(a.context->na->attention > 0);
    for (int i = 0; i < 100; i++) /* the rest of them */
        turn(&a);
    HG_Bulk_free(bulk);
    munmap(memory, SIZE);
    TURN_UNTIL(a.context->na->conn_count == 0);
    for (ssize_t size; (size = recv(sock, data, sizeof data, 0)) > 0; total += (size_t)size)
        ;
    assert_true(total < NA_BACKLOG_MAX);
    close(sock);
}

/* A peer starts to write to memory, and stops in the middle; the owner frees it. The peer hears of it. */
static void test_freed_while_written(void **state)
{
    void *memory = map_memory();
    hg_bulk_t bulk = register_memory(&a, memory, HG_BULK_READWRITE);
    char descriptor[256];
    static char data[65536];
    struct hgi_range range = {.size = TCP_LOAN_MAX};
    int sock = open_from_here(&a);

    (void)state;
    assert_int_equal(HG_Bulk_serialize(descriptor, sizeof descriptor, 0, bulk), HG_SUCCESS);
    attacker_send_message(sock, (struct hgi_header){.kind = HGI_WRITE, .id = bulk->key}, &range, sizeof range,
                          TCP_LOAN_MAX);
    attacker_send(sock, data, sizeof data);
    TURN_UNTIL(!list_empty(&bulk->loans));
    HG_Bulk_free(bulk);
    munmap(memory, SIZE);
    struct hgi_header header;
    uint32_t payload_size;
    TURN_UNTIL(readable(sock));
    assert_true(attacker_read_message(sock, &header, &payload_size));
    assert_int_equal(header.kind, HGI_WRITE_DONE);
    assert_int_equal(header.ret, HG_NOENTRY);
    for (size_t sent = sizeof data; sent < TCP_LOAN_MAX; sent += sizeof data) {
        attacker_send(sock, data, sizeof data);
        turn(&a);
    }
    /* The stream is in step. */
    attacker_send_message(sock, (struct hgi_header){.kind = HGI_REQUEST, .cookie = 1, .id = a.rpcs.null}, NULL, 0, 0);
    TURN_UNTIL(readable(sock));
    assert_true(attacker_read_message(sock, &header, &payload_size));
    assert_int_equal(header.kind, HGI_RESPONSE);
    close(sock);
}

/* Transfers that are cancelled in the middle: their memory is free at the callback, and the connection goes on. */
static void cancelled_transfer(hg_bulk_op_t op, int turns)
{
    void *near = map_memory(), *far = map_memory();
    hg_bulk_t local = register_memory(&a, near, HG_BULK_READWRITE),
              remote = register_memory(&b, far, HG_BULK_READWRITE);
    struct call call = {0}, check = {0};
    char descriptor[256], address[256];
    _Atomic bool yes = true;
    hg_op_id_t id;
    hg_bulk_t origin;

    assert_int_equal(HG_Bulk_serialize(descriptor, sizeof descriptor, 0, remote), HG_SUCCESS);
    assert_int_equal(HG_Bulk_deserialize(a.hg_class, &origin, descriptor, sizeof descriptor), HG_SUCCESS);
    address_of(&b, address, sizeof address);
    hg_addr_t addr = side_lookup(&a, address);
    assert_int_equal(HG_Bulk_transfer(a.context, call_done, &call, op, addr, origin, 0, local, 0, SIZE, &id),
                     HG_SUCCESS);
    for (int i = 0; i < turns && !call.done; i++) {
        turn(&a);
        if (i % 3 == 0)
            turn(&b);
    }
    if (!call.done)
        HG_Bulk_cancel(id);
    while (!call.done)
        turn(&a);
    HG_Bulk_free(local);
    munmap(near, SIZE);
    hg_handle_t handle = forward(&a, &b, &check);
    until(&check.done, &yes);
    assert_int_equal(check.ret, HG_SUCCESS);
    HG_Destroy(handle);
    HG_Bulk_free(origin);
    HG_Bulk_free(remote);
    munmap(far, SIZE);
    HG_Addr_free(a.hg_class, addr);
}

/* An input that its receiver does not want is not fetched. */
static void test_too_large(void **state)
{
    struct call call = {0};
    _Atomic bool yes = true;
    char address[256], *text = malloc(SIZE);
    text_t in = {.text = text};
    hg_handle_t handle;

    (void)state;
    memset(text, 'x', SIZE);
    text[SIZE - 1] = '\0';
    dango_hg_set_max_message_size(b.hg_class, SIZE / 2);
    address_of(&b, address, sizeof address);
    hg_addr_t addr = side_lookup(&a, address);
    assert_int_equal(HG_Create(a.context, addr, a.rpcs.echo, &handle), HG_SUCCESS);
    assert_int_equal(HG_Forward(handle, call_done, &call, &in), HG_SUCCESS);
    until(&call.done, &yes);
    assert_int_equal(call.ret, HG_MSGSIZE);
    HG_Destroy(handle);
    HG_Addr_free(a.hg_class, addr);
    free(text);
}

static void test_cancelled(void **state)
{
    (void)state;
    for (int turns = 0; turns < 40; turns++) {
        cancelled_transfer(HG_BULK_PULL, turns);
        cancelled_transfer(HG_BULK_PUSH, turns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_simultaneous, setup, teardown),
        cmocka_unit_test_setup_teardown(test_simultaneous, setup, teardown),
        cmocka_unit_test_setup_teardown(test_simultaneous, setup, teardown),
        cmocka_unit_test_setup_teardown(test_both_directions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freed_while_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freed_while_read_without_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freed_while_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
    };
    return cmocka_run_group_tests_name("mercury-tcp-pairs", tests, NULL, NULL);
}
