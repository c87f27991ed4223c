/*
 * Decoders on arbitrary bytes: messages of the RPC core, serialised structures, bulk descriptors, rings. First a fixed
 * corpus with every byte of every message changed in turn, then random changes for a while, always the same
 * ones unless DANGO_FUZZ_SEED or DANGO_NIGHTLY is set (the seed is printed).
 * The sanitizers tell what goes wrong.
 */
#include "tests/mercury/peer.h"

#include "mercury/hg.h"
#include "mercury/na/sm/sm_ring.h"
#include "util/clock.h"

#include <time.h>

#define RANDOM_MS 2000

/* ---- a connection that swallows everything ---- */

static hg_return_t swallow(struct na_conn *conn, const struct iovec *pieces, int count, struct na_loan *loan)
{
    (void)conn, (void)pieces, (void)count, (void)loan;
    return HG_SUCCESS;
}

static hg_return_t refuse_rma(struct na_conn *conn, enum na_rma_op op, const struct na_segment *local,
                              size_t local_count, const struct na_segment *remote, size_t remote_count)
{
    (void)conn, (void)op, (void)local, (void)local_count, (void)remote, (void)remote_count;
    return HG_OPNOTSUPPORTED;
}

static void ignore(struct na_conn *conn)
{
    (void)conn;
}

static const struct na_transport fake_transport = {
    .conn_write = swallow, .conn_rma = refuse_rma, .conn_shutdown = ignore, .conn_free = ignore};

static struct side side;
static struct na_conn conn;

static hg_return_t handle_any(hg_handle_t handle)
{
    bulk_in_t in;

    if (HG_Get_input(handle, &in) == HG_SUCCESS)
        HG_Free_input(handle, &in);
    HG_Respond(handle, NULL, NULL, NULL);
    return HG_Destroy(handle);
}

static int setup(void **state)
{
    hg_addr_t addr;

    (void)state;
    side_open(&side, "na+sm", false, NULL);
    MERCURY_REGISTER(side.hg_class, "pull", bulk_in_t, void, handle_any);
    HG_Addr_lookup2(side.hg_class, "na+sm://somebody", &addr);
    dango_hg_set_max_message_size(side.hg_class, 1u << 16);
    memset(&conn, 0, sizeof conn);
    assert_int_equal(na_conn_init(&conn, side.context->na, true), HG_SUCCESS);
    conn.transport = &fake_transport;
    conn.user = addr;
    na_conn_open(&conn);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    side_close(&side);
    return 0;
}

static void deliver(const void *bytes, size_t size)
{
    unsigned count;

    /* Exactly as large as it says, so that the sanitizer sees every byte too many. */
    char *copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    hgi_receive(side.context, &conn, copy, size);
    free(copy);
    HG_Trigger(side.context, 0, 64, &count);
}

/* ---- corpus ---- */

struct message {
    size_t size;
    char bytes[512];
};

static void message_make(struct message *message, enum hgi_kind kind, uint8_t flags, uint64_t id, const void *payload,
                         size_t size)
{
    struct hgi_header header = {.version = HGI_WIRE_VERSION,
                                .kind = (uint8_t)kind,
                                .flags = flags,
                                .size = (uint32_t)size,
                                .cookie = (uint64_t)1 << 32,
                                .id = id};

    assert_true(sizeof header + size <= sizeof message->bytes);
    memcpy(message->bytes, &header, sizeof header);
    memcpy(message->bytes + sizeof header, payload, size);
    message->size = sizeof header + size;
}

