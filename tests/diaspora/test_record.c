/*
 * Records: round trips of all sizes of varints, and batches damaged in every way, of which none may be accepted or
 * read beyond its end.
 */
#include "tests/support/test.h"

#include "diaspora/record.h"

static void varints_survive_the_round_trip(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int delta = -1; delta <= 1; delta++) {
            unsigned char bytes[DIASPORA_VARINT_MAX];
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)delta, back;
            size_t size = diaspora_varint_put(bytes, value);
            assert_int_equal(diaspora_varint_get(bytes, size, &back), size);
            assert_int_equal(back, value);
            assert_int_equal(diaspora_varint_get(bytes, size - 1, &back), 0);
        }
    }
}

static void varints_beyond_64_bits_are_refused(void **state)
{
    (void)state;
    unsigned char bytes[12];
    uint64_t value;
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(diaspora_varint_get(bytes, sizeof bytes, &value), 0);
    bytes[9] = 0x02;
    assert_int_equal(diaspora_varint_get(bytes, sizeof bytes, &value), 0);
    bytes[9] = 0x01;
    assert_int_equal(diaspora_varint_get(bytes, sizeof bytes, &value), 10);
    assert_int_equal(value, UINT64_MAX);
}

struct batch {
    unsigned char bytes[512];
    size_t size;
    uint32_t count;
    uint64_t data_size;
};

static int build(void **state)
{
    static struct batch batch;
    memset(&batch, 0, sizeof batch);
    const char *const metadata[] = {"", "{}", "{\"shot\":1}", "\"text\""};
    for (size_t i = 0; i < 4; i++) {
        batch.size += diaspora_record_put(batch.bytes + batch.size, metadata[i], strlen(metadata[i]), i * 1000);
        batch.data_size += i * 1000;
        batch.count++;
    }
    *state = &batch;
    return 0;
}

static int check(const struct batch *batch, struct dango_error *err)
{
    /* A copy of exactly the right size, so that the address sanitizer sees every byte too many. */
    unsigned char *exact = malloc(batch->size ? batch->size : 1);
    assert_non_null(exact);
    memcpy(exact, batch->bytes, batch->size);
    int status = dango_diaspora_records_check(exact, batch->size, batch->count, batch->data_size, err);
    free(exact);
    return status;
}

static void a_good_batch_is_accepted(void **state)
{
    assert_int_equal(check(*state, NULL), 0);
}

static void records_are_read_back(void **state)
{
    const struct batch *batch = *state;
    struct diaspora_record record;
    size_t first = diaspora_record_get(batch->bytes, batch->size, &record);
    assert_int_equal(record.metadata_size, 0);
    assert_true(first > 0 && first <= diaspora_record_bound(0));
    assert_true(diaspora_record_get(batch->bytes + first, batch->size - first, &record) > 0);
    assert_string_equal((const char *)record.metadata, "{}");
    assert_int_equal(record.data_size, 1000);
}

static void wrong_totals_are_refused(void **state)
{
    struct dango_error err;
    struct batch batch = *(struct batch *)*state;
    batch.data_size--;
    assert_int_equal(check(&batch, &err), DANGO_ERR_PROTOCOL);
    assert_contains(err.text, "record 3: the data sizes sum up to more");
    batch.data_size += 2;
    assert_int_equal(check(&batch, &err), DANGO_ERR_PROTOCOL);
    assert_contains(err.text, "less than the batch has");
    batch.data_size--;
    batch.count++;
    assert_int_equal(check(&batch, &err), DANGO_ERR_PROTOCOL);
    assert_contains(err.text, "record 4");
    batch.count -= 2;
    assert_int_equal(check(&batch, &err), DANGO_ERR_PROTOCOL);
    assert_contains(err.text, "bytes follow");
}

static void every_truncation_is_refused(void **state)
{
    struct batch batch = *(struct batch *)*state;
    while (batch.size-- > 0)
        assert_int_equal(check(&batch, NULL), DANGO_ERR_PROTOCOL);
}

static void no_byte_sequence_reads_beyond_the_end(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 20000; round++) {
        struct batch batch = {.size = (size_t)rand() % 24, .count = (uint32_t)rand() % 6};
        for (size_t i = 0; i < batch.size; i++)
            batch.bytes[i] = (unsigned char)(rand() % 3 ? rand() % 4 : rand());
        (void)check(&batch, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varints_survive_the_round_trip),
        cmocka_unit_test(varints_beyond_64_bits_are_refused),
        cmocka_unit_test_setup(a_good_batch_is_accepted, build),
        cmocka_unit_test_setup(records_are_read_back, build),
        cmocka_unit_test_setup(wrong_totals_are_refused, build),
        cmocka_unit_test_setup(every_truncation_is_refused, build),
        cmocka_unit_test(no_byte_sequence_reads_beyond_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
