/*
 * Pools: order of the built-in kinds, direct use, and user-defined pools in both forms.
 */
#include <pthread.h>

#include "argobots/dango_abt.h"
#include "tests/argobots/support.h"

struct letter {
    char **text;
    char name;
};

static void write_letter(void *arg)
{
    struct letter *letter = arg;
    *(*letter->text)++ = letter->name;
}

static void write_twice(void *arg)
{
    write_letter(arg);
    OK(ABT_self_yield());
    write_letter(arg);
}

/* Lets this ES serve `pool` (automatic) alone; the calling ULT moves there. */
static void serve(ABT_pool pool)
{
    ABT_xstream self;
    OK(ABT_xstream_self(&self));
    OK(ABT_xstream_set_main_sched_basic(self, ABT_SCHED_BASIC, 1, &pool));
}

static void test_order_of_randws(void **state)
{
    char buffer[8] = "", *text = buffer;
    struct letter letters[3] = {{&text, 'a'}, {&text, 'b'}, {&text, 'c'}};
    ABT_pool pool;
    ABT_thread thread;
    (void)state;
    OK(ABT_pool_create_basic(ABT_POOL_RANDWS, ABT_POOL_ACCESS_MPMC, ABT_TRUE, &pool));
    for (int i = 0; i < 3; i++)
        OK(ABT_thread_create(pool, write_letter, &letters[i], ABT_THREAD_ATTR_NULL, NULL));
    OK(ABT_pool_pop_thread_ex(pool, &thread, ABT_POOL_CONTEXT_OWNER_SECONDARY)); /* a thief gets the oldest */
    OK(ABT_pool_push_thread(pool, thread));
    serve(pool);
    OK(ABT_thread_yield());
    assert_string_equal(buffer, "cba");
}

static void test_order_of_prio(void **state)
{
    char buffer[16] = "", *text = buffer;
    struct letter letters[3] = {{&text, 'a'}, {&text, 'b'}, {&text, 'c'}};
    ABT_xstream xstream;
    ABT_pool pool;
    ABT_thread threads[3];
    (void)state;
    OK(dango_abt_pool_create_prio(ABT_POOL_ACCESS_MPMC, &pool));
    for (int i = 0; i < 3; i++)
        OK(ABT_thread_create(pool, write_twice, &letters[i], ABT_THREAD_ATTR_NULL, &threads[i]));
    OK(ABT_xstream_create_basic(ABT_SCHED_BASIC_WAIT, 1, &pool, ABT_SCHED_CONFIG_NULL, &xstream));
    OK(ABT_thread_free_many(3, threads));
    assert_string_equal(buffer, "aabbcc");
    OK(ABT_xstream_free(&xstream));
    OK(ABT_pool_free(&pool));
}

static void test_order_of_earliest_first(void **state)
{
    enum { NUM = 100 };
    char buffer[2 * NUM + 1] = "", *text = buffer;
    struct letter letters[NUM];
    ABT_xstream xstream;
    ABT_pool pool;
    ABT_thread threads[NUM], popped[NUM];
    size_t num;
    (void)state;
    OK(dango_abt_pool_create_earliest_first(ABT_POOL_ACCESS_MPMC, &pool));
    for (int i = 0; i < NUM; i++) {
        letters[i] = (struct letter){&text, (char)('!' + i % 90)};
        OK(ABT_thread_create(pool, write_twice, &letters[i], ABT_THREAD_ATTR_NULL, &threads[i]));
    }
    OK(ABT_pool_pop_threads(pool, popped, NUM, &num));
    assert_int_equal(num, NUM);
    for (int i = 0; i < NUM; i++) /* in any order: age decides */
        OK(ABT_pool_push_thread(pool, popped[i * 37 % NUM]));
    OK(ABT_xstream_create_basic(ABT_SCHED_BASIC_WAIT, 1, &pool, ABT_SCHED_CONFIG_NULL, &xstream));
    OK(ABT_thread_free_many(NUM, threads));
    for (int i = 0; i < NUM; i++)
        assert_true(buffer[2 * i] == letters[i].name && buffer[2 * i + 1] == letters[i].name);
    OK(ABT_xstream_free(&xstream));
    OK(ABT_pool_free(&pool));
}

