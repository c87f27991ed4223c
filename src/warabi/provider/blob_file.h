/*
 * The file of the target `abtio`: its format, and the records in it. Regions in use, free space and persistence are
 * the business of target_abtio.c.
 *
 * Format, all integers little-endian:
 *
 *     0      file header, 64 bytes: magic "dangoWB\n", u32 version (1), u32 step, u64 nonce, zeros, u32 CRC32C of the
 *            60 bytes before it. The rest of the first 4096 bytes is zero.
 *     then   regions, one after the other: a record of 64 bytes, `capacity` bytes of data. Data begin at a multiple of
 *            `step`, which is a multiple of 64, so that a record never lies across two sectors; the record of the next
 *            region ends where its data begin.
 *
 * Record: u32 magic "WREG", u32 state (1 in use, 2 erased), u64 offset of the data, u64 size, u64 capacity, u64 serial,
 * u64 nonce of the file, 12 zeros, u32 CRC32C of the 60 bytes before it. A region keeps its place and capacity for ever; an
 * erased one may be used again with another size and serial. The nonce is random and known to nobody outside: bytes that
 * a client writes cannot pass for a record. Bytes that were never written, or lie behind the end of the file, are zero.
 *
 * Damage. Records are written in the order of their places, so that everything before a region that was made durable is
 * durable too. Where a walk finds no valid record it looks for the next one step by step, reports the stretch, and leaves
 * it as it is; new regions are made behind the end of the file then.
 *
 * Functions block on file I/O, cooperatively when called from a ULT.
 */
#ifndef DANGO_WARABI_PROVIDER_BLOB_FILE_H
#define DANGO_WARABI_PROVIDER_BLOB_FILE_H

#include <abt-io.h>
#include <dango/error.h>

#include <stdbool.h>
#include <stdint.h>

#define WB_RECORD_SIZE 64u

enum wb_record_state { WB_RECORD_USED = 1, WB_RECORD_ERASED = 2 };

struct wb_record {
    uint32_t state;
    uint64_t offset; /* of the data, in the file */
    uint64_t size, capacity;
    uint64_t serial;
};

struct wb_file {
    const char *path; /* borrowed, for messages */
    abt_io_instance_id io;
    int fd;
    uint64_t nonce;
    uint64_t step;
};

/* Makes the file, with parents, whole or not at all, and locks it; `flags` are added to those of open(2).
 * DANGO_ERR_EXISTS if there is one. `alignment`: of the data of regions, bytes. */
int wb_file_create(struct wb_file *file, int flags, uint64_t alignment, struct dango_error *err);
/* Opens and checks an existing one, and locks it against other targets. DANGO_ERR_NOT_FOUND, DANGO_ERR_BUSY, … */
int wb_file_open(struct wb_file *file, int flags, struct dango_error *err);
void wb_file_close(struct wb_file *file);

/* The place of the first region's data. */
uint64_t wb_file_first(const struct wb_file *file);
/* The place of the data of the region behind one with so much room at `offset`; 0 when there is no such place. */
uint64_t wb_file_next(const struct wb_file *file, uint64_t offset, uint64_t capacity);
/* The room that a region of `size` bytes gets at `offset`; 0 when it does not fit into any file. */
uint64_t wb_file_capacity(const struct wb_file *file, uint64_t offset, uint64_t size);

/* The record of the region whose data are at `offset`: 1; 0 when there is none; negative when it cannot be read. */
int wb_file_read_record(const struct wb_file *file, uint64_t offset, struct wb_record *record, struct dango_error *err);
int wb_file_write_record(const struct wb_file *file, const struct wb_record *record, struct dango_error *err);

/* Shows every record in order. *end: the place of the next new region. */
int wb_file_walk(const struct wb_file *file, int (*visit)(void *arg, const struct wb_record *record), void *arg,
                 uint64_t *end, struct dango_error *err);

#endif
