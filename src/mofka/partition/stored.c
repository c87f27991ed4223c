/*
 * Events in a log: batches are received into buffers, written in groups, and read from the mapped files.
 *
 * The writing half. When the turn of a batch has come it is put on the list of committed ones, and if nobody writes, a
 * writer is started; it ends when the list is empty. The writer takes all that is there as one group: ids, append, sync
 * (if wanted), publish; then the producers are answered. While it waits for the medium the next group gathers.
 *
 * Ids are given when a group is written and become known when it is safe. If writing fails, the group's batches (or those
 * behind the part that was written) fail, with everything that the same producers have sent after them, and the ids are
 * given to others. After a failed sync the log refuses everything, and says so.
 *
 * The reading half is a mofka_log_reader, which verifies each frame once when it comes to it. What lies behind next_id is
 * not shown, even if the log shows it already (a full chunk becomes visible as a whole, before its group is complete).
 */
#include "mofka/partition/buffers.h"
#include "mofka/partition/internal.h"

#include "util/clock.h"
#include "util/log.h"

#include <uuid/uuid.h>

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Batches that are written together at most. */
#define GROUP_MAX 256

/* What a writer writes at a time. */
struct group {
    size_t count;
    struct mofka_reception *receptions[GROUP_MAX];
    struct mofka_frame *frames[GROUP_MAX];
    struct list_node finished; /* those that are complete, in order */
};

struct stored_partition {
    struct mofka_partition base;
    struct mofka_log *log;
    struct mofka_buffers *buffers;
    bool sync;
    int (*run)(void *arg, void (*body)(void *argument), void *argument);
    void *run_arg;
    struct list_node committed; /* receptions to be written, in order; guarded by the lock */
    bool writing;               /* a writer runs or is about to; guarded by the lock */
    struct group group;         /* the writer's */
};

static struct stored_partition *stored(struct mofka_partition *partition)
{
    return container_of(partition, struct stored_partition, base);
}

static struct mofka_frame *frame_of(const struct mofka_reception *reception)
{
    return (struct mofka_frame *)reception->region->base;
}

/* ---- receiving ---- */

static int place(struct mofka_partition *base, struct mofka_reception *reception, size_t size, struct dango_error *err)
{
    struct mofka_buffer *buffer = mofka_buffers_get(stored(base)->buffers, size, err);
    if (!buffer)
        return err ? err->code : DANGO_ERR_NO_MEMORY;
    reception->region = &buffer->region;
    reception->offset = sizeof(struct mofka_frame);
    return 0;
}

static void drop_buffer(struct stored_partition *partition, struct mofka_reception *reception)
{
    mofka_buffers_put(partition->buffers, container_of(reception->region, struct mofka_buffer, region));
    reception->region = NULL;
}

/* Everything about the frame that does not depend on its place: many batches are made ready at the same time. */
static void prepare(struct mofka_partition *base, struct mofka_reception *reception)
{
    struct mofka_frame *frame = frame_of(reception);
    unsigned char *content = (unsigned char *)(frame + 1);
    uint64_t size = reception->records_size + reception->data_size;
    mofka_partition_make_header(base, reception, frame);
    memset(content + size, 0, (size_t)(mofka_frame_align(size) - size));
    dango_mofka_frame_sign_content(frame, content, size);
}

static bool finish(struct mofka_partition *base, struct mofka_reception *reception)
{
    struct stored_partition *partition = stored(base);
    if (reception->code != 0) {
        drop_buffer(partition, reception);
        return true;
    }
    list_append(&partition->committed, &reception->link);
    return false;
}

/* ---- writing ---- */

/* Takes what has been committed, but not the batches behind one that failed; false, and no writer any more, when there is
 * nothing. */
static bool take_group(struct stored_partition *partition, struct group *group)
{
    group->count = 0;
    list_init(&group->finished);
    pthread_mutex_lock(&partition->base.lock);
    while (group->count < GROUP_MAX) {
        struct list_node *node = list_pop(&partition->committed);
        if (!node)
            break;
        struct mofka_reception *reception = container_of(node, struct mofka_reception, link);
        if (reception->attempt <= reception->stream->failed_attempt) {
            reception->code = DANGO_ERR_CANCELED;
            list_append(&group->finished, &reception->link);
        } else {
            group->frames[group->count] = frame_of(reception);
            group->receptions[group->count++] = reception;
        }
    }
    bool any = group->count > 0 || !list_empty(&group->finished);
    if (!any)
        partition->writing = false;
    pthread_mutex_unlock(&partition->base.lock);
    return any;
}