static void test_direct_use(void **state)
{
    char buffer[8] = "", *text = buffer;
    struct letter letter = {&text, 'x'};
    ABT_pool pool;
    ABT_thread thread, same;
    ABT_unit unit;
    ABT_bool empty;
    size_t size;
    (void)state;
    assert_int_equal(ABT_pool_create_basic((ABT_pool_kind)9, ABT_POOL_ACCESS_MPMC, ABT_FALSE, &pool),
                     ABT_ERR_INV_POOL_KIND);
    assert_int_equal(ABT_pool_create_basic(ABT_POOL_FIFO, (ABT_pool_access)9, ABT_FALSE, &pool),
                     ABT_ERR_INV_POOL_ACCESS);
    OK(ABT_pool_create_basic(ABT_POOL_FIFO, ABT_POOL_ACCESS_MPMC, ABT_FALSE, &pool));
    OK(ABT_pool_pop(pool, &unit));
    assert_null(unit);
    OK(ABT_pool_pop_wait_thread(pool, &thread, 0.001));
    assert_null(thread);
    OK(ABT_thread_create(pool, write_letter, &letter, ABT_THREAD_ATTR_NULL, &thread));
    OK(ABT_thread_get_unit(thread, &unit));
    OK(ABT_unit_get_thread(unit, &same));
    assert_ptr_equal(same, thread);
    OK(ABT_pool_remove(pool, unit));
    assert_int_equal(ABT_pool_remove(pool, unit), ABT_ERR_POOL);
    OK(ABT_pool_is_empty(pool, &empty));
    assert_true(empty);
    OK(ABT_pool_push(main_pool(), unit));
    OK(ABT_pool_get_size(main_pool(), &size));
    assert_int_equal(size, 1);
    OK(ABT_thread_free(&thread));
    assert_string_equal(buffer, "x");
    OK(ABT_pool_free(&pool));
}

static void do_nothing(void *arg)
{
    (void)arg;
}

static void *create_later(void *arg)
{
    OK(ABT_task_create(arg, do_nothing, NULL, NULL));
    return NULL;
}

static void test_pop_wait(void **state)
{
    ABT_pool pool;
    ABT_thread thread;
    pthread_t outside;
    (void)state;
    OK(ABT_pool_create_basic(ABT_POOL_FIFO_WAIT, ABT_POOL_ACCESS_MPMC, ABT_FALSE, &pool));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pthread_create(&outside, NULL, create_later, pool), 0);
        OK(ABT_pool_pop_wait_thread(pool, &thread, 30.0));
        assert_non_null(thread);
        OK(ABT_self_schedule(thread, ABT_POOL_NULL));
        pthread_join(outside, NULL);
    }
    OK(ABT_pool_free(&pool));
}

/* A user-defined pool: a stack. With `separate`, units are objects of its own, otherwise the thread's handle. */
struct stack_unit {
    ABT_thread thread;
    struct stack_unit *next;
};

struct stack {
    pthread_mutex_t lock;
    ABT_unit units[1000];
    size_t num;
    int num_created, num_freed;
};

static struct stack *stack_of(ABT_pool pool)
{
    void *data;
    OK(ABT_pool_get_data(pool, &data));
    return data;
}

static int stack_init(ABT_pool pool, ABT_pool_config config)
{
    int fail = 0;
    if (config && ABT_pool_config_get(config, 5, NULL, &fail) == ABT_SUCCESS && fail)
        return ABT_ERR_OTHER;
    struct stack *stack = calloc(1, sizeof *stack);
    pthread_mutex_init(&stack->lock, NULL);
    return ABT_pool_set_data(pool, stack);
}

