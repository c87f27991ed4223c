/*
 * The file "producers" of a partition: the table of producers at the moment when a chunk was begun. It replaces the one
 * before it as a whole. To the byte:
 *
 *     header    struct file_header, 64 bytes
 *     records   for each producer: struct file_record, 24 bytes, then `count` × { u64 number, u64 first id }, oldest
 *               first
 *
 * Producers that nobody waits for any more, and those of whom no batch is known, are left out.
 */
#include "mofka/log/format.h"
#include "mofka/log/producers_table.h"
#include "util/crc32c.h"
#include "util/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME     MOFKA_PRODUCERS_NAME
#define FILE_SIZE_MAX ((size_t)2 << 30)

enum { RECORD_UNCERTAIN = 1 };

struct file_header {
    uint32_t magic;
    uint16_t version;
    uint16_t flags; /* 0 */
    uint8_t partition[16];
    uint64_t number;         /* chunks from this one on are not in the table */
    uint64_t doubt_until_ns; /* since 1970; producers that are not in the table may have been forgotten */
    uint32_t records;
    uint32_t records_crc;
    uint8_t reserved[12]; /* 0 */
    uint32_t crc;
};

struct file_record {
    uint64_t id;
    uint64_t seen_ns;
    uint16_t count;
    uint16_t flags;
    uint32_t reserved; /* 0 */
};

_Static_assert(sizeof(struct file_header) == 64, "part of a file format");
_Static_assert(sizeof(struct file_record) == 24, "part of a file format");
_Static_assert(sizeof(struct mofka_batch_place) == 16, "part of a file format");
_Static_assert(MOFKA_PRODUCER_HISTORY <= UINT16_MAX, "the count of a record");

static void file_path(int directory, char path[64])
{
    snprintf(path, 64, "/proc/self/fd/%d/" FILE_NAME, directory);
}

/* ---- saving ---- */

static bool worth_saving(const struct mofka_producer *producer, uint64_t now_ns)
{
    return producer->count > 0 && producer->seen_ns + MOFKA_PRODUCER_AGE_NS >= now_ns;
}

static unsigned char *put_record(unsigned char *to, const struct mofka_producer *producer)
{
    struct file_record record = {.id = producer->id,
                                 .seen_ns = producer->seen_ns,
                                 .count = (uint16_t)producer->count,
                                 .flags = producer->uncertain ? RECORD_UNCERTAIN : 0};
    memcpy(to, &record, sizeof record);
    to += sizeof record;
    for (uint64_t i = producer->end - producer->count; i < producer->end; i++) {
        memcpy(to, &producer->places[i % producer->capacity], sizeof *producer->places);
        to += sizeof *producer->places;
    }
    return to;
}

/* The content of the file; NULL without memory. */
static unsigned char *serialise(struct mofka_producers *producers, struct file_header *header, uint64_t now_ns,
                                size_t *size)
{
    struct mofka_producer *producer, *next;
    *size = sizeof *header;
    pthread_mutex_lock(&producers->lock);
    header->doubt_until_ns = producers->doubt_until_ns;
    HASH_ITER (hh, producers->table, producer, next) {
        if (worth_saving(producer, now_ns))
            *size += sizeof(struct file_record) + producer->count * sizeof *producer->places;
    }
    unsigned char *bytes = malloc(*size), *to = bytes ? bytes + sizeof *header : NULL;
    HASH_ITER (hh, producers->table, producer, next) {
        if (bytes && worth_saving(producer, now_ns)) {
            to = put_record(to, producer);
            header->records++;
        }
    }
    pthread_mutex_unlock(&producers->lock);
    return bytes;
}

