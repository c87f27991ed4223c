/*
 * ULTs and tasklets on one ES: life cycle, order, direct hand-over, keys, errors.
 */
#include "tests/argobots/support.h"

static void append(void *arg)
{
    char **text = arg;
    *(*text)++ = 'x';
}

struct step {
    char **text;
    char name;
};

static void twice(void *arg)
{
    struct step *step = arg;
    *(*step->text)++ = step->name;
    OK(ABT_self_yield());
    *(*step->text)++ = step->name;
}

static void test_create_join_free(void **state)
{
    char buffer[8] = "", *text = buffer;
    ABT_thread thread;
    ABT_thread_state thread_state;
    (void)state;
    OK(ABT_thread_create(main_pool(), append, &text, ABT_THREAD_ATTR_NULL, &thread));
    OK(ABT_thread_get_state(thread, &thread_state));
    assert_int_equal(thread_state, ABT_THREAD_STATE_READY);
    assert_string_equal(buffer, "");
    OK(ABT_thread_join(thread));
    assert_string_equal(buffer, "x");
    OK(ABT_thread_get_state(thread, &thread_state));
    assert_int_equal(thread_state, ABT_THREAD_STATE_TERMINATED);
    OK(ABT_thread_join(thread));
    OK(ABT_thread_free(&thread));
    assert_null(thread);
}

static void test_yield_takes_turns(void **state)
{
    char buffer[8] = "", *text = buffer;
    struct step steps[3] = {{&text, 'a'}, {&text, 'b'}, {&text, 'c'}};
    ABT_thread threads[3];
    (void)state;
    for (int i = 0; i < 3; i++)
        OK(ABT_thread_create(main_pool(), twice, &steps[i], ABT_THREAD_ATTR_NULL, &threads[i]));
    while (text < buffer + 6)
        OK(ABT_thread_yield());
    assert_string_equal(buffer, "abcabc");
    OK(ABT_thread_free_many(3, threads));
}

static void test_unnamed_units_free_themselves(void **state)
{
    char buffer[512] = "", *text = buffer;
    (void)state;
    for (int i = 0; i < 400; i++)
        OK(ABT_thread_create(main_pool(), append, &text, ABT_THREAD_ATTR_NULL, NULL));
    while (text < buffer + 400)
        OK(ABT_thread_yield());
}

static void test_revive(void **state)
{
    char buffer[8] = "", *text = buffer;
    ABT_thread thread, before;
    ABT_unit_id id, id_before;
    (void)state;
    OK(ABT_thread_create(main_pool(), append, &text, ABT_THREAD_ATTR_NULL, &thread));
    assert_int_equal(ABT_thread_revive(main_pool(), append, &text, &thread), ABT_ERR_INV_THREAD);
    before = thread;
    OK(ABT_thread_get_id(thread, &id_before));
    for (int i = 0; i < 3; i++) {
        OK(ABT_thread_join(thread));
        OK(ABT_thread_revive(main_pool(), append, &text, &thread));
    }
    assert_ptr_equal(thread, before);
    OK(ABT_thread_get_id(thread, &id));
    assert_true(id == id_before && id != 0);
    OK(ABT_thread_free(&thread));
    assert_string_equal(buffer, "xxxx");
}

static void test_stack_sizes(void **state)
{
    char buffer[8] = "", *text = buffer;
    char *own = malloc(65536);
    ABT_thread_attr attr, copy;
    ABT_thread thread;
    size_t size;
    void *address;
    (void)state;
    OK(ABT_thread_attr_create(&attr));
    OK(ABT_thread_attr_set_stacksize(attr, 1000000));
    OK(ABT_thread_create(main_pool(), append, &text, attr, &thread));
    OK(ABT_thread_get_stacksize(thread, &size));
    assert_true(size >= 1000000);
    OK(ABT_thread_free(&thread));
    assert_int_equal(ABT_thread_attr_set_stack(attr, own + 1, 60000), ABT_ERR_INV_ARG);
    OK(ABT_thread_attr_set_stack(attr, own, 65536));
    OK(ABT_thread_create(main_pool(), append, &text, attr, &thread));
    OK(ABT_thread_get_attr(thread, &copy));
    OK(ABT_thread_attr_get_stack(copy, &address, &size));
    assert_ptr_equal(address, own);
    OK(ABT_thread_free(&thread));
    OK(ABT_thread_attr_free(&attr));
    OK(ABT_thread_attr_free(&copy));
    assert_string_equal(buffer, "xx");
    free(own);
}

static void yield_for_ever(void *arg)
{
    (void)arg;
    for (;;)
        OK(ABT_self_yield());
}

static void test_cancel(void **state)
{
    char buffer[8] = "", *text = buffer;
    ABT_thread running, unrun;
    (void)state;
    OK(ABT_thread_create(main_pool(), yield_for_ever, NULL, ABT_THREAD_ATTR_NULL, &running));
    OK(ABT_thread_yield());
    OK(ABT_thread_create(main_pool(), append, &text, ABT_THREAD_ATTR_NULL, &unrun));
    OK(ABT_thread_cancel(running));
    OK(ABT_thread_cancel(unrun));
    OK(ABT_thread_free(&running));
    OK(ABT_thread_free(&unrun));
    assert_string_equal(buffer, "");
}

