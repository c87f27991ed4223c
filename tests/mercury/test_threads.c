/*
 * Threads: several contexts of one class, several threads on one context, and sleeping and waking between them. Server
 * and client are two classes in one process here, so that ThreadSanitizer sees both sides.
 */
#include "tests/mercury/peer.h"

#include "util/clock.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#define THREADS 3
#define CALLS   300

/* A thread that progresses a context, in the way that an event loop of its own would, until told to stop. */
struct loop {
    hg_context_t *context;
    pthread_t thread;
    _Atomic bool stop;
};

static void *loop_run(void *arg)
{
    struct loop *loop = arg;
    unsigned count;

    while (!atomic_load(&loop->stop)) {
        struct epoll_event event;
        /* No timeout: a wake-up that gets lost would hang the test. */
        if (dango_hg_try_wait(loop->context)) {
            epoll_wait(dango_hg_get_wait_fd(loop->context), &event, 1, -1);
            dango_hg_wait_done(loop->context);
        }
        HG_Progress(loop->context, 0);
        HG_Trigger(loop->context, 0, 64, &count);
    }
    return NULL;
}

static void loop_start(struct loop *loop, hg_context_t *context)
{
    loop->context = context;
    atomic_store(&loop->stop, false);
    assert_int_equal(pthread_create(&loop->thread, NULL, loop_run, loop), 0);
}

static void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    dango_hg_wake(loop->context);
    /* The loop may have been between its look at `stop` and its declaration. */
    struct timespec pause = {.tv_nsec = 1000000};
    while (pthread_tryjoin_np(loop->thread, NULL)) {
        nanosleep(&pause, NULL);
        dango_hg_wake(loop->context);
    }
}

static struct side server, client;
static struct loop server_loop;
static hg_addr_t addr;

static int setup(void **state)
{
    struct hg_init_info info = HG_INIT_INFO_INITIALIZER;
    char address[256];
    hg_size_t size = sizeof address;
    hg_addr_t self;

    (void)state;
    info.na_init_info.max_contexts = THREADS;
    side_open(&server, test_protocol(), true, &info);
    side_open(&client, test_protocol(), false, &info);
    HG_Addr_self(server.hg_class, &self);
    HG_Addr_to_string(server.hg_class, address, &size, self);
    HG_Addr_free(server.hg_class, self);
    addr = side_lookup(&client, address);
    loop_start(&server_loop, server.context);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    HG_Addr_free(client.hg_class, addr);
    side_close(&client);
    loop_stop(&server_loop);
    side_close(&server);
    return 0;
}

struct job {
    hg_context_t *context;
    hg_addr_t target;
    uint8_t target_id;
    bool wait_in_progress; /* this thread progresses the context itself */
    pthread_t thread;
    int failures;
};

struct completion {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    hg_return_t ret;
};

static hg_return_t complete(const struct hg_cb_info *info)
{
    struct completion *completion = info->arg;

    pthread_mutex_lock(&completion->lock);
    completion->ret = info->ret;
    completion->done = true;
    pthread_cond_signal(&completion->cond);
    pthread_mutex_unlock(&completion->lock);
    return HG_SUCCESS;
}

static bool is_done(struct completion *completion)
{
    pthread_mutex_lock(&completion->lock);
    bool done = completion->done;
    pthread_mutex_unlock(&completion->lock);
    return done;
}

static void wait_for(struct job *job, struct completion *completion)
{
    unsigned count;

    if (job->wait_in_progress) {
        while (!is_done(completion)) {
            HG_Progress(job->context, 100);
            HG_Trigger(job->context, 0, 1, &count);
        }
        return;
    }
    pthread_mutex_lock(&completion->lock);
    while (!completion->done)
        pthread_cond_wait(&completion->cond, &completion->lock);
    pthread_mutex_unlock(&completion->lock);
}

static void *job_run(void *arg)
{
    struct job *job = arg;

    for (int i = 0; i < CALLS; i++) {
        struct completion completion = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
        sum_in_t in = {.x = i, .y = 1};
        sum_out_t out = {0};
        hg_handle_t handle;
        HG_Create(job->context, job->target, client.rpcs.sum, &handle);
        HG_Set_target_id(handle, job->target_id);
        if (HG_Forward(handle, complete, &completion, &in) != HG_SUCCESS) {
            job->failures++;
            HG_Destroy(handle);
            continue;
        }
        if (i % 7 == 3)
            HG_Cancel(handle);
        wait_for(job, &completion);
        if (completion.ret == HG_SUCCESS) {
            job->failures += HG_Get_output(handle, &out) != HG_SUCCESS || out.sum != i + 1;
            HG_Free_output(handle, &out);
        } else {
            job->failures += completion.ret != HG_CANCELED;
        }
        HG_Destroy(handle);
    }
    return NULL;
}

