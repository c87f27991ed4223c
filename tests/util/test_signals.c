/*
 * A signal that is sent twice for one request, and handlers that a library replaces.
 */
#include "tests/support/test.h"

#include "util/clock.h"
#include "util/signals.h"

#include <pthread.h>
#include <unistd.h>

static sigset_t set;

/* Takes time: the second must be over when it sends. */
static void *send_later(void *arg)
{
    const int64_t *first_ns = arg;
    int64_t end_ns = *first_ns + (DANGO_SIGNAL_REPEAT_MS + 50) * DANGO_NS_PER_MS;

    while (dango_clock_ns() < end_ns)
        usleep(10000);
    kill(getpid(), SIGUSR2);
    return NULL;
}

static void test_repetition(void **state)
{
    int64_t previous_ns = 0, first_ns;
    pthread_t thread;

    (void)state;
    kill(getpid(), SIGUSR1);
    assert_int_equal(dango_signal_wait(&set, &previous_ns), SIGUSR1);
    first_ns = previous_ns;
    assert_true(first_ns > 0);
    kill(getpid(), SIGUSR1);
    assert_int_equal(pthread_create(&thread, NULL, send_later, &first_ns), 0);
    assert_int_equal(dango_signal_wait(&set, &previous_ns), SIGUSR2);
    assert_true(previous_ns > first_ns);
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
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
