/*
 * na+sm: the transport between processes of one node. `na+sm://PID-N`, or `na+sm://NAME` if the user chose a name.
 *
 * Set-up. Every listening context has a Unix socket (SEQPACKET) in the abstract namespace, so that no file exists that
 * could be left behind. Who connects makes an anonymous memfd with two rings, and sends it with its hello, its event
 * descriptor and its doorbell page; the other side answers with its hello, event descriptor and doorbell page. After
 * that the socket carries nothing: its hang-up is the notice that the peer is gone, however it died.
 *
 * Messages. Each direction has a single-producer single-consumer ring (sm_ring.h). The receiver polls its rings; when
 * it sleeps, its doorbell page says so (wait.h), and only then a sender writes the event descriptor.
 *
 * Bulk. process_vm_readv/writev, if the kernel allows it: each side probes at set-up by reading a word of the other.
 * Before each system call it looks whether the peer has closed the connection, which then has given its memory to
 * others. Otherwise, or with DANGO_SM_NO_DIRECT=1 in the environment, the core copies by messages.
 *
 * Trust. Only processes of the same user (or root) are accepted. What they share with us is sealed against shrinking,
 * so that touching it cannot fault, and every index and length in it is checked before use. A doorbell must be a
 * non-blocking eventfd. (A process of the same user could stop or kill us anyway; the point is that its bugs cannot.)
 */
#ifndef DANGO_MERCURY_NA_SM_SM_H
#define DANGO_MERCURY_NA_SM_SM_H

#include "mercury/na/conn.h"
#include "mercury/na/sm/sm_ring.h"

#include <sys/types.h>

extern const struct na_transport na_sm_transport;

#define SM_MESSAGE_MAX (16u << 10) /* bytes of one message; larger payloads travel by bulk */

struct sm_domain {
    struct na_domain base;
    int reservation; /* socket bound to the name, so that no other process takes it */
    bool direct;     /* process_vm_* may be tried */
};

struct sm_context {
    struct na_context base;
    int listen_fd;   /* -1 unless the domain listens */
    int doorbell_fd; /* memfd of the doorbell page */
    void *doorbell;  /* the page: our epoch, read by peers */
    uint64_t probe;  /* random; peers try to read it to see whether direct access works */

    /* Owned by the progress loop. */
    struct sm_conn **open; /* connections whose rings are polled */
    size_t open_count, open_capacity;
    unsigned half_open; /* incoming connections without a hello */
    unsigned polls;     /* since the clock was looked at */
    int64_t looked_ns;  /* when epoll was asked last */

    _Atomic unsigned connecting; /* outgoing connections without an answer */
};

struct sm_conn {
    struct na_conn base;
    int sock;
    pid_t pid;             /* of the peer, as the kernel sees it */
    bool in_open;          /* listed in context->open */
    bool shaking_hands;    /* counted in context->half_open or ->connecting */
    void *map;             /* both rings */
    struct sm_producer tx; /* under the send lock */
    struct sm_consumer rx; /* progress loop */
    void *peer_doorbell;   /* read-only page with the peer's epoch */
    int peer_event_fd;
    uint32_t rung;       /* epoch of the peer that we rang for; under the send lock */
    _Atomic bool direct; /* process_vm_* works */
};

/* What travels on the socket. */
struct sm_hello {
    struct na_hello base;
    uint32_t ring_size;
    uint32_t reserved;
    uint64_t probe_address; /* of the sender's probe word */
    uint64_t probe_value;
};

struct sockaddr_un;

/* Abstract name of the socket of a context (or of the reservation, id < 0); returns the length for bind/connect. */
unsigned sm_socket_name(const char *host, int id, struct sockaddr_un *name);

/* ---- sm_conn.c ---- */
hg_return_t sm_connect(struct na_context *base, const char *host, uint8_t target_id, void *user, struct na_conn **conn);
/* Accepts what waits at the listening socket. */
void sm_accept(struct na_context *base);
/* The socket of a connection is readable or hung up. */
void sm_conn_event(struct na_conn *base, uint32_t events);
hg_return_t sm_conn_write(struct na_conn *base, const struct iovec *pieces, int count, struct na_loan *loan);
void sm_conn_shutdown(struct na_conn *base);
void sm_conn_free(struct na_conn *base);
/* Delivers up to `limit` messages; closes the connection on rubbish. True if there were any. */
bool sm_conn_drain(struct sm_conn *conn, unsigned limit);

/* ---- sm_memory.c: memory shared with peers ---- */
/* Sealed memfd of `size` bytes, mapped read-write. `*fd` is -1 on failure. NULL on failure, errno. */
void *sm_memory_create(const char *name, size_t size, bool readable_only_for_others, int *fd);
/* Maps a peer's memfd after checking that it is one, sealed, and has the right size. NULL if not. */
void *sm_memory_map(int fd, size_t size, bool writable);
bool sm_is_eventfd(int fd);

/* ---- sm_rma.c ---- */
hg_return_t sm_rma(struct na_conn *base, enum na_rma_op op, const struct na_segment *local, size_t local_count,
                   const struct na_segment *remote, size_t remote_count);
/* Tries to read the peer's probe word. */
bool sm_rma_probe(pid_t pid, uint64_t address, uint64_t value);

#endif
