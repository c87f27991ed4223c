/*
 * The decoders of messages with random bytes and damaged messages. Messages are put at the very end of their memory, so
 * that a sanitizer sees every byte that is read too many.
 */
#include "tests/support/test.h"

#include "mofka/partition/frame.h"
#include "mofka/wire/wire.h"
#include "tests/mofka/random.h"

#define ROUNDS      200000
#define MESSAGE_MAX 400

static uint64_t seed = 5;

static struct mofka_message message_of(unsigned char *bytes, size_t size)
{
    return (struct mofka_message){.bytes = bytes, .size = size};
}

static uint64_t sum(const unsigned char *bytes, uint64_t size)
{
    uint64_t total = 0;
    for (uint64_t i = 0; bytes && i < size; i++)
        total += bytes[i];
    return total;
}

/* Everything that a decoder accepted is touched. */
static uint64_t decode_all(const struct mofka_message *message)
{
    struct mofka_produce produce;
    struct mofka_fetch_request fetch;
    struct mofka_read read;
    struct mofka_read_answer read_answer;
    struct mofka_fetch_answer fetch_answer;
    struct mofka_attach_request attach;
    struct dango_error err;
    const unsigned char *flat, *statuses, *bytes;
    char name[MOFKA_NAME_MAX + 1];
    uint64_t total = 0;
    if (dango_mofka_decode_produce(message, &produce, &err) == 0) {
        total += sum(produce.records, produce.request.records_size) + sum(produce.data, produce.request.data_size);
        total +=
            sum(produce.records_flat, produce.request.records_flat) + sum(produce.data_flat, produce.request.data_flat);
        assert_true(produce.records || produce.records_flat);
        assert_true(produce.data || produce.data_flat);
    }
    if (dango_mofka_decode_fetch(message, &fetch, &flat, &err) == 0)
        total += sum(flat, fetch.flat);
    if (dango_mofka_decode_read(message, &read, &err) == 0) {
        for (uint32_t i = 0; i < read.item_count; i++)
            total += mofka_read_item(&read, i).event_id;
        for (uint32_t i = 0; i < read.request.range_count; i++)
            total += mofka_read_range(&read, i).size;
        total += sum(read.flat, read.request.flat);
    }
    if (dango_mofka_decode_request(message, &attach, sizeof attach, &err) == 0 &&
        dango_mofka_decode_name(message, sizeof attach, name, &err) == 0)
        total += strlen(name);
    if (dango_mofka_decode_answer(message, &fetch_answer, sizeof fetch_answer, &err) == 0)
        total += fetch_answer.size;
    if (dango_mofka_decode_read_answer(message, 3, 5, &read_answer, &statuses, &bytes, &err) == 0)
        total += sum(statuses, 16) + sum(bytes, bytes ? 5 : 0);
    return total;
}

static void decode_copy(const unsigned char *bytes, size_t size)
{
    unsigned char *copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    struct mofka_message message = message_of(copy, size);
    decode_all(&message);
    free(copy);
}

static void random_bytes_are_survived(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char bytes[MESSAGE_MAX];
        size_t size = random_below(&seed, sizeof bytes + 1);
        random_fill(&seed, bytes, size);
        if (size >= 2 && random_below(&seed, 10) > 0)
            memcpy(bytes, &(uint16_t){MOFKA_WIRE_VERSION}, 2);
        decode_copy(bytes, size);
    }
}

/* A good message of each kind, with fields replaced by interesting numbers, and cut. */
static size_t make_message(unsigned char *bytes)
{
    struct mofka_request_head head;
    mofka_request_head_init(&head, 9);
    size_t tail = random_below(&seed, 64), size = 0;
    switch (random_below(&seed, 4)) {
    case 0: {
        struct mofka_produce_request request = {.head = head, .attempt = 1, .records_size = tail};
        request.head.extra = 1;
        request.head.flags = MOFKA_RECORDS_INSIDE | MOFKA_DATA_INSIDE;
        memcpy(bytes, &request, size = sizeof request);
        break;
    }
    case 1: {
        struct mofka_fetch_request request = {.head = head, .frames_max = 1, .flat = (uint32_t)tail};
        request.head.extra = 1;
        memcpy(bytes, &request, size = sizeof request);
        break;
    }
    case 2: {
        struct mofka_read_request request = {.head = head, .range_count = 1};
        struct mofka_read_item item = {1, 1};
        diaspora_range range = {0, 10};
        request.head.extra = 1;
        request.flat = (uint32_t)tail;
        memcpy(bytes, &request, sizeof request);
        memcpy(bytes + sizeof request, &item, sizeof item);
        memcpy(bytes + sizeof request + sizeof item, &range, sizeof range);
        size = sizeof request + sizeof item + sizeof range;
        break;
    }
    default: {
        struct mofka_read_answer answer = {.item_count = 3, .size = 5, .flags = MOFKA_BYTES_INSIDE};
        memcpy(bytes, &answer, size = sizeof answer);
        tail = 21;
        break;
    }
    }
    random_fill(&seed, bytes + size, tail);
    return size + tail;
}

static void damaged_messages_are_survived(void **state)
{
    (void)state;
    static const uint32_t interesting[] = {0, 1, 3, 255, 256, 65535, 65536, 1u << 20, 0x7fffffff, 0xffffffff};
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char bytes[MESSAGE_MAX];
        size_t size = make_message(bytes);
        for (size_t damage = random_below(&seed, 3); damage > 0; damage--) {
            size_t where = random_below(&seed, size / 4) * 4;
            if (where + 4 <= size)
                memcpy(bytes + where, &interesting[random_below(&seed, 10)], 4);
        }
        if (random_below(&seed, 4) == 0)
            size = random_below(&seed, size + 1);
        decode_copy(bytes, size);
    }
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
    assert_string_equal(err.text, "the client speaks version 3 of the protocol, this server version 2");
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
        cmocka_unit_test(random_bytes_are_survived),
        cmocka_unit_test(damaged_messages_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
