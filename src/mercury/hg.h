/*
 * Inside the RPC core: the objects behind the opaque types of mercury.h, and what its files offer to each other.
 *
 * Ownership. A class owns its contexts' directory, registered RPCs, interned addresses and the directory of local bulk
 * memory. A context owns its connections, its handles and operations (in slots that are reused, never freed before the
 * context) and its completion queue.
 *
 * Slots and cookies. What waits for an answer from the network is a slot: its cookie, index and generation, travels in
 * the request and comes back with the answer. Whoever exchanges the cookie in `pending` for 0 owns the completion:
 * answer, cancel, and loss of the connection race for it, and a late answer finds another generation.
 *
 * Locks, in the order in which they may be nested; all are held for short, bounded sections, never across a callback
 * of the user except where noted:
 *     context->progress_lock   polling; the peer-gone callbacks run under it
 *     class->contexts_lock     directory of contexts
 *     context->ops_lock        transfers by messages
 *     context->peers_lock      address -> connection
 *     conn->lock               sending; loans come back under it
 *     class->rpcs_lock, class->addrs_lock, class->bulks_lock, table->lock, queue->lock,
 *     na_context->conns_lock, na_wait->lock                                       leaves
 */
#ifndef DANGO_MERCURY_HG_H
#define DANGO_MERCURY_HG_H

#include "mercury.h"
#include "mercury/dango_hg.h"
#include "mercury/na/conn.h"
#include "mercury_bulk.h"
#include "mercury_proc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

struct hgi_loan;
struct hgi_op;
struct hgi_range;

#define HGI_CONTEXTS_MAX    256
#define HGI_BUFFER_FIXED    256          /* bytes of payload that need no allocation */
#define HGI_BUFFER_KEEP     (4u << 10)   /* larger buffers are freed when their handle is */
#define HGI_MESSAGE_DEFAULT (256u << 20) /* largest input or output */
#define HGI_BAD_INPUTS_MAX  100          /* payloads that do not decode, per connection */
#define HGI_BULK_EAGER_MAX  2048         /* read-only bulk data embedded in a message */

/* ---- completion queue (hg_queue.c) ---- */

/* Embedded in what completes; `run` is called by HG_Trigger and calls the user. */
struct hgi_entry {
    struct hgi_entry *next;
    void (*run)(struct hgi_entry *entry);
};

struct hgi_queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct hgi_entry *first, *last;
    unsigned waiters;       /* threads in hgi_queue_pop with a timeout */
    _Atomic unsigned count; /* entries; readable without the lock */
};

void hgi_queue_init(struct hgi_queue *queue);
void hgi_queue_fini(struct hgi_queue *queue);
void hgi_queue_push(struct hgi_queue *queue, struct hgi_entry *entry);
/* The oldest entry; NULL if none came by `deadline_ns` (0: do not wait). */
struct hgi_entry *hgi_queue_pop(struct hgi_queue *queue, int64_t deadline_ns);
static inline bool hgi_queue_empty(struct hgi_queue *queue)
{
    return atomic_load_explicit(&queue->count, memory_order_acquire) == 0;
}

/* ---- slots (hg_table.c) ---- */

enum hgi_expects { HGI_EXPECTS_NOTHING, HGI_EXPECTS_RESPONSE, HGI_EXPECTS_ACK, HGI_EXPECTS_DATA, HGI_EXPECTS_ACCESS };

/* First member of everything that waits for an answer. */
struct hgi_slot {
    uint32_t index;
    uint32_t generation;            /* of the latest cookie; changed by the owner only */
    _Atomic uint64_t pending;       /* cookie that is waited for, 0 if none */
    _Atomic(struct na_conn *) conn; /* where the answer must come from; NULL: this process. Compared, not followed */
    _Atomic int expects;            /* enum hgi_expects */
    bool used;                      /* not in the free list; under the table's lock */
    struct hgi_slot *next_free;
};

#define HGI_CHUNK_SLOTS 32
#define HGI_CHUNKS_MAX  4096 /* × HGI_CHUNK_SLOTS = most calls of a context at a time */

