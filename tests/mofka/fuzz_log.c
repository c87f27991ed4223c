/*
 * Any bytes as the files of a partition: inspected, opened as a server does, read from several places, written to, its
 * positions loaded.
 *
 * Input: a byte of flags, then the files of the table below, each as u32 size (little endian) and bytes; the last one takes
 * the rest. Checksums would refuse nearly everything that is changed, so the flags ask for them to be made right again:
 * what comes behind them must stand on its own, too.
 *
 * What must hold for every input: nothing crashes; inspection changes no file; ids go on without a gap, in frames or in
 * what is reported as lost; what is appended after opening is read back.
 */
#include "tests/mofka/log_model.h"
#include "tests/support/fuzz.h"

#include "mofka/log/cursors.h"
#include "mofka/log/inspect.h"
#include "util/crc32c.h"
#include "util/log.h"

#include <assert.h>
#include <fcntl.h>
#include <unistd.h>

#define TOPIC     "topic"
#define DIRECTORY "topic-01020304-0506-0708-090a-0b0c0d0e0f10"
#define FILES     6
#define FILE_MAX  ((size_t)64 << 10)
#define STEPS_MAX 10000

enum { FIX_HEADERS = 1, FIX_CONTENTS = 2 };

const unsigned fuzz_rounds = 4000;

static const char *const names[FILES] = {"partition.json", "chunk-000000.log", "chunk-000000.idx",
                                         "cursors",        "producers",        "chunk-000001.log"};
static char base[64], directory[128];

/* ---- files ---- */

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    close(fd);
}

static size_t read_file(const char *name, uint8_t *to, size_t room)
{
    int fd = open(path_of(name), O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, to, room);
    assert(n >= 0 && (size_t)n < room);
    if (fd >= 0)
        close(fd);
    return (size_t)n;
}

static void remove_files(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s", base);
    if (system(command) != 0)
        fprintf(stderr, "cannot remove %s\n", base);
}

