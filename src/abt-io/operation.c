/*
 * Life of one operation: it enters the gate of its instance, is queued as a tasklet in the pool (or given to a ring),
 * runs its system call, delivers the result, and leaves the gate.
 *
 * A blocking call keeps its operation on the stack of the caller, which sleeps in the eventual: nothing is allocated.
 * An _nb operation is one allocation with two references, the user's and the engine's, so that the handle may be freed
 * before completion and waited for after the instance is gone.
 *
 * Completion stores the result first, then sets the eventual; from that moment an operation on a stack is gone. The
 * gate is left last: the instance stays alive until then.
 *
 * Calls that find the gate closing, or that come from a tasklet (which cannot sleep), run in the caller's thread. So do
 * blocking ones that come from the pool itself when nobody waits there.
 */
#include "abt-io/abtio.h"
#include "abt-io/ring.h"

#include "util/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void store_result(void *ret, size_t ret_size, int64_t result)
{
    if (!ret)
        return;
    assert(ret_size == sizeof(int32_t) || ret_size == sizeof(int64_t));
    if (ret_size == sizeof(int32_t))
        *(int32_t *)ret = (int32_t)result;
    else
        *(int64_t *)ret = result;
}

static ABT_eventual completion_of(struct abt_io_op *op)
{
    return ABT_EVENTUAL_MEMORY_GET_HANDLE(&op->completed);
}

static void release(struct abt_io_op *op)
{
    int before = __atomic_fetch_sub(&op->references, 1, __ATOMIC_ACQ_REL);
    assert(before > 0);
    if (before == 1)
        free(op);
}

void abtio_op_complete(struct abt_io_op *op, int64_t result)
{
    struct abt_io_instance *instance = op->instance;
    bool on_heap = op->on_heap;
    if (instance->settings.trace_io)
        abtio_trace_line(instance, &op->call, op->start_ns, dango_clock_ns());
    op->result = result;
    store_result(op->ret, op->ret_size, result);
    ABT_eventual_set(completion_of(op), NULL, 0);
    if (on_heap)
        release(op);
    dango_gate_leave(&instance->gate);
}

static bool is_pretended(const struct abtio_settings *settings, enum abtio_code code)
{
    return (settings->null_io_read && abtio_call_is_read(code)) ||
           (settings->null_io_write && abtio_call_is_write(code));
}

static int64_t run(const struct abt_io_instance *instance, const struct abtio_call *call)
{
    if (is_pretended(&instance->settings, call->code))
        return (int64_t)abtio_call_bytes(call);
    return abtio_call_run(call);
}

/* Body of the tasklet. */
static void run_operation(void *arg)
{
    struct abt_io_op *op = arg;
    if (op->instance->settings.trace_io)
        op->start_ns = dango_clock_ns();
    abtio_op_complete(op, run(op->instance, &op->call));
}

static bool goes_to_ring(const struct abt_io_instance *instance, const struct abtio_call *call)
{
    return instance->rings && abtio_rings_accept(call) && !is_pretended(&instance->settings, call->code);
}

static int submit(struct abt_io_op *op)
{
    struct abt_io_instance *instance = op->instance;
    if (dango_gate_count(&instance->gate) > ABTIO_IN_FLIGHT_MAX)
        return -EAGAIN;
    if (goes_to_ring(instance, &op->call)) {
        if (instance->settings.trace_io)
            op->start_ns = dango_clock_ns();
        abtio_rings_submit(instance->rings, op);
        return 0;
    }
    switch (ABT_task_create(instance->pool, run_operation, op, NULL)) {
    case ABT_SUCCESS:
        return 0;
    case ABT_ERR_MEM:
        return -ENOMEM;
    default:
        return -EINVAL;
    }
}

static bool caller_is_tasklet(void)
{
    ABT_unit_type type;
    return ABT_self_get_type(&type) == ABT_SUCCESS && type == ABT_UNIT_TYPE_TASK;
}

/* Whether a tasklet would be the next to run in the caller's pool: here, or on a stream that had to be woken for it. */
static bool turn_is_now(const struct abt_io_instance *instance, const struct abtio_call *call)
{
    ABT_pool pool;
    size_t waiting;
    return !goes_to_ring(instance, call) && ABT_self_get_last_pool(&pool) == ABT_SUCCESS && pool == instance->pool &&
           ABT_pool_get_size(pool, &waiting) == ABT_SUCCESS && waiting == 0;
}

int64_t abtio_execute(struct abt_io_instance *instance, const struct abtio_call *call)
{
    if (!instance)
        return -EINVAL;
    if (caller_is_tasklet() || !dango_gate_enter(&instance->gate))
        return run(instance, call);
    struct abt_io_op op = {.call = *call, .instance = instance};
    if (turn_is_now(instance, call)) {
        run_operation(&op);
        return op.result;
    }
    int status = submit(&op);
    if (status != 0) {
        dango_gate_leave(&instance->gate);
        return status;
    }
    status = ABT_eventual_wait(completion_of(&op), NULL);
    assert(status == ABT_SUCCESS);
    return op.result;
}

static struct abt_io_op *op_create(struct abt_io_instance *instance, const struct abtio_call *call, void *ret,
                                   size_t ret_size)
{
    struct abt_io_op *op = calloc(1, sizeof *op);
    if (!op)
        return NULL;
    op->call = *call;
    op->instance = instance;
    op->ret = ret;
    op->ret_size = ret_size;
    op->on_heap = true;
    op->references = 2;
    return op;
}

/* The same as abtio_op_complete for an operation that never was inside the instance. */
static struct abt_io_op *run_at_once(struct abt_io_op *op)
{
    op->result = run(op->instance, &op->call);
    store_result(op->ret, op->ret_size, op->result);
    ABT_eventual_set(completion_of(op), NULL, 0);
    op->references = 1; /* the user's; no engine has seen it */
    return op;
}

struct abt_io_op *abtio_start(struct abt_io_instance *instance, const struct abtio_call *call, void *ret,
                              size_t ret_size)
{
    store_result(ret, ret_size, -ENOSYS);
    if (!instance) {
        store_result(ret, ret_size, -EINVAL);
        return NULL;
    }
    struct abt_io_op *op = op_create(instance, call, ret, ret_size);
    if (!op) {
        store_result(ret, ret_size, -ENOMEM);
        return NULL;
    }
    if (!dango_gate_enter(&instance->gate))
        return run_at_once(op);
    int status = submit(op);
    if (status != 0) {
        dango_gate_leave(&instance->gate);
        free(op);
        store_result(ret, ret_size, status);
        return NULL;
    }
    return op;
}

int abt_io_op_wait(abt_io_op_t *op)
{
    if (!op)
        return -1;
    return ABT_eventual_wait(completion_of(op), NULL) == ABT_SUCCESS ? 0 : -1;
}

int abt_io_op_test(abt_io_op_t *op)
{
    assert(op);
    ABT_bool ready = ABT_FALSE;
    ABT_eventual_test(completion_of(op), NULL, &ready);
    return ready == ABT_TRUE;
}

void abt_io_op_free(abt_io_op_t *op)
{
    if (op)
        release(op);
}