struct hgi_table {
    size_t object_size;
    pthread_mutex_t lock; /* guards everything but the reading of `chunks` */
    struct hgi_slot *free;
    size_t chunk_count, used;
    _Atomic(char *) *chunks; /* HGI_CHUNKS_MAX pointers */
};

int hgi_table_init(struct hgi_table *table, size_t object_size);
void hgi_table_fini(struct hgi_table *table);
/* A slot; everything behind the slot header is as its last user left it (zero at first). NULL: limit or memory. */
struct hgi_slot *hgi_table_get(struct hgi_table *table);
void hgi_table_put(struct hgi_table *table, struct hgi_slot *slot);
/* Slots in use. */
size_t hgi_table_used(struct hgi_table *table);
/* The slot with that index; NULL if there is none. */
struct hgi_slot *hgi_table_at(struct hgi_table *table, uint32_t index);

/* Makes the slot wait for an answer from `conn`; returns the cookie. */
uint64_t hgi_slot_arm(struct hgi_slot *slot, struct na_conn *conn, enum hgi_expects expects);
/* True if the caller now owns the completion. */
static inline bool hgi_slot_claim(struct hgi_slot *slot, uint64_t cookie)
{
    return cookie && atomic_compare_exchange_strong(&slot->pending, &cookie, 0);
}
/* The slot of an answer if it still waits; `*violation` if the answer is none of this peer's business. Claims it. */
struct hgi_slot *hgi_table_claim(struct hgi_table *table, uint64_t cookie, struct na_conn *conn,
                                 enum hgi_expects expects, bool *violation);
/* The same without claiming. */
struct hgi_slot *hgi_table_find(struct hgi_table *table, uint64_t cookie, struct na_conn *conn,
                                enum hgi_expects expects, bool *violation);

/* ---- buffers and serialisation (hg_buffer.c, hg_proc.c) ---- */

struct hgi_buffer {
    char *data; /* `fixed`, or allocated */
    size_t size, capacity;
    char fixed[HGI_BUFFER_FIXED];
};

void hgi_buffer_init(struct hgi_buffer *buffer);
/* Forgets the contents; gives back memory beyond HGI_BUFFER_KEEP. */
void hgi_buffer_reset(struct hgi_buffer *buffer);
void hgi_buffer_fini(struct hgi_buffer *buffer);
/* Room for `size` bytes, contents undefined. False: no memory. */
bool hgi_buffer_reserve(struct hgi_buffer *buffer, size_t size);
/* `to` gets the contents of `from`, which is empty afterwards. False: no memory, both unchanged. */
bool hgi_buffer_move(struct hgi_buffer *to, struct hgi_buffer *from);

/* Serialises into `buffer`; nothing for a NULL `proc` or `data`. */
hg_return_t hgi_encode(hg_class_t *hg_class, hg_proc_cb_t proc, void *data, struct hgi_buffer *buffer);
/* HG_DECODE or HG_FREE on the bytes of `buffer`. */
hg_return_t hgi_decode(hg_class_t *hg_class, hg_proc_cb_t proc, hg_proc_op_t op, void *data, struct hgi_buffer *buffer);

/* ---- class, RPCs, addresses (hg_class.c, hg_register.c, hg_addr.c) ---- */

/* A registered RPC. Immutable but for data and one_way; replaced as a whole when registered again. */
struct hgi_rpc {
    hg_id_t id;
    _Atomic unsigned refs; /* one of the table, one per handle */
    hg_proc_cb_t in_proc, out_proc;
    hg_rpc_cb_t callback;
    _Atomic bool one_way;
    _Atomic(void *) data;
    void (*free_data)(void *); /* NULL also when a newer entry has taken over the data */
    UT_hash_handle hh;
};

/* An endpoint; interned, so that equal addresses are equal pointers. */
struct hg_addr {
    hg_class_t *hg_class;
    _Atomic unsigned refs;
    char host[NA_ADDRESS_MAX]; /* canonical; the key */
    UT_hash_handle hh;
};

struct hgi_peer_gone {
    dango_hg_peer_gone_cb_t callback;
    void *arg;
};

