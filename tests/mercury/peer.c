#include "tests/mercury/peer.h"

#include "util/clock.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- handlers ---- */

static hg_return_t handle_sum(hg_handle_t handle)
{
    sum_in_t in;
    sum_out_t out = {0};

    if (HG_Get_input(handle, &in) == HG_SUCCESS) {
        out.sum = (int32_t)((uint32_t)in.x + (uint32_t)in.y);
        HG_Free_input(handle, &in);
        HG_Respond(handle, NULL, NULL, &out);
    } else {
        dango_hg_respond_error(handle, HG_PROTOCOL_ERROR);
    }
    return HG_Destroy(handle);
}

static hg_return_t responded(const struct hg_cb_info *info)
{
    return HG_Destroy(info->info.respond.handle);
}

static hg_return_t handle_echo(hg_handle_t handle)
{
    text_t text;
    hg_return_t ret = HG_Get_input(handle, &text);

    if (ret != HG_SUCCESS)
        return HG_Destroy(handle);
    ret = HG_Respond(handle, responded, NULL, &text);
    HG_Free_input(handle, &text);
    return ret == HG_SUCCESS ? HG_SUCCESS : HG_Destroy(handle);
}

static hg_return_t handle_null(hg_handle_t handle)
{
    HG_Respond(handle, NULL, NULL, NULL);
    return HG_Destroy(handle);
}

static _Atomic int notifications;

static hg_return_t handle_notify(hg_handle_t handle)
{
    text_t text;

    if (HG_Get_input(handle, &text) == HG_SUCCESS) {
        HG_Free_input(handle, &text);
        if (HG_Respond(handle, NULL, NULL, NULL) == HG_OPNOTSUPPORTED)
            atomic_fetch_add(&notifications, 1);
    }
    return HG_Destroy(handle);
}

static hg_return_t handle_count(hg_handle_t handle)
{
    sum_out_t out = {.sum = atomic_load(&notifications)};

    HG_Respond(handle, NULL, NULL, &out);
    return HG_Destroy(handle);
}

static hg_return_t handle_hang(hg_handle_t handle)
{
    return HG_Destroy(handle);
}

static hg_return_t handle_die(hg_handle_t handle)
{
    (void)handle;
    _exit(0);
}

uint64_t checksum(uint64_t sum, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < size; i++)
        sum = (sum ^ at[i]) * 0x100000001b3u;
    return sum;
}

/* A transfer on the server's side. */
struct job {
    hg_handle_t handle;
    bulk_in_t in;
    hg_bulk_t local;
};

static void job_respond(struct job *job, hg_return_t ret)
{
    bulk_out_t out = {.ret = ret};
    void *pieces[64];
    hg_size_t sizes[64];
    uint32_t count = 0;

    if (job->local) {
        HG_Bulk_access(job->local, 0, job->in.size, HG_BULK_READWRITE, 64, pieces, sizes, &count);
        for (uint32_t i = 0; i < count; i++)
            out.checksum = checksum(out.checksum, pieces[i], sizes[i]);
    }
    HG_Respond(job->handle, NULL, NULL, &out);
    HG_Bulk_free(job->local);
    HG_Free_input(job->handle, &job->in);
    HG_Destroy(job->handle);
    free(job);
}

static hg_return_t job_done(const struct hg_cb_info *info)
{
    job_respond(info->arg, info->ret);
    return HG_SUCCESS;
}

