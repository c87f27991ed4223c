/*
 * Links: sending of calls, delivery of answers, and what makes a session lost. See link.h.
 */
#include "mofka/client/link.h"

#include "mofka/client/driver.h"
#include "util/clock.h"

#include <assert.h>
#include <stdlib.h>

/* A session that lasted as long was a sound one: the next loss is a new one. */
#define STABLE_NS (5 * DANGO_NS_PER_S)

void mofka_link_drop(struct mofka_link *link, size_t references)
{
    if (atomic_fetch_sub(&link->references, references) == references)
        ABT_eventual_set(link->unused, NULL, 0);
}

static void deliver_in_thread(void *arg)
{
    mofka_link_deliver(arg);
    mofka_link_drop(arg, 1);
}

static void deliver_later(struct mofka_link *link)
{
    atomic_fetch_add(&link->references, 1);
    mofka_engine_defer(link->driver->engine, deliver_in_thread, link);
}

/* ---- calls ---- */

void mofka_call_init(struct mofka_call *call, struct mofka_link *link, const struct mofka_call_ops *ops)
{
    *call = (struct mofka_call){.link = link, .ops = ops};
    list_init(&call->node);
}

void mofka_call_fini(struct mofka_call *call)
{
    assert(call->state != MOFKA_CALL_SENT && !call->holds_message);
    if (call->handle)
        margo_destroy(call->handle);
    call->handle = NULL;
}

void mofka_call_drop_message(struct mofka_call *call)
{
    if (call->holds_message)
        margo_free_output(call->handle, &call->message);
    call->holds_message = false;
}

/* It is as if it had not been sent in this session. */
static void make_ready(struct mofka_call *call)
{
    mofka_call_drop_message(call);
    dango_error_clear(&call->err);
    call->state = MOFKA_CALL_READY;
}

/* ---- losing a session ---- */

/* Whether everything that belonged to the session is back: nothing is under way, and all answers that count have been
 * delivered. */
static bool is_settled(const struct mofka_link *link)
{
    if (link->under_way > 0 || link->delivering)
        return false;
    return list_empty(&link->ordered) ||
           container_of(link->ordered.next, struct mofka_call, node)->state != MOFKA_CALL_ANSWERED;
}

static void look_in_thread(struct mofka_link *link)
{
    link->state = MOFKA_LINK_LOOKING;
    atomic_fetch_add(&link->references, 1);
    mofka_engine_defer(link->driver->engine, mofka_link_look, link);
}

/* What comes after a loss, as soon as the old session is settled. Under the lock. */
static void go_on(struct mofka_link *link)
{
    if (link->state != MOFKA_LINK_LOST || !is_settled(link))
        return;
    /* What stands behind a call without an answer goes again, too. */
    list_for_each (node, &link->ordered)
        make_ready(container_of(node, struct mofka_call, node));
    if (list_empty(&link->ordered) && list_empty(&link->loose))
        link->state = MOFKA_LINK_DOWN;
    else
        look_in_thread(link);
}

/* Failures that nobody was told of are those of the session. */
static void give_back(struct list_node *calls)
{
    list_for_each (node, calls) {
        struct mofka_call *call = container_of(node, struct mofka_call, node);
        if (call->state == MOFKA_CALL_SENT)
            HG_Cancel(call->handle);
        else if (call->state == MOFKA_CALL_ANSWERED && call->err.code != 0)
            make_ready(call);
    }
}

void mofka_link_lose(struct mofka_link *link, const struct dango_error *err, bool alive)
{
    if (link->state != MOFKA_LINK_UP)
        return;
    int64_t now_ns = dango_clock_ns();
    link->state = MOFKA_LINK_LOST;
    link->cause = *err;
    if (link->lost_ns == 0 || link->served || now_ns - link->up_ns > STABLE_NS) {
        link->lost_ns = now_ns;
        link->pause_ms = 0;
    }
    if (alive && link->under_way > 0)
        margo_addr_set_remove(mofka_engine_instance(link->driver->engine), link->target.addr);
    give_back(&link->ordered);
    give_back(&link->loose);
    go_on(link);
}

