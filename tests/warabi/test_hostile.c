/*
 * A peer that sends anything but what the client would: truncated, random and contradictory requests. Each must get an
 * answer (or cost only its sender the connection), leak nothing, and leave the provider in working order.
 */
#include "tests/warabi/fixture.h"
#include "tests/support/protocol.h"

#include "warabi/wire.h"

/* A request given byte by byte, around an optional bulk handle. */
struct raw {
    uint8_t head[256], tail[64];
    size_t head_size, tail_size;
    hg_bulk_t bulk; /* encoded between the two, unless NULL */
};

static hg_return_t encode_raw(hg_proc_t proc, void *data)
{
    struct raw *raw = data;
    if (hg_proc_get_op(proc) != HG_ENCODE)
        return HG_SUCCESS;
    hg_return_t status = hg_proc_bytes(proc, raw->head, raw->head_size);
    if (status == HG_SUCCESS && raw->bulk != HG_BULK_NULL)
        status = hg_proc_hg_bulk_t(proc, &raw->bulk);
    return status == HG_SUCCESS ? hg_proc_bytes(proc, raw->tail, raw->tail_size) : status;
}

struct fixture {
    margo_instance_id server, attacker;
    hg_addr_t address; /* of the server, for the attacker */
    hg_id_t ids[WB_RPC_COUNT];
    char text[256];
    hg_bulk_t bulk; /* 64 bytes that may be read and written */
    char memory[64];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->server = margo_init(test_protocol(), MARGO_SERVER_MODE, 1, 1);
    assert_non_null(f->server);
    self_address(f->server, f->text, sizeof f->text);
    assert_success(warabi_provider_register(
        NULL, f->server, PROVIDER_ID, "{\"target\":{\"type\":\"memory\",\"config\":{\"capacity\":100000}}}", NULL));
    f->attacker = margo_init(test_protocol(), MARGO_SERVER_MODE, 1, 0);
    assert_non_null(f->attacker);
    assert_int_equal(margo_addr_lookup(f->attacker, f->text, &f->address), HG_SUCCESS);
    for (int i = 0; i < WB_RPC_COUNT; i++)
        f->ids[i] = margo_provider_register_name(f->attacker, wb_rpcs[i].name, encode_raw, hg_proc_wb_out_t, NULL,
                                                 PROVIDER_ID, ABT_POOL_NULL);
    void *pointer = f->memory;
    hg_size_t size = sizeof f->memory;
    assert_int_equal(margo_bulk_create(f->attacker, 1, &pointer, &size, HG_BULK_READWRITE, &f->bulk), HG_SUCCESS);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    margo_bulk_free(f->bulk);
    margo_addr_free(f->attacker, f->address);
    margo_finalize_and_wait(f->attacker);
    margo_finalize_and_wait(f->server);
    free(f);
    return 0;
}

/* The code of the answer; -1 when there was none. */
static int attack(struct fixture *f, enum wb_rpc rpc, struct raw *raw)
{
    hg_handle_t handle;
    wb_out_t out;
    int code = -1;
    assert_int_equal(margo_create(f->attacker, f->address, f->ids[rpc], &handle), HG_SUCCESS);
    if (margo_provider_forward_timed(PROVIDER_ID, handle, raw, 5000) == HG_SUCCESS &&
        margo_get_output(handle, &out) == HG_SUCCESS) {
        code = out.code;
        margo_free_output(handle, &out);
    }
    margo_destroy(handle);
    return code;
}

static void append(struct raw *raw, const void *bytes, size_t size)
{
    memcpy(raw->head + raw->head_size, bytes, size);
    raw->head_size += size;
}

static void append_u64(struct raw *raw, uint64_t value)
{
    append(raw, &value, sizeof value);
}

static struct raw begin(uint8_t fields)
{
    struct raw raw = {.head = {fields}, .head_size = 1};
    return raw;
}

static warabi_region_t create_region(struct fixture *f)
{
    warabi_client_t client;
    warabi_target_handle_t th;
    warabi_region_t region;
    assert_success(warabi_client_create(f->server, &client));
    assert_success(warabi_client_make_target_handle(client, f->text, PROVIDER_ID, &th));
    assert_success(warabi_create(th, 100, &region, NULL));
    assert_success(warabi_write(th, region, 0, "abc", 3, true, NULL));
    warabi_target_handle_free(th);
    warabi_client_free(client);
    return region;
}

/* A request as the client would send it, of `rpc`, with one segment of 10 bytes. */
static struct raw valid(struct fixture *f, enum wb_rpc rpc, const warabi_region_t *region)
{
    uint8_t fields = wb_rpcs[rpc].fields;
    struct raw raw = begin(fields);
    uint32_t one = 1;
    if (fields & WB_REGION)
        append(&raw, region, sizeof *region);
    if (fields & WB_SIZE)
        append_u64(&raw, 10);
    if (fields & WB_SEGMENTS) {
        append(&raw, &one, sizeof one);
        append_u64(&raw, 5);
        append_u64(&raw, 10);
    }
    if (fields & WB_BYTES) {
        append_u64(&raw, 10);
        append(&raw, "0123456789", 10);
    }
    if (fields & WB_MEMORY) {
        append_u64(&raw, 0);
        raw.bulk = f->bulk;
        memset(raw.tail, 0, sizeof raw.tail); /* an empty string in any encoding of its length */
        raw.tail_size = 16;
    }
    return raw;
}