/* Local memory in as many pieces as asked for, filled with the pattern. */
static hg_bulk_t job_memory(hg_class_t *hg_class, const bulk_in_t *in)
{
    uint32_t count = in->segments ? in->segments : 1;
    hg_size_t sizes[64];
    void *pieces[64];
    uint32_t actual = 0;
    hg_bulk_t bulk;
    uint64_t position = 0;

    if (count > 64 || in->size > (64u << 20))
        return HG_BULK_NULL;
    for (uint32_t i = 0; i < count; i++)
        sizes[i] = in->size / count + (i + 1 == count ? in->size % count : 0);
    if (HG_Bulk_create(hg_class, count, NULL, sizes, HG_BULK_READWRITE, &bulk) != HG_SUCCESS)
        return HG_BULK_NULL;
    HG_Bulk_access(bulk, 0, in->size, HG_BULK_READWRITE, 64, pieces, sizes, &actual);
    for (uint32_t i = 0; i < actual; i++)
        for (hg_size_t k = 0; k < sizes[i]; k++)
            ((unsigned char *)pieces[i])[k] = pattern(position++);
    return bulk;
}

static hg_return_t transfer(hg_handle_t handle, hg_bulk_op_t op)
{
    const struct hg_info *info = HG_Get_info(handle);
    struct job *job = calloc(1, sizeof *job);
    hg_return_t ret;

    job->handle = handle;
    ret = HG_Get_input(handle, &job->in);
    if (ret != HG_SUCCESS) {
        free(job);
        return HG_Destroy(handle);
    }
    job->local = job_memory(info->hg_class, &job->in);
    ret = HG_Bulk_transfer(info->context, job_done, job, op, info->addr, job->in.bulk, job->in.offset, job->local, 0,
                           job->in.size, HG_OP_ID_IGNORE);
    if (ret != HG_SUCCESS)
        job_respond(job, ret);
    return HG_SUCCESS;
}

static hg_return_t handle_pull(hg_handle_t handle)
{
    return transfer(handle, HG_BULK_PULL);
}

static hg_return_t handle_push(hg_handle_t handle)
{
    return transfer(handle, HG_BULK_PUSH);
}

/* ---- sides ---- */

static void register_rpcs(hg_class_t *hg_class, struct peer_rpcs *rpcs)
{
    rpcs->sum = MERCURY_REGISTER(hg_class, "sum", sum_in_t, sum_out_t, handle_sum);
    rpcs->echo = MERCURY_REGISTER(hg_class, "echo", text_t, text_t, handle_echo);
    rpcs->null = MERCURY_REGISTER(hg_class, "null", void, void, handle_null);
    rpcs->notify = MERCURY_REGISTER(hg_class, "notify", text_t, void, handle_notify);
    rpcs->count = MERCURY_REGISTER(hg_class, "count", void, sum_out_t, handle_count);
    rpcs->hang = MERCURY_REGISTER(hg_class, "hang", void, void, handle_hang);
    rpcs->pull = MERCURY_REGISTER(hg_class, "pull", bulk_in_t, bulk_out_t, handle_pull);
    rpcs->push = MERCURY_REGISTER(hg_class, "push", bulk_in_t, bulk_out_t, handle_push);
    rpcs->die = MERCURY_REGISTER(hg_class, "die", void, void, handle_die);
    HG_Registered_disable_response(hg_class, rpcs->notify, HG_TRUE);
}

void side_open(struct side *side, const char *protocol, bool listen, const struct hg_init_info *info)
{
    side->hg_class = HG_Init_opt(protocol, listen, info);
    assert_non_null(side->hg_class);
    side->context = HG_Context_create(side->hg_class);
    assert_non_null(side->context);
    register_rpcs(side->hg_class, &side->rpcs);
}

void side_close(struct side *side)
{
    assert_int_equal(HG_Context_destroy(side->context), HG_SUCCESS);
    assert_int_equal(HG_Finalize(side->hg_class), HG_SUCCESS);
}

void side_until(struct side *side, _Atomic bool *flag)
{
    int64_t deadline = dango_deadline_ns(PEER_LIMIT_MS);
    unsigned count;

    while (!atomic_load(flag)) {
        HG_Progress(side->context, 100);
        HG_Trigger(side->context, 0, 64, &count);
        if (dango_clock_ns() > deadline)
            fail_msg("nothing happened within %d ms", PEER_LIMIT_MS);
    }
}

hg_return_t call_done(const struct hg_cb_info *info)
{
    struct call *call = info->arg;

    call->ret = info->ret;
    atomic_store(&call->done, true);
    return HG_SUCCESS;
}