static void run(struct job *jobs, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, job_run, &jobs[i]), 0);
    for (int i = 0; i < count; i++) {
        pthread_join(jobs[i].thread, NULL);
        assert_int_equal(jobs[i].failures, 0);
    }
}

/* Several threads call through one context that another one progresses, asleep most of the time. */
static void test_one_loop(void **state)
{
    struct job jobs[THREADS] = {0};
    struct loop loop;

    (void)state;
    loop_start(&loop, client.context);
    for (int i = 0; i < THREADS; i++)
        jobs[i] = (struct job){.context = client.context, .target = addr};
    run(jobs, THREADS);
    loop_stop(&loop);
}

/* The same, calls to ourselves: a sleeping loop is woken by a local call. */
static void test_self(void **state)
{
    struct job jobs[THREADS] = {0};
    struct loop loop;
    hg_addr_t self;

    (void)state;
    HG_Addr_self(client.hg_class, &self);
    loop_start(&loop, client.context);
    for (int i = 0; i < THREADS; i++)
        jobs[i] = (struct job){.context = client.context, .target = self};
    run(jobs, THREADS);
    loop_stop(&loop);
    HG_Addr_free(client.hg_class, self);
}

/* Every thread progresses the same context, and may trigger the others' callbacks. */
static void test_shared_progress(void **state)
{
    struct job jobs[THREADS] = {0};

    (void)state;
    for (int i = 0; i < THREADS; i++)
        jobs[i] = (struct job){.context = client.context, .target = addr, .wait_in_progress = true};
    run(jobs, THREADS);
}

/* A context per thread, on both sides. */
static void test_contexts(void **state)
{
    hg_context_t *near[THREADS], *far[THREADS];
    struct loop loops[THREADS];
    struct job jobs[THREADS] = {0};

    (void)state;
    if (test_on_ofi())
        skip(); /* one context per class there */
    assert_null(HG_Context_create(client.hg_class));
    assert_null(HG_Context_create_id(client.hg_class, THREADS));
    near[0] = client.context;
    far[0] = server.context;
    for (uint8_t i = 1; i < THREADS; i++) {
        near[i] = HG_Context_create_id(client.hg_class, i);
        far[i] = HG_Context_create_id(server.hg_class, i);
        assert_int_equal(HG_Context_get_id(far[i]), i);
        loop_start(&loops[i], far[i]);
    }
    for (uint8_t i = 0; i < THREADS; i++)
        jobs[i] = (struct job){.context = near[i], .target = addr, .target_id = i, .wait_in_progress = true};
    run(jobs, THREADS);
    for (uint8_t i = 1; i < THREADS; i++) {
        HG_Context_destroy(near[i]);
        loop_stop(&loops[i]);
        HG_Context_destroy(far[i]);
    }
}

/* A call to a context that does not exist fails at once. */
static void test_no_such_context(void **state)
{
    hg_handle_t handle;
    sum_in_t in = {0};

    (void)state;
    assert_int_equal(HG_Create(client.context, addr, client.rpcs.sum, &handle), HG_SUCCESS);
    HG_Set_target_id(handle, 2);
    assert_int_equal(side_call(&client, handle, &in), HG_HOSTUNREACH);
    HG_Destroy(handle);
}

/* A trigger that waits is served by progress in another thread. */
static void *progress_run(void *arg)
{
    struct loop *loop = arg;

    while (!atomic_load(&loop->stop))
        HG_Progress(loop->context, 1);
    return NULL;
}

static void test_waiting_trigger(void **state)
{
    struct loop loop = {.context = client.context};
    struct call call = {0};
    hg_handle_t handle;
    unsigned count = 0;
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);

    (void)state;
    assert_int_equal(HG_Trigger(client.context, 1, 1, &count), HG_TIMEOUT);
    assert_int_equal(count, 0);
    assert_int_equal(pthread_create(&loop.thread, NULL, progress_run, &loop), 0);
    assert_int_equal(HG_Create(client.context, addr, client.rpcs.null, &handle), HG_SUCCESS);
    assert_int_equal(HG_Forward(handle, call_done, &call, NULL), HG_SUCCESS);
    while (!call.done && dango_clock_ns() < deadline)
        HG_Trigger(client.context, 1000, 1, &count);
    assert_true(call.done);
    HG_Destroy(handle);
    atomic_store(&loop.stop, true);
    pthread_join(loop.thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_loop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_self, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared_progress, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contexts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_such_context, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waiting_trigger, setup, teardown),
    };
    return cmocka_run_group_tests_name("mercury-threads", tests, NULL, NULL);
}
