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
        cmocka_unit_test(errors_travel_with_their_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