static void exit_early(void *arg)
{
    append(arg);
    ABT_thread_exit();
    append(arg);
}

static void test_exit(void **state)
{
    char buffer[8] = "", *text = buffer;
    ABT_thread thread;
    (void)state;
    assert_int_equal(ABT_thread_exit(), ABT_ERR_INV_THREAD);
    OK(ABT_thread_create(main_pool(), exit_early, &text, ABT_THREAD_ATTR_NULL, &thread));
    OK(ABT_thread_free(&thread));
    assert_string_equal(buffer, "x");
}

static void suspend_once(void *arg)
{
    append(arg);
    OK(ABT_self_suspend());
    append(arg);
}

static void test_suspend_and_resume(void **state)
{
    char buffer[8] = "", *text = buffer;
    ABT_thread thread;
    size_t size, total;
    (void)state;
    OK(ABT_thread_create(main_pool(), suspend_once, &text, ABT_THREAD_ATTR_NULL, &thread));
    assert_int_equal(ABT_thread_resume(thread), ABT_ERR_THREAD);
    OK(ABT_thread_yield());
    assert_string_equal(buffer, "x");
    OK(ABT_pool_get_size(main_pool(), &size));
    OK(ABT_pool_get_total_size(main_pool(), &total));
    assert_true(size == 0 && total == 1);
    OK(ABT_thread_resume(thread));
    OK(ABT_pool_get_total_size(main_pool(), &total));
    assert_int_equal(total, 1);
    OK(ABT_thread_free(&thread));
    assert_string_equal(buffer, "xx");
    OK(ABT_pool_get_total_size(main_pool(), &total));
    assert_int_equal(total, 0);
}

static void test_hand_over(void **state)
{
    char buffer[8] = "", *text = buffer;
    struct step steps[2] = {{&text, 'a'}, {&text, 'b'}};
    ABT_thread threads[2], blocked, started;
    (void)state;
    for (int i = 0; i < 2; i++)
        OK(ABT_thread_create(main_pool(), twice, &steps[i], ABT_THREAD_ATTR_NULL, &threads[i]));
    OK(ABT_thread_yield_to(threads[1]));
    assert_int_equal(buffer[0], 'b');
    OK(ABT_thread_free_many(2, threads));
    text = buffer;
    OK(ABT_thread_create_to(main_pool(), append, &text, ABT_THREAD_ATTR_NULL, &started));
    assert_ptr_equal(text, buffer + 1);
    OK(ABT_thread_join(started));
    OK(ABT_thread_revive_to(main_pool(), append, &text, &started));
    assert_ptr_equal(text, buffer + 2);
    OK(ABT_thread_free(&started));
    OK(ABT_thread_create(main_pool(), suspend_once, &text, ABT_THREAD_ATTR_NULL, &blocked));
    OK(ABT_thread_yield());
    OK(ABT_self_resume_yield_to(blocked));
    assert_ptr_equal(text, buffer + 4);
    OK(ABT_thread_free(&blocked));
}

static void in_tasklet(void *arg)
{
    ABT_unit_type type;
    ABT_thread thread;
    ABT_task task;
    ABT_eventual eventual;
    OK(ABT_self_get_type(&type));
    assert_int_equal(type, ABT_UNIT_TYPE_TASK);
    assert_int_equal(ABT_thread_self(&thread), ABT_ERR_INV_THREAD);
    OK(ABT_task_self(&task));
    OK(ABT_eventual_create(0, &eventual));
    assert_int_equal(ABT_eventual_wait(eventual, NULL), ABT_ERR_EVENTUAL);
    OK(ABT_eventual_free(&eventual));
    assert_int_equal(ABT_thread_exit(), ABT_ERR_INV_THREAD);
    append(arg);
}

static void test_tasklets(void **state)
{
    char buffer[8] = "", *text = buffer;
    ABT_task task;
    ABT_task_state task_state;
    (void)state;
    OK(ABT_task_create(main_pool(), in_tasklet, &text, &task));
    OK(ABT_task_get_state(task, &task_state));
    assert_int_equal(task_state, ABT_TASK_STATE_READY);
    OK(ABT_task_join(task));
    OK(ABT_task_get_state(task, &task_state));
    assert_int_equal(task_state, ABT_TASK_STATE_TERMINATED);
    OK(ABT_task_free(&task));
    OK(ABT_task_create(main_pool(), in_tasklet, &text, NULL));
    OK(ABT_thread_yield());
    assert_string_equal(buffer, "xx");
}

static ABT_key test_key;

static void use_key(void *arg)
{
    void *value;
    OK(ABT_key_get(test_key, &value));
    assert_null(value);
    OK(ABT_key_set(test_key, arg));
    OK(ABT_self_yield());
    OK(ABT_key_get(test_key, &value));
    assert_ptr_equal(value, arg);
}