static void number_group(struct stored_partition *partition, struct group *group)
{
    uint64_t id = dango_mofka_log_next_id(partition->log), now_ns = dango_clock_wall_ns();
    for (size_t i = 0; i < group->count; i++) {
        group->frames[i]->first_id = group->receptions[i]->first_id = id;
        group->frames[i]->timestamp_ns = now_ns;
        dango_mofka_frame_seal(group->frames[i]);
        id += group->frames[i]->count;
    }
}

/* Makes the group part of the log: how many of its batches are; the others failed with *err. */
static size_t write_group(struct stored_partition *partition, struct group *group, struct dango_error *err)
{
    size_t written = 0;
    struct dango_error sync_err;
    int code = dango_mofka_log_append(partition->log, group->frames, group->count, &written, err);
    assert(code < 0 || written == group->count);
    (void)code;
    if (written > 0 && partition->sync && dango_mofka_log_sync(partition->log, &sync_err) < 0) {
        *err = sync_err;
        return 0;
    }
    if (written > 0)
        dango_mofka_log_publish(partition->log);
    return written;
}

/* Tells the outcome: the first `written` batches are stored, the others failed with *err. */
static void settle_group(struct stored_partition *partition, struct group *group, size_t written,
                         const struct dango_error *err)
{
    pthread_mutex_lock(&partition->base.lock);
    for (size_t i = 0; i < group->count; i++) {
        struct mofka_reception *reception = group->receptions[i];
        if (i < written) {
            partition->base.size += mofka_frame_size(group->frames[i]);
            atomic_store_explicit(&partition->base.next_id, reception->first_id + reception->count,
                                  memory_order_release);
        } else {
            mofka_reception_failed(reception, err->code);
            reception->failure = err;
        }
        list_append(&group->finished, &reception->link);
    }
    pthread_mutex_unlock(&partition->base.lock);
    list_for_each (node, &group->finished) {
        drop_buffer(partition, container_of(node, struct mofka_reception, link));
    }
    mofka_partition_complete(&partition->base, written > 0, &group->finished);
}

static void write_committed(void *arg)
{
    struct stored_partition *partition = arg;
    struct group *group = &partition->group;
    while (take_group(partition, group)) {
        struct dango_error err = {0};
        number_group(partition, group);
        size_t written = group->count > 0 ? write_group(partition, group, &err) : 0;
        settle_group(partition, group, written, &err);
    }
}

static bool needs_writer(struct mofka_partition *base)
{
    struct stored_partition *partition = stored(base);
    if (partition->writing || list_empty(&partition->committed))
        return false;
    partition->writing = true;
    return true;
}

static void start_writer(struct mofka_partition *base)
{
    struct stored_partition *partition = stored(base);
    if (partition->run(partition->run_arg, write_committed, partition) != 0)
        write_committed(partition); /* no memory for a thread: this one has to do it */
}

/* ---- reading ---- */

static int seek(struct mofka_reader *reader, uint64_t id, struct dango_error *err)
{
    struct mofka_partition *partition = reader->partition;
    struct mofka_log_reader log = reader->log;
    if (!log.log)
        dango_mofka_log_reader_init(&log, stored(partition)->log);
    int code = dango_mofka_log_seek(&log, id, err);
    *reader = (struct mofka_reader){.partition = partition, .log = log, .next_id = log.scan.next_id};
    return code;
}

/* Takes up what comes next in the log: a frame with events, or damage. 0: nothing. */
static int next_item(struct mofka_reader *reader, struct dango_error *err)
{
    while (!reader->frame && reader->lost == 0) {
        struct mofka_scan_item item;
        int found = dango_mofka_log_next(&reader->log, &item, err);
        if (found <= 0)
            return found;
        if (!item.frame) {
            reader->lost = item.lost;
        } else if (item.frame->count > 0) {
            reader->frame = item.frame;
            reader->region = &reader->log.chunk->region;
            reader->offset = item.offset;
        }
    }
    return 1;
}

