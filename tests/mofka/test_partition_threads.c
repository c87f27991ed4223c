/*
 * Many threads on one partition: producers commit out of order and fail at random, consumers read along. Every consumer
 * sees every stored event once, in the same order, and each producer's batches in sequence.
 */
#include "tests/mofka/events.h"
#include "tests/mofka/random.h"

#include <pthread.h>
#include <sched.h>

#define PRODUCERS 3
#define READERS   3
#define BATCHES   1500
#define WINDOW    4

static struct mofka_partition *partition;
static atomic_int producers_running;

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
        free(batches[i].content);
    }
}

static void *produce(void *arg)
{
    struct producer *producer = arg;
    struct mofka_stream stream = {.producer = producer->number};
    uint64_t seed = producer->number + 1;
    for (unsigned base = 0; base < BATCHES; base += WINDOW)
        produce_window(producer, &stream, base + 1, base, &seed);
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
    return NULL;
}

static void readers_follow_writers(void **state)
{
    (void)state;
    struct mofka_partition_settings settings = {.segment_size = 16384};
    assert_int_equal(dango_mofka_partition_create(&settings, &partition, NULL), 0);
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
    dango_mofka_partition_destroy(partition);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers_follow_writers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
