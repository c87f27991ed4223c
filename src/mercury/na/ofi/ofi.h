/*
 * ofi: the transport over libfabric, for fabrics that have a provider there: `ofi+tcp://HOST:PORT`, `ofi+verbs://…`,
 * `ofi+cxi://…`. The library is in a plug-in (libfabric.h) that is loaded when such a protocol is opened.
 *
 * Endpoints. A domain is one reliable-datagram endpoint (FI_EP_RDM) with one completion queue; it has one context.
 * Addresses are those of sockets where the provider has such, else the bytes of the provider's address in hexadecimal.
 *
 * Connections are ours; the endpoint knows none. Who connects chooses a random *token* and sends HELLO with it; the
 * other side sends WELCOME, with a token of its own, to the address that the HELLO names; from then on every frame
 * carries the receiver's token, and a frame without a known one is nobody's. An incoming connection is accepted with
 * the first frame that carries its token: then its peer has the address that it names, because it received the WELCOME
 * there.
 *
 * Frames are copied into buffers that the provider may read at its leisure, payloads included, and received into a few
 * large buffers that it fills one frame after the other; payloads are copied from there into lent memory. Large frames
 * the provider fetches by remote memory access of its own, and smaller ones behind them are complete before: frames
 * that are ahead of their turn (by their numbers) wait in copies (ofi_order.c).
 *
 * Bulk data go by remote memory access where the provider lets its hardware do that (`rma` in the table of protocols;
 * DANGO_OFI_RMA=1 or 0 in the environment decides otherwise): see ofi_rma.c. Else they are payloads of frames.
 *
 * Failure. The endpoint does not say that a peer is gone. Every TICK_MS each open connection on which nothing was heard
 * sends a PING: nothing is expected in return (the peer may be busy or stopped for as long as it likes), but to a peer
 * that is gone it fails, or cannot be handed over. Another process may have its address by now: a PING says who sends
 * it, and who does not know its token answers GONE, with an epoch. What cannot be handed over, PING or HELLO, is tried
 * again every RETRY_MS, and after KNOCK_MS, where the provider has sockets, we knock there (ofi_probe.c): a peer that
 * refuses is gone, else an open one that could not be sent to for UNSENDABLE_MS is. A HELLO without an answer is looked
 * after in the same way, once a TICK: what it met may have been about to close. Who closes in an orderly way says BYE.
 *
 * Threads. Sending takes the connection's send lock, then tx_lock; the table of tokens has a lock of its own.
 * Completions and timers are handled by the progress loop.
 */
#ifndef DANGO_MERCURY_NA_OFI_OFI_H
#define DANGO_MERCURY_NA_OFI_OFI_H

#include "mercury/na/conn.h"
#include "mercury/na/ofi/libfabric.h"

#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_rma.h>

#include <uthash.h>

#define OFI_MESSAGE_MAX     (32u << 10)
#define OFI_LOAN_MAX        (512u << 10)
#define OFI_RECV_BUFFERS    4
#define OFI_RECV_SIZE       (4u << 20)
#define OFI_TX_MAX          (32u << 20) /* bytes under way per domain */
#define OFI_ACCESSES_MAX    16 /* under way per domain; a few, so that frames find room in the queue of the provider */
#define OFI_REGION_MIN      (16u << 10) /* bytes of memory that is worth registering */
#define OFI_REGION_PIECE    (4u << 10)  /* the same, of its segments on average */
#define OFI_REGION_SEGMENTS 32
#define OFI_HALF_OPEN_MAX   1024  /* without a descriptor each, so more than others let connect at a time */
#define OFI_CONNECT_MS      10000 /* for the other side to answer a HELLO */
#define OFI_TICK_MS         1000
#define OFI_RETRY_MS        50 /* the same while a connection waits for the provider to take something */
#define OFI_KNOCK_MS        100
#define OFI_UNSENDABLE_MS   3000
#define OFI_BYE_MS          3000        /* for what was sent before a BYE to arrive */
#define OFI_GONE_MAX        64          /* PINGs of strangers that are answered per TICK */
#define OFI_ADDRESS_MAX     64          /* bytes of a provider's address */
#define OFI_EARLY_MAX       (32u << 20) /* what may be sent behind a frame that has not arrived */
#define OFI_EARLY_COST      128         /* of that for each frame, besides its bytes */

enum ofi_kind { OFI_HELLO = 1, OFI_WELCOME, OFI_MESSAGE, OFI_PING, OFI_BYE, OFI_GONE };

/* In front of everything; little endian. */
struct ofi_frame {
    uint64_t token; /* of the connection at the receiver; 0 in HELLO */
    uint32_t kind;
    uint32_t head_size;    /* bytes of the message, or of the hello */
    uint32_t payload_size; /* bytes behind it */
    uint32_t number;       /* of MESSAGE and BYE: how many there were before on this connection, modulo 2^32; else 0 */
};

