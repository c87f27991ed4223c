/*
 * Many threads on one partition: producers commit out of order and fail at random, consumers read along. Every consumer
 * sees every stored event once, in the same order, and each producer's batches in sequence; in memory and in files.
 * Positions are saved by many at once.
 */
#include "tests/mofka/events.h"
#include "tests/mofka/random.h"

#include "mofka/partition/options.h"
#include "mofka/partition/positions.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define PRODUCERS 3
#define READERS   3
#define BATCHES   1500
#define WINDOW    4

static struct mofka_partition *partition;
static atomic_int producers_running;
static bool ask_promises;

struct producer {
    pthread_t thread;
    unsigned number;
    uint64_t stored; /* events */
};

/* Reserves a window of batches and commits them in random order; some fail. */
static void produce_window(struct producer *producer, struct mofka_stream *stream, uint32_t attempt, unsigned base,
                           uint64_t *seed)
{
    struct test_batch batches[WINDOW];
    bool taken[WINDOW] = {false}, committed[WINDOW] = {false};
    for (unsigned i = 0; i < WINDOW; i++) {
        /* The tag carries producer and number of the batch. */
        test_batch_init(&batches[i], stream, attempt, i, 1 + (uint32_t)random_below(seed, 5), random_below(seed, 200),
                        (producer->number << 24) + base + i);
        if (ask_promises && random_below(seed, 3) > 0)
            batches[i].reception.promised = test_batch_promised;
        taken[i] = dango_mofka_partition_reserve(partition, &batches[i].reception, NULL) == 0;
    }
    for (unsigned left = WINDOW; left > 0; left--) {
        size_t i = random_below(seed, WINDOW);
        while (committed[i])
            i = (i + 1) % WINDOW;
        committed[i] = true;
        if (taken[i] && random_below(seed, 20) == 0)
            dango_mofka_partition_commit(partition, &batches[i].reception, DANGO_ERR_IO);
        else if (taken[i])
            test_batch_store(partition, &batches[i]);
        sched_yield();
    }
    for (unsigned i = 0; i < WINDOW; i++) {
        while (taken[i] && __atomic_load_n(&batches[i].done, __ATOMIC_ACQUIRE) == 0)
            sched_yield(); /* another thread completes it */
        if (taken[i] && batches[i].code == 0)
            producer->stored += batches[i].reception.count;
        if (taken[i] && batches[i].promised) {
            assert_int_equal(batches[i].code, 0);
            assert_int_equal(batches[i].promised_id, batches[i].first_id);
        }
        free(batches[i].content);
    }
}

static void settled(struct mofka_settling *settling, const struct dango_error *err)
{
    (void)settling;
    assert_null(err);
}

static void *produce(void *arg)
{
    struct producer *producer = arg;
    struct mofka_stream stream = {.producer = producer->number};
    uint64_t seed = producer->number + 1;
    for (unsigned base = 0; base < BATCHES; base += WINDOW) {
        struct mofka_settling settling = {.done = settled};
        produce_window(producer, &stream, base + 1, base, &seed);
        dango_mofka_partition_settle(partition, &stream, &settling); /* all batches are done: it is told at once */
    }
    atomic_fetch_sub(&producers_running, 1);
    return NULL;
}

/* Checks the order of batches per producer from the tag in the first event's metadata. */
static void check_slice(const struct mofka_slice *slice, uint64_t *next_id, int64_t latest[PRODUCERS])
{
    struct diaspora_record record = {0};
    unsigned tag, number;
    assert_int_equal(slice->first_id, *next_id);
    *next_id += slice->count;
    assert_true(diaspora_record_get(slice->region->base + slice->records_offset, slice->records_size, &record) > 0);
    assert_int_equal(sscanf((const char *)record.metadata, "%u:%u", &tag, &number), 2);
    unsigned producer = tag >> 24;
    assert_true(producer < PRODUCERS);
    if (number == 0)
        assert_true((int64_t)(tag & 0xffffff) > latest[producer]);
    latest[producer] = tag & 0xffffff;
}

static void *consume(void *arg)
{
    uint64_t *total = arg, next_id = 0, seed = 99, needed;
    int64_t latest[PRODUCERS] = {-1, -1, -1};
    struct mofka_reader reader;
    struct mofka_slice slice;
    assert_int_equal(dango_mofka_reader_seek(&reader, partition, 0, NULL), 0);
    for (;;) {
        bool last = atomic_load(&producers_running) == 0;
        struct mofka_limits limits = {
            .size = UINT64_MAX, .events = 1 + (uint32_t)random_below(&seed, 8), .with_data = true};
        int found = dango_mofka_reader_next(&reader, &limits, &slice, &needed, NULL);
        assert_true(found >= 0);
        if (found)
            check_slice(&slice, &next_id, latest);
        else if (last)
            break;
        else
            sched_yield();
    }
    *total = next_id;
    dango_mofka_reader_fini(&reader);
    return NULL;
}

/* Writer and helper run in threads of their own. */
static atomic_uint writers_started, writers_ended;

struct task {
    void (*body)(void *argument);
    void *argument;
};

static void *run_task(void *arg)
{
    struct task task = *(struct task *)arg;
    free(arg);
    task.body(task.argument);
    atomic_fetch_add(&writers_ended, 1);
    return NULL;
}

static int run_in_thread(void *arg, void (*body)(void *argument), void *argument)
{
    (void)arg;
    struct task *task = malloc(sizeof *task);
    assert_non_null(task);
    *task = (struct task){body, argument};
    atomic_fetch_add(&writers_started, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_task, task), 0);
    pthread_detach(thread);
    return 0;
}