static int current_frame(struct mofka_reader *reader, const struct mofka_frame **frame, struct dango_error *err)
{
    int found = next_item(reader, err);
    if (found <= 0)
        return found;
    if (!reader->frame)
        return dango_error_set(err, DANGO_ERR_CORRUPT, "events %" PRIu64 " to %" PRIu64 " are damaged", reader->next_id,
                               reader->next_id + reader->lost - 1);
    assert(reader->record > 0 || reader->frame->first_id == reader->next_id);
    if (reader->frame->first_id >= dango_mofka_partition_next_id(reader->partition))
        return 0;
    *frame = reader->frame;
    return 1;
}

static void step(struct mofka_reader *reader, const struct mofka_frame *frame)
{
    assert(frame == reader->frame);
    (void)frame;
    reader->frame = NULL;
}

static void fini(struct mofka_reader *reader)
{
    dango_mofka_log_reader_fini(&reader->log);
}

/* ---- life ---- */

static void destroy(struct mofka_partition *base)
{
    struct stored_partition *partition = stored(base);
    assert(!partition->writing && list_empty(&partition->committed));
    mofka_partition_fini(base);
    mofka_buffers_destroy(partition->buffers);
    dango_mofka_log_close(partition->log);
    free(partition);
}

static const struct mofka_storage_ops stored_ops = {
    .destroy = destroy,
    .place = place,
    .prepare = prepare,
    .finish = finish,
    .needs_writer = needs_writer,
    .start_writer = start_writer,
    .seek = seek,
    .frame = current_frame,
    .step = step,
    .fini = fini,
};

/* Opens the log of the partition, or makes it. */
static int open_log(struct stored_partition *partition, const struct mofka_stored_settings *settings,
                    struct mofka_log_report *report, struct dango_error *err)
{
    char directory[PATH_MAX], uuid[UUID_STR_LEN];
    const struct mofka_default_options *options = settings->options;
    uuid_unparse_lower(partition->base.settings.uuid, uuid);
    if (snprintf(directory, sizeof directory, "%s/%s-%s", options->path, settings->topic, uuid) >=
        (int)sizeof directory)
        return dango_error_set(err, DANGO_ERR_INVALID, "%s: path is too long", options->path);
    struct mofka_log_settings log = {
        .directory = directory,
        .topic = settings->topic,
        .max_chunk_size = (uint64_t)options->max_chunk_size,
        .max_events_per_chunk = (uint64_t)options->max_events_per_chunk,
        .mappings = (size_t)options->fd_cache_capacity,
        .io = settings->io,
    };
    memcpy(log.uuid, partition->base.settings.uuid, sizeof log.uuid);
    *report = (struct mofka_log_report){.chunks = 1};
    int code = settings->must_exist ? DANGO_ERR_EXISTS : dango_mofka_log_create(&log, &partition->log, err);
    if (code == DANGO_ERR_EXISTS) {
        dango_error_clear(err);
        code = dango_mofka_log_open(&log, &partition->log, report, err);
        if (code == 0)
            log_info("mofka", "%s: found %" PRIu64 " events in %" PRIu64 " chunks", directory,
                     report->next_id - report->first_id, report->chunks);
    }
    return code;
}

int dango_mofka_partition_open(const struct mofka_partition_settings *settings,
                               const struct mofka_stored_settings *stored_settings, struct mofka_partition **partition,
                               struct mofka_log_report *report, struct dango_error *err)
{
    assert(stored_settings->options && stored_settings->run);
    struct stored_partition *new = calloc(1, sizeof *new);
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    const struct mofka_pool_options *pools[] = {&stored_settings->options->producers.metadata,
                                                &stored_settings->options->producers.data};
    mofka_partition_init(&new->base, settings, &stored_ops);
    list_init(&new->committed);
    new->sync = stored_settings->options->sync;
    new->run = stored_settings->run;
    new->run_arg = stored_settings->run_arg;
    int code = open_log(new, stored_settings, report, err);
    if (code == 0)
        code = mofka_buffers_create(pools, 2, settings->registrar, &new->buffers, err);
    if (code != 0) {
        destroy(&new->base);
        return code;
    }
    new->base.producers = dango_mofka_log_producers(new->log);
    atomic_store(&new->base.next_id, dango_mofka_log_next_id(new->log));
    atomic_store(&new->base.complete, report->end_of_stream);
    new->base.ending = report->end_of_stream;
    *partition = &new->base;
    return 0;
}

struct mofka_log *dango_mofka_partition_log(struct mofka_partition *partition)
{
    return partition->ops == &stored_ops ? stored(partition)->log : NULL;
}
