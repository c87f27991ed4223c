/*
 * The transport interface: what the RPC core needs of a network, and what every network must offer.
 *
 * A *domain* is one endpoint with one address (an HG class has one). A domain has *contexts*, each with its own
 * connections, epoll descriptor and doorbell, so that contexts are progressed independently and share nothing. A
 * *connection* carries messages up to `message_max` bytes, in order, each delivered at most once, until it closes;
 * there is no reconnection below the core.
 *
 * Threads. Sending, connecting, waking, regions and access to memory may be called by any thread. `poll` and all
 * upcalls run under the caller's progress lock: one thread at a time per context. Connections become open and closed
 * inside `poll` only, therefore an upcall never meets a connection that changes state under it.
 *
 * Failures. Whatever goes wrong with a connection (peer died, closed, or sent something invalid) ends in exactly one
 * `closed` upcall, after the messages that had arrived completely. Nothing a peer sends can affect other connections.
 *
 * A new transport fills in a `struct na_transport`, is added to the table in na.c, and takes the state machine of a
 * connection (hello, backlog, flow control, failure) from conn.h and the sleeping protocol from wait.h.
 */
#ifndef DANGO_MERCURY_NA_NA_H
#define DANGO_MERCURY_NA_NA_H

#include "mercury_core_types.h"

#include <dango/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct na_conn;
struct na_context;
struct na_domain;

/* Longest text of an address, with the final NUL. */
#define NA_ADDRESS_MAX 128

/* Connections of one context, and of those, incoming ones that have not said hello yet. */
#define NA_CONNECTIONS_MAX 16384
#define NA_HALF_OPEN_MAX   256
#define NA_SILENT_MS       60000 /* for somebody who connects to say hello; the progress loop may be held up */

/* A piece of memory in the address space of its owner. */
struct na_segment {
    uint64_t address;
    uint64_t size; /* bytes */
};

/*
 * Memory that the payload behind a message is sent from, or received into, where it lies: no copy is made. Whoever
 * lends it must not touch or free it until `release`, which is called exactly once, with the reason if the bytes did
 * not go all the way. It may be called by any thread that uses the connection, with the connection's locks held: it
 * must not wait, and must not use the connection.
 */
struct na_loan {
    const struct iovec *pieces;
    int count;
    size_t size;     /* bytes, all pieces */
    uint64_t number; /* by which it is recalled; unique, never 0 */
    void (*release)(struct na_loan *loan, hg_return_t ret);
};

enum na_rma_op {
    NA_RMA_GET, /* remote to local */
    NA_RMA_PUT  /* local to remote */
};

/* Memory that peers may access without our doing, registered with a domain. Transports embed this. */
struct na_region {
    uint16_t size;      /* bytes of `access` */
    const void *access; /* what a peer needs to know; travels inside bulk handles */
};

/* One piece of a peer's region, to be read or written. */
struct na_access {
    enum na_rma_op op;
    const void *access; /* the description of the region, as it came from outside; valid during the call */
    uint16_t access_size;
    uint32_t segment;          /* of the region */
    uint64_t offset;           /* within that */
    uint64_t size;             /* bytes */
    uint64_t cookie, position; /* the core's; come back */
};

/* How the core hears of events; see above for threads. */
struct na_upcalls {
    /* A message. The bytes may lie in memory that the peer can still write to: read each of them once, into private
     * memory, before checking them. Anything but HG_SUCCESS closes the connection. */
    hg_return_t (*message)(void *arg, struct na_conn *conn, const void *bytes, size_t size);
    /* A message, as above, with a payload of `payload_size` bytes behind it. The core says where these go: `*loan`
     * covers as many bytes, or is NULL, which throws them away. Only if domain->loan_max > 0. */
    hg_return_t (*place)(void *arg, struct na_conn *conn, const void *bytes, size_t size, size_t payload_size,
                         struct na_loan **loan);
    /* The payload has arrived completely. The loan is the core's again; `release` is not called. */
    hg_return_t (*placed)(void *arg, struct na_conn *conn, struct na_loan *loan);
    /* An access has ended; `bytes` is what a get has brought, if it was successful. Never for a closed connection. */
    void (*accessed)(void *arg, struct na_conn *conn, const struct na_access *access, const void *bytes,
                     hg_return_t ret);
    /* An access that was refused with HG_AGAIN may be tried again. */
    void (*access_room)(void *arg);
    /* An incoming connection said hello; conn->peer names it. HG_SUCCESS accepts it. */
    hg_return_t (*accepted)(void *arg, struct na_conn *conn);
    /* Last upcall for this connection; `why` tells the calls that still waited. */
    void (*closed)(void *arg, struct na_conn *conn, hg_return_t why);
};

/* What a domain is opened with. */
struct na_open_info {
    const char *host; /* text after "://", "" if none */
    bool listen;
    const struct na_init_info_4_0 *options; /* never NULL */
};

struct na_transport {
    const char *class_name;     /* "na" */
    const char *name;           /* "sm" */
    const char *protocol;       /* "na+sm" */
    const char *const *aliases; /* other spellings of `protocol`, NULL-terminated */

