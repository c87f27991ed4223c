/*
 * A ring of messages in memory shared by two processes: one producer, one consumer, no locks.
 *
 * Positions count bytes and never wrap; the offset is the position modulo the size. A record is a header of 8 bytes
 * and the message, padded to a cache line, so that two records never share one. A record does not wrap around the
 * end: the rest is filled with a pad record. The producer writes the record, then the tail; the consumer copies out,
 * then writes the head.
 *
 * Small footprint: a producer that finds the ring empty and has moved past the hot part goes back to the beginning, so
 * that light traffic touches the first few pages only, and they stay in the cache.
 *
 * The other side is not trusted. Each side keeps its own position in private memory, and checks what it reads: a tail
 * or head that is out of range, or a record that does not fit, is SM_RING_CORRUPT. Headers are read once.
 */
#ifndef DANGO_MERCURY_NA_SM_SM_RING_H
#define DANGO_MERCURY_NA_SM_SM_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define SM_RING_SIZE  (128u << 10) /* bytes of data per direction; a power of two */
#define SM_RING_HOT   (8u << 10)   /* light traffic stays below this offset */
#define SM_RING_ALIGN 64u          /* of records */

enum sm_ring_result { SM_RING_OK, SM_RING_EMPTY, SM_RING_FULL, SM_RING_CORRUPT };

/* Control words, each on its own cache line (pairs, because of the adjacent-line prefetcher). */
struct sm_ring_control {
    _Alignas(128) _Atomic uint64_t tail;      /* written by the producer */
    _Alignas(128) _Atomic uint64_t head;      /* written by the consumer */
    _Alignas(128) _Atomic uint32_t want_room; /* producer met a full ring and wants to be told of room */
    _Alignas(128) _Atomic uint32_t closed;    /* producer has closed the connection: its memory is not to be touched */
};

struct sm_producer {
    struct sm_ring_control *control;
    char *data;
    size_t message_max;
    uint64_t tail;
    uint64_t head; /* last seen, checked */
};

struct sm_consumer {
    struct sm_ring_control *control;
    const char *data;
    size_t message_max;
    uint64_t head;
    uint64_t tail; /* last seen, checked */
};

/* Both start at position 0; the control words must be zero. */
void sm_producer_init(struct sm_producer *producer, struct sm_ring_control *control, void *data, size_t message_max);
void sm_consumer_init(struct sm_consumer *consumer, struct sm_ring_control *control, const void *data,
                      size_t message_max);

/* Appends one message made of pieces. SM_RING_FULL: the consumer will see want_room. */
enum sm_ring_result sm_ring_write(struct sm_producer *producer, const struct iovec *pieces, int count);

/* The next message, in shared memory, valid until sm_ring_consumed. */
enum sm_ring_result sm_ring_next(struct sm_consumer *consumer, const void **bytes, size_t *size);
/* Steps over a message of that size; the room is given back by sm_ring_publish. */
void sm_ring_consumed(struct sm_consumer *consumer, size_t size);
/* Gives back the room. True if the producer waits for it and must be woken. */
bool sm_ring_publish(struct sm_consumer *consumer);

/* Is there anything to read? (Also true if the ring is corrupt.) */
static inline bool sm_ring_pending(const struct sm_consumer *consumer)
{
    return atomic_load_explicit(&consumer->control->tail, memory_order_acquire) != consumer->head;
}

#endif
