/*
 * Requests: completion, deadlines, waiting. See request.h for the protocol.
 */
#include "margo/request.h"

#include "util/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Orders the end of timed transfers against their cancellation: an operation id is valid until its callback runs. */
static pthread_mutex_t cancel_mutex = PTHREAD_MUTEX_INITIALIZER;

static ABT_eventual done_of(struct margo_request_struct *req)
{
    return ABT_EVENTUAL_MEMORY_GET_HANDLE(&req->done);
}

/* ---- deadlines ---- */

static void cancel(struct margo_request_struct *req)
{
    if (req->type != MARGO_BULK_REQUEST) {
        HG_Cancel(req->handle);
        return;
    }
    pthread_mutex_lock(&cancel_mutex);
    if (!req->completed)
        HG_Bulk_cancel(req->operation);
    pthread_mutex_unlock(&cancel_mutex);
}

/* The timer. Either we see that the operation was submitted, or the submitter sees that it has expired. */
static void expire(void *arg)
{
    struct margo_request_struct *req = arg;
    if (atomic_load(&req->group) == MG_GROUP_DONE) /* nobody has waited for it yet; its handle may be gone */
        return;
    if (dango_clock_ns() < req->deadline_ns) {
        mg_silence_tell(req->mid, req->handle);
        dango_abt_timer_arm(&req->timer, req->deadline_ns);
        return;
    }
    atomic_store(&req->expired, true);
    if (atomic_load(&req->submitted))
        cancel(req);
}

void mg_request_init(struct margo_request_struct *req, margo_instance_id mid, margo_request_type type,
                     hg_handle_t handle)
{
    static const ABT_eventual_memory not_done = ABT_EVENTUAL_INITIALIZER;
    req->mid = mid;
    req->type = type;
    req->handle = handle;
    req->operation = HG_OP_ID_NULL;
    req->ret = HG_SUCCESS;
    req->done = not_done;
    req->timed = false;
    req->completed = false;
    req->on_complete = NULL;
    req->uargs = NULL;
    atomic_init(&req->holders, 0);
    atomic_init(&req->group, NULL);
    atomic_init(&req->expired, false);
    atomic_init(&req->submitted, false);
}

void mg_request_arm(struct margo_request_struct *req, double timeout_ms)
{
    if (!(timeout_ms > 0))
        return;
    req->timed = true;
    req->deadline_ns = dango_deadline_ns(timeout_ms);
    int64_t silence_ns = req->type == MARGO_FORWARD_REQUEST ? mg_silence_ends_ns(req->mid) : DANGO_NEVER;
    dango_abt_timer_init(&req->timer, expire, req);
    dango_abt_timer_arm(&req->timer, silence_ns < req->deadline_ns ? silence_ns : req->deadline_ns);
}

hg_return_t mg_request_submitted(struct margo_request_struct *req, hg_return_t ret)
{
    if (!req->timed)
        return ret;
    if (ret != HG_SUCCESS) {
        dango_abt_timer_cancel(&req->timer);
        return ret;
    }
    atomic_store(&req->submitted, true);
    if (atomic_load(&req->expired))
        cancel(req);
    return ret;
}

/* ---- completion ---- */

static void tell_group(struct mg_group *group)
{
    ABT_mutex mutex = ABT_MUTEX_MEMORY_GET_HANDLE(&group->mutex);
    ABT_mutex_lock(mutex);
    group->completed++;
    ABT_cond_signal(ABT_COND_MEMORY_GET_HANDLE(&group->changed));
    ABT_mutex_unlock(mutex);
}

static hg_return_t result_of(const struct margo_request_struct *req)
{
    return req->ret == HG_CANCELED && req->timed && atomic_load(&req->expired) ? HG_TIMEOUT : req->ret;
}

static void complete_with_callback(struct margo_request_struct *req)
{
    if (req->timed)
        dango_abt_timer_cancel(&req->timer);
    req->on_complete(req->uargs, result_of(req));
    mg_request_release(req);
}

