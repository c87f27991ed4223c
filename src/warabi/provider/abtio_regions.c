/*
 * Regions of the target `abtio`: which are in use, which places are free, creation and erasure.
 *
 * Ids are (place in the file, serial), little endian. The serial is random, drawn when the region is made, so that an id
 * never reaches another region that later uses the same place. Whoever uses a region looks its record up in the file,
 * unless somebody uses it at the time: only regions in use, and the places of erased ones, are in memory.
 *
 * A region is erased in its record at once, and its bytes are given back to the file system when its last user leaves;
 * then the place may be used again. Files have holes: creating a region costs one record, and what was never written reads
 * as zeros. Where the file system cannot punch holes, places of erased regions are not used again.
 */
#include "warabi/provider/abtio.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>

/* Free places of one class that are looked at. */
#define FREE_LOOKS 16

struct free_place {
    struct list_node link;
    uint64_t offset, capacity;
    bool punched;
};

struct file_id {
    uint64_t offset, serial;
};
_Static_assert(sizeof(struct file_id) == sizeof(warabi_region_t), "ids have 16 bytes");

static int not_found(struct dango_error *err)
{
    return dango_error_set(err, DANGO_ERR_NOT_FOUND, "invalid region id: erased, or not of this target");
}

/* ---- free places ---- */

static unsigned class_of(uint64_t capacity)
{
    return capacity > 0 ? 63u - (unsigned)__builtin_clzll(capacity) : 0;
}

/* Remembers a place, or forgets it until the next start when there is no memory. Under the lock, or alone. */
void wb_abtio_add_free(struct abtio_target *target, uint64_t offset, uint64_t capacity, bool punched)
{
    struct free_place *place = malloc(sizeof *place);
    if (!place)
        return;
    *place = (struct free_place){.offset = offset, .capacity = capacity, .punched = punched};
    list_append(&target->free[class_of(capacity)], &place->link);
}

void wb_abtio_forget_free(struct abtio_target *target)
{
    for (size_t i = 0; i < WB_FREE_CLASSES; i++) {
        for (struct list_node *node; (node = list_pop(&target->free[i]));)
            free(container_of(node, struct free_place, link));
    }
}

/* A free place with room for `size` bytes, taken out; NULL when none is found quickly. Under the lock. */
static struct free_place *take_free(struct abtio_target *target, uint64_t size)
{
    /* Places made for regions of this size are in the class of the room that those get, not in that of the size. */
    unsigned first = class_of(wb_file_capacity(&target->file, wb_file_first(&target->file), size));
    for (unsigned i = first; i <= first + 1 && i < WB_FREE_CLASSES; i++) {
        unsigned looks = 0;
        list_for_each (node, &target->free[i]) {
            struct free_place *place = container_of(node, struct free_place, link);
            if (place->capacity >= size) {
                list_remove(&place->link);
                return place;
            }
            if (++looks == FREE_LOOKS)
                break;
        }
    }
    return NULL;
}

/* Gives the bytes of a place back to the file system, so that they read as zeros. */
static bool punch(struct abtio_target *target, uint64_t offset, uint64_t capacity)
{
    if (capacity == 0)
        return true;
    return abt_io_fallocate(target->file.io, target->file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                            (off_t)capacity) == 0;
}

/* ---- regions ---- */

static void encode_id(const struct file_region *region, warabi_region_t *id)
{
    struct file_id raw = {htole64(region->offset), htole64(region->serial)};
    memcpy(id->opaque, &raw, sizeof raw);
}

static struct file_id decode_id(const warabi_region_t *id)
{
    struct file_id raw;
    memcpy(&raw, id->opaque, sizeof raw);
    return (struct file_id){le64toh(raw.offset), le64toh(raw.serial)};
}

static struct file_region *region_new(struct abtio_target *target, const struct wb_record *record)
{
    struct file_region *region = calloc(1, sizeof *region);
    if (!region)
        return NULL;
    region->base = (struct wb_region){.target = &target->base, .size = record->size};
    region->offset = record->offset;
    region->capacity = record->capacity;
    region->serial = record->serial;
    region->references = 1;
    return region;
}

void wb_abtio_release(struct wb_region *base)
{
    struct file_region *region = region_of(base);
    struct abtio_target *target = target_of(base->target);
    ABT_mutex_lock(target->lock);
    assert(region->references > 0);
    bool last = --region->references == 0;
    if (last)
        HASH_DEL(target->regions, region);
    ABT_mutex_unlock(target->lock);
    if (!last)
        return;
    if (region->erased && punch(target, region->offset, region->capacity)) {
        ABT_mutex_lock(target->lock);
        wb_abtio_add_free(target, region->offset, region->capacity, true);
        ABT_mutex_unlock(target->lock);
    }
    free(region);
}

/* The region at a place if somebody uses it, held; under the lock. */
static struct file_region *hold_used(struct abtio_target *target, uint64_t offset)
{
    struct file_region *region;
    HASH_FIND(hh, target->regions, &offset, sizeof offset, region);
    if (region)
        region->references++;
    return region;
}

/* Whether the region, which is held, is what the id means; else it is let go. */
static int check_region(struct file_region *region, const struct file_id *id, struct wb_region **result,
                        struct dango_error *err)
{
    struct abtio_target *target = target_of(region->base.target);
    ABT_mutex_lock(target->lock);
    bool right = region->serial == id->serial && !region->erased;
    ABT_mutex_unlock(target->lock);
    if (right) {
        *result = &region->base;
        return 0;
    }
    wb_abtio_release(&region->base);
    return not_found(err);
}