    int (*domain_open)(const struct na_transport *transport, const struct na_open_info *info, struct na_domain **domain,
                       struct dango_error *err);
    void (*domain_close)(struct na_domain *domain);

    /* Brings the text of an address (without "protocol://") into its canonical form, or refuses it. Host names are
     * looked up only if `resolve`, which may block for as long as the system's resolver does. */
    hg_return_t (*address_normalise)(const char *host, bool resolve, char *canonical, size_t size);

    hg_return_t (*context_open)(struct na_domain *domain, uint8_t id, const struct na_upcalls *upcalls, void *arg,
                                struct na_context **context);
    void (*context_close)(struct na_context *context); /* all connections are closed */

    /* Starts connecting; the connection can be sent to at once. `host` is canonical, `user` becomes conn->user, and the
     * caller gets a reference. Fails if nobody listens. */
    hg_return_t (*connect)(struct na_context *context, const char *host, uint8_t target_id, void *user,
                           struct na_conn **conn);

    /* Delivers what has arrived; `all` also looks at sockets when that costs a system call. True if anything happened.
     */
    bool (*poll)(struct na_context *context, bool all);
    bool polls_by_system_call; /* even if there is nothing */
    /* Whether poll would find something without a system call. */
    bool (*has_work)(struct na_context *context);
    /* Between the two, small messages that the calling thread sends may wait for each other, until it polls. The result
     * of `cork` goes to `uncork`, on whichever thread that runs. NULL: of no use. */
    const void *(*cork)(struct na_context *context);
    void (*uncork)(struct na_context *context, const void *corked);

    /* Registers memory for peers to read and write, as the HG_BULK_* `rights` say. NULL: impossible, or not worth it;
     * peers ask by messages then. Any thread. Both functions NULL: never possible. */
    struct na_region *(*region_open)(struct na_domain *domain, const struct na_segment *segments, uint32_t count,
                                     uint8_t rights);
    /* From here on no peer accesses the memory. */
    void (*region_close)(struct na_domain *domain, struct na_region *region);

    /* The rest is called by conn.c. */

    /* Hands one message over, with a payload behind it unless `loan` is NULL; HG_AGAIN if there is no room now, any
     * other error breaks the connection. Only with HG_SUCCESS the loan is the transport's. Send lock held. */
    hg_return_t (*conn_write)(struct na_conn *conn, const struct iovec *pieces, int count, struct na_loan *loan);
    /* Gives back a loan, if the connection has it: what is still to be sent is copied, what is still to arrive is
     * thrown away. Send lock held. NULL if loan_max is 0. */
    hg_return_t (*conn_recall)(struct na_conn *conn, uint64_t loan_number);
    /* Direct access to the peer's memory, finished on return. HG_OPNOTSUPPORTED: not possible on this connection, the
     * core then copies by messages. The two lists cover the same number of bytes. NULL: never possible. */
    hg_return_t (*conn_rma)(struct na_conn *conn, enum na_rma_op op, const struct na_segment *local, size_t local_count,
                            const struct na_segment *remote, size_t remote_count);
    /* Starts an access to a region of the peer, of up to access_max bytes. What a put sends (`pieces`) is copied before
     * this returns, what a get brings is in the transport's memory until `accessed`: an access that nobody waits for
     * any more does no harm. HG_SUCCESS: `accessed` will be called, unless the connection closes before. HG_AGAIN: too
     * many are under way; `access_room` will be called. HG_OPNOTSUPPORTED: not to that region. Connection open, send
     * lock held. NULL: never. */
    hg_return_t (*conn_access)(struct na_conn *conn, const struct na_access *access, const struct iovec *pieces,
                               int count);
    /* Closes descriptors, unmaps. Send lock held, state is closed. */
    void (*conn_shutdown)(struct na_conn *conn);
    void (*conn_free)(struct na_conn *conn);
};

/* One endpoint; transports embed this as their first member. */
struct na_domain {
    const struct na_transport *transport;
    bool listening;
    char host[NA_ADDRESS_MAX];    /* canonical text after "://" */
    char address[NA_ADDRESS_MAX]; /* what others look up: protocol://host */
    size_t message_max;           /* bytes of the largest message */
    size_t loan_max;              /* bytes of the largest payload behind one; 0: there are none */
    size_t access_max;            /* bytes of the largest access to a region; 0: there are none */
};

/* ---- na.c: the built-in transports ---- */

/* The transports of this build, NULL-terminated. */
const struct na_transport *const *na_transports(void);

/* Opens "PROTOCOL[://HOST]". The error names the protocols that are built in. */
int na_domain_open(const char *protocol, bool listen, const struct na_init_info_4_0 *options, struct na_domain **domain,
                   struct dango_error *err);
void na_domain_close(struct na_domain *domain);

/* Checks a full address ("na+sm://1-0", "sm://1-0") against the domain's transport; writes the canonical host part.
 * HG_PROTONOSUPPORT for another protocol, HG_INVALID_ARG for a malformed one. */
hg_return_t na_address_parse(const struct na_domain *domain, const char *address, char *host, size_t size);

/* Writes "protocol://host". */
void na_address_format(const struct na_transport *transport, const char *host, char *address, size_t size);

#endif
