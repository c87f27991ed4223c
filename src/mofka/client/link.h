/*
 * A link: the way of one sink or source to its partition. It has the session, sends calls and delivers their answers,
 * and when the server is lost it finds the partition again, opens a new session and goes on.
 *
 *     up ──────► lost ──────► looking ──────► up
 *     ▲  something   all calls   │  ▲           sends again what was not answered, in order
 *     │  failed      are back    │  │
 *     │                          ▼  │ a call is submitted
 *     └──────────────────────── down            nothing to do, or not found in time: what waited has failed
 *
 * Calls of a link are *ordered* (batches, fetches) or *loose* (reads, acknowledgements). Ordered ones are sent and their
 * answers delivered in the order of submission, by one thread at a time, without the lock. Loose ones are delivered when
 * they are answered. A call is submitted once and completed once, however often it is sent.
 *
 * Lost is a session whose connection broke, that the server does not know any more, or that does not answer in time. The
 * calls under way are canceled. When the connection is not known to be dead, it is closed: a server that was merely
 * stopped then finds that it may not touch our memory any more. An ordered call without an answer is sent again in the new
 * session, and so is every one behind it, answered or not. That is harmless: the partition knows batches that it has
 * (mofka/log/producers.h), and a fetch begins behind what has been delivered.
 *
 * Looking for the partition (relink.c): its new session is tried where it was, then where the master database says that it
 * is now (resolve.c), again and again with growing, jittered pauses, for at most the driver's reconnect_timeout_ms. Then, or
 * when the partition refuses for good, everything that waits fails; the next call makes a new start.
 *
 * Threads: submitting from any thread; the rest happens in the engine's. The lock is the link's user's, too: what it keeps
 * beside the calls may be guarded by it. No lock of the core is taken under it.
 */
#ifndef DANGO_MOFKA_CLIENT_LINK_H
#define DANGO_MOFKA_CLIENT_LINK_H

#include "mofka/client/engine.h"
#include "mofka/client/lease.h"
#include "util/list.h"

#include <pthread.h>
#include <stdatomic.h>

struct mofka_driver;
struct mofka_topic;
struct mofka_link;
struct mofka_call;

struct mofka_link_ops {
    /* Opens a session of the partition at link->target, and sets link->token. Blocks. All answers that came in order have
     * been delivered. */
    int (*open)(struct mofka_link *link, struct dango_error *err);
    /* Whether an answer with this code forbids to come back. May be NULL: none does. */
    bool (*is_dismissal)(int code);
};

struct mofka_call_ops {
    enum mofka_rpc rpc;
    bool ordered;
    /* Makes the request and gives it to mofka_link_start. Under the lock. A failure is the outcome of the call. */
    int (*send)(struct mofka_call *call, struct dango_error *err);
    /* The outcome: call->err, or the answer in call->message, to be dropped. Without the lock. The call is its owner's
     * again, and may be gone when this returns. */
    void (*complete)(struct mofka_call *call);
};

enum mofka_call_state { MOFKA_CALL_READY, MOFKA_CALL_SENT, MOFKA_CALL_ANSWERED };

/* Embedded in its user's structure; initialised with mofka_call_init, freed with mofka_call_fini. */
struct mofka_call {
    struct list_node node; /* its owner's, while it is not submitted */
    struct mofka_link *link;
    const struct mofka_call_ops *ops;
    enum mofka_call_state state;
    bool sent_before; /* in this or an earlier session: the server may have done it */
    hg_handle_t handle;
    uint32_t session; /* that the handle was made for */
    struct mofka_message message;
    bool holds_message;
    struct dango_error err;
};

enum mofka_link_state { MOFKA_LINK_UP, MOFKA_LINK_LOST, MOFKA_LINK_LOOKING, MOFKA_LINK_DOWN };

struct mofka_link {
    struct mofka_driver *driver;
    const struct mofka_link_ops *ops;
    const char *topic; /* name; the topic's */
    const uint8_t *uuid;
    /* The session. They change only while nothing is under way. */
    struct mofka_target target;
    uint64_t token;
    uint32_t session; /* counts them */
    struct mofka_lease lease;

    pthread_mutex_t lock; /* guards the rest */
    enum mofka_link_state state;
    struct list_node ordered, loose; /* calls submitted and not completed */
    size_t under_way;
    bool delivering, leased, closing;
    hg_handle_t asking; /* mofka_link_ask waits for its answer; NULL: no */
    bool served;        /* something was answered in this session */
    bool discarding;    /* until there is another session: answers to ordered calls */
    int64_t up_ns;      /* when it began */
    int64_t lost_ns;    /* when the search began that may still go on; 0: never yet */
    double pause_ms;    /* before the next try */
    bool reported;      /* that it is lost */
    struct dango_error cause, dismissal;
    atomic_size_t references; /* the user's, one per call submitted, one per callback or ULT to come */
    ABT_eventual unused;      /* set when there is none left */
};

/* Finds the partition and opens the first session. On failure there is nothing to close. Blocks. */
int mofka_link_open(struct mofka_link *link, struct mofka_topic *topic, size_t partition,
                    const struct mofka_link_ops *ops, struct dango_error *err);
/* Ends the session and completes all calls, with DANGO_ERR_CANCELED if need be. Blocks. */
void mofka_link_close(struct mofka_link *link);

/* For `open`: asks the partition for a session, and blocks; closing the link ends it with DANGO_ERR_CANCELED. */
int mofka_link_ask(struct mofka_link *link, enum mofka_rpc rpc, const diaspora_segment *parts, size_t count,
                   void *answer, size_t answer_size, double timeout_ms, struct dango_error *err);

void mofka_call_init(struct mofka_call *call, struct mofka_link *link, const struct mofka_call_ops *ops);
void mofka_call_fini(struct mofka_call *call);
void mofka_call_drop_message(struct mofka_call *call);

/* Under the lock. Sends it now or when the link is up. Completion comes later, never from inside. */
void mofka_link_submit(struct mofka_link *link, struct mofka_call *call);
/* For `send`. timeout_ms 0: the call may wait as long as the session lives. */
int mofka_link_start(struct mofka_call *call, const diaspora_segment *parts, size_t count, double timeout_ms,
                     struct dango_error *err);
/* The session is lost. Under the lock. `alive`: the connection may still work. */
void mofka_link_lose(struct mofka_link *link, const struct dango_error *err, bool alive);

/* Another session over another connection, and all ordered calls once more, answered or not: for `complete` of an ordered
 * one that says that those behind it are of no use. Under the lock. */
void mofka_link_restart(struct mofka_link *link, const struct dango_error *err);

/* ---- inside: between link.c and relink.c ---- */

/* The body of the ULT that looks for the partition. */
void mofka_link_look(void *link);
/* Sends what is ready, in order, until the link is lost again. Under the lock. */
void mofka_link_send_ready(struct mofka_link *link);
/* Gives everything that waits this outcome. Under the lock. */
void mofka_link_fail_calls(struct mofka_link *link, const struct dango_error *err);
/* Delivers what can be, and looks for the partition if that is next. Without the lock. */
void mofka_link_deliver(struct mofka_link *link);
void mofka_link_drop(struct mofka_link *link, size_t references);
/* Ends the lease if there is one; `goodbye`: tells the server. */
int mofka_link_end_lease(struct mofka_link *link, bool goodbye, struct dango_error *err);
int mofka_link_begin_lease(struct mofka_link *link, struct dango_error *err);

#endif
