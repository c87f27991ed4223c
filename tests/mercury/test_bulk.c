/*
 * Bulk transfers between two processes: sizes, segments, permissions, ranges. Run twice, with direct access to the
 * peer's memory and by messages.
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

/* Memory of `size` bytes in `count` pieces of different lengths, one of them empty. */
struct memory {
    uint32_t count;
    void *pieces[16];
    hg_size_t sizes[16];
    hg_bulk_t bulk;
};

static void memory_create(struct memory *memory, size_t size, uint32_t count, uint8_t flags)
{
    size_t left = size, position = 0;

    memory->count = count;
    for (uint32_t i = 0; i < count; i++) {
        memory->sizes[i] = i + 1 == count ? left : i == 1 ? 0 : left / 3;
        left -= memory->sizes[i];
        memory->pieces[i] = malloc(memory->sizes[i] + 1);
        for (size_t k = 0; k < memory->sizes[i]; k++)
            ((unsigned char *)memory->pieces[i])[k] = (unsigned char)(position++ * 13 + 5);
    }
    assert_int_equal(HG_Bulk_create(client.hg_class, count, memory->pieces, memory->sizes, flags, &memory->bulk),
                     HG_SUCCESS);
    assert_int_equal(HG_Bulk_get_size(memory->bulk), size);
    assert_int_equal(HG_Bulk_get_segment_count(memory->bulk), count);
}

static unsigned char memory_at(const struct memory *memory, size_t position)
{
    uint32_t i = 0;

    while (position >= memory->sizes[i])
        position -= memory->sizes[i++];
    return ((unsigned char *)memory->pieces[i])[position];
}

static void memory_free(struct memory *memory)
{
    assert_int_equal(HG_Bulk_free(memory->bulk), HG_SUCCESS);
    for (uint32_t i = 0; i < memory->count; i++)
        free(memory->pieces[i]);
}

static bulk_out_t ask(hg_addr_t addr, hg_id_t id, hg_bulk_t bulk, uint64_t offset, uint64_t size, uint32_t segments)
{
    bulk_in_t in = {.bulk = bulk, .offset = offset, .size = size, .segments = segments};
    bulk_out_t out;
    hg_handle_t handle;

    assert_int_equal(HG_Create(client.context, addr, id, &handle), HG_SUCCESS);
    assert_int_equal(side_call(&client, handle, &in), HG_SUCCESS);
    assert_int_equal(HG_Get_output(handle, &out), HG_SUCCESS);
    HG_Free_output(handle, &out);
    HG_Destroy(handle);
    return out;
}

static void check(hg_addr_t addr, size_t size, uint32_t near, uint32_t far, uint64_t offset, uint8_t pull_flags)
{
    struct memory memory;
    uint64_t sum = 0;
    bulk_out_t out;

    memory_create(&memory, size + offset, near, pull_flags);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = memory_at(&memory, offset + i);
        sum = checksum(sum, &byte, 1);
    }
    out = ask(addr, client.rpcs.pull, memory.bulk, offset, size, far);
    assert_int_equal(out.ret, HG_SUCCESS);
    assert_int_equal(out.checksum, sum);
    memory_free(&memory);

    memory_create(&memory, size + offset, near, HG_BULK_WRITE_ONLY);
    out = ask(addr, client.rpcs.push, memory.bulk, offset, size, far);
    assert_int_equal(out.ret, HG_SUCCESS);
    for (size_t i = 0; i < size; i++)
        if (memory_at(&memory, offset + i) != pattern(i))
            fail_msg("byte %zu of %zu was not pushed", i, size);
    /* Nothing before the range was touched. */
    for (size_t i = 0; i < offset; i++)
        assert_int_equal(memory_at(&memory, i), (unsigned char)(i * 13 + 5));
    memory_free(&memory);
}

static void check_all(hg_addr_t addr)
{
    static const size_t sizes[] = {0, 1, 100, 2048, 2049, 16000, 65536, 1000003};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check(addr, sizes[i], 1, 1, 0, HG_BULK_READ_ONLY);
        check(addr, sizes[i], 1, 1, 77, HG_BULK_READWRITE);
        check(addr, sizes[i], 5, 1, 0, HG_BULK_READ_ONLY);
        check(addr, sizes[i], 1, 7, 3, HG_BULK_READWRITE);
        check(addr, sizes[i], 16, 63, 1000, HG_BULK_READ_ONLY);
    }
}

static void test_transfers(void **state)
{
    (void)state;
    check_all(server);
}

static void test_self(void **state)
{
    hg_addr_t self;

    (void)state;
    HG_Addr_self(client.hg_class, &self);
    check_all(self);
    HG_Addr_free(client.hg_class, self);
}

