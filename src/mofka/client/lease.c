/*
 * Renewal of sessions. The timer's thread only starts a ULT; that walks the list, sends renewals without waiting for
 * their answers, and arms the timer again.
 */
#include "mofka/client/lease.h"

#include "util/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* How often, and how long an answer may take: a server that hangs is noticed within the sum. */
#define RENEW_MS        4000
#define RENEW_ANSWER_MS 5000
_Static_assert(2 * RENEW_MS + (int)RENEW_ANSWER_MS < MOFKA_LEASE_MS, "a lease outlives a renewal that failed");
/* Closing is a courtesy: a server that does not listen finds out by itself. */
#define CLOSE_MS 5000.0
/* … and one that did not answer for one partition is not waited for as long for each of the others. */
#define CLOSE_DEAF_MS 100.0

static void arm(struct mofka_leases *leases)
{
    leases->armed = true;
    dango_abt_timer_arm(&leases->timer, dango_clock_ns() + RENEW_MS * DANGO_NS_PER_MS);
}

static void renewed(void *arg, hg_return_t ret)
{
    struct mofka_lease *lease = arg;
    struct mofka_leases *leases = lease->leases;
    struct mofka_message message;
    struct mofka_answer answer;
    struct dango_error err;
    int code;
    if (ret == HG_SUCCESS)
        ret = margo_get_output(lease->handle, &message);
    if (ret == HG_SUCCESS) {
        code = dango_mofka_decode_answer(&message, &answer, sizeof answer, &err);
        margo_free_output(lease->handle, &message);
    } else {
        code = mofka_call_error(lease->target, ret, &err);
    }
    /* A server that has too much to do is asked again next time: its patience is longer than that. */
    bool passing = code == DANGO_ERR_BUSY || code == DANGO_ERR_NO_MEMORY;
    if (code != 0 && !passing && ret != HG_CANCELED)
        lease->lost(lease, &err);
    ABT_mutex_lock(leases->lock);
    lease->busy = false;
    ABT_cond_broadcast(leases->settled);
    ABT_mutex_unlock(leases->lock);
}

/* A renewal that cannot even be sent is tried again next time; the server's patience is longer than that. */
static void renew(struct mofka_lease *lease)
{
    struct mofka_request_head head;
    mofka_request_head_init(&head, lease->token);
    diaspora_segment part = {&head, sizeof head};
    lease->busy = mofka_call_start(lease->target, lease->handle, &part, 1, RENEW_ANSWER_MS, renewed, lease, NULL) == 0;
}

static void renew_all(void *arg)
{
    struct mofka_leases *leases = arg;
    ABT_mutex_lock(leases->lock);
    list_for_each (node, &leases->list) {
        struct mofka_lease *lease = container_of(node, struct mofka_lease, link);
        if (!lease->busy)
            renew(lease);
    }
    leases->renewing = false;
    leases->armed = false;
    if (!list_empty(&leases->list) && !leases->closed)
        arm(leases);
    ABT_cond_broadcast(leases->settled);
    ABT_mutex_unlock(leases->lock);
}

/* On the timer's thread. */
static void on_timer(void *arg)
{
    struct mofka_leases *leases = arg;
    ABT_mutex_lock(leases->lock);
    if (!leases->closed && !leases->renewing) {
        leases->renewing = true;
        mofka_engine_defer(leases->engine, renew_all, leases);
    }
    ABT_mutex_unlock(leases->lock);
}

int mofka_leases_init(struct mofka_leases *leases, struct mofka_engine *engine, struct dango_error *err)
{
    *leases = (struct mofka_leases){.engine = engine};
    list_init(&leases->list);
    dango_abt_timer_init(&leases->timer, on_timer, leases);
    if (ABT_mutex_create(&leases->lock) != ABT_SUCCESS)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    if (ABT_cond_create(&leases->settled) == ABT_SUCCESS)
        return 0;
    ABT_mutex_free(&leases->lock);
    return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
}

void mofka_leases_fini(struct mofka_leases *leases)
{
    ABT_mutex_lock(leases->lock);
    assert(list_empty(&leases->list));
    leases->closed = true;
    ABT_mutex_unlock(leases->lock);
    dango_abt_timer_cancel(&leases->timer);
    ABT_mutex_lock(leases->lock);
    while (leases->renewing)
        ABT_cond_wait(leases->settled, leases->lock);
    ABT_mutex_unlock(leases->lock);
    ABT_cond_free(&leases->settled);
    ABT_mutex_free(&leases->lock);
    free(leases->deaf);
}

int mofka_lease_begin(struct mofka_lease *lease, struct mofka_leases *leases, const struct mofka_target *target,
                      uint64_t token, void (*lost)(struct mofka_lease *lease, const struct dango_error *err),
                      struct dango_error *err)
{
    *lease = (struct mofka_lease){.leases = leases, .target = target, .token = token, .lost = lost};
    int code = mofka_handle_create(target, MOFKA_RPC_RENEW, &lease->handle, err);
    if (code != 0)
        return code;
    ABT_mutex_lock(leases->lock);
    if (!leases->armed)
        arm(leases);
    list_append(&leases->list, &lease->link);
    ABT_mutex_unlock(leases->lock);
    return 0;
}

/* Whether the lease's server did not answer the last time. Under the lock. */
static bool is_deaf(const struct mofka_lease *lease)
{
    return lease->leases->deaf && strcmp(lease->leases->deaf, lease->target->address) == 0;
}

static void note_deafness(const struct mofka_lease *lease, bool deaf)
{
    struct mofka_leases *leases = lease->leases;
    ABT_mutex_lock(leases->lock);
    if (deaf != is_deaf(lease)) {
        free(leases->deaf);
        leases->deaf = deaf ? strdup(lease->target->address) : NULL;
    }
    ABT_mutex_unlock(leases->lock);
}

static int say_goodbye(const struct mofka_lease *lease, struct dango_error *err)
{
    struct mofka_request_head head;
    struct mofka_answer answer;
    mofka_request_head_init(&head, lease->token);
    diaspora_segment part = {&head, sizeof head};
    ABT_mutex_lock(lease->leases->lock);
    double patience_ms = is_deaf(lease) ? CLOSE_DEAF_MS : CLOSE_MS;
    ABT_mutex_unlock(lease->leases->lock);
    int code = mofka_call_timed(lease->target, MOFKA_RPC_CLOSE, &part, 1, &answer, sizeof answer, patience_ms, err);
    note_deafness(lease, code == DANGO_ERR_TIMEOUT);
    return code;
}

void mofka_lease_drop(struct mofka_lease *lease)
{
    struct mofka_leases *leases = lease->leases;
    ABT_mutex_lock(leases->lock);
    list_remove(&lease->link);
    if (lease->busy)
        HG_Cancel(lease->handle);
    while (lease->busy)
        ABT_cond_wait(leases->settled, leases->lock);
    ABT_mutex_unlock(leases->lock);
    margo_destroy(lease->handle);
}

int mofka_lease_end(struct mofka_lease *lease, struct dango_error *err)
{
    mofka_lease_drop(lease);
    return say_goodbye(lease, err);
}
