/*
 * The target `memory`: each region is a zeroed allocation; everything is gone when the target closes.
 *
 * Ids are (slot, generation, nonce of the target), little endian. A slot names a place in the table of regions; its
 * generation is counted up at erase, so that an old id never reaches a new region in the same slot; the nonce, drawn
 * at random when the target opens, tells ids of another target or of an earlier run, and makes ids hard to guess.
 *
 * The table is guarded by a mutex that is held for a few instructions only. Transfers work on references: an erased
 * region is freed by the last transfer that uses it. Memory is charged before it is allocated, so that no sequence of
 * requests takes more than `capacity`, whatever it asks for. Reads and writes of the same bytes at the same time are
 * not ordered.
 */
#include "warabi/provider/target.h"

#include "util/json.h"
#include "warabi/dango_warabi.h"
#include "warabi/wire.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define NO_SLOT UINT32_MAX
/* What a region costs besides its bytes, in the account of the target. */
#define REGION_OVERHEAD 128u

struct memory_settings {
    int64_t capacity; /* bytes; 0: half of the memory of the machine */
    int64_t max_regions;
};

struct memory_region {
    struct wb_region base;
    int references; /* atomic: the slot and each user */
    char *bytes;
};

struct slot {
    struct memory_region *region; /* NULL: free */
    uint32_t generation;          /* of the region in it, or of the next one */
    uint32_t next_free;
};

struct memory_target {
    struct wb_target base;
    struct memory_settings settings;
    uint64_t nonce;
    uint64_t charged; /* atomic: bytes of all regions with their overhead */
    _Alignas(8) ABT_mutex_memory mutex;
    struct slot *slots; /* this and the following guarded by the mutex */
    uint32_t num_slots;
    uint32_t max_slots; /* allocated */
    uint32_t first_free;
};

struct memory_id {
    uint32_t slot, generation;
    uint64_t nonce;
};
_Static_assert(sizeof(struct memory_id) == sizeof(warabi_region_t), "ids have 16 bytes");

const struct dango_option dango_warabi_memory_options[] = {
    DANGO_OPTION_INT("capacity", struct memory_settings, capacity, 0, 0, INT64_MAX,
                     "bytes that all regions together may take; 0: half of the memory of the machine"),
    DANGO_OPTION_INT("max_regions", struct memory_settings, max_regions, 1 << 24, 1, NO_SLOT - 1,
                     "regions that may exist at a time"),
    DANGO_OPTION_END,
};

static struct memory_target *target_of(struct wb_target *base)
{
    return (struct memory_target *)base;
}

static struct memory_region *region_of(struct wb_region *base)
{
    return (struct memory_region *)base;
}

static void lock(struct memory_target *target)
{
    ABT_mutex_lock(ABT_MUTEX_MEMORY_GET_HANDLE(&target->mutex));
}

static void unlock(struct memory_target *target)
{
    ABT_mutex_unlock(ABT_MUTEX_MEMORY_GET_HANDLE(&target->mutex));
}

/* ---- ids ---- */

static void encode_id(const struct memory_target *target, uint32_t slot, uint32_t generation, warabi_region_t *id)
{
    struct memory_id raw = {htole32(slot), htole32(generation), htole64(target->nonce)};
    memcpy(id->opaque, &raw, sizeof raw);
}

/* The slot that an id names, NULL if it names none. Called with the mutex held; the slot moves when the table grows. */
static struct slot *find_slot(struct memory_target *target, const warabi_region_t *id)
{
    struct memory_id raw;
    memcpy(&raw, id->opaque, sizeof raw);
    uint32_t index = le32toh(raw.slot);
    if (le64toh(raw.nonce) != target->nonce || index >= target->num_slots)
        return NULL;
    struct slot *slot = &target->slots[index];
    return slot->region && slot->generation == le32toh(raw.generation) ? slot : NULL;
}

static int not_found(struct dango_error *err)
{
    return dango_error_set(err, DANGO_ERR_NOT_FOUND,
                           "invalid region id: erased, or not of this target (regions in memory end with the target)");
}

/* ---- memory ---- */

