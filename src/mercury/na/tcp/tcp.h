/*
 * tcp: the transport over plain sockets. `tcp://HOST:PORT`, IPv4 and IPv6.
 *
 * Set-up. A domain has one socket bound to its address; every context of a listening domain accepts from it. Who
 * connects sends a hello first: who it is (its own address, listening or not), which context it wants, and its *epoch*,
 * a random number that tells a restarted process from the one that had the address before. The other side answers with
 * its own. A connection that arrives in a context which it does not want is handed over to the one that it wants.
 *
 * One connection per pair of endpoints carries the requests of both directions. If both connect at the same time, the
 * connection that was started by the lower address (as text) wins: its owner parks the other one until its own is
 * open, and the other side takes the winner's socket over into the connection that it has already sent on.
 *
 * Messages. A frame is a header of 8 bytes (size of the message, size of the payload), the message, the payload.
 * Messages are read into one buffer per context and delivered from there. Payloads go directly from and into lent
 * memory (na_loan): the core says where, after it has checked the message in front of them.
 *
 * Sending. From the memory of the caller in pieces, small messages from a copy; what the kernel does not take is copied
 * (the message) or stays lent (the payload), and goes out when the socket is writable. While a thread has the context
 * *corked*, its small messages are collected and leave in one system call, at the latest when it polls. Further
 * messages wait in the backlog of conn.h, which is limited.
 *
 * Failure. An end of file or error of the socket closes the connection at once; a host that vanishes is noticed by
 * keep-alive or TCP_USER_TIMEOUT within TCP_DEAD_MS.
 *
 * Trust. Sizes are checked before anything is read into place, and until the hello nothing but a hello is read, and
 * who says none is let go (listen.c). The address in a hello is taken for the peer's only if the connection comes from
 * that host; otherwise the peer is called by the address that the connection comes from. Texts from peers are never
 * looked up as names.
 *
 * Blocking. Only domain_open and the normalising of an address with a host name ask the resolver; connecting and
 * everything in the progress loop never block.
 */
#ifndef DANGO_MERCURY_NA_TCP_TCP_H
#define DANGO_MERCURY_NA_TCP_TCP_H

#include "mercury/na/address.h"
#include "mercury/na/conn.h"

extern const struct na_transport na_tcp_transport;

#define TCP_MESSAGE_MAX (32u << 10)  /* bytes of one message; larger payloads travel by bulk */
#define TCP_LOAN_MAX    (512u << 10) /* bytes of payload behind one message */
#define TCP_CORK_MAX    (16u << 10)  /* bytes collected while corked */
#define TCP_READ_MAX    (128u << 10) /* bytes read at once */
#define TCP_READ_SMALL  512u         /* the same when payloads are expected, so that little of them needs copying */
#define TCP_DEAD_MS     20000        /* a host that does not acknowledge for so long is dead */
#define TCP_HOT         4            /* sockets that are read without asking epoll first */
#define TCP_CORKED      64           /* connections with collected messages */
#define TCP_CONTEXTS    256

/* In front of every message; little endian. */
struct tcp_frame {
    uint32_t head_size;    /* bytes of the message, 1 to TCP_MESSAGE_MAX */
    uint32_t payload_size; /* bytes behind it, up to TCP_LOAN_MAX */
};

/* The first message of each side. */
struct tcp_hello {
    struct na_hello base;
    uint64_t epoch; /* never 0 */
};

struct tcp_domain {
    struct na_domain base;
    union na_ip self;     /* what is published */
    int sock;             /* bound; accepts if the domain listens, else keeps the address ours */
    uint64_t epoch;       /* random */
    pthread_mutex_t lock; /* guards the rest, and the `handover` of contexts */
    struct tcp_context *contexts[TCP_CONTEXTS];
};

/* An accepted socket on its way to the context that it wants. */
struct tcp_handover {
    struct tcp_handover *next;
    int sock;
    struct tcp_hello hello;
};

struct tcp_conn;

struct tcp_context {
    struct na_context base;
    struct tcp_handover *handover; /* under domain->lock */
    _Atomic bool has_handover;

    /* Owned by the progress loop. */
    char *input; /* TCP_READ_MAX bytes */
    struct tcp_conn *hot[TCP_HOT];
    unsigned hot_next; /* place of the next one */
    unsigned polls;    /* since epoll was asked */
    unsigned half_open, parked;

    _Atomic unsigned connecting; /* outgoing connections without an answer */

    _Atomic(const void *) corker; /* thread that has corked the context; identity only; written under cork_lock */
    pthread_mutex_t cork_lock;    /* guards the rest */
    struct tcp_conn *corked[TCP_CORKED];
    unsigned corked_count;
};

enum tcp_stage {
    TCP_STAGE_CONNECTING, /* outgoing, until the socket is connected */
    TCP_STAGE_GREETING,   /* until the other side's hello */
    TCP_STAGE_PARKED,     /* incoming: our own connection to that peer is to win */
    TCP_STAGE_OPEN
};

