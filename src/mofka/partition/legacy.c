/*
 * Events in a Yokan database and a Warabi target (legacy_store.h), for users of partitions of that type.
 *
 * Writing. Batches are received into memory of their own; a writer, which exists while there is something to write, stores
 * one after the other and answers its producer.
 *
 * Reading. The stored events come over RPC, and whoever feeds consumers must not wait. So a reader shows only frames that
 * are loaded; when the next one is not, it asks for it and shows nothing, as at the end; when it is there, `grown` makes
 * everybody look again. A loaded frame begins where the reader stood that asked for it; some are kept for others. Who may
 * wait, because he runs in a thread of his own, calls `load` first.
 *
 * Who sent a batch is not stored: after a restart nobody knows whether one whose answer was lost is there, and its producer
 * is told so (mofka/log/producers.h).
 */
#include "mofka/partition/internal.h"
#include "mofka/partition/legacy_store.h"
#include "util/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Loaded frames that are kept though nobody holds them, and their bytes: those that have been looked at, and all. */
#define LOADED_MAX       64u
#define LOADED_MAX_BYTES (UINT64_C(64) << 20)
#define WANTED_MAX       1024u
#define WANTED_MAX_BYTES (UINT64_C(256) << 20)

/* A frame that is loaded, or being loaded, or that could not be. */
struct loaded {
    struct list_node link; /* youngest first */
    struct mofka_region region;
    struct legacy_partition *partition;
    uint64_t first_id;
    unsigned holds;            /* guarded by the lock, as all of it */
    bool wanted;               /* nobody has looked at it yet */
    struct mofka_frame *frame; /* NULL: on its way, or failed */
    struct dango_error err;
};

struct legacy_partition {
    struct mofka_partition base;
    struct mofka_legacy_store *store;
    int (*run)(void *arg, void (*body)(void *argument), void *argument);
    void *run_arg;
    struct list_node committed; /* receptions to be stored, in order */
    bool writing;
    struct list_node loaded;
    unsigned loaded_count;
    uint64_t loaded_bytes;
};

static struct legacy_partition *legacy(struct mofka_partition *partition)
{
    return container_of(partition, struct legacy_partition, base);
}

/* ---- receiving and writing ---- */

static int place(struct mofka_partition *base, struct mofka_reception *reception, size_t size, struct dango_error *err)
{
    struct mofka_region *region = malloc(sizeof *region);
    if (!region)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int code = mofka_region_map(region, size, false, base->settings.registrar, err);
    if (code != 0) {
        free(region);
        return code;
    }
    reception->region = region;
    reception->offset = sizeof(struct mofka_frame);
    return 0;
}

static void drop_memory(struct mofka_partition *base, struct mofka_reception *reception)
{
    uint64_t size = mofka_frame_extent(reception->records_size, reception->data_size);
    mofka_region_unmap(reception->region, (size_t)size, base->settings.registrar);
    free(reception->region);
    reception->region = NULL;
}

static bool finish(struct mofka_partition *base, struct mofka_reception *reception)
{
    if (reception->code != 0) {
        drop_memory(base, reception);
        return true;
    }
    list_append(&legacy(base)->committed, &reception->link);
    return false;
}

static bool needs_writer(struct mofka_partition *base)
{
    struct legacy_partition *partition = legacy(base);
    if (partition->writing || list_empty(&partition->committed))
        return false;
    partition->writing = true;
    return true;
}

/* The next batch to be stored; NULL, and no writer any more, when there is none. */
static struct mofka_reception *take_batch(struct legacy_partition *partition)
{
    pthread_mutex_lock(&partition->base.lock);
    struct list_node *node = list_pop(&partition->committed);
    if (!node)
        partition->writing = false;
    pthread_mutex_unlock(&partition->base.lock);
    return node ? container_of(node, struct mofka_reception, link) : NULL;
}

static void store_batch(struct legacy_partition *partition, struct mofka_reception *reception)
{
    struct mofka_frame *frame = (struct mofka_frame *)reception->region->base;
    struct dango_error err = {0};
    struct list_node finished;
    list_init(&finished);
    mofka_partition_make_header(&partition->base, reception, frame);
    frame->first_id = reception->first_id = dango_mofka_partition_next_id(&partition->base);
    frame->timestamp_ns = dango_clock_wall_ns();

    pthread_mutex_lock(&partition->base.lock);
    bool refused = reception->attempt <= reception->stream->failed_attempt;
    pthread_mutex_unlock(&partition->base.lock);
    int code = refused ? DANGO_ERR_CANCELED : dango_mofka_legacy_append(partition->store, frame, &err);

    pthread_mutex_lock(&partition->base.lock);
    if (code == 0) {
        dango_mofka_producers_note(partition->base.producers, frame);
        partition->base.size += mofka_frame_size(frame);
        atomic_store_explicit(&partition->base.next_id, frame->first_id + frame->count, memory_order_release);
    } else {
        mofka_reception_failed(reception, code);
        reception->failure = refused ? NULL : &err;
    }
    pthread_mutex_unlock(&partition->base.lock);
    drop_memory(&partition->base, reception);
    list_append(&finished, &reception->link);
    mofka_partition_complete(&partition->base, code == 0, &finished);
}