#define OFI_FRAME_MAX (sizeof(struct ofi_frame) + OFI_MESSAGE_MAX + OFI_LOAN_MAX)

/* HELLO, WELCOME, PING and GONE. */
struct ofi_hello {
    struct na_hello base;
    uint64_t token; /* of the connection at the sender, never 0 */
    uint64_t epoch; /* random number of the sender's process: one that was restarted has another */
};

/* What the protocols differ in. */
struct ofi_transport {
    struct na_transport base;
    const char *provider; /* libfabric's name */
    const char *hardware; /* what is missing when there is none */
    bool has_ip;          /* addresses are those of sockets */
    bool listens;         /* and sockets of the provider's listen there */
    bool rma;             /* memory is accessed by hardware, which forgets a registration when it is closed */
};

struct ofi_conn;

/* A frame on its way out, or what a memory access moves. */
struct ofi_tx {
    struct fi_context2 context; /* the provider's; first */
    struct list_node link;      /* in a free list, or among those under way */
    struct ofi_conn *conn;      /* with a reference */
    struct fid_mr *mr;
    struct na_access access; /* size 0: it is a frame */
    size_t capacity, size;
    bool numbered; /* a MESSAGE or BYE that is under way */
    char bytes[];
};

struct ofi_recv {
    struct fi_context2 context; /* first */
    struct fid_mr *mr;
    char *bytes;
};

/* Description of a region, as it travels. */
struct ofi_region_info {
    uint64_t epoch; /* of the owner's hello */
    struct {
        uint64_t base, key; /* little endian; of a segment */
    } segments[OFI_REGION_SEGMENTS];
};

struct ofi_region {
    struct na_region base;
    struct fid_mr *mrs[OFI_REGION_SEGMENTS]; /* NULL: that segment is empty */
    struct ofi_region_info info;
};

/* A frame ahead of its turn. */
struct ofi_early {
    UT_hash_handle hh; /* by number */
    struct ofi_frame frame;
    char bytes[]; /* head and payload */
};
_Static_assert(sizeof(struct ofi_early) <= OFI_EARLY_COST, "what waits costs no more than senders count");

struct ofi_context;

struct ofi_domain {
    struct na_domain base;
    const struct dango_libfabric *library;
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_av *av;
    struct fid_cq *cq;
    struct fid_ep *endpoint;
    int cq_fd;
    size_t address_size; /* bytes of the provider's addresses */
    uint64_t epoch;
    struct ofi_context *context; /* NULL: none */
    _Atomic unsigned peer_count; /* addresses in the provider's table */
    struct ofi_recv recvs[OFI_RECV_BUFFERS];
    _Atomic unsigned accesses;         /* under way */
    _Atomic uint64_t accesses_started; /* ever */
    _Atomic unsigned regions;          /* that are open */

    pthread_mutex_t tx_lock;     /* guards the rest */
    struct list_node tx_free[2]; /* small and large ones */
    struct list_node tx_used;
    size_t tx_bytes; /* under way */
};

struct ofi_context {
    struct na_context base;
    int timer_fd;
    _Atomic int64_t tick_ns;     /* when the timer rings next; 0: it does not. Written under conns_lock */
    int64_t looked_ns;           /* progress loop: when connections were looked after */
    _Atomic bool access_wanted;  /* an access was refused for want of room */
    unsigned unposted;           /* progress loop: mask of receive buffers that the provider has not */
    bool lonely;                 /* progress loop: closing, nothing new is let in */
    unsigned half_open;          /* progress loop: incoming and not accepted */
    unsigned strangers;          /* progress loop: PINGs of unknown connections since looked_ns */
    pthread_mutex_t tokens_lock; /* guards the table */
    struct ofi_conn *tokens;
};

enum ofi_stage { OFI_STAGE_GREETING, OFI_STAGE_PROVING, OFI_STAGE_OPEN };

struct ofi_conn {
    struct na_conn base;
    UT_hash_handle hh; /* by token */
    uint64_t token, peer_token, epoch;
    fi_addr_t peer;
    uint32_t sent;              /* number of the next frame; send lock */
    size_t unsettled;           /* cost of the messages since none was in flight; send lock */
    _Atomic unsigned unarrived; /* numbered frames in flight */
    _Atomic unsigned peer_uses; /* of that: frames and accesses in flight, and 1 until the connection is closed */
    _Atomic unsigned accesses;  /* of those in flight */

