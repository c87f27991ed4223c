/*
 * Slots: objects with a stable address and index, made in chunks and reused through a free list. The array of chunk
 * pointers has its full length from the start (untouched pages cost nothing), so that an index from the network can be
 * looked up without a lock.
 */
#include "mercury/hg.h"

#include <assert.h>
#include <stdlib.h>

int hgi_table_init(struct hgi_table *table, size_t object_size)
{
    assert(object_size >= sizeof(struct hgi_slot));
    table->object_size = (object_size + 15) & ~(size_t)15;
    table->free = NULL;
    table->chunk_count = table->used = 0;
    table->chunks = calloc(HGI_CHUNKS_MAX, sizeof *table->chunks);
    if (!table->chunks)
        return -1;
    pthread_mutex_init(&table->lock, NULL);
    return 0;
}

void hgi_table_fini(struct hgi_table *table)
{
    assert(table->used == 0);
    for (size_t i = 0; i < table->chunk_count; i++)
        free(atomic_load(&table->chunks[i]));
    free((void *)table->chunks);
    pthread_mutex_destroy(&table->lock);
}

/* Adds a chunk to the free list; lock held. */
static void grow(struct hgi_table *table)
{
    size_t first = table->chunk_count * HGI_CHUNK_SLOTS;
    char *chunk;

    if (table->chunk_count == HGI_CHUNKS_MAX)
        return;
    chunk = calloc(HGI_CHUNK_SLOTS, table->object_size);
    if (!chunk)
        return;
    for (size_t i = HGI_CHUNK_SLOTS; i-- > 0;) {
        struct hgi_slot *slot = (struct hgi_slot *)(void *)(chunk + i * table->object_size);
        slot->index = (uint32_t)(first + i);
        slot->next_free = table->free;
        table->free = slot;
    }
    atomic_store_explicit(&table->chunks[table->chunk_count++], chunk, memory_order_release);
}

struct hgi_slot *hgi_table_get(struct hgi_table *table)
{
    struct hgi_slot *slot;

    pthread_mutex_lock(&table->lock);
    if (!table->free)
        grow(table);
    slot = table->free;
    if (slot) {
        table->free = slot->next_free;
        table->used++;
        slot->used = true;
    }
    pthread_mutex_unlock(&table->lock);
    return slot;
}

void hgi_table_put(struct hgi_table *table, struct hgi_slot *slot)
{
    assert(atomic_load_explicit(&slot->pending, memory_order_relaxed) == 0);
    pthread_mutex_lock(&table->lock);
    assert(slot->used);
    assert(hgi_table_at(table, slot->index) == slot);
    slot->used = false;
    slot->next_free = table->free;
    table->free = slot;
    table->used--;
    pthread_mutex_unlock(&table->lock);
}

size_t hgi_table_used(struct hgi_table *table)
{
    pthread_mutex_lock(&table->lock);
    size_t used = table->used;
    pthread_mutex_unlock(&table->lock);
    return used;
}

struct hgi_slot *hgi_table_at(struct hgi_table *table, uint32_t index)
{
    char *chunk;

    if (index >= HGI_CHUNKS_MAX * HGI_CHUNK_SLOTS)
        return NULL;
    chunk = atomic_load_explicit(&table->chunks[index / HGI_CHUNK_SLOTS], memory_order_acquire);
    return chunk ? (struct hgi_slot *)(void *)(chunk + (index % HGI_CHUNK_SLOTS) * table->object_size) : NULL;
}

uint64_t hgi_slot_arm(struct hgi_slot *slot, struct na_conn *conn, enum hgi_expects expects)
{
    /* Generation 0 does not exist, so that no cookie is 0. */
    if (++slot->generation == 0)
        slot->generation = 1;
    uint64_t cookie = (uint64_t)slot->generation << 32 | slot->index;

    assert(atomic_load(&slot->pending) == 0);
    atomic_store_explicit(&slot->conn, conn, memory_order_relaxed);
    atomic_store_explicit(&slot->expects, (int)expects, memory_order_relaxed);
    atomic_store_explicit(&slot->pending, cookie, memory_order_release);
    return cookie;
}

struct hgi_slot *hgi_table_find(struct hgi_table *table, uint64_t cookie, struct na_conn *conn,
                                enum hgi_expects expects, bool *violation)
{
    struct hgi_slot *slot = hgi_table_at(table, (uint32_t)cookie);

    *violation = false;
    if (!slot || cookie == 0 || atomic_load_explicit(&slot->pending, memory_order_acquire) != cookie)
        return NULL;
    /* If the slot is being reused meanwhile, the claim fails; these may then be the new ones, which does no harm: a
     * violation needs the present cookie, checked again. */
    bool ours = atomic_load_explicit(&slot->conn, memory_order_relaxed) == conn &&
                atomic_load_explicit(&slot->expects, memory_order_relaxed) == (int)expects;
    if (ours)
        return slot;
    *violation = atomic_load_explicit(&slot->pending, memory_order_acquire) == cookie;
    return NULL;
}

struct hgi_slot *hgi_table_claim(struct hgi_table *table, uint64_t cookie, struct na_conn *conn,
                                 enum hgi_expects expects, bool *violation)
{
    struct hgi_slot *slot = hgi_table_find(table, cookie, conn, expects, violation);
    return slot && hgi_slot_claim(slot, cookie) ? slot : NULL;
}