static int quick_fdatasync(void *arg, int fd)
{
    (void)arg;
    (void)fd;
    sched_yield();
    return 0;
}

static void readers_follow_writers(void)
{
    atomic_store(&producers_running, PRODUCERS);
    struct producer producers[PRODUCERS] = {0};
    pthread_t readers[READERS];
    uint64_t seen[READERS], stored = 0;
    for (unsigned i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, consume, &seen[i]), 0);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i].number = i;
        assert_int_equal(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i].thread, NULL);
        stored += producers[i].stored;
    }
    for (unsigned i = 0; i < READERS; i++) {
        pthread_join(readers[i], NULL);
        assert_int_equal(seen[i], stored);
    }
    assert_int_equal(dango_mofka_partition_next_id(partition), stored);
    assert_true(stored > 0);
    while (atomic_load(&writers_ended) < atomic_load(&writers_started))
        sched_yield();
    dango_mofka_partition_destroy(partition);
}

static void in_memory(void **state)
{
    (void)state;
    struct mofka_partition_settings settings = {.segment_size = 16384};
    assert_int_equal(dango_mofka_partition_create(&settings, &partition, NULL), 0);
    readers_follow_writers();
}

static void in_files_with(uint64_t help_bytes, bool promises)
{
    ask_promises = promises;
    char path[] = "/tmp/dango-threads-XXXXXX", command[64];
    assert_non_null(mkdtemp(path));
    struct mofka_pool_options pool = {.num_tiers = 3, .num_buffers = 2, .first_size = 64, .size_multiple = 2};
    struct mofka_default_options options = {.path = path,
                                            .max_chunk_size = 30000,
                                            .max_events_per_chunk = 1000,
                                            .fd_cache_capacity = 2,
                                            .ack_early = {promises, 3},
                                            .producers = {pool, pool}};
    struct mofka_log_io io = {.pwritev = mofka_log_system_io.pwritev, .fdatasync = quick_fdatasync};
    struct mofka_stored_settings stored = {
        .topic = "t", .options = &options, .io = &io, .run = run_in_thread, .help_bytes = help_bytes};
    struct mofka_partition_settings settings = {.uuid = {9}};
    struct mofka_log_report report;
    assert_int_equal(dango_mofka_partition_open(&settings, &stored, &partition, &report, NULL), 0);
    readers_follow_writers();
    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

static void in_files(void **state)
{
    (void)state;
    in_files_with(0, false);
}

/* Whatever comes during a sync is appended by a helper. */
static void in_files_with_helpers(void **state)
{
    (void)state;
    in_files_with(1, false);
}

static void in_files_with_promises(void **state)
{
    (void)state;
    in_files_with(1, true);
}

/* ---- positions ---- */

#define SAVERS 3
#define SAVES  300

struct saver {
    pthread_t thread;
    unsigned number;
    struct mofka_positions *positions;
    struct mofka_saving saving;
    atomic_int state; /* 1: saved, -1: failed */
};

static void saved(struct mofka_saving *saving, const struct dango_error *err)
{
    struct saver *saver = container_of(saving, struct saver, saving);
    atomic_store(&saver->state, err ? -1 : 1);
}

static void *save_many(void *arg)
{
    struct saver *saver = arg;
    char name[16];
    snprintf(name, sizeof name, "c%u", saver->number);
    for (uint64_t id = 1; id <= SAVES; id++) {
        atomic_store(&saver->state, 0);
        saver->saving.done = saved;
        assert_int_equal(dango_mofka_positions_save(saver->positions, name, id, &saver->saving, NULL), 0);
        while (atomic_load(&saver->state) == 0)
            sched_yield();
        assert_int_equal(atomic_load(&saver->state), 1);
    }
    return NULL;
}

static void positions_are_saved_from_many_threads(void **state)
{
    (void)state;
    char path[] = "/tmp/dango-threads-XXXXXX", command[64];
    assert_non_null(mkdtemp(path));
    struct mofka_log_io io = {.pwritev = mofka_log_system_io.pwritev, .fdatasync = quick_fdatasync};
    struct mofka_positions_settings settings = {
        .directory = open(path, O_RDONLY | O_DIRECTORY), .end = 250, .io = &io, .run = run_in_thread};
    struct mofka_positions *positions;
    struct saver savers[SAVERS] = {0};
    assert_int_equal(dango_mofka_positions_open(&settings, &positions, NULL), 0);
    for (unsigned i = 0; i < SAVERS; i++) {
        savers[i].number = i;
        savers[i].positions = positions;
        assert_int_equal(pthread_create(&savers[i].thread, NULL, save_many, &savers[i]), 0);
    }
    for (unsigned i = 0; i < SAVERS; i++)
        pthread_join(savers[i].thread, NULL);
    while (atomic_load(&writers_ended) < atomic_load(&writers_started))
        sched_yield();
    assert_int_equal(dango_mofka_positions_get(positions, "c1"), SAVES);
    dango_mofka_positions_destroy(positions);

    /* Opened again: they are there, but not behind the end of the partition. */
    assert_int_equal(dango_mofka_positions_open(&settings, &positions, NULL), 0);
    assert_int_equal(dango_mofka_positions_get(positions, "c2"), 250);
    dango_mofka_positions_destroy(positions);
    close(settings.directory);
    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_memory),
        cmocka_unit_test(in_files),
        cmocka_unit_test(in_files_with_helpers),
        cmocka_unit_test(in_files_with_promises),
        cmocka_unit_test(positions_are_saved_from_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