/* Takes up a region whose record was read while `erasures` had been counted: NULL when the record may be stale. */
static struct file_region *take_up(struct abtio_target *target, struct file_region *fresh, uint64_t erasures)
{
    ABT_mutex_lock(target->lock);
    struct file_region *region = hold_used(target, fresh->offset);
    if (!region && erasures == target->erasures) {
        HASH_ADD(hh, target->regions, offset, sizeof fresh->offset, fresh);
        region = fresh;
    }
    ABT_mutex_unlock(target->lock);
    if (region != fresh)
        free(fresh);
    return region;
}

int wb_abtio_acquire(struct wb_target *base, const warabi_region_t *id, struct wb_region **result,
                     struct dango_error *err)
{
    struct abtio_target *target = target_of(base);
    const struct file_id wanted = decode_id(id);
    for (;;) {
        ABT_mutex_lock(target->lock);
        struct file_region *region = hold_used(target, wanted.offset);
        uint64_t erasures = target->erasures;
        ABT_mutex_unlock(target->lock);
        if (region)
            return check_region(region, &wanted, result, err);
        struct wb_record record;
        int status = wb_file_read_record(&target->file, wanted.offset, &record, err);
        if (status < 0)
            return status;
        if (status == 0 || record.state != WB_RECORD_USED || record.serial != wanted.serial)
            return not_found(err);
        struct file_region *fresh = region_new(target, &record);
        if (!fresh)
            return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
        region = take_up(target, fresh, erasures);
        if (region)
            return check_region(region, &wanted, result, err);
    }
}

/* ---- creation and erasure ---- */

static int check_size(const struct abtio_target *target, uint64_t size, struct dango_error *err)
{
    struct statvfs info;
    if (fstatvfs(target->file.fd, &info) != 0)
        return dango_error_set_errno(err, errno, "%s", target->file.path);
    uint64_t whole = (uint64_t)info.f_blocks * info.f_frsize;
    if (size > whole)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "a region of %llu bytes is larger than the file system (%llu)",
                               (unsigned long long)size, (unsigned long long)whole);
    return 0;
}

/* Uses the place of an erased region again: 1; 0 when there is none; negative when it cannot be written. */
static int reuse_place(struct abtio_target *target, struct wb_record *record, struct dango_error *err)
{
    ABT_mutex_lock(target->lock);
    struct free_place *place = take_free(target, record->size);
    ABT_mutex_unlock(target->lock);
    if (!place)
        return 0;
    record->offset = place->offset;
    record->capacity = place->capacity;
    bool usable = place->punched || punch(target, place->offset, place->capacity);
    free(place);
    if (!usable)
        return 0;
    int status = wb_file_write_record(&target->file, record, err);
    if (status == 0)
        return 1;
    ABT_mutex_lock(target->lock);
    wb_abtio_add_free(target, record->offset, record->capacity, true);
    ABT_mutex_unlock(target->lock);
    return status;
}

/* Records are written one at a time, because the first one that is missing ends what a restart finds without a search. */
static int new_place(struct abtio_target *target, struct wb_record *record, struct dango_error *err)
{
    ABT_mutex_lock(target->growth);
    record->offset = target->end;
    record->capacity = wb_file_capacity(&target->file, record->offset, record->size);
    int status = record->capacity >= record->size
                     ? wb_file_write_record(&target->file, record, err)
                     : dango_error_set(err, DANGO_ERR_NO_MEMORY, "%s has no room for a region of %llu bytes",
                                       target->file.path, (unsigned long long)record->size);
    if (status == 0)
        target->end = wb_file_next(&target->file, record->offset, record->capacity);
    ABT_mutex_unlock(target->growth);
    return status;
}

int wb_abtio_create(struct wb_target *base, uint64_t size, warabi_region_t *id, struct wb_region **result,
                    struct dango_error *err)
{
    struct abtio_target *target = target_of(base);
    struct wb_record record = {.state = WB_RECORD_USED, .size = size};
    int status = wb_abtio_check_health(target, err);
    if (status == 0)
        status = check_size(target, size, err);
    if (status == 0 && getrandom(&record.serial, sizeof record.serial, 0) != (ssize_t)sizeof record.serial)
        status = dango_error_set(err, DANGO_ERR_IO, "no random numbers");
    if (status == 0)
        status = reuse_place(target, &record, err);
    if (status == 0)
        status = new_place(target, &record, err);
    if (status < 0)
        return status;
    struct file_region *region = region_new(target, &record);
    if (!region)
        return dango_error_set(err, DANGO_ERR_NO_MEMORY, "out of memory");
    encode_id(region, id);
    ABT_mutex_lock(target->lock);
    HASH_ADD(hh, target->regions, offset, sizeof region->offset, region);
    ABT_mutex_unlock(target->lock);
    *result = &region->base;
    return 0;
}

int wb_abtio_erase(struct wb_target *base, const warabi_region_t *id, struct dango_error *err)
{
    struct abtio_target *target = target_of(base);
    struct wb_region *held;
    int status = wb_abtio_check_health(target, err);
    if (status == 0)
        status = wb_abtio_acquire(base, id, &held, err);
    if (status < 0)
        return status;
    struct file_region *region = region_of(held);
    ABT_mutex_lock(target->lock);
    bool mine = !region->erased;
    region->erased = true;
    target->erasures++;
    ABT_mutex_unlock(target->lock);
    if (mine) {
        const struct wb_record record = {WB_RECORD_ERASED, region->offset, held->size, region->capacity,
                                         region->serial};
        status = wb_file_write_record(&target->file, &record, err);
        if (status < 0) {
            ABT_mutex_lock(target->lock);
            region->erased = false;
            ABT_mutex_unlock(target->lock);
        }
    }
    wb_abtio_release(held);
    return mine ? status : not_found(err);
}
