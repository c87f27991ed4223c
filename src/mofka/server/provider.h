/*
 * The partition provider: one partition, reachable over the network. This header is what the files of this folder
 * share; the Bedrock module uses the first part only.
 *
 * Threads. A request is taken up directly in the progress loop, without a thread of its own: decoding, finding the
 * session, and everything that is a few microseconds of memory work happen there. What waits for the network or moves
 * much (bulk transfers, reads of selections, fetches from files) continues as a ULT in the provider's pool. Whoever
 * commits a batch also feeds the consumers that wait for it, so that an event passes through the server without any
 * hand-over.
 *
 * Locks, in this order: session->lock, provider->lock, partition's and positions' own. They are pthread mutexes, held
 * for short stretches without waiting for anything.
 *
 * Life. Every request counts in `active` from the moment the progress loop hands it over until it is answered (a batch that
 * is answered early: until it is stored); destroy
 * refuses new ones, answers the waiting ones and waits for the rest. The structure itself lives until Margo has
 * stopped, because the progress loop may look at it until then.
 *
 * Failure of a client: its connection breaks (noticed at once) or its lease runs out (noticed by a sweep); its sessions
 * are then dropped, waiting fetches with them.
 */
#ifndef DANGO_MOFKA_SERVER_PROVIDER_H
#define DANGO_MOFKA_SERVER_PROVIDER_H

#include "argobots/dango_abt.h"
#include "diaspora/driver.h"
#include "mofka/partition/options.h"
#include "mofka/partition/partition.h"
#include "mofka/partition/positions.h"
#include "mofka/wire/wire.h"

#include <abt-io.h>
#include <margo.h>
#include <pthread.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct mofka_provider;

struct mofka_provider_settings {
    margo_instance_id mid;
    uint16_t provider_id;
    ABT_pool pool; /* where work that waits is done */
    uint8_t uuid[16];
    /* Where events are kept: in files, written through the I/O controller; if NULL, see `legacy`; else in memory. */
    const struct mofka_default_options *stored; /* borrowed during creation */
    const struct mofka_legacy_settings *legacy; /* the same: in these providers */
    const char *topic;                          /* the same */
    struct json_object *origin;                 /* the same; goes into new files; may be NULL */
    bool must_exist;                            /* the files are there, or it is an error */
    abt_io_instance_id io_controller;
    int64_t lease_ms; /* silence after which a client is forgotten; 0: MOFKA_LEASE_MS */
};

int mofka_provider_create(const struct mofka_provider_settings *settings, struct mofka_provider **provider,
                          struct dango_error *err);
/* Blocks the calling ULT until all requests are answered. */
void mofka_provider_destroy(struct mofka_provider *provider);

/* ---- inside ---- */

/* Most stretches of memory in one answer, and most requests and sessions at a time. */
#define MOFKA_PIECES_MAX   64u
#define MOFKA_REQUESTS_MAX 65536u
#define MOFKA_SESSIONS_MAX 65536u

/*
 * How long a transfer from or to a client may take: so long in any case, and longer for what is large. Batches of other
 * producers wait behind one that is on its way, so that a client that hangs must not hold them up for long; in all it is
 * half of the time that a client waits for an answer.
 */
#define MOFKA_TRANSFER_MS     5000.0
#define MOFKA_TRANSFER_MAX_MS 15000.0
#define MOFKA_TRANSFER_RATE   50e3 /* bytes in a millisecond that are slow for any network */

/* Who talks to us: a producer or a consumer. Reference counted; one reference is the table's. */
struct mofka_session {
    UT_hash_handle hh;
    uint64_t token;
    bool consumer;
    bool failed;     /* consumer: events were lost on the way, nothing more is delivered */
    bool closed;     /* no longer in the table, or fenced */
    bool is_waiting; /* in provider->waiting; guarded by provider->lock */
    atomic_int references;
    _Atomic(struct dango_error *) fence; /* why an operator has shut it out; NULL: not. Its own */
    atomic_uint in_flight;               /* requests */
    int64_t opened_ns;
    atomic_int_fast64_t seen_ns; /* last request */
    struct mofka_provider *provider;
    margo_instance_id mid;
    hg_addr_t peer;
    pthread_mutex_t lock;
    struct list_node waiting;   /* link in provider->waiting */
    struct list_node fetches;   /* requests that are not answered, oldest first */
    struct mofka_reader reader; /* consumer: what comes next */
    struct mofka_stream stream; /* producer */
    bool ack_early;             /* producer: it asks for early answers */
    char name[MOFKA_NAME_MAX + 1];
};