static bool charge(struct memory_target *target, uint64_t size)
{
    uint64_t capacity = (uint64_t)target->settings.capacity;
    uint64_t charged = __atomic_load_n(&target->charged, __ATOMIC_RELAXED);
    do {
        uint64_t left = charged < capacity ? capacity - charged : 0;
        if (left < REGION_OVERHEAD || size > left - REGION_OVERHEAD)
            return false;
    } while (!__atomic_compare_exchange_n(&target->charged, &charged, charged + size + REGION_OVERHEAD, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

static void discharge(struct memory_target *target, uint64_t size)
{
    __atomic_fetch_sub(&target->charged, size + REGION_OVERHEAD, __ATOMIC_RELAXED);
}

static struct memory_region *region_create(struct memory_target *target, uint64_t size, struct dango_error *err)
{
    if (!charge(target, size)) {
        dango_error_set(err, DANGO_ERR_NO_MEMORY,
                        "a region of %llu bytes exceeds the capacity of the target (%lld bytes)",
                        (unsigned long long)size, (long long)target->settings.capacity);
        return NULL;
    }
    struct memory_region *region = malloc(sizeof *region);
    char *bytes = calloc(1, size > 0 ? size : 1);
    if (!region || !bytes) {
        free(region);
        free(bytes);
        discharge(target, size);
        dango_error_set(err, DANGO_ERR_NO_MEMORY, "no memory for a region of %llu bytes", (unsigned long long)size);
        return NULL;
    }
    *region = (struct memory_region){.base = {.target = &target->base, .size = size}, .references = 1, .bytes = bytes};
    return region;
}

static void memory_release(struct wb_region *base)
{
    struct memory_region *region = region_of(base);
    int before = __atomic_fetch_sub(&region->references, 1, __ATOMIC_ACQ_REL);
    assert(before > 0);
    if (before == 1) {
        discharge(target_of(base->target), base->size);
        free(region->bytes);
        free(region);
    }
}

/* ---- table ---- */

static int grow(struct memory_target *target, struct dango_error *err)
{
    int64_t limit = target->settings.max_regions;
    if (target->num_slots >= limit)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY,
                               "the target holds %lld regions already, as many as max_regions allows",
                               (long long)limit);
    int64_t wanted = target->max_slots ? 2 * (int64_t)target->max_slots : 64;
    size_t max_slots = (size_t)(wanted < limit ? wanted : limit);
    struct slot *slots = realloc(target->slots, max_slots * sizeof *slots);
    if (!slots)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "no memory for the table of regions");
    target->slots = slots;
    target->max_slots = (uint32_t)max_slots;
    return 0;
}

/* Index of a free slot, with the mutex held; NO_SLOT on failure. */
static uint32_t take_slot(struct memory_target *target, struct dango_error *err)
{
    uint32_t index = target->first_free;
    if (index != NO_SLOT) {
        target->first_free = target->slots[index].next_free;
        return index;
    }
    if (target->num_slots == target->max_slots && grow(target, err) != 0)
        return NO_SLOT;
    index = target->num_slots++;
    target->slots[index] = (struct slot){.generation = 1};
    return index;
}

static int memory_create(struct wb_target *base, uint64_t size, warabi_region_t *id, struct wb_region **result,
                         struct dango_error *err)
{
    struct memory_target *target = target_of(base);
    struct memory_region *region = region_create(target, size, err);
    if (!region)
        return DANGO_ERR_NO_MEMORY;
    lock(target);
    uint32_t index = take_slot(target, err);
    if (index != NO_SLOT) {
        region->references++;
        target->slots[index].region = region;
        encode_id(target, index, target->slots[index].generation, id);
    }
    unlock(target);
    if (index == NO_SLOT) {
        memory_release(&region->base);
        return DANGO_ERR_NO_MEMORY;
    }
    *result = &region->base;
    return 0;
}

static int memory_acquire(struct wb_target *base, const warabi_region_t *id, struct wb_region **result,
                          struct dango_error *err)
{
    struct memory_target *target = target_of(base);
    lock(target);
    struct slot *slot = find_slot(target, id);
    struct memory_region *region = slot ? slot->region : NULL;
    if (region)
        __atomic_fetch_add(&region->references, 1, __ATOMIC_RELAXED);
    unlock(target);
    if (!region)
        return not_found(err);
    *result = &region->base;
    return 0;
}

static int memory_erase(struct wb_target *base, const warabi_region_t *id, struct dango_error *err)
{
    struct memory_target *target = target_of(base);
    struct memory_region *region = NULL;
    lock(target);
    struct slot *slot = find_slot(target, id);
    if (slot) {
        region = slot->region;
        slot->region = NULL;
        slot->generation++;
        slot->next_free = target->first_free;
        target->first_free = (uint32_t)(slot - target->slots);
    }
    unlock(target);
    if (!region)
        return not_found(err);
    memory_release(&region->base);
    return 0;
}

/* ---- data ---- */

static int memory_write(struct wb_region *base, const struct wb_segments *segments, const char *data,
                        struct dango_error *err)
{
    (void)err;
    char *bytes = region_of(base)->bytes;
    for (size_t i = 0; i < segments->count; i++) {
        if (segments->sizes[i] > 0)
            memcpy(bytes + segments->offsets[i], data, segments->sizes[i]);
        data += segments->sizes[i];
    }
    return 0;
}

static int memory_read(struct wb_region *base, const struct wb_segments *segments, char *data, struct dango_error *err)
{
    (void)err;
    const char *bytes = region_of(base)->bytes;
    for (size_t i = 0; i < segments->count; i++) {
        if (segments->sizes[i] > 0)
            memcpy(data, bytes + segments->offsets[i], segments->sizes[i]);
        data += segments->sizes[i];
    }
    return 0;
}

/* A bulk handle on the non-empty segments, so that data move straight between the region and the remote memory. */
static int expose_segments(struct memory_region *region, const struct wb_segments *segments, margo_instance_id mid,
                           hg_uint8_t flags, hg_bulk_t *bulk, struct dango_error *err)
{
    const size_t places = segments->count;
    void *single = NULL;
    void **pointers = places > 1 ? malloc(places * (sizeof *pointers + sizeof(hg_size_t))) : &single;
    hg_size_t single_size = 0;
    hg_size_t *sizes = places > 1 ? (hg_size_t *)(pointers + places) : &single_size;
    if (!pointers)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "no memory for %zu segments", places);
    uint32_t count = 0;
    for (size_t i = 0; i < places; i++) {
        if (segments->sizes[i] == 0)
            continue;
        pointers[count] = region->bytes + segments->offsets[i];
        sizes[count++] = segments->sizes[i];
    }
    assert(count > 0);
    hg_return_t status = margo_bulk_create(mid, count, pointers, sizes, flags, bulk);
    if (pointers != &single)
        free(pointers);
    if (status != HG_SUCCESS)
        return dango_error_set(err, DANGO_ERR_IO, "cannot expose the region for RDMA: %s", HG_Error_to_string(status));
    return 0;
}