struct hg_class {
    struct na_domain *domain;
    char protocol[32];
    size_t eager_size;          /* payload bytes that fit a message */
    _Atomic size_t payload_max; /* largest input or output */
    unsigned max_contexts;
    bool no_bulk_eager, no_loopback, no_overflow, busy_poll;

    pthread_mutex_t contexts_lock;
    hg_context_t *contexts[HGI_CONTEXTS_MAX];
    struct hgi_peer_gone *peer_gone; /* under contexts_lock; slots without a callback are free */
    unsigned peer_gone_count;
    size_t zombies; /* destroyed contexts whose handles are still held */

    pthread_mutex_t rpcs_lock;
    struct hgi_rpc *rpcs;

    pthread_mutex_t addrs_lock;
    struct hg_addr *addrs;
    struct hg_addr *self;

    pthread_mutex_t bulks_lock;
    struct hg_bulk *bulks; /* local memory that peers know of, by key */
    uint64_t keys[32];     /* random numbers for keys, drawn in advance */
    unsigned keys_left;
    uint64_t loans; /* numbers of loans given out */

    void *data;
    void (*free_data)(void *);
};

/* NULL if there is no such RPC; else with a reference. */
struct hgi_rpc *hgi_rpc_find(hg_class_t *hg_class, hg_id_t id);
void hgi_rpc_ref(struct hgi_rpc *rpc);
void hgi_rpc_release(struct hgi_rpc *rpc);
/* Drops all registrations. */
void hgi_rpcs_clear(hg_class_t *hg_class);

/* The interned address of a canonical host, with a reference; NULL: no memory. */
struct hg_addr *hgi_addr_intern(hg_class_t *hg_class, const char *host);
void hgi_addr_ref(struct hg_addr *addr);
void hgi_addr_release(struct hg_addr *addr);

/* ---- context (hg_context.c, hg_peer.c) ---- */

struct hg_context {
    hg_class_t *hg_class;
    uint8_t id;
    struct na_context *na;
    pthread_mutex_t progress_lock;
    struct hgi_queue queue;
    struct hgi_table handles; /* of struct hg_handle */
    struct hgi_table ops;     /* of struct hgi_op */
    pthread_mutex_t ops_lock;
    struct list_node stalled; /* transfers that wait for room; under ops_lock */
    pthread_mutex_t peers_lock;
    struct hgi_peer *peers;
    _Atomic bool closing;       /* requests are dropped, not dispatched */
    _Atomic unsigned users;     /* 1 for the context itself, 1 per live handle */
    _Atomic unsigned spins_off; /* sleeps to come that no polling precedes */
    char *scratch;              /* message_max bytes; under ops_lock */
    void *data;
    void (*free_data)(void *);
};

void hgi_context_release(hg_context_t *context);

/* A connection to that endpoint, made if necessary, with a reference. `context_id` < 0: any of its contexts. */
hg_return_t hgi_peer_get(hg_context_t *context, struct hg_addr *addr, int context_id, struct na_conn **conn);
hg_return_t hgi_peer_accept(hg_context_t *context, struct na_conn *conn);
/* Forgets a connection that closed. */
void hgi_peer_forget(hg_context_t *context, struct na_conn *conn);
/* Breaks the connections to `addr`, so that the next use makes a new one. */
void hgi_peer_remove(hg_context_t *context, struct hg_addr *addr);

/* ---- messages ---- */

#define HGI_WIRE_VERSION 1

enum hgi_kind {
    HGI_REQUEST = 1, /* cookie of the origin's handle, id of the RPC */
    HGI_RESPONSE,    /* the same cookie */
    HGI_ACK,         /* cookie: large payload was fetched */
    HGI_READ,        /* cookie of a transfer, id = key of the memory; struct hgi_range follows */
    HGI_READ_DATA,   /* the same cookie, id = offset within the transfer; the data follow */
    HGI_WRITE,       /* as HGI_READ, then the data */
    HGI_WRITE_DONE   /* as HGI_READ_DATA, without data */
};

