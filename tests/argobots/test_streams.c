/*
 * Execution streams and schedulers: life cycle, replacing schedulers, who runs what, user-defined schedulers,
 * stacking, migration.
 */
#include <pthread.h>

#include "argobots/dango_abt.h"
#include "tests/argobots/support.h"

static void count(void *arg)
{
    __atomic_fetch_add((int *)arg, 1, __ATOMIC_RELAXED);
}

static int counted(int *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void wait_for_eventual(void *arg)
{
    OK(ABT_eventual_wait(arg, NULL));
}

static void test_life_cycle(void **state)
{
    ABT_xstream xstream, self, null = ABT_XSTREAM_NULL;
    ABT_xstream_state es_state;
    int counter = 0, rank, num;
    (void)state;
    OK(ABT_xstream_self(&self));
    assert_int_equal(ABT_xstream_free(&self), ABT_ERR_INV_XSTREAM);
    assert_int_equal(ABT_xstream_join(null), ABT_ERR_INV_XSTREAM);
    OK(ABT_xstream_create(ABT_SCHED_NULL, &xstream));
    OK(ABT_xstream_get_num(&num));
    assert_int_equal(num, 2);
    OK(ABT_xstream_get_rank(xstream, &rank));
    assert_int_equal(rank, 1);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 100; j++)
            OK(ABT_thread_create_on_xstream(xstream, count, &counter, ABT_THREAD_ATTR_NULL, NULL));
        OK(ABT_xstream_join(xstream));
        assert_int_equal(counted(&counter), 100 * (i + 1));
        OK(ABT_xstream_get_state(xstream, &es_state));
        assert_int_equal(es_state, ABT_XSTREAM_STATE_TERMINATED);
        OK(ABT_xstream_revive(xstream));
        OK(ABT_xstream_get_state(xstream, &es_state));
        assert_int_equal(es_state, ABT_XSTREAM_STATE_RUNNING);
        assert_int_equal(ABT_xstream_revive(xstream), ABT_ERR_INV_XSTREAM);
    }
    OK(ABT_xstream_free(&xstream));
    assert_null(xstream);
}

static void test_ranks(void **state)
{
    ABT_xstream a, b, c;
    int rank;
    (void)state;
    OK(ABT_xstream_create_with_rank(ABT_SCHED_NULL, 7, &a));
    assert_int_equal(ABT_xstream_create_with_rank(ABT_SCHED_NULL, 7, &b), ABT_ERR_INV_XSTREAM_RANK);
    assert_null(b);
    assert_int_equal(ABT_xstream_create_with_rank(ABT_SCHED_NULL, -1, &b), ABT_ERR_INV_XSTREAM_RANK);
    OK(ABT_xstream_create(ABT_SCHED_NULL, &b));
    OK(ABT_xstream_get_rank(b, &rank));
    assert_int_equal(rank, 1);
    assert_int_equal(ABT_xstream_set_rank(b, 7), ABT_ERR_INV_XSTREAM_RANK);
    OK(ABT_xstream_set_rank(b, 9));
    OK(ABT_xstream_free(&a));
    OK(ABT_xstream_create_with_rank(ABT_SCHED_NULL, 7, &c));
    OK(ABT_xstream_free(&b));
    OK(ABT_xstream_free(&c));
}

/* The pool belongs to this ES alone: joining it waits for its blocked unit. */
static void set_later(void *arg)
{
    for (int i = 0; i < 20; i++)
        OK(ABT_thread_yield());
    OK(ABT_eventual_set(arg, NULL, 0));
}

static void test_join_waits_for_blocked_units(void **state)
{
    ABT_xstream xstream;
    ABT_eventual eventual;
    ABT_thread thread, setter;
    ABT_thread_state thread_state;
    (void)state;
    OK(ABT_eventual_create(0, &eventual));
    OK(ABT_xstream_create(ABT_SCHED_NULL, &xstream));
    OK(ABT_thread_create_on_xstream(xstream, wait_for_eventual, eventual, ABT_THREAD_ATTR_NULL, &thread));
    OK(ABT_thread_create(main_pool(), set_later, eventual, ABT_THREAD_ATTR_NULL, &setter));
    OK(ABT_xstream_join(xstream));
    OK(ABT_thread_get_state(thread, &thread_state));
    assert_int_equal(thread_state, ABT_THREAD_STATE_TERMINATED);
    OK(ABT_xstream_free(&xstream));
    OK(ABT_thread_free(&thread)); /* after the pool has gone */
    OK(ABT_thread_free(&setter));
    OK(ABT_eventual_free(&eventual));
}

