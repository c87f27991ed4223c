/*
 * Bulk handles: descriptions of memory, and their flat form.
 *
 *     descriptor header | count × (address, size) | access, or the data themselves if embedded
 *
 * Access is what the transport of the owner says of its region, if memory has one: that of local memory is opened when
 * the size of its flat form is first asked for, and closed before the memory is given back. What it means is the
 * business of transports; here it is so many bytes, which go along when a handle is passed on.
 * A descriptor from a peer is checked for consistency before anything is allocated. Addresses in it are only ever used
 * by the kernel (process_vm_*, which checks them) or by their owner, who ignores them and looks up the key.
 * Local memory is entered in the class' directory under a random key when it is serialised for the first time.
 */
#include "mercury/hg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define DESCRIPTOR_MAGIC 0x4b4c4231u /* "1BLK" */

struct descriptor {
    uint32_t magic;
    uint8_t flags;
    uint8_t embedded;     /* the data follow */
    uint16_t access_size; /* bytes of the region's description; only if nothing is embedded */
    uint32_t count;
    uint32_t reserved2;
    uint64_t size; /* sum of the segments */
    uint64_t key;
};

static struct hg_bulk *bulk_new(hg_class_t *hg_class, uint32_t count, uint64_t extra)
{
    assert(count > 0);
    struct hg_bulk *bulk = calloc(1, sizeof *bulk + count * sizeof(struct na_segment) + extra);

    if (!bulk)
        return NULL;
    bulk->hg_class = hg_class;
    bulk->count = count;
    atomic_init(&bulk->refs, 1);
    list_init(&bulk->loans);
    return bulk;
}

static void close_region(hg_class_t *hg_class, struct na_region *region)
{
    hg_class->domain->transport->region_close(hg_class->domain, region);
}

/* ---- create and free ---- */

static void free_memory(struct hg_bulk *bulk)
{
    for (uint32_t i = 0; bulk->owns_memory && i < bulk->count; i++)
        free((void *)(uintptr_t)bulk->segments[i].address);
}

/* Fills in the segments; allocates them if `ptrs` is NULL. */
static hg_return_t describe(struct hg_bulk *bulk, void **ptrs, const hg_size_t *sizes)
{
    bulk->owns_memory = !ptrs;
    for (uint32_t i = 0; i < bulk->count; i++) {
        if (sizes[i] > UINT64_MAX - bulk->size)
            return HG_INVALID_ARG;
        bulk->size += sizes[i];
        void *memory = ptrs ? ptrs[i] : calloc(1, sizes[i] ? sizes[i] : 1);
        if (!memory && !ptrs)
            return HG_NOMEM;
        if (!memory && sizes[i] > 0)
            return HG_INVALID_ARG;
        bulk->segments[i] = (struct na_segment){.address = (uint64_t)(uintptr_t)memory, .size = sizes[i]};
    }
    return HG_SUCCESS;
}

hg_return_t HG_Bulk_create(hg_class_t *hg_class, uint32_t count, void **buf_ptrs, const hg_size_t *buf_sizes,
                           uint8_t flags, hg_bulk_t *handle)
{
    struct hg_bulk *bulk;
    hg_return_t ret;

    if (handle)
        *handle = HG_BULK_NULL;
    if (!hg_class || count == 0 || !buf_sizes || !handle || flags < HG_BULK_READ_ONLY || flags > HG_BULK_READWRITE)
        return HG_INVALID_ARG;
    bulk = bulk_new(hg_class, count, 0);
    if (!bulk)
        return HG_NOMEM;
    bulk->kind = HGI_BULK_LOCAL;
    bulk->flags = flags;
    ret = describe(bulk, buf_ptrs, buf_sizes);
    if (ret != HG_SUCCESS) {
        HG_Bulk_free(bulk);
        return ret;
    }
    *handle = bulk;
    return HG_SUCCESS;
}

hg_return_t HG_Bulk_create_attr(hg_class_t *hg_class, uint32_t count, void **buf_ptrs, const hg_size_t *buf_sizes,
                                uint8_t flags, const struct hg_bulk_attr *attrs, hg_bulk_t *handle)
{
    if (attrs && attrs->mem_type != HG_MEM_TYPE_HOST) {
        if (handle)
            *handle = HG_BULK_NULL;
        return HG_OPNOTSUPPORTED;
    }
    return HG_Bulk_create(hg_class, count, buf_ptrs, buf_sizes, flags, handle);
}

hg_return_t HG_Bulk_ref_incr(hg_bulk_t handle)
{
    if (!handle)
        return HG_INVALID_ARG;
    atomic_fetch_add_explicit(&handle->refs, 1, memory_order_relaxed);
    return HG_SUCCESS;
}