struct tcp_conn {
    struct na_conn base;
    int sock;
    enum tcp_stage stage;   /* progress loop */
    bool shaking_hands;     /* counted in context->half_open or ->connecting */
    struct tcp_hello hello; /* of the peer; valid once received */

    /* Sending, under the send lock. */
    char *out; /* bytes of messages that wait to be sent: TCP_OUT_MAX, allocated at first use */
    size_t out_start, out_end;
    struct na_loan *out_loan; /* payload behind those bytes, partly sent */
    size_t out_sent;          /* bytes of it */
    bool blocked;             /* the socket was full: EPOLLOUT tells when to go on */
    bool watches_output;      /* EPOLLOUT is asked for */

    /* Receiving, progress loop. */
    char *partial; /* the beginning of a frame, allocated */
    size_t partial_size;
    size_t discard;     /* bytes of payload to throw away */
    unsigned expectant; /* reads to come that will be small */
    unsigned misses;    /* reads in vain while hot */
    bool hot;

    pthread_mutex_t in_lock; /* guards the memory behind in_loan while it is written */
    struct na_loan *in_loan; /* payload that is arriving */
    size_t in_done;          /* bytes of it */
};

/* ---- tcp_socket.c ---- */
void tcp_socket_tune(int sock);
/* A socket that connects to the address of this text; -1 and `*ret`. */
int tcp_socket_connect(const struct tcp_domain *domain, const char *host, hg_return_t *ret);
/* A socket that nobody listens to may connect to itself. */
bool tcp_socket_is_echo(int sock);
/* Is the other end on the host that its hello names? If not it is called by the address that the connection comes from:
 * nobody else can be reached or be taken for somebody by that name, and requests to it go over this connection. False:
 * there is no other end any more. */
bool tcp_socket_prove(int sock, char *name, size_t size);
/* Where the connection comes from, for messages; `text` or a constant. */
const char *tcp_socket_peer(int sock, char *text, size_t size);
/* Ends the stream so that what was sent last still arrives. */
void tcp_socket_close(int sock);

/* ---- tcp_conn.c: from connecting to open, and the end ---- */
hg_return_t tcp_connect(struct na_context *base, const char *host, uint8_t target_id, void *user,
                        struct na_conn **conn);
/* Accepts what waits at the listening socket. */
void tcp_accept(struct na_context *base);
/* Takes over sockets that other contexts accepted. */
bool tcp_take_handover(struct tcp_context *context);
/* The first message of the other side. */
hg_return_t tcp_greeted(struct tcp_conn *conn, const void *bytes, size_t size, bool more_follows);
/* The socket of a connecting connection became writable, or failed. */
hg_return_t tcp_connected(struct tcp_conn *conn);
void tcp_conn_shutdown(struct na_conn *base);
void tcp_conn_free(struct na_conn *base);
/* Asks epoll for input, and for room if `output`. -1 and errno. */
int tcp_watch(struct tcp_conn *conn, int operation, bool output);
hg_return_t tcp_send_hello(struct tcp_conn *conn, uint8_t target_id);
void tcp_open(struct tcp_conn *conn);
/* Answers an incoming hello and opens the connection. */
hg_return_t tcp_welcome(struct tcp_conn *conn);

/* ---- tcp_pair.c: two connections for one pair ---- */
/* Whose hello is there: welcomes it, lets one of ours adopt it, or parks it. */
hg_return_t tcp_settle(struct tcp_conn *conn);
/* Decides about parked connections whose rival has opened or gone. */
bool tcp_decide_parked(struct tcp_context *context);

/* ---- tcp_send.c ---- */
hg_return_t tcp_conn_write(struct na_conn *base, const struct iovec *pieces, int count, struct na_loan *loan);
/* The socket has room again. */
void tcp_writable(struct tcp_conn *conn);
const void *tcp_cork(struct na_context *base);
void tcp_uncork(struct na_context *base, const void *corked);
/* Sends what the calling thread has collected: it is about to look for answers. */
void tcp_flush_own(struct tcp_context *context);
/* Gives back loans, frees buffers. Send lock held. */
void tcp_send_fini(struct tcp_conn *conn, hg_return_t why);

/* ---- tcp_receive.c ---- */
/* Reads and delivers. HG_SUCCESS: something; HG_AGAIN: nothing there; else the connection must be closed. */
hg_return_t tcp_receive(struct tcp_conn *conn);
void tcp_receive_fini(struct tcp_conn *conn, hg_return_t why);

/* ---- both ---- */
hg_return_t tcp_conn_recall(struct na_conn *base, uint64_t loan_number);
/* Pieces of `loan` from `offset` on, at most `max`; returns their number, and their bytes in `*bytes`. */
int tcp_loan_pieces(const struct na_loan *loan, size_t offset, struct iovec *pieces, int max, size_t *bytes);
/* The code for an errno of a socket. */
hg_return_t tcp_errno(int errnum);

#endif
