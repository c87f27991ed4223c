/*
 * Checking of whole batches of records (see record.h): the one gate between a peer's bytes and everything that walks
 * records without looking back.
 */
#include "diaspora/record.h"

#include <assert.h>
#include <inttypes.h>

static int bad(struct dango_error *err, uint32_t index, const char *what)
{
    return dango_error_set(err, DANGO_ERR_PROTOCOL, "batch: record %" PRIu32 ": %s", index, what);
}

int dango_diaspora_records_check(const void *records, size_t size, uint32_t count, uint64_t data_size,
                                 struct dango_error *err)
{
    assert(records || size == 0);
    const unsigned char *bytes = records;
    uint64_t data_left = data_size;
    size_t position = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct diaspora_record record;
        size_t length = diaspora_record_get(bytes + position, size - position, &record);
        if (length == 0)
            return bad(err, i, "its sizes reach beyond the batch, or its metadata do not end in a NUL");
        if (record.data_size > data_left)
            return bad(err, i, "the data sizes sum up to more than the batch has");
        data_left -= record.data_size;
        position += length;
    }
    if (position != size)
        return bad(err, count, "bytes follow the last record");
    if (data_left != 0)
        return bad(err, count, "the data sizes sum up to less than the batch has");
    return 0;
}
