/*
 * A signal that is sent twice for one request, and handlers that a library replaces.
 */
#include "tests/support/test.h"

#include "util/clock.h"
#include "util/signals.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

static sigset_t set;

static atomic_bool over;

static void *send_often(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        kill(getpid(), SIGUSR1);
        usleep(1000);
    }
    return NULL;
}

static void test_repetition(void **state)
{
    int64_t previous_ns = 0, first_ns;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, send_often, NULL), 0);
    assert_int_equal(dango_signal_wait(&set, &previous_ns), SIGUSR1);
    first_ns = previous_ns;
    assert_true(first_ns > 0);
    assert_int_equal(dango_signal_wait(&set, &previous_ns), SIGUSR1);
    assert_true(previous_ns - first_ns >= DANGO_SIGNAL_REPEAT_MS * DANGO_NS_PER_MS);
    atomic_store(&over, true);
    pthread_join(thread, NULL);
}

static void handler(int number)
{
    (void)number;
}

static void test_handlers(void **state)
{
    struct dango_signal_actions actions;
    struct sigaction now;

    (void)state;
    signal(SIGINT, handler);
    signal(SIGSEGV, SIG_DFL);
    dango_signal_actions_get(&actions);
    signal(SIGINT, SIG_IGN); /* as a library would */
    signal(SIGSEGV, handler);
    dango_signal_actions_restore(&actions);
    sigaction(SIGINT, NULL, &now);
    assert_ptr_equal(now.sa_handler, handler);
    sigaction(SIGSEGV, NULL, &now);
    assert_ptr_equal(now.sa_handler, SIG_DFL);
    signal(SIGINT, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_repetition), cmocka_unit_test(test_handlers)};

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
