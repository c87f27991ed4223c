/*
 * A server with many peers: all are served, and neither memory nor descriptors grow beyond what a connection needs.
 */
#include "tests/mercury/peer.h"

#include <dirent.h>
#include <sys/resource.h>

#define PEERS        200
#define BASE_MAX_KIB 8192 /* resident memory of an idle server without peers */
#define PEER_MAX_KIB 64   /* more per connection, after light traffic */
#define PEER_MAX_FDS 2    /* socket, event descriptor */

/* Resident KiB of a process. */
static long resident(pid_t pid)
{
    char path[64], line[256];
    long kib = -1;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        sscanf(line, "VmRSS: %ld", &kib);
    fclose(file);
    return kib;
}

static int descriptors(pid_t pid)
{
    char path[64];
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void call_sum(struct side *side, hg_addr_t addr)
{
    hg_handle_t handle;
    sum_in_t in = {.x = 1, .y = 2};

    assert_int_equal(HG_Create(side->context, addr, side->rpcs.sum, &handle), HG_SUCCESS);
    assert_int_equal(side_call(side, handle, &in), HG_SUCCESS);
    HG_Destroy(handle);
}

/* Connections that come one after the other and all at once, with light traffic. */
static void test_many_peers(void **state)
{
    static struct side sides[PEERS];
    static hg_addr_t addrs[PEERS];
    static struct call calls[PEERS];
    static hg_handle_t handles[PEERS];
    struct rlimit limit;
    struct peer peer;

    (void)state;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    peer_start(&peer, NULL);
    long base = resident(peer.pid);
    int base_descriptors = descriptors(peer.pid);
    for (int i = 0; i < PEERS; i++) {
        side_open(&sides[i], test_protocol(), false, NULL);
        addrs[i] = side_lookup(&sides[i], peer.address);
        assert_int_equal(HG_Create(sides[i].context, addrs[i], sides[i].rpcs.null, &handles[i]), HG_SUCCESS);
    }
    for (int i = 0; i < PEERS; i++)
        assert_int_equal(HG_Forward(handles[i], call_done, &calls[i], NULL), HG_SUCCESS);
    for (int i = 0; i < PEERS; i++) {
        side_until(&sides[i], &calls[i].done);
        assert_int_equal(calls[i].ret, HG_SUCCESS);
        HG_Destroy(handles[i]);
    }
    for (int round = 0; round < 200; round++)
        for (int i = 0; i < PEERS; i++)
            call_sum(&sides[i], addrs[i]);
    print_message("resident: %ld KiB without peers, %ld KiB with %d\n", base, resident(peer.pid), PEERS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(base < BASE_MAX_KIB);
    assert_true(resident(peer.pid) < base + PEERS * PEER_MAX_KIB);
#endif
    assert_true(descriptors(peer.pid) <= base_descriptors + PEERS * PEER_MAX_FDS);
    for (int i = 0; i < PEERS; i++) {
        HG_Addr_free(sides[i].hg_class, addrs[i]);
        side_close(&sides[i]);
    }
    peer_kill(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_many_peers)};
    return cmocka_run_group_tests_name("mercury-peers", tests, NULL, NULL);
}