static void valid_requests_are_answered(void **state)
{
    struct fixture *f = *state;
    warabi_region_t region = create_region(f);
    for (int rpc = 0; rpc < WB_RPC_COUNT; rpc++) {
        struct raw raw = valid(f, rpc, &region);
        assert_int_equal(attack(f, rpc, &raw), rpc == WB_RPC_region_size ? WARABI_ERR_NOT_FOUND : WARABI_ERR_OK);
    }
}

/* An error as answer; or none, because a peer that keeps sending nonsense loses its connection. */
static void assert_refused(int code)
{
    assert_true(code == WARABI_ERR_INVALID || code == -1);
}

static void truncated_requests_are_refused(void **state)
{
    struct fixture *f = *state;
    warabi_region_t region = create_region(f);
    for (int rpc = 0; rpc < WB_RPC_COUNT; rpc++) {
        struct raw whole = valid(f, rpc, &region);
        for (size_t size = 0; size < whole.head_size; size++) {
            struct raw raw = whole;
            raw.head_size = size;
            raw.bulk = HG_BULK_NULL;
            raw.tail_size = 0;
            assert_refused(attack(f, rpc, &raw));
        }
        if (whole.bulk != HG_BULK_NULL) {
            whole.tail_size = 0;
            assert_refused(attack(f, rpc, &whole));
        }
    }
    create_region(f);
}

static void missing_fields_are_refused(void **state)
{
    struct fixture *f = *state;
    for (int rpc = 0; rpc < WB_RPC_COUNT; rpc++) {
        struct raw raw = begin(0);
        assert_int_equal(attack(f, rpc, &raw), WARABI_ERR_INVALID);
        raw = begin(0xC0);
        assert_int_equal(attack(f, rpc, &raw), WARABI_ERR_INVALID);
    }
}

static void huge_counts_are_refused(void **state)
{
    struct fixture *f = *state;
    warabi_region_t region = create_region(f);
    static const uint32_t counts[] = {2, 65537, UINT32_MAX, UINT32_MAX / 16 + 1};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct raw raw = begin(WB_REGION | WB_SEGMENTS);
        append(&raw, &region, sizeof region);
        append(&raw, &counts[i], sizeof counts[i]);
        append_u64(&raw, 0);
        append_u64(&raw, 1);
        assert_int_equal(attack(f, WB_RPC_persist, &raw), WARABI_ERR_INVALID);
    }
    static const uint64_t sizes[] = {11, UINT64_MAX, UINT64_MAX - 7, 1ull << 63};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct raw raw = begin(WB_SIZE | WB_BYTES);
        append_u64(&raw, 10);
        append_u64(&raw, sizes[i]);
        append(&raw, "0123456789", 10);
        assert_int_equal(attack(f, WB_RPC_create_write_eager, &raw), WARABI_ERR_INVALID);
    }
}

/* Every single byte of valid requests, with a few values; whatever the answers, the provider goes on answering. */
static void mutated_requests_do_no_harm(void **state)
{
    struct fixture *f = *state;
    static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    warabi_region_t regions[WB_RPC_COUNT]; /* up front: some of the requests take all of the capacity */
    for (int rpc = 0; rpc < WB_RPC_COUNT; rpc++)
        regions[rpc] = create_region(f);
    for (int rpc = 0; rpc < WB_RPC_COUNT; rpc++) {
        struct raw whole = valid(f, rpc, &regions[rpc]);
        for (size_t i = 0; i < whole.head_size + whole.tail_size; i++) {
            for (size_t v = 0; v < sizeof values; v++) {
                struct raw raw = whole;
                *(i < raw.head_size ? &raw.head[i] : &raw.tail[i - raw.head_size]) ^= values[v] ? values[v] : 0x55;
                attack(f, rpc, &raw);
            }
        }
    }
    struct raw raw = valid(f, WB_RPC_read_eager, &regions[WB_RPC_read_eager]);
    int code = attack(f, WB_RPC_read_eager, &raw);
    if (code == -1) /* the connection was just lost: there is a new one now */
        code = attack(f, WB_RPC_read_eager, &raw);
    assert_int_equal(code, WARABI_ERR_OK);
}

static void random_requests_do_no_harm(void **state)
{
    struct fixture *f = *state;
    unsigned seed = 12345;
    for (int i = 0; i < 2000; i++) {
        struct raw raw = {.head_size = (size_t)rand_r(&seed) % 200};
        for (size_t j = 0; j < raw.head_size; j++)
            raw.head[j] = (uint8_t)(rand_r(&seed) % 3 ? 0 : rand_r(&seed));
        attack(f, (enum wb_rpc)(rand_r(&seed) % WB_RPC_COUNT), &raw);
    }
    create_region(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(valid_requests_are_answered), TEST(truncated_requests_are_refused), TEST(missing_fields_are_refused),
        TEST(huge_counts_are_refused),     TEST(mutated_requests_do_no_harm),    TEST(random_requests_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
