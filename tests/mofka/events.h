/*
 * Batches for partition tests: event `i` of a batch has the metadata "<tag>:<i>" and `data_size` bytes of data, each
 * (unsigned char)(tag + i).
 */
#ifndef DANGO_TESTS_MOFKA_EVENTS_H
#define DANGO_TESTS_MOFKA_EVENTS_H

#include "tests/support/test.h"

#include "diaspora/record.h"
#include "mofka/partition/partition.h"

struct test_batch {
    struct mofka_reception reception;
    unsigned char *content;
    uint64_t first_id;
    int code;
    char text[DANGO_ERROR_TEXT_MAX]; /* of the failure */
    int done, promised;
    uint64_t promised_id;
};

static inline void test_batch_done(struct mofka_reception *reception, uint64_t first_id, int code)
{
    struct test_batch *batch = container_of(reception, struct test_batch, reception);
    batch->first_id = first_id;
    batch->code = code;
    if (reception->failure)
        snprintf(batch->text, sizeof batch->text, "%s", reception->failure->text);
    __atomic_add_fetch(&batch->done, 1, __ATOMIC_RELEASE);
}

/* For reception.promised. */
static inline void test_batch_promised(struct mofka_reception *reception, uint64_t first_id)
{
    struct test_batch *batch = container_of(reception, struct test_batch, reception);
    assert_int_equal(batch->done, 0);
    batch->promised++;
    batch->promised_id = first_id;
}

static inline void test_batch_init(struct test_batch *batch, struct mofka_stream *stream, uint32_t attempt,
                                   uint64_t sequence, uint32_t count, size_t data_size, unsigned tag)
{
    memset(batch, 0, sizeof *batch);
    batch->content = malloc((64 + data_size) * count);
    assert_non_null(batch->content);
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        char text[32];
        int length = snprintf(text, sizeof text, "%u:%u", tag, i);
        size += diaspora_record_put(batch->content + size, text, (size_t)length, data_size);
    }
    for (uint32_t i = 0; i < count; i++)
        memset(batch->content + size + i * data_size, (unsigned char)(tag + i), data_size);
    batch->reception = (struct mofka_reception){
        .stream = stream,
        .attempt = attempt,
        .sequence = sequence,
        .count = count,
        .records_size = size,
        .data_size = data_size * count,
        .done = test_batch_done,
    };
}

/* Copies the content to its reserved place and commits. */
static inline void test_batch_store(struct mofka_partition *partition, struct test_batch *batch)
{
    memcpy(mofka_reception_records(&batch->reception), batch->content,
           (size_t)(batch->reception.records_size + batch->reception.data_size));
    dango_mofka_partition_commit(partition, &batch->reception, 0);
}

/* Appends a whole batch in one go. */
static inline void test_append(struct mofka_partition *partition, struct mofka_stream *stream, uint32_t count,
                               size_t data_size, unsigned tag)
{
    struct test_batch batch;
    test_batch_init(&batch, stream, 1, stream->next_sequence, count, data_size, tag);
    assert_int_equal(dango_mofka_partition_reserve(partition, &batch.reception, NULL), 0);
    test_batch_store(partition, &batch);
    assert_int_equal(batch.done, 1);
    assert_int_equal(batch.code, 0);
    free(batch.content);
}

/* Checks that the events of a slice are those of a batch `tag` from its event `number` on. */
static inline void test_expect(const struct mofka_slice *slice, unsigned tag, uint32_t number, uint32_t count)
{
    assert_int_equal(slice->count, count);
    const unsigned char *records = slice->region->base + slice->records_offset;
    const unsigned char *data = slice->region->base + slice->data_offset;
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct diaspora_record record = {0};
        char text[32];
        size_t size = diaspora_record_get(records + used, slice->records_size - used, &record);
        assert_true(size > 0);
        snprintf(text, sizeof text, "%u:%u", tag, number + i);
        assert_string_equal((const char *)record.metadata, text);
        for (size_t byte = 0; byte < record.data_size; byte++)
            assert_int_equal(*data++, (unsigned char)(tag + number + i));
        used += size;
    }
    assert_int_equal(used, slice->records_size);
}

#endif