static void stack_destroy(ABT_pool pool)
{
    struct stack *stack = stack_of(pool);
    assert_int_equal(stack->num_created, stack->num_freed);
    free(stack);
}

static int stack_destroy_legacy(ABT_pool pool)
{
    stack_destroy(pool);
    return ABT_SUCCESS;
}

static void stack_push(ABT_pool pool, ABT_unit unit)
{
    struct stack *stack = stack_of(pool);
    pthread_mutex_lock(&stack->lock);
    stack->units[stack->num++] = unit;
    pthread_mutex_unlock(&stack->lock);
}

static ABT_unit stack_pop(ABT_pool pool)
{
    struct stack *stack = stack_of(pool);
    pthread_mutex_lock(&stack->lock);
    ABT_unit unit = stack->num ? stack->units[--stack->num] : ABT_UNIT_NULL;
    pthread_mutex_unlock(&stack->lock);
    return unit;
}

static size_t stack_size(ABT_pool pool)
{
    struct stack *stack = stack_of(pool);
    pthread_mutex_lock(&stack->lock);
    size_t num = stack->num;
    pthread_mutex_unlock(&stack->lock);
    return num;
}

static ABT_unit handle_create(ABT_pool pool, ABT_thread thread)
{
    __atomic_fetch_add(&stack_of(pool)->num_created, 1, __ATOMIC_RELAXED);
    return (ABT_unit)(void *)thread;
}

static void handle_free(ABT_pool pool, ABT_unit unit)
{
    assert_non_null(unit);
    __atomic_fetch_add(&stack_of(pool)->num_freed, 1, __ATOMIC_RELAXED);
}

static ABT_bool handle_is_empty(ABT_pool pool)
{
    return stack_size(pool) == 0;
}

static ABT_thread handle_pop(ABT_pool pool, ABT_pool_context context)
{
    (void)context;
    return (ABT_thread)(void *)stack_pop(pool);
}

static void handle_push(ABT_pool pool, ABT_unit unit, ABT_pool_context context)
{
    void *arg;
    assert_int_equal(context & 0xf, 0);
    OK(ABT_thread_get_arg((ABT_thread)(void *)unit, &arg));
    assert_non_null(arg);
    stack_push(pool, unit);
}

static ABT_unit separate_create(ABT_thread thread)
{
    struct stack_unit *unit = calloc(1, sizeof *unit);
    unit->thread = thread;
    return (ABT_unit)(void *)unit;
}

static void separate_free(ABT_unit *unit)
{
    free(*unit);
    *unit = ABT_UNIT_NULL;
}

static int separate_remove(ABT_pool pool, ABT_unit unit)
{
    struct stack *stack = stack_of(pool);
    int err = ABT_ERR_POOL;
    pthread_mutex_lock(&stack->lock);
    for (size_t i = 0; i < stack->num; i++) {
        if (stack->units[i] == unit) {
            stack->units[i] = stack->units[--stack->num];
            err = ABT_SUCCESS;
            break;
        }
    }
    pthread_mutex_unlock(&stack->lock);
    return err;
}

static void set_eventual(void *arg)
{
    OK(ABT_eventual_set(arg, NULL, 0));
}

static void yield_and_block(void *arg)
{
    ABT_eventual eventual;
    int rounds = *(int *)arg;
    for (int i = 0; i < rounds; i++)
        OK(ABT_thread_yield());
    OK(ABT_eventual_create(0, &eventual));
    OK(ABT_thread_create(main_pool(), set_eventual, eventual, ABT_THREAD_ATTR_NULL, NULL));
    OK(ABT_eventual_wait(eventual, NULL));
    OK(ABT_eventual_free(&eventual));
}