static void write_committed(void *arg)
{
    struct legacy_partition *partition = arg;
    for (struct mofka_reception *reception; (reception = take_batch(partition));)
        store_batch(partition, reception);
}

static void start_writer(struct mofka_partition *base)
{
    struct legacy_partition *partition = legacy(base);
    if (partition->run(partition->run_arg, write_committed, partition) != 0)
        write_committed(partition); /* no memory for a thread: this one has to do it */
}

/* ---- loading ---- */

/* Under the lock. */
static void forget(struct legacy_partition *partition, struct loaded *loaded)
{
    assert(loaded->holds == 0);
    list_remove(&loaded->link);
    partition->loaded_count--;
    if (loaded->frame)
        partition->loaded_bytes -= mofka_frame_size(loaded->frame);
    free(loaded->frame);
    free(loaded);
}

/* Forgets frames that nobody holds while there are more than that, the oldest first, never the youngest, which may be large.
 * Under the lock. */
static void forget_down_to(struct legacy_partition *partition, unsigned frames, uint64_t bytes, bool wanted)
{
    for (struct list_node *node = partition->loaded.prev, *before;
         node != &partition->loaded && node != partition->loaded.next &&
         (partition->loaded_count > frames || partition->loaded_bytes > bytes);
         node = before) {
        struct loaded *loaded = container_of(node, struct loaded, link);
        before = node->prev;
        if (loaded->holds == 0 && loaded->wanted <= wanted)
            forget(partition, loaded);
    }
}

/* Frames that somebody is about to look at stay, or he might ask for ever; those who asked and went away are few. */
static void make_room(struct legacy_partition *partition)
{
    forget_down_to(partition, LOADED_MAX, LOADED_MAX_BYTES, false);
    forget_down_to(partition, WANTED_MAX, WANTED_MAX_BYTES, true);
}

static void hold(struct mofka_region *region)
{
    struct loaded *loaded = container_of(region, struct loaded, region);
    pthread_mutex_lock(&loaded->partition->base.lock);
    loaded->holds++;
    pthread_mutex_unlock(&loaded->partition->base.lock);
}

static void release(struct mofka_region *region)
{
    struct loaded *loaded = container_of(region, struct loaded, region);
    struct legacy_partition *partition = loaded->partition;
    pthread_mutex_lock(&partition->base.lock);
    assert(loaded->holds > 0);
    loaded->holds--;
    make_room(partition);
    pthread_mutex_unlock(&partition->base.lock);
}

/* Under the lock. */
static struct loaded *find(struct legacy_partition *partition, uint64_t first_id)
{
    list_for_each (node, &partition->loaded) {
        struct loaded *loaded = container_of(node, struct loaded, link);
        if (loaded->first_id == first_id)
            return loaded;
    }
    return NULL;
}

/* A frame to be loaded, held by whoever loads it. Under the lock; NULL without memory. */
static struct loaded *begin_load(struct legacy_partition *partition, uint64_t first_id)
{
    struct loaded *loaded = calloc(1, sizeof *loaded);
    if (!loaded)
        return NULL;
    make_room(partition);
    loaded->partition = partition;
    loaded->first_id = first_id;
    loaded->region = (struct mofka_region){.hold = hold, .release = release};
    loaded->holds = 1;
    loaded->wanted = true;
    list_prepend(&partition->loaded, &loaded->link);
    partition->loaded_count++;
    return loaded;
}

/* Reads it; afterwards it has a frame or an error. */
static void fetch(struct loaded *loaded)
{
    struct legacy_partition *partition = loaded->partition;
    struct mofka_frame *frame = NULL;
    struct dango_error err = {0};
    uint64_t end = dango_mofka_partition_next_id(&partition->base);
    int code = dango_mofka_legacy_read(partition->store, loaded->first_id, end, &frame, &err);
    pthread_mutex_lock(&partition->base.lock);
    if (code == 0) {
        loaded->frame = frame;
        partition->loaded_bytes += mofka_frame_size(frame);
        loaded->region.base = (unsigned char *)frame;
    } else {
        loaded->err = err;
    }
    pthread_mutex_unlock(&partition->base.lock);
}

/* The body of a thread. */
static void load_in_thread(void *arg)
{
    struct loaded *loaded = arg;
    struct mofka_partition *base = &loaded->partition->base;
    fetch(loaded);
    release(&loaded->region);
    if (base->settings.grown)
        base->settings.grown(base->settings.arg);
}

/* ---- reading ---- */

static void let_go(struct mofka_reader *reader)
{
    mofka_region_release(reader->region);
    reader->region = NULL;
}

static int seek(struct mofka_reader *reader, uint64_t id, struct dango_error *err)
{
    struct mofka_partition *partition = reader->partition;
    (void)err;
    mofka_region_release(reader->region);
    *reader = (struct mofka_reader){.partition = partition, .next_id = id, .waits = reader->waits};
    return 0;
}

