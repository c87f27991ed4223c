/*
 * What is left when a process dies, and how soon the other side notices.
 */
#include "tests/mercury/peer.h"

#include "util/clock.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static struct peer peer;
static struct side client;
static hg_addr_t server;

static int setup(void **state)
{
    (void)state;
    pair_start(&peer, &client, true, &server);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pair_stop(&peer, &client, server);
    return 0;
}

static bool file_contains(const char *path, const char *text)
{
    char line[512];
    bool found = false;
    FILE *file = fopen(path, "re");

    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        found |= strstr(line, text) != NULL;
    fclose(file);
    return found;
}

static void check_no_shm_of(pid_t pid)
{
    char part[32];
    struct dirent *entry;
    DIR *directory = opendir("/dev/shm");

    snprintf(part, sizeof part, "%d", (int)pid);
    while (directory && (entry = readdir(directory)))
        assert_null(strstr(entry->d_name, part));
    if (directory)
        closedir(directory);
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");

    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

/* Calls that the server never answers. */
static void start_hanging(struct call *calls, hg_handle_t *handles, int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(HG_Create(client.context, server, client.rpcs.hang, &handles[i]), HG_SUCCESS);
        assert_int_equal(HG_Forward(handles[i], call_done, &calls[i], NULL), HG_SUCCESS);
    }
}

/* They fail, and not because time is up. */
static void expect_lost(struct call *calls, hg_handle_t *handles, int count)
{
    for (int i = 0; i < count; i++) {
        side_until(&client, &calls[i].done);
        assert_int_not_equal(calls[i].ret, HG_SUCCESS);
        assert_int_not_equal(calls[i].ret, HG_TIMEOUT);
        HG_Destroy(handles[i]);
    }
}

/* Calls that wait when the server is killed fail at once, and nothing remains of it. */
static void test_server_killed(void **state)
{
    enum { COUNT = 100 };
    struct call calls[COUNT] = {0};
    hg_handle_t handles[COUNT];
    char name[300];
    pid_t pid = peer.pid;

    (void)state;
    start_hanging(calls, handles, COUNT);
    snprintf(name, sizeof name, "dango-sm/%s", strstr(peer.address, "://") + 3);
    assert_true(test_on_tcp() || test_on_ofi() || file_contains("/proc/net/unix", name));
    int64_t start = dango_clock_ns();
    peer_kill(&peer);
    expect_lost(calls, handles, COUNT);
    assert_true(dango_clock_ns() - start < test_soon_ms() * DANGO_NS_PER_MS);
    assert_false(file_contains("/proc/net/unix", name));
    check_no_shm_of(pid);

    /* The next call does not get anywhere. */
    assert_int_equal(HG_Create(client.context, server, client.rpcs.null, &handles[0]), HG_SUCCESS);
    assert_int_equal(side_call(&client, handles[0], NULL), HG_HOSTUNREACH);
    HG_Destroy(handles[0]);
}

/* Another server has the address before anybody has noticed that the former one is gone: it is not taken for it. */
static void test_server_restarted(void **state)
{
    enum { COUNT = 10 };
    struct call calls[COUNT] = {0};
    hg_handle_t handles[COUNT], null;

    (void)state;
    if (!test_on_tcp() && !test_on_ofi())
        skip(); /* addresses have the number of the process */
    assert_int_equal(HG_Create(client.context, server, client.rpcs.null, &null), HG_SUCCESS);
    start_hanging(calls, handles, COUNT);
    assert_int_equal(side_call(&client, null, NULL), HG_SUCCESS);
    peer_restart(&peer);
    int64_t start = dango_clock_ns();
    expect_lost(calls, handles, COUNT);
    assert_true(dango_clock_ns() - start < test_soon_ms() * DANGO_NS_PER_MS);
    assert_int_equal(side_call(&client, null, NULL), HG_SUCCESS);
    HG_Destroy(null);
}

/* Forwards `count` echoes of growing length; the server dies after the one numbered `fatal`. */
static void traffic(struct peer *victim, hg_addr_t addr, int count, int fatal)
{
    struct call calls[32] = {0};
    hg_handle_t handles[32];
    char *text = malloc(20001);

    assert_true(count <= 32);
    for (int i = 0; i < count; i++) {
        text_t in = {.text = text};
        memset(text, 'x', (size_t)(i * 600));
        text[i * 600] = '\0';
        assert_int_equal(HG_Create(client.context, addr, client.rpcs.echo, &handles[i]), HG_SUCCESS);
        if (i == fatal)
            peer_kill(victim);
        calls[i].ret = HG_Forward(handles[i], call_done, &calls[i], &in);
        if (calls[i].ret != HG_SUCCESS)
            calls[i].done = true;
        HG_Progress(client.context, 0);
    }
    for (int i = 0; i < count; i++) {
        side_until(&client, &calls[i].done);
        if (i >= fatal)
            assert_int_not_equal(calls[i].ret, HG_SUCCESS);
        HG_Destroy(handles[i]);
    }
    free(text);
}

/* Also in the middle of traffic, at any moment; no descriptor leaks. */
static void test_killed_in_traffic(void **state)
{
    int before = 0;

    (void)state;
    for (int round = 0; round < test_rounds(30); round++) {
        struct peer victim;
        peer_start(&victim, NULL);
        hg_addr_t addr = side_lookup(&client, victim.address);
        traffic(&victim, addr, 32, round);
        HG_Addr_free(client.hg_class, addr);
        HG_Progress(client.context, 1);
        if (round == 0)
            before = open_descriptors();
    }
    assert_int_equal(open_descriptors(), before);
}