#define HGI_FLAG_MORE    1 /* the payload is struct hgi_more and a bulk descriptor of the real one */
#define HGI_FLAG_ONE_WAY 2 /* no response is expected */

/* In front of every message; little endian, 24 bytes. The provider id is the low 16 bits of `id`. */
struct hgi_header {
    uint8_t version;
    uint8_t kind;
    uint8_t flags;
    uint8_t ret;   /* hg_return_t of an answer */
    uint32_t size; /* bytes that follow, with the payload of a transfer */
    uint64_t cookie;
    uint64_t id;
};

/* Payload of a message with HGI_FLAG_MORE, before the descriptor. */
struct hgi_more {
    uint64_t cookie; /* to acknowledge with */
    uint64_t size;   /* of the real payload */
};

/* A piece of registered memory, in HGI_READ and HGI_WRITE. */
struct hgi_range {
    uint64_t offset; /* over the segments of the memory */
    uint64_t size;
    uint64_t position; /* within the transfer; comes back with the answer */
};

hg_return_t hgi_send(struct na_conn *conn, enum hgi_kind kind, uint8_t flags, hg_return_t ret, uint64_t cookie,
                     uint64_t id, const struct iovec *pieces, int count);
/* The same with a payload behind it, which is returned if that fails. */
hg_return_t hgi_send_loan(struct na_conn *conn, enum hgi_kind kind, uint64_t cookie, uint64_t id,
                          const struct iovec *piece, struct hgi_loan *loan);
/* The upcall of the transport for every message (hg_receive.c). */
hg_return_t hgi_receive(void *arg, struct na_conn *conn, const void *bytes, size_t size);
/* The upcalls for payloads behind messages. */
hg_return_t hgi_place(void *arg, struct na_conn *conn, const void *bytes, size_t size, size_t payload_size,
                      struct na_loan **loan);
hg_return_t hgi_placed(void *arg, struct na_conn *conn, struct na_loan *loan);

/* ---- loans (hg_loan.c) ---- */

/* What became of a loan that is being recalled: a write of a peer that was cut off, if `conn` is set. */
struct hgi_recall {
    struct na_conn *conn; /* with a reference */
    struct hgi_header header;
    uint64_t position;
};

/* Memory in use by the transport, between the memory's owner and a connection. */
struct hgi_loan {
    struct na_loan base;
    struct list_node link; /* in the owner's list */
    hg_class_t *hg_class;
    struct na_conn *conn;      /* which has it; kept alive by having it */
    struct hgi_header header;  /* incoming: of the message in front; kind 0: outgoing */
    uint64_t position;         /* incoming write: within the transfer */
    struct hgi_recall *recall; /* to be filled in when it comes back; NULL: nobody recalls it */
    struct iovec pieces[];
};

/* Lends registered memory for a peer, after checking what the peer asks for. */
hg_return_t hgi_loan_serve(hg_class_t *hg_class, uint64_t key, uint8_t right, const struct hgi_range *range,
                           struct na_conn *conn, struct hgi_loan **loan);
/* Lends the local memory of a transfer, from `position` within the transfer on. NULL: no memory. */
struct hgi_loan *hgi_loan_own(struct hgi_op *op, uint64_t position, uint64_t size);
/* Takes it out of its owner's list, and frees it. */
void hgi_loan_return(struct hgi_loan *loan);
/* Returns when nothing of the owner is lent any more; peers whose writes that has cut off are told. No lock may be
 * held. */
void hgi_loans_recall(hg_class_t *hg_class, struct list_node *owner);

/* ---- handles (hg_handle.c, hg_forward.c, hg_respond.c) ---- */

struct hg_handle {
    struct hgi_slot slot;
    struct hg_info info; /* addr: with a reference */
    hg_context_t *context;
    _Atomic int refs;
    bool incoming;             /* target side */
    bool one_way;              /* as the request said (target), or the registration (origin) */
    bool ready;                /* origin: the output may be decoded */
    _Atomic bool in_flight;    /* origin: between HG_Forward and its callback */
    _Atomic bool responded;    /* target */
    struct hgi_rpc *rpc;       /* with a reference */
    struct na_conn *conn;      /* with a reference; NULL: none yet, or this process */
    uint64_t origin_cookie;    /* target */
    uint8_t origin_context_id; /* target, calls within this process */
    hg_bulk_t more;            /* description of an input (origin) or output (target) that the peer fetches */