static size_t corpus_make(struct message *corpus)
{
    static char memory[100];
    char payload[400];
    void *pointer = memory;
    hg_size_t size = sizeof memory;
    struct hgi_buffer buffer;
    hg_bulk_t bulk;
    size_t count = 0;
    struct hgi_more more = {.cookie = 1, .size = size};
    struct hgi_range range = {.size = 50};
    sum_in_t sum = {.x = 1, .y = 2};
    text_t text = {.text = (char[]){"some text"}};

    hgi_buffer_init(&buffer);
    HG_Bulk_create(side.hg_class, 1, &pointer, &size, HG_BULK_READ_ONLY, &bulk);
    bulk_in_t in = {.bulk = bulk, .size = 10};
    hgi_encode(side.hg_class, hg_proc_sum_in_t, &sum, &buffer);
    message_make(&corpus[count++], HGI_REQUEST, 0, side.rpcs.sum, buffer.data, buffer.size);
    hgi_encode(side.hg_class, hg_proc_text_t, &text, &buffer);
    message_make(&corpus[count++], HGI_REQUEST, 0, side.rpcs.echo, buffer.data, buffer.size);
    message_make(&corpus[count++], HGI_REQUEST, HGI_FLAG_ONE_WAY, side.rpcs.notify, buffer.data, buffer.size);
    message_make(&corpus[count++], HGI_RESPONSE, 0, side.rpcs.echo, buffer.data, buffer.size);
    hgi_encode(side.hg_class, hg_proc_bulk_in_t, &in, &buffer);
    message_make(&corpus[count++], HGI_REQUEST, 0, side.rpcs.pull, buffer.data, buffer.size);
    memcpy(payload, &more, sizeof more);
    size = HG_Bulk_get_serialize_size(bulk, 0);
    HG_Bulk_serialize(payload + sizeof more, size, 0, bulk);
    message_make(&corpus[count++], HGI_REQUEST, HGI_FLAG_MORE, side.rpcs.echo, payload, sizeof more + size);
    message_make(&corpus[count++], HGI_RESPONSE, HGI_FLAG_MORE, side.rpcs.echo, payload, sizeof more + size);
    message_make(&corpus[count++], HGI_ACK, 0, 0, payload, 0);
    message_make(&corpus[count++], HGI_READ, 0, bulk->key, &range, sizeof range);
    memset(payload, 0, sizeof payload);
    memcpy(payload, &range, sizeof range);
    message_make(&corpus[count++], HGI_WRITE, 0, bulk->key, payload, sizeof range + 50);
    message_make(&corpus[count++], HGI_READ_DATA, 0, 0, payload, 100);
    message_make(&corpus[count++], HGI_WRITE_DONE, 0, 0, payload, 0);
    hgi_buffer_fini(&buffer);
    HG_Bulk_free(bulk);
    return count;
}

static void test_messages_fixed(void **state)
{
    static const unsigned char values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    struct message corpus[16], changed;
    size_t count = corpus_make(corpus);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t cut = 0; cut <= corpus[i].size; cut++)
            deliver(corpus[i].bytes, cut);
        for (size_t k = 0; k < corpus[i].size; k++) {
            for (size_t v = 0; v < sizeof values; v++) {
                changed = corpus[i];
                changed.bytes[k] = (char)values[v];
                deliver(changed.bytes, changed.size);
            }
        }
    }
}

static unsigned seed(void)
{
    const char *text = getenv("DANGO_FUZZ_SEED");
    unsigned value = text ? (unsigned)strtoul(text, NULL, 10) : getenv("DANGO_NIGHTLY") ? (unsigned)time(NULL) : 1;

    print_message("seed %u\n", value);
    srandom(value);
    return value;
}

static void mutate(char *bytes, size_t size)
{
    for (long n = random() % 4 + 1; n > 0; n--)
        bytes[(size_t)random() % size] = (char)(random() % 2 ? random() : random() % 5 - 2);
}

static void test_messages_random(void **state)
{
    struct message corpus[16], changed;
    size_t count = corpus_make(corpus);
    int64_t end = dango_deadline_ns(RANDOM_MS);

    (void)state;
    seed();
    while (dango_clock_ns() < end) {
        changed = corpus[(size_t)random() % count];
        mutate(changed.bytes, changed.size);
        deliver(changed.bytes, changed.size);
    }
}

/* ---- structures ---- */