/* Drops a reference of registered memory: the last one under the lock, so that no look-up revives it. */
static bool release_registered(struct hg_bulk *bulk)
{
    hg_class_t *hg_class = bulk->hg_class;
    bool last;

    pthread_mutex_lock(&hg_class->bulks_lock);
    last = atomic_fetch_sub_explicit(&bulk->refs, 1, memory_order_acq_rel) == 1;
    if (last && bulk->registered)
        HASH_DEL(hg_class->bulks, bulk);
    pthread_mutex_unlock(&hg_class->bulks_lock);
    return last;
}

hg_return_t HG_Bulk_free(hg_bulk_t handle)
{
    unsigned refs;

    if (!handle)
        return HG_SUCCESS;
    refs = atomic_load_explicit(&handle->refs, memory_order_acquire);
    assert(refs > 0);
    while (refs > 1)
        if (atomic_compare_exchange_weak_explicit(&handle->refs, &refs, refs - 1, memory_order_acq_rel,
                                                  memory_order_acquire))
            return HG_SUCCESS;
    /* Ours is the only reference, unless a peer's request has just found the memory by its key. */
    if (handle->registered) {
        if (!release_registered(handle))
            return HG_SUCCESS;
        hgi_loans_recall(handle->hg_class, &handle->loans);
    }
    if (handle->region)
        close_region(handle->hg_class, handle->region);
    free_memory(handle);
    free(handle);
    return HG_SUCCESS;
}

/* ---- accessors ---- */

hg_size_t HG_Bulk_get_size(hg_bulk_t handle)
{
    return handle ? handle->size : 0;
}

uint32_t HG_Bulk_get_segment_count(hg_bulk_t handle)
{
    return handle ? handle->count : 0;
}

uint8_t HG_Bulk_get_flags(hg_bulk_t handle)
{
    return handle ? handle->flags : 0;
}

hg_return_t HG_Bulk_access(hg_bulk_t handle, hg_size_t offset, hg_size_t size, uint8_t flags, uint32_t max_count,
                           void **buf_ptrs, hg_size_t *buf_sizes, uint32_t *actual_count)
{
    uint32_t count = 0;

    if (!handle)
        return HG_INVALID_ARG;
    if (size == 0 || max_count == 0)
        return HG_SUCCESS;
    if (handle->kind == HGI_BULK_REMOTE || !hgi_bulk_contains(handle, offset, size))
        return HG_INVALID_ARG;
    if (handle->kind == HGI_BULK_COPY && (flags & HG_BULK_WRITE_ONLY))
        return HG_PERMISSION;
    for (uint32_t i = 0; i < handle->count && size > 0 && count < max_count; i++) {
        const struct na_segment *segment = &handle->segments[i];
        if (offset >= segment->size) {
            offset -= segment->size;
            continue;
        }
        uint64_t piece = segment->size - offset < size ? segment->size - offset : size;
        if (buf_ptrs)
            buf_ptrs[count] = (char *)(uintptr_t)segment->address + offset;
        if (buf_sizes)
            buf_sizes[count] = piece;
        count++;
        size -= piece;
        offset = 0;
    }
    if (actual_count)
        *actual_count = count;
    return HG_SUCCESS;
}

enum copy_direction { COPY_OUT, COPY_IN };

/* Copies between a range of local memory and a flat buffer. */
static void copy(struct hg_bulk *bulk, uint64_t offset, char *flat, uint64_t size, enum copy_direction direction)
{
    assert(bulk->kind != HGI_BULK_REMOTE && hgi_bulk_contains(bulk, offset, size));
    for (uint32_t i = 0; size > 0; i++) {
        const struct na_segment *segment = &bulk->segments[i];
        if (offset >= segment->size) {
            offset -= segment->size;
            continue;
        }
        uint64_t piece = segment->size - offset < size ? segment->size - offset : size;
        char *memory = (char *)(uintptr_t)segment->address + offset;
        memmove(direction == COPY_OUT ? flat : memory, direction == COPY_OUT ? memory : flat, piece);
        flat += piece;
        size -= piece;
        offset = 0;
    }
}

void hgi_bulk_read(struct hg_bulk *bulk, uint64_t offset, void *to, uint64_t size)
{
    copy(bulk, offset, to, size, COPY_OUT);
}

void hgi_bulk_write(struct hg_bulk *bulk, uint64_t offset, const void *from, uint64_t size)
{
    copy(bulk, offset, (char *)(uintptr_t)from, size, COPY_IN);
}

/* ---- keys ---- */

