/*
 * The state machine of a connection, shared by the transports that exchange messages over a link of their own.
 *
 *     connecting --hello answered--> open --any failure, or local close--> closed
 *
 * *Hello.* The side that connects sends a hello first (who it is, which context it wants), the other side answers with
 * its own; each transport adds what it needs behind it. Nothing else may be sent before.
 * *Framing.* One na_conn_send is one message on the other side.
 * *Flow control.* What the link cannot take now (not open yet, no room) is copied to a backlog, in order, and flushed
 * by the progress loop; the backlog is limited, beyond the limit senders get HG_AGAIN.
 * *Failure.* A sender that meets a broken link or a corrupt peer marks the connection; the progress loop closes it,
 * discards the backlog and tells the core once.
 *
 * A connection is reference counted: the context holds one reference until it is closed, the core one per call that
 * uses it. After closing it only answers HG_NODEV.
 */
#ifndef DANGO_MERCURY_NA_CONN_H
#define DANGO_MERCURY_NA_CONN_H

#include "mercury/na/na.h"
#include "mercury/na/wait.h"
#include "util/list.h"

#include <pthread.h>
#include <stdatomic.h>

#define NA_BACKLOG_MAX (64u << 20) /* bytes waiting for room, per connection */

enum na_conn_state { NA_CONN_CONNECTING, NA_CONN_OPEN, NA_CONN_CLOSED };

/* State of one context that all transports have; embedded as their first member. */
struct na_context {
    struct na_domain *domain;
    uint8_t id;
    struct na_wait wait;
    struct na_upcalls upcalls;
    void *upcall_arg;
    struct list_node conns;     /* every connection that is not closed */
    pthread_mutex_t conns_lock; /* guards the list; taken by connecting threads and the progress loop */
    size_t conn_count;
    _Atomic unsigned attention; /* connections with a backlog or marked broken */

    /* Listening: progress loop only. */
    int listen_sock;        /* -1: does not */
    int listen_timer;       /* ends a pause */
    bool listen_off;        /* out of descriptors: not accepting for a moment */
    bool listen_told;       /* and the user knows; until accepting works again */
    int64_t listen_look_ns; /* when those that say nothing are looked at again; 0: there are none */
};

struct na_queued;

struct na_conn {
    struct na_context *context; /* valid until the connection is closed */
    const struct na_transport *transport;
    struct list_node link; /* in context->conns */
    _Atomic unsigned refs;
    bool incoming;
    int64_t silent_ns;         /* of an incoming one: since when it has not said hello; 0 once it has. Progress loop */
    bool silence_seen;         /* in a look at those that say nothing; under conns_lock */
    char peer[NA_ADDRESS_MAX]; /* canonical host part of the other side's address */
    uint8_t peer_context_id;   /* context of the other side */
    _Atomic unsigned bad_inputs; /* payloads that did not decode; counted by the core */
    void *user;                  /* the core's; set by `accepted` or after connecting */

    pthread_mutex_t lock;                     /* the send lock: guards everything below, and the link's sending side */
    _Atomic int state;                        /* enum na_conn_state; written under the lock */
    _Atomic int broken;                       /* an hg_return_t found by a sender; the progress loop closes */
    struct na_queued *backlog, *backlog_last; /* oldest and newest message that waits for room */
    size_t backlog_bytes;
    _Atomic bool has_backlog; /* readable without the lock */
};

/* Common part of a hello, little endian. */
struct na_hello {
    uint32_t magic;
    uint16_t version;
    uint8_t source_id; /* context that speaks */
    uint8_t target_id; /* context that is wanted */
    char host[NA_ADDRESS_MAX];
};

/* ---- contexts ---- */
int na_context_init(struct na_context *context, struct na_domain *domain, uint8_t id, const struct na_upcalls *upcalls,
                    void *arg, _Atomic uint32_t *epoch);
void na_context_fini(struct na_context *context); /* no connection may be left */