    struct hgi_entry dispatch; /* target: call the RPC's callback */
    struct hgi_entry done;     /* origin: forward completed; target: respond completed */
    hg_cb_t callback;
    void *arg;
    hg_return_t ret;

    struct hgi_buffer in, out;
    void *data;
    void (*free_data)(void *);
    _Alignas(16) char scratch[DANGO_HG_SCRATCH_SIZE];
};

/* A handle with one reference; NULL: limit or memory. */
struct hg_handle *hgi_handle_new(hg_context_t *context);
/* Frees the table of handles, none of which is in use, and the buffers that they keep. */
void hgi_handles_fini(hg_context_t *context);
/* A request from `conn` (NULL: from this process) is complete in handle->in: hand it to the RPC's callback. */
void hgi_handle_dispatch(struct hg_handle *handle);
/* The forward or respond of a claimed handle is over; queues its callback. */
void hgi_handle_complete(struct hg_handle *handle, hg_return_t ret);
/* Fails every handle that waits for `conn`; NULL: all of the context. */
void hgi_handles_fail(hg_context_t *context, struct na_conn *conn, hg_return_t ret);
/* A response for a claimed handle has arrived in handle->out. */
void hgi_forward_finish(struct hg_handle *handle, hg_return_t ret);

/* ---- large payloads (hg_more.c) ---- */

/* Makes handle->more for `buffer`, and writes the payload that stands for it to `message` (size in `*size`). */
hg_return_t hgi_more_offer(struct hg_handle *handle, struct hgi_buffer *buffer, uint64_t cookie, void *message,
                           size_t *size);
#define HGI_MORE_MESSAGE_MAX 128

/* Fetches the payload that `message` stands for into handle->in or ->out, then goes on with it. An error: the message
 * is invalid. */
hg_return_t hgi_more_fetch(struct hg_handle *handle, struct na_conn *conn, const void *message, size_t size);

/* ---- bulk (hg_bulk.c, hg_transfer.c, hg_copy.c, hg_access.c) ---- */

enum hgi_bulk_kind {
    HGI_BULK_LOCAL,  /* memory of this process */
    HGI_BULK_REMOTE, /* decoded: memory of somebody else */
    HGI_BULK_COPY    /* decoded with its data embedded: ours to read */
};

struct hg_bulk {
    hg_class_t *hg_class;
    _Atomic unsigned refs;
    uint8_t flags;
    enum hgi_bulk_kind kind;
    bool owns_memory;
    bool registered; /* in class->bulks; under bulks_lock */
    uint32_t count;
    uint64_t size; /* all segments */
    uint64_t key;  /* by which the owner finds it; 0 until serialised */
    UT_hash_handle hh;
    struct list_node loans;    /* of this memory to the transport, for peers; under bulks_lock */
    _Atomic bool region_tried; /* local: `region` is what it will be; both written under bulks_lock */
    struct na_region *region;  /* local: NULL if peers have no access of their own */
    uint16_t access_size;      /* remote: of `access`; 0: none */
    const void *access;        /* remote: description of the owner's region */
    struct na_segment segments[];
};

/* Registered local memory by key, with a reference; NULL if there is none. */
struct hg_bulk *hgi_bulk_by_key(hg_class_t *hg_class, uint64_t key);
/* Takes all memory out of the directory, so that bulk handles may be freed after their class. */
void hgi_bulks_forget(hg_class_t *hg_class);
/* Copies between [offset, offset + size) of local memory and a flat buffer. The range must have been checked. */
void hgi_bulk_read(struct hg_bulk *bulk, uint64_t offset, void *to, uint64_t size);
void hgi_bulk_write(struct hg_bulk *bulk, uint64_t offset, const void *from, uint64_t size);
/* May a peer use that range of `bulk` (NULL: there is none)? `right`: HG_BULK_READ_ONLY or HG_BULK_WRITE_ONLY. */
hg_return_t hgi_bulk_check(const struct hg_bulk *bulk, const struct hgi_range *range, uint8_t right);
/* Is [offset, offset + size) inside? */
static inline bool hgi_bulk_contains(const struct hg_bulk *bulk, uint64_t offset, uint64_t size)
{
    return offset <= bulk->size && size <= bulk->size - offset;
}