    /* progress loop */
    struct ofi_early *early; /* frames ahead of their turn, by number */
    size_t early_bytes;
    uint32_t received;     /* number of the frame whose turn it is */
    enum ofi_stage stage;  /* GREETING: HELLO sent or to be sent; PROVING: incoming, WELCOME sent */
    int greeting_ms;       /* pause before it is tried again; doubles up to RETRY_MS */
    bool greeting_due;     /* HELLO or WELCOME could not be handed over yet */
    bool heard;            /* since the last tick */
    int64_t bye_ns;        /* when a BYE ahead of its turn came; 0: none */
    int64_t unsendable_ns; /* since when HELLO or PING cannot be handed over, or HELLO has no answer; 0: all is well */
    int probe_fd;          /* a connection attempt to its listener; -1: none */
    int64_t deadline_ns;   /* until it is open */
};

/* ---- ofi.c ---- */
/* The transports that this folder implements, NULL-terminated. */
const struct na_transport *const *na_ofi_transports(void);
/* The provider's address for the canonical text of one; false if it is malformed. */
bool ofi_address_parse(const struct na_domain *domain, const char *host, void *address, size_t *size);

/* ---- ofi_conn.c ---- */
/* One use of the peer's address ends; with the last one the provider forgets it. */
void ofi_peer_unuse(struct ofi_domain *domain, struct ofi_conn *conn);
hg_return_t ofi_connect(struct na_context *base, const char *host, uint8_t target_id, void *user,
                        struct na_conn **conn);
/* A frame has arrived. */
void ofi_arrived(struct ofi_context *context, const void *bytes, size_t size);
/* Time has passed: hellos that wait, deadlines, pings. */
void ofi_tick(struct ofi_context *context);
void ofi_conn_shutdown(struct na_conn *base);
void ofi_conn_free(struct na_conn *base);

/* ---- ofi_order.c: progress loop ---- */
/* What a frame that waits counts for, at both ends. */
static inline size_t ofi_early_cost(size_t bytes)
{
    return OFI_EARLY_COST + bytes;
}
/* Keeps a frame (in host order) whose turn has not come. */
hg_return_t ofi_early_add(struct ofi_conn *conn, const struct ofi_frame *frame, const char *bytes);
/* Takes the kept frame whose turn it is, for the caller to free; NULL: it is not here. */
struct ofi_early *ofi_early_next(struct ofi_conn *conn);
void ofi_early_drop(struct ofi_conn *conn);

/* ---- ofi_probe.c: progress loop ---- */
/* Knocks at the peer, or looks what came of it; to be called again and again. True: nobody is there. */
bool ofi_probe_refused(struct ofi_conn *conn);
void ofi_probe_end(struct ofi_conn *conn);

/* ---- ofi_rma.c ---- */
struct na_region *ofi_region_open(struct na_domain *base, const struct na_segment *segments, uint32_t count,
                                  uint8_t rights);
void ofi_region_close(struct na_domain *base, struct na_region *region);
hg_return_t ofi_conn_access(struct na_conn *base, const struct na_access *access, const struct iovec *pieces,
                            int count);
/* Progress loop: an access has ended. */
void ofi_accessed(struct ofi_context *context, struct ofi_tx *tx, hg_return_t ret);
/* Progress loop: lets the core try again what was refused. */
void ofi_offer_room(struct ofi_context *context);

/* ---- ofi_settings.c ---- */
/* Before the library is asked for endpoints of this provider. */
void ofi_settings_apply(const char *provider);

/* ---- ofi_send.c ---- */
/* A buffer; HG_AGAIN when enough is under way, unless it is `urgent`. */
hg_return_t ofi_tx_get(struct ofi_domain *domain, size_t size, bool urgent, struct ofi_tx **tx);
/* Copies into it; returns the offset behind. */
size_t ofi_tx_fill(struct ofi_tx *tx, size_t offset, const struct iovec *pieces, int count);
/* The buffer is about a connection, which it keeps alive, and the provider's memory of the peer. */
void ofi_tx_attach(struct ofi_tx *tx, struct ofi_conn *conn);
hg_return_t ofi_conn_write(struct na_conn *base, const struct iovec *pieces, int count, struct na_loan *loan);
/* Sends one frame; HG_AGAIN if the provider does not take it now. MESSAGE and BYE: send lock held. */
hg_return_t ofi_send(struct ofi_conn *conn, enum ofi_kind kind, const struct iovec *pieces, int count,
                     const struct na_loan *loan);
/* A frame is out, or not. */
void ofi_sent(struct ofi_domain *domain, struct ofi_tx *tx);
void ofi_tx_init(struct ofi_domain *domain);
/* The endpoint is closed. */
void ofi_tx_fini(struct ofi_domain *domain);
/* Lets the progress loop come back in `ms`. Any thread. */
void ofi_wake_in(struct ofi_context *context, int ms);
/* The code for a negative return value of libfabric. */
hg_return_t ofi_code(ssize_t ret);

#endif
