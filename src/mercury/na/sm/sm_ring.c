/*
 * The ring of sm_ring.h. No function here blocks, allocates, or writes outside of the ring whatever the peer does.
 */
#include "mercury/na/sm/sm_ring.h"

#include "mercury/na/wait.h"
#include "util/fence.h"

#include <assert.h>
#include <string.h>

enum record_kind { RECORD_MESSAGE = 0x4d534721, RECORD_PAD = 0x50414421 };

/* First word of a record; read and written as one 64-bit word. */
struct record {
    uint32_t size; /* bytes of the message; 0 for a pad, which reaches to the end of the ring */
    uint32_t kind;
};

static size_t record_space(size_t size)
{
    return (sizeof(struct record) + size + SM_RING_ALIGN - 1) & ~(size_t)(SM_RING_ALIGN - 1);
}

static size_t offset_of(uint64_t position)
{
    return position & (SM_RING_SIZE - 1);
}

static void record_store(char *at, uint32_t size, uint32_t kind)
{
    struct record record = {.size = size, .kind = kind};
    memcpy(at, &record, sizeof record);
}

/* One load, so that the peer cannot change the header between check and use. */
static struct record record_load(const char *at)
{
    uint64_t word = *(const volatile uint64_t *)(const void *)at;
    struct record record;
    memcpy(&record, &word, sizeof record);
    return record;
}

void sm_producer_init(struct sm_producer *producer, struct sm_ring_control *control, void *data, size_t message_max)
{
    assert(record_space(message_max) <= SM_RING_SIZE / 4);
    *producer = (struct sm_producer){.control = control, .data = data, .message_max = message_max};
}

void sm_consumer_init(struct sm_consumer *consumer, struct sm_ring_control *control, const void *data,
                      size_t message_max)
{
    assert(record_space(message_max) <= SM_RING_SIZE / 4);
    *consumer = (struct sm_consumer){.control = control, .data = data, .message_max = message_max};
}

/* Looks at the head again; false if it is impossible. */
static bool refresh_head(struct sm_producer *producer)
{
    uint64_t head = atomic_load_explicit(&producer->control->head, memory_order_acquire);

    if (head - producer->head > producer->tail - producer->head || head % SM_RING_ALIGN)
        return false;
    producer->head = head;
    return true;
}

static bool has_room(const struct sm_producer *producer, size_t size)
{
    return SM_RING_SIZE - (producer->tail - producer->head) >= size;
}

/* Makes sure of `size` bytes, telling the consumer if there is no room. */
static enum sm_ring_result ensure_room(struct sm_producer *producer, size_t size)
{
    if (has_room(producer, size))
        return SM_RING_OK;
    if (!refresh_head(producer))
        return SM_RING_CORRUPT;
    if (has_room(producer, size))
        return SM_RING_OK;
    atomic_store_explicit(&producer->control->want_room, 1, memory_order_relaxed);
    /* The wish must be visible before we look for the last time; see sm_ring_publish. */
    dango_full_fence();
    if (!refresh_head(producer))
        return SM_RING_CORRUPT;
    if (!has_room(producer, size))
        return SM_RING_FULL;
    atomic_store_explicit(&producer->control->want_room, 0, memory_order_relaxed);
    return SM_RING_OK;
}

static char *copy_pieces(char *to, const struct iovec *pieces, int count)
{
    for (int i = 0; i < count; i++) {
        memcpy(to, pieces[i].iov_base, pieces[i].iov_len);
        to += pieces[i].iov_len;
    }
    return to;
}

/* Bytes of padding in front of a record of `space` bytes. */
static size_t padding(struct sm_producer *producer, size_t space, enum sm_ring_result *result)
{
    size_t offset = offset_of(producer->tail), rest = SM_RING_SIZE - offset;

    *result = SM_RING_OK;
    if (space > rest)
        return rest;
    if (offset < SM_RING_HOT || offset < space)
        return 0;
    if (!refresh_head(producer)) {
        *result = SM_RING_CORRUPT;
        return 0;
    }
    return producer->head == producer->tail ? rest : 0;
}

enum sm_ring_result sm_ring_write(struct sm_producer *producer, const struct iovec *pieces, int count)
{
    enum sm_ring_result result;
    size_t size = 0, space, pad;

    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    assert(size <= producer->message_max);
    space = record_space(size);
    pad = padding(producer, space, &result);
    if (result == SM_RING_OK)
        result = ensure_room(producer, pad + space);
    if (result != SM_RING_OK)
        return result;

    char *at = producer->data + offset_of(producer->tail);
    if (pad) {
        record_store(at, 0, RECORD_PAD);
        at = producer->data;
    }
    record_store(at, (uint32_t)size, RECORD_MESSAGE);
    copy_pieces(at + sizeof(struct record), pieces, count);
    producer->tail += pad + space;
    atomic_store_explicit(&producer->control->tail, producer->tail, memory_order_release);
    return SM_RING_OK;
}

/* Bytes that may be read, after checking the peer's tail; false if it is impossible. */
static bool refresh_tail(struct sm_consumer *consumer)
{
    uint64_t tail = atomic_load_explicit(&consumer->control->tail, memory_order_acquire);

    if (tail - consumer->head > SM_RING_SIZE || tail % SM_RING_ALIGN)
        return false;
    consumer->tail = tail;
    return true;
}

enum sm_ring_result sm_ring_next(struct sm_consumer *consumer, const void **bytes, size_t *size)
{
    for (;;) {
        if (consumer->tail == consumer->head && !refresh_tail(consumer))
            return SM_RING_CORRUPT;
        size_t available = consumer->tail - consumer->head;
        if (available == 0)
            return SM_RING_EMPTY;

        size_t offset = offset_of(consumer->head), rest = SM_RING_SIZE - offset;
        struct record record = record_load(consumer->data + offset);
        if (record.kind == RECORD_PAD) {
            if (rest > available)
                return SM_RING_CORRUPT;
            consumer->head += rest;
            continue;
        }
        if (record.kind != RECORD_MESSAGE || record.size > consumer->message_max)
            return SM_RING_CORRUPT;
        if (record_space(record.size) > available || record_space(record.size) > rest)
            return SM_RING_CORRUPT;
        *bytes = consumer->data + offset + sizeof record;
        *size = record.size;
        return SM_RING_OK;
    }
}

void sm_ring_consumed(struct sm_consumer *consumer, size_t size)
{
    assert(record_space(size) <= consumer->tail - consumer->head);
    consumer->head += record_space(size);
}

bool sm_ring_publish(struct sm_consumer *consumer)
{
    atomic_store_explicit(&consumer->control->head, consumer->head, memory_order_release);
    /* The room must be visible before we look whether anybody waits for it; see ensure_room. */
    dango_full_fence();
    if (!atomic_load_explicit(&consumer->control->want_room, memory_order_relaxed))
        return false;
    return atomic_exchange_explicit(&consumer->control->want_room, 0, memory_order_relaxed) != 0;
}