/* A stretch of memory to be sent: of a region of the partition, or (region NULL) of any memory. */
struct mofka_piece {
    struct mofka_region *region; /* held */
    const unsigned char *base;
    size_t size;
};

/* One request from its arrival to its answer. Pooled. */
struct mofka_request {
    struct list_node link; /* free list, or session->fetches */
    struct mofka_provider *provider;
    struct mofka_session *session; /* a reference, once it is known */
    hg_handle_t handle;
    bool answered; /* and not finished */
    struct mofka_message message;
    struct mofka_reception reception; /* produce */
    struct mofka_settling settling;   /* settle */
    struct mofka_saving saving;       /* acknowledge */
    /* fetch: the credit and what was collected for it */
    struct mofka_fetch_request fetch;
    const unsigned char *flat; /* bulk handle in the message */
    struct mofka_fetch_answer fetch_answer;
    size_t piece_count; /* their regions are held until the request is finished */
    struct mofka_piece pieces[MOFKA_PIECES_MAX];
    size_t header_count;
    struct mofka_frame headers[2]; /* of parts of frames */
    struct dango_error err;        /* why it failed, if it did */
};

/* Which chunks of a partition in files are removed, and when that is looked at; see retention.c. */
struct mofka_retention {
    bool enabled;
    struct mofka_log_retention limits;
    size_t name_count; /* consumers that have to acknowledge */
    char **names;
    atomic_int state;         /* idle, at work, or at work and to be done once more */
    atomic_size_t num_chunks; /* when it was looked at last */
    struct dango_abt_timer timer;
    bool held_back; /* told that something is kept because it is needed; of whoever is at work */
};

struct mofka_endpoint {
    const char *name;
    void (*handle)(struct mofka_request *request);
    struct mofka_provider *provider;
    hg_id_t id;
};

#define MOFKA_ENDPOINT_COUNT 13

struct mofka_provider {
    struct mofka_provider_settings settings;
    struct mofka_registrar registrar;
    struct mofka_log_io io;
    struct mofka_partition *partition;
    struct mofka_positions *positions;
    struct mofka_retention retention;
    struct mofka_endpoint endpoints[MOFKA_ENDPOINT_COUNT];
    atomic_uint active; /* requests */
    atomic_bool closing;
    atomic_bool deleted; /* the topic is: nobody is let in any more */
    ABT_mutex idle_lock;
    ABT_cond idle; /* active fell to 0 while closing */

    pthread_mutex_t lock; /* guards the rest */
    struct list_node free_requests;
    struct mofka_session *sessions; /* by token */
    struct list_node waiting;       /* sessions with fetches and nothing to deliver */
    size_t waiting_count;
    struct dango_abt_timer sweep; /* drops sessions whose lease ran out; armed while there are sessions */
};

/* storage.c: opens partition and positions. May block on file I/O. */
int mofka_storage_open(struct mofka_provider *provider, struct dango_error *err);
/* Whether reading from the partition may wait for a medium. */
bool mofka_storage_is_slow(const struct mofka_provider *provider);
/* Calls body(argument) in a ULT, for whose end the provider's waits. Fails when there is no memory for one. */
int mofka_provider_run(void *provider, void (*body)(void *argument), void *argument);

/* retention.c */
int mofka_retention_init(struct mofka_provider *provider, const struct mofka_retention_options *options,
                         struct dango_error *err);
/* From here on what is over is removed. */
void mofka_retention_start(struct mofka_provider *provider);
/* After `closing` was set: nothing is begun any more. */
void mofka_retention_stop(struct mofka_provider *provider);
void mofka_retention_fini(struct mofka_provider *provider);
/* Events have become visible; a position has been saved. Cheap. */
void mofka_retention_grown(struct mofka_provider *provider);
void mofka_retention_acknowledged(struct mofka_provider *provider);

