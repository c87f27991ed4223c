/*
 * Many operations at a time, from user-level threads, plain pthreads and tasklets, on each kind of engine; handles that
 * are freed early; finalisation with operations in flight.
 */
#include "tests/abt-io/fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

enum { WORKERS = 8, BLOCKS = 64, BLOCK_SIZE = 512 };

struct worker {
    abt_io_instance_id aid;
    int fd, index, failures;
};

static void fill(char *block, int worker, int number)
{
    memset(block, 'a' + (worker * 7 + number) % 26, BLOCK_SIZE);
}

static off_t position(const struct worker *w, int number)
{
    return ((off_t)number * WORKERS + w->index) * BLOCK_SIZE;
}

/* Blocking calls; the assertions of cmocka belong to the main thread, so failures are counted. */
static void write_and_check(void *arg)
{
    struct worker *w = arg;
    char block[BLOCK_SIZE], back[BLOCK_SIZE];
    for (int i = 0; i < BLOCKS; i++) {
        fill(block, w->index, i);
        w->failures += abt_io_pwrite(w->aid, w->fd, block, BLOCK_SIZE, position(w, i)) != BLOCK_SIZE;
        w->failures += abt_io_pread(w->aid, w->fd, back, BLOCK_SIZE, position(w, i)) != BLOCK_SIZE;
        w->failures += memcmp(block, back, BLOCK_SIZE) != 0;
    }
}

static void write_many_then_check(void *arg)
{
    struct worker *w = arg;
    char(*blocks)[BLOCK_SIZE] = malloc(sizeof(char[BLOCKS][BLOCK_SIZE]));
    abt_io_op_t *ops[BLOCKS];
    ssize_t results[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        fill(blocks[i], w->index, i);
        ops[i] = abt_io_pwrite_nb(w->aid, w->fd, blocks[i], BLOCK_SIZE, position(w, i), &results[i]);
    }
    for (int i = BLOCKS - 1; i >= 0; i--) {
        w->failures += !ops[i] || abt_io_op_wait(ops[i]) != 0 || results[i] != BLOCK_SIZE;
        abt_io_op_free(ops[i]);
    }
    char back[BLOCK_SIZE];
    for (int i = 0; i < BLOCKS; i++) {
        w->failures += abt_io_pread(w->aid, w->fd, back, BLOCK_SIZE, position(w, i)) != BLOCK_SIZE;
        w->failures += memcmp(blocks[i], back, BLOCK_SIZE) != 0;
    }
    free(blocks);
}

static void run_in_ults(struct fixture *f, void (*body)(void *))
{
    int fd = anonymous_file(f);
    struct worker workers[WORKERS];
    ABT_thread threads[WORKERS];
    ABT_xstream self;
    ABT_pool pool;
    ABT_xstream_self(&self);
    ABT_xstream_get_main_pools(self, 1, &pool);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.aid = f->aid, .fd = fd, .index = i};
        assert_int_equal(ABT_thread_create(pool, body, &workers[i], ABT_THREAD_ATTR_NULL, &threads[i]), ABT_SUCCESS);
    }
    for (int i = 0; i < WORKERS; i++) {
        ABT_thread_free(&threads[i]);
        assert_int_equal(workers[i].failures, 0);
    }
    assert_int_equal(abt_io_close(f->aid, fd), 0);
    /* The last one may still be on its way out. */
    while (abt_io_get_pending_op_count(f->aid) > 0)
        ABT_thread_yield();
}

static void blocking_calls_from_ults(void **state)
{
    run_in_ults(*state, write_and_check);
}

static void many_operations_from_ults(void **state)
{
    run_in_ults(*state, write_many_then_check);
}

struct pthread_call {
    void (*body)(void *);
    struct worker worker;
};

static void *pthread_body(void *arg)
{
    struct pthread_call *call = arg;
    call->body(&call->worker);
    return NULL;
}

