/*
 * Any bytes as what a server answers to a client, and as a message to a server: every decoder of both directions. What a
 * decoder accepts is touched to its last byte.
 *
 * Input: a byte that chooses, then the message.
 */
#include "tests/support/fuzz.h"

#include "diaspora/record.h"
#include "mofka/client/frames.h"
#include "mofka/partition/frame.h"
#include "mofka/wire/wire.h"
#include "util/crc32c.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX   8
#define EVENTS_MAX 1000

const unsigned fuzz_rounds = 400000;

enum kind {
    PRODUCE,
    FETCH,
    READ,
    ATTACH,
    SUBSCRIBE,
    READ_ANSWER,
    PRODUCE_ANSWER,
    FETCH_ANSWER,
    POSITIONS,
    FRAMES,
    RECORDS,
    KINDS
};

static const uint8_t uuid[16] = {7};
static volatile uint64_t total; /* keeps the reading */

static void touch(const void *bytes, uint64_t size)
{
    for (uint64_t i = 0; bytes && i < size; i++)
        total += ((const unsigned char *)bytes)[i];
}

/* ---- requests ---- */

static void decode_produce(const struct mofka_message *message)
{
    struct mofka_produce produce;
    if (dango_mofka_decode_produce(message, &produce, NULL) != 0)
        return;
    assert(produce.records || produce.records_flat);
    assert(produce.data || produce.data_flat);
    touch(produce.records, produce.request.records_size);
    touch(produce.data, produce.request.data_size);
    touch(produce.records_flat, produce.request.records_flat);
    touch(produce.data_flat, produce.request.data_flat);
    if (produce.records)
        dango_diaspora_records_check(produce.records, (size_t)produce.request.records_size, produce.count,
                                     produce.request.data_size, NULL);
}

static void decode_fetch(const struct mofka_message *message)
{
    struct mofka_fetch_request fetch;
    const unsigned char *flat;
    if (dango_mofka_decode_fetch(message, &fetch, &flat, NULL) == 0)
        touch(flat, fetch.flat);
}

static void decode_read(const struct mofka_message *message)
{
    struct mofka_read read;
    if (dango_mofka_decode_read(message, &read, NULL) != 0)
        return;
    for (uint32_t i = 0; i < read.item_count; i++)
        total += mofka_read_item(&read, i).event_id;
    for (uint32_t i = 0; i < read.request.range_count; i++)
        total += mofka_read_range(&read, i).size;
    touch(read.flat, read.request.flat);
}

static void decode_named(const struct mofka_message *message, size_t size)
{
    union {
        struct mofka_attach_request attach;
        struct mofka_subscribe_request subscribe;
    } request;
    char name[MOFKA_NAME_MAX + 1];
    assert(size <= sizeof request);
    if (dango_mofka_decode_request(message, &request, size, NULL) == 0 &&
        dango_mofka_decode_name(message, size, name, NULL) == 0)
        assert(strlen(name) <= MOFKA_NAME_MAX);
}

/* ---- answers ---- */

static void decode_read_answer(const struct mofka_message *message)
{
    struct mofka_read_answer answer;
    const unsigned char *statuses, *bytes;
    if (dango_mofka_decode_read_answer(message, 3, 5, &answer, &statuses, &bytes, NULL) != 0)
        return;
    touch(statuses, 16);
    touch(bytes, bytes ? 5 : 0);
}

static void decode_answer(const struct mofka_message *message, size_t size)
{
    union {
        struct mofka_produce_answer produce;
        struct mofka_fetch_answer fetch;
    } answer;
    struct dango_error err;
    assert(size <= sizeof answer);
    if (dango_mofka_decode_answer(message, &answer, size, &err) != 0)
        assert(err.code != 0 && strlen(err.text) < sizeof err.text);
    else
        touch(&answer, size);
}