static void test_join_leaves_shared_blocked_units(void **state)
{
    ABT_xstream xstreams[2];
    ABT_eventual eventual;
    ABT_thread thread;
    ABT_thread_state thread_state;
    (void)state;
    OK(ABT_eventual_create(0, &eventual));
    ABT_pool pool = start_xstreams(xstreams, 2);
    OK(ABT_thread_create(pool, wait_for_eventual, eventual, ABT_THREAD_ATTR_NULL, &thread));
    do
        OK(ABT_thread_get_state(thread, &thread_state));
    while (thread_state != ABT_THREAD_STATE_BLOCKED);
    OK(ABT_xstream_free(&xstreams[0]));
    OK(ABT_eventual_set(eventual, NULL, 0));
    OK(ABT_thread_free(&thread));
    OK(ABT_xstream_free(&xstreams[1]));
    OK(ABT_eventual_free(&eventual));
}

static void test_replace_own_scheduler(void **state)
{
    ABT_xstream self;
    ABT_eventual eventual;
    ABT_pool first = main_pool(), pools[2];
    ABT_thread blocked, ready;
    int counter = 0;
    (void)state;
    OK(ABT_xstream_self(&self));
    OK(ABT_eventual_create(0, &eventual));
    OK(ABT_thread_create(first, wait_for_eventual, eventual, ABT_THREAD_ATTR_NULL, &blocked));
    OK(ABT_thread_yield());
    OK(ABT_thread_create(first, count, &counter, ABT_THREAD_ATTR_NULL, &ready));
    for (int i = 0; i < 2; i++)
        OK(ABT_pool_create_basic(ABT_POOL_FIFO, ABT_POOL_ACCESS_MPMC, ABT_TRUE, &pools[i]));
    OK(ABT_xstream_set_main_sched_basic(self, ABT_SCHED_BASIC, 2, pools));
    assert_ptr_equal(main_pool(), pools[0]);
    OK(ABT_thread_join(ready)); /* it was in the pool of the old scheduler */
    OK(ABT_eventual_set(eventual, NULL, 0));
    OK(ABT_thread_join(blocked));
    OK(ABT_thread_free(&ready));
    OK(ABT_thread_free(&blocked));
    OK(ABT_eventual_free(&eventual));
    assert_int_equal(counter, 1);

    ABT_sched sched, other;
    OK(ABT_sched_create_basic(ABT_SCHED_PRIO, 2, pools, ABT_SCHED_CONFIG_NULL, &sched)); /* same pools */
    OK(ABT_xstream_set_main_sched(self, sched));
    assert_int_equal(ABT_xstream_set_main_sched(self, sched), ABT_ERR_INV_SCHED);
    OK(ABT_xstream_get_main_sched(self, &other));
    assert_ptr_equal(other, sched);
    OK(ABT_xstream_set_main_sched(self, ABT_SCHED_NULL));
    OK(ABT_thread_create(main_pool(), count, &counter, ABT_THREAD_ATTR_NULL, &ready));
    OK(ABT_thread_free(&ready));
    assert_int_equal(counter, 2);
}

static void record(void *arg)
{
    char **text = arg;
    *(*text)++ = 'l';
}

static void record_high(void *arg)
{
    char **text = arg;
    *(*text)++ = 'H';
}

static void test_priorities(void **state)
{
    char buffer[8] = "", *text = buffer;
    ABT_xstream self;
    ABT_pool pools[3];
    (void)state;
    OK(ABT_xstream_self(&self));
    OK(ABT_xstream_set_main_sched_basic(self, ABT_SCHED_PRIO, 0, NULL));
    OK(ABT_xstream_get_main_pools(self, 3, pools));
    OK(ABT_self_set_associated_pool(pools[2]));
    for (int i = 0; i < 4; i++)
        OK(ABT_thread_create(pools[i % 2 ? 0 : 1], i % 2 ? record_high : record, &text, ABT_THREAD_ATTR_NULL, NULL));
    OK(ABT_thread_yield());
    assert_string_equal(buffer, "HHll");
}

static void yield_last(void *arg)
{
    int *counter = arg;
    dango_abt_self_yield_last();
    assert_int_equal(*counter, 1);
}