static void run_in_pthreads(struct fixture *f, void (*body)(void *))
{
    int fd = anonymous_file(f);
    struct pthread_call calls[WORKERS];
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        calls[i] = (struct pthread_call){body, {.aid = f->aid, .fd = fd, .index = i}};
        assert_int_equal(pthread_create(&threads[i], NULL, pthread_body, &calls[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(calls[i].worker.failures, 0);
    }
    assert_int_equal(abt_io_close(f->aid, fd), 0);
}

static void blocking_calls_from_pthreads(void **state)
{
    run_in_pthreads(*state, write_and_check);
}

static void many_operations_from_pthreads(void **state)
{
    run_in_pthreads(*state, write_many_then_check);
}

/* A tasklet cannot sleep: its calls run in place. */
static void blocking_calls_from_a_tasklet(void **state)
{
    struct fixture *f = *state;
    int fd = anonymous_file(f);
    struct worker worker = {.aid = f->aid, .fd = fd};
    ABT_xstream self;
    ABT_pool pool;
    ABT_task task;
    ABT_xstream_self(&self);
    ABT_xstream_get_main_pools(self, 1, &pool);
    assert_int_equal(ABT_task_create(pool, write_and_check, &worker, &task), ABT_SUCCESS);
    ABT_task_free(&task);
    assert_int_equal(worker.failures, 0);
    assert_int_equal(abt_io_close(f->aid, fd), 0);
}

static void note_turn(void *arg)
{
    *(bool *)arg = true;
}

/* A call from the pool itself does not pass those who wait there. */
static void calls_wait_for_their_turn(void **state)
{
    struct fixture *f = *state;
    ABT_pool pool;
    ABT_thread thread;
    bool had_turn = false;
    int fd = anonymous_file(f);
    assert_int_equal(ABT_self_get_last_pool(&pool), ABT_SUCCESS);
    assert_int_equal(ABT_thread_create(pool, note_turn, &had_turn, ABT_THREAD_ATTR_NULL, &thread), ABT_SUCCESS);
    assert_int_equal(abt_io_pwrite(f->aid, fd, "x", 1, 0), 1);
    assert_true(had_turn);
    assert_int_equal(abt_io_pwrite(f->aid, fd, "y", 1, 0), 1); /* nobody waits */
    ABT_thread_free(&thread);
    assert_int_equal(abt_io_close(f->aid, fd), 0);
}

/* A pipe that nobody writes to keeps a read in flight for as long as the test wants. */
static void handles_may_be_freed_in_flight(void **state)
{
    struct fixture *f = *state;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    char c = 0;
    ssize_t ret = 0;
    abt_io_op_t *op = abt_io_read_nb(f->aid, pipes[0], &c, 1, &ret);
    assert_non_null(op);
    assert_false(abt_io_op_test(op));
    assert_int_equal(ret, -ENOSYS);
    assert_int_equal(abt_io_get_pending_op_count(f->aid), 1);
    abt_io_op_free(op);
    assert_int_equal(write(pipes[1], "x", 1), 1);
    abt_io_finalize(f->aid);
    f->aid = NULL;
    assert_int_equal(ret, 1);
    assert_int_equal(c, 'x');
    close(pipes[0]);
    close(pipes[1]);
}

struct late_writer {
    int fd;
    abt_io_instance_id aid;
};

/* Lets the read go on when finalisation has, in all likelihood, begun: its calls are then complete when they return. */
static void *write_when_closing(void *arg)
{
    struct late_writer *w = arg;
    for (bool closing = false; !closing;) {
        abt_io_op_t *op = abt_io_fdatasync_nb(w->aid, -1, NULL);
        closing = op && abt_io_op_test(op);
        abt_io_op_free(op);
        sched_yield();
    }
    return (void *)(intptr_t)write(w->fd, "y", 1);
}

/* Finalisation waits for what is in flight; handles can be waited for afterwards; calls meanwhile still work. */
static void finalise_drains(void **state)
{
    struct fixture *f = *state;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    char c = 0;
    ssize_t ret = 0;
    abt_io_op_t *op = abt_io_read_nb(f->aid, pipes[0], &c, 1, &ret);
    assert_non_null(op);
    struct late_writer writer = {pipes[1], f->aid};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_when_closing, &writer), 0);
    abt_io_finalize(f->aid);
    f->aid = NULL;
    assert_int_equal(ret, 1);
    assert_int_equal(c, 'y');
    assert_int_equal(abt_io_op_wait(op), 0);
    abt_io_op_free(op);
    void *written;
    pthread_join(thread, &written);
    assert_int_equal((intptr_t)written, 1);
    close(pipes[0]);
    close(pipes[1]);
}

/* Everything that was issued is executed, however soon finalisation follows. */
static void finalise_with_a_full_queue(void **state)
{
    struct fixture *f = *state;
    int fd = anonymous_file(f);
    enum { COUNT = 500 };
    static ssize_t results[COUNT];
    for (int i = 0; i < COUNT; i++)
        abt_io_op_free(abt_io_pwrite_nb(f->aid, fd, "z", 1, i, &results[i]));
    abt_io_finalize(f->aid);
    f->aid = NULL;
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(results[i], 1);
    close(fd);
}

/* Instances with different engines side by side. */
static void several_instances(void **state)
{
    struct fixture *f = *state;
    abt_io_instance_id other = instance_from("{\"null_io_write\":true,\"backing_thread_count\":1}", ABT_POOL_NULL);
    int fd = anonymous_file(f);
    struct stat st;
    assert_int_equal(abt_io_pwrite(other, fd, "abc", 3, 0), 3);
    assert_int_equal(abt_io_fstat(other, fd, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(abt_io_pwrite(f->aid, fd, "abc", 3, 0), 3);
    assert_int_equal(abt_io_fstat(f->aid, fd, &st), 0);
    assert_int_equal(st.st_size, 3);
    abt_io_finalize(other);
    assert_int_equal(abt_io_close(f->aid, fd), 0);
}

#define ON(engine, test)                                                                                               \
    {                                                                                                                  \
#test " (" #engine ")", test, with_##engine, fixture_destroy, NULL                                             \
    }
/* With the pool of the main thread, nobody runs operations while the main thread is stuck in pthread_join. */
#define ON_EACH_POOL(test) ON(internal_pool, test), ON(external_pool, test), ON(rings, test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EACH_POOL(blocking_calls_from_ults),
        ON(primary_pool, blocking_calls_from_ults),
        ON_EACH_POOL(many_operations_from_ults),
        ON(primary_pool, many_operations_from_ults),
        ON_EACH_POOL(blocking_calls_from_pthreads),
        ON_EACH_POOL(many_operations_from_pthreads),
        ON_EACH_POOL(blocking_calls_from_a_tasklet),
        ON(primary_pool, calls_wait_for_their_turn),
        ON_EACH_POOL(handles_may_be_freed_in_flight),
        ON_EACH_POOL(finalise_drains),
        ON_EACH_POOL(finalise_with_a_full_queue),
        ON(primary_pool, finalise_with_a_full_queue),
        ON_EACH_POOL(several_instances),
    };
    return cmocka_run_group_tests(tests, start_argobots, stop_argobots);
}
