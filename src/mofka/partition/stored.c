/*
 * Events in a log: batches are received into buffers, written in groups, and read from the mapped files.
 *
 * The writing half. When the turn of a batch has come it is put on the list of committed ones, and if nobody writes, a
 * writer is started; it ends when there is nothing to do. The writer takes what is there as one group: ids, append; if it is
 * to be synced, it appends what has come meanwhile, too, as long as all that is little, and syncs; then the producers are
 * answered. While the writer waits for the sync the next group gathers. When that is large a helper appends it meanwhile, so
 * that the next sync can begin at once; a small one costs less to append than the helper. So small batches share syncs, and
 * large ones are received, appended and synced at the same time. When the sync has ended before the helper, the writer
 * leaves, and the helper goes on as the writer: the log is never appended to by two, and no sync begins while one appends.
 *
 * Ids are given when a group is appended and become known when it is safe. If writing fails, the group's batches (or those
 * behind the part that was written) fail, with everything that the same producers have sent after them, and the ids are
 * given to others. After a failed sync the log refuses everything, and says so: what was appended meanwhile fails, too.
 *
 * With `ack_early` a batch may be promised as soon as it is on the list of committed ones (promise.c). Its id is then the
 * one behind all that stand before it, so what is on the list stays there: only a failed write takes batches away, and if
 * it takes away ids before a promised one, the log refuses everything from then on.
 *
 * The reading half is a mofka_log_reader, which checks the header of each frame when it comes to it, and again when the
 * medium has failed under the chunk since; the content when it is asked to. What lies behind next_id is not shown, even if
 * the log shows it already (a full chunk becomes visible as a whole, before its group is complete).
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

/* Batches that are appended together at most. */
#define GROUP_MAX 256

/* Bytes that are worth a sync of their own, and a helper while one runs, unless the settings say otherwise: beside what they
 * take to write and to sync, a wake-up and the fixed cost of a sync are small. */
#define HELP_BYTES (UINT64_C(128) << 10)

/* What is appended at a time. */
struct group {
    size_t count;
    struct mofka_reception *receptions[GROUP_MAX];
    struct mofka_frame *frames[GROUP_MAX];
    struct list_node failed; /* those that are complete, because they were not stored */
};