/* A server that ends itself while we wait. */
static void test_die_rpc(void **state)
{
    hg_handle_t handle;

    (void)state;
    assert_int_equal(HG_Create(client.context, server, client.rpcs.die, &handle), HG_SUCCESS);
    hg_return_t ret = side_call(&client, handle, NULL);
    assert_int_not_equal(ret, HG_SUCCESS);
    HG_Destroy(handle);
}

struct gone {
    _Atomic bool called;
    char address[256];
};

static void on_gone(void *arg, hg_context_t *context, hg_addr_t addr)
{
    struct gone *gone = arg;
    hg_size_t size = sizeof gone->address;

    HG_Addr_to_string(HG_Context_get_class(context), gone->address, &size, addr);
    atomic_store(&gone->called, true);
}

static void test_peer_gone_callback(void **state)
{
    struct gone gone = {0};
    hg_handle_t handle;

    (void)state;
    assert_int_equal(dango_hg_set_peer_gone_cb(client.hg_class, on_gone, &gone), HG_SUCCESS);
    assert_int_equal(HG_Create(client.context, server, client.rpcs.null, &handle), HG_SUCCESS);
    assert_int_equal(side_call(&client, handle, NULL), HG_SUCCESS);
    HG_Destroy(handle);
    peer_kill(&peer);
    side_until(&client, &gone.called);
    assert_string_equal(gone.address, peer.address);
    dango_hg_unset_peer_gone_cb(client.hg_class, on_gone, &gone);
}

/* A client process that calls us, with a request of ours to it under way, and dies. */
static void client_process(const char *address, int ready)
{
    struct side side;
    hg_handle_t handle;
    hg_addr_t addr;

    side_open(&side, test_protocol(), false, NULL);
    addr = side_lookup(&side, address);
    HG_Create(side.context, addr, side.rpcs.null, &handle);
    side_call(&side, handle, NULL);
    (void)!write(ready, "", 1);
    for (;;)
        pause();
}

/* A server outlives its clients, and hears of each death. */
static void test_clients_killed(void **state)
{
    char address[256];
    hg_size_t size = sizeof address;
    hg_addr_t self;
    int before = 0;

    (void)state;
    HG_Addr_self(client.hg_class, &self);
    HG_Addr_to_string(client.hg_class, address, &size, self);
    HG_Addr_free(client.hg_class, self);
    for (int round = 0; round < 2 * test_rounds(5); round++) {
        struct gone gone = {0};
        assert_int_equal(dango_hg_set_peer_gone_cb(client.hg_class, on_gone, &gone), HG_SUCCESS);
        int ready[2];
        assert_int_equal(pipe(ready), 0);
        pid_t pid = fork();
        if (pid == 0)
            client_process(address, ready[1]);
        struct pollfd event = {.fd = ready[0], .events = POLLIN};
        while (round % 2 && poll(&event, 1, 0) == 0) { /* sometimes before it is connected at all */
            unsigned count;
            HG_Progress(client.context, 1);
            HG_Trigger(client.context, 0, 10, &count);
        }
        close(ready[0]);
        close(ready[1]);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        if (round % 2)
            side_until(&client, &gone.called);
        HG_Progress(client.context, 0);
        HG_Progress(client.context, 1);
        dango_hg_unset_peer_gone_cb(client.hg_class, on_gone, &gone);
        if (round == 1)
            before = open_descriptors();
    }
    assert_int_equal(open_descriptors(), before);
}

/* set_remove drops the connection; the next call makes a new one. */
static void test_set_remove(void **state)
{
    hg_handle_t handle;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(HG_Create(client.context, server, client.rpcs.null, &handle), HG_SUCCESS);
        assert_int_equal(side_call(&client, handle, NULL), HG_SUCCESS);
        HG_Destroy(handle);
        assert_int_equal(HG_Addr_set_remove(client.hg_class, server), HG_SUCCESS);
    }
}

/* Destroying a context completes what is under way. */
static void test_context_destroyed(void **state)
{
    struct call call = {0};
    hg_handle_t handle;

    (void)state;
    assert_int_equal(HG_Create(client.context, server, client.rpcs.hang, &handle), HG_SUCCESS);
    assert_int_equal(HG_Forward(handle, call_done, &call, NULL), HG_SUCCESS);
    assert_int_equal(HG_Finalize(client.hg_class), HG_BUSY);
    assert_int_equal(HG_Context_destroy(client.context), HG_SUCCESS);
    assert_true(call.done);
    assert_int_equal(call.ret, HG_CANCELED);
    /* The handle is still ours; the class cannot go before it. */
    assert_int_equal(HG_Finalize(client.hg_class), HG_BUSY);
    assert_int_equal(HG_Forward(handle, call_done, &call, NULL), HG_CANCELED);
    HG_Destroy(handle);
    client.context = HG_Context_create(client.hg_class);
    assert_non_null(client.context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_server_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_server_restarted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_in_traffic, setup, teardown),
        cmocka_unit_test_setup_teardown(test_die_rpc, setup, teardown),
        cmocka_unit_test_setup_teardown(test_peer_gone_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clients_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_remove, setup, teardown),
        cmocka_unit_test_setup_teardown(test_context_destroyed, setup, teardown),
    };
    return cmocka_run_group_tests_name("mercury-death", tests, NULL, NULL);
}
