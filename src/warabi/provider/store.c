/*
 * Operations on a target: see store.h. Everything a peer sent is checked here, once for all kinds of targets, before
 * the first byte moves.
 */
#include "warabi/provider/store.h"

#include "warabi/wire.h"

#include <assert.h>
#include <stdlib.h>

static int check_remote(const struct wb_remote *remote, uint64_t total, struct dango_error *err)
{
    if (remote->bulk == HG_BULK_NULL)
        return dango_error_set(err, DANGO_ERR_INVALID, "the request has no bulk handle");
    uint64_t size = margo_bulk_get_size(remote->bulk);
    if (remote->offset > size || total > size - remote->offset)
        return dango_error_set(err, DANGO_ERR_RANGE,
                               "out of bounds: %llu bytes at offset %llu of bulk memory of %llu bytes",
                               (unsigned long long)total, (unsigned long long)remote->offset, (unsigned long long)size);
    return 0;
}

static int check_source(const struct wb_source *source, uint64_t total, struct dango_error *err)
{
    if (source->remote)
        return check_remote(source->remote, total, err);
    if (source->size != total)
        return dango_error_set(err, DANGO_ERR_RANGE, "the request carries %llu bytes for segments of %llu bytes",
                               (unsigned long long)source->size, (unsigned long long)total);
    return 0;
}

/* Acquires the region and checks the segments against it. */
static int acquire(struct wb_target *target, const warabi_region_t *id, const struct wb_segments *segments,
                   struct wb_region **region, uint64_t *total, struct dango_error *err)
{
    int status = target->type->acquire(target, id, region, err);
    if (status != 0)
        return status;
    status = wb_segments_check(segments, (*region)->size, total, err);
    if (status != 0)
        target->type->release(*region);
    return status;
}

static int write_region(struct wb_region *region, const struct wb_segments *segments, uint64_t total,
                        const struct wb_source *source, bool persist, struct dango_error *err)
{
    const struct wb_target_type *type = region->target->type;
    int status = check_source(source, total, err);
    if (status == 0 && total > 0)
        status = source->remote ? type->pull(region, segments, total, source->remote, err)
                                : type->write(region, segments, source->data, err);
    if (status == 0 && persist)
        status = type->persist(region->target, region, segments, err);
    return status;
}

int wb_store_create(struct wb_target *target, uint64_t size, warabi_region_t *id, struct dango_error *err)
{
    struct wb_region *region;
    int status = target->type->create(target, size, id, &region, err);
    if (status == 0)
        target->type->release(region);
    return status;
}

int wb_store_write(struct wb_target *target, const warabi_region_t *id, const struct wb_segments *segments,
                   const struct wb_source *source, bool persist, struct dango_error *err)
{
    struct wb_region *region;
    uint64_t total;
    int status = acquire(target, id, segments, &region, &total, err);
    if (status != 0)
        return status;
    status = write_region(region, segments, total, source, persist, err);
    target->type->release(region);
    return status;
}

int wb_store_create_write(struct wb_target *target, uint64_t size, const struct wb_source *source, bool persist,
                          warabi_region_t *id, struct dango_error *err)
{
    /* Before memory is taken for it. */
    int status = check_source(source, size, err);
    if (status != 0)
        return status;
    struct wb_region *region;
    status = target->type->create(target, size, id, &region, err);
    if (status != 0)
        return status;
    const size_t offset = 0;
    const struct wb_segments whole = {.count = 1, .offsets = &offset, .sizes = &size};
    status = write_region(region, &whole, size, source, persist, err);
    /* Nobody knows the id of a region that could not be written. */
    if (status != 0)
        target->type->erase(target, id, NULL);
    target->type->release(region);
    return status;
}

int wb_store_persist(struct wb_target *target, const warabi_region_t *id, const struct wb_segments *segments,
                     struct dango_error *err)
{
    struct wb_region *region;
    uint64_t total;
    if (target->type->persists_any)
        return target->type->persist(target, NULL, segments, err);
    int status = acquire(target, id, segments, &region, &total, err);
    if (status != 0)
        return status;
    status = target->type->persist(target, region, segments, err);
    target->type->release(region);
    return status;
}

int wb_store_push(struct wb_target *target, const warabi_region_t *id, const struct wb_segments *segments,
                  const struct wb_remote *remote, struct dango_error *err)
{
    assert(remote);
    struct wb_region *region;
    uint64_t total;
    int status = acquire(target, id, segments, &region, &total, err);
    if (status != 0)
        return status;
    status = check_remote(remote, total, err);
    if (status == 0 && total > 0)
        status = target->type->push(region, segments, total, remote, err);
    target->type->release(region);
    return status;
}

int wb_store_read(struct wb_target *target, const warabi_region_t *id, const struct wb_segments *segments, char **data,
                  uint64_t *size, struct dango_error *err)
{
    struct wb_region *region;
    int status = acquire(target, id, segments, &region, size, err);
    if (status != 0)
        return status;
    *data = NULL;
    if (*size > WB_EAGER_MAX)
        status = dango_error_set(err, DANGO_ERR_INVALID, "%llu bytes in one answer, at most %u are allowed",
                                 (unsigned long long)*size, WB_EAGER_MAX);
    if (status == 0 && !(*data = malloc(*size > 0 ? *size : 1)))
        status = dango_error_set(err, DANGO_ERR_NO_MEMORY, "no memory for an answer of %llu bytes",
                                 (unsigned long long)*size);
    if (status == 0)
        status = target->type->read(region, segments, *data, err);
    target->type->release(region);
    if (status != 0) {
        free(*data);
        *data = NULL;
    }
    return status;
}

int wb_store_size(struct wb_target *target, const warabi_region_t *id, uint64_t *size, struct dango_error *err)
{
    struct wb_region *region;
    int status = target->type->acquire(target, id, &region, err);
    if (status != 0)
        return status;
    *size = region->size;
    target->type->release(region);
    return 0;
}

int wb_store_erase(struct wb_target *target, const warabi_region_t *id, struct dango_error *err)
{
    return target->type->erase(target, id, err);
}