/* Serves the pool from two ESs; units come from here and from an external thread. */
static void use_pool(ABT_pool pool)
{
    ABT_xstream xstreams[2];
    ABT_thread threads[40];
    int rounds = 10;
    for (int i = 0; i < 2; i++)
        OK(ABT_xstream_create_basic(ABT_SCHED_BASIC, 1, &pool, ABT_SCHED_CONFIG_NULL, &xstreams[i]));
    for (int i = 0; i < 40; i++)
        OK(ABT_thread_create(pool, yield_and_block, &rounds, ABT_THREAD_ATTR_NULL, &threads[i]));
    OK(ABT_thread_join_many(40, threads));
    OK(ABT_thread_revive(pool, yield_and_block, &rounds, &threads[0]));
    OK(ABT_thread_join(threads[0]));
    OK(ABT_thread_revive(main_pool(), yield_and_block, &rounds, &threads[0])); /* leaves the pool */
    OK(ABT_thread_free_many(40, threads));
    for (int i = 0; i < 2; i++)
        OK(ABT_xstream_free(&xstreams[i]));
}

static void test_user_defined(void **state)
{
    ABT_pool_user_def def;
    ABT_pool_config config;
    ABT_pool pool;
    int one = 1;
    (void)state;
    assert_int_equal(ABT_pool_user_def_create(handle_create, NULL, handle_is_empty, handle_pop, handle_push, &def),
                     ABT_ERR_INV_ARG);
    OK(ABT_pool_user_def_create(handle_create, handle_free, handle_is_empty, handle_pop, handle_push, &def));
    OK(ABT_pool_user_def_set_init(def, stack_init));
    OK(ABT_pool_user_def_set_free(def, stack_destroy));
    OK(ABT_pool_user_def_set_get_size(def, stack_size));
    OK(ABT_pool_config_create(&config));
    OK(ABT_pool_config_set(config, 5, ABT_POOL_CONFIG_INT, &one));
    assert_int_equal(ABT_pool_create(def, config, &pool), ABT_ERR_OTHER);
    assert_null(pool);
    OK(ABT_pool_config_set(config, 5, ABT_POOL_CONFIG_INT, NULL));
    assert_int_equal(ABT_pool_config_get(config, 5, NULL, &one), ABT_ERR_INV_ARG);
    OK(ABT_pool_create(def, config, &pool));
    OK(ABT_pool_user_def_free(&def));
    OK(ABT_pool_config_free(&config));
    use_pool(pool);
    OK(ABT_pool_free(&pool));
}

static void test_user_defined_legacy(void **state)
{
    ABT_pool_def def;
    ABT_pool pool;
    ABT_thread thread, same;
    ABT_unit unit;
    int none = 0;
    (void)state;
    memset(&def, 0xa5, sizeof def); /* p_pop_timedwait and p_print_all stay garbage, as with Thallium */
    def.access = ABT_POOL_ACCESS_MPMC;
    def.u_create_from_thread = separate_create;
    def.u_create_from_task = separate_create;
    def.u_free = separate_free;
    def.p_init = stack_init;
    def.p_get_size = stack_size;
    def.p_push = stack_push;
    def.p_pop = stack_pop;
    def.p_remove = separate_remove;
    def.p_free = stack_destroy_legacy;
    OK(ABT_pool_create(&def, ABT_POOL_CONFIG_NULL, &pool));
    OK(ABT_thread_create(pool, yield_and_block, &none, ABT_THREAD_ATTR_NULL, &thread));
    OK(ABT_pool_pop(pool, &unit));
    assert_ptr_not_equal(unit, (void *)thread);
    OK(ABT_unit_get_thread(unit, &same));
    assert_ptr_equal(same, thread);
    OK(ABT_pool_push(pool, unit));
    use_pool(pool);
    OK(ABT_thread_free(&thread));
    OK(ABT_pool_free(&pool));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_WITH_LIBRARY(test_order_of_randws),
        TEST_WITH_LIBRARY(test_order_of_prio),
        TEST_WITH_LIBRARY(test_order_of_earliest_first),
        TEST_WITH_LIBRARY(test_direct_use),
        TEST_WITH_LIBRARY(test_pop_wait),
        TEST_WITH_LIBRARY(test_user_defined),
        TEST_WITH_LIBRARY(test_user_defined_legacy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