static void count_destruction(void *value)
{
    ++*(int *)value;
}

static void test_keys(void **state)
{
    int counts[3] = {0};
    ABT_thread thread;
    ABT_key many[20];
    (void)state;
    OK(ABT_key_create(count_destruction, &test_key));
    OK(ABT_thread_create(main_pool(), use_key, &counts[0], ABT_THREAD_ATTR_NULL, &thread));
    OK(ABT_thread_create(main_pool(), use_key, &counts[1], ABT_THREAD_ATTR_NULL, NULL));
    OK(ABT_thread_join(thread));
    OK(ABT_thread_yield());
    assert_int_equal(counts[0], 0);
    assert_int_equal(counts[1], 1);
    OK(ABT_thread_free(&thread));
    assert_int_equal(counts[0], 1);
    for (int i = 0; i < 20; i++) {
        OK(ABT_key_create(NULL, &many[i]));
        OK(ABT_key_set(many[i], &many[i]));
    }
    for (int i = 0; i < 20; i++) {
        void *value;
        OK(ABT_key_get(many[i], &value));
        assert_ptr_equal(value, &many[i]);
        OK(ABT_key_free(&many[i]));
    }
    OK(ABT_key_set(test_key, &counts[2]));
    OK(ABT_key_free(&test_key)); /* its destructor does not run any more */
}

static void test_errors(void **state)
{
    ABT_thread self, none = ABT_THREAD_NULL;
    ABT_bool flag;
    char name[64];
    size_t length;
    (void)state;
    OK(ABT_thread_self(&self));
    OK(ABT_thread_is_primary(self, &flag));
    assert_true(flag);
    assert_int_equal(ABT_thread_join(self), ABT_ERR_INV_THREAD);
    assert_int_equal(ABT_thread_free(&self), ABT_ERR_INV_THREAD);
    assert_int_equal(ABT_thread_cancel(self), ABT_ERR_INV_THREAD);
    assert_int_equal(ABT_thread_join(none), ABT_ERR_INV_THREAD);
    none = self;
    assert_int_equal(ABT_thread_create(ABT_POOL_NULL, append, NULL, ABT_THREAD_ATTR_NULL, &none), ABT_ERR_INV_POOL);
    assert_null(none);
    OK(ABT_error_get_str(ABT_ERR_INV_POOL, name, &length));
    assert_string_equal(name, "ABT_ERR_INV_POOL");
    assert_int_equal(length, strlen(name));
    assert_int_equal(ABT_error_get_str(58, name, &length), ABT_ERR_OTHER);
}

static void test_deep_recursion_of_creation(void **state)
{
    ABT_thread threads[1000];
    char buffer[1001] = "", *text = buffer;
    (void)state;
    for (int round = 0; round < 5; round++) {
        text = buffer;
        for (int i = 0; i < 1000; i++)
            OK(ABT_thread_create(main_pool(), append, &text, ABT_THREAD_ATTR_NULL, &threads[i]));
        for (int i = 999; i >= 0; i--)
            OK(ABT_thread_free(&threads[i]));
        assert_ptr_equal(text, buffer + 1000);
    }
}

static void test_init_is_counted(void **state)
{
    (void)state;
    assert_int_equal(ABT_initialized(), ABT_ERR_UNINITIALIZED);
    assert_int_equal(ABT_finalize(), ABT_ERR_UNINITIALIZED);
    for (int i = 0; i < 3; i++) {
        OK(ABT_init(0, NULL));
        OK(ABT_init(0, NULL));
        OK(ABT_finalize());
        OK(ABT_initialized());
        OK(ABT_finalize());
        assert_int_equal(ABT_initialized(), ABT_ERR_UNINITIALIZED);
    }
}

static void test_finalize_runs_what_is_left(void **state)
{
    char buffer[8] = "", *text = buffer;
    struct step step = {&text, 'a'};
    (void)state;
    OK(ABT_init(0, NULL));
    OK(ABT_thread_create(main_pool(), twice, &step, ABT_THREAD_ATTR_NULL, NULL));
    OK(ABT_finalize());
    assert_string_equal(buffer, "aa");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_WITH_LIBRARY(test_create_join_free),
        TEST_WITH_LIBRARY(test_yield_takes_turns),
        TEST_WITH_LIBRARY(test_unnamed_units_free_themselves),
        TEST_WITH_LIBRARY(test_revive),
        TEST_WITH_LIBRARY(test_stack_sizes),
        TEST_WITH_LIBRARY(test_cancel),
        TEST_WITH_LIBRARY(test_exit),
        TEST_WITH_LIBRARY(test_suspend_and_resume),
        TEST_WITH_LIBRARY(test_hand_over),
        TEST_WITH_LIBRARY(test_tasklets),
        TEST_WITH_LIBRARY(test_keys),
        TEST_WITH_LIBRARY(test_errors),
        TEST_WITH_LIBRARY(test_deep_recursion_of_creation),
        cmocka_unit_test(test_init_is_counted),
        cmocka_unit_test(test_finalize_runs_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