static void test_yield_last_serves_later_pools(void **state)
{
    ABT_xstream self;
    ABT_pool pools[3];
    ABT_thread thread;
    int counter = 0;
    (void)state;
    OK(ABT_xstream_self(&self));
    OK(ABT_xstream_set_main_sched_basic(self, ABT_SCHED_PRIO, 0, NULL));
    OK(ABT_xstream_get_main_pools(self, 3, pools));
    OK(ABT_thread_create(pools[2], count, &counter, ABT_THREAD_ATTR_NULL, NULL));
    OK(ABT_thread_create(pools[0], yield_last, &counter, ABT_THREAD_ATTR_NULL, &thread));
    OK(ABT_thread_free(&thread));
}

static void test_work_stealing(void **state)
{
    ABT_pool pools[3], order[3];
    ABT_xstream xstreams[3];
    int counter = 0;
    (void)state;
    for (int i = 0; i < 3; i++)
        OK(ABT_pool_create_basic(ABT_POOL_RANDWS, ABT_POOL_ACCESS_MPMC, ABT_TRUE, &pools[i]));
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++)
            order[j] = pools[(i + j) % 3];
        OK(ABT_xstream_create_basic(ABT_SCHED_RANDWS, 3, order, ABT_SCHED_CONFIG_NULL, &xstreams[i]));
    }
    for (int i = 0; i < 3000; i++)
        OK(ABT_thread_create(pools[0], count, &counter, ABT_THREAD_ATTR_NULL, NULL));
    stop_xstreams(xstreams, 3);
    assert_int_equal(counter, 3000);
}

static void test_orphan_pool_is_adopted(void **state)
{
    ABT_pool orphan;
    ABT_xstream self;
    ABT_thread thread;
    int counter = 0;
    (void)state;
    OK(ABT_xstream_self(&self));
    OK(ABT_pool_create_basic(ABT_POOL_FIFO_WAIT, ABT_POOL_ACCESS_MPMC, ABT_TRUE, &orphan));
    OK(ABT_thread_create(orphan, count, &counter, ABT_THREAD_ATTR_NULL, &thread));
    OK(dango_abt_xstream_add_pool(self, orphan));
    assert_int_equal(dango_abt_xstream_add_pool(self, orphan), ABT_ERR_INV_ARG);
    OK(ABT_thread_free(&thread));
    assert_int_equal(counter, 1);

    ABT_xstream other;
    OK(ABT_xstream_create(ABT_SCHED_NULL, &other));
    OK(dango_abt_xstream_add_pool(other, orphan)); /* running, and probably asleep */
    OK(ABT_thread_create(orphan, count, &counter, ABT_THREAD_ATTR_NULL, &thread));
    OK(ABT_thread_free(&thread));
    OK(ABT_xstream_free(&other));
}

/* A user-defined scheduler, as users write them. */
static void own_run(ABT_sched sched)
{
    ABT_pool pool;
    ABT_bool stop = ABT_FALSE;
    OK(ABT_sched_get_pools(sched, 1, 0, &pool));
    for (int i = 0; !stop; i++) {
        ABT_thread thread;
        ABT_unit unit;
        if (i % 2) {
            OK(ABT_pool_pop_thread(pool, &thread));
            if (thread)
                OK(ABT_self_schedule(thread, ABT_POOL_NULL));
        } else {
            OK(ABT_pool_pop(pool, &unit));
            if (unit)
                OK(ABT_xstream_run_unit(unit, pool));
        }
        if (i % 10 == 0) {
            OK(ABT_sched_has_to_stop(sched, &stop));
            OK(ABT_xstream_check_events(sched));
        }
    }
}

static int own_init(ABT_sched sched, ABT_sched_config config)
{
    int freq = 0;
    double factor = 0;
    OK(ABT_sched_config_read(config, 2, &freq, &factor));
    assert_int_equal(freq, 33);
    assert_true(factor == 1.5);
    return ABT_sched_set_data(sched, malloc(1));
}

static int own_free(ABT_sched sched)
{
    void *data;
    OK(ABT_sched_get_data(sched, &data));
    free(data);
    return ABT_SUCCESS;
}

static void yield_and_count(void *arg)
{
    for (int i = 0; i < 10; i++)
        OK(ABT_thread_yield());
    count(arg);
}

