/*
 * Records: how events stand in a batch (see driver.h). Writing never overruns the caller's reservation; reading trusts
 * nothing: sizes are checked against the bytes that are there.
 *
 * Pure functions on memory; any thread.
 */
#ifndef DANGO_DIASPORA_RECORD_H
#define DANGO_DIASPORA_RECORD_H

#include <dango/error.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DIASPORA_VARINT_MAX 10u

struct diaspora_record {
    const unsigned char *metadata;
    uint64_t metadata_size;
    uint64_t data_size;
};

static inline size_t diaspora_varint_put(unsigned char *to, uint64_t value)
{
    size_t n = 0;
    while (value >= 0x80) {
        to[n++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    to[n++] = (unsigned char)value;
    return n;
}

/* Bytes read, or 0 when the bytes end too early or the value does not fit into 64 bits. */
static inline size_t diaspora_varint_get(const unsigned char *from, size_t available, uint64_t *value)
{
    uint64_t result = 0;
    for (size_t n = 0; n < available && n < DIASPORA_VARINT_MAX; n++) {
        uint64_t bits = from[n] & 0x7f;
        if (n == DIASPORA_VARINT_MAX - 1 && bits > 1)
            return 0;
        result |= bits << (7 * n);
        if (!(from[n] & 0x80)) {
            *value = result;
            return n + 1;
        }
    }
    return 0;
}

/* An upper bound of the bytes that a record takes. */
static inline size_t diaspora_record_bound(size_t metadata_size)
{
    return metadata_size + 2 * DIASPORA_VARINT_MAX + 1;
}

/* Writes a record to `to`, which has room for diaspora_record_bound bytes. Returns the bytes written. */
static inline size_t diaspora_record_put(unsigned char *to, const void *metadata, size_t metadata_size,
                                         uint64_t data_size)
{
    size_t n = diaspora_varint_put(to, metadata_size);
    n += diaspora_varint_put(to + n, data_size);
    if (metadata_size > 0)
        memcpy(to + n, metadata, metadata_size);
    to[n + metadata_size] = '\0';
    return n + metadata_size + 1;
}

/* Reads one record; the bytes it takes, or 0 when it does not fit into `available`. */
static inline size_t diaspora_record_get(const unsigned char *from, size_t available, struct diaspora_record *record)
{
    size_t head = diaspora_varint_get(from, available, &record->metadata_size);
    if (head == 0)
        return 0;
    size_t more = diaspora_varint_get(from + head, available - head, &record->data_size);
    if (more == 0 || record->metadata_size >= available - head - more)
        return 0;
    record->metadata = from + head + more;
    if (record->metadata[record->metadata_size] != '\0')
        return 0;
    return head + more + (size_t)record->metadata_size + 1;
}

/*
 * Checks that `size` bytes are exactly `count` records whose data sizes sum up to `data_size`: what a server does with
 * a batch from a producer, and a client with one from a server, before anything else.
 */
int dango_diaspora_records_check(const void *records, size_t size, uint32_t count, uint64_t data_size,
                                 struct dango_error *err);

#endif