static void decode_positions(const struct mofka_message *message)
{
    struct mofka_inspect_answer answer;
    struct mofka_inspect_item item;
    char name[MOFKA_NAME_MAX + 1];
    size_t offset = sizeof answer;
    if (dango_mofka_decode_answer(message, &answer, sizeof answer, NULL) != 0)
        return;
    for (uint32_t i = 0; i < answer.count; i++) {
        if (dango_mofka_decode_inspect_item(message, &offset, &item, name, NULL) != 0)
            return;
        assert(strlen(name) <= MOFKA_NAME_MAX && offset <= message->size);
    }
}

/* The headers of frames with correct checksums, so that what stands in them is looked at. */
static void seal_frames(unsigned char *bytes, size_t size)
{
    struct mofka_frame frame;
    for (size_t at = 0; size - at >= sizeof frame;) {
        memcpy(&frame, bytes + at, sizeof frame);
        frame.header_crc = dango_crc32c(0, &frame, offsetof(struct mofka_frame, header_crc));
        memcpy(bytes + at, &frame, sizeof frame);
        uint64_t extent = mofka_frame_size(&frame);
        if (extent == 0 || extent > size - at)
            return;
        at += (size_t)extent;
    }
}

static void decode_frames(const unsigned char *bytes, size_t size)
{
    struct diaspora_run runs[RUNS_MAX];
    bool with_data = size > 0 && bytes[0] & 1;
    size_t rest = size > 0 ? size - 1 : 0;
    unsigned char *copy = malloc(rest ? rest : 1);
    assert(copy);
    memcpy(copy, bytes + (size > 0), rest);
    if (size > 0 && bytes[0] & 2)
        seal_frames(copy, rest);
    struct diaspora_fetch fetch = {.buffer = {.base = (void *)copy, .size = rest},
                                   .max_events = EVENTS_MAX,
                                   .runs = runs,
                                   .runs_capacity = RUNS_MAX};
    uint64_t next_id = 5;
    struct mofka_doubt doubt = {.is_set = size > 0 && bytes[0] & 4, .id = next_id};
    if (dango_mofka_frames_to_runs(&fetch, rest, with_data, uuid, &next_id, &doubt, NULL) >= 0) {
        assert(fetch.run_count <= RUNS_MAX && next_id >= 5 && next_id <= 5 + EVENTS_MAX);
        for (size_t i = 0; i < fetch.run_count; i++) {
            touch(copy + runs[i].records_offset, runs[i].records_size);
            touch(copy + runs[i].data_offset, with_data ? runs[i].data_size : 0);
        }
    }
    free(copy);
}