/* What a transfer is about. */
struct hgi_transfer {
    hg_bulk_op_t op;
    struct hg_addr *addr;
    struct na_conn *conn; /* NULL: found by address */
    hg_bulk_t origin, local;
    uint64_t origin_offset, local_offset, size;
};

/* A look-up or a transfer under way. */
struct hgi_op {
    struct hgi_slot slot;
    hg_context_t *context;
    struct hgi_entry entry;
    hg_cb_t callback;
    void *arg;
    hg_return_t ret;
    struct hgi_transfer transfer;      /* with references; addr also holds the result of a look-up */
    uint64_t sent, done;               /* bytes asked for, bytes finished; under ops_lock */
    bool access_failed;                /* part of it could not be accessed; under ops_lock */
    struct list_node stalled;          /* in context->stalled, or alone; under ops_lock */
    struct list_node loans;            /* of transfer.local to the transport; under bulks_lock */
    uint64_t ack_cookie;               /* hg_more.c: what to acknowledge */
    void (*finish)(struct hgi_op *op); /* called once, after the claim; queues `entry` or goes on */
};

struct hgi_op *hgi_op_new(hg_context_t *context);
void hgi_op_free(struct hgi_op *op);

/* Does the transfer here and now if that is possible, else HG_AGAIN with transfer->conn set. If transfer->conn was NULL
 * and is not any more, the caller has to drop a reference. The ranges and flags must have been checked. */
hg_return_t hgi_transfer_now(hg_context_t *context, struct hgi_transfer *transfer);
/* Starts a transfer, by access to the peer's region if it has one, else by messages; op->transfer.conn is set.
 * op->finish will be called, perhaps before this returns. */
void hgi_copy_start(struct hgi_op *op);
/* Starts it anew, by messages; nothing of it may be under way. ops_lock held. True: it has failed, the caller has to
 * finish it. */
bool hgi_copy_by_messages(struct hgi_op *op, uint64_t cookie);
/* Claims the operation; ops_lock held. True if the caller has to finish it. */
bool hgi_copy_claim(struct hgi_op *op, uint64_t cookie, hg_return_t ret);
/* The operation is claimed: nobody else finishes it, and no more of its memory is lent. */
void hgi_copy_finish(struct hgi_op *op);
/* Messages of transfers with a payload, when it begins and when it has arrived (struct na_upcalls). */
hg_return_t hgi_copy_place(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                           const char *bytes, size_t size, size_t payload_size, struct na_loan **loan);
hg_return_t hgi_copy_placed(hg_context_t *context, struct na_conn *conn, struct na_loan *loan);
/* Completes every transfer that waits for `conn` (NULL: all of the context). */
void hgi_copies_fail(hg_context_t *context, struct na_conn *conn, hg_return_t ret);
/* Tells a peer that its write, which was begun, has come to nothing. */
void hgi_copy_refuse(struct na_conn *conn, const struct hgi_header *request, uint64_t position);
/* Cancels one. */
void hgi_copy_cancel(struct hgi_op *op);
/* Goes on with a transfer by access; ops_lock held. True: it is over, the caller has to finish it. */
bool hgi_access_advance(struct hgi_op *op, uint64_t cookie);
/* Upcalls of the transport. */
void hgi_accessed(void *arg, struct na_conn *conn, const struct na_access *access, const void *bytes, hg_return_t ret);
void hgi_access_room(void *arg);
/* Messages of transfers. An error closes the connection. */
hg_return_t hgi_copy_receive(hg_context_t *context, struct na_conn *conn, const struct hgi_header *header,
                             const char *payload);

#endif