/* Many small segments on one side: more than one system call can take. */
static void test_many_segments(void **state)
{
    enum { COUNT = 3000, EACH = 17 };
    void **pieces = calloc(COUNT, sizeof *pieces);
    hg_size_t *sizes = calloc(COUNT, sizeof *sizes);
    char *memory = malloc(COUNT * EACH);
    hg_bulk_t bulk;
    bulk_out_t out;

    (void)state;
    for (size_t i = 0; i < COUNT * EACH; i++)
        memory[i] = (char)(i * 31);
    for (size_t i = 0; i < COUNT; i++) {
        pieces[i] = memory + i * EACH;
        sizes[i] = EACH;
    }
    assert_int_equal(HG_Bulk_create(client.hg_class, COUNT, pieces, sizes, HG_BULK_READWRITE, &bulk), HG_SUCCESS);
    out = ask(server, client.rpcs.pull, bulk, 0, COUNT * EACH, 3);
    assert_int_equal(out.ret, HG_SUCCESS);
    assert_int_equal(out.checksum, checksum(0, memory, COUNT * EACH));
    out = ask(server, client.rpcs.push, bulk, 0, COUNT * EACH, 3);
    assert_int_equal(out.ret, HG_SUCCESS);
    for (size_t i = 0; i < COUNT * EACH; i++)
        assert_int_equal((unsigned char)memory[i], pattern(i));
    HG_Bulk_free(bulk);
    free(pieces);
    free(sizes);
    free(memory);
}

static void test_permissions(void **state)
{
    struct memory memory;

    (void)state;
    memory_create(&memory, 100000, 1, HG_BULK_WRITE_ONLY);
    assert_int_equal(ask(server, client.rpcs.pull, memory.bulk, 0, 100, 1).ret, HG_PERMISSION);
    memory_free(&memory);
    memory_create(&memory, 100000, 1, HG_BULK_READ_ONLY);
    assert_int_equal(ask(server, client.rpcs.push, memory.bulk, 0, 100, 1).ret, HG_PERMISSION);
    memory_free(&memory);
}

/* Lets the server push to memory by a descriptor that claims more than we have allowed. */
static hg_return_t push_forged(const struct memory *memory, size_t place, const void *claim, size_t claim_size,
                               uint64_t offset)
{
    char flat[256];
    hg_bulk_t forged;
    hg_size_t size = HG_Bulk_get_serialize_size(memory->bulk, 0);

    assert_true(size <= sizeof flat && place + claim_size <= size);
    assert_int_equal(HG_Bulk_serialize(flat, size, 0, memory->bulk), HG_SUCCESS);
    memcpy(flat + place, claim, claim_size);
    if (place == 16) /* the size of the whole is that of the one segment, too */
        memcpy(flat + 40, claim, claim_size);
    assert_int_equal(HG_Bulk_deserialize(client.hg_class, &forged, flat, size), HG_SUCCESS);
    hg_return_t ret = ask(server, client.rpcs.push, forged, offset, 100, 1).ret;
    HG_Bulk_free(forged);
    return ret;
}

/* What a descriptor says counts for nothing where its owner serves the transfer. */
static void test_forged_descriptors(void **state)
{
    const uint8_t rights = HG_BULK_READWRITE;
    const uint64_t size = 2000;
    struct memory memory;
    const char *messages = getenv("DANGO_SM_NO_DIRECT");

    (void)state;
    if (strncmp(test_protocol(), "na+sm", 5) == 0 && !messages)
        skip(); /* the kernel serves it */
    memory_create(&memory, 1000, 1, HG_BULK_READ_ONLY);
    assert_int_equal(push_forged(&memory, 4, &rights, sizeof rights, 0), HG_PERMISSION);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(memory_at(&memory, i), (unsigned char)(i * 13 + 5));
    memory_free(&memory);
    memory_create(&memory, 1000, 1, HG_BULK_WRITE_ONLY);
    assert_int_equal(push_forged(&memory, 16, &size, sizeof size, 950), HG_INVALID_ARG);
    assert_int_equal(memory_at(&memory, 999), (unsigned char)(999 * 13 + 5));
    memory_free(&memory);
}

static void test_ranges(void **state)
{
    struct memory memory;

    (void)state;
    memory_create(&memory, 100000, 2, HG_BULK_READWRITE);
    assert_int_equal(ask(server, client.rpcs.pull, memory.bulk, 0, 100001, 1).ret, HG_INVALID_ARG);
    assert_int_equal(ask(server, client.rpcs.pull, memory.bulk, 100000, 1, 1).ret, HG_INVALID_ARG);
    assert_int_equal(ask(server, client.rpcs.push, memory.bulk, UINT64_MAX, 2, 1).ret, HG_INVALID_ARG);
    assert_int_equal(ask(server, client.rpcs.pull, memory.bulk, 100000, 0, 1).ret, HG_SUCCESS);
    assert_int_equal(ask(server, client.rpcs.pull, HG_BULK_NULL, 0, 10, 1).ret, HG_INVALID_ARG);
    memory_free(&memory);
}