int dango_mofka_producers_save(struct mofka_producers *producers, int directory, const uint8_t partition[16],
                               uint64_t number, uint64_t now_ns, struct dango_error *err)
{
    struct file_header header = {.magic = MOFKA_PRODUCERS_MAGIC, .version = MOFKA_LOG_VERSION, .number = number};
    size_t size;
    char path[64];
    memcpy(header.partition, partition, sizeof header.partition);
    unsigned char *bytes = serialise(producers, &header, now_ns, &size);
    if (!bytes)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    header.records_crc = dango_crc32c(0, bytes + sizeof header, size - sizeof header);
    header.crc = dango_crc32c(0, &header, offsetof(struct file_header, crc));
    memcpy(bytes, &header, sizeof header);
    file_path(directory, path);
    int code = dango_file_write(path, bytes, size, err);
    free(bytes);
    return code;
}

void dango_mofka_producers_tidy(int directory)
{
    char path[64];
    file_path(directory, path);
    dango_file_remove_litter(path, 0);
}

/* ---- loading ---- */

static bool header_fits(const struct file_header *header, const unsigned char *bytes, size_t size,
                        const uint8_t partition[16])
{
    return header->magic == MOFKA_PRODUCERS_MAGIC && header->version == MOFKA_LOG_VERSION &&
           header->crc == dango_crc32c(0, header, offsetof(struct file_header, crc)) &&
           memcmp(header->partition, partition, sizeof header->partition) == 0 &&
           header->records_crc == dango_crc32c(0, bytes + sizeof *header, size - sizeof *header);
}

/* Adds one producer; the bytes it took, or 0. */
static size_t take_record(struct mofka_producers *producers, const unsigned char *bytes, size_t size)
{
    struct file_record record;
    if (size < sizeof record)
        return 0;
    memcpy(&record, bytes, sizeof record);
    size_t places_size = record.count * sizeof(struct mofka_batch_place);
    if (record.count == 0 || record.count > MOFKA_PRODUCER_HISTORY || size - sizeof record < places_size)
        return 0;
    struct mofka_producer *producer = mofka_producers_add(producers, record.id, record.seen_ns);
    if (!producer)
        return 0;
    producer->uncertain = record.flags & RECORD_UNCERTAIN;
    for (size_t i = 0; i < record.count; i++) {
        struct mofka_batch_place place;
        memcpy(&place, bytes + sizeof record + i * sizeof place, sizeof place);
        if (place.sequence < mofka_producer_end(producer) ||
            mofka_producer_push(producer, place.sequence, place.first_id) != 0)
            return 0;
    }
    return sizeof record + places_size;
}

/* Fills the empty table from the content of the file. */
static bool parse(struct mofka_producers *producers, const unsigned char *bytes, size_t size,
                  const uint8_t partition[16], uint64_t number)
{
    struct file_header header;
    if (size < sizeof header)
        return false;
    memcpy(&header, bytes, sizeof header);
    /* One that is ahead was written just before the server was killed; more than that is not of this log. */
    if (!header_fits(&header, bytes, size, partition) || header.number < number || header.number > number + 1)
        return false;
    producers->doubt_until_ns = header.doubt_until_ns;
    size_t offset = sizeof header;
    for (uint32_t i = 0; i < header.records; i++) {
        size_t taken = take_record(producers, bytes + offset, size - offset);
        if (taken == 0)
            return false;
        offset += taken;
    }
    return offset == size;
}

bool dango_mofka_producers_load(struct mofka_producers *producers, int directory, const uint8_t partition[16],
                                uint64_t number, uint64_t now_ns)
{
    char path[64];
    size_t size = 0;
    file_path(directory, path);
    unsigned char *bytes = (unsigned char *)dango_file_read(path, FILE_SIZE_MAX, &size, NULL);
    pthread_mutex_lock(&producers->lock);
    bool complete = bytes && parse(producers, bytes, size, partition, number);
    pthread_mutex_unlock(&producers->lock);
    free(bytes);
    /* Before the first change of chunks there is no file, and nothing that it could hold. */
    if (!complete && number > 0)
        dango_mofka_producers_doubt(producers, now_ns);
    return complete || number == 0;
}
