/*
 * What clients and partition providers say to each other.
 *
 *     RPC                 request                           answer
 *     mofka_attach        producer name, number             token                                  a producer comes
 *     mofka_produce       a batch, inside or by reference   id of its first event
 *     mofka_settle        –                                 –; when what was answered early is stored, or why not
 *     mofka_subscribe     consumer name, where to start     token, position, end                   a consumer comes
 *     mofka_fetch         room for events: a credit         frames, inside or written to the room; waits until there
 *                                                           is something
 *     mofka_read          selections of many events         their bytes, inside or written; a status per event
 *     mofka_acknowledge   event id                          –
 *     mofka_renew         –                                 –                                      "I am still here"
 *     mofka_close         –                                 –                                      a client goes
 *     mofka_inspect       consumer name to go on behind     state, a page of saved positions       an operator's
 *     mofka_set_position  consumer name, where to           –                                      an operator's
 *     mofka_complete      –                                 –; an operator's: nothing follows
 *     mofka_erase         –                                 –; an operator's: the topic is deleted
 *
 * Every request of a session carries its token, a random number. Those that open one, and those of operators, have none:
 * they name the partition instead. Every message starts with a fixed structure below, little endian, copied as it is; what
 * follows it is described beside it. Every answer starts with struct mofka_answer: a code of dango/error.h and, when it is
 * not 0, a text and nothing else.
 *
 * Bulk handles travel as flat bytes, so that a receiver that does not need them does not decode them.
 *
 * A session is a lease: MOFKA_LEASE_MS after the last request of any kind the server drops it; clients renew theirs
 * several times as often (client/lease.c).
 *
 * The decoders are pure functions that trust nothing: they check every length against the bytes that are there and
 * return pointers into the message.
 */
#ifndef DANGO_MOFKA_WIRE_H
#define DANGO_MOFKA_WIRE_H

#include <dango/error.h>
#include <diaspora/diaspora.h>
#include <mercury_proc.h>

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MOFKA_WIRE_VERSION 5u

#define MOFKA_LEASE_MS 30000

/* Limits that both sides keep. */
#define MOFKA_NAME_MAX       256u       /* bytes of a producer's or consumer's name */
#define MOFKA_WINDOW_MAX     1024u      /* batches of one producer, or fetches of one consumer, in flight */
#define MOFKA_READ_ITEMS_MAX 65536u     /* events in one read … */
#define MOFKA_READ_RANGES    (1u << 20) /* … and ranges of all of them */
#define MOFKA_BULK_SIZE_MAX  (1u << 20) /* bytes of a flat bulk handle */
/* Content up to this size travels inside the message, which then fits into an eager message of every transport. */
#define MOFKA_INLINE_MAX 3072u

/* A message: a gather list when it is sent, contiguous bytes inside the handle's buffer when it was received. */
struct mofka_message {
    const diaspora_segment *parts;
    size_t part_count;
    const unsigned char *bytes;
    size_t size;
};

hg_return_t hg_proc_mofka_message(hg_proc_t proc, void *data);

/* Start of all requests. */
struct mofka_request_head {
    uint16_t version;
    uint16_t flags;
    uint32_t extra; /* meaning depends on the request */
    uint64_t token; /* 0 in attach and subscribe */
};

/* Flag of attach: batches may be answered when they have been received, if the partition does that. */
enum { MOFKA_ACK_EARLY = 1 };

/* Followed by the name (head.extra bytes). */
struct mofka_attach_request {
    struct mofka_request_head head;
    uint8_t partition[16]; /* uuid: after a restart another partition may be where this one was */
    uint64_t producer;     /* random number chosen by the client, the same each time it comes */
    uint64_t first;        /* see struct mofka_resume in mofka/log/producers.h */
    uint64_t stored_end;
    uint32_t unsettled;
    uint32_t window;
    uint32_t attempt; /* of its first batch */
    uint32_t reserved;
};

enum {
    MOFKA_RECORDS_INSIDE = 1, /* else a bulk handle of records_flat bytes stands for them */
    MOFKA_DATA_INSIDE = 2     /* else one of data_flat bytes, if there are data */
};