static void test_create_arguments(void **state)
{
    char byte;
    void *pointer = &byte;
    hg_size_t size = 1, huge[2] = {UINT64_MAX, 2};
    void *pointers[2] = {&byte, &byte};
    struct hg_bulk_attr attr = {.mem_type = HG_MEM_TYPE_CUDA};
    hg_bulk_t bulk;

    (void)state;
    assert_int_equal(HG_Bulk_create(client.hg_class, 0, &pointer, &size, HG_BULK_READWRITE, &bulk), HG_INVALID_ARG);
    assert_int_equal(HG_Bulk_create(client.hg_class, 1, &pointer, NULL, HG_BULK_READWRITE, &bulk), HG_INVALID_ARG);
    assert_int_equal(HG_Bulk_create(client.hg_class, 1, &pointer, &size, 0, &bulk), HG_INVALID_ARG);
    assert_int_equal(HG_Bulk_create(client.hg_class, 1, &pointer, &size, 4, &bulk), HG_INVALID_ARG);
    assert_int_equal(HG_Bulk_create(client.hg_class, 2, pointers, huge, HG_BULK_READWRITE, &bulk), HG_INVALID_ARG);
    assert_int_equal(HG_Bulk_create_attr(client.hg_class, 1, &pointer, &size, HG_BULK_READWRITE, &attr, &bulk),
                     HG_OPNOTSUPPORTED);
    attr.mem_type = HG_MEM_TYPE_HOST;
    assert_int_equal(HG_Bulk_create_attr(client.hg_class, 1, &pointer, &size, HG_BULK_READWRITE, &attr, &bulk),
                     HG_SUCCESS);
    assert_int_equal(HG_Bulk_ref_incr(bulk), HG_SUCCESS);
    assert_int_equal(HG_Bulk_free(bulk), HG_SUCCESS);
    assert_int_equal(HG_Bulk_free(bulk), HG_SUCCESS);
    assert_int_equal(HG_Bulk_free(HG_BULK_NULL), HG_SUCCESS);
    assert_int_equal(HG_Bulk_ref_incr(HG_BULK_NULL), HG_INVALID_ARG);
}

static void test_access(void **state)
{
    hg_size_t sizes[3] = {10, 0, 20}, got_sizes[4];
    void *got[4];
    uint32_t count = 99;
    hg_bulk_t bulk;

    (void)state;
    assert_int_equal(HG_Bulk_create(client.hg_class, 3, NULL, sizes, HG_BULK_READWRITE, &bulk), HG_SUCCESS);
    assert_int_equal(HG_Bulk_access(bulk, 0, 0, HG_BULK_READWRITE, 4, got, got_sizes, &count), HG_SUCCESS);
    assert_int_equal(count, 99);
    assert_int_equal(HG_Bulk_access(bulk, 5, 15, HG_BULK_READWRITE, 4, got, got_sizes, &count), HG_SUCCESS);
    assert_int_equal(count, 2);
    assert_int_equal(got_sizes[0], 5);
    assert_int_equal(got_sizes[1], 10);
    assert_int_equal(*(char *)got[1], 0);
    assert_int_equal(HG_Bulk_access(bulk, 5, 26, HG_BULK_READWRITE, 4, got, got_sizes, &count), HG_INVALID_ARG);
    assert_int_equal(HG_Bulk_access(NULL, 0, 1, HG_BULK_READWRITE, 4, got, got_sizes, &count), HG_INVALID_ARG);
    HG_Bulk_free(bulk);
}

/* A flat descriptor that travelled by other means works as well; a damaged one is refused. */
static void test_serialize(void **state)
{
    struct memory memory;
    hg_bulk_t decoded;
    char flat[512];
    hg_size_t size;

    (void)state;
    memory_create(&memory, 100, 3, HG_BULK_READ_ONLY);
    size = HG_Bulk_get_serialize_size(memory.bulk, HG_BULK_EAGER);
    assert_true(size <= sizeof flat);
    assert_int_equal(HG_Bulk_serialize(flat, size - 1, HG_BULK_EAGER, memory.bulk), HG_OVERFLOW);
    assert_int_equal(HG_Bulk_serialize(flat, size, HG_BULK_EAGER, memory.bulk), HG_SUCCESS);
    for (hg_size_t cut = 0; cut < size; cut++)
        assert_int_not_equal(HG_Bulk_deserialize(client.hg_class, &decoded, flat, cut), HG_SUCCESS);
    assert_int_equal(HG_Bulk_deserialize(client.hg_class, &decoded, flat, size), HG_SUCCESS);
    assert_int_equal(HG_Bulk_get_size(decoded), 100);
    assert_int_equal(HG_Bulk_get_flags(decoded), HG_BULK_READ_ONLY);
    HG_Bulk_free(decoded);
    memory_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_transfers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_self, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_permissions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_create_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_access, setup, teardown),
        cmocka_unit_test_setup_teardown(test_serialize, setup, teardown),
    };
    return cmocka_run_group_tests_name("mercury-bulk", tests, NULL, NULL);
}
