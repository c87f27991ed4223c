/*
 * An idle process uses no CPU, whatever its arrangement of threads, before and after it has had work.
 */
#include "tests/margo/peer.h"
#include "tests/support/test.h"

#include <sys/resource.h>

#define IDLE_MS 2000

/* CPU time that a process may use while it idles: falling asleep, and the test's own timer. */
#define CPU_S_MAX 0.02

static void nothing(hg_handle_t h)
{
    margo_respond(h, NULL);
    margo_destroy(h);
}
static DEFINE_MARGO_RPC_HANDLER(nothing)

    static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void idle_with(const char *config)
{
    margo_instance_id mid = start_instance(MARGO_SERVER_MODE, config);
    hg_id_t id = MARGO_REGISTER(mid, "nothing", void, void, nothing);
    hg_addr_t self;
    margo_addr_self(mid, &self);
    for (int i = 0; i < 100; i++)
        assert_int_equal(call_void(mid, self, id, MARGO_DEFAULT_PROVIDER_ID, 1000), HG_SUCCESS);
    margo_addr_free(mid, self);
    margo_thread_sleep(mid, 100);
    double before = cpu_s();
    margo_thread_sleep(mid, IDLE_MS);
    double used = cpu_s() - before;
    if (used > CPU_S_MAX)
        fail_msg("%.3f s of CPU in %d ms of idling with %s", used, IDLE_MS, config);
    margo_finalize(mid);
}

static void idling_uses_no_cpu(void **state)
{
    (void)state;
    idle_with("{}");
    idle_with("{\"use_progress_thread\":true,\"rpc_thread_count\":2}");
    idle_with("{\"argobots\":{\"pools\":[{\"name\":\"orphan\"}]},\"rpc_pool\":\"orphan\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idling_uses_no_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