void mg_request_release(struct margo_request_struct *req)
{
    if (atomic_fetch_sub(&req->holders, 1) > 1)
        return;
    HG_Destroy(req->handle);
    free(req);
}

hg_return_t mg_request_complete(const struct hg_cb_info *info)
{
    struct margo_request_struct *req = info->arg;
    req->ret = info->ret;
    if (req->type == MARGO_BULK_REQUEST && req->timed) {
        pthread_mutex_lock(&cancel_mutex);
        req->completed = true;
        pthread_mutex_unlock(&cancel_mutex);
    }
    if (req->on_complete) {
        complete_with_callback(req);
        return HG_SUCCESS;
    }
    struct mg_group *group = atomic_exchange(&req->group, MG_GROUP_DONE);
    if (group)
        tell_group(group);
    ABT_eventual_set(done_of(req), NULL, 0);
    return HG_SUCCESS;
}

/* ---- waiting ---- */

hg_return_t mg_request_wait(struct margo_request_struct *req)
{
    ABT_eventual_wait(done_of(req), NULL);
    if (req->timed)
        dango_abt_timer_cancel(&req->timer);
    return result_of(req);
}

hg_return_t margo_wait(margo_request req)
{
    if (!req)
        return HG_INVALID_ARG;
    hg_return_t ret = mg_request_wait(req);
    free(req);
    return ret;
}

int margo_test(margo_request req, int *flag)
{
    if (!req || !flag)
        return -1;
    *flag = atomic_load(&req->group) == MG_GROUP_DONE;
    return 0;
}

/* Makes the group the one to be told by every pending request; true if one is complete already. */
static bool join_group(struct mg_group *group, size_t count, margo_request *req, size_t *joined)
{
    for (*joined = 0; *joined < count; (*joined)++) {
        margo_request r = req[*joined];
        struct mg_group *none = NULL;
        if (r && !atomic_compare_exchange_strong(&r->group, &none, group)) {
            assert(none == MG_GROUP_DONE);
            return true;
        }
    }
    return false;
}

/* Takes the group back; the number of completions that have told it, or are about to. */
static unsigned leave_group(struct mg_group *group, size_t joined, margo_request *req)
{
    unsigned told = 0;
    for (size_t i = 0; i < joined; i++) {
        struct mg_group *mine = group;
        if (req[i] && !atomic_compare_exchange_strong(&req[i]->group, &mine, NULL))
            told++;
    }
    return told;
}

static void wait_for_group(struct mg_group *group, unsigned completions)
{
    ABT_mutex mutex = ABT_MUTEX_MEMORY_GET_HANDLE(&group->mutex);
    ABT_mutex_lock(mutex);
    while (group->completed < completions)
        ABT_cond_wait(ABT_COND_MEMORY_GET_HANDLE(&group->changed), mutex);
    ABT_mutex_unlock(mutex);
}

hg_return_t margo_wait_any(size_t count, margo_request *req, size_t *index)
{
    if (!req || !index)
        return HG_INVALID_ARG;
    *index = 0;
    while (*index < count && !req[*index])
        (*index)++;
    if (*index == count)
        return HG_SUCCESS;
    struct mg_group group;
    memset(&group, 0, sizeof group);
    size_t joined;
    if (!join_group(&group, count, req, &joined))
        wait_for_group(&group, 1);
    wait_for_group(&group, leave_group(&group, joined, req));
    for (*index = 0;; (*index)++) {
        assert(*index < count);
        if (req[*index] && atomic_load(&req[*index]->group) == MG_GROUP_DONE)
            return margo_wait(req[*index]);
    }
}

hg_handle_t margo_request_get_handle(margo_request req)
{
    return req ? req->handle : HG_HANDLE_NULL;
}

margo_request_type margo_request_get_type(margo_request req)
{
    return req ? req->type : MARGO_INVALID_REQUEST;
}

margo_instance_id margo_request_get_instance(margo_request req)
{
    return req ? req->mid : MARGO_INSTANCE_NULL;
}
