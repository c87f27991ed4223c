/*
 * Client and provider in processes of their own: all paths between them, memory of a third process, and the death of
 * the provider with requests in flight.
 */
#include "tests/warabi/fixture.h"
#include "tests/support/protocol.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct process {
    pid_t pid;
    char address[256];
};

/* Writes its address into the pipe and serves until it is killed. With `exposed`, also a bulk handle on a text. */
static void serve(int fd, const char *exposed)
{
    char text[256] = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    margo_instance_id mid = margo_init(test_protocol(), MARGO_SERVER_MODE, 1, 1);
    if (!mid || warabi_provider_register(NULL, mid, PROVIDER_ID, "{\"target\":{\"type\":\"memory\"}}", NULL))
        _exit(1);
    self_address(mid, text, sizeof text);
    hg_size_t size = strlen(exposed) + 1;
    void *pointer = (void *)exposed;
    hg_bulk_t bulk;
    char descriptor[1024];
    if (write(fd, text, sizeof text) != sizeof text ||
        margo_bulk_create(mid, 1, &pointer, &size, HG_BULK_READ_ONLY, &bulk) != HG_SUCCESS)
        _exit(1);
    hg_size_t length = margo_bulk_get_serialize_size(bulk, 0);
    if (length > sizeof descriptor || margo_bulk_serialize(descriptor, sizeof descriptor, 0, bulk) != HG_SUCCESS ||
        write(fd, &length, sizeof length) != sizeof length || write(fd, descriptor, length) != (ssize_t)length)
        _exit(1);
    margo_wait_for_finalize(mid);
    _exit(0);
}

static void receive(int fd, void *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = read(fd, (char *)bytes + done, size - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
}

/* Must be called before this process starts margo. `descriptor` (1024 bytes) receives the bulk handle of the text. */
static struct process start_server(const char *exposed, char *descriptor, hg_size_t *length)
{
    struct process process;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    process.pid = fork();
    assert_true(process.pid >= 0);
    if (process.pid == 0)
        serve(pipes[1], exposed);
    close(pipes[1]);
    receive(pipes[0], process.address, sizeof process.address);
    receive(pipes[0], length, sizeof *length);
    assert_true(*length <= 1024);
    receive(pipes[0], descriptor, *length);
    close(pipes[0]);
    return process;
}

static void stop_server(struct process *process)
{
    kill(process->pid, SIGKILL);
    waitpid(process->pid, NULL, 0);
}

/* Returns when every thread of the process has stopped. */
static void pause_server(const struct process *process)
{
    int status;
    kill(process->pid, SIGSTOP);
    assert_int_equal(waitpid(process->pid, &status, WUNTRACED), process->pid);
    assert_true(WIFSTOPPED(status));
}

struct fixture {
    struct process server, third;
    char descriptor[1024]; /* of the text of the third process */
    hg_size_t descriptor_size;
    margo_instance_id mid;
    warabi_client_t client;
    warabi_target_handle_t th;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->server = start_server("server", f->descriptor, &f->descriptor_size);
    f->third = start_server("text of a third process", f->descriptor, &f->descriptor_size);
    f->mid = margo_init(test_protocol(), MARGO_CLIENT_MODE, 0, 0);
    assert_non_null(f->mid);
    assert_success(warabi_client_create(f->mid, &f->client));
    assert_success(warabi_client_make_target_handle(f->client, f->server.address, PROVIDER_ID, &f->th));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    warabi_target_handle_free(f->th);
    warabi_client_free(f->client);
    margo_finalize_and_wait(f->mid);
    stop_server(&f->server);
    stop_server(&f->third);
    free(f);
    return 0;
}

static void data_travel_on_both_paths(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {1, 2047, 2048, 100000, 8 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *data = malloc(sizes[i]), *back = calloc(1, sizes[i]);
        warabi_region_t region;
        for (size_t j = 0; j < sizes[i]; j++)
            data[j] = (char)(j * 7 + i);
        assert_success(warabi_create_write(f->th, data, sizes[i], true, &region, NULL));
        assert_success(warabi_read(f->th, region, 0, back, sizes[i], NULL));
        assert_memory_equal(data, back, sizes[i]);
        assert_success(warabi_erase(f->th, region, NULL));
        free(data);
        free(back);
    }
}

/* The provider pulls from a process that neither sent the request nor holds the region. */
static void memory_of_a_third_process(void **state)
{
    struct fixture *f = *state;
    hg_bulk_t bulk;
    warabi_region_t region;
    char back[32] = {0};
    assert_int_equal(margo_bulk_deserialize(f->mid, &bulk, f->descriptor, f->descriptor_size), HG_SUCCESS);
    assert_success(warabi_create_write_bulk(f->th, bulk, f->third.address, 5, 18, true, &region, NULL));
    assert_success(warabi_read(f->th, region, 0, back, 18, NULL));
    assert_string_equal(back, "of a third process");
    margo_bulk_free(bulk);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void the_death_of_the_provider_is_reported_at_once(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 16, SIZE = 1 << 20 };
    warabi_region_t region, created[COUNT];
    warabi_async_request_t requests[COUNT];
    char *data = calloc(1, SIZE);
    assert_success(warabi_create(f->th, SIZE, &region, NULL));
    /* A stopped process keeps every request in flight until it is killed. */
    pause_server(&f->server);
    for (int i = 0; i < COUNT; i++)
        assert_success(warabi_create_write(f->th, data, i % 2 ? SIZE : 100, false, &created[i], &requests[i]));
    double start = now_s();
    kill(f->server.pid, SIGKILL);
    for (int i = 0; i < COUNT; i++)
        assert_failure(warabi_wait(requests[i]), WARABI_ERR_TRANSPORT);
    assert_failure(warabi_write(f->th, region, 0, data, 100, false, NULL), WARABI_ERR_TRANSPORT);
    assert_true(now_s() - start < 1);
    free(data);
}

static void a_silent_provider_runs_into_the_deadline(void **state)
{
    struct fixture *f = *state;
    warabi_region_t region;
    assert_success(warabi_create(f->th, 10, &region, NULL));
    assert_success(warabi_set_timeout(f->th, 50));
    pause_server(&f->server);
    assert_failure(warabi_create(f->th, 10, &region, NULL), WARABI_ERR_TIMEOUT);
    kill(f->server.pid, SIGCONT);
    assert_success(warabi_set_timeout(f->th, 0));
    assert_success(warabi_create(f->th, 10, &region, NULL));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(data_travel_on_both_paths),
        TEST(memory_of_a_third_process),
        TEST(the_death_of_the_provider_is_reported_at_once),
        TEST(a_silent_provider_runs_into_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