/* A random number; they are drawn in batches. bulks_lock held. 0 if the system has none to give. */
static uint64_t draw_key(hg_class_t *hg_class)
{
    if (hg_class->keys_left == 0) {
        if (getrandom(hg_class->keys, sizeof hg_class->keys, 0) != sizeof hg_class->keys)
            return 0;
        hg_class->keys_left = sizeof hg_class->keys / sizeof *hg_class->keys;
    }
    return hg_class->keys[--hg_class->keys_left];
}

static hg_return_t ensure_registered(struct hg_bulk *bulk)
{
    hg_class_t *hg_class = bulk->hg_class;
    struct hg_bulk *other = bulk;

    if (bulk->kind != HGI_BULK_LOCAL)
        return HG_SUCCESS;
    pthread_mutex_lock(&hg_class->bulks_lock);
    while (!bulk->registered && other) {
        bulk->key = draw_key(hg_class);
        if (bulk->key == 0)
            break;
        HASH_FIND(hh, hg_class->bulks, &bulk->key, sizeof bulk->key, other);
    }
    if (!bulk->registered && bulk->key != 0) {
        HASH_ADD(hh, hg_class->bulks, key, sizeof bulk->key, bulk);
        bulk->registered = true;
    }
    bool registered = bulk->registered;
    pthread_mutex_unlock(&hg_class->bulks_lock);
    return registered ? HG_SUCCESS : HG_OTHER_ERROR;
}

void hgi_bulks_forget(hg_class_t *hg_class)
{
    struct hg_bulk *bulk, *next;

    pthread_mutex_lock(&hg_class->bulks_lock);
    HASH_ITER (hh, hg_class->bulks, bulk, next) {
        HASH_DEL(hg_class->bulks, bulk);
        bulk->registered = false;
        if (bulk->region)
            close_region(hg_class, bulk->region);
        bulk->region = NULL;
    }
    pthread_mutex_unlock(&hg_class->bulks_lock);
}

hg_return_t hgi_bulk_check(const struct hg_bulk *bulk, const struct hgi_range *range, uint8_t right)
{
    if (!bulk)
        return HG_NOENTRY;
    if (!(bulk->flags & right))
        return HG_PERMISSION;
    return hgi_bulk_contains(bulk, range->offset, range->size) ? HG_SUCCESS : HG_INVALID_ARG;
}

struct hg_bulk *hgi_bulk_by_key(hg_class_t *hg_class, uint64_t key)
{
    struct hg_bulk *bulk;

    pthread_mutex_lock(&hg_class->bulks_lock);
    HASH_FIND(hh, hg_class->bulks, &key, sizeof key, bulk);
    if (bulk)
        atomic_fetch_add_explicit(&bulk->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&hg_class->bulks_lock);
    return bulk;
}

/* ---- flat form ---- */

/* Are the data to be embedded, and can they be? */
static bool embeds(struct hg_bulk *bulk, unsigned long flags)
{
    return bulk->kind == HGI_BULK_COPY || ((flags & HG_BULK_EAGER) && bulk->kind == HGI_BULK_LOCAL);
}

/* Lets peers access local memory by themselves, if the transport can. Tried once. What has a region is in the
 * directory, so that none outlives the domain. */
static void ensure_region(struct hg_bulk *bulk)
{
    hg_class_t *hg_class = bulk->hg_class;
    struct na_domain *domain = hg_class->domain;

    if (bulk->kind != HGI_BULK_LOCAL || !domain->transport->region_open ||
        atomic_load_explicit(&bulk->region_tried, memory_order_acquire) || ensure_registered(bulk) != HG_SUCCESS)
        return;
    struct na_region *region = domain->transport->region_open(domain, bulk->segments, bulk->count, bulk->flags);
    pthread_mutex_lock(&hg_class->bulks_lock);
    if (!bulk->region_tried) {
        bulk->region = region;
        region = NULL;
        atomic_store_explicit(&bulk->region_tried, true, memory_order_release);
    }
    pthread_mutex_unlock(&hg_class->bulks_lock);
    if (region) /* another thread was first */
        close_region(hg_class, region);
}

/* What follows the list of segments. */
static uint64_t tail_size(struct hg_bulk *bulk, unsigned long flags)
{
    if (embeds(bulk, flags))
        return bulk->size;
    ensure_region(bulk);
    return bulk->region ? bulk->region->size : bulk->access_size;
}

hg_size_t HG_Bulk_get_serialize_size(hg_bulk_t handle, unsigned long flags)
{
    if (!handle)
        return 0;
    return sizeof(struct descriptor) + handle->count * sizeof(struct na_segment) + tail_size(handle, flags);
}