/* Everything but what the input has brought: new chunks, indexes made again, temporary files. */
static void remove_others(void)
{
    static const char *const others[] = {"chunk-000001.idx", "chunk-000002.log", "chunk-000002.idx", "chunk-000000.new",
                                         "chunk-000001.new", "chunk-000002.new", "cursors.new",      "producers.new"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        unlink(path_of(others[i]));
    for (size_t i = 0; i < FILES; i++)
        unlink(path_of(names[i]));
}

/* ---- checksums ---- */

static void fix_crc(uint8_t *bytes, size_t size, size_t offset)
{
    uint32_t crc = size >= offset + sizeof crc ? dango_crc32c(0, bytes, offset) : 0;
    if (size >= offset + sizeof crc)
        memcpy(bytes + offset, &crc, sizeof crc);
}

static void fix_chunk(uint8_t *bytes, size_t size, unsigned flags)
{
    fix_crc(bytes, size, offsetof(struct mofka_chunk_header, crc));
    for (size_t at = sizeof(struct mofka_chunk_header); at + sizeof(struct mofka_frame) <= size;) {
        struct mofka_frame frame;
        memcpy(&frame, bytes + at, sizeof frame);
        uint64_t extent = mofka_frame_size(&frame);
        if (frame.magic != MOFKA_FRAME_MAGIC || extent == 0)
            return;
        if ((flags & FIX_CONTENTS) && extent <= size - at)
            frame.content_crc =
                dango_crc32c(0, bytes + at + sizeof frame, (size_t)(frame.records_size + frame.data_size));
        memcpy(bytes + at, &frame, sizeof frame);
        fix_crc(bytes + at, size - at, offsetof(struct mofka_frame, header_crc));
        at = extent < size - at ? at + (size_t)extent : size;
    }
}

static void fix_index(uint8_t *bytes, size_t size)
{
    struct mofka_chunk_index_header header;
    if (size < sizeof header)
        return;
    memcpy(&header, bytes, sizeof header);
    header.entries = (uint32_t)((size - sizeof header) / sizeof(struct mofka_index_point));
    header.entries_crc = dango_crc32c(0, bytes + sizeof header, size - sizeof header);
    memcpy(bytes, &header, sizeof header);
    fix_crc(bytes, size, offsetof(struct mofka_chunk_index_header, crc));
}

static void fix_cursors(uint8_t *bytes, size_t size)
{
    fix_crc(bytes, size, offsetof(struct mofka_chunk_header, crc));
    for (size_t at = sizeof(struct mofka_chunk_header); at + 16 <= size;) {
        uint16_t length;
        memcpy(&length, bytes + at + 4, sizeof length);
        size_t record = (16u + length + 7) & ~(size_t)7;
        if (record > size - at)
            return;
        uint32_t crc = dango_crc32c(0, bytes + at + 4, record - 4);
        memcpy(bytes + at, &crc, sizeof crc);
        at += record;
    }
}

static void fix_producers(uint8_t *bytes, size_t size)
{
    if (size < 64)
        return;
    uint32_t crc = dango_crc32c(0, bytes + 64, size - 64);
    memcpy(bytes + 44, &crc, sizeof crc);
    fix_crc(bytes, size, 60);
}

static void fix(size_t file, uint8_t *bytes, size_t size, unsigned flags)
{
    if (file == 1 || file == 5)
        fix_chunk(bytes, size, flags);
    else if (file == 2)
        fix_index(bytes, size);
    else if (file == 3)
        fix_cursors(bytes, size);
    else if (file == 4)
        fix_producers(bytes, size);
}

static void write_input(const uint8_t *data, size_t size)
{
    unsigned flags = size > 0 ? *data : 0;
    size_t at = size > 0;
    static uint8_t bytes[FILE_MAX];
    remove_others();
    for (size_t i = 0; i < FILES && at < size; i++) {
        uint32_t length = 0;
        if (i + 1 < FILES && size - at >= sizeof length) {
            memcpy(&length, data + at, sizeof length);
            at += sizeof length;
        } else {
            length = UINT32_MAX;
        }
        size_t take = length < size - at ? length : size - at;
        take = take < FILE_MAX ? take : FILE_MAX;
        memcpy(bytes, data + at, take);
        if (flags & FIX_HEADERS)
            fix(i, bytes, take, flags);
        write_file(names[i], bytes, take);
        at += take;
    }
}

/* ---- what is done with them ---- */

/* Every record is walked through; what the checks let pass is safe to touch. */
static void touch(const struct mofka_frame *frame)
{
    const unsigned char *at = (const unsigned char *)(frame + 1);
    assert(dango_mofka_frame_check(frame, sizeof *frame, model_uuid, NULL) == 0);
    assert(dango_mofka_frame_check_content(frame, frame + 1, NULL) == 0);
    if (dango_diaspora_records_check(at, (size_t)frame->records_size, frame->count, frame->data_size, NULL) != 0)
        return;
    struct diaspora_record record = {0};
    for (size_t left = (size_t)frame->records_size; left > 0;) {
        size_t n = diaspora_record_get(at, left, &record);
        assert(n > 0);
        at += n;
        left -= n;
    }
}

static int on_frame(void *arg, const struct mofka_inspected_chunk *chunk, const struct mofka_scan_item *item)
{
    (void)arg, (void)chunk;
    touch(item->frame);
    return 0;
}

static int on_finding(void *arg, const struct mofka_finding *finding)
{
    (void)arg;
    assert(finding->file && finding->what[0] && finding->advice[0]);
    return 0;
}

static uint32_t digest_of_files(void)
{
    static uint8_t bytes[FILE_MAX + 1];
    uint32_t crc = 0;
    for (size_t i = 0; i < FILES; i++)
        crc = dango_crc32c(crc, bytes, read_file(names[i], bytes, sizeof bytes));
    return crc;
}

static void inspect(void)
{
    struct mofka_inspection *inspection;
    struct mofka_inspect_visitor visitor = {on_frame, on_finding, NULL};
    uint32_t before = digest_of_files();
    if (dango_mofka_inspect_open(directory, &inspection, NULL) < 0)
        return;
    dango_mofka_inspect_verify(inspection, &visitor);
    dango_mofka_inspect_walk(inspection, 25, MOFKA_INSPECT_CONTENTS, &visitor);
    dango_mofka_inspect_close(inspection);
    assert(digest_of_files() == before);
}

/* Reads from `id` to the end; whether the last frame of the walk is `last`, if asked. */
static bool read_from(struct mofka_log *log, uint64_t id, uint64_t last)
{
    struct mofka_log_reader reader;
    struct mofka_scan_item item;
    bool found = false, first = true;
    uint64_t next = 0;
    dango_mofka_log_reader_init(&reader, log);
    if (dango_mofka_log_seek(&reader, id, NULL) == 0) {
        for (int steps = 0; dango_mofka_log_next(&reader, &item, NULL) == 1; steps++) {
            assert(steps < STEPS_MAX);
            if (item.frame && item.frame->count == 0)
                continue;
            assert(first || item.first_id >= next);
            if (item.frame)
                touch(item.frame);
            next = item.first_id + (item.frame ? item.frame->count : item.lost);
            found = item.frame && item.first_id == last;
            first = false;
        }
    }
    dango_mofka_log_reader_fini(&reader);
    return found;
}

static void append(struct mofka_log *log)
{
    uint64_t id = dango_mofka_log_next_id(log);
    /* Who has stored so many events does not start a server any more. */
    if (id >= UINT64_MAX - 1000)
        return;
    struct mofka_frame *frame = model_frame(id, 3);
    size_t appended;
    if (dango_mofka_log_append(log, &frame, 1, &appended, NULL) == 0) {
        dango_mofka_log_publish(log);
        assert(read_from(log, id, id));
    }
    free(frame);
}

static int on_position(void *arg, const char *name, uint64_t next_id, bool removed, struct dango_error *err)
{
    (void)arg, (void)next_id, (void)removed, (void)err;
    assert(strlen(name) <= UINT16_MAX);
    return 0;
}

static void load_positions(const struct mofka_log *log)
{
    struct mofka_cursors *cursors;
    if (dango_mofka_cursors_open(dango_mofka_log_directory(log), model_uuid, &mofka_log_system_io, on_position, NULL,
                                 &cursors, NULL) == 0)
        dango_mofka_cursors_close(cursors);
}

static int no_sync(void *arg, int fd)
{
    (void)arg, (void)fd;
    return 0;
}

static struct mofka_log_settings settings_of(void)
{
    static struct mofka_log_io io;
    io = mofka_log_system_io;
    io.fdatasync = no_sync;
    struct mofka_log_settings settings = {.directory = directory,
                                          .topic = TOPIC,
                                          .max_chunk_size = 1800,
                                          .max_events_per_chunk = 1000,
                                          .mappings = 1,
                                          .io = &io};
    memcpy(settings.uuid, model_uuid, sizeof model_uuid);
    return settings;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint64_t places[] = {0, 1, 25, 60, 1000, UINT64_MAX};
    struct mofka_log_settings settings = settings_of();
    struct mofka_log_report report;
    struct mofka_log *log;
    write_input(data, size);
    inspect();
    if (dango_mofka_log_open(&settings, &log, &report, NULL) < 0)
        return 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        read_from(log, places[i], 0);
    append(log);
    load_positions(log);
    dango_mofka_log_close(log);
    return 0;
}

/* ---- the good inputs: a small log of two chunks ---- */

static void make_log(void)
{
    struct mofka_log_settings settings = settings_of();
    struct mofka_log *log;
    struct mofka_cursors *cursors;
    size_t appended;
    if (dango_mofka_log_create(&settings, &log, NULL) < 0)
        abort();
    for (uint32_t i = 0; i < 8; i++) {
        struct mofka_frame *frame = model_frame(dango_mofka_log_next_id(log), 5 + i % 3);
        frame->producer = 1 + i % 2;
        frame->sequence = i / 2;
        dango_mofka_frame_seal(frame);
        if (dango_mofka_log_append(log, &frame, 1, &appended, NULL) < 0)
            abort();
        free(frame);
    }
    if (dango_mofka_cursors_open(dango_mofka_log_directory(log), model_uuid, &mofka_log_system_io, on_position, NULL,
                                 &cursors, NULL) < 0)
        abort();
    dango_mofka_cursors_set(cursors, "viewer", 3, NULL);
    dango_mofka_cursors_set(cursors, "archive", 30, NULL);
    dango_mofka_cursors_remove(cursors, "viewer", NULL);
    dango_mofka_cursors_sync(cursors, NULL);
    dango_mofka_cursors_close(cursors);
    dango_mofka_log_close(log);
}

static void seed_with(const uint8_t *input, size_t size, unsigned flags)
{
    uint8_t *copy = malloc(size);
    assert(copy);
    memcpy(copy, input, size);
    copy[0] = (uint8_t)flags;
    fuzz_seed(copy, size);
    free(copy);
}

void fuzz_corpus(void)
{
    static uint8_t input[2 * FILE_MAX];
    size_t size = 1;
    dango_log_set_level(DANGO_LOG_OFF);
    snprintf(base, sizeof base, "%s/dango-fuzz-log-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(base))
        abort();
    atexit(remove_files);
    snprintf(directory, sizeof directory, "%s/" DIRECTORY, base);
    make_log();
    for (size_t i = 0; i < FILES; i++) {
        size_t head = i + 1 < FILES ? sizeof(uint32_t) : 0;
        uint32_t length = (uint32_t)read_file(names[i], input + size + head, FILE_MAX / 4);
        assert(length > 0);
        memcpy(input + size, &length, head);
        size += head + length;
    }
    seed_with(input, size, 0);
    seed_with(input, size, FIX_HEADERS);
    seed_with(input, size, FIX_HEADERS | FIX_CONTENTS);
}