static int transfer(struct wb_region *base, const struct wb_segments *segments, uint64_t total,
                    const struct wb_remote *remote, hg_bulk_op_t op, struct dango_error *err)
{
    hg_bulk_t bulk = HG_BULK_NULL;
    hg_uint8_t flags = op == HG_BULK_PULL ? HG_BULK_WRITE_ONLY : HG_BULK_READ_ONLY;
    int status = expose_segments(region_of(base), segments, remote->mid, flags, &bulk, err);
    if (status != 0)
        return status;
    hg_return_t ret = margo_bulk_transfer_timed(remote->mid, op, remote->address, remote->bulk, remote->offset, bulk, 0,
                                                total, wb_deadline_ms(30000, total));
    margo_bulk_free(bulk);
    if (ret == HG_SUCCESS)
        return 0;
    int code = ret == HG_TIMEOUT ? DANGO_ERR_TIMEOUT : DANGO_ERR_DISCONNECTED;
    return dango_error_set(err, code, "%s %llu bytes failed: %s", op == HG_BULK_PULL ? "pulling" : "pushing",
                           (unsigned long long)total, HG_Error_to_string(ret));
}

static int memory_pull(struct wb_region *region, const struct wb_segments *segments, uint64_t total,
                       const struct wb_remote *remote, struct dango_error *err)
{
    return transfer(region, segments, total, remote, HG_BULK_PULL, err);
}

static int memory_push(struct wb_region *region, const struct wb_segments *segments, uint64_t total,
                       const struct wb_remote *remote, struct dango_error *err)
{
    return transfer(region, segments, total, remote, HG_BULK_PUSH, err);
}

/* Memory is as durable as it can be. */
static int memory_persist(struct wb_target *target, struct wb_region *region, const struct wb_segments *segments,
                          struct dango_error *err)
{
    (void)target;
    (void)region;
    (void)segments;
    (void)err;
    return 0;
}

/* ---- life ---- */

static int64_t half_of_the_machine(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_size > 0 ? (int64_t)pages / 2 * page_size : (int64_t)1 << 30;
}

static int memory_open(struct json_object *config, abt_io_instance_id io, struct wb_target **result,
                       struct dango_error *err)
{
    (void)io;
    struct memory_target *target = calloc(1, sizeof *target);
    if (!target)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    int status = dango_options_parse(dango_warabi_memory_options, config, "target.config", &target->settings, err);
    if (status == 0 && getrandom(&target->nonce, sizeof target->nonce, 0) != sizeof target->nonce)
        status = dango_error_set(err, DANGO_ERR_IO, "no random numbers");
    if (status != 0) {
        free(target);
        return status;
    }
    if (target->settings.capacity == 0)
        target->settings.capacity = half_of_the_machine();
    target->base.type = &wb_target_memory;
    target->first_free = NO_SLOT;
    *result = &target->base;
    return 0;
}

static void memory_close(struct wb_target *base)
{
    struct memory_target *target = target_of(base);
    for (uint32_t i = 0; i < target->num_slots; i++) {
        if (target->slots[i].region)
            memory_release(&target->slots[i].region->base);
    }
    assert(target->charged == 0);
    free(target->slots);
    free(target);
}

static struct json_object *memory_get_config(const struct wb_target *base)
{
    return dango_options_dump(dango_warabi_memory_options, &((const struct memory_target *)base)->settings);
}

const struct wb_target_type wb_target_memory = {
    .name = "memory",
    .options = dango_warabi_memory_options,
    .settings_size = sizeof(struct memory_settings),
    .open = memory_open,
    .close = memory_close,
    .get_config = memory_get_config,
    .create = memory_create,
    .acquire = memory_acquire,
    .release = memory_release,
    .erase = memory_erase,
    .write = memory_write,
    .read = memory_read,
    .pull = memory_pull,
    .push = memory_push,
    .persist = memory_persist,
};