hg_return_t HG_Bulk_serialize(void *buf, hg_size_t buf_size, unsigned long flags, hg_bulk_t handle)
{
    struct descriptor descriptor;
    char *at = buf;
    hg_return_t ret;

    if (!buf || !handle)
        return HG_INVALID_ARG;
    ret = ensure_registered(handle); /* before anybody asks how long its tail is, which depends on it */
    if (ret != HG_SUCCESS)
        return ret;
    bool embedded = embeds(handle, flags);
    uint64_t tail = tail_size(handle, flags);
    if (buf_size < sizeof descriptor + handle->count * sizeof(struct na_segment) + tail)
        return HG_OVERFLOW;
    descriptor = (struct descriptor){.magic = DESCRIPTOR_MAGIC,
                                     .flags = handle->flags,
                                     .embedded = embedded,
                                     .access_size = embedded ? 0 : (uint16_t)tail,
                                     .count = handle->count,
                                     .size = handle->size,
                                     .key = handle->key};
    memcpy(at, &descriptor, sizeof descriptor);
    at += sizeof descriptor;
    memcpy(at, handle->segments, handle->count * sizeof *handle->segments);
    at += handle->count * sizeof *handle->segments;
    if (embedded)
        hgi_bulk_read(handle, 0, at, handle->size);
    else if (tail > 0)
        memcpy(at, handle->region ? handle->region->access : handle->access, tail);
    return HG_SUCCESS;
}

/* Is the descriptor consistent with itself and with the bytes there are? */
static bool plausible(const struct descriptor *descriptor, const char *segments, uint64_t size)
{
    uint64_t sum = 0, list_size = (uint64_t)descriptor->count * sizeof(struct na_segment);

    if (descriptor->magic != DESCRIPTOR_MAGIC || descriptor->count == 0 || descriptor->embedded > 1 ||
        descriptor->flags < HG_BULK_READ_ONLY || descriptor->flags > HG_BULK_READWRITE || list_size > size)
        return false;
    for (uint32_t i = 0; i < descriptor->count; i++) {
        struct na_segment segment;
        memcpy(&segment, segments + i * sizeof segment, sizeof segment);
        if (segment.size > UINT64_MAX - sum)
            return false;
        sum += segment.size;
    }
    if (sum != descriptor->size || (descriptor->embedded && descriptor->access_size > 0))
        return false;
    return (descriptor->embedded ? descriptor->size : descriptor->access_size) <= size - list_size;
}

/* Lets the segments of a handle with embedded data point to them. */
static void attach_copy(struct hg_bulk *bulk, const char *data)
{
    char *memory = (char *)&bulk->segments[bulk->count];

    assert(bulk->kind == HGI_BULK_COPY);
    memcpy(memory, data, bulk->size);
    for (uint32_t i = 0; i < bulk->count; i++) {
        bulk->segments[i].address = (uint64_t)(uintptr_t)memory;
        memory += bulk->segments[i].size;
    }
}

hg_return_t HG_Bulk_deserialize(hg_class_t *hg_class, hg_bulk_t *handle, const void *buf, hg_size_t buf_size)
{
    struct descriptor descriptor;
    const char *segments = (const char *)buf + sizeof descriptor;
    struct hg_bulk *bulk;

    if (handle)
        *handle = HG_BULK_NULL;
    if (!hg_class || !handle || !buf)
        return HG_INVALID_ARG;
    if (buf_size < sizeof descriptor)
        return HG_PROTOCOL_ERROR;
    memcpy(&descriptor, buf, sizeof descriptor);
    if (!plausible(&descriptor, segments, buf_size - sizeof descriptor))
        return HG_PROTOCOL_ERROR;
    bulk = bulk_new(hg_class, descriptor.count, descriptor.embedded ? descriptor.size : descriptor.access_size);
    if (!bulk)
        return HG_NOMEM;
    bulk->kind = descriptor.embedded ? HGI_BULK_COPY : HGI_BULK_REMOTE;
    bulk->flags = descriptor.flags;
    bulk->size = descriptor.size;
    bulk->key = descriptor.key;
    memcpy(bulk->segments, segments, descriptor.count * sizeof *bulk->segments);
    segments += descriptor.count * sizeof *bulk->segments;
    if (descriptor.embedded) {
        attach_copy(bulk, segments);
    } else if (descriptor.access_size > 0) {
        bulk->access = memcpy(&bulk->segments[bulk->count], segments, descriptor.access_size);
        bulk->access_size = descriptor.access_size;
    }
    *handle = bulk;
    return HG_SUCCESS;
}
