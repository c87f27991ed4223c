/*
 * Messages between clients and servers: good ones are understood, errors travel with their text. What any other bytes
 * become is tried in fuzz_wire.c.
 */
#include "tests/support/test.h"

#include "mofka/partition/frame.h"
#include "mofka/wire/wire.h"

static struct mofka_message message_of(unsigned char *bytes, size_t size)
{
    return (struct mofka_message){.bytes = bytes, .size = size};
}

static void good_messages_are_understood(void **state)
{
    (void)state;
    unsigned char bytes[sizeof(struct mofka_produce_request) + 10];
    struct mofka_produce_request request = {.attempt = 1, .records_size = 7, .data_size = 3};
    mofka_request_head_init(&request.head, 42);
    request.head.extra = 2;
    request.head.flags = MOFKA_RECORDS_INSIDE | MOFKA_DATA_INSIDE;
    memcpy(bytes, &request, sizeof request);
    memcpy(bytes + sizeof request, "recordsdat", 10);
    struct mofka_message message = message_of(bytes, sizeof bytes);
    struct mofka_produce produce;
    assert_int_equal(dango_mofka_decode_produce(&message, &produce, NULL), 0);
    assert_int_equal(produce.count, 2);
    assert_memory_equal(produce.records, "records", 7);
    assert_memory_equal(produce.data, "dat", 3);

    struct dango_error err;
    request.head.version = MOFKA_WIRE_VERSION + 1;
    memcpy(bytes, &request, sizeof request);
    assert_int_equal(dango_mofka_decode_produce(&message, &produce, &err), DANGO_ERR_UNSUPPORTED);
    assert_string_equal(err.text, "the client speaks version 6 of the protocol, this server version 5");
}

/* The ranges that items claim are the ranges that are there: nobody counts again. */
static void ranges_of_a_read_belong_to_items(void **state)
{
    (void)state;
    struct {
        struct mofka_read_request request;
        struct mofka_read_item items[2];
        diaspora_range ranges[3];
    } bytes = {.request.range_count = 3, .ranges = {{0, 1}, {2, 3}, {5, 7}}};
    static const struct {
        uint64_t first, second;
        int code;
    } cases[] = {{1, 2, 0},
                 {3, 0, 0},
                 {1, 1, DANGO_ERR_PROTOCOL},
                 {2, 2, DANGO_ERR_PROTOCOL},
                 {UINT64_MAX, 4, DANGO_ERR_PROTOCOL},
                 {UINT32_MAX, 0, DANGO_ERR_PROTOCOL}};
    mofka_request_head_init(&bytes.request.head, 42);
    bytes.request.head.extra = 2;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes.items[0].range_count = cases[i].first;
        bytes.items[1].range_count = cases[i].second;
        struct mofka_message message = message_of((unsigned char *)&bytes, sizeof bytes);
        struct mofka_read read;
        assert_int_equal(dango_mofka_decode_read(&message, &read, NULL), cases[i].code);
        if (cases[i].code == 0)
            assert_int_equal(read.size, 11);
    }
}

static void errors_travel_with_their_text(void **state)
{
    (void)state;
    unsigned char bytes[64];
    struct mofka_answer answer = {.code = DANGO_ERR_RANGE, .text_size = 12};
    memcpy(bytes, &answer, sizeof answer);
    memcpy(bytes + sizeof answer, "no such room", 12);
    struct mofka_message message = message_of(bytes, sizeof answer + 12);
    struct mofka_attach_answer attach;
    struct dango_error err;
    assert_int_equal(dango_mofka_decode_answer(&message, &attach, sizeof attach, &err), DANGO_ERR_RANGE);
    assert_string_equal(err.text, "no such room");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_messages_are_understood),
        cmocka_unit_test(ranges_of_a_read_belong_to_items),
        cmocka_unit_test(errors_travel_with_their_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