static void test_user_defined_scheduler(void **state)
{
    ABT_sched_config_var freq = {.idx = 0, .type = ABT_SCHED_CONFIG_INT};
    ABT_sched_config_var factor = {.idx = 1, .type = ABT_SCHED_CONFIG_DOUBLE};
    ABT_sched_def def = {.type = ABT_SCHED_TYPE_ULT, .init = own_init, .run = own_run, .free = own_free};
    ABT_sched_config config;
    ABT_sched sched;
    ABT_xstream xstream;
    ABT_thread threads[20];
    int counter = 0;
    (void)state;
    OK(ABT_sched_config_create(&config, freq, 33, factor, 1.5, ABT_sched_config_var_end));
    OK(ABT_sched_create(&def, 1, NULL, config, &sched));
    OK(ABT_xstream_create(sched, &xstream));
    assert_int_equal(ABT_sched_free(&sched), ABT_ERR_SCHED);
    for (int i = 0; i < 20; i++)
        OK(ABT_thread_create_on_xstream(xstream, yield_and_count, &counter, ABT_THREAD_ATTR_NULL, &threads[i]));
    OK(ABT_thread_free_many(20, threads));
    assert_int_equal(counter, 20);
    OK(ABT_xstream_free(&xstream));
    OK(ABT_sched_free(&sched));
    OK(ABT_sched_config_free(&config));
}

static void test_stacked_scheduler(void **state)
{
    ABT_pool pool;
    ABT_sched sched;
    int counter = 0;
    (void)state;
    OK(ABT_pool_create_basic(ABT_POOL_FIFO, ABT_POOL_ACCESS_MPMC, ABT_TRUE, &pool));
    OK(ABT_sched_create_basic(ABT_SCHED_BASIC, 1, &pool, ABT_SCHED_CONFIG_NULL, &sched));
    for (int i = 0; i < 10; i++)
        OK(ABT_thread_create(pool, yield_and_count, &counter, ABT_THREAD_ATTR_NULL, NULL));
    OK(ABT_pool_add_sched(main_pool(), sched));
    while (counter < 10)
        OK(ABT_thread_yield());
}

static void migrated(ABT_thread thread, void *arg)
{
    assert_non_null(thread);
    count(arg);
}

static void test_migration(void **state)
{
    ABT_xstream xstream, last;
    ABT_thread thread;
    ABT_pool pool;
    int counter = 0, callbacks = 0;
    (void)state;
    OK(ABT_thread_create(main_pool(), yield_and_count, &counter, ABT_THREAD_ATTR_NULL, &thread));
    assert_int_equal(ABT_thread_migrate(thread), ABT_ERR_MIGRATION_NA);
    assert_int_equal(ABT_thread_migrate_to_pool(thread, main_pool()), ABT_ERR_MIGRATION_TARGET);
    OK(ABT_xstream_create(ABT_SCHED_NULL, &xstream));
    OK(ABT_thread_set_callback(thread, migrated, &callbacks));
    OK(ABT_thread_set_migratable(thread, ABT_FALSE));
    assert_int_equal(ABT_thread_migrate(thread), ABT_ERR_INV_THREAD);
    OK(ABT_thread_set_migratable(thread, ABT_TRUE));
    OK(ABT_thread_migrate_to_xstream(thread, xstream));
    OK(ABT_thread_join(thread));
    OK(ABT_thread_get_last_pool(thread, &pool));
    assert_ptr_equal(pool, pool_of(xstream));
    OK(ABT_thread_get_last_xstream(thread, &last));
    assert_ptr_equal(last, xstream);
    assert_true(counter == 1 && callbacks == 1);
    OK(ABT_thread_free(&thread));
    OK(ABT_xstream_free(&xstream));
}

static void exit_xstream(void *arg)
{
    count(arg);
    ABT_xstream_exit();
    count(arg);
}

static void test_exit_and_cancel(void **state)
{
    ABT_xstream xstream;
    int counter = 0;
    (void)state;
    assert_int_equal(ABT_xstream_exit(), ABT_ERR_INV_XSTREAM);
    OK(ABT_xstream_create(ABT_SCHED_NULL, &xstream));
    OK(ABT_thread_create_on_xstream(xstream, exit_xstream, &counter, ABT_THREAD_ATTR_NULL, NULL));
    OK(ABT_xstream_free(&xstream));
    assert_int_equal(counter, 1);
    OK(ABT_xstream_create(ABT_SCHED_NULL, &xstream));
    OK(ABT_xstream_cancel(xstream));
    OK(ABT_xstream_free(&xstream));
}