/* Followed by records or their handle, then data or their handle. head.extra: events. */
struct mofka_produce_request {
    struct mofka_request_head head;
    uint64_t sequence;
    uint64_t records_size, data_size;
    uint32_t attempt;
    uint32_t records_flat, data_flat;
    uint32_t reserved;
};

/* Followed by the name (head.extra bytes). head.flags: enum diaspora_start. */
struct mofka_subscribe_request {
    struct mofka_request_head head;
    uint8_t partition[16];
    uint64_t start_id;
    uint64_t life; /* of the contents to go on with, from an earlier answer; 0: any */
};

enum {
    MOFKA_WITH_DATA = 1,
    MOFKA_COMPARED = 2 /* frames are compared with their checksums before they are sent, too */
};

/* Followed by the bulk handle of the room (flat bytes). head.extra: most events. */
struct mofka_fetch_request {
    struct mofka_request_head head;
    uint64_t room; /* bytes */
    uint32_t frames_max;
    uint32_t flat;
};

/* Followed by items, ranges of all items, bulk handle of the destination (flat bytes). head.extra: items. */
struct mofka_read_request {
    struct mofka_request_head head;
    uint32_t range_count;
    uint32_t flat;
};

struct mofka_read_item {
    uint64_t event_id;
    uint64_t range_count;
};

struct mofka_acknowledge_request {
    struct mofka_request_head head;
    uint64_t event_id;
};

/*
 * What operators ask without a session. The registry may be behind, and another partition where this one was: nothing must
 * be done to that. An inspection is followed by the name of a consumer (head.extra bytes): saved positions behind it are
 * wanted.
 */
struct mofka_operator_request {
    struct mofka_request_head head;
    uint8_t partition[16]; /* uuid */
};

enum {
    MOFKA_POSITION_START = 0xff,   /* the part of head.flags that is an enum diaspora_start */
    MOFKA_POSITION_FORCE = 0x100,  /* even if consumers of that name are there: their sessions end */
    MOFKA_POSITION_REMOVE = 0x200, /* forget it; the start has no meaning */
};

/* Followed by the name (head.extra bytes). */
struct mofka_set_position_request {
    struct mofka_request_head head;
    uint8_t partition[16]; /* uuid */
    uint64_t start_id;     /* for DIASPORA_START_ID, or nanoseconds since 1970 for DIASPORA_START_TIME */
};

/* Start of all answers; a text of text_size bytes follows when code is not 0. */
struct mofka_answer {
    int32_t code;
    uint32_t text_size;
};

struct mofka_attach_answer {
    struct mofka_answer answer;
    uint64_t token;
    uint64_t stored_end; /* behind the newest batch of this producer that the partition knows */
};

struct mofka_produce_answer {
    struct mofka_answer answer;
    uint64_t first_id;
};

struct mofka_subscribe_answer {
    struct mofka_answer answer;
    uint64_t token;
    uint64_t position; /* the first event that will be delivered */
    uint64_t end;      /* events stored at that moment */
    uint64_t skipped;  /* events before `position` that were asked for, but are no longer kept */
    uint64_t life;     /* see dango_mofka_partition_life */
};

/*
 * The frames stand one behind the other. Whole frames are padded to 8 bytes, MOFKA_FRAME_PARTs are not, so that headers
 * may be unaligned.
 */
enum {
    MOFKA_FRAMES_INSIDE = 1,    /* the frames follow, else they were written to the room */
    MOFKA_FRAMES_WITH_DATA = 2, /* the data follow the records of each frame, else they are left out */
    MOFKA_FRAMES_END = 4,       /* there is nothing more, and there will never be */
    MOFKA_FRAMES_REMOVED = 8    /* the lost events are not damaged, but no longer kept */
};

