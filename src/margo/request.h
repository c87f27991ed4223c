/*
 * Requests: one pending forward, response or transfer.
 *
 * A request is on the caller's stack (blocking calls), or on the heap until margo_wait (the i-forms) or until it
 * completes (the c-forms). Mercury's callback stores the result and sets `done`; that is the last touch, so that the
 * waiter may release the memory as soon as it has seen it.
 *
 * Deadline: a timer cancels the operation, unless it has completed; the cancelled operation completes as any other, and
 * its result then becomes HG_TIMEOUT. The timer may fire before the operation has been submitted: the submitter looks
 * at `expired` afterwards. Who waits disarms the timer before the memory goes. Where somebody wants to hear of peers
 * that are silent (silence.c), the timer of a forward fires before the deadline, too.
 *
 * Waiting for any of several requests: `group` is set in each; the completion takes it out and tells the group.
 */
#ifndef DANGO_MARGO_REQUEST_H
#define DANGO_MARGO_REQUEST_H

#include "margo/instance.h"

#include <argobots/dango_abt.h>

/* One waiter for several requests, on its stack. */
struct mg_group {
    ABT_mutex_memory mutex;
    ABT_cond_memory changed;
    unsigned completed; /* requests that have told us */
};

struct margo_request_struct {
    margo_instance_id mid;
    margo_request_type type;
    hg_handle_t handle;   /* forward, response */
    hg_op_id_t operation; /* transfer */
    hg_return_t ret;
    ABT_eventual_memory done;
    _Atomic(struct mg_group *) group; /* MG_GROUP_DONE once complete */

    bool timed;
    atomic_bool expired;
    atomic_bool submitted; /* `operation` is valid */
    bool completed;        /* transfer: its operation is gone; guarded by the cancel lock of request.c */
    struct dango_abt_timer timer;
    int64_t deadline_ns; /* set if `timed` */

    /* c-forms; both the submitter and the completion hold the request, and through it a reference to the handle */
    void (*on_complete)(void *uargs, hg_return_t ret);
    void *uargs;
    atomic_int holders;
};

#define MG_GROUP_DONE ((struct mg_group *)1)

void mg_request_init(struct margo_request_struct *req, margo_instance_id mid, margo_request_type type,
                     hg_handle_t handle);

/* Arms the deadline; to be called before the operation is submitted. */
void mg_request_arm(struct margo_request_struct *req, double timeout_ms);

/* To be called after the submission, with its result; gives it back. */
hg_return_t mg_request_submitted(struct margo_request_struct *req, hg_return_t ret);

/* Mercury's callback for every operation; `arg` is the request. */
hg_return_t mg_request_complete(const struct hg_cb_info *info);

/* c-forms: drops a holder; the last one frees the request. */
void mg_request_release(struct margo_request_struct *req);

/* Blocks until complete; the memory is the caller's again. */
hg_return_t mg_request_wait(struct margo_request_struct *req);

#endif