struct stored_partition {
    struct mofka_partition base;
    struct mofka_log *log;
    struct mofka_buffers *buffers;
    bool sync;
    int64_t interval_ms;  /* from sync to sync, at least */
    int64_t next_sync_ns; /* the writer's: not before */
    uint64_t help_bytes;
    size_t promises_max; /* batches promised and not stored; 0: none is promised */
    int (*run)(void *arg, void (*body)(void *argument), void *argument);
    void (*sleep)(void *arg, int64_t timeout_ms);
    void *run_arg;
    struct group group; /* of whoever appends */
    /* guarded by the lock: */
    struct list_node committed; /* receptions to be appended, in order */
    uint64_t committed_size;    /* bytes of their frames */
    uint64_t committed_end;     /* the id behind them, if nothing fails */
    size_t promises;            /* promised and not stored */
    struct list_node appended;  /* receptions in the log that are not answered, in order */
    uint64_t appended_size;     /* bytes of their frames */
    bool writing;               /* a writer exists or is about to */
    bool syncing;               /* the writer is: there may be a helper */
    bool helping;               /* a helper exists or is about to */
    bool handed_over;           /* the writer has left; the helper is the writer when it has ended */
    bool full;                  /* the helper waits for a new chunk */
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

static bool may_promise(const struct stored_partition *partition, const struct mofka_reception *reception)
{
    return reception->promised && partition->promises < partition->promises_max && partition->base.refusal.code == 0;
}

static bool finish(struct mofka_partition *base, struct mofka_reception *reception)
{
    struct stored_partition *partition = stored(base);
    if (reception->code != 0) {
        drop_buffer(partition, reception);
        return true;
    }
    if (may_promise(partition, reception)) {
        mofka_reception_promise(reception, partition->committed_end);
        partition->promises++;
    }
    partition->committed_end += frame_of(reception)->count;
    list_append(&partition->committed, &reception->link);
    partition->committed_size += mofka_frame_size(frame_of(reception));
    return false;
}

/* ---- appending ---- */

/* Takes what has been committed. */
static void take_group(struct stored_partition *partition, struct group *group)
{
    group->count = 0;
    list_init(&group->failed);
    pthread_mutex_lock(&partition->base.lock);
    while (group->count < GROUP_MAX) {
        struct list_node *node = list_pop(&partition->committed);
        if (!node)
            break;
        struct mofka_reception *reception = container_of(node, struct mofka_reception, link);
        partition->committed_size -= mofka_frame_size(frame_of(reception));
        group->frames[group->count] = frame_of(reception);
        group->receptions[group->count++] = reception;
    }
    pthread_mutex_unlock(&partition->base.lock);
}

static void number_group(struct stored_partition *partition, struct group *group)
{
    uint64_t id = dango_mofka_log_next_id(partition->log), now_ns = dango_clock_wall_ns();
    for (size_t i = 0; i < group->count; i++) {
        group->frames[i]->first_id = id;
        if (!group->receptions[i]->is_promised) /* else it has this one, or the log refuses it */
            group->receptions[i]->first_id = id;
        group->frames[i]->timestamp_ns = now_ns;
        dango_mofka_frame_seal(group->frames[i]);
        id += group->frames[i]->count;
    }
}

/* Gives those from `first` on back: they have to wait for a new chunk. The lock is held. */
static void put_back(struct stored_partition *partition, struct group *group, size_t first)
{
    for (size_t i = group->count; i-- > first;) {
        list_prepend(&partition->committed, &group->receptions[i]->link);
        partition->committed_size += mofka_frame_size(group->frames[i]);
    }
    partition->full = true;
}

/* The batch is complete and not stored. True: it was promised. The lock is held. */
static bool fail_batch(struct stored_partition *partition, struct mofka_reception *reception, int code,
                       const struct dango_error *err)
{
    mofka_reception_failed(reception, code);
    reception->failure = reception->is_promised ? NULL : err; /* nobody is there any more whom it could be told */
    partition->promises -= reception->is_promised;
    return reception->is_promised;
}

/* Those behind a batch of the same attempt that failed, when nothing is promised: ids go back. The lock is held. */
static void cancel_committed(struct stored_partition *partition, struct group *group)
{
    struct list_node kept;
    list_init(&kept);
    partition->committed_end = dango_mofka_log_next_id(partition->log);
    for (struct list_node *node; (node = list_pop(&partition->committed));) {
        struct mofka_reception *reception = container_of(node, struct mofka_reception, link);
        if (reception->attempt <= reception->stream->failed_attempt) {
            partition->committed_size -= mofka_frame_size(frame_of(reception));
            reception->code = DANGO_ERR_CANCELED;
            list_append(&group->failed, node);
        } else {
            partition->committed_end += frame_of(reception)->count;
            list_append(&kept, node);
        }
    }
    for (struct list_node *node; (node = list_pop(&kept));)
        list_append(&partition->committed, node);
}

static bool committed_has_promise(const struct stored_partition *partition)
{
    list_for_each (node, &partition->committed) {
        if (container_of(node, struct mofka_reception, link)->is_promised)
            return true;
    }
    return false;
}

/* Those from `first` on have failed; `refused`: and so will all that come. Whether that breaks a promise. The lock is
 * held. */
static bool fail_group(struct stored_partition *partition, struct group *group, size_t first, bool refused,
                       const struct dango_error *err)
{
    bool broken = committed_has_promise(partition);
    for (size_t i = first; i < group->count; i++) {
        broken = fail_batch(partition, group->receptions[i], err->code, err) || broken;
        list_append(&group->failed, &group->receptions[i]->link);
    }
    if (broken || refused)
        mofka_partition_refuse(&partition->base, err);
    if (!broken)
        cancel_committed(partition, group);
    return broken;
}

/* The first `appended` batches are in the log; the others failed with *err, or cannot be appended now. */
static void sort_group(struct stored_partition *partition, struct group *group, size_t appended,
                       const struct dango_error *err)
{
    bool broken = false, refused = err->code != 0 && dango_mofka_log_refuses(partition->log);
    pthread_mutex_lock(&partition->base.lock);
    for (size_t i = 0; i < appended; i++) {
        assert(group->receptions[i]->first_id == group->frames[i]->first_id);
        list_append(&partition->appended, &group->receptions[i]->link);
        partition->appended_size += mofka_frame_size(group->frames[i]);
    }
    if (err->code == DANGO_ERR_AGAIN)
        put_back(partition, group, appended);
    else if (appended < group->count)
        broken = fail_group(partition, group, appended, refused, err);
    pthread_mutex_unlock(&partition->base.lock);
    if (broken)
        dango_mofka_log_refuse(partition->log, err); /* before the next append, which is ours, too */
}

/* Answers receptions that are off all lists. */
static void answer(struct stored_partition *partition, bool grown, struct list_node *receptions)
{
    list_for_each (node, receptions) {
        drop_buffer(partition, container_of(node, struct mofka_reception, link));
    }
    mofka_partition_complete(&partition->base, grown, receptions);
}

/* Tells those who wait for promised batches what has become of them. */
static void settle_promises(struct stored_partition *partition)
{
    struct list_node settled;
    pthread_mutex_lock(&partition->base.lock);
    mofka_partition_settled(&partition->base, &settled);
    pthread_mutex_unlock(&partition->base.lock);
    mofka_settlings_tell(&partition->base, &settled);
}

/* Makes one group part of the log; answers those that failed. */
static void append_group(struct stored_partition *partition)
{
    struct group *group = &partition->group;
    struct dango_error err = {0};
    size_t appended = 0;
    take_group(partition, group);
    if (group->count > 0) {
        number_group(partition, group);
        int code = dango_mofka_log_append(partition->log, group->frames, group->count, &appended, &err);
        assert(code < 0 || appended == group->count);
        (void)code;
        sort_group(partition, group, appended, &err);
    }
    answer(partition, false, &group->failed);
    settle_promises(partition);
}

/* Whether somebody should append beside the sync that runs; if so, that is settled. The lock is held. */
static bool needs_helper(struct stored_partition *partition)
{
    if (!partition->syncing || partition->helping || partition->full ||
        partition->committed_size < partition->help_bytes)
        return false;
    partition->helping = true;
    return true;
}

static void write_committed(void *arg);

static void help(void *arg)
{
    struct stored_partition *partition = arg;
    bool more = true, mine = false;
    while (more) {
        append_group(partition);
        pthread_mutex_lock(&partition->base.lock);
        more = partition->syncing && !partition->full && partition->committed_size >= partition->help_bytes;
        if (!more) {
            partition->helping = false;
            mine = partition->handed_over;
            partition->handed_over = false;
        }
        pthread_mutex_unlock(&partition->base.lock);
    }
    if (mine)
        write_committed(partition);
}

/* ---- making it safe ---- */

/* Everything appended is to be safe or only visible: what it is. */
static void begin(struct stored_partition *partition, struct list_node *receptions)
{
    list_init(receptions);
    pthread_mutex_lock(&partition->base.lock);
    for (struct list_node *node; (node = list_pop(&partition->appended));)
        list_append(receptions, node);
    partition->appended_size = 0;
    pthread_mutex_unlock(&partition->base.lock);
    if (!partition->sync || list_empty(receptions))
        return;
    /* Nobody appends until `syncing` is set. */
    dango_mofka_log_begin_sync(partition->log);
    pthread_mutex_lock(&partition->base.lock);
    partition->syncing = true;
    bool help_now = needs_helper(partition);
    pthread_mutex_unlock(&partition->base.lock);
    if (help_now && partition->run(partition->run_arg, help, partition) != 0) {
        pthread_mutex_lock(&partition->base.lock);
        partition->helping = false; /* no memory for a thread: they wait */
        pthread_mutex_unlock(&partition->base.lock);
    }
}

/* Tells the outcome of the sync: failed with *err, unless err is NULL. */
static void settle(struct stored_partition *partition, struct list_node *receptions, const struct dango_error *err)
{
    pthread_mutex_lock(&partition->base.lock);
    partition->syncing = partition->full = false;
    list_for_each (node, receptions) {
        struct mofka_reception *reception = container_of(node, struct mofka_reception, link);
        if (err) {
            fail_batch(partition, reception, err->code, err);
            continue;
        }
        partition->promises -= reception->is_promised;
        partition->base.size += mofka_frame_size(frame_of(reception));
        atomic_store_explicit(&partition->base.next_id, reception->first_id + reception->count, memory_order_release);
    }
    if (err)
        mofka_partition_refuse(&partition->base, err);
    pthread_mutex_unlock(&partition->base.lock);
    answer(partition, !err, receptions);
    settle_promises(partition);
}

static void finish_appended(struct stored_partition *partition)
{
    struct list_node receptions;
    struct dango_error err;
    int code = 0;
    begin(partition, &receptions);
    if (list_empty(&receptions))
        return;
    if (partition->sync)
        code = dango_mofka_log_sync(partition->log, &err);
    else
        dango_mofka_log_publish(partition->log);
    settle(partition, &receptions, code < 0 ? &err : NULL);
}

/* ---- the writer ---- */

/* Whether the writer has to go on; otherwise it is none any more. */
static bool goes_on(struct stored_partition *partition)
{
    pthread_mutex_lock(&partition->base.lock);
    bool more = false;
    if (partition->helping)
        partition->handed_over = true;
    else
        more = partition->writing = !list_empty(&partition->committed) || !list_empty(&partition->appended);
    pthread_mutex_unlock(&partition->base.lock);
    return more;
}

/* Whether to append once more before the next sync, so that those who wait share it. There is an end to that: producers
 * wait for answers, and what is large does not wait for others. */
static bool gathers(struct stored_partition *partition)
{
    pthread_mutex_lock(&partition->base.lock);
    bool more = !list_empty(&partition->committed) && partition->appended_size < partition->help_bytes;
    pthread_mutex_unlock(&partition->base.lock);
    return more;
}

/* With an interval: lets more batches gather until the next sync may be. */
static void await_interval(struct stored_partition *partition)
{
    int64_t now_ns = dango_clock_ns();
    if (partition->next_sync_ns > now_ns) {
        partition->sleep(partition->run_arg, (partition->next_sync_ns - now_ns) / 1000000 + 1);
        now_ns = dango_clock_ns();
    }
    partition->next_sync_ns = now_ns + partition->interval_ms * 1000000;
}

static void write_committed(void *arg)
{
    struct stored_partition *partition = arg;
    do {
        if (partition->interval_ms > 0)
            await_interval(partition);
        do
            append_group(partition);
        while (partition->sync && gathers(partition));
        finish_appended(partition);
    } while (goes_on(partition));
}

static bool needs_writer(struct mofka_partition *base)
{
    struct stored_partition *partition = stored(base);
    if (partition->writing)
        return needs_helper(partition);
    return partition->writing = !list_empty(&partition->committed);
}

static void start_writer(struct mofka_partition *base)
{
    struct stored_partition *partition = stored(base);
    pthread_mutex_lock(&base->lock);
    /* There is no helper before the writer has been started, and no new writer as long as there is a helper. */
    void (*body)(void *argument) = partition->helping ? help : write_committed;
    pthread_mutex_unlock(&base->lock);
    if (partition->run(partition->run_arg, body, partition) != 0)
        body(partition); /* no memory for a thread: this one has to do it */
}

/* ---- reading ---- */

static int seek(struct mofka_reader *reader, uint64_t id, struct dango_error *err)
{
    struct mofka_partition *partition = reader->partition;
    struct mofka_log_reader log = reader->log;
    if (!log.log)
        dango_mofka_log_reader_init(&log, stored(partition)->log);
    log.headers_only = true;
    int code = dango_mofka_log_seek(&log, id, err);
    *reader = (struct mofka_reader){.partition = partition, .log = log, .next_id = log.scan.next_id};
    if (code == 0 && id < log.scan.next_id) { /* before the first one that is kept */
        reader->next_id = id;
        reader->lost = log.scan.next_id - id;
        reader->removed = true;
    }
    return code;
}

/* The `lost` events behind what the reader has had of its frame cannot be read. */
static void lose(struct mofka_reader *reader, uint64_t lost, bool removed)
{
    reader->lost = lost;
    reader->removed = removed;
    reader->record = 0;
    reader->records_done = 0;
    reader->data_done = 0;
}

/* The log has nothing more, but there are events up to `end`: all of them are damaged. 0: there are none. */
static int lose_rest(struct mofka_reader *reader, uint64_t end)
{
    if (reader->next_id >= end)
        return 0;
    lose(reader, end - reader->next_id, false);
    reader->log.scan.next_id = end;
    return 1;
}

/* Takes up what comes next in the log: a frame with events, or damage. 0: nothing. */
static int next_item(struct mofka_reader *reader, struct dango_error *err)
{
    uint64_t end = dango_mofka_partition_next_id(reader->partition); /* before we look: the log has all before it */
    while (!reader->frame && reader->lost == 0) {
        struct mofka_scan_item item;
        int found = dango_mofka_log_next(&reader->log, &item, err);
        if (found == 0)
            return lose_rest(reader, end);
        if (found < 0)
            return found;
        if (!item.frame) {
            /* The reader may have had the first ones before they were damaged. */
            uint64_t had = reader->record < item.lost ? reader->record : item.lost;
            lose(reader, item.lost - had, item.removed);
            if (reader->log.scan.next_id < reader->next_id)
                reader->log.scan.next_id = reader->next_id;
        } else if (item.frame->count > 0) {
            reader->frame = item.frame;
            reader->region = &reader->log.chunk->region;
            reader->offset = item.offset;
        }
    }
    return 1;
}

/* The frame that the reader stands in has to be looked at again. */
static void go_back(struct mofka_reader *reader)
{
    reader->log.scan.offset = reader->offset;
    reader->log.scan.next_id = reader->next_id - reader->record;
    reader->frame = NULL;
}

static int current_frame(struct mofka_reader *reader, const struct mofka_frame **frame, struct dango_error *err)
{
    if (reader->frame && !dango_mofka_log_reader_intact(&reader->log, reader->frame))
        go_back(reader);
    int found = next_item(reader, err);
    if (found <= 0)
        return found;
    if (!reader->frame)
        return mofka_reader_gap(reader, err);
    assert(reader->record > 0 || reader->frame->first_id == reader->next_id);
    if (reader->frame->first_id >= dango_mofka_partition_next_id(reader->partition))
        return 0;
    *frame = reader->frame;
    return 1;
}

static int check(struct mofka_reader *reader, const struct mofka_frame **frame, bool compare, struct dango_error *err)
{
    struct mofka_log_reader *log = &reader->log;
    struct mofka_scan_item item = {.offset = reader->offset,
                                   .size = (size_t)mofka_frame_size(reader->frame),
                                   .frame = reader->frame,
                                   .first_id = reader->frame->first_id};
    if (dango_mofka_log_check(log, &item, compare))
        return 1;
    /* Looks for the end of the damage: what follows may be damaged, too. */
    go_back(reader);
    log->headers_only = false;
    log->scan.contents = true;
    int found = current_frame(reader, frame, err);
    log->headers_only = true;
    log->scan.contents = false;
    return found;
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
    assert(!partition->writing && !partition->helping);
    assert(list_empty(&partition->committed) && list_empty(&partition->appended));
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
    .check = check,
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
        .origin = settings->origin,
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
    list_init(&new->appended);
    new->help_bytes = stored_settings->help_bytes ? stored_settings->help_bytes : HELP_BYTES;
    if (stored_settings->options->ack_early.enabled)
        new->promises_max = (size_t)stored_settings->options->ack_early.max_pending_batches;
    new->run = stored_settings->run;
    new->sleep = stored_settings->sleep;
    new->run_arg = stored_settings->run_arg;
    int code = dango_mofka_sync_interval(stored_settings->options->sync, &new->interval_ms, err);
    new->sync = new->interval_ms != MOFKA_SYNC_NEVER;
    assert(new->interval_ms <= 0 || stored_settings->sleep);
    if (code == 0)
        code = open_log(new, stored_settings, report, err);
    if (code == 0)
        code = mofka_buffers_create(pools, 2, settings->registrar, &new->buffers, err);
    if (code != 0) {
        destroy(&new->base);
        return code;
    }
    new->base.producers = dango_mofka_log_producers(new->log);
    new->committed_end = dango_mofka_log_next_id(new->log);
    atomic_store(&new->base.next_id, new->committed_end);
    mofka_partition_set_complete(&new->base, report->end_of_stream);
    *partition = &new->base;
    return 0;
}

struct mofka_log *dango_mofka_partition_log(struct mofka_partition *partition)
{
    return partition->ops == &stored_ops ? stored(partition)->log : NULL;
}