struct mofka_fetch_answer {
    struct mofka_answer answer;
    uint64_t size;   /* bytes of frames */
    uint64_t needed; /* size is 0: room that the next event alone takes without its data … */
    uint64_t
        lost; /* … or the number of events that are damaged or removed from the next one on; what follows is behind */
    uint32_t flags;
    uint32_t reserved;
};

enum { MOFKA_BYTES_INSIDE = 1 };

/* Followed by an int32_t per item, padded to 8 bytes, then by `size` bytes if they are inside. */
struct mofka_read_answer {
    struct mofka_answer answer;
    uint32_t item_count;
    uint32_t flags;
    uint64_t size;
};

/* Flag of erase: the files stay. */
enum { MOFKA_ERASE_KEEP = 1 };

enum { MOFKA_STATE_MORE = 1, MOFKA_STATE_COMPLETE = 2 };

/* Followed by `count` items, in the order of their names. */
struct mofka_inspect_answer {
    struct mofka_answer answer;
    uint64_t first_id, end;        /* events that are there */
    uint32_t producers, consumers; /* sessions */
    uint32_t flags;                /* MORE: there are names behind these */
    uint32_t count;
};

/* Followed by the name, not padded. */
struct mofka_inspect_item {
    uint64_t position;
    uint32_t connected; /* consumers of that name */
    uint32_t name_size;
};

/* ---- decoded messages: pointers into the message ---- */

struct mofka_produce {
    struct mofka_produce_request request;
    uint32_t count;
    const unsigned char *records, *data;           /* when inside */
    const unsigned char *records_flat, *data_flat; /* when not */
};

struct mofka_read {
    struct mofka_read_request request;
    uint32_t item_count;
    const unsigned char *items, *ranges; /* unaligned: use the functions below */
    const unsigned char *flat;
    uint64_t size; /* bytes of all ranges */
};

/* Fixed structures are checked for version and length; `size` is that of the structure. */
int dango_mofka_decode_request(const struct mofka_message *message, void *request, size_t size,
                               struct dango_error *err);
/* The same for an answer. When it reports an error: that code, with its text in err. */
int dango_mofka_decode_answer(const struct mofka_message *message, void *answer, size_t size, struct dango_error *err);

/* The name that follows attach and subscribe requests, as a string. */
int dango_mofka_decode_name(const struct mofka_message *message, size_t head_size, char name[MOFKA_NAME_MAX + 1],
                            struct dango_error *err);
int dango_mofka_decode_produce(const struct mofka_message *message, struct mofka_produce *produce,
                               struct dango_error *err);
int dango_mofka_decode_fetch(const struct mofka_message *message, struct mofka_fetch_request *fetch,
                             const unsigned char **flat, struct dango_error *err);
int dango_mofka_decode_read(const struct mofka_message *message, struct mofka_read *read, struct dango_error *err);

static inline struct mofka_read_item mofka_read_item(const struct mofka_read *read, uint32_t i)
{
    assert(i < read->item_count);
    struct mofka_read_item item;
    memcpy(&item, read->items + i * sizeof item, sizeof item);
    return item;
}

static inline diaspora_range mofka_read_range(const struct mofka_read *read, uint32_t i)
{
    assert(i < read->request.range_count);
    diaspora_range range;
    memcpy(&range, read->ranges + i * sizeof range, sizeof range);
    return range;
}

/* Statuses and, if inside, bytes of a read's answer that belongs to a request of item_count items and size bytes. */
int dango_mofka_decode_read_answer(const struct mofka_message *message, uint32_t item_count, uint64_t size,
                                   struct mofka_read_answer *answer, const unsigned char **statuses,
                                   const unsigned char **bytes, struct dango_error *err);

/* The item at *offset of the answer to inspect, which moves on. */
int dango_mofka_decode_inspect_item(const struct mofka_message *message, size_t *offset,
                                    struct mofka_inspect_item *item, char name[MOFKA_NAME_MAX + 1],
                                    struct dango_error *err);

static inline void mofka_request_head_init(struct mofka_request_head *head, uint64_t token)
{
    *head = (struct mofka_request_head){.version = MOFKA_WIRE_VERSION, .token = token};
}

#endif
