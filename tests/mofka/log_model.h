/*
 * Events for tests of the log: event `id` has the metadata "event <id>" and `id % 40` bytes of data, so that whatever a
 * reader delivers can be checked without remembering anything.
 */
#ifndef DANGO_TESTS_MOFKA_LOG_MODEL_H
#define DANGO_TESTS_MOFKA_LOG_MODEL_H

#include "tests/support/test.h"

#include "diaspora/record.h"
#include "mofka/log/log.h"

#include <inttypes.h>

static const uint8_t model_uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static inline size_t model_metadata(uint64_t id, char text[40])
{
    return (size_t)snprintf(text, 40, "event %" PRIu64, id);
}

/* A frame with `count` events from `first_id` on; to be freed. */
static inline struct mofka_frame *model_frame(uint64_t first_id, uint32_t count)
{
    unsigned char *bytes = calloc(1, sizeof(struct mofka_frame) + count * 128 + 8);
    struct mofka_frame *frame = (struct mofka_frame *)bytes;
    unsigned char *cursor = (unsigned char *)(frame + 1);
    char text[40];
    for (uint32_t i = 0; i < count; i++)
        cursor += diaspora_record_put(cursor, text, model_metadata(first_id + i, text), (first_id + i) % 40);
    frame->records_size = (uint64_t)(cursor - (unsigned char *)(frame + 1));
    for (uint32_t i = 0; i < count; i++) {
        size_t size = (size_t)((first_id + i) % 40);
        memset(cursor, (int)(first_id + i), size);
        cursor += size;
        frame->data_size += size;
    }
    memcpy(frame->partition, model_uuid, sizeof model_uuid);
    frame->first_id = first_id;
    frame->count = count;
    dango_mofka_frame_sign_content(frame, frame + 1, frame->records_size + frame->data_size);
    dango_mofka_frame_seal(frame);
    return frame;
}

/* Whether the frame holds what its ids say. No assertions: child processes call this. */
static inline bool model_holds(const struct mofka_frame *frame)
{
    const unsigned char *records = (const unsigned char *)(frame + 1), *data = records + frame->records_size;
    size_t left = (size_t)frame->records_size;
    for (uint64_t id = frame->first_id; id < frame->first_id + frame->count; id++) {
        struct diaspora_record record = {0};
        char text[40];
        size_t size = diaspora_record_get(records, left, &record);
        if (size == 0 || record.metadata_size != model_metadata(id, text) ||
            memcmp(record.metadata, text, record.metadata_size) != 0 || record.data_size != id % 40)
            return false;
        for (size_t i = 0; i < record.data_size; i++)
            if (data[i] != (id & 0xff))
                return false;
        records += size;
        left -= size;
        data += record.data_size;
    }
    return true;
}

#endif