hg_return_t side_call(struct side *side, hg_handle_t handle, void *in)
{
    struct call call = {0};
    hg_return_t ret = HG_Forward(handle, call_done, &call, in);

    if (ret != HG_SUCCESS)
        return ret;
    side_until(side, &call.done);
    return call.ret;
}

hg_addr_t side_lookup(struct side *side, const char *address)
{
    hg_addr_t addr;

    assert_int_equal(HG_Addr_lookup2(side->hg_class, address, &addr), HG_SUCCESS);
    return addr;
}

/* ---- the server process ---- */

static void serve(int out, const char *protocol, const struct hg_init_info *info)
{
    struct side side;
    hg_addr_t self;
    char address[256];
    hg_size_t size = sizeof address;
    unsigned count;

    side_open(&side, protocol, true, info);
    HG_Addr_self(side.hg_class, &self);
    HG_Addr_to_string(side.hg_class, address, &size, self);
    HG_Addr_free(side.hg_class, self);
    if (write(out, address, size) != (ssize_t)size)
        _exit(1);
    close(out);
    for (;;) {
        HG_Progress(side.context, 1000);
        HG_Trigger(side.context, 0, 64, &count);
    }
}

static void start(struct peer *peer, const char *protocol, const struct hg_init_info *info)
{
    int pipe_fds[2];
    struct pollfd ready;

    assert_int_equal(pipe(pipe_fds), 0);
    peer->pid = fork();
    assert_true(peer->pid >= 0);
    if (peer->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(pipe_fds[0]);
        serve(pipe_fds[1], protocol, info);
    }
    close(pipe_fds[1]);
    ready = (struct pollfd){.fd = pipe_fds[0], .events = POLLIN};
    assert_int_equal(poll(&ready, 1, PEER_LIMIT_MS), 1);
    assert_true(read(pipe_fds[0], peer->address, sizeof peer->address) > 0);
    close(pipe_fds[0]);
}

void peer_start(struct peer *peer, const struct hg_init_info *info)
{
    start(peer, test_protocol(), info);
}

void peer_restart(struct peer *peer)
{
    char address[sizeof peer->address];

    strcpy(address, peer->address);
    peer_kill(peer);
    start(peer, address, NULL);
    assert_string_equal(peer->address, address);
}

void peer_starve(struct peer *peer, bool starve)
{
    struct rlimit limit;

    assert_int_equal(prlimit(peer->pid, RLIMIT_NOFILE, NULL, &limit), 0);
    limit.rlim_cur = starve ? 0 : limit.rlim_max;
    assert_int_equal(prlimit(peer->pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

static bool peer_has_descriptor(const struct peer *peer, size_t number)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/fd/%zu", (int)peer->pid, number);
    return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

size_t peer_descriptors(const struct peer *peer)
{
    size_t count = 0;

    while (peer_has_descriptor(peer, count))
        count++;
    return count;
}

void peer_limit_descriptors(struct peer *peer)
{
    struct rlimit limit;

    assert_int_equal(prlimit(peer->pid, RLIMIT_NOFILE, NULL, &limit), 0);
    limit.rlim_cur = peer_descriptors(peer);
    assert_int_equal(prlimit(peer->pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

void peer_kill(struct peer *peer)
{
    if (peer->pid <= 0)
        return;
    kill(peer->pid, SIGKILL);
    assert_int_equal(waitpid(peer->pid, NULL, 0), peer->pid);
    peer->pid = 0;
}

void pair_start(struct peer *peer, struct side *client, bool listen, hg_addr_t *server)
{
    peer_start(peer, NULL);
    side_open(client, test_protocol(), listen, NULL);
    *server = side_lookup(client, peer->address);
}

void pair_stop(struct peer *peer, struct side *client, hg_addr_t server)
{
    HG_Addr_free(client->hg_class, server);
    side_close(client);
    peer_kill(peer);
}