static void decode_records(const unsigned char *bytes, size_t size)
{
    uint32_t count = size > 0 ? bytes[0] : 0;
    size_t rest = size > 0 ? size - 1 : 0, at = 0;
    const unsigned char *records = bytes + (size > 0);
    uint64_t data = 0;
    struct diaspora_record record;
    for (uint32_t i = 0; i < count; i++) {
        size_t n = diaspora_record_get(records + at, rest - at, &record);
        if (n == 0)
            return;
        touch(record.metadata, record.metadata_size + 1);
        data += record.data_size;
        at += n;
    }
    bool sound = dango_diaspora_records_check(records, rest, count, data, NULL) == 0;
    assert(!sound || at == rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const uint8_t *bytes = data + 1;
    struct mofka_message message = {.bytes = bytes, .size = size - 1};
    switch ((enum kind)(data[0] % KINDS)) {
    case PRODUCE:
        decode_produce(&message);
        break;
    case FETCH:
        decode_fetch(&message);
        break;
    case READ:
        decode_read(&message);
        break;
    case ATTACH:
        decode_named(&message, sizeof(struct mofka_attach_request));
        break;
    case SUBSCRIBE:
        decode_named(&message, sizeof(struct mofka_subscribe_request));
        break;
    case READ_ANSWER:
        decode_read_answer(&message);
        break;
    case PRODUCE_ANSWER:
        decode_answer(&message, sizeof(struct mofka_produce_answer));
        break;
    case FETCH_ANSWER:
        decode_answer(&message, sizeof(struct mofka_fetch_answer));
        break;
    case POSITIONS:
        decode_positions(&message);
        break;
    case FRAMES:
        decode_frames(bytes, size - 1);
        break;
    default:
        decode_records(bytes, size - 1);
    }
    return 0;
}

/* ---- good messages ---- */

static void seed(enum kind kind, const void *head, size_t head_size, const void *tail, size_t tail_size)
{
    unsigned char bytes[1024] = {(unsigned char)kind};
    assert(1 + head_size + tail_size <= sizeof bytes);
    memcpy(bytes + 1, head, head_size);
    memcpy(bytes + 1 + head_size, tail, tail_size);
    fuzz_seed(bytes, 1 + head_size + tail_size);
}

static void seed_requests(void)
{
    struct mofka_request_head head;
    mofka_request_head_init(&head, 9);
    struct mofka_produce_request produce = {.head = head, .attempt = 1, .records_size = 9, .data_size = 3};
    produce.head.extra = 1;
    produce.head.flags = MOFKA_RECORDS_INSIDE | MOFKA_DATA_INSIDE;
    seed(PRODUCE, &produce, sizeof produce,
         "\x06\x03"
         "event1\0abc",
         12);
    struct mofka_fetch_request fetch = {.head = head, .frames_max = 1, .flat = 16};
    fetch.head.extra = 1;
    seed(FETCH, &fetch, sizeof fetch, "0123456789abcdef", 16);
    struct {
        struct mofka_read_request request;
        struct mofka_read_item item;
        diaspora_range range;
    } read = {{.head = head, .range_count = 1, .flat = 4}, {1, 1}, {0, 10}};
    read.request.head.extra = 1;
    seed(READ, &read, sizeof read, "flat", 4);
    struct mofka_attach_request attach = {.head = head};
    attach.head.extra = 5;
    seed(ATTACH, &attach, sizeof attach, "topic", 5);
    struct mofka_subscribe_request subscribe = {.head = head};
    subscribe.head.extra = 6;
    seed(SUBSCRIBE, &subscribe, sizeof subscribe, "viewer", 6);
}

static void seed_answers(void)
{
    static const unsigned char statuses[21] = {0};
    struct mofka_read_answer read = {.item_count = 3, .size = 5, .flags = MOFKA_BYTES_INSIDE};
    seed(READ_ANSWER, &read, sizeof read, statuses, sizeof statuses);
    struct mofka_produce_answer produce = {.first_id = 3};
    seed(PRODUCE_ANSWER, &produce, sizeof produce, "", 0);
    struct mofka_answer failed = {.code = DANGO_ERR_RANGE, .text_size = 12};
    seed(PRODUCE_ANSWER, &failed, sizeof failed, "no such room", 12);
    struct {
        struct mofka_inspect_answer answer;
        struct mofka_inspect_item item;
    } positions = {{.end = 9, .count = 1}, {.position = 3, .name_size = 6}};
    seed(POSITIONS, &positions, sizeof positions, "viewer", 6);
    struct mofka_fetch_answer fetch = {.size = 4};
    seed(FETCH_ANSWER, &fetch, sizeof fetch, "abcd", 4);
}

static void seed_frames(void)
{
    unsigned char bytes[512] = {3}, records[64];
    size_t size = 1, n = 0;
    n += diaspora_record_put(records + n, "meta", 4, 3);
    n += diaspora_record_put(records + n, "{}", 2, 2);
    for (uint64_t first = 5; first <= 7; first += 2) {
        struct mofka_frame frame = {.first_id = first, .count = 2, .records_size = n, .data_size = 5};
        memcpy(frame.partition, uuid, sizeof uuid);
        dango_mofka_frame_seal(&frame);
        memcpy(bytes + size, &frame, sizeof frame);
        memcpy(bytes + size + sizeof frame, records, n);
        memcpy(bytes + size + sizeof frame + n, "abcde", 5);
        size += (size_t)mofka_frame_size(&frame);
    }
    seed(FRAMES, bytes, size, "", 0);
    bytes[0] = 2;
    seed(RECORDS, bytes, 1, records, n);
}

void fuzz_corpus(void)
{
    seed_requests();
    seed_answers();
    seed_frames();
}
