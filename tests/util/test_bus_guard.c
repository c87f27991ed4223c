/*
 * Guarded mappings: a file that becomes shorter under one costs the pages that are gone; any other fault still ends the
 * process.
 */
#include "tests/support/sigbus.h"
#include "tests/support/test.h"

#include "util/bus_guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 64

struct mapped {
    int fd;
    size_t page, size;
    unsigned char *base;
    struct dango_bus_guard guard;
};

/* A file of ones. */
static void map(struct mapped *file)
{
    char path[] = "/tmp/dango-guard-XXXXXX";
    file->fd = mkstemp(path);
    assert_true(file->fd >= 0);
    unlink(path);
    file->page = (size_t)sysconf(_SC_PAGESIZE);
    file->size = PAGES * file->page;
    char *ones = malloc(file->size);
    assert_non_null(ones);
    memset(ones, 1, file->size);
    assert_int_equal(write(file->fd, ones, file->size), file->size);
    free(ones);
    file->base = mmap(NULL, file->size, PROT_READ, MAP_SHARED, file->fd, 0);
    assert_true(file->base != MAP_FAILED);
}

static void unmap(struct mapped *file)
{
    munmap(file->base, file->size);
    close(file->fd);
}

static size_t count_ones(const struct mapped *file)
{
    size_t ones = 0;
    for (size_t i = 0; i < file->size; i++)
        ones += file->base[i];
    return ones;
}

static void pages_that_are_gone_are_zeros(void **state)
{
    (void)state;
    struct mapped file, other;
    sigbus_to_guards();
    map(&file);
    map(&other);
    assert_int_equal(dango_bus_guard_init(&file.guard, file.base, file.size), 0);
    dango_bus_guard_init(&other.guard, other.base, other.size);
    assert_int_equal(count_ones(&file), file.size);
    assert_int_equal(dango_bus_guard_faults(&file.guard), 0);
    assert_int_equal(ftruncate(file.fd, (off_t)(10 * file.page)), 0);
    dango_bus_guard_touch(file.base + 10 * file.page - 1, 2);
    assert_int_equal(dango_bus_guard_faults(&file.guard), 1);
    assert_true(dango_bus_guard_whole(&file.guard, file.base, 10 * file.page));
    assert_false(dango_bus_guard_whole(&file.guard, file.base + 10 * file.page, 1));
    assert_false(dango_bus_guard_whole(&file.guard, file.base, 10 * file.page + 1));
    assert_true(dango_bus_guard_whole(&file.guard, file.base + 10 * file.page, 0));
    assert_int_equal(count_ones(&file), 10 * file.page);
    assert_int_equal(dango_bus_guard_faults(&file.guard), PAGES - 10);
    assert_int_equal(count_ones(&other), other.size);
    assert_int_equal(dango_bus_guard_faults(&other.guard), 0);
    dango_bus_guard_fini(&file.guard);
    dango_bus_guard_fini(&file.guard);
    dango_bus_guard_fini(&other.guard);
    unmap(&file);
    unmap(&other);
}

static void *count_in_thread(void *arg)
{
    return (void *)count_ones(arg);
}

static void threads_meet_at_the_same_pages(void **state)
{
    (void)state;
    struct mapped file;
    pthread_t threads[4];
    sigbus_to_guards();
    map(&file);
    dango_bus_guard_init(&file.guard, file.base, file.size);
    assert_int_equal(ftruncate(file.fd, (off_t)file.page), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_in_thread, &file), 0);
    for (int i = 0; i < 4; i++) {
        void *ones;
        assert_int_equal(pthread_join(threads[i], &ones), 0);
        assert_int_equal((size_t)ones, file.page);
    }
    assert_int_equal(dango_bus_guard_faults(&file.guard), PAGES - 1);
    dango_bus_guard_fini(&file.guard);
    unmap(&file);
}

/* How a child ends that does this. */
static int status_of(void (*body)(struct mapped *file), struct mapped *file)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGBUS, SIG_DFL); /* of a sanitizer: it would print a report */
        body(file);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void guard_something_else(struct mapped *file)
{
    struct mapped other;
    map(&other);
    dango_bus_guard_init(&other.guard, other.base, other.size);
    if (ftruncate(file->fd, 0) == 0)
        dango_bus_guard_touch(file->base, file->size);
}

static void guard_and_send(struct mapped *file)
{
    dango_bus_guard_init(&file->guard, file->base, file->size);
    kill(getpid(), SIGBUS);
}

static void answer_with_42(int number)
{
    (void)number;
    _exit(42);
}

static void guard_after_another_handler(struct mapped *file)
{
    signal(SIGBUS, answer_with_42);
    guard_something_else(file);
}

/* The first of this program to guard anything, so that what the children install is new to them. */
static void other_faults_are_passed_on(void **state)
{
    (void)state;
    struct mapped file;
    map(&file);
    int status = status_of(guard_and_send, &file);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = status_of(guard_after_another_handler, &file);
    assert_int_equal(status, 42 << 8);
    unmap(&file);
    map(&file);
    status = status_of(guard_something_else, &file);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    unmap(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_faults_are_passed_on),
        cmocka_unit_test(pages_that_are_gone_are_zeros),
        cmocka_unit_test(threads_meet_at_the_same_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