static void test_structures(void **state)
{
    static const hg_proc_cb_t procs[] = {hg_proc_bulk_in_t, hg_proc_text_t, hg_proc_sum_in_t};
    int64_t end = dango_deadline_ns(RANDOM_MS);
    struct hgi_buffer buffer;
    union {
        bulk_in_t bulk;
        text_t text;
        sum_in_t sum;
    } decoded;

    (void)state;
    seed();
    hgi_buffer_init(&buffer);
    while (dango_clock_ns() < end) {
        hg_proc_cb_t proc = procs[random() % 3];
        hgi_buffer_reserve(&buffer, 200);
        buffer.size = (size_t)random() % 200;
        memset(buffer.data, 0, buffer.size);
        if (buffer.size > 0)
            mutate(buffer.data, buffer.size);
        if (hgi_decode(side.hg_class, proc, HG_DECODE, &decoded, &buffer) == HG_SUCCESS)
            hgi_decode(side.hg_class, proc, HG_FREE, &decoded, &buffer);
    }
    hgi_buffer_fini(&buffer);
}

static void test_descriptors(void **state)
{
    int64_t end = dango_deadline_ns(RANDOM_MS);
    char memory[64] = {0}, flat[512], changed[512], again[512];
    void *pointers[3] = {memory, memory + 10, memory + 30};
    hg_size_t sizes[3] = {10, 0, 30}, size;
    hg_bulk_t bulk, decoded;

    (void)state;
    seed();
    assert_int_equal(HG_Bulk_create(side.hg_class, 3, pointers, sizes, HG_BULK_READ_ONLY, &bulk), HG_SUCCESS);
    size = HG_Bulk_get_serialize_size(bulk, HG_BULK_EAGER);
    assert_int_equal(HG_Bulk_serialize(flat, size, HG_BULK_EAGER, bulk), HG_SUCCESS);
    while (dango_clock_ns() < end) {
        char *exact;
        memcpy(changed, flat, size);
        if (random() % 2) { /* not data behind the list, but what a transport says of the memory */
            changed[5] = 0;
            changed[6] = 40;
        }
        mutate(changed, size);
        hg_size_t cut = random() % 4 ? size : (hg_size_t)random() % size;
        exact = malloc(cut + 1);
        memcpy(exact, changed, cut);
        if (HG_Bulk_deserialize(side.hg_class, &decoded, exact, cut) == HG_SUCCESS) {
            assert_true(HG_Bulk_get_serialize_size(decoded, 0) <= cut);
            assert_int_equal(HG_Bulk_serialize(again, sizeof again, 0, decoded), HG_SUCCESS);
            HG_Bulk_free(decoded);
        }
        free(exact);
    }
    HG_Bulk_free(bulk);
}

/* ---- rings ---- */

static void test_ring(void **state)
{
    int64_t end = dango_deadline_ns(RANDOM_MS);
    char *data = malloc(SM_RING_SIZE), *copy = malloc(SM_RING_SIZE);
    struct sm_ring_control control;

    (void)state;
    seed();
    while (dango_clock_ns() < end) {
        struct sm_producer producer;
        struct sm_consumer consumer;
        const void *bytes;
        size_t size;
        memset(&control, 0, sizeof control);
        sm_producer_init(&producer, &control, data, 16384);
        sm_consumer_init(&consumer, &control, data, 16384);
        for (int i = 0; i < 40; i++) {
            struct iovec piece = {.iov_base = copy, .iov_len = (size_t)random() % 6000};
            sm_ring_write(&producer, &piece, 1);
        }
        for (long n = random() % 20; n > 0; n--)
            data[((size_t)random() % (SM_RING_SIZE / 64)) * 64 + (size_t)random() % 8] = (char)random();
        if (random() % 2)
            atomic_fetch_add(&control.tail, (uint64_t)random() - (1u << 30));
        while (sm_ring_next(&consumer, &bytes, &size) == SM_RING_OK) {
            memcpy(copy, bytes, size);
            sm_ring_consumed(&consumer, size);
        }
        sm_ring_publish(&consumer);
    }
    free(data);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_messages_fixed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_messages_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_structures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_descriptors, setup, teardown),
        cmocka_unit_test(test_ring),
    };
    return cmocka_run_group_tests_name("mercury-fuzz", tests, NULL, NULL);
}