/* ---- listening ---- */
/* Watches a listening socket, which stays the caller's: input on it is an event of the context. -1 and errno. */
int na_listen_start(struct na_context *context, int sock);
/* Accepts without blocking: a socket, or -1. When descriptors or memory are short, listening pauses; the context gets
 * its event again after a moment. */
int na_listen_accept(struct na_context *context);
/* Ends a pause; nothing if there is none. */
void na_listen_resume(struct na_context *context);
/* Closes the connection that has been silent for longest; nothing if all have said hello. */
void na_listen_drop_oldest(struct na_context *context);

/* ---- life of a connection ---- */
/* Adds a connecting connection to the context; one reference for the context and, unless it is incoming, one for the
 * caller, because the progress loop may close it at once. HG_NOMEM beyond the limit. The transport
 * has zeroed it, and set peer, peer_context_id and user of one that it connects itself. */
hg_return_t na_conn_init(struct na_conn *conn, struct na_context *context, bool incoming);
void na_conn_ref(struct na_conn *conn);
void na_conn_release(struct na_conn *conn);
static inline bool na_conn_is_open(struct na_conn *conn)
{
    return atomic_load_explicit(&conn->state, memory_order_acquire) == NA_CONN_OPEN;
}
static inline bool na_conn_is_closed(struct na_conn *conn)
{
    return atomic_load_explicit(&conn->state, memory_order_acquire) == NA_CONN_CLOSED;
}

/* ---- progress loop only ---- */
void na_conn_open(struct na_conn *conn);
/* Ends the connection; calls conn_shutdown, then the `closed` upcall unless it never was accepted. */
void na_conn_close(struct na_conn *conn, hg_return_t why);
/* Sends what is in the backlog; closes the connection if a sender found it broken. True if something moved. */
bool na_conn_attend(struct na_conn *conn);

/* ---- any thread ---- */
hg_return_t na_conn_send(struct na_conn *conn, const struct iovec *pieces, int count);
/* The same with a payload behind the message. Only after HG_SUCCESS the loan will be released, perhaps before this
 * returns. */
hg_return_t na_conn_send_loan(struct na_conn *conn, const struct iovec *pieces, int count, struct na_loan *loan);
/* After this the loan has been released, unless `placed` is being called for it. It may be gone already. */
void na_conn_recall(struct na_conn *conn, uint64_t loan_number);
/* A private copy of the bytes from `offset` on; NULL: no memory. */
struct na_loan *na_loan_copy(const struct na_loan *loan, size_t offset);
/* Marks the connection for closing by the progress loop. */
void na_conn_break(struct na_conn *conn, hg_return_t why);
hg_return_t na_conn_rma(struct na_conn *conn, enum na_rma_op op, const struct na_segment *local, size_t local_count,
                        const struct na_segment *remote, size_t remote_count);
/* As conn_access in na.h; HG_OPNOTSUPPORTED also while the connection is not open yet. */
hg_return_t na_conn_access(struct na_conn *conn, const struct na_access *access, const struct iovec *pieces, int count);

/* ---- hello ---- */
void na_hello_fill(struct na_hello *hello, const struct na_context *context, uint8_t target_id);
/* Checks a hello from a peer and takes over its name. */
hg_return_t na_hello_accept(struct na_conn *conn, const struct na_hello *hello);

/* ---- polling ---- */
/* Attends to connections with a backlog, or broken by a sender. */
bool na_context_attend_all(struct na_context *context);
static inline bool na_context_attend(struct na_context *context)
{
    return atomic_load_explicit(&context->attention, memory_order_acquire) > 0 && na_context_attend_all(context);
}
/* Asks epoll without waiting: input on the listening socket, and events of connections, which stay alive until all have
 * been handled. True if there was anything. For contexts that watch their connections by epoll. */
bool na_context_poll_events(struct na_context *context, void (*listener)(struct na_context *context),
                            void (*event)(struct na_conn *conn, uint32_t events));
/* Before a socket of a connection is closed or given away: closing does not end its events while a forked child has a
 * copy. */
void na_context_unwatch(struct na_context *context, int sock);
/* Closes all connections. */
void na_context_close_conns(struct na_context *context);

#endif