static void *use_from_outside(void *arg)
{
    ABT_xstream xstream;
    ABT_thread thread;
    ABT_unit_type type;
    ABT_bool flag = ABT_TRUE;
    int counter = 0, rank;
    (void)arg;
    assert_int_equal(ABT_xstream_self(&xstream), ABT_ERR_INV_XSTREAM);
    assert_null(xstream);
    assert_int_equal(ABT_xstream_self_rank(&rank), ABT_ERR_INV_XSTREAM);
    assert_int_equal(ABT_thread_self(&thread), ABT_ERR_INV_XSTREAM);
    assert_int_equal(ABT_self_get_type(&type), ABT_ERR_INV_XSTREAM);
    assert_int_equal(type, ABT_UNIT_TYPE_EXT);
    assert_int_equal(ABT_self_is_primary(&flag), ABT_ERR_INV_XSTREAM);
    assert_false(flag);
    assert_int_equal(ABT_self_yield(), ABT_ERR_INV_XSTREAM);
    OK(ABT_thread_yield());
    for (int i = 0; i < 20; i++) {
        OK(ABT_xstream_create(ABT_SCHED_NULL, &xstream));
        OK(ABT_thread_create_on_xstream(xstream, yield_and_count, &counter, ABT_THREAD_ATTR_NULL, &thread));
        OK(ABT_thread_join(thread));
        OK(ABT_thread_revive(pool_of(xstream), yield_and_count, &counter, &thread));
        OK(ABT_thread_free(&thread));
        OK(ABT_xstream_free(&xstream));
    }
    assert_int_equal(counter, 40);
    return NULL;
}

static void test_external_threads(void **state)
{
    pthread_t threads[2];
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_from_outside, NULL), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* Everybody creates into everybody's pool, joins, and is pushed around. */
static ABT_pool crowd[3];

static void crowd_worker(void *arg)
{
    for (int i = 0; i < 100; i++) {
        ABT_thread thread;
        OK(ABT_thread_create(crowd[i % 3], count, arg, ABT_THREAD_ATTR_NULL, &thread));
        if (i % 4 == 0)
            OK(ABT_thread_yield());
        if (i % 3 == 0)
            OK(ABT_thread_yield_to(thread));
        OK(ABT_thread_free(&thread));
    }
}

static void test_crowd(void **state)
{
    ABT_xstream xstreams[3];
    ABT_thread threads[12];
    int counter = 0;
    (void)state;
    for (int i = 0; i < 3; i++) {
        OK(ABT_xstream_create(ABT_SCHED_NULL, &xstreams[i]));
        crowd[i] = pool_of(xstreams[i]);
    }
    for (int i = 0; i < 12; i++)
        OK(ABT_thread_create(crowd[i % 3], crowd_worker, &counter, ABT_THREAD_ATTR_NULL, &threads[i]));
    OK(ABT_thread_free_many(12, threads));
    assert_int_equal(counter, 1200);
    for (int i = 0; i < 3; i++) {
        size_t total;
        OK(ABT_pool_get_total_size(crowd[i], &total));
        assert_int_equal(total, 0);
    }
    stop_xstreams(xstreams, 3);
}

static void test_info(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    ABT_bool flag;
    (void)state;
    OK(ABT_info_print_config(file));
    OK(ABT_info_print_all_xstreams(file));
    fclose(file);
    assert_contains(text, "execution streams: 1");
    free(text);
    OK(ABT_info_query_config(ABT_INFO_QUERY_KIND_ENABLED_TOOL, &flag));
    assert_false(flag);
    assert_int_equal(ABT_info_query_config((ABT_info_query_kind)1000, &flag), ABT_ERR_INV_QUERY_KIND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_WITH_LIBRARY(test_life_cycle),
        TEST_WITH_LIBRARY(test_ranks),
        TEST_WITH_LIBRARY(test_join_waits_for_blocked_units),
        TEST_WITH_LIBRARY(test_join_leaves_shared_blocked_units),
        TEST_WITH_LIBRARY(test_replace_own_scheduler),
        TEST_WITH_LIBRARY(test_priorities),
        TEST_WITH_LIBRARY(test_yield_last_serves_later_pools),
        TEST_WITH_LIBRARY(test_work_stealing),
        TEST_WITH_LIBRARY(test_orphan_pool_is_adopted),
        TEST_WITH_LIBRARY(test_user_defined_scheduler),
        TEST_WITH_LIBRARY(test_stacked_scheduler),
        TEST_WITH_LIBRARY(test_migration),
        TEST_WITH_LIBRARY(test_exit_and_cancel),
        TEST_WITH_LIBRARY(test_external_threads),
        TEST_WITH_LIBRARY(test_crowd),
        TEST_WITH_LIBRARY(test_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