void mofka_link_restart(struct mofka_link *link, const struct dango_error *err)
{
    assert(link->delivering);
    if (link->closing)
        return; /* no other session follows */
    link->discarding = true;
    list_for_each (node, &link->ordered) {
        struct mofka_call *call = container_of(node, struct mofka_call, node);
        if (call->state == MOFKA_CALL_ANSWERED)
            make_ready(call);
    }
    margo_addr_set_remove(mofka_engine_instance(link->driver->engine), link->target.addr);
    mofka_link_lose(link, err, false);
}

static void on_lease_lost(struct mofka_lease *lease, const struct dango_error *err)
{
    struct mofka_link *link = container_of(lease, struct mofka_link, lease);
    pthread_mutex_lock(&link->lock);
    mofka_link_lose(link, err, true);
    pthread_mutex_unlock(&link->lock);
}

int mofka_link_begin_lease(struct mofka_link *link, struct dango_error *err)
{
    int code = mofka_lease_begin(&link->lease, &link->driver->leases, &link->target, link->token, on_lease_lost, err);
    if (code == 0) {
        pthread_mutex_lock(&link->lock);
        link->leased = true;
        pthread_mutex_unlock(&link->lock);
    }
    return code;
}

int mofka_link_end_lease(struct mofka_link *link, bool goodbye, struct dango_error *err)
{
    pthread_mutex_lock(&link->lock);
    bool leased = link->leased;
    link->leased = false;
    pthread_mutex_unlock(&link->lock);
    if (!leased)
        return 0;
    if (goodbye)
        return mofka_lease_end(&link->lease, err);
    mofka_lease_drop(&link->lease);
    return 0;
}

/* ---- answers ---- */

/* Takes the outcome of a call that came back. True: it says that the session is lost, *alive: by a server that lives. */
static bool take_answer(struct mofka_call *call, hg_return_t ret, bool *alive)
{
    struct mofka_link *link = call->link;
    struct mofka_answer head;
    if (ret == HG_SUCCESS)
        ret = margo_get_output(call->handle, &call->message);
    call->holds_message = ret == HG_SUCCESS;
    *alive = call->holds_message || ret == HG_TIMEOUT;
    if (!call->holds_message) {
        mofka_call_error(&link->target, ret, &call->err);
        return ret != HG_NOMEM;
    }
    int code = dango_mofka_decode_answer(&call->message, &head, sizeof head, &call->err);
    if (code != 0)
        mofka_call_drop_message(call);
    return code == DANGO_ERR_DISCONNECTED || code == DANGO_ERR_TIMEOUT;
}

/* In the progress loop. */
static void answered(void *arg, hg_return_t ret)
{
    struct mofka_call *call = arg;
    struct mofka_link *link = call->link;
    bool alive, loss = take_answer(call, ret, &alive);
    if (ret == HG_TIMEOUT) /* it may come to it later, when the memory is somebody else's */
        margo_addr_set_remove(mofka_engine_instance(link->driver->engine), link->target.addr);
    pthread_mutex_lock(&link->lock);
    assert(link->under_way > 0 && call->state == MOFKA_CALL_SENT);
    link->under_way--;
    bool over = link->closing; /* no other session follows */
    bool useless = call->err.code != 0 || (link->discarding && call->ops->ordered);
    if (loss && link->state == MOFKA_LINK_UP && !over) {
        struct dango_error err = call->err;
        make_ready(call);
        mofka_link_lose(link, &err, alive);
    } else if (useless && link->state != MOFKA_LINK_UP && !over) {
        if (alive && link->ops->is_dismissal && link->ops->is_dismissal(call->err.code))
            link->dismissal = call->err;
        make_ready(call);
    } else {
        if (loss)
            dango_error_set(&call->err, DANGO_ERR_CANCELED, "canceled");
        call->state = MOFKA_CALL_ANSWERED;
        link->served = link->served || call->err.code == 0;
    }
    pthread_mutex_unlock(&link->lock);
    mofka_link_deliver(link);
    mofka_link_drop(link, 1);
}

