#include "tests/margo/peer.h"
#include "tests/support/protocol.h"
#include "tests/support/test.h"

#include "margo/dango_margo.h"
#include "util/clock.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

margo_instance_id start_instance(int mode, const char *config)
{
    struct dango_error err;
    struct margo_init_info info = MARGO_INIT_INFO_INITIALIZER;
    info.json_config = config;
    margo_instance_id mid = dango_margo_init(test_protocol(), mode, &info, &err);
    if (!mid)
        fail_msg("%s", err.text);
    return mid;
}

static void serve(const char *config, void (*setup)(margo_instance_id), int address_fd)
{
    struct margo_init_info info = MARGO_INIT_INFO_INITIALIZER;
    info.json_config = config;
    margo_instance_id mid = margo_init_ext(test_protocol(), MARGO_SERVER_MODE, &info);
    if (!mid)
        _exit(2);
    margo_enable_remote_shutdown(mid);
    if (setup)
        setup(mid);
    char text[256] = "";
    hg_size_t size = sizeof text;
    hg_addr_t self;
    if (margo_addr_self(mid, &self) != HG_SUCCESS || margo_addr_to_string(mid, text, &size, self) != HG_SUCCESS)
        _exit(3);
    margo_addr_free(mid, self);
    if (write(address_fd, text, sizeof text) != sizeof text)
        _exit(4);
    close(address_fd);
    margo_wait_for_finalize(mid);
    exit(0);
}

void peer_start(struct peer *peer, const char *config, void (*setup)(margo_instance_id mid))
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    fflush(NULL);
    peer->pid = fork();
    assert_true(peer->pid >= 0);
    if (peer->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(fds[0]);
        serve(config, setup, fds[1]);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], peer->address, sizeof peer->address), sizeof peer->address);
    close(fds[0]);
}

void peer_join(struct peer *peer)
{
    int status;
    assert_int_equal(waitpid(peer->pid, &status, 0), peer->pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the server ended with status 0x%x", status);
}

void peer_stop(struct peer *peer, margo_instance_id mid)
{
    hg_addr_t addr;
    assert_int_equal(margo_addr_lookup(mid, peer->address, &addr), HG_SUCCESS);
    assert_int_equal(margo_shutdown_remote_instance(mid, addr), 0);
    margo_addr_free(mid, addr);
    peer_join(peer);
}

void peer_kill(struct peer *peer)
{
    kill(peer->pid, SIGKILL);
    waitpid(peer->pid, NULL, 0);
}

margo_instance_id peer_connect(const struct peer *peer, const char *config, hg_addr_t *addr)
{
    margo_instance_id mid = start_instance(MARGO_CLIENT_MODE, config);
    assert_int_equal(margo_addr_lookup(mid, peer->address, addr), HG_SUCCESS);
    return mid;
}

hg_return_t call_void(margo_instance_id mid, hg_addr_t addr, hg_id_t id, uint16_t provider_id, double timeout_ms)
{
    hg_handle_t handle;
    hg_return_t ret = margo_create(mid, addr, id, &handle);
    if (ret != HG_SUCCESS)
        return ret;
    ret = margo_provider_forward_timed(provider_id, handle, NULL, timeout_ms);
    margo_destroy(handle);
    return ret;
}

double now_s(void)
{
    return (double)dango_clock_ns() / 1e9;
}