/* request.c: answers consume the request, except early ones, which are followed by another that nobody gets. */
void mofka_request_answer_early(struct mofka_request *request, const diaspora_segment *parts, size_t count);
void mofka_request_answer(struct mofka_request *request, const diaspora_segment *parts, size_t count);
void mofka_request_fail(struct mofka_request *request, const struct dango_error *err);
/* Goes on in a ULT of the provider's pool; fails the request and returns an error when there is none to be had. */
int mofka_request_continue(struct mofka_request *request, void (*body)(void *request));
/* Lets go of the regions of its pieces. */
void mofka_request_drop_pieces(struct mofka_request *request);
hg_return_t mofka_request_arrived(hg_handle_t handle);
void mofka_requests_free(struct mofka_provider *provider);
/* One less of what `active` counts; the last one lets destroy go on. */
void mofka_provider_leave(struct mofka_provider *provider);

/* session.c */
int mofka_session_open(struct mofka_request *request, bool consumer, const char *name, struct mofka_session **session,
                       struct dango_error *err);
/* Finds the session of a request's token and keeps it for the life of the request. */
int mofka_session_find_any(struct mofka_request *request, uint64_t token, struct dango_error *err);
/* The same, and it must be of the right kind. */
int mofka_session_find(struct mofka_request *request, uint64_t token, bool consumer, struct dango_error *err);
/* The error that it gets when it was shut out; else 0. */
int mofka_session_check(const struct mofka_session *session, struct dango_error *err);
void mofka_session_release(struct mofka_session *session);
void mofka_session_close(struct mofka_provider *provider, struct mofka_session *session);
/* Closes those that `dead` chooses. */
void mofka_sessions_close(struct mofka_provider *provider,
                          bool (*dead)(const struct mofka_session *session, const void *arg), const void *arg);
/* How many sessions there are: producers, and consumers that are not shut out. */
void mofka_sessions_count(struct mofka_provider *provider, uint32_t *producers, uint32_t *consumers);
/* How many consumers of a name there are. */
uint32_t mofka_sessions_of(struct mofka_provider *provider, const char *name);
/* Shuts out the consumers of a name (NULL: everybody): whatever they ask for from now on is answered by `why`. */
int mofka_sessions_fence(struct mofka_provider *provider, const char *name, const struct dango_error *why,
                         struct dango_error *err);
int mofka_sessions_watch(struct mofka_provider *provider, struct dango_error *err);
void mofka_sessions_unwatch(struct mofka_provider *provider);

/* produce.c, fetch.c, read.c, control.c, admin.c */
/* Whether the client has come to the partition that it means. */
int mofka_request_check_partition(const struct mofka_request *request, const uint8_t uuid[16], struct dango_error *err);
void mofka_handle_attach(struct mofka_request *request);
void mofka_handle_produce(struct mofka_request *request);
void mofka_handle_settle(struct mofka_request *request);
void mofka_handle_subscribe(struct mofka_request *request);
void mofka_handle_fetch(struct mofka_request *request);
void mofka_handle_read(struct mofka_request *request);
void mofka_handle_acknowledge(struct mofka_request *request);
void mofka_handle_renew(struct mofka_request *request);
void mofka_handle_close(struct mofka_request *request);
void mofka_handle_inspect(struct mofka_request *request);
void mofka_handle_set_position(struct mofka_request *request);
void mofka_handle_complete(struct mofka_request *request);
void mofka_handle_erase(struct mofka_request *request);

/* control.c: the id at which a subscription, or an operator, wants to start. */
int mofka_start_position(struct mofka_provider *provider, enum diaspora_start start, uint64_t start_id,
                         const char *name, uint64_t *position, struct dango_error *err);
/* Answers a request whose answer is empty. */
void mofka_request_answer_done(struct mofka_request *request);
/* saving.done of requests that are answered when a position is saved. */
void mofka_request_answer_saved(struct mofka_saving *saving, const struct dango_error *err);
/* All waiting sessions: events became visible. */
void mofka_feed_waiting(void *provider);

/* transfer.c: moves between regions and a client's memory; they block the calling ULT. */
int mofka_pull(struct mofka_request *request, const unsigned char *flat, size_t flat_size, struct mofka_region *region,
               size_t offset, uint64_t size, struct dango_error *err);
/* Writes the pieces to the client's memory one after the other, the first at `offset`. */
int mofka_push(struct mofka_request *request, hg_bulk_t to, uint64_t offset, const struct mofka_piece *pieces,
               size_t count, struct dango_error *err);
/* Whether all that was copied or sent from the pieces was there; otherwise the medium has failed after they were
 * verified, and the error lets the client ask again. */
bool mofka_pieces_whole(const struct mofka_piece *pieces, size_t count, struct dango_error *err);

#endif