/* The next call to be completed, taken off its list; NULL if there is none. Under the lock. */
static struct mofka_call *next_answered(struct mofka_link *link)
{
    struct mofka_call *found = NULL;
    if (!list_empty(&link->ordered))
        found = container_of(link->ordered.next, struct mofka_call, node);
    if (!found || found->state != MOFKA_CALL_ANSWERED) {
        found = NULL;
        list_for_each (node, &link->loose) {
            struct mofka_call *call = container_of(node, struct mofka_call, node);
            if (call->state == MOFKA_CALL_ANSWERED) {
                found = call;
                break;
            }
        }
    }
    if (found)
        list_remove(&found->node);
    return found;
}

void mofka_link_deliver(struct mofka_link *link)
{
    size_t delivered = 0;
    pthread_mutex_lock(&link->lock);
    if (!link->delivering) {
        link->delivering = true;
        for (struct mofka_call *call; (call = next_answered(link)); delivered++) {
            pthread_mutex_unlock(&link->lock);
            call->ops->complete(call);
            pthread_mutex_lock(&link->lock);
        }
        link->delivering = false;
        go_on(link);
    }
    pthread_mutex_unlock(&link->lock);
    if (delivered > 0)
        mofka_link_drop(link, delivered);
}

void mofka_link_fail_calls(struct mofka_link *link, const struct dango_error *err)
{
    struct list_node *lists[] = {&link->ordered, &link->loose};
    for (size_t i = 0; i < 2; i++) {
        list_for_each (node, lists[i]) {
            struct mofka_call *call = container_of(node, struct mofka_call, node);
            if (call->state != MOFKA_CALL_READY)
                continue;
            call->state = MOFKA_CALL_ANSWERED;
            call->err = *err;
        }
    }
}

/* ---- sending ---- */

int mofka_link_start(struct mofka_call *call, const diaspora_segment *parts, size_t count, double timeout_ms,
                     struct dango_error *err)
{
    struct mofka_link *link = call->link;
    assert(link->state == MOFKA_LINK_UP && call->state == MOFKA_CALL_READY);
    /* The answer may come before the call returns. */
    call->state = MOFKA_CALL_SENT;
    link->under_way++;
    atomic_fetch_add(&link->references, 1);
    int code = mofka_call_start(&link->target, call->handle, parts, count, timeout_ms, answered, call, err);
    if (code == 0) {
        call->sent_before = true;
        return 0;
    }
    call->state = MOFKA_CALL_READY;
    link->under_way--;
    atomic_fetch_sub(&link->references, 1); /* the call has one, so it is not the last */
    return code;
}

static int renew_handle(struct mofka_call *call, struct dango_error *err)
{
    const struct mofka_link *link = call->link;
    if (call->handle && call->session == link->session)
        return 0;
    if (call->handle)
        margo_destroy(call->handle);
    call->handle = NULL;
    call->session = link->session;
    return mofka_handle_create(&link->target, call->ops->rpc, &call->handle, err);
}

static void send(struct mofka_call *call)
{
    struct mofka_link *link = call->link;
    struct dango_error err = {0};
    int code = renew_handle(call, &err);
    if (code == 0)
        code = call->ops->send(call, &err);
    if (code == DANGO_ERR_DISCONNECTED) {
        mofka_link_lose(link, &err, false);
    } else if (code != 0) {
        call->state = MOFKA_CALL_ANSWERED;
        call->err = err;
        deliver_later(link);
    }
}

void mofka_link_send_ready(struct mofka_link *link)
{
    struct list_node *lists[] = {&link->ordered, &link->loose};
    for (size_t i = 0; i < 2; i++) {
        list_for_each (node, lists[i]) {
            struct mofka_call *call = container_of(node, struct mofka_call, node);
            if (link->state != MOFKA_LINK_UP)
                return;
            if (call->state == MOFKA_CALL_READY)
                send(call);
        }
    }
}

void mofka_link_submit(struct mofka_link *link, struct mofka_call *call)
{
    assert(!call->holds_message && call->state != MOFKA_CALL_SENT);
    atomic_fetch_add(&link->references, 1);
    call->state = MOFKA_CALL_READY;
    call->sent_before = false;
    dango_error_clear(&call->err);
    list_append(call->ops->ordered ? &link->ordered : &link->loose, &call->node);
    if (link->state == MOFKA_LINK_UP) {
        send(call);
    } else if (link->state == MOFKA_LINK_DOWN) {
        link->lost_ns = dango_clock_ns();
        link->pause_ms = 0;
        look_in_thread(link);
    }
}