/* Takes up what was loaded: 1, 0 while it is on its way, or what went wrong, once. Under the lock. */
static int take_up(struct mofka_reader *reader, struct loaded *loaded, struct dango_error *err)
{
    if (loaded->err.code != 0) {
        int code = loaded->err.code;
        if (err)
            *err = loaded->err;
        if (loaded->holds == 0)
            forget(loaded->partition, loaded); /* the next one tries again */
        return code;
    }
    if (!loaded->frame)
        return 0;
    loaded->wanted = false;
    loaded->holds++;
    reader->frame = loaded->frame;
    reader->region = &loaded->region;
    reader->offset = 0;
    return 1;
}

static int current_frame(struct mofka_reader *reader, const struct mofka_frame **frame, struct dango_error *err)
{
    struct legacy_partition *partition = legacy(reader->partition);
    int found = 1;
    if (!reader->frame) {
        struct loaded *fresh = NULL;
        let_go(reader);
        if (reader->next_id >= dango_mofka_partition_next_id(reader->partition))
            return 0;
        pthread_mutex_lock(&partition->base.lock);
        struct loaded *loaded = find(partition, reader->next_id);
        if (!loaded)
            fresh = begin_load(partition, reader->next_id);
        found = loaded  ? take_up(reader, loaded, err)
                : fresh ? 0
                        : dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
        pthread_mutex_unlock(&partition->base.lock);
        if (fresh && partition->run(partition->run_arg, load_in_thread, fresh) != 0) {
            pthread_mutex_lock(&partition->base.lock);
            fresh->holds = 0;
            forget(partition, fresh);
            pthread_mutex_unlock(&partition->base.lock);
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
        }
    }
    *frame = reader->frame;
    return found;
}

/* Loads what the reader stands before, and waits for it. */
static int load(struct mofka_reader *reader, struct dango_error *err)
{
    struct legacy_partition *partition = legacy(reader->partition);
    if (reader->frame || reader->next_id >= dango_mofka_partition_next_id(reader->partition))
        return 0;
    let_go(reader);
    pthread_mutex_lock(&partition->base.lock);
    struct loaded *loaded = find(partition, reader->next_id);
    int found = loaded ? take_up(reader, loaded, err) : 0;
    struct loaded *fresh = found == 0 ? begin_load(partition, reader->next_id) : NULL; /* or the same a second time */
    pthread_mutex_unlock(&partition->base.lock);
    if (found != 0)
        return found < 0 ? found : 0;
    if (!fresh)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "the server is out of memory");
    fetch(fresh);
    pthread_mutex_lock(&partition->base.lock);
    fresh->holds--;
    found = take_up(reader, fresh, err);
    pthread_mutex_unlock(&partition->base.lock);
    return found < 0 ? found : 0;
}

static void step(struct mofka_reader *reader, const struct mofka_frame *frame)
{
    assert(frame == reader->frame);
    (void)frame;
    reader->frame = NULL; /* its region is held until the next frame is looked at */
}

/* ---- life ---- */

static void destroy(struct mofka_partition *base)
{
    struct legacy_partition *partition = legacy(base);
    assert(!partition->writing && list_empty(&partition->committed));
    while (!list_empty(&partition->loaded))
        forget(partition, container_of(partition->loaded.next, struct loaded, link));
    mofka_partition_fini(base);
    dango_mofka_producers_destroy(base->producers);
    if (partition->store)
        dango_mofka_legacy_close(partition->store);
    free(partition);
}

static const struct mofka_storage_ops legacy_ops = {
    .destroy = destroy,
    .place = place,
    .finish = finish,
    .needs_writer = needs_writer,
    .start_writer = start_writer,
    .seek = seek,
    .frame = current_frame,
    .load = load,
    .step = step,
    .fini = let_go,
};

int dango_mofka_partition_open_legacy(const struct mofka_partition_settings *settings,
                                      const struct mofka_legacy_settings *legacy_settings,
                                      int (*run)(void *arg, void (*body)(void *argument), void *argument),
                                      void *run_arg, struct mofka_partition **partition, struct dango_error *err)
{
    struct legacy_partition *new = calloc(1, sizeof *new);
    uint64_t count = 0;
    bool complete = false;
    if (!new)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    mofka_partition_init(&new->base, settings, &legacy_ops);
    list_init(&new->committed);
    list_init(&new->loaded);
    new->run = run;
    new->run_arg = run_arg;
    int code = dango_mofka_producers_create(&new->base.producers, err);
    if (code == 0)
        code = dango_mofka_legacy_open(legacy_settings, &new->store, &count, &complete, err);
    if (code != 0) {
        destroy(&new->base);
        return code;
    }
    if (count > 0)
        dango_mofka_producers_doubt(new->base.producers, dango_clock_wall_ns());
    atomic_store(&new->base.next_id, count);
    mofka_partition_set_complete(&new->base, complete);
    *partition = &new->base;
    return 0;
}
