/*
 * Requests from damaged bytes: whatever decodes is run against a database, and its response encoded. Good requests of
 * every operation are changed at random; numbers that say sizes and counts are also set to extremes. The sanitizers tell
 * what goes wrong; the seed is printed when something does.
 */
#include "tests/yokan/support.h"

#include "mercury/hg.h"
#include "util/clock.h"
#include "yokan/collections.h"
#include "yokan/provider/provider.h"

#define FUZZ_MS 3000

static uint64_t seed = 88172645463325252u;
static hg_class_t *hg_class;
static struct yk_provider provider;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* A valid request with `n` keys (sizes 1) and as many values (sizes 1), which most operations can make sense of. */
static void encode_good(struct hgi_buffer *buffer, size_t n)
{
    uint64_t region[64];
    yk_id_t ids[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    for (size_t i = 0; i < 64; i++)
        region[i] = i < 2 * n ? 1 : 0x6161616161616161u;
    struct yokan_slice id_part = {ids, n * sizeof ids[0]}, part = {region, sizeof region};
    struct yokan_request request = {
        .mode = next_random() % 4 ? 0 : (int32_t)(next_random() & 0x1ffff),
        .packed = next_random() & 1,
        .count = n,
        .from_size = next_random() % 4,
        .filter_size = next_random() % 4,
        .key_space = 64,
        .value_space = 64,
        .id = next_random() % 8,
        .name = "c",
        .ids = {.size = id_part.size, .parts = &id_part, .part_count = 1},
        .data = {.size = part.size, .parts = &part, .part_count = 1},
    };
    assert_int_equal(hgi_encode(hg_class, yokan_proc_request, &request, buffer), HG_SUCCESS);
}

static void damage(struct hgi_buffer *buffer)
{
    static const uint64_t extremes[] = {0, 1, 7, 8, 255, 65536, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX / 8 + 1};
    for (uint64_t times = next_random() % 4; times > 0; times--) {
        size_t at = next_random() % buffer->size;
        if (next_random() & 1) {
            buffer->data[at] = (char)next_random();
        } else {
            uint64_t number = extremes[next_random() % (sizeof extremes / sizeof extremes[0])];
            size_t size = buffer->size - at < sizeof number ? buffer->size - at : sizeof number;
            memcpy(buffer->data + at, &number, size);
        }
    }
    if (next_random() % 8 == 0)
        buffer->size = next_random() % (buffer->size + 1);
}

static void run(struct hgi_buffer *buffer, enum yokan_op op)
{
    struct yokan_request request = {0};
    struct yokan_response response = {0};
    struct hgi_buffer encoded;
    if (hgi_decode(hg_class, yokan_proc_request, HG_DECODE, &request, buffer) != HG_SUCCESS)
        return;
    /* Bulk handles would need the process that they describe. */
    if (request.bulk == HG_BULK_NULL) {
        struct yokan_job job = {.provider = &provider, .database = provider.database, .request = &request};
        yokan_job_run(&job, op, &response);
        assert_in_range(response.ret, 0, YOKAN_ERR_OTHER);
        hgi_buffer_init(&encoded);
        assert_int_equal(hgi_encode(hg_class, yokan_proc_response, &response, &encoded), HG_SUCCESS);
        hgi_buffer_fini(&encoded);
        yokan_job_release(&job);
    }
    hgi_decode(hg_class, yokan_proc_request, HG_FREE, &request, buffer);
}

static void damaged_requests_are_survived(void **state)
{
    (void)state;
    int64_t end_ns = dango_clock_ns() + FUZZ_MS * DANGO_NS_PER_MS;
    for (uint64_t round = 0; dango_clock_ns() < end_ns; round++) {
        struct hgi_buffer buffer;
        hgi_buffer_init(&buffer);
        encode_good(&buffer, 1 + next_random() % 4);
        if (round % 16)
            damage(&buffer);
        run(&buffer, (enum yokan_op)(next_random() % YOKAN_OP_COUNT));
        hgi_buffer_fini(&buffer);
        /* What the requests stored must not grow without end. */
        if (round % 1000 == 0)
            provider.database->backend->erase_range(provider.database->db, slice(""));
        if (round % 100 == 0)
            yokan_collection_create(provider.database, "c");
    }
}

/* Responses are decoded by clients, from servers that may be anything. */
static void damaged_responses_are_survived(void **state)
{
    (void)state;
    uint64_t words[8] = {1, 2, 3};
    struct yokan_slice part = {words, sizeof words};
    for (int round = 0; round < 100000; round++) {
        struct yokan_response good = {.value = 3, .data = {.size = part.size, .parts = &part, .part_count = 1}};
        struct yokan_response bad = {0};
        struct hgi_buffer buffer;
        hgi_buffer_init(&buffer);
        assert_int_equal(hgi_encode(hg_class, yokan_proc_response, &good, &buffer), HG_SUCCESS);
        damage(&buffer);
        if (hgi_decode(hg_class, yokan_proc_response, HG_DECODE, &bad, &buffer) == HG_SUCCESS)
            assert_true(bad.data.size == 0 || bad.data.data + bad.data.size <= buffer.data + buffer.size);
        hgi_buffer_fini(&buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_requests_are_survived),
        cmocka_unit_test(damaged_responses_are_survived),
    };
    hg_class = HG_Init("na+sm", HG_FALSE);
    provider.database = open_database("{\"type\":\"map\"}");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed)
        fprintf(stderr, "seed now: %llu\n", (unsigned long long)seed);
    yokan_database_close(provider.database);
    HG_Finalize(hg_class);
    return failed;
}
